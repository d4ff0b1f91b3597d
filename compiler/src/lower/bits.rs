//! Bits of loaded numbers: moved to their places in a code, with what lies beside them dropped. Parts of a code that lie side by
//! side in one byte are taken together.

use super::Env;
use super::nest::Nest;
use crate::rewrite::lang::{Node, Op as Term};
use crate::schedule::ScheduleError;
use crate::schedule::index::Affine;
use crate::vector::ir::{Bin, Elem, Op, Shift, Type, Value};

/// Bits that are taken from a number.
struct Taken {
    number: Value,
    /// How far the number is moved down; up where negative.
    down: i64,
    /// What is left of it then.
    mask: i64,
}

impl Nest<'_, '_, '_> {
    /// The bits of a field in a number.
    pub(super) fn bits(
        &mut self,
        field: u32,
        ty: Type,
        number: Value,
        env: &Env,
    ) -> Result<Value, ScheduleError> {
        let taken = self.taken(field, number, env)?;
        Ok(self.take(&taken, ty))
    }

    /// A sum whose terms are bits of numbers, as far as they are: bits that are moved equally far are one field. `None` where
    /// no two of them are.
    pub(super) fn bits_together(
        &mut self,
        at: usize,
        ty: Type,
        env: &Env,
    ) -> Result<Option<Value>, ScheduleError> {
        let mut fields: Vec<Taken> = Vec::new();
        let (mut rest, mut joined) = (vec![at], false);
        while let Some(at) = rest.pop() {
            let node = self.node(at).clone();
            match (node.op, node.data.first()) {
                (Term::VIAdd, _) => rest.extend(node.children.iter().rev()),
                (Term::VBits, Some(Node::Ref(field))) => {
                    let number = self.value(node.children[0], env)?;
                    let new = self.taken(*field, number, env)?;
                    let like = |old: &&mut Taken| {
                        let moved = (old.number, old.down) == (new.number, new.down);
                        moved && old.mask & new.mask == 0
                    };
                    match fields.iter_mut().find(like) {
                        Some(old) => {
                            old.mask |= new.mask;
                            joined = true;
                        }
                        None => fields.push(new),
                    }
                }
                _ => return Ok(None),
            }
        }
        let mut sum = None;
        for taken in fields.iter().filter(|_| joined) {
            let bits = self.take(taken, ty);
            sum = Some(match sum {
                None => bits,
                Some(sum) => self.lower.bin(Bin::IAdd, sum, bits),
            });
        }
        Ok(sum)
    }

    fn taken(&mut self, field: u32, number: Value, env: &Env) -> Result<Taken, ScheduleError> {
        let field = self.chosen.facts.terms.fields[field as usize].clone();
        let shift = self.known_place(&field.shift, env)?;
        let up = self.known_place(&field.up, env)?;
        Ok(Taken {
            number,
            down: shift as i64 - up as i64,
            mask: ((1 << field.width) - 1) << up,
        })
    }

    fn take(&mut self, taken: &Taken, ty: Type) -> Value {
        let mut value = taken.number;
        let bytes = ty.elem == Elem::I8;
        // What lies beside the bits is dropped, unless the shift has done it.
        let masked = !(bytes && taken.down >= 0 && taken.mask == 0xff >> taken.down);
        let (moved, by) = match taken.down {
            down @ 0.. => (Shift::UShr, down as u8),
            up => (Shift::Shl, -up as u8),
        };
        if by > 0 {
            value = match masked && bytes && ty.lanes > 1 {
                true => self.lower.shift_words(ty, moved, value, by),
                false => {
                    let op = Op::Shift(moved, value, by);
                    self.lower.put(ty, op, &[value])
                }
            };
        }
        if masked {
            let mask = self.lower.put_at(0, ty, Op::IConst(taken.mask));
            value = self.lower.bin(Bin::And, value, mask);
        }
        value
    }

    /// A place in bytes, in a copy.
    pub(super) fn known_place(&self, place: &Affine, env: &Env) -> Result<u64, ScheduleError> {
        let known = self.lower.known_affine(place, &self.lane_zeros(env));
        known.ok_or(ScheduleError::Internal(
            "bits whose place changes in a loop",
        ))
    }
}
