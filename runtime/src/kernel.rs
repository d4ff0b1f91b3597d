//! Kernels: compiled, inspected, packed for and called. A kernel is an owned value that threads can share.

use crate::call::{Prepared, Scratch, batches};
use crate::{Engine, Error, Tensor};
use lowbit_compiler::codegen::{self, MachineCode};
use lowbit_compiler::format::Format;
use lowbit_compiler::format::layout::layout_id;
use lowbit_compiler::pipeline::{
    self, Candidate, CompileError, Considered, Pick, Program, Request,
};
use lowbit_compiler::rewrite::RewriteError;
use lowbit_compiler::schedule::plan::Layouts;
use lowbit_compiler::spec::kernel::{Kernel as Spec, Role, TensorId};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A stage of compilation, for [`Kernel::stage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The typed kernel.
    Spec,
    /// Its statements with their axes placed.
    Schedule,
    /// The terms that the rewriter chose.
    Rewrite,
    /// Loops over vector operations.
    Vector,
    /// Machine instructions.
    Assembly,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 5] = [
        Stage::Spec,
        Stage::Schedule,
        Stage::Rewrite,
        Stage::Vector,
        Stage::Assembly,
    ];

    /// The name in listings and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Spec => "spec",
            Stage::Schedule => "schedule",
            Stage::Rewrite => "rewrite",
            Stage::Vector => "vector",
            Stage::Assembly => "assembly",
        }
    }
}

/// Batch classes of a kernel with a free batch: each has code of its own, made when it is first needed.
pub(crate) const BATCHES: [u64; 5] = [1, 2, 4, 8, 64];

/// The batches that the layouts of weights are chosen for, beside the first. Smaller ones run much the same code, and still larger
/// ones decode into panels, to which the layout matters little.
const LATER: &[u64] = &[8];

struct Class {
    batch: u64,
    made: OnceLock<Result<Made, String>>,
}

/// Code for a batch class.
pub(crate) struct Made {
    pub(crate) program: Program,
    /// `None` for a target that does not run here.
    pub(crate) code: Option<MachineCode>,
}

/// What is asked of a kernel beyond its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wishes {
    /// Layouts that weights must have.
    pub(crate) layouts: Layouts,
    /// Only lowerings whose description contains this text.
    pub(crate) force: Option<String>,
    /// Candidates to choose, by the batch class.
    pub(crate) picks: Vec<(u64, Vec<Pick>)>,
}

impl Wishes {
    /// Candidates to choose in a batch class.
    pub(crate) fn picks(&self, class: u64) -> &[Pick] {
        let of_class = self.picks.iter().find(|(batch, _)| *batch == class);
        of_class.map_or(&[], |(_, picks)| picks)
    }
}

pub(crate) struct Inner {
    engine: Engine,
    spec: Spec,
    /// What was asked for, and what the first class was made for.
    wanted: Wishes,
    /// The same with the layouts that were chosen: what the others are made for.
    fixed: Wishes,
    classes: Vec<Class>,
}

/// A kernel as it would be if a candidate of a step had been chosen, for calls of all batches.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The computing step, counted from 0; the others are as they are chosen.
    pub step: usize,
    /// The candidate; `chosen` says whether it is that of the kernel it is an alternative to.
    pub candidate: Candidate,
    /// The kernel.
    pub kernel: Kernel,
}

/// A compiled kernel. Cloning shares it; its code memory is freed with the last clone.
#[derive(Clone)]
pub struct Kernel {
    inner: Arc<Inner>,
}

/// Kernels that an engine compiled, as long as someone has them.
#[derive(Default)]
pub(crate) struct Known {
    kernels: Mutex<Vec<Weak<Inner>>>,
}

impl Known {
    /// The kernel of a text, if it was compiled like this before.
    pub(crate) fn find(&self, spec: &Spec, wanted: &Wishes) -> Option<Kernel> {
        let kernels = self.kernels.lock().unwrap_or_else(|e| e.into_inner());
        let mut alive = kernels.iter().filter_map(Weak::upgrade);
        let same = |k: &Arc<Inner>| k.spec == *spec && k.wanted == *wanted;
        alive.find(same).map(|inner| Kernel { inner })
    }

    /// Notes a kernel, and forgets those that nobody has any more.
    pub(crate) fn note(&self, kernel: &Kernel) {
        let mut kernels = self.kernels.lock().unwrap_or_else(|e| e.into_inner());
        kernels.retain(|k| k.strong_count() > 0);
        kernels.push(Arc::downgrade(&kernel.inner));
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Kernel({} for {})",
            self.inner.spec.name, self.inner.engine.target.name
        )
    }
}

impl Kernel {
    pub(crate) fn new(engine: Engine, spec: Spec, wanted: Wishes) -> Result<Kernel, Error> {
        let compile = |batch| program(&engine, &spec, &wanted, batch);
        let (program, missing) = compile(BATCHES[0])?;
        let dims = &program.normal.kernel.dims;
        let free = batches(&program).any(|e| e.value(|d| dims[d].bound).is_none());
        let count = if free { BATCHES.len() } else { 1 };
        if let Some(missing) = missing {
            let mut larger = BATCHES[1..count].iter();
            let lacks = |b: &u64| matches!(compile(*b), Ok((_, Some(_))));
            if larger.all(lacks) {
                return Err(missing.into());
            }
        }
        let first = Made::new(&engine, program)?;
        Kernel::with_first(engine, spec, wanted, &BATCHES[..count], first)
    }

    /// With code for some batches, the first of which is made.
    fn with_first(
        engine: Engine,
        spec: Spec,
        wanted: Wishes,
        batches: &[u64],
        first: Made,
    ) -> Result<Kernel, Error> {
        let mut fixed = wanted.clone();
        for (id, tensor) in spec.tensors.iter() {
            if tensor.role == Role::Weight {
                let chosen = first.program.layouts[id].clone();
                fixed.layouts[id] = Some(chosen.unwrap_or_else(|| tensor.format.clone()));
            }
        }
        let classes: Vec<Class> = batches
            .iter()
            .map(|b| Class {
                batch: *b,
                made: OnceLock::new(),
            })
            .collect();
        // The first class was made to choose the layouts.
        let _ = classes[0].made.set(Ok(first));
        Ok(Kernel {
            inner: Arc::new(Inner {
                engine,
                spec,
                wanted,
                fixed,
                classes,
            }),
        })
    }

    /// The same kernel with each candidate of each step of a batch class, as it would be if that one had been chosen: in the
    /// first class with the layouts that it likes, in others with those of this kernel. Cheaper than compiling each anew.
    ///
    /// # Errors
    /// If code cannot be made for one of them.
    pub fn alternatives(&self, batch: u64) -> Result<Vec<Alternative>, Error> {
        self.others(batch, |considered| considered.candidates())
    }

    /// The most promising of them: so many of each step, the one that is chosen first, and as many of these with other tiles.
    ///
    /// # Errors
    /// If code cannot be made for one of them.
    pub fn variants(&self, batch: u64, few: usize) -> Result<Vec<Alternative>, Error> {
        self.others(batch, |considered| considered.variants(few))
    }

    fn others(
        &self,
        batch: u64,
        some: impl Fn(&Considered<'_>) -> Vec<(usize, Candidate)>,
    ) -> Result<Vec<Alternative>, Error> {
        let inner = &self.inner;
        let class = self.class_of(batch);
        let wishes = match inner.classes[0].batch == class {
            true => &inner.wanted,
            false => &inner.fixed,
        };
        let request = request(&inner.engine, wishes, class, wishes.force.as_deref());
        let mut considered = pipeline::consider(&inner.spec, &inner.engine.rules, &request)?;
        let compiled = some(&considered).into_iter().map(|(step, candidate)| {
            let program = considered.finish(Some(&candidate.pick(step)))?;
            let kernel = Kernel::with_first(
                inner.engine.clone(),
                inner.spec.clone(),
                wishes.clone(),
                &[class],
                Made::new(&inner.engine, program)?,
            )?;
            Ok(Alternative {
                step,
                candidate,
                kernel,
            })
        });
        compiled.collect()
    }

    /// What was asked of it beyond its text.
    pub(crate) fn wishes(&self) -> &Wishes {
        &self.inner.wanted
    }

    /// Whether weights lie alike for both, which are made of one text.
    pub(crate) fn same_layouts(&self, other: &Kernel) -> bool {
        self.inner.fixed.layouts == other.inner.fixed.layouts
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    /// Whether the two are clones of one kernel: then they share their code.
    pub fn is(&self, other: &Kernel) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The typed kernel.
    pub fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// The target that it was compiled for.
    pub fn target(&self) -> &lowbit_compiler::target::Target {
        &self.inner.engine.target
    }

    pub(crate) fn rules(&self) -> &lowbit_compiler::rewrite::RuleSet {
        &self.inner.engine.rules
    }

    pub(crate) fn tensor_id(&self, name: &str) -> Result<TensorId, Error> {
        let found = self
            .inner
            .spec
            .tensors
            .iter()
            .find(|(_, t)| t.name == name && t.role != Role::Local);
        found.map(|(id, _)| id).ok_or_else(|| {
            let names: Vec<&str> = self
                .inner
                .spec
                .tensors
                .values()
                .filter(|t| t.role != Role::Local)
                .map(|t| t.name.as_str())
                .collect();
            Error::Argument {
                name: name.into(),
                what: format!("the kernel has {}", names.join(", ")),
            }
        })
    }

    /// The format that a tensor has in memory: for weights the layout that was chosen. Its text is
    /// `format::text::definition`.
    pub fn layout(&self, name: &str) -> Result<Arc<Format>, Error> {
        let id = self.tensor_id(name)?;
        Ok(self.layout_of(id))
    }

    pub(crate) fn layout_of(&self, id: TensorId) -> Arc<Format> {
        let declared = &self.inner.spec.tensors[id].format;
        self.inner.fixed.layouts[id]
            .clone()
            .unwrap_or_else(|| declared.clone())
    }

    /// The shape of a tensor whose dimensions are bound.
    fn bound_shape(&self, id: TensorId) -> Result<Vec<u64>, Error> {
        let tensor = &self.inner.spec.tensors[id];
        tensor
            .shape
            .iter()
            .map(|e| {
                let bound = e.value(|d| self.inner.spec.dims[d].bound);
                bound.ok_or_else(|| Error::Argument {
                    name: tensor.name.clone(),
                    what: format!(
                        "dimension `{}` is free; use `pack_shaped`",
                        self.inner.spec.extent_text(*e)
                    ),
                })
            })
            .collect()
    }

    /// Quantises a weight by its format's `encode` clause and lays it out for this kernel.
    pub fn pack(&self, name: &str, values: &[f32]) -> Result<Tensor, Error> {
        let shape = self.bound_shape(self.tensor_id(name)?)?;
        self.pack_shaped(name, &shape, values)
    }

    /// Like [`Kernel::pack`], for a weight with free dimensions.
    pub fn pack_shaped(&self, name: &str, shape: &[u64], values: &[f32]) -> Result<Tensor, Error> {
        let id = self.tensor_id(name)?;
        let declared = self.inner.spec.tensors[id].format.clone();
        let inner = &self.inner;
        let packers = &inner.engine.stock.packers;
        let quantized = packers.quantize(&inner.engine, &declared, shape, values)?;
        self.convert(name, &quantized)
    }

    /// Brings a tensor into the layout that this kernel has for it: exact, codes are moved and not changed.
    pub fn convert(&self, name: &str, tensor: &Tensor) -> Result<Tensor, Error> {
        self.packed(name, tensor, &self.layout(name)?)
    }

    /// The way back from [`Kernel::convert`]: the tensor in the format that the text of the kernel declares.
    pub fn unpack(&self, name: &str, tensor: &Tensor) -> Result<Tensor, Error> {
        let id = self.tensor_id(name)?;
        self.packed(name, tensor, &self.inner.spec.tensors[id].format)
    }

    fn packed(&self, name: &str, tensor: &Tensor, to: &Arc<Format>) -> Result<Tensor, Error> {
        let engine = &self.inner.engine;
        engine.stock.packers.pack(engine, name, tensor, to)
    }

    /// The batches that code is made for, each up to the next. A batch is an extent of the outputs; the first is for all
    /// batches that are smaller, too.
    pub fn batches(&self) -> Vec<u64> {
        self.inner.classes.iter().map(|c| c.batch).collect()
    }

    fn class_at(&self, batch: u64) -> &Class {
        let classes = &self.inner.classes;
        let class = classes.iter().rev().find(|c| c.batch <= batch);
        class.unwrap_or(&classes[0])
    }

    /// The class that a batch is in: one of [`Kernel::batches`].
    pub(crate) fn class_of(&self, batch: u64) -> u64 {
        self.class_at(batch).batch
    }

    /// The code for a batch class; made now if it was not yet.
    pub(crate) fn class(&self, batch: u64) -> Result<&Made, Error> {
        let class = self.class_at(batch);
        let made = class.made.get_or_init(|| {
            let inner = &self.inner;
            let program = program(&inner.engine, &inner.spec, &inner.fixed, class.batch);
            program
                .map_err(Error::from)
                .and_then(|(program, _)| Made::new(&inner.engine, program))
                .map_err(|e| e.to_string())
        });
        made.as_ref().map_err(|e| Error::Argument {
            name: self.name().into(),
            what: e.clone(),
        })
    }

    /// The first output for the given arguments.
    pub fn call(&self, args: &[(&str, &Tensor)]) -> Result<Tensor, Error> {
        let mut outputs = self.call_all(args)?;
        if outputs.is_empty() {
            return Err(Error::Argument {
                name: self.name().into(),
                what: "the kernel has no output".into(),
            });
        }
        Ok(outputs.swap_remove(0).1)
    }

    /// All outputs by name, in the order declared.
    pub fn call_all(&self, args: &[(&str, &Tensor)]) -> Result<Vec<(String, Tensor)>, Error> {
        let prepared = Prepared::new(self, args)?;
        let mut outputs = prepared.outputs()?;
        let mut slices: Vec<&mut [u8]> = outputs
            .iter_mut()
            .map(|(_, _, b)| b.as_mut_slice())
            .collect();
        prepared.run(&mut slices, &mut Scratch::default())?;
        outputs
            .into_iter()
            .map(|(id, shape, bytes)| {
                let tensor = &self.inner.spec.tensors[id];
                Ok((
                    tensor.name.clone(),
                    Tensor::of_legal(tensor.format.clone(), &shape, Arc::new(bytes))?,
                ))
            })
            .collect()
    }

    /// Writes the outputs (bytes, in the order declared) without allocating once `scratch` has grown.
    pub fn call_into(
        &self,
        args: &[(&str, &Tensor)],
        outputs: &mut [&mut [u8]],
        scratch: &mut Scratch,
    ) -> Result<(), Error> {
        Prepared::new(self, args)?.run(outputs, scratch)
    }

    /// Checks arguments once, to run the call in parts (see [`Prepared::split`]).
    pub fn prepare<'a>(&'a self, args: &[(&str, &'a Tensor)]) -> Result<Prepared<'a>, Error> {
        Prepared::new(self, args)
    }

    /// What the kernel became at a stage, for a batch of one row: stable text.
    pub fn stage(&self, stage: Stage) -> Result<String, Error> {
        let made = self.class(1)?;
        crate::show::stage(self, &made.program, stage)
    }

    /// The same kernel for another target, to look at: `kernel.for_target(Target::named("aarch64")?)?.snapshot()?`.
    pub fn for_target(&self, target: lowbit_compiler::target::Target) -> Result<Kernel, Error> {
        let engine = Engine::of(target, self.inner.engine.rules.clone());
        let wishes = Wishes {
            force: self.inner.wanted.force.clone(),
            ..Wishes::default()
        };
        Kernel::new(engine, self.inner.spec.clone(), wishes)
    }

    /// All stages on one page, with the layouts of the weights: stable text, for snapshot tests.
    pub fn snapshot(&self) -> Result<String, Error> {
        crate::show::snapshot(self)
    }

    /// Instructions of the innermost loops, and how many of them touch the stack: for tests that look for an instruction.
    pub fn hot_loops(&self) -> Result<lowbit_compiler::codegen::ListingFacts, Error> {
        crate::show::hot_loops(self)
    }

    /// Which lowerings were considered, what each costs, why it lost, and the rules behind the winner.
    pub fn explain(&self) -> Result<crate::Explanation, Error> {
        crate::explain::explain(self, 1)
    }

    /// Like [`Kernel::explain`], for the code that runs calls with so many rows of activations.
    pub fn explain_batch(&self, batch: u64) -> Result<crate::Explanation, Error> {
        crate::explain::explain(self, batch)
    }

    /// The e-graph of a computing step, counted from 0, with the winner's term marked: of the code that runs calls with so
    /// many rows of activations, the main part.
    pub fn picture(
        &self,
        batch: u64,
        step: usize,
    ) -> Result<lowbit_compiler::rewrite::draw::Picture, Error> {
        crate::explain::picture(self, batch, step)
    }

    /// The program of the first batch class: plans, candidates, vector IR.
    pub fn program(&self) -> Result<&Program, Error> {
        Ok(&self.class(1)?.program)
    }

    /// Size of the machine code of the first batch class in bytes; 0 for a target that does not run here.
    pub fn code_size(&self) -> Result<usize, Error> {
        Ok(self.class(1)?.code.as_ref().map_or(0, MachineCode::size))
    }
}

pub(crate) fn layout_error(name: &str, tensor: &Tensor, wanted: &Format) -> Error {
    Error::Layout {
        name: name.into(),
        found: tensor.format().name.clone(),
        found_id: tensor.layout_id().to_string(),
        wanted: wanted.name.clone(),
        wanted_id: layout_id(wanted).to_string(),
    }
}

/// A kernel for a batch class; and if no step of it has the lowering that was asked for, the error that says so, with the program
/// as it is without asking.
fn program(
    engine: &Engine,
    spec: &Spec,
    wishes: &Wishes,
    batch: u64,
) -> Result<(Program, Option<CompileError>), CompileError> {
    let compile = |force| {
        let request = request(engine, wishes, batch, force);
        pipeline::compile(spec, &engine.rules, &request)
    };
    match compile(wishes.force.as_deref()) {
        Err(missing @ CompileError::Rewrite(RewriteError::NotConsidered { .. })) => {
            Ok((compile(None)?, Some(missing)))
        }
        other => Ok((other?, None)),
    }
}

pub(crate) fn request<'a>(
    engine: &'a Engine,
    wishes: &'a Wishes,
    batch: u64,
    force: Option<&'a str>,
) -> Request<'a> {
    Request {
        target: &engine.target,
        batch,
        later: if batch == BATCHES[0] { LATER } else { &[] },
        layouts: wishes.layouts.clone(),
        force,
        picks: wishes.picks(batch),
    }
}

impl Made {
    /// Machine code for a program, if it runs here.
    fn new(engine: &Engine, program: Program) -> Result<Made, Error> {
        let features = &engine.target.features;
        let code = if features.runs_here() {
            Some(codegen::compile(&program.function, features)?)
        } else {
            None
        };
        Ok(Made { program, code })
    }
}
