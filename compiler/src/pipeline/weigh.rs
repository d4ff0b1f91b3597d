//! What the lowerings of one plan cost under each tile: the contenders that a choice is made among.

use super::choice::{NEAR, Tried};
use super::cores::on_all_cores;
use super::tiles::{Tile, Weave, costs_of, prices, tiles};
use super::{Candidate, CompileError, Request};
use crate::rewrite::cost::CostVector;
use crate::schedule::plan::Plan;
use crate::spec::kernel::{Kernel, Statement};
use crate::target::Target;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A plan with one of its tiles.
pub(super) struct Tiled {
    pub(super) plan: Plan,
    /// Its lane list.
    pub(super) lanes: String,
    /// Which of the choices of layouts.
    pub(super) layouts: usize,
}

/// A lowering of one of the plans that were tried.
pub(super) struct Contender {
    /// Which of the plans.
    pub(super) tried: usize,
    /// Which of its lowerings.
    pub(super) which: usize,
    /// The tiles of the plan; its lowerings share them.
    pub(super) tiles: Arc<[Tiled]>,
    /// What the lowering costs under each.
    pub(super) costs: Vec<CostVector>,
    /// The best of them.
    pub(super) best: usize,
    /// With the best tile.
    pub(super) candidate: Candidate,
}

impl Contender {
    /// The layouts that the best tile takes.
    pub(super) fn layouts(&self) -> usize {
        self.tiles[self.best].layouts
    }

    /// The candidate with one of the tiles.
    pub(super) fn with_tile(&self, tile: usize) -> Candidate {
        let Tiled { plan, lanes, .. } = &self.tiles[tile];
        Candidate {
            lanes: lanes.clone(),
            tile: plan.tile(),
            cost: self.costs[tile].clone(),
            ..self.candidate.clone()
        }
    }
}

/// What plans are of.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) statement: &'a Statement,
    pub(super) target: &'a Target,
}

impl<'a> Subject<'a> {
    /// A plan that was tried, with its weaves.
    pub(super) fn weighed(self, tried: &'a Tried, weaves: &'a [Weave]) -> Weighed<'a> {
        Weighed {
            of: self,
            tried,
            weaves,
        }
    }
}

/// A plan that was tried, to be weighed.
pub(super) struct Weighed<'a> {
    of: Subject<'a>,
    tried: &'a Tried,
    weaves: &'a [Weave],
}

/// What the lowerings of a plan cost.
pub(super) struct Costs {
    tiles: Vec<Tile>,
    /// By lowering: under each tile, and which is the best.
    by_lowering: Vec<(Vec<CostVector>, usize)>,
}

impl Weighed<'_> {
    /// What the lowerings of a plan cost for a batch, under its weaves and their tiles.
    pub(super) fn costs(&self, batch: u64) -> Result<Costs, CompileError> {
        let tiles = self.tiles(self.weaves, batch)?;
        let prices = prices(&tiles, self.of.target);
        let lowerings = self.tried.rewritten.lowerings.iter();
        let by_lowering = lowerings.map(|l| costs_of(&prices, &self.tried.rewritten, l));
        let by_lowering = by_lowering.collect::<Result<_, _>>()?;
        drop(prices);
        Ok(Costs { tiles, by_lowering })
    }

    /// The cycles that some of its lowerings take for a batch, under one of its weaves.
    pub(super) fn cycles(
        &self,
        batch: u64,
        weave: usize,
        lowerings: &[usize],
    ) -> Result<Vec<f64>, CompileError> {
        let tiles = self.tiles(&self.weaves[weave..=weave], batch)?;
        let prices = prices(&tiles, self.of.target);
        let cycles = |which: &usize| {
            let lowering = &self.tried.rewritten.lowerings[*which];
            let (costs, best) = costs_of(&prices, &self.tried.rewritten, lowering)?;
            Ok(costs[best].cycles)
        };
        lowerings.iter().map(cycles).collect()
    }

    fn tiles(&self, weaves: &[Weave], batch: u64) -> Result<Vec<Tile>, CompileError> {
        let Tried {
            placed, rewritten, ..
        } = self.tried;
        tiles(
            (self.of.kernel, self.of.statement),
            (placed, rewritten),
            weaves,
            batch,
        )
    }

    /// The lowerings as contenders: the plan is the one of a number, and its weaves have the layouts of these numbers.
    pub(super) fn contenders(
        &self,
        tried: usize,
        layouts: &[usize],
        costs: Costs,
    ) -> Vec<Contender> {
        let Costs { tiles, by_lowering } = costs;
        let tiled = tiles.into_iter().map(|tile| Tiled {
            lanes: tile.plan.lane_list(self.of.kernel),
            plan: tile.plan,
            layouts: layouts[tile.weave],
        });
        let tiled: Arc<[Tiled]> = tiled.collect();
        let contender = |(which, (costs, best)): (usize, (Vec<CostVector>, usize))| {
            let Tiled { plan, lanes, .. } = &tiled[best];
            let lowering = &self.tried.rewritten.lowerings[which];
            Contender {
                tried,
                which,
                tiles: tiled.clone(),
                best,
                candidate: Candidate {
                    lanes: lanes.clone(),
                    name: lowering.name.clone(),
                    term: lowering.term.hash,
                    tile: plan.tile(),
                    rounded: lowering.rounded,
                    cost: costs[best].clone(),
                    later: Vec::new(),
                    chosen: false,
                },
                costs,
            }
        };
        { by_lowering.into_iter().enumerate() }
            .map(contender)
            .collect()
    }
}

/// Weighs contenders for larger batches: those with layouts that may be chosen. Each plan comes with the layouts of its weaves.
pub(super) fn weigh_later(
    plans: &[(Weighed<'_>, &[usize])],
    contenders: &mut [Contender],
    request: &Request<'_>,
) -> Result<(), CompileError> {
    let cycles = |c: &Contender| c.candidate.cost.cycles;
    let least = contenders.iter().map(cycles).fold(f64::MAX, f64::min);
    // Who asks for a description may get any.
    let may_be = |c: &&Contender| request.force.is_some() || cycles(c) <= least * NEAR;
    let near = contenders.iter().filter(may_be).map(Contender::layouts);
    let near: BTreeSet<usize> = near.collect();
    let mut jobs = Vec::new();
    for (plan, (weighed, layouts)) in plans.iter().enumerate() {
        for (weave, layouts) in layouts.iter().enumerate() {
            let all = contenders.iter().enumerate();
            let here = all.filter(|(_, c)| c.tried == plan && c.layouts() == *layouts);
            let here: Vec<(usize, usize)> = here.map(|(at, c)| (at, c.which)).collect();
            if near.contains(layouts) && !here.is_empty() {
                jobs.push((weighed, weave, here));
            }
        }
    }
    let later = on_all_cores(jobs, |(weighed, weave, here)| {
        let lowerings: Vec<usize> = here.iter().map(|(_, which)| *which).collect();
        let batches = request.later.iter();
        let cycles = batches.map(|batch| weighed.cycles(*batch, weave, &lowerings));
        (here, cycles.collect::<Result<Vec<Vec<f64>>, _>>())
    });
    for (here, batches) in later {
        for cycles in batches? {
            for ((at, _), cycles) in here.iter().zip(cycles) {
                contenders[*at].candidate.later.push(cycles);
            }
        }
    }
    Ok(())
}
