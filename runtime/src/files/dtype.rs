//! Types of tensors as files name them, bound to formats of the language by the table `dtypes.txt`.
#![forbid(unsafe_code)]

use super::FileError;
use lowbit_compiler::format::Format;
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::spec::{Module, builtin, load};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The type of a tensor, in the words of its file: `ggml:3`, `safetensors:BF16`, `npy:<f4`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dtype(String);

impl Dtype {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Dtype {
        Dtype(text.into())
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) const TABLE: &str = include_str!("dtypes.txt");

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The type, as [`Dtype`] writes it.
    pub dtype: &'static str,
    /// The module of the language; `None` if the format is built in.
    pub module: Option<&'static str>,
    /// The name of the format.
    pub format: &'static str,
}

/// All types that are bound to a format, in the order of the table.
pub fn bindings() -> impl Iterator<Item = Binding> {
    TABLE.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (dtype, module, format) = (words.next()?, words.next()?, words.next()?);
        Some(Binding {
            dtype,
            module: (module != "-").then_some(module),
            format,
        })
    })
}

/// The format that a type of a file is bound to.
pub fn format_of(dtype: &Dtype) -> Result<Arc<Format>, FileError> {
    static FORMATS: OnceLock<BTreeMap<&'static str, Arc<Format>>> = OnceLock::new();
    let formats = FORMATS.get_or_init(resolve);
    formats
        .get(dtype.as_str())
        .cloned()
        .ok_or_else(|| FileError::NoFormat(dtype.to_string()))
}

/// The type of a kind of file (`ggml`, `safetensors`) whose format has this layout; the first in the table.
pub(super) fn type_of(kind: &str, format: &Format) -> Option<Dtype> {
    let mut of_kind = bindings().map(|b| Dtype::new(b.dtype)).filter(|d| {
        let name = d.as_str().strip_prefix(kind);
        name.is_some_and(|rest| rest.starts_with(':'))
    });
    of_kind.find(|d| format_of(d).is_ok_and(|bound| same_layout(&bound, format)))
}

/// Every line that resolves; a test sees to it that all do.
fn resolve() -> BTreeMap<&'static str, Arc<Format>> {
    let mut modules: BTreeMap<&str, Option<Module>> = BTreeMap::new();
    let mut formats = BTreeMap::new();
    for binding in bindings() {
        let format = match binding.module {
            None => builtin(binding.format),
            Some(name) => {
                let module = modules.entry(name).or_insert_with(|| module(name));
                module
                    .as_ref()
                    .and_then(|m| m.format(binding.format).cloned())
            }
        };
        if let Some(format) = format {
            formats.insert(binding.dtype, format);
        }
    }
    formats
}

/// A module of the standard library.
fn module(name: &str) -> Option<Module> {
    load(
        "dtypes",
        &format!("language 1;\nimport \"{name}\";\n"),
        &|_| None,
    )
    .ok()
}
