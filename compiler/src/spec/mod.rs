//! Typed index notation and the reference interpreter: what a kernel means.

mod bind;
mod check;
mod identity;
pub mod interp;
pub mod kernel;
mod print;

pub use bind::{BindError, bind, check_positions};
pub use check::{Module, builtin, load};
pub use identity::KernelId;

#[cfg(test)]
mod tests;
