//! Results: rounded and narrowed to their elements, and stored; of a group of rows that is not whole only the first.

use super::nest::{Nest, elem, environments};
use super::{Base, Env, I64, Lower};
use crate::format::Element;
use crate::rewrite::lang::Ty;
use crate::schedule::ScheduleError;
use crate::schedule::index::{AxisId, AxisSet};
use crate::schedule::place::{FirstRows, Root};
use crate::schedule::term::Storage;
use crate::vector::ir::{Bin, Convert, Elem, Op, ParamKind, Scalar, Type, Value};
use std::collections::BTreeMap;

impl Nest<'_, '_, '_> {
    /// Stores a result.
    pub(super) fn store_root(&mut self, at: usize, env: &Env) -> Result<(), ScheduleError> {
        let root = self.chosen.placed.roots[at].clone();
        let value = self.result(at, &root, env)?;
        let elem = self.lower.b.ty(value).elem;
        let zeros = self.lane_zeros(env);
        let depth = self.lower.here();
        let mut stride = u64::from(elem.bits() / 8);
        let contiguous = root.lanes.iter().rev().all(|a| {
            let fits =
                root.address.coefficient(*a) == Some(crate::vector::ir::Scalar::Const(stride));
            stride *= self.axes[*a].nominal;
            fits
        });
        if contiguous {
            let (base, offset) = self.place_of(&root, env)?;
            self.lower.b.store_at(depth, value, base, offset);
            return Ok(());
        }
        let scalar = Type::new(elem, 1);
        for (lane, lane_env) in environments(&root.lanes, &self.axes)
            .into_iter()
            .enumerate()
        {
            let mut at = zeros.clone();
            at.extend(lane_env);
            let one = self
                .lower
                .put(scalar, Op::Extract(value, lane as u16), &[value]);
            let (base, offset) =
                self.lower
                    .address(Base::Tensor(root.tensor), &root.address, &at)?;
            self.lower.b.store_at(depth, one, base, offset);
        }
        Ok(())
    }

    /// Stores the results of the first rows of a group: all of them into a buffer, and from there as many as there are.
    pub(super) fn store_first(
        &mut self,
        rows: &FirstRows,
        envs: &[Env],
    ) -> Result<(), ScheduleError> {
        for at in 0..self.chosen.term.roots.len() {
            // Copies of batches, each with its copies of rows.
            let mut groups: BTreeMap<Env, Vec<&Env>> = BTreeMap::new();
            for env in envs {
                let of_batch = env.iter().filter(|(a, _)| !self.axes[**a].row);
                let of_batch: Env = of_batch.map(|(a, v)| (*a, *v)).collect();
                groups.entry(of_batch).or_default().push(env);
            }
            for copies in groups.values() {
                self.store_group(at, rows, copies)?;
            }
        }
        Ok(())
    }

    fn store_group(
        &mut self,
        at: usize,
        rows: &FirstRows,
        copies: &[&Env],
    ) -> Result<(), ScheduleError> {
        let (root, here) = (self.chosen.placed.roots[at].clone(), self.lower.here());
        let mut values = Vec::new();
        for env in copies {
            values.push(self.result(at, &root, env)?);
        }
        let ty = self.lower.b.ty(values[0]);
        let name = format!("rows{}", self.lower.stages);
        self.lower.stages += 1;
        let bytes = Scalar::Const(u64::from(ty.bytes()) * values.len() as u64);
        let buffer = self.lower.b.param(&name, ParamKind::Scratch { bytes });
        self.lower.depth.insert(buffer, 0);
        for (value, offset) in values.iter().zip((0..).step_by(ty.bytes() as usize)) {
            self.lower.b.store_at(here, *value, buffer, offset);
        }
        let (first, offset) = self.place_of(&root, copies[0])?;
        let apart = root.lanes.first().copied().or_else(|| {
            let mut copied = copies[0].keys();
            copied.find(|a| self.axes[**a].row).copied()
        });
        let apart = apart.and_then(|axis| root.address.coefficient(axis));
        let apart = apart.ok_or(ScheduleError::Internal(
            "rows of results without a distance",
        ))?;
        let (none, count) = (self.lower.scalar(&Scalar::Const(0)), self.rows_here(rows));
        let (row, _) = self.enter("row", none, count, 1, &[]);
        let width = Scalar::Const(u64::from(ty.elem.bits() / 8));
        let from = self.moved(buffer, row, &width);
        let to = self.moved(first, row, &apart);
        let load = Op::Load {
            base: from,
            offset: 0,
        };
        let one = self.lower.put(Type::new(ty.elem, 1), load, &[from]);
        let here = self.lower.here();
        self.lower.b.store_at(here, one, to, offset);
        self.leave(&[]);
        Ok(())
    }

    /// How many of the rows of this turn are results; not above 0 if none is.
    fn rows_here(&mut self, rows: &FirstRows) -> Value {
        let count = self.lower.scalar(&rows.count);
        let turn = rows.turns.and_then(|(axis, each)| {
            let turn = self.lower.counters.get(&axis).copied();
            turn.map(|t| (t, each))
        });
        let Some((turn, each)) = turn else {
            return count;
        };
        let each = self.lower.scalar(&Scalar::Const(each));
        let before = Op::Bin(Bin::IMul, turn, each);
        let before = self.lower.put(I64, before, &[turn, each]);
        let left = Op::Bin(Bin::ISub, count, before);
        let left = self.lower.put(I64, left, &[count, before]);
        let here = Op::Bin(Bin::SMin, left, each);
        self.lower.put(I64, here, &[left, each])
    }

    /// The place of a result's first lane.
    fn place_of(&mut self, root: &Root, env: &Env) -> Result<(Value, i32), ScheduleError> {
        let zeros = self.lane_zeros(env);
        let base = Base::Tensor(root.tensor);
        self.lower.address(base, &root.address, &zeros)
    }

    /// A pointer, moved by so many times a distance.
    fn moved(&mut self, pointer: Value, times: Value, distance: &Scalar) -> Value {
        let distance = self.lower.scalar(distance);
        let by = Op::Bin(Bin::IMul, times, distance);
        let by = self.lower.put(I64, by, &[times, distance]);
        let sum = Op::Bin(Bin::IAdd, pointer, by);
        self.lower.put(I64, sum, &[pointer, by])
    }

    /// A result in all its lanes, as it is stored.
    fn result(&mut self, at: usize, root: &Root, env: &Env) -> Result<Value, ScheduleError> {
        let node = self.chosen.term.roots[at];
        let value = self.value(node, env)?;
        let one = |s: AxisSet, a: &AxisId| s.union(AxisSet::one(*a));
        let lanes = root.lanes.iter().fold(AxisSet::default(), one);
        let (from, lanes) = (self.node(node).ty, self.lanes(lanes));
        self.lower
            .stored(value, from, lanes, root.storage, &root.element)
    }
}

impl Lower<'_> {
    /// A result as it is stored: integers clamped and narrowed, floats rounded to their element.
    fn stored(
        &mut self,
        value: Value,
        from: Ty,
        lanes: u16,
        storage: Storage,
        element: &Element,
    ) -> Result<Value, ScheduleError> {
        let int = Type::new(Elem::I32, lanes);
        let width = match storage {
            Storage::F32 => return Ok(value),
            Storage::U8 | Storage::I8 => Elem::I8,
            Storage::U16 | Storage::I16 => Elem::I16,
            Storage::I32 => Elem::I32,
            Storage::Code { .. } | Storage::Place { .. } => {
                return Err(ScheduleError::Internal("a result of odd width"));
            }
        };
        let code = match element {
            Element::Int { .. } | Element::UInt { .. } => {
                let number = match elem(from) {
                    Elem::F32 => self.put(int, Op::Convert(Convert::FloatToInt, value), &[value]),
                    _ => value,
                };
                let (low, high) = element.range();
                let clamped = self.clamp(number, int, low, high);
                // The bits above a code are 0, as the reference encoder leaves them.
                match element {
                    Element::Int { bits } if ![8, 16, 32].contains(bits) => {
                        let mask = self.put_at(0, int, Op::IConst((1i64 << bits) - 1));
                        self.put(int, Op::Bin(Bin::And, clamped, mask), &[clamped, mask])
                    }
                    _ => clamped,
                }
            }
            Element::Float(float) => self.encode_float(value, Type::new(Elem::F32, lanes), float),
            Element::Codebook(_) => {
                self.encode_nearest(value, Type::new(Elem::F32, lanes), element)?
            }
        };
        Ok(match width {
            Elem::I32 => code,
            width => self.put(
                Type::new(width, lanes),
                Op::Convert(Convert::Narrow, code),
                &[code],
            ),
        })
    }

    pub(super) fn clamp(&mut self, value: Value, ty: Type, low: f64, high: f64) -> Value {
        if low <= -2147483648.0 && high >= 2147483647.0 {
            return value;
        }
        let (low, high) = (
            self.put_at(0, ty, Op::IConst(low as i64)),
            self.put_at(0, ty, Op::IConst(high as i64)),
        );
        let above = self.put(ty, Op::Bin(Bin::SMax, value, low), &[value, low]);
        self.put(ty, Op::Bin(Bin::SMin, above, high), &[above, high])
    }
}
