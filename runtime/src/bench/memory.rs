//! Copies of tensors, in memory as weights have it.

use crate::memory::{Memory, Part};
use crate::{Error, Tensor};
use std::sync::Arc;

/// Where a line of the caches begins, and a tensor with it.
const LINE: usize = 64;

/// Copies of a tensor, one after the other.
pub(super) fn copies(tensor: &Tensor, count: usize) -> Result<Vec<Tensor>, Error> {
    let len = tensor.bytes().len();
    let step = len.next_multiple_of(LINE);
    let size = step.checked_mul(count);
    let mut memory = Memory::zeroed(size.ok_or(Error::TooLarge(u64::MAX))?)?;
    for copy in 0..count {
        memory.bytes()[copy * step..][..len].copy_from_slice(tensor.bytes());
    }
    let memory = memory.share()?;
    let copy = |at: usize| {
        let part = Part {
            all: memory.clone(),
            range: at * step..at * step + len,
        };
        let format = tensor.format().clone();
        Tensor::of_legal(format, tensor.shape(), Arc::new(part))
    };
    (0..count).map(copy).collect()
}
