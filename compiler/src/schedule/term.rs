//! The term that the rewriter gets: the body of one statement under one schedule, over loads with interned addresses.
//! A term denotes a real number for each value of its free axes.

use super::index::{Affine, Axes, AxisId, AxisSet};
use crate::format::Element;
use crate::spec::kernel::{Compare, Func, TensorId};
use crate::vector::ir::Scalar;
use cranelift_entity::{PrimaryMap, entity_impl};
use std::collections::BTreeSet;

/// Most bits of codes that a look-up in registers has entries for.
const FEW: u32 = 4;

/// A load, interned.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadId(u32);
entity_impl!(LoadId, "ld");

/// A term of the arena.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TermId(u32);
entity_impl!(TermId, "x");

/// How a number lies in memory, read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Storage {
    /// An unsigned byte.
    U8,
    /// A signed byte.
    I8,
    /// An unsigned 16-bit integer.
    U16,
    /// A signed 16-bit integer.
    I16,
    /// A 32-bit integer, signed.
    I32,
    /// IEEE single precision.
    F32,
    /// `bits` bits from a bit address that is no multiple of anything (fetched byte by byte), unsigned.
    Code {
        /// Width of the code, 1 to 32.
        bits: u8,
    },
    /// Nothing in memory: a number that follows from the place alone.
    Place {
        /// What it is below.
        below: u32,
    },
}

/// Where a number is read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// The tensor (of the kernel).
    pub tensor: TensorId,
    /// How it lies in memory.
    pub storage: Storage,
    /// Byte address in the tensor; for `Storage::Code` of the block, and `bit` is added.
    pub address: Affine,
    /// For `Storage::Code`: bits after the byte address. For `Storage::Place`: the number itself.
    pub bit: Option<Affine>,
}

/// Bits of a number: `((number >> shift) & (2^width - 1)) << up`; the shifts may depend on unrolled axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BitField {
    /// Bits to shift right by.
    pub shift: Affine,
    /// How many bits.
    pub width: u8,
    /// The place of the lowest of them in the code.
    pub up: Affine,
}

impl BitField {
    /// One bit, as a number of its own.
    pub fn bit(shift: Affine) -> BitField {
        BitField {
            shift,
            width: 1,
            up: Affine::constant(0),
        }
    }
    /// The axes that it changes with.
    pub fn axes(&self) -> AxisSet {
        self.shift.axes().union(self.up.axes())
    }
    /// Where the lowest bit is moved to, if that is the same for all copies.
    pub fn fixed_up(&self) -> Option<u64> {
        match (&self.up.terms[..], &self.up.offset) {
            ([], Scalar::Const(up)) => Some(*up),
            _ => None,
        }
    }
    /// The largest value it can have.
    pub fn most(&self, axes: &Axes) -> f64 {
        let bits = 2f64.powi(i32::from(self.width)) - 1.0;
        let up = self.up.most(axes);
        up.map_or(f64::INFINITY, |up| bits * 2f64.powi(up.min(1 << 10) as i32))
    }
}

/// What numbers are worth that were moved up, `2^-bits`, or what they are beside others that were, `times * 2^bits`; the bits may
/// depend on unrolled axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Bits by which numbers are moved up.
    pub bits: Affine,
    /// What to move up; `None` for the worth of what was moved.
    pub times: Option<f64>,
}

impl Unit {
    /// Its value where numbers are moved up by so many bits.
    pub fn at(&self, bits: u64) -> f64 {
        let bits = bits.min(1 << 10) as i32;
        match self.times {
            Some(times) => times * 2f64.powi(bits),
            None => 2f64.powi(-bits),
        }
    }
    /// The least and the largest value.
    pub fn range(&self, axes: &Axes) -> (f64, f64) {
        let none = self.at(0);
        let all = match (self.bits.most(axes), self.times) {
            (Some(bits), _) => self.at(bits),
            (None, Some(times)) => times * f64::INFINITY,
            (None, None) => 0.0,
        };
        (none.min(all), none.max(all))
    }
    /// Whether it is an integer whatever the bits are.
    pub fn is_integer(&self) -> bool {
        self.times.is_some_and(|times| times.fract() == 0.0)
    }
}

/// Declared (f32, rounded) arithmetic on terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strict {
    /// Rounded sum.
    Add,
    /// Rounded difference.
    Sub,
    /// Rounded product.
    Mul,
    /// Rounded quotient.
    Div,
    /// Smaller; a NaN loses.
    Min,
    /// Larger; a NaN loses.
    Max,
}

/// A real-valued term.
#[derive(Clone, Debug, PartialEq)]
pub enum Term {
    /// A literal.
    Const(f64),
    /// A number known before the call (an extent).
    Scalar(Scalar),
    /// A number in memory.
    Load(LoadId),
    /// A code within a loaded byte.
    Bits(u32, TermId),
    /// What a number is worth in the copies of rows.
    Unit(u32),
    /// The value of a code.
    Element(u32, TermId),
    /// Sum of all.
    Add(Vec<TermId>),
    /// Product of all.
    Mul(Vec<TermId>),
    /// Quotient.
    Div(TermId, TermId),
    /// The smaller.
    Min(TermId, TermId),
    /// The larger.
    Max(TermId, TermId),
    /// A function.
    Func(Func, TermId),
    /// `compare(a, b) ? t : f`
    Select(Compare, [TermId; 4]),
    /// Rounded arithmetic, opaque to the laws of reals.
    Strict(Strict, TermId, TermId),
    /// Sum over an axis.
    Sum(AxisId, TermId),
    /// Largest over an axis.
    MaxOver(AxisId, TermId),
}

/// The terms of one statement, with what they refer to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    /// The arena; operands first, equal terms shared.
    pub terms: PrimaryMap<TermId, Term>,
    /// Loads.
    pub loads: PrimaryMap<LoadId, Load>,
    /// Bit fields.
    pub fields: Vec<BitField>,
    /// Elements that are decoded.
    pub elements: Vec<Element>,
    /// What numbers are worth.
    pub units: Vec<Unit>,
    /// Loads of codes that some elements of a block have together.
    pub shared: BTreeSet<LoadId>,
}

impl Terms {
    /// Adds a term, or finds an equal one.
    pub fn add(&mut self, term: Term) -> TermId {
        match self.terms.iter().find(|(_, t)| **t == term) {
            Some((id, _)) => id,
            None => self.terms.push(term),
        }
    }
    /// Adds a load, or finds an equal one.
    pub fn load(&mut self, load: Load) -> TermId {
        let id = self.load_id(load);
        self.add(Term::Load(id))
    }
    /// Notes that elements share the code that a load reads.
    pub fn share(&mut self, load: Load) {
        let id = self.load_id(load);
        self.shared.insert(id);
    }
    fn load_id(&mut self, load: Load) -> LoadId {
        match self.loads.iter().find(|(_, l)| **l == load) {
            Some((id, _)) => id,
            None => self.loads.push(load),
        }
    }
    /// Takes a code out of a byte.
    pub fn bits(&mut self, field: BitField, byte: TermId) -> TermId {
        let field = number_of(&mut self.fields, field);
        self.add(Term::Bits(field, byte))
    }
    /// What a number is worth.
    pub fn unit(&mut self, unit: Unit) -> TermId {
        let unit = number_of(&mut self.units, unit);
        self.add(Term::Unit(unit))
    }
    /// Decodes a code. One counted from a number is an integer above it; fewer codes than those are better off in a table.
    pub fn element(&mut self, element: &Element, code: TermId) -> TermId {
        if let Some(first) = element.counted_from().filter(|_| element.bits() > FEW) {
            let above = self.element(
                &Element::UInt {
                    bits: element.bits() as u8,
                },
                code,
            );
            let first = self.add(Term::Const(first));
            return self.add(Term::Add(vec![above, first]));
        }
        let element = number_of(&mut self.elements, element.clone());
        self.add(Term::Element(element, code))
    }
    /// The axes a load depends on.
    pub fn load_axes(&self, load: LoadId) -> AxisSet {
        let load = &self.loads[load];
        load.bit
            .iter()
            .fold(load.address.axes(), |set, bit| set.union(bit.axes()))
    }
}

/// The number of a thing among those that are known, which it is added to if it is new.
fn number_of<T: PartialEq>(known: &mut Vec<T>, new: T) -> u32 {
    let at = known.iter().position(|k| *k == new).unwrap_or_else(|| {
        known.push(new);
        known.len() - 1
    });
    at as u32
}
