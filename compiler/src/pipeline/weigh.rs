//! What the lowerings of one plan cost, each with its best tile: the contenders that a choice is made among.

use super::tiles::{Weave, Woven, best_tile, priced, tiles};
use super::{Candidate, CompileError, Request};
use crate::rewrite::Rewritten;
use crate::schedule::place::Placed;
use crate::schedule::plan::{Layouts, Plan};
use crate::spec::kernel::{Kernel, Statement};

/// A lowering of one of the plans that were tried, with its best tile.
pub(super) struct Contender {
    /// Which of the plans.
    pub(super) tried: usize,
    /// Which of its lowerings.
    pub(super) which: usize,
    pub(super) plan: Plan,
    /// Which of the choices of layouts.
    pub(super) layouts: usize,
    pub(super) candidate: Candidate,
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
        let tiles = priced(&tiles, self.request.target);
        let mut contenders = Vec::new();
        for (which, lowering) in rewritten.lowerings.iter().enumerate() {
            let (tile, cost) = best_tile(&tiles, rewritten, lowering)?;
            contenders.push(Contender {
                tried: at,
                which,
                plan: tile.plan.clone(),
                layouts: tile.layouts,
                candidate: Candidate {
                    lanes: tile.plan.lane_list(self.kernel),
                    name: lowering.name.clone(),
                    term: lowering.term.hash,
                    rounded: lowering.rounded,
                    cost,
                    later: Vec::new(),
                    chosen: false,
                },
            });
        }
        for weave in weaves {
            for batch in self.later {
                let is_here = |c: &&mut Contender| c.layouts == weave.layouts;
                let mut here = contenders.iter_mut().filter(is_here).peekable();
                if here.peek().is_none() {
                    continue;
                }
                let tiles = of_batch(*batch, std::slice::from_ref(weave))?;
                let tiles = priced(&tiles, self.request.target);
                for contender in here {
                    let lowering = &rewritten.lowerings[contender.which];
                    let (_, cost) = best_tile(&tiles, rewritten, lowering)?;
                    contender.candidate.later.push(cost.cycles);
                }
            }
        }
        Ok(contenders)
    }
}
