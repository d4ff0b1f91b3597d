//! Tests of loading and evaluating whole texts.

mod errors;
mod eval;
mod formats;
mod illegal;
mod search;
mod sums;

use super::{Module, load};

/// The module of a text without imports from elsewhere.
pub(super) fn module(text: &str) -> Module {
    match load("test.lowbit", text, &|_| None) {
        Ok(m) => m,
        Err(e) => panic!("{e}"),
    }
}

/// The errors of a text, rendered.
pub(super) fn errors(text: &str) -> String {
    match load("test.lowbit", text, &|_| None) {
        Ok(_) => "no errors".to_string(),
        Err(e) => e.to_string(),
    }
}
