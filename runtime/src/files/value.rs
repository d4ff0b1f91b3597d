//! Values of metadata, as GGUF types them. Lists stay in the file until somebody asks for their entries, so that reading
//! a file takes no memory for them.
#![forbid(unsafe_code)]

use super::FileError;
use super::bytes::Cursor;

/// A value that a file gives for a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// An unsigned integer of any width.
    UInt(u64),
    /// A signed integer of any width.
    Int(i64),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list; see [`TensorFile::items`](super::TensorFile::items).
    List(List),
}

/// A list that lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct List {
    kind: u32,
    count: u64,
    offset: u64,
    depth: u32,
}

impl List {
    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.count
    }
    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The number by which a file says that a value is an unsigned integer of 32 bits.
pub(super) const UINT32: u32 = 4;
const FLOAT32: u32 = 6;
const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
const LIST: u32 = 9;
const FLOAT64: u32 = 12;

/// Deepest lists of lists.
const MAX_DEPTH: u32 = 4;
/// Longest text; it is copied out of the file.
const MAX_TEXT: u64 = 1 << 24;

/// A value of a kind. Lists are passed over, and checked on the way.
pub(super) fn value(cursor: &mut Cursor<'_>, kind: u32) -> Result<Value, FileError> {
    nested(cursor, kind, 0)
}

fn nested(cursor: &mut Cursor<'_>, kind: u32, depth: u32) -> Result<Value, FileError> {
    let offset = cursor.offset();
    Ok(match kind {
        0 => Value::UInt(cursor.u8("a value")?.into()),
        1 => Value::Int((cursor.u8("a value")? as i8).into()),
        2 => Value::UInt(cursor.u16("a value")?.into()),
        3 => Value::Int((cursor.u16("a value")? as i16).into()),
        UINT32 => Value::UInt(cursor.u32("a value")?.into()),
        5 => Value::Int((cursor.u32("a value")? as i32).into()),
        FLOAT32 => Value::Float(f32::from_bits(cursor.u32("a value")?).into()),
        BOOL => match cursor.u8("a value")? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => return cursor.malformed(offset, format!("{other} is neither true nor false")),
        },
        TEXT => Value::Text(text(cursor, MAX_TEXT, "a text")?),
        LIST => Value::List(list(cursor, depth)?),
        10 => Value::UInt(cursor.u64("a value")?),
        11 => Value::Int(cursor.u64("a value")? as i64),
        FLOAT64 => Value::Float(f64::from_bits(cursor.u64("a value")?)),
        other => {
            return cursor.malformed(
                offset,
                format!("there is no kind of value with the number {other}"),
            );
        }
    })
}

/// Bytes of a value, if all values of the kind have as many.
fn width(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | BOOL => Some(1),
        2 | 3 => Some(2),
        UINT32 | 5 | FLOAT32 => Some(4),
        10 | 11 | FLOAT64 => Some(8),
        _ => None,
    }
}

fn list(cursor: &mut Cursor<'_>, depth: u32) -> Result<List, FileError> {
    if depth >= MAX_DEPTH {
        return cursor.malformed(
            cursor.offset(),
            format!("lists in lists, more than {MAX_DEPTH} deep"),
        );
    }
    let kind = cursor.u32("the kind of a list")?;
    let count = cursor.u64("the length of a list")?;
    let list = List {
        kind,
        count,
        offset: cursor.offset(),
        depth,
    };
    match width(kind) {
        Some(width) => {
            // A product that overflows is more than any file has.
            let bytes = cursor.take(count.saturating_mul(width), "a list")?;
            if let Some(at) = bytes.iter().position(|b| kind == BOOL && *b > 1) {
                return cursor.malformed(list.offset + at as u64, "neither true nor false");
            }
        }
        None => {
            // Each entry takes some bytes, so that the file's end ends the loop.
            for _ in 0..count {
                skip(cursor, kind, depth + 1)?;
            }
        }
    }
    Ok(list)
}

fn skip(cursor: &mut Cursor<'_>, kind: u32, depth: u32) -> Result<(), FileError> {
    match kind {
        TEXT => {
            let length = cursor.u64("the length of a text")?;
            cursor.take(length, "a text").map(|_| ())
        }
        _ => nested(cursor, kind, depth).map(|_| ()),
    }
}

/// The entries of a list.
pub(super) fn items(bytes: &[u8], list: &List) -> Result<Vec<Value>, FileError> {
    let offset = usize::try_from(list.offset).unwrap_or(usize::MAX);
    let mut cursor = Cursor::new(bytes, offset);
    // Grown by what the file really holds, whatever the count says.
    let mut items = Vec::new();
    for _ in 0..list.count {
        items.push(nested(&mut cursor, list.kind, list.depth + 1)?);
    }
    Ok(items)
}

/// A text: its length, then UTF-8.
pub(super) fn text(
    cursor: &mut Cursor<'_>,
    longest: u64,
    what: &'static str,
) -> Result<String, FileError> {
    let offset = cursor.offset();
    let length = cursor.u64(what)?;
    let bytes = cursor.take(length, what)?;
    if length > longest {
        return cursor.malformed(
            offset,
            format!("{what} of {length} bytes; at most {longest} are read"),
        );
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => cursor.malformed(offset, format!("{what} is not UTF-8")),
    }
}
