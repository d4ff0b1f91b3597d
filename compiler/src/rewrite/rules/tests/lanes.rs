//! Registers of the evaluator and what is done to their lanes: holding a number, reading bits as another type, groups.

use super::number::{Bad, Num, apply};
use crate::format::Element;
use crate::rewrite::lang::{Op, Ty};
use crate::schedule::index::AxisSet;

/// A lane of a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    /// What it holds.
    pub(super) value: Num,
    /// Whether that is not the number that it stands for, or one of its operands was not.
    pub(super) wrapped: bool,
}

/// A vector.
#[derive(Clone, Debug)]
pub(super) struct Vector {
    /// Its lane list, the highest axis innermost.
    pub(super) set: AxisSet,
    /// Its number type.
    pub(super) ty: Ty,
    /// Its lanes.
    pub(super) lanes: Vec<Lane>,
}

/// A number in a register of a type.
pub(super) fn hold(ty: Ty, value: Num) -> Result<Lane, Bad> {
    if ty == Ty::F32 {
        let wrapped = false;
        return Ok(Lane { value, wrapped });
    }
    let exact = value.integer().ok_or(Bad::Undefined)?;
    let held = reinterpret(ty, exact);
    Ok(Lane {
        value: Num::Int(held),
        wrapped: held != exact,
    })
}

/// The low bits of an integer, read as a type.
pub(super) fn reinterpret(ty: Ty, value: i128) -> i128 {
    let modulus = 1i128 << ty.bits();
    let low = value.rem_euclid(modulus);
    let signed = matches!(ty, Ty::I8 | Ty::I16 | Ty::I32);
    if signed && low >= modulus / 2 {
        low - modulus
    } else {
        low
    }
}

impl Lane {
    /// The integer that it holds.
    pub(super) fn integer(self) -> i128 {
        self.value.integer().expect("registers of integers")
    }

    /// Wrapped, if something else was.
    fn or(self, wrapped: bool) -> Lane {
        let wrapped = self.wrapped || wrapped;
        Lane { wrapped, ..self }
    }
}

impl Vector {
    /// The vector, if it is of the type.
    pub(super) fn of_type(self, ty: Ty) -> Result<Vector, Bad> {
        if self.ty == ty {
            Ok(self)
        } else {
            Err(Bad::Fault("a register of another type"))
        }
    }

    /// What becomes of every lane.
    pub(super) fn map(self, ty: Ty, f: impl Fn(Lane) -> Result<Lane, Bad>) -> Result<Vector, Bad> {
        let Vector { set, lanes, .. } = self;
        let lanes = lanes.into_iter().map(|l| Ok(f(l)?.or(l.wrapped)));
        let lanes = lanes.collect::<Result<_, _>>()?;
        Ok(Vector { set, ty, lanes })
    }
}

/// A value that its register must hold.
pub(super) fn in_range(lane: Lane) -> Result<Lane, Bad> {
    if lane.wrapped {
        return Err(Bad::Fault("an entry that the type does not hold"));
    }
    Ok(lane)
}

/// The entry of a table at a code.
pub(super) fn entry(entries: &[f64], code: Lane) -> Result<f64, Bad> {
    let code = usize::try_from(code.integer()).ok();
    let entry = code.and_then(|c| entries.get(c));
    entry.copied().ok_or(Bad::Fault("past a table"))
}

/// A value of a table in memory: integers there are as near as 32 bits come.
pub(super) fn in_memory(ty: Ty, value: f64) -> Result<Lane, Bad> {
    match ty {
        Ty::F32 => hold(ty, Num::of(value)?),
        _ => hold(ty, Num::Int(i128::from(value as i32))),
    }
}

/// What an accumulator becomes.
pub(super) fn accumulate(op: Op, ty: Ty, x: &[Lane]) -> Result<Lane, Bad> {
    let scalar = match op {
        Op::VSum | Op::VSumBytes | Op::VFold => Op::Add,
        _ => Op::Max,
    };
    let wrapped = x[0].wrapped || x[1].wrapped;
    Ok(hold(ty, apply(scalar, &[x[0].value, x[1].value])?)?.or(wrapped))
}

/// Lanes of equal vectors together.
pub(super) fn zip(
    ty: Ty,
    x: &[Vector],
    f: impl Fn(&[Lane]) -> Result<Lane, Bad>,
) -> Result<Vector, Bad> {
    let set = x[0].set;
    if x.iter().any(|v| v.set != set) {
        return Err(Bad::Fault("vectors over other lanes"));
    }
    let lanes = (0..x[0].lanes.len()).map(|at| {
        let operands: Vec<Lane> = x.iter().map(|v| v.lanes[at]).collect();
        let wrapped = operands.iter().any(|l| l.wrapped);
        Ok(f(&operands)?.or(wrapped))
    });
    let lanes = lanes.collect::<Result<_, _>>()?;
    Ok(Vector { set, ty, lanes })
}

/// Groups of neighbouring lanes as one lane each.
pub(super) fn neighbours(
    set: AxisSet,
    ty: Ty,
    lanes: &[Lane],
    group: usize,
    f: impl Fn(&[Lane]) -> Result<Lane, Bad>,
) -> Result<Vector, Bad> {
    let lanes = lanes.chunks(group).map(|lanes| {
        let wrapped = lanes.iter().any(|l| l.wrapped);
        Ok(f(lanes)?.or(wrapped))
    });
    let lanes = lanes.collect::<Result<_, _>>()?;
    Ok(Vector { set, ty, lanes })
}

/// A float from its code: the bits moved to where an f32 has them, and a product with a power of two.
pub(super) fn bit_arithmetic(element: &Element, code: i128) -> Result<Num, Bad> {
    let Element::Float(float) = element else {
        return Err(Bad::Fault("no float"));
    };
    let code = reinterpret(Ty::I32, code) as i32 as u32;
    let low = |bits: u32| ((1u64 << bits) - 1) as u32;
    let exact = element.decode(code & low(element.bits()));
    if !exact.is_finite() {
        return Err(Bad::Undefined);
    }
    let magnitude = code & low(u32::from(float.exp) + u32::from(float.man));
    let placed = f32::from_bits(magnitude << (23 - u32::from(float.man)));
    let mut value = placed * 2f64.powi(127 - float.bias) as f32;
    if !float.subnormal && magnitude < 1 << float.man.min(4) {
        value = element.decode(magnitude) as f32;
    }
    let negative = float.signed && code >> (element.bits() - 1) & 1 == 1;
    Num::of(f64::from(if negative { -value } else { value }))
}
