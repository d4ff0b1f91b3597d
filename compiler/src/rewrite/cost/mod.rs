//! Cost: what a term takes of the units of a target, how long it waits, what it moves, and the time that follows.
//!
//! `node.rs` says what one operation occupies, `shared.rs` what several have in common, `total.rs` what a whole term does;
//! `window.rs` what waiting for operands costs, `traffic.rs` what is read from which level of the memory hierarchy. The time is that of the units together, of waiting, or of
//! what is moved, whichever is longest, and a part of what it hides (`total.rs`).

mod node;
mod shared;
mod total;
mod traffic;
mod window;

pub use total::{Kind, Limit, total};

use super::extract::Picked;
use super::lang::{Node, Op};
use crate::schedule::index::{Axes, Axis, AxisId, AxisKind, AxisSet};
use crate::schedule::term::{LoadId, Storage, Terms};
use crate::target::{Target, UNITS};
use crate::vector::ir::Scalar;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a term costs for all results, under the nominal extents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostVector {
    /// Micro-operations of each unit, in the order of [`Unit::ALL`](crate::target::Unit::ALL).
    pub units: [f64; UNITS],
    /// Cycles that waiting for operands takes at least.
    pub chain: f64,
    /// Bytes of weights read from memory.
    pub bytes: f64,
    /// Distant places that weights are read from at once.
    pub streams: f64,
    /// Bytes of all data read from each level of the target's memory hierarchy but the nearest.
    pub levels: Vec<f64>,
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

/// What operations cost: a target, the terms and axes that they are about, and what follows from these once and for all.
pub struct Prices<'a> {
    target: &'a Target,
    terms: &'a Terms,
    axes: &'a Axes,
    /// Of the copies of each load, the share that reads other bytes than the others, and than the loads before.
    distinct: Vec<f64>,
    /// What each field takes, relative to a shift and a mask.
    field_work: Vec<f64>,
    /// What each unit changes with, and of the copies the share in which it is another number.
    units: Vec<(AxisSet, f64)>,
}

impl<'a> Prices<'a> {
    /// Prices of terms on a target.
    pub fn new(target: &'a Target, terms: &'a Terms, axes: &'a Axes) -> Prices<'a> {
        Prices {
            target,
            terms,
            axes,
            distinct: shared::distinct(terms, axes),
            field_work: shared::field_work(terms, axes),
            units: shared::units(terms, axes),
        }
    }

    /// How often an operation runs.
    pub fn trips(&self, node: &Picked) -> f64 {
        trips(self.axes, node.runs, node.mode)
    }

    /// Micro-operations that store the operand of an operation that keeps it; none for others.
    pub fn stores(&self, node: &Picked) -> f64 {
        let mode = node.mode.of_operands(node.op);
        if mode == node.mode {
            return 0.0;
        }
        let each = self.target.accesses.get("store").map_or(0.0, |c| c.uops);
        each * trips(self.axes, node.runs, mode) * self.registers(node)
    }

    /// Registers of a value.
    fn registers(&self, node: &Picked) -> f64 {
        let bits = self.lanes(node) as u64 * u64::from(node.ty.bits());
        let registers = (bits / 8).div_ceil(u64::from(self.target.vector_bytes));
        registers.max(1) as f64
    }

    /// Lanes of a value.
    fn lanes(&self, node: &Picked) -> f64 {
        extents(self.axes, node.lanes, |_| true)
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

    /// Whether what stands here is in a loop over results.
    pub fn stands_in(self, axis: &Axis) -> bool {
        match self {
            Mode::Main => true,
            Mode::Staged => !axis.row,
            Mode::Panel => !axis.batch,
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

/// Copies beyond which their addresses are not compared.
const MOST_COPIES: u64 = 1 << 10;

/// All values of some axes of a kind, together.
fn extents(axes: &Axes, among: AxisSet, which: impl Fn(&Axis) -> bool) -> f64 {
    let of_kind = among.iter().map(|a| &axes[a]).filter(|a| which(a));
    of_kind.map(|a| a.nominal as f64).product()
}

/// Copies beside each other.
fn copies(axes: &Axes, among: AxisSet) -> f64 {
    extents(axes, among, |a| a.kind == AxisKind::Unroll)
}

/// How often code that depends on these axes runs.
fn trips(axes: &Axes, free: AxisSet, mode: Mode) -> f64 {
    let loops = free.iter().filter(|a| axes[*a].kind == AxisKind::Loop);
    let innermost = loops.max_by_key(|a| (axes[*a].group, *a));
    let copies = copies(axes, free);
    let Some(innermost) = innermost else {
        return copies;
    };
    let around = axes.iter().filter(|(id, axis)| {
        axis.kind == AxisKind::Loop
            && match axis.group {
                0 if axes[innermost].group == 0 && *id > innermost => false,
                0 => mode.stands_in(axis),
                group => group == axes[innermost].group && *id <= innermost,
            }
    });
    around.map(|(_, axis)| axis.nominal as f64).product::<f64>() * copies
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

/// The axis that a sum runs over.
fn bound_axis(node: &Picked) -> AxisId {
    match node.data.first() {
        Some(Node::Axis(axis)) => *axis,
        _ => AxisId::from_u32(0),
    }
}
