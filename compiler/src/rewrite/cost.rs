//! Cost: how often a node runs, what it occupies, and the time of a whole term.
//!
//! The time is the largest of the throughputs, the longest chain and the bytes moved, not their sum (design, section 4).

use super::extract::{Extracted, Picked};
use super::lang::{Node, Op, Ty};
use super::window::Waiting;
use crate::schedule::index::{Axes, AxisId, AxisKind, AxisSet};
use crate::schedule::term::{LoadId, Storage, Terms};
use crate::target::{Cost, Target, UNITS, Unit};
use crate::vector::ir::Scalar;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a term costs for all results, under the nominal extents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostVector {
    /// Micro-operations of each unit, in the order of [`Unit::ALL`].
    pub units: [f64; UNITS],
    /// Cycles that waiting for operands takes at least.
    pub chain: f64,
    /// Bytes of weights read.
    pub bytes: f64,
    /// Vector registers live in the innermost loop (accumulators, tables and what is looked up, one value), estimated.
    pub registers: f64,
    /// Predicted cycles.
    pub cycles: f64,
}

impl CostVector {
    /// Cheaper first: by cycles, and of equals by all the micro-operations together, which leave room for others.
    pub fn order(&self, other: &CostVector) -> std::cmp::Ordering {
        self.cycles
            .total_cmp(&other.cycles)
            .then(self.work().total_cmp(&other.work()))
    }

    /// All micro-operations together.
    pub fn work(&self) -> f64 {
        self.units.iter().sum()
    }
}

/// Where a node stands: in the loops over results, or in what is computed before some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// In the loops.
    Main,
    /// In a stage, before the loops over rows.
    Staged,
    /// In a panel, before the loop over the batch.
    Panel,
}

impl Mode {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// Where the operands of an operation stand that itself stands here.
    pub fn of_operands(self, op: Op) -> Mode {
        match op {
            Op::VStage => Mode::Staged,
            Op::VPanel => Mode::Panel,
            _ => self,
        }
    }

    /// Whether an operation may stand here: what keeps its operand for the loops stands in the loops.
    pub fn admits(self, op: Op) -> bool {
        self == Mode::Main || Mode::Main.of_operands(op) == Mode::Main
    }
}

/// How the lanes of a load lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// One element.
    Scalar,
    /// Neighbouring elements, all lanes in order.
    Contiguous,
    /// Lane by lane.
    Gather,
}

/// How the lanes of a load lie.
pub fn access(terms: &Terms, axes: &Axes, load: LoadId, lanes: AxisSet) -> Access {
    let load = &terms.loads[load];
    let count: u64 = lanes.iter().map(|a| axes[a].nominal).product();
    if count == 1 {
        return Access::Scalar;
    }
    let bytes = match load.storage {
        Storage::U8 | Storage::I8 => 1,
        Storage::U16 | Storage::I16 => 2,
        Storage::I32 | Storage::F32 => 4,
        Storage::Code { .. } | Storage::Place { .. } => return Access::Gather,
    };
    let mut stride = bytes;
    for axis in lanes.iter().collect::<Vec<_>>().into_iter().rev() {
        if load.address.coefficient(axis) != Some(Scalar::Const(stride)) {
            return Access::Gather;
        }
        stride *= axes[axis].nominal;
    }
    Access::Contiguous
}

/// Of the copies of a load, those that read other bytes than the others: the same bytes are read once.
fn distinct(terms: &Terms, axes: &Axes, load: LoadId) -> f64 {
    let load = &terms.loads[load];
    if load.bit.is_some() {
        return 1.0;
    }
    let copies = copies_of(axes, load.address.axes());
    let places = copies.iter().map(|at| load.address.known_part(at));
    let places: BTreeSet<u64> = places.collect();
    places.len() as f64 / copies.len() as f64
}

/// Copies beyond which their addresses are not compared.
const MOST_COPIES: u64 = 1 << 10;

/// How often code that depends on these axes runs.
pub fn trips(axes: &Axes, free: AxisSet, mode: Mode) -> f64 {
    let loops = free.iter().filter(|a| axes[*a].kind == AxisKind::Loop);
    let innermost = loops.max_by_key(|a| (axes[*a].group, *a));
    let copies: f64 = free
        .iter()
        .filter(|a| axes[*a].kind == AxisKind::Unroll)
        .map(|a| axes[a].nominal as f64)
        .product();
    let Some(innermost) = innermost else {
        return copies;
    };
    let around = axes.iter().filter(|(id, axis)| {
        axis.kind == AxisKind::Loop
            && match (mode, axis.group) {
                (_, 0) if axes[innermost].group == 0 && *id > innermost => false,
                (Mode::Main, 0) => true,
                (Mode::Staged, 0) => !axis.row,
                (Mode::Panel, 0) => !axis.batch,
                (_, group) => group == axes[innermost].group && *id <= innermost,
            }
    });
    around.map(|(_, axis)| axis.nominal as f64).product::<f64>() * copies
}

/// Registers of a vector.
pub fn registers(target: &Target, axes: &Axes, lanes: AxisSet, ty: Ty) -> f64 {
    let count: u64 = lanes.iter().map(|a| axes[a].nominal).product();
    (count * u64::from(ty.bits()) / 8)
        .div_ceil(u64::from(target.vector_bytes))
        .max(1) as f64
}

/// How often the operand of an operation that keeps it is stored, with the registers of each time; never of others.
pub fn stores(target: &Target, axes: &Axes, node: &Picked) -> f64 {
    let mode = node.mode.of_operands(node.op);
    match mode == node.mode {
        true => 0.0,
        false => trips(axes, node.runs, mode) * registers(target, axes, node.lanes, node.ty),
    }
}

/// What one execution of a node occupies; `None` if the target does not have it.
pub fn node_cost(
    target: &Target,
    terms: &Terms,
    axes: &Axes,
    node: &Picked,
    children: &[&Picked],
) -> Option<Cost> {
    let regs = registers(target, axes, node.lanes, node.ty);
    let lanes: f64 = node.lanes.iter().map(|a| axes[a].nominal as f64).product();
    let plain = target.costs.get(&node.op).copied();
    let by = |cost: Cost, factor: f64| Cost {
        uops: cost.uops * factor,
        ..cost
    };
    match node.op {
        Op::VLoad => {
            let Some(Node::Ref(load)) = node.data.last() else {
                return None;
            };
            let load = LoadId::from_u32(*load);
            let named = |name: &str| target.accesses.get(name).copied();
            let by_hand = |uops| Cost {
                unit: Unit::Scalar,
                uops,
                latency: 12.0,
            };
            match terms.loads[load].storage {
                Storage::Code { bits } if shuffled(terms, axes, load, node) => {
                    let whole = bits == 8;
                    return Some(Cost {
                        unit: Unit::Shuffle,
                        uops: regs * if whole { WHOLE_CODE } else { PART_CODE },
                        latency: 8.0,
                    });
                }
                Storage::Code { bits } => {
                    return Some(by(by_hand(8.0 + f64::from(bits / 8)), lanes));
                }
                Storage::Place { .. } => {
                    let moves = |a: AxisId| axes[a].kind == AxisKind::Loop;
                    let constant = !terms.load_axes(load).iter().any(moves);
                    return Some(by(by_hand(if constant { 0.0 } else { 3.0 }), lanes));
                }
                _ => {}
            }
            let once = distinct(terms, axes, load);
            match access(terms, axes, load, node.lanes) {
                Access::Scalar => named("load").map(|c| by(c, once)),
                Access::Contiguous => named("load").map(|c| by(c, regs * once)),
                Access::Gather => named("gather").map(|c| by(c, lanes * once)),
            }
        }
        // All registers of the result are one. A load into all lanes is two instructions: Cranelift joins them only where the
        // result has a single use.
        Op::VSpread => plain,
        Op::VSum => {
            let fused = children.first().is_some_and(|c| {
                matches!(c.op, Op::VDot4 | Op::VDot4S | Op::VSum)
                    || (c.op == Op::VFMul && target.features.fma)
            });
            let addition = match node.ty {
                Ty::F32 => target.costs.get(&Op::VFAdd),
                _ => target.costs.get(&Op::VIAdd),
            };
            let like = |c: Cost, addition: &Cost| Cost {
                unit: addition.unit,
                latency: addition.latency,
                ..c
            };
            plain.map(|c| {
                by(
                    addition.map_or(c, |a| like(c, a)),
                    if fused { 0.0 } else { regs },
                )
            })
        }
        Op::VLookup32 => {
            let Some(Node::Ref(_)) = node.data.first() else {
                return None;
            };
            plain.map(|c| {
                by(
                    c,
                    planes(node) * regs / 4.0 + joins(node) * regs / 4.0 * 2.0,
                )
            })
        }
        Op::VBits => plain.map(|c| by(c, regs * bit_work(terms, axes, node))),
        // The bits of one number go through scalar registers and back.
        Op::VDecode if node.lanes.is_empty() => plain.map(|c| by(c, SCALAR_DECODE)),
        Op::VDecode => plain.map(|c| by(c, regs)),
        Op::VTable => plain.map(|c| by(c, lanes / 4.0)),
        Op::VFetch => {
            let Some(Node::Ref(element)) = node.data.last() else {
                return None;
            };
            let small = terms.elements[*element as usize].bits() <= SMALL_TABLE;
            plain.map(|c| by(c, lanes / 4.0 * if small { 1.0 } else { MISSES }))
        }
        Op::VDot4
        | Op::VDot4S
        | Op::VMulPairs8
        | Op::VMulPairs16
        | Op::VAddPairs16
        | Op::VSumBytes
        | Op::VFold
        | Op::VFoldMax => {
            let child = children.first()?;
            let regs = registers(target, axes, child.lanes, child.ty);
            plain.map(|c| by(c, regs))
        }
        Op::VWiden => plain.map(|c| by(c, regs)),
        Op::VNarrow => plain.map(|c| by(c, regs)),
        Op::VPlace => plain,
        Op::VNum
        | Op::VExtent
        | Op::VLookup8
        | Op::VSigned
        | Op::VBias
        | Op::VPick
        | Op::VJoin
        | Op::VLow
        | Op::VHigh
        | Op::VMulHigh
        | Op::VFloat
        | Op::VFAdd
        | Op::VFSub
        | Op::VFMul
        | Op::VFDiv
        | Op::VFMin
        | Op::VFMax
        | Op::VAbs
        | Op::VExp
        | Op::VSqrt
        | Op::VTanh
        | Op::VSilu
        | Op::VGelu
        | Op::VRound
        | Op::VRoundAway
        | Op::VTrunc
        | Op::VFloor
        | Op::VFloorPow2
        | Op::VSelectLt
        | Op::VSelectLe
        | Op::VSelectEq
        | Op::VIAdd
        | Op::VIMul
        | Op::VMulLow
        | Op::VMaxOver => plain.map(|c| by(c, regs)),
        Op::VStage => plain,
        Op::VPanel => plain.map(|c| by(c, regs)),
        Op::Add
        | Op::Mul
        | Op::Div
        | Op::Min
        | Op::Max
        | Op::Abs
        | Op::Exp
        | Op::Sqrt
        | Op::Tanh
        | Op::Silu
        | Op::Gelu
        | Op::Round
        | Op::RoundAway
        | Op::Trunc
        | Op::Floor
        | Op::FloorPow2
        | Op::SelectLt
        | Op::SelectLe
        | Op::SelectEq
        | Op::StrictAdd
        | Op::StrictSub
        | Op::StrictMul
        | Op::StrictDiv
        | Op::StrictMin
        | Op::StrictMax
        | Op::Ld
        | Op::Extent
        | Op::Bits
        | Op::Elem
        | Op::Lookup
        | Op::Biased
        | Op::Place
        | Op::Pick
        | Op::At
        | Op::LowByte
        | Op::HighByte
        | Op::Wrap
        | Op::Sum
        | Op::MaxOver
        | Op::Vec => None,
    }
}

/// Whether codes are brought to their lanes by shuffles of a register: their places are known, and are those of one block.
fn shuffled(terms: &Terms, axes: &Axes, load: LoadId, node: &Picked) -> bool {
    let load = &terms.loads[load];
    let lanes: u64 = node.lanes.iter().map(|a| axes[a].nominal).product();
    let moves = |a: AxisId| axes[a].kind == AxisKind::Loop;
    let known = load
        .bit
        .as_ref()
        .is_some_and(|b| !b.axes().iter().any(moves));
    let shared = load.address.axes().intersect(node.lanes).is_empty();
    known && shared && lanes >= 4 && node.ty == Ty::U8
}

/// Micro-operations of a shuffle that brings bytes to their lanes, with its share of the load.
const WHOLE_CODE: f64 = 1.5;

/// The same for codes that are part of a byte, or lie in two.
const PART_CODE: f64 = 5.0;

/// What taking bits out of bytes costs, relative to a shift and a mask: at the low end of a byte there is no shift.
fn bit_work(terms: &Terms, axes: &Axes, node: &Picked) -> f64 {
    let Some(Node::Ref(field)) = node.data.first() else {
        return 1.0;
    };
    let field = &terms.fields[*field as usize];
    let places = copies_of(axes, field.shift.axes());
    let work = |at: &BTreeMap<AxisId, u64>| match (field.shift.known_part(at), field.up) {
        (0, 0) => 0.5,
        _ => 1.0,
    };
    let count = places.len() as f64;
    places.iter().map(work).sum::<f64>() / count
}

/// All values of the copies among some axes, as far as they are not too many.
fn copies_of(axes: &Axes, among: AxisSet) -> Vec<BTreeMap<AxisId, u64>> {
    let copies = among.iter().filter(|a| axes[*a].kind == AxisKind::Unroll);
    copies.fold(vec![BTreeMap::new()], |places, axis| {
        let extent = axes[axis].nominal;
        if places.len() as u64 * extent > MOST_COPIES {
            return places;
        }
        let with = |place: &BTreeMap<AxisId, u64>, value: u64| {
            let mut place = place.clone();
            place.insert(axis, value);
            place
        };
        let all = places
            .iter()
            .flat_map(|p| (0..extent).map(move |v| with(p, v)));
        all.collect()
    })
}

/// Bits of codes whose values stay in the first cache.
const SMALL_TABLE: u32 = 12;

/// What a look-up costs in a table that does not.
const MISSES: f64 = 8.0;

/// Micro-operations of decoding one number, relative to those of a register of them.
const SCALAR_DECODE: f64 = 2.5;

/// Byte planes of a look-up of floats that are not all zero.
fn planes(node: &Picked) -> f64 {
    node.planes as f64
}

/// Joins that put the planes together.
fn joins(node: &Picked) -> f64 {
    match node.planes {
        0 | 1 => 1.0,
        2 => 2.0,
        _ => 3.0,
    }
}

/// The cost of a whole term.
pub fn total(
    target: &Target,
    terms: &Terms,
    axes: &Axes,
    extracted: &Extracted,
    weights: &[bool],
) -> CostVector {
    let mut sum = CostVector::default();
    // Accumulators, with how often they are added to.
    let mut accumulators: Vec<(f64, f64)> = Vec::new();
    let mut streams = 1.0;
    let mut tables = 0.0;
    let mut widest = 1.0;
    // Vector operations of the loops over results.
    let mut waiting = 0.0;
    for (at, node) in extracted.nodes.iter().enumerate() {
        let children: Vec<&Picked> = node.children.iter().map(|c| &extracted.nodes[*c]).collect();
        let Some(cost) = node_cost(target, terms, axes, node, &children) else {
            continue;
        };
        let times = trips(axes, node.runs, node.mode);
        if node.mode == Mode::Main {
            tables += table_registers(node);
            widest = f64::max(widest, registers(target, axes, node.lanes, node.ty));
        }
        let unit = Unit::ALL.iter().position(|u| *u == cost.unit).unwrap_or(0);
        sum.units[unit] += cost.uops * times;
        if node.mode == Mode::Main && cost.unit.is_vector() {
            waiting += cost.uops * times;
        }
        let stored = target.accesses.get("store").map_or(0.0, |c| c.uops);
        sum.units[Unit::Store as usize] += stored * stores(target, axes, node);
        if node.op == Op::VSum {
            let copies: f64 = node
                .free
                .iter()
                .filter(|a| axes[*a].kind == AxisKind::Unroll)
                .map(|a| axes[a].nominal as f64)
                .product();
            if !inner_of_chain(extracted, at) && node.mode == Mode::Main {
                let held = registers(target, axes, node.lanes, node.ty) * copies;
                accumulators.push((times / copies, held));
            }
        }
        if let (Op::VLoad, Some(Node::Ref(load))) = (node.op, node.data.last())
            && weights[*load as usize]
        {
            let count: f64 = node.lanes.iter().map(|a| axes[a].nominal as f64).product();
            let width = match terms.loads[LoadId::from_u32(*load)].storage {
                Storage::Code { bits } => f64::from(bits) / 8.0,
                Storage::Place { .. } => 0.0,
                _ => f64::from(node.ty.bits()) / 8.0,
            };
            sum.bytes += times * count * width * distinct(terms, axes, LoadId::from_u32(*load));
            let copies = node
                .free
                .iter()
                .filter(|a| axes[*a].kind == AxisKind::Unroll && axes[*a].output);
            streams = f64::max(streams, copies.map(|a| axes[a].nominal as f64).product());
        }
    }
    let live = live(&accumulators) + tables + widest;
    sum.registers = live;
    let rate = &target.throughput;
    // A quarter of the registers is for what is on the way.
    let room = f64::from(rate.registers) * 0.75;
    let spill = (live - room).max(0.0) / f64::from(rate.registers);
    let of = |unit: Unit| sum.units[unit as usize];
    // Multiplies, shuffles and sums of floats run on vector units that can do them.
    let vectors: f64 = Unit::ALL
        .into_iter()
        .filter(|u| u.is_vector())
        .map(of)
        .sum();
    let units = sum
        .units
        .iter()
        .zip(rate.units)
        .map(|(u, r)| u / r)
        .fold(vectors / rate.units[Unit::Vector as usize], f64::max);
    let issue = sum.units.iter().sum::<f64>() / rate.issue;
    let busy = units.max(issue) * SUSTAINED;
    sum.chain = Waiting::new(target, terms, axes, extracted).cycles(waiting);
    sum.cycles = (busy * (1.0 + spill))
        .max(sum.chain)
        .max(sum.bytes / (rate.memory * stream_share(streams)))
        + units * 0.05;
    sum
}

/// How much longer straight code takes than its busiest unit would (measured on Zen 4: 1.3 to 1.4 for dot products, look-ups,
/// products in pairs and multiply-adds alike).
const SUSTAINED: f64 = 1.35;

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
const RARE: f64 = 4.0;

/// What one thread gets of the memory's rate when it reads several distant streams at once (measured: four lose 40 %).
fn stream_share(streams: f64) -> f64 {
    1.0 - 0.13 * (streams.min(4.0) - 1.0)
}

/// The axis that a sum runs over.
pub(super) fn bound_axis(node: &Picked) -> AxisId {
    match node.data.first() {
        Some(Node::Axis(axis)) => *axis,
        _ => AxisId::from_u32(0),
    }
}

/// Whether a sum is accumulated into the one around it.
fn inner_of_chain(extracted: &Extracted, at: usize) -> bool {
    extracted
        .nodes
        .iter()
        .any(|n| n.op == Op::VSum && n.children == [at])
}
