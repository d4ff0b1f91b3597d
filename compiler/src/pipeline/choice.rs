//! One computing step: its plans, an e-graph for each, and the candidates that these give.

use super::cores::on_all_cores;
use super::tiles::{Weave, weaves_of};
use super::weigh::{Contender, Subject, Tiled, weigh_later};
use super::{Candidate, CompileError, Pick, Request, Stage};
use crate::rewrite::{RewriteError, Rewritten, RuleSet, apart, rewrite};
use crate::schedule::amounts;
use crate::schedule::groups::rows_are_filled_up;
use crate::schedule::place::{Part, Placed, place};
use crate::schedule::plan::{Layouts, Plan, known_extent, layouts_of, plans, settle};
use crate::schedule::sums::keeping_sums;
use crate::spec::kernel::{Kernel, Statement};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A plan with its rewritten main part.
pub(super) struct Tried {
    plan: Plan,
    layouts: Layouts,
    pub(super) placed: Placed,
    /// Of its outline.
    pub(super) rewritten: Arc<Rewritten>,
    /// An e-graph that was made for it and is not used.
    dropped: Option<Graph>,
}

/// The weaves of a plan, and the number that the layouts of each have.
struct Woven {
    weaves: Vec<Weave>,
    layouts: Vec<usize>,
}

/// What is told of an e-graph.
#[derive(Clone, Copy)]
struct Graph {
    nodes: usize,
    saturated: bool,
}

impl Graph {
    fn of(rewritten: &Rewritten) -> Graph {
        Graph {
            nodes: rewritten.nodes,
            saturated: rewritten.saturated,
        }
    }

    /// One that reached its limit.
    fn too_large(nodes: usize) -> Graph {
        Graph {
            nodes,
            saturated: false,
        }
    }
}

/// What there is to choose from for a statement.
pub(super) struct Choice {
    /// The layouts that it was considered under.
    pub(super) layouts: Layouts,
    tried: Vec<Tried>,
    /// The graphs of plans that reached their limit before they had a lowering.
    too_large: Vec<Graph>,
    /// The layouts of the contenders, each once.
    chosen_layouts: Vec<Layouts>,
    contenders: Vec<Contender>,
    /// What is chosen: the cheapest contender that may be, or the one that is picked.
    pub(super) best: At,
    /// Whether it has the description that was asked for; where none has, any may be chosen.
    pub(super) forced: bool,
    /// What plans leave over, rewritten when it was first needed: by the plan that was tried, and the one it became.
    rests: Vec<(usize, Plan, Part, Tried)>,
}

/// A contender with one of its tiles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    contender: usize,
    tile: usize,
}

/// A contender that was chosen, with what it is compiled from.
pub(super) struct Settled<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) statement: &'a Statement,
    pub(super) rules: &'a RuleSet,
    pub(super) request: &'a Request<'a>,
    /// The contender.
    pub(super) at: At,
}

/// The error where nothing that was considered may be chosen.
pub(super) fn not_there(
    kernel: &Kernel,
    request: &Request<'_>,
    pick: Option<&Pick>,
) -> CompileError {
    let what = match pick {
        Some(pick) => format!(
            "`{}`: step {} has no such candidate with lanes {}",
            kernel.name, pick.step, pick.lanes
        ),
        None => format!("`{}`", kernel.name),
    };
    let target = request.target.name.clone();
    RewriteError::NoLowering { target, what }.into()
}

impl Choice {
    /// Plans a statement, rewrites it under each plan, and costs every lowering with its best tile.
    pub(super) fn new(
        kernel: &Kernel,
        statement: &Statement,
        rules: &RuleSet,
        request: &Request<'_>,
        layouts: &Layouts,
    ) -> Result<Choice, CompileError> {
        let mut tried: Vec<Tried> = Vec::new();
        let mut too_large = Vec::new();
        let mut failure = None;
        let mut chosen_layouts: Vec<Layouts> = Vec::new();
        let mut contenders = Vec::new();
        let mut woven: Vec<Woven> = Vec::new();
        let subject = Subject {
            kernel,
            statement,
            target: request.target,
        };
        let plans = plans(kernel, statement, layouts, request.target);
        let attempts = on_all_cores(plans, |plan| {
            let one = attempt(kernel, statement, plan, rules, request, layouts, Part::MAIN)?;
            let weaves = weaves_of(kernel, statement, (&one.plan, &one.layouts), layouts);
            let costs = subject.weighed(&one, &weaves).costs(request.batch);
            Ok::<_, CompileError>((one, weaves, costs))
        });
        for attempt in attempts {
            let (one, weaves, costs) = match attempt {
                Ok(one) => one,
                Err(error) => {
                    if let CompileError::Rewrite(RewriteError::TooLarge { nodes, .. }) = &error {
                        too_large.push(Graph::too_large(*nodes));
                    }
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            let number = |weave: &Weave| {
                let known = chosen_layouts.iter().position(|l| *l == weave.layouts);
                known.unwrap_or_else(|| {
                    chosen_layouts.push(weave.layouts.clone());
                    chosen_layouts.len() - 1
                })
            };
            let numbers: Vec<usize> = weaves.iter().map(number).collect();
            let weighed = subject.weighed(&one, &weaves);
            contenders.extend(weighed.contenders(tried.len(), &numbers, costs?));
            woven.push(Woven {
                weaves,
                layouts: numbers,
            });
            tried.push(one);
        }
        let known = |t: &Tried| {
            let mut batch = t.plan.batch.iter();
            batch.all(|index| known_extent(kernel, *index).is_some())
        };
        if chosen_layouts.len() > 1 && !tried.iter().all(known) {
            let plans = tried.iter().zip(&woven);
            let plans = plans.map(|(one, w)| (subject.weighed(one, &w.weaves), &w.layouts[..]));
            weigh_later(&plans.collect::<Vec<_>>(), &mut contenders, request)?;
        }
        let described = request.force.and_then(|t| described(&contenders, t));
        let Some(best) = described.or_else(|| balanced(&contenders, |_| true)) else {
            return Err(failure.unwrap_or_else(|| not_there(kernel, request, None)));
        };
        Ok(Choice {
            layouts: layouts.clone(),
            tried,
            too_large,
            chosen_layouts,
            best: At {
                contender: best,
                tile: contenders[best].best,
            },
            contenders,
            forced: described.is_some(),
            rests: Vec::new(),
        })
    }

    /// Chooses what is picked, if there is such a contender.
    pub(super) fn prefer(&mut self, pick: &Pick) {
        self.best = self.find(pick).unwrap_or(self.best);
    }

    /// The contender that is picked.
    pub(super) fn find(&self, pick: &Pick) -> Option<At> {
        let is_picked = |t: &Tiled| t.plan.tile() == pick.tile && t.lanes == pick.lanes;
        let mut picked: Vec<At> = Vec::new();
        for (contender, c) in self.contenders.iter().enumerate() {
            if c.candidate.term == pick.term {
                let tile = c.tiles.iter().position(is_picked);
                picked.extend(tile.map(|tile| At { contender, tile }));
            }
        }
        let cycles = |at: &At| self.contenders[at.contender].costs[at.tile].cycles;
        { picked.into_iter() }.min_by(|a, b| cycles(a).total_cmp(&cycles(b)))
    }

    /// The layouts once a contender is chosen.
    pub(super) fn layouts_after(&self, kernel: &Kernel, statement: &Statement, at: At) -> Layouts {
        let tile = &self.contenders[at.contender].tiles[at.tile];
        let mut layouts = self.chosen_layouts[tile.layouts].clone();
        settle(kernel, statement, &mut layouts);
        layouts
    }

    /// All candidates, cheapest first, each with its best tile, and one of them chosen. Terms that differ only in what the words
    /// do not say are one candidate, at the best of their costs.
    pub(super) fn candidates(&self, chosen: At) -> Vec<Candidate> {
        let all = self.contenders.iter().enumerate();
        let mut candidates: Vec<Candidate> = all
            .map(|(at, c)| {
                let is_chosen = at == chosen.contender;
                let tile = if is_chosen { chosen.tile } else { c.best };
                Candidate {
                    chosen: is_chosen,
                    ..c.with_tile(tile)
                }
            })
            .collect();
        candidates.sort_by(|a, b| a.cost.order(&b.cost));
        let mut told = BTreeSet::new();
        candidates.retain(|c| told.insert((c.lanes.clone(), c.name.clone())) || c.chosen);
        candidates
    }

    /// The most promising candidates: so many with their best tiles, and as many of the same with other tiles; the one that is
    /// chosen comes first.
    pub(super) fn variants(&self, few: usize) -> Vec<Candidate> {
        let mut best = self.candidates(self.best);
        best.sort_by_key(|c| !c.chosen);
        best.truncate(few.max(1));
        let same = |c: &Contender| {
            let told = |b: &Candidate| {
                b.term == c.candidate.term && c.tiles.iter().any(|t| t.lanes == b.lanes)
            };
            best.iter().any(told)
        };
        let contenders = self.contenders.iter().filter(|c| same(c));
        let all = contenders.flat_map(|c| (0..c.tiles.len()).map(|tile| c.with_tile(tile)));
        let is_new = |c: &Candidate| best.iter().all(|b| b.pick(0) != c.pick(0));
        let mut others: Vec<Candidate> = all.filter(is_new).collect();
        others.sort_by(|a, b| a.cost.order(&b.cost));
        others.truncate(few);
        best.extend(others);
        best
    }

    /// A contender with all its parts. `layouts` are those after it is chosen.
    pub(super) fn settle(
        &mut self,
        settled: &Settled<'_>,
        layouts: &Layouts,
    ) -> Result<Stage, CompileError> {
        let Settled {
            kernel,
            statement,
            request,
            ..
        } = *settled;
        let at = settled.at;
        let Contender {
            tried,
            which,
            tiles,
            ..
        } = &self.contenders[at.contender];
        let (tried, plan) = (*tried, tiles[at.tile].plan.clone());
        let placed = place(kernel, statement, &plan, layouts, Part::MAIN, request.batch)?;
        let rewritten = self.tried[tried].rewritten.of(&placed);
        let lowering = rewritten.lowerings[*which].clone();
        let used = self.tried.iter().map(|t| Graph::of(&t.rewritten));
        let dropped = self.tried.iter().filter_map(|t| t.dropped);
        let mut graphs: Vec<Graph> = used.chain(dropped).collect();
        graphs.extend(&self.too_large);
        let mut parts = vec![(Part::MAIN, placed, rewritten, lowering)];
        for part in rest(kernel, statement, &plan, layouts) {
            let rest = self.rest(settled, tried, &plan, part, layouts)?;
            graphs.push(Graph::of(&rest.rewritten));
            let best = rest.rewritten.best(&rest.placed, request.target);
            let lowering = best.ok_or_else(|| not_there(kernel, request, None))?;
            let rewritten = rest.rewritten.of(&rest.placed);
            parts.push((part, rest.placed.clone(), rewritten, lowering.clone()));
        }
        let amounts = amounts::nominal(kernel, statement, &plan, request.batch);
        Ok(Stage {
            plan,
            graphs: graphs.len(),
            parts,
            candidates: self.candidates(settled.at),
            amounts,
            nodes: graphs.iter().map(|g| g.nodes).max().unwrap_or(0),
            saturated: graphs.iter().all(|g| g.saturated),
        })
    }

    /// What a plan leaves over, rewritten.
    fn rest(
        &mut self,
        settled: &Settled<'_>,
        tried: usize,
        plan: &Plan,
        part: Part,
        layouts: &Layouts,
    ) -> Result<&Tried, CompileError> {
        let row_tile = if part.rest_rows { 1 } else { plan.row_tile };
        let narrow = Plan {
            row_tile,
            ..plan.clone()
        };
        let known =
            |(t, n, p, _): &(usize, Plan, Part, Tried)| *t == tried && *n == narrow && *p == part;
        let at = match self.rests.iter().position(known) {
            Some(at) => at,
            None => {
                let rest = attempt(
                    settled.kernel,
                    settled.statement,
                    narrow.clone(),
                    settled.rules,
                    settled.request,
                    layouts,
                    part,
                )?;
                self.rests.push((tried, narrow, part, rest));
                self.rests.len() - 1
            }
        };
        Ok(&self.rests[at].3)
    }
}

/// What a layout may cost the first batch, relative to the one it likes best, if larger batches are faster with it. One row is
/// what a token takes: it waits for nothing else.
pub(super) const NEAR: f64 = 1.1;

/// The contender whose layouts serve all batches best: among layouts with which the first batch is near the cheapest, those with
/// the least product of its time and that of larger batches; and of contenders with these layouts the cheapest.
fn balanced(contenders: &[Contender], allowed: impl Fn(&Candidate) -> bool) -> Option<usize> {
    let first = cheapest(contenders, |c| allowed(&c.candidate))?;
    let is_in = |layouts: usize, c: &Contender| c.layouts() == layouts && allowed(&c.candidate);
    // The time that larger batches take, each with the contender that is best for it.
    let later = |layouts: usize| -> f64 {
        let same = || contenders.iter().filter(|c| is_in(layouts, c));
        let batches = 0..contenders[first].candidate.later.len();
        let least = |b: usize| {
            same()
                .map(|c| c.candidate.later[b])
                .fold(f64::MAX, f64::min)
        };
        batches.map(least).sum()
    };
    let cycles = |at: usize| contenders[at].candidate.cost.cycles;
    let own = contenders[first].layouts();
    // What one row loses must be less than what larger batches gain.
    let both = |at: usize, layouts: usize| cycles(at) * later(layouts);
    let mut best = (first, both(first, own));
    let all: BTreeSet<usize> = contenders.iter().map(Contender::layouts).collect();
    for layouts in all.into_iter().filter(|l| *l != own) {
        let Some(at) = cheapest(contenders, |c| is_in(layouts, c)) else {
            continue;
        };
        if cycles(at) <= cycles(first) * NEAR && both(at, layouts) < best.1 {
            best = (at, both(at, layouts));
        }
    }
    Some(best.0)
}

/// The first of the cheapest contenders that a condition holds for.
fn cheapest(contenders: &[Contender], allowed: impl Fn(&Contender) -> bool) -> Option<usize> {
    let cycles = |at: usize| contenders[at].candidate.cost.cycles;
    let mut best = None;
    for (at, _) in contenders.iter().enumerate().filter(|(_, c)| allowed(c)) {
        if best.is_none_or(|b| cycles(at) < cycles(b)) {
            best = Some(at);
        }
    }
    best
}

/// The best contender whose description is the text, or where there is none, contains it.
fn described(contenders: &[Contender], text: &str) -> Option<usize> {
    let described = |c: &Candidate| format!("{} {}", c.lanes, c.name);
    let exactly = balanced(contenders, |c| described(c) == text);
    exactly.or_else(|| balanced(contenders, |c| described(c).contains(text)))
}

fn attempt(
    kernel: &Kernel,
    statement: &Statement,
    plan: Plan,
    rules: &RuleSet,
    request: &Request<'_>,
    layouts: &Layouts,
    part: Part,
) -> Result<Tried, CompileError> {
    let chosen = layouts_of(kernel, statement, &plan, layouts);
    let mut dropped = None;
    if let Some(keeping) = keeping_sums(kernel, layouts, &chosen) {
        match try_sums(kernel, statement, &plan, rules, request, keeping)? {
            Sums::Read(tried) => return Ok(*tried),
            Sums::NotRead(graph) => dropped = Some(graph),
            Sums::Useless => {}
        }
    }
    let layouts = chosen;
    let placed = place(kernel, statement, &plan, &layouts, part, request.batch)?;
    let rewritten = rewrite(&placed, kernel, request.target, rules)?;
    Ok(Tried {
        plan,
        layouts,
        placed,
        rewritten,
        dropped,
    })
}

/// What layouts that keep sums of rows are for a plan.
enum Sums {
    /// The statement has no such sum.
    Useless,
    /// The best lowering does without, or the graph is too large.
    NotRead(Graph),
    /// The best lowering reads them.
    Read(Box<Tried>),
}

/// A plan under layouts that keep sums of rows.
fn try_sums(
    kernel: &Kernel,
    statement: &Statement,
    plan: &Plan,
    rules: &RuleSet,
    request: &Request<'_>,
    layouts: Layouts,
) -> Result<Sums, CompileError> {
    let placed = place(kernel, statement, plan, &layouts, Part::MAIN, request.batch)?;
    if !apart::is_useful(&placed, kernel, rules) {
        return Ok(Sums::Useless);
    }
    let rewritten = match rewrite(&placed, kernel, request.target, rules) {
        Ok(rewritten) => rewritten,
        // It may not be without the second form.
        Err(RewriteError::TooLarge { nodes, .. }) => {
            return Ok(Sums::NotRead(Graph::too_large(nodes)));
        }
        Err(error) => return Err(error.into()),
    };
    let best = rewritten.best(&placed, request.target);
    let read = best.is_some_and(|best| apart::reads_kept(&placed, &best.term));
    if !read || !rewritten.saturated {
        return Ok(Sums::NotRead(Graph::of(&rewritten)));
    }
    Ok(Sums::Read(Box::new(Tried {
        plan: plan.clone(),
        layouts,
        placed,
        rewritten,
        dropped: None,
    })))
}

/// Parts that the main part of a plan leaves over.
fn rest(kernel: &Kernel, statement: &Statement, plan: &Plan, layouts: &Layouts) -> Vec<Part> {
    let mut parts = Vec::new();
    let divides =
        |index, by: u64| known_extent(kernel, index).is_some_and(|n| n.is_multiple_of(by));
    let outputs = &statement.targets[0].index;
    let tail = plan
        .vector
        .is_some_and(|(i, _)| outputs.contains(&i) && !divides(i, plan.chunk));
    let group = plan.row_group();
    let rest_rows = plan
        .row
        .is_some_and(|(row, _)| group > 1 && outputs.contains(&row) && !divides(row, group))
        && !rows_are_filled_up(kernel, statement, plan, layouts);
    if rest_rows {
        parts.push(Part {
            rest_rows: true,
            tail: false,
        });
    }
    if rest_rows && tail {
        parts.push(Part {
            rest_rows: true,
            tail: true,
        });
    }
    if tail {
        parts.push(Part {
            rest_rows: false,
            tail: true,
        });
    }
    parts
}
