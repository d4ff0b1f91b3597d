//! Rows of activations that go on with zeros up to whole chunks, so that a sum runs over whole chunks whatever its length: of
//! the elements past the end every product is 0.
//!
//! `fill_up` decides which tensors go on with zeros, before statements are planned. `sums_are_filled` says whether the sums of a
//! statement may go on with them under a plan: they must vanish there, and what else they read must be there and be finite.

use super::amounts::chosen_by;
use super::normal::{Normal, Step};
use super::plan::{Layouts, Plan, facts, known_columns, known_extent, layouts_of, plans};
use crate::divisors::lcm;
use crate::format::FormatKind;
use crate::spec::kernel::{
    Binary, Expr, ExprId, Func, IndexId, Kernel, Reduce, Role, Statement, Subscript, Target,
    Tensor, TensorId,
};
use crate::target;
use std::collections::{BTreeMap, BTreeSet};

/// The most that rows are filled up to a multiple of.
const MOST: u64 = 1 << 12;

/// Fills up intermediates in block formats, and copies plain tensors into intermediates that are filled up, where sums over a
/// known number of elements would else end within a chunk.
pub fn fill_up(normal: &mut Normal, layouts: &Layouts, target: &target::Target) {
    let steps = std::mem::take(&mut normal.steps);
    for step in steps {
        if let Step::Compute(statement) = &step
            && let Some(filled) = filled(normal, statement, layouts, target)
        {
            *normal = filled;
        } else {
            normal.steps.push(step);
        }
    }
}

/// The steps so far and a statement with the rows that it reads filled up, if that lets its sums go on under some plan.
fn filled(
    normal: &Normal,
    statement: &Statement,
    layouts: &Layouts,
    target: &target::Target,
) -> Option<Normal> {
    let kernel = &normal.kernel;
    let plans = plans(kernel, statement, layouts, target);
    let (index, _) = plans.first()?.vector?;
    let chunks = plans.iter().map(|plan| plan.chunk);
    let reach = chunks.fold(1, |all, chunk| longer(all, chunk).unwrap_or(all));
    let extent = known_extent(kernel, index);
    if extent.is_some_and(|n| n.is_multiple_of(reach)) {
        return None;
    }
    let facts = facts(kernel, statement);
    let along = |(_, s): &(TensorId, &[Subscript])| s.last() == Some(&Subscript::Index(index));
    let uses: Vec<(TensorId, &[Subscript])> = facts.uses.into_iter().filter(along).collect();
    let along: BTreeSet<TensorId> = uses.iter().map(|u| u.0).collect();
    // A copy is worth its time beside weights, and beside codes that are decoded.
    let worth_copies = extent.is_some()
        && along.iter().any(|id| {
            let Tensor { role, format, .. } = &kernel.tensors[*id];
            role.is_packed() || matches!(format.kind, FormatKind::Block(_))
        });
    // Of a table only some rows may be read.
    let all_rows = |id: TensorId| {
        let index = |s: &Subscript| matches!(s, Subscript::Index(_));
        let mut own = uses.iter().filter(|(t, _)| *t == id);
        own.all(|(_, subscripts)| subscripts.iter().all(index))
    };
    let mut filled = normal.clone();
    let mut copies = BTreeMap::new();
    for id in along {
        let tensor = &kernel.tensors[id];
        match (&tensor.format.kind, tensor.role) {
            (FormatKind::Block(block), Role::Local) if block.clears_to_zero() => {
                let encoded = |s: &Step| matches!(s, Step::Encode { target, .. } if *target == id);
                if normal.steps.iter().any(encoded) {
                    go_on(&mut filled.kernel, id, reach);
                }
            }
            (FormatKind::Plain(element), Role::Input | Role::Local)
                if worth_copies && all_rows(id) && element.decode(0) == 0.0 =>
            {
                copies.insert(id, copy(&mut filled, id, reach));
            }
            (FormatKind::Block(_) | FormatKind::Plain(_), _) => {}
        }
    }
    let statement = reading(&mut filled.kernel, statement, &copies);
    let goes_on = |plan: &Plan| {
        let layouts = layouts_of(&filled.kernel, &statement, plan, layouts);
        sums_are_filled(&filled.kernel, &statement, plan, &layouts)
    };
    if !plans.iter().any(goes_on) {
        return None;
    }
    filled.steps.push(Step::Compute(statement));
    Some(filled)
}

fn longer(all: u64, chunk: u64) -> Option<u64> {
    Some(lcm(all, chunk)).filter(|all| *all <= MOST)
}

/// Lets the rows of an intermediate go on to a multiple of so many, if that is not too long.
fn go_on(kernel: &mut Kernel, id: TensorId, reach: u64) {
    let filled = &mut kernel.tensors[id].filled;
    *filled = longer(*filled, reach).unwrap_or(*filled);
}

/// A copy of a plain tensor whose rows go on with zeros: one that there is, or a new one.
fn copy(normal: &mut Normal, source: TensorId, reach: u64) -> TensorId {
    let mut copies = normal.steps.iter().filter_map(|step| match step {
        Step::Fill { source: s, target } if *s == source => Some(*target),
        Step::Fill { .. } | Step::Compute(_) | Step::Encode { .. } | Step::Relayout { .. } => None,
    });
    let target = copies.next().unwrap_or_else(|| {
        let tensor = &normal.kernel.tensors[source];
        let copy = Tensor {
            name: normal.kernel.fresh_name(&format!("{}.filled", tensor.name)),
            role: Role::Local,
            ..tensor.clone()
        };
        let target = normal.kernel.tensors.push(copy);
        normal.steps.push(Step::Fill { source, target });
        target
    });
    go_on(&mut normal.kernel, target, reach);
    target
}

/// A statement that reads copies. Other statements may have the same expressions, so those that change are made anew.
fn reading(
    kernel: &mut Kernel,
    statement: &Statement,
    copies: &BTreeMap<TensorId, TensorId>,
) -> Statement {
    let mut done = BTreeMap::new();
    let mut statement = statement.clone();
    for target in &mut statement.targets {
        target.value = with_copies(kernel, target.value, copies, &mut done);
    }
    statement
}

fn with_copies(
    kernel: &mut Kernel,
    expr: ExprId,
    copies: &BTreeMap<TensorId, TensorId>,
    done: &mut BTreeMap<ExprId, ExprId>,
) -> ExprId {
    if let Some(new) = done.get(&expr) {
        return *new;
    }
    let mut of = |e: ExprId, kernel: &mut Kernel| with_copies(kernel, e, copies, done);
    let new = match kernel.exprs[expr].clone() {
        Expr::Load(tensor, subscripts) => {
            Expr::Load(copies.get(&tensor).copied().unwrap_or(tensor), subscripts)
        }
        Expr::Unary(f, a) => Expr::Unary(f, of(a, kernel)),
        Expr::Binary(f, a, b) => Expr::Binary(f, of(a, kernel), of(b, kernel)),
        Expr::Select(c, operands, t, f) => Expr::Select(
            c,
            operands.map(|e| of(e, kernel)),
            of(t, kernel),
            of(f, kernel),
        ),
        Expr::Reduce(op, indices, body) => Expr::Reduce(op, indices, of(body, kernel)),
        same @ (Expr::Const(_) | Expr::Dim(_)) => same,
    };
    let new = match new == kernel.exprs[expr] {
        true => expr,
        false => kernel.exprs.push(new),
    };
    done.insert(expr, new);
    new
}

/// Whether the sums of a statement over the vector index may go on past its end to the end of the last chunk; not if both are
/// known to be one.
pub fn sums_are_filled(
    kernel: &Kernel,
    statement: &Statement,
    plan: &Plan,
    layouts: &Layouts,
) -> bool {
    let Some((index, _)) = plan.vector else {
        return false;
    };
    let facts = facts(kernel, statement);
    let past = Past {
        kernel,
        layouts,
        index,
        chunk: plan.chunk,
    };
    let whole = |t: &Target| past.is_zero_in_sums(t.value);
    let ends_there = known_extent(kernel, index).is_some_and(|n| n.is_multiple_of(plan.chunk));
    !ends_there
        && facts.reduced.contains(&index)
        && facts.uses.iter().all(|(t, s)| past.can_read(*t, s))
        && statement.targets.iter().all(whole)
}

/// What is past the end of an index, in its last chunk.
struct Past<'a> {
    kernel: &'a Kernel,
    layouts: &'a Layouts,
    index: IndexId,
    chunk: u64,
}

impl Past<'_> {
    fn chooses(&self, subscript: &Subscript) -> bool {
        let mut chosen = BTreeSet::new();
        chosen_by(subscript, &mut chosen);
        chosen.contains(&self.index)
    }

    /// Whether a load finds something that is finite.
    fn can_read(&self, tensor: TensorId, subscripts: &[Subscript]) -> bool {
        if !subscripts.iter().any(|s| self.chooses(s)) {
            return true;
        }
        let along = match subscripts {
            [leading @ .., last] => {
                *last == Subscript::Index(self.index) && !leading.iter().any(|s| self.chooses(s))
            }
            [] => false,
        };
        let data = &self.kernel.tensors[tensor];
        let layout = self.layouts[tensor].as_ref().unwrap_or(&data.format);
        along
            && match &layout.kind {
                FormatKind::Plain(_) => data.filled.is_multiple_of(self.chunk),
                FormatKind::Block(block) => {
                    self.is_covered(tensor, u64::from(block.len)) && block.is_finite_past_the_end()
                }
            }
    }

    /// Whether the rows of a tensor in blocks go on in memory to the end of the chunk.
    fn is_covered(&self, tensor: TensorId, len: u64) -> bool {
        let ends_there =
            |columns: u64| columns.next_multiple_of(len) >= columns.next_multiple_of(self.chunk);
        self.kernel.tensors[tensor]
            .filled
            .is_multiple_of(self.chunk)
            || len.is_multiple_of(self.chunk)
            || known_columns(self.kernel, tensor).is_some_and(ends_there)
    }

    /// Whether what is summed over the index is 0 in all sums of an expression.
    fn is_zero_in_sums(&self, expr: ExprId) -> bool {
        let node = &self.kernel.exprs[expr];
        match node {
            Expr::Reduce(op, indices, body) if indices.contains(&self.index) => {
                *op == Reduce::Sum && self.is_zero(*body)
            }
            _ => node.operands().iter().all(|e| self.is_zero_in_sums(*e)),
        }
    }

    fn is_zero(&self, expr: ExprId) -> bool {
        match &self.kernel.exprs[expr] {
            Expr::Const(c) => *c == 0.0,
            Expr::Load(tensor, subscripts) => {
                self.kernel.tensors[*tensor].filled > 1
                    && subscripts.last() == Some(&Subscript::Index(self.index))
            }
            Expr::Unary(Func::Exp, _) => false,
            Expr::Unary(_, a) => self.is_zero(*a),
            Expr::Binary(Binary::Mul, a, b) => {
                self.is_zero(*a) && self.is_finite(*b) || self.is_zero(*b) && self.is_finite(*a)
            }
            Expr::Binary(Binary::Div, a, b) => self.is_zero(*a) && !self.depends(*b),
            Expr::Binary(_, a, b) | Expr::Select(_, _, a, b) => {
                self.is_zero(*a) && self.is_zero(*b)
            }
            Expr::Dim(_) | Expr::Reduce(..) => false,
        }
    }

    /// Whether an expression is finite past the end where what it reads is.
    fn is_finite(&self, expr: ExprId) -> bool {
        let grows = match &self.kernel.exprs[expr] {
            Expr::Unary(Func::Exp | Func::Sqrt, _) | Expr::Binary(Binary::Div, ..) => true,
            Expr::Const(_)
            | Expr::Dim(_)
            | Expr::Load(..)
            | Expr::Unary(..)
            | Expr::Binary(..)
            | Expr::Select(..)
            | Expr::Reduce(..) => false,
        };
        let operands = self.kernel.exprs[expr].operands();
        !self.depends(expr) || !grows && operands.iter().all(|e| self.is_finite(*e))
    }

    fn depends(&self, expr: ExprId) -> bool {
        let node = &self.kernel.exprs[expr];
        let of_load = matches!(node, Expr::Load(_, s) if s.iter().any(|s| self.chooses(s)));
        of_load || node.operands().iter().any(|e| self.depends(*e))
    }
}
