//! A format as language text: the inverse of the checker.

use super::{Field, Format};

/// The text that defines the format.
pub fn definition(format: &Format) -> String {
    format.name.clone()
}

pub(crate) fn subscript_text(_f: &Field, _row: Option<&str>, _element: &str) -> Option<String> {
    None
}
