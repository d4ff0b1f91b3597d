//! Waiting: what a term takes because operations need the results of others. A machine looks only so many operations ahead, so
//! it overlaps only so many rounds of a loop (Little's law: what is on the way is rate times latency).

use super::{Mode, Prices, bound_axis, copies};
use crate::rewrite::extract::{Extracted, Picked};
use crate::rewrite::lang::Op;
use crate::schedule::index::{AxisId, AxisKind};

/// A term on a target.
pub(super) struct Waiting<'a> {
    prices: &'a Prices<'a>,
    nodes: &'a [Picked],
    /// Cycles from the operands of a node to its value.
    latencies: Vec<f64>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        prices: &'a Prices<'a>,
        term: &'a Extracted,
        latencies: Vec<f64>,
    ) -> Waiting<'a> {
        Waiting {
            prices,
            nodes: &term.nodes,
            latencies,
        }
    }

    /// Cycles that the loop takes at least that has to wait most, if the term takes so many vector operations.
    pub(super) fn cycles(&self, operations: f64) -> f64 {
        let is_loop = |at: usize| {
            let node = &self.nodes[at];
            is_sum(node)
                && node.mode == Mode::Main
                && self.prices.axes[bound_axis(node)].kind == AxisKind::Loop
        };
        let loops = (0..self.nodes.len()).filter(|at| is_loop(*at));
        loops
            .map(|at| self.of_loop(at, operations))
            .fold(0.0, f64::max)
    }

    /// Cycles of the loop of a sum: in order where its rounds wait for each other, else as many rounds at once as are seen.
    fn of_loop(&self, at: usize, operations: f64) -> f64 {
        let sum = &self.nodes[at];
        let rounds = self.prices.trips(sum) / copies(self.prices.axes, sum.runs);
        let (leaf, added) = self.chain(at);
        let round = self.path(leaf, bound_axis(sum)) + added;
        let seen = operations / rounds / self.prices.target.throughput.window;
        rounds * f64::max(added, round * share(seen))
    }

    /// Cycles from the begin of a round of a loop until a value is there.
    fn path(&self, at: usize, axis: AxisId) -> f64 {
        let mut paths = vec![0.0; at + 1];
        for (here, node) in self.nodes[..=at].iter().enumerate() {
            if !node.free.has(axis) {
                continue;
            }
            paths[here] = match is_sum(node) {
                true => {
                    let (leaf, added) = self.chain(here);
                    paths[leaf] + added * self.prices.axes[bound_axis(node)].nominal as f64
                }
                false => {
                    let operands = node.children.iter().map(|c| paths[*c]);
                    operands.fold(0.0, f64::max) + self.latencies[here]
                }
            };
        }
        paths[at]
    }

    /// What a sum adds up, and the cycles that each of its rounds adds to the chain: sums directly inside each other are one.
    fn chain(&self, at: usize) -> (usize, f64) {
        let child = self.nodes[at].children[0];
        let node = &self.nodes[child];
        match node.op {
            op if op == self.nodes[at].op => {
                let (leaf, added) = self.chain(child);
                (
                    leaf,
                    added * self.prices.axes[bound_axis(node)].nominal as f64,
                )
            }
            // The operation adds to the accumulator itself.
            Op::VDot4 | Op::VDot4S => (child, self.latencies[child]),
            Op::VFMul if self.prices.target.features.fma => (child, self.latencies[child]),
            _ => (child, self.latencies[at]),
        }
    }
}

/// The share of a round's time that is not hidden by other rounds, where a round has so many times the operations that the
/// machine sees: little of a short one, and all of a long one.
fn share(seen: f64) -> f64 {
    seen / (1.0 + seen.powi(SHARP)).powf(1.0 / f64::from(SHARP))
}

/// How sharply one turns into the other (found by tiles of dot products on Zen 4).
const SHARP: i32 = 3;

fn is_sum(node: &Picked) -> bool {
    matches!(node.op, Op::VSum | Op::VMaxOver)
}
