//! The identity of a kernel: what figures that were measured for it are kept under.

use super::kernel::Kernel;
use crate::format::text::definition;
use crate::hash::{SEED, fnv};
use std::fmt;

/// Equal for two kernels if their texts mean the same, name for name, with the same dimensions bound; the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelId(pub u64);

impl fmt::Display for KernelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Kernel {
    /// Its identity: that of its statements, its bound dimensions, and the definitions of its formats.
    pub fn id(&self) -> KernelId {
        let formats = self.tensors.values().map(|t| definition(&t.format));
        let texts = std::iter::once(format!("{:?}\n{self}", self.tables)).chain(formats);
        KernelId(texts.fold(SEED, |hash, text| fnv(text.as_bytes(), hash)))
    }
}
