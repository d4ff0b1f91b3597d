//! Measures every candidate of a kernel beside its prediction: each is compiled alone, and all are timed in turn.
//!
//! In one setting the same weights are read again and again, so that caches hold what they can; in the other copies of the
//! weights are rotated, so that they come from memory. A prediction is in cycles; so are the times, by a clock that is
//! measured in the same run. Medians count.

use crate::call::{Prepared, Scratch};
use crate::check::{Random, random_tensor};
use crate::{Error, Kernel, Tensor, calibrate};
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::pipeline::{Pick, Program};
use lowbit_compiler::schedule::amounts::amounts;
use lowbit_compiler::schedule::normal::Step;
use lowbit_compiler::spec::kernel::{Role, TensorId};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// All copies of weights together take no more than this, unless two of each layout do.
const MOST_BYTES: u64 = 900 << 20;

/// A candidate that takes so many times as long as the fastest is timed once or twice.
const SLOW: f64 = 8.0;

/// Rows of which weights are made up; others repeat them.
const ROWS: u64 = 64;

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

/// How predictions agree with times.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Time of the chosen candidate over that of the fastest.
    pub chosen_over_fastest: f64,
    /// The rank correlation (Spearman's) of predicted and measured cycles.
    pub rank_correlation: f64,
}

/// A candidate, ready to be called.
struct Contender {
    step: usize,
    kernel: Kernel,
    /// Its weights, by their layouts.
    packed: usize,
    report: MeasuredCandidate,
}

/// Weights in the layouts of some contenders: copies of each tensor.
struct Packed {
    layouts: Vec<(TensorId, Arc<lowbit_compiler::format::Format>)>,
    copies: Vec<Vec<Tensor>>,
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
    let target = kernel.target();
    if !target.features.runs_here() {
        return Err(Error::Elsewhere {
            target: target.name.clone(),
        });
    }
    let spec = kernel.spec();
    for tensor in spec.tensors.values().filter(|t| t.role == Role::Weight) {
        let free = |e: &&_| {
            lowbit_compiler::spec::kernel::Extent::dim(**e)
                .is_some_and(|d| spec.dims[d].bound.is_none())
        };
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
    let dims: Vec<u64> = spec
        .dims
        .values()
        .map(|d| d.bound.unwrap_or(batch))
        .collect();
    let inputs = inputs(kernel, &dims)?;
    let (mut contenders, mut packed) = (Vec::new(), Vec::new());
    contend(kernel, &dims, batch, &inputs, &mut contenders, &mut packed)?;
    let all = effort.rounds();
    let mut done = 0;
    let mut step = |by: u64| {
        done += by;
        progress(done, all);
    };
    let mut clock = Vec::new();
    if effort.cached {
        let times = time(
            &contenders,
            &packed,
            &inputs,
            effort,
            false,
            &mut clock,
            &mut step,
        )?;
        for (contender, cycles) in contenders.iter_mut().zip(times) {
            contender.report.cached = Some(cycles);
        }
    }
    if effort.streamed > 0 {
        rotate(&mut packed, effort.streamed)?;
        let times = time(
            &contenders,
            &packed,
            &inputs,
            effort,
            true,
            &mut clock,
            &mut step,
        )?;
        for (contender, cycles) in contenders.iter_mut().zip(times) {
            contender.report.streamed = Some(cycles);
        }
    }
    let count = contenders.iter().map(|c| c.step + 1).max().unwrap_or(0);
    let steps = (0..count).map(|at| {
        let of = contenders.iter().filter(|c| c.step == at);
        let candidates: Vec<MeasuredCandidate> = of.map(|c| c.report.clone()).collect();
        MeasuredStep {
            cached: agreement(&candidates, |c| c.cached),
            streamed: agreement(&candidates, |c| c.streamed),
            candidates,
        }
    });
    Ok(Measurement {
        kernel: kernel.name().to_owned(),
        target: target.name.clone(),
        batch,
        hertz: median(&mut clock),
        steps: steps.collect(),
    })
}

/// Random tensors in the declared formats.
fn inputs(kernel: &Kernel, dims: &[u64]) -> Result<Vec<Option<Tensor>>, Error> {
    let spec = kernel.spec();
    let mut random = Random::new(1);
    let mut inputs = Vec::new();
    for (id, tensor) in spec.tensors.iter() {
        inputs.push(match tensor.role {
            Role::Weight | Role::Stored | Role::Input => {
                Some(repeated(kernel, id, dims, &mut random)?)
            }
            Role::Output | Role::Local => None,
        });
    }
    Ok(inputs)
}

/// A random tensor; of a large one some rows over and over, where its bytes are rows one after the other.
fn repeated(
    kernel: &Kernel,
    id: TensorId,
    dims: &[u64],
    random: &mut Random,
) -> Result<Tensor, Error> {
    let spec = kernel.spec();
    let tensor = &spec.tensors[id];
    let shape = crate::check::shape(spec, id, dims);
    let dim = tensor.shape.first().and_then(|e| e.dim());
    let (Some(dim), Some(rows)) = (dim, shape.first().copied()) else {
        return random_tensor(spec, id, dims, random);
    };
    let mut few = dims.to_vec();
    few[dim.as_u32() as usize] = ROWS;
    let small = crate::check::shape(spec, id, &few);
    let by = rows / ROWS;
    let bytes = |shape: &[u64]| tensor.format.tensor_bytes(shape);
    let repeats = rows > ROWS
        && rows.is_multiple_of(ROWS)
        && small[0] == ROWS
        && small[1..] == shape[1..]
        && bytes(&small).and_then(|b| b.checked_mul(by)) == bytes(&shape);
    if !repeats {
        return random_tensor(spec, id, dims, random);
    }
    let part = random_tensor(spec, id, &few, random)?;
    Tensor::from_bytes(
        tensor.format.clone(),
        &shape,
        part.bytes().repeat(by as usize),
    )
}

/// Makes a contender of every candidate.
fn contend(
    kernel: &Kernel,
    dims: &[u64],
    batch: u64,
    inputs: &[Option<Tensor>],
    contenders: &mut Vec<Contender>,
    packed: &mut Vec<Packed>,
) -> Result<(), Error> {
    let program = &kernel.class(batch)?.program;
    for (step, stage) in program.stages.iter().enumerate() {
        for candidate in &stage.candidates {
            let pick = Pick {
                step,
                lanes: candidate.lanes.clone(),
                term: candidate.term,
            };
            let kernel = kernel.with_candidate(batch, pick)?;
            let predicted = predicted(&kernel.class(batch)?.program, dims);
            let packed = pack(&kernel, inputs, packed)?;
            contenders.push(Contender {
                step,
                packed,
                report: MeasuredCandidate {
                    lanes: candidate.lanes.clone(),
                    name: candidate.name.clone(),
                    chosen: candidate.chosen,
                    predicted,
                    cached: None,
                    streamed: None,
                },
                kernel,
            });
        }
    }
    Ok(())
}

/// Cycles of all steps for given extents.
fn predicted(program: &Program, dims: &[u64]) -> f64 {
    let kernel = &program.normal.kernel;
    let computed = program.normal.steps.iter().filter_map(|s| match s {
        Step::Compute(statement) => Some(statement),
        Step::Encode { .. } => None,
    });
    let cycles = computed.zip(&program.stages).map(|(statement, stage)| {
        let extent = |index| {
            let extent = kernel.indices[index].extent;
            let known = extent.value(|d| dims.get(d.as_u32() as usize).copied());
            known.unwrap_or(1)
        };
        let points = amounts(kernel, statement, &extent).points;
        let chosen = stage.candidates.iter().find(|c| c.chosen);
        chosen.map_or(0.0, |c| c.cost.cycles) * points / stage.amounts.points.max(1.0)
    });
    cycles.sum()
}

/// Weights in the layouts of a kernel: those of another contender, or new ones.
fn pack(
    kernel: &Kernel,
    inputs: &[Option<Tensor>],
    packed: &mut Vec<Packed>,
) -> Result<usize, Error> {
    let weights = kernel.spec().tensors.iter();
    let weights = weights.filter(|(_, t)| t.role == Role::Weight);
    let layouts: Vec<_> = weights.map(|(id, _)| (id, kernel.layout_of(id))).collect();
    let same = |p: &Packed| {
        p.layouts
            .iter()
            .zip(&layouts)
            .all(|((_, a), (_, b))| same_layout(a, b))
    };
    if let Some(at) = packed.iter().position(same) {
        return Ok(at);
    }
    let mut first = Vec::new();
    for (id, layout) in &layouts {
        if let Some(tensor) = &inputs[id.as_u32() as usize] {
            let tensor = kernel.convert(&kernel.spec().tensors[*id].name, tensor)?;
            // One layout for all who share it: then calls need not compare two.
            first.push(Tensor::from_bytes(
                layout.clone(),
                tensor.shape(),
                tensor.bytes().to_vec(),
            )?);
        }
    }
    packed.push(Packed {
        layouts,
        copies: vec![first],
    });
    Ok(packed.len() - 1)
}

/// Copies of the weights until they take so many bytes.
fn rotate(packed: &mut [Packed], wanted: u64) -> Result<(), Error> {
    let wanted = wanted.min(MOST_BYTES / packed.len().max(1) as u64);
    for set in packed {
        let bytes: u64 = set.copies[0].iter().map(|t| t.bytes().len() as u64).sum();
        let copies = wanted.div_ceil(bytes.max(1)).clamp(2, 1 << 12);
        while (set.copies.len() as u64) < copies && bytes > 0 {
            let copy = set.copies[0]
                .iter()
                .map(|t| Tensor::from_bytes(t.format().clone(), t.shape(), t.bytes().to_vec()));
            let copy = copy.collect::<Result<Vec<_>, Error>>()?;
            set.copies.push(copy);
        }
    }
    Ok(())
}

/// Median cycles of a call of each contender.
fn time(
    contenders: &[Contender],
    packed: &[Packed],
    inputs: &[Option<Tensor>],
    effort: &Effort,
    rotated: bool,
    clock: &mut Vec<f64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<f64>, Error> {
    let mut runs = Vec::new();
    for contender in contenders {
        runs.push(Run::new(
            contender,
            &packed[contender.packed],
            inputs,
            rotated,
        )?);
    }
    // The next copy of each set of weights.
    let mut next = vec![0; packed.len()];
    let mut first = Vec::new();
    for (contender, run) in contenders.iter().zip(&mut runs) {
        run.time(1, &mut next[contender.packed])?;
        first.push(run.time(1, &mut next[contender.packed])?);
    }
    let best = first.iter().copied().fold(f64::INFINITY, f64::min);
    let start = Instant::now();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); runs.len()];
    let mut cycle = Vec::new();
    let mut rounds = 0;
    for round in 0..effort.repeats.max(1) {
        if round >= 2 && start.elapsed() > effort.budget {
            break;
        }
        cycle.push(calibrate::clock(contenders[0].kernel.target())?);
        for (at, (contender, run)) in contenders.iter().zip(&mut runs).enumerate() {
            if first[at] > best * SLOW {
                continue;
            }
            let calls = (effort.run.as_secs_f64() / first[at].max(1e-7)).ceil();
            let calls = (calls as u64).clamp(1, 1 << 16);
            times[at].push(run.time(calls, &mut next[contender.packed])?);
        }
        rounds = round + 1;
        progress(1);
    }
    progress((effort.repeats.max(1) - rounds) as u64);
    let hertz = median(&mut cycle);
    clock.push(hertz);
    let medians = times.iter_mut().zip(&first).map(|(times, first)| {
        let seconds = if times.is_empty() {
            *first
        } else {
            median(times)
        };
        seconds * hertz
    });
    Ok(medians.collect())
}

/// Calls of a contender, checked beforehand.
struct Run<'a> {
    calls: Vec<Prepared<'a>>,
    outputs: Vec<Vec<u8>>,
    scratch: Scratch,
}

impl<'a> Run<'a> {
    fn new(
        contender: &'a Contender,
        packed: &'a Packed,
        inputs: &'a [Option<Tensor>],
        rotated: bool,
    ) -> Result<Run<'a>, Error> {
        let spec = contender.kernel.spec();
        let copies = if rotated { packed.copies.len() } else { 1 };
        let mut calls = Vec::new();
        for copy in &packed.copies[..copies] {
            let mut args: Vec<(&str, &Tensor)> = Vec::new();
            for (id, tensor) in spec.tensors.iter() {
                let weight = packed.layouts.iter().position(|(w, _)| *w == id);
                let given = match weight {
                    Some(at) => copy.get(at),
                    None => inputs[id.as_u32() as usize].as_ref(),
                };
                args.extend(given.map(|g| (tensor.name.as_str(), g)));
            }
            calls.push(contender.kernel.prepare(&args)?);
        }
        let outputs = match calls.first() {
            Some(call) => call.outputs()?.into_iter().map(|(_, _, b)| b).collect(),
            None => Vec::new(),
        };
        Ok(Run {
            calls,
            outputs,
            scratch: Scratch::default(),
        })
    }

    /// Seconds of a call, over several.
    fn time(&mut self, calls: u64, next: &mut usize) -> Result<f64, Error> {
        let mut slices: Vec<&mut [u8]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        for _ in 0..calls {
            let call = &self.calls[*next % self.calls.len()];
            call.run(&mut slices, &mut self.scratch)?;
            *next += 1;
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn agreement(
    candidates: &[MeasuredCandidate],
    time: impl Fn(&MeasuredCandidate) -> Option<f64>,
) -> Option<Agreement> {
    let times: Vec<f64> = candidates.iter().map(&time).collect::<Option<_>>()?;
    let predicted: Vec<f64> = candidates.iter().map(|c| c.predicted).collect();
    let chosen = time(candidates.iter().find(|c| c.chosen)?)?;
    let fastest = times.iter().copied().fold(f64::INFINITY, f64::min);
    Some(Agreement {
        chosen_over_fastest: chosen / fastest,
        rank_correlation: rank_correlation(&predicted, &times),
    })
}

/// Spearman's rank correlation of two lists of equal length; 1 where either has no two different values.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = |r: &[f64]| r.iter().sum::<f64>() / r.len().max(1) as f64;
    let (ma, mb) = (mean(&a), mean(&b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(&b).map(|(x, y)| f(x - ma, y - mb)).sum()
    };
    let spread = (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt();
    if spread == 0.0 {
        return 1.0;
    }
    sum(&|x, y| x * y) / spread
}

/// The rank of each value; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |v: &f64| {
        let below = values.iter().filter(|o| *o < v).count() as f64;
        let equal = values.iter().filter(|o| *o == v).count() as f64;
        below + (equal - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
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
    use super::{Effort, measure, rank_correlation};
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
    fn ranks_agree_whatever_the_values() {
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[10.0, 20.0, 1e9]), 1.0);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(rank_correlation(&[1.0], &[2.0]), 1.0);
        let ties = rank_correlation(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]);
        assert!((ties - 0.866).abs() < 1e-3, "{ties}");
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
