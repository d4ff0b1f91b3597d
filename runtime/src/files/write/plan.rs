//! What each tensor is stored as: the type that the file has for its layout, or bytes.

use super::super::bytes::elements;
use super::super::dtype::type_of;
use super::super::{Dtype, FileError, Kind};
use super::{Content, Entry, unwritable};
use lowbit_compiler::format::{Format, FormatKind};
use std::collections::BTreeSet;

/// What a file calls bytes that it has no type for. (GGUF has signed bytes only.)
const GGUF_BYTES: &str = "ggml:24";
const SAFETENSORS_BYTES: &str = "safetensors:U8";
/// Most axes of a tensor in GGUF for the programs that read it.
const GGUF_AXES: usize = 4;
/// Most axes of a tensor in safetensors, as we read it.
const SAFETENSORS_AXES: usize = super::super::safetensors::MAX_AXES;

/// A tensor as it is stored.
pub(super) struct Placed {
    /// The type that the file has for it.
    pub(super) dtype: Dtype,
    /// The shape that the file gives it; its own if the type is.
    pub(super) shape: Vec<u64>,
    /// How many bytes it has.
    pub(super) bytes: u64,
}

/// The type under which a kind of file stores tensors of a format and a shape, so that every program reads them; `None`
/// if it has none and they are stored as bytes with a definition.
pub fn file_type(kind: Kind, format: &Format, shape: &[u64]) -> Option<Dtype> {
    let whole = match &format.kind {
        FormatKind::Plain(_) => true,
        // No program but ours expects part of a block at the end of a row.
        FormatKind::Block(block) => {
            let row = shape.last().copied().unwrap_or(1);
            row.is_multiple_of(block.len.into())
        }
    };
    let fits = match kind {
        // Without axes or elements, readers of GGUF fail in different ways.
        Kind::Gguf => (1..=GGUF_AXES).contains(&shape.len()) && elements(shape) != Some(0),
        Kind::Safetensors => shape.len() <= SAFETENSORS_AXES,
        Kind::Npy => false,
    };
    (whole && fits)
        .then(|| type_of(kind.types(), format))
        .flatten()
}

/// What all tensors are stored as.
pub(super) fn place_all(kind: Kind, entries: &[Entry]) -> Result<Vec<Placed>, FileError> {
    let mut names = BTreeSet::new();
    entries
        .iter()
        .map(|entry| {
            if !names.insert(entry.name.as_str()) {
                return Err(unwritable(entry, "two tensors have this name"));
            }
            place(kind, entry)
        })
        .collect()
}

fn place(kind: Kind, entry: &Entry) -> Result<Placed, FileError> {
    let shape = entry.content.shape();
    if elements(shape).is_none() || shape.len() > SAFETENSORS_AXES {
        return Err(unwritable(entry, "has too many axes or elements"));
    }
    if let Content::Opaque { dtype, bytes, .. } = &entry.content {
        return opaque(kind, entry, dtype, (**bytes).as_ref().len() as u64);
    }
    let Some(format) = entry.content.format() else {
        return Err(unwritable(entry, "has no format"));
    };
    let bytes = format.tensor_bytes(shape);
    let bytes = bytes.filter(|n| *n <= isize::MAX as u64);
    let bytes = bytes.ok_or_else(|| unwritable(entry, "is too large"))?;
    Ok(match file_type(kind, format, shape) {
        Some(dtype) => Placed {
            dtype,
            shape: shape.to_vec(),
            bytes,
        },
        None => Placed {
            dtype: Dtype::new(match kind {
                Kind::Safetensors => SAFETENSORS_BYTES,
                Kind::Gguf | Kind::Npy => GGUF_BYTES,
            }),
            shape: vec![bytes],
            bytes,
        },
    })
}

/// Bytes that nothing is known of can stay in files of their kind.
fn opaque(kind: Kind, entry: &Entry, dtype: &Dtype, bytes: u64) -> Result<Placed, FileError> {
    let name = dtype.as_str().strip_prefix(kind.types());
    if !name.is_some_and(|rest| rest.starts_with(':')) {
        let what = format!("no format is bound to its type `{dtype}`");
        return Err(unwritable(entry, what));
    }
    Ok(Placed {
        dtype: dtype.clone(),
        shape: entry.content.shape().to_vec(),
        bytes,
    })
}
