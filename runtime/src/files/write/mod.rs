//! Writing files of tensors: GGUF (version 3) and safetensors, tensor after tensor.
//!
//! What a tensor takes follows from its format and shape, so the header is written before any tensor is made, and one
//! tensor at a time is in memory. A tensor whose layout the kind of file has a type for (by the table `dtypes.txt`, compared
//! bit for bit) gets that type, so that other programs read it; any other is written as bytes. The formats themselves go
//! into the metadata, so that `TensorFile` reads back what was written (`../definitions.rs` has the keys).
//!
//! `plan.rs` decides what each tensor is stored as, `describe.rs` writes the definitions, `metadata.rs` carries over what
//! else a file says, `gguf.rs` and `safetensors.rs` make the headers.
#![forbid(unsafe_code)]

mod describe;
mod gguf;
mod metadata;
mod plan;
mod safetensors;

pub use metadata::Metadata;
pub use plan::file_type;

use super::{Dtype, FileError, Held, Kind};
use crate::{SharedBytes, Tensor};
use lowbit_compiler::format::Format;
use lowbit_compiler::format::layout::same_layout;
use plan::Placed;
use std::io::Write;
use std::sync::Arc;

/// A tensor of a file that is to be written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a tensor of a file is to hold.
#[derive(Clone)]
pub enum Content {
    /// A tensor that is there already.
    Tensor(Tensor),
    /// A tensor that is made when its turn comes.
    Later {
        /// The format that it will have.
        format: Arc<Format>,
        /// The shape that it will have.
        shape: Vec<u64>,
    },
    /// Bytes of a type that no format is bound to, from another file of the same kind.
    Opaque {
        /// The type.
        dtype: Dtype,
        /// The shape.
        shape: Vec<u64>,
        /// The bytes.
        bytes: SharedBytes,
    },
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Content::Tensor(tensor) => write!(f, "{tensor:?}"),
            Content::Later { format, shape } => write!(f, "Later({} {shape:?})", format.name),
            Content::Opaque { dtype, shape, .. } => write!(f, "Opaque({dtype} {shape:?})"),
        }
    }
}

impl Entry {
    /// A tensor under a name.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Entry {
        Entry {
            name: name.into(),
            content: Content::Tensor(tensor),
        }
    }

    /// A tensor that is made when its turn comes.
    pub fn later(name: impl Into<String>, format: Arc<Format>, shape: &[u64]) -> Entry {
        let shape = shape.to_vec();
        Entry {
            name: name.into(),
            content: Content::Later { format, shape },
        }
    }
}

/// Writes tensors that are all there. See [`write_lazily`].
pub fn write_tensors(
    out: &mut impl Write,
    kind: Kind,
    metadata: &Metadata,
    tensors: &[(&str, &Tensor)],
) -> Result<(), FileError> {
    let entry = |(name, tensor): &(&str, &Tensor)| Entry::new(*name, (*tensor).clone());
    let entries: Vec<Entry> = tensors.iter().map(entry).collect();
    let missing = |name: &str| {
        Err(FileError::NoTensor {
            name: name.into(),
            near: Vec::new(),
        })
    };
    write_lazily(out, kind, metadata, &entries, missing)
}

/// Writes a file. `make` is called once for each [`Content::Later`], in the order of the file, and must give the tensor
/// that was announced.
///
/// # Errors
/// [`FileError::Unwritable`] for what the kind of file cannot hold, [`FileError::Announced`] if `make` gives something else,
/// [`FileError::Write`] if the output fails; and whatever `make` gives.
pub fn write_lazily<E: From<FileError>>(
    out: &mut impl Write,
    kind: Kind,
    metadata: &Metadata,
    entries: &[Entry],
    mut make: impl FnMut(&str) -> Result<Tensor, E>,
) -> Result<(), E> {
    let placed = plan::place_all(kind, entries)?;
    let metadata = metadata.with_definitions(describe::describe(entries, &placed)?);
    let layout = match kind {
        Kind::Gguf => gguf::layout(&metadata, entries, &placed)?,
        Kind::Safetensors => safetensors::layout(&metadata, entries, &placed)?,
        Kind::Npy => return Err(FileError::Unwritable("an npy file".into()).into()),
    };
    put(out, &layout.header)?;
    for at in layout.order {
        let (entry, placed) = (&entries[at], &placed[at]);
        match &entry.content {
            Content::Tensor(tensor) => put(out, tensor.bytes())?,
            Content::Later { format, shape } => {
                let tensor = make(&entry.name)?;
                announced(&entry.name, format, shape, &tensor)?;
                put(out, tensor.bytes())?;
            }
            Content::Opaque { bytes, .. } => put(out, (**bytes).as_ref())?,
        }
        put(out, &padding(placed.bytes, layout.alignment))?;
    }
    out.flush().map_err(FileError::Write)?;
    Ok(())
}

/// The header of a file, and what follows it.
struct Layout {
    header: Vec<u8>,
    /// The tensors in the order of their bytes.
    order: Vec<usize>,
    /// Each tensor is padded to a multiple of this.
    alignment: u64,
}

/// Zeros up to a multiple.
fn padding(length: u64, alignment: u64) -> Vec<u8> {
    vec![0; (length.next_multiple_of(alignment) - length) as usize]
}

fn put(out: &mut impl Write, bytes: &[u8]) -> Result<(), FileError> {
    out.write_all(bytes).map_err(FileError::Write)
}

/// Bytes of the same number may be of another layout: only the one that the header names is written.
fn announced(name: &str, format: &Format, shape: &[u64], tensor: &Tensor) -> Result<(), FileError> {
    if same_layout(format, tensor.format()) && shape == tensor.shape() {
        return Ok(());
    }
    Err(FileError::Announced {
        name: name.into(),
        wanted: Held::new(format, shape),
        found: Held::new(tensor.format(), tensor.shape()),
    })
}

impl Content {
    /// The format, if there is one.
    fn format(&self) -> Option<&Arc<Format>> {
        match self {
            Content::Tensor(tensor) => Some(tensor.format()),
            Content::Later { format, .. } => Some(format),
            Content::Opaque { .. } => None,
        }
    }

    fn shape(&self) -> &[u64] {
        match self {
            Content::Tensor(tensor) => tensor.shape(),
            Content::Later { shape, .. } | Content::Opaque { shape, .. } => shape,
        }
    }
}

/// An error about one tensor.
fn unwritable(entry: &Entry, what: impl std::fmt::Display) -> FileError {
    FileError::Unwritable(format!("tensor `{}`: {what}", entry.name))
}
