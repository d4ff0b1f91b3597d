//! The vector IR: loops over width-agnostic vector operations, with builder, printer, reader, verifier and interpreter.

pub mod ir;
