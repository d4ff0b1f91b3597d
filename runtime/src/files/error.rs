//! What can be wrong with a file of tensors.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use thiserror::Error;

/// Why a file, or a tensor of it, cannot be read.
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
    /// The bytes are no tensor of their format.
    #[error(transparent)]
    Value(Box<crate::Error>),
}

fn suggest(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        many => format!("; did you mean one of `{}`?", many.join("`, `")),
    }
}
