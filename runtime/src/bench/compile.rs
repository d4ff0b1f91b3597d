//! What compiling a kernel takes, stage by stage: in an engine that has made nothing yet, and in one that knows the format.

use crate::kernel::{BATCHES, Wishes, request};
use crate::{Engine, Error, find_kernel};
use lowbit_compiler::codegen;
use lowbit_compiler::pipeline::consider;
use lowbit_compiler::spec::{self, bind};
use lowbit_compiler::target::Target;
use serde::Serialize;
use std::time::Instant;

/// A text to compile.
pub struct Source<'a> {
    /// Its name in messages.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// What it imports, by name, apart from what comes with the language.
    pub imports: &'a dyn Fn(&str) -> Option<String>,
    /// The kernel, where there are several.
    pub kernel: Option<&'a str>,
}

/// Seconds of the stages of compiling the code for one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct CompileTimes {
    /// From the text to the typed kernel.
    pub text: f64,
    /// Schedules, and the e-graphs of each.
    pub choose: f64,
    /// What is chosen, for all parts, as loops over vector operations.
    pub lower: f64,
    /// Machine code.
    pub code: f64,
}

/// What compiling takes the first time, and after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Compiling {
    /// In an engine that has made nothing yet.
    pub first: CompileTimes,
    /// In the same engine, of the same text with dimensions that are twice as large.
    pub later: CompileTimes,
}

impl Compiling {
    /// Compiles a text twice, with some dimensions bound, in an engine of its own for a target.
    ///
    /// # Errors
    /// Where [`Engine::compile`] has them.
    pub fn of(
        target: &Target,
        source: &Source<'_>,
        dims: &[(&str, u64)],
    ) -> Result<Compiling, Error> {
        let engine = Engine::new(target.clone())?;
        let first = CompileTimes::of(&engine, source, dims)?;
        let larger: Vec<(&str, u64)> = dims.iter().map(|(n, e)| (*n, e * 2)).collect();
        let later = CompileTimes::of(&engine, source, &larger)?;
        Ok(Compiling { first, later })
    }
}

impl CompileTimes {
    /// Compiles a text once, with some dimensions bound.
    ///
    /// # Errors
    /// Where [`Engine::compile`] has them.
    pub fn of(
        engine: &Engine,
        source: &Source<'_>,
        dims: &[(&str, u64)],
    ) -> Result<CompileTimes, Error> {
        let mut last = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            (now - std::mem::replace(&mut last, now)).as_secs_f64()
        };
        let module = spec::load(source.name, source.text, source.imports).map_err(Error::Text)?;
        let kernel = bind(find_kernel(&module, source.kernel)?, dims)?;
        let text = lap();
        let wishes = Wishes::default();
        let request = request(engine, &wishes, BATCHES[0], None);
        let mut considered = consider(&kernel, &engine.rules, &request)?;
        let choose = lap();
        let program = considered.finish(None)?;
        let lower = lap();
        let features = &engine.target.features;
        if features.runs_here() {
            codegen::compile(&program.function, features)?;
        }
        Ok(CompileTimes {
            text,
            choose,
            lower,
            code: lap(),
        })
    }

    /// All stages together.
    pub fn total(&self) -> f64 {
        self.text + self.choose + self.lower + self.code
    }
}
