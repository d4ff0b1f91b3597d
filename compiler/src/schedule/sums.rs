//! Layouts that keep the sum of each row of weights, for statements in which a number that is the same along the row is
//! subtracted from activations.

use super::layout::is_little_more;
use super::plan::{Layouts, known_columns};
use crate::format::{Format, FormatKind};
use crate::spec::kernel::{Kernel, Role};
use std::sync::Arc;

/// The layouts in which the weights whose layouts a plan has just chosen keep the sums of their rows; `None` if none may.
pub fn keeping_sums(kernel: &Kernel, before: &Layouts, chosen: &Layouts) -> Option<Layouts> {
    let mut layouts = chosen.clone();
    for (id, tensor) in kernel.tensors.iter() {
        if tensor.role != Role::Weight || before[id].is_some() {
            continue;
        }
        if let (Some(layout), Some(columns)) = (&chosen[id], known_columns(kernel, id))
            && let Some(keeping) = keeping(layout, &tensor.format, columns)
        {
            layouts[id] = Some(Arc::new(keeping));
        }
    }
    (layouts != *chosen).then_some(layouts)
}

/// A layout that also keeps sums of rows of so many columns; `None` if it keeps some, if it would take too much, or if elements
/// have no values of their own (a tensor that is read at `k / 32` has fewer columns than it seems).
fn keeping(layout: &Format, declared: &Format, columns: u64) -> Option<Format> {
    let FormatKind::Block(block) = &layout.kind else {
        return None;
    };
    if block.kept.is_some() || !block.fields.values().any(|f| f.per_element()) {
        return None;
    }
    let mut block = block.clone();
    block.keep_sums(columns);
    let keeping = Format {
        name: format!("{}_sums", layout.name),
        kind: FormatKind::Block(block),
    };
    is_little_more(keeping.row_bytes(columns), declared.row_bytes(columns)).then_some(keeping)
}
