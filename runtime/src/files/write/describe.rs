//! The definitions that go into a file: one text with every format, and the list of the tensors in them.

use super::super::definitions::{FORMATS, Listed, MAX_TEXT, TENSORS, parse};
use super::super::{FileError, format_of};
use super::{Entry, Placed};
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::format::text::definition;
use lowbit_compiler::format::{Format, FormatKind};
use lowbit_compiler::spec::builtin;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The entries of the metadata, by key; none if the types of the file say everything.
pub(super) fn describe(
    entries: &[Entry],
    placed: &[Placed],
) -> Result<Vec<(&'static str, String)>, FileError> {
    let mut names = Names::default();
    let mut list: BTreeMap<&str, Listed> = BTreeMap::new();
    for (entry, placed) in entries.iter().zip(placed) {
        let shape = entry.content.shape();
        let Some(format) = entry.content.format().filter(|f| !said(f, shape, placed)) else {
            continue;
        };
        let listed = Listed {
            format: names.of(format),
            shape: shape.to_vec(),
        };
        list.insert(&entry.name, listed);
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let list = serde_json::to_string(&list).map_err(|e| FileError::Unwritable(e.to_string()))?;
    let mut described = Vec::new();
    if let Some(text) = names.text()? {
        described.push((FORMATS, text));
    }
    described.push((TENSORS, list));
    for (key, text) in &described {
        if text.len() > MAX_TEXT {
            let what = format!("`{key}` would have {} of {MAX_TEXT} bytes", text.len());
            return Err(FileError::Unwritable(what));
        }
    }
    Ok(described)
}

/// Whether the type alone says what a tensor is, in a word of the language.
fn said(format: &Format, shape: &[u64], placed: &Placed) -> bool {
    let word = builtin(&format.name).is_some_and(|b| b.kind == format.kind);
    let bound = || format_of(&placed.dtype).is_ok_and(|b| b.name == format.name);
    word && shape == placed.shape && bound()
}

/// Formats under names of their own.
#[derive(Default)]
struct Names {
    formats: Vec<(Arc<Format>, String)>,
    taken: BTreeSet<String>,
}

impl Names {
    /// The name of a format in the file: its own, unless that is taken or no name of the language.
    fn of(&mut self, format: &Arc<Format>) -> String {
        if builtin(&format.name).is_some_and(|b| b.kind == format.kind) {
            return format.name.clone();
        }
        let same = |(f, _): &&(Arc<Format>, String)| Arc::ptr_eq(f, format) || f == format;
        if let Some((_, name)) = self.formats.iter().find(same) {
            return name.clone();
        }
        let plain = identifier(&format.name);
        let numbered = (2u64..).map(|n| format!("{plain}_{n}"));
        let free = |n: &String| !self.taken.contains(n) && builtin(n).is_none();
        let name = std::iter::once(plain.clone()).chain(numbered).find(free);
        let name = name.unwrap_or(plain);
        self.taken.insert(name.clone());
        self.formats.push((format.clone(), name.clone()));
        name
    }

    /// The text that defines them, which was read again to be sure of it.
    fn text(&self) -> Result<Option<String>, FileError> {
        if self.formats.is_empty() {
            return Ok(None);
        }
        let mut text = "language 1;\n".to_owned();
        for (format, name) in &self.formats {
            text += &definition(&Format {
                name: name.clone(),
                kind: format.kind.clone(),
            });
        }
        let read = parse(&text)
            .map_err(|e| FileError::Unwritable(format!("a format has no text: {e}")))?;
        for (format, name) in &self.formats {
            if !read.get(name).is_some_and(|r| equal(r, format)) {
                let what = format!("the text of format `{}` is not that format", format.name);
                return Err(FileError::Unwritable(what));
            }
        }
        Ok(Some(text))
    }
}

/// Whether two formats are laid out and encoded alike.
fn equal(a: &Format, b: &Format) -> bool {
    let encode = |f: &Format| match &f.kind {
        FormatKind::Block(block) => block.encode.clone(),
        FormatKind::Plain(_) => None,
    };
    same_layout(a, b) && encode(a) == encode(b)
}

/// A name of the language that is like a name.
fn identifier(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().take(64).map(letter).collect();
    match name.chars().next() {
        Some(first) if !first.is_ascii_digit() => name,
        Some(_) | None => format!("_{name}"),
    }
}
