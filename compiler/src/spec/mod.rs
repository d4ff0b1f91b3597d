//! Typed index notation and the reference interpreter: what a kernel means.

pub mod kernel;
