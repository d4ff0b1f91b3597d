//! Loop nests: the loops over results of a part, and the loops of sums, which values over the same axis share.

use super::stages::{Stage, is_kept};
use super::values::zero;
use super::{Chosen, Env, I64, Lower};
use crate::rewrite::extract::Picked;
use crate::rewrite::lang::{Node, Op as Term, Ty};
use crate::schedule::ScheduleError;
use crate::schedule::index::{Axis, AxisId, AxisKind, AxisSet};
use crate::schedule::place::Variant;
use crate::vector::ir::{Bin, Elem, Op, Scalar, Type, Value};
use std::collections::BTreeMap;

/// A value of a term under an environment (only the axes that it depends on).
pub(super) type Key = (usize, Vec<(AxisId, u64)>);

/// A part of a statement while it is lowered.
pub(super) struct Nest<'l, 'a, 'c> {
    pub(super) lower: &'l mut Lower<'a>,
    pub(super) chosen: &'c Chosen<'c>,
    /// Whole tiles of the loop that the row range divides.
    tiles: &'c Scalar,
    pub(super) axes: crate::schedule::index::Axes,
    /// Values made, by the depth of the region they live in.
    pub(super) made: Vec<BTreeMap<Key, Value>>,
    /// Vector values made from equal operations, by depth (loads of the same bytes).
    pub(super) shared: Vec<BTreeMap<String, Value>>,
    /// Users of each node.
    uses: Vec<usize>,
    pub(super) stages: BTreeMap<usize, Stage>,
}

/// A sum over a loop that is wanted.
struct Want {
    node: usize,
    env: Env,
    init: Option<Value>,
}

/// A sum to be made, and the integer that it is added to.
struct Wanted {
    /// The node of what it is then: that of the sum itself, if it is added to nothing.
    result: usize,
    addend: Option<usize>,
    sum: Sum,
}

/// A sum to be made.
struct Sum {
    /// What it starts from; `None` for nothing.
    acc: Option<Value>,
    node: usize,
    env: Env,
    /// Whether the larger is taken instead.
    max: bool,
}

/// Lowers a part of a statement. In the last statement the row range divides the outermost loop; what whole tiles leave over
/// is done by the call whose range goes past the last of the `tiles`.
pub(super) fn statement(
    lower: &mut Lower<'_>,
    chosen: &Chosen<'_>,
    tiles: &Scalar,
    last: bool,
) -> Result<(), ScheduleError> {
    let mut uses = vec![0; chosen.term.nodes.len()];
    for node in &chosen.term.nodes {
        for child in &node.children {
            uses[*child] += 1;
        }
    }
    let mut nest = Nest {
        axes: chosen.placed.axes.clone(),
        lower,
        chosen,
        tiles,
        made: vec![BTreeMap::new()],
        shared: vec![BTreeMap::new()],
        uses,
        stages: BTreeMap::new(),
    };
    nest.run_stages()?;
    let ranged = chosen
        .placed
        .axes
        .iter()
        .find(|(_, a)| a.ranged)
        .map(|(id, _)| id);
    for variant in &chosen.placed.variants {
        nest.variant(variant, last, ranged)?;
    }
    Ok(())
}

impl Nest<'_, '_, '_> {
    pub(super) fn node(&self, at: usize) -> &Picked {
        &self.chosen.term.nodes[at]
    }

    fn variant(
        &mut self,
        variant: &Variant,
        last: bool,
        ranged: Option<AxisId>,
    ) -> Result<(), ScheduleError> {
        self.axes = self.chosen.placed.axes.clone();
        for (axis, changed) in &variant.changes {
            self.axes[*axis] = changed.clone();
        }
        let outer: Vec<AxisId> = self
            .axes
            .iter()
            .filter(|(_, a)| a.output && a.kind == AxisKind::Loop)
            .map(|(id, _)| id)
            .collect();
        let rest = last && !variant.ranged;
        if rest {
            self.open_rest();
        }
        let batch = outer.iter().position(|a| self.axes[*a].batch);
        for (at, axis) in outer.iter().enumerate() {
            if Some(at) == batch {
                self.fill_panels()?;
            }
            let divided = last && variant.ranged && Some(*axis) == ranged;
            self.open_axis(*axis, divided);
        }
        let copies: Vec<AxisId> = self
            .axes
            .iter()
            .filter(|(_, a)| a.output && a.kind == AxisKind::Unroll)
            .map(|(id, _)| id)
            .collect();
        let envs = environments(&copies, &self.axes);
        let mut wants = Vec::new();
        for env in &envs {
            for root in &self.chosen.term.roots {
                wants.push((*root, env.clone()));
            }
        }
        self.demand(&wants)?;
        match &variant.rows {
            None => {
                for env in &envs {
                    for at in 0..self.chosen.term.roots.len() {
                        self.store_root(at, env)?;
                    }
                }
            }
            Some(rows) => self.store_first(rows, &envs)?,
        }
        for axis in outer.iter().rev() {
            self.close_axis(*axis);
        }
        if rest {
            self.leave(&[]);
        }
        Ok(())
    }

    /// The loop around what whole tiles leave over: it runs if the range goes past the last tile.
    fn open_rest(&mut self) {
        let tiles = self.lower.scalar(&self.tiles.clone());
        let (from, to) = self.lower.range.unwrap_or((tiles, tiles));
        let first = self
            .lower
            .put(I64, Op::Bin(Bin::SMax, from, tiles), &[from, tiles]);
        self.enter("rest", first, to, 1, &[]);
    }

    pub(super) fn open_axis(&mut self, id: AxisId, divided: bool) {
        let axis = self.axes[id].clone();
        let (mut from, mut to) = (self.lower.scalar(&axis.from), self.lower.scalar(&axis.to));
        if divided && let Some((start, end)) = self.lower.range {
            let step = self.lower.scalar(&Scalar::Const(axis.step));
            from = self
                .lower
                .put(I64, Op::Bin(Bin::IMul, start, step), &[start, step]);
            let bound = self
                .lower
                .put(I64, Op::Bin(Bin::IMul, end, step), &[end, step]);
            to = self
                .lower
                .put(I64, Op::Bin(Bin::SMin, to, bound), &[to, bound]);
        }
        let (counter, _) = self.enter(&axis.name, from, to, axis.step, &[]);
        self.lower.counters.insert(id, counter);
    }

    pub(super) fn close_axis(&mut self, id: AxisId) {
        self.lower.counters.remove(&id);
        self.leave(&[]);
    }

    pub(super) fn enter(
        &mut self,
        name: &str,
        from: Value,
        to: Value,
        step: u64,
        init: &[Value],
    ) -> (Value, Vec<Value>) {
        self.made.push(BTreeMap::new());
        self.shared.push(BTreeMap::new());
        self.lower.open(name, from, to, step, init)
    }

    pub(super) fn leave(&mut self, next: &[Value]) -> Vec<Value> {
        self.made.pop();
        self.shared.pop();
        self.lower.close(next)
    }

    pub(super) fn key(&self, at: usize, env: &Env) -> Key {
        let free = self.node(at).free;
        (
            at,
            env.iter()
                .filter(|(a, _)| free.has(**a))
                .map(|(a, v)| (*a, *v))
                .collect(),
        )
    }

    pub(super) fn known(&self, key: &Key) -> Option<Value> {
        self.made
            .iter()
            .rev()
            .find_map(|level| level.get(key))
            .copied()
    }

    pub(super) fn remember(&mut self, key: Key, value: Value) {
        let depth = self.lower.depth_of(value);
        self.made[depth].insert(key, value);
    }

    fn is_loop_sum(&self, at: usize) -> bool {
        matches!(self.node(at).op, Term::VSum | Term::VMaxOver)
            && self.axes[self.bound_axis(at)].kind == AxisKind::Loop
    }

    pub(super) fn bound_axis(&self, at: usize) -> AxisId {
        match self.node(at).data.first() {
            Some(Node::Axis(axis)) => *axis,
            _ => AxisId::from_u32(0),
        }
    }

    /// Emits the loops that the values need, so that `value` finds their results.
    pub(super) fn demand(&mut self, wants: &[(usize, Env)]) -> Result<(), ScheduleError> {
        let mut sums: Vec<(usize, Env)> = Vec::new();
        for (node, env) in wants {
            self.collect(*node, env, &mut sums);
        }
        let mut by_axis: BTreeMap<AxisId, Vec<Want>> = BTreeMap::new();
        for (node, env) in sums {
            by_axis
                .entry(self.bound_axis(node))
                .or_default()
                .push(Want {
                    node,
                    env,
                    init: None,
                });
        }
        for (axis, wants) in by_axis {
            let results = self.loops(axis, &wants)?;
            for (want, result) in wants.iter().zip(results) {
                let key = self.key(want.node, &want.env);
                self.remember(key, result);
            }
        }
        Ok(())
    }

    /// Outermost sums over loops that a value needs and that are not made yet.
    fn collect(&self, at: usize, env: &Env, sums: &mut Vec<(usize, Env)>) {
        let key = self.key(at, env);
        if self.known(&key).is_some() {
            return;
        }
        if self.is_loop_sum(at) {
            if !sums.iter().any(|(n, e)| self.key(*n, e) == key) {
                sums.push((at, env.clone()));
            }
            return;
        }
        let node = self.node(at);
        if is_kept(node.op) {
            return;
        }
        if node.op.has_axis() {
            let axis = self.bound_axis(at);
            for copy in 0..self.copies(axis) {
                let mut inner = env.clone();
                inner.insert(axis, copy);
                self.collect(node.children[0], &inner, sums);
            }
            return;
        }
        for child in &node.children {
            self.collect(*child, env, sums);
        }
    }

    pub(super) fn copies(&self, axis: AxisId) -> u64 {
        self.axes[axis].to_const().unwrap_or(1)
    }

    /// One loop over an axis for all sums that want it.
    fn loops(&mut self, axis: AxisId, wants: &[Want]) -> Result<Vec<Value>, ScheduleError> {
        let init: Vec<Value> = wants
            .iter()
            .map(|w| match w.init {
                Some(value) => value,
                None => {
                    let node = self.node(w.node).clone();
                    zero(self, &node)
                }
            })
            .collect();
        let shape = self.axes[axis].clone();
        let (from, to) = (self.lower.scalar(&shape.from), self.lower.scalar(&shape.to));
        let (counter, inside) = self.enter(&shape.name, from, to, shape.step, &init);
        self.lower.counters.insert(axis, counter);
        let mut next: Vec<Option<Value>> = vec![None; wants.len()];
        let mut chained: BTreeMap<AxisId, Vec<(usize, Want)>> = BTreeMap::new();
        let mut plain = Vec::new();
        for (at, want) in wants.iter().enumerate() {
            let child = self.node(want.node).children[0];
            let same = self.node(child).op == self.node(want.node).op;
            if same && self.is_loop_sum(child) && self.uses[child] == 1 {
                let want = Want {
                    node: child,
                    env: want.env.clone(),
                    init: Some(inside[at]),
                };
                chained
                    .entry(self.bound_axis(child))
                    .or_default()
                    .push((at, want));
            } else {
                plain.push(at);
            }
        }
        for (inner, list) in chained {
            let (places, wants): (Vec<usize>, Vec<Want>) = list.into_iter().unzip();
            for (at, result) in places.into_iter().zip(self.loops(inner, &wants)?) {
                next[at] = Some(result);
            }
        }
        let needed: Vec<(usize, Env)> = plain
            .iter()
            .map(|at| {
                (
                    self.node(wants[*at].node).children[0],
                    wants[*at].env.clone(),
                )
            })
            .collect();
        self.demand(&needed)?;
        self.side_by_side(&needed)?;
        let sums = plain.iter().map(|at| {
            let want = &wants[*at];
            let child = self.node(want.node).children[0];
            let max = self.node(want.node).op == Term::VMaxOver;
            Sum {
                acc: Some(inside[*at]),
                node: child,
                env: want.env.clone(),
                max,
            }
        });
        let sums = self.sums(sums.collect())?;
        for (at, sum) in plain.into_iter().zip(sums) {
            next[at] = Some(sum);
        }
        let next: Vec<Value> = next
            .into_iter()
            .zip(&inside)
            .map(|(n, i)| n.unwrap_or(*i))
            .collect();
        self.lower.counters.remove(&axis);
        Ok(self.leave(&next))
    }

    /// Makes sums over copies that the values need, those of several copies of results together.
    fn side_by_side(&mut self, wants: &[(usize, Env)]) -> Result<(), ScheduleError> {
        let mut found = Vec::new();
        for (node, env) in wants {
            // What is added to an accumulator is no value of its own.
            if !self.is_copies_sum(*node) {
                self.collect_copies(*node, env, &mut found);
            }
        }
        let key = |w: &Wanted| self.key(w.result, &w.sum.env);
        let keys: Vec<Key> = found.iter().map(key).collect();
        let mut sums = Vec::new();
        for Wanted { addend, sum, .. } in found {
            let acc = match addend {
                Some(addend) => Some(self.value(addend, &sum.env)?),
                None => None,
            };
            sums.push(Sum { acc, ..sum });
        }
        let values = self.sums(sums)?;
        for (key, value) in keys.into_iter().zip(values) {
            self.remember(key, value);
        }
        Ok(())
    }

    fn is_copies_sum(&self, at: usize) -> bool {
        self.node(at).op == Term::VSum && self.axes[self.bound_axis(at)].kind == AxisKind::Unroll
    }

    /// Outermost sums over copies that a value needs and that are not made yet.
    fn collect_copies(&self, at: usize, env: &Env, found: &mut Vec<Wanted>) {
        let key = self.key(at, env);
        if self.known(&key).is_some() || self.is_loop_sum(at) {
            return;
        }
        let node = self.node(at);
        match node.op {
            op if is_kept(op) => {}
            Term::VSumBytes | Term::VPackBits | Term::VMaxOver => {}
            Term::VSum => self.want(at, None, (at, env), found),
            Term::VIAdd => match self.sum_and_addend(at, env) {
                Some((sum, addend)) => self.want(at, Some(addend), (sum, env), found),
                None => {
                    for child in &node.children {
                        self.collect_copies(*child, env, found);
                    }
                }
            },
            _ => {
                for child in &node.children {
                    self.collect_copies(*child, env, found);
                }
            }
        }
    }

    /// Notes a sum that is wanted, unless it is there already.
    fn want(
        &self,
        result: usize,
        addend: Option<usize>,
        (node, env): (usize, &Env),
        found: &mut Vec<Wanted>,
    ) {
        let key = self.key(result, env);
        if found.iter().any(|w| self.key(w.result, &w.sum.env) == key) {
            return;
        }
        let sum = Sum {
            acc: None,
            node,
            env: env.clone(),
            max: false,
        };
        found.push(Wanted {
            result,
            addend,
            sum,
        });
    }

    /// A sum over copies that is used in one addition alone, and what it is added to there: it may start from that.
    fn sum_and_addend(&self, at: usize, env: &Env) -> Option<(usize, usize)> {
        let [a, b] = self.node(at).children[..] else {
            return None;
        };
        let alone = |sum: usize| {
            let made = self.known(&self.key(sum, env)).is_some();
            self.is_copies_sum(sum) && self.uses[sum] == 1 && !made
        };
        // What is there before all sums.
        let ready = |other: usize| {
            let mut sums = Vec::new();
            self.collect_copies(other, env, &mut sums);
            sums.is_empty()
        };
        match (alone(a) && ready(b), alone(b) && ready(a)) {
            (true, _) => Some((a, b)),
            (_, true) => Some((b, a)),
            _ => None,
        }
    }

    /// Sums, in the order of what they are of: copies of the same node go forward together, so that what they share is used
    /// soon after it was made.
    fn sums(&mut self, sums: Vec<Sum>) -> Result<Vec<Value>, ScheduleError> {
        let mut nodes: Vec<usize> = Vec::new();
        for sum in &sums {
            if !nodes.contains(&sum.node) {
                nodes.push(sum.node);
            }
        }
        let mut values: Vec<Option<Value>> = sums.iter().map(|s| s.acc).collect();
        for node in nodes {
            let added = sums.iter().any(|s| s.node == node && s.acc.is_some());
            // The largest of sums is not the largest of what they sum.
            let largest = sums.iter().any(|s| s.node == node && s.max);
            let (axes, leaf) = match largest || added && self.uses[node] > 1 {
                true => (Vec::new(), node),
                false => self.copies_of_sum(node),
            };
            for copy in environments(&axes, &self.axes) {
                for (sum, value) in sums.iter().zip(&mut values).filter(|(s, _)| s.node == node) {
                    let mut env = sum.env.clone();
                    env.extend(copy.clone());
                    *value = Some(match *value {
                        None => self.value(leaf, &env)?,
                        Some(acc) => self.accumulate(acc, leaf, &env, sum.max)?,
                    });
                }
            }
        }
        let all: Option<Vec<Value>> = values.into_iter().collect();
        all.ok_or(ScheduleError::Internal("a sum over no copies"))
    }

    /// The axes of copies that a node sums over, from the outside in, and what it sums; none of a node that is no such sum.
    fn copies_of_sum(&self, mut at: usize) -> (Vec<AxisId>, usize) {
        let mut axes = Vec::new();
        while self.is_copies_sum(at) && (axes.is_empty() || self.uses[at] == 1) {
            axes.push(self.bound_axis(at));
            at = self.node(at).children[0];
        }
        (axes, at)
    }

    /// `acc` plus (or the larger of `acc` and) a value, fused where the operation has an accumulator.
    pub(super) fn accumulate(
        &mut self,
        acc: Value,
        at: usize,
        env: &Env,
        max: bool,
    ) -> Result<Value, ScheduleError> {
        let node = self.node(at).clone();
        let ty = self.ty(&node);
        if max {
            let value = self.value(at, env)?;
            return Ok(self
                .lower
                .put(ty, Op::Bin(Bin::FMax, acc, value), &[acc, value]));
        }
        let fresh = self.known(&self.key(at, env)).is_none();
        match node.op {
            Term::VSum if fresh && self.axes[self.bound_axis(at)].kind == AxisKind::Unroll => {
                let axis = self.bound_axis(at);
                let mut sum = acc;
                for copy in 0..self.copies(axis) {
                    let mut inner = env.clone();
                    inner.insert(axis, copy);
                    sum = self.accumulate(sum, node.children[0], &inner, false)?;
                }
                Ok(sum)
            }
            Term::VDot4 | Term::VDot4S if fresh => {
                let (a, b) = (
                    self.value(node.children[0], env)?,
                    self.value(node.children[1], env)?,
                );
                let op = if node.op == Term::VDot4 {
                    Op::Dot4U8S8 { acc, a, b }
                } else {
                    Op::Dot4S8S8 { acc, a, b }
                };
                Ok(self.lower.put(ty, op, &[acc, a, b]))
            }
            Term::VFMul if fresh => {
                let (a, b) = (
                    self.value(node.children[0], env)?,
                    self.value(node.children[1], env)?,
                );
                Ok(self.lower.put(ty, Op::MulAdd(a, b, acc), &[acc, a, b]))
            }
            _ => {
                let value = self.value(at, env)?;
                let op = if ty.elem == Elem::F32 {
                    Bin::FAdd
                } else {
                    Bin::IAdd
                };
                Ok(self.lower.put(ty, Op::Bin(op, acc, value), &[acc, value]))
            }
        }
    }

    /// Type of a node's value.
    pub(super) fn ty(&self, node: &Picked) -> Type {
        Type::new(elem(node.ty), self.lanes(node.lanes))
    }

    pub(super) fn lanes(&self, lanes: AxisSet) -> u16 {
        lanes.iter().map(|a| self.axes[a].nominal).product::<u64>() as u16
    }
}

/// Whole tiles of the loop of a statement's main part that the row range divides; 0 if there is none.
pub(super) fn tiles(main: &Chosen<'_>) -> Scalar {
    let mut axes = main.placed.axes.values();
    axes.find(|a| a.ranged).map_or(Scalar::Const(0), trips)
}

/// Trips of a loop as a number known before the call.
pub fn trips(axis: &Axis) -> Scalar {
    crate::schedule::index::div_ceil(
        crate::schedule::index::sub(axis.to.clone(), axis.from.clone()),
        axis.step,
    )
}

/// The register type of a number type.
pub(super) fn elem(ty: Ty) -> Elem {
    match ty {
        Ty::U8 | Ty::I8 => Elem::I8,
        Ty::U16 | Ty::I16 => Elem::I16,
        Ty::I32 => Elem::I32,
        Ty::F32 => Elem::F32,
    }
}

/// All values of copies, the first slowest.
pub(super) fn environments(axes: &[AxisId], all: &crate::schedule::index::Axes) -> Vec<Env> {
    axes.iter().fold(vec![Env::new()], |envs, axis| {
        let n = all[*axis].to_const().unwrap_or(1);
        envs.iter()
            .flat_map(|env| {
                (0..n).map(|v| {
                    let mut env = env.clone();
                    env.insert(*axis, v);
                    env
                })
            })
            .collect()
    })
}
