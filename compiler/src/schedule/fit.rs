//! Bit addresses under a split: from a block format's address tables to quasi-affine addresses over axes.
//!
//! A chunk of the blocked index is cut into digits, each an axis with a stride. If the bit address of a field, as a
//! table over the chunk, is affine in the digits that are loops or lanes (and anything in the unrolled ones, whose values
//! are known where code is emitted), the load needs no table. Otherwise the table itself becomes constant data.

use super::index::{Affine, Axes, AxisId, AxisKind, Sym};
use super::term::{BitField, Load, Storage};
use crate::format::{BlockFormat, Element, Field, Part};
use crate::spec::kernel::TensorId;
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

impl Digit {
    /// Its value at a position.
    fn of(self, at: u64) -> u64 {
        at / self.stride % self.extent
    }
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

impl FieldAccess {
    /// The load of the bytes.
    pub fn load(&self, tensor: TensorId) -> Load {
        Load {
            tensor,
            storage: self.storage,
            address: self.address.clone(),
            bit: self.bit.clone(),
        }
    }
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
    let table = Table::of(block, field, part, place.chunk);
    let rows = row_digits(place.row, axes);
    let slopes = rows.and_then(|rows| Slopes::of(place, &rows, &table, axes));
    let whole = [8, 16, 32].contains(&bits) && table.all(|a| a.is_multiple_of(8));
    let mut narrow = None;
    for width in [8, 16, 32] {
        let (true, Some(slopes)) = (whole || bits < width, &slopes) else {
            continue;
        };
        let word = Word {
            bits: if whole { 8 } else { width },
            code: bits,
        };
        let Some((address, shift)) = slopes.fit(&table, word) else {
            continue;
        };
        let side_by_side = in_lanes(&address, place.digits, axes, width / 8);
        let access = FieldAccess {
            storage: match field.parts.len() {
                _ if width > 8 && !whole => word_storage(width),
                1 => whole_storage(&field.element, bits, whole),
                _ => whole_storage(&Element::UInt { bits: part.bits }, bits, whole),
            },
            address: place.base.clone().plus(&address),
            bit: None,
            field: (!whole).then_some(BitField {
                shift,
                width: part.bits,
                up: Affine::constant(u64::from(up)),
            }),
        };
        // The narrowest words, unless wider ones lie side by side in the lanes.
        if whole || side_by_side {
            return access;
        }
        narrow = narrow.or(Some(access));
    }
    if let Some(access) = narrow {
        return access;
    }
    let entries = (0..u64::from(block.rows))
        .flat_map(|r| (0..place.chunk).map(move |c| (r, c)))
        .map(|(r, c)| table.at(r, c) as u32)
        .collect::<Vec<_>>();
    let moving: Vec<Digit> = place
        .digits
        .iter()
        .copied()
        .filter(|d| table.moves(*d))
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

/// The bit addresses of a part of a field, by row of the block and position in the chunk.
struct Table<'a> {
    /// Where the block of each position starts, and which code of its block it is.
    starts: Vec<(u64, u32)>,
    /// Addresses in a block, so many for each row.
    addresses: &'a [u32],
    count: usize,
    rows: u64,
    bits_of_block: u64,
}

impl<'a> Table<'a> {
    fn of(block: &BlockFormat, field: &Field, part: &'a Part, chunk: u64) -> Table<'a> {
        let bits_of_block = u64::from(block.bytes) * 8;
        let blocks = 0..chunk.div_ceil(block.len.into());
        let codes =
            |block: u64| (field.occurrence.iter()).map(move |o| (block * bits_of_block, *o));
        let starts = blocks.flat_map(codes).take(chunk as usize);
        Table {
            starts: starts.collect(),
            addresses: &part.address,
            count: field.count as usize,
            rows: block.rows.into(),
            bits_of_block,
        }
    }

    fn at(&self, row: u64, at: u64) -> u64 {
        let (start, occurrence) = self.starts[at as usize];
        start + u64::from(self.row(row)[occurrence as usize])
    }

    /// The addresses of a row, in a block.
    fn row(&self, row: u64) -> &'a [u32] {
        let first = row as usize * self.count;
        &self.addresses[first..first + self.count]
    }

    fn all(&self, ok: impl Fn(u64) -> bool) -> bool {
        let chunk = self.starts.len() as u64;
        (0..self.rows).all(|r| (0..chunk).all(|c| ok(self.at(r, c))))
    }

    /// Whether the address changes with a digit: what several lanes share is read once for all of them.
    fn moves(&self, digit: Digit) -> bool {
        let chunk = self.starts.len() as u64;
        let value = |at: u64| digit.of(at) * digit.stride;
        (0..self.rows).any(|r| (0..chunk).any(|c| self.at(r, c) != self.at(r, c - value(c))))
    }
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

/// What is loaded for a code.
#[derive(Clone, Copy)]
struct Word {
    /// Bits of the whole, a multiple of 8.
    bits: u64,
    /// Bits of the code.
    code: u64,
}

impl Word {
    /// Byte address and shift of the code at a bit address: a word at a multiple of its size if one holds the code.
    fn split(self, address: u64) -> (u64, u64) {
        match address % self.bits + self.code > self.bits {
            true => (address / 8, address % 8),
            false => (address / self.bits * (self.bits / 8), address % self.bits),
        }
    }
}

/// A digit whose values are known where code is emitted.
struct Copies {
    digit: Digit,
    /// Whether it counts rows of the block rather than elements of the chunk.
    is_row: bool,
}

/// What the address of a code is made of, however wide the words are that hold it.
struct Slopes {
    /// Digits whose values are known where code is emitted.
    unrolled: Vec<Copies>,
    /// The others of positions and rows, with the bytes that one step of each is worth.
    moving: Vec<(Digit, u64)>,
    /// What a row adds to the number of the corner, and to the address in bytes.
    rows: Vec<(usize, u64)>,
    /// The same for a position.
    positions: Vec<(usize, u64)>,
}

impl Slopes {
    /// Nothing if some digit moves codes by parts of a byte.
    fn of(place: &Place<'_>, rows: &[Digit], table: &Table<'_>, axes: &Axes) -> Option<Slopes> {
        let unrolls = |d: &&Digit| axes[d.axis].kind == AxisKind::Unroll;
        let copies = |is_row| move |d: &Digit| Copies { digit: *d, is_row };
        let mut unrolled: Vec<Copies> = rows.iter().filter(unrolls).map(copies(true)).collect();
        unrolled.extend(place.digits.iter().filter(unrolls).map(copies(false)));
        let slope = |row: u64, at: u64| -> Option<u64> {
            let a = table.at(row, at).checked_sub(table.at(0, 0))?;
            a.is_multiple_of(8).then_some(a / 8)
        };
        let of_position = |d: &Digit| match d.extent > 1 {
            true => Some((*d, slope(0, d.stride)?)),
            false => Some((*d, 0)),
        };
        let of_row = |d: &Digit| match d.stride < table.rows {
            true => Some((*d, slope(d.stride, 0)?)),
            false => Some((*d, 0)),
        };
        let regular = place.digits.iter().filter(|d| !unrolls(d));
        let regular = regular.map(of_position).collect::<Option<Vec<_>>>()?;
        let moving_rows = rows.iter().filter(|d| !unrolls(d));
        let moving_rows = moving_rows.map(of_row).collect::<Option<Vec<_>>>()?;
        let added = |is_row: bool, digits: &[(Digit, u64)], at: u64| -> (usize, u64) {
            let moved = digits.iter().map(|(d, s)| d.of(at) * s).sum();
            (corner(&unrolled, is_row, at), moved)
        };
        let rows = (0..table.rows).map(|row| added(true, &moving_rows, row));
        let positions = (0..place.chunk).map(|at| added(false, &regular, at));
        Some(Slopes {
            rows: rows.collect(),
            positions: positions.collect(),
            moving: [regular, moving_rows].concat(),
            unrolled,
        })
    }

    /// Byte address and shift as expressions, if the table is affine where it must be and no code leaves its word, nor a word
    /// its block.
    fn fit(&self, table: &Table<'_>, word: Word) -> Option<(Affine, Affine)> {
        let known: Vec<(u64, u64)> = corners(&self.unrolled)
            .map(|(row, at)| word.split(table.at(row, at)))
            .collect();
        for (row, (row_corner, row_moved)) in (0..).zip(&self.rows) {
            let addresses = table.row(row);
            let fits = |((start, occurrence), (corner, moved)): (&(u64, u32), &(usize, u64))| {
                let (first, shift) = known[row_corner + corner];
                let bit = (first + row_moved + moved) * 8;
                let inside = bit >= *start && bit + word.bits <= start + table.bits_of_block;
                let kept = word.code >= word.bits || shift + word.code <= word.bits && inside;
                start + u64::from(addresses[*occurrence as usize]) == bit + shift && kept
            };
            if !table.starts.iter().zip(&self.positions).all(fits) {
                return None;
            }
        }
        let column = |of: fn(&(u64, u64)) -> u64| known.iter().map(of).collect::<Vec<u64>>();
        let mut address = tabulate(&self.unrolled, &column(|k| k.0));
        for (d, s) in &self.moving {
            address = address.plus(&Affine::axis(d.axis, *s));
        }
        address.terms.retain(|(_, c)| *c != Scalar::Const(0));
        Some((address, tabulate(&self.unrolled, &column(|k| k.1))))
    }
}

/// Rows and positions for all values of the unrolled digits, the last one counting fastest.
fn corners(unrolled: &[Copies]) -> impl Iterator<Item = (u64, u64)> {
    let count: u64 = unrolled.iter().map(|c| c.digit.extent).product();
    (0..count).map(|n| {
        let (mut n, mut row, mut at) = (n, 0, 0);
        for c in unrolled.iter().rev() {
            let value = n % c.digit.extent * c.digit.stride;
            n /= c.digit.extent;
            match c.is_row {
                true => row += value,
                false => at += value,
            }
        }
        (row, at)
    })
}

/// What a row, or a position, adds to the number of the corner that it belongs to.
fn corner(unrolled: &[Copies], is_row: bool, at: u64) -> usize {
    let value = |c: &Copies| match c.is_row == is_row {
        true => c.digit.of(at),
        false => 0,
    };
    let number = unrolled
        .iter()
        .fold(0, |n, c| n * c.digit.extent + value(c));
    number as usize
}

/// A function of the unrolled digits: affine in those in which it is, and a table (which emission folds) over the others.
fn tabulate(unrolled: &[Copies], values: &[u64]) -> Affine {
    let mut steps = Vec::new();
    let mut step = 1;
    for c in unrolled.iter().rev() {
        steps.push((c.digit, step));
        step *= c.digit.extent;
    }
    let digit = |n: u64, (digit, step): &(Digit, u64)| n / step % digit.extent;
    let slope = |at: &(Digit, u64)| -> Option<u64> {
        let next = values.get(at.1 as usize).filter(|_| at.0.extent > 1);
        let slope = next.map_or(Some(0), |v| v.checked_sub(values[0]))?;
        let without = |n: u64| values[(n - digit(n, at) * at.1) as usize];
        let mut all = (0..).zip(values);
        all.all(|(n, value)| without(n) + digit(n, at) * slope == *value)
            .then_some(slope)
    };
    let mut affine = Affine::constant(0);
    let mut rest = Vec::new();
    for at in steps {
        match slope(&at) {
            Some(slope) => affine = affine.plus(&Affine::axis(at.0.axis, slope)),
            None => rest.push(at),
        }
    }
    affine.terms.retain(|(_, c)| *c != Scalar::Const(0));
    if rest.is_empty() {
        return affine.plus(&Affine::constant(values[0]));
    }
    // Positions of the entries: all values of the other digits, the first counting fastest.
    let (mut place, mut at) = (Affine::constant(0), vec![0]);
    for (digit, distance) in rest {
        place = place.plus(&Affine::axis(digit.axis, at.len() as u64));
        let more = (0..digit.extent).flat_map(|v| at.iter().map(move |n| n + v * distance));
        at = more.collect::<Vec<u64>>();
    }
    let entries = at.into_iter().map(|n| values[n as usize] as u32).collect();
    affine.plus(&Affine::symbol(Sym::Table(
        Arc::new(entries),
        Box::new(place),
    )))
}

/// Whether neighbouring lanes are neighbouring words.
fn in_lanes(address: &Affine, digits: &[Digit], axes: &Axes, bytes: u64) -> bool {
    let mut lanes = digits
        .iter()
        .filter(|d| axes[d.axis].kind == AxisKind::Lane);
    lanes.all(|d| address.coefficient(d.axis) == Some(Scalar::Const(d.stride * bytes)))
}

fn word_storage(bits: u64) -> Storage {
    match bits {
        16 => Storage::U16,
        _ => Storage::I32,
    }
}
