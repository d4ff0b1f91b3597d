//! Through what a term depends on data that is known before the call: nothing, some neighbouring bits of one word, or more.
//!
//! A term that depends on few bits of one word is a table over the codes that they are: a joint code, where the bits are
//! those of several elements. Which bits are neighbours was decided when the weights were laid out.

use super::analysis::{Graph, Real, axis, real, reference};
use super::facts::Facts;
use super::lang::Op;
use crate::schedule::index::{Affine, AxisId, Sym};
use crate::schedule::term::{BitField, LoadId, Storage};
use crate::vector::ir::Scalar;
use egg::Id;

/// Bits of a word in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The load of the word.
    pub load: u32,
    /// The lowest of the bits; it may change with copies.
    pub low: Affine,
    /// How many bits.
    pub width: u64,
}

/// What a term depends on of what is known before the call.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Word {
    /// Nothing.
    #[default]
    None,
    /// Some neighbouring bits of one word.
    Part(Part),
    /// More, or it is not known.
    Many,
}

impl Word {
    /// What is true of a term that has both.
    pub(super) fn meet(self, other: Word) -> Word {
        match (self, other) {
            (Word::None, _) | (_, Word::None) => Word::None,
            (Word::Many, w) | (w, Word::Many) => w,
            (Word::Part(a), Word::Part(b)) => Word::Part(if b.width < a.width { b } else { a }),
        }
    }

    /// What a term depends on that is made of two.
    fn join(self, other: Word) -> Word {
        match (self, other) {
            (Word::None, w) | (w, Word::None) => w,
            (Word::Part(a), Word::Part(b)) => a.join(b).map_or(Word::Many, Word::Part),
            (Word::Many, _) | (_, Word::Many) => Word::Many,
        }
    }
}

impl Part {
    fn join(self, other: Part) -> Option<Part> {
        let (Scalar::Const(a), Scalar::Const(b)) = (&self.low.offset, &other.low.offset) else {
            return None;
        };
        if self.load != other.load || self.low.terms != other.low.terms {
            return None;
        }
        let (first, end) = (*a.min(b), (a + self.width).max(b + other.width));
        let low = if a <= b { self.low } else { other.low };
        Some(Part {
            load: self.load,
            low,
            width: end - first,
        })
    }

    /// The bits that all values of an axis read together.
    pub(super) fn over(mut self, axis: AxisId, extent: Option<u64>) -> Option<Part> {
        let Scalar::Const(step) = self.low.coefficient(axis)? else {
            return None;
        };
        self.low.terms.retain(|(s, _)| *s != Sym::Axis(axis));
        self.width += step * extent?.saturating_sub(1);
        Some(self)
    }

    /// The bits as a field.
    pub(super) fn field(&self) -> Option<BitField> {
        Some(BitField {
            shift: self.low.clone(),
            width: u8::try_from(self.width).ok()?,
            up: Affine::constant(0),
        })
    }
}

/// Bits of a word that codes are taken from; `None` for what is read as a number.
fn bits(storage: Storage) -> Option<u64> {
    match storage {
        Storage::Code { bits } => Some(u64::from(bits)),
        Storage::U8 => Some(8),
        Storage::U16 => Some(16),
        Storage::I32 => Some(32),
        Storage::I8 | Storage::I16 | Storage::F32 | Storage::Place { .. } => None,
    }
}

/// Whether a load is of words that are known before the call.
pub(super) fn is_word(facts: &Facts, load: u32) -> bool {
    let storage = facts.terms.loads[LoadId::from_u32(load)].storage;
    bits(storage).is_some() && !facts.call_loads[load as usize]
}

/// What an operation depends on.
pub(super) fn of(graph: &Graph, op: Op, children: &[Id], operands: &[&Real]) -> Word {
    let facts = &graph.analysis;
    let all = || {
        let words = operands.iter().map(|r| r.word.clone());
        words.fold(Word::None, Word::join)
    };
    match op {
        Op::Ld => {
            let Some(load) = reference(graph, children[0]) else {
                return Word::Many;
            };
            let bits = match facts.terms.loads[LoadId::from_u32(load)].storage {
                Storage::Place { .. } => return Word::None,
                _ if facts.call_loads[load as usize] => return Word::None,
                Storage::Code { bits } => u64::from(bits),
                Storage::U8 | Storage::U16 | Storage::I32 => u64::from(facts.load_ty(load).bits()),
                // Numbers, not codes.
                Storage::I8 | Storage::I16 | Storage::F32 => return Word::Many,
            };
            Word::Part(Part {
                load,
                low: Affine::constant(0),
                width: bits,
            })
        }
        Op::Bits => {
            let field = reference(graph, children[0]).map(|f| &facts.terms.fields[f as usize]);
            let word = real(graph, children[1]).map(|r| (&r.word, r.load));
            match (field, word) {
                (Some(field), Some((Word::Part(part), Some(load)))) if part.load == load => {
                    Word::Part(Part {
                        load,
                        low: field.shift.clone(),
                        width: u64::from(field.width),
                    })
                }
                _ => all(),
            }
        }
        Op::Sum | Op::MaxOver | Op::PackBits => {
            let (Some(axis), Word::Part(part)) = (axis(graph, children[0]), all()) else {
                return all();
            };
            let moves = facts.terms.load_axes(LoadId::from_u32(part.load)).has(axis);
            let over = match moves {
                true => None,
                false => part.over(axis, facts.extent(axis)),
            };
            over.map_or(Word::Many, Word::Part)
        }
        Op::At => {
            let load = reference(graph, children[2]);
            match all() {
                Word::Part(part) if Some(part.load) == load => Word::None,
                word => word,
            }
        }
        _ => all(),
    }
}

/// A field below another: the bits of the first, counted from the lowest of the second.
pub(super) fn below(field: &BitField, from: &BitField) -> Option<BitField> {
    let mut shift = field.shift.clone();
    let less = |a: &Scalar, b: &Scalar| match (a, b) {
        (Scalar::Const(a), Scalar::Const(b)) => a.checked_sub(*b).map(Scalar::Const),
        _ => (a == b).then_some(Scalar::Const(0)),
    };
    shift.offset = less(&shift.offset, &from.shift.offset)?;
    for (sym, coefficient) in &from.shift.terms {
        let own = shift.terms.iter_mut().find(|(s, _)| s == sym)?;
        own.1 = less(&own.1, coefficient)?;
    }
    shift.terms.retain(|(_, c)| *c != Scalar::Const(0));
    Some(BitField {
        shift,
        ..field.clone()
    })
}
