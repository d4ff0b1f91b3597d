//! `explain`: the lowerings that competed.

use crate::Failure;
use crate::text::Source;
use clap::Args;

/// Show the lowerings that were considered, what each costs, and why the winner won
#[derive(Args)]
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
            println!("{}", serde_json::to_string_pretty(&explanation)?);
        } else {
            print!("{explanation}");
        }
        Ok(())
    }
}
