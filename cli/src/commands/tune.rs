//! `tune`: measures the most promising lowerings and tiles of a kernel, and keeps which is the fastest.

use crate::Failure;
use crate::output::say;
use crate::progress::Progress;
use crate::text::{Source, read, write};
use clap::Args;
use lowbit::measure::Effort;
use lowbit::tune::Tuning;
use std::path::PathBuf;

/// Measure the most promising lowerings and tiles of a kernel on this machine, and keep the fastest for `--tuning`
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit tune dsl-examples/int4_int8.lowbit --dim N=256 --dim K=1024 --rows 1,8 --output tuning.json
  lowbit bench dsl-examples/int4_int8.lowbit --dim N=256 --dim K=1024 --rows 8 --seconds 0.5 --tuning tuning.json")]
pub(crate) struct Tune {
    #[command(flatten)]
    source: Source,
    /// Rows of activations, where they are free; layouts of weights are chosen for all these together
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "1,8,64", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    rows: Vec<u64>,
    /// Read the same weights again and again, from caches where they fit, instead of copies that come from memory
    #[arg(long)]
    cached: bool,
    /// How often to time each candidate; the lower quartile counts
    #[arg(long, default_value_t = Effort::default().repeats)]
    repeat: usize,
    /// Add the records to a file, instead of printing them as JSON
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Tune {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut known = match &self.output {
            Some(path) if path.exists() => Tuning::from_json(&read(path)?)?,
            _ => Tuning::default(),
        };
        // Other batches were tuned for the layouts that these records choose.
        let source = &self.source;
        let (engine, kernel) = source.compile_with(&source.dims, &known)?;
        let default = Effort::default();
        let effort = Effort {
            repeats: self.repeat,
            cached: self.cached,
            streamed: if self.cached { 0 } else { default.streamed },
            ..default
        };
        let progress = Progress::new("timed", effort.rounds());
        let mut before = 0;
        let tuning = engine.tune(&kernel, &self.rows, &effort, &mut |done, all| {
            progress.expect(all);
            progress.add(done - before);
            before = done;
        })?;
        let Some(path) = &self.output else {
            return say(tuning.to_json()?);
        };
        say(&tuning)?;
        known.extend(tuning);
        write(path, known.to_json()? + "\n")
    }
}
