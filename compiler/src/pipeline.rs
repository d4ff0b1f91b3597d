//! The pipeline: a checked kernel into a function of the vector IR, with everything that was considered on the way.
//!
//! Order: normal form → rows filled up → plans of each statement → place → rewrite → choose → lower. Nothing else knows this order.

mod choice;
mod consider;
mod cores;
mod tiles;
mod weigh;
mod work;

pub use consider::{Considered, consider};

use crate::lower::lower;
use crate::rewrite::cost::CostVector;
use crate::rewrite::{Lowering, RewriteError, Rewritten, RuleSet};
use crate::schedule::ScheduleError;
use crate::schedule::amounts::Amounts;
use crate::schedule::normal::{Normal, Step};
use crate::schedule::place::{Part, Placed};
use crate::schedule::plan::{Layouts, Plan, TileShape};
use crate::spec::kernel::{Kernel, TensorId};
use crate::target::Target;
use crate::vector::ir::Function;
use serde::{Deserialize, Serialize};
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
    /// Larger batches that get code of their own later, in the layouts that are chosen now.
    pub later: &'a [u64],
    /// Layouts that are required for weights, by tensor; the others are chosen.
    pub layouts: Layouts,
    /// Only lowerings whose description is this text, or where there is none, contains it: in each step that has one, and one must.
    pub force: Option<&'a str>,
    /// Candidates to choose, whatever they cost, where they are considered: one for a step at most.
    pub picks: &'a [Pick],
}

/// A candidate, told apart from all others of its step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The computing step, counted from 0.
    pub step: usize,
    /// Its lane list.
    pub lanes: String,
    /// The hash of its term.
    pub term: u64,
    /// Its tile.
    pub tile: TileShape,
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
    /// How many rows are computed beside each other.
    pub tile: TileShape,
    /// Whether it looks sums up in tables that are rounded.
    pub rounded: bool,
    /// What it costs.
    pub cost: CostVector,
    /// Cycles for each of the larger batches, where its layouts compete with others.
    pub later: Vec<f64>,
    /// Whether it is the one compiled.
    pub chosen: bool,
}

impl Candidate {
    /// What tells it apart from the other candidates of a kernel.
    pub fn pick(&self, step: usize) -> Pick {
        Pick {
            step,
            lanes: self.lanes.clone(),
            term: self.term,
            tile: self.tile,
        }
    }
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

/// Compiles a bound kernel with the given rules.
pub fn compile(
    kernel: &Kernel,
    rules: &RuleSet,
    request: &Request<'_>,
) -> Result<Program, CompileError> {
    consider(kernel, rules, request)?.finish(None)
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
                Step::Encode { .. } | Step::Fill { .. } | Step::Relayout { .. } => {
                    text.extend(self.without_choice(step));
                    text.push('\n');
                }
            }
        }
        text
    }
}

impl Program {
    /// The steps that take one tensor as it stands, for which there is nothing to choose: `encode x as y`, `fill up x as y`,
    /// `relayout w as y`.
    pub fn steps_without_choice(&self) -> Vec<String> {
        let steps = self.normal.steps.iter();
        steps.filter_map(|step| self.without_choice(step)).collect()
    }

    /// What the steps without a choice take for given extents of the dimensions, each with its text: by the operations of their
    /// code on the units of a target, as if none waited for another.
    ///
    /// # Errors
    ///
    /// That a step cannot be lowered, which it was for the function.
    pub fn work_without_choice(
        &self,
        target: &Target,
        dims: &[u64],
    ) -> Result<Vec<(String, CostVector)>, CompileError> {
        let mut all = Vec::new();
        for step in &self.normal.steps {
            let job = consider::without_choice(&self.normal, &self.layouts, step);
            if let (Some(job), Some(text)) = (job, self.without_choice(step)) {
                let function = lower(&self.normal.kernel, &[job])?;
                all.push((text, work::of(&function, target, dims)));
            }
        }
        Ok(all)
    }

    fn without_choice(&self, step: &Step) -> Option<String> {
        let name = |id: &TensorId| &self.normal.kernel.tensors[*id].name;
        match step {
            Step::Encode { source, target } => {
                Some(format!("encode {} as {}", name(source), name(target)))
            }
            Step::Fill { source, target } => {
                Some(format!("fill up {} as {}", name(source), name(target)))
            }
            Step::Relayout { source, target } => {
                Some(format!("relayout {} as {}", name(source), name(target)))
            }
            Step::Compute(_) => None,
        }
    }
}

fn part_name(part: Part) -> &'static str {
    match (part.rest_rows, part.tail) {
        (false, false) => "whole tiles",
        (true, _) => "rest of rows",
        (false, true) => "tail",
    }
}
