//! The vector IR: loops over width-agnostic vector operations, with builder, printer, reader, verifier and interpreter.

pub mod build;
mod build_ops;
mod facts;
pub mod interp;
mod interp_ops;
pub mod ir;
mod print;
pub mod read;
mod read_line;
pub mod verify;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
