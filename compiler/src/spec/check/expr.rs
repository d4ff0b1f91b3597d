//! The expressions of kernels.

use super::kernel::{Draft, MAX_EXPRS};
use super::{Checked, Reported};
use crate::diagnostic::Diagnostic;
use crate::format::FormatKind;
use crate::spec::kernel::*;
use crate::syntax::ast::{self, ExprKind, Ident, Op, Span};

const FUNCTIONS: [&str; 16] = [
    "exp",
    "sqrt",
    "tanh",
    "silu",
    "gelu",
    "abs",
    "round",
    "round_away",
    "trunc",
    "floor",
    "floor_pow2",
    "min",
    "max",
    "clamp",
    "select",
    "relu",
];

fn unary(name: &str) -> Option<Func> {
    Some(match name {
        "abs" => Func::Abs,
        "exp" => Func::Exp,
        "sqrt" => Func::Sqrt,
        "tanh" => Func::Tanh,
        "silu" => Func::Silu,
        "gelu" => Func::Gelu,
        "round" => Func::Round,
        "round_away" => Func::RoundAway,
        "trunc" => Func::Trunc,
        "floor" => Func::Floor,
        "floor_pow2" => Func::FloorPow2,
        _ => return None,
    })
}

impl Draft<'_, '_> {
    fn push(&mut self, e: Expr, span: Span) -> Checked<ExprId> {
        if self.kernel.exprs.len() == MAX_EXPRS {
            self.c.report(Diagnostic::error(
                "limit",
                span,
                format!("a kernel has at most {MAX_EXPRS} operations"),
                "one too many",
            ));
        }
        if self.kernel.exprs.len() >= MAX_EXPRS {
            return Err(Reported);
        }
        let integer = match &e {
            Expr::Const(c) => c.fract() == 0.0,
            Expr::Dim(_) => true,
            Expr::Load(t, _) => {
                matches!(&self.kernel.tensors[*t].format.kind, FormatKind::Plain(e) if e.is_integer())
            }
            Expr::Unary(Func::Neg | Func::Abs, a) => self.integer[*a],
            Expr::Unary(f, _) => f.to_integer(),
            Expr::Binary(op, a, b) => *op != Binary::Div && self.integer[*a] && self.integer[*b],
            Expr::Select(_, _, a, b) => self.integer[*a] && self.integer[*b],
            Expr::Reduce(_, _, a) => self.integer[*a],
        };
        let id = self.kernel.exprs.push(e);
        self.integer[id] = integer;
        Ok(id)
    }

    pub(super) fn expr(&mut self, e: &ast::Expr) -> Checked<ExprId> {
        if let Some(v) = self.c.constant(e) {
            return self.push(Expr::Const(v?), e.span);
        }
        let node = match &e.kind {
            ExprKind::Number(_) => Expr::Const(self.c.real(e)?),
            ExprKind::Name(n) => return self.name(n, e.span),
            ExprKind::Index(n, list) => return self.load(n, list, e.span),
            ExprKind::Neg(a) => Expr::Unary(Func::Neg, self.expr(a)?),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.expr(a), self.expr(b));
                let op = match op {
                    Op::Add => Binary::Add,
                    Op::Sub => Binary::Sub,
                    Op::Mul => Binary::Mul,
                    Op::Div => Binary::Div,
                    Op::Rem | Op::Lt | Op::Le | Op::Eq | Op::Gt | Op::Ge => {
                        let d = Diagnostic::error(
                            "type",
                            e.span,
                            format!("`{}` does not give a real number", op.text()),
                            "not allowed here",
                        );
                        return self.c.fail(if *op == Op::Rem {
                            d
                        } else {
                            d.help("comparisons stand in `select(a < b, then, otherwise)`")
                        });
                    }
                };
                Expr::Binary(op, a?, b?)
            }
            ExprKind::Call(f, args) => return self.call(f, args, e.span),
            ExprKind::Reduce(n, binders, body) => return self.reduce(n, binders, body, e.span),
        };
        self.push(node, e.span)
    }

    fn name(&mut self, n: &str, span: Span) -> Checked<ExprId> {
        if let Some(t) = self.find_tensor(n) {
            if !self.kernel.tensors[t].shape.is_empty() {
                let rank = self.kernel.tensors[t].shape.len();
                let d = Diagnostic::error(
                    "rank",
                    span,
                    format!("`{n}` has {rank} axes"),
                    "needs subscripts",
                );
                let place = self.tensors[t].place;
                return self.c.fail(d.also(place, "declared here"));
            }
            return self.load(
                &Ident {
                    name: n.to_string(),
                    span,
                },
                &[],
                span,
            );
        }
        if let Some((d, _)) = self.kernel.dims.iter().find(|(_, d)| d.name == n) {
            return self.push(Expr::Dim(d), span);
        }
        if self.scope.iter().any(|(s, _)| s == n) {
            return self.c.fail(Diagnostic::error(
                "type",
                span,
                format!("index `{n}` is not a number"),
                "indices stand in subscripts only",
            ));
        }
        if self.broken.iter().any(|b| b == n) {
            return Err(Reported);
        }
        let d = Diagnostic::error(
            "unknown-name",
            span,
            format!("there is no `{n}` here"),
            "not a tensor, a dimension or a constant",
        );
        let known: Vec<String> = self.known_names();
        let d = d.near(span, n, known.iter().map(String::as_str));
        self.c.fail_unless_broken(n, d)
    }

    fn known_names(&self) -> Vec<String> {
        let tensors = self.kernel.tensors.values().map(|t| t.name.clone());
        let dims = self.kernel.dims.values().map(|d| d.name.clone());
        tensors
            .chain(dims)
            .chain(self.c.consts.keys().cloned())
            .collect()
    }

    fn load(&mut self, n: &Ident, list: &[ast::Expr], span: Span) -> Checked<ExprId> {
        let t = self.readable(n)?;
        let subscripts = self.subscripts(t, list, span, true)?;
        self.push(Expr::Load(t, subscripts), span)
    }

    /// The tensor of that name, which must have a value by now.
    pub(super) fn readable(&mut self, n: &Ident) -> Checked<TensorId> {
        let Some(t) = self.find_tensor(&n.name) else {
            if self.broken.contains(&n.name) {
                return Err(Reported);
            }
            let names: Vec<String> = self
                .kernel
                .tensors
                .values()
                .map(|t| t.name.clone())
                .collect();
            let d = Diagnostic::error(
                "unknown-name",
                n.span,
                format!("there is no tensor `{}`", n.name),
                "not defined",
            );
            return self
                .c
                .fail(d.near(n.span, &n.name, names.iter().map(String::as_str)));
        };
        self.tensors[t].used = true;
        let written = self.tensors[t].written.is_some();
        if matches!(self.kernel.tensors[t].role, Role::Output | Role::Local) && !written {
            if self.broken.contains(&n.name) {
                return Err(Reported);
            }
            let place = self.tensors[t].place;
            let d = Diagnostic::error(
                "order",
                n.span,
                format!("`{}` is read before it is written", n.name),
                "has no value yet",
            );
            return self.c.fail(d.also(place, "declared here"));
        }
        Ok(t)
    }

    fn call(&mut self, f: &Ident, args: &[ast::Expr], span: Span) -> Checked<ExprId> {
        if f.name == "select" {
            return self.select(f, args, span);
        }
        let checked: Vec<Checked<ExprId>> = args.iter().map(|a| self.expr(a)).collect();
        let args: Vec<ExprId> = checked.into_iter().collect::<Checked<_>>()?;
        let node = match (f.name.as_str(), args.as_slice()) {
            ("min", [a, b]) => Expr::Binary(Binary::Min, *a, *b),
            ("max", [a, b]) => Expr::Binary(Binary::Max, *a, *b),
            ("relu", [a]) => {
                let zero = self.push(Expr::Const(0.0), span)?;
                Expr::Binary(Binary::Max, *a, zero)
            }
            ("clamp", [x, low, high]) => {
                let x = self.push(Expr::Binary(Binary::Max, *x, *low), span)?;
                Expr::Binary(Binary::Min, x, *high)
            }
            (name, [a]) if unary(name).is_some() => Expr::Unary(unary(name).ok_or(Reported)?, *a),
            ("sum", _) => {
                return self.c.fail(Diagnostic::error(
                    "arguments",
                    span,
                    "`sum` needs an index and a body",
                    "expected for example `sum(k) w[k]`",
                ));
            }
            (_, list) => {
                let n = list.len();
                return self.c.bad_call(f, n, &FUNCTIONS);
            }
        };
        self.push(node, span)
    }

    fn select(&mut self, f: &Ident, args: &[ast::Expr], span: Span) -> Checked<ExprId> {
        let [condition, then, otherwise] = args else {
            return self.c.bad_call(f, args.len(), &FUNCTIONS);
        };
        let comparison = match &condition.kind {
            ExprKind::Binary(op, a, b) => match op {
                Op::Lt => Some((Compare::Lt, a, b)),
                Op::Le => Some((Compare::Le, a, b)),
                Op::Eq => Some((Compare::Eq, a, b)),
                Op::Gt => Some((Compare::Lt, b, a)),
                Op::Ge => Some((Compare::Le, b, a)),
                Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Rem => None,
            },
            _ => None,
        };
        let Some((compare, a, b)) = comparison else {
            return self.c.fail(Diagnostic::error(
                "type",
                condition.span,
                "`select` chooses by a comparison",
                "expected for example `a < b`",
            ));
        };
        let (a, b, then, otherwise) = (
            self.expr(a),
            self.expr(b),
            self.expr(then),
            self.expr(otherwise),
        );
        let node = Expr::Select(compare, [a?, b?], then?, otherwise?);
        self.push(node, span)
    }

    fn reduce(
        &mut self,
        n: &Ident,
        binders: &[Ident],
        body: &ast::Expr,
        span: Span,
    ) -> Checked<ExprId> {
        let op = match n.name.as_str() {
            "sum" => Reduce::Sum,
            "max" => Reduce::Max,
            other => {
                let d = Diagnostic::error(
                    "unknown-name",
                    n.span,
                    format!("there is no reduction `{other}`"),
                    "known are sum, max",
                );
                let d = if other == "min" {
                    d.help("the smallest is `-max(k) (-x[k])`")
                } else {
                    d.near(n.span, other, ["sum", "max"])
                };
                return self.c.fail(d);
            }
        };
        let depth = self.scope.len();
        let bound: Vec<Checked<IndexId>> = binders.iter().map(|b| self.bind(b)).collect();
        let bound: Checked<Vec<IndexId>> = bound.into_iter().collect();
        let body = if bound.is_ok() {
            self.expr(body)
        } else {
            Err(Reported)
        };
        self.scope.truncate(depth);
        let (bound, body) = (bound?, body?);
        let extents: Vec<Checked<Extent>> = bound.iter().map(|i| self.settle(*i)).collect();
        extents.into_iter().collect::<Checked<Vec<_>>>()?;
        self.push(Expr::Reduce(op, bound, body), span)
    }
}
