//! Tuning: the most promising lowerings and tiles of a kernel are measured, and those that are fastest here are kept as data.
//!
//! What is chosen without it is what the target's costs predict to be the fastest. An [`Engine`] that has a [`Tuning`] chooses
//! what was measured, for the kernels, targets and versions that it has records of.

mod records;

pub use records::{Record, Tuning};

use crate::kernel::Wishes;
use crate::measure::{Effort, MeasuredCandidate, race};
use crate::{Alternative, Engine, Error, Kernel};
use lowbit_compiler::pipeline::Pick;
use std::collections::BTreeSet;

/// So many candidates of a step are measured with their best tiles, and as many of the same with other tiles.
const FEW: usize = 6;

/// What is predicted to be best stays chosen if nothing takes less than this share of its time.
const FASTER: f64 = 0.98;

/// What was found for one step of one class of batches.
struct Found {
    pick: Pick,
    record: Record,
}

impl Engine {
    /// Measures the most promising lowerings and tiles of a kernel for calls with so many rows, and keeps the fastest of each
    /// step: with copies of weights that come from memory if [`Effort::streamed`] is not 0, else with weights that caches hold.
    /// Layouts of weights are chosen for all these batches together, where the first code of the kernel is among those that run
    /// them: it chooses. `progress` is told how many of how many timings are done.
    ///
    /// ```
    /// use lowbit::{Engine, measure::Effort};
    ///
    /// let engine = Engine::host()?;
    /// let text = "language 1; import \"std/ints\";
    ///     kernel linear(weight w: int4_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
    ///         y[m, n] = sum(k) w[n, k] * x[m, k];
    ///     }";
    /// let dims = [("N", 64), ("K", 256)];
    /// let effort = Effort { repeats: 1, cached: false, streamed: 1 << 20, ..Effort::default() };
    /// let tuning = engine.tune(&engine.compile(text, &dims)?, &[1], &effort, &mut |_, _| {})?;
    /// let tuned = engine.with_tuning(tuning).compile(text, &dims)?;
    /// # let _ = tuned;
    /// # Ok::<(), lowbit::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Elsewhere`] if code for the target does not run here; [`Error::Argument`] if the extents of a weight are free,
    /// or if the kernel has a lowering that was asked for.
    pub fn tune(
        &self,
        kernel: &Kernel,
        batches: &[u64],
        effort: &Effort,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Tuning, Error> {
        let wishes = kernel.wishes();
        if wishes.force.is_some() {
            return Err(Error::Argument {
                name: kernel.name().into(),
                what: "has the lowering that was asked for; there is nothing to tune".into(),
            });
        }
        let classes: BTreeSet<u64> = batches.iter().map(|b| kernel.class_of(*b)).collect();
        let mut run = Run {
            engine: self,
            effort,
            classes: classes.into_iter().collect(),
            progress,
            done: 0,
        };
        let mut tuning = Tuning::default();
        let mut kernel = kernel.clone();
        for step in 0..kernel.program()?.stages.len() {
            let found = run.step(&kernel, step)?;
            let picks = found.iter().map(|f| (f.record.batch, f.pick.clone()));
            kernel = run.with_picks(&kernel, picks)?;
            tuning.extend(found.into_iter().map(|f| f.record));
        }
        Ok(tuning)
    }
}

/// Tuning of a kernel.
struct Run<'a> {
    engine: &'a Engine,
    effort: &'a Effort,
    /// The classes of batches, ascending.
    classes: Vec<u64>,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
}

impl Run<'_> {
    /// The fastest candidates of a step, one for each class of batches. The first class may choose the layouts of weights: those
    /// with which the product of the times of all classes is least.
    fn step(&mut self, kernel: &Kernel, step: usize) -> Result<Vec<Found>, Error> {
        let Some((first, later)) = self
            .classes
            .clone()
            .split_first()
            .map(|(f, l)| (*f, l.to_vec()))
        else {
            return Ok(Vec::new());
        };
        let mut best: Option<(f64, Vec<Found>)> = None;
        for found in self.class(kernel, step, first)? {
            let mut all = vec![found];
            if !later.is_empty() {
                let pick = (first, all[0].pick.clone());
                let kernel = self.with_picks(kernel, [pick])?;
                for batch in &later {
                    // Layouts are fixed by now: there is one.
                    all.extend(self.class(&kernel, step, *batch)?.into_iter().next());
                }
            }
            let score: f64 = all.iter().map(|f| f.record.cycles.ln()).sum();
            if best.as_ref().is_none_or(|(least, _)| score < *least) {
                best = Some((score, all));
            }
        }
        Ok(best.map(|(_, all)| all).unwrap_or_default())
    }

    /// The fastest candidate of a step for a class of batches, for each choice of layouts.
    fn class(&mut self, kernel: &Kernel, step: usize, batch: u64) -> Result<Vec<Found>, Error> {
        let variants = kernel.variants(batch, FEW)?;
        let variants: Vec<Alternative> = variants.into_iter().filter(|v| v.step == step).collect();
        let (before, rounds) = (self.done, self.effort.rounds());
        let all = before + rounds;
        let progress = &mut self.progress;
        let mut told = |done, _| progress(before + done, all);
        let (reports, hertz) = race(kernel, &variants, batch, self.effort, &mut told)?;
        self.done = all;
        let cycles = |r: &MeasuredCandidate| r.streamed.or(r.cached).unwrap_or(f64::INFINITY);
        let predicted_best = reports.first().map_or(f64::INFINITY, cycles);
        // What the variants are compared by: what is chosen already wins if it is as fast as measuring can tell.
        let time = |at: usize| cycles(&reports[at]) * if at == 0 { FASTER } else { 1.0 };
        let mut fastest: Vec<usize> = Vec::new();
        for at in 0..variants.len() {
            let same = |f: &usize| variants[*f].kernel.same_layouts(&variants[at].kernel);
            match fastest.iter().position(same) {
                Some(known) if time(at) < time(fastest[known]) => fastest[known] = at,
                Some(_) => {}
                None => fastest.push(at),
            }
        }
        let found = fastest.into_iter().map(|at| {
            let pick = variants[at].candidate.pick(step);
            let record = Record {
                kernel: kernel.spec().id().to_string(),
                name: kernel.name().into(),
                target: records::target_of(kernel.target()),
                version: records::VERSION.into(),
                batch: kernel.class_of(batch),
                lowering: variants[at].candidate.name.clone(),
                pick: pick.clone(),
                hertz,
                predicted_best,
                cycles: cycles(&reports[at]),
            };
            Found { pick, record }
        });
        Ok(found.collect())
    }

    /// The kernel with some candidates picked for classes of batches, beside those that it has.
    fn with_picks(
        &self,
        kernel: &Kernel,
        more: impl IntoIterator<Item = (u64, Pick)>,
    ) -> Result<Kernel, Error> {
        let mut wishes: Wishes = kernel.wishes().clone();
        for (batch, pick) in more {
            let at = wishes.picks.iter().position(|(b, _)| *b == batch);
            let at = at.unwrap_or_else(|| {
                wishes.picks.push((batch, Vec::new()));
                wishes.picks.len() - 1
            });
            let picks = &mut wishes.picks[at].1;
            picks.retain(|p| p.step != pick.step);
            picks.push(pick);
        }
        self.engine.make(kernel.spec().clone(), wishes)
    }
}
