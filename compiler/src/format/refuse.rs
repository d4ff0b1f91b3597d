//! Finds codes that a format refuses: `codebook [-1, 0, 1] else refuse` has no code 3, and bytes with one are no tensor of it.
//!
//! Only codes that an element of the tensor has count. What fills up the last block of a row and the last group of rows is
//! never read.

use super::codec::{CodecError, check_bytes, read_code};
use super::grid::{Grid, for_each_block};
use super::sums::check_sums;
use super::{BlockFormat, Element, Field, Format, FormatKind};
use std::collections::BTreeMap;

impl Format {
    /// Whether there are bytes of the right length that are no tensor of the format.
    pub fn refuses(&self) -> bool {
        match &self.kind {
            FormatKind::Plain(e) => e.refuses(),
            FormatKind::Block(b) => {
                b.kept.is_some() || b.fields.values().any(|f| f.element.refuses())
            }
        }
    }
}

/// Fails with the first code of a tensor that its format refuses.
///
/// # Errors
///
/// [`CodecError::Refused`], and what is wrong with the shape or the number of bytes.
pub fn check_codes(format: &Format, shape: &[u64], bytes: &[u8]) -> Result<(), CodecError> {
    if !format.refuses() {
        return Ok(());
    }
    check_bytes(format, shape, bytes)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let refused = match &format.kind {
        FormatKind::Plain(e) => plain(e, shape, bytes),
        FormatKind::Block(b) => blocks(b, shape, bytes)?,
    };
    match refused {
        None => check_sums(format, shape, bytes),
        Some(r) => Err(CodecError::Refused {
            format: format.name.clone(),
            field: r.field,
            code: r.code,
            row: r.row,
            element: r.element,
        }),
    }
}

/// A code that is refused, and where it stands.
struct Refused {
    field: Option<String>,
    code: u32,
    row: u64,
    element: u64,
}

fn plain(e: &Element, shape: &[u64], bytes: &[u8]) -> Option<Refused> {
    let legal = legal(e);
    let codes = bytes.chunks_exact(e.storage_bytes() as usize);
    let mut codes = codes.map(|c| read_code(c, 0, e.bits())).zip(0u64..);
    let (code, at) = codes.find(|(c, _)| !legal[*c as usize])?;
    let columns = shape.last().copied().unwrap_or(1);
    Some(Refused {
        field: None,
        code,
        row: at / columns,
        element: at % columns,
    })
}

/// Whether each code of an element with illegal ones (of at most 16 bits) is legal.
fn legal(e: &Element) -> Vec<bool> {
    (0..1u32 << e.bits()).map(|c| e.is_legal(c)).collect()
}

/// The codes of one field.
struct Watched<'a> {
    field: &'a Field,
    legal: Vec<bool>,
}

fn blocks(b: &BlockFormat, shape: &[u64], bytes: &[u8]) -> Result<Option<Refused>, CodecError> {
    let grid = Grid::new(b, shape).ok_or_else(|| CodecError::TooLarge {
        shape: shape.to_vec(),
    })?;
    let fields = b.fields.values().filter(|f| f.element.refuses());
    let fields: Vec<Watched<'_>> = fields
        .map(|field| Watched {
            field,
            legal: legal(&field.element),
        })
        .collect();
    let sieve = Sieve::new(&fields);
    let mut found = None;
    for_each_block(b, &grid, |place, rows| {
        let bytes = &bytes[place.block..place.block + b.bytes as usize];
        if found.is_none() && sieve.catches(&fields, bytes) {
            found = fields.iter().find_map(|w| w.find(bytes, rows, &grid));
        }
    });
    Ok(found)
}

impl Watched<'_> {
    fn refused(&self, bytes: &[u8], slot: usize) -> Option<u32> {
        let code = self.field.read(bytes, slot);
        (!self.legal[code as usize]).then_some(code)
    }

    /// The first illegal code of a block that an element of the tensor has. `rows` says where the elements of each row start,
    /// and how many there are.
    fn find(&self, bytes: &[u8], rows: &[(usize, usize)], grid: &Grid) -> Option<Refused> {
        let field = self.field;
        rows.iter().zip(0..).find_map(|((start, count), r)| {
            let slots = field.occurrence.iter().take(*count);
            let codes = slots.map(|o| self.refused(bytes, (r * field.count + o) as usize));
            let (i, code) = codes.zip(0..).find_map(|(code, i)| Some((i, code?)))?;
            let at = *start as u64 + i;
            Some(Refused {
                field: Some(field.name.clone()),
                code,
                row: at / grid.cols,
                element: at % grid.cols,
            })
        })
    }
}

/// Most kinds of bytes that are told apart: formats of people have a few.
const MOST_KINDS: usize = 256;

/// A code within a byte.
struct Whole {
    address: u32,
    field: u32,
    slot: u32,
}

/// What tells most blocks without illegal codes apart, byte by byte; it also catches those that only have some in their padding.
struct Sieve {
    /// For each kind of byte, whether it holds an illegal code.
    kinds: Vec<[bool; 256]>,
    /// Bytes of a block that hold whole codes, with their kinds.
    places: Vec<(u32, u32)>,
    /// The other codes: fields and slots.
    others: Vec<(u32, u32)>,
}

impl Sieve {
    fn new(fields: &[Watched<'_>]) -> Sieve {
        let mut others = Vec::new();
        let mut whole = Vec::new();
        for (field, watched) in (0..).zip(fields) {
            let bits = watched.field.element.bits();
            for slot in 0..watched.field.slots() as u32 {
                let address = watched.field.whole().map(|whole| whole[slot as usize]);
                match address.filter(|a| a % 8 + bits <= 8) {
                    Some(address) => whole.push(Whole {
                        address,
                        field,
                        slot,
                    }),
                    None => others.push((field, slot)),
                }
            }
        }
        whole.sort_unstable_by_key(|w| w.address);
        let mut known: BTreeMap<Vec<(u32, u32)>, u32> = BTreeMap::new();
        let mut kinds = Vec::new();
        let mut places = Vec::new();
        for codes in whole.chunk_by(|a, b| a.address / 8 == b.address / 8) {
            let key: Vec<(u32, u32)> = codes.iter().map(|c| (c.field, c.address % 8)).collect();
            if kinds.len() == MOST_KINDS && !known.contains_key(&key) {
                others.extend(codes.iter().map(|c| (c.field, c.slot)));
                continue;
            }
            let kind = *known.entry(key).or_insert_with_key(|codes| {
                kinds.push(kind(fields, codes));
                kinds.len() as u32 - 1
            });
            places.push((codes[0].address / 8, kind));
        }
        Sieve {
            kinds,
            places,
            others,
        }
    }

    fn catches(&self, fields: &[Watched<'_>], bytes: &[u8]) -> bool {
        let byte = |at: u32| usize::from(bytes[at as usize]);
        let mut places = self.places.iter();
        let mut others = self.others.iter();
        places.any(|(at, kind)| self.kinds[*kind as usize][byte(*at)])
            || others.any(|(f, slot)| fields[*f as usize].refused(bytes, *slot as usize).is_some())
    }
}

/// The bytes that hold an illegal code at one of some places.
fn kind(fields: &[Watched<'_>], codes: &[(u32, u32)]) -> [bool; 256] {
    std::array::from_fn(|byte| {
        codes.iter().any(|(f, shift)| {
            let legal = &fields[*f as usize].legal;
            !legal[byte >> shift & (legal.len() - 1)]
        })
    })
}
