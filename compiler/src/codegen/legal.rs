//! How IR types map onto Cranelift: a scalar is a scalar; a vector is one or more registers of 128 bits, and a vector
//! shorter than a register is the low part of one.

use crate::vector::ir::{Elem, Type};
use cranelift_codegen::ir::{self, types};

/// Bytes of a register.
pub(super) const REGISTER: u32 = 16;

/// How a value is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Cranelift's type of each part.
    pub(super) clif: ir::Type,
    /// Number of parts.
    pub(super) parts: usize,
    /// Lanes of the IR value in each part.
    pub(super) lanes: u16,
}

/// The scalar type of an element.
pub(super) fn scalar(elem: Elem) -> ir::Type {
    match elem {
        Elem::I8 => types::I8,
        Elem::I16 => types::I16,
        Elem::I32 => types::I32,
        Elem::I64 => types::I64,
        Elem::F32 => types::F32,
    }
}

/// The register type of an element.
pub(super) fn register(elem: Elem) -> ir::Type {
    match elem {
        Elem::I8 => types::I8X16,
        Elem::I16 => types::I16X8,
        Elem::I32 => types::I32X4,
        Elem::I64 => types::I64X2,
        Elem::F32 => types::F32X4,
    }
}

/// Lanes of a register.
pub(super) fn lanes(elem: Elem) -> u16 {
    (REGISTER * 8 / elem.bits()) as u16
}

/// How a type is held.
pub(super) fn shape(ty: Type) -> Shape {
    if ty.lanes == 1 {
        return Shape {
            clif: scalar(ty.elem),
            parts: 1,
            lanes: 1,
        };
    }
    let full = lanes(ty.elem);
    let parts = usize::from(ty.lanes.div_ceil(full));
    Shape {
        clif: register(ty.elem),
        parts,
        lanes: ty.lanes.min(full),
    }
}
