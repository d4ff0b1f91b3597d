//! Checks: a kernel beside the reference interpreter, on given or on random data. The command line and the tests use it;
//! so can the tests of your own kernels.

use crate::{Error, Kernel, Tensor};
use lowbit_compiler::format::sums::fill_sums;
use lowbit_compiler::format::{BlockFormat, Element, Format, FormatKind};
use lowbit_compiler::spec::interp::{Evaluated, InterpError, evaluate};
use lowbit_compiler::spec::kernel::{Expr, Extent, Kernel as Spec, Role, Subscript, TensorId};
use std::sync::Arc;
use thiserror::Error as ThisError;

/// Why a kernel could not be checked.
#[derive(Debug, ThisError)]
pub enum CheckError {
    /// The call failed.
    #[error(transparent)]
    Call(#[from] Error),
    /// The interpreter failed.
    #[error(transparent)]
    Reference(#[from] InterpError),
}

/// A small generator of repeatable random numbers (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed; any seed will do.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    /// A number below `n`; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        (self.number() >> 11).checked_rem(n).unwrap_or(0)
    }
    /// One of a list, which must not be empty.
    pub fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len() as u64) as usize]
    }
    /// A value about 1 in size; now and then 0.
    pub fn real(&mut self) -> f32 {
        if self.below(16) == 0 {
            return 0.0;
        }
        (self.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0) * 2.0
    }
}

/// The extents of all dimensions: bound ones, and those of free ones in order.
pub fn extents(spec: &Spec, free: &[u64]) -> Vec<u64> {
    let mut free = free.iter();
    spec.dims
        .values()
        .map(|d| d.bound.unwrap_or_else(|| free.next().copied().unwrap_or(1)))
        .collect()
}

/// The shape of a tensor for given extents.
pub fn shape(spec: &Spec, id: TensorId, dims: &[u64]) -> Vec<u64> {
    let extent = |e: &Extent| e.value(|d| dims.get(d.as_u32() as usize).copied());
    let shape = spec.tensors[id].shape.iter();
    shape.map(|e| extent(e).unwrap_or(1)).collect()
}

/// Most elements, and most bytes, of a tensor that is made up.
const MOST: u64 = 1 << 32;

/// A random tensor in the format that a kernel declares: quantised values where the format can, random codes elsewhere;
/// indices within the axes that they index.
pub fn random_tensor(
    spec: &Spec,
    id: TensorId,
    dims: &[u64],
    random: &mut Random,
) -> Result<Tensor, Error> {
    let format = &spec.tensors[id].format;
    let shape = shape(spec, id, dims);
    let count = shape.iter().try_fold(1u64, |n, e| n.checked_mul(*e));
    let bytes = format.tensor_bytes(&shape).unwrap_or(u64::MAX);
    let count = match count {
        Some(count) if count <= MOST && bytes <= MOST => count,
        _ => return Err(Error::TooLarge(bytes)),
    };
    if let Some(extent) = indexed(spec, id, dims) {
        let bytes = index_bytes(format, count, extent, random);
        return Tensor::from_bytes(format.clone(), &shape, bytes);
    }
    if let FormatKind::Plain(element) = &format.kind {
        let bytes = plain_bytes(element, count, random);
        return Tensor::from_bytes(format.clone(), &shape, bytes);
    }
    let values: Vec<f32> = (0..count).map(|_| random.real()).collect();
    if let Ok(tensor) = Tensor::quantize(format.clone(), &shape, &values) {
        return Ok(tensor);
    }
    // A format that is only read: any codes, scales of moderate size.
    let bytes = format.tensor_bytes(&shape).unwrap_or(0);
    let mut bytes: Vec<u8> = (0..bytes).map(|_| random.number() as u8 & 0x3f).collect();
    if let FormatKind::Block(block) = &format.kind {
        make_legal(block, &shape, &mut bytes);
        fill_sums(block, &shape, &mut bytes)?;
    }
    Tensor::from_bytes(format.clone(), &shape, bytes)
}

/// Puts a code that a format has in the place of every one that it refuses.
fn make_legal(format: &BlockFormat, shape: &[u64], bytes: &mut [u8]) {
    let refusing = format.fields.values().filter(|f| f.element.refuses());
    for field in refusing {
        let codes = 0..1u32 << field.element.bits();
        let legal: Vec<u32> = codes.filter(|c| field.element.is_legal(*c)).collect();
        for start in format.block_starts(shape) {
            let block = &mut bytes[start..];
            for slot in 0..field.slots() {
                let code = field.read(block, slot);
                if !field.element.is_legal(code) {
                    field.write(block, slot, legal[code as usize % legal.len()]);
                }
            }
        }
    }
}

/// The smallest extent that a tensor indexes, if it is used as an index.
fn indexed(spec: &Spec, id: TensorId, dims: &[u64]) -> Option<u64> {
    let mut extents = Vec::new();
    for expr in spec.exprs.values() {
        let Expr::Load(tensor, subscripts) = expr else {
            continue;
        };
        let shape = shape(spec, *tensor, dims);
        let hits = subscripts
            .iter()
            .zip(shape)
            .filter(|(s, _)| matches!(s, Subscript::Gather(t, _) if *t == id));
        extents.extend(hits.map(|(_, e)| e));
    }
    extents.into_iter().min()
}

fn width(element: &Element) -> usize {
    element.bits().div_ceil(8).next_power_of_two() as usize
}

fn index_bytes(format: &Format, count: u64, extent: u64, random: &mut Random) -> Vec<u8> {
    let FormatKind::Plain(element) = &format.kind else {
        return Vec::new();
    };
    (0..count)
        .flat_map(|_| random.below(extent.min(100)).to_le_bytes()[..width(element)].to_vec())
        .collect()
}

fn plain_bytes(element: &Element, count: u64, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..count {
        let code = match element {
            Element::Float(_) | Element::Codebook(_) => element.encode(random.real()),
            Element::Int { bits } | Element::UInt { bits } if *bits > 8 => {
                random.below(1000.min(1 << (*bits).min(31))) as u32
            }
            Element::Int { bits } => (random.number() as u32) & ((1 << bits) - 1),
            Element::UInt { bits } => (random.number() as u32) & ((1 << bits) - 1),
        };
        // Bits above the code's are not the format's: they must not matter.
        let above = u64::MAX.checked_shl(element.bits()).unwrap_or(0);
        let dirty = u64::from(code) | random.number() & above;
        bytes.extend(&dirty.to_le_bytes()[..width(element)]);
    }
    bytes
}

/// A run of a kernel beside the interpreter.
#[derive(Debug)]
pub struct Comparison {
    /// What differed, in words; empty if nothing did.
    pub differences: Vec<String>,
    /// Results compared.
    pub compared: usize,
    /// The largest |machine - reference| relative to the bound (0 where both are exact).
    pub worst: f64,
}

/// Runs a kernel on random data and compares every result with the reference interpreter's. `free` are the extents of the
/// dimensions that are free, in order.
pub fn compare(
    kernel: &Kernel,
    free: &[u64],
    random: &mut Random,
) -> Result<Comparison, CheckError> {
    let dims = extents(kernel.spec(), free);
    let inputs = random_inputs(kernel.spec(), &dims, random)?;
    compare_on(kernel, &dims, &inputs)
}

/// Random tensors for everything that a call takes, by tensor, in the declared formats.
pub fn random_inputs(
    spec: &Spec,
    dims: &[u64],
    random: &mut Random,
) -> Result<Vec<Option<Tensor>>, Error> {
    spec.tensors
        .iter()
        .map(|(id, tensor)| match tensor.role {
            Role::Weight | Role::Stored | Role::Input => {
                random_tensor(spec, id, dims, random).map(Some)
            }
            Role::Output | Role::Local => Ok(None),
        })
        .collect()
}

/// Runs a kernel on given data (by tensor, in the declared formats) and compares.
pub fn compare_on(
    kernel: &Kernel,
    dims: &[u64],
    inputs: &[Option<Tensor>],
) -> Result<Comparison, CheckError> {
    let reference = Reference::new(kernel.spec(), dims, inputs)?;
    let outputs = kernel.call_all(&borrow(&converted(kernel, inputs)?))?;
    let outputs: Vec<Tensor> = outputs.into_iter().map(|(_, output)| output).collect();
    Ok(reference.compare(&outputs)?)
}

/// What the reference interpreter says of a kernel on given data.
#[derive(Debug)]
pub struct Reference {
    /// For each output its name, its shape and what was evaluated.
    outputs: Vec<(String, Arc<Format>, Vec<u64>, Evaluated)>,
}

impl Reference {
    /// Evaluates a kernel on given data (by tensor, in the declared formats).
    pub fn new(
        spec: &Spec,
        dims: &[u64],
        inputs: &[Option<Tensor>],
    ) -> Result<Reference, InterpError> {
        let bytes: Vec<Option<&[u8]>> = inputs
            .iter()
            .map(|t| t.as_ref().map(Tensor::bytes))
            .collect();
        let named = |(id, evaluated)| {
            let tensor = &spec.tensors[id];
            let format = tensor.format.clone();
            (
                tensor.name.clone(),
                format,
                shape(spec, id, dims),
                evaluated,
            )
        };
        let outputs = evaluate(spec, dims, &bytes)?.into_iter().map(named);
        Ok(Reference {
            outputs: outputs.collect(),
        })
    }

    /// Formats and shapes of the outputs, in the order declared.
    pub fn outputs(&self) -> impl Iterator<Item = (&Arc<Format>, &[u64])> {
        self.outputs.iter().map(|(_, f, s, _)| (f, s.as_slice()))
    }

    /// What was evaluated of each output, in the order declared.
    pub fn evaluated(&self) -> impl Iterator<Item = &Evaluated> {
        self.outputs.iter().map(|(_, _, _, evaluated)| evaluated)
    }

    /// Compares outputs, in the order declared.
    pub fn compare(&self, outputs: &[Tensor]) -> Result<Comparison, Error> {
        let mut comparison = Comparison {
            differences: Vec::new(),
            compared: 0,
            worst: 0.0,
        };
        for ((name, format, _, evaluated), output) in self.outputs.iter().zip(outputs) {
            compare_output(name, output, format, evaluated, &mut comparison)?;
        }
        Ok(comparison)
    }
}

/// Inputs by name, weights in the kernel's layouts.
pub fn converted(
    kernel: &Kernel,
    inputs: &[Option<Tensor>],
) -> Result<Vec<(String, Tensor)>, Error> {
    let given = kernel
        .spec()
        .tensors
        .values()
        .zip(inputs)
        .filter_map(|(declared, t)| Some((declared, t.as_ref()?)));
    given
        .map(|(declared, t)| Ok((declared.name.clone(), kernel.convert(&declared.name, t)?)))
        .collect()
}

/// Named tensors as the arguments of a call.
pub fn borrow(tensors: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
    tensors.iter().map(|(n, t)| (n.as_str(), t)).collect()
}

fn compare_output(
    name: &str,
    output: &Tensor,
    format: &Arc<Format>,
    reference: &Evaluated,
    into: &mut Comparison,
) -> Result<(), Error> {
    if reference.bound.iter().all(|b| *b == 0.0) && output.bytes() == reference.bytes {
        into.compared += reference.values.len();
        return Ok(());
    }
    let decoded = exact_values(output)?;
    // The reference's own rounding on storing counts: an output format may be narrower than f32.
    let stored = Tensor::from_bytes(format.clone(), output.shape(), reference.bytes.clone());
    let stored = exact_values(&stored?)?;
    for (at, (found, wanted)) in decoded.iter().zip(&stored).enumerate() {
        into.compared += 1;
        let (value, bound) = (reference.values[at], reference.bound[at]);
        let same = found == wanted || (found.is_nan() && wanted.is_nan());
        let error = (found - value).abs();
        let step = (wanted - value).abs();
        // The laws of real numbers that kernels are rewritten by do not hold beyond them: what may overflow or is infinite
        // has no bound, and what is not a number may come out infinite.
        let beyond = bound.is_infinite() || value.is_nan() && !found.is_finite();
        if same || beyond || error <= bound + step + step * 1e-6 {
            if bound > 0.0 && bound.is_finite() {
                into.worst = into.worst.max(error / (bound + step));
            }
            continue;
        }
        if into.differences.len() < 5 {
            into.differences.push(format!(
                "{name}[{at}]: {found}, but {value} (stored {wanted}) with bound {bound:e}"
            ));
        }
    }
    Ok(())
}

fn exact_values(tensor: &Tensor) -> Result<Vec<f64>, Error> {
    Ok(match &tensor.format().kind {
        FormatKind::Plain(element) => tensor
            .bytes()
            .chunks_exact(width(element))
            .map(|c| {
                element.decode(
                    c.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b)) & mask(element),
                )
            })
            .collect(),
        FormatKind::Block(_) => tensor.to_f32()?.into_iter().map(f64::from).collect(),
    })
}

fn mask(element: &Element) -> u32 {
    u32::MAX >> (32 - element.bits())
}
