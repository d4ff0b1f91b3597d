//! Tuning: the most promising lowerings and tiles of a kernel are measured, and those that are fastest here are kept as data.
//!
//! What is chosen without it is what the target's costs predict to be the fastest. An [`Engine`] that has a [`Tuning`] chooses
//! what was measured, for the kernels, targets and versions that it has records of.

mod records;

pub use records::{Record, Tuning};

use crate::kernel::Wishes;
use crate::measure::{Effort, MeasuredCandidate, race};
use crate::{Alternative, Engine, Error, Kernel};
use lowbit_compiler::format::layout::layout_id;
use lowbit_compiler::pipeline::Pick;
use lowbit_compiler::spec::kernel::{Role, Tensor};
use std::collections::BTreeMap;

/// So many candidates of a step are measured with their best tiles, and as many of the same with other tiles.
const FEW: usize = 6;

/// What is chosen already stays chosen if nothing takes less than this share of its time.
const FASTER: f64 = 0.98;

/// What was found for one step of one class of batches.
struct Found {
    pick: Pick,
    record: Record,
    /// Whether it was chosen before.
    known: bool,
}

impl Engine {
    /// Measures the most promising lowerings and tiles of a kernel for calls with so many rows (the first of those that run the
    /// same code), and keeps the fastest of each step: with copies of weights that come from memory if [`Effort::streamed`] is not 0, else with weights that caches hold.
    /// Layouts of weights are chosen for all these batches together, where the first code of the kernel is among those that run
    /// them: it chooses. `progress` is told how many of how many timings are done, as far as it is known what there is to time.
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
    /// if the kernel has a lowering that was asked for, if it is one of an engine for another target or other costs, or if the
    /// effort leaves out both settings.
    pub fn tune(
        &self,
        kernel: &Kernel,
        batches: &[u64],
        effort: &Effort,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Tuning, Error> {
        if let Some(what) = self.refuses(kernel, effort) {
            return Err(Error::Argument {
                name: kernel.name().into(),
                what: what.into(),
            });
        }
        let mut classes = BTreeMap::new();
        for rows in batches {
            classes.entry(kernel.class_of(*rows)).or_insert(*rows);
        }
        let mut run = Run {
            engine: self,
            effort,
            rows: classes.into_values().collect(),
            progress,
            done: 0,
        };
        let mut records = Vec::new();
        let mut kernel = kernel.clone();
        for step in 0..kernel.program()?.stages.len() {
            let found = run.step(&kernel, step)?;
            let picks = found.iter().map(|f| (f.record.batch, f.pick.clone()));
            kernel = run.with_picks(&kernel, picks)?;
            records.extend(found.into_iter().map(|f| f.record));
        }
        let layouts = layouts_of(&kernel)?;
        let with_layouts = records.into_iter().map(|record| Record {
            layouts: layouts.clone(),
            ..record
        });
        Ok(with_layouts.collect())
    }

    /// Why a kernel cannot be tuned here, in words.
    fn refuses(&self, kernel: &Kernel, effort: &Effort) -> Option<&'static str> {
        if kernel.wishes().force.is_some() {
            return Some("has the lowering that was asked for; there is nothing to tune");
        }
        if !std::ptr::eq(kernel.target(), self.target()) {
            return Some("was compiled by an engine for another target or with other costs");
        }
        (effort.rounds() == 0).then_some("would be timed neither from caches nor from memory")
    }
}

/// Tuning of a kernel.
struct Run<'a> {
    engine: &'a Engine,
    effort: &'a Effort,
    /// Rows of a call, for each class of batches, ascending.
    rows: Vec<u64>,
    progress: &'a mut dyn FnMut(u64, u64),
    done: u64,
}

impl Run<'_> {
    /// The fastest candidates of a step, one for each class of batches. The first class may choose the layouts of weights: those
    /// with which the product of the times of all classes is least.
    fn step(&mut self, kernel: &Kernel, step: usize) -> Result<Vec<Found>, Error> {
        let rows = self.rows.clone();
        let Some((first, later)) = rows.split_first() else {
            return Ok(Vec::new());
        };
        let mut best: Option<(f64, Vec<Found>)> = None;
        for found in self.class(kernel, step, *first)? {
            let mut all = vec![found];
            if !later.is_empty() {
                let pick = (all[0].record.batch, all[0].pick.clone());
                let kernel = self.with_picks(kernel, [pick])?;
                for rows in later {
                    // Layouts are fixed by now: there is one.
                    all.extend(self.class(&kernel, step, *rows)?.into_iter().next());
                }
            }
            let times: Vec<f64> = all.iter().map(|f| f.record.cycles).collect();
            let score = score(&times, all[0].known);
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
        let times: Vec<f64> = reports.iter().map(cycles).collect();
        let same = |a: usize, b: usize| variants[a].kernel.same_layouts(&variants[b].kernel);
        let found = fastest(&times, same).into_iter().map(|at| {
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
                layouts: Vec::new(),
                before: times[0],
                cycles: times[at],
            };
            let known = at == 0;
            Found {
                pick,
                record,
                known,
            }
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

/// The layouts of the weights.
fn layouts_of(kernel: &Kernel) -> Result<Vec<String>, Error> {
    let weights = kernel
        .spec()
        .tensors
        .values()
        .filter(|t| t.role == Role::Weight);
    let layout = |t: &Tensor| Ok(layout_id(&*kernel.layout(&t.name)?).to_string());
    weights.map(layout).collect()
}

/// The fastest of those that are alike, for each kind: the first of all, which is chosen already, if it is as fast as measuring
/// can tell.
fn fastest(times: &[f64], alike: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let time = |at: usize| times[at] * if at == 0 { FASTER } else { 1.0 };
    let mut fastest: Vec<usize> = Vec::new();
    for at in 0..times.len() {
        match fastest.iter().position(|f| alike(*f, at)) {
            Some(known) if time(at) < time(fastest[known]) => fastest[known] = at,
            Some(_) => {}
            None => fastest.push(at),
        }
    }
    fastest
}

/// What the times of all classes are compared by with one choice of layouts; `known` if its first candidate is chosen already.
fn score(times: &[f64], known: bool) -> f64 {
    let product: f64 = times.iter().map(|t| t.ln()).sum();
    product + if known { FASTER.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::{fastest, score};

    #[test]
    fn the_fastest_of_each_kind_wins_and_what_is_chosen_stays_if_nothing_is_clearly_faster() {
        let kinds = [0, 0, 1, 1, 0, 1];
        let of = |times: [f64; 6]| fastest(&times, |a, b| kinds[a] == kinds[b]);
        assert_eq!(of([10.0, 12.0, 9.0, 8.0, 11.0, 7.0]), [0, 5]);
        assert_eq!(of([10.0, 9.9, 9.0, 8.99, 9.85, 9.5]), [0, 3]);
        assert_eq!(of([10.0, 9.5, 7.0, 8.0, 9.0, 9.0]), [4, 2]);
        assert!(fastest(&[], |_, _| true).is_empty());
    }

    #[test]
    fn layouts_are_compared_by_the_product_of_the_times_of_all_classes() {
        assert!(score(&[1.0, 4.0], false) < score(&[2.5, 2.0], false));
        assert!(score(&[2.0, 2.0], false) < score(&[1.0, 4.5], false));
        // What is chosen stays where the other gains a hundredth, and not where it gains a tenth.
        assert!(score(&[1.0, 1.0], true) < score(&[0.99, 1.0], false));
        assert!(score(&[1.0, 1.0], true) > score(&[0.9, 1.0], false));
    }
}
