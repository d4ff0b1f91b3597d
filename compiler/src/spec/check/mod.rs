//! AST → formats and typed kernels. All errors of a file are collected; a definition with an error is left out, and
//! what refers to it stays silent.
//!
//! `consts.rs` constant expressions; `element.rs` scalars; `block.rs` fields and their places; `value.rs` the `value`
//! and `encode` clauses; `default_encode.rs` the clause that is derived; `kernel.rs` parameters and indices;
//! `statement.rs` statements; `expr.rs` the expressions of kernels.

mod block;
mod codebook;
mod consts;
mod default_encode;
mod element;
mod expr;
mod formula;
mod frame;
mod kernel;
mod place;
mod statement;
mod subscript;
mod sums;
mod value;

use super::kernel::Kernel;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::format::std::{NAMES, source};
use crate::format::{Format, FormatKind};
use crate::syntax::ast::{self, Ident, Item, Span};
use crate::syntax::parse_partial;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// What a source text defines.
#[derive(Clone, Debug)]
pub struct Module {
    /// The formats, imported ones first, then in the order of the text.
    pub formats: Vec<Arc<Format>>,
    /// The kernels, in the order of the text.
    pub kernels: Vec<Kernel>,
    /// What is odd but has a meaning.
    pub warnings: Diagnostics,
}

/// What other languages call the formats that are known without an import.
const SPELLINGS: [(&str, &str); 12] = [
    ("float", "f32"),
    ("float32", "f32"),
    ("fp32", "f32"),
    ("float16", "f16"),
    ("fp16", "f16"),
    ("half", "f16"),
    ("bfloat16", "bf16"),
    ("int8", "i8"),
    ("int16", "i16"),
    ("int32", "i32"),
    ("uint8", "u8"),
    ("byte", "u8"),
];

impl Module {
    /// The format of that name.
    pub fn format(&self, name: &str) -> Option<&Arc<Format>> {
        self.formats.iter().find(|f| f.name == name)
    }
    /// The kernel of that name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|k| k.name == name)
    }
}

/// Reads a source and all that it imports. Modules `std/…` are built in; `loader` gives the text of others.
pub fn load(
    name: &str,
    text: &str,
    loader: &dyn Fn(&str) -> Option<String>,
) -> Result<Module, Diagnostics> {
    let mut imports = Imports {
        loader,
        loaded: BTreeMap::new(),
        path: vec![name.to_string()],
    };
    let scope = check_source(name, text, &mut imports);
    if scope.diagnostics.has_errors() {
        return Err(scope.diagnostics);
    }
    Ok(Module {
        formats: scope.ordered,
        kernels: scope.kernels,
        warnings: scope.diagnostics,
    })
}

/// An error was reported; there is no result.
#[derive(Clone, Copy, Debug)]
struct Reported;
type Checked<T> = Result<T, Reported>;

/// The format that a name stands for without an import: `f32`, `i8`, `e8m0`.
pub fn builtin(name: &str) -> Option<Arc<Format>> {
    element::builtin().remove(name)
}

struct Imports<'a> {
    loader: &'a dyn Fn(&str) -> Option<String>,
    loaded: BTreeMap<String, Arc<Scope>>,
    path: Vec<String>,
}

/// The modules that come with the language, each read when it is first imported: their texts are constants.
static BUILT_IN: [OnceLock<Arc<Scope>>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];

impl Imports<'_> {
    /// Reads a module; nothing if there is none of the name.
    fn read(&mut self, name: &str) -> Option<Arc<Scope>> {
        if name.starts_with("std/") {
            let at = NAMES.iter().position(|n| *n == name)?;
            let text = source(name)?;
            let mut alone = Imports {
                loader: &|_| None,
                loaded: BTreeMap::new(),
                path: vec![name.to_string()],
            };
            let read = || Arc::new(check_source(name, text, &mut alone));
            return Some(BUILT_IN[at].get_or_init(read).clone());
        }
        let text = (self.loader)(name)?;
        self.path.push(name.to_string());
        let scope = Arc::new(check_source(name, &text, self));
        self.path.pop();
        Some(scope)
    }
}

/// What a source gives to those that import it.
struct Scope {
    consts: BTreeMap<String, f64>,
    lists: BTreeMap<String, Arc<Vec<i64>>>,
    ordered: Vec<Arc<Format>>,
    kernels: Vec<Kernel>,
    diagnostics: Diagnostics,
}

/// Most modules that one source may bring in.
const MAX_MODULES: usize = 256;
/// Most numbers of a constant list.
const MAX_LIST: usize = 1 << 16;
/// Deepest chain of imports.
const MAX_IMPORT_DEPTH: usize = 32;

struct Checker<'a> {
    diagnostics: Diagnostics,
    consts: BTreeMap<String, f64>,
    lists: BTreeMap<String, Arc<Vec<i64>>>,
    formats: BTreeMap<String, Arc<Format>>,
    ordered: Vec<Arc<Format>>,
    kernels: Vec<Kernel>,
    /// Where names were defined in this file.
    places: BTreeMap<String, Span>,
    /// Names whose definitions have errors.
    broken: BTreeSet<String>,
    /// Names that are defined further down.
    later: BTreeMap<String, Span>,
    /// Steps spent on evaluating formulas.
    work: usize,
    file: &'a ast::File,
}

fn check_source(name: &str, text: &str, imports: &mut Imports<'_>) -> Scope {
    let (file, diagnostics) = parse_partial(name, text);
    let mut c = Checker {
        diagnostics,
        consts: BTreeMap::new(),
        lists: BTreeMap::new(),
        formats: element::builtin(),
        ordered: Vec::new(),
        kernels: Vec::new(),
        places: BTreeMap::new(),
        broken: file.broken.iter().cloned().collect(),
        later: BTreeMap::new(),
        work: 0,
        file: &file,
    };
    c.run(imports);
    c.diagnostics.sort();
    Scope {
        consts: c.consts,
        lists: c.lists,
        ordered: c.ordered,
        kernels: c.kernels,
        diagnostics: c.diagnostics,
    }
}

impl Checker<'_> {
    fn run(&mut self, imports: &mut Imports<'_>) {
        for item in self.file.items.iter().rev() {
            if let Item::Const { name, .. } | Item::Format { name, .. } = item {
                self.later.insert(name.name.clone(), name.span);
            }
        }
        if let Some(Item::Language { .. }) = self.file.items.first() {
        } else if self.file.broken.is_empty() {
            let first = self.file.items.first().map_or(Span::default(), |i| Span {
                start: i.span().start,
                end: i.span().start,
            });
            self.report(
                Diagnostic::error(
                    "language",
                    first,
                    "the file does not say which language it is written in",
                    "expected `language 1;` here",
                )
                .fix(first, "language 1;\n"),
            );
        }
        for (n, item) in self.file.items.iter().enumerate() {
            // an error in an item has been reported; the others are still checked
            let _: Checked<()> = match item {
                Item::Language { version, span } => self.language(version, *span, n),
                Item::Import { path, span } => self.import(path, *span, imports),
                Item::Const { name, value, .. } => self.constant_item(name, value),
                Item::Format { name, body, .. } => self.format_item(name, body),
                Item::Kernel(k) => self.kernel_item(k),
            };
        }
    }

    fn language(&mut self, version: &ast::Expr, span: Span, position: usize) -> Checked<()> {
        if position != 0 {
            return self.fail(Diagnostic::error(
                "language",
                span,
                "the language is stated once, in the first line",
                "not here",
            ));
        }
        if self.integer(version)? == 1 {
            return Ok(());
        }
        self.fail(
            Diagnostic::error(
                "language",
                version.span,
                "this version of the language is not known",
                "this compiler reads version 1",
            )
            .fix(version.span, "1"),
        )
    }

    fn import(&mut self, path: &Ident, span: Span, imports: &mut Imports<'_>) -> Checked<()> {
        let name = path.name.as_str();
        if imports.path.iter().any(|p| p == name) {
            let chain = imports.path.join("` imports `");
            return self.fail(Diagnostic::error(
                "import",
                path.span,
                format!("`{name}` imports itself"),
                format!("`{chain}` imports `{name}`"),
            ));
        }
        if imports.path.len() > MAX_IMPORT_DEPTH || imports.loaded.len() >= MAX_MODULES {
            let message = format!(
                "more than {MAX_MODULES} modules, or imports more than {MAX_IMPORT_DEPTH} deep"
            );
            return self.fail(Diagnostic::error(
                "limit",
                path.span,
                message,
                "one too many",
            ));
        }
        let scope = match imports.loaded.get(name) {
            Some(s) => s.clone(),
            None => {
                let Some(scope) = imports.read(name) else {
                    let d = Diagnostic::error(
                        "import",
                        path.span,
                        format!("there is no module `{name}`"),
                        "not found",
                    );
                    let inner = Span {
                        start: path.span.start + 1,
                        end: path.span.end - 1,
                    };
                    return self.fail(d.near(inner, name, NAMES.iter().copied()));
                };
                imports.loaded.insert(name.to_string(), scope.clone());
                if !scope.diagnostics.is_empty() {
                    self.diagnostics.imported.push(scope.diagnostics.clone());
                }
                scope
            }
        };
        if scope.diagnostics.has_errors() {
            self.report(Diagnostic::error(
                "import",
                path.span,
                format!("`{name}` has errors"),
                "imported here",
            ));
        }
        for f in &scope.ordered {
            match self.formats.get(&f.name) {
                Some(old) if old.kind != f.kind => {
                    self.report(Diagnostic::error(
                        "duplicate",
                        span,
                        format!(
                            "`{name}` defines `{}` differently from a module imported before",
                            f.name
                        ),
                        "imported here",
                    ));
                }
                Some(_) => {}
                None => {
                    self.places.insert(f.name.clone(), span);
                    self.formats.insert(f.name.clone(), f.clone());
                    self.ordered.push(f.clone());
                }
            }
        }
        self.import_constants(name, span, &scope);
        Ok(())
    }

    fn import_constants(&mut self, module: &str, span: Span, scope: &Scope) {
        let mut clashes = Vec::new();
        for (n, v) in &scope.consts {
            let old = self.consts.insert(n.clone(), *v);
            clashes.extend(old.filter(|old| old != v).map(|_| n));
        }
        for (n, v) in &scope.lists {
            let old = self.lists.insert(n.clone(), v.clone());
            clashes.extend(old.filter(|old| old != v).map(|_| n));
        }
        for n in scope.consts.keys().chain(scope.lists.keys()) {
            self.places.insert(n.clone(), span);
        }
        for n in clashes {
            self.report(Diagnostic::error(
                "duplicate",
                span,
                format!("`{module}` defines `{n}` differently from a module imported before"),
                "imported here",
            ));
        }
    }

    fn constant_item(&mut self, name: &Ident, value: &ast::Constant) -> Checked<()> {
        let known = match value {
            ast::Constant::Number(e) => self.real(e).map(|v| {
                self.consts.insert(name.name.clone(), v);
            }),
            ast::Constant::List(list, span) => self.list_constant(list, *span).map(|v| {
                self.lists.insert(name.name.clone(), Arc::new(v));
            }),
        };
        if known.is_err() {
            self.broken.insert(name.name.clone());
        }
        self.define(name)
    }

    fn list_constant(&mut self, list: &[ast::Expr], span: Span) -> Checked<Vec<i64>> {
        if list.len() > MAX_LIST {
            return self.fail(Diagnostic::error(
                "limit",
                span,
                format!("a list of {} numbers; the limit is {MAX_LIST}", list.len()),
                "too long",
            ));
        }
        list.iter().map(|e| self.integer(e)).collect()
    }

    fn format_item(&mut self, name: &Ident, body: &ast::FormatBody) -> Checked<()> {
        let kind = match body {
            // reported where it was spent
            _ if self.work_is_spent() => Err(Reported),
            ast::FormatBody::Element(ast::Element::Name(n)) => {
                self.find_format(n).map(|f| f.kind.clone())
            }
            ast::FormatBody::Element(e) => self.element(e).map(FormatKind::Plain),
            ast::FormatBody::Block(b) => self.block(b).map(FormatKind::Block),
        };
        let kind = kind.and_then(|k| self.bound_places(&k, name.span).map(|()| k));
        self.define(name)?;
        match kind {
            Ok(kind) => {
                let format = Arc::new(Format {
                    name: name.name.clone(),
                    kind,
                });
                self.formats.insert(name.name.clone(), format.clone());
                self.ordered.push(format);
            }
            Err(Reported) => {
                self.broken.insert(name.name.clone());
            }
        }
        Ok(())
    }

    /// Takes a name for a definition.
    fn define(&mut self, name: &Ident) -> Checked<()> {
        self.later.remove(&name.name);
        if let Some(place) = self.places.get(&name.name).copied() {
            let d = Diagnostic::error(
                "duplicate",
                name.span,
                format!("`{}` is defined twice", name.name),
                "defined again",
            );
            return self.fail(d.also(place, "first defined here"));
        }
        if self.formats.contains_key(&name.name) {
            return self.fail(Diagnostic::error(
                "duplicate",
                name.span,
                format!("`{}` is built in", name.name),
                "choose another name",
            ));
        }
        self.places.insert(name.name.clone(), name.span);
        Ok(())
    }

    /// The format that a name refers to.
    fn find_format(&mut self, name: &Ident) -> Checked<Arc<Format>> {
        if let Some(f) = self.formats.get(&name.name) {
            return Ok(f.clone());
        }
        let d = Diagnostic::error(
            "unknown-name",
            name.span,
            format!("there is no format `{}`", name.name),
            "not defined",
        );
        let d = match self.later.get(&name.name) {
            Some(place) => d
                .also(*place, "defined only here")
                .help("move the definition up: names are defined before they are used"),
            None => {
                let elsewhere = SPELLINGS.iter().find(|(other, _)| *other == name.name);
                let d = match elsewhere {
                    Some((_, here)) => d.help("it has another name here").fix(name.span, *here),
                    None => d.near(
                        name.span,
                        &name.name,
                        self.formats.keys().map(String::as_str),
                    ),
                };
                match crate::format::std::module_of(&name.name) {
                    Some(m) if d.fix.is_none() => d.help(format!("`import \"{m}\";` brings it in")),
                    _ => d,
                }
            }
        };
        self.fail_unless_broken(&name.name, d)
    }

    /// A field or a tensor cannot have the name of a constant: uses would be ambiguous.
    fn not_a_constant(&mut self, name: &Ident) -> Checked<()> {
        if !self.consts.contains_key(&name.name) {
            return Ok(());
        }
        let message = format!("`{}` is a constant", name.name);
        let d = Diagnostic::error("duplicate", name.span, message, "choose another name");
        self.fail(match self.places.get(&name.name) {
            Some(place) => d.also(*place, "defined here"),
            None => d,
        })
    }

    fn report(&mut self, d: Diagnostic) {
        if d.severity == Severity::Error && self.diagnostics.list.len() >= 200 {
            return; // enough to work on
        }
        self.diagnostics.push(d);
    }

    fn fail<T>(&mut self, d: Diagnostic) -> Checked<T> {
        self.report(d);
        Err(Reported)
    }

    /// As `fail`, but silent if the name's own definition has an error already.
    fn fail_unless_broken<T>(&mut self, name: &str, d: Diagnostic) -> Checked<T> {
        if self.broken.contains(name) {
            Err(Reported)
        } else {
            self.fail(d)
        }
    }
}
