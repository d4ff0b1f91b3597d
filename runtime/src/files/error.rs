//! What can be wrong with a file of tensors, read or written.
#![forbid(unsafe_code)]

use lowbit_compiler::format::Format;
use lowbit_compiler::format::layout::{LayoutId, layout_id};
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why a file, or a tensor of it, cannot be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Neither the first bytes nor the name tell what it is.
    #[error("not a GGUF, safetensors or npy file")]
    UnknownKind,
    /// It ends before what it promises.
    #[error(
        "the file ends early: {what} at byte {offset} needs {wanted} bytes, and {left} are left"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it starts.
        offset: u64,
        /// Its length.
        wanted: u64,
        /// How many bytes are there.
        left: u64,
    },
    /// It contradicts itself or its format.
    #[error("the file is malformed at byte {offset}: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
        /// Where.
        offset: u64,
    },
    /// It is valid and uses what this reader does not read.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// What the file says of one tensor cannot be.
    #[error("tensor `{name}`: {what}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// No tensor of that name.
    #[error("there is no tensor `{name}`{}", suggest(near))]
    NoTensor {
        /// The name asked for.
        name: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// No format is bound to the type.
    #[error("no format is bound to the type `{0}`; its bytes can be read, its values cannot")]
    NoFormat(String),
    /// The formats that the file defines, or its list of the tensors in them, cannot be read.
    #[error("the formats that the file defines: {0}")]
    Definitions(String),
    /// What was asked for cannot be written.
    #[error("cannot be written: {0}")]
    Unwritable(String),
    /// A tensor that was made while a file was written is not the one that was announced.
    #[error("tensor `{name}` was announced as {wanted}, and is {found}")]
    Announced {
        /// The tensor.
        name: String,
        /// What was announced.
        wanted: Box<Held>,
        /// What was made.
        found: Box<Held>,
    },
    /// The file system refused to take more.
    #[error("cannot write: {0}")]
    Write(std::io::Error),
    /// The bytes are no tensor of their format.
    #[error(transparent)]
    Value(Box<crate::Error>),
}

/// What a tensor holds, for messages: two tensors of as many bytes are told apart by their layouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The name of its format.
    pub format: String,
    /// The layout of that.
    pub layout: LayoutId,
    /// Its shape.
    pub shape: Vec<u64>,
}

impl Held {
    /// A format and a shape.
    pub(super) fn new(format: &Format, shape: &[u64]) -> Box<Held> {
        Box::new(Held {
            format: format.name.clone(),
            layout: layout_id(format),
            shape: shape.to_vec(),
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held {
            format,
            layout,
            shape,
        } = self;
        write!(f, "`{format}` (layout {layout}) of shape {shape:?}")
    }
}

fn suggest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        many => format!("; did you mean one of `{}`?", many.join("`, `")),
    }
}
