//! The statements of kernels: what is assigned to what.

use super::kernel::{Draft, MAX_RANK};
use super::{Checked, Reported};
use crate::diagnostic::Diagnostic;
use crate::format::layout::is_layout_of;
use crate::format::{Format, FormatKind};
use crate::spec::kernel::*;
use crate::syntax::ast::{self, ExprKind, Ident, Span};
use std::sync::Arc;

impl Draft<'_, '_> {
    pub(super) fn statement(&mut self, s: &ast::Statement) -> Checked<()> {
        self.scope.clear();
        let result = self.statement_inner(s);
        if result.is_err() {
            self.broken
                .extend(s.targets.iter().map(|t| t.name.name.clone()));
            // it counts as written: one error is enough
            for t in &s.targets {
                if let Some(id) = self.find_tensor(&t.name.name) {
                    self.tensors[id].written.get_or_insert(t.span);
                }
            }
        }
        result
    }

    fn statement_inner(&mut self, s: &ast::Statement) -> Checked<()> {
        if s.targets.len() != s.values.len() {
            let message = format!("{} results, but {} values", s.targets.len(), s.values.len());
            return self.c.fail(Diagnostic::error(
                "arguments",
                s.span,
                message,
                "each result needs a value",
            ));
        }
        let mut lefts = Vec::new();
        for (n, t) in s.targets.iter().enumerate() {
            lefts.push((
                self.left_tensor(t, s.is_let)?,
                self.left_indices(t, n > 0, &s.targets[0])?,
            ));
        }
        for ((tensor, index), t) in lefts.iter().zip(&s.targets) {
            if let Some(tensor) = tensor {
                self.left_rank(*tensor, t)?;
                for (axis, i) in index.iter().enumerate() {
                    self.constrain(*i, *tensor, axis, t.subscript[axis].span);
                }
            }
        }
        let values: Vec<Checked<(ExprId, Option<Arc<Format>>)>> =
            s.values.iter().map(|v| self.value(v)).collect();
        for (_, index) in &lefts {
            for i in index {
                self.settle(*i)?;
            }
        }
        let mut targets = Vec::new();
        for ((((tensor, index), value), t), v) in
            lefts.into_iter().zip(values).zip(&s.targets).zip(&s.values)
        {
            let (value, quantize) = value?;
            let quantized = match quantize {
                Some(_) => Store::Quantized,
                None => Store::Number,
            };
            let (tensor, store) = match tensor {
                Some(tensor) if self.moves(tensor, &index, value) && quantize.is_none() => {
                    (tensor, Store::Codes)
                }
                Some(tensor) => {
                    self.assignable(tensor, value, quantize.as_ref(), v)?;
                    (tensor, quantized)
                }
                None => {
                    let shape: Vec<Extent> = index
                        .iter()
                        .map(|i| self.kernel.indices[*i].extent)
                        .collect();
                    let format = match &quantize {
                        Some(f) => f.clone(),
                        None => self.c.formats.get("f32").cloned().ok_or(Reported)?,
                    };
                    if quantize.is_some() && shape.is_empty() {
                        return self.c.fail(Diagnostic::error(
                            "rank",
                            t.span,
                            "a quantised tensor needs an axis for its blocks to run along",
                            "has no axes",
                        ));
                    }
                    let local =
                        self.add_tensor(&t.name, Role::Local, format, shape, t.name.span)?;
                    (local, quantized)
                }
            };
            if let Some(first) = self.tensors[tensor].written {
                let d = Diagnostic::error(
                    "written-twice",
                    t.span,
                    format!("`{}` is written twice", t.name.name),
                    "written again",
                );
                return self.c.fail(d.also(first, "first written here"));
            }
            targets.push((
                Target {
                    tensor,
                    index,
                    value,
                    store,
                },
                t.span,
            ));
        }
        for (t, span) in &targets {
            if self.tensors[t.tensor].written.is_some() {
                return self.c.fail(Diagnostic::error(
                    "written-twice",
                    *span,
                    "a tensor is written twice in one statement",
                    "written again",
                ));
            }
            self.tensors[t.tensor].written = Some(*span);
        }
        self.kernel.statements.push(Statement {
            targets: targets.into_iter().map(|t| t.0).collect(),
        });
        Ok(())
    }

    /// The tensor that a left side names; `None` for a new intermediate.
    fn left_tensor(&mut self, t: &ast::Target, is_let: bool) -> Checked<Option<TensorId>> {
        let found = self.find_tensor(&t.name.name);
        match found {
            _ if is_let => match found {
                Some(old) => {
                    let first = self.tensors[old].place;
                    self.c.fail(
                        Diagnostic::error(
                            "duplicate",
                            t.name.span,
                            format!("`{}` is defined twice", t.name.name),
                            "defined again",
                        )
                        .also(first, "first defined here"),
                    )
                }
                None => Ok(None),
            },
            Some(id) if self.kernel.tensors[id].role == Role::Output => Ok(Some(id)),
            Some(id) if self.kernel.tensors[id].role == Role::Local => {
                let first = self.tensors[id].place;
                self.c.fail(
                    Diagnostic::error(
                        "written-twice",
                        t.span,
                        format!("`{}` is written twice", t.name.name),
                        "written again",
                    )
                    .also(first, "first written here"),
                )
            }
            Some(id) => {
                let place = self.tensors[id].place;
                self.c.fail(
                    Diagnostic::error(
                        "role",
                        t.name.span,
                        format!("`{}` is not an output", t.name.name),
                        "cannot be written",
                    )
                    .also(place, "defined here"),
                )
            }
            None => {
                if self.broken.contains(&t.name.name) {
                    return Err(Reported);
                }
                let outputs: Vec<&str> = self
                    .kernel
                    .tensors
                    .values()
                    .filter(|t| t.role == Role::Output)
                    .map(|t| t.name.as_str())
                    .collect();
                let d = Diagnostic::error(
                    "unknown-name",
                    t.name.span,
                    format!("there is no output `{}`", t.name.name),
                    "not defined",
                );
                let near = d.clone().near(t.name.span, &t.name.name, outputs);
                let at = Span {
                    start: t.span.start,
                    end: t.span.start,
                };
                self.c.fail(if near.fix.is_some() {
                    near
                } else {
                    d.help("`let` defines an intermediate").fix(at, "let ")
                })
            }
        }
    }

    /// The indices of a left side: bound by the first result, repeated by the others.
    fn left_indices(
        &mut self,
        t: &ast::Target,
        repeated: bool,
        first: &ast::Target,
    ) -> Checked<Vec<IndexId>> {
        if t.subscript.len() > MAX_RANK {
            return self.c.fail(Diagnostic::error(
                "rank",
                t.span,
                format!("a tensor has at most {MAX_RANK} axes"),
                format!("has {}", t.subscript.len()),
            ));
        }
        let mut out = Vec::new();
        for e in &t.subscript {
            let ExprKind::Name(n) = &e.kind else {
                return self.c.fail(Diagnostic::error(
                    "subscript",
                    e.span,
                    "the left side of a statement has plain indices as subscripts",
                    "expected an index",
                ));
            };
            let name = Ident {
                name: n.clone(),
                span: e.span,
            };
            let bound = self.scope.iter().find(|(b, _)| b == n).map(|b| b.1);
            let id = match bound {
                Some(id) if repeated && !out.contains(&id) => id,
                None if repeated => {
                    let d = Diagnostic::error(
                        "binder",
                        e.span,
                        "all results of a statement have the same indices",
                        format!("`{n}` is not an index of `{}`", first.name.name),
                    );
                    return self.c.fail(d.also(first.span, "the first result"));
                }
                _ => self.bind(&name)?,
            };
            out.push(id);
        }
        if repeated && out.len() != first.subscript.len() {
            let d = Diagnostic::error(
                "binder",
                t.span,
                "all results of a statement have the same indices",
                format!("has {}", out.len()),
            );
            return self.c.fail(d.also(
                first.span,
                format!("the first result has {}", first.subscript.len()),
            ));
        }
        Ok(out)
    }

    fn left_rank(&mut self, tensor: TensorId, t: &ast::Target) -> Checked<()> {
        let rank = self.kernel.tensors[tensor].shape.len();
        if rank == t.subscript.len() {
            return Ok(());
        }
        let place = self.tensors[tensor].place;
        let d = Diagnostic::error(
            "rank",
            t.span,
            format!("`{}` has {rank} axes", t.name.name),
            format!("has {} subscripts", t.subscript.len()),
        );
        self.c.fail(d.also(place, "declared here"))
    }

    fn value(&mut self, v: &ast::Value) -> Checked<(ExprId, Option<Arc<Format>>)> {
        let e = self.expr(&v.expr);
        let Some(name) = &v.quantize else {
            return Ok((e?, None));
        };
        let f = self.c.find_format(name)?;
        let FormatKind::Block(b) = &f.kind else {
            return self.c.fail(
                Diagnostic::error(
                    "type",
                    name.span,
                    format!("`{}` is not a block format", f.name),
                    "`quantize` goes to formats with blocks",
                )
                .help("a plain tensor is assigned directly; its elements round the value"),
            );
        };
        if b.encode.is_none() {
            return self.c.fail(
                Diagnostic::error(
                    "decode-only",
                    name.span,
                    format!("`{}` does not say how to quantise into it", f.name),
                    "has no `encode` clause, and none can be derived",
                )
                .help("add `encode x { … }` to the format"),
            );
        }
        Ok((e?, Some(f)))
    }

    /// Whether a value is a tensor as it stands that holds, in another layout, what a tensor of blocks holds.
    fn moves(&self, tensor: TensorId, index: &[IndexId], value: ExprId) -> bool {
        let Expr::Load(source, subscripts) = &self.kernel.exprs[value] else {
            return false;
        };
        let (from, to) = (&self.kernel.tensors[*source], &self.kernel.tensors[tensor]);
        let subscripts = subscripts.iter().cloned();
        matches!(to.format.kind, FormatKind::Block(_))
            && subscripts.eq(index.iter().map(|i| Subscript::Index(*i)))
            && from.shape == to.shape
            && is_layout_of(&to.format, &from.format)
    }

    /// Whether the value can go into the tensor.
    fn assignable(
        &mut self,
        tensor: TensorId,
        value: ExprId,
        quantize: Option<&Arc<Format>>,
        v: &ast::Value,
    ) -> Checked<()> {
        let t = self.kernel.tensors[tensor].clone();
        let place = self.tensors[tensor].place;
        match (&t.format.kind, quantize) {
            (FormatKind::Block(_), None) => {
                let at = Span {
                    start: v.span.start,
                    end: v.span.end,
                };
                let text = self
                    .c
                    .diagnostics
                    .text
                    .get(v.span.range())
                    .unwrap_or_default()
                    .to_string();
                let d = Diagnostic::error(
                    "type",
                    v.span,
                    format!(
                        "real numbers are assigned to `{}`, which has the format `{}`",
                        t.name, t.format.name
                    ),
                    "must be quantised",
                );
                let d = d.also(place, "declared here").help("say so");
                self.c
                    .fail(d.fix(at, format!("quantize {text} as {}", t.format.name)))
            }
            (_, Some(f)) if f.kind != t.format.kind => {
                let span = v.quantize.as_ref().map_or(v.span, |n| n.span);
                let d = Diagnostic::error(
                    "type",
                    span,
                    format!(
                        "`{}` has the format `{}`, not `{}`",
                        t.name, t.format.name, f.name
                    ),
                    "another format",
                );
                self.c.fail(
                    d.also(place, "declared here")
                        .fix(span, t.format.name.clone()),
                )
            }
            (FormatKind::Plain(e), None) if e.is_integer() && !self.integer[value] => {
                let text = self
                    .c
                    .diagnostics
                    .text
                    .get(v.span.range())
                    .unwrap_or_default()
                    .to_string();
                let d = Diagnostic::error(
                    "type",
                    v.span,
                    format!(
                        "`{}` holds integers, and this value need not be one",
                        t.name
                    ),
                    "a real number",
                );
                self.c.fail(
                    d.also(place, "declared here")
                        .help("round it")
                        .fix(v.span, format!("round({text})")),
                )
            }
            _ => Ok(()),
        }
    }
}
