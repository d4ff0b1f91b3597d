//! Layouts that the compiler chooses: where the bits of a weight go so that the lanes of a schedule find them side by side.
//!
//! A packed layout is an ordinary block format with the same fields and the same value: only `rows` and the addresses
//! differ, and neighbours of few values may share a joint code; so it prints as text, has an id of its own and is decoded by the
//! reference codec.

use super::leftover::Leftover;
use super::order::in_order;
use crate::divisors::gcd;
use crate::format::recode;
use crate::format::{BlockFormat, Codebook, Field, Frame, Part, Scope, Side};

/// How the innermost part of a blocked index is cut: `h` (loop) × `copies` (unrolled) × `t` (loop) × `lanes` × `joint`
/// (unrolled), from the outside in. One `span` of elements is `copies` runs, each of `span / copies` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cut {
    /// Neighbouring elements in the lanes of one vector.
    pub lanes: u64,
    /// Neighbouring elements whose codes make up one joint code of [`JOINT_BITS`], or whose bits make up a byte
    /// ([`COUNTED`]); 1 where codes stand alone.
    pub joint: u64,
    /// Unrolled copies; codes of one byte belong to different copies.
    pub copies: u64,
    /// Elements that the copies and the lanes cover together with the inner loop.
    pub span: u64,
    /// Groups of rows whose codes share bytes before those of copies do: all codes of a sum then lie at the same place of their
    /// bytes, and stay there; 1 where they are moved to the low end.
    pub beside: u64,
}

/// Bits of a joint code: a look-up in a register has as many.
pub const JOINT_BITS: u32 = 4;

/// Neighbours whose bits make up a byte of a bit plane: products of bits are counted byte by byte.
pub const COUNTED: u64 = 8;

/// Where an element of a block is under a cut.
struct Split {
    /// Outer run.
    h: u64,
    copy: u64,
    /// Inner step.
    t: u64,
    lane: u64,
    /// Position in the joint code.
    joint: u64,
}

impl Cut {
    fn split(self, element: u64) -> Split {
        let run = self.span / self.copies;
        let within = element % self.span;
        let step = self.lanes * self.joint;
        Split {
            h: element / self.span,
            copy: within / run,
            t: within % run / step,
            lane: within % step / self.joint,
            joint: within % self.joint,
        }
    }
    /// Bits of a joint code, or of a byte of a bit plane.
    pub fn word(self) -> u32 {
        word(self.joint)
    }
    /// Steps of the inner loop.
    pub fn steps(self) -> u64 {
        self.span / self.copies / (self.lanes * self.joint)
    }
}

/// The format with `rows` rows interleaved, as so many groups of lanes, and its codes placed for a cut.
pub fn interleave(block: &BlockFormat, rows: u32, groups: u32, cut: Cut) -> BlockFormat {
    let mut packed = block.clone();
    packed.rows = rows;
    packed.placed_by_author = false;
    // Whether sums of rows are worth keeping is not for the format to say.
    packed.kept = None;
    let roomy = has_room(block);
    let mut next_bit = 0u32;
    packed.frame = Frame::default();
    for field in packed.fields.values_mut() {
        field.scope = match field.scope {
            Scope::Block => {
                let counted = || counted_of(field, block.len, cut.joint);
                if let Some(book) = mirrored_of(field, block.len, cut.joint).or_else(counted) {
                    *field = recode::recoded(field, book);
                }
                let end = match shared_bytes(field, block.len, groups) {
                    Some(_) if roomy => place_roomy(field, rows, next_bit),
                    Some(widths) => place_shared(field, &widths, (rows, groups), next_bit),
                    None => place(field, block.len, (rows, groups), cut, next_bit),
                };
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
    in_order(&mut packed, cut);
    packed
}

/// The joint codes with a sign that so many neighbours have in place of their own, if there are such.
pub(super) fn mirrored_of(field: &Field, len: u32, joint: u64) -> Option<Codebook> {
    let single = field.values_per_code(len) == Some(1) && u64::from(len).is_multiple_of(joint);
    let book = recode::mirrored(&field.element, JOINT_BITS).filter(|_| single)?;
    (u64::from(book.width) == joint).then_some(book)
}

/// The codes that signed integers have in place of their own where they stand alone.
fn counted_of(field: &Field, len: u32, joint: u64) -> Option<Codebook> {
    let alone = joint == 1 && field.values_per_code(len) == Some(1);
    recode::counted(&field.element).filter(|_| alone)
}

/// Whether a layout takes at most a twentieth more than what the format stores.
pub(super) fn is_little_more(packed: u64, stored: u64) -> bool {
    u128::from(packed) * 20 <= u128::from(stored) * 21
}

/// Bits that so many neighbours have together.
fn word(joint: u64) -> u32 {
    JOINT_BITS.max(joint as u32)
}

/// Bits of the parts that a code is cut into so that as many neighbours make up a joint code, or a byte of a bit plane; `None`
/// if there is no such cut.
pub(super) fn joint_width(bits: u32, joint: u64) -> Option<u32> {
    let width = word(joint) / u32::try_from(joint).ok()?;
    (joint > 1 && width > 0 && bits.is_multiple_of(width) && bits <= JOINT_BITS).then_some(width)
}

/// Widths of the parts of a code of several values that is a joint code as it is, low bits first: at most one bit is left over,
/// which is the sign of all values.
fn whole_code(bits: u32) -> Vec<u32> {
    let rest = bits.saturating_sub(JOINT_BITS);
    [bits - rest, rest].into_iter().filter(|w| *w > 0).collect()
}

/// Widths of the parts that a code is cut into, low bits first: as few as there are, each a whole number of bytes or a
/// divisor of one, so that no part of an element's code crosses bytes.
pub(super) fn widths(bits: u32, per_element: bool, joint: u64) -> Vec<u32> {
    if let Some(width) = joint_width(bits, joint).filter(|_| per_element) {
        return vec![width; (bits / width) as usize];
    }
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
fn place(field: &mut Field, len: u32, (rows, groups): (u32, u32), cut: Cut, start: u32) -> u32 {
    let bits = field.element.bits();
    let values = field.values_per_code(len);
    if let Some(leftover) = leftover_of(field, len, groups, cut) {
        place_leftover(field, &leftover, (rows, groups), cut, start);
        return start + rows * field.count * bits;
    }
    let mut end = start;
    let mut parts = Vec::new();
    let widths = match values {
        Some(values) if values > 1 && values == cut.joint => whole_code(bits),
        _ => widths(bits, values == Some(1), cut.joint),
    };
    for bits in widths {
        let address = place_part(field, bits, len, (rows, groups), cut, end);
        end = (end + rows * field.count * bits).next_multiple_of(8);
        parts.push(Part {
            bits: bits as u8,
            address,
        });
    }
    field.parts = parts;
    end
}

/// How the codes of elements lie whose bits do not fill bytes, if so many copies, or groups of rows, make up whole bytes.
fn leftover_of(field: &Field, len: u32, groups: u32, cut: Cut) -> Option<Leftover> {
    let alone = field.values_per_code(len) == Some(1) && cut.joint == 1;
    let leftover = Leftover::of(field.element.bits()).filter(|_| alone)?;
    let beside = beside_of(leftover.codes.into(), cut);
    let filled = (cut.copies * beside).is_multiple_of(leftover.codes.into());
    let whole = u64::from(len).is_multiple_of(cut.span) && u64::from(groups).is_multiple_of(beside);
    (filled && whole).then_some(leftover)
}

/// Groups of rows whose codes share bytes, of which so many share some: of copies that are too few to fill bytes, several groups
/// of rows do.
fn beside_of(codes: u64, cut: Cut) -> u64 {
    let too_few = match codes.is_multiple_of(cut.copies) {
        true => codes / cut.copies,
        false => 1,
    };
    too_few.max(gcd(codes, cut.beside))
}

/// Places such a field from a bit address on.
fn place_leftover(
    field: &mut Field,
    leftover: &Leftover,
    (rows, groups): (u32, u32),
    cut: Cut,
    start: u32,
) {
    let beside = beside_of(leftover.codes.into(), cut);
    let per_unit = u64::from(leftover.codes) / beside;
    let (groups, each) = (u64::from(groups), u64::from(rows / groups.max(1)));
    let address = |part: u32, row: u32, element: u32| {
        let at = cut.split(u64::from(element));
        let (group, of_group) = (u64::from(row) / each, u64::from(row) % each);
        let code = group % beside * per_unit + at.copy % per_unit;
        let units = (at.h * cut.steps() + at.t) * (cut.copies / per_unit) + at.copy / per_unit;
        let unit = units * (groups / beside) + group / beside;
        let (byte, bit) = leftover.place(code as u32, part);
        let slot = unit * u64::from(leftover.bytes) + u64::from(byte);
        let byte = (slot * each + of_group) * cut.lanes + at.lane;
        start + 8 * byte as u32 + bit
    };
    let count = field.count;
    let parts = (0..).zip(&leftover.widths).map(|(part, width)| Part {
        bits: *width as u8,
        address: (0..rows)
            .flat_map(|row| (0..count).map(move |element| (row, element)))
            .map(|(row, element)| address(part, row, element))
            .collect(),
    });
    field.parts = parts.collect();
}

/// Widths of the parts of what several elements share, if rows of as many groups fill bytes with each of them.
pub(super) fn shared_bytes(field: &Field, len: u32, groups: u32) -> Option<Vec<u32>> {
    let bits = field.element.bits();
    let shared = is_shared(field, len);
    let widths = widths(bits, true, 1);
    let fill = |width: &u32| *width >= 8 || groups.is_multiple_of(8 / width);
    (shared && !bits.is_multiple_of(8) && widths.iter().all(fill)).then_some(widths)
}

/// Whether a block has room for bytes of their own of all that several elements share in less.
fn has_room(block: &BlockFormat) -> bool {
    let shared = |f: &&Field| f.scope == Scope::Block && is_shared(f, block.len);
    let fields = block.fields.values().filter(shared);
    let more = fields.map(|f| f.count * (f.element.bits().next_multiple_of(8) - f.element.bits()));
    let stored = 8 * u64::from(block.bytes);
    is_little_more(stored + u64::from(more.sum::<u32>()), stored)
}

/// Whether several elements, but not all, have codes of a field together.
fn is_shared(field: &Field, len: u32) -> bool {
    field.count < len && field.element.width() == 1
}

/// Places such a field from a bit address on, each code in whole bytes; returns the address after them.
fn place_roomy(field: &mut Field, rows: u32, start: u32) -> u32 {
    let bits = field.element.bits();
    let (width, count) = (bits.next_multiple_of(8), field.count);
    let of_row = |row: u32| (0..count).map(move |o| start + (o * rows + row) * width);
    field.parts = vec![Part {
        bits: bits as u8,
        address: (0..rows).flat_map(of_row).collect(),
    }];
    start + rows * count * width
}

/// Places such a field from a bit address on, rows of different groups in each byte; returns the address after its last bit.
fn place_shared(field: &mut Field, widths: &[u32], (rows, groups): (u32, u32), start: u32) -> u32 {
    let (lanes, count) = (rows / groups, field.count);
    let mut end = start;
    let mut parts = Vec::new();
    for width in widths {
        let in_byte = (8 / width).max(1);
        let address = |row: u32, occurrence: u32| {
            let (group, lane) = (row / lanes, row % lanes);
            let slot = (occurrence * (groups / in_byte) + group / in_byte) * lanes + lane;
            end + slot * width * in_byte + width * (group % in_byte)
        };
        let all = (0..rows).flat_map(|r| (0..count).map(move |o| (r, o)));
        let address: Vec<u32> = all.map(|(r, o)| address(r, o)).collect();
        parts.push(Part {
            bits: *width as u8,
            address,
        });
        end += rows * count * width;
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

/// Addresses of the bits of one part, row after row.
fn place_part(
    field: &Field,
    bits: u32,
    len: u32,
    (rows, groups): (u32, u32),
    cut: Cut,
    start: u32,
) -> Vec<u32> {
    let per_element = field.values_per_code(len) == Some(1);
    // A code of several values is the joint code of them.
    let values = field
        .values_per_code(len)
        .filter(|v| *v == 1 || *v == cut.joint);
    // Neighbours of a joint code lie side by side in it.
    let joint = u64::from(bits) * cut.joint / values.unwrap_or(1);
    let unit = match joint {
        n if n <= u64::from(cut.word()) => n as u32,
        _ => bits,
    };
    let packs = u64::from(8 / unit.clamp(1, 8));
    let beside = beside_of(packs, cut);
    let in_bytes = unit <= 8
        && 8 % unit == 0
        && (cut.copies * beside).is_multiple_of(packs)
        && u64::from(groups).is_multiple_of(beside);
    let each = rows / groups.max(1);
    let lane_order = values.is_some() && u64::from(len).is_multiple_of(cut.span);
    if lane_order && (in_bytes || bits.is_multiple_of(8)) {
        let (per_unit, beside) = if in_bytes {
            (packs / beside, beside)
        } else {
            (1, 1)
        };
        let width = if in_bytes { 8 } else { bits };
        let of_code = |occurrence: u32| {
            let at = cut.split(u64::from(occurrence) * values.unwrap_or(1));
            let units = (at.h * cut.steps() + at.t) * (cut.copies / per_unit) + at.copy / per_unit;
            let slot = units * (u64::from(rows) / beside) * cut.lanes + at.lane;
            let copy = at.copy % per_unit;
            slot as u32 * width + copy as u32 * unit + at.joint as u32 * bits
        };
        let of_row = |row: u32| {
            let (group, of_group) = (u64::from(row / each), u64::from(row % each));
            let place = group / beside * u64::from(each) + of_group;
            let copy = group % beside * per_unit;
            (place * cut.lanes) as u32 * width + copy as u32 * unit
        };
        let codes: Vec<u32> = (0..field.count).map(of_code).collect();
        let rows = (0..rows).map(|row| start + of_row(row));
        return rows
            .flat_map(|row| codes.iter().map(move |code| row + code))
            .collect();
    }
    let address = |row: u32, occurrence: u32| -> u32 {
        if per_element {
            return start + (row * len + occurrence) * bits;
        }
        // Codes of several values are read along the rows of one group.
        let (group, of_group, beside) = match field.element.width() {
            1 => (0, row, rows),
            _ => (row / each, row % each, each),
        };
        start + ((group * field.count + occurrence) * beside + of_group) * bits
    };
    (0..rows)
        .flat_map(|r| (0..field.count).map(move |o| (r, o)))
        .map(|(r, o)| address(r, o))
        .collect()
}
