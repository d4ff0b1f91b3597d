//! Whether a call computes what it should, by the reference interpreter on a part of it.
//!
//! Rows of made-up tensors repeat after some ([`ROWS`]). The interpreter is given the first rows of each; what the call wrote is
//! compared in all columns, since those repeat as well.

use super::Bench;
use crate::check::{CheckError, Comparison, Reference, shape};
use crate::measure::computing;
use crate::measure::data::{MOST_BYTES, ROWS, with_rows};
use crate::{Error, Tensor};
use lowbit_compiler::format::FormatKind;
use lowbit_compiler::spec::kernel::{
    DimId, Expr, Extent, Kernel as Spec, Role, Subscript, Tensor as KernelTensor, TensorId,
};
use std::sync::Arc;

/// Rows of tensors that are no weights.
const FEW: u64 = 2;

/// Points of all statements that the interpreter is given at most.
const MOST: f64 = (1 << 24) as f64;

impl Bench<'_> {
    /// Runs a call and compares its results with the interpreter's, as far as that takes no more than about a second; `None` if
    /// the kernel is not one whose rows can be looked at apart and is too large as a whole.
    pub fn verify(&mut self) -> Result<Option<Comparison>, CheckError> {
        self.calls.time(1, &mut self.next)?;
        let spec = self.kernel.spec();
        let few = few(spec, &self.data.dims);
        let inputs = match cut(spec, &few, &self.data.declared) {
            Some(inputs) => inputs,
            None => return Ok(None),
        };
        let steps = computing(self.program()?, &few);
        if steps
            .iter()
            .map(|(amounts, _, _)| amounts.points)
            .sum::<f64>()
            > MOST
        {
            return Ok(None);
        }
        let mut small = spec.clone();
        for (dim, extent) in small.dims.values_mut().zip(&few) {
            dim.bound = dim.bound.map(|_| *extent);
        }
        let reference = Reference::new(&small, &few, &inputs)?;
        let mut all = Comparison {
            differences: Vec::new(),
            compared: 0,
            worst: 0.0,
        };
        for start in starts(spec, &self.data.dims, &few) {
            let tiles = self.tiles(spec, &few, &start)?;
            let compared = reference.compare(&tiles)?;
            all.compared += compared.compared;
            all.worst = all.worst.max(compared.worst);
            all.differences.extend(compared.differences);
        }
        all.differences.truncate(8);
        Ok(Some(all))
    }

    /// Parts of the outputs as large as the reference's, from a position of the dimensions on.
    fn tiles(&self, spec: &Spec, few: &[u64], start: &[u64]) -> Result<Vec<Tensor>, Error> {
        let outputs = spec.tensors.iter().filter(|(_, t)| t.role == Role::Output);
        let tiles = outputs.zip(self.calls.outputs()).map(|((id, t), bytes)| {
            let all = shape(spec, id, &self.data.dims);
            let wanted = shape(spec, id, few);
            let tile = match &t.format.kind {
                FormatKind::Plain(element) => {
                    let from: Vec<u64> = t
                        .shape
                        .iter()
                        .map(|e| e.dim().map_or(0, |d| start[d.as_u32() as usize]))
                        .collect();
                    let width = element.storage_bytes() as usize;
                    gather(bytes, width, &all, &wanted, &from)
                }
                FormatKind::Block(_) => {
                    let whole = Tensor::of_legal(t.format.clone(), &all, Arc::new(bytes.clone()))?;
                    let first = with_rows(&whole, wanted.first().copied().unwrap_or(1));
                    first.map(|t| t.bytes().to_vec()).unwrap_or_default()
                }
            };
            Tensor::of_legal(t.format.clone(), &wanted, Arc::new(tile))
        });
        tiles.collect()
    }
}

/// Extents that the interpreter is given: of dimensions that only number rows the first few.
fn few(spec: &Spec, dims: &[u64]) -> Vec<u64> {
    let extent = |(id, all): (DimId, &u64)| {
        if !numbers_rows(spec, id) {
            return *all;
        }
        let leads = |role: fn(Role) -> bool| {
            let tensors = spec.tensors.values();
            tensors
                .into_iter()
                .any(|t| role(t.role) && t.shape.first() == Some(&Extent::Dim(id)))
        };
        let most = if leads(Role::is_packed) { ROWS } else { FEW };
        (*all).min(most)
    };
    spec.dims.keys().zip(dims).map(extent).collect()
}

/// Whether a dimension is the first axis wherever it is one of an input, and no result depends on how long it is.
fn numbers_rows(spec: &Spec, dim: DimId) -> bool {
    let is = |e: &Extent| e.dim() == Some(dim);
    let within = |e: &Extent| is(e) || matches!(e, Extent::Quotient(d, _) if *d == dim);
    let apart = spec.tensors.values().all(|t| {
        let plain = matches!(t.format.kind, FormatKind::Plain(_));
        match t.role {
            // Blocks of results lie along the last axis.
            Role::Output if plain => t.shape.iter().all(|e| is(e) || !within(e)),
            Role::Local => true,
            Role::Output | Role::Weight | Role::Stored | Role::Input => {
                !t.shape.iter().skip(1).any(within)
                    && t.shape.first().is_none_or(|e| is(e) || !within(e))
            }
        }
    });
    apart
        && spec.exprs.values().all(|expr| match expr {
            Expr::Dim(d) => *d != dim,
            Expr::Reduce(_, indices, _) => {
                !indices.iter().any(|i| within(&spec.indices[*i].extent))
            }
            Expr::Load(tensor, subscripts) => {
                let axes = spec.tensors[*tensor].shape.iter().zip(subscripts);
                axes.into_iter()
                    .all(|(e, s)| !within(e) || matches!(s, Subscript::Index(_)))
            }
            Expr::Const(_) | Expr::Unary(..) | Expr::Binary(..) | Expr::Select(..) => true,
        })
}

/// The first rows of the inputs; `None` if they cannot be cut off.
fn cut(spec: &Spec, few: &[u64], inputs: &[Option<Tensor>]) -> Option<Vec<Option<Tensor>>> {
    let cut = |(id, input): (TensorId, &Option<Tensor>)| {
        let Some(tensor) = input else {
            return Some(None);
        };
        let wanted = shape(spec, id, few);
        if tensor.shape() == wanted {
            return Some(Some(tensor.clone()));
        }
        with_rows(tensor, *wanted.first()?).map(Some)
    };
    spec.tensors.keys().zip(inputs).map(cut).collect()
}

/// Where the parts of the results begin that are compared: every multiple of the rows after which tensors repeat.
fn starts(spec: &Spec, dims: &[u64], few: &[u64]) -> Vec<Vec<u64>> {
    let plain =
        |t: &KernelTensor| t.role != Role::Output || matches!(t.format.kind, FormatKind::Plain(_));
    // Larger tensors do not repeat rows.
    let bytes = |(id, t): (TensorId, &KernelTensor)| t.format.tensor_bytes(&shape(spec, id, dims));
    let small = |b: Option<u64>| b.is_some_and(|b| b <= MOST_BYTES);
    let repeat = spec.tensors.values().all(plain) && spec.tensors.iter().map(bytes).all(small);
    let mut starts = vec![Vec::new()];
    for (all, few) in dims.iter().zip(few) {
        let repeats = few < all && repeat;
        let places = if repeats { all.div_ceil(ROWS) } else { 1 };
        let longer = |start: &Vec<u64>| {
            let start = start.clone();
            (0..places).map(move |p| [start.as_slice(), &[p * ROWS]].concat())
        };
        starts = starts.iter().flat_map(longer).collect();
    }
    starts
}

/// Elements of a tensor from a position on; what lies outside is that of the first rows.
fn gather(bytes: &[u8], width: usize, all: &[u64], wanted: &[u64], from: &[u64]) -> Vec<u8> {
    let count: u64 = wanted.iter().product();
    let mut tile = Vec::with_capacity(count as usize * width);
    for number in 0..count {
        let (mut rest, mut at, mut stride) = (number, 0, 1);
        for axis in (0..wanted.len()).rev() {
            let within = rest % wanted[axis];
            rest /= wanted[axis];
            let position = from[axis] + within;
            at += stride
                * if position < all[axis] {
                    position
                } else {
                    within
                };
            stride *= all[axis];
        }
        tile.extend(&bytes[at as usize * width..][..width]);
    }
    tile
}
