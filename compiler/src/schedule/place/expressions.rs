//! Expressions of the kernel into terms: arithmetic, functions, and reductions over placed axes.

use super::{Placer, Spot};
use crate::schedule::ScheduleError;
use crate::schedule::index::{AxisId, AxisKind};
use crate::schedule::term::{Term, TermId};
use crate::spec::kernel::{Binary, Expr, ExprId, Extent, Func, IndexId, Reduce};
use crate::vector::ir::Scalar;
use std::collections::BTreeMap;

impl Placer<'_> {
    pub(super) fn expr(
        &mut self,
        expr: ExprId,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<TermId, ScheduleError> {
        let kernel = self.kernel;
        Ok(match &kernel.exprs[expr] {
            Expr::Const(c) => self.terms.add(Term::Const(*c)),
            Expr::Dim(d) => {
                let scalar = self.extent(Extent::Dim(*d));
                self.terms.add(match scalar {
                    Scalar::Const(c) => Term::Const(c as f64),
                    scalar => Term::Scalar(scalar),
                })
            }
            Expr::Load(tensor, subscripts) => self.load(*tensor, subscripts, spots, false)?,
            Expr::Unary(f, a) => {
                let a = self.expr(*a, spots)?;
                let term = match f {
                    Func::Neg => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Mul(vec![minus, a])
                    }
                    f => Term::Func(*f, a),
                };
                self.terms.add(term)
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expr(*a, spots)?, self.expr(*b, spots)?);
                self.binary(*op, a, b)
            }
            Expr::Select(c, [a, b], t, f) => {
                let operands = [
                    self.expr(*a, spots)?,
                    self.expr(*b, spots)?,
                    self.expr(*t, spots)?,
                    self.expr(*f, spots)?,
                ];
                self.terms.add(Term::Select(*c, operands))
            }
            Expr::Reduce(op, indices, body) => {
                let sum = self.reduce(*op, indices, *body, spots)?;
                if let (Reduce::Sum, [index]) = (op, &indices[..]) {
                    self.keep(*index, *body, spots)?;
                }
                sum
            }
        })
    }

    pub(super) fn binary(&mut self, op: Binary, a: TermId, b: TermId) -> TermId {
        let term = match op {
            Binary::Add => Term::Add(vec![a, b]),
            Binary::Sub => {
                let minus = self.terms.add(Term::Const(-1.0));
                let negated = self.terms.add(Term::Mul(vec![minus, b]));
                Term::Add(vec![a, negated])
            }
            Binary::Mul => Term::Mul(vec![a, b]),
            Binary::Div => match &self.terms.terms[b] {
                Term::Const(c)
                    if *c != 0.0 && (1.0 / c) * c == 1.0 && c.abs().log2().fract() == 0.0 =>
                {
                    let inverse = self.terms.add(Term::Const(1.0 / c));
                    Term::Mul(vec![a, inverse])
                }
                _ => Term::Div(a, b),
            },
            Binary::Min => Term::Min(a, b),
            Binary::Max => Term::Max(a, b),
        };
        self.terms.add(term)
    }

    /// A reduction: over whole chunks and, where there is one, over the tail.
    pub(super) fn reduce(
        &mut self,
        op: Reduce,
        indices: &[IndexId],
        body: ExprId,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<TermId, ScheduleError> {
        let inner = self.expr(body, spots)?;
        let axes: Vec<AxisId> = indices
            .iter()
            .flat_map(|i| self.reduced.get(i).cloned().unwrap_or_default())
            .collect();
        let main = self.over(op, &axes, inner);
        let vector = self.plan.vector.map(|(i, _)| i);
        let Some((tail_axes, spot)) = self
            .tail
            .clone()
            .filter(|_| indices.iter().any(|i| Some(*i) == vector))
        else {
            return Ok(main);
        };
        let mut tail_spots = spots.clone();
        tail_spots.extend(vector.map(|v| (v, spot)));
        let inner = self.expr(body, &tail_spots)?;
        let mut axes: Vec<AxisId> = indices
            .iter()
            .filter(|i| Some(**i) != vector)
            .flat_map(|i| self.reduced.get(i).cloned().unwrap_or_default())
            .collect();
        axes.extend(tail_axes);
        let tail = self.over(op, &axes, inner);
        Ok(self.terms.add(match op {
            Reduce::Sum => Term::Add(vec![main, tail]),
            Reduce::Max => Term::Max(main, tail),
        }))
    }

    /// Nested sums: lanes outermost, then loops in order.
    pub(super) fn over(&mut self, op: Reduce, axes: &[AxisId], body: TermId) -> TermId {
        let mut order = axes.to_vec();
        order.sort_by_key(|a| (self.axes[*a].kind != AxisKind::Lane, *a));
        order.iter().rev().fold(body, |inner, axis| {
            self.terms.add(match op {
                Reduce::Sum => Term::Sum(*axis, inner),
                Reduce::Max => Term::MaxOver(*axis, inner),
            })
        })
    }
}
