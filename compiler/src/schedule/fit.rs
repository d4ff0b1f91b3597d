//! Bit addresses under a split: from a block format's address tables to quasi-affine addresses over axes.
//!
//! A chunk of the blocked index is cut into digits, each an axis with a stride. If the bit address of a field, as a
//! table over the chunk, is affine in the digits that are loops or lanes (and anything in the unrolled ones, whose values
//! are known where code is emitted), the load needs no table. Otherwise the table itself becomes constant data.

use super::index::{Affine, Axes, AxisId, AxisKind, Sym};
use super::term::{BitField, Storage};
use crate::format::{BlockFormat, Element, Field, Part};
use crate::vector::ir::Scalar;
use std::sync::Arc;

/// A part of a position within a chunk: `stride * axis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// The axis.
    pub axis: AxisId,
    /// What one step of it is worth.
    pub stride: u64,
    /// How many values it takes at most.
    pub extent: u64,
}

/// How a field of a block is read.
#[derive(Clone, Debug)]
pub struct FieldAccess {
    /// How the bytes are read.
    pub storage: Storage,
    /// Byte address from the start of the tensor.
    pub address: Affine,
    /// For `Storage::Code`: bit address after it.
    pub bit: Option<Affine>,
    /// The code within a byte, if it is narrower.
    pub field: Option<BitField>,
}

/// Where a tensor's element is: which block row, chunk and row within the block.
pub struct Place<'a> {
    /// Byte address of the chunk's first block.
    pub base: &'a Affine,
    /// Row within the block (interleaved rows), 0 if there is one row.
    pub row: &'a Affine,
    /// Digits of the position within the chunk, outermost first.
    pub digits: &'a [Digit],
    /// Elements of the chunk, a multiple of the block's.
    pub chunk: u64,
}

/// How to read a part of a field at a place, its lowest bit at `up` in the code.
pub fn part_access(
    block: &BlockFormat,
    field: &Field,
    (up, part): (u32, &Part),
    place: &Place<'_>,
    axes: &Axes,
) -> FieldAccess {
    let bits = u64::from(part.bits);
    let table = |row: u64, at: u64| -> u64 {
        let (q, e) = (
            at / u64::from(block.len),
            (at % u64::from(block.len)) as usize,
        );
        let occurrence = u64::from(field.occurrence[e]);
        let address = part.address[(row * u64::from(field.count) + occurrence) as usize];
        q * u64::from(block.bytes) * 8 + u64::from(address)
    };
    let rows = row_digits(place.row, axes);
    let whole = [8, 16, 32].contains(&bits) && all(block, place, &table, |a| a.is_multiple_of(8));
    let in_byte = bits < 8 && all(block, place, &table, |a| a % 8 + bits <= 8);
    if (whole || in_byte)
        && let Some(rows) = rows
        && let Some((byte, shift)) = fit(block, place, &rows, &table, axes)
    {
        return FieldAccess {
            storage: match field.parts.len() {
                1 => whole_storage(&field.element, bits, whole),
                _ => whole_storage(&Element::UInt { bits: part.bits }, bits, whole),
            },
            address: place.base.clone().plus(&byte),
            bit: None,
            field: in_byte.then_some(BitField {
                shift,
                width: part.bits,
                up: up as u8,
            }),
        };
    }
    let entries = (0..u64::from(block.rows))
        .flat_map(|r| (0..place.chunk).map(move |c| (r, c)))
        .map(|(r, c)| table(r, c) as u32)
        .collect::<Vec<_>>();
    let moving: Vec<Digit> = place
        .digits
        .iter()
        .copied()
        .filter(|d| moves(block, place, &table, *d))
        .collect();
    let position = position(&moving).plus(&place.row.clone().times(&Scalar::Const(place.chunk)));
    FieldAccess {
        storage: Storage::Code { bits: part.bits },
        address: place.base.clone(),
        bit: Some(Affine::symbol(Sym::Table(
            Arc::new(entries),
            Box::new(position),
        ))),
        field: None,
    }
}

/// Whether the address changes with a digit: what several lanes share is read once for all of them.
fn moves(
    block: &BlockFormat,
    place: &Place<'_>,
    table: &impl Fn(u64, u64) -> u64,
    digit: Digit,
) -> bool {
    let rows = 0..u64::from(block.rows);
    let value = |at: u64| at / digit.stride % digit.extent * digit.stride;
    rows.into_iter()
        .any(|r| (0..place.chunk).any(|c| table(r, c) != table(r, c - value(c))))
}

/// The position within the chunk, as an expression of its digits.
pub fn position(digits: &[Digit]) -> Affine {
    digits.iter().fold(Affine::constant(0), |sum, d| {
        sum.plus(&Affine::axis(d.axis, d.stride))
    })
}

fn whole_storage(element: &Element, bits: u64, whole: bool) -> Storage {
    match (element, bits) {
        (Element::Float(f), 32) if f.exp == 8 && f.man == 23 => Storage::F32,
        (Element::Int { .. }, 8) => Storage::I8,
        (Element::Int { .. }, 16) => Storage::I16,
        (_, 16) if whole => Storage::U16,
        (_, 32) => Storage::I32,
        _ => Storage::U8,
    }
}

fn all(
    block: &BlockFormat,
    place: &Place<'_>,
    table: &impl Fn(u64, u64) -> u64,
    ok: impl Fn(u64) -> bool,
) -> bool {
    (0..u64::from(block.rows)).all(|r| (0..place.chunk).all(|c| ok(table(r, c))))
}

/// The row within the block as digits; `None` if it is not a plain sum of axes.
fn row_digits(row: &Affine, axes: &Axes) -> Option<Vec<Digit>> {
    if row.offset != Scalar::Const(0) {
        return None;
    }
    row.terms
        .iter()
        .map(|(sym, coefficient)| match (sym, coefficient) {
            (Sym::Axis(axis), Scalar::Const(stride)) => {
                let Scalar::Const(extent) = axes[*axis].to else {
                    return (*stride == 1).then_some(Digit {
                        axis: *axis,
                        stride: 1,
                        extent: u64::MAX,
                    });
                };
                Some(Digit {
                    axis: *axis,
                    stride: *stride,
                    extent,
                })
            }
            _ => None,
        })
        .collect()
}

/// Byte address and shift as expressions, if the table is affine where it must be.
fn fit(
    block: &BlockFormat,
    place: &Place<'_>,
    rows: &[Digit],
    table: &impl Fn(u64, u64) -> u64,
    axes: &Axes,
) -> Option<(Affine, Affine)> {
    let unrolled: Vec<Digit> = place
        .digits
        .iter()
        .copied()
        .filter(|d| axes[d.axis].kind == AxisKind::Unroll)
        .collect();
    let regular: Vec<Digit> = place
        .digits
        .iter()
        .copied()
        .filter(|d| axes[d.axis].kind != AxisKind::Unroll)
        .collect();
    if unrolled.len() > 1 || rows.iter().any(|d| d.stride != 1) || rows.len() > 1 {
        return None;
    }
    let copies = unrolled.first().map_or(1, |d| d.extent);
    let copy_stride = unrolled.first().map_or(0, |d| d.stride);
    let bytes: Vec<u64> = (0..copies).map(|u| table(0, u * copy_stride) / 8).collect();
    let shifts: Vec<u64> = (0..copies).map(|u| table(0, u * copy_stride) % 8).collect();
    let slope = |c: u64| -> Option<u64> {
        let a = table(0, c).checked_sub(table(0, 0))?;
        a.is_multiple_of(8).then_some(a / 8)
    };
    let slopes = regular
        .iter()
        .map(|d| {
            if d.extent > 1 {
                slope(d.stride)
            } else {
                Some(0)
            }
        })
        .collect::<Option<Vec<u64>>>()?;
    let row_slope = match rows.first() {
        Some(_) if block.rows > 1 => {
            let a = table(1, 0).checked_sub(table(0, 0))?;
            a.is_multiple_of(8).then_some(a / 8)?
        }
        _ => 0,
    };
    for row in 0..u64::from(block.rows) {
        for at in 0..place.chunk {
            let copy = if copies > 1 {
                at / copy_stride % copies
            } else {
                0
            };
            let byte = regular
                .iter()
                .zip(&slopes)
                .map(|(d, s)| at / d.stride % d.extent * s)
                .sum::<u64>()
                + bytes[copy as usize]
                + row * row_slope;
            if table(row, at) != byte * 8 + shifts[copy as usize] {
                return None;
            }
        }
    }
    let mut address = tabulate(&unrolled, &bytes);
    for (d, s) in regular.iter().zip(&slopes) {
        address = address.plus(&Affine::axis(d.axis, *s));
    }
    for d in rows {
        address = address.plus(&Affine::axis(d.axis, row_slope));
    }
    address.terms.retain(|(_, c)| *c != Scalar::Const(0));
    Some((address, tabulate(&unrolled, &shifts)))
}

/// A function of the unrolled digit: affine if it is, else a table (which emission folds).
fn tabulate(unrolled: &[Digit], values: &[u64]) -> Affine {
    let [digit] = unrolled else {
        return Affine::constant(values[0]);
    };
    if values.len() < 2 {
        return Affine::constant(values[0]);
    }
    if let Some(slope) = values[1].checked_sub(values[0])
        && values
            .iter()
            .enumerate()
            .all(|(i, v)| *v == values[0] + slope * i as u64)
    {
        let mut affine = Affine::axis(digit.axis, slope);
        affine.offset = Scalar::Const(values[0]);
        affine.terms.retain(|(_, c)| *c != Scalar::Const(0));
        return affine;
    }
    let entries = values.iter().map(|v| *v as u32).collect();
    Affine::symbol(Sym::Table(
        Arc::new(entries),
        Box::new(Affine::axis(digit.axis, 1)),
    ))
}
