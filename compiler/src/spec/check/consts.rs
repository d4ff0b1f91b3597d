//! Constant expressions: reals for values, integers for lengths.

use super::{Checked, Checker};
use crate::diagnostic::Diagnostic;
use crate::syntax::ast::{Expr, ExprKind, Op};

impl Checker<'_> {
    /// A constant real number.
    pub(super) fn real(&mut self, e: &Expr) -> Checked<f64> {
        let v = match &e.kind {
            ExprKind::Number(t) => t.parse().unwrap_or(f64::NAN),
            ExprKind::Name(n) => match self.consts.get(n) {
                Some(v) => *v,
                None => {
                    let d = Diagnostic::error(
                        "unknown-name",
                        e.span,
                        format!("`{n}` is not a constant"),
                        "not known here",
                    );
                    let d = d.near(e.span, n, self.consts.keys().map(String::as_str));
                    return self.fail_unless_broken(n, d);
                }
            },
            ExprKind::Neg(a) => -self.real(a)?,
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.real(a)?, self.real(b)?);
                match op {
                    Op::Add => a + b,
                    Op::Sub => a - b,
                    Op::Mul => a * b,
                    Op::Div => a / b,
                    Op::Rem => a.rem_euclid(b),
                    Op::Lt | Op::Le | Op::Eq | Op::Gt | Op::Ge => {
                        return self.fail(Diagnostic::error(
                            "type",
                            e.span,
                            "a comparison is not a number",
                            "not a number",
                        ));
                    }
                }
            }
            ExprKind::Call(f, args) => {
                let args = args
                    .iter()
                    .map(|a| self.real(a))
                    .collect::<Checked<Vec<_>>>()?;
                match (f.name.as_str(), args.as_slice()) {
                    ("min", [a, b]) => a.min(*b),
                    ("max", [a, b]) => a.max(*b),
                    ("abs", [a]) => a.abs(),
                    ("floor", [a]) => a.floor(),
                    ("round", [a]) => a.round_ties_even(),
                    ("sqrt", [a]) => a.sqrt(),
                    _ => {
                        return self.fail(Diagnostic::error(
                            "unknown-name",
                            f.span,
                            format!(
                                "`{}` with {} arguments is not a function of constants",
                                f.name,
                                args.len()
                            ),
                            "known are min, max, abs, floor, round, sqrt",
                        ));
                    }
                }
            }
            ExprKind::Index(..) | ExprKind::Reduce(..) => {
                return self.fail(Diagnostic::error(
                    "type",
                    e.span,
                    "this is not a constant",
                    "must be a number",
                ));
            }
        };
        if v.is_finite() {
            return Ok(v);
        }
        self.fail(Diagnostic::error(
            "range",
            e.span,
            "this constant is not a finite number",
            format!("comes to {v}"),
        ))
    }

    /// A constant integer.
    pub(super) fn integer(&mut self, e: &Expr) -> Checked<i64> {
        let v = self.real(e)?;
        if v.fract() == 0.0 && v.abs() <= (1u64 << 53) as f64 {
            return Ok(v as i64);
        }
        self.fail(Diagnostic::error(
            "type",
            e.span,
            "an integer is needed here",
            format!("comes to {v}"),
        ))
    }

    /// A constant integer within bounds.
    pub(super) fn count(&mut self, e: &Expr, what: &str, low: i64, high: i64) -> Checked<i64> {
        let v = self.integer(e)?;
        if (low..=high).contains(&v) {
            return Ok(v);
        }
        self.fail(Diagnostic::error(
            "limit",
            e.span,
            format!("{what} must lie between {low} and {high}"),
            format!("comes to {v}"),
        ))
    }

    /// The value of an expression that is made of constants alone; `None` if it is not.
    pub(super) fn constant(&mut self, e: &Expr) -> Option<Checked<f64>> {
        fn is_const(c: &Checker<'_>, e: &Expr) -> bool {
            match &e.kind {
                ExprKind::Number(_) => true,
                ExprKind::Name(n) => c.consts.contains_key(n),
                ExprKind::Neg(a) => is_const(c, a),
                ExprKind::Binary(op, a, b) => {
                    op.level() > 0 && *op != Op::Rem && is_const(c, a) && is_const(c, b)
                }
                ExprKind::Index(..) | ExprKind::Call(..) | ExprKind::Reduce(..) => false,
            }
        }
        is_const(self, e).then(|| self.real(e))
    }
}
