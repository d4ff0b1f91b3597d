//! Quantising and decoding in the interpreter: bounds of values that pass through a block format.

use super::{Evaluated, Num};
use crate::format::codec::{CodecError, encode_tensor, eval_value};
use crate::format::element::{exponent, pow2};
use crate::format::grid::{BlockPlace, Grid, for_each_block};
use crate::format::{
    BinOp, BlockFormat, Element, Field, FieldId, Format, FormatKind, Scope, UnOp, ValueExpr,
};
use cranelift_entity::EntityRef;

/// Quantises numbers into a block format. The operand is made an f32 and encoded by the reference encoder; where it may
/// be off, a code may differ by one step.
pub(super) fn quantize(
    format: &Format,
    shape: &[u64],
    nums: &[Num],
) -> Result<Evaluated, CodecError> {
    let operand: Vec<f32> = nums.iter().map(|n| n.v as f32).collect();
    let bytes = encode_tensor(format, shape, &operand)?;
    let values: Vec<f64> = crate::format::codec::decode_tensor(format, shape, &bytes)?
        .into_iter()
        .map(f64::from)
        .collect();
    let mut bound = vec![0.0; nums.len()];
    if let FormatKind::Block(b) = &format.kind
        && let Some(grid) = Grid::new(b, shape)
    {
        // What rows and tensors share depends on all of their elements.
        let shared = b.fields.values().any(|f| f.scope != Scope::Block);
        let exact = nums.iter().all(|n| n.b == 0.0);
        for_each_block(b, &grid, |place, rows| {
            let members = rows.iter().flat_map(|(start, n)| *start..start + n);
            if exact || (!shared && members.clone().all(|at| nums[at].b == 0.0)) {
                return;
            }
            for (r, (start, n)) in rows.iter().enumerate() {
                for i in 0..*n {
                    bound[start + i] =
                        nums[start + i].b + code_step(b, &bytes, place, r as u32, i as u32);
                }
            }
        });
    }
    Ok(Evaluated {
        values,
        bound,
        bytes,
    })
}

/// How much the value of an element changes if each of its codes moves by one step.
fn code_step(b: &BlockFormat, bytes: &[u8], place: &BlockPlace, r: u32, i: u32) -> f64 {
    let code = |f: FieldId| b.code(bytes, place, f, r, i);
    let codes: Vec<u32> = b.fields.keys().map(code).collect();
    let decode = |f: FieldId| b.fields[f].element.decode(codes[f.index()]) as f32;
    let value = f64::from(eval_value(&b.value, &decode));
    let mut total = 0.0;
    for f in b.fields.keys() {
        let by = step(&b.fields[f].element, codes[f.index()]) as f32;
        let moved = |sign: f32| {
            f64::from(eval_value(&b.value, &|g| {
                if g == f {
                    decode(g) + sign * by
                } else {
                    decode(g)
                }
            }))
        };
        let change = (moved(1.0) - value).abs().max((moved(-1.0) - value).abs());
        total += if change.is_nan() { 0.0 } else { change };
    }
    total
}

/// The largest distance from a code's value to that of a neighbour.
pub(super) fn step(e: &Element, code: u32) -> f64 {
    let v = e.decode(code);
    match e {
        Element::Int { .. } | Element::UInt { .. } => 1.0,
        Element::Float(f) => {
            let low = f.min_exponent();
            let e = if v == 0.0 || !v.is_finite() {
                low
            } else {
                exponent(v).max(low)
            };
            pow2(e - i32::from(f.man))
        }
        Element::Codebook(c) => {
            let entries = c.legal_entries();
            let above = entries
                .iter()
                .map(|x| f64::from(*x) - v)
                .filter(|d| *d > 0.0)
                .fold(f64::INFINITY, f64::min);
            let below = entries
                .iter()
                .map(|x| v - f64::from(*x))
                .filter(|d| *d > 0.0)
                .fold(f64::INFINITY, f64::min);
            [above, below]
                .into_iter()
                .filter(|d| d.is_finite())
                .fold(0.0, f64::max)
        }
    }
}

/// Operations of a value expression.
pub(super) fn operations(e: &ValueExpr) -> usize {
    match e {
        ValueExpr::Const(_) | ValueExpr::Field(_) => 1,
        ValueExpr::Unary(_, a) => 1 + operations(a),
        ValueExpr::Binary(_, a, b) => 1 + operations(a) + operations(b),
    }
}

/// Whether a block's values are integers that are computed from integers.
pub(super) fn integer_value(b: &BlockFormat) -> bool {
    fn integer(b: &BlockFormat, e: &ValueExpr) -> bool {
        match e {
            ValueExpr::Const(c) => c.fract() == 0.0,
            ValueExpr::Field(f) => b.fields[*f].element.is_integer(),
            ValueExpr::Unary(UnOp::FloorPow2, _) => false,
            ValueExpr::Unary(_, a) => integer(b, a),
            ValueExpr::Binary(op, x, y) => *op != BinOp::Div && integer(b, x) && integer(b, y),
        }
    }
    integer(b, &b.value)
}

/// Whether a tensor's elements have integers of at most a byte, whose products with codes are those of bytes.
pub(super) fn has_bytes(format: &Format) -> bool {
    let byte = |e: &Element| e.is_integer() && e.bits() <= 8;
    match &format.kind {
        FormatKind::Plain(element) => byte(element),
        FormatKind::Block(b) => {
            let mut own = b.fields.values().filter(|f| f.per_element());
            own.any(|f| byte(&f.element))
        }
    }
}

/// For each element, the largest magnitude that its value may pass through however its formula is rearranged, where codes may
/// be counted from the smallest, too: those whose products are `in_bytes`.
pub(super) fn magnitudes(b: &BlockFormat, in_bytes: bool, shape: &[u64], bytes: &[u8]) -> Vec<f64> {
    let Some(grid) = Grid::new(b, shape) else {
        return Vec::new();
    };
    let mut out = vec![0.0; shape.iter().product::<u64>() as usize];
    // Sums of products of integers are exact, wherever they are counted from.
    let in_bytes = in_bytes && !integer_value(b);
    let smallest: Vec<Option<f64>> = b.fields.values().map(|f| smallest(f, in_bytes)).collect();
    for_each_block(b, &grid, |place, rows| {
        for (r, (start, n)) in rows.iter().enumerate() {
            for i in 0..*n {
                let decode = |f: FieldId| {
                    let code = b.code(bytes, place, f, r as u32, i as u32);
                    b.fields[f].element.decode(code)
                };
                let size = |f: FieldId| match smallest[f.index()] {
                    Some(least) => decode(f) - least + least.abs(),
                    None => decode(f).abs(),
                };
                out[start + i] = magnitude(&b.value, &decode, &size);
            }
        }
    });
    out
}

/// What the codes of elements are counted from where that makes them bytes without a sign: integers, and what has a small table
/// for products of bytes. Integers whose codes are neither whole bytes nor few always are.
fn smallest(field: &Field, in_bytes: bool) -> Option<f64> {
    let element = &field.element;
    let bits = element.bits();
    let integer = matches!(element, Element::Int { .. }) || element.counted_from().is_some();
    let counted = match bits {
        ..=4 => in_bytes && !element.has_nan_or_inf(),
        5..=7 => integer,
        _ => integer && in_bytes && bits == 8,
    };
    (field.per_element() && counted).then(|| element.range().0)
}

fn magnitude(
    e: &ValueExpr,
    decode: &impl Fn(FieldId) -> f64,
    size: &impl Fn(FieldId) -> f64,
) -> f64 {
    match e {
        ValueExpr::Const(c) => f64::from(*c).abs(),
        ValueExpr::Field(f) => size(*f),
        ValueExpr::Unary(UnOp::Round | UnOp::RoundAway | UnOp::Floor, a) => {
            magnitude(a, decode, size) + 1.0
        }
        ValueExpr::Unary(_, a) => magnitude(a, decode, size),
        ValueExpr::Binary(BinOp::Add | BinOp::Sub, a, b) => {
            magnitude(a, decode, size) + magnitude(b, decode, size)
        }
        ValueExpr::Binary(BinOp::Mul, a, b) => {
            magnitude(a, decode, size) * magnitude(b, decode, size)
        }
        ValueExpr::Binary(BinOp::Min | BinOp::Max, a, b) => {
            magnitude(a, decode, size).max(magnitude(b, decode, size))
        }
        ValueExpr::Binary(BinOp::Div, a, b) => {
            let divisor = eval_value(b, &|f| decode(f) as f32);
            magnitude(a, decode, size) / f64::from(divisor).abs()
        }
    }
}
