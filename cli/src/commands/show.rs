//! `show`: what a kernel becomes.

use crate::Failure;
use crate::output::say;
use crate::text::Source;
use clap::Args;
use lowbit::Stage;

/// Show what a kernel becomes at each stage
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit show dsl-examples/int4_int8.lowbit --dim N=64 --dim K=256
  lowbit show dsl-examples/int4_int8.lowbit --stage vector --target x86-64-vnni --dim K=4096
  lowbit show dsl-examples/nf4_linear.lowbit --stage assembly --target aarch64")]
pub(crate) struct Show {
    #[command(flatten)]
    source: Source,
    /// One stage only: spec, schedule, rewrite, vector, assembly
    #[arg(long, value_parser = stage)]
    stage: Option<Stage>,
}

fn stage(text: &str) -> Result<Stage, String> {
    let names = || Stage::ALL.map(Stage::name).join(", ");
    Stage::ALL
        .into_iter()
        .find(|s| s.name() == text)
        .ok_or_else(|| format!("the stages are {}", names()))
}

impl Show {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (_, kernel) = self.source.compile(&self.source.dims)?;
        let Some(stage) = self.stage else {
            return say(kernel.snapshot()?);
        };
        say(kernel.stage(stage)?.trim_end())
    }
}
