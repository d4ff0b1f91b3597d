//! `show`: what a kernel becomes.

use crate::Failure;
use crate::text::Source;
use clap::Args;
use lowbit::Stage;

/// Show what a kernel becomes at each stage
#[derive(Args)]
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
            print!("{}", kernel.snapshot()?);
            return Ok(());
        };
        println!("{}", kernel.stage(stage)?.trim_end());
        Ok(())
    }
}
