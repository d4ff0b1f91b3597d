//! Memory in huge pages, where the system has them: with small ones a stream is limited by the look-up of their addresses.

use crate::{Error, Tensor};
use memmap2::{Mmap, MmapMut};
use std::ops::Range;
use std::sync::Arc;

/// Where a line of the caches begins, and a tensor with it.
const LINE: usize = 64;

/// So many bytes, not yet written to.
pub(super) fn huge(bytes: usize) -> Result<MmapMut, Error> {
    let refused = |_| Error::TooLarge(bytes as u64);
    let memory = MmapMut::map_anon(bytes.max(1)).map_err(refused)?;
    // Where there are none, or not that many, it is in small pages.
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    Ok(memory)
}

/// A part of memory that others share.
struct Part {
    memory: Arc<Mmap>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }
}

/// Copies of a tensor, one after the other.
pub(super) fn copies(tensor: &Tensor, count: usize) -> Result<Vec<Tensor>, Error> {
    let len = tensor.bytes().len();
    let step = len.next_multiple_of(LINE);
    let size = step.checked_mul(count);
    let mut memory = huge(size.ok_or(Error::TooLarge(u64::MAX))?)?;
    for copy in 0..count {
        memory[copy * step..][..len].copy_from_slice(tensor.bytes());
    }
    let refused = |_| Error::TooLarge((step * count) as u64);
    let memory = Arc::new(memory.make_read_only().map_err(refused)?);
    let copy = |at: usize| {
        let part = Part {
            memory: memory.clone(),
            range: at * step..at * step + len,
        };
        let format = tensor.format().clone();
        Tensor::of_legal(format, tensor.shape(), Arc::new(part))
    };
    (0..count).map(copy).collect()
}
