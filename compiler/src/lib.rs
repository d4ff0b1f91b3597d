//! lowbit's compiler: text in, machine code out. No files, no global state, no threads that outlive a call.
//!
//! The stages, in the order in which data flows; a stage imports only what stands above it:
//!
//! | folder | in → out |
//! |---|---|
//! | [`syntax`] | text → AST |
//! | [`format`](mod@format) | what a number format is: elements, blocks, reference codec |
//! | [`spec`] | AST → typed kernel; the reference interpreter |
//! | [`target`] | instructions of a machine, with costs |
//! | [`schedule`] | kernel → kernel with its axes placed |
//! | [`rewrite`] | scheduled kernel → cheapest equal term on the target |
//! | [`vector`] | the vector IR: loops over width-agnostic vector operations |
//! | [`lower`] | extracted term → vector IR |
//! | [`codegen`] | vector IR → machine code |
//!
//! [`pipeline`] is the order of the stages in one file; [`diagnostic`] holds the errors of texts.

pub mod codegen;
pub mod diagnostic;
mod divisors;
pub mod format;
mod hash;
pub mod lower;
pub mod pipeline;
pub mod rewrite;
pub mod schedule;
pub mod spec;
pub mod syntax;
pub mod target;
pub mod vector;
