//! Where the time of a call goes, as far as the cost model says: what each limit of the machine would take alone, beside what is
//! predicted, and what the prediction does not explain.

use super::{Bench, Limits};
use crate::Error;
use crate::measure::{chosen, computing};
use lowbit_compiler::rewrite::cost::CostVector;
use lowbit_compiler::schedule::plan::Plan;
use lowbit_compiler::spec::kernel::Kernel as Spec;
use lowbit_compiler::target::Target;
use serde::Serialize;

/// The predicted time of a call, and the measured one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// Seconds that were measured: the median.
    pub measured: f64,
    /// Seconds that are predicted.
    pub predicted: f64,
    /// Seconds that are predicted for extents that are rounded up to whole tiles.
    pub in_whole_tiles: f64,
    /// What each limit takes alone, the longest first. They overlap: their sum is more than the prediction.
    pub charges: Vec<Charge>,
    /// Seconds that the prediction does not explain; less than 0 if it is longer than the measured time.
    pub unexplained: f64,
    /// Seconds of that for steps without a choice, such as quantising: every thread takes them in full.
    pub without_choice: Vec<(String, f64)>,
}

/// What one limit takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Charge {
    /// What: a unit, a chain of sums, a level of the memory hierarchy.
    pub name: String,
    /// Seconds, if nothing else took time.
    pub seconds: f64,
    /// Its part of the predicted time.
    pub share: f64,
}

/// Parts of the predicted time below which a limit is not listed.
const LEAST: f64 = 0.01;

impl Bench<'_> {
    /// Where the time goes, at the clock that was measured with the limits. Threads are taken to share the work evenly.
    pub fn account(&self, limits: &Limits) -> Result<Account, Error> {
        let Bench { kernel, data, .. } = self;
        let target = kernel.target();
        let program = self.program()?;
        let seconds = |cycles: f64| cycles / limits.hertz / self.threads as f64;
        let (mut predicted, mut in_whole_tiles) = (0.0, 0.0);
        let mut charges: Vec<Charge> = Vec::new();
        let mut without_choice = Vec::new();
        for (step, cost) in program.work_without_choice(target, &data.dims)? {
            let own = cost.cycles / limits.hertz;
            predicted += own;
            in_whole_tiles += own;
            charge(&mut charges, &cost, target, 1.0 / limits.hertz);
            without_choice.push((step, own));
        }
        for (_, stage, times) in computing(program, &data.dims) {
            let Some(candidate) = chosen(stage) else {
                continue;
            };
            let step = seconds(candidate.cost.cycles * times);
            predicted += step;
            in_whole_tiles += step * rounded_up(&program.normal.kernel, &stage.plan, &data.dims);
            charge(&mut charges, &candidate.cost, target, seconds(times));
        }
        for charge in &mut charges {
            charge.share = charge.seconds / predicted.max(f64::MIN_POSITIVE);
        }
        charges.retain(|c| c.share >= LEAST);
        charges.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let measured = self.seconds().median;
        Ok(Account {
            measured,
            predicted,
            in_whole_tiles,
            charges,
            unexplained: measured - predicted,
            without_choice,
        })
    }
}

/// Adds what the limits of a step take, at so many seconds for a cycle.
fn charge(charges: &mut Vec<Charge>, cost: &CostVector, target: &Target, each: f64) {
    for limit in cost.limits(target) {
        let more = limit.cycles * each;
        match charges.iter_mut().find(|c| c.name == limit.name) {
            Some(charge) => charge.seconds += more,
            None => charges.push(Charge {
                name: limit.name.to_owned(),
                seconds: more,
                share: 0.0,
            }),
        }
    }
}

/// How much more there is to do if the extents of a step are rounded up to whole tiles of its plan.
fn rounded_up(kernel: &Spec, plan: &Plan, dims: &[u64]) -> f64 {
    let rows = plan
        .row
        .map(|(index, _)| (index, plan.row_group() * plan.row_tile));
    let batch = plan.batch_index().map(|index| (index, plan.batch_tile));
    let vector = plan.vector.as_ref().map(|(index, _)| (*index, plan.chunk));
    let more = [rows, batch, vector]
        .into_iter()
        .flatten()
        .map(|(index, tile)| {
            let extent = kernel.indices[index].extent;
            let extent = extent.value(|d| dims.get(d.as_u32() as usize).copied());
            let extent = extent.unwrap_or(1).max(1);
            extent.next_multiple_of(tile.max(1)) as f64 / extent as f64
        });
    more.product()
}
