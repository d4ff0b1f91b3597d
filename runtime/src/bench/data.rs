//! What a kernel is called on: random tensors, and copies of its weights in the layouts that it chose.

use super::memory;
use crate::call::{batch, batches};
use crate::measure::data::{MOST_COPIES, inputs};
use crate::measure::dims_to_measure;
use crate::{Error, Kernel, Tensor};
use lowbit_compiler::spec::kernel::{DimId, TensorId};

/// Tensors for calls of a kernel with some number of rows.
#[derive(Clone, Debug)]
pub struct Data {
    pub(super) rows: u64,
    pub(super) dims: Vec<u64>,
    /// What a call is given, in the declared formats, by tensor.
    pub(super) declared: Vec<Option<Tensor>>,
    /// Weights in the kernel's layouts, each as many times as there are copies.
    packed: Vec<(TensorId, Vec<Tensor>)>,
}

impl Data {
    /// Random tensors, with `rows` as the extent of all free dimensions, and copies of the weights until they take `streamed`
    /// bytes ([`STREAMED`](super::STREAMED): more than caches hold); one copy if that is 0.
    ///
    /// # Errors
    /// [`Error::Elsewhere`] if code for the target does not run here; [`Error::Argument`] if the extents of a weight are free.
    pub fn new(kernel: &Kernel, rows: u64, streamed: u64) -> Result<Data, Error> {
        let dims = dims_to_measure(kernel, rows)?;
        let declared = inputs(kernel, &dims)?;
        let mut packed = Vec::new();
        for (id, tensor) in kernel.spec().tensors.iter() {
            let weight = declared[id.as_u32() as usize].as_ref();
            if let Some(weight) = weight.filter(|_| tensor.role.is_packed()) {
                packed.push((id, kernel.convert(&tensor.name, weight)?));
            }
        }
        let bytes: u64 = packed.iter().map(|(_, t)| t.bytes().len() as u64).sum();
        let copies = match streamed {
            0 => 1,
            _ => streamed.div_ceil(bytes.max(1)).clamp(2, MOST_COPIES),
        };
        let all =
            |(id, tensor): &(TensorId, Tensor)| Ok((*id, memory::copies(tensor, copies as usize)?));
        Ok(Data {
            rows: rows_of(kernel, rows, &dims),
            dims,
            packed: packed.iter().map(all).collect::<Result<_, Error>>()?,
            declared,
        })
    }

    /// The same weights, for calls with another number of rows.
    pub fn with_rows(&self, kernel: &Kernel, rows: u64) -> Result<Data, Error> {
        let dims = dims_to_measure(kernel, rows)?;
        Ok(Data {
            rows: rows_of(kernel, rows, &dims),
            declared: inputs(kernel, &dims)?,
            dims,
            packed: self.packed.clone(),
        })
    }

    /// Bytes of the weights, one copy of each.
    pub fn weight_bytes(&self) -> u64 {
        self.first().map(|t| t.bytes().len() as u64).sum()
    }

    /// One copy of each weight.
    fn first(&self) -> impl Iterator<Item = &Tensor> {
        self.packed.iter().filter_map(|(_, copies)| copies.first())
    }

    /// Elements of all weights.
    pub(super) fn weight_elements(&self) -> f64 {
        self.first()
            .map(|t| t.shape().iter().map(|e| *e as f64).product::<f64>())
            .sum()
    }

    /// How many copies of the weights there are.
    pub fn copies(&self) -> usize {
        self.packed.first().map_or(1, |(_, copies)| copies.len())
    }

    /// What a call on a copy of the weights is given for a tensor.
    pub(super) fn tensor(&self, copy: usize, id: TensorId) -> Option<&Tensor> {
        match self.packed.iter().find(|(weight, _)| *weight == id) {
            Some((_, copies)) => copies.get(copy),
            None => self.declared.get(id.as_u32() as usize)?.as_ref(),
        }
    }
}

/// The rows that a call has: those of its batch, or those asked for where only other dimensions are free.
fn rows_of(kernel: &Kernel, rows: u64, dims: &[u64]) -> u64 {
    let all = &kernel.spec().dims;
    let free = |dim: DimId| all[dim].bound.is_none();
    let of_batch = kernel.program().is_ok_and(|p| {
        let mut extents = batches(p);
        extents.any(|extent| extent.dim().is_some_and(free))
    });
    if of_batch || !all.keys().any(free) {
        batch(kernel, dims)
    } else {
        rows
    }
}
