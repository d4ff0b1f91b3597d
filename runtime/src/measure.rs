//! Measures every candidate of a kernel beside its prediction: each is compiled alone, and all are timed in turn.
//!
//! In one setting the same weights are read again and again, so that caches hold what they can; in the other copies of the
//! weights are rotated, so that they come from memory. A prediction is in cycles; so are the times, by a clock that is
//! measured in the same run. Lower quartiles count: what else runs on the machine only makes times longer.

mod agree;
pub(crate) mod data;
mod timing;

pub use agree::{Agreement, rank_correlation};

use crate::{Alternative, Error, Kernel, Tensor};
use agree::agreement;
use data::{Packed, inputs, pack, rotate};
use lowbit_compiler::pipeline::{Candidate, Program, Stage};
use lowbit_compiler::schedule::amounts::{Amounts, amounts};
use lowbit_compiler::schedule::normal::Step;
use lowbit_compiler::spec::kernel::{Extent, Role};
use lowbit_compiler::target::Target;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use timing::time;
pub(crate) use timing::{median, part};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How often each candidate is timed; a slow one less often.
    pub repeats: usize,
    /// How long a timing lasts at least.
    pub run: Duration,
    /// After this much time in a setting no round begins, but for the first two.
    pub budget: Duration,
    /// Measure with weights that are read again and again.
    pub cached: bool,
    /// Bytes of copies of the weights that are rotated; 0 to leave that setting out.
    pub streamed: u64,
}

impl Default for Effort {
    /// A few seconds for each setting.
    fn default() -> Effort {
        Effort {
            repeats: 9,
            run: Duration::from_millis(2),
            budget: Duration::from_secs(4),
            cached: true,
            streamed: 256 << 20,
        }
    }
}

impl Effort {
    /// Rounds of timings: what `progress` counts.
    pub fn rounds(&self) -> u64 {
        let settings = [self.cached, self.streamed > 0];
        let settings = settings.iter().filter(|on| **on).count();
        (settings * self.repeats.max(1)) as u64
    }
}

/// What was measured of a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// The kernel.
    pub kernel: String,
    /// The target.
    pub target: String,
    /// The extent of the free dimensions.
    pub batch: u64,
    /// Cycles per second while it was measured.
    pub hertz: f64,
    /// One for each computing step: the others are as they are chosen.
    pub steps: Vec<MeasuredStep>,
}

/// The candidates of a step.
#[derive(Clone, Debug, Serialize)]
pub struct MeasuredStep {
    /// Candidates, in the order of their predictions.
    pub candidates: Vec<MeasuredCandidate>,
    /// With weights that caches may hold.
    pub cached: Option<Agreement>,
    /// With weights from memory.
    pub streamed: Option<Agreement>,
}

/// A candidate: cycles of a call of the whole kernel.
#[derive(Clone, Debug, Serialize)]
pub struct MeasuredCandidate {
    /// Its lane list.
    pub lanes: String,
    /// How weights are decoded and products summed.
    pub name: String,
    /// Whether it is the one compiled.
    pub chosen: bool,
    /// Cycles that are predicted.
    pub predicted: f64,
    /// Cycles with weights that caches may hold.
    pub cached: Option<f64>,
    /// Cycles with weights from memory.
    pub streamed: Option<f64>,
}

/// A candidate, ready to be called.
struct Contender {
    kernel: Kernel,
    /// Its weights, by their layouts.
    packed: usize,
    report: MeasuredCandidate,
}

/// Compiles every candidate of every step and times it, with `batch` as the extent of all free dimensions. `progress` is told
/// how many of how many timings are done.
///
/// # Errors
/// [`Error::Elsewhere`] if code for the target does not run here; [`Error::Argument`] if the extents of a weight are free.
pub fn measure(
    kernel: &Kernel,
    batch: u64,
    effort: &Effort,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Measurement, Error> {
    let alternatives = kernel.alternatives(batch)?;
    let (reports, hertz) = race(kernel, &alternatives, batch, effort, progress)?;
    let step_of = |at: usize| alternatives[at].step;
    let count = (0..reports.len())
        .map(|at| step_of(at) + 1)
        .max()
        .unwrap_or(0);
    let steps = (0..count).map(|step| {
        let of = (0..reports.len()).filter(|at| step_of(*at) == step);
        let candidates: Vec<MeasuredCandidate> = of.map(|at| reports[at].clone()).collect();
        MeasuredStep {
            cached: agreement(&candidates, |c| c.cached),
            streamed: agreement(&candidates, |c| c.streamed),
            candidates,
        }
    });
    Ok(Measurement {
        kernel: kernel.name().to_owned(),
        target: kernel.target().name.clone(),
        batch,
        hertz,
        steps: steps.collect(),
    })
}

/// Times alternatives of a kernel in turn: a report for each, and cycles in a second meanwhile.
pub(crate) fn race(
    kernel: &Kernel,
    alternatives: &[Alternative],
    batch: u64,
    effort: &Effort,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Vec<MeasuredCandidate>, f64), Error> {
    let dims = dims_to_measure(kernel, batch)?;
    let inputs = inputs(kernel, &dims)?;
    let mut packed = Vec::new();
    let mut contenders = contend(alternatives, &dims, batch, &inputs, &mut packed)?;
    let all = effort.rounds();
    let mut done = 0;
    let mut step = |by: u64| {
        done += by;
        progress(done, all);
    };
    let mut clock = Vec::new();
    let settings = [(effort.cached, false), (effort.streamed > 0, true)];
    for (_, rotated) in settings.into_iter().filter(|(wanted, _)| *wanted) {
        if rotated {
            rotate(&mut packed, effort.streamed)?;
        }
        let times = time(
            &contenders,
            &packed,
            &inputs,
            effort,
            rotated,
            &mut clock,
            &mut step,
        )?;
        for (contender, cycles) in contenders.iter_mut().zip(times) {
            let report = &mut contender.report;
            let told = match rotated {
                true => &mut report.streamed,
                false => &mut report.cached,
            };
            *told = Some(cycles);
        }
    }
    let reports = contenders.into_iter().map(|c| c.report);
    Ok((reports.collect(), median(&mut clock)))
}

/// The extents of all dimensions, `batch` for those that are free.
///
/// # Errors
/// If a kernel cannot be measured: it does not run here, or the extents of a weight are free.
pub(crate) fn dims_to_measure(kernel: &Kernel, batch: u64) -> Result<Vec<u64>, Error> {
    let target = kernel.target();
    if !target.features.runs_here() {
        return Err(Error::Elsewhere {
            target: target.name.clone(),
        });
    }
    let spec = kernel.spec();
    for tensor in spec.tensors.values().filter(|t| t.role == Role::Weight) {
        let free = |e: &&Extent| e.dim().is_some_and(|d| spec.dims[d].bound.is_none());
        if let Some(extent) = tensor.shape.iter().find(free) {
            return Err(Error::Argument {
                name: tensor.name.clone(),
                what: format!(
                    "dimension `{}` is free; bind it to measure the kernel",
                    spec.extent_text(*extent)
                ),
            });
        }
    }
    let dims = spec.dims.values().map(|d| d.bound.unwrap_or(batch));
    Ok(dims.collect())
}

/// Makes a contender of every candidate.
fn contend(
    alternatives: &[Alternative],
    dims: &[u64],
    batch: u64,
    inputs: &[Option<Tensor>],
    packed: &mut Vec<Packed>,
) -> Result<Vec<Contender>, Error> {
    let contender = |a: &Alternative| {
        let program = &a.kernel.class(batch)?.program;
        Ok(Contender {
            packed: pack(&a.kernel, inputs, packed)?,
            report: MeasuredCandidate {
                lanes: a.candidate.lanes.clone(),
                name: a.candidate.name.clone(),
                chosen: a.candidate.chosen,
                predicted: predicted(program, a.kernel.target(), dims)?,
                cached: None,
                streamed: None,
            },
            kernel: a.kernel.clone(),
        })
    };
    alternatives.iter().map(contender).collect()
}

/// Cycles of all steps for given extents.
fn predicted(program: &Program, target: &Target, dims: &[u64]) -> Result<f64, Error> {
    let others = program.work_without_choice(target, dims)?;
    let others: f64 = others.iter().map(|(_, cost)| cost.cycles).sum();
    let steps = computing(program, dims).into_iter();
    let cycles =
        steps.map(|(_, stage, times)| chosen(stage).map_or(0.0, |c| c.cost.cycles) * times);
    Ok(others + cycles.sum::<f64>())
}

/// The candidate of a step that is compiled.
pub(crate) fn chosen(stage: &Stage) -> Option<&Candidate> {
    stage.candidates.iter().find(|c| c.chosen)
}

/// The computing steps: how much there is to do for given extents, what became of it, and how many times what costs are for
/// that is.
pub(crate) fn computing<'p>(program: &'p Program, dims: &[u64]) -> Vec<(Amounts, &'p Stage, f64)> {
    let kernel = &program.normal.kernel;
    let computed = program.normal.steps.iter();
    let steps = computed
        .filter_map(Step::statement)
        .zip(&program.stages)
        .map(|(statement, stage)| {
            let extent = |index| {
                let extent = kernel.indices[index].extent;
                let known = extent.value(|d| dims.get(d.as_u32() as usize).copied());
                known.unwrap_or(1)
            };
            let amounts = amounts(kernel, statement, &extent);
            let times = amounts.points / stage.amounts.points.max(1.0);
            (amounts, stage, times)
        });
    steps.collect()
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} for {}, free dimensions {}, at {:.2} GHz: cycles of a call",
            self.kernel,
            self.target,
            self.batch,
            self.hertz / 1e9
        )?;
        for (at, step) in self.steps.iter().enumerate() {
            writeln!(f, "step {at}")?;
            writeln!(
                f,
                "  {:>12} {:>12} {:>6} {:>12} {:>6}  lanes, lowering",
                "predicted", "cached", "×", "streamed", "×"
            )?;
            for c in &step.candidates {
                let mark = if c.chosen { '*' } else { ' ' };
                write!(f, "{mark} {:12.0}", c.predicted)?;
                for measured in [c.cached, c.streamed] {
                    match measured {
                        Some(m) => write!(f, " {m:12.0} {:6.2}", m / c.predicted.max(1.0))?,
                        None => write!(f, " {:>12} {:>6}", "-", "-")?,
                    }
                }
                writeln!(f, "  {} {}", c.lanes, c.name)?;
            }
            for (setting, agreement) in [("cached", step.cached), ("streamed", step.streamed)] {
                if let Some(a) = agreement {
                    writeln!(
                        f,
                        "  {setting}: the chosen one takes {:.2} × the fastest, rank correlation {:.2}",
                        a.chosen_over_fastest, a.rank_correlation
                    )?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Effort, measure};
    use crate::{Engine, Error};
    use lowbit_compiler::target::Target;
    use std::time::Duration;

    const TEXT: &str = "language 1; import \"std/ints\";
        kernel linear(weight w: int4_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";

    fn quick() -> Effort {
        Effort {
            repeats: 1,
            run: Duration::from_micros(1),
            budget: Duration::ZERO,
            cached: true,
            streamed: 1 << 16,
        }
    }

    #[test]
    fn every_candidate_of_every_class_is_measured() -> Result<(), Error> {
        let kernel = Engine::host()?.compile(TEXT, &[("N", 128), ("K", 256)])?;
        for batch in [1, 8, 11] {
            let explained = kernel.explain_batch(batch)?;
            let mut told = 0;
            let found = measure(&kernel, batch, &quick(), &mut |done, all| {
                assert!(done <= all);
                told += 1;
            })?;
            assert!(told > 0);
            let candidates = &found.steps[0].candidates;
            let words: Vec<&str> = candidates.iter().map(|c| c.name.as_str()).collect();
            let wanted = &explained.steps[0].candidates;
            let wanted: Vec<&str> = wanted.iter().map(|c| c.name.as_str()).collect();
            assert_eq!(words, wanted);
            assert_eq!(candidates.iter().filter(|c| c.chosen).count(), 1);
            for c in candidates {
                assert!(c.cached.is_some() && c.streamed.is_some(), "{c:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_measured_is_refused() -> Result<(), Error> {
        let host = Engine::host()?;
        let free = measure(
            &host.compile(TEXT, &[("K", 256)])?,
            1,
            &quick(),
            &mut |_, _| {},
        );
        assert!(matches!(free, Err(Error::Argument { .. })), "{free:?}");
        let other = match cfg!(target_arch = "aarch64") {
            true => "x86-64-v3",
            false => "aarch64",
        };
        let kernel = Engine::new(Target::named(other)?)?.compile(TEXT, &[("N", 64), ("K", 256)])?;
        let elsewhere = measure(&kernel, 1, &quick(), &mut |_, _| {});
        assert!(
            matches!(elsewhere, Err(Error::Elsewhere { .. })),
            "{elsewhere:?}"
        );
        Ok(())
    }
}
