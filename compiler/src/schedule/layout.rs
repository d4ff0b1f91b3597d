//! Layouts that the compiler chooses: where the bits of a weight go so that the lanes of a schedule find them side by side.
//!
//! A packed layout is an ordinary block format with the same fields and the same value: only `rows` and the addresses
//! differ, so it prints as text, has an id of its own and is decoded by the reference codec.

use crate::format::{BlockFormat, Field, Frame, Part, Scope, Side};

/// How the innermost part of a blocked index is cut: `h` (loop) × `copies` (unrolled) × `t` (loop) × `lanes`, from the
/// outside in. One `span` of elements is `copies` runs, each of `span / copies` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cut {
    /// Neighbouring elements in the lanes of one vector.
    pub lanes: u64,
    /// Unrolled copies; codes of one byte belong to different copies.
    pub copies: u64,
    /// Elements that the copies and the lanes cover together with the inner loop.
    pub span: u64,
}

impl Cut {
    /// Position of an element of the block as (outer run `h`, copy, inner step `t`, lane).
    fn split(self, element: u64) -> (u64, u64, u64, u64) {
        let run = self.span / self.copies;
        let within = element % self.span;
        (
            element / self.span,
            within / run,
            within % run / self.lanes,
            within % self.lanes,
        )
    }
    /// Steps of the inner loop.
    pub fn steps(self) -> u64 {
        self.span / self.copies / self.lanes
    }
}

/// The format with `rows` rows interleaved and its codes placed for a cut.
pub fn interleave(block: &BlockFormat, rows: u32, cut: Cut) -> BlockFormat {
    let mut packed = block.clone();
    packed.rows = rows;
    packed.placed_by_author = false;
    let mut next_bit = 0u32;
    packed.frame = Frame::default();
    for field in packed.fields.values_mut() {
        field.scope = match field.scope {
            Scope::Block => {
                let end = place(field, block.len, rows, cut, next_bit);
                next_bit = end.div_ceil(8) * 8;
                continue;
            }
            Scope::Row(_) => Scope::Row(Side::Before),
            Scope::Tensor(_) => Scope::Tensor(Side::Before),
        };
        if let Some(bytes) = packed.frame.bytes_mut(field.scope) {
            *bytes = place_once(field, rows, *bytes);
        }
    }
    packed.bytes = next_bit / 8;
    packed
}

/// Widths of the parts that a code is cut into, low bits first: as few as there are, each a whole number of bytes or a
/// divisor of one, so that no part of an element's code crosses bytes.
pub(super) fn widths(bits: u32, per_element: bool) -> Vec<u32> {
    if !per_element || bits.is_multiple_of(8) && bits != 24 {
        return vec![bits];
    }
    // the binary digits, highest first: 6 bits are 4 and 2
    (0..u32::BITS - bits.leading_zeros())
        .rev()
        .map(|b| bits & (1 << b))
        .filter(|w| *w > 0)
        .collect()
}

/// Places one field from a bit address on; returns the address after its last bit.
fn place(field: &mut Field, len: u32, rows: u32, cut: Cut, start: u32) -> u32 {
    let bits = field.element.bits();
    let per_element = is_per_element(field, len);
    let mut end = start;
    let mut parts = Vec::new();
    for bits in widths(bits, per_element) {
        let address = place_part(field, bits, len, rows, cut, end);
        end = (end + rows * field.count * bits).next_multiple_of(8);
        parts.push(Part {
            bits: bits as u8,
            address,
        });
    }
    field.parts = parts;
    end
}

/// Places a field of the row or of the tensor from a byte on, row after row; returns the byte after it.
fn place_once(field: &mut Field, rows: u32, start: u32) -> u32 {
    let bits = field.element.bits();
    let step = match field.scope {
        Scope::Tensor(_) => 0,
        Scope::Block | Scope::Row(_) => bits,
    };
    let address: Vec<u32> = (0..rows).map(|r| 8 * start + r * step).collect();
    let end = address.last().map_or(8 * start, |last| last + bits);
    field.parts = vec![Part {
        bits: bits as u8,
        address,
    }];
    end.div_ceil(8)
}

/// Whether every element has a code of its own, in order.
fn is_per_element(field: &Field, len: u32) -> bool {
    field.scope == Scope::Block
        && field.count == len
        && field
            .occurrence
            .iter()
            .enumerate()
            .all(|(i, o)| i as u32 == *o)
}

/// Addresses of the bits of one part, row after row.
fn place_part(field: &Field, bits: u32, len: u32, rows: u32, cut: Cut, start: u32) -> Vec<u32> {
    let per_element = is_per_element(field, len);
    let packs = 8 / bits.clamp(1, 8);
    let in_bytes = bits < 8 && 8 % bits == 0 && cut.copies.is_multiple_of(u64::from(packs));
    let lane_order = per_element && u64::from(len).is_multiple_of(cut.span);
    let address = |row: u32, occurrence: u32| -> u32 {
        if lane_order && (in_bytes || bits.is_multiple_of(8)) {
            let (h, copy, t, lane) = cut.split(u64::from(occurrence));
            let per_unit = if in_bytes { u64::from(packs) } else { 1 };
            let unit = (h * cut.steps() + t) * (cut.copies / per_unit) + copy / per_unit;
            let slot = unit * u64::from(rows) * cut.lanes + u64::from(row) * cut.lanes + lane;
            let width = if in_bytes { 8 } else { bits };
            return start + slot as u32 * width + (copy % per_unit) as u32 * bits;
        }
        if per_element {
            return start + (row * len + occurrence) * bits;
        }
        start + (occurrence * rows + row) * bits
    };
    (0..rows)
        .flat_map(|r| (0..field.count).map(move |o| (r, o)))
        .map(|(r, o)| address(r, o))
        .collect()
}
