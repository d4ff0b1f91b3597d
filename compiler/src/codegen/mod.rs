//! Code generation: vector IR into machine code with Cranelift.
//!
//! `features.rs` says what a machine has, `words.rs` rewrites what x86 lacks, `order.rs` puts loops into an order that needs few
//! registers, `legal.rs` says how IR types map onto Cranelift values, `emit.rs`, `loads.rs` and `ops*.rs` turn operations into CLIF
//! (in the exact shapes that Cranelift's lowering recognises), `finish.rs` has it compiled, `jit.rs` owns finished code,
//! `object.rs` writes it for linkers, `constants.rs` holds what both read from beside the code, and `listing.rs` prints it.

mod constants;
mod emit;
mod features;
mod finish;
mod jit;
mod legal;
mod listing;
mod loads;
mod object;
mod ops;
mod ops_convert;
mod ops_lanes;
mod ops_products;
mod order;
mod parts;
mod registers;
mod words;

pub use features::{Arch, Features};
pub use jit::{MachineCode, clif, compile};
pub use listing::{ListingFacts, listing};
pub use object::object;

use crate::vector::verify::VerifyError;
use thiserror::Error;

/// Why code could not be generated. These are limits of the back end or defects, never the user's mistakes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CodegenError {
    /// Cranelift refused the function.
    #[error("Cranelift could not compile `{function}`: {reason}")]
    Cranelift {
        /// The function.
        function: String,
        /// What Cranelift said.
        reason: String,
    },
    /// The function breaks a rule of the vector IR.
    #[error("`{function}` is not valid: {error}")]
    Invalid {
        /// The function.
        function: String,
        /// The first broken rule.
        error: VerifyError,
    },
    /// The back end for the target could not be set up.
    #[error("no back end for the target: {0}")]
    Isa(String),
    /// A symbol that is no name of C.
    #[error("`{0}` cannot be the name of a function: letters, digits and `_`, no digit first")]
    Symbol(String),
    /// Code for another architecture cannot run here.
    #[error("code for {0} cannot run on this machine")]
    Foreign(&'static str),
}

#[cfg(test)]
mod tests;
