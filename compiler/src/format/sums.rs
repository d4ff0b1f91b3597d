//! Sums of rows that a layout keeps: what depends on weights alone, computed when they are packed.
//!
//! Where activations have a zero point, `sum(k) w * (q - z)` is `sum(k) w * q - z * sum(k) w`, and the second sum is a number of
//! the row. It is what the values of the row's own columns add up to, as the reference codec decodes them, in f64 and in order,
//! then rounded to its element. A format keeps it without a field: bytes in which it is another number are no tensor of the format.

use super::codec::{CodecError, check_bytes, eval_value};
use super::grid::{BlockPlace, Grid, for_each_block};
use super::{
    BinOp, BlockFormat, Element, Field, FieldId, FloatSpec, Format, FormatKind, Part, Scope, Side,
    UnOp, ValueExpr,
};

/// The numbers that sums are kept in.
const WHOLE: Element = Element::Int { bits: 32 };
const REAL: Element = Element::Float(FloatSpec::ieee(8, 23));

impl BlockFormat {
    /// Adds the sums of rows of so many columns before the blocks, as integers if they are small integers.
    pub fn keep_sums(&mut self, columns: u64) {
        let start = self.frame.row[0];
        let most = self.value.whole_up_to(self);
        let fits = most.is_some_and(|most| most * columns as f64 <= f64::from(i32::MAX));
        self.kept = Some(Box::new(Field {
            name: self.fresh_name(),
            element: if fits { WHOLE } else { REAL },
            scope: Scope::Row(Side::Before),
            count: 1,
            occurrence: vec![0; self.len as usize],
            component: vec![0; self.len as usize],
            parts: vec![Part {
                bits: 32,
                address: (0..self.rows).map(|r| 8 * start + 32 * r).collect(),
            }],
        }));
        self.frame.row[0] += 4 * self.rows;
    }

    /// The same without the sums: their bytes stay, and hold nothing.
    pub fn without_sums(&self) -> BlockFormat {
        BlockFormat {
            kept: None,
            ..self.clone()
        }
    }

    /// A name for the sums that no field has.
    fn fresh_name(&self) -> String {
        let taken = |name: &String| self.fields.values().any(|f| f.name == *name);
        let numbered = (1..).map(|n| format!("sums{n}"));
        let mut names = std::iter::once("sums".to_string()).chain(numbered);
        names.find(|n| !taken(n)).unwrap_or_default()
    }
}

/// Whether two layouts keep the same sums.
pub(super) fn same_sums(a: &BlockFormat, b: &BlockFormat) -> bool {
    match (&a.kept, &b.kept) {
        (Some(a), Some(b)) => (&a.element, a.scope, &a.parts) == (&b.element, b.scope, &b.parts),
        (a, b) => a.is_none() && b.is_none(),
    }
}

/// Whether sums may be kept in an element.
pub fn keeps_sums(element: &Element) -> bool {
    *element == WHOLE || *element == REAL
}

/// Whether the sums that a layout keeps may be other numbers than those of its rows: integers of what is none.
pub fn cuts_sums(format: &BlockFormat) -> bool {
    let kept = format.kept.as_ref();
    kept.is_some_and(|k| k.element == WHOLE) && !format.value.is_whole(format)
}

/// Writes the sums that a layout keeps, from the codes that are there; nothing if it keeps none.
///
/// # Errors
///
/// [`CodecError::LargeSum`] if one does not fit, and if the bytes are not those of a tensor of this shape.
pub fn fill_sums(format: &BlockFormat, shape: &[u64], bytes: &mut [u8]) -> Result<(), CodecError> {
    let Some(kept) = &format.kept else {
        return Ok(());
    };
    let mut found = Vec::new();
    for_each_row(format, shape, bytes, |place, slot, _, sum| {
        found.push((place.of(kept.scope), slot, sum));
    })?;
    for (at, slot, sum) in found {
        kept.write(&mut bytes[at..], slot, code(kept, sum)?);
    }
    Ok(())
}

/// Fails with the first row whose sum is not the one that is kept.
pub(super) fn check_sums(format: &Format, shape: &[u64], bytes: &[u8]) -> Result<(), CodecError> {
    let FormatKind::Block(block) = &format.kind else {
        return Ok(());
    };
    let Some(kept) = &block.kept else {
        return Ok(());
    };
    check_bytes(format, shape, bytes)?;
    let mut wrong = None;
    for_each_row(block, shape, bytes, |place, slot, row, sum| {
        let stored = kept.read(&bytes[place.of(kept.scope)..], slot);
        if wrong.is_none() && code(kept, sum) != Ok(stored) {
            wrong = Some(row);
        }
    })?;
    match wrong {
        None => Ok(()),
        Some(row) => Err(CodecError::Sum {
            format: format.name.clone(),
            row,
        }),
    }
}

/// The code of a sum.
fn code(kept: &Field, sum: f64) -> Result<u32, CodecError> {
    if kept.element == WHOLE {
        let whole = i32::try_from(sum as i64).map_err(|_| large(kept, sum))?;
        return Ok(whole as u32);
    }
    let rounded = sum as f32;
    if sum.is_finite() && rounded.is_infinite() {
        return Err(large(kept, sum));
    }
    // One NaN stands for all, so that sums of the same codes are the same bytes.
    Ok(if rounded.is_nan() { f32::NAN } else { rounded }.to_bits())
}

fn large(kept: &Field, sum: f64) -> CodecError {
    CodecError::LargeSum {
        kept: kept.name.clone(),
        sum: format!("{sum:e}"),
    }
}

/// Calls `f` for each row of a tensor with the place of a block of it, which of the rows of that it is, its number and its sum.
fn for_each_row(
    format: &BlockFormat,
    shape: &[u64],
    bytes: &[u8],
    mut f: impl FnMut(&BlockPlace, usize, u64, f64),
) -> Result<(), CodecError> {
    let grid = Grid::new(format, shape)
        .filter(|grid| grid.size() == Some(bytes.len() as u64))
        .ok_or_else(|| CodecError::TooLarge {
            shape: shape.to_vec(),
        })?;
    let mut adder = Adder::new(format);
    let mut sums = vec![0.0; format.rows as usize];
    for_each_block(format, &grid, |place, rows| {
        let across = place.number % grid.across;
        if across == 0 {
            sums.fill(0.0);
        }
        for (r, (sum, (_, count))) in (0..).zip(sums.iter_mut().zip(rows)) {
            *sum = adder.add(*sum, bytes, place, (r, *count as u32));
        }
        if across + 1 == grid.across {
            for (slot, ((start, _), sum)) in rows.iter().zip(&sums).enumerate() {
                f(place, slot, *start as u64 / grid.cols, *sum);
            }
        }
    });
    for (row, (slot, place)) in (0..).zip(grid.empty_rows()) {
        f(&place, slot as usize, row, 0.0);
    }
    Ok(())
}

/// Adds up the values of rows of blocks. Most formats have one short code for each element and share the rest between many: then
/// what each code is worth is computed once for those that share, and looked up.
struct Adder<'f> {
    format: &'f BlockFormat,
    /// The field with a code for each element, if there is one such field and it is short.
    own: Option<FieldId>,
    /// Where elements begin that use other occurrences of the other fields, and where the last end.
    runs: Vec<u32>,
    worth: Vec<f32>,
}

/// Bits of codes that are looked up.
const SHORT: u32 = 4;

impl<'f> Adder<'f> {
    fn new(format: &'f BlockFormat) -> Self {
        let mut elements = format.fields.iter().filter(|(_, f)| f.per_element());
        let own = match (elements.next(), elements.next()) {
            (Some((id, f)), None) if f.element.width() == 1 && f.element.bits() <= SHORT => {
                Some(id)
            }
            _ => None,
        };
        let others = || format.fields.iter().filter(|(id, _)| Some(*id) != own);
        let same = |a: usize, b: usize| {
            others().all(|(_, f)| {
                (f.occurrence[a], f.component[a]) == (f.occurrence[b], f.component[b])
            })
        };
        let begins = |i: &u32| *i == 0 || !same(*i as usize - 1, *i as usize);
        let mut runs: Vec<u32> = (0..format.len).filter(begins).collect();
        runs.push(format.len);
        Adder {
            format,
            own,
            runs,
            worth: Vec::new(),
        }
    }

    /// A sum with the first values of a row of a block added, in order.
    fn add(
        &mut self,
        mut sum: f64,
        bytes: &[u8],
        place: &BlockPlace,
        (r, count): (u32, u32),
    ) -> f64 {
        let format = self.format;
        // What the code of an element is worth for those like it; all codes if it is not given.
        let value = |i: u32, code: Option<u32>| {
            eval_value(&format.value, &|id| {
                let field = &format.fields[id];
                let code = match code {
                    Some(code) if Some(id) == self.own => code,
                    _ => format.code(bytes, place, id, r, i),
                };
                field.element.decode_at(code, field.component[i as usize]) as f32
            })
        };
        for run in self.runs.windows(2) {
            let elements = run[0]..run[1].min(count);
            let Some(own) = self.own.filter(|_| !elements.is_empty()) else {
                sum = elements.fold(sum, |sum, i| sum + f64::from(value(i, None)));
                continue;
            };
            let field = &format.fields[own];
            let codes = 0..1u32 << field.element.bits();
            self.worth.clear();
            self.worth
                .extend(codes.map(|code| value(run[0], Some(code))));
            for i in elements {
                let code = format.code(bytes, place, own, r, i);
                sum += f64::from(self.worth[code as usize]);
            }
        }
        sum
    }
}

impl ValueExpr {
    /// Whether all values are integers.
    fn is_whole(&self, block: &BlockFormat) -> bool {
        match self {
            ValueExpr::Const(c) => c.fract() == 0.0,
            ValueExpr::Field(id) => block.fields[*id].element.is_integer(),
            ValueExpr::Unary(_, a) => a.is_whole(block),
            ValueExpr::Binary(BinOp::Div, ..) => false,
            ValueExpr::Binary(_, a, b) => a.is_whole(block) && b.is_whole(block),
        }
    }

    /// The largest magnitude of the values, if all are integers that f32 has; `None` otherwise.
    fn whole_up_to(&self, block: &BlockFormat) -> Option<f64> {
        let most = match self {
            ValueExpr::Const(c) => (c.fract() == 0.0).then(|| f64::from(c.abs())),
            ValueExpr::Field(id) => block.fields[*id].element.whole_up_to(),
            ValueExpr::Unary(op, a) => match op {
                UnOp::Neg | UnOp::Abs => a.whole_up_to(block),
                // These make integers of what is none, whose size is not known here.
                UnOp::Round | UnOp::RoundAway | UnOp::Trunc | UnOp::Floor | UnOp::FloorPow2 => None,
            },
            ValueExpr::Binary(op, a, b) => {
                let (a, b) = (a.whole_up_to(block)?, b.whole_up_to(block)?);
                match op {
                    BinOp::Add | BinOp::Sub => Some(a + b),
                    BinOp::Mul => Some(a * b),
                    BinOp::Min | BinOp::Max => Some(a.max(b)),
                    BinOp::Div => None,
                }
            }
        };
        most.filter(|most| *most <= f64::from(1 << 24))
    }
}

impl Element {
    /// The largest magnitude of its values, if all are integers; `None` otherwise.
    fn whole_up_to(&self) -> Option<f64> {
        match self {
            Element::Int { bits } => Some(2f64.powi(i32::from(*bits) - 1)),
            Element::UInt { bits } => Some(2f64.powi(i32::from(*bits))),
            Element::Float(_) => None,
            Element::Codebook(_) => self.is_integer().then(|| {
                let (least, most) = self.range();
                least.abs().max(most.abs())
            }),
        }
    }
}
