//! Sums that layouts keep: beside what a statement computes, the sum over the values of a weight alone and the load of what is
//! kept of it, so that the rewriter can be told that the two are equal.

use super::{Kept, Placer, Spot};
use crate::format::{BlockFormat, FormatKind, ValueExpr};
use crate::schedule::ScheduleError;
use crate::schedule::amounts::chosen_by;
use crate::schedule::term::TermId;
use crate::spec::kernel::{Expr, ExprId, IndexId, Kernel, Reduce, Subscript, TensorId};
use std::collections::{BTreeMap, BTreeSet};

impl Placer<'_> {
    /// The kept sums of the weights in what is summed over an index.
    pub(super) fn keep(
        &mut self,
        index: IndexId,
        body: ExprId,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<(), ScheduleError> {
        if self.filled {
            // Kept sums end where rows do.
            return Ok(());
        }
        let mut loads = BTreeSet::new();
        loads_in(self.kernel, body, &mut loads);
        for value in loads {
            let Expr::Load(tensor, subscripts) = &self.kernel.exprs[value] else {
                continue;
            };
            if !is_row(subscripts, index) {
                continue;
            }
            if let Some(load) = self.kept_load(*tensor, subscripts, spots)? {
                let sum = self.reduce(Reduce::Sum, &[index], value, spots)?;
                let kept = Kept { sum, load };
                if !self.kept.contains(&kept) {
                    self.kept.push(kept);
                }
            }
        }
        Ok(())
    }

    /// The load of what a layout keeps of a row.
    fn kept_load(
        &mut self,
        tensor: TensorId,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<Option<TermId>, ScheduleError> {
        let FormatKind::Block(mut block) = self.format(tensor).kind.clone() else {
            return Ok(None);
        };
        let Some(kept) = block.kept.take() else {
            return Ok(None);
        };
        // It is read as a field that every element of the row is worth.
        let field = block.fields.push(*kept);
        let block = BlockFormat {
            value: ValueExpr::Field(field),
            ..block
        };
        let load = self.block_load(tensor, &block, subscripts, spots, false)?;
        Ok(Some(load))
    }
}

/// Whether subscripts run over a row: the index is the last, and no other depends on it.
fn is_row(subscripts: &[Subscript], index: IndexId) -> bool {
    let [leading @ .., Subscript::Index(last)] = subscripts else {
        return false;
    };
    let mut chosen = BTreeSet::new();
    leading.iter().for_each(|s| chosen_by(s, &mut chosen));
    *last == index && !chosen.contains(&index)
}

/// The loads of an expression that are in no reduction of its own.
fn loads_in(kernel: &Kernel, expr: ExprId, found: &mut BTreeSet<ExprId>) {
    let node = &kernel.exprs[expr];
    match node {
        Expr::Load(..) => {
            found.insert(expr);
        }
        Expr::Reduce(..) => return,
        Expr::Const(_) | Expr::Dim(_) | Expr::Unary(..) | Expr::Binary(..) | Expr::Select(..) => {}
    }
    for operand in node.operands() {
        loads_in(kernel, operand, found);
    }
}
