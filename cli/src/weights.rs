//! Files of weights: all tensors of one, or the one that is named, and the way back into a file.

use crate::{Failure, packed};
use lowbit::Tensor;
use lowbit::files::{Content, Entry, FileError, Kind, Metadata, TensorFile, write_lazily};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// A file, or one tensor of it.
#[derive(Clone)]
pub(crate) struct Place {
    file: PathBuf,
    entry: Option<String>,
}

/// `FILE[:TENSOR]`
pub(crate) fn place(text: &str) -> Result<Place, String> {
    let (file, entry) = match text.rsplit_once(':') {
        Some((file, entry)) if !entry.contains('/') && !file.is_empty() => {
            (file, Some(entry.to_owned()))
        }
        Some(_) | None => (text, None),
    };
    Ok(Place {
        file: PathBuf::from(file),
        entry,
    })
}

/// The tensors of a file, mapped, and what else it says.
pub(crate) struct Weights {
    pub(crate) tensors: Vec<Entry>,
    pub(crate) metadata: Metadata,
}

impl Place {
    /// Whether one tensor is named.
    pub(crate) fn names_one(&self) -> bool {
        self.entry.is_some()
    }

    /// The tensor that is named, or the only one. `before` stands in front of the place in what is to be written instead.
    pub(crate) fn load(&self, before: &str) -> Result<Tensor, Failure> {
        if self.is_packed() {
            return Ok(packed::read(&self.file)?.1);
        }
        let file = self.open()?;
        let entry = match (&self.entry, file.tensors()) {
            (Some(entry), _) => entry.clone(),
            (None, [one]) => one.name.clone(),
            (None, many) => {
                let names: Vec<&str> = many.iter().take(8).map(|t| t.name.as_str()).collect();
                return Err(self.failure(format!(
                    "{} tensors ({} …); write {before}FILE:TENSOR",
                    many.len(),
                    names.join(", ")
                )));
            }
        };
        file.load(&entry).map_err(|e| self.failure(e))
    }

    /// All tensors, or the one that is named.
    pub(crate) fn weights(&self) -> Result<Weights, Failure> {
        if self.is_packed() {
            let (name, tensor) = packed::read(&self.file)?;
            return Ok(Weights {
                tensors: vec![Entry::new(name, tensor)],
                metadata: Metadata::new(),
            });
        }
        let file = self.open()?;
        let names: Vec<&str> = match &self.entry {
            Some(entry) => vec![entry],
            None => file.tensors().iter().map(|t| t.name.as_str()).collect(),
        };
        let entry = |name: &str| entry(&file, name).map_err(|e| self.failure(e));
        Ok(Weights {
            tensors: names.into_iter().map(entry).collect::<Result<_, _>>()?,
            metadata: Metadata::of(&file),
        })
    }

    /// The numbers of each tensor that can be decoded.
    pub(crate) fn numbers(&self) -> Result<Vec<(String, Vec<f32>)>, Failure> {
        let mut numbers = Vec::new();
        for entry in self.weights()?.tensors {
            if let Content::Tensor(tensor) = entry.content {
                numbers.push((entry.name, tensor.to_f32()?));
            }
        }
        Ok(numbers)
    }

    fn is_packed(&self) -> bool {
        self.entry.is_none() && packed::beside(&self.file).exists()
    }

    fn open(&self) -> Result<TensorFile, Failure> {
        TensorFile::open(&self.file).map_err(|e| self.failure(e))
    }

    fn failure(&self, what: impl std::fmt::Display) -> Failure {
        Failure::Input(format!("{}: {what}", self.file.display()))
    }
}

/// A tensor of a file; bytes, if nothing says what they are.
fn entry(file: &TensorFile, name: &str) -> Result<Entry, FileError> {
    match file.load(name) {
        Ok(tensor) => Ok(Entry::new(name, tensor)),
        Err(FileError::NoFormat(_)) => {
            let info = file.tensor(name)?.info;
            Ok(Entry {
                name: name.to_owned(),
                content: Content::Opaque {
                    dtype: info.dtype.clone(),
                    shape: info.shape.clone(),
                    bytes: file.shared(name)?,
                },
            })
        }
        Err(e) => Err(e),
    }
}

/// What kind of file is to be written, by its name.
pub(crate) fn kind_of(path: &Path) -> Result<Kind, Failure> {
    match Kind::of_name(path) {
        Some(kind @ (Kind::Gguf | Kind::Safetensors)) => Ok(kind),
        Some(Kind::Npy) | None => Err(Failure::Input(format!(
            "{}: the name must end in .gguf or .safetensors, which says what is written",
            path.display()
        ))),
    }
}

/// Writes a file beside its place and moves it there when it is whole: the input may lie there, mapped.
pub(crate) fn write(
    path: &Path,
    metadata: &Metadata,
    entries: &[Entry],
    make: impl FnMut(&str) -> Result<Tensor, Failure>,
) -> Result<(), Failure> {
    let kind = kind_of(path)?;
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let failure = |e: std::io::Error| Failure::Input(format!("{}: {e}", path.display()));
    let mut out = BufWriter::new(File::create(&part).map_err(failure)?);
    let written = write_lazily(&mut out, kind, metadata, entries, make);
    drop(out);
    let moved = written.and_then(|()| std::fs::rename(&part, path).map_err(failure));
    if moved.is_err() {
        // What is left of it is of no use; the error that is reported is the first one.
        let _ = std::fs::remove_file(&part);
    }
    moved
}
