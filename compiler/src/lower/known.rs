//! Constants made of constants while code is emitted: what tables hold at places that are known there.

use super::Lower;
use crate::vector::ir::{Convert, Elem, Op, Type, Value};

impl Lower<'_> {
    /// The lanes of a constant, as unsigned numbers.
    pub(super) fn known_lanes(&self, value: Value) -> Option<&[u64]> {
        self.known.get(&value).map(Vec::as_slice)
    }

    /// Remembers the lanes of a constant.
    pub(super) fn remember(&mut self, value: Value, ty: Type, op: &Op) {
        let mask = u64::MAX >> (64 - ty.elem.bits());
        let lanes = match op {
            Op::IConst(number) => vec![*number as u64 & mask; ty.lanes.into()],
            Op::VConst(lanes) => lanes.clone(),
            _ => return,
        };
        self.known.insert(value, lanes);
    }

    /// A constant with these lanes.
    pub(super) fn lanes(&mut self, ty: Type, lanes: Vec<u64>) -> Value {
        let first = lanes[0];
        let shift = 64 - ty.elem.bits();
        let op = match lanes.iter().all(|l| *l == first) {
            true if ty.elem == Elem::F32 => Op::FConst(first as u32),
            true => Op::IConst(((first << shift) as i64) >> shift),
            false => Op::VConst(lanes),
        };
        self.put_at(0, ty, op)
    }

    /// Entries of a table (f32 or i32, as the type says) at codes that are known.
    pub(super) fn known_entries(
        &mut self,
        entries: &[f64],
        ty: Type,
        codes: Value,
    ) -> Option<Value> {
        let entry = |code: &u64| {
            let entry = *entries.get(*code as usize)?;
            Some(match ty.elem {
                Elem::F32 => u64::from((entry as f32).to_bits()),
                _ => u64::from(entry as i32 as u32),
            })
        };
        let lanes = self.known_lanes(codes)?.iter().map(entry);
        let lanes = lanes.collect::<Option<Vec<u64>>>()?;
        Some(self.lanes(ty, lanes))
    }

    /// A conversion to a wider type; of a constant, a constant.
    pub(super) fn widen(&mut self, kind: Convert, ty: Type, value: Value) -> Value {
        let from = 64 - self.b.ty(value).elem.bits();
        let mask = u64::MAX >> (64 - ty.elem.bits());
        let wide = |lane: &u64| match kind {
            Convert::WidenS => (((lane << from) as i64) >> from) as u64 & mask,
            _ => *lane,
        };
        let lanes = self.known_lanes(value);
        match lanes.map(|lanes| lanes.iter().map(wide).collect()) {
            Some(lanes) => self.lanes(ty, lanes),
            None => self.put(ty, Op::Convert(kind, value), &[value]),
        }
    }

    /// A conversion to a narrower type; of a constant, a constant.
    pub(super) fn narrow(&mut self, ty: Type, value: Value) -> Value {
        let mask = u64::MAX >> (64 - ty.elem.bits());
        let lanes = self.known_lanes(value);
        match lanes.map(|lanes| lanes.iter().map(|l| l & mask).collect()) {
            Some(lanes) => self.lanes(ty, lanes),
            None => self.put(ty, Op::Convert(Convert::Narrow, value), &[value]),
        }
    }
}
