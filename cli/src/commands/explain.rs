//! `explain`: the lowerings that competed.

use crate::Failure;
use crate::output::say;
use crate::text::Source;
use clap::Args;

/// Show the lowerings that were considered, what each costs, and why the winner won
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit explain dsl-examples/nf4_linear.lowbit --dim N=4096 --dim K=4096
  lowbit explain dsl-examples/int4_int8.lowbit --target aarch64-dotprod --json")]
pub(crate) struct Explain {
    #[command(flatten)]
    source: Source,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let (_, kernel) = self.source.compile(&self.source.dims)?;
        let explanation = kernel.explain()?;
        if self.json {
            say(serde_json::to_string_pretty(&explanation)?)
        } else {
            say(explanation)
        }
    }
}
