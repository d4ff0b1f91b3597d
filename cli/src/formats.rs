//! Formats by name: of the standard library, of the language itself, or of a text.

use crate::Failure;
use crate::text::{module, rendered};
use lowbit::compiler::format::{Format, std as shipped};
use lowbit::compiler::spec::{Module, builtin, load};
use std::path::Path;
use std::sync::Arc;

/// The help of options that take a format.
pub(crate) const HELP: &str = "NAME for a format that ships or is built in (q4_0, bf16), std/MODULE:NAME, or FILE.lowbit:NAME";

/// The format that a name stands for.
pub(crate) fn named(text: &str) -> Result<Arc<Format>, Failure> {
    let (module, name) = match text.rsplit_once(':') {
        Some((place, name)) if place.starts_with("std/") => (standard(place)?, name),
        Some((file, name)) => (module(Path::new(file))?, name),
        None => match (builtin(text), shipped::module_of(text)) {
            (Some(format), _) => return Ok(format),
            (None, Some(module)) => (standard(module)?, text),
            (None, None) => {
                return Err(Failure::Input(format!(
                    "no format `{text}` ships; write {HELP}"
                )));
            }
        },
    };
    let found = module.format(name).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = module.formats.iter().map(|f| f.name.as_str()).collect();
        Failure::Input(format!(
            "there is no format `{name}` in {}; it has {}",
            text.rsplit_once(':').map_or(text, |(place, _)| place),
            names.join(", ")
        ))
    })
}

/// A module of the standard library.
fn standard(name: &str) -> Result<Module, Failure> {
    let Some(text) = shipped::source(name) else {
        let names = shipped::NAMES.join(", ");
        return Err(Failure::Input(format!(
            "there is no module `{name}`; there are {names}"
        )));
    };
    load(name, text, &|_| None).map_err(|d| Failure::Input(rendered(&d)))
}
