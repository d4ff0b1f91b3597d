//! Text → syntax tree, and back: the formatter prints what the parser reads.

pub mod ast;
mod expected;
mod parser;
mod printer;
mod split;

use crate::diagnostic::Diagnostics;

pub(crate) use parser::parse_partial;
pub use parser::{all_productions, productions};
pub use printer::print;

/// Parses a file. All syntax errors are reported, at least one for each item that has any.
pub fn parse(name: &str, text: &str) -> Result<ast::File, Diagnostics> {
    let (file, errors) = parse_partial(name, text);
    if errors.is_empty() {
        Ok(file)
    } else {
        Err(errors)
    }
}

/// The file in its canonical form. Comments are kept.
pub fn format_source(name: &str, text: &str) -> Result<String, Diagnostics> {
    Ok(print(&parse(name, text)?))
}

#[cfg(test)]
mod tests;
