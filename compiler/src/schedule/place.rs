//! Places a statement under a plan: every index becomes loops, copies and lanes; every load gets its address; the
//! expression becomes one term per result.

use super::ScheduleError;
use super::fit::{Digit, FieldAccess, Place, field_access};
use super::index::{Affine, Axes, Axis, AxisId, AxisKind, Sym, div, div_ceil, mul, rem};
use super::plan::{Layouts, Plan, known_extent};
use super::term::{Load, Storage, Strict, Term, TermId, Terms};
use crate::format::{BinOp, BlockFormat, Element, Field, FieldId, FormatKind, UnOp, ValueExpr};
use crate::spec::kernel::{
    Binary, Expr, ExprId, Extent, Func, IndexId, Kernel, Reduce, Statement, Subscript, TensorId,
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

/// Another run of the same code over what a tile leaves over: axes with other bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Axes that differ: the axis, its first value, its end, its step, and copies for an unrolled one.
    pub changes: Vec<(AxisId, Axis)>,
    /// Whether this is the part that the row range is counted in (whole tiles).
    pub ranged: bool,
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

/// A statement under a schedule.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its axes, in loop order, lanes last.
    pub axes: Axes,
    /// Its terms.
    pub terms: Terms,
    /// Its results.
    pub roots: Vec<Root>,
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
}

/// What free dimensions are assumed to be by the cost model.
const NOMINAL: u64 = 4096;

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
    };
    let outputs = statement.targets[0].index.clone();
    let variants = placer.outputs(&outputs, part);
    placer.reductions(statement, &outputs, part);
    placer.lanes(part);
    placer.finish_vector(&outputs, part);
    let mut roots = Vec::new();
    for target in &statement.targets {
        let spots = placer.spots.clone();
        let term = match strict_load(kernel, target.value) {
            Some((tensor, subscripts)) => placer.load(tensor, subscripts, &spots, true)?,
            None => placer.expr(target.value, &spots)?,
        };
        roots.push(placer.root(target.tensor, &target.index, term)?);
    }
    Ok(Placed {
        axes: placer.axes,
        terms: placer.terms,
        roots,
        variants,
    })
}

/// An extent as a number known before the call.
pub fn extent(kernel: &Kernel, extent: Extent) -> Scalar {
    match extent {
        Extent::Const(c) => Scalar::Const(c),
        Extent::Dim(d) => match kernel.dims[d].bound {
            Some(c) => Scalar::Const(c),
            None => Scalar::Dim(d.as_u32()),
        },
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
        let is_batch = self.plan.batch_tile.is_some_and(|(i, _)| i == index);
        known_extent(self.kernel, index)
            .unwrap_or(if is_batch { self.batch } else { NOMINAL })
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
            ranged: false,
            folds: false,
            group,
        })
    }

    fn name(&self, index: IndexId) -> String {
        self.kernel.indices[index].name.clone()
    }

    /// Axes of the result indices, row index first, and the variants of tiles.
    fn outputs(&mut self, outputs: &[IndexId], part: Part) -> Vec<Variant> {
        let row = self
            .plan
            .row
            .map(|(i, _)| i)
            .filter(|i| outputs.contains(i));
        let vector = self.plan.vector.map(|(i, _)| i);
        let mut order: Vec<IndexId> = row.into_iter().collect();
        order.extend(
            outputs
                .iter()
                .copied()
                .filter(|i| Some(*i) != row && Some(*i) != vector),
        );
        let mut variants = vec![Variant {
            changes: Vec::new(),
            ranged: !part.rest_rows && !part.tail,
        }];
        for index in order {
            let tile = if Some(index) == row {
                self.plan.row_tile
            } else {
                self.plan
                    .batch_tile
                    .filter(|(i, _)| *i == index)
                    .map_or(1, |(_, t)| t)
            };
            self.output(index, tile, part, &mut variants);
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
    fn output(&mut self, index: IndexId, tile: u64, part: Part, variants: &mut Vec<Variant>) {
        let is_row = self.plan.row.is_some_and(|(i, _)| i == index);
        let lanes = if is_row { self.plan.row_lanes() } else { 1 };
        let extent = self.extent(self.kernel.indices[index].extent);
        let (name, nominal) = (self.name(index), self.nominal(index));
        if is_row && part.rest_rows {
            let axis = self.axis(
                format!("{name}.rest"),
                AxisKind::Loop,
                rem(extent.clone(), lanes),
                1,
                true,
            );
            self.axes[axis].row = true;
            let mut value = Affine::axis(axis, 1);
            value.offset = mul(Scalar::Const(lanes), div(extent, lanes));
            self.spots.insert(index, Spot { value, chunk: None });
            return;
        }
        let groups = div(extent, lanes);
        let whole = mul(Scalar::Const(tile), div(groups.clone(), tile));
        let outer = self.axis(
            name.clone(),
            AxisKind::Loop,
            whole.clone(),
            nominal.div_ceil(lanes * tile),
            true,
        );
        self.axes[outer].step = tile;
        self.axes[outer].full = groups.clone();
        self.axes[outer].row = is_row;
        let mut value = Affine::axis(outer, lanes);
        let tiled = is_row || self.plan.batch_tile.is_some_and(|(i, _)| i == index);
        if tiled {
            let copy = self.axis(
                format!("{name}.u"),
                AxisKind::Unroll,
                Scalar::Const(tile),
                tile,
                true,
            );
            self.axes[copy].row = is_row;
            value = value.plus(&Affine::axis(copy, lanes));
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
                        }
                    })
                    .collect();
                variants.extend(more);
            }
        }
        self.spots.insert(index, Spot { value, chunk: None });
    }

    /// Loops of the vector index: chunks, parts between boundaries, inner steps and copies; or the tail.
    fn vector_loops(&mut self, index: IndexId, part: Part, output: bool) {
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
        let chunks = self.axis(
            name.clone(),
            AxisKind::Loop,
            div(extent.clone(), chunk),
            nominal / chunk,
            output,
        );
        let mut loops = vec![chunks];
        let mut digits = Vec::new();
        let mut inner = chunk;
        let mut bounds = self.plan.bounds.clone();
        bounds.insert(0, cut.span);
        for bound in bounds.into_iter().rev() {
            if bound < inner && inner.is_multiple_of(bound) {
                let axis = self.axis(
                    format!("{name}.{bound}"),
                    AxisKind::Loop,
                    Scalar::Const(inner / bound),
                    inner / bound,
                    output,
                );
                digits.push(Digit {
                    axis,
                    stride: bound,
                    extent: inner / bound,
                });
                loops.push(axis);
                inner = bound;
            }
        }
        let run = cut.span / cut.copies;
        if cut.steps() > 1 {
            let axis = self.axis(
                format!("{name}.t"),
                AxisKind::Loop,
                Scalar::Const(cut.steps()),
                cut.steps(),
                output,
            );
            digits.push(Digit {
                axis,
                stride: cut.lanes,
                extent: cut.steps(),
            });
            loops.push(axis);
        }
        if cut.copies > 1 {
            let axis = self.axis(
                format!("{name}.u"),
                AxisKind::Unroll,
                Scalar::Const(cut.copies),
                cut.copies,
                output,
            );
            digits.push(Digit {
                axis,
                stride: run,
                extent: cut.copies,
            });
            loops.push(axis);
        }
        self.chunk_loops = loops;
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
        if !output && rem(extent.clone(), chunk) != Scalar::Const(0) {
            self.group += 1;
            self.tail = Some(self.tail_axes(&name, &extent, chunk, false));
        }
    }

    /// The elements past whole chunks: a loop of at most one round over the ragged chunk (so that nothing of it is touched
    /// where there is none), and one over its elements.
    fn tail_axes(
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
    fn reductions(&mut self, statement: &Statement, outputs: &[IndexId], part: Part) {
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
    fn lanes(&mut self, part: Part) {
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
        let mut stride = cut.lanes;
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
            self.axes[axis].folds = !is_output && stride * factor <= 4;
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

    fn reduced_vector(&self, index: IndexId) -> bool {
        self.chunk_loops
            .first()
            .is_some_and(|a| !self.axes[*a].output)
            && self.spots.contains_key(&index)
    }

    fn finish_vector(&mut self, outputs: &[IndexId], _part: Part) {
        let Some((index, _)) = self.plan.vector else {
            return;
        };
        if !outputs.contains(&index) {
            let mut axes = self.lane_axes.clone();
            axes.extend(&self.chunk_loops);
            self.reduced.insert(index, axes);
        }
    }

    fn expr(
        &mut self,
        expr: ExprId,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<TermId, ScheduleError> {
        let kernel = self.kernel;
        Ok(match &kernel.exprs[expr] {
            Expr::Const(c) => self.terms.add(Term::Const(*c)),
            Expr::Dim(d) => {
                let scalar = self.extent(Extent::Dim(*d));
                self.terms.add(match scalar {
                    Scalar::Const(c) => Term::Const(c as f64),
                    scalar => Term::Scalar(scalar),
                })
            }
            Expr::Load(tensor, subscripts) => self.load(*tensor, subscripts, spots, false)?,
            Expr::Unary(f, a) => {
                let a = self.expr(*a, spots)?;
                let term = match f {
                    Func::Neg => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Mul(vec![minus, a])
                    }
                    f => Term::Func(*f, a),
                };
                self.terms.add(term)
            }
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.expr(*a, spots)?, self.expr(*b, spots)?);
                self.binary(*op, a, b)
            }
            Expr::Select(c, [a, b], t, f) => {
                let operands = [
                    self.expr(*a, spots)?,
                    self.expr(*b, spots)?,
                    self.expr(*t, spots)?,
                    self.expr(*f, spots)?,
                ];
                self.terms.add(Term::Select(*c, operands))
            }
            Expr::Reduce(op, indices, body) => self.reduce(*op, indices, *body, spots)?,
        })
    }

    fn binary(&mut self, op: Binary, a: TermId, b: TermId) -> TermId {
        let term = match op {
            Binary::Add => Term::Add(vec![a, b]),
            Binary::Sub => {
                let minus = self.terms.add(Term::Const(-1.0));
                let negated = self.terms.add(Term::Mul(vec![minus, b]));
                Term::Add(vec![a, negated])
            }
            Binary::Mul => Term::Mul(vec![a, b]),
            Binary::Div => match &self.terms.terms[b] {
                Term::Const(c)
                    if *c != 0.0 && (1.0 / c) * c == 1.0 && c.abs().log2().fract() == 0.0 =>
                {
                    let inverse = self.terms.add(Term::Const(1.0 / c));
                    Term::Mul(vec![a, inverse])
                }
                _ => Term::Div(a, b),
            },
            Binary::Min => Term::Min(a, b),
            Binary::Max => Term::Max(a, b),
        };
        self.terms.add(term)
    }

    /// A reduction: over whole chunks and, where there is one, over the tail.
    fn reduce(
        &mut self,
        op: Reduce,
        indices: &[IndexId],
        body: ExprId,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<TermId, ScheduleError> {
        let inner = self.expr(body, spots)?;
        let axes: Vec<AxisId> = indices
            .iter()
            .flat_map(|i| self.reduced.get(i).cloned().unwrap_or_default())
            .collect();
        let main = self.over(op, &axes, inner);
        let vector = self.plan.vector.map(|(i, _)| i);
        let Some((tail_axes, spot)) = self
            .tail
            .clone()
            .filter(|_| indices.iter().any(|i| Some(*i) == vector))
        else {
            return Ok(main);
        };
        let mut tail_spots = spots.clone();
        tail_spots.extend(vector.map(|v| (v, spot)));
        let inner = self.expr(body, &tail_spots)?;
        let mut axes: Vec<AxisId> = indices
            .iter()
            .filter(|i| Some(**i) != vector)
            .flat_map(|i| self.reduced.get(i).cloned().unwrap_or_default())
            .collect();
        axes.extend(tail_axes);
        let tail = self.over(op, &axes, inner);
        Ok(self.terms.add(match op {
            Reduce::Sum => Term::Add(vec![main, tail]),
            Reduce::Max => Term::Max(main, tail),
        }))
    }

    /// Nested sums: lanes outermost, then loops in order.
    fn over(&mut self, op: Reduce, axes: &[AxisId], body: TermId) -> TermId {
        let mut order = axes.to_vec();
        order.sort_by_key(|a| (self.axes[*a].kind != AxisKind::Lane, *a));
        order.iter().rev().fold(body, |inner, axis| {
            self.terms.add(match op {
                Reduce::Sum => Term::Sum(*axis, inner),
                Reduce::Max => Term::MaxOver(*axis, inner),
            })
        })
    }

    fn format(&self, tensor: TensorId) -> FormatKind {
        let format = self.layouts[tensor]
            .as_ref()
            .unwrap_or(&self.kernel.tensors[tensor].format);
        format.kind.clone()
    }

    fn load(
        &mut self,
        tensor: TensorId,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        match self.format(tensor) {
            FormatKind::Plain(element) => {
                let address = self.plain_address(tensor, &element, subscripts, spots)?;
                let storage = plain_storage(&element)?;
                let load = self.terms.load(Load {
                    tensor,
                    storage,
                    address,
                    bit: None,
                });
                Ok(self.number(&element, storage, load))
            }
            FormatKind::Block(block) => self.block_load(tensor, &block, subscripts, spots, strict),
        }
    }

    /// A code as a number: itself if it is one, else its element's value.
    fn number(&mut self, element: &Element, storage: Storage, code: TermId) -> TermId {
        let itself = match element {
            Element::UInt { .. } => true,
            Element::Int { bits } => matches!(
                (storage, bits),
                (Storage::I8, 8) | (Storage::I16, 16) | (Storage::I32, 32)
            ),
            Element::Float(_) => storage == Storage::F32,
            Element::Codebook(_) => false,
        };
        if itself {
            code
        } else {
            self.terms.element(element, code)
        }
    }

    fn subscript(
        &mut self,
        subscript: &Subscript,
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<Affine, ScheduleError> {
        Ok(match subscript {
            Subscript::Index(i) => spots
                .get(i)
                .map(|s| s.value.clone())
                .ok_or(ScheduleError::Internal("index without a place"))?,
            Subscript::Const(c) => Affine::constant(*c),
            Subscript::Gather(tensor, inner) => {
                let FormatKind::Plain(element) = self.format(*tensor) else {
                    return Err(ScheduleError::Unsupported(
                        "an index tensor in a block format".into(),
                    ));
                };
                let address = self.plain_address(*tensor, &element, inner, spots)?;
                let (bytes, signed) = match element {
                    Element::Int { bits } => (bits.div_ceil(8).next_power_of_two(), true),
                    Element::UInt { bits } => (bits.div_ceil(8).next_power_of_two(), false),
                    Element::Float(_) | Element::Codebook(_) => {
                        return Err(ScheduleError::Unsupported(
                            "an index tensor that is not of integers".into(),
                        ));
                    }
                };
                Affine::symbol(Sym::Gather {
                    tensor: tensor.as_u32(),
                    address: Box::new(address),
                    bytes,
                    signed,
                })
            }
        })
    }

    fn plain_address(
        &mut self,
        tensor: TensorId,
        element: &Element,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
    ) -> Result<Affine, ScheduleError> {
        let shape = self.kernel.tensors[tensor].shape.clone();
        let mut stride = Scalar::Const(u64::from(element.bits().div_ceil(8).next_power_of_two()));
        let mut address = Affine::constant(0);
        for (subscript, extent) in subscripts.iter().zip(&shape).rev() {
            address = address.plus(&self.subscript(subscript, spots)?.times(&stride));
            stride = mul(stride, self.extent(*extent));
        }
        Ok(address)
    }

    fn block_load(
        &mut self,
        tensor: TensorId,
        block: &BlockFormat,
        subscripts: &[Subscript],
        spots: &BTreeMap<IndexId, Spot>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        let shape: Vec<Scalar> = self.kernel.tensors[tensor]
            .shape
            .clone()
            .iter()
            .map(|e| self.extent(*e))
            .collect();
        let [leading @ .., last] = subscripts else {
            return Err(ScheduleError::Internal("a block tensor of rank 0"));
        };
        let len = u64::from(block.len);
        let columns = shape.last().cloned().unwrap_or(Scalar::Const(1));
        let group = mul(
            Scalar::Const(u64::from(block.bytes)),
            div_ceil(columns, len),
        );
        let (mut base, mut row) = (Affine::constant(0), Affine::constant(0));
        if let [matrices @ .., row_subscript] = leading {
            let index = self.subscript(row_subscript, spots)?;
            let (q, r) = index
                .divide(u64::from(block.rows), &self.axes)
                .ok_or_else(|| {
                    ScheduleError::Unsupported(
                        "rows of an interleaved layout at positions that the schedule cannot split"
                            .into(),
                    )
                })?;
            base = base.plus(&q.times(&group));
            row = r;
            let rows = shape[leading.len() - 1].clone();
            let mut stride = mul(group, div_ceil(rows, u64::from(block.rows)));
            for (subscript, extent) in matrices.iter().zip(&shape).rev() {
                base = base.plus(&self.subscript(subscript, spots)?.times(&stride));
                stride = mul(stride, extent.clone());
            }
        }
        let bytes = Scalar::Const(u64::from(block.bytes));
        let chunk_spot = match last {
            Subscript::Index(i) => spots.get(i).and_then(|s| s.chunk.clone()),
            Subscript::Const(_) | Subscript::Gather(..) => None,
        };
        let (digits, chunk) = match chunk_spot {
            Some((number, digits)) => {
                base = base.plus(&number.times(&mul(Scalar::Const(self.plan.chunk / len), bytes)));
                (digits, self.plan.chunk)
            }
            None => {
                let position = self.subscript(last, spots)?;
                let (q, r) = position.divide(len, &self.axes).ok_or_else(|| {
                    ScheduleError::Unsupported("two block tensors whose blocks run along different indices of one statement".into())
                })?;
                base = base.plus(&q.times(&bytes));
                return self.value_at(block, tensor, &base, &row, &Inner::Position(r), strict);
            }
        };
        self.value_at(
            block,
            tensor,
            &base,
            &row,
            &Inner::Digits(&digits, chunk),
            strict,
        )
    }

    fn value_at(
        &mut self,
        block: &BlockFormat,
        tensor: TensorId,
        base: &Affine,
        row: &Affine,
        inner: &Inner<'_>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        let mut fields = BTreeMap::new();
        for (id, field) in block.fields.iter() {
            if mentions(&block.value, id) {
                fields.insert(id, self.field(block, field, tensor, base, row, inner)?);
            }
        }
        self.value(&block.value, &fields, strict)
    }

    fn field(
        &mut self,
        block: &BlockFormat,
        field: &Field,
        tensor: TensorId,
        base: &Affine,
        row: &Affine,
        inner: &Inner<'_>,
    ) -> Result<TermId, ScheduleError> {
        if matches!(field.element, Element::UInt { bits } if bits > 31) {
            return Err(ScheduleError::Unsupported(
                "an unsigned 32-bit field in a kernel".into(),
            ));
        }
        let FieldAccess {
            storage,
            address,
            bit,
            field: bits,
        } = match inner {
            Inner::Digits(digits, chunk) => field_access(
                block,
                field,
                &Place {
                    base,
                    row,
                    digits,
                    chunk: *chunk,
                },
                &self.axes,
            ),
            Inner::Position(position) => at_position(block, field, base, row, position),
        };
        let load = self.terms.load(Load {
            tensor,
            storage,
            address,
            bit,
        });
        let code = match bits {
            Some(bits) => self.terms.bits(bits, load),
            None => load,
        };
        Ok(self.number(&field.element, storage, code))
    }

    fn value(
        &mut self,
        value: &ValueExpr,
        fields: &BTreeMap<FieldId, TermId>,
        strict: bool,
    ) -> Result<TermId, ScheduleError> {
        Ok(match value {
            ValueExpr::Const(c) => self.terms.add(Term::Const(f64::from(*c))),
            ValueExpr::Field(id) => fields
                .get(id)
                .copied()
                .ok_or(ScheduleError::Internal("a field without a load"))?,
            ValueExpr::Unary(op, a) => {
                let a = self.value(a, fields, strict)?;
                let term = match op {
                    UnOp::Neg if strict => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Strict(Strict::Mul, minus, a)
                    }
                    UnOp::Neg => {
                        let minus = self.terms.add(Term::Const(-1.0));
                        Term::Mul(vec![minus, a])
                    }
                    UnOp::Abs => Term::Func(Func::Abs, a),
                    UnOp::Round => Term::Func(Func::Round, a),
                    UnOp::Floor | UnOp::FloorPow2 => {
                        return Err(ScheduleError::Unsupported(
                            "floor in the value of a format that a kernel reads".into(),
                        ));
                    }
                };
                self.terms.add(term)
            }
            ValueExpr::Binary(op, a, b) => {
                let (a, b) = (
                    self.value(a, fields, strict)?,
                    self.value(b, fields, strict)?,
                );
                match (strict, op) {
                    (true, op) => self.terms.add(Term::Strict(strict_op(*op), a, b)),
                    (false, BinOp::Add) => self.binary(Binary::Add, a, b),
                    (false, BinOp::Sub) => self.binary(Binary::Sub, a, b),
                    (false, BinOp::Mul) => self.binary(Binary::Mul, a, b),
                    (false, BinOp::Div) => self.binary(Binary::Div, a, b),
                    (false, BinOp::Min) => self.binary(Binary::Min, a, b),
                    (false, BinOp::Max) => self.binary(Binary::Max, a, b),
                }
            }
        })
    }

    fn root(
        &mut self,
        tensor: TensorId,
        index: &[IndexId],
        term: TermId,
    ) -> Result<Root, ScheduleError> {
        let FormatKind::Plain(element) = self.kernel.tensors[tensor].format.kind.clone() else {
            return Err(ScheduleError::Internal(
                "a block result that is not quantised",
            ));
        };
        let subscripts: Vec<Subscript> = index.iter().map(|i| Subscript::Index(*i)).collect();
        let spots = self.spots.clone();
        let address = self.plain_address(tensor, &element, &subscripts, &spots)?;
        let vector_out = self.plan.vector.is_some_and(|(i, _)| index.contains(&i));
        let mut lanes: Vec<AxisId> = self.row_lane.into_iter().collect();
        if vector_out {
            lanes.extend(&self.lane_axes);
        }
        Ok(Root {
            term,
            lanes,
            tensor,
            storage: plain_storage(&element)?,
            element,
            address,
        })
    }
}

/// Where in a block an element lies.
enum Inner<'a> {
    Digits(&'a [Digit], u64),
    Position(Affine),
}

fn at_position(
    block: &BlockFormat,
    field: &Field,
    base: &Affine,
    row: &Affine,
    position: &Affine,
) -> FieldAccess {
    let entries = (0..block.rows)
        .flat_map(|r| field.occurrence.iter().map(move |o| (r, o)))
        .map(|(r, o)| field.address[(r * field.count + o) as usize])
        .collect::<Vec<_>>();
    let at = position
        .clone()
        .plus(&row.clone().times(&Scalar::Const(u64::from(block.len))));
    FieldAccess {
        storage: Storage::Code {
            bits: field.element.bits() as u8,
        },
        address: base.clone(),
        bit: Some(Affine::symbol(Sym::Table(
            std::sync::Arc::new(entries),
            Box::new(at),
        ))),
        field: None,
    }
}

fn plain_storage(element: &Element) -> Result<Storage, ScheduleError> {
    Ok(match (element, element.bits()) {
        (Element::Float(f), 32) if f.exp == 8 && f.man == 23 && f.bias == 127 => Storage::F32,
        (Element::Int { .. }, 8) => Storage::I8,
        (Element::Int { .. }, 16) => Storage::I16,
        (Element::Int { .. }, 32) => Storage::I32,
        (Element::UInt { .. }, 32) => {
            return Err(ScheduleError::Unsupported(
                "a tensor of unsigned 32-bit integers in a kernel".into(),
            ));
        }
        (_, 0..=8) => Storage::U8,
        (_, 9..=16) => Storage::U16,
        _ => Storage::I32,
    })
}

fn strict_op(op: BinOp) -> Strict {
    match op {
        BinOp::Add => Strict::Add,
        BinOp::Sub => Strict::Sub,
        BinOp::Mul => Strict::Mul,
        BinOp::Div => Strict::Div,
        BinOp::Min => Strict::Min,
        BinOp::Max => Strict::Max,
    }
}

fn mentions(value: &ValueExpr, field: FieldId) -> bool {
    match value {
        ValueExpr::Const(_) => false,
        ValueExpr::Field(f) => *f == field,
        ValueExpr::Unary(_, a) => mentions(a, field),
        ValueExpr::Binary(_, a, b) => mentions(a, field) || mentions(b, field),
    }
}

fn collect_reduced(kernel: &Kernel, expr: ExprId, into: &mut Vec<IndexId>) {
    match &kernel.exprs[expr] {
        Expr::Const(_) | Expr::Dim(_) | Expr::Load(..) => {}
        Expr::Unary(_, a) => collect_reduced(kernel, *a, into),
        Expr::Binary(_, a, b) => {
            collect_reduced(kernel, *a, into);
            collect_reduced(kernel, *b, into);
        }
        Expr::Select(_, [a, b], t, f) => {
            for e in [a, b, t, f] {
                collect_reduced(kernel, *e, into);
            }
        }
        Expr::Reduce(_, indices, body) => {
            into.extend(
                indices
                    .iter()
                    .filter(|i| !into.contains(i))
                    .copied()
                    .collect::<Vec<_>>(),
            );
            collect_reduced(kernel, *body, into);
        }
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
