//! Calls that were checked beforehand, one for each copy of the weights, and the time they take on some threads.

use crate::call::Prepared;
use crate::{Error, Kernel, Pool, Scratches, Tensor};
use lowbit_compiler::spec::kernel::TensorId;
use std::num::NonZeroUsize;
use std::time::Instant;

/// Calls of a kernel with all that they need.
pub(crate) struct Calls<'a> {
    calls: Vec<Prepared<'a>>,
    outputs: Vec<Vec<u8>>,
    pool: Pool,
    scratches: Scratches,
}

impl<'a> Calls<'a> {
    /// A call on each of some copies of the weights; `given` are the tensors.
    pub(crate) fn new(
        kernel: &'a Kernel,
        copies: usize,
        given: impl Fn(usize, TensorId) -> Option<&'a Tensor>,
        threads: usize,
    ) -> Result<Calls<'a>, Error> {
        let tensors = &kernel.spec().tensors;
        let mut calls = Vec::new();
        for copy in 0..copies {
            let args = tensors
                .iter()
                .filter_map(|(id, t)| Some((t.name.as_str(), given(copy, id)?)));
            let args: Vec<(&str, &'a Tensor)> = args.collect();
            calls.push(kernel.prepare(&args)?);
        }
        let outputs = match calls.first() {
            Some(call) => call.outputs()?.into_iter().map(|(_, _, b)| b).collect(),
            None => Vec::new(),
        };
        let threads = NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN);
        Ok(Calls {
            calls,
            outputs,
            pool: Pool::new(threads)?,
            scratches: Scratches::default(),
        })
    }

    /// Seconds of a call, over several, each on the next copy.
    pub(crate) fn time(&mut self, calls: u64, next: &mut usize) -> Result<f64, Error> {
        let mut slices: Vec<&mut [u8]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        for _ in 0..calls {
            let call = &self.calls[*next % self.calls.len()];
            call.run_on(&self.pool, &mut slices, &mut self.scratches)?;
            *next += 1;
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    }

    /// The batch that the code of the calls is made for.
    pub(super) fn batch(&self) -> u64 {
        self.calls.first().map_or(1, Prepared::batch)
    }

    /// What the last call wrote, in the order in which outputs are declared.
    pub(super) fn outputs(&self) -> &[Vec<u8>] {
        &self.outputs
    }
}
