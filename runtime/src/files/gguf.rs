//! GGUF, versions 2 and 3, little endian: a header, key-value pairs, descriptions of tensors, then their bytes.
//!
//! The number of a tensor's type stands for a format by `dtypes.txt`; its size then follows from the format's definition.
//! Bytes of a type that is not listed run to the start of the next tensor, or to the end of the file.
#![forbid(unsafe_code)]

use super::bytes::{Cursor, elements};
use super::value::{UINT32, Value, text, value};
use super::{Contents, Dtype, FileError, TensorInfo, format_of};
use lowbit_compiler::format::FormatKind;
use std::collections::BTreeSet;
use std::ops::Range;

/// The first bytes of every file.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// The key that says at which multiples tensors start, and what holds if it is absent.
pub(super) const ALIGNMENT_KEY: &str = "general.alignment";
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 24;
/// Most axes of a tensor.
const MAX_AXES: u32 = 8;
/// Longest key or name of a tensor.
pub(super) const MAX_NAME: u64 = 1 << 16;
/// The fewest bytes that a key-value pair and the description of a tensor take.
const MIN_PAIR: u64 = 8 + 4 + 1;
const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;

/// Reads all but the tensors' bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, FileError> {
    let mut cursor = Cursor::new(bytes, 0);
    if cursor.take(4, "the magic")? != MAGIC {
        return cursor.malformed(0, "a GGUF file starts with the letters GGUF");
    }
    match cursor.u32("the version")? {
        2 | 3 => {}
        1 => return Err(FileError::Unsupported("GGUF version 1".into())),
        v if matches!(v.swap_bytes(), 1..=3) => {
            return Err(FileError::Unsupported("GGUF with the big end first".into()));
        }
        v => return Err(FileError::Unsupported(format!("GGUF version {v}"))),
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let pair_count = cursor.u64("the number of key-value pairs")?;
    let least = u128::from(tensor_count) * u128::from(MIN_TENSOR)
        + u128::from(pair_count) * u128::from(MIN_PAIR);
    if least > u128::from(cursor.left()) {
        return cursor.malformed(
            8,
            format!("{tensor_count} tensors and {pair_count} pairs do not fit into the file"),
        );
    }
    let (metadata, encoded) = pairs(&mut cursor, pair_count)?;
    let alignment = alignment(&cursor, &metadata)?;
    let mut described = (0..tensor_count)
        .map(|_| describe(&mut cursor))
        .collect::<Result<Vec<_>, _>>()?;
    let start = cursor.offset().next_multiple_of(alignment);
    place(&mut described, start, alignment, bytes.len() as u64)?;
    Ok(Contents {
        tensors: described,
        metadata,
        encoded,
    })
}

/// Keys with their values, and where each value lies with the number of its kind.
type Pairs = (Vec<(String, Value)>, Vec<Range<usize>>);

fn pairs(cursor: &mut Cursor<'_>, count: u64) -> Result<Pairs, FileError> {
    let mut seen = BTreeSet::new();
    let mut pairs = Pairs::default();
    for _ in 0..count {
        let offset = cursor.offset();
        let key = text(cursor, MAX_NAME, "a key")?;
        let start = cursor.offset() as usize;
        let kind = cursor.u32("the kind of a value")?;
        let value =
            alignment_kind(cursor, &key, kind, offset).and_then(|()| value(cursor, kind))?;
        if !seen.insert(key.clone()) {
            return cursor.malformed(offset, format!("the key `{key}` is given twice"));
        }
        pairs.0.push((key, value));
        pairs.1.push(start..cursor.offset() as usize);
    }
    Ok(pairs)
}

fn alignment_kind(cursor: &Cursor<'_>, key: &str, kind: u32, offset: u64) -> Result<(), FileError> {
    if key == ALIGNMENT_KEY && kind != UINT32 {
        return cursor.malformed(
            offset,
            format!("`{ALIGNMENT_KEY}` must be an unsigned integer of 32 bits"),
        );
    }
    Ok(())
}

fn alignment(cursor: &Cursor<'_>, metadata: &[(String, Value)]) -> Result<u64, FileError> {
    match metadata.iter().find(|(k, _)| k == ALIGNMENT_KEY) {
        None => Ok(DEFAULT_ALIGNMENT),
        Some((_, Value::UInt(n))) if n.is_power_of_two() && *n <= MAX_ALIGNMENT => Ok(*n),
        Some((_, v)) => cursor.malformed(
            cursor.offset(),
            format!("`{ALIGNMENT_KEY}` is {v:?}, not a power of two of at most {MAX_ALIGNMENT}"),
        ),
    }
}

/// The description of a tensor; its offset still counts from the start of the data, and it has no bytes yet.
fn describe(cursor: &mut Cursor<'_>) -> Result<TensorInfo, FileError> {
    let name = text(cursor, MAX_NAME, "the name of a tensor")?;
    let error = |what: String| FileError::Tensor {
        name: name.clone(),
        what,
    };
    let axes = cursor.u32("the number of axes")?;
    if axes > MAX_AXES {
        return Err(error(format!(
            "has {axes} axes; at most {MAX_AXES} are read"
        )));
    }
    let mut shape = (0..axes)
        .map(|_| cursor.u64("an extent"))
        .collect::<Result<Vec<u64>, _>>()?;
    // The file names the innermost axis first.
    shape.reverse();
    if elements(&shape).is_none() {
        return Err(error(format!("has too many elements ({shape:?})")));
    }
    let dtype = Dtype::new(format!("ggml:{}", cursor.u32("the type of a tensor")?));
    let offset = cursor.u64("the offset of a tensor")?;
    Ok(TensorInfo {
        name,
        shape,
        dtype,
        definition: None,
        offset,
        bytes: 0,
    })
}

/// Bytes of a tensor whose type is bound to a format; `None` for other types.
fn size(tensor: &TensorInfo) -> Result<Option<u64>, FileError> {
    let Ok(format) = format_of(&tensor.dtype) else {
        return Ok(None);
    };
    let error = |what: String| FileError::Tensor {
        name: tensor.name.clone(),
        what,
    };
    if let FormatKind::Block(block) = &format.kind {
        let row = tensor.shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(block.len.into()) {
            return Err(error(format!(
                "rows of {row} elements are no whole blocks of {} ({})",
                block.len, format.name
            )));
        }
    }
    match format.tensor_bytes(&tensor.shape) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(error(format!("is too large ({:?})", tensor.shape))),
    }
}

/// Gives every tensor its place in the file, and checks that none lies on another or past the end.
fn place(
    tensors: &mut [TensorInfo],
    start: u64,
    alignment: u64,
    end: u64,
) -> Result<(), FileError> {
    for tensor in tensors.iter_mut() {
        let error = |what: String| {
            Err(FileError::Tensor {
                name: tensor.name.clone(),
                what,
            })
        };
        if !tensor.offset.is_multiple_of(alignment) {
            return error(format!(
                "starts at {}, which is not a multiple of {alignment}",
                tensor.offset
            ));
        }
        match start.checked_add(tensor.offset) {
            Some(offset) if offset <= end => tensor.offset = offset,
            Some(_) | None => {
                return error(format!(
                    "starts at {} of the data, past the end of the file",
                    tensor.offset
                ));
            }
        }
    }
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    // Empty tensors come first where several start at the same place.
    order.sort_by_key(|i| {
        (
            tensors[*i].offset,
            elements(&tensors[*i].shape) != Some(0),
            *i,
        )
    });
    for (position, at) in order.iter().enumerate() {
        let next = order.get(position + 1).map_or(end, |n| tensors[*n].offset);
        let tensor = &tensors[*at];
        let error = |what: String| {
            Err(FileError::Tensor {
                name: tensor.name.clone(),
                what,
            })
        };
        let room = next - tensor.offset;
        let bytes = match size(tensor)? {
            Some(bytes) => bytes,
            None if elements(&tensor.shape) == Some(0) => 0,
            None if room == 0 => return error("has elements and no bytes".into()),
            None => room,
        };
        if bytes > room {
            let behind = if next == end {
                "the end of the file"
            } else {
                "the next tensor"
            };
            return error(format!(
                "takes {bytes} bytes, and {behind} comes after {room}"
            ));
        }
        tensors[*at].bytes = bytes;
    }
    Ok(())
}
