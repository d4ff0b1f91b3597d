//! The engine: a target with its rules; it turns text into kernels.

use crate::kernel::{Known, Wishes};
use crate::pack::Packers;
use crate::tune::Tuning;
use crate::{Error, Kernel};
use lowbit_compiler::format::layout::is_layout_of;
use lowbit_compiler::rewrite::RuleSet;
use lowbit_compiler::schedule::plan::Layouts;
use lowbit_compiler::spec::kernel::{Kernel as Spec, Role};
use lowbit_compiler::spec::{self, Module, bind};
use lowbit_compiler::target::Target;
use std::sync::Arc;

/// Compiles kernels for one target. Cheap to clone; share it between threads. A kernel that is compiled again, with the same
/// dimensions and options, is the same kernel as long as one of its clones lives.
#[derive(Clone)]
pub struct Engine {
    pub(crate) target: Arc<Target>,
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) stock: Arc<Stock>,
    /// Choices that were measured.
    pub(crate) tuning: Arc<Tuning>,
}

/// What an engine has made already.
#[derive(Default)]
pub(crate) struct Stock {
    pub(crate) kernels: Known,
    pub(crate) packers: Packers,
}

/// How a kernel is compiled, beyond its text and dimensions.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kernel's name, where the text has several.
    pub kernel: Option<String>,
    /// Only lowerings whose description (lanes and words) is this text, or where there is none, contains it: to look at one, or
    /// to measure it. It is for each step and each class of batches that has one; one of them must.
    pub force: Option<String>,
    /// Layouts that weights must have (by name): those of another kernel, to share tensors with it.
    pub layouts: Vec<(String, Arc<lowbit_compiler::format::Format>)>,
}

impl Engine {
    /// For the machine this runs on.
    pub fn host() -> Result<Engine, Error> {
        Engine::new(Target::host())
    }

    /// For a target; kernels of another machine can be inspected, not called.
    pub fn new(target: Target) -> Result<Engine, Error> {
        Ok(Engine::with_rules(target, RuleSet::standard()?))
    }

    /// For a target with other rules.
    pub fn with_rules(target: Target, rules: RuleSet) -> Engine {
        Engine::of(target, Arc::new(rules))
    }

    /// An engine that has made nothing yet.
    pub(crate) fn of(target: Target, rules: Arc<RuleSet>) -> Engine {
        Engine {
            target: Arc::new(target),
            rules,
            stock: Arc::default(),
            tuning: Arc::default(),
        }
    }

    /// With the target's costs replaced by those of a file (JSON), such as [`calibrate`](crate::calibrate::calibrate) measures.
    pub fn with_costs(&self, file: &str) -> Result<Engine, Error> {
        let target = Target::clone(&self.target).apply(file)?;
        Ok(Engine::of(target, self.rules.clone()).with_tuning(Tuning::clone(&self.tuning)))
    }

    /// That chooses what was measured to be fastest, where that is known: such as [`Engine::tune`] finds out.
    pub fn with_tuning(&self, tuning: Tuning) -> Engine {
        Engine {
            tuning: Arc::new(tuning),
            ..self.clone()
        }
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Reads a text; imports other than `std/…` are not found (see [`spec::load`] for a loader of one's own).
    pub fn load(&self, text: &str) -> Result<Module, Error> {
        spec::load("kernel", text, &|_| None).map_err(Error::Text)
    }

    /// Compiles the kernel of a text, with dimensions bound by name; the others stay free until the call.
    pub fn compile(&self, text: &str, dims: &[(&str, u64)]) -> Result<Kernel, Error> {
        self.compile_with(text, dims, &Options::default())
    }

    /// Compiles with options.
    pub fn compile_with(
        &self,
        text: &str,
        dims: &[(&str, u64)],
        options: &Options,
    ) -> Result<Kernel, Error> {
        self.compile_module(&self.load(text)?, dims, options)
    }

    /// Compiles a kernel of a module that was read before.
    pub fn compile_module(
        &self,
        module: &Module,
        dims: &[(&str, u64)],
        options: &Options,
    ) -> Result<Kernel, Error> {
        let kernel = bind(find_kernel(module, options.kernel.as_deref())?, dims)?;
        let mut layouts = Layouts::new();
        for (name, format) in &options.layouts {
            let tensor = kernel
                .tensors
                .iter()
                .find(|(_, t)| t.name == *name)
                .map(|(id, _)| id);
            let missing = || Error::Argument {
                name: name.clone(),
                what: "is no tensor of the kernel".into(),
            };
            let tensor = tensor.ok_or_else(missing)?;
            let declared = &kernel.tensors[tensor];
            if declared.role != Role::Weight || !is_layout_of(format, &declared.format) {
                return Err(Error::Argument {
                    name: name.clone(),
                    what: format!(
                        "cannot lie as `{}`: that is no layout of a weight of its format",
                        format.name
                    ),
                });
            }
            layouts[tensor] = Some(format.clone());
        }
        // Who asks for a lowering wants that one.
        let picks = match options.force {
            None => self.tuning.picks(&kernel, &self.target),
            Some(_) => Vec::new(),
        };
        let force = options.force.clone();
        self.make(
            kernel,
            Wishes {
                layouts,
                force,
                picks,
            },
        )
    }

    /// The kernel as it is wished for: the one that was made before, if there is one.
    pub(crate) fn make(&self, kernel: Spec, wishes: Wishes) -> Result<Kernel, Error> {
        if let Some(known) = self.stock.kernels.find(&kernel, &wishes) {
            return Ok(known);
        }
        let made = Kernel::new(self.clone(), kernel, wishes)?;
        self.stock.kernels.note(&made);
        Ok(made)
    }
}

/// The kernel of a text that is named, or the only one.
///
/// # Errors
/// [`Error::NoKernel`] if there is none of the name, [`Error::WhichKernel`] if none is named and there is not exactly one.
pub fn find_kernel<'m>(module: &'m Module, name: Option<&str>) -> Result<&'m Spec, Error> {
    let named = |k: &&Spec| name.is_none_or(|n| *n == k.name);
    let found: Vec<&Spec> = module.kernels.iter().filter(named).collect();
    if let [kernel] = found[..] {
        return Ok(kernel);
    }
    let all: Vec<&str> = module.kernels.iter().map(|k| k.name.as_str()).collect();
    let names = all.join(", ");
    Err(match name {
        Some(name) => Error::NoKernel {
            name: name.into(),
            names,
        },
        None => Error::WhichKernel {
            count: all.len(),
            names,
        },
    })
}
