//! Groups of rows: those that lanes, copies and blocks take together, and what whole groups leave over.

use super::amounts::chosen_by;
use super::plan::{Layouts, Plan, facts};
use crate::format::FormatKind;
use crate::spec::kernel::{IndexId, Kernel, Statement, Subscript};
use std::collections::BTreeSet;

/// Whether all that is read row by row lies in blocks of whole groups of rows: then the rows that are left over are computed
/// as a group, too, of which only the first are stored.
pub fn rows_are_filled_up(
    kernel: &Kernel,
    statement: &Statement,
    plan: &Plan,
    layouts: &Layouts,
) -> bool {
    let Some((row, _)) = plan.row.filter(|_| plan.row_group() > 1) else {
        return false;
    };
    let facts = facts(kernel, statement);
    // Else lanes are results, too.
    let summed = plan.vector.is_some_and(|(i, _)| facts.reduced.contains(&i));
    let mut uses = facts.uses.iter();
    summed
        && facts.outputs.contains(&row)
        && uses.all(|(tensor, subscripts)| {
            let declared = &kernel.tensors[*tensor].format;
            let rows = match &layouts[*tensor].as_ref().unwrap_or(declared).kind {
                FormatKind::Block(block) => u64::from(block.rows),
                FormatKind::Plain(_) => 1,
            };
            match rows_of(subscripts, row) {
                Rows::None => true,
                Rows::InOrder => rows.is_multiple_of(plan.row_group()),
                Rows::Elsewhere => false,
            }
        })
}

/// How subscripts depend on the index over rows.
enum Rows {
    /// Not at all.
    None,
    /// It numbers the rows.
    InOrder,
    /// In another way.
    Elsewhere,
}

fn rows_of(subscripts: &[Subscript], row: IndexId) -> Rows {
    let depends = |subscript: &Subscript| {
        let mut chosen = BTreeSet::new();
        chosen_by(subscript, &mut chosen);
        chosen.contains(&row)
    };
    match subscripts {
        all if !all.iter().any(depends) => Rows::None,
        [before @ .., Subscript::Index(own), last]
            if *own == row && !depends(last) && !before.iter().any(depends) =>
        {
            Rows::InOrder
        }
        _ => Rows::Elsewhere,
    }
}
