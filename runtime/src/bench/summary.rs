//! What was measured of a kernel, and its share of what the machine can do.

use super::{Bench, Limits};
use crate::explain::{Resident, resident};
use crate::measure::{chosen, computing, part};
use crate::{Error, Kernel};
use lowbit_compiler::lower::sample::Peak;
use lowbit_compiler::pipeline::Stage;
use lowbit_compiler::rewrite::cost::{Mode, Prices};
use lowbit_compiler::rewrite::lang::Op;
use serde::Serialize;

/// Values in short: half of them lie between the quartiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// A quarter of the values lies below.
    pub lower_quartile: f64,
    /// The one in the middle.
    pub median: f64,
    /// A quarter of the values lies above.
    pub upper_quartile: f64,
    /// How many values there are.
    pub count: usize,
}

impl Spread {
    /// Of some values; all 0 of none.
    pub fn of(values: &[f64]) -> Spread {
        let mut sorted = values.to_vec();
        let lower_quartile = part(&mut sorted, 4);
        let median = part(&mut sorted, 2);
        let above = sorted.len().saturating_sub(1) / 4;
        let upper = sorted.iter().rev().nth(above);
        Spread {
            lower_quartile,
            median,
            upper_quartile: upper.copied().unwrap_or(0.0),
            count: values.len(),
        }
    }

    /// The distance of the quartiles.
    pub fn interquartile(&self) -> f64 {
        self.upper_quartile - self.lower_quartile
    }
}

/// The part of a limit that is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The limit.
    pub limit: &'static str,
    /// 1 is all of it.
    pub share: f64,
}

/// What was measured of a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The extent of its free dimensions.
    pub rows: u64,
    /// Threads that a call is divided among.
    pub threads: usize,
    /// Seconds of a call.
    pub seconds: Spread,
    /// Bytes of weights that a call reads.
    pub weight_bytes: f64,
    /// Bytes of weights a second.
    pub bandwidth: f64,
    /// Additions and multiplications of a call, if it has sums of products.
    pub operations: Option<f64>,
    /// The same in a second.
    pub rate: Option<f64>,
    /// Bits that the weights take.
    pub weights: Vec<Resident>,
    /// How it is computed, a line for each computing step.
    pub lowering: Vec<String>,
    /// Shares of the limits that bound it, the nearest first.
    pub shares: Vec<Share>,
}

/// The limit of what is read.
const MEMORY: &str = "memory";

impl Bench<'_> {
    /// What the rounds until now say, beside the limits of the machine.
    pub fn summary(&self, limits: &Limits) -> Result<Summary, Error> {
        let work = Work::of(self)?;
        let seconds = self.seconds();
        let each = |amount: f64| match seconds.median > 0.0 {
            true => amount / seconds.median,
            false => 0.0,
        };
        // What caches may hold is not bound by memory.
        let streamed = self.data.copies() > 1 && work.bytes > 0.0;
        let from_memory = |limits: &Limits| limits.bandwidth(self.threads).filter(|_| streamed);
        let mut shares = Vec::new();
        if let Some(limit) = from_memory(limits) {
            shares.push(Share {
                limit: MEMORY,
                share: each(work.bytes) / limit,
            });
        }
        for (peak, amount) in &work.peaks {
            if let Some(limit) = limits.peak(*peak) {
                shares.push(Share {
                    limit: peak.name(),
                    share: each(*amount) / (limit * self.threads as f64),
                });
            }
        }
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        Ok(Summary {
            rows: self.data.rows,
            threads: self.threads,
            seconds,
            weight_bytes: work.bytes,
            bandwidth: each(work.bytes),
            operations: work.operations,
            rate: work.operations.map(each),
            weights: resident(self.kernel)?,
            lowering: work.lowering,
            shares,
        })
    }
}

/// What a call does.
#[derive(Default)]
struct Work {
    bytes: f64,
    operations: Option<f64>,
    /// What is to be held against peaks.
    peaks: Vec<(Peak, f64)>,
    lowering: Vec<String>,
}

impl Work {
    fn of(bench: &Bench<'_>) -> Result<Work, Error> {
        let Bench { kernel, data, .. } = bench;
        let program = bench.program()?;
        let mut work = Work::default();
        let mut weights = 0.0;
        for (amounts, stage, times) in computing(program, &data.dims) {
            weights += amounts.weights;
            let looked_up = look_ups(kernel, stage) * times;
            if looked_up > 0.0 {
                work.add(Peak::LookUps, looked_up);
            }
            // What has more products than results is a sum of them: each is multiplied and added.
            if amounts.points > amounts.results {
                let operations = 2.0 * amounts.points;
                work.operations = Some(work.operations.unwrap_or(0.0) + operations);
                if let Some(peak) = multiplied_by(stage) {
                    work.add(peak, operations);
                }
            }
            let line = chosen(stage).map(|c| format!("{} {}", c.lanes, c.name));
            work.lowering.extend(line);
        }
        // Rows that are looked up are not all rows, and what is read again comes from a cache.
        let elements = data.weight_elements();
        let all = data.weight_bytes() as f64;
        work.bytes = all * (weights / elements.max(1.0)).min(1.0);
        Ok(work)
    }

    fn add(&mut self, peak: Peak, amount: f64) {
        match self.peaks.iter_mut().find(|(p, _)| *p == peak) {
            Some((_, sum)) => *sum += amount,
            None => self.peaks.push((peak, amount)),
        }
    }
}

/// The operation that the products of a step are made by. Where integers are multiplied, floats are only for scales.
fn multiplied_by(stage: &Stage) -> Option<Peak> {
    let (_, _, _, lowering) = stage.parts.first()?;
    let has = |ops: &[Op]| lowering.term.nodes.iter().any(|n| ops.contains(&n.op));
    let by_integers = [Op::VMulPairs16, Op::VIMul, Op::VPick, Op::VCountOnes];
    match () {
        () if has(Peak::Dots.operations()) => Some(Peak::Dots),
        () if has(Peak::Pairs.operations()) => Some(Peak::Pairs),
        () if has(&by_integers) => None,
        () if has(Peak::Floats.operations()) => Some(Peak::Floats),
        () => None,
    }
}

/// Bytes that a step looks up in the loops over results, for what its costs are for.
fn look_ups(kernel: &Kernel, stage: &Stage) -> f64 {
    let Some((_, placed, _, lowering)) = stage.parts.first() else {
        return 0.0;
    };
    let prices = Prices::new(kernel.target(), &placed.terms, &placed.axes);
    let nodes = lowering.term.nodes.iter();
    let looked_up = nodes
        .filter(|n| n.mode == Mode::Main && Peak::LookUps.operations().contains(&n.op))
        .map(|n| {
            let lanes = n.lanes.iter().map(|a| placed.axes[a].nominal as f64);
            prices.trips(n) * lanes.product::<f64>()
        });
    looked_up.sum()
}
