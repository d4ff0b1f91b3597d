//! Cuts: how many elements a chunk has, where its boundaries are, and into which copies and lanes a run between two of them is
//! cut, so that the codes of the tensors along it suit.

use super::layout::{COUNTED, Cut, JOINT_BITS, joint_width, widths};
use crate::divisors::lcm;
use crate::format::recode;
use crate::format::{BitWorths, BlockFormat, Codebook, Element, Field, FormatKind, Scope};
use crate::spec::kernel::{IndexId, Kernel, Role, Subscript, TensorId};
use crate::target::Target;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A load of a block tensor along an index.
#[derive(Clone)]
pub(super) struct BlockUse<'a> {
    pub(super) tensor: TensorId,
    pub(super) block: Cow<'a, BlockFormat>,
    pub(super) subscripts: &'a [Subscript],
    /// Whether its layout is still to be chosen.
    pub(super) free: bool,
    /// Whether it is known before the call.
    pub(super) packed: bool,
}

/// What plans depend on: facts of a statement.
pub(super) struct Facts<'a> {
    pub(super) outputs: Vec<IndexId>,
    pub(super) reduced: Vec<IndexId>,
    pub(super) uses: Vec<(TensorId, &'a [Subscript])>,
}

/// Lanes of a plan before it is cut.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub(super) rows: u64,
    pub(super) vector: u64,
    pub(super) joint: u64,
    /// Groups of rows whose codes share bytes and are read where they are; 1 where they are moved to the low end.
    pub(super) beside: u64,
}

impl Lanes {
    pub(super) fn new(rows: u64, vector: u64) -> Lanes {
        Lanes {
            rows,
            vector,
            joint: 1,
            beside: 1,
        }
    }
}

/// Copies of the lanes in a block of plain values: they spread the cost of the loop.
pub(super) const PLAIN_COPIES: u64 = 4;

/// Plain values of a block under such a cut: copies for all parts of codes that share a byte.
pub(super) fn plain_len(element: &Element, lanes: u64, joint: u64) -> u64 {
    let copies = match joint {
        1 => in_a_byte(element).map_or(PLAIN_COPIES, |copies| copies.max(PLAIN_COPIES)),
        _ => JOINT_COPIES,
    };
    lanes * joint * copies
}

/// The most elements of a chunk: tables over its positions are made and searched.
const MAX_CHUNK: u64 = 1 << 16;

/// Elements of a chunk (least common multiple of the blocks, and of what the index is divided by, as far as they go together)
/// and the boundaries inside it.
pub(super) fn chunk(blocks: &[BlockUse<'_>], steps: &[u64], vector_bytes: u64) -> (u64, Vec<u64>) {
    let mut lens: Vec<u64> = Vec::new();
    let mut chunk = 1;
    let mut fits = |len: u64| {
        let longer = lcm(chunk, len);
        let fits = longer <= MAX_CHUNK;
        chunk = if fits { longer } else { chunk };
        fits
    };
    for BlockUse { block, .. } in blocks {
        let len = u64::from(block.len);
        if !fits(len) {
            continue;
        }
        if !goes_on(block) {
            lens.push(len);
        }
        let in_block = |f: &&Field| f.scope == Scope::Block;
        for field in block.fields.values().filter(in_block) {
            // A code of several values is read for each of them anyway.
            let run = field.run().filter(|_| field.element.width() == 1);
            lens.extend(run.filter(|run| *run > 1).map(u64::from));
        }
    }
    lens.extend(steps.iter().copied().filter(|by| fits(*by)));
    // Lanes may run over several blocks that are shorter than a vector, if their elements share nothing.
    let alone = |b: &BlockUse<'_>| !b.free && b.block.fields.values().all(Field::per_element);
    let short = chunk < vector_bytes && steps.is_empty();
    if short && !blocks.is_empty() && blocks.iter().all(alone) {
        let several = lcm(chunk, vector_bytes);
        return (several, vec![several]);
    }
    lens.push(chunk);
    lens.sort_unstable();
    lens.dedup();
    let mut bounds: Vec<u64> = Vec::new();
    for len in lens {
        if bounds.last().is_none_or(|b| len.is_multiple_of(*b)) {
            bounds.push(len);
        }
    }
    (chunk, bounds)
}

/// Whether one block after the other is as one long block: elements share nothing in it, and their codes go on side by side.
fn goes_on(block: &BlockFormat) -> bool {
    let mut fields = block.fields.values().filter(|f| f.scope == Scope::Block);
    let in_order = |f: &Field| {
        let [part] = &f.parts[..] else {
            return false;
        };
        let bits = u32::from(part.bits);
        f.element.width() == 1
            && f.run() == Some(1)
            && (0..).zip(&part.address).all(|(i, at)| *at == i * bits)
            && 8 * block.bytes == bits * block.len
    };
    block.rows == 1 && fields.all(in_order)
}

/// The most parts of codes that share a byte, where some are narrower than one.
fn in_a_byte(element: &Element) -> Option<u64> {
    let widths = widths(element.bits(), true, 1).into_iter();
    let narrow = widths.filter(|bits| *bits < 8);
    narrow.map(|bits| u64::from(8 / bits)).max()
}

/// Copies that let the codes of one byte go to different copies.
pub(super) fn copies_wanted(blocks: &[BlockUse<'_>]) -> u64 {
    blocks
        .iter()
        .filter(|b| b.free)
        .flat_map(|b| b.block.fields.values().map(move |f| (f, b.block.len)))
        .filter_map(|(f, len)| match f.values_per_code(len)? {
            1 => in_a_byte(&f.element),
            // The values of a code go to different copies.
            several => Some(several),
        })
        .max()
        .unwrap_or_else(|| {
            if blocks.iter().any(|b| matches!(b.block, Cow::Owned(_))) {
                PLAIN_COPIES
            } else {
                1
            }
        })
}

/// Whether a code gives values to several elements that are not neighbours, or not in order, or that lie on both sides of a
/// boundary: which of its values is wanted follows from the place alone only where every place is a copy.
pub(super) fn has_scattered_codes(blocks: &[BlockUse<'_>], inner: Option<u64>) -> bool {
    let scattered = |b: &BlockUse<'_>| {
        let several = b.block.fields.values().filter(|f| f.element.width() > 1);
        let mut values = several.map(|f| f.values_per_code(b.block.len));
        values.any(|v| v.is_none_or(|v| inner.is_some_and(|run| !run.is_multiple_of(v))))
    };
    blocks.iter().any(scattered)
}

/// Most vectors of a chunk that become copies for such codes.
pub(super) const MOST_VECTORS: u64 = 32;

/// Copies of joint codes beside each other.
pub(super) const JOINT_COPIES: u64 = 8;

/// How many neighbours the joint codes may have that the weights of a statement are cut into on a target: where each weight along
/// the vector index has a code of few bits that can be cut so, and integers of the call meet them. The parts of an integer
/// are its bits; other codes stay whole, or become joint codes with a sign.
pub(super) fn joints(
    kernel: &Kernel,
    facts: &Facts<'_>,
    vector: Option<IndexId>,
    blocks: &[BlockUse<'_>],
    target: &Target,
) -> Vec<u64> {
    let along = |t: &TensorId, s: &[Subscript]| {
        let own = vector.map(Subscript::Index);
        own.is_some() && s.last() == own.as_ref() && kernel.tensors[*t].role != Role::Stored
    };
    let given = |which: &dyn Fn(&Element) -> bool| {
        facts.uses.iter().any(|(t, s)| {
            let given = matches!(kernel.tensors[*t].role, Role::Input | Role::Local);
            let elements: Vec<&Element> = match &kernel.tensors[*t].format.kind {
                FormatKind::Plain(element) => vec![element],
                FormatKind::Block(block) => {
                    let own = block.fields.values().filter(|f| f.per_element());
                    own.map(|f| &f.element).collect()
                }
            };
            given && along(t, s) && !elements.is_empty() && elements.into_iter().all(which)
        })
    };
    let weights = blocks
        .iter()
        .filter(|b| kernel.tensors[b.tensor].role.is_packed());
    let codes = weights.flat_map(|b| {
        let fields = b.block.fields.values();
        fields.filter(|f| f.values_per_code(b.block.len).is_some())
    });
    let (mut wanted, mut mirrored, mut counted) = (BTreeSet::new(), BTreeSet::new(), true);
    for field in codes {
        wanted.insert(joint_of(field));
        mirrored.insert(recode::mirrored(&field.element, JOINT_BITS).map_or(1, |b| b.width.into()));
        counted &= few_bits(&field.element).is_some();
    }
    let mut joints = Vec::new();
    if target.has_tables() && given(&|e| e.is_integer() && e.bits() <= 8) {
        let common = [&wanted, &mirrored]
            .into_iter()
            .filter(|all| all.len() == 1);
        joints.extend(common.flatten().copied().filter(|joint| *joint > 1));
    }
    if counted && !wanted.is_empty() && target.counts_bits() && given(&|e| few_bits(e).is_some()) {
        joints.push(COUNTED);
    }
    joints
}

/// What the bits of an element are worth, if products with it are worth being counted bit by bit: it has one or two bits.
pub(super) fn few_bits(element: &Element) -> Option<BitWorths> {
    let few = element.bits() <= 2;
    let worths = element.bit_worths().filter(|_| few)?;
    worths.are_small().then_some(worths)
}

/// Whether a code of several values is a joint code, but for a bit that is the sign of all values.
fn is_joint_code(book: &Codebook) -> bool {
    book.bits() <= JOINT_BITS || book.bits() == JOINT_BITS + 1 && book.is_mirrored()
}

/// How many neighbours make up a joint code of a field; 1 where none do.
fn joint_of(field: &Field) -> u64 {
    let whole = match &field.element {
        Element::UInt { .. } | Element::Int { .. } => 1,
        Element::Codebook(book) if book.width == 1 => field.element.bits(),
        Element::Codebook(book) if is_joint_code(book) => return u64::from(book.width),
        Element::Codebook(_) | Element::Float(_) => return 1,
    };
    let joint = u64::from(JOINT_BITS / whole.clamp(1, JOINT_BITS));
    joint_width(field.element.bits(), joint).map_or(1, |_| joint)
}

/// Most elements of a chunk that become copies of lanes.
pub(super) const MOST_COPIED: u64 = 256;

/// A cut with the wanted lanes that divides the smallest run between boundaries and suits the codes of the tensors whose
/// layout is fixed. Where none does, a chunk that may be copied becomes copies of lanes: every place is then known where code
/// is emitted.
pub(super) fn cut(
    blocks: &[BlockUse<'_>],
    inner: Option<u64>,
    list: Lanes,
    wanted: u64,
    copied: Option<u64>,
) -> Option<Cut> {
    let (lanes, joint) = (list.vector, list.joint);
    let step = lanes * joint;
    let cut = |copies: u64, span: u64| Cut {
        lanes,
        joint,
        copies,
        span,
        beside: list.beside,
    };
    let Some(inner) = inner else {
        // Nothing is packed: a few copies only spread the cost of the loop.
        let copies = if lanes > 1 { 4 } else { 1 };
        return Some(cut(copies, step * copies));
    };
    if !inner.is_multiple_of(step) {
        return None;
    }
    // Bits of a call's codes are brought together, wherever they lie.
    let suits = |b: &&BlockUse<'_>| !b.free && (b.packed || joint != COUNTED);
    let fixed: Vec<&BlockUse<'_>> = blocks.iter().filter(suits).collect();
    let copied = copied
        .filter(|_| !fixed.is_empty())
        .map(|chunk| cut(chunk / step, chunk));
    let of_several = |f: &Field| f.element.width() > 1;
    if copied.is_some()
        && fixed
            .iter()
            .any(|b| b.block.fields.values().any(of_several))
    {
        return copied;
    }
    let mut best = None;
    for copies in [wanted, 8, 4, 2, 1] {
        let mut span = step * copies;
        while span <= inner {
            let cut = cut(copies, span);
            if inner.is_multiple_of(span) {
                let fits = fixed.iter().filter(|b| fits(&b.block, cut)).count();
                if fits == fixed.len() {
                    return Some(cut);
                }
                if best.as_ref().is_none_or(|(f, _)| fits > *f) {
                    best = Some((fits, cut));
                }
            }
            span *= 2;
        }
    }
    // Joint codes that lie otherwise are none.
    if joint > 1 {
        return None;
    }
    copied.or(best.map(|(_, cut)| cut))
}

/// Whether the codes of all fixed layouts lie as so many row lanes, and a cut, want them.
pub(super) fn suit(blocks: &[BlockUse<'_>], rows: u64, cut: Cut) -> bool {
    let mut fixed = blocks.iter().filter(|b| !b.free && b.packed);
    fixed.all(|b| fits(&b.block, cut) && rows_fit(&b.block, rows as u32, cut))
}

/// Whether the codes of so many neighbouring rows lie beside each other, in the lanes of a cut.
fn rows_fit(block: &BlockFormat, rows: u32, cut: Cut) -> bool {
    let codes = block.fields.values();
    let mut codes = codes.filter(|f| f.scope == Scope::Block && f.count == block.len);
    codes.all(|field| {
        field.parts.iter().all(|part| {
            let apart = cut.lanes as u32 * u32::from(part.bits).max(8);
            let address = |row: u32, at: u32| part.address[(row * field.count + at) as usize];
            let in_lane = |row: u32, at: u32| {
                address(row, at) == address(row - row % rows, at) + row % rows * apart
            };
            block.rows.is_multiple_of(rows)
                && (0..block.rows).all(|row| (0..field.count).all(|at| in_lane(row, at)))
        })
    })
}

/// Whether the codes of a fixed layout lie in lanes under a cut: same shift in all lanes, neighbouring bytes; the parts of a
/// joint code side by side.
fn fits(block: &BlockFormat, cut: Cut) -> bool {
    let run = cut.span / cut.copies;
    let step = cut.lanes * cut.joint;
    block
        .fields
        .values()
        .filter(|f| f.scope == Scope::Block && f.count == block.len)
        .flat_map(|f| f.parts.iter().map(move |p| (f, p)))
        .all(|(f, part)| {
            let bits = u32::from(part.bits);
            let address = |i: u64| part.address[f.occurrence[i as usize] as usize];
            let width = if bits < 8 { 8 } else { bits };
            // Neighbours in one joint code, or one after the other.
            let together = bits * cut.joint as u32 == cut.word();
            let (unit, next) = match together {
                true => (cut.joint, bits),
                false => (1, width),
            };
            let apart = (cut.joint / unit) as u32 * width;
            (together || cut.joint == 1 || bits >= 8)
                && (0..u64::from(block.len)).all(|i| {
                    let (lane, at) = (i % step / cut.joint, i % cut.joint);
                    let first = address(i - i % step);
                    let steps = (i - i % step) % run;
                    let run_start = address(i - i % step - steps);
                    address(i) == first + lane as u32 * apart + at as u32 * next
                        && first == run_start + (steps / unit) as u32 * width
                        && address(i) % width + bits <= width
                        && (i / cut.span == 0 || address(i) % 8 == address(i % cut.span) % 8)
                })
        })
}
