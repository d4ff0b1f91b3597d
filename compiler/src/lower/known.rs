//! Constants made of constants while code is emitted: what tables hold at places that are known there.

use super::Lower;
use crate::vector::ir::{Convert, Elem, Op, Type, Value};

impl Lower<'_> {
    /// The lanes of a constant, as unsigned numbers.
    pub(super) fn known_lanes(&self, value: Value) -> Option<&[u64]> {
        self.known.get(&value).map(Vec::as_slice)
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
        self.known_at(codes, ty, entry)
    }

    /// Bytes of a table at codes that are known.
    pub(super) fn known_bytes(&mut self, bytes: &[u8], ty: Type, codes: Value) -> Option<Value> {
        let entry = |code: &u64| bytes.get(*code as usize).map(|b| u64::from(*b));
        self.known_at(codes, ty, entry)
    }

    /// What lanes that are known lead to, if all of them lead to something.
    fn known_at(
        &mut self,
        codes: Value,
        ty: Type,
        entry: impl Fn(&u64) -> Option<u64>,
    ) -> Option<Value> {
        let lanes = self.known_lanes(codes)?.iter().map(entry);
        let lanes = lanes.collect::<Option<Vec<u64>>>()?;
        Some(self.lanes(ty, lanes))
    }

    /// A conversion of integers to a wider or a narrower type; of a constant, a constant.
    pub(super) fn convert(&mut self, kind: Convert, ty: Type, value: Value) -> Value {
        let from = 64 - self.b.ty(value).elem.bits();
        let mask = u64::MAX >> (64 - ty.elem.bits());
        let lane = |lane: &u64| match kind {
            Convert::WidenS => (((lane << from) as i64) >> from) as u64 & mask,
            _ => lane & mask,
        };
        let lanes = self.known_lanes(value);
        match lanes.map(|lanes| lanes.iter().map(lane).collect()) {
            Some(lanes) => self.lanes(ty, lanes),
            None => self.put(ty, Op::Convert(kind, value), &[value]),
        }
    }
}

/// The lanes of an integer constant, as unsigned numbers.
pub(super) fn lanes_of(ty: Type, op: &Op) -> Option<Vec<u64>> {
    let mask = u64::MAX >> (64 - ty.elem.bits());
    match op {
        Op::IConst(number) => Some(vec![*number as u64 & mask; ty.lanes.into()]),
        Op::VConst(lanes) => Some(lanes.clone()),
        _ => None,
    }
}
