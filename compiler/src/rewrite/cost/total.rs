//! The cost of a whole term: sums over its operations, and the time that follows from the tightest limit.

use super::node::planes;
use super::traffic::Traffic;
use super::window::Waiting;
use super::{CostVector, Mode, Prices, copies, copies_of};
use crate::rewrite::extract::{Extracted, Picked};
use crate::rewrite::lang::{Node, Op};
use crate::schedule::index::{Affine, AxisId, AxisKind, AxisSet};
use crate::schedule::term::LoadId;
use crate::target::{Target, UNITS, Unit};
use crate::vector::ir::Scalar;

/// The cost of a whole term.
pub fn total(prices: &Prices<'_>, extracted: &Extracted, weights: &[bool]) -> CostVector {
    let Prices { target, axes, .. } = *prices;
    let mut sum = CostVector::default();
    // Accumulators, with how often they are added to.
    let mut accumulators: Vec<(f64, f64)> = Vec::new();
    let mut tables = 0.0;
    let mut widest = 1.0;
    let mut phases = false;
    // Vector operations of the loops over results.
    let mut waiting = 0.0;
    let mut latencies = vec![0.0; extracted.nodes.len()];
    for (at, node) in extracted.nodes.iter().enumerate() {
        let children: Vec<&Picked> = node.children.iter().map(|c| &extracted.nodes[*c]).collect();
        let Some(cost) = prices.node(node, &children) else {
            continue;
        };
        latencies[at] = cost.latency;
        let times = prices.trips(node);
        if node.mode == Mode::Main {
            tables += table_registers(node);
            widest = f64::max(widest, prices.registers(node));
        }
        sum.units[cost.unit as usize] += cost.uops * times;
        if node.mode == Mode::Main && cost.unit.is_vector() {
            waiting += cost.uops * times;
        }
        sum.units[Unit::Store as usize] += prices.stores(node);
        if node.op == Op::VSum && node.mode == Mode::Main && !inner_of_chain(extracted, at) {
            let copies = copies(axes, node.free);
            accumulators.push((times / copies, prices.registers(node) * copies));
        }
        if let (Op::VLoad, Some(Node::Ref(load))) = (node.op, node.data.last())
            && weights[*load as usize]
        {
            sum.streams = f64::max(sum.streams, streams(prices, *load));
            phases |= reads_in_phases(prices, node, *load);
        }
    }
    let live = live(&accumulators) + tables + widest;
    sum.registers = live;
    let registers = f64::from(target.throughput.registers);
    // A quarter of the registers is for what is on the way.
    let spill = (live - registers * 0.75).max(0.0) / registers;
    sum.chain = Waiting::new(prices, extracted, latencies).cycles(waiting);
    let traffic = Traffic::new(prices, extracted, weights);
    let levels = traffic.levels();
    let from_memory = levels.last().copied();
    sum.bytes = from_memory.unwrap_or_else(|| traffic.beyond(0)).weights;
    sum.levels = levels.iter().map(|l| l.all).collect();
    let limits = sum.limits(target);
    let longest = |kind: Kind| {
        let limits = limits.iter().filter(|l| l.kind == kind);
        limits.map(|l| l.cycles).fold(0.0, f64::max)
    };
    let moving = longest(Kind::Moving);
    let busy = busy(&limits);
    sum.cycles = (busy * (1.0 + spill))
        .max(longest(Kind::Waiting))
        .max(longest(Kind::Memory))
        .max(moving)
        + busy * ALWAYS
        + moving * PARTLY
        + if phases || sum.streams > 1.0 {
            longest(Kind::Memory)
        } else {
            0.0
        };
    sum
}

/// Cycles of all units together: those that are nearly as busy as the busiest are in its way.
fn busy(limits: &[Limit<'_>]) -> f64 {
    let units = limits.iter().filter(|l| l.kind == Kind::Busy);
    let together: f64 = units.map(|l| l.cycles.powi(NORM)).sum();
    together.powf(1.0 / f64::from(NORM))
}

/// Cycles that something would take if nothing else bounded the time.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit<'a> {
    /// What.
    pub name: &'a str,
    /// How long.
    pub cycles: f64,
    /// What kind of thing takes it.
    pub kind: Kind,
}

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Operations.
    Busy,
    /// Operands that are not there yet.
    Waiting,
    /// Data between caches.
    Moving,
    /// Data from memory.
    Memory,
}

impl CostVector {
    /// What operations take that wait for nothing, and whose data is near.
    pub fn of_units(units: [f64; UNITS], target: &Target) -> CostVector {
        let mut cost = CostVector {
            units,
            ..CostVector::default()
        };
        cost.cycles = busy(&cost.limits(target));
        cost
    }

    /// What may bound the time of a term on a target.
    pub fn limits<'a>(&self, target: &'a Target) -> Vec<Limit<'a>> {
        let rate = &target.throughput;
        let busy = |name, cycles: f64| Limit {
            name,
            cycles: cycles * SUSTAINED,
            kind: Kind::Busy,
        };
        let units = Unit::ALL.into_iter();
        let unit = |u: Unit| busy(u.name(), self.units[u as usize] / rate.units[u as usize]);
        let mut limits: Vec<Limit<'_>> = units.map(unit).collect();
        // Multiplies, shuffles and sums of floats run on vector units that can do them.
        let vectors = Unit::ALL.into_iter().filter(|u| u.is_vector());
        let vectors: f64 = vectors.map(|u| self.units[u as usize]).sum();
        let together = vectors / rate.units[Unit::Vector as usize];
        limits.push(busy("all vector units", together));
        limits.push(busy("issue", self.work() / rate.issue));
        limits.push(Limit {
            name: "the chain of an accumulator",
            cycles: self.chain,
            kind: Kind::Waiting,
        });
        let mut moved = self
            .levels
            .iter()
            .zip(target.levels.iter().skip(1))
            .peekable();
        while let Some((bytes, level)) = moved.next() {
            let (kind, per_cycle) = match moved.peek() {
                Some(_) => (Kind::Moving, level.rate),
                None => (Kind::Memory, rate.memory * stream_share(self.streams)),
            };
            limits.push(Limit {
                name: &level.name,
                cycles: bytes / per_cycle,
                kind,
            });
        }
        limits
    }
}

/// What the operations of a term add to its time even where something else bounds it.
const ALWAYS: f64 = 0.04;

/// The part of moving data between caches that operations do not hide (measured on Zen 4 with panels that do not fit the first).
const PARTLY: f64 = 0.3;

/// How much longer straight code takes than its units would, and how the times of several units make one: measured on Zen 4
/// with tiles of dot products and multiply-adds.
const SUSTAINED: f64 = 1.1;
const NORM: i32 = 3;

/// Registers of the accumulators: those of the hottest loop, and a part of those of the loops around, which can wait in memory
/// but do not always.
fn live(accumulators: &[(f64, f64)]) -> f64 {
    let most = accumulators.iter().map(|a| a.0).fold(0.0, f64::max);
    let held = |(times, registers): &(f64, f64)| match times * RARE >= most {
        true => *registers,
        false => registers * WAITING,
    };
    accumulators.iter().map(held).sum()
}

/// What an accumulator counts that can wait in memory.
const WAITING: f64 = 0.25;

/// Registers of the tables of a look-up.
fn table_registers(node: &Picked) -> f64 {
    match node.op {
        Op::VLookup8 => 1.0,
        Op::VLookup32 => planes(node),
        _ => 0.0,
    }
}

/// How many times as often the hottest loop runs as one whose accumulators need not stay in registers.
const RARE: f64 = 2.0;

/// Distant places that the copies of a load read from at once.
fn streams(prices: &Prices<'_>, load: u32) -> f64 {
    let load = LoadId::from_u32(load);
    let address = &prices.terms.loads[load].address;
    let apart = |a: AxisId| {
        let axis = &prices.axes[a];
        let places = copies_of(prices.axes, AxisSet::one(a));
        let places = places.iter().map(|at| address.known_part(at));
        let (first, last) = places.fold((u64::MAX, 0), |(f, l), p| (f.min(p), l.max(p)));
        let near = last.saturating_sub(first) < PAGE && is_known(address, a);
        axis.kind == AxisKind::Unroll && axis.output && !near
    };
    let copies = prices.terms.load_axes(load).iter().filter(|a| apart(*a));
    copies.map(|a| prices.axes[a].nominal as f64).product()
}

/// Whether weights are read in phases with pauses, which are too short for a processor that fetches ahead: into panels, or with
/// each pass over a block reading some of its rows. Nothing hides the time of that (on Zen 4, panels of eight rows of INT4 take
/// 2.9 ms from memory and 2.0 from caches, and codes that are decoded again for every two rows 1.8 from memory).
fn reads_in_phases(prices: &Prices<'_>, node: &Picked, load: u32) -> bool {
    if node.mode == Mode::Panel {
        return true;
    }
    let address = &prices.terms.loads[LoadId::from_u32(load)].address;
    let loops = |output: bool| {
        let axes = prices.axes.iter();
        let own = axes.filter(move |(_, a)| a.kind == AxisKind::Loop && a.output == output);
        own.filter_map(|(a, _)| match address.coefficient(a) {
            Some(Scalar::Const(bytes)) if bytes > 0 => Some(bytes),
            _ => None,
        })
    };
    // Rows that are nearer to each other than the next elements of one.
    let (rows, elements) = (loops(true).min(), loops(false).max());
    rows.zip(elements)
        .is_some_and(|(rows, elements)| rows < elements)
}

/// Whether an address changes with an axis by numbers alone, and not by extents.
fn is_known(address: &Affine, axis: AxisId) -> bool {
    !matches!(address.coefficient(axis), Some(scalar) if !matches!(scalar, Scalar::Const(_)))
}

/// Bytes of a page: what lies in one is one stream to a processor that fetches ahead.
const PAGE: u64 = 4096;

/// What one thread gets of the memory's rate when it reads several distant streams at once (measured: four lose 40 %).
fn stream_share(streams: f64) -> f64 {
    1.0 - 0.13 * (streams.clamp(1.0, 4.0) - 1.0)
}

/// Whether a sum is accumulated into the one around it.
fn inner_of_chain(extracted: &Extracted, at: usize) -> bool {
    extracted
        .nodes
        .iter()
        .any(|n| n.op == Op::VSum && n.children == [at])
}
