//! The pipeline: a checked kernel into a function of the vector IR, with everything that was considered on the way.
//!
//! Order: normal form → plans of each statement → place → rewrite → choose → lower. Nothing else knows this order.

use crate::lower::{Chosen, EncodeJob, Job, lower};
use crate::rewrite::cost::{CostVector, total};
use crate::rewrite::{Lowering, RewriteError, Rewritten, RuleSet, rewrite};
use crate::schedule::ScheduleError;
use crate::schedule::amounts::{self, Amounts};
use crate::schedule::normal::{Normal, Step, normalize};
use crate::schedule::place::{Part, Placed, place};
use crate::schedule::plan::{Layouts, Plan, known_extent, layouts_of, plans, settle};
use crate::schedule::views::{shrunk, stretched};
use crate::spec::kernel::{Kernel, Statement};
use crate::target::Target;
use crate::vector::ir::Function;
use std::collections::BTreeSet;
use thiserror::Error;

/// Why a kernel could not be compiled.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum CompileError {
    /// No schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    /// No lowering.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
}

/// What to compile for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The machine.
    pub target: &'a Target,
    /// The batch (rows of activations) that costs are weighed for, where it is free.
    pub batch: u64,
    /// Layouts that are required for weights, by tensor; the others are chosen.
    pub layouts: Layouts,
    /// Only lowerings whose description is this text, or where there is none, contains it.
    pub force: Option<&'a str>,
    /// One candidate of one step, and no other.
    pub pick: Option<&'a Pick>,
}

/// A candidate, told apart from all others of its step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The computing step, counted from 0.
    pub step: usize,
    /// Its lane list.
    pub lanes: String,
    /// The hash of its term.
    pub term: u64,
}

/// A lowering that was considered for a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its lane list.
    pub lanes: String,
    /// How weights are decoded and products summed.
    pub name: String,
    /// The hash of its term.
    pub term: u64,
    /// Whether it looks sums up in tables that are rounded.
    pub rounded: bool,
    /// What it costs.
    pub cost: CostVector,
    /// Whether it is the one compiled.
    pub chosen: bool,
}

/// What became of a statement.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The plan that was chosen.
    pub plan: Plan,
    /// Its parts: the main part first, then what it leaves over.
    pub parts: Vec<(Part, Placed, Rewritten, Lowering)>,
    /// All candidates, cheapest first.
    pub candidates: Vec<Candidate>,
    /// What the costs are for.
    pub amounts: Amounts,
    /// E-graphs that were made: one for each plan, and one for each part that the chosen one leaves over.
    pub graphs: usize,
    /// Nodes of the largest e-graph.
    pub nodes: usize,
    /// Whether every e-graph was saturated.
    pub saturated: bool,
}

/// A compiled kernel, before machine code.
#[derive(Clone, Debug)]
pub struct Program {
    /// The kernel in normal form.
    pub normal: Normal,
    /// Layouts of its tensors where they differ from what was declared.
    pub layouts: Layouts,
    /// Stages of the computing steps, in order.
    pub stages: Vec<Stage>,
    /// The function.
    pub function: Function,
}

/// Row tiles that are tried, and batch tiles.
const ROW_TILES: [u64; 3] = [1, 2, 4];
const BATCH_TILES: [u64; 3] = [1, 2, 4];

/// Compiles a bound kernel with the given rules.
pub fn compile(
    kernel: &Kernel,
    rules: &RuleSet,
    request: &Request<'_>,
) -> Result<Program, CompileError> {
    let normal = normalize(kernel);
    let mut layouts = stretched_layouts(&normal, &request.layouts)?;
    let mut stages = Vec::new();
    for step in &normal.steps {
        if let Step::Compute(statement) = step {
            stages.push(choose(
                &normal.kernel,
                statement,
                rules,
                request,
                request.pick.filter(|p| p.step == stages.len()),
                &mut layouts,
            )?);
        }
    }
    let mut computed = stages.iter();
    let jobs: Vec<Job<'_>> = normal
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Compute(_) => computed
                .next()
                .map(|stage| Job::Compute(stage.parts.iter().map(chosen).collect())),
            Step::Encode { source, target } => Some(Job::Encode(EncodeJob {
                source: *source,
                target: *target,
            })),
        })
        .collect();
    let function = lower(&normal.kernel, &jobs)?;
    let layouts = shrunk_layouts(kernel, &normal, &layouts);
    Ok(Program {
        normal,
        layouts,
        stages,
        function,
    })
}

/// Required layouts, as the normal kernel reads them.
fn stretched_layouts(normal: &Normal, required: &Layouts) -> Result<Layouts, CompileError> {
    let mut layouts = required.clone();
    for (id, by) in normal.stretch.iter().filter(|(_, by)| **by > 0) {
        if let Some(layout) = &required[id] {
            let too_long = ScheduleError::Internal("a layout with blocks that are too long");
            layouts[id] = Some(stretched(layout, *by).ok_or(too_long)?);
        }
    }
    Ok(layouts)
}

/// The layouts that were chosen, of tensors as they were declared.
fn shrunk_layouts(declared: &Kernel, normal: &Normal, chosen: &Layouts) -> Layouts {
    let mut layouts = chosen.clone();
    for (id, by) in normal.stretch.iter().filter(|(_, by)| **by > 0) {
        let format = &declared.tensors[id].format;
        let unchanged = chosen[id].as_ref() == Some(&normal.kernel.tensors[id].format);
        layouts[id] = match &chosen[id] {
            Some(_) if unchanged => Some(format.clone()),
            Some(layout) => Some(shrunk(layout, *by, format)),
            None => None,
        };
    }
    layouts
}

fn chosen(part: &(Part, Placed, Rewritten, Lowering)) -> Chosen<'_> {
    let (part, placed, rewritten, lowering) = part;
    Chosen {
        part: *part,
        placed,
        facts: &rewritten.facts,
        term: &lowering.term,
    }
}

/// A plan with its rewritten main part.
struct Tried {
    plan: Plan,
    layouts: Layouts,
    placed: Placed,
    rewritten: Rewritten,
}

fn choose(
    kernel: &Kernel,
    statement: &Statement,
    rules: &RuleSet,
    request: &Request<'_>,
    pick: Option<&Pick>,
    layouts: &mut Layouts,
) -> Result<Stage, CompileError> {
    let main = Part {
        rest_rows: false,
        tail: false,
    };
    let mut tried = Vec::new();
    let mut failure = None;
    for plan in plans(kernel, statement, layouts, request.target) {
        if pick.is_some_and(|p| p.lanes != plan.lane_list(kernel)) {
            continue;
        }
        match attempt(kernel, statement, plan, rules, request, layouts, main) {
            Ok(one) => tried.push(one),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let description = |one: &Tried, lowering: &Lowering| {
        format!("{} {}", one.plan.lane_list(kernel), lowering.name)
    };
    let exactly = |text: &str| {
        let is = |one: &Tried| {
            let mut lowerings = one.rewritten.lowerings.iter();
            lowerings.any(|l| description(one, l) == text)
        };
        tried.iter().any(is)
    };
    let exact = request.force.is_some_and(exactly);
    let mut best: Option<(usize, usize, Plan, CostVector)> = None;
    let mut candidates = Vec::new();
    for (at, one) in tried.iter().enumerate() {
        let tiles = tiles(kernel, statement, one, request)?;
        for (which, lowering) in one.rewritten.lowerings.iter().enumerate() {
            let picked = pick.is_none_or(|p| p.term == lowering.term.hash);
            let (plan, cost) = best_tile(&tiles, one, lowering, request)?;
            let lanes = one.plan.lane_list(kernel);
            let allowed = request.force.is_none_or(|f| {
                let text = description(one, lowering);
                text == f || !exact && text.contains(f)
            });
            if allowed
                && picked
                && best
                    .as_ref()
                    .is_none_or(|(_, _, _, c)| cost.cycles < c.cycles)
            {
                best = Some((at, which, plan.clone(), cost.clone()));
            }
            candidates.push(Candidate {
                lanes,
                name: lowering.name.clone(),
                term: lowering.term.hash,
                rounded: lowering.rounded,
                cost,
                chosen: false,
            });
        }
    }
    let Some((at, which, plan, _)) = best else {
        let none = RewriteError::NoLowering {
            target: request.target.name.clone(),
            what: match (request.force, pick) {
                (_, Some(pick)) => format!(
                    "`{}`: step {} has no such candidate with lanes {}",
                    kernel.name, pick.step, pick.lanes
                ),
                (Some(text), None) if failure.is_none() => format!(
                    "`{}`: none of those considered has `{text}` in its description",
                    kernel.name
                ),
                (Some(_) | None, None) => format!("`{}`", kernel.name),
            },
        };
        return Err(failure.unwrap_or(none.into()));
    };
    let flat: usize = tried[..at]
        .iter()
        .map(|t| t.rewritten.lowerings.len())
        .sum::<usize>()
        + which;
    candidates[flat].chosen = true;
    let plans = tried.len();
    let mut nodes = tried.iter().map(|t| t.rewritten.nodes).max().unwrap_or(0);
    let mut saturated = tried.iter().all(|t| t.rewritten.saturated);
    candidates.sort_by(|a, b| a.cost.order(&b.cost));
    // Terms that differ only in what the words do not say are one candidate, at the best of their costs.
    let mut told = BTreeSet::new();
    candidates.retain(|c| told.insert((c.lanes.clone(), c.name.clone())) || c.chosen);
    let winner = tried.swap_remove(at);
    *layouts = winner.layouts;
    settle(kernel, statement, layouts);
    let lowering = winner.rewritten.lowerings[which].clone();
    let placed = place(kernel, statement, &plan, layouts, main, request.batch)?;
    let mut parts = vec![(main, placed, winner.rewritten, lowering)];
    for part in rest(kernel, statement, &plan) {
        let narrow = if part.rest_rows {
            Plan {
                row_tile: 1,
                ..plan.clone()
            }
        } else {
            plan.clone()
        };
        let rest = attempt(kernel, statement, narrow, rules, request, layouts, part)?;
        nodes = nodes.max(rest.rewritten.nodes);
        saturated &= rest.rewritten.saturated;
        let lowering = rest.rewritten.lowerings[0].clone();
        parts.push((part, rest.placed, rest.rewritten, lowering));
    }
    let amounts = amounts::nominal(kernel, statement, &plan, request.batch);
    Ok(Stage {
        plan,
        graphs: plans + parts.len() - 1,
        parts,
        candidates,
        amounts,
        nodes,
        saturated,
    })
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
    let layouts = layouts_of(kernel, statement, &plan, layouts);
    let placed = place(kernel, statement, &plan, &layouts, part, request.batch)?;
    let rewritten = rewrite(&placed, kernel, request.target, rules)?;
    Ok(Tried {
        plan,
        layouts,
        placed,
        rewritten,
    })
}

/// The statement under a plan with each tile that is tried: the terms are the same, only the copies differ.
fn tiles(
    kernel: &Kernel,
    statement: &Statement,
    tried: &Tried,
    request: &Request<'_>,
) -> Result<Vec<(Plan, Placed)>, CompileError> {
    let main = Part {
        rest_rows: false,
        tail: false,
    };
    let batch_index = tried.plan.batch_tile.map(|(index, _)| index);
    let known = batch_index.and_then(|index| known_extent(kernel, index));
    let most = known.unwrap_or(request.batch);
    let mut tiles = Vec::new();
    for rows in ROW_TILES {
        for batch in BATCH_TILES {
            let useless = (rows > 1 && tried.plan.row.is_none())
                || (rows * batch > 1 && tried.plan.woven > 1)
                || (batch > 1 && (batch_index.is_none() || most < batch));
            if useless {
                continue;
            }
            let mut plan = Plan {
                row_tile: rows,
                ..tried.plan.clone()
            };
            plan.batch_tile = plan.batch_tile.map(|(i, _)| (i, batch));
            let mut placed = place(
                kernel,
                statement,
                &plan,
                &tried.layouts,
                main,
                request.batch,
            )?;
            // Rewriting made fields of joint codes, and elements.
            let made = &tried.rewritten.facts.terms;
            placed.terms.fields = made.fields.clone();
            placed.terms.elements = made.elements.clone();
            tiles.push((plan, placed));
        }
    }
    Ok(tiles)
}

/// The best tile for a lowering.
fn best_tile(
    tiles: &[(Plan, Placed)],
    tried: &Tried,
    lowering: &Lowering,
    request: &Request<'_>,
) -> Result<(Plan, CostVector), CompileError> {
    let mut best: Option<(Plan, CostVector)> = None;
    for (plan, placed) in tiles {
        let cost = total(
            request.target,
            &placed.terms,
            &placed.axes,
            &lowering.term,
            &tried.rewritten.weights,
        );
        if best
            .as_ref()
            .is_none_or(|(_, c)| cost.cycles < c.cycles * 0.999)
        {
            best = Some((plan.clone(), cost));
        }
    }
    best.ok_or(CompileError::Schedule(ScheduleError::Internal("no tile")))
}

/// Parts that the main part of a plan leaves over.
fn rest(kernel: &Kernel, statement: &Statement, plan: &Plan) -> Vec<Part> {
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
        .is_some_and(|(row, _)| group > 1 && outputs.contains(&row) && !divides(row, group));
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

impl Program {
    /// The statements with their axes placed.
    pub fn schedule_text(&self) -> String {
        self.text(|stage, part, placed, _, _| {
            let lanes = stage.plan.lane_list(&self.normal.kernel);
            let shown = crate::schedule::print::Shown {
                placed,
                kernel: &self.normal.kernel,
            };
            format!("{} lanes {lanes}\n{shown}", part_name(part))
        })
    }

    /// The terms that the rewriter chose.
    pub fn rewrite_text(&self) -> String {
        self.text(|_, part, _, rewritten, lowering| {
            let shown = crate::rewrite::print::Shown {
                term: &lowering.term,
                facts: &rewritten.facts,
            };
            format!("{}: {}\n{shown}", part_name(part), lowering.name)
        })
    }

    fn text(
        &self,
        show: impl Fn(&Stage, Part, &Placed, &Rewritten, &Lowering) -> String,
    ) -> String {
        let mut stages = self.stages.iter();
        let mut text = String::new();
        for step in &self.normal.steps {
            match step {
                Step::Compute(statement) => {
                    let names: Vec<&str> = statement
                        .targets
                        .iter()
                        .map(|t| self.normal.kernel.tensors[t.tensor].name.as_str())
                        .collect();
                    text.push_str(&format!("compute {}\n", names.join(", ")));
                    for (part, placed, rewritten, lowering) in
                        stages.next().map(|s| &s.parts).into_iter().flatten()
                    {
                        let stage = &self.stages[self.stages.len() - stages.len() - 1];
                        text.push_str(&show(stage, *part, placed, rewritten, lowering));
                    }
                }
                Step::Encode { source, target } => {
                    let tensors = &self.normal.kernel.tensors;
                    text.push_str(&format!(
                        "encode {} as {}\n",
                        tensors[*source].name, tensors[*target].name
                    ));
                }
            }
        }
        text
    }
}

fn part_name(part: Part) -> &'static str {
    match (part.rest_rows, part.tail) {
        (false, false) => "whole tiles",
        (true, _) => "rest of rows",
        (false, true) => "tail",
    }
}
