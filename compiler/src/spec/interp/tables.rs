//! What `tables int8` permits: how far apart the values of codes are, and what a product may be off.

use super::number::Num;
use super::{InterpError, Machine};

use crate::format::grid::{Grid, for_each_block};
use crate::format::{BinOp, BlockFormat, Element, FieldId, Format, FormatKind, UnOp, ValueExpr};
use crate::spec::kernel::{Binary, Expr, ExprId, Func};

/// Products of codes and integers may be off by this part of the product of their ranges.
pub const SHARE: f64 = 1.0 / 1000.0;

/// The most neighbours whose products have one entry. Those that lie past the end of a sum are rounded with the last one.
pub const NEIGHBOURS: u64 = 4;

/// The most bits of a code that tables are made over, or that their entries are made of.
const CODE: u32 = 8;

/// For each element of a tensor, how far apart the values are that other codes of it would give.
pub(super) fn spans(format: &Format, shape: &[u64], bytes: &[u8]) -> Vec<f64> {
    match &format.kind {
        FormatKind::Block(block) => in_blocks(block, shape, bytes),
        FormatKind::Plain(element) => {
            let (low, high) = range(element);
            match high > low {
                true => vec![high - low; shape.iter().product::<u64>() as usize],
                false => Vec::new(),
            }
        }
    }
}

fn range(element: &Element) -> (f64, f64) {
    match element {
        Element::Int { .. } | Element::UInt { .. } | Element::Codebook(_)
            if element.bits() <= CODE =>
        {
            element.range()
        }
        Element::Int { .. } | Element::UInt { .. } | Element::Codebook(_) | Element::Float(_) => {
            (0.0, 0.0)
        }
    }
}

fn in_blocks(b: &BlockFormat, shape: &[u64], bytes: &[u8]) -> Vec<f64> {
    let Some(grid) = Grid::new(b, shape) else {
        return Vec::new();
    };
    let mut out = vec![0.0; shape.iter().product::<u64>() as usize];
    for_each_block(b, &grid, |place, rows| {
        for (r, (start, n)) in rows.iter().enumerate() {
            for i in 0..*n {
                let code = |f: FieldId| {
                    let field = &b.fields[f];
                    if field.per_element() {
                        return range(&field.element);
                    }
                    let value = field
                        .element
                        .decode(b.code(bytes, place, f, r as u32, i as u32));
                    (value, value)
                };
                let (low, high) = interval(&b.value, &code).unwrap_or((0.0, 0.0));
                out[start + i] = if high > low { high - low } else { 0.0 };
            }
        }
    });
    out
}

/// The values of an expression over intervals of its fields; `None` where no table is made of it.
fn interval(e: &ValueExpr, field: &impl Fn(FieldId) -> (f64, f64)) -> Option<(f64, f64)> {
    let hull = |corners: [f64; 4]| {
        let low = corners.iter().copied().fold(f64::INFINITY, f64::min);
        let high = corners.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low, high)
    };
    Some(match e {
        ValueExpr::Const(c) => (f64::from(*c), f64::from(*c)),
        ValueExpr::Field(f) => field(*f),
        ValueExpr::Unary(UnOp::Neg, a) => {
            let (low, high) = interval(a, field)?;
            (-high, -low)
        }
        ValueExpr::Unary(..) => return None,
        ValueExpr::Binary(op, a, b) => {
            let ((al, ah), (bl, bh)) = (interval(a, field)?, interval(b, field)?);
            match op {
                BinOp::Add => (al + bl, ah + bh),
                BinOp::Sub => (al - bh, ah - bl),
                BinOp::Mul => hull([al * bl, al * bh, ah * bl, ah * bh]),
                BinOp::Min => (al.min(bl), ah.min(bh)),
                BinOp::Max => (al.max(bl), ah.max(bh)),
                BinOp::Div if bl == bh && bl != 0.0 => hull([al / bl, ah / bl, al / bl, ah / bl]),
                BinOp::Div => return None,
            }
        }
    })
}

impl Machine<'_> {
    /// A product that may be taken from a rounded table.
    pub(super) fn in_tables(
        &mut self,
        product: Num,
        a: ExprId,
        b: ExprId,
    ) -> Result<Num, InterpError> {
        let products = if self.last { NEIGHBOURS as f64 } else { 1.0 };
        let off = self.span(a)? * self.span(b)? * SHARE * products;
        let off = if off.is_nan() { 0.0 } else { off };
        Ok(Num {
            b: product.b + off,
            ..product
        })
    }

    /// How far apart the values of an expression are, over the codes that it reads.
    fn span(&mut self, e: ExprId) -> Result<f64, InterpError> {
        let kernel = self.kernel;
        let exact = cranelift_entity::SecondaryMap::with_default(0.0);
        Ok(match &kernel.exprs[e] {
            Expr::Load(t, subscripts) => {
                let at = self.offset(*t, subscripts)?;
                self.data[*t].span.get(at).copied().unwrap_or(0.0)
            }
            Expr::Unary(Func::Neg, a) => self.span(*a)?,
            Expr::Binary(op, a, b) => {
                let (x, y) = (self.eval(*a, &exact, true)?, self.eval(*b, &exact, true)?);
                let (sx, sy) = (self.span(*a)?, self.span(*b)?);
                match op {
                    Binary::Add | Binary::Sub => sx + sy,
                    Binary::Mul => sx * y.v.abs() + sy * x.v.abs(),
                    Binary::Div | Binary::Min | Binary::Max => 0.0,
                }
            }
            _ => 0.0,
        })
    }
}
