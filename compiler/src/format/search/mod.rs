//! Quantisation by search: the codes of a block that make the (weighted) squared error small, for any format whose
//! `value` is affine in each scale while the others are held fixed.
//!
//! Nothing here knows a format. [`SearchPlan`] reads the structure off the value expression: which fields belong to one
//! element (the codes), which are shared (the scales, on as many levels as there are), and what multiplies what. Then, for
//! each row of each block:
//!
//! 1. `fit.rs` fits real-valued parameters to each cell (the elements that share all scales), from many starting points,
//!    and quantises those parameters in the same way: a sub-block's scales are elements of a coarser block.
//! 2. `descend.rs` moves one scale, or a scale and a minimum together, to neighbouring codes as long as the error
//!    falls. Each candidate is judged with the best codes of all elements that it touches.
//!
//! | file | what |
//! |---|---|
//! | `polynomial.rs` | `value` as a polynomial in the scales with tables over the codes as coefficients |
//! | `table.rs` | what the codes of an element are worth, and the nearest of them |
//! | `linear.rs` | small systems of linear equations |
//! | `plan.rs`, `levels.rs` | levels, cells, moves: all that depends on the format alone |
//! | `state.rs` | all that belongs to one row of one block |
//! | `start.rs` | parameters of one cell |
//! | `fit.rs` | parameters of all cells, level by level |
//! | `descend.rs` | moves to neighbouring codes |
//!
//! The search is deterministic. Its result is never worse than the block that the format's `encode` clause gives: the
//! two are decoded and compared at the end, and on a tie the clause's block is taken (so an all-zero block is as the
//! clause says; without a clause it gets the smallest scales, and codes of 0).
//! Rows past the end of a tensor, and elements past the end of a row, are zeros without weight.
//! A NaN counts as 0 and has no weight; an infinity counts as the largest finite magnitude of its row of the block and
//! has no weight. Weights that are negative or no numbers count as 0. What has no weight gets the nearest code, but
//! moves no scale; where nothing has a weight, everything has the same.

mod descend;
mod fit;
mod levels;
mod linear;
mod plan;
mod polynomial;
mod start;
mod state;
mod table;

use super::codec::CodecError;
use super::grid::{Grid, for_each_block};
use super::sums::fill_sums;
use super::{BlockFormat, FieldId};
use cranelift_entity::EntityRef;
use descend::Descent;
use state::Cells;

pub use plan::SearchPlan;

/// Why a format cannot be searched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAffine {
    /// A scale occurs in an operation that is not affine in it.
    #[error("`value` is not affine in `{field}`: {what}")]
    Scale {
        /// The field.
        field: String,
        /// The operation.
        what: &'static str,
    },
    /// The codes of an element have too many bits together to be listed.
    #[error(
        "the codes of an element have {bits} bits together; a search lists at most {} bits",
        levels::MAX_CODE_BITS
    )]
    Codes {
        /// Their bits.
        bits: u32,
    },
    /// Too many codes that lie on no line.
    #[error(
        "an element has {count} codes under several scales; a search tries at most {}",
        table::MAX_MIXED
    )]
    Mixed {
        /// How many there are.
        count: usize,
    },
    /// No code is worth a finite number.
    #[error("no code of an element is worth a finite number")]
    NoCodes,
    /// `value` has more independent parts than a fit can solve for.
    #[error(
        "`value` is a sum of more than {} independent products of scales and codes",
        linear::MAX_COLUMNS
    )]
    Parts,
    /// A field whose codes give values to several elements.
    #[error("the codes of `{field}` give values to several elements each")]
    Vectors {
        /// The field.
        field: String,
    },
    /// Bytes around blocks that no field says anything of.
    #[error("its rows or tensors have bytes around their blocks")]
    Around,
    /// A field that belongs to the row or to the tensor.
    #[error("`{field}` is no field of the block")]
    Scope {
        /// The field.
        field: String,
    },
}

/// Writes the block whose values come nearest to `values` (row after row, `rows * len` of them) into `out` (`bytes`
/// long). What is missing of `values` is 0 and has no weight, and so has what is missing of `weights`.
pub fn search_block(
    format: &BlockFormat,
    plan: &SearchPlan,
    values: &[f32],
    weights: Option<&[f32]>,
    out: &mut [u8],
) {
    let len = format.len as usize;
    out.fill(0);
    for r in 0..format.rows {
        let from = (r as usize * len).min(values.len());
        let row = &values[from..values.len().min(from + len)];
        let weights = weights.map(|w| &w[from.min(w.len())..w.len().min(from + len)]);
        let cells = Cells::new(plan, row, weights);
        let search = Descent::best(plan, &cells);
        store(format, plan, &search, &cells, r, out);
    }
    keep_better(format, values, weights, out);
}

/// The bytes of a tensor with values near the given ones, in row-major order. `importance` has a weight for each column.
/// Rows that fill up a group of a layout that interleaves them are 0.
///
/// # Errors
/// If there are not as many values, or weights, as the shape says.
pub fn search_tensor(
    format: &BlockFormat,
    plan: &SearchPlan,
    shape: &[u64],
    values: &[f32],
    importance: Option<&[f32]>,
) -> Result<Vec<u8>, CodecError> {
    let grid = grid_of(format, shape, values.len())?;
    if let Some(found) = importance.map(<[f32]>::len)
        && found as u64 != grid.cols
    {
        return Err(CodecError::Elements {
            shape: vec![grid.cols],
            expected: grid.cols,
            found: found as u64,
        });
    }
    let (len, bytes) = (format.len as usize, format.bytes as usize);
    let mut out = vec![0; grid.size().unwrap_or(0) as usize];
    let mut tile = vec![0.0; len * format.rows as usize];
    let mut weights = tile.clone();
    for_each_block(format, &grid, |place, rows| {
        tile.fill(0.0);
        weights.fill(0.0);
        for (r, (start, n)) in rows.iter().enumerate() {
            let here = r * len..r * len + n;
            tile[here.clone()].copy_from_slice(&values[*start..start + n]);
            let column = (*start as u64 % grid.cols) as usize;
            match importance {
                Some(w) => weights[here].copy_from_slice(&w[column..column + n]),
                None => weights[here].fill(1.0),
            }
        }
        let at = place.block;
        search_block(
            format,
            plan,
            &tile,
            Some(&weights),
            &mut out[at..at + bytes],
        );
    });
    fill_sums(format, shape, &mut out)?;
    Ok(out)
}

/// How the blocks of a tensor lie, if it has so many values and memory can hold them.
fn grid_of(format: &BlockFormat, shape: &[u64], values: usize) -> Result<Grid, CodecError> {
    let too_large = || CodecError::TooLarge {
        shape: shape.to_vec(),
    };
    let expected = shape.iter().try_fold(1u64, |a, b| a.checked_mul(*b));
    let expected = expected.ok_or_else(too_large)?;
    if expected != values as u64 {
        return Err(CodecError::Elements {
            shape: shape.to_vec(),
            expected,
            found: values as u64,
        });
    }
    let grid = Grid::new(format, shape).ok_or_else(too_large)?;
    match grid.size() {
        Some(n) if n <= isize::MAX as u64 => Ok(grid),
        _ => Err(too_large()),
    }
}

/// Replaces the block by the one of the `encode` clause, if there is one and it is as good.
fn keep_better(format: &BlockFormat, values: &[f32], weights: Option<&[f32]>, out: &mut [u8]) {
    let mut padded = values.to_vec();
    padded.resize((format.rows * format.len) as usize, 0.0);
    let Some(nearest) = format.encode_block(&padded) else {
        return;
    };
    let error = |bytes: &[u8]| {
        let mut decoded = vec![0.0f32; padded.len()];
        format.decode_block(bytes, &mut decoded);
        // What an infinity made of a block is no better for having no weight.
        match decoded.iter().all(|y| y.is_finite()) {
            true => block_error(format, values, weights, bytes),
            false => f64::INFINITY,
        }
    };
    if error(&nearest) <= error(out) {
        out.copy_from_slice(&nearest);
    }
}

/// The weighted squared error of a block, as its bytes decode; inputs that are not finite are left out. Where nothing has a
/// weight, everything has the same.
pub fn block_error(
    format: &BlockFormat,
    values: &[f32],
    weights: Option<&[f32]>,
    bytes: &[u8],
) -> f64 {
    let mut decoded = vec![0.0; (format.rows * format.len) as usize];
    format.decode_block(bytes, &mut decoded);
    let weight = |i: usize| match weights {
        None => 1.0,
        Some(w) => state::sane_weight(w.get(i).copied().unwrap_or(0.0)),
    };
    let pairs = || values.iter().zip(&decoded).enumerate();
    let finite = || pairs().filter(|(_, (x, _))| x.is_finite());
    let squared = |x: &f32, y: &f32| (f64::from(*x) - f64::from(*y)).powi(2);
    if finite().all(|(i, _)| weight(i) == 0.0) {
        return finite().map(|(_, (x, y))| squared(x, y)).sum();
    }
    finite()
        .filter(|(i, _)| weight(*i) > 0.0)
        .map(|(i, (x, y))| weight(i) * squared(x, y))
        .sum()
}

/// Writes all codes of row `r`: the scales that the search ended with, and the nearest codes under them.
fn store(
    format: &BlockFormat,
    plan: &SearchPlan,
    search: &Descent,
    cells: &Cells,
    r: u32,
    out: &mut [u8],
) {
    let mut write = |field: FieldId, occurrence: u32, code: u32| {
        let f = &format.fields[field];
        let slot = (r * f.count + occurrence) as usize;
        f.write(out, slot, code);
    };
    for field in &plan.scales {
        let codes = search.scales.codes[field.index()].iter().enumerate();
        codes.for_each(|(o, code)| write(*field, o as u32, *code));
    }
    for (element, codes) in search.element_codes(cells) {
        for (field, code) in plan.root.own.split(codes) {
            let occurrence = format.fields[field].occurrence.get(element as usize);
            write(field, occurrence.copied().unwrap_or(0), code);
        }
    }
}
