//! Tiles: how many rows of weights and of batches are computed beside each other, and which rows share blocks. The terms of a
//! plan are the same under each tile; only copies and addresses differ.

use super::{CompileError, Request};
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

/// A plan with so many rows in a block, and which layouts it takes.
pub(super) struct Weave {
    pub(super) plan: Plan,
    pub(super) layouts: usize,
}

/// A tile of a plan.
pub(super) struct Tile {
    pub(super) plan: Plan,
    pub(super) layouts: usize,
    placed: Placed,
}

/// A plan with its layouts, and with more and more rows in the blocks of weights that the compiler places; and the layouts of
/// each.
pub(super) fn weaves_of(
    kernel: &Kernel,
    statement: &Statement,
    (plan, layouts): (&Plan, &Layouts),
    before: &Layouts,
) -> Vec<(Plan, Layouts)> {
    let mut weaves = vec![(plan.clone(), layouts.clone())];
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
        weaves.extend(layouts.map(|l| (plan, l)));
    }
    weaves
}

/// What was rewritten, with the weaves that it is to be taken under, and the layouts that these refer to.
pub(super) struct Woven<'a> {
    pub(super) placed: &'a Placed,
    pub(super) rewritten: &'a Rewritten,
    pub(super) weaves: &'a [Weave],
    pub(super) layouts: &'a [Layouts],
}

/// A statement under some weaves of a plan with each tile that is tried.
pub(super) fn tiles(
    kernel: &Kernel,
    statement: &Statement,
    woven: &Woven<'_>,
    request: &Request<'_>,
) -> Result<Vec<Tile>, CompileError> {
    let Woven {
        placed: first,
        rewritten,
        weaves,
        layouts: all,
    } = *woven;
    let mut tiles = Vec::new();
    for weave in weaves {
        let batch_index = weave.plan.batch_index();
        let known = batch_index.and_then(|index| known_extent(kernel, index));
        let most = known.unwrap_or(request.batch);
        let batches = BATCHES.into_iter();
        let batches = batches.filter(|b| *b == 1 || batch_index.is_some() && *b <= most);
        let batches: Vec<u64> = batches.collect();
        for rows in rows_of(&weave.plan, weaves.len() > 1) {
            for batch in batches.iter().filter(|b| rows.holds_sums(**b)) {
                let plan = Plan {
                    batch_tile: *batch,
                    ..rows.clone()
                };
                let layouts = &all[weave.layouts];
                let mut placed =
                    place(kernel, statement, &plan, layouts, Part::MAIN, request.batch)?;
                if !same_terms(&placed, first) {
                    continue;
                }
                rewritten.facts.put_made(&mut placed.terms);
                tiles.push(Tile {
                    plan,
                    layouts: weave.layouts,
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

/// What terms cost under each tile.
pub(super) fn priced<'a>(tiles: &'a [Tile], target: &'a Target) -> Vec<(&'a Tile, Prices<'a>)> {
    let priced = |tile: &'a Tile| {
        let Placed { terms, axes, .. } = &tile.placed;
        (tile, Prices::new(target, terms, axes))
    };
    tiles.iter().map(priced).collect()
}

/// Tiles that differ by less than this are as fast as each other as far as costs are known: then the one with the least work.
const SAME: f64 = 1.01;

/// What a lowering costs under each tile, and which is the best.
pub(super) fn costs_of(
    tiles: &[(&Tile, Prices<'_>)],
    rewritten: &Rewritten,
    lowering: &Lowering,
) -> Result<(Vec<CostVector>, usize), CompileError> {
    let cost =
        |(_, prices): &(&Tile, Prices<'_>)| total(prices, &lowering.term, &rewritten.weights);
    let costs: Vec<CostVector> = tiles.iter().map(cost).collect();
    let least = costs.iter().map(|c| c.cycles).fold(f64::MAX, f64::min);
    let near = (0..costs.len()).filter(|at| costs[*at].cycles <= least * SAME);
    let best = near.min_by(|a, b| costs[*a].work().total_cmp(&costs[*b].work()));
    let best = best.ok_or(CompileError::Schedule(ScheduleError::Internal("no tile")))?;
    Ok((costs, best))
}
