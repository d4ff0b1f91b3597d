//! The same bytes seen as another format, so that one way of loading serves both: a tensor that is read at `k / 32` as blocks of
//! 32 elements each of which has the value of the whole.

use crate::format::{BlockFormat, Format, FormatKind};
use std::sync::Arc;

/// The most elements of a block.
const MAX_LEN: u64 = 1 << 16;

/// A format whose elements each stand for `by` of another axis; `None` if its blocks would become too long.
pub fn stretched(format: &Format, by: u64) -> Option<Arc<Format>> {
    let mut block = match &format.kind {
        FormatKind::Plain(element) => BlockFormat::of_plain(element, 1),
        FormatKind::Block(block) => block.clone(),
    };
    let len = u64::from(block.len).checked_mul(by)?;
    if len > MAX_LEN {
        return None;
    }
    let repeat = |each: &[u32]| -> Vec<u32> {
        let times = each.iter().flat_map(|e| (0..by).map(|_| *e));
        times.collect()
    };
    for field in block.fields.values_mut() {
        field.occurrence = repeat(&field.occurrence);
        field.component = repeat(&field.component);
    }
    block.len = len as u32;
    // One element cannot be encoded without its group.
    block.encode = None;
    Some(Arc::new(Format {
        name: format.name.clone(),
        kind: FormatKind::Block(block),
    }))
}

/// The way back from [`stretched`], for a layout that was made of what it gave.
pub fn shrunk(layout: &Format, by: u64, declared: &Format) -> Arc<Format> {
    let FormatKind::Block(stretched) = &layout.kind else {
        return Arc::new(layout.clone());
    };
    let every = |each: &[u32]| -> Vec<u32> { each.iter().step_by(by as usize).copied().collect() };
    let mut block = stretched.clone();
    for field in block.fields.values_mut() {
        field.occurrence = every(&field.occurrence);
        field.component = every(&field.component);
    }
    block.len = (u64::from(block.len) / by) as u32;
    block.encode = match &declared.kind {
        FormatKind::Plain(element) => BlockFormat::of_plain(element, 1).encode,
        FormatKind::Block(declared) => declared.encode.clone(),
    };
    Arc::new(Format {
        name: layout.name.clone(),
        kind: FormatKind::Block(block),
    })
}
