//! `explain`: the lowerings that competed, and what they take.

use crate::Failure;
use crate::graph::svg;
use crate::output::say;
use crate::progress::Progress;
use crate::text::{Source, write};
use clap::Args;
use lowbit::Kernel;
use lowbit::measure::{Effort, measure};
use std::path::PathBuf;

/// Show the lowerings that were considered, what each costs, and why the winner won
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit explain dsl-examples/nf4_linear.lowbit --dim N=4096 --dim K=4096
  lowbit explain dsl-examples/nf4_linear.lowbit --dim N=256 --dim K=1024 --batch 8 --measure
  lowbit explain dsl-examples/int4_int8.lowbit --target aarch64-dotprod --json")]
pub(crate) struct Explain {
    #[command(flatten)]
    source: Source,
    /// Rows of activations of the calls to explain, where they are free
    #[arg(long, value_name = "ROWS", default_value_t = 1)]
    batch: u64,
    /// Compile and time every candidate beside its prediction: with the same weights at each call, and from memory
    #[arg(long)]
    measure: bool,
    /// Write the e-graph with the winner's term marked, as text for Graphviz
    #[arg(long, value_name = "FILE", conflicts_with = "measure")]
    dot: Option<PathBuf>,
    /// Draw the winner's term with what else its classes hold
    #[arg(long, value_name = "FILE", conflicts_with = "measure")]
    svg: Option<PathBuf>,
    /// The step to draw, counted from 0
    #[arg(long, value_name = "STEP", default_value_t = 0)]
    step: usize,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (_, kernel) = self.source.compile(&self.source.dims)?;
        if self.measure {
            return self.measured(&kernel);
        }
        if self.dot.is_some() || self.svg.is_some() {
            let picture = kernel.picture(self.batch, self.step)?;
            if let Some(path) = &self.dot {
                write(path, picture.to_string())?;
            }
            if let Some(path) = &self.svg {
                write(path, svg(&picture))?;
            }
        }
        let explanation = kernel.explain_batch(self.batch)?;
        if self.json {
            say(serde_json::to_string_pretty(&explanation)?)
        } else {
            say(explanation)
        }
    }

    fn measured(&self, kernel: &Kernel) -> Result<(), Failure> {
        let effort = Effort::default();
        let progress = Progress::new("timed", effort.rounds());
        let mut before = 0;
        let measurement = measure(kernel, self.batch, &effort, &mut |done, _| {
            progress.add(done - before);
            before = done;
        })?;
        if self.json {
            say(serde_json::to_string_pretty(&measurement)?)
        } else {
            say(measurement)
        }
    }
}
