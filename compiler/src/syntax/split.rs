//! Cuts a file into its top-level items before any of them is parsed: every item then gives its own syntax error, and
//! what could make the parser recurse too deep is refused here.

use super::ast::{Comment, Span};
use crate::diagnostic::{Diagnostic, Diagnostics};

/// Longest source.
pub(crate) const MAX_SOURCE: usize = 1 << 20;
/// Most items of a file.
pub(crate) const MAX_ITEMS: usize = 4096;
/// Deepest nesting of brackets, and most reductions in one statement.
pub(crate) const MAX_NESTING: usize = 64;

/// The words that begin an item.
const KEYWORDS: [&str; 5] = ["language", "import", "const", "format", "kernel"];

/// What stands in a file.
#[derive(Default)]
pub(crate) struct Pieces {
    /// The items' places.
    pub items: Vec<Span>,
    /// Places of items whose brackets do not match (reported already).
    pub broken: Vec<Span>,
    /// All comments.
    pub comments: Vec<Comment>,
    /// Offsets of empty lines.
    pub blank_lines: Vec<usize>,
}

/// Cuts `text`, reporting brackets that do not match.
pub(crate) fn split(text: &str, errors: &mut Diagnostics) -> Pieces {
    if text.len() > MAX_SOURCE {
        let message = format!(
            "the source has {} bytes; the limit is {MAX_SOURCE}",
            text.len()
        );
        errors.push(Diagnostic::error(
            "too-large",
            Span { start: 0, end: 0 },
            message,
            "",
        ));
        return Pieces::default();
    }
    let mut s = Splitter {
        text,
        bytes: text.as_bytes(),
        pieces: Pieces::default(),
        start: None,
        open: Vec::new(),
        bad: false,
        reductions: 0,
        errors,
    };
    s.run();
    let mut pieces = s.pieces;
    if pieces.items.len() > MAX_ITEMS {
        let message = format!(
            "the file has {} items; the limit is {MAX_ITEMS}",
            pieces.items.len()
        );
        errors.push(Diagnostic::error(
            "too-large",
            pieces.items[MAX_ITEMS],
            message,
            "one too many",
        ));
        pieces.items.truncate(MAX_ITEMS);
    }
    pieces
}

struct Splitter<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pieces: Pieces,
    start: Option<usize>,
    open: Vec<(u8, usize)>,
    bad: bool,
    reductions: usize,
    errors: &'a mut Diagnostics,
}

impl Splitter<'_> {
    fn run(&mut self) {
        let mut at = 0;
        let mut line_start = 0;
        let mut line_empty = true;
        while at < self.bytes.len() {
            let b = self.bytes[at];
            match b {
                b'\n' => {
                    if line_empty && line_start < at + 1 {
                        self.pieces.blank_lines.push(line_start);
                    }
                    line_start = at + 1;
                    line_empty = true;
                    at += 1;
                }
                b' ' | b'\t' | b'\r' => at += 1,
                b'/' if self.bytes.get(at + 1) == Some(&b'/') => {
                    let end = self.text[at..]
                        .find('\n')
                        .map_or(self.bytes.len(), |n| at + n);
                    let text = self.text[at..end].trim_end().to_string();
                    self.pieces.comments.push(Comment {
                        text,
                        span: Span { start: at, end },
                        own_line: line_empty,
                    });
                    line_empty = false;
                    at = end;
                }
                _ => {
                    line_empty = false;
                    if at == line_start && self.start.is_some() && self.keyword(at) {
                        self.finish(at);
                    }
                    self.start.get_or_insert(at);
                    at = self.token(at, b);
                }
            }
        }
        self.finish(self.bytes.len());
    }

    /// Reads what begins with byte `b` and returns where it ends.
    fn token(&mut self, at: usize, b: u8) -> usize {
        match b {
            b'"' => {
                let rest = &self.text[at + 1..];
                return rest.find(['"', '\n']).map_or(self.bytes.len(), |n| {
                    at + 1 + n + usize::from(rest.as_bytes()[n] == b'"')
                });
            }
            b'(' | b'[' | b'{' => {
                if self.open.len() >= MAX_NESTING && !self.bad {
                    let message = format!("brackets are nested more than {MAX_NESTING} deep");
                    self.report("too-deep", at, message, "one too many");
                }
                self.open.push((b, at));
            }
            b')' | b']' | b'}' => self.close(at, b),
            b';' if self.open.is_empty() => self.finish(at + 1),
            _ => {}
        }
        if matches!(b, b';' | b'{' | b'}') {
            self.reductions = 0;
        }
        // a name is one token, so that keywords are seen only at its start
        let mut end = at + 1;
        if is_word(b) {
            while self.bytes.get(end).is_some_and(|b| is_word(*b)) {
                end += 1;
            }
        } else {
            while !self.text.is_char_boundary(end) {
                end += 1;
            }
        }
        end
    }

    fn close(&mut self, at: usize, b: u8) {
        let expected = self.open.last().map(|(o, _)| closing(*o));
        if expected == Some(b) {
            self.open.pop();
            if b == b')' {
                self.count_reduction(at);
            }
            if b == b'}' && self.open.is_empty() {
                let semi = self.bytes[at + 1..]
                    .iter()
                    .position(|b| !b.is_ascii_whitespace());
                let end = match semi {
                    Some(n) if self.bytes[at + 1 + n] == b';' => at + n + 2,
                    _ => at + 1,
                };
                if end == at + 1 {
                    self.finish(end);
                }
            }
            return;
        }
        if self.bad {
            return;
        }
        let found = char::from(b);
        match self.open.last().copied() {
            Some((o, place)) => {
                let (o, c) = (char::from(o), char::from(closing(o)));
                self.report(
                    "bracket",
                    at,
                    format!("`{o}` is closed by `{found}`"),
                    &format!("expected `{c}`"),
                );
                if let Some(d) = self.errors.list.last_mut() {
                    d.secondary.push((
                        Span {
                            start: place,
                            end: place + 1,
                        },
                        format!("`{o}` opened here"),
                    ));
                }
            }
            None => self.report(
                "bracket",
                at,
                format!("`{found}` closes nothing"),
                "no bracket is open here",
            ),
        }
    }

    /// `sum(k) a`: a parenthesis followed by an operand is a reduction, and the parser recurses into it.
    fn count_reduction(&mut self, at: usize) {
        let next = self.bytes[at + 1..]
            .iter()
            .find(|b| !b.is_ascii_whitespace());
        if next.is_some_and(|b| is_word(*b) || *b == b'(') {
            self.reductions += 1;
            if self.reductions == MAX_NESTING + 1 && !self.bad {
                let message = format!("a statement has more than {MAX_NESTING} reductions");
                self.report("too-deep", at, message, "one too many");
            }
        }
    }

    fn report(&mut self, code: &'static str, at: usize, message: String, label: &str) {
        self.errors.push(Diagnostic::error(
            code,
            Span {
                start: at,
                end: at + 1,
            },
            message,
            label,
        ));
        self.bad = true;
    }

    /// Ends the item before `end`.
    fn finish(&mut self, end: usize) {
        if let Some(start) = self.start.take() {
            if let (Some((b, place)), false) = (self.open.last().copied(), self.bad) {
                let b = char::from(b);
                self.report(
                    "bracket",
                    place,
                    format!("`{b}` is never closed"),
                    "opened here",
                );
            }
            let end = start + self.text[start..end].trim_end().len();
            let span = Span { start, end };
            if self.bad {
                self.pieces.broken.push(span)
            } else {
                self.pieces.items.push(span)
            }
        }
        self.open.clear();
        self.bad = false;
        self.reductions = 0;
    }

    fn keyword(&self, at: usize) -> bool {
        let end = self.bytes[at..]
            .iter()
            .position(|b| !is_word(*b))
            .map_or(self.bytes.len(), |n| at + n);
        self.text
            .get(at..end)
            .is_some_and(|w| KEYWORDS.contains(&w))
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        _ => b'}',
    }
}
