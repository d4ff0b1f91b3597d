//! safetensors: the length of a header, the header in JSON, then the tensors' bytes without gaps.
//!
//! The header is read here and not by the crate `safetensors`, so that a type that the crate does not know makes one
//! tensor unreadable and not the whole file, and so that a name given twice is an error. For all other files the two agree
//! (a test compares them). Widths of types are the crate's.
#![forbid(unsafe_code)]

use super::bytes::{Cursor, elements};
use super::value::Value;
use super::{Contents, Dtype, FileError, TensorInfo};
use serde::de::value::{Error as DeError, StrDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Longest header, as other readers have it.
pub(super) const MAX_HEADER: u64 = 100_000_000;
/// Most axes of a tensor.
pub(super) const MAX_AXES: usize = 32;
/// The key of the header that is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// Reads all but the tensors' bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Contents, FileError> {
    let mut cursor = Cursor::new(bytes, 0);
    let length = cursor.u64("the length of the header")?;
    if length > MAX_HEADER {
        return cursor.malformed(
            0,
            format!("a header of {length} bytes; at most {MAX_HEADER} are read"),
        );
    }
    let header = cursor.take(length, "the header")?;
    if header.first() != Some(&b'{') {
        return cursor.malformed(8, "the header must start with `{`");
    }
    let Header { entries, metadata } = match serde_json::from_slice(header) {
        Ok(header) => header,
        Err(e) => return cursor.malformed(8, format!("the header: {e}")),
    };
    let start = cursor.offset();
    let mut seen = BTreeSet::new();
    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        if !seen.insert(name.clone()) {
            return Err(FileError::Tensor {
                name,
                what: "two tensors have this name".into(),
            });
        }
        tensors.push(tensor(name, entry, cursor.left())?);
    }
    gapless(&tensors, cursor.left())?;
    for tensor in &mut tensors {
        tensor.offset += start;
    }
    // JSON has no order of its own; the order of the bytes is the one that the writer chose.
    tensors.sort_by(|a, b| (a.offset, a.bytes, &a.name).cmp(&(b.offset, b.bytes, &b.name)));
    let metadata = metadata
        .into_iter()
        .map(|(k, v)| (k, Value::Text(v)))
        .collect();
    Ok(Contents {
        tensors,
        metadata,
        ..Contents::default()
    })
}

/// A tensor, its offset counted from the end of the header.
fn tensor(name: String, entry: Entry, data: u64) -> Result<TensorInfo, FileError> {
    let error = |what: String| {
        Err(FileError::Tensor {
            name: name.clone(),
            what,
        })
    };
    let Entry {
        dtype,
        shape,
        data_offsets: (from, to),
    } = entry;
    if from > to || to > data {
        return error(format!("lies at {from}..{to} of {data} bytes"));
    }
    if shape.len() > MAX_AXES {
        return error(format!(
            "has {} axes; at most {MAX_AXES} are read",
            shape.len()
        ));
    }
    let Some(count) = elements(&shape) else {
        return error(format!("has too many elements ({shape:?})"));
    };
    if let Some(bits) = bits(&dtype) {
        let bytes = count
            .checked_mul(bits)
            .filter(|b| b.is_multiple_of(8))
            .map(|b| b / 8);
        if bytes != Some(to - from) {
            return error(format!(
                "{count} elements of {bits} bits do not take {} bytes",
                to - from
            ));
        }
    }
    Ok(TensorInfo {
        name,
        shape,
        dtype: Dtype::new(format!("safetensors:{dtype}")),
        definition: None,
        offset: from,
        bytes: to - from,
    })
}

/// Bits of an element of a type, if the type is known.
pub(super) fn bits(dtype: &str) -> Option<u64> {
    let name: StrDeserializer<'_, DeError> = dtype.into_deserializer();
    safetensors::Dtype::deserialize(name)
        .ok()
        .map(|d| d.bitsize() as u64)
}

/// The tensors must cover the data from its start to its end, each once.
fn gapless(tensors: &[TensorInfo], data: u64) -> Result<(), FileError> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|t| (t.offset, t.bytes));
    let mut at = 0;
    for tensor in order {
        if tensor.offset != at {
            let what = format!(
                "starts at {} of the data, and the one before it ends at {at}",
                tensor.offset
            );
            return Err(FileError::Tensor {
                name: tensor.name.clone(),
                what,
            });
        }
        at += tensor.bytes;
    }
    if at != data {
        return Err(FileError::Malformed {
            what: format!("{} bytes belong to no tensor", data - at),
            offset: at,
        });
    }
    Ok(())
}

/// What the header says of a tensor.
#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// The header, in its order, with whatever it repeats.
struct Header {
    entries: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header {
            entries: Vec::new(),
            metadata: BTreeMap::new(),
        };
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
            } else {
                header.entries.push((name, map.next_value()?));
            }
        }
        Ok(header)
    }
}
