//! `run`: a kernel on data, timed, and checked against the reference on request.

use crate::Failure;
use crate::data::{Given, extents, given, inputs};
use crate::output::say;
use crate::progress::Progress;
use crate::text::{Source, write};
use clap::Args;
use lowbit::check::{borrow, compare_on, converted};
use lowbit::{Kernel, Scratch, Tensor};
use std::time::{Duration, Instant};

/// Run a kernel on tensors from files or on generated ones
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit run dsl-examples/nf4_linear.lowbit --dim N=256 --dim K=1024 --dim M=4 --check
  lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight --check")]
pub(crate) struct Run {
    #[command(flatten)]
    source: Source,
    /// A tensor from a GGUF, safetensors or npy file, or one that `lowbit pack` wrote; those that are left out are generated
    #[arg(long = "tensor", value_name = "NAME=FILE[:TENSOR]", value_parser = given)]
    tensors: Vec<Given>,
    /// Compare every result with the reference interpreter
    #[arg(long)]
    check: bool,
    /// The seed of generated tensors
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often to call, for the time
    #[arg(long, default_value_t = 20)]
    repeat: u64,
    /// Write the first output to a file, as it lies in memory
    #[arg(long, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
}

impl Run {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let loaded: Vec<(String, Tensor)> = self
            .tensors
            .iter()
            .map(|g| Ok((g.name().to_owned(), g.load()?)))
            .collect::<Result<_, Failure>>()?;
        let dims = extents(&self.source.spec()?, &loaded, &self.source.dims);
        let start = Instant::now();
        let (_, kernel) = self.source.compile(&dims)?;
        let compiled = start.elapsed();
        let given = loaded.len();
        let inputs = inputs(&kernel, loaded, &dims, self.seed)?;
        report(&kernel, compiled, &inputs.dims, given, inputs.generated)?;
        let tensors = converted(&kernel, &inputs.tensors)?;
        let outputs = kernel.call_all(&borrow(&tensors))?;
        for (name, output) in &outputs {
            say(format!(
                "{name}: {output:?}, first values {:?}",
                first(output)?
            ))?;
        }
        let best = time(&kernel, &tensors, &outputs, self.repeat)?;
        let weights: usize = tensors.iter().map(|(_, t)| t.bytes().len()).sum();
        say(format!(
            "a call takes {best:.1?} (best of {}), reading {:.1} GB/s",
            self.repeat,
            rate(weights, best)
        ))?;
        if let (Some(path), Some((_, output))) = (&self.output, outputs.first()) {
            write(path, output.bytes())?;
        }
        if !self.check {
            return Ok(());
        }
        let comparison = compare_on(&kernel, &inputs.dims, &inputs.tensors)?;
        if !comparison.differences.is_empty() {
            return Err(Failure::Differs(format!(
                "results differ:\n{}",
                comparison.differences.join("\n")
            )));
        }
        say(format!(
            "checked: {} results agree with the reference interpreter (largest error {:.0} % of the bound)",
            comparison.compared,
            comparison.worst * 100.0
        ))
    }
}

fn report(
    kernel: &Kernel,
    compiled: Duration,
    dims: &[u64],
    given: usize,
    generated: usize,
) -> Result<(), Failure> {
    let extents: Vec<String> = kernel
        .spec()
        .dims
        .values()
        .zip(dims)
        .map(|(d, e)| format!("{} = {e}", d.name))
        .collect();
    say(format!(
        "{} for {}: compiled in {compiled:.1?} to {} bytes of code; {}; {given} tensors from files, {generated} generated",
        kernel.name(),
        kernel.target().name,
        kernel.code_size()?,
        extents.join(", ")
    ))?;
    for stage in &kernel.program()?.stages {
        for candidate in stage.candidates.iter().filter(|c| c.chosen) {
            say(format!("lanes {}: {}", candidate.lanes, candidate.name))?;
        }
    }
    Ok(())
}

fn first(output: &Tensor) -> Result<Vec<f32>, Failure> {
    Ok(output.to_f32()?.into_iter().take(4).collect())
}

fn rate(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9) / 1e9
}

/// The shortest of several calls.
fn time(
    kernel: &Kernel,
    tensors: &[(String, Tensor)],
    outputs: &[(String, Tensor)],
    repeat: u64,
) -> Result<Duration, Failure> {
    let args = borrow(tensors);
    let mut buffers: Vec<Vec<u8>> = outputs.iter().map(|(_, t)| t.bytes().to_vec()).collect();
    let mut scratch = Scratch::default();
    let mut best = Duration::MAX;
    let progress = Progress::new("call", repeat);
    for _ in 0..repeat.max(1) {
        let mut slices: Vec<&mut [u8]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        kernel.call_into(&args, &mut slices, &mut scratch)?;
        best = best.min(start.elapsed());
        progress.add(1);
    }
    Ok(best)
}
