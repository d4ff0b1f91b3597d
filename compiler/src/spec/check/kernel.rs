//! Kernels: parameters, and the extents of indices.

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
    /// Axes that it runs over in steps: the divisor, the axis' extent, where, and what to call that place.
    pub(super) quotients: Vec<(u64, Extent, Span, String)>,
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
            tables: self.tables(k),
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

    fn tables(&mut self, k: &ast::Kernel) -> Tables {
        let Some(kind) = &k.tables else {
            return Tables::Exact;
        };
        if kind.name != "int8" {
            let text = format!("tables cannot be rounded to `{}`", kind.name);
            let d = Diagnostic::error("tables", kind.span, text, "expected `int8`");
            // The kernel is not kept, as it has an error.
            let _: Checked<()> = self.fail(d.near(kind.span, &kind.name, ["int8"]));
        }
        Tables::Int8
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
        if let FormatKind::Plain(e) = &format.kind
            && e.width() > 1
        {
            return self.c.fail(
                Diagnostic::error(
                    "type",
                    p.format.span,
                    format!("a code of `{}` has {} values", format.name, e.width()),
                    "not a format of tensors",
                )
                .help("use it for a field of a block"),
            );
        }
        self.add_tensor(&p.name, role, format, shape, p.name.span)?;
        Ok(())
    }

    pub(super) fn add_tensor(
        &mut self,
        name: &Ident,
        role: Role,
        format: Arc<Format>,
        shape: Vec<Extent>,
        place: Span,
    ) -> Checked<TensorId> {
        self.c.not_a_constant(name)?;
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
            filled: 1,
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
        if let Some((name, by)) = self.c.quotient(e)? {
            return Ok(Extent::Dim(self.dim(name)?).over(by));
        }
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
        self.dim(n).map(Extent::Dim)
    }

    fn dim(&mut self, name: &str) -> Checked<DimId> {
        if self.c.broken.iter().any(|n| n == name) {
            return Err(Reported);
        }
        if let Some((id, _)) = self.kernel.dims.iter().find(|(_, d)| d.name == name) {
            return Ok(id);
        }
        Ok(self.kernel.dims.push(Dim {
            name: name.to_owned(),
            bound: None,
        }))
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
            quotients: Vec::new(),
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

    /// States that `index` divided by a constant runs over an axis of `tensor`.
    pub(super) fn constrain_quotient(
        &mut self,
        index: IndexId,
        by: u64,
        tensor: TensorId,
        axis: usize,
        place: Span,
    ) {
        let t = &self.kernel.tensors[tensor];
        if let Some(extent) = t.shape.get(axis).copied() {
            let source = format!("axis {axis} of `{}`", t.name);
            let quotients = &mut self.indices[index].quotients;
            quotients.push((by, extent, place, source));
        }
    }

    fn extent_text(&self, e: Extent) -> String {
        match e {
            Extent::Dim(_) | Extent::Quotient(..) => format!("`{}`", self.kernel.extent_text(e)),
            Extent::Const(n) => n.to_string(),
        }
    }

    /// The axes that an index runs over in steps must be as long as its own extent says.
    fn check_quotients(&mut self, index: IndexId, extent: Extent) {
        for (by, found, place, source) in self.indices[index].quotients.clone() {
            let wanted = extent.over(by);
            if wanted == found {
                continue;
            }
            self.indices[index].failed = true;
            let (wanted, found) = (self.extent_text(wanted), self.extent_text(found));
            let name = &self.kernel.indices[index].name;
            let d = Diagnostic::error(
                "extent",
                place,
                format!("`{name} / {by}` runs to {wanted}, not to {found}"),
                format!("{source} has extent {found}"),
            );
            self.c
                .report(d.help(format!("declare that axis as {wanted}")));
        }
    }

    /// Fixes the extent of an index from what was stated about it.
    pub(super) fn settle(&mut self, index: IndexId) -> Checked<Extent> {
        let mut state = self.indices[index].clone();
        if state.extent.is_none() {
            // `K / 32` says how far `k` goes where it occurs as `k / 32` only.
            let implied = state
                .quotients
                .iter()
                .find_map(|(by, extent, place, source)| {
                    let whole = extent.times(*by)?;
                    Some((whole, *place, source.clone()))
                });
            state.extent = implied;
        }
        if let Some((extent, ..)) = state.extent {
            self.check_quotients(index, extent);
            state.failed = self.indices[index].failed;
        }
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
                .fail(d.help("an index takes its extent from the axes that it is a subscript of; over 32, from an axis of `K / 32`"));
        };
        self.kernel.indices[index].extent = extent;
        if state.failed {
            Err(Reported)
        } else {
            Ok(extent)
        }
    }

    /// What can be said only at the end.
    fn finish(&mut self) {
        let failed = self.c.diagnostics.has_errors();
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
            if t.role != Role::Output && !state.used && !failed {
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
