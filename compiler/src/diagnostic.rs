//! Messages for people: what is wrong, where, and how to mend it. Values until they are rendered; only this file knows
//! how they are drawn.

use crate::syntax::ast::Span;
use annotate_snippets::{AnnotationKind, Level, Patch, Renderer, Snippet};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The text has no meaning.
    Error,
    /// The text has a meaning, but perhaps not the one intended.
    Warning,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// Whether it stops the compiler.
    pub severity: Severity,
    /// A short stable name such as `unknown-name`.
    pub code: &'static str,
    /// What is wrong, in a sentence without a full stop.
    pub message: String,
    /// The place, with what is to be said about it.
    pub primary: (Span, String),
    /// Other places that play a part.
    pub secondary: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
    /// A replacement of a part of the source that mends it.
    pub fix: Option<(Span, String)>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            primary: (span, label.into()),
            secondary: Vec::new(),
            help: None,
            fix: None,
        }
    }
    /// A warning at `span`.
    pub fn warning(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, span, message, label)
        }
    }
    /// With another place.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.secondary.push((span, label.into()));
        self
    }
    /// With advice.
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
    /// With a replacement.
    pub fn fix(mut self, span: Span, text: impl Into<String>) -> Self {
        self.fix = Some((span, text.into()));
        self
    }
    /// With the replacement of a name by the nearest of `candidates`, if one is near.
    pub fn near<'a>(
        self,
        span: Span,
        name: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        match nearest(name, candidates) {
            Some(n) => self.help("a similar name exists").fix(span, n),
            None => self,
        }
    }
}

/// All findings in one source, and those in the sources that it imports.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    /// The name of the source.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The findings, in order of their place.
    pub list: Vec<Diagnostic>,
    /// Findings in imported sources.
    pub imported: Vec<Diagnostics>,
}

impl Diagnostics {
    /// No findings yet.
    pub fn new(name: &str, text: &str) -> Self {
        Diagnostics {
            name: name.into(),
            text: text.into(),
            ..Default::default()
        }
    }
    /// Adds a finding.
    pub fn push(&mut self, d: Diagnostic) {
        self.list.push(d);
    }
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.imported.iter().all(Diagnostics::is_empty)
    }
    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|d| d.severity == Severity::Error)
            || self.imported.iter().any(Diagnostics::has_errors)
    }
    /// In order of their place; the same finding once.
    pub(crate) fn sort(&mut self) {
        self.list.sort_by(|a, b| {
            (a.primary.0.start, a.code, &a.message).cmp(&(b.primary.0.start, b.code, &b.message))
        });
        self.list.dedup_by(|a, b| {
            a.primary.0.start == b.primary.0.start && a.code == b.code && a.message == b.message
        });
    }
    /// As text with colours for a terminal.
    pub fn render_styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        let own = self.list.iter().map(|d| self.render_one(d, renderer));
        let imported = self
            .imported
            .iter()
            .filter(|d| !d.is_empty())
            .map(|d| d.render(renderer));
        imported.chain(own).collect::<Vec<_>>().join("\n\n")
    }

    fn render_one(&self, d: &Diagnostic, renderer: &Renderer) -> String {
        let level = match d.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let clamp = |s: Span| {
            let mut start = s.start.min(self.text.len());
            let mut end = s.end.clamp(start, self.text.len());
            while !self.text.is_char_boundary(start) {
                start -= 1;
            }
            while !self.text.is_char_boundary(end) {
                end += 1;
            }
            start..end
        };
        let mut snippet = Snippet::source(self.text.as_str())
            .path(self.name.as_str())
            .annotation(
                AnnotationKind::Primary
                    .span(clamp(d.primary.0))
                    .label(d.primary.1.as_str()),
            );
        for (span, label) in &d.secondary {
            snippet = snippet.annotation(
                AnnotationKind::Context
                    .span(clamp(*span))
                    .label(label.as_str()),
            );
        }
        let mut group = level
            .primary_title(d.message.as_str())
            .id(d.code)
            .element(snippet);
        let mut groups = Vec::new();
        match (&d.help, &d.fix) {
            (help, Some((span, text))) => {
                let title = help.as_deref().unwrap_or("write this instead");
                groups.push(
                    Level::HELP.secondary_title(title).element(
                        Snippet::source(self.text.as_str())
                            .path(self.name.as_str())
                            .patch(Patch::new(clamp(*span), text.as_str())),
                    ),
                );
            }
            (Some(help), None) => group = group.element(Level::HELP.message(help.as_str())),
            (None, None) => {}
        }
        groups.insert(0, group);
        renderer.render(&groups)
    }
}

impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for Diagnostics {}

/// The candidate nearest to `name` in edit distance, if it is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let limit = (name.len() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .filter(|c| *c != name)
        .map(|c| (distance(name, c), c))
        .filter(|(d, c)| *d <= limit && *d < c.len())
        .min()
        .map(|(_, c)| c.to_string())
}

/// Edit distance of two short names, two neighbours that changed places counting once; long names count as far apart.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut d = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            d[i][j] = match (i, j) {
                (0, n) | (n, 0) => n,
                _ => {
                    let change = d[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                    let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                    let swapped = if swap {
                        d[i - 2][j - 2] + 1
                    } else {
                        usize::MAX
                    };
                    change
                        .min(d[i - 1][j] + 1)
                        .min(d[i][j - 1] + 1)
                        .min(swapped)
                }
            };
        }
    }
    d[a.len()][b.len()]
}
