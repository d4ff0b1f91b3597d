//! Memory for weights: from a page on, and in huge pages where the system has them. With small ones a stream from memory is
//! limited by the look-up of their addresses.
#![forbid(unsafe_code)]

use crate::{Error, SharedBytes};
use memmap2::MmapMut;
use std::ops::Range;
use std::sync::Arc;

/// Bytes from which on memory is taken in pages of its own.
const OWN_PAGES: usize = 1 << 16;

/// Bytes that are written once and then shared.
pub(crate) enum Memory {
    /// A few, from the allocator.
    Few(Vec<u8>),
    /// Pages of their own.
    Pages(MmapMut),
}

impl Memory {
    /// So many zeros.
    pub(crate) fn zeroed(bytes: usize) -> Result<Memory, Error> {
        if bytes < OWN_PAGES {
            return Ok(Memory::Few(vec![0; bytes]));
        }
        let pages = MmapMut::map_anon(bytes).map_err(|_| Error::TooLarge(bytes as u64))?;
        // Where there are none, or not that many, it is in small pages.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        Ok(Memory::Pages(pages))
    }

    /// The bytes, to be written.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        match self {
            Memory::Few(bytes) => bytes,
            Memory::Pages(pages) => pages,
        }
    }

    /// The bytes as they are now, for good.
    pub(crate) fn share(self) -> Result<SharedBytes, Error> {
        Ok(match self {
            Memory::Few(bytes) => Arc::new(bytes),
            Memory::Pages(pages) => {
                let size = pages.len() as u64;
                let fixed = pages.make_read_only();
                Arc::new(fixed.map_err(|_| Error::TooLarge(size))?)
            }
        })
    }
}

/// Some of the bytes that others share.
pub(crate) struct Part {
    pub(crate) all: SharedBytes,
    pub(crate) range: Range<usize>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &(*self.all).as_ref()[self.range.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, OWN_PAGES};

    #[test]
    fn memory_is_zeroed_and_keeps_what_is_written() {
        for size in [0, 1, OWN_PAGES - 1, OWN_PAGES, 3 * OWN_PAGES + 5] {
            let mut memory = Memory::zeroed(size).expect("memory");
            assert!(memory.bytes().iter().all(|b| *b == 0));
            assert_eq!(memory.bytes().len(), size);
            if let Some(last) = memory.bytes().last_mut() {
                *last = 7;
            }
            let shared = memory.share().expect("the same bytes");
            assert_eq!((*shared).as_ref().last().copied(), (size > 0).then_some(7));
        }
    }

    #[test]
    fn much_memory_begins_on_a_line_of_the_caches() {
        let shared = Memory::zeroed(OWN_PAGES).and_then(Memory::share);
        let shared = shared.expect("memory");
        assert_eq!((*shared).as_ref().as_ptr() as usize % 64, 0);
    }
}
