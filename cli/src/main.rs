//! `lowbit`: check, format, inspect, run, pack, quantise, convert, bench, tune and calibrate from the command line. A thin face over the library.
//!
//! Results go to the standard output, errors and progress to the standard error. Exit codes: 0 for success, 1 for an error
//! in the input (a text, a file, a call), 2 for arguments that cannot be read, 3 if a result differs from the reference.

mod commands;
mod data;
mod fidelity;
mod formats;
mod graph;
mod importances;
mod output;
mod packed;
mod progress;
mod table;
mod text;
mod weights;

use clap::{Parser, Subcommand};
use commands::{bench, calibrate, convert, emit, explain, pack, quantize, run, show, source, tune};
use std::process::ExitCode;

/// Compile and run tensor kernels over number formats that no CPU has.
#[derive(Parser)]
#[command(name = "lowbit", version, about, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "Examples:
  lowbit check dsl-examples/nf4_linear.lowbit
  lowbit fmt --check dsl-examples/*.lowbit
  lowbit show dsl-examples/int4_int8.lowbit --stage vector --target x86-64-vnni --dim K=4096
  lowbit explain dsl-examples/nf4_linear.lowbit --dim N=4096 --dim K=4096
  lowbit emit dsl-examples/nf4_linear.lowbit --dim N=256 --dim K=1024 --target aarch64 --output nf4.o
  lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight --dim M=4 --check
  lowbit pack dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight --output w.packed
  lowbit quantize tests/data/smollm2-slice.gguf --as nf4_64 --output nf4.gguf
  lowbit convert nf4.gguf nf4.safetensors";

#[derive(Subcommand)]
enum Command {
    /// Check texts: report every error with its place
    Check(source::Check),
    /// Format texts in place
    Fmt(source::Fmt),
    /// Show what a kernel becomes at each stage
    Show(show::Show),
    /// Show the lowerings that were considered, what each costs, and why the winner won
    Explain(explain::Explain),
    /// Write the machine code of a kernel as an ELF object, with a C header beside it
    Emit(emit::Emit),
    /// Run a kernel on tensors from files or on generated ones
    Run(run::Run),
    /// Lay out a weight for a kernel and write the bytes, with the layout as text beside them
    Pack(pack::Pack),
    /// Quantise the tensors of a file into a format, and say what that costs
    Quantize(quantize::Quantize),
    /// Bring tensors into another layout or another kind of file; no value changes
    Convert(convert::Convert),
    /// Measure how fast a kernel is beside what the machine can do, and where its time goes
    Bench(bench::Bench),
    /// Measure the most promising lowerings and tiles of a kernel on this machine, and keep the fastest for `--tuning`
    Tune(tune::Tune),
    /// Measure what operations, accesses and memory cost on this machine
    Calibrate(calibrate::Calibrate),
}

/// Why a command failed.
enum Failure {
    /// The input is at fault.
    Input(String),
    /// Results differ from the reference.
    Differs(String),
    /// Whoever read the results has gone.
    NobodyReads,
}

impl Failure {
    /// The exit code, and what goes to the standard error.
    fn report(&self) -> (u8, Option<&str>) {
        match self {
            Failure::Input(text) => (1, Some(text)),
            Failure::Differs(text) => (3, Some(text)),
            Failure::NobodyReads => (0, None),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Input(error.to_string())
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Check(command) => command.run(),
        Command::Fmt(command) => command.run(),
        Command::Show(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Emit(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Pack(command) => command.run(),
        Command::Quantize(command) => command.run(),
        Command::Convert(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Tune(command) => command.run(),
        Command::Calibrate(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, text) = failure.report();
            if let Some(text) = text {
                eprintln!("{}", text.trim_end());
            }
            ExitCode::from(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;

    #[test]
    fn every_failure_has_its_exit_code() {
        let text = || "why".to_owned();
        assert_eq!(Failure::Input(text()).report(), (1, Some("why")));
        assert_eq!(Failure::Differs(text()).report(), (3, Some("why")));
        assert_eq!(Failure::NobodyReads.report(), (0, None));
    }
}
