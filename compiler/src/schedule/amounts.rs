//! How much there is to do: weights read, results made and products summed by a statement. What costs are divided by.

use super::place::NOMINAL;
use super::plan::{Plan, known_extent};
use crate::spec::kernel::{Expr, ExprId, IndexId, Kernel, Statement, Subscript, TensorId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Amounts of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amounts {
    /// Elements of weights that are read, each once.
    pub weights: f64,
    /// Elements of the first result.
    pub results: f64,
    /// Values that all indices take together: of a product of matrices the products of numbers.
    pub points: f64,
}

impl Amounts {
    /// What costs are divided by: weights; of a statement without weights its results.
    pub fn unit(&self) -> f64 {
        let unit = if self.weights > 0.0 {
            self.weights
        } else {
            self.results
        };
        unit.max(1.0)
    }
}

/// The amounts under nominal extents: those that costs are weighed for.
pub fn nominal(kernel: &Kernel, statement: &Statement, plan: &Plan, batch: u64) -> Amounts {
    amounts(kernel, statement, &|index| {
        let free = plan.of_batch(index, batch).unwrap_or(NOMINAL);
        known_extent(kernel, index).unwrap_or(free)
    })
}

/// The amounts for given extents of the indices.
pub fn amounts(kernel: &Kernel, statement: &Statement, extent: &dyn Fn(IndexId) -> u64) -> Amounts {
    let mut found = Found::default();
    for target in &statement.targets {
        found.indices.extend(&target.index);
        found.visit(kernel, target.value);
    }
    let product = |indices: &BTreeSet<IndexId>| -> f64 {
        indices.iter().map(|i| extent(*i).max(1) as f64).product()
    };
    let outputs = statement.targets.first().map(|t| &t.index);
    let outputs: BTreeSet<IndexId> = outputs.into_iter().flatten().copied().collect();
    Amounts {
        weights: found.weights.values().map(product).sum(),
        results: product(&outputs),
        points: product(&found.indices),
    }
}

/// What the expressions of a statement read.
#[derive(Default)]
struct Found {
    seen: BTreeSet<ExprId>,
    indices: BTreeSet<IndexId>,
    /// For each weight the indices that choose among its elements.
    weights: BTreeMap<TensorId, BTreeSet<IndexId>>,
}

impl Found {
    fn visit(&mut self, kernel: &Kernel, expr: ExprId) {
        if !self.seen.insert(expr) {
            return;
        }
        let node = &kernel.exprs[expr];
        match node {
            Expr::Load(tensor, subscripts) => {
                if kernel.tensors[*tensor].role.is_packed() {
                    let indices = self.weights.entry(*tensor).or_default();
                    subscripts.iter().for_each(|s| chosen_by(s, indices));
                }
            }
            Expr::Reduce(_, indices, _) => self.indices.extend(indices),
            Expr::Const(_)
            | Expr::Dim(_)
            | Expr::Unary(..)
            | Expr::Binary(..)
            | Expr::Select(..) => {}
        }
        for operand in node.operands() {
            self.visit(kernel, operand);
        }
    }
}

/// The indices in a subscript. Of a group of neighbours that read one element, each counts.
pub(super) fn chosen_by(subscript: &Subscript, indices: &mut BTreeSet<IndexId>) {
    match subscript {
        Subscript::Index(i) | Subscript::Quotient(i, _) => {
            indices.insert(*i);
        }
        Subscript::Const(_) => {}
        Subscript::Gather(_, inner) => inner.iter().for_each(|s| chosen_by(s, indices)),
    }
}
