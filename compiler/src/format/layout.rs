//! Ids of layouts, and the way from one layout to another of the same fields.

use super::codec::{CodecError, check_bytes};
use super::grid::{BlockPlace, Grid};
use super::recode::{Recoding, Way};
use super::refuse::check_codes;
use super::sums::{fill_sums, same_sums};
use super::{
    BlockFormat, Element, Field, Format, FormatKind, Illegal, Part, Scope, Side, Specials, UnOp,
    ValueExpr,
};
use crate::hash::{SEED, fnv};
use cranelift_entity::EntityRef;
use std::borrow::Cow;

/// The identity of a layout: equal for two formats if the same bytes mean the same values in both, bit for bit and
/// field for field. Names, and how to encode, are no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(pub u64);

impl std::fmt::Display for LayoutId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The id of a format's layout. It is the same on every machine and in every version that reads language 1.
pub fn layout_id(format: &Format) -> LayoutId {
    let mut h = Fnv(SEED);
    match &format.kind {
        FormatKind::Plain(e) => {
            h.word(1);
            h.element(e);
        }
        FormatKind::Block(b) => {
            h.word(2);
            [b.rows, b.len, b.bytes, b.fields.len() as u32]
                .into_iter()
                .for_each(|w| h.word(w));
            for f in b.fields.values() {
                h.element(&f.element);
                h.word(scope_word(f.scope));
                h.word(f.count);
                f.occurrence.iter().for_each(|w| h.word(*w));
                if f.element.width() > 1 {
                    f.component.iter().for_each(|w| h.word(*w));
                }
                h.places(&f.parts);
            }
            if !b.frame.is_empty() {
                let [row, tensor] = [b.frame.row, b.frame.tensor];
                [50].into_iter()
                    .chain(row)
                    .chain(tensor)
                    .for_each(|w| h.word(w));
            }
            h.value(&b.value);
            if let Some(kept) = &b.kept {
                h.word(35);
                h.element(&kept.element);
                h.word(scope_word(kept.scope));
                h.places(&kept.parts);
            }
        }
    }
    LayoutId(h.0)
}

fn scope_word(scope: Scope) -> u32 {
    match scope {
        Scope::Block => 0,
        Scope::Row(side) => 1 + 2 * side as u32,
        Scope::Tensor(side) => 2 + 2 * side as u32,
    }
}

/// A hash that goes on word by word.
struct Fnv(u64);

impl Fnv {
    fn word(&mut self, w: u32) {
        self.0 = fnv(&w.to_le_bytes(), self.0);
    }

    /// A code in one place is hashed as its addresses alone, one in several with the widths of its parts.
    fn places(&mut self, parts: &[Part]) {
        for part in parts {
            if parts.len() > 1 {
                [30, u32::from(part.bits)]
                    .into_iter()
                    .for_each(|w| self.word(w));
            }
            part.address.iter().for_each(|w| self.word(*w));
        }
    }

    fn element(&mut self, e: &Element) {
        match e {
            Element::Int { bits } => [10, u32::from(*bits)]
                .into_iter()
                .for_each(|w| self.word(w)),
            Element::UInt { bits } => [11, u32::from(*bits)]
                .into_iter()
                .for_each(|w| self.word(w)),
            Element::Float(f) => {
                let specials = match f.specials {
                    Specials::Ieee => 0,
                    Specials::Finite => 1,
                    Specials::NanOnly => 2,
                    Specials::NanAtNegativeZero => 3,
                };
                let words = [
                    12,
                    u32::from(f.exp),
                    u32::from(f.man),
                    f.bias as u32,
                    specials,
                    u32::from(f.signed),
                    u32::from(f.subnormal),
                ];
                words.into_iter().for_each(|w| self.word(w));
            }
            Element::Codebook(c) => {
                [13, c.entries.len() as u32]
                    .into_iter()
                    .for_each(|w| self.word(w));
                if c.width > 1 {
                    [31, c.width].into_iter().for_each(|w| self.word(w));
                }
                if !c.holes.is_empty() {
                    [34, c.holes.len() as u32]
                        .iter()
                        .chain(&c.holes)
                        .for_each(|w| self.word(*w));
                }
                match c.illegal {
                    // What it was before formats could say so.
                    Illegal::Worth(v) if v.to_bits() == 0 => {}
                    _ if !c.has_illegal() => {}
                    Illegal::Worth(v) => [32, v.to_bits()].into_iter().for_each(|w| self.word(w)),
                    Illegal::Refused => self.word(33),
                }
                c.entries.iter().for_each(|v| self.word(v.to_bits()));
            }
        }
    }

    fn value(&mut self, e: &ValueExpr) {
        match e {
            ValueExpr::Const(c) => [20, c.to_bits()].into_iter().for_each(|w| self.word(w)),
            ValueExpr::Field(f) => [21, f.index() as u32]
                .into_iter()
                .for_each(|w| self.word(w)),
            ValueExpr::Unary(op, a) => {
                let code = match op {
                    UnOp::Neg => 0,
                    UnOp::Abs => 1,
                    UnOp::Round => 2,
                    UnOp::Floor => 3,
                    UnOp::FloorPow2 => 4,
                    UnOp::RoundAway => 5,
                    UnOp::Trunc => 6,
                };
                [22, code].into_iter().for_each(|w| self.word(w));
                self.value(a);
            }
            ValueExpr::Binary(op, a, b) => {
                [23, *op as u32].into_iter().for_each(|w| self.word(w));
                self.value(a);
                self.value(b);
            }
        }
    }
}

/// Whether two formats lay the same values out in the same way; names and `encode` clauses do not matter. Their ids are
/// equal then, but equal ids are no proof.
pub fn same_layout(a: &Format, b: &Format) -> bool {
    let (a, b) = match (&a.kind, &b.kind) {
        (FormatKind::Plain(a), FormatKind::Plain(b)) => return a.means_what(b),
        (FormatKind::Block(a), FormatKind::Block(b)) => (a, b),
        (FormatKind::Plain(_), FormatKind::Block(_))
        | (FormatKind::Block(_), FormatKind::Plain(_)) => {
            return false;
        }
    };
    let fields = || a.fields.values().zip(b.fields.values());
    (a.rows, a.len, a.bytes, a.fields.len()) == (b.rows, b.len, b.bytes, b.fields.len())
        && a.frame == b.frame
        && a.value == b.value
        && same_sums(a, b)
        && fields().all(|(x, y)| {
            x.element.means_what(&y.element)
                && (x.scope, x.count) == (y.scope, y.count)
                && x.occurrence == y.occurrence
                && x.component == y.component
                && x.parts == y.parts
        })
}

/// What keeps the codes of one layout from being those of the other, for the same values; `None` if nothing does. Names do
/// not matter, nor how many rows share a block, where the bits lie, which codes the values have, or whether neighbours share one.
pub fn fields_differ(from: &BlockFormat, to: &BlockFormat) -> Option<String> {
    ways(from, to).err()
}

/// How the codes of each field of one layout become those of the other, or what [`fields_differ`] says.
pub(crate) fn ways(from: &BlockFormat, to: &BlockFormat) -> Result<Vec<Way>, String> {
    if from.len != to.len {
        return Err(format!("blocks of {} and of {} elements", from.len, to.len));
    }
    let (a, b) = (from.fields.len(), to.fields.len());
    if a != b {
        return Err(format!("{a} and {b} fields"));
    }
    let way = |(a, b): (&Field, &Field)| {
        Way::between(a, b)
            .ok_or_else(|| format!("`{}` and `{}` are of different kinds", a.name, b.name))
    };
    let fields = from.fields.values().zip(to.fields.values());
    let ways = fields.map(way).collect::<Result<Vec<Way>, String>>()?;
    match from.value == to.value {
        true => Ok(ways),
        false => Err("an element is worth something else".into()),
    }
}

/// A format as blocks, if it is plain values and nothing else: each element is worth what its code is, or what that says for it.
fn plain_blocks(format: &Format) -> Option<Cow<'_, BlockFormat>> {
    let block = match &format.kind {
        FormatKind::Plain(element) => return Some(Cow::Owned(BlockFormat::of_plain(element, 1))),
        FormatKind::Block(block) => block,
    };
    let (id, field) = block.fields.iter().next()?;
    let plain = block.fields.len() == 1
        && field.scope == Scope::Block
        && block.value == ValueExpr::Field(id)
        && field.values_per_code(block.len).is_some();
    plain.then_some(Cow::Borrowed(block))
}

/// Two formats as blocks, if both hold the same plain values and one is no format of blocks.
fn plain_values<'a>(
    a: &'a Format,
    b: &'a Format,
) -> Option<(Cow<'a, BlockFormat>, Cow<'a, BlockFormat>)> {
    let plain = |f: &Format| matches!(f.kind, FormatKind::Plain(_));
    if !plain(a) && !plain(b) {
        return None;
    }
    let (a, b) = (plain_blocks(a)?, plain_blocks(b)?);
    let element = |b: &BlockFormat| Some(b.fields.values().next()?.element.clone());
    let (from, to) = (element(&a)?, element(&b)?);
    let ways = || Recoding::of(&from, &to).or_else(|| Recoding::of(&to, &from));
    (from == to || ways().is_some()).then_some((a, b))
}

/// Whether a format is a layout of the values of another: the same format if that is plain, else blocks with the same codes.
pub fn is_layout_of(layout: &Format, declared: &Format) -> bool {
    match &layout.kind {
        FormatKind::Plain(_) => same_layout(layout, declared),
        FormatKind::Block(_) => blocks_differ(declared, layout).is_none(),
    }
}

/// What keeps a format from being a layout in blocks of the values of another; `None` if nothing does.
pub fn blocks_differ(declared: &Format, layout: &Format) -> Option<String> {
    match (&declared.kind, &layout.kind) {
        (FormatKind::Block(from), FormatKind::Block(to)) => fields_differ(from, to),
        (FormatKind::Plain(_), FormatKind::Block(_)) => match plain_values(declared, layout) {
            Some(_) => None,
            None => Some("they are no blocks of such values".into()),
        },
        (_, FormatKind::Plain(_)) => Some("plain values are assigned, not moved".into()),
    }
}

/// The bytes of a tensor in another layout: of two block formats with the same fields, or of blocks of plain values and these
/// values. What this does is what kernels that move codes mean.
///
/// # Errors
/// If the layouts hold different codes, or the bytes are not those of a tensor of this shape.
pub fn move_codes(
    from: &Format,
    to: &Format,
    shape: &[u64],
    bytes: &[u8],
) -> Result<Vec<u8>, CodecError> {
    if let Some((from, to)) = plain_values(from, to) {
        return move_plain(&from, &to, shape, bytes);
    }
    match (&from.kind, &to.kind) {
        (FormatKind::Block(from), FormatKind::Block(to)) => relayout(from, to, shape, bytes),
        _ => Err(CodecError::Layouts {
            reason: "they are no blocks of the same fields".into(),
        }),
    }
}

/// Moves plain values. Where one side has joint codes, blocks of single codes that are as long as theirs are between.
fn move_plain(
    from: &BlockFormat,
    to: &BlockFormat,
    shape: &[u64],
    bytes: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let element = |b: &BlockFormat| b.fields.values().next().map(|f| f.element.clone());
    match (element(from), element(to)) {
        (Some(a), Some(b)) if Recoding::of(&a, &b).is_some() => {
            let between = BlockFormat::of_plain(&a, to.len.into());
            let single = regroup(from, &between, shape, bytes)?;
            relayout(&between, to, shape, &single)
        }
        (Some(a), Some(b)) if Recoding::of(&b, &a).is_some() => {
            let between = BlockFormat::of_plain(&b, from.len.into());
            let single = relayout(from, &between, shape, bytes)?;
            regroup(&between, to, shape, &single)
        }
        _ => regroup(from, to, shape, bytes),
    }
}

/// Moves every code of plain values from blocks of one size to blocks of another. Both are [`plain_blocks`] of equal elements;
/// padding and bits between codes become 0.
fn regroup(
    from: &BlockFormat,
    to: &BlockFormat,
    shape: &[u64],
    bytes: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let too_large = || CodecError::TooLarge {
        shape: shape.to_vec(),
    };
    let old = Grid::new(from, shape).ok_or_else(too_large)?;
    let new = Grid::new(to, shape).ok_or_else(too_large)?;
    let size = |grid: &Grid| {
        let bytes = usize::try_from(grid.size()?).ok();
        bytes.filter(|n| *n <= isize::MAX as usize)
    };
    if size(&old) != Some(bytes.len()) {
        return Err(too_large());
    }
    let mut out = vec![0; size(&new).ok_or_else(too_large)?];
    let (Some(read), Some(write)) = (from.fields.values().next(), to.fields.values().next()) else {
        return Ok(out);
    };
    if out.is_empty() {
        // An empty tensor may still have an axis of any length.
        return Ok(out);
    }
    for matrix in 0..old.matrices {
        for row in 0..old.rows {
            for column in 0..old.cols {
                let place = |b: &BlockFormat, g: &Grid| {
                    let (rows, len) = (u64::from(b.rows), u64::from(b.len));
                    let start = g.place(matrix, row / rows, column / len).block;
                    let slot = row % rows * len + column % len;
                    (start..start + b.bytes as usize, slot as usize)
                };
                let ((source, r), (target, w)) = (place(from, &old), place(to, &new));
                write.write(&mut out[target], w, read.read(&bytes[source], r));
            }
        }
    }
    fill_sums(to, shape, &mut out)?;
    Ok(out)
}

/// Moves every code of a tensor from one layout to another that holds the same fields: other rows to a block, other
/// addresses, joint codes of neighbours. Padding rows and bits between fields become 0. A code whose value another one has,
/// too, may come back from a joint code as the lowest of these.
pub fn relayout(
    from: &BlockFormat,
    to: &BlockFormat,
    shape: &[u64],
    bytes: &[u8],
) -> Result<Vec<u8>, CodecError> {
    let ways = ways(from, to).map_err(|reason| CodecError::Layouts { reason })?;
    let as_format = |name: &str, b: &BlockFormat| Format {
        name: name.into(),
        kind: FormatKind::Block(b.clone()),
    };
    let old = as_format("the old layout", from);
    check_bytes(&old, shape, bytes)?;
    check_codes(&old, shape, bytes)?;
    let too_large = || CodecError::TooLarge {
        shape: shape.to_vec(),
    };
    let size = as_format("the new layout", to)
        .tensor_bytes(shape)
        .filter(|n| *n <= isize::MAX as u64)
        .ok_or_else(too_large)?;
    let mut out = vec![0; size as usize];
    let old = Grid::new(from, shape).ok_or_else(too_large)?;
    let new = Grid::new(to, shape).ok_or_else(too_large)?;
    let mut move_fields = |like: Scope, (source, r): At, (target, s): At| {
        let fields = from.fields.values().zip(to.fields.values()).zip(&ways);
        for ((a, b), way) in fields.filter(|((a, _), _)| a.scope.is_like(like)) {
            let source = &bytes[source.of(a.scope)..];
            let target = &mut out[target.of(b.scope)..];
            way.row((a, source, r), (b, target, s));
        }
    };
    let all = Scope::Tensor(Side::Before);
    move_fields(all, (old.place(0, 0, 0), 0), (new.place(0, 0, 0), 0));
    // Without columns a row has nothing but what it has once, or no bytes at all: then there may be any number of rows.
    let rows = match old.across {
        0 if from.frame.row == [0, 0] => 0,
        _ => old.rows,
    };
    for matrix in 0..old.matrices {
        for row in 0..rows {
            let place = |b: &BlockFormat, g: &Grid, across: u64| {
                let group = row / u64::from(b.rows);
                let place = g.place(matrix, group, across);
                (place, (row % u64::from(b.rows)) as usize)
            };
            let whole = Scope::Row(Side::Before);
            move_fields(whole, place(from, &old, 0), place(to, &new, 0));
            for across in 0..old.across {
                let (source, target) = (place(from, &old, across), place(to, &new, across));
                move_fields(Scope::Block, source, target);
            }
        }
    }
    fill_sums(to, shape, &mut out)?;
    Ok(out)
}

/// A block, and which of its rows.
type At = (BlockPlace, usize);
