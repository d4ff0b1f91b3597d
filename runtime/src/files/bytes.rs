//! A cursor over the bytes of a file: every read is checked, every number is little endian.
#![forbid(unsafe_code)]

use super::FileError;

/// A position in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At an offset; past the end, every read fails.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor {
            bytes,
            at: at.min(bytes.len()),
        }
    }

    /// The offset in the file.
    pub(super) fn offset(&self) -> u64 {
        self.at as u64
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// The next bytes.
    pub(super) fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], FileError> {
        if count > self.left() {
            return Err(FileError::Truncated {
                what,
                offset: self.offset(),
                wanted: count,
                left: self.left(),
            });
        }
        let start = self.at;
        self.at += count as usize;
        Ok(&self.bytes[start..self.at])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], FileError> {
        let bytes = self.take(N as u64, what)?;
        let mut out = [0; N];
        out.copy_from_slice(bytes);
        Ok(out)
    }

    /// The next byte.
    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, FileError> {
        Ok(self.array::<1>(what)?[0])
    }

    /// Two bytes.
    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, FileError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Four bytes.
    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, FileError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Eight bytes.
    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, FileError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// An error at an offset.
    pub(super) fn malformed<T>(
        &self,
        offset: u64,
        what: impl Into<String>,
    ) -> Result<T, FileError> {
        Err(FileError::Malformed {
            what: what.into(),
            offset,
        })
    }
}

/// Elements of a shape; `None` if they cannot be counted.
pub(super) fn elements(shape: &[u64]) -> Option<u64> {
    // Without the zero extents, so that no order of the factors overflows where another does not.
    let count = shape
        .iter()
        .filter(|n| **n != 0)
        .try_fold(1u64, |a, b| a.checked_mul(*b))?;
    Some(if shape.contains(&0) { 0 } else { count })
}
