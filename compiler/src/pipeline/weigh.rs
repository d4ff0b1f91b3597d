//! What the lowerings of one plan cost under each tile: the contenders that a choice is made among.

use super::tiles::{Weave, Woven, costs_of, priced, tiles};
use super::{Candidate, CompileError, Request};
use crate::rewrite::Rewritten;
use crate::rewrite::cost::CostVector;
use crate::schedule::place::Placed;
use crate::schedule::plan::{Layouts, Plan};
use crate::spec::kernel::{Kernel, Statement};
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

/// What plans are weighed for.
pub(super) struct Weighed<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) statement: &'a Statement,
    pub(super) request: &'a Request<'a>,
    /// The larger batches that count.
    pub(super) later: &'a [u64],
    /// The choices of layouts.
    pub(super) layouts: &'a [Layouts],
}

impl Weighed<'_> {
    /// The lowerings of a plan, which was tried as the one of a number, with their costs under its weaves.
    pub(super) fn contenders(
        &self,
        at: usize,
        (placed, rewritten): (&Placed, &Rewritten),
        weaves: &[Weave],
    ) -> Result<Vec<Contender>, CompileError> {
        let of_batch = |batch: u64, weaves: &[Weave]| {
            let request = Request {
                batch,
                ..self.request.clone()
            };
            let woven = Woven {
                placed,
                rewritten,
                weaves,
                layouts: self.layouts,
            };
            tiles(self.kernel, self.statement, &woven, &request)
        };
        let tiles = of_batch(self.request.batch, weaves)?;
        let tiled = tiles.iter().map(|tile| Tiled {
            plan: tile.plan.clone(),
            lanes: tile.plan.lane_list(self.kernel),
            layouts: tile.layouts,
        });
        let tiled: Arc<[Tiled]> = tiled.collect();
        let tiles = priced(&tiles, self.request.target);
        let mut contenders = Vec::new();
        for (which, lowering) in rewritten.lowerings.iter().enumerate() {
            let (costs, best) = costs_of(&tiles, rewritten, lowering)?;
            let Tiled { plan, lanes, .. } = &tiled[best];
            contenders.push(Contender {
                tried: at,
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
            });
        }
        for weave in weaves {
            for batch in self.later {
                let is_here = |c: &&mut Contender| c.layouts() == weave.layouts;
                let mut here = contenders.iter_mut().filter(is_here).peekable();
                if here.peek().is_none() {
                    continue;
                }
                let tiles = of_batch(*batch, std::slice::from_ref(weave))?;
                let tiles = priced(&tiles, self.request.target);
                for contender in here {
                    let lowering = &rewritten.lowerings[contender.which];
                    let (costs, best) = costs_of(&tiles, rewritten, lowering)?;
                    contender.candidate.later.push(costs[best].cycles);
                }
            }
        }
        Ok(contenders)
    }
}
