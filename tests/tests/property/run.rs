//! Compiles a program, runs it beside the interpreter, and says what became of it.

use crate::property::coverage::ops;
use crate::property::program::Program;
use lowbit::check::{Random, compare};
use lowbit::compiler::pipeline::CompileError;
use lowbit::compiler::schedule::ScheduleError;
use lowbit::compiler::syntax::productions;
use lowbit::compiler::target::Target;
use lowbit::{Engine, Error, Kernel, Options};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What became of a program.
pub(crate) enum Outcome {
    /// It agrees; what was covered.
    Agrees(BTreeSet<String>),
    /// The compiler says that it does not support it.
    Unsupported(String),
    /// Anything else, in words.
    Fails(String),
}

/// Runs a program.
pub(crate) fn run(program: &Program) -> Outcome {
    match catch_unwind(AssertUnwindSafe(|| attempt(program))) {
        Ok(outcome) => outcome,
        Err(cause) => {
            let text = cause.downcast_ref::<String>().cloned();
            let text = text.or_else(|| cause.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Outcome::Fails(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

fn attempt(program: &Program) -> Outcome {
    let kernel = match compile(program) {
        Ok(kernel) => kernel,
        Err(Error::Compile(CompileError::Schedule(ScheduleError::Unsupported(what)))) => {
            return Outcome::Unsupported(what);
        }
        Err(error) => return Outcome::Fails(error.to_string()),
    };
    let extent = |name: &str| {
        let found = program.dims.iter().find(|(n, _)| n == name);
        found.map_or(1, |(_, extent)| *extent)
    };
    let free: Vec<u64> = kernel
        .spec()
        .dims
        .values()
        .filter(|d| d.bound.is_none())
        .map(|d| extent(&d.name))
        .collect();
    match compare(&kernel, &free, &mut Random::new(program.seed)) {
        Ok(result) if result.differences.is_empty() => {
            let mut covered = program.tags.clone();
            let productions = productions(&program.text);
            covered.extend(productions.iter().map(|p| format!("production {p}")));
            covered.extend(stages(&kernel));
            Outcome::Agrees(covered)
        }
        Ok(result) => Outcome::Fails(result.differences.join("\n")),
        Err(error) if error.to_string().contains("not supported yet") => {
            Outcome::Unsupported(error.to_string())
        }
        Err(error) => Outcome::Fails(error.to_string()),
    }
}

/// The kernel of a program; dimensions that its text does not mention are left out.
fn compile(program: &Program) -> Result<Kernel, Error> {
    let engine = Engine::new(Target::named(program.target)?)?;
    let module = engine.load(&program.text)?;
    let known = |name: &str| {
        let mut dims = module.kernels.iter().flat_map(|k| k.dims.values());
        dims.any(|d| d.name == name)
    };
    let bound: Vec<(&str, u64)> = program
        .dims
        .iter()
        .zip(&program.bound)
        .filter(|((name, _), bound)| **bound && known(name))
        .map(|((name, extent), _)| (name.as_str(), *extent))
        .collect();
    let forced = program.force.map(|words| {
        let options = Options {
            force: Some(words.to_owned()),
            ..Options::default()
        };
        engine.compile_module(&module, &bound, &options)
    });
    match forced {
        Some(Ok(kernel)) => Ok(kernel),
        _ => engine.compile_module(&module, &bound, &Options::default()),
    }
}

/// Lowerings, parts and operations of a kernel.
fn stages(kernel: &Kernel) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    let Ok(program) = kernel.program() else {
        return tags;
    };
    for stage in &program.stages {
        for (part, _, _, lowering) in &stage.parts {
            tags.extend(lowering.name.split(", ").map(|w| format!("chosen {w}")));
            let name = match (part.rest_rows, part.tail) {
                (true, _) => "rest of rows",
                (false, true) => "tail",
                (false, false) => "whole tiles",
            };
            tags.insert(format!("part {name}"));
        }
        for candidate in &stage.candidates {
            let words = candidate.name.split(", ");
            tags.extend(words.map(|w| format!("lowering {w}")));
        }
        for (_, _, rewritten, _) in &stage.parts {
            tags.extend(rewritten.applied.keys().map(|r| format!("rule {r}")));
        }
    }
    tags.extend(ops(&program.function).iter().map(|o| format!("op {o}")));
    tags
}
