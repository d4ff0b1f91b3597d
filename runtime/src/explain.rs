//! Explanations: which lowerings were considered, what each costs, why it lost, and the rules behind the winner.

use crate::{Error, Kernel};
use lowbit_compiler::format::FormatKind;
use lowbit_compiler::pipeline::{Candidate, Program, Stage};
use lowbit_compiler::rewrite::cost::CostVector;
use lowbit_compiler::rewrite::proof::rules_behind;
use lowbit_compiler::spec::kernel::Role;
use lowbit_compiler::target::Unit;
use serde::Serialize;
use std::fmt;

/// Everything that was considered for a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The kernel.
    pub kernel: String,
    /// The target.
    pub target: String,
    /// Operations that its target lacks although rules lead to them.
    pub missing: Vec<String>,
    /// Bits that each weight takes for an element: name, format's own, in memory, and the layout's text.
    pub weights: Vec<Resident>,
    /// One for each computing step.
    pub steps: Vec<StepExplanation>,
}

/// A weight in memory.
#[derive(Clone, Debug, Serialize)]
pub struct Resident {
    /// Its name.
    pub name: String,
    /// Bits of an element as the format stores it.
    pub format_bits: f64,
    /// Bits of an element in the layout.
    pub resident_bits: f64,
    /// The layout's name and id.
    pub layout: String,
}

/// The candidates of a step.
#[derive(Clone, Debug, Serialize)]
pub struct StepExplanation {
    /// Nodes of the largest e-graph.
    pub nodes: usize,
    /// Whether every e-graph was saturated; otherwise a limit was reached.
    pub saturated: bool,
    /// Rules on the way from the statement to the winner.
    pub rules: Vec<String>,
    /// Candidates, cheapest first.
    pub candidates: Vec<CandidateExplanation>,
}

/// A candidate.
#[derive(Clone, Debug, Serialize)]
pub struct CandidateExplanation {
    /// Its lane list.
    pub lanes: String,
    /// How weights are decoded and products summed.
    pub name: String,
    /// Whether it is the one compiled.
    pub chosen: bool,
    /// Its cost for all results.
    pub cost: CostVector,
    /// Why it lost, or what limits the winner.
    pub reason: String,
}

pub(crate) fn explain(kernel: &Kernel, batch: u64) -> Result<Explanation, Error> {
    let program = &kernel.class(batch)?.program;
    let target = kernel.target();
    let weights = kernel
        .spec()
        .tensors
        .values()
        .filter(|t| matches!(t.role, Role::Weight | Role::Stored))
        .map(|t| {
            let layout = kernel.layout(&t.name)?;
            let rows = match &layout.kind {
                FormatKind::Block(block) => block.rows,
                FormatKind::Plain(_) => 1,
            };
            Ok(Resident {
                name: t.name.clone(),
                format_bits: t.format.bits_per_element(),
                resident_bits: layout.bits_per_element(),
                layout: format!("{} ({rows} rows interleaved)", layout.name),
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let steps = program
        .stages
        .iter()
        .map(|stage| StepExplanation {
            nodes: stage.nodes,
            saturated: stage.saturated,
            rules: rules(kernel, program, stage),
            candidates: stage
                .candidates
                .iter()
                .map(|c| candidate(c, &stage.candidates, target))
                .collect(),
        })
        .collect();
    let missing = target
        .missing()
        .into_iter()
        .map(|op| op.name().to_owned())
        .collect();
    Ok(Explanation {
        kernel: kernel.name().to_owned(),
        target: target.name.clone(),
        missing,
        weights,
        steps,
    })
}

/// Rules behind the main part of a step.
fn rules(kernel: &Kernel, program: &Program, stage: &Stage) -> Vec<String> {
    let Some((_, placed, _, lowering)) = stage.parts.first() else {
        return Vec::new();
    };
    rules_behind(
        placed,
        &program.normal.kernel,
        kernel.rules(),
        &lowering.term,
    )
}

fn candidate(
    candidate: &Candidate,
    all: &[Candidate],
    target: &lowbit_compiler::target::Target,
) -> CandidateExplanation {
    let limit = limit(&candidate.cost, target);
    let reason = match all.iter().find(|c| c.chosen) {
        Some(winner) if !candidate.chosen => {
            let times = candidate.cost.cycles / winner.cost.cycles.max(1.0);
            format!("{times:.2} × the winner: {limit}")
        }
        Some(_) | None => limit,
    };
    CandidateExplanation {
        lanes: candidate.lanes.clone(),
        name: candidate.name.clone(),
        chosen: candidate.chosen,
        cost: candidate.cost.clone(),
        reason,
    }
}

/// What bounds the predicted time.
fn limit(cost: &CostVector, target: &lowbit_compiler::target::Target) -> String {
    let rate = &target.throughput;
    let mut limits: Vec<(f64, String)> = Unit::ALL
        .iter()
        .zip(cost.units.iter().zip(rate.units))
        .map(|(unit, (uops, per_cycle))| {
            (uops / per_cycle, format!("{unit:?} units").to_lowercase())
        })
        .collect();
    limits.push((
        cost.units.iter().sum::<f64>() / rate.issue,
        "issue".to_owned(),
    ));
    limits.push((cost.chain, "the chain of an accumulator".to_owned()));
    limits.push((cost.bytes / rate.memory, "memory".to_owned()));
    let worst = limits.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
    worst.map_or_else(String::new, |(_, name)| format!("bound by {name}"))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} for {}", self.kernel, self.target)?;
        if !self.missing.is_empty() {
            writeln!(
                f,
                "this target lacks {}: what needs them is done otherwise, or lane by lane",
                self.missing.join(", ")
            )?;
        }
        for weight in &self.weights {
            writeln!(
                f,
                "weight {}: {:.3} bits an element in memory ({:.3} in its format), layout {}",
                weight.name, weight.resident_bits, weight.format_bits, weight.layout
            )?;
        }
        for (at, step) in self.steps.iter().enumerate() {
            let end = if step.saturated {
                "saturated"
            } else {
                "a limit was reached"
            };
            writeln!(f, "step {at}: e-graph of {} nodes, {end}", step.nodes)?;
            writeln!(
                f,
                "  {:>12} {:>10} {:>10}  lanes, lowering",
                "cycles", "bytes", "registers"
            )?;
            for c in &step.candidates {
                let mark = if c.chosen { '*' } else { ' ' };
                let cost = &c.cost;
                writeln!(
                    f,
                    "{mark} {:12.0} {:10.0} {:10.0}  {} {}",
                    cost.cycles, cost.bytes, cost.registers, c.lanes, c.name
                )?;
                let units: Vec<String> = Unit::ALL
                    .iter()
                    .zip(cost.units)
                    .map(|(u, n)| format!("{} {n:.0}", format!("{u:?}").to_lowercase()))
                    .collect();
                writeln!(f, "    {}; {}", c.reason, units.join(", "))?;
            }
            writeln!(f, "  rules: {}", step.rules.join(", "))?;
        }
        Ok(())
    }
}
