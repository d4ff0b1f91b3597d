//! The rows of a block, and what the ways to encode it share.

use crate::format::Element;
use crate::lower::Lower;
use crate::vector::ir::{Bin, Op, Scalar, Type, Value};

/// The rows of a block.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Pointer to the first of their values.
    pub(super) values: Value,
    /// The bytes from one to the next; not looked at where a block has one row.
    pub(super) stride: Value,
    /// How many there are of those that share the block; not looked at where a block has one row.
    pub(super) height: Value,
}

impl Rows {
    /// The row of blocks that have one.
    pub(super) fn one(values: Value) -> Rows {
        Rows {
            values,
            stride: values,
            height: values,
        }
    }

    /// Pointer to the values of one of them.
    pub(super) fn row(self, lower: &mut Lower<'_>, row: u32) -> Value {
        if row == 0 {
            return self.values;
        }
        let number = lower.scalar(&Scalar::Const(u64::from(row)));
        let far = lower.bin(Bin::IMul, self.stride, number);
        lower.bin(Bin::IAdd, self.values, far)
    }

    /// The same rows some values further on.
    pub(super) fn from(self, lower: &mut Lower<'_>, at: Value, values: u64) -> Rows {
        Rows {
            values: lower.offset(self.values, at, &Scalar::Const(4 * values)),
            ..self
        }
    }
}

/// A code without bits above it: those of a negative integer.
pub(super) fn clean(lower: &mut Lower<'_>, element: &Element, code: Value, ty: Type) -> Value {
    match element {
        Element::Int { bits } if *bits < 32 => {
            let mask = lower.put_at(0, ty, Op::IConst((1i64 << bits) - 1));
            lower.bin(Bin::And, code, mask)
        }
        _ => code,
    }
}
