//! Binds dimensions of a kernel to numbers.

use super::kernel::{Dim, Expr, Extent, Kernel, Subscript};

/// Largest extent.
const MAX_EXTENT: u64 = 1 << 32;

/// Why dimensions cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The kernel has no such dimension.
    #[error("kernel `{kernel}` has no dimension `{name}`; it has {known}")]
    Unknown {
        /// The kernel.
        kernel: String,
        /// The name given.
        name: String,
        /// The names that it has.
        known: String,
    },
    /// A dimension is given two extents.
    #[error("dimension `{name}` is bound to {old}, so it cannot be {new}")]
    Conflict {
        /// Its name.
        name: String,
        /// The extent that it has.
        old: u64,
        /// The extent given.
        new: u64,
    },
    /// An extent is too large.
    #[error("dimension `{name}` = {extent} is larger than 2^32")]
    TooLarge {
        /// Its name.
        name: String,
        /// The extent given.
        extent: u64,
    },
    /// A fixed subscript lies outside.
    #[error("`{tensor}` is read at position {position} of an axis of extent {extent}")]
    Outside {
        /// The tensor.
        tensor: String,
        /// The subscript.
        position: u64,
        /// The extent of its axis.
        extent: u64,
    },
}

/// The kernel with some dimensions bound.
pub fn bind(kernel: &Kernel, dims: &[(&str, u64)]) -> Result<Kernel, BindError> {
    let mut kernel = kernel.clone();
    for (name, extent) in dims {
        if *extent > MAX_EXTENT {
            return Err(BindError::TooLarge {
                name: name.to_string(),
                extent: *extent,
            });
        }
        let known = || {
            kernel
                .dims
                .values()
                .map(|d| d.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let Some((id, Dim { bound, .. })) = kernel.dims.iter().find(|(_, d)| d.name == *name)
        else {
            return Err(BindError::Unknown {
                kernel: kernel.name.clone(),
                name: name.to_string(),
                known: known(),
            });
        };
        match bound {
            Some(old) if old != extent => {
                return Err(BindError::Conflict {
                    name: name.to_string(),
                    old: *old,
                    new: *extent,
                });
            }
            _ => kernel.dims[id].bound = Some(*extent),
        }
    }
    check_positions(&kernel, &|e| e.value(|d| kernel.dims[d].bound))?;
    Ok(kernel)
}

/// Checks that fixed subscripts lie within their axes, as far as extents are known.
///
/// # Errors
/// [`BindError::Outside`] for the first that does not.
pub fn check_positions(
    kernel: &Kernel,
    extent: &dyn Fn(Extent) -> Option<u64>,
) -> Result<(), BindError> {
    let check = |t, subscripts: &[Subscript]| {
        let tensor = &kernel.tensors[t];
        for (s, e) in subscripts.iter().zip(&tensor.shape) {
            if let (Subscript::Const(position), Some(extent)) = (s, extent(*e))
                && *position >= extent
            {
                return Err(BindError::Outside {
                    tensor: tensor.name.clone(),
                    position: *position,
                    extent,
                });
            }
        }
        Ok(())
    };
    for e in kernel.exprs.values() {
        if let Expr::Load(t, subscripts) = e {
            check(*t, subscripts)?;
            for s in subscripts {
                if let Subscript::Gather(g, inner) = s {
                    check(*g, inner)?;
                }
            }
        }
    }
    Ok(())
}
