//! Codes that are read where they lie in their bytes. Where the codes of a byte belong to different groups of rows, all codes of
//! a sum lie at the same place of their bytes: without a shift they are as many times as large, and so is the sum, which
//! is multiplied with a power of two once.

use super::cuts::BlockUse;
use super::index::{Affine, Axes, AxisKind, Sym};
use super::layout::widths;
use super::leftover::Leftover;
use super::plan::facts;
use super::term::BitField;
use crate::format::recode;
use crate::format::{
    BinOp, BitWorths, BlockFormat, Element, Field, FormatKind, Part, Scope, UnOp, ValueExpr,
};
use crate::spec::kernel::{Binary, Expr, ExprId, Func, Kernel, Reduce, Role, Statement};
use crate::target::Target;
use std::sync::Arc;

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
    let integers = takes_integers(kernel, statement);
    let weights = blocks.iter().filter(|b| b.packed);
    let found = weights.map(|b| match b.free {
        true => wanted(&b.block, integers),
        false => found(&b.block, rows, integers),
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

/// Whether all that a call gives to a statement are integers: products with a code and with what is added to it are then exact,
/// and what should be 0 is.
fn takes_integers(kernel: &Kernel, statement: &Statement) -> bool {
    let given = facts(kernel, statement)
        .uses
        .into_iter()
        .filter(|(tensor, _)| matches!(kernel.tensors[*tensor].role, Role::Input | Role::Local));
    let mut formats = given.map(|(tensor, _)| &kernel.tensors[tensor].format.kind);
    formats.all(|kind| match kind {
        FormatKind::Plain(element) => element.is_integer(),
        FormatKind::Block(block) => {
            let mut own = block.fields.values().filter(|f| f.per_element());
            own.all(|f| f.element.is_integer())
        }
    })
}

/// How many groups suit the codes of a block that are to be placed.
fn wanted(block: &BlockFormat, integers: bool) -> Option<u64> {
    let narrow = block.fields.values().filter(|f| is_narrow(block, f));
    // Where parts of a block have scales of their own, what these add up to waits beside their sums.
    let mut counts = block.fields.values().map(|f| f.count);
    let scaled = counts.any(|count| count > 1 && count < block.len);
    let sums = if scaled { SUMS / 2 } else { SUMS };
    let of_field = |field: &Field| {
        let element = &field.element;
        let counted = recode::counted(element).map(|book| Element::Codebook(book.into()));
        let element = counted.as_ref().unwrap_or(element);
        if let Some(leftover) = Leftover::of(element.bits()) {
            exact_worths(element, &[element.bits()], integers)?;
            // Else no code but those of several pieces is shifted.
            let several = leftover.in_byte() > 1 && sums >= leftover.codes.into();
            return several.then_some(sums);
        }
        let widths = widths(element.bits(), true, 1);
        exact_worths(element, &widths, integers)?;
        let mut in_a_byte = widths.iter().map(|width| 8 / u64::from(*width));
        let worthwhile = in_a_byte.all(|codes| codes >= WORTHWHILE);
        worthwhile.then_some(sums / widths.len() as u64)
    };
    let all: Option<Vec<u64>> = narrow.map(of_field).collect();
    all?.into_iter().min()
}

/// How many groups of rows share bytes.
fn found(block: &BlockFormat, rows: u64, integers: bool) -> Option<u64> {
    let narrow = block.fields.values().filter(|f| is_narrow(block, f));
    let of_field = |field: &Field| {
        exact_worths(&field.element, &part_widths(field), integers)?;
        if lies_whole(field) {
            return groups_of(field, block.rows, rows);
        }
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

/// The worths of the parts, if they add up exactly: what a code is worth without any bit is nothing, or multiplied with integers
/// only. Else sums of codes that are worth 0 would be what rounding leaves of others.
fn exact_worths(element: &Element, widths: &[u32], integers: bool) -> Option<(f64, Vec<f64>)> {
    let zero_of_others = |zero: f64| zero != 0.0 && element.values().contains(&0.0);
    worths(element, widths).filter(|(zero, _)| integers || !zero_of_others(*zero))
}

/// How many groups of so many rows lie as their codes, one of each, do in a few bytes.
fn groups_of(field: &Field, of_block: u32, rows: u64) -> Option<u64> {
    let leftover = Leftover::of(field.element.bits())?;
    let mut first = (0..of_block).step_by(rows as usize);
    let lies = |code: u32| {
        let row = first.next()?;
        let lies = |(part, place): (u32, &Part)| {
            let address = place.address.get((row * field.count) as usize);
            address.is_some_and(|bit| bit % 8 == leftover.place(code, part).1)
        };
        (0..).zip(&field.parts).all(lies).then_some(())
    };
    let all: Option<Vec<()>> = (0..leftover.codes).map(lies).collect();
    all.map(|_| leftover.codes.into())
}

/// What a code is worth that is read where it lies.
pub(super) struct InPlace {
    /// Where no bit is set.
    pub zero: f64,
    /// The lowest bit of each part that is read alone.
    pub worths: Vec<f64>,
}

impl InPlace {
    /// Of a field, if it may be read so.
    pub(super) fn of(block: &BlockFormat, field: &Field) -> Option<InPlace> {
        let narrow = is_narrow(block, field) && is_linear_value(&block.value);
        let (zero, worths) = worths(&field.element, &part_widths(field)).filter(|_| narrow)?;
        Some(InPlace { zero, worths })
    }
}

/// The widths of what is read alone: the parts of a code, or all of it where codes lie whole.
fn part_widths(field: &Field) -> Vec<u32> {
    match lies_whole(field) {
        true => vec![field.element.bits()],
        false => field.parts.iter().map(|p| p.bits.into()).collect(),
    }
}

/// Whether some code that has parts has them side by side.
fn lies_whole(field: &Field) -> bool {
    let mut beside = field.parts.windows(2).map(|pair| {
        let up = u32::from(pair[0].bits);
        let mut both = pair[0].address.iter().zip(&pair[1].address);
        both.any(|(low, high)| low + up == *high)
    });
    field.parts.len() > 1 && beside.all(|beside| beside)
}

/// The largest place of a code in its byte: two products of such bytes fit 16 bits.
const HIGHEST: u32 = 7;

/// How far codes of so many bits stay above the low end of their bytes which lie at a shift; `None` where they do not differ from
/// row to row, or not by rows alone.
pub(super) fn kept_up(shift: &Affine, bits: u32, axes: &Axes) -> Option<Affine> {
    let rows = |axis| axes[axis].kind == AxisKind::Unroll && axes[axis].output;
    let moves = shift.axes();
    if moves.is_empty() || !moves.iter().all(rows) {
        return None;
    }
    let most = HIGHEST.checked_sub(bits)?;
    let entries = (0..8).map(|shift| most.min(shift)).collect();
    Some(Affine::symbol(Sym::Table(
        Arc::new(entries),
        Box::new(shift.clone()),
    )))
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
