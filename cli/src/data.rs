//! Tensors of the command line: from files (`w=model.gguf:blk.0.attn_k.weight`, `x=row.npy`), or generated.

use crate::Failure;
use crate::weights::{Place, place};
use lowbit::check::{Random, random_tensor, shape};
use lowbit::compiler::format::layout::layout_id;
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::spec::kernel::{Extent, Kernel as Spec, Role};
use lowbit::{Kernel, Tensor};
use std::sync::Arc;

/// A tensor from a file, for a tensor of a kernel.
#[derive(Clone)]
pub(crate) struct Given {
    name: String,
    place: Place,
}

/// `NAME=FILE[:TENSOR]`
pub(crate) fn given(text: &str) -> Result<Given, String> {
    let (name, rest) = text
        .split_once('=')
        .ok_or("write NAME=FILE or NAME=FILE:TENSOR")?;
    Ok(Given {
        name: name.to_owned(),
        place: place(rest)?,
    })
}

impl Given {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Maps the file and takes the tensor; or reads it, if `lowbit pack` wrote it.
    pub(crate) fn load(&self) -> Result<Tensor, Failure> {
        self.place.load(&format!("{}=", self.name))
    }
}

/// What a kernel is run on.
pub(crate) struct Inputs {
    /// Extents of all dimensions.
    pub(crate) dims: Vec<u64>,
    /// Tensors by position, in the declared formats.
    pub(crate) tensors: Vec<Option<Tensor>>,
    /// How many of them were generated.
    pub(crate) generated: usize,
}

/// Extents that the shapes of given tensors and the command line imply, by name of dimension.
pub(crate) fn extents(
    spec: &Spec,
    given: &[(String, Tensor)],
    bound: &[(String, u64)],
) -> Vec<(String, u64)> {
    let mut dims: Vec<(String, u64)> = bound.to_vec();
    for (name, tensor) in given {
        let Some(declared) = spec.tensors.values().find(|t| t.name == *name) else {
            continue;
        };
        for (extent, found) in declared.shape.iter().zip(tensor.shape()) {
            if let Extent::Dim(d) = extent {
                let dim = &spec.dims[*d].name;
                if !dims.iter().any(|(n, _)| n == dim) {
                    dims.push((dim.clone(), *found));
                }
            }
        }
    }
    // Where groups alone are given, they are taken to be whole.
    for (name, tensor) in given {
        let declared = spec.tensors.values().find(|t| t.name == *name);
        let shape = declared.map(|t| t.shape.as_slice()).unwrap_or_default();
        for (extent, found) in shape.iter().zip(tensor.shape()) {
            if let Extent::Quotient(d, by) = extent {
                let dim = &spec.dims[*d].name;
                if !dims.iter().any(|(n, _)| n == dim) {
                    dims.push((dim.clone(), found.saturating_mul(*by)));
                }
            }
        }
    }
    dims
}

/// Gathers the inputs of a kernel: given ones converted to the declared format if they are plain values, the rest generated.
pub(crate) fn inputs(
    kernel: &Kernel,
    given: Vec<(String, Tensor)>,
    dims: &[(String, u64)],
    seed: u64,
) -> Result<Inputs, Failure> {
    let spec = kernel.spec();
    let dims: Vec<u64> = spec
        .dims
        .values()
        .map(|d| {
            d.bound
                .or_else(|| dims.iter().find(|(n, _)| *n == d.name).map(|(_, e)| *e))
                .unwrap_or(1)
        })
        .collect();
    let mut random = Random::new(seed);
    let (mut tensors, mut generated) = (Vec::new(), 0);
    for name in given.iter().map(|(n, _)| n) {
        if !spec
            .tensors
            .values()
            .any(|t| t.name == *name && t.role != Role::Local)
        {
            let names: Vec<&str> = spec.tensors.values().map(|t| t.name.as_str()).collect();
            return Err(Failure::Input(format!(
                "the kernel has no tensor `{name}`; it has {}",
                names.join(", ")
            )));
        }
    }
    for (id, declared) in spec.tensors.iter() {
        if matches!(declared.role, Role::Output | Role::Local) {
            tensors.push(None);
            continue;
        }
        let tensor = match given.iter().find(|(n, _)| *n == declared.name) {
            Some((_, tensor)) => brought(kernel, &declared.name, &declared.format, tensor)?,
            None => {
                generated += 1;
                random_tensor(spec, id, &dims, &mut random)?
            }
        };
        let wanted = shape(spec, id, &dims);
        if tensor.shape() != wanted {
            let (name, found) = (&declared.name, tensor.shape());
            return Err(Failure::Input(format!(
                "tensor `{name}` has shape {found:?}, but the kernel wants {wanted:?}"
            )));
        }
        tensors.push(Some(tensor));
    }
    Ok(Inputs {
        dims,
        tensors,
        generated,
    })
}

/// A tensor in the declared format: as it is, from a layout that a kernel chose, or quantised if it holds plain values.
fn brought(
    kernel: &Kernel,
    name: &str,
    wanted: &Arc<Format>,
    tensor: &Tensor,
) -> Result<Tensor, Failure> {
    let same = tensor.layout_id() == layout_id(wanted);
    match tensor.format().kind {
        FormatKind::Plain(_) if !same => Ok(Tensor::quantize(
            wanted.clone(),
            tensor.shape(),
            &tensor.to_f32()?,
        )?),
        FormatKind::Plain(_) | FormatKind::Block(_) => Ok(kernel.unpack(name, tensor)?),
    }
}
