//! Files of tensors: GGUF, safetensors and npy, mapped into memory; GGUF and safetensors are written, too.
//!
//! A reader checks everything that the file says of itself before it hands anything out: lengths, counts, offsets and
//! sizes. A file that does not hold is refused with a [`FileError`]; no file makes a reader panic, loop, or take memory
//! out of proportion to the file's own length.
//!
//! `gguf.rs`, `safetensors.rs` and `npy.rs` read one kind each into the same list of tensors; `dtype.rs` binds the types
//! that files name to formats of the language (by `dtypes.txt`), and `definitions.rs` reads the formats that a file defines
//! itself, which count for more; `value.rs` holds metadata, `bytes.rs` the checked cursor, and `map.rs` the memory map.
//! `write/` is the way back.
#![deny(unsafe_code)]

mod bytes;
mod definitions;
mod dtype;
mod error;
mod gguf;
#[allow(
    unsafe_code,
    reason = "mapping a file is unsafe; the block says why it holds"
)]
mod map;
mod npy;
mod safetensors;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use dtype::{Binding, Dtype, bindings, format_of};
pub use error::{FileError, Held};
pub use value::{List, Value};
pub use write::{Content, Entry, Metadata, file_type, write_lazily, write_tensors};

use crate::{SharedBytes, Tensor};
use lowbit_compiler::format::Format;
use map::Source;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GGUF, versions 2 and 3.
    Gguf,
    /// safetensors.
    Safetensors,
    /// NumPy's npy, versions 1 to 3: one tensor, which is called `array`.
    Npy,
}

impl Kind {
    /// The kind of a file: by its first bytes, or else by the extension of its name.
    pub fn detect(bytes: &[u8], name: Option<&Path>) -> Option<Kind> {
        if bytes.starts_with(gguf::MAGIC) {
            return Some(Kind::Gguf);
        }
        if bytes.starts_with(npy::MAGIC) {
            return Some(Kind::Npy);
        }
        // A length, then a JSON object.
        let object = || (bytes.get(8) == Some(&b'{')).then_some(Kind::Safetensors);
        name.and_then(Kind::of_name).or_else(object)
    }

    /// The kind of a file that is to have this name, by its extension.
    pub fn of_name(name: &Path) -> Option<Kind> {
        let extension = name.extension().and_then(|e| e.to_str())?;
        match extension.to_ascii_lowercase().as_str() {
            "gguf" => Some(Kind::Gguf),
            "npy" => Some(Kind::Npy),
            "safetensors" => Some(Kind::Safetensors),
            _ => None,
        }
    }

    /// What types of this kind of file begin with, as [`Dtype`] writes them.
    fn types(self) -> &'static str {
        match self {
            Kind::Gguf => "ggml",
            Kind::Safetensors => "safetensors",
            Kind::Npy => "npy",
        }
    }
}

/// What a file says of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its extents, outermost first.
    pub shape: Vec<u64>,
    /// The type that the kind of file has for it.
    pub dtype: Dtype,
    /// The format that the file itself defines for it. It says what the bytes are, whatever the type may say.
    pub definition: Option<Arc<Format>>,
    /// Where its bytes start in the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl TensorInfo {
    /// Its format: the one that the file defines, or else the one that its type is bound to.
    pub fn format(&self) -> Result<Arc<Format>, FileError> {
        match &self.definition {
            Some(format) => Ok(format.clone()),
            None => format_of(&self.dtype),
        }
    }
}

/// What a reader found in a file.
#[derive(Debug, Default)]
struct Contents {
    tensors: Vec<TensorInfo>,
    metadata: Vec<(String, Value)>,
    /// Where the values of `metadata` lie, each after the number of its kind; only GGUF has them.
    encoded: Vec<Range<usize>>,
}

/// A file of tensors that was checked.
#[derive(Clone, Debug)]
pub struct TensorFile {
    kind: Kind,
    source: Arc<Source>,
    contents: Arc<Contents>,
    by_name: Arc<BTreeMap<String, usize>>,
}

/// A tensor of a file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// What the file says of it.
    pub info: &'a TensorInfo,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Maps a file and checks it. It must not be changed or made shorter while it is in use: its bytes are read from the
    /// file when they are needed, and what was checked here is not checked again.
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let source = map::map(path).map_err(|source| FileError::Io {
            path: path.to_owned(),
            source,
        })?;
        let kind = Kind::detect(source.as_ref(), Some(path)).ok_or(FileError::UnknownKind)?;
        TensorFile::check(kind, source)
    }

    /// Reads a whole file into memory and checks it, for files that others may change.
    pub fn read(path: impl AsRef<Path>) -> Result<TensorFile, FileError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| FileError::Io {
            path: path.to_owned(),
            source,
        })?;
        let kind = Kind::detect(&bytes, Some(path)).ok_or(FileError::UnknownKind)?;
        TensorFile::from_bytes(kind, bytes)
    }

    /// Checks the bytes of a file.
    pub fn from_bytes(kind: Kind, bytes: Vec<u8>) -> Result<TensorFile, FileError> {
        TensorFile::check(kind, Source::Owned(bytes))
    }

    fn check(kind: Kind, source: Source) -> Result<TensorFile, FileError> {
        let bytes = source.as_ref();
        let mut contents = match kind {
            Kind::Gguf => gguf::read(bytes)?,
            Kind::Safetensors => safetensors::read(bytes)?,
            Kind::Npy => npy::read(bytes)?,
        };
        let mut by_name = BTreeMap::new();
        for (at, tensor) in contents.tensors.iter().enumerate() {
            let error = |what: &str| FileError::Tensor {
                name: tensor.name.clone(),
                what: what.into(),
            };
            if by_name.insert(tensor.name.clone(), at).is_some() {
                return Err(error("two tensors have this name"));
            }
            if range(tensor).and_then(|r| bytes.get(r)).is_none() {
                return Err(error("its bytes lie outside the file"));
            }
        }
        definitions::apply(kind, &mut contents, &by_name)?;
        Ok(TensorFile {
            kind,
            source: Arc::new(source),
            contents: Arc::new(contents),
            by_name: Arc::new(by_name),
        })
    }

    /// The kind of file.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.contents.tensors
    }

    /// What else the file says, by key, in its order: GGUF's key-value pairs, the `__metadata__` of safetensors.
    pub fn metadata(&self) -> &[(String, Value)] {
        &self.contents.metadata
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata()
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v)
    }

    /// The entries of a list among the metadata of this file.
    pub fn items(&self, list: &List) -> Result<Vec<Value>, FileError> {
        value::items((*self.source).as_ref(), list)
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, FileError> {
        let info = self.info(name)?;
        let bytes = range(info).and_then(|r| (*self.source).as_ref().get(r));
        Ok(TensorView {
            info,
            bytes: bytes.unwrap_or_default(),
        })
    }

    /// A tensor by name, in [its format](TensorInfo::format). It shares the bytes of the file, and keeps it open.
    pub fn load(&self, name: &str) -> Result<Tensor, FileError> {
        let info = self.info(name)?;
        Tensor::from_shared(info.format()?, &info.shape, self.shared(name)?)
            .map_err(|e| FileError::Value(Box::new(e)))
    }

    /// The bytes of a tensor, whether it has a format or not. They keep the file open.
    pub fn shared(&self, name: &str) -> Result<SharedBytes, FileError> {
        let range = range(self.info(name)?).unwrap_or_default();
        Ok(Arc::new(Slice {
            source: self.source.clone(),
            range,
        }))
    }

    fn info(&self, name: &str) -> Result<&TensorInfo, FileError> {
        let found = self
            .by_name
            .get(name)
            .and_then(|at| self.contents.tensors.get(*at));
        found.ok_or_else(|| FileError::NoTensor {
            name: name.into(),
            near: self.near(name),
        })
    }

    /// Names like the one given, the likest first.
    fn near(&self, name: &str) -> Vec<String> {
        /// Longer names are not compared: they were not typed.
        const LONGEST: usize = 200;
        let limit = name.chars().count() / 3 + 1;
        if name.len() > LONGEST {
            return Vec::new();
        }
        let candidates = self.tensors().iter().filter(|t| t.name.len() <= LONGEST);
        let mut near: Vec<(usize, &str)> = candidates
            .map(|t| (distance(name, &t.name), t.name.as_str()))
            .collect();
        near.retain(|(d, _)| *d <= limit);
        near.sort_unstable();
        near.into_iter()
            .take(3)
            .map(|(_, n)| n.to_owned())
            .collect()
    }
}

/// A part of a file, which it keeps open.
struct Slice {
    source: Arc<Source>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        (*self.source)
            .as_ref()
            .get(self.range.clone())
            .unwrap_or_default()
    }
}

/// Where the bytes of a tensor lie.
fn range(info: &TensorInfo) -> Option<Range<usize>> {
    let end = info.offset.checked_add(info.bytes)?;
    Some(usize::try_from(info.offset).ok()?..usize::try_from(end).ok()?)
}

/// How many letters must be changed, put in or left out to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}
