//! The `value` and `encode` clauses of a block.

use super::block::Axes;
use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::format::{
    Assigned, BinOp, BlockFormat, Encode, EncodeExpr, EncodeStep, Field, FieldId, LocalId,
    ReduceOp, Scope, UnOp, ValueExpr,
};
use crate::syntax::ast::{Expr, ExprKind, Ident, Op, Span, Step};
use cranelift_entity::PrimaryMap;

type Fields = PrimaryMap<FieldId, Field>;
type Locals = PrimaryMap<LocalId, Field>;

/// Where an `encode` expression stands.
struct Encoding<'a> {
    var: &'a str,
    axes: &'a Axes<'a>,
    fields: &'a Fields,
    locals: &'a Locals,
    assigned: &'a [FieldId],
    /// What is assigned to.
    target: &'a Field,
    /// Whether a reduction is around it.
    reduced: bool,
}

fn arithmetic(op: Op) -> Option<BinOp> {
    match op {
        Op::Add => Some(BinOp::Add),
        Op::Sub => Some(BinOp::Sub),
        Op::Mul => Some(BinOp::Mul),
        Op::Div => Some(BinOp::Div),
        Op::Rem | Op::Lt | Op::Le | Op::Eq | Op::Gt | Op::Ge => None,
    }
}

fn unary(name: &str) -> Option<UnOp> {
    match name {
        "abs" => Some(UnOp::Abs),
        "round" => Some(UnOp::Round),
        "round_away" => Some(UnOp::RoundAway),
        "trunc" => Some(UnOp::Trunc),
        "floor" => Some(UnOp::Floor),
        "floor_pow2" => Some(UnOp::FloorPow2),
        _ => None,
    }
}

fn binary(name: &str) -> Option<BinOp> {
    match name {
        "min" => Some(BinOp::Min),
        "max" => Some(BinOp::Max),
        _ => None,
    }
}

const FUNCTIONS: [&str; 8] = [
    "abs",
    "round",
    "round_away",
    "trunc",
    "floor",
    "floor_pow2",
    "min",
    "max",
];

impl Checker<'_> {
    pub(super) fn block_value(
        &mut self,
        e: &Expr,
        axes: &Axes<'_>,
        fields: &Fields,
    ) -> Checked<ValueExpr> {
        if self.constant(e).is_some() {
            return Ok(ValueExpr::Const(self.single(e)?));
        }
        match &e.kind {
            ExprKind::Name(n) => self
                .field_use(
                    &Ident {
                        name: n.clone(),
                        span: e.span,
                    },
                    &[],
                    e.span,
                    axes,
                    fields,
                )
                .map(ValueExpr::Field),
            ExprKind::Index(n, list) => self
                .field_use(n, list, e.span, axes, fields)
                .map(ValueExpr::Field),
            ExprKind::Neg(a) => Ok(ValueExpr::Unary(
                UnOp::Neg,
                Box::new(self.block_value(a, axes, fields)?),
            )),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (
                    self.block_value(a, axes, fields),
                    self.block_value(b, axes, fields),
                );
                match arithmetic(*op) {
                    Some(op) => Ok(ValueExpr::Binary(op, Box::new(a?), Box::new(b?))),
                    None => self.no_operator(*op, e.span),
                }
            }
            ExprKind::Call(f, args) => match (unary(&f.name), binary(&f.name), args.as_slice()) {
                (Some(op), _, [a]) => Ok(ValueExpr::Unary(
                    op,
                    Box::new(self.block_value(a, axes, fields)?),
                )),
                (_, Some(op), [a, b]) => {
                    let (a, b) = (
                        self.block_value(a, axes, fields),
                        self.block_value(b, axes, fields),
                    );
                    Ok(ValueExpr::Binary(op, Box::new(a?), Box::new(b?)))
                }
                _ => self.bad_call(f, args.len(), &FUNCTIONS),
            },
            ExprKind::Reduce(n, ..) => self.fail(Diagnostic::error(
                "type",
                n.span,
                "a value does not reduce over elements",
                "not allowed in `value`",
            )),
            ExprKind::Number(_) => Ok(ValueExpr::Const(self.single(e)?)),
        }
    }

    /// A use of a field, which must repeat the subscript of its declaration.
    fn field_use(
        &mut self,
        name: &Ident,
        subscript: &[Expr],
        span: Span,
        axes: &Axes<'_>,
        fields: &Fields,
    ) -> Checked<FieldId> {
        let Some((id, f)) = fields.iter().find(|(_, f)| f.name == name.name) else {
            let d = Diagnostic::error(
                "unknown-name",
                name.span,
                format!("the block has no field `{}`", name.name),
                "not a field",
            );
            let d = d.near(
                name.span,
                &name.name,
                fields
                    .values()
                    .map(|f| f.name.as_str())
                    .chain(self.consts.keys().map(String::as_str)),
            );
            return self.fail_unless_broken(&name.name, d);
        };
        self.same_subscript(name, subscript, span, axes, f)?;
        Ok(id)
    }

    /// A use repeats the subscript of the declaration, or names the element that has a value of its own.
    fn same_subscript(
        &mut self,
        name: &Ident,
        subscript: &[Expr],
        span: Span,
        axes: &Axes<'_>,
        f: &Field,
    ) -> Checked<()> {
        if f.per_element() && axes.is_element(subscript) {
            return Ok(());
        }
        if f.scope != Scope::Block {
            return self.stored_once(name, subscript, f.scope, axes);
        }
        let declared = crate::format::text::subscript_text(
            f,
            axes.row.map(|r| r.name.as_str()),
            &axes.element.name,
        );
        let (occurrence, component) = self.places_of(name, subscript, f.element.width(), axes)?;
        if occurrence != f.occurrence || component != f.component {
            let d = Diagnostic::error(
                "subscript",
                span,
                format!(
                    "`{}` is used with another subscript than it was declared with",
                    name.name
                ),
                "differs from the declaration",
            );
            return self.fail(match declared {
                Some(s) => d
                    .help("repeat the subscript of the declaration")
                    .fix(span, format!("{}{s}", name.name)),
                None => d,
            });
        }
        Ok(())
    }

    fn no_operator<T>(&mut self, op: Op, span: Span) -> Checked<T> {
        self.fail(Diagnostic::error(
            "type",
            span,
            format!("`{}` is not an operation on real numbers", op.text()),
            "not allowed here",
        ))
    }

    pub(super) fn bad_call<T>(&mut self, f: &Ident, args: usize, known: &[&str]) -> Checked<T> {
        if known.contains(&f.name.as_str()) {
            return self.fail(Diagnostic::error(
                "arguments",
                f.span,
                format!("`{}` does not take {args} arguments", f.name),
                "wrong number of arguments",
            ));
        }
        let d = Diagnostic::error(
            "unknown-name",
            f.span,
            format!("there is no function `{}` here", f.name),
            format!("known are {}", known.join(", ")),
        );
        self.fail(d.near(f.span, &f.name, known.iter().copied()))
    }

    pub(super) fn encode_clause(
        &mut self,
        var: &Ident,
        steps: &[Step],
        span: Span,
        axes: &Axes<'_>,
        block: &BlockFormat,
    ) -> Checked<Encode> {
        let mut assigned: Vec<FieldId> = Vec::new();
        let mut out = Encode::default();
        let mut failed = false;
        for s in steps {
            if s.is_let {
                failed |= self
                    .encode_local(var, s, axes, block, &assigned, &mut out)
                    .is_err();
                continue;
            }
            let Ok(field) = self.field_use(&s.name, &s.subscript, s.name.span, axes, &block.fields)
            else {
                failed = true;
                continue;
            };
            if assigned.contains(&field) {
                self.report(Diagnostic::error(
                    "duplicate",
                    s.name.span,
                    format!("`{}` is assigned twice", s.name.name),
                    "assigned again",
                ));
                failed = true;
            }
            let scope = Encoding {
                var: &var.name,
                axes,
                fields: &block.fields,
                locals: &out.locals,
                assigned: &assigned,
                target: &block.fields[field],
                reduced: false,
            };
            match self.encode_expr(&s.value, &scope) {
                Ok(expr) => {
                    failed |= self.encode_constant(&expr, &block.fields[field], s.value.span);
                    out.steps.push(EncodeStep {
                        target: Assigned::Field(field),
                        expr,
                    });
                }
                Err(_) => failed = true,
            }
            assigned.push(field);
        }
        let missing: Vec<String> = block
            .fields
            .iter()
            .filter(|(id, _)| !assigned.contains(id))
            .map(|(_, f)| format!("`{}`", f.name))
            .collect();
        if !missing.is_empty() && !failed {
            let head = Span {
                start: span.start,
                end: span.start + "encode".len(),
            };
            return self.fail(Diagnostic::error(
                "missing",
                head,
                "the `encode` clause does not assign every field",
                format!("leaves out {}", missing.join(", ")),
            ));
        }
        if failed {
            Err(super::Reported)
        } else {
            Ok(out)
        }
    }

    /// `let s[i / 16] = …;`: a number that is not stored.
    fn encode_local(
        &mut self,
        var: &Ident,
        s: &Step,
        axes: &Axes<'_>,
        block: &BlockFormat,
        assigned: &[FieldId],
        out: &mut Encode,
    ) -> Checked<()> {
        let name = &s.name.name;
        let mut taken = block.fields.values().chain(out.locals.values());
        if *name == var.name
            || axes.names().contains(&name.as_str())
            || taken.any(|f| f.name == *name)
        {
            return self.fail(Diagnostic::error(
                "duplicate",
                s.name.span,
                format!("`{name}` has a meaning here already"),
                "defined again",
            ));
        }
        let local = self.local(&s.name, &s.subscript, axes)?;
        let scope = Encoding {
            var: &var.name,
            axes,
            fields: &block.fields,
            locals: &out.locals,
            assigned,
            target: &local,
            reduced: false,
        };
        let expr = self.encode_expr(&s.value, &scope)?;
        let target = Assigned::Local(out.locals.push(local));
        out.steps.push(EncodeStep { target, expr });
        Ok(())
    }

    /// Whether a constant that the field cannot hold is assigned to it (reported).
    fn encode_constant(&mut self, expr: &EncodeExpr, field: &Field, span: Span) -> bool {
        let (low, high) = field.element.reach();
        let EncodeExpr::Const(c) = expr else {
            return false;
        };
        let outside = !(low..=high).contains(&f64::from(*c));
        if outside {
            let message = format!("`{}` cannot hold {c}", field.name);
            let label = format!("its values lie between {low} and {high}");
            self.report(Diagnostic::error("range", span, message, label));
        }
        outside
    }

    fn encode_expr(&mut self, e: &Expr, s: &Encoding<'_>) -> Checked<EncodeExpr> {
        if self.constant(e).is_some() {
            return Ok(EncodeExpr::Const(self.single(e)?));
        }
        match &e.kind {
            ExprKind::Index(n, list) if n.name == s.var => self.input(list, e.span, s),
            ExprKind::Name(n) if n == s.var => {
                let element = &s.axes.element.name;
                self.fail(
                    Diagnostic::error(
                        "subscript",
                        e.span,
                        format!("`{n}` is all elements of the block"),
                        "needs a subscript",
                    )
                    .fix(e.span, format!("{n}[{element}]")),
                )
            }
            ExprKind::Name(n) => self.encode_field(
                &Ident {
                    name: n.clone(),
                    span: e.span,
                },
                &[],
                e.span,
                s,
            ),
            ExprKind::Index(n, list) => self.encode_field(n, list, e.span, s),
            ExprKind::Neg(a) => Ok(EncodeExpr::Unary(
                UnOp::Neg,
                Box::new(self.encode_expr(a, s)?),
            )),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.encode_expr(a, s), self.encode_expr(b, s));
                match arithmetic(*op) {
                    Some(op) => Ok(EncodeExpr::Binary(op, Box::new(a?), Box::new(b?))),
                    None => self.no_operator(*op, e.span),
                }
            }
            ExprKind::Call(f, args) => match (unary(&f.name), binary(&f.name), args.as_slice()) {
                (Some(op), _, [a]) => Ok(EncodeExpr::Unary(op, Box::new(self.encode_expr(a, s)?))),
                (_, Some(op), [a, b]) => {
                    let (a, b) = (self.encode_expr(a, s), self.encode_expr(b, s));
                    Ok(EncodeExpr::Binary(op, Box::new(a?), Box::new(b?)))
                }
                _ => self.bad_call(f, args.len(), &FUNCTIONS),
            },
            ExprKind::Reduce(n, binders, body) => self.encode_reduce(n, binders, body, s),
            ExprKind::Number(_) => Ok(EncodeExpr::Const(self.single(e)?)),
        }
    }

    fn input(&mut self, list: &[Expr], span: Span, s: &Encoding<'_>) -> Checked<EncodeExpr> {
        let vars = s.axes.names();
        if !s.axes.is_element(list) {
            let text = format!("{}[{}]", s.var, vars.join(", "));
            return self.fail(
                Diagnostic::error(
                    "subscript",
                    span,
                    format!("elements are written `{text}`"),
                    "another subscript",
                )
                .fix(span, text),
            );
        }
        let target = s.target;
        if !s.reduced && !target.per_element() {
            let d = Diagnostic::error(
                "varies",
                span,
                format!(
                    "`{}` belongs to several elements, and this is the value of one",
                    target.name
                ),
                "differs from element to element",
            );
            return self.fail(d.help(format!(
                "reduce over the elements, for example `max({}) abs({}[{}])`",
                s.axes.element.name,
                s.var,
                vars.join(", ")
            )));
        }
        Ok(EncodeExpr::Input)
    }

    fn encode_field(
        &mut self,
        n: &Ident,
        list: &[Expr],
        span: Span,
        s: &Encoding<'_>,
    ) -> Checked<EncodeExpr> {
        if let Some((id, local)) = s.locals.iter().find(|(_, l)| l.name == n.name) {
            self.same_subscript(n, list, span, s.axes, local)?;
            self.varies(n, span, local, s)?;
            return Ok(EncodeExpr::Local(id));
        }
        let id = self.field_use(n, list, span, s.axes, s.fields)?;
        if !s.assigned.contains(&id) {
            return self.fail(Diagnostic::error(
                "order",
                span,
                format!("`{}` is not assigned yet", n.name),
                "used before it has a value",
            ));
        }
        self.varies(n, span, &s.fields[id], s)?;
        Ok(EncodeExpr::Field(id))
    }

    /// Refuses what differs among the elements that the target belongs to.
    fn varies(&mut self, n: &Ident, span: Span, used: &Field, s: &Encoding<'_>) -> Checked<()> {
        let wider = often(s.target.scope) < often(used.scope);
        if !wider && (s.reduced || s.target.per_element() || coarser(s.target, used)) {
            return Ok(());
        }
        self.fail(Diagnostic::error(
            "varies",
            span,
            format!(
                "`{}` belongs to several elements, for which `{}` differs",
                s.target.name, n.name
            ),
            "differs from element to element",
        ))
    }

    fn encode_reduce(
        &mut self,
        n: &Ident,
        binders: &[Ident],
        body: &Expr,
        s: &Encoding<'_>,
    ) -> Checked<EncodeExpr> {
        if Self::names(binders) != [s.axes.element.name.as_str()] {
            let span = binders.first().map_or(n.span, |b| b.span);
            return self.fail(
                Diagnostic::error(
                    "binder",
                    span,
                    "a reduction in `encode` runs over the elements of the block",
                    format!("expected `{}`", s.axes.element.name),
                )
                .fix(span, s.axes.element.name.clone()),
            );
        }
        if s.reduced {
            return self.fail(Diagnostic::error(
                "binder",
                n.span,
                "reductions in `encode` cannot be nested",
                "inside of another reduction",
            ));
        }
        let body = Box::new(self.encode_expr(
            body,
            &Encoding {
                reduced: true,
                ..*s
            },
        )?);
        Ok(match n.name.as_str() {
            "sum" => EncodeExpr::Reduce(ReduceOp::Sum, body),
            "min" => EncodeExpr::Reduce(ReduceOp::Min, body),
            "max" => EncodeExpr::Reduce(ReduceOp::Max, body),
            "absmax_signed" => EncodeExpr::ArgAbsMax(body),
            other => {
                let known = ["sum", "min", "max", "absmax_signed"];
                let d = Diagnostic::error(
                    "unknown-name",
                    n.span,
                    format!("there is no reduction `{other}`"),
                    format!("known are {}", known.join(", ")),
                );
                return self.fail(d.near(n.span, other, known));
            }
        })
    }
}

/// Which scope is stored more often than another: the larger.
fn often(scope: Scope) -> u8 {
    match scope {
        Scope::Tensor(_) => 0,
        Scope::Row(_) => 1,
        Scope::Block => 2,
    }
}

/// Whether elements that share an occurrence of `fine` share a value of `coarse`.
fn coarser(fine: &Field, coarse: &Field) -> bool {
    let mut seen = vec![None; fine.count as usize];
    let values = coarse.occurrence.iter().zip(&coarse.component);
    fine.occurrence
        .iter()
        .zip(values)
        .all(|(f, value)| *seen[*f as usize].get_or_insert(value) == value)
}
