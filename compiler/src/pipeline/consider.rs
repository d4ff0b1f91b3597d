//! What there is to choose from, and compiling one choice. The e-graphs are made once; any candidate of any step can then be
//! compiled from them.

use super::choice::{Choice, Settled};
use super::{Candidate, CompileError, Pick, Program, Request, Stage};
use crate::lower::{Chosen, EncodeJob, FillJob, Job, RelayoutJob, lower};
use crate::rewrite::{Lowering, RewriteError, Rewritten, RuleSet};
use crate::schedule::ScheduleError;
use crate::schedule::fill::fill_up;
use crate::schedule::normal::{Normal, Step, normalize};
use crate::schedule::place::{Part, Placed};
use crate::schedule::plan::Layouts;
use crate::schedule::views::{shrunk, stretched};
use crate::spec::kernel::{Kernel, Statement, TensorId};

/// A bound kernel with the candidates of all its steps.
pub struct Considered<'a> {
    kernel: &'a Kernel,
    rules: &'a RuleSet,
    request: &'a Request<'a>,
    normal: Normal,
    /// One for each computing step, under the layouts that the best of the steps before it choose.
    choices: Vec<Choice>,
}

/// Plans and rewrites every step of a kernel.
pub fn consider<'a>(
    kernel: &'a Kernel,
    rules: &'a RuleSet,
    request: &'a Request<'a>,
) -> Result<Considered<'a>, CompileError> {
    let mut normal = normalize(kernel);
    let mut layouts = stretched_layouts(&normal, &request.layouts)?;
    fill_up(&mut normal, &layouts, request.target);
    let mut choices = Vec::new();
    for (step, statement) in computing(&normal).enumerate() {
        let choice = preferred(&normal.kernel, (step, statement), rules, request, &layouts)?;
        layouts = choice.layouts_after(&normal.kernel, statement, choice.best);
        choices.push(choice);
    }
    if let Some(text) = request.force
        && !choices.is_empty()
        && choices.iter().all(|c| !c.forced)
    {
        let (target, text) = (request.target.name.clone(), text.to_owned());
        return Err(RewriteError::NotConsidered { target, text }.into());
    }
    Ok(Considered {
        kernel,
        rules,
        request,
        normal,
        choices,
    })
}

/// What there is to choose from for a step, with what the request picks chosen.
fn preferred(
    kernel: &Kernel,
    (step, statement): (usize, &Statement),
    rules: &RuleSet,
    request: &Request<'_>,
    layouts: &Layouts,
) -> Result<Choice, CompileError> {
    let mut choice = Choice::new(kernel, statement, rules, request, layouts)?;
    if let Some(pick) = request.picks.iter().find(|p| p.step == step) {
        choice.prefer(pick);
    }
    Ok(choice)
}

/// The statements of the computing steps.
fn computing(normal: &Normal) -> impl Iterator<Item = &Statement> {
    normal.steps.iter().filter_map(Step::statement)
}

impl Considered<'_> {
    /// All candidates with their steps, cheapest first; the best of a step is chosen.
    pub fn candidates(&self) -> Vec<(usize, Candidate)> {
        self.of_steps(|choice| choice.candidates(choice.best))
    }

    /// The most promising candidates with their steps: so many of each step, and as many of these with other tiles. The first of
    /// a step is the one that is chosen.
    pub fn variants(&self, few: usize) -> Vec<(usize, Candidate)> {
        self.of_steps(|choice| choice.variants(few))
    }

    fn of_steps(&self, some: impl Fn(&Choice) -> Vec<Candidate>) -> Vec<(usize, Candidate)> {
        let steps = self.choices.iter().enumerate();
        let of_step = |(step, choice)| some(choice).into_iter().map(move |c| (step, c));
        steps.flat_map(of_step).collect()
    }

    /// The kernel with one candidate of one step and the best of the others; with the best of all if none is picked.
    pub fn finish(&mut self, pick: Option<&Pick>) -> Result<Program, CompileError> {
        let normal = &self.normal;
        let mut layouts = stretched_layouts(normal, &self.request.layouts)?;
        let mut stages = Vec::new();
        for (step, statement) in computing(normal).enumerate() {
            let pick = pick.filter(|p| p.step == step);
            let missing = |p| super::choice::not_there(&normal.kernel, self.request, Some(p));
            let mut fresh;
            // A pick may like other layouts, under which the steps after it are considered anew.
            let choice = if self.choices[step].layouts == layouts {
                &mut self.choices[step]
            } else {
                let step = (step, statement);
                fresh = preferred(&normal.kernel, step, self.rules, self.request, &layouts)?;
                &mut fresh
            };
            let settled = Settled {
                kernel: &normal.kernel,
                statement,
                rules: self.rules,
                request: self.request,
                at: match pick {
                    None => choice.best,
                    Some(pick) => choice.find(pick).ok_or_else(|| missing(pick))?,
                },
            };
            layouts = choice.layouts_after(&normal.kernel, statement, settled.at);
            stages.push(choice.settle(&settled, &layouts)?);
        }
        let jobs = jobs(normal, &stages, &layouts);
        let function = lower(&normal.kernel, &jobs)?;
        drop(jobs);
        Ok(Program {
            layouts: shrunk_layouts(self.kernel, normal, &layouts),
            normal: normal.clone(),
            stages,
            function,
        })
    }
}

/// What is lowered, step by step.
fn jobs<'s>(normal: &'s Normal, stages: &'s [Stage], layouts: &Layouts) -> Vec<Job<'s>> {
    let mut computed = stages.iter();
    let job = |step: &Step| match step {
        Step::Compute(_) => computed
            .next()
            .map(|stage| Job::Compute(stage.parts.iter().map(chosen).collect())),
        Step::Encode { .. } | Step::Fill { .. } | Step::Relayout { .. } => {
            without_choice(normal, layouts, step)
        }
    };
    normal.steps.iter().filter_map(job).collect()
}

/// The job of a step that there is nothing to choose for.
pub(super) fn without_choice(
    normal: &Normal,
    layouts: &Layouts,
    step: &Step,
) -> Option<Job<'static>> {
    let layout = |tensor: TensorId| {
        let declared = || normal.kernel.tensors[tensor].format.clone();
        layouts[tensor].clone().unwrap_or_else(declared)
    };
    match step {
        Step::Compute(_) => None,
        Step::Encode { source, target } => Some(Job::Encode(EncodeJob {
            source: *source,
            target: *target,
        })),
        Step::Fill { source, target } => Some(Job::Fill(FillJob {
            source: *source,
            target: *target,
        })),
        Step::Relayout { source, target } => Some(Job::Relayout(RelayoutJob {
            source: *source,
            layout: layout(*source),
            target: *target,
        })),
    }
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
