//! What candidates are called with: random tensors, weights in the layout of each, and copies of them.

use crate::check::{Random, random_tensor};
use crate::{Error, Kernel, Searcher, Tensor};
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::format::{Format, FormatKind};
use lowbit_compiler::spec::kernel::{Kernel as Spec, Role, TensorId};
use std::sync::Arc;

/// All copies of weights together take no more than this, unless one of each layout does.
pub(crate) const MOST_BYTES: u64 = 900 << 20;

/// Copies of small weights.
pub(crate) const MOST_COPIES: u64 = 1 << 12;

/// Rows of which weights are made up; others repeat them.
pub(crate) const ROWS: u64 = 64;

/// Elements whose codes are searched for; that takes a second or so for a million.
const MOST_SEARCHED: u64 = 1 << 19;

/// Weights in the layouts of some contenders: copies of each tensor.
pub(super) struct Packed {
    pub(super) layouts: Vec<(TensorId, Arc<Format>)>,
    pub(super) copies: Vec<Vec<Tensor>>,
}

/// Random tensors in the declared formats.
pub(crate) fn inputs(kernel: &Kernel, dims: &[u64]) -> Result<Vec<Option<Tensor>>, Error> {
    let spec = kernel.spec();
    let mut random = Random::new(1);
    let mut inputs = Vec::new();
    for (id, tensor) in spec.tensors.iter() {
        inputs.push(match tensor.role {
            Role::Weight | Role::Stored | Role::Input => {
                Some(repeated(kernel, id, dims, &mut random)?)
            }
            Role::Output | Role::Local => None,
        });
    }
    Ok(inputs)
}

/// A random tensor; of a large one some rows over and over, where its bytes are rows one after the other.
fn repeated(
    kernel: &Kernel,
    id: TensorId,
    dims: &[u64],
    random: &mut Random,
) -> Result<Tensor, Error> {
    let spec = kernel.spec();
    let tensor = &spec.tensors[id];
    let shape = crate::check::shape(spec, id, dims);
    let dim = tensor.shape.first().and_then(|e| e.dim());
    let (Some(dim), Some(rows)) = (dim, shape.first().copied()) else {
        return likely(spec, id, dims, random);
    };
    let mut few = dims.to_vec();
    few[dim.as_u32() as usize] = ROWS;
    let small = crate::check::shape(spec, id, &few);
    let bytes = tensor.format.tensor_bytes(&shape);
    let repeats = rows > ROWS
        && bytes.is_some_and(|b| b <= MOST_BYTES)
        && small[0] == ROWS
        && small[1..] == shape[1..];
    if !repeats {
        return likely(spec, id, dims, random);
    }
    let part = likely(spec, id, &few, random)?;
    match with_rows(&part, rows) {
        Some(all) => Ok(all),
        None => likely(spec, id, dims, random),
    }
}

/// As many rows (positions of the first axis), those of a tensor over and over or its first ones; `None` where its bytes are
/// not rows one after the other.
pub(crate) fn with_rows(tensor: &Tensor, rows: u64) -> Option<Tensor> {
    let format = tensor.format();
    let mut shape = tensor.shape().to_vec();
    let before = std::mem::replace(shape.first_mut()?, rows);
    let [head, foot] = match &format.kind {
        FormatKind::Plain(_) => [0, 0],
        FormatKind::Block(block) => block.frame.tensor.map(|n| n as usize),
    };
    let size = format.tensor_bytes(&shape)? as usize;
    let (head, body) = tensor.bytes().split_at_checked(head)?;
    let (body, foot) = body.split_at_checked(body.len().checked_sub(foot)?)?;
    let wanted = size.checked_sub(head.len() + foot.len())?;
    let as_long = wanted as u128 * u128::from(before) == body.len() as u128 * u128::from(rows);
    if !as_long || body.is_empty() && wanted > 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(size);
    bytes.extend(head);
    while bytes.len() < head.len() + wanted {
        let left = head.len() + wanted - bytes.len();
        bytes.extend(&body[..left.min(body.len())]);
    }
    bytes.extend(foot);
    Tensor::from_bytes(format.clone(), &shape, bytes).ok()
}

/// A random tensor with scales as weights have them: tiny ones, of which codes at random have many, make arithmetic slow. A
/// format without an encoder gets the codes of least squared error where they can be found.
fn likely(spec: &Spec, id: TensorId, dims: &[u64], random: &mut Random) -> Result<Tensor, Error> {
    let format = &spec.tensors[id].format;
    let shape = crate::check::shape(spec, id, dims);
    let count = shape.iter().fold(1u64, |n, e| n.saturating_mul(*e));
    let without = matches!(&format.kind, FormatKind::Block(b) if b.encode.is_none());
    if without
        && count <= MOST_SEARCHED
        && let Ok(searcher) = Searcher::new(format)
    {
        let values: Vec<f32> = (0..count).map(|_| random.real()).collect();
        if let Ok(tensor) = searcher.quantize(&shape, &values, None, 1, &|_| {}) {
            return Ok(tensor);
        }
    }
    random_tensor(spec, id, dims, random)
}

/// Weights in the layouts of a kernel: those of another contender, or new ones.
pub(super) fn pack(
    kernel: &Kernel,
    inputs: &[Option<Tensor>],
    packed: &mut Vec<Packed>,
) -> Result<usize, Error> {
    let weights = kernel.spec().tensors.iter();
    let weights = weights.filter(|(_, t)| t.role == Role::Weight);
    let layouts: Vec<_> = weights.map(|(id, _)| (id, kernel.layout_of(id))).collect();
    let same = |p: &Packed| {
        p.layouts
            .iter()
            .zip(&layouts)
            .all(|((_, a), (_, b))| same_layout(a, b))
    };
    if let Some(at) = packed.iter().position(same) {
        return Ok(at);
    }
    let mut first = Vec::new();
    for (id, layout) in &layouts {
        if let Some(tensor) = &inputs[id.as_u32() as usize] {
            let tensor = kernel.convert(&kernel.spec().tensors[*id].name, tensor)?;
            // One layout for all who share it: then calls need not compare two.
            first.push(Tensor::from_bytes(
                layout.clone(),
                tensor.shape(),
                tensor.bytes().to_vec(),
            )?);
        }
    }
    packed.push(Packed {
        layouts,
        copies: vec![first],
    });
    Ok(packed.len() - 1)
}

/// Copies of the weights until they take so many bytes.
pub(super) fn rotate(packed: &mut [Packed], wanted: u64) -> Result<(), Error> {
    let wanted = wanted.min(MOST_BYTES / packed.len().max(1) as u64);
    for set in packed {
        let bytes: u64 = set.copies[0].iter().map(|t| t.bytes().len() as u64).sum();
        let copies = wanted.div_ceil(bytes.max(1)).clamp(1, MOST_COPIES);
        while (set.copies.len() as u64) < copies && bytes > 0 {
            let copy = set.copies[0]
                .iter()
                .map(|t| Tensor::from_bytes(t.format().clone(), t.shape(), t.bytes().to_vec()));
            let copy = copy.collect::<Result<Vec<_>, Error>>()?;
            set.copies.push(copy);
        }
    }
    Ok(())
}
