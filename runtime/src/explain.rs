//! Explanations: which lowerings were considered, what each costs, why it lost, and the rules behind the winner.

use crate::{Error, Kernel};
use lowbit_compiler::format::{Format, FormatKind};
use lowbit_compiler::pipeline::{Candidate, Program, Stage};
use lowbit_compiler::rewrite::cost::{CostVector, Limit};
use lowbit_compiler::rewrite::draw::{self, Picture};
use lowbit_compiler::rewrite::proof::rules_behind;
use lowbit_compiler::spec::interp::TABLE_SHARE;
use lowbit_compiler::spec::kernel::Tensor;
use lowbit_compiler::target::{Target, Unit};
use serde::Serialize;
use std::fmt;

/// Everything that was considered for a kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The kernel.
    pub kernel: String,
    /// The target.
    pub target: String,
    /// The rows of activations from which on calls run this code.
    pub batch: u64,
    /// Operations that its target lacks although rules lead to them.
    pub missing: Vec<String>,
    /// Bits that each weight takes for an element: name, format's own, in memory, and the layout's text.
    pub weights: Vec<Resident>,
    /// Steps with nothing to choose: what is encoded, and whose codes are moved.
    pub others: Vec<String>,
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
    /// What `cycles_per_weight` and `bytes_per_weight` are for: a weight that is read; without weights a result.
    pub per: &'static str,
    /// Rules on the way from the statement to the winner; where `derived` is not set, all that applied.
    pub rules: Vec<String>,
    /// Whether the way was found: the e-graph is built again for it, and may keep another of several equal terms.
    pub derived: bool,
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
    /// Predicted cycles for each weight read (for each result, where there are no weights).
    pub cycles_per_weight: f64,
    /// Bytes of weights read for each of them.
    pub bytes_per_weight: f64,
    /// How far results may be off where the lowering rounds its tables; nothing where it does not.
    pub bound: Option<String>,
    /// Its cost for all results.
    pub cost: CostVector,
    /// Why it lost, or what limits the winner.
    pub reason: String,
}

pub(crate) fn explain(kernel: &Kernel, batch: u64) -> Result<Explanation, Error> {
    let program = &kernel.class(batch)?.program;
    let target = kernel.target();
    let steps = program
        .stages
        .iter()
        .enumerate()
        .map(|(step, stage)| {
            let (rules, derived) = rules(kernel, program, stage);
            let winner = stage.candidates.iter().find(|c| c.chosen);
            let picks = kernel.wishes().picks(kernel.class_of(batch));
            let measured = winner.is_some_and(|c| picks.contains(&c.pick(step)));
            StepExplanation {
                nodes: stage.nodes,
                saturated: stage.saturated,
                per: if stage.amounts.weights > 0.0 {
                    "weight"
                } else {
                    "result"
                },
                rules,
                derived,
                candidates: stage
                    .candidates
                    .iter()
                    .map(|c| candidate(c, stage, target, measured))
                    .collect(),
            }
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
        batch: kernel.class_of(batch),
        missing,
        weights: resident(kernel)?,
        others: program.steps_without_choice(),
        steps,
    })
}

/// The weights of a kernel as they lie in memory.
pub(crate) fn resident(kernel: &Kernel) -> Result<Vec<Resident>, Error> {
    let tensors = kernel.spec().tensors.values();
    let weights = tensors.filter(|t| t.role.is_packed()).map(|t| {
        let layout = kernel.layout(&t.name)?;
        let rows = match &layout.kind {
            FormatKind::Block(block) => block.rows,
            FormatKind::Plain(_) => 1,
        };
        Ok(Resident {
            name: t.name.clone(),
            format_bits: t.format.bits_per_element(),
            resident_bits: resident_bits(kernel, t, &layout),
            layout: format!("{} ({rows} rows interleaved)", layout.name),
        })
    });
    weights.collect()
}

/// Bits of memory for an element of a weight, with what fills rows and blocks up where its shape is known.
fn resident_bits(kernel: &Kernel, weight: &Tensor, layout: &Format) -> f64 {
    let dims = &kernel.spec().dims;
    let extents = weight.shape.iter().map(|e| e.value(|d| dims[d].bound));
    let shape: Option<Vec<u64>> = extents.collect();
    let elements = shape.as_ref().map_or(0, |s| s.iter().product::<u64>());
    let bytes = shape.and_then(|shape| layout.tensor_bytes(&shape));
    match bytes {
        Some(bytes) if elements > 0 => 8.0 * bytes as f64 / elements as f64,
        Some(_) | None => layout.bits_per_element(),
    }
}

pub(crate) fn picture(kernel: &Kernel, batch: u64, step: usize) -> Result<Picture, Error> {
    let program = &kernel.class(batch)?.program;
    let main = program.stages.get(step).and_then(|s| s.parts.first());
    let Some((_, placed, rewritten, lowering)) = main else {
        return Err(Error::Argument {
            name: kernel.name().to_owned(),
            what: format!("has no step {step}, but {}", program.stages.len()),
        });
    };
    let normal = &program.normal.kernel;
    Ok(draw::picture(
        placed,
        normal,
        kernel.rules(),
        (&rewritten.facts, &lowering.term),
    ))
}

/// Rules behind the main part of a step, and whether they are those on the way to the term; else all that applied.
fn rules(kernel: &Kernel, program: &Program, stage: &Stage) -> (Vec<String>, bool) {
    let Some((_, placed, rewritten, lowering)) = stage.parts.first() else {
        return (Vec::new(), true);
    };
    let behind = rules_behind(
        placed,
        &program.normal.kernel,
        kernel.rules(),
        (&rewritten.facts, &lowering.term),
    );
    match behind {
        Some(behind) => (behind, true),
        None => (rewritten.applied.keys().cloned().collect(), false),
    }
}

fn candidate(
    candidate: &Candidate,
    stage: &Stage,
    target: &Target,
    measured: bool,
) -> CandidateExplanation {
    let unit = stage.amounts.unit();
    let winner = stage.candidates.iter().find(|c| c.chosen);
    CandidateExplanation {
        lanes: candidate.lanes.clone(),
        name: candidate.name.clone(),
        chosen: candidate.chosen,
        cycles_per_weight: candidate.cost.cycles / unit,
        bytes_per_weight: candidate.cost.bytes / unit,
        bound: candidate.rounded.then(|| {
            format!(
                "a product of a code and an integer may be off by 1/{:.0} of the product of their ranges",
                1.0 / TABLE_SHARE
            )
        }),
        cost: candidate.cost.clone(),
        reason: match winner {
            Some(winner) if !candidate.chosen && candidate.cost.cycles < winner.cost.cycles => {
                match measured {
                    true => recorded(candidate, winner),
                    false => serves_fewer(candidate, winner),
                }
            }
            Some(winner) if !candidate.chosen => why_lost(&candidate.cost, &winner.cost, target),
            Some(_) | None => limit(&candidate.cost, target).map_or_else(String::new, |l| {
                format!("bound by {}{}", l.name, spilled(&candidate.cost, target))
            }),
        },
    }
}

/// Why a candidate lost that is predicted to be faster than the winner.
fn recorded(candidate: &Candidate, winner: &Candidate) -> String {
    let times = candidate.cost.cycles / winner.cost.cycles.max(1.0);
    format!("predicted to take {times:.2} × the winner, which a record of measurements chose")
}

/// Why a candidate lost that is faster than the winner: its layout.
fn serves_fewer(candidate: &Candidate, winner: &Candidate) -> String {
    let times = candidate.cost.cycles / winner.cost.cycles.max(1.0);
    let later = |c: &Candidate| c.later.iter().sum::<f64>();
    let more = later(candidate) / later(winner).max(1.0);
    format!("{times:.2} × the winner, but in its layout larger batches take {more:.2} × as long")
}

/// How much slower it is, what bounds it, and how much more of that it takes than the winner.
fn why_lost(cost: &CostVector, winner: &CostVector, target: &Target) -> String {
    let times = cost.cycles / winner.cycles.max(1.0);
    let Some(limit) = limit(cost, target) else {
        return format!("{times:.2} × the winner");
    };
    let same = winner.limits(target).into_iter();
    let less = same
        .filter(|l| l.name == limit.name)
        .map(|l| l.cycles)
        .next();
    let more = match less {
        Some(less) if less > 0.0 => format!("{:.2} × as much of it", limit.cycles / less),
        Some(_) | None => "none of it in the winner".to_owned(),
    };
    let spilled = spilled(cost, target);
    format!(
        "{times:.2} × the winner: bound by {}, {more}{spilled}",
        limit.name
    )
}

/// What live values beyond the registers add to the reason.
fn spilled(cost: &CostVector, target: &Target) -> String {
    let registers = f64::from(target.throughput.registers);
    if cost.registers > registers {
        return format!("; {:.0} registers live of {registers:.0}", cost.registers);
    }
    String::new()
}

/// What bounds the predicted time.
fn limit<'a>(cost: &CostVector, target: &'a Target) -> Option<Limit<'a>> {
    let limits = cost.limits(target).into_iter();
    limits.max_by(|a, b| a.cycles.total_cmp(&b.cycles))
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.kernel, self.target)?;
        match self.batch {
            0 | 1 => writeln!(f)?,
            batch => writeln!(f, ", {batch} rows and more")?,
        }
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
        for step in &self.others {
            writeln!(f, "without a choice: {step}")?;
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
                "  {:>12} {:>8} {:>8} {:>10}  {:7}  lanes, lowering",
                "cycles",
                format!("a {}", step.per),
                "bytes",
                "registers",
                "error"
            )?;
            for c in &step.candidates {
                let mark = if c.chosen { '*' } else { ' ' };
                let cost = &c.cost;
                writeln!(
                    f,
                    "{mark} {:12.0} {:8.4} {:8.4} {:10.0}  {:7}  {} {}",
                    cost.cycles,
                    c.cycles_per_weight,
                    c.bytes_per_weight,
                    cost.registers,
                    match c.bound {
                        Some(_) => "bounded",
                        None => "exact",
                    },
                    c.lanes,
                    c.name
                )?;
                if let Some(bound) = &c.bound {
                    writeln!(f, "    {bound}")?;
                }
                let units: Vec<String> = Unit::ALL
                    .iter()
                    .zip(cost.units)
                    .map(|(u, n)| format!("{} {n:.0}", format!("{u:?}").to_lowercase()))
                    .collect();
                writeln!(f, "    {}; {}", c.reason, units.join(", "))?;
            }
            let which = match step.derived {
                true => "rules",
                false => "rules that applied, the way to the winner being lost",
            };
            writeln!(f, "  {which}: {}", step.rules.join(", "))?;
        }
        Ok(())
    }
}
