//! Codes that are read where they lie in their bytes. Where the codes of a byte belong to different groups of rows, all codes of
//! a sum lie at the same place of their bytes: without a shift they are as many times as large, and so is the sum, which
//! is multiplied with a power of two once.

use super::cuts::BlockUse;
use super::index::{Affine, Axes, AxisKind};
use super::layout::widths;
use super::term::BitField;
use crate::format::BinOp;
use crate::format::{
    BitWorths, BlockFormat, Element, Field, FormatKind, Part, Scope, UnOp, ValueExpr,
};
use crate::spec::kernel::{Binary, Expr, ExprId, Func, Kernel, Reduce, Statement};
use crate::target::Target;

/// Sums that registers hold beside each other: as many as hide how long each waits for its products.
pub(super) const SUMS: u64 = 8;

/// Codes of a byte of which most would be shifted.
const WORTHWHILE: u64 = 4;

/// The largest worth of a bit: with such, sums are integers of 32 bits.
const LARGEST: f64 = 16.0;

/// The groups of so many rows whose codes share bytes and may be read in place: as many as layouts that are fixed have, or as
/// suit the free ones; `None` where codes are better moved.
pub(super) fn groups(
    kernel: &Kernel,
    statement: &Statement,
    blocks: &[BlockUse<'_>],
    rows: u64,
    target: &Target,
) -> Option<u64> {
    let results = statement.targets.iter();
    let mut results = results.map(|t| (t.value, &kernel.tensors[t.tensor].format.kind));
    let linear = results.all(|(value, kind)| {
        matches!(kind, FormatKind::Plain(Element::Float(_))) && is_linear(kernel, value)
    });
    // Codes at the top of their bytes are no signed bytes, and pairs of their products do not fit 16 bits.
    if !linear || !target.multiplies_bytes() {
        return None;
    }
    let weights = blocks.iter().filter(|b| b.packed);
    let found = weights.map(|b| match b.free {
        true => wanted(&b.block),
        false => found(&b.block, rows),
    });
    found.flatten().min().filter(|groups| *groups >= WORTHWHILE)
}

/// Whether a value is made by sums and products alone: nothing in it has steps.
fn is_linear(kernel: &Kernel, value: ExprId) -> bool {
    let node = &kernel.exprs[value];
    let own = match node {
        Expr::Const(_) | Expr::Load(..) => true,
        Expr::Unary(func, _) => *func == Func::Neg,
        Expr::Binary(op, ..) => matches!(op, Binary::Add | Binary::Sub | Binary::Mul),
        Expr::Reduce(reduce, ..) => *reduce == Reduce::Sum,
        Expr::Dim(_) | Expr::Select(..) => false,
    };
    own && node.operands().into_iter().all(|e| is_linear(kernel, e))
}

/// The same of the value of a block.
fn is_linear_value(value: &ValueExpr) -> bool {
    match value {
        ValueExpr::Const(_) | ValueExpr::Field(_) => true,
        ValueExpr::Unary(op, a) => *op == UnOp::Neg && is_linear_value(a),
        ValueExpr::Binary(op, a, b) => {
            let ring = matches!(op, BinOp::Add | BinOp::Sub | BinOp::Mul);
            ring && is_linear_value(a) && is_linear_value(b)
        }
    }
}

/// Whether a field has a code for each element, narrower than a byte.
fn is_narrow(block: &BlockFormat, field: &Field) -> bool {
    field.scope == Scope::Block && field.count == block.len && field.element.bits() < 8
}

/// How many groups suit the codes of a block that are to be placed.
fn wanted(block: &BlockFormat) -> Option<u64> {
    let narrow = block.fields.values().filter(|f| is_narrow(block, f));
    // Where parts of a block have scales of their own, what these add up to waits beside their sums.
    let mut shared = block.fields.values().map(|f| f.count);
    if shared.any(|count| count > 1 && count < block.len) {
        return None;
    }
    let of_field = |field: &Field| {
        let widths = widths(field.element.bits(), true, 1);
        worths(&field.element, &widths)?;
        let mut in_a_byte = widths.iter().map(|width| 8 / u64::from(*width));
        let worthwhile = in_a_byte.all(|codes| codes >= WORTHWHILE);
        worthwhile.then_some(SUMS / widths.len() as u64)
    };
    let all: Option<Vec<u64>> = narrow.map(of_field).collect();
    all?.into_iter().min()
}

/// How many groups of rows share bytes.
fn found(block: &BlockFormat, rows: u64) -> Option<u64> {
    let narrow = block.fields.values().filter(|f| is_narrow(block, f));
    let of_field = |field: &Field| {
        worths(&field.element, &part_widths(field))?;
        let of_part = |part: &Part| {
            let bit = |row: u32| part.address.get((row * field.count) as usize);
            let byte = |row: u32| bit(row).map(|bit| bit / 8);
            let first = (0..block.rows).step_by(rows as usize);
            first.take_while(|row| byte(*row) == byte(0)).count() as u64
        };
        field.parts.iter().map(of_part).max()
    };
    let all: Option<Vec<u64>> = narrow.map(of_field).collect();
    all?.into_iter().max()
}

/// What the lowest bits of the parts of a code are worth, if the other bits of each are worth twice as much as the one below.
fn worths(element: &Element, widths: &[u32]) -> Option<(f64, Vec<f64>)> {
    let BitWorths { zero, bits } = element.bit_worths()?;
    let whole = |worth: &f64| worth.fract() == 0.0 && worth.abs() <= LARGEST;
    if !bits.iter().chain([&zero]).all(whole) {
        return None;
    }
    let mut rest = &bits[..];
    let mut lowest = Vec::new();
    for width in widths {
        let (part, above) = rest.split_at_checked(*width as usize)?;
        let doubled = |pair: &[f64]| pair[1] == 2.0 * pair[0];
        if !part.windows(2).all(doubled) {
            return None;
        }
        lowest.push(*part.first()?);
        rest = above;
    }
    Some((zero, lowest))
}

/// What the parts of a field are worth that may be read in place.
pub(super) fn parts_of(block: &BlockFormat, field: &Field) -> Option<(f64, Vec<f64>)> {
    let narrow = is_narrow(block, field) && is_linear_value(&block.value);
    worths(&field.element, &part_widths(field)).filter(|_| narrow)
}

fn part_widths(field: &Field) -> Vec<u32> {
    field.parts.iter().map(|p| p.bits.into()).collect()
}

impl BitField {
    /// The field with its bits left where rows differ; `None` where they do not.
    pub(super) fn in_place(&self, axes: &Axes) -> Option<BitField> {
        let rows = |axis| axes[axis].kind == AxisKind::Unroll && axes[axis].output;
        let terms = self.shift.terms.iter();
        let of_rows = terms.filter(|(sym, _)| Affine::symbol(sym.clone()).axes().iter().all(rows));
        let up = Affine {
            terms: of_rows.cloned().collect(),
            ..Affine::constant(0)
        };
        (!up.terms.is_empty()).then(|| BitField { up, ..self.clone() })
    }
}
