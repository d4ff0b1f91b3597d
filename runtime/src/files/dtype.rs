//! Types of tensors as files name them, bound to formats of the language by the table `dtypes.txt`.
#![forbid(unsafe_code)]

use super::FileError;
use lowbit_compiler::format::Format;
use lowbit_compiler::spec::{Module, load};
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

/// Every line that resolves; a test sees to it that all do.
fn resolve() -> BTreeMap<&'static str, Arc<Format>> {
    let mut modules: BTreeMap<Option<&str>, Option<Module>> = BTreeMap::new();
    let mut formats = BTreeMap::new();
    for binding in bindings() {
        let module = modules
            .entry(binding.module)
            .or_insert_with(|| module(binding.module));
        if let Some(format) = module.as_ref().and_then(|m| m.format(binding.format)) {
            formats.insert(binding.dtype, format.clone());
        }
    }
    formats
}

/// A module by name. What is built into the language is in no module, so a text is made that gives it other names.
fn module(name: Option<&str>) -> Option<Module> {
    let text = match name {
        Some(name) => format!("language 1;\nimport \"{name}\";\n"),
        None => {
            let mut text = "language 1;\n".to_owned();
            let mut names: Vec<&str> = bindings()
                .filter(|b| b.module.is_none())
                .map(|b| b.format)
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                text += &format!("format {PREFIX}{name} = {name};\n");
            }
            text
        }
    };
    let mut module = load("dtypes", &text, &|_| None).ok()?;
    for format in &mut module.formats {
        if let Some(plain) = format.name.strip_prefix(PREFIX) {
            *format = Arc::new(Format {
                name: plain.to_owned(),
                kind: format.kind.clone(),
            });
        }
    }
    Some(module)
}

/// Keeps the definitions apart from the names that they define.
const PREFIX: &str = "builtin_";
