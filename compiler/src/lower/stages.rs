//! Buffers of values that are computed before the loops that use them: stages before all loops over rows, panels before the
//! loop over the batch. `nest.rs` says when.

use super::nest::{Nest, environments};
use super::{Base, Env};
use crate::rewrite::lang::Op as Term;
use crate::schedule::ScheduleError;
use crate::schedule::index::{Affine, Axis, AxisId, AxisKind, Sym, mul};
use crate::vector::ir::{Op, ParamKind, Scalar, Type, Value};

/// A buffer.
#[derive(Clone)]
pub(super) struct Stage {
    pointer: Value,
    address: Affine,
    /// Depth of the region in which it is filled.
    depth: usize,
}

/// Whether an operation reads what was computed before.
pub(super) fn is_kept(op: Term) -> bool {
    matches!(op, Term::VStage | Term::VPanel)
}

impl Nest<'_, '_, '_> {
    /// Computes every stage of the term into its buffer, before the loops over rows.
    pub(super) fn run_stages(&mut self) -> Result<(), ScheduleError> {
        let stages = self.nodes_of(Term::VStage);
        stages.into_iter().try_for_each(|at| self.run_stage(at))
    }

    fn run_stage(&mut self, at: usize) -> Result<(), ScheduleError> {
        let node = self.node(at).clone();
        let loops = self.among(at, |a| a.kind == AxisKind::Loop);
        let copies_of_results = self.among(at, |a| a.kind == AxisKind::Unroll && a.output);
        let mut address = Affine::constant(0);
        let mut size = Scalar::Const(u64::from(self.ty(&node).bytes()));
        for id in node.free.iter().collect::<Vec<_>>().into_iter().rev() {
            let coefficient = size.clone();
            if !copies_of_results.contains(&id) {
                size = mul(size, self.axes[id].full.clone());
            }
            address.terms.push((Sym::Axis(id), coefficient));
        }
        // Copies of a result index share the stride of its loop, which comes right before them.
        for id in &copies_of_results {
            let before = AxisId::from_u32(id.as_u32() - 1);
            let stride = address
                .terms
                .iter()
                .find(|(s, _)| *s == Sym::Axis(before))
                .map(|(_, c)| c.clone());
            if let (Some(stride), Some(own)) = (
                stride,
                address.terms.iter_mut().find(|(s, _)| *s == Sym::Axis(*id)),
            ) {
                own.1 = stride;
            }
        }
        let stage = self.buffer("stage", address, size);
        let changed: Vec<(AxisId, Axis)> =
            loops.iter().map(|a| (*a, self.axes[*a].clone())).collect();
        for (id, axis) in changed.iter().filter(|(_, a)| a.output) {
            self.axes[*id].step = 1;
            self.axes[*id].to = axis.full.clone();
        }
        let copies = self.among(at, |a| a.kind == AxisKind::Unroll && !a.output);
        let mut envs = environments(&copies, &self.axes);
        for env in &mut envs {
            env.extend(copies_of_results.iter().map(|a| (*a, 0)));
        }
        self.fill(at, &stage, &loops, &envs)?;
        for (id, axis) in changed {
            self.axes[id] = axis;
        }
        self.stages.insert(at, stage);
        Ok(())
    }

    /// Computes every panel of the term into its buffer: for the results of the loops that are open, and their copies.
    pub(super) fn fill_panels(&mut self) -> Result<(), ScheduleError> {
        let panels = self.nodes_of(Term::VPanel);
        panels.into_iter().try_for_each(|at| self.fill_panel(at))
    }

    fn fill_panel(&mut self, at: usize) -> Result<(), ScheduleError> {
        let loops = self.among(at, |a| a.kind == AxisKind::Loop && !a.output);
        let copies = self.among(at, |a| a.kind == AxisKind::Unroll);
        let mut stage = match self.stages.get(&at) {
            // What a tile leaves over is kept where whole tiles were.
            Some(stage) => stage.clone(),
            None => {
                let mut address = Affine::constant(0);
                let mut size = Scalar::Const(u64::from(self.ty(self.node(at)).bytes()));
                for id in copies.iter().rev().chain(loops.iter().rev()) {
                    address.terms.push((Sym::Axis(*id), size.clone()));
                    size = mul(size, self.axes[*id].full.clone());
                }
                self.buffer("panel", address, size)
            }
        };
        stage.depth = self.lower.here();
        let envs = environments(&copies, &self.axes);
        self.fill(at, &stage, &loops, &envs)?;
        self.stages.insert(at, stage);
        Ok(())
    }

    /// The operations of the term of one kind, operands first.
    fn nodes_of(&self, op: Term) -> Vec<usize> {
        let nodes = 0..self.chosen.term.nodes.len();
        nodes.filter(|at| self.node(*at).op == op).collect()
    }

    /// Axes that a node depends on, lanes excepted.
    fn among(&self, at: usize, which: impl Fn(&Axis) -> bool) -> Vec<AxisId> {
        let free = self.node(at).free.iter();
        free.filter(|a| which(&self.axes[*a])).collect()
    }

    fn buffer(&mut self, name: &str, mut address: Affine, bytes: Scalar) -> Stage {
        address.terms.sort();
        let name = format!("{name}{}", self.lower.stages);
        self.lower.stages += 1;
        let pointer = self.lower.b.param(&name, ParamKind::Scratch { bytes });
        self.lower.depth.insert(pointer, 0);
        Stage {
            pointer,
            address,
            depth: 0,
        }
    }

    /// Stores the operand of a node for every round of the loops and for all copies.
    fn fill(
        &mut self,
        at: usize,
        stage: &Stage,
        loops: &[AxisId],
        copies: &[Env],
    ) -> Result<(), ScheduleError> {
        let child = self.node(at).children[0];
        for id in loops {
            self.open_axis(*id, false);
        }
        for env in copies {
            self.demand(&[(child, env.clone())])?;
            let value = self.value(child, env)?;
            let base = Base::Stage(stage.pointer);
            let (base, offset) = self.lower.address(base, &stage.address, env)?;
            let here = self.lower.here();
            self.lower.b.store_at(here, value, base, offset);
        }
        for id in loops.iter().rev() {
            self.close_axis(*id);
        }
        Ok(())
    }

    /// What was stored, for an environment.
    pub(super) fn kept(&mut self, at: usize, ty: Type, env: &Env) -> Result<Value, ScheduleError> {
        let missing = ScheduleError::Internal("a stage that was not computed");
        let stage = self.stages.get(&at).cloned().ok_or(missing)?;
        let base = Base::Stage(stage.pointer);
        let (base, offset) = self.lower.address(base, &stage.address, env)?;
        // Not before it was stored, even where the address does not change.
        let depth = self.lower.depth_of(base).max(stage.depth);
        Ok(self.lower.put_at(depth, ty, Op::Load { base, offset }))
    }
}
