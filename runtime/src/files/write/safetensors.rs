//! The header of a safetensors file.

use super::super::safetensors::{MAX_HEADER, METADATA, bits};
use super::super::{FileError, Kind};
use super::{Entry, Layout, Metadata, Placed, unwritable};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The data starts at a multiple of this, so that it lies as its widest elements want it.
const ALIGNMENT: usize = 8;

/// What the header says of a tensor.
#[derive(serde::Serialize)]
struct Described<'a> {
    dtype: &'a str,
    shape: &'a [u64],
    data_offsets: (u64, u64),
}

/// The header, and where the tensors lie behind it: without gaps, those of the widest elements first.
pub(super) fn layout(
    metadata: &Metadata,
    entries: &[Entry],
    placed: &[Placed],
) -> Result<Layout, FileError> {
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(bits(name(&placed[*at]))), *at));
    let mut parts = Vec::new();
    let texts: BTreeMap<&str, String> = metadata.texts().collect::<Result<_, _>>()?;
    if !texts.is_empty() {
        parts.push(part(METADATA, &texts)?);
    }
    let mut end = 0u64;
    for at in &order {
        let (entry, placed) = (&entries[*at], &placed[*at]);
        if entry.name == METADATA {
            return Err(unwritable(
                entry,
                "the header has another use for this name",
            ));
        }
        let start = end;
        end = start
            .checked_add(placed.bytes)
            .ok_or_else(|| unwritable(entry, "lies too far from the start"))?;
        let described = Described {
            dtype: name(placed),
            shape: &placed.shape,
            data_offsets: (start, end),
        };
        parts.push(part(&entry.name, &described)?);
    }
    let mut json = format!("{{{}}}", parts.join(","));
    while !json.len().is_multiple_of(ALIGNMENT) {
        json.push(' ');
    }
    let length = json.len() as u64;
    if length > MAX_HEADER {
        let what = format!("a header of {length} bytes; at most {MAX_HEADER} are read");
        return Err(FileError::Unwritable(what));
    }
    Ok(Layout {
        header: [&length.to_le_bytes()[..], json.as_bytes()].concat(),
        order,
        alignment: 1,
    })
}

/// The type in the words of the file.
fn name(placed: &Placed) -> &str {
    let dtype = placed.dtype.as_str();
    let name = dtype.strip_prefix(Kind::Safetensors.types());
    name.and_then(|n| n.strip_prefix(':')).unwrap_or(dtype)
}

/// An entry of the header.
fn part(key: &str, value: &impl serde::Serialize) -> Result<String, FileError> {
    let value = serde_json::to_string(value).map_err(|e| FileError::Unwritable(e.to_string()))?;
    Ok(format!("{}:{value}", Json::from(key)))
}
