//! Calls: every name, shape, format, length and index is checked before machine code runs.

use crate::kernel::{Made, layout_error};
use crate::{Error, Kernel, Tensor};
use lowbit_compiler::codegen::MachineCode;
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::format::{Element, FormatKind};
use lowbit_compiler::lower::trips;
use lowbit_compiler::pipeline::Program;
use lowbit_compiler::rewrite::facts::FREE_REDUCTION;
use lowbit_compiler::schedule::normal::Step;
use lowbit_compiler::spec::check_positions;
use lowbit_compiler::spec::kernel::{
    Expr, Extent, IndexId, Kernel as Spec, Role, Subscript, TensorId,
};
use lowbit_compiler::vector::ir::{ParamKind, Scalar};
use smallvec::SmallVec;
use std::sync::Arc;

/// Memory for intermediates, kept between calls so that they need not allocate.
#[derive(Debug, Default)]
pub struct Scratch {
    buffers: Vec<Vec<u64>>,
    /// What code was passed last.
    words: Vec<u64>,
}

/// What code is passed for a parameter: the address of a buffer, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// The address of these bytes, which are only read.
    Input(&'a [u8]),
    /// The address of an output, by its position.
    Output(usize),
    /// The address of this many bytes for intermediates.
    Scratch(u64),
    /// This number.
    Number(u64),
}

/// A call whose arguments were checked.
pub struct Prepared<'a> {
    kernel: &'a Kernel,
    made: &'a Made,
    batch: u64,
    inputs: Few<Option<&'a Tensor>>,
    dims: Few<u64>,
}

/// As many as kernels usually have, without memory of their own: a call allocates nothing.
type Few<T> = SmallVec<[T; 8]>;

/// Addresses and lengths of outputs.
type Outputs = SmallVec<[(*mut u8, usize); 4]>;

/// A part of a call: some rows of the results. Parts of one call write disjoint memory and can run on any thread.
pub struct Rows<'c, 'a> {
    prepared: &'c Prepared<'a>,
    outputs: Outputs,
    from: u64,
    to: u64,
    _borrow: std::marker::PhantomData<&'c mut [u8]>,
}

// SAFETY: a part owns its share of the borrowed outputs: code for disjoint ranges writes disjoint bytes, and reads only
// inputs, which are shared.
unsafe impl Send for Rows<'_, '_> {}

/// An output: its tensor, shape and zeroed bytes.
pub(crate) type Output = (TensorId, Vec<u64>, Vec<u8>);

/// Largest buffer that a call makes.
const LARGEST: u64 = 1 << 40;

impl<'a> Prepared<'a> {
    pub(crate) fn new(
        kernel: &'a Kernel,
        args: &[(&str, &'a Tensor)],
    ) -> Result<Prepared<'a>, Error> {
        let spec = kernel.spec();
        let mut inputs: Few<Option<&'a Tensor>> = SmallVec::from_elem(None, spec.tensors.len());
        let mut dims: Few<Option<u64>> = spec.dims.values().map(|d| d.bound).collect();
        for (name, tensor) in args {
            let argument = |what: String| Error::Argument {
                name: (*name).into(),
                what,
            };
            let id = kernel.tensor_id(name)?;
            let declared = &spec.tensors[id];
            if declared.role == Role::Output {
                return Err(argument("is an output".into()));
            }
            let wanted = kernel.layout_of(id);
            if !Arc::ptr_eq(&wanted, tensor.format()) && !same_layout(&wanted, tensor.format()) {
                return Err(layout_error(name, tensor, &wanted));
            }
            if tensor.shape().len() != declared.shape.len() {
                return Err(argument(format!(
                    "has {} axes, not {}",
                    tensor.shape().len(),
                    declared.shape.len()
                )));
            }
            for (axis, (extent, found)) in declared.shape.iter().zip(tensor.shape()).enumerate() {
                let wanted = match extent {
                    Extent::Const(c) => *c,
                    Extent::Dim(d) => *dims[d.as_u32() as usize].get_or_insert(*found),
                    // Its dimension may only be known when all arguments are.
                    Extent::Quotient(..) => continue,
                };
                if wanted != *found {
                    let dim = match extent {
                        Extent::Const(_) => String::new(),
                        Extent::Dim(_) | Extent::Quotient(..) => {
                            format!(" (dimension `{}`)", spec.extent_text(*extent))
                        }
                    };
                    return Err(argument(format!(
                        "axis {axis} is {found}, not {wanted}{dim}"
                    )));
                }
            }
            let slot = &mut inputs[id.as_u32() as usize];
            if slot.replace(tensor).is_some() {
                return Err(argument("is given twice".into()));
            }
        }
        for (id, tensor) in spec.tensors.iter() {
            let given = matches!(tensor.role, Role::Output | Role::Local)
                || inputs[id.as_u32() as usize].is_some();
            if !given {
                return Err(Error::Argument {
                    name: tensor.name.clone(),
                    what: "is missing".into(),
                });
            }
        }
        let dims = spec
            .dims
            .iter()
            .map(|(id, dim)| {
                dims[id.as_u32() as usize].ok_or_else(|| Error::Argument {
                    name: dim.name.clone(),
                    what: "this dimension is in no argument; bind it when compiling".into(),
                })
            })
            .collect::<Result<Few<u64>, Error>>()?;
        check_quotients(spec, &inputs, &dims)?;
        check_positions(spec, &|e| Some(value(e, &dims)))?;
        check_reductions(kernel, &dims)?;
        let batch = batch(kernel, &dims);
        let prepared = Prepared {
            kernel,
            made: kernel.class(batch)?,
            batch: kernel.class_of(batch),
            inputs,
            dims,
        };
        prepared.check_indices()?;
        Ok(prepared)
    }

    fn extent(&self, extent: Extent) -> u64 {
        value(extent, &self.dims)
    }

    /// Every entry of an index tensor must lie within the axis that it indexes.
    fn check_indices(&self) -> Result<(), Error> {
        let spec = self.kernel.spec();
        for expr in spec.exprs.values() {
            let Expr::Load(tensor, subscripts) = expr else {
                continue;
            };
            for (subscript, extent) in subscripts.iter().zip(&spec.tensors[*tensor].shape) {
                if let Subscript::Gather(index, _) = subscript {
                    self.check_index(*index, self.extent(*extent))?;
                }
            }
        }
        Ok(())
    }

    fn check_index(&self, index: TensorId, extent: u64) -> Result<(), Error> {
        let refused = |what: &str| Error::Argument {
            name: self.kernel.spec().tensors[index].name.clone(),
            what: what.into(),
        };
        let Some(tensor) = self.inputs[index.as_u32() as usize] else {
            return Err(refused("holds positions, and is not given by the caller"));
        };
        let FormatKind::Plain(element) = &tensor.format().kind else {
            return Err(refused("holds positions, and is no tensor of integers"));
        };
        let bytes = element.bits().div_ceil(8).next_power_of_two() as usize;
        for (position, chunk) in tensor.bytes().chunks_exact(bytes).enumerate() {
            let raw = chunk.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
            let value = match element {
                Element::Int { .. } => {
                    let unused = 32 - 8 * bytes as u32;
                    i64::from((raw << unused) as i32 >> unused)
                }
                Element::UInt { .. } | Element::Float(_) | Element::Codebook(_) => i64::from(raw),
            };
            if value < 0 || value as u64 >= extent {
                let name = self.kernel.spec().tensors[index].name.clone();
                return Err(Error::Index {
                    name,
                    position,
                    value,
                    extent,
                });
            }
        }
        Ok(())
    }

    /// Zeroed memory for the outputs, with their shapes.
    pub(crate) fn outputs(&self) -> Result<Vec<Output>, Error> {
        self.results()
            .map(|id| {
                let shape = self.shape(id).into_vec();
                let bytes = self.kernel.spec().tensors[id]
                    .format
                    .tensor_bytes(&shape)
                    .unwrap_or(u64::MAX);
                if bytes > LARGEST {
                    return Err(Error::TooLarge(bytes));
                }
                Ok((id, shape, vec![0; bytes as usize]))
            })
            .collect()
    }

    /// The outputs.
    fn results(&self) -> impl Iterator<Item = TensorId> {
        let tensors = self.kernel.spec().tensors.iter();
        tensors.filter_map(|(id, t)| (t.role == Role::Output).then_some(id))
    }

    fn shape(&self, id: TensorId) -> Few<u64> {
        let shape = &self.kernel.spec().tensors[id].shape;
        shape.iter().map(|e| self.extent(*e)).collect()
    }

    /// Runs the whole call.
    pub fn run(&self, outputs: &mut [&mut [u8]], scratch: &mut Scratch) -> Result<(), Error> {
        let all = self.checked(outputs)?;
        self.execute(&all, scratch, 0, self.tasks() + 1)
    }

    /// Tiles of rows that can run apart from each other (whatever whole tiles leave over is one more).
    pub fn tasks(&self) -> u64 {
        tasks(&self.made.program).map_or(0, |s| s.eval(&self.dims))
    }

    /// Divides the call into at most `parts` parts of about equal rows; steps before the last are done by each part.
    /// A kernel whose earlier steps write outputs is not divided.
    pub fn split<'c>(
        &'c self,
        outputs: &'c mut [&mut [u8]],
        parts: u64,
    ) -> Result<Vec<Rows<'c, 'a>>, Error> {
        Ok(self.parts(outputs, parts)?.collect())
    }

    /// The same, part by part.
    pub(crate) fn parts<'c>(
        &'c self,
        outputs: &'c mut [&mut [u8]],
        parts: u64,
    ) -> Result<impl Iterator<Item = Rows<'c, 'a>>, Error> {
        let pointers = self.checked(outputs)?;
        let tasks = self.tasks();
        let parts = if divisible(&self.made.program) {
            parts.clamp(1, tasks.max(1))
        } else {
            1
        };
        Ok((0..parts).map(move |p| Rows {
            prepared: self,
            outputs: pointers.clone(),
            from: tasks * p / parts,
            to: if p + 1 == parts {
                tasks + 1
            } else {
                tasks * (p + 1) / parts
            },
            _borrow: std::marker::PhantomData,
        }))
    }

    /// The outputs as pointers, if they are as many and as long as they must be.
    fn checked(&self, outputs: &mut [&mut [u8]]) -> Result<Outputs, Error> {
        let count = self.results().count();
        if count != outputs.len() {
            let what = format!("has {count} outputs, but {} were given", outputs.len());
            return Err(Error::Argument {
                name: self.kernel.name().into(),
                what,
            });
        }
        for (id, output) in self.results().zip(outputs.iter()) {
            let shape = self.shape(id);
            let format = &self.kernel.spec().tensors[id].format;
            let wanted = format.tensor_bytes(&shape);
            if wanted != Some(output.len() as u64) {
                return Err(Error::Length {
                    format: format.name.clone(),
                    shape: shape.into_vec(),
                    wanted,
                    found: output.len() as u64,
                });
            }
        }
        let pointers = outputs.iter_mut().map(|o| (o.as_mut_ptr(), o.len()));
        Ok(pointers.collect())
    }

    fn execute(
        &self,
        outputs: &[(*mut u8, usize)],
        scratch: &mut Scratch,
        from: u64,
        to: u64,
    ) -> Result<(), Error> {
        let code = self.made.code.as_ref().ok_or_else(|| Error::Argument {
            name: self.kernel.name().into(),
            what: format!(
                "was compiled for `{}`, which does not run here",
                self.kernel.target().name
            ),
        })?;
        if !outputs.is_empty() && outputs.iter().all(|(_, len)| *len == 0) {
            // Without columns there may be any number of rows, and nothing to do for them.
            return Ok(());
        }
        let mut words = std::mem::take(&mut scratch.words);
        let passed = self.pass(outputs, scratch, (from, to), &mut words);
        debug_assert_eq!(self.kernel.spec().dims.len(), self.dims.len());
        if passed.is_ok() {
            run(code, &words);
        }
        scratch.words = words;
        passed
    }

    /// Writes what code is passed for some of the tasks.
    fn pass(
        &self,
        outputs: &[(*mut u8, usize)],
        scratch: &mut Scratch,
        (from, to): (u64, u64),
        words: &mut Vec<u64>,
    ) -> Result<(), Error> {
        words.clear();
        let mut used = 0;
        for word in self.words_of(from, to) {
            words.push(match word? {
                Word::Input(bytes) => bytes.as_ptr() as u64,
                Word::Output(at) => outputs.get(at).map_or(0, |(pointer, _)| *pointer as u64),
                Word::Scratch(bytes) => {
                    let pointer = scratch.buffer(used, bytes)?;
                    used += 1;
                    pointer
                }
                Word::Number(number) => number,
            });
        }
        Ok(())
    }

    /// The batch that the code of this call is made for: one of [`Kernel::batches`].
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// What code is passed for the whole call, word by word: what an [`Object`](crate::Object) takes.
    pub fn words(&self) -> Result<Vec<Word<'a>>, Error> {
        self.words_of(0, self.tasks() + 1).collect()
    }

    /// The words for some of the tasks.
    fn words_of(&self, from: u64, to: u64) -> impl Iterator<Item = Result<Word<'a>, Error>> {
        let normal = &self.made.program.normal.kernel;
        let mut tensors = normal.tensors.keys();
        let mut outputs = 0..;
        let params = self.made.program.function.params.values();
        params.map(move |param| {
            Ok(match &param.kind {
                ParamKind::Read => {
                    let id = next_with(&mut tensors, normal, &param.name);
                    let input = |id: TensorId| *self.inputs.get(id.as_u32() as usize)?;
                    let missing = || Error::Argument {
                        name: param.name.clone(),
                        what: "is missing".into(),
                    };
                    Word::Input(id.and_then(input).ok_or_else(missing)?.bytes())
                }
                ParamKind::Write => Word::Output(outputs.next().unwrap_or(0)),
                ParamKind::Scratch { bytes } => Word::Scratch(bytes.eval(&self.dims)),
                ParamKind::Scalar(scalar) => Word::Number(scalar.eval(&self.dims)),
                ParamKind::RangeStart => Word::Number(from),
                ParamKind::RangeEnd => Word::Number(to),
            })
        })
    }
}

impl Rows<'_, '_> {
    /// Computes these rows.
    pub fn run(self, scratch: &mut Scratch) -> Result<(), Error> {
        self.prepared
            .execute(&self.outputs, scratch, self.from, self.to)
    }
}

/// Whether parts of the rows can be computed apart: only the last step writes outputs.
pub(crate) fn divisible(program: &Program) -> bool {
    let normal = &program.normal;
    let Some((Step::Compute(_), before)) = normal.steps.split_last() else {
        return false;
    };
    let local = |id: TensorId| normal.kernel.tensors[id].role == Role::Local;
    before.iter().all(|step| match step {
        Step::Compute(statement) => statement.targets.iter().all(|t| local(t.tensor)),
        Step::Encode { target, .. } | Step::Fill { target, .. } | Step::Relayout { target, .. } => {
            local(*target)
        }
    })
}

/// How many tasks the results are divided into, if they are.
pub(crate) fn tasks(program: &Program) -> Option<Scalar> {
    let (_, placed, _, _) = program.stages.last()?.parts.first()?;
    let ranged = placed.axes.values().find(|a| a.ranged)?;
    Some(trips(ranged))
}

fn next_with(
    ids: &mut impl Iterator<Item = TensorId>,
    kernel: &lowbit_compiler::spec::kernel::Kernel,
    name: &str,
) -> Option<TensorId> {
    ids.find(|id| kernel.tensors[*id].name == name)
}

fn run(code: &MachineCode, args: &[u64]) {
    // SAFETY: `Prepared` has one word for each parameter, in order: pointers to tensors whose formats and shapes were checked
    // against the kernel's (so their lengths are what the code reads), outputs of checked lengths that nothing else
    // borrows, scratch of the sizes that the function states, and scalars evaluated for the same dimensions; index
    // tensors hold only positions within their axes.
    unsafe { code.call(args) }
}

impl Scratch {
    fn buffer(&mut self, at: usize, bytes: u64) -> Result<u64, Error> {
        if bytes > LARGEST {
            return Err(Error::TooLarge(bytes));
        }
        if self.buffers.len() <= at {
            self.buffers.resize_with(at + 1, Vec::new);
        }
        let words = bytes.div_ceil(8) as usize;
        let buffer = &mut self.buffers[at];
        if buffer.len() < words {
            buffer.resize(words, 0);
        }
        Ok(buffer.as_mut_ptr() as u64)
    }
}

/// A free dimension that a reduction runs over has a largest extent: sums of integers were proved to fit up to there.
fn check_reductions(kernel: &Kernel, dims: &[u64]) -> Result<(), Error> {
    let spec = kernel.spec();
    for expr in spec.exprs.values() {
        let Expr::Reduce(_, indices, _) = expr else {
            continue;
        };
        for index in indices {
            let extent = spec.indices[*index].extent;
            let Some(d) = extent.dim() else {
                continue;
            };
            let dim = &spec.dims[d];
            let extent = value(extent, dims);
            if dim.bound.is_none() && extent > FREE_REDUCTION {
                let what = format!(
                    "is {extent}, but a free dimension that is summed over may be at most {FREE_REDUCTION}; bind it when compiling"
                );
                return Err(Error::Argument {
                    name: dim.name.clone(),
                    what,
                });
            }
        }
    }
    Ok(())
}

/// Rows of activations of a call: the values of all indices over batches together.
pub(crate) fn batch(kernel: &Kernel, dims: &[u64]) -> u64 {
    let Ok(program) = kernel.program() else {
        return 1;
    };
    let extents = batches(program).map(|extent| value(extent, dims));
    extents.fold(1, u64::saturating_mul)
}

/// The extents of the indices over batches of the last step that reads weights, or of the last one.
pub(crate) fn batches(program: &Program) -> impl Iterator<Item = Extent> {
    let mut stages = program.stages.iter().rev();
    let weighty = stages.find(|s| s.parts[0].2.weights.contains(&true));
    let stage = weighty.or(program.stages.last());
    let indices = stage.map(|s| s.plan.batch.iter());
    let extent = |i: &IndexId| program.normal.kernel.indices[*i].extent;
    indices.into_iter().flatten().map(extent)
}

/// An extent as a number.
fn value(extent: Extent, dims: &[u64]) -> u64 {
    let value = extent.value(|d| dims.get(d.as_u32() as usize).copied());
    value.unwrap_or(0)
}

/// Axes of `K / 32` must be as long as `K` says.
fn check_quotients(spec: &Spec, inputs: &[Option<&Tensor>], dims: &[u64]) -> Result<(), Error> {
    for (tensor, declared) in inputs.iter().zip(spec.tensors.values()) {
        let Some(tensor) = tensor else { continue };
        for (axis, (extent, found)) in declared.shape.iter().zip(tensor.shape()).enumerate() {
            let wanted = value(*extent, dims);
            if wanted != *found {
                let extent = spec.extent_text(*extent);
                return Err(Error::Argument {
                    name: declared.name.clone(),
                    what: format!("axis {axis} is {found}, not {wanted} (`{extent}`)"),
                });
            }
        }
    }
    Ok(())
}
