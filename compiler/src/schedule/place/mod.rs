//! Places a statement under a plan: every index becomes loops, copies and lanes; every load gets its address; the
//! expression becomes one term per result. `axes.rs` places indices, `expressions.rs` and `loads.rs` make the terms.

mod axes;
mod expressions;
mod loads;
mod planes;
mod sums;

use super::ScheduleError;
use super::fill::sums_are_filled;
use super::fit::Digit;
use super::groups::rows_are_filled_up;
use super::index::{Affine, Axes, Axis, AxisId, AxisKind, AxisSet, TableAxis, div_ceil, mul};
use super::plan::{Layouts, Plan, known_extent};
use super::term::{Load, Storage, TermId, Terms};
use crate::format::Element;
use crate::spec::kernel::{
    DimId, Expr, ExprId, Extent, IndexId, Kernel, Statement, Subscript, TensorId,
};
use crate::vector::ir::Scalar;
use std::collections::BTreeMap;

/// Which part of a statement's results a placed statement computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The rows left over by the row lanes, one at a time.
    pub rest_rows: bool,
    /// The elements left over by whole chunks, where the vector index runs over results.
    pub tail: bool,
}

impl Part {
    /// Whole tiles.
    pub const MAIN: Part = Part {
        rest_rows: false,
        tail: false,
    };
}

/// Another run of the same code over what a tile leaves over: axes with other bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Axes that differ: the axis, its first value, its end, its step, and copies for an unrolled one.
    pub changes: Vec<(AxisId, Axis)>,
    /// Whether this is the part that the row range is counted in (whole tiles).
    pub ranged: bool,
    /// For the rows that are left over by whole groups: which of a group's are results.
    pub rows: Option<FirstRows>,
}

/// The first rows of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstRows {
    /// How many.
    pub count: Scalar,
    /// The loop that takes the group's rows in turns, and the rows of each, if there is one.
    pub turns: Option<(AxisId, u64)>,
}

/// A result of a placed statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Root {
    /// The value.
    pub term: TermId,
    /// Lanes of the value, outermost first.
    pub lanes: Vec<AxisId>,
    /// The tensor stored to.
    pub tensor: TensorId,
    /// How an element is stored.
    pub storage: Storage,
    /// Its element, for rounding narrow floats.
    pub element: Element,
    /// Byte address.
    pub address: Affine,
}

/// A sum that the layout of a weight keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The sum over the axes of the statement's reduction.
    pub sum: TermId,
    /// The load of what is kept.
    pub load: TermId,
}

/// A statement under a schedule.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its axes, in loop order, lanes last.
    pub axes: Axes,
    /// Its terms.
    pub terms: Terms,
    /// Its results.
    pub roots: Vec<Root>,
    /// Sums that its weights keep, no part of the results.
    pub kept: Vec<Kept>,
    /// The runs that together cover its part of the results.
    pub variants: Vec<Variant>,
}

/// What an index of the kernel became.
#[derive(Clone, Debug)]
struct Spot {
    /// Its value.
    value: Affine,
    /// For the vector index: number of the chunk, and the position within it.
    chunk: Option<(Affine, Vec<Digit>)>,
}

struct Placer<'a> {
    kernel: &'a Kernel,
    layouts: &'a Layouts,
    plan: &'a Plan,
    batch: u64,
    axes: Axes,
    /// The loop nest that new axes of reduced indices belong to.
    group: u32,
    terms: Terms,
    /// Axes of the vector index that sums run over in whole chunks, in loop order, then lanes.
    chunk_loops: Vec<AxisId>,
    lane_axes: Vec<AxisId>,
    row_lane: Option<AxisId>,
    spots: BTreeMap<IndexId, Spot>,
    reduced: BTreeMap<IndexId, Vec<AxisId>>,
    tail: Option<([AxisId; 2], Spot)>,
    /// Whether sums go on to the end of the last chunk.
    filled: bool,
    kept: Vec<Kept>,
}

/// What free dimensions are assumed to be by the cost model.
pub(crate) const NOMINAL: u64 = 4096;

/// Places a part of a statement. `batch` is the assumed extent of the batch index.
pub fn place(
    kernel: &Kernel,
    statement: &Statement,
    plan: &Plan,
    layouts: &Layouts,
    part: Part,
    batch: u64,
) -> Result<Placed, ScheduleError> {
    let mut placer = Placer {
        kernel,
        layouts,
        plan,
        batch,
        axes: Axes::new(),
        group: 1,
        terms: Terms::default(),
        chunk_loops: Vec::new(),
        lane_axes: Vec::new(),
        row_lane: None,
        spots: BTreeMap::new(),
        reduced: BTreeMap::new(),
        tail: None,
        filled: sums_are_filled(kernel, statement, plan, layouts),
        kept: Vec::new(),
    };
    let outputs = statement.targets[0].index.clone();
    let filled_up = rows_are_filled_up(kernel, statement, plan, layouts);
    let mut variants = placer.outputs(&outputs, part, filled_up);
    placer.reductions(statement, &outputs, part);
    placer.lanes(part);
    placer.finish_vector(&outputs, part);
    placer.entries();
    let axes = placer.axes.len();
    if axes > AxisSet::MOST {
        let most = AxisSet::MOST;
        return Err(ScheduleError::Unsupported(format!(
            "a statement whose indices become {axes} loops, copies and lanes; {most} are possible: make it several statements"
        )));
    }
    let mut roots = Vec::new();
    for target in &statement.targets {
        let spots = placer.spots.clone();
        let term = match strict_load(kernel, target.value) {
            Some((tensor, subscripts)) => placer.load(tensor, subscripts, &spots, true)?,
            None => placer.expr(target.value, &spots)?,
        };
        roots.push(placer.root(target.tensor, &target.index, term)?);
    }
    placer.mark_batch(&mut variants);
    Ok(Placed {
        axes: placer.axes,
        terms: placer.terms,
        roots,
        kept: placer.kept,
        variants,
    })
}

/// The extents of a tensor in memory: those of its axes, but the last as far as its rows go on with zeros.
pub fn stored_shape(kernel: &Kernel, tensor: TensorId) -> Vec<Scalar> {
    let tensor = &kernel.tensors[tensor];
    let mut shape: Vec<Scalar> = tensor.shape.iter().map(|e| extent(kernel, *e)).collect();
    if let Some(last) = shape.last_mut() {
        let each = tensor.filled;
        *last = mul(Scalar::Const(each), div_ceil(last.clone(), each));
    }
    shape
}

/// An extent as a number known before the call.
pub fn extent(kernel: &Kernel, extent: Extent) -> Scalar {
    let dim = |d: DimId| match kernel.dims[d].bound {
        Some(c) => Scalar::Const(c),
        None => Scalar::Dim(d.as_u32()),
    };
    match extent {
        Extent::Const(c) => Scalar::Const(c),
        Extent::Dim(d) => dim(d),
        Extent::Quotient(d, by) => div_ceil(dim(d), by),
    }
}

/// A value that is one decoded element, hence in declared arithmetic.
fn strict_load(kernel: &Kernel, value: ExprId) -> Option<(TensorId, &[Subscript])> {
    match &kernel.exprs[value] {
        Expr::Load(tensor, subscripts) => Some((*tensor, subscripts)),
        _ => None,
    }
}

impl Placer<'_> {
    fn extent(&self, of: Extent) -> Scalar {
        extent(self.kernel, of)
    }

    fn nominal(&self, index: IndexId) -> u64 {
        let free = self.plan.of_batch(index, self.batch);
        known_extent(self.kernel, index)
            .unwrap_or(free.unwrap_or(NOMINAL))
            .max(1)
    }

    fn axis(
        &mut self,
        name: String,
        kind: AxisKind,
        to: Scalar,
        nominal: u64,
        output: bool,
    ) -> AxisId {
        let group = if output { 0 } else { self.group };
        self.axes.push(Axis {
            name,
            kind,
            from: Scalar::Const(0),
            full: to.clone(),
            to,
            step: 1,
            nominal: nominal.max(1),
            output,
            row: false,
            batch: false,
            ranged: false,
            folds: false,
            tables: TableAxis::None,
            group,
        })
    }

    /// Marks the innermost loops over results that no weights change with, in all variants.
    fn mark_batch(&mut self, variants: &mut [Variant]) {
        let of_weights = |l: &Load| self.kernel.tensors[l.tensor].role.is_packed();
        let loads = self.terms.loads.iter().filter(|(_, l)| of_weights(l));
        let weights = loads.fold(AxisSet::default(), |set, (id, _)| {
            set.union(self.terms.load_axes(id))
        });
        let over_results = |a: &Axis| a.output && a.kind == AxisKind::Loop;
        let loops = self.axes.iter_mut().rev().filter(|(_, a)| over_results(a));
        for (_, axis) in loops.take_while(|(id, _)| !weights.has(*id)) {
            axis.batch = true;
        }
        for (id, axis) in variants.iter_mut().flat_map(|v| &mut v.changes) {
            axis.batch = self.axes[*id].batch;
        }
    }

    fn name(&self, index: IndexId) -> String {
        self.kernel.indices[index].name.clone()
    }
}
