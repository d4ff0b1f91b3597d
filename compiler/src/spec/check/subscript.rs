//! Subscripts of tensors that are read: indices, quotients of indices, positions, look-ups.

use super::kernel::Draft;
use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{Element, FormatKind};
use crate::spec::kernel::*;
use crate::syntax::ast::{self, ExprKind, Ident, Op, Span};

impl Checker<'_> {
    /// What is divided by a constant, and the constant, of `k / 32`.
    pub(super) fn quotient<'e>(&mut self, e: &'e ast::Expr) -> Checked<Option<(&'e str, u64)>> {
        let ExprKind::Binary(Op::Div, a, by) = &e.kind else {
            return Ok(None);
        };
        let (name, first) = match &a.kind {
            ExprKind::Name(name) => (name.as_str(), 1),
            // `k / 32 / 4` is `k / 128`, whichever way both are rounded
            _ => match self.quotient(a)? {
                Some(inner) => inner,
                None => return Ok(None),
            },
        };
        if self.consts.contains_key(name) || self.constant(by).is_none() {
            return Ok(None);
        }
        let by = self.count(by, "a divisor", 1, super::kernel::MAX_EXTENT)? as u64;
        match first.checked_mul(by) {
            Some(by) if by <= super::kernel::MAX_EXTENT as u64 => Ok(Some((name, by))),
            _ => self.fail(Diagnostic::error(
                "limit",
                e.span,
                "an index is divided by more than 2^32",
                "too large together",
            )),
        }
    }
}

impl Draft<'_, '_> {
    pub(super) fn subscripts(
        &mut self,
        t: TensorId,
        list: &[ast::Expr],
        span: Span,
        gather: bool,
    ) -> Checked<Vec<Subscript>> {
        let tensor = self.kernel.tensors[t].clone();
        if tensor.shape.len() != list.len() {
            let place = self.tensors[t].place;
            let d = Diagnostic::error(
                "rank",
                span,
                format!("`{}` has {} axes", tensor.name, tensor.shape.len()),
                format!("has {} subscripts", list.len()),
            );
            return self.c.fail(d.also(place, "declared here"));
        }
        let out: Vec<Checked<Subscript>> = list
            .iter()
            .enumerate()
            .map(|(axis, e)| self.subscript(t, axis, e, gather))
            .collect();
        out.into_iter().collect()
    }

    fn subscript(
        &mut self,
        t: TensorId,
        axis: usize,
        e: &ast::Expr,
        gather: bool,
    ) -> Checked<Subscript> {
        if let ExprKind::Name(n) = &e.kind
            && let Some((_, id)) = self.scope.iter().find(|(s, _)| s == n)
        {
            let id = *id;
            self.constrain(id, t, axis, e.span);
            return Ok(Subscript::Index(id));
        }
        if let (ExprKind::Binary(Op::Div, a, _), Some((name, by))) = (&e.kind, self.c.quotient(e)?)
        {
            let Some(id) = self.scope.iter().find(|(n, _)| n == name).map(|s| s.1) else {
                // What is wrong with the name alone is wrong with it here.
                return self.subscript(t, axis, a, false);
            };
            if by == 1 {
                self.constrain(id, t, axis, e.span);
                return Ok(Subscript::Index(id));
            }
            self.constrain_quotient(id, by, t, axis, e.span);
            return Ok(Subscript::Quotient(id, by));
        }
        let extent = self.kernel.tensors[t].shape[axis];
        if self.c.constant(e).is_some() {
            let v = self
                .c
                .count(e, "a subscript", 0, super::kernel::MAX_EXTENT - 1)?
                as u64;
            if let Extent::Const(n) = extent
                && v >= n
            {
                let place = self.tensors[t].place;
                let d = Diagnostic::error(
                    "subscript",
                    e.span,
                    format!("position {v} is outside of an axis of {n}"),
                    format!("must be below {n}"),
                );
                return self.c.fail(d.also(place, "declared here"));
            }
            return Ok(Subscript::Const(v));
        }
        match &e.kind {
            ExprKind::Index(n, list) if gather => {
                let g = self.readable(n)?;
                let integer = matches!(
                    &self.kernel.tensors[g].format.kind,
                    FormatKind::Plain(
                        Element::Int { bits: 8 | 16 | 32 } | Element::UInt { bits: 8 | 16 }
                    )
                );
                // Positions are checked before the call: code reads what they point at.
                if matches!(self.kernel.tensors[g].role, Role::Output | Role::Local) {
                    let place = self.tensors[g].place;
                    let d = Diagnostic::error(
                        "index",
                        e.span,
                        format!(
                            "positions come from the caller, and `{}` is computed here",
                            n.name
                        ),
                        "must be an input",
                    );
                    return self.c.fail(
                        d.also(place, "declared here")
                            .help("compute the positions in a kernel of their own"),
                    );
                }
                if !integer {
                    let (format, place) = (
                        self.kernel.tensors[g].format.name.clone(),
                        self.tensors[g].place,
                    );
                    let d = Diagnostic::error(
                        "type",
                        e.span,
                        format!(
                            "positions are looked up in a tensor of integers of 8, 16 or 32 bits, and `{}` has the format `{format}`",
                            n.name
                        ),
                        "must be integers",
                    );
                    return self
                        .c
                        .fail(d.also(place, "declared here").help("declare it as `i32`"));
                }
                Ok(Subscript::Gather(
                    g,
                    self.subscripts(g, list, e.span, false)?,
                ))
            }
            ExprKind::Name(n) => {
                let scalar = self
                    .find_tensor(n)
                    .filter(|t| self.kernel.tensors[*t].shape.is_empty());
                if let (Some(_), true) = (scalar, gather) {
                    let ident = Ident {
                        name: n.clone(),
                        span: e.span,
                    };
                    let index = ast::Expr {
                        kind: ExprKind::Index(ident, Vec::new()),
                        span: e.span,
                    };
                    return self.subscript(t, axis, &index, true);
                }
                let d = Diagnostic::error(
                    "binder",
                    e.span,
                    format!("index `{n}` has no binder"),
                    "not bound here",
                );
                let known: Vec<String> = self.scope.iter().map(|s| s.0.clone()).collect();
                let near = d.clone().near(e.span, n, known.iter().map(String::as_str));
                let d = d.help(format!(
                    "put it on the left side, or reduce over it: `sum({n}) …`, with parentheses round what is added"
                ));
                self.c.fail(if n.len() > 2 && near.fix.is_some() {
                    near
                } else {
                    d
                })
            }
            _ => self.c.fail(
                Diagnostic::error(
                    "subscript",
                    e.span,
                    "a subscript is an index, an index over a constant, a constant or a look-up in an integer tensor",
                    "not supported here",
                )
                .help("split the axis into two axes, or prepare the tensor before the kernel"),
            ),
        }
    }
}
