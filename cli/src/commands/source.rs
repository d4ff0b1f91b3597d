//! `check` and `fmt`.

use crate::Failure;
use crate::output::say;
use crate::text::{module, read, rendered};
use clap::Args;
use lowbit::compiler::syntax::format_source;
use std::path::PathBuf;

/// Check texts: report every error with its place
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit check dsl-examples/nf4_linear.lowbit
  lowbit check dsl-examples/*.lowbit")]
pub(crate) struct Check {
    /// The texts
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Check {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut errors = Vec::new();
        for file in &self.files {
            match module(file) {
                Ok(module) => {
                    if !module.warnings.is_empty() {
                        eprintln!("{}", rendered(&module.warnings));
                    }
                    let (formats, kernels) = (module.formats.len(), module.kernels.len());
                    say(format!(
                        "{}: {formats} formats, {kernels} kernels",
                        file.display()
                    ))?;
                }
                Err(Failure::Input(text)) => errors.push(text),
                Err(other) => return Err(other),
            }
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::Input(errors.join("\n")))
        }
    }
}

/// Format texts in place
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit fmt dsl-examples/nf4_linear.lowbit
  lowbit fmt --check dsl-examples/*.lowbit")]
pub(crate) struct Fmt {
    /// Change nothing; fail if a text is not formatted
    #[arg(long)]
    check: bool,
    /// The texts
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

impl Fmt {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        for file in &self.files {
            let text = read(file)?;
            let name = file.display().to_string();
            let formatted =
                format_source(&name, &text).map_err(|d| Failure::Input(rendered(&d)))?;
            if formatted == text {
                continue;
            }
            if self.check {
                wrong.push(format!(
                    "{name} is not formatted; `lowbit fmt {name}` formats it"
                ));
                continue;
            }
            std::fs::write(file, formatted).map_err(|e| Failure::Input(format!("{name}: {e}")))?;
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(Failure::Input(wrong.join("\n")))
        }
    }
}
