//! Blocks moved word by word: each word of the target is made of words of the source, shifted and masked, so that neighbours
//! which stay neighbours move together.

use crate::format::recode::Way;
use crate::format::{BlockFormat, Field, Scope};
use crate::lower::{I64, Lower};
use crate::schedule::index::{add, mul};
use crate::vector::ir::{Bin, Convert, Elem, Op, Scalar, Shift, Type, Value};
use std::collections::BTreeMap;

/// Most pieces that a unit of rows is moved in, and words that are stored.
const MOST_PIECES: usize = 10240;

/// Most words of a unit, and codes, that are looked at for that.
const MOST_LOOKED_AT: u64 = 1 << 16;

/// Bytes of a source that are loaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    /// Which of the groups of rows of a unit.
    group: u32,
    /// The first of the bytes.
    byte: u32,
    /// How many: 8, 4, 2 or 1.
    size: u32,
}

/// A word of the target (of the last there may be fewer bytes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    /// Which bits of it come from where, by how far they move up (down, if negative).
    pieces: BTreeMap<(Window, i32), u64>,
    /// Bits that are the others of those.
    flipped: u64,
}

impl Word {
    /// The same of windows that hold no more bytes of a block of so many than the pieces do: these look alike wherever they lie.
    fn narrowed(&self, bytes: u32) -> Word {
        let narrow = |((wide, up), mask): (&(Window, i32), &u64)| {
            // Where the bits lie in the window.
            let taken = match *up {
                0.. => mask >> up,
                _ => mask << -up,
            };
            let first = taken.trailing_zeros() / 8;
            let last = (63 - taken.leading_zeros()) / 8;
            let size = (last - first + 1).next_power_of_two();
            let inside = wide.byte + first + size <= bytes;
            match inside && size < wide.size {
                true => {
                    let byte = wide.byte + first;
                    (
                        (
                            Window {
                                byte,
                                size,
                                ..*wide
                            },
                            up + 8 * first as i32,
                        ),
                        *mask,
                    )
                }
                false => ((*wide, *up), *mask),
            }
        };
        Word {
            pieces: self.pieces.iter().map(narrow).collect(),
            flipped: self.flipped,
        }
    }
}

/// How much further on words of the source lie when they come again.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    groups: u32,
    bytes: u32,
}

/// Words that come again.
pub(super) struct Run {
    words: Vec<Word>,
    times: u32,
    step: Step,
}

/// The blocks of the source that lie side by side in the groups of a unit.
pub(super) struct Sources<'a> {
    /// Where they begin.
    pub(super) blocks: &'a [Value],
    /// Bytes from each to the next.
    pub(super) apart: &'a Scalar,
}

impl Run {
    fn once(word: &Word) -> Run {
        Run {
            words: vec![word.clone()],
            times: 1,
            step: Step::default(),
        }
    }
}

/// Most words that are looked for again; and how often they must come, to be worth a loop.
const LONGEST: usize = 64;
const OFTEN: u32 = 4;

/// The window of a bit in a block of so many bytes, and its place there.
fn window(group: u32, bytes: u32, bit: u32) -> (Window, u32) {
    let byte = bit / 8;
    let (first, size) = match bytes {
        // The last window may begin within the one before.
        8.. => ((byte / 8 * 8).min(bytes - 8), 8),
        _ => {
            let mut first = 0;
            let mut sizes = [4, 2, 1].into_iter().filter(|size| bytes & size != 0);
            let size = sizes.find(|size| {
                let inside = byte < first + size;
                first += if inside { 0 } else { *size };
                inside
            });
            (first, size.unwrap_or(1))
        }
    };
    let window = Window {
        group,
        byte: first,
        size,
    };
    (window, bit - 8 * first)
}

/// Bit addresses of the bits of a slot, low bits first.
fn bits(field: &Field, slot: u32) -> impl Iterator<Item = u32> {
    let parts = field.placed_parts();
    parts.flat_map(move |(_, part)| {
        let first = part.address[slot as usize];
        first..first + u32::from(part.bits)
    })
}

/// The words of all groups of the target in a unit: the larger of the two groups of rows; `None` if they have too many pieces, or
/// codes of some field become others than those with some bits flipped.
pub(super) fn words(from: &BlockFormat, to: &BlockFormat, ways: &[Way]) -> Option<Vec<Vec<Run>>> {
    let flips = ways.iter().map(Way::flips).collect::<Option<Vec<u32>>>()?;
    let unit = from.rows.max(to.rows);
    let groups = u64::from(unit / to.rows);
    let codes = from
        .fields
        .values()
        .map(|f| u64::from(f.count))
        .sum::<u64>();
    let most = (groups * u64::from(to.bytes.div_ceil(8))).max(codes * u64::from(unit));
    if most > MOST_LOOKED_AT {
        return None;
    }
    let of_group = |t: u32| {
        let words = group((from, to), &flips, t);
        let narrow: Vec<Word> = words.iter().map(|w| w.narrowed(from.bytes)).collect();
        let [words, narrow] = [words, narrow].map(|words| {
            let (whole, last) = words.split_at((to.bytes / 8) as usize);
            let mut runs = runs(whole);
            runs.extend(last.iter().map(Run::once));
            runs
        });
        // Pieces of a wide window share its load.
        match 2 * pieces(&narrow) < pieces(&words) {
            true => narrow,
            false => words,
        }
    };
    let groups: Vec<Vec<Run>> = (0..unit / to.rows).map(of_group).collect();
    let all: usize = groups.iter().map(|runs| pieces(runs)).sum();
    (all <= MOST_PIECES).then_some(groups)
}

/// The pieces that words are made of, each once.
fn pieces(runs: &[Run]) -> usize {
    let words = runs.iter().flat_map(|run| &run.words);
    words.map(|word| word.pieces.len().max(1)).sum()
}

/// Words as runs.
fn runs(mut words: &[Word]) -> Vec<Run> {
    let mut runs = Vec::new();
    while !words.is_empty() {
        let run = (1..=LONGEST).find_map(|period| repeated(words, period));
        let run = run.unwrap_or_else(|| Run::once(&words[0]));
        words = &words[run.words.len() * run.times as usize..];
        runs.push(run);
    }
    runs
}

/// The first words, if they come again often enough.
fn repeated(words: &[Word], period: usize) -> Option<Run> {
    let (first, rest) = words.split_at_checked(period)?;
    let window = |words: &[Word]| {
        let ((window, _), _) = words.iter().find_map(|w| w.pieces.first_key_value())?;
        Some(*window)
    };
    let step = match (window(first), window(rest)) {
        (Some(first), Some(second)) => Step {
            groups: second.group.checked_sub(first.group)?,
            bytes: second.byte.checked_sub(first.byte)?,
        },
        (None, None) => Step::default(),
        (Some(_), None) | (None, Some(_)) => return None,
    };
    let further = |word: &Word, times: u32| -> Word {
        let moved = |((window, up), mask): (&(Window, i32), &u64)| {
            let (group, byte) = (
                window.group + times * step.groups,
                window.byte + times * step.bytes,
            );
            (
                (
                    Window {
                        group,
                        byte,
                        ..*window
                    },
                    *up,
                ),
                *mask,
            )
        };
        Word {
            pieces: word.pieces.iter().map(moved).collect(),
            flipped: word.flipped,
        }
    };
    let comes = |times: u32, words: &[Word]| {
        let mut both = first.iter().zip(words);
        words.len() == period && both.all(|(a, b)| further(a, times) == *b)
    };
    let again = (1..).zip(rest.chunks(period));
    let times = 1 + again.take_while(|(n, words)| comes(*n, words)).count() as u32;
    (times >= OFTEN).then(|| Run {
        words: first.to_vec(),
        times,
        step,
    })
}

/// The words of a group of the target, with so many bits of the codes of each field flipped.
fn group((from, to): (&BlockFormat, &BlockFormat), flips: &[u32], t: u32) -> Vec<Word> {
    let mut words = vec![Word::default(); to.bytes.div_ceil(8) as usize];
    let first = t * to.rows;
    let fields = from.fields.values().zip(to.fields.values()).zip(flips);
    for ((a, b), flips) in fields.filter(|((a, _), _)| a.scope == Scope::Block) {
        for row in 0..to.rows {
            let group = (first + row) / from.rows;
            for o in 0..a.count {
                let read = (first + row) % from.rows * a.count + o;
                let write = row * b.count + o;
                for (at, (p, q)) in bits(a, read).zip(bits(b, write)).enumerate() {
                    let (window, place) = window(group, from.bytes, p);
                    let up = (q % 64) as i32 - place as i32;
                    let word = &mut words[(q / 64) as usize];
                    *word.pieces.entry((window, up)).or_default() |= 1 << (q % 64);
                    word.flipped |= u64::from(flips >> at & 1) << (q % 64);
                }
            }
        }
    }
    words
}

/// Stores the words of a block of so many bytes.
pub(super) fn store(
    lower: &mut Lower<'_>,
    runs: &[Run],
    sources: &Sources<'_>,
    (target, bytes): (Value, u32),
) {
    let mut byte = 0;
    for run in runs {
        let size = 8 * run.words.len() as u32;
        let all = (bytes - byte).min(size);
        if run.times == 1 {
            store_words(lower, &run.words, sources.blocks, (target, byte, all));
            byte += all;
            continue;
        }
        let [zero, times] = [0, run.times].map(|n| lower.scalar(&Scalar::Const(n.into())));
        let (at, _) = lower.open("words", zero, times, 1, &[]);
        let groups = mul(Scalar::Const(run.step.groups.into()), sources.apart.clone());
        let step = add(groups, Scalar::Const(run.step.bytes.into()));
        let sources = sources.blocks.iter().map(|s| lower.offset(*s, at, &step));
        let sources: Vec<Value> = sources.collect();
        let target = lower.offset(target, at, &Scalar::Const(size.into()));
        store_words(lower, &run.words, &sources, (target, byte, all));
        lower.close(&[]);
        byte += size * run.times;
    }
}

/// Stores words from a byte on, so many bytes of them.
fn store_words(
    lower: &mut Lower<'_>,
    words: &[Word],
    sources: &[Value],
    (target, first, bytes): (Value, u32, u32),
) {
    for (n, word) in (0..).zip(words) {
        let mut sum = None;
        for ((window, up), mask) in &word.pieces {
            let piece = piece(lower, sources[window.group as usize], *window, *up, *mask);
            sum = Some(match sum {
                None => piece,
                Some(sum) => lower.bin(Bin::Or, sum, piece),
            });
        }
        let mut sum = sum.unwrap_or_else(|| lower.put_at(0, I64, Op::IConst(0)));
        if word.flipped != 0 {
            let flipped = lower.put_at(0, I64, Op::IConst(word.flipped as i64));
            sum = lower.bin(Bin::Xor, sum, flipped);
        }
        lower.store_word(sum, target, first + 8 * n, (bytes - 8 * n).min(8));
    }
}

/// Some bits of a window, where they are to be.
fn piece(lower: &mut Lower<'_>, source: Value, window: Window, up: i32, mask: u64) -> Value {
    let elem = match window.size {
        8 => Elem::I64,
        4 => Elem::I32,
        2 => Elem::I16,
        _ => Elem::I8,
    };
    let load = Op::Load {
        base: source,
        offset: window.byte as i32,
    };
    let mut word = lower.put(Type::new(elem, 1), load, &[source]);
    if window.size < 8 {
        word = lower.put(I64, Op::Convert(Convert::WidenU, word), &[word]);
    }
    let shift = if up < 0 { Shift::UShr } else { Shift::Shl };
    let by = up.unsigned_abs() as u8;
    let moved = lower.put(I64, Op::Shift(shift, word, by), &[word]);
    // What the shift leaves anyway.
    let left = match shift {
        Shift::Shl => u64::MAX << by,
        Shift::UShr | Shift::SShr => u64::MAX >> by,
    };
    if mask == left {
        return moved;
    }
    let mask = lower.put_at(0, I64, Op::IConst(mask as i64));
    lower.bin(Bin::And, moved, mask)
}
