//! The bytes of a file: mapped into memory, or owned. The only unsafe code of the readers is the mapping itself.

use memmap2::Mmap;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes of a file.
#[derive(Debug)]
pub(super) enum Source {
    /// Pages of the file, read when they are touched.
    Mapped(Mmap),
    /// Bytes that were given.
    Owned(Vec<u8>),
}

impl AsRef<[u8]> for Source {
    fn as_ref(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map,
            Source::Owned(bytes) => bytes,
        }
    }
}

/// Maps a file for reading. The caller sees to it that the file is neither changed nor made shorter while it is mapped:
/// shorter, a read past its new end ends the process; changed, what was checked may hold no more.
pub(super) fn map(path: &Path) -> io::Result<Source> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if meta.len() == 0 {
        return Ok(Source::Owned(Vec::new()));
    }
    // SAFETY: the map is read-only and private to this value, and it is only ever seen as `&[u8]`. That nobody changes
    // the file meanwhile cannot be checked here: it is a stated duty of whoever opens the file (`TensorFile::open`).
    let map = unsafe { Mmap::map(&file)? };
    Ok(Source::Mapped(map))
}
