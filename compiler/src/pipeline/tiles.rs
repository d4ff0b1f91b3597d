//! Tiles: how many rows of weights and of batches are computed beside each other, and which rows share blocks. The terms of a
//! plan are the same under each tile; only copies and addresses differ.

use super::CompileError;
use crate::rewrite::cost::{CostVector, Prices, total};
use crate::rewrite::{Lowering, Rewritten};
use crate::schedule::ScheduleError;
use crate::schedule::place::{Part, Placed, place};
use crate::schedule::plan::{Layouts, Plan, known_extent, layouts_of};
use crate::schedule::sums::keeping_sums;
use crate::schedule::term::{Load, LoadId, Storage};
use crate::spec::kernel::{Kernel, Statement};
use crate::target::Target;
use std::collections::BTreeSet;

/// Distant rows that are tried together, and rows of batches.
const ROWS: [u64; 3] = [1, 2, 4];
const BATCHES: [u64; 4] = [1, 2, 3, 4];

/// Groups of rows that share blocks, where the compiler places the weights.
const WOVEN: [u64; 3] = [1, 2, 4];

/// A plan with so many rows in a block, and the layouts that it takes.
pub(super) struct Weave {
    pub(super) plan: Plan,
    pub(super) layouts: Layouts,
}

/// A tile of a plan.
pub(super) struct Tile {
    pub(super) plan: Plan,
    /// Which of the weaves it is of.
    pub(super) weave: usize,
    placed: Placed,
}

/// A plan with its layouts, and with more and more rows in the blocks of weights that the compiler places.
pub(super) fn weaves_of(
    kernel: &Kernel,
    statement: &Statement,
    (plan, layouts): (&Plan, &Layouts),
    before: &Layouts,
) -> Vec<Weave> {
    let mut weaves = vec![Weave {
        plan: plan.clone(),
        layouts: layouts.clone(),
    }];
    if plan.turns.is_some() || plan.woven > 1 || plan.row.is_none() {
        return weaves;
    }
    let plain = layouts_of(kernel, statement, plan, before);
    let with_sums = plain != *layouts;
    for woven in WOVEN.into_iter().skip(1) {
        let plan = Plan {
            woven,
            ..plan.clone()
        };
        let layouts = layouts_of(kernel, statement, &plan, before);
        if layouts == plain {
            break;
        }
        let layouts = match with_sums {
            true => keeping_sums(kernel, before, &layouts),
            false => Some(layouts),
        };
        weaves.extend(layouts.map(|layouts| Weave { plan, layouts }));
    }
    weaves
}

/// A statement under some weaves of a plan, which was rewritten for one, with each tile that is tried for a batch.
pub(super) fn tiles(
    (kernel, statement): (&Kernel, &Statement),
    (first, rewritten): (&Placed, &Rewritten),
    weaves: &[Weave],
    batch: u64,
) -> Result<Vec<Tile>, CompileError> {
    let mut tiles = Vec::new();
    for (at, weave) in weaves.iter().enumerate() {
        let batch_index = weave.plan.batch_index();
        let known = batch_index.and_then(|index| known_extent(kernel, index));
        let most = known.unwrap_or(batch);
        let batches = BATCHES.into_iter();
        let batches = batches.filter(|b| *b == 1 || batch_index.is_some() && *b <= most);
        let batches: Vec<u64> = batches.collect();
        for rows in rows_of(&weave.plan, weaves.len() > 1) {
            for batch_tile in batches.iter().filter(|b| rows.holds_sums(**b)) {
                let plan = Plan {
                    batch_tile: *batch_tile,
                    ..rows.clone()
                };
                let layouts = &weave.layouts;
                let mut placed = place(kernel, statement, &plan, layouts, Part::MAIN, batch)?;
                if !same_terms(&placed, first) {
                    continue;
                }
                rewritten.facts.put_made(&mut placed.terms);
                tiles.push(Tile {
                    plan,
                    weave: at,
                    placed,
                });
            }
        }
    }
    Ok(tiles)
}

/// Whether two placed statements differ in addresses and copies at most: what was rewritten for one is right for the other.
fn same_terms(a: &Placed, b: &Placed) -> bool {
    let (x, y) = (&a.terms, &b.terms);
    let alike = |(id, load): (LoadId, &Load)| {
        let number = matches!(load.storage, Storage::Place { .. });
        let other = y.loads.get(id);
        other.is_some_and(|o| {
            (o.tensor, o.storage) == (load.tensor, load.storage)
                && (!number || o.bit == load.bit)
                && x.load_axes(id) == y.load_axes(id)
        })
    };
    x.loads.len() == y.loads.len()
        && x.loads.iter().all(alike)
        && x.terms == y.terms
        && x.fields == y.fields
        && x.elements == y.elements
        && x.units == y.units
}

/// A plan with more or fewer rows as copies: of those that share a block all or some at a time, and distant ones where there is no
/// other weave.
fn rows_of(plan: &Plan, weaves: bool) -> Vec<Plan> {
    let distant = |row_tile: u64| Plan {
        row_tile,
        ..plan.clone()
    };
    match (plan.turns, plan.woven) {
        (Some(turns), woven) => {
            let all = woven * turns;
            let at_once = WOVEN.into_iter().chain([woven, all]);
            let at_once: BTreeSet<u64> = at_once.filter(|w| all.is_multiple_of(*w)).collect();
            let in_turn = |at_once: u64| Plan {
                woven: at_once,
                turns: Some(all / at_once),
                ..plan.clone()
            };
            at_once.into_iter().map(in_turn).collect()
        }
        (None, 1) if plan.row.is_some() && !weaves => ROWS.map(distant).to_vec(),
        (None, _) => vec![plan.clone()],
    }
}

/// What operations cost under each tile.
pub(super) fn prices<'a>(tiles: &'a [Tile], target: &'a Target) -> Vec<Prices<'a>> {
    let prices = |tile: &'a Tile| {
        let Placed { terms, axes, .. } = &tile.placed;
        Prices::new(target, terms, axes)
    };
    tiles.iter().map(prices).collect()
}

/// Tiles that differ by less than this are as fast as each other as far as costs are known: then the one with the least work.
const SAME: f64 = 1.01;

/// What a lowering costs under each tile, and which is the best.
pub(super) fn costs_of(
    tiles: &[Prices<'_>],
    rewritten: &Rewritten,
    lowering: &Lowering,
) -> Result<(Vec<CostVector>, usize), CompileError> {
    let cost = |prices| total(prices, &lowering.term, &rewritten.weights);
    let costs: Vec<CostVector> = tiles.iter().map(cost).collect();
    let least = costs.iter().map(|c| c.cycles).fold(f64::MAX, f64::min);
    let near = (0..costs.len()).filter(|at| costs[*at].cycles <= least * SAME);
    let best = near.min_by(|a, b| costs[*a].work().total_cmp(&costs[*b].work()));
    let best = best.ok_or(CompileError::Schedule(ScheduleError::Internal("no tile")))?;
    Ok((costs, best))
}
