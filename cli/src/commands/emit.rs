//! `emit`: a kernel as an object file, with a header of C.

use crate::Failure;
use crate::output::say;
use crate::text::{Source, write};
use clap::Args;
use std::path::PathBuf;

/// Write the machine code of a kernel as an ELF object, with a C header beside it that says what to pass
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit emit dsl-examples/nf4_linear.lowbit --dim N=256 --dim K=1024 --target aarch64 --output nf4.o
  lowbit emit dsl-examples/int4_int8.lowbit --target x86-64-v3 --batch 8 --symbol linear_8 --output linear_8.o

Weights lie in the layout that the header names; `lowbit pack` with the same text, dimensions and target writes it.")]
pub(crate) struct Emit {
    #[command(flatten)]
    source: Source,
    /// The name of the function in C; the kernel's, if left out
    #[arg(long, value_name = "NAME")]
    symbol: Option<String>,
    /// The batch that the code is for: it is right for every other too
    #[arg(long, value_name = "ROWS", default_value_t = 1)]
    batch: u64,
    /// Where to write the object; the header goes to the same name with `.h` in place of `.o`
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Emit {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let header = self.output.with_extension("h");
        if header == self.output {
            let text = "the object cannot be a `.h` file: that is where the header goes";
            return Err(Failure::Input(text.to_owned()));
        }
        let (_, kernel) = self.source.compile(&self.source.dims)?;
        let symbol = self.symbol.as_deref().unwrap_or(kernel.name());
        let object = kernel.object(symbol, self.batch)?;
        write(&self.output, &object.bytes)?;
        write(&header, object.header())?;
        say(format!(
            "{} for {}: `{symbol}` in {}, declared in {}",
            kernel.name(),
            kernel.target().name,
            self.output.display(),
            header.display()
        ))
    }
}
