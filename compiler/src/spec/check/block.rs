//! Blocks: how often each field occurs, and where its bits lie.

use super::consts::Formula;
use super::{Checked, Checker, Reported};
use crate::diagnostic::Diagnostic;
use crate::format::{BlockFormat, Field, FieldId, FormatKind, Scope};
use crate::syntax::ast::{self, Ident, Member, Placement, Span};
use cranelift_entity::{EntityRef, PrimaryMap};

/// Longest row of a block.
const MAX_LEN: i64 = 1 << 16;
/// Most rows of a block.
const MAX_ROWS: i64 = 64;
/// Most bytes of a block.
const MAX_BYTES: i64 = 1 << 20;
/// Most elements of a block, over all its rows.
const MAX_ELEMENTS: u64 = 1 << 20;
/// Most fields of a block.
const MAX_FIELDS: usize = 256;
/// Most steps to evaluate all formulas of a file over all elements.
const MAX_WORK: usize = 1 << 28;
/// What a place that is kept counts for: it costs little time and much memory.
const PLACE_WORK: usize = 8;
/// Most occurrences of all fields together.
const MAX_OCCURRENCES: usize = 1 << 21;

/// The indices of a block.
pub(super) struct Axes<'a> {
    pub(super) row: Option<&'a Ident>,
    pub(super) element: &'a Ident,
    pub(super) rows: u32,
    pub(super) len: u32,
}

impl<'a> Axes<'a> {
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
        let (used, placed_by_author) = self.place(&mut fields, &declared, &axes)?;
        let size = self.block_bytes(used, bytes, &fields, &declared, placed_by_author, head)?;
        self.overlaps(&fields, &declared, size, &axes)?;
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
            placed_by_author,
            fields,
            value,
            encode: None,
        };
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
        if let Some(s) = &f.scope {
            return self.fail(
                Diagnostic::error(
                    "not-supported",
                    s.span,
                    format!("fields of a {} are not supported yet", s.name),
                    "only fields of the block are",
                )
                .help("store it with every block"),
            );
        }
        self.not_a_constant(&f.name)?;
        let element = self.element(&f.element)?;
        let occurrence = self.occurrences(&f.name, &f.subscript, axes)?;
        let count = occurrence.iter().max().map_or(1, |m| m + 1);
        let mut seen = vec![false; count as usize];
        occurrence.iter().for_each(|o| seen[*o as usize] = true);
        if let Some(gap) = seen.iter().position(|s| !s) {
            let span = f.subscript.last().map_or(f.name.span, |e| e.span);
            return self.fail(Diagnostic::error("subscript", span, format!("no element uses occurrence {gap} of `{}`", f.name.name), format!("reaches {} but leaves out {gap}", count - 1)).help("number the occurrences without gaps, and use `at` to leave gaps between the bits"));
        }
        Ok(Field {
            name: f.name.name.clone(),
            element,
            scope: Scope::Block,
            count,
            occurrence,
            address: Vec::new(),
        })
    }

    /// For each element of a row, the occurrence that a subscript names.
    pub(super) fn occurrences(
        &mut self,
        name: &Ident,
        subscript: &[ast::Expr],
        axes: &Axes<'_>,
    ) -> Checked<Vec<u32>> {
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
        let e = match rest {
            [] => return Ok(vec![0; axes.len as usize]),
            [e] => e,
            [_, more, ..] => {
                return self.fail(Diagnostic::error(
                    "subscript",
                    more.span,
                    format!("`{}` has too many subscripts", name.name),
                    "one too many",
                ));
            }
        };
        let formula = self.formula(e, &["", axes.element.name.as_str()])?;
        self.bound_work(&formula, axes.len as usize)?;
        let mut stack = Vec::new();
        let mut out = Vec::with_capacity(axes.len as usize);
        for i in 0..axes.len {
            match formula.eval(&[0, i64::from(i)], &mut stack) {
                Some(v) if (0..i64::from(axes.len)).contains(&v) => out.push(v as u32),
                v => {
                    let v = v.map_or("no number".to_string(), |v| v.to_string());
                    return self.fail(Diagnostic::error(
                        "subscript",
                        e.span,
                        format!(
                            "the subscript of `{}` must lie between 0 and {}",
                            name.name,
                            axes.len - 1
                        ),
                        format!("comes to {v} for {} = {i}", axes.element.name),
                    ));
                }
            }
        }
        Ok(out)
    }

    /// Counts the steps of evaluating a formula, so that no text keeps the checker busy for long.
    fn bound_work(&mut self, formula: &Formula, points: usize) -> Checked<()> {
        let steps = formula.size().saturating_mul(points);
        let message = "the formulas of this file are too long for blocks of this size";
        self.add_work(steps, formula.span(), message)
    }

    /// Counts the places that a format keeps, its own ones or copies of another's, so that no text fills the memory.
    pub(super) fn bound_places(&mut self, kind: &FormatKind, span: Span) -> Checked<()> {
        let places: usize = match kind {
            FormatKind::Plain(_) => 0,
            FormatKind::Block(b) => {
                let of = |f: &Field| f.occurrence.len() + f.address.len();
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

    fn add_work(&mut self, steps: usize, span: Span, message: &str) -> Checked<()> {
        self.work = self.work.saturating_add(steps);
        if !self.work_is_spent() {
            return Ok(());
        }
        self.fail(Diagnostic::error("limit", span, message, "one too many"))
    }

    /// Gives every occurrence its address; returns the bits used and whether the author placed them.
    fn place(
        &mut self,
        fields: &mut PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        axes: &Axes<'_>,
    ) -> Checked<(u64, bool)> {
        let placed = declared.iter().filter(|f| f.at.is_some()).count();
        if placed != 0 && placed != declared.len() {
            let (with, without) = (
                declared.iter().find(|f| f.at.is_some()),
                declared.iter().find(|f| f.at.is_none()),
            );
            if let (Some(with), Some(without)) = (with, without) {
                let d = Diagnostic::error(
                    "placement",
                    without.name.span,
                    format!(
                        "`{}` has no address, but `{}` has one",
                        without.name.name, with.name.name
                    ),
                    "expected `at`",
                );
                return self.fail(
                    d.also(with.span, "placed here")
                        .help("place all fields, or none"),
                );
            }
        }
        let mut end = 0u64;
        for (id, source) in fields.keys().collect::<Vec<_>>().into_iter().zip(declared) {
            let (bits, count) = (
                u64::from(fields[id].element.bits()),
                fields[id].count * axes.rows,
            );
            let address = match &source.at {
                None => {
                    let start = end.div_ceil(8) * 8;
                    end = start + bits * u64::from(count);
                    if end > 8 * MAX_BYTES as u64 {
                        return self.fail(Diagnostic::error(
                            "limit",
                            source.span,
                            format!("the block has more than {MAX_BYTES} bytes"),
                            "does not fit",
                        ));
                    }
                    (0..u64::from(count))
                        .map(|o| (start + bits * o) as u32)
                        .collect()
                }
                Some(Placement::List(list, span)) => {
                    if list.len() != count as usize {
                        return self.fail(Diagnostic::error(
                            "placement",
                            *span,
                            format!(
                                "`{}` occurs {count} times, but {} addresses are given",
                                source.name.name,
                                list.len()
                            ),
                            format!("expected {count} addresses"),
                        ));
                    }
                    let mut out = Vec::with_capacity(list.len());
                    for e in list {
                        out.push(self.count(e, "a bit address", 0, 8 * MAX_BYTES - 1)? as u32);
                    }
                    out
                }
                Some(Placement::Formula(e)) => self.addresses(e, &fields[id], axes)?,
            };
            end = address
                .iter()
                .map(|a| u64::from(*a) + bits)
                .max()
                .unwrap_or(0)
                .max(end);
            fields[id].address = address;
        }
        Ok((end, placed > 0))
    }

    fn addresses(&mut self, e: &ast::Expr, field: &Field, axes: &Axes<'_>) -> Checked<Vec<u32>> {
        let formula = self.formula(e, &axes.vars())?;
        self.bound_work(&formula, axes.len as usize * axes.rows as usize)?;
        let mut out: Vec<Option<(u32, u32)>> = vec![None; (field.count * axes.rows) as usize];
        let mut stack = Vec::new();
        for r in 0..axes.rows {
            for i in 0..axes.len {
                let at = |text: String| match axes.row {
                    Some(row) => {
                        format!("{text} for {} = {r}, {} = {i}", row.name, axes.element.name)
                    }
                    None => format!("{text} for {} = {i}", axes.element.name),
                };
                let v = formula.eval(&[i64::from(r), i64::from(i)], &mut stack);
                let Some(v) = v.filter(|v| (0..8 * MAX_BYTES).contains(v)) else {
                    let text = v.map_or("no number".to_string(), |v| v.to_string());
                    return self.fail(Diagnostic::error(
                        "placement",
                        e.span,
                        "a bit address lies outside of any block",
                        at(format!("comes to {text}")),
                    ));
                };
                let slot = &mut out[(r * field.count + field.occurrence[i as usize]) as usize];
                match *slot {
                    Some((old, j)) if old != v as u32 => {
                        let label = at(format!("{old} for {} = {j}, but {v}", axes.element.name));
                        return self.fail(Diagnostic::error("placement", e.span, format!("elements that share an occurrence of `{}` give it different addresses", field.name), label));
                    }
                    _ => *slot = Some((v as u32, i)),
                }
            }
        }
        Ok(out.into_iter().map(|o| o.map_or(0, |o| o.0)).collect())
    }

    /// The bytes of a block, which must hold all fields.
    fn block_bytes(
        &mut self,
        used: u64,
        bytes: Option<(u32, Span)>,
        fields: &PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        placed: bool,
        head: Span,
    ) -> Checked<u32> {
        let needed = used.div_ceil(8);
        let Some((given, span)) = bytes else {
            if needed > MAX_BYTES as u64 {
                return self.fail(Diagnostic::error(
                    "limit",
                    head,
                    format!("the block has more than {MAX_BYTES} bytes"),
                    format!("needs {needed}"),
                ));
            }
            return Ok(needed as u32);
        };
        if needed <= u64::from(given) && (placed || needed == u64::from(given)) {
            return Ok(given);
        }
        if placed {
            for (f, source) in fields.values().zip(declared) {
                let bits = u64::from(f.element.bits());
                if let Some(a) = f
                    .address
                    .iter()
                    .find(|a| u64::from(**a) + bits > 8 * u64::from(given))
                {
                    let place = match &source.at {
                        Some(Placement::Formula(e)) => e.span,
                        Some(Placement::List(_, s)) => *s,
                        None => source.span,
                    };
                    let label = format!("puts bits {a} to {}", u64::from(*a) + bits - 1);
                    let d = Diagnostic::error(
                        "placement",
                        place,
                        format!("`{}` lies outside of the block", f.name),
                        label,
                    );
                    return self.fail(d.also(
                        span,
                        format!("the block ends at bit {}", 8 * u64::from(given)),
                    ));
                }
            }
        }
        let parts: Vec<String> = fields
            .values()
            .map(|f| {
                format!(
                    "{} x {} bits of `{}`",
                    f.address.len(),
                    f.element.bits(),
                    f.name
                )
            })
            .collect();
        let d = Diagnostic::error(
            "size",
            span,
            format!("the fields take {needed} bytes, not {given}"),
            format!("the fields take {needed}"),
        );
        self.fail(d.help(parts.join(", ")).fix(span, needed.to_string()))
    }

    fn overlaps(
        &mut self,
        fields: &PrimaryMap<FieldId, Field>,
        declared: &[&ast::Field],
        size: u32,
        axes: &Axes<'_>,
    ) -> Checked<()> {
        self.work = self.work.saturating_add(size as usize);
        // 0 is free, else one more than the field's number
        let mut owner = vec![0u16; size as usize * 8];
        for (id, f) in fields.iter() {
            for (slot, a) in f.address.iter().enumerate() {
                let range = *a as usize..*a as usize + f.element.bits() as usize;
                let Some(bits) = owner.get_mut(range) else {
                    continue;
                };
                if let Some(other) = bits.iter().find(|b| **b != 0).copied() {
                    let other = FieldId::new(usize::from(other) - 1);
                    let place = |id: FieldId| declared[id.index()].span;
                    let occurrence = if axes.rows * f.count > 1 {
                        format!("occurrence {slot} of `{}`", f.name)
                    } else {
                        format!("`{}`", f.name)
                    };
                    let d = Diagnostic::error(
                        "overlap",
                        place(id),
                        format!("{occurrence} overlaps `{}`", fields[other].name),
                        format!("bits {a} to {}", *a + f.element.bits() - 1),
                    );
                    return self.fail(if other == id {
                        d
                    } else {
                        d.also(place(other), "these bits are taken by this field")
                    });
                }
                bits.fill(id.index() as u16 + 1);
            }
        }
        Ok(())
    }
}
