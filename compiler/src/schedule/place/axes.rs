//! Indices into axes: tiles and copies of result indices, chunks and tails of the vector index, lanes last.

use super::{FirstRows, Part, Placer, Spot, Variant};
use crate::schedule::fit::Digit;
use crate::schedule::index::{Affine, AxisId, AxisKind, TableAxis, div, div_ceil, mul, rem};
use crate::schedule::layout::{Cut, JOINT_BITS};
use crate::spec::kernel::{Expr, ExprId, IndexId, Kernel, Statement};
use crate::vector::ir::Scalar;

impl Placer<'_> {
    /// Axes of the result indices, row index first and batches last, and the variants of tiles.
    pub(super) fn outputs(
        &mut self,
        outputs: &[IndexId],
        part: Part,
        filled_up: bool,
    ) -> Vec<Variant> {
        let row = self
            .plan
            .row
            .map(|(i, _)| i)
            .filter(|i| outputs.contains(i));
        let vector = self.plan.vector.map(|(i, _)| i);
        let mut order: Vec<IndexId> = row.into_iter().collect();
        let others = outputs.iter().copied();
        let others = others.filter(|i| Some(*i) != row && Some(*i) != vector);
        let (batch, changing) =
            others.partition::<Vec<IndexId>, _>(|i| self.plan.batch.contains(i));
        order.extend(changing.into_iter().chain(batch));
        let mut variants = vec![Variant {
            changes: Vec::new(),
            ranged: !part.rest_rows && !part.tail,
            rows: None,
        }];
        for index in order {
            let tile = match Some(index) {
                i if i == row => self.plan.row_tile,
                i if i == self.plan.batch_index() => self.plan.batch_tile,
                _ => 1,
            };
            self.output(index, tile, part, &mut variants);
            if Some(index) == row && filled_up {
                self.last_group(index, &mut variants);
            }
        }
        if let Some(vector) = vector
            && outputs.contains(&vector)
        {
            self.vector_loops(vector, part, true);
        }
        if let Some(first) = self.axes.keys().next()
            && variants[0].ranged
        {
            self.axes[first].ranged = true;
        }
        variants
    }

    /// Axes of a result index that is not the vector index: a loop over tiles, its copies, its row lanes later.
    pub(super) fn output(
        &mut self,
        index: IndexId,
        tile: u64,
        part: Part,
        variants: &mut Vec<Variant>,
    ) {
        let is_row = self.plan.row.is_some_and(|(i, _)| i == index);
        let (group, woven) = match is_row {
            true => (self.plan.row_group(), self.plan.woven),
            false => (1, 1),
        };
        let turns = self.plan.turns.filter(|_| is_row);
        let extent = self.extent(self.kernel.indices[index].extent);
        let (name, nominal) = (self.name(index), self.nominal(index));
        if is_row && part.rest_rows {
            let axis = self.axis(
                format!("{name}.rest"),
                AxisKind::Loop,
                rem(extent.clone(), group),
                1,
                true,
            );
            self.axes[axis].row = true;
            let mut value = Affine::axis(axis, 1);
            value.offset = mul(Scalar::Const(group), div(extent, group));
            self.spots.insert(index, Spot { value, chunk: None });
            return;
        }
        let groups = div(extent, group);
        let whole = mul(Scalar::Const(tile), div(groups.clone(), tile));
        let outer = self.axis(
            name.clone(),
            AxisKind::Loop,
            whole.clone(),
            nominal.div_ceil(group * tile),
            true,
        );
        self.axes[outer].step = tile;
        self.axes[outer].full = groups.clone();
        self.axes[outer].row = is_row;
        let mut value = Affine::axis(outer, group);
        if let Some(turns) = turns {
            let turn = self.axis(
                format!("{name}.g"),
                AxisKind::Loop,
                Scalar::Const(turns),
                turns,
                true,
            );
            self.axes[turn].row = true;
            value = value.plus(&Affine::axis(turn, group / turns));
        }
        let tiled = is_row || self.plan.batch_index() == Some(index);
        if tiled {
            // Copies are of groups, or of the lanes in one.
            let (copies, stride) = match woven * turns.unwrap_or(1) {
                1 => (tile, group),
                _ => (woven, self.plan.row_lanes()),
            };
            let copy = self.axis(
                format!("{name}.u"),
                AxisKind::Unroll,
                Scalar::Const(copies),
                copies,
                true,
            );
            self.axes[copy].row = is_row;
            value = value.plus(&Affine::axis(copy, stride));
            if tile > 1 && rem(groups.clone(), tile) != Scalar::Const(0) {
                let mut rest = self.axes[outer].clone();
                rest.from = whole;
                rest.to = groups;
                rest.step = 1;
                let mut single = self.axes[copy].clone();
                single.to = Scalar::Const(1);
                let more: Vec<Variant> = variants
                    .iter()
                    .map(|v| {
                        let mut changes = v.changes.clone();
                        changes.extend([(outer, rest.clone()), (copy, single.clone())]);
                        let first = outer.as_u32() == 0;
                        Variant {
                            changes,
                            ranged: v.ranged && !first,
                            rows: v.rows.clone(),
                        }
                    })
                    .collect();
                variants.extend(more);
            }
        }
        self.spots.insert(index, Spot { value, chunk: None });
    }

    /// A run over the group of rows that whole groups leave over, if there is one.
    fn last_group(&mut self, row: IndexId, variants: &mut Vec<Variant>) {
        let group = self.plan.row_group();
        let extent = self.extent(self.kernel.indices[row].extent);
        let rows = rem(extent.clone(), group);
        if rows == Scalar::Const(0) {
            return;
        }
        let named = |name: String| {
            let axis = self.axes.iter().find(|(_, a)| a.name == name && a.row);
            axis.map(|(id, a)| (id, a.clone()))
        };
        let Some((outer, mut last)) = named(self.name(row)) else {
            return;
        };
        last.from = div(extent.clone(), group);
        last.to = div_ceil(extent, group);
        last.step = 1;
        let mut changes = vec![(outer, last)];
        if self.plan.row_tile > 1
            && let Some((copies, mut single)) = named(format!("{}.u", self.name(row)))
        {
            single.to = Scalar::Const(1);
            changes.push((copies, single));
        }
        let each = self.plan.row_lanes() * self.plan.woven;
        let turns = named(format!("{}.g", self.name(row)));
        variants.push(Variant {
            changes,
            ranged: false,
            rows: Some(FirstRows {
                count: rows,
                turns: turns.map(|(axis, _)| (axis, each)),
            }),
        });
    }

    /// Loops of the vector index: chunks, parts between boundaries, inner steps and copies; or the tail.
    pub(super) fn vector_loops(&mut self, index: IndexId, part: Part, output: bool) {
        let Some((_, cut)) = self.plan.vector else {
            return;
        };
        let extent = self.extent(self.kernel.indices[index].extent);
        let (name, nominal) = (self.name(index), self.nominal(index));
        let chunk = self.plan.chunk;
        if output && part.tail {
            let (_, spot) = self.tail_axes(&name, &extent, chunk, true);
            self.spots.insert(index, spot);
            return;
        }
        let filled = self.filled && !output;
        let (whole, usual) = match filled {
            true => (div_ceil(extent.clone(), chunk), nominal.div_ceil(chunk)),
            false => (div(extent.clone(), chunk), nominal / chunk),
        };
        let chunks = self.axis(name.clone(), AxisKind::Loop, whole, usual, output);
        let mut digits = Vec::new();
        for (suffix, kind, stride, extent) in self.inner_loops(cut, output) {
            let axis = self.axis(
                format!("{name}.{suffix}"),
                kind,
                Scalar::Const(extent),
                extent,
                output,
            );
            digits.push(Digit {
                axis,
                stride,
                extent,
            });
            if suffix == JOINT {
                self.axes[axis].tables = TableAxis::Joint;
            }
        }
        self.chunk_loops = vec![chunks];
        self.chunk_loops.extend(digits.iter().map(|d| d.axis));
        let value = digits.iter().fold(Affine::axis(chunks, chunk), |v, d| {
            v.plus(&Affine::axis(d.axis, d.stride))
        });
        self.spots.insert(
            index,
            Spot {
                value,
                chunk: Some((Affine::axis(chunks, 1), digits)),
            },
        );
        if !output && !filled && rem(extent.clone(), chunk) != Scalar::Const(0) {
            self.group += 1;
            self.tail = Some(self.tail_axes(&name, &extent, chunk, false));
        }
    }

    /// What a chunk is cut into, from the outside in: the name of each part, loop or copies, the stride and how many.
    fn inner_loops(&self, cut: Cut, output: bool) -> Vec<(String, AxisKind, u64, u64)> {
        let mut loops = Vec::new();
        let mut inner = self.plan.chunk;
        let mut bounds = self.plan.bounds.clone();
        bounds.insert(0, cut.span);
        for bound in bounds.into_iter().rev() {
            if bound < inner && inner.is_multiple_of(bound) {
                loops.push((bound.to_string(), bound, inner / bound));
                inner = bound;
            }
        }
        if cut.steps() > 1 {
            loops.push(("t".to_owned(), cut.lanes * cut.joint, cut.steps()));
        }
        let innermost = loops.len();
        let mut placed = Vec::new();
        for (at, (name, stride, extent)) in loops.into_iter().enumerate() {
            let short = extent * cut.copies * cut.joint <= MOST_UNROLLED;
            let kind = match self.plan.unrolled || at + 1 == innermost && short && !output {
                true => AxisKind::Unroll,
                false => AxisKind::Loop,
            };
            placed.push((name, kind, stride, extent));
        }
        if cut.copies > 1 {
            let run = cut.span / cut.copies;
            placed.push(("u".to_owned(), AxisKind::Unroll, run, cut.copies));
        }
        if cut.joint > 1 {
            placed.push((JOINT.to_owned(), AxisKind::Unroll, 1, cut.joint));
        }
        placed
    }

    /// The elements past whole chunks: a loop of at most one round over the ragged chunk (so that nothing of it is touched
    /// where there is none), and one over its elements.
    pub(super) fn tail_axes(
        &mut self,
        name: &str,
        extent: &Scalar,
        chunk: u64,
        output: bool,
    ) -> ([AxisId; 2], Spot) {
        let ragged = self.axis(
            format!("{name}.ragged"),
            AxisKind::Loop,
            div_ceil(extent.clone(), chunk),
            1,
            output,
        );
        self.axes[ragged].from = div(extent.clone(), chunk);
        let tail = self.axis(
            format!("{name}.tail"),
            AxisKind::Loop,
            rem(extent.clone(), chunk),
            1,
            output,
        );
        let value = Affine::axis(ragged, chunk).plus(&Affine::axis(tail, 1));
        let digits = vec![Digit {
            axis: tail,
            stride: 1,
            extent: chunk,
        }];
        (
            [ragged, tail],
            Spot {
                value,
                chunk: Some((Affine::axis(ragged, 1), digits)),
            },
        )
    }

    /// Axes of reduced indices.
    pub(super) fn reductions(&mut self, statement: &Statement, outputs: &[IndexId], part: Part) {
        let mut reduced = Vec::new();
        for target in &statement.targets {
            collect_reduced(self.kernel, target.value, &mut reduced);
        }
        let vector = self.plan.vector.map(|(i, _)| i);
        for index in reduced {
            if outputs.contains(&index) || self.spots.contains_key(&index) {
                continue;
            }
            if Some(index) == vector {
                self.vector_loops(index, part, false);
                continue;
            }
            let extent = self.extent(self.kernel.indices[index].extent);
            let axis = self.axis(
                self.name(index),
                AxisKind::Loop,
                extent,
                self.nominal(index),
                false,
            );
            self.axes[axis].group = 1;
            self.spots.insert(
                index,
                Spot {
                    value: Affine::axis(axis, 1),
                    chunk: None,
                },
            );
            self.reduced.insert(index, vec![axis]);
        }
    }

    /// Lane axes, last of all: rows, then the vector index (in factors, so that sums can fold some of them).
    pub(super) fn lanes(&mut self, part: Part) {
        if let Some((index, lanes)) = self.plan.row
            && lanes > 1
            && !part.rest_rows
        {
            let axis = self.axis(
                format!("{}.l", self.name(index)),
                AxisKind::Lane,
                Scalar::Const(lanes),
                lanes,
                true,
            );
            self.axes[axis].row = true;
            self.row_lane = Some(axis);
            let spot = self.spots.entry(index).or_insert(Spot {
                value: Affine::constant(0),
                chunk: None,
            });
            spot.value = spot.value.clone().plus(&Affine::axis(axis, 1));
        }
        let Some((index, cut)) = self.plan.vector else {
            return;
        };
        let is_output = !self.reduced_vector(index);
        if cut.lanes == 1 || (is_output && part.tail) {
            return;
        }
        let factors = if is_output {
            vec![cut.lanes]
        } else {
            lane_factors(cut.lanes)
        };
        let mut stride = cut.lanes * cut.joint;
        for factor in factors {
            stride /= factor;
            let suffix = if is_output {
                ".l".to_owned()
            } else {
                format!(".l{stride}")
            };
            let axis = self.axis(
                format!("{}{suffix}", self.name(index)),
                AxisKind::Lane,
                Scalar::Const(factor),
                factor,
                is_output,
            );
            self.axes[axis].folds = !is_output && cut.joint == 1 && stride * factor <= 4;
            self.lane_axes.push(axis);
            if let Some(spot) = self.spots.get_mut(&index) {
                spot.value = spot.value.clone().plus(&Affine::axis(axis, stride));
                if let Some((_, digits)) = &mut spot.chunk {
                    digits.push(Digit {
                        axis,
                        stride,
                        extent: factor,
                    });
                }
            }
        }
    }

    /// The lanes of tables, where there are joint codes.
    pub(super) fn entries(&mut self) {
        if self.plan.joint() > 1 {
            let entries = 1 << JOINT_BITS;
            let axis = self.axis(
                "entry".to_owned(),
                AxisKind::Lane,
                Scalar::Const(entries),
                entries,
                false,
            );
            self.axes[axis].tables = TableAxis::Entries;
        }
    }

    pub(super) fn reduced_vector(&self, index: IndexId) -> bool {
        self.chunk_loops
            .first()
            .is_some_and(|a| !self.axes[*a].output)
            && self.spots.contains_key(&index)
    }

    pub(super) fn finish_vector(&mut self, outputs: &[IndexId], _part: Part) {
        let Some((index, _)) = self.plan.vector else {
            return;
        };
        if !outputs.contains(&index) {
            let mut axes = self.lane_axes.clone();
            axes.extend(&self.chunk_loops);
            self.reduced.insert(index, axes);
        }
    }
}

/// The name of the axis over the parts of a joint code.
const JOINT: &str = "j";

/// Vectors of an innermost loop that is written out: then it is none. Of longer ones nothing is: measured, some rounds beside
/// each other gain nothing.
const MOST_UNROLLED: u64 = 8;

fn collect_reduced(kernel: &Kernel, expr: ExprId, into: &mut Vec<IndexId>) {
    let node = &kernel.exprs[expr];
    if let Expr::Reduce(_, indices, _) = node {
        let new = indices.iter().filter(|i| !into.contains(i)).copied();
        into.extend(new.collect::<Vec<_>>());
    }
    for operand in node.operands() {
        collect_reduced(kernel, operand, into);
    }
}

/// Lanes of a reduced index in factors: two twos innermost for dot products, the rest outside.
fn lane_factors(lanes: u64) -> Vec<u64> {
    match lanes {
        0..=2 => vec![lanes],
        4 => vec![2, 2],
        _ => vec![lanes / 4, 2, 2],
    }
}
