//! What can go wrong at run time: in the text of a kernel, in compiling it, or in a call.

use crate::files::FileError;
use lowbit_compiler::codegen::CodegenError;
use lowbit_compiler::diagnostic::Diagnostics;
use lowbit_compiler::format::Format;
use lowbit_compiler::format::codec::CodecError;
use lowbit_compiler::format::layout::{LayoutId, layout_id};
use lowbit_compiler::format::search::NotAffine;
use lowbit_compiler::pipeline::CompileError;
use lowbit_compiler::rewrite::rule::RuleError;
use lowbit_compiler::spec::BindError;
use lowbit_compiler::target::TargetError;
use thiserror::Error;

/// An error of the runtime.
#[derive(Debug, Error)]
pub enum Error {
    /// The text has errors; displayed with the places they are at.
    #[error("{0}")]
    Text(Diagnostics),
    /// The text has no kernel, or more than one and none was named.
    #[error("the text has {count} kernels ({names}); name the one to compile")]
    WhichKernel {
        /// How many kernels there are.
        count: usize,
        /// Their names.
        names: String,
    },
    /// The text has no kernel of the name.
    #[error("the text has no kernel `{name}`; it has {names}")]
    NoKernel {
        /// What was asked for.
        name: String,
        /// The names of its kernels.
        names: String,
    },
    /// A dimension cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The compiler has no schedule or no lowering for it.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// A rule of the rewriter is not well formed.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// Code generation failed.
    #[error(transparent)]
    Codegen(#[from] CodegenError),
    /// A target or cost file.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Records of measured choices cannot be read or written.
    #[error("the records of tuning are not valid: {0}")]
    Tuning(String),
    /// Values and format do not go together.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A format that values cannot be brought into: it has no `encode` clause, and a search does not know its `value`.
    #[error("`{format}` is decode-only: it has no `encode` clause, and {reason}")]
    DecodeOnly {
        /// The format.
        format: String,
        /// Why it cannot be searched.
        #[source]
        reason: NotAffine,
    },
    /// A format that cannot be searched, and has an `encode` clause.
    #[error("`{format}` cannot be searched, only encoded by its clause: {reason}")]
    Search {
        /// The format.
        format: String,
        /// Why not.
        #[source]
        reason: NotAffine,
    },
    /// Importances that are not one for each column.
    #[error("{found} importances given for {columns} columns")]
    Importances {
        /// The columns.
        columns: u64,
        /// How many were given.
        found: u64,
    },
    /// Bytes that are not as many as the format takes.
    #[error("{found} bytes given, but `{format}` takes {} for shape {shape:?}", wanted.map_or("more than can be addressed".to_owned(), |w| w.to_string()))]
    Length {
        /// The format.
        format: String,
        /// The shape.
        shape: Vec<u64>,
        /// Bytes that the format takes, if they can be counted.
        wanted: Option<u64>,
        /// Bytes given.
        found: u64,
    },
    /// An argument is missing, unknown or given twice.
    #[error("argument `{name}`: {what}")]
    Argument {
        /// Its name.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// A tensor in another layout than the kernel was compiled for.
    #[error(
        "argument `{name}` is `{found}` (layout {found_id}), but the kernel wants `{wanted}` (layout {wanted_id}); \
         `Kernel::convert` brings it there if both have the same fields"
    )]
    Layout {
        /// The argument.
        name: String,
        /// Its format.
        found: String,
        /// Its layout.
        found_id: String,
        /// The kernel's format.
        wanted: String,
        /// The kernel's layout.
        wanted_id: String,
    },
    /// A layout that does not hold the fields of a tensor's own.
    #[error(
        "`{found}` (layout {found_id}) cannot be laid out as `{wanted}` (layout {wanted_id}): {reason}; \
         `quantize` brings values into another format"
    )]
    Fields {
        /// The format of the tensor.
        found: String,
        /// Its layout.
        found_id: LayoutId,
        /// The format asked for.
        wanted: String,
        /// Its layout.
        wanted_id: LayoutId,
        /// What differs.
        reason: String,
    },
    /// An index tensor holds a number outside the axis that it indexes.
    #[error("index tensor `{name}` holds {value} at position {position}, outside 0..{extent}")]
    Index {
        /// The index tensor.
        name: String,
        /// Where.
        position: usize,
        /// What it holds.
        value: i64,
        /// The extent that it indexes.
        extent: u64,
    },
    /// A file with tensors that cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Code that was to run, for another machine.
    #[error("code for `{target}` does not run on this machine")]
    Elsewhere {
        /// The target.
        target: String,
    },
    /// Results would take more memory than can be addressed.
    #[error("a buffer of {0} bytes is too large")]
    TooLarge(u64),
    /// Threads that cannot be started.
    #[error("a team of {threads} threads cannot be started: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why not.
        #[source]
        reason: std::io::Error,
    },
}

impl Error {
    /// A layout that does not hold the fields of a format.
    pub(crate) fn fields(found: &Format, wanted: &Format, reason: String) -> Error {
        Error::Fields {
            found: found.name.clone(),
            found_id: layout_id(found),
            wanted: wanted.name.clone(),
            wanted_id: layout_id(wanted),
            reason,
        }
    }
}
