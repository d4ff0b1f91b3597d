//! Kernels: parameters, statements, and the extents of their indices.

use super::{Checked, Checker, Reported};
use crate::diagnostic::Diagnostic;
use crate::format::{Format, FormatKind};
use crate::spec::kernel::*;
use crate::syntax::ast::{self, ExprKind, Ident, Span};
use cranelift_entity::{PrimaryMap, SecondaryMap};
use std::sync::Arc;

/// Most axes of a tensor.
pub(super) const MAX_RANK: usize = 4;
/// Largest extent.
pub(super) const MAX_EXTENT: i64 = 1 << 32;
/// Most tensors of a kernel, intermediates included.
const MAX_TENSORS: usize = 256;
/// Most expression nodes of a kernel.
pub(super) const MAX_EXPRS: usize = 4096;

/// What is known of a tensor while its kernel is checked.
#[derive(Clone, Default)]
pub(super) struct TensorState {
    pub(super) place: Span,
    pub(super) written: Option<Span>,
    pub(super) used: bool,
}

/// What decided the extent of an index.
#[derive(Clone, Default)]
pub(super) struct IndexState {
    pub(super) binder: Span,
    /// The extent, where it comes from, and what to call that place.
    pub(super) extent: Option<(Extent, Span, String)>,
    /// Whether a contradiction was reported.
    pub(super) failed: bool,
}

/// A kernel in the making.
pub(super) struct Draft<'c, 'a> {
    pub(super) c: &'c mut Checker<'a>,
    pub(super) kernel: Kernel,
    pub(super) tensors: SecondaryMap<TensorId, TensorState>,
    pub(super) indices: SecondaryMap<IndexId, IndexState>,
    /// Whether an expression is always an integer.
    pub(super) integer: SecondaryMap<ExprId, bool>,
    /// The indices in scope.
    pub(super) scope: Vec<(String, IndexId)>,
    /// Names of tensors whose definitions have errors.
    pub(super) broken: Vec<String>,
}

impl Checker<'_> {
    pub(super) fn kernel_item(&mut self, k: &ast::Kernel) -> Checked<()> {
        let before = self.diagnostics.list.len();
        let defined = self.define(&k.name);
        let kernel = Kernel {
            name: k.name.name.clone(),
            dims: PrimaryMap::new(),
            tensors: PrimaryMap::new(),
            indices: PrimaryMap::new(),
            exprs: PrimaryMap::new(),
            statements: Vec::new(),
        };
        let mut d = Draft {
            c: self,
            kernel,
            tensors: SecondaryMap::new(),
            indices: SecondaryMap::new(),
            integer: SecondaryMap::new(),
            scope: Vec::new(),
            broken: Vec::new(),
        };
        d.params(k);
        for s in &k.statements {
            // an error has been reported; the statements after it are still checked
            let _: Checked<()> = d.statement(s);
        }
        d.finish();
        let kernel = d.kernel;
        let errors = self.diagnostics.list[before..]
            .iter()
            .any(|d| d.severity == crate::diagnostic::Severity::Error);
        if defined.is_ok() && !errors {
            self.kernels.push(kernel);
        }
        Ok(())
    }
}

impl Draft<'_, '_> {
    fn params(&mut self, k: &ast::Kernel) {
        for (p, is_output) in k
            .params
            .iter()
            .map(|p| (p, false))
            .chain(k.outputs.iter().map(|p| (p, true)))
        {
            if self.param(p, is_output).is_err() {
                self.broken.push(p.name.name.clone());
            }
        }
    }

    fn param(&mut self, p: &ast::Param, is_output: bool) -> Checked<()> {
        let role = match p.role.name.as_str() {
            "weight" => Role::Weight,
            "stored" => Role::Stored,
            "input" => Role::Input,
            _ => Role::Output,
        };
        if (role == Role::Output) != is_output {
            let d = Diagnostic::error(
                "role",
                p.role.span,
                if is_output {
                    "what follows `->` is an output"
                } else {
                    "outputs follow `->`"
                },
                if is_output {
                    "expected `output`"
                } else {
                    "not a parameter"
                },
            );
            let d = if is_output {
                d.fix(p.role.span, "output")
            } else {
                d
            };
            return self.c.fail(d);
        }
        let format = self.c.find_format(&p.format);
        let shape = self.shape(&p.shape, p.span);
        let (format, shape) = (format?, shape?);
        if matches!(format.kind, FormatKind::Block(_)) && shape.is_empty() {
            return self.c.fail(Diagnostic::error("rank", p.span, format!("`{}` is a block format, so the tensor needs an axis for its blocks to run along", format.name), "has no axes"));
        }
        self.add_tensor(&p.name, role, format, shape, p.name.span)?;
        Ok(())
    }

    fn add_tensor(
        &mut self,
        name: &Ident,
        role: Role,
        format: Arc<Format>,
        shape: Vec<Extent>,
        place: Span,
    ) -> Checked<TensorId> {
        if let Some(t) = self.find_tensor(&name.name) {
            let first = self.tensors[t].place;
            return self.c.fail(
                Diagnostic::error(
                    "duplicate",
                    name.span,
                    format!("`{}` is defined twice", name.name),
                    "defined again",
                )
                .also(first, "first defined here"),
            );
        }
        if self.kernel.tensors.len() >= MAX_TENSORS {
            return self.c.fail(Diagnostic::error(
                "limit",
                name.span,
                format!("a kernel has at most {MAX_TENSORS} tensors"),
                "one too many",
            ));
        }
        let t = self.kernel.tensors.push(Tensor {
            name: name.name.clone(),
            role,
            format,
            shape,
        });
        self.tensors[t].place = place;
        Ok(t)
    }

    pub(super) fn find_tensor(&self, name: &str) -> Option<TensorId> {
        self.kernel
            .tensors
            .iter()
            .find(|(_, t)| t.name == name)
            .map(|(id, _)| id)
    }

    fn shape(&mut self, shape: &[ast::Expr], span: Span) -> Checked<Vec<Extent>> {
        if shape.len() > MAX_RANK {
            return self.c.fail(Diagnostic::error(
                "rank",
                span,
                format!("a tensor has at most {MAX_RANK} axes"),
                format!("has {}", shape.len()),
            ));
        }
        shape.iter().map(|e| self.extent(e)).collect()
    }

    fn extent(&mut self, e: &ast::Expr) -> Checked<Extent> {
        let ExprKind::Name(n) = &e.kind else {
            return Ok(Extent::Const(
                self.c.count(e, "an extent", 0, MAX_EXTENT)? as u64
            ));
        };
        if self.c.consts.contains_key(n) {
            return Ok(Extent::Const(
                self.c.count(e, "an extent", 0, MAX_EXTENT)? as u64
            ));
        }
        if self.c.broken.contains(n) {
            return Err(Reported);
        }
        if let Some((id, _)) = self.kernel.dims.iter().find(|(_, d)| d.name == *n) {
            return Ok(Extent::Dim(id));
        }
        Ok(Extent::Dim(self.kernel.dims.push(Dim {
            name: n.clone(),
            bound: None,
        })))
    }

    /// A new index, in scope from here on.
    pub(super) fn bind(&mut self, name: &Ident) -> Checked<IndexId> {
        if let Some((_, old)) = self.scope.iter().find(|(n, _)| *n == name.name) {
            let first = self.indices[*old].binder;
            let d = Diagnostic::error(
                "binder",
                name.span,
                format!("index `{}` is bound twice", name.name),
                "bound again",
            );
            return self
                .c
                .fail(d.also(first, "bound here").help("choose another name"));
        }
        let id = self.kernel.indices.push(Index {
            name: name.name.clone(),
            extent: Extent::Const(0),
        });
        self.indices[id] = IndexState {
            binder: name.span,
            extent: None,
            failed: false,
        };
        self.scope.push((name.name.clone(), id));
        Ok(id)
    }

    /// States that `index` runs over an axis of `tensor`.
    pub(super) fn constrain(&mut self, index: IndexId, tensor: TensorId, axis: usize, place: Span) {
        let t = &self.kernel.tensors[tensor];
        let Some(extent) = t.shape.get(axis).copied() else {
            return;
        };
        let source = format!("axis {axis} of `{}`", t.name);
        let state = self.indices[index].clone();
        match state.extent {
            None => self.indices[index].extent = Some((extent, place, source)),
            Some((old, old_place, old_source)) if old != extent && !state.failed => {
                self.indices[index].failed = true;
                let (a, b) = (self.extent_text(old), self.extent_text(extent));
                let name = self.kernel.indices[index].name.clone();
                let d = Diagnostic::error(
                    "extent",
                    place,
                    format!("index `{name}` runs to both {a} and {b}"),
                    format!("{source} has extent {b}"),
                );
                self.c
                    .report(d.also(old_place, format!("{old_source} has extent {a}")));
            }
            Some(_) => {}
        }
    }

    fn extent_text(&self, e: Extent) -> String {
        match e {
            Extent::Dim(d) => format!("`{}`", self.kernel.dims[d].name),
            Extent::Const(n) => n.to_string(),
        }
    }

    /// Fixes the extent of an index from what was stated about it.
    pub(super) fn settle(&mut self, index: IndexId) -> Checked<Extent> {
        let state = self.indices[index].clone();
        let Some((extent, ..)) = state.extent else {
            let name = self.kernel.indices[index].name.clone();
            let d = Diagnostic::error(
                "binder",
                state.binder,
                format!("nothing says how far index `{name}` goes"),
                "not used as a subscript",
            );
            return self
                .c
                .fail(d.help("an index takes its extent from the axes that it is a subscript of"));
        };
        self.kernel.indices[index].extent = extent;
        if state.failed {
            Err(Reported)
        } else {
            Ok(extent)
        }
    }

    fn statement(&mut self, s: &ast::Statement) -> Checked<()> {
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
            let tensor = match tensor {
                Some(tensor) => {
                    self.assignable(tensor, value, quantize.as_ref(), v)?;
                    tensor
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
                    self.add_tensor(&t.name, Role::Local, format, shape, t.name.span)?
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
                    quantize: quantize.is_some(),
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

    /// What can be said only at the end.
    fn finish(&mut self) {
        for id in self.kernel.tensors.keys().collect::<Vec<_>>() {
            let (t, state) = (self.kernel.tensors[id].clone(), self.tensors[id].clone());
            if t.role == Role::Output && state.written.is_none() && !self.broken.contains(&t.name) {
                self.c.report(Diagnostic::error(
                    "not-written",
                    state.place,
                    format!("output `{}` is never written", t.name),
                    "no statement assigns it",
                ));
            }
            if t.role != Role::Output && !state.used {
                self.c.report(Diagnostic::warning(
                    "unused",
                    state.place,
                    format!("`{}` is never used", t.name),
                    "not read by any statement",
                ));
            }
        }
    }
}
