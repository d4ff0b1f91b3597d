//! The term that the rewriter gets: the body of one statement under one schedule, over loads with interned addresses.
//! A term denotes a real number for each value of its free axes.

use super::index::{Affine, AxisId, AxisSet};
use crate::format::Element;
use crate::spec::kernel::{Compare, Func, TensorId};
use crate::vector::ir::Scalar;
use cranelift_entity::{PrimaryMap, entity_impl};

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

/// Bits of a number: `((number >> shift) & (2^width - 1)) << up`; the shift may depend on unrolled axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BitField {
    /// Bits to shift right by.
    pub shift: Affine,
    /// How many bits.
    pub width: u8,
    /// The place of the lowest of them in the code.
    pub up: u8,
}

impl BitField {
    /// One bit, as a number of its own.
    pub fn bit(shift: Affine) -> BitField {
        BitField {
            shift,
            width: 1,
            up: 0,
        }
    }
    /// The largest value it can have.
    pub fn most(&self) -> f64 {
        (2f64.powi(i32::from(self.width)) - 1.0) * 2f64.powi(i32::from(self.up))
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
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// The arena; operands first, equal terms shared.
    pub terms: PrimaryMap<TermId, Term>,
    /// Loads.
    pub loads: PrimaryMap<LoadId, Load>,
    /// Bit fields.
    pub fields: Vec<BitField>,
    /// Elements that are decoded.
    pub elements: Vec<Element>,
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
        let id = match self.loads.iter().find(|(_, l)| **l == load) {
            Some((id, _)) => id,
            None => self.loads.push(load),
        };
        self.add(Term::Load(id))
    }
    /// Takes a code out of a byte.
    pub fn bits(&mut self, field: BitField, byte: TermId) -> TermId {
        let at = self
            .fields
            .iter()
            .position(|f| *f == field)
            .unwrap_or_else(|| {
                self.fields.push(field);
                self.fields.len() - 1
            });
        self.add(Term::Bits(at as u32, byte))
    }
    /// Decodes a code.
    pub fn element(&mut self, element: &Element, code: TermId) -> TermId {
        let at = self
            .elements
            .iter()
            .position(|e| e == element)
            .unwrap_or_else(|| {
                self.elements.push(element.clone());
                self.elements.len() - 1
            });
        self.add(Term::Element(at as u32, code))
    }
    /// The axes a load depends on.
    pub fn load_axes(&self, load: LoadId) -> AxisSet {
        let load = &self.loads[load];
        load.bit
            .iter()
            .fold(load.address.axes(), |set, bit| set.union(bit.axes()))
    }
}
