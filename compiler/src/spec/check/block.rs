//! Blocks: their extents, and how often each field occurs. Where the bits lie is next, in `place.rs`.

use super::formula::Formula;
use super::{Checked, Checker, Reported};
use crate::diagnostic::Diagnostic;
use crate::format::element::F32;
use crate::format::{BlockFormat, Field, FieldId, FormatKind, Scope};
use crate::syntax::ast::{self, Ident, Member, Span};
use cranelift_entity::PrimaryMap;

/// Longest row of a block.
const MAX_LEN: i64 = 1 << 16;
/// Most rows of a block.
const MAX_ROWS: i64 = 64;
/// Most bytes of a block.
pub(super) const MAX_BYTES: i64 = 1 << 20;
/// Most elements of a block, over all its rows.
const MAX_ELEMENTS: u64 = 1 << 20;
/// Most fields of a block.
const MAX_FIELDS: usize = 256;
/// Most steps to evaluate all formulas of a file over all elements.
const MAX_WORK: usize = 1 << 28;
/// What a place that is kept counts for: it costs little time and much memory.
const PLACE_WORK: usize = 8;
/// Most occurrences of all fields together.
pub(super) const MAX_OCCURRENCES: usize = 1 << 21;

/// The indices of a block.
pub(super) struct Axes<'a> {
    pub(super) row: Option<&'a Ident>,
    pub(super) element: &'a Ident,
    pub(super) rows: u32,
    pub(super) len: u32,
}

impl<'a> Axes<'a> {
    /// The names that are written: the row's if there is one, and the element's.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let names = self.row.into_iter().chain([self.element]);
        names.map(|n| n.name.as_str()).collect()
    }

    /// Whether a subscript is that of an element: `[i]`, or `[r, i]`.
    pub(super) fn is_element(&self, subscript: &[ast::Expr]) -> bool {
        let names = self.names();
        let same =
            |(e, v): (&ast::Expr, &&str)| matches!(&e.kind, ast::ExprKind::Name(n) if n == v);
        subscript.len() == names.len() && subscript.iter().zip(&names).all(same)
    }

    /// The names, in the order of the variables of a formula: row, element.
    pub(super) fn vars(&self) -> [&'a str; 2] {
        // a block of one row has no name for it; the empty name is never written
        [
            self.row.map_or("", |r| r.name.as_str()),
            self.element.name.as_str(),
        ]
    }
}

impl Checker<'_> {
    pub(super) fn block(&mut self, b: &ast::Block) -> Checked<BlockFormat> {
        let axes = self.axes(b)?;
        let bytes = match &b.bytes {
            Some(e) => Some((
                self.count(e, "the bytes of a block", 1, MAX_BYTES)? as u32,
                e.span,
            )),
            None => None,
        };
        let mut fields: PrimaryMap<FieldId, Field> = PrimaryMap::new();
        let mut declared: Vec<&ast::Field> = Vec::new();
        let mut failed = false;
        let (mut value, mut encode) = (None, None);
        for m in &b.members {
            match m {
                Member::Field(f) => {
                    if let Some(old) = declared.iter().find(|o| o.name.name == f.name.name) {
                        self.report(
                            Diagnostic::error(
                                "duplicate",
                                f.name.span,
                                format!("field `{}` is declared twice", f.name.name),
                                "declared again",
                            )
                            .also(old.name.span, "first declared here"),
                        );
                        failed = true;
                    }
                    declared.push(f);
                    match self.field(f, &axes) {
                        Ok(field) => {
                            fields.push(field);
                        }
                        Err(Reported) => failed = true,
                    }
                }
                Member::Value { value: e, span } => {
                    if value.replace(e).is_some() {
                        return self.fail(Diagnostic::error(
                            "duplicate",
                            *span,
                            "a block has one `value`",
                            "a second one",
                        ));
                    }
                }
                Member::Encode { var, steps, span } => {
                    if encode.replace((var, steps, *span)).is_some() {
                        return self.fail(Diagnostic::error(
                            "duplicate",
                            *span,
                            "a block has one `encode` clause",
                            "a second one",
                        ));
                    }
                }
            }
        }
        if failed {
            return Err(Reported);
        }
        let head = Span {
            start: b.span.start,
            end: b.span.start + "block".len(),
        };
        if declared.is_empty() || declared.len() > MAX_FIELDS {
            return self.fail(Diagnostic::error(
                "limit",
                head,
                format!("a block has between 1 and {MAX_FIELDS} fields"),
                format!("has {}", declared.len()),
            ));
        }
        if fields
            .values()
            .map(|f| (f.count * axes.rows) as usize)
            .sum::<usize>()
            > MAX_OCCURRENCES
        {
            return self.fail(Diagnostic::error(
                "limit",
                head,
                format!("the fields of a block occur more than {MAX_OCCURRENCES} times"),
                "too large",
            ));
        }
        let used = self.place(&mut fields, &declared, &axes)?;
        let placed_by_author = declared.iter().any(|f| f.at.is_some());
        let size = self.block_bytes(
            used.block,
            bytes,
            &fields,
            &declared,
            placed_by_author,
            head,
        )?;
        let frame = self.frame(b, &used, placed_by_author)?;
        self.overlaps(&fields, &declared, size, &frame, &axes)?;
        let (fields, kept) = self.kept(fields, &declared)?;
        let Some(value) = value else {
            return self.fail(
                Diagnostic::error(
                    "missing",
                    head,
                    "the block does not say what an element is worth",
                    "has no `value`",
                )
                .help("add for example `value = scale * code[i];`"),
            );
        };
        let value = self.block_value(value, &axes, &fields)?;
        let mut block = BlockFormat {
            rows: axes.rows,
            len: axes.len,
            bytes: size,
            frame,
            placed_by_author,
            fields,
            kept,
            value,
            encode: None,
        };
        self.whole_sums(&block, &declared)?;
        block.encode = match encode {
            Some((var, steps, span)) => Some(self.encode_clause(var, steps, span, &axes, &block)?),
            None => super::default_encode::derive(&block),
        };
        Ok(block)
    }

    fn axes<'a>(&mut self, b: &'a ast::Block) -> Checked<Axes<'a>> {
        let bounds = match b.axes.as_slice() {
            [(i, len)] => (None, (i, len)),
            [(r, rows), (i, len)] => (Some((r, rows)), (i, len)),
            _ => {
                return self.fail(Diagnostic::error(
                    "limit",
                    b.span,
                    "a block has one index, or a row and an index",
                    "too many indices",
                ));
            }
        };
        let len = self.count(bounds.1.1, "the length of a block", 1, MAX_LEN)? as u32;
        let rows = match bounds.0 {
            Some((r, e)) if r.name == bounds.1.0.name => {
                return self.fail(
                    Diagnostic::error(
                        "duplicate",
                        bounds.1.0.span,
                        "the row and the element have the same name",
                        "used twice",
                    )
                    .also(e.span, "the row"),
                );
            }
            Some((_, e)) => self.count(e, "the rows of a block", 1, MAX_ROWS)? as u32,
            None => 1,
        };
        if u64::from(rows) * u64::from(len) > MAX_ELEMENTS {
            return self.fail(Diagnostic::error(
                "limit",
                bounds.1.1.span,
                format!("a block has more than {MAX_ELEMENTS} elements"),
                "too large",
            ));
        }
        Ok(Axes {
            row: bounds.0.map(|r| r.0),
            element: bounds.1.0,
            rows,
            len,
        })
    }

    fn field(&mut self, f: &ast::Field, axes: &Axes<'_>) -> Checked<Field> {
        self.not_a_constant(&f.name)?;
        let scope = self.scope_of(f)?;
        let element = self.element(&f.element)?;
        if scope != Scope::Block {
            return self.shared_field(f, scope, element, axes);
        }
        let (occurrence, component) =
            self.places_of(&f.name, &f.subscript, element.width(), axes)?;
        if element.width() > 1 && !distinct(&occurrence, &component) {
            return self.fail(
                Diagnostic::error(
                    "subscript",
                    f.subscript.last().map_or(f.name.span, |e| e.span),
                    format!("two elements share a value of a code of `{}`", f.name.name),
                    "not distinct",
                )
                .help("a code with several values gives one to each of as many elements"),
            );
        }
        let count = self.occurrences(&f.name, &f.subscript, &occurrence)?;
        Ok(Field {
            name: f.name.name.clone(),
            element,
            scope: Scope::Block,
            count,
            occurrence,
            component,
            parts: Vec::new(),
        })
    }

    /// A number of an `encode` clause: like a field of f32, without a place.
    pub(super) fn local(
        &mut self,
        name: &Ident,
        subscript: &[ast::Expr],
        axes: &Axes<'_>,
    ) -> Checked<Field> {
        let (occurrence, component) = self.places_of(name, subscript, 1, axes)?;
        let count = self.occurrences(name, subscript, &occurrence)?;
        Ok(Field {
            name: name.name.clone(),
            element: F32,
            scope: Scope::Block,
            count,
            occurrence,
            component,
            parts: Vec::new(),
        })
    }

    /// How many occurrences there are, which are numbered without gaps.
    fn occurrences(
        &mut self,
        name: &Ident,
        subscript: &[ast::Expr],
        occurrence: &[u32],
    ) -> Checked<u32> {
        let count = occurrence.iter().max().map_or(1, |m| m + 1);
        let mut seen = vec![false; count as usize];
        occurrence.iter().for_each(|o| seen[*o as usize] = true);
        if let Some(gap) = seen.iter().position(|s| !s) {
            let span = subscript.last().map_or(name.span, |e| e.span);
            return self.fail(Diagnostic::error("subscript", span, format!("no element uses occurrence {gap} of `{}`", name.name), format!("reaches {} but leaves out {gap}", count - 1)).help("number the occurrences without gaps, and use `at` to leave gaps between the bits"));
        }
        Ok(count)
    }

    /// For each element of a row, the occurrence that a subscript names, and the value of its code. A code of several values
    /// has two subscripts, or one that counts all values of all codes.
    pub(super) fn places_of(
        &mut self,
        name: &Ident,
        subscript: &[ast::Expr],
        width: u32,
        axes: &Axes<'_>,
    ) -> Checked<(Vec<u32>, Vec<u32>)> {
        let mut rest = subscript;
        if let Some(row) = axes.row {
            let is_row = matches!(rest.first().map(|e| &e.kind), Some(ast::ExprKind::Name(n)) if *n == row.name);
            if !is_row {
                let span = rest.first().map_or(name.span, |e| e.span);
                return self.fail(Diagnostic::error(
                    "subscript",
                    span,
                    format!(
                        "the first subscript of `{}` must be the row `{}`",
                        name.name, row.name
                    ),
                    format!("expected `{}`", row.name),
                ));
            }
            rest = &rest[1..];
        }
        let none = || vec![0; axes.len as usize];
        match rest {
            [] => Ok((none(), none())),
            [e] if width == 1 => Ok((self.subscript(name, e, axes.len, axes)?, none())),
            [e] => {
                let most = axes.len.saturating_mul(width);
                let value = self.subscript(name, e, most, axes)?;
                let occurrence = value.iter().map(|v| v / width).collect();
                Ok((occurrence, value.iter().map(|v| v % width).collect()))
            }
            [e, component] if width > 1 => {
                let occurrence = self.subscript(name, e, axes.len, axes)?;
                Ok((occurrence, self.subscript(name, component, width, axes)?))
            }
            [.., more] => self.fail(Diagnostic::error(
                "subscript",
                more.span,
                format!("`{}` has too many subscripts", name.name),
                "one too many",
            )),
        }
    }

    /// The value of a subscript for each element of a row, below a bound.
    fn subscript(
        &mut self,
        name: &Ident,
        e: &ast::Expr,
        most: u32,
        axes: &Axes<'_>,
    ) -> Checked<Vec<u32>> {
        let formula = self.formula(e, &["", axes.element.name.as_str()])?;
        self.bound_work(&formula, axes.len as usize)?;
        let mut stack = Vec::new();
        let mut out = Vec::with_capacity(axes.len as usize);
        for i in 0..axes.len {
            match formula.eval(&[0, i64::from(i)], &mut stack) {
                Some(v) if (0..i64::from(most)).contains(&v) => out.push(v as u32),
                v => {
                    let v = v.map_or("no number".to_string(), |v| v.to_string());
                    return self.fail(Diagnostic::error(
                        "subscript",
                        e.span,
                        format!(
                            "the subscript of `{}` must lie between 0 and {}",
                            name.name,
                            most - 1
                        ),
                        format!("comes to {v} for {} = {i}", axes.element.name),
                    ));
                }
            }
        }
        Ok(out)
    }

    /// Counts the steps of evaluating a formula, so that no text keeps the checker busy for long.
    pub(super) fn bound_work(&mut self, formula: &Formula, points: usize) -> Checked<()> {
        let steps = formula.size().saturating_mul(points);
        let message = "the formulas of this file are too long for blocks of this size";
        self.add_work(steps, formula.span(), message)
    }

    /// Counts the places that a format keeps, its own ones or copies of another's, so that no text fills the memory.
    pub(super) fn bound_places(&mut self, kind: &FormatKind, span: Span) -> Checked<()> {
        let places: usize = match kind {
            FormatKind::Plain(_) => 0,
            FormatKind::Block(b) => {
                let of = |f: &Field| 2 * f.occurrence.len() + f.slots() * f.parts.len();
                b.fields.values().map(of).sum()
            }
        };
        let message = "the blocks of this file are too large together";
        self.add_work(PLACE_WORK.saturating_mul(places), span, message)
    }

    /// Whether nothing more may be evaluated or kept.
    pub(super) fn work_is_spent(&self) -> bool {
        self.work > MAX_WORK
    }

    pub(super) fn add_work(&mut self, steps: usize, span: Span, message: &str) -> Checked<()> {
        self.work = self.work.saturating_add(steps);
        if !self.work_is_spent() {
            return Ok(());
        }
        self.fail(Diagnostic::error("limit", span, message, "one too many"))
    }
}

/// Whether no two elements have the same occurrence and component.
fn distinct(occurrence: &[u32], component: &[u32]) -> bool {
    let mut seen = std::collections::HashSet::new();
    occurrence
        .iter()
        .zip(component)
        .all(|place| seen.insert(place))
}
