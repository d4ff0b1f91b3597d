//! How fast a kernel is, beside what the machine allows: the time of a call, the share of the machine's limits, where the time
//! goes, and what compiling takes. Nothing is printed here; `lowbit bench` and the project's own benchmark do that.
//!
//! ```
//! use lowbit::bench::{Bench, Data, Effort, Limits, Stream};
//! use std::time::Duration;
//!
//! let engine = lowbit::Engine::host()?;
//! let text = "language 1; import \"std/ints\";
//!     kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
//!         y[m, n] = sum(k) w[n, k] * x[m, k];
//!     }";
//! let kernel = engine.compile(text, &[("N", 64), ("K", 256)])?;
//! // Little of everything, since this is an example: the defaults are what to measure with.
//! let effort = Effort { repeats: 1, run: Duration::from_micros(50) };
//! let limits = Limits::measure(engine.target(), &Stream::new(1 << 20)?, &[1], &effort)?;
//! let data = Data::new(&kernel, 1, 1 << 16)?;
//! let mut bench = Bench::new(&kernel, &data, 1, effort.run)?;
//! assert!(bench.verify()?.is_some_and(|c| c.differences.is_empty()));
//! for _ in 0..3 {
//!     bench.round()?; // others may be measured in between
//! }
//! let summary = bench.summary(&limits)?;
//! assert!(summary.seconds.median > 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `limits.rs` measures the machine, `data.rs` makes what calls are made on, in memory of `memory.rs`; `calls.rs` runs them;
//! `summary.rs` says what came out, `account.rs` where the time goes, `verify.rs` whether the results are right, and
//! `compile.rs` what each stage of compiling takes.
#![forbid(unsafe_code)]

mod account;
mod calls;
mod compile;
mod data;
mod limits;
mod memory;
mod summary;
mod verify;

pub use account::{Account, Charge};
pub(crate) use calls::Calls;
pub use compile::{CompileTimes, Compiling, Source};
pub use data::Data;
pub use limits::{Bandwidth, Effort, Limits, Stream};
pub use summary::{Share, Spread, Summary};

use crate::{Error, Kernel};
use lowbit_compiler::pipeline::Program;
use std::time::Duration;

/// What copies of weights take together so that they come from memory.
pub const STREAMED: u64 = 256 << 20;

/// A kernel that is ready to be called on prepared data, and the times of its calls.
pub struct Bench<'a> {
    kernel: &'a Kernel,
    data: &'a Data,
    threads: usize,
    calls: Calls<'a>,
    /// Calls of a round.
    each: u64,
    /// The next copy of the weights.
    next: usize,
    times: Vec<f64>,
}

/// A call that takes longer than this needs none before it that is not timed.
const LONG: f64 = 5e-3;

impl<'a> Bench<'a> {
    /// Makes the calls ready and runs one. A round lasts about as long as `run`, one call at least.
    ///
    /// # Errors
    /// If the data was made for another kernel, or the call cannot be run.
    pub fn new(
        kernel: &'a Kernel,
        data: &'a Data,
        threads: usize,
        run: Duration,
    ) -> Result<Bench<'a>, Error> {
        let given = |copy, id| data.tensor(copy, id);
        let mut calls = Calls::new(kernel, data.copies(), given, threads)?;
        let mut next = 0;
        calls.time(1, &mut next)?;
        let once = calls.time(1, &mut next)?;
        let each = (run.as_secs_f64() / once.max(1e-9)).ceil() as u64;
        Ok(Bench {
            kernel,
            data,
            threads,
            calls,
            each: each.clamp(1, 1 << 16),
            next,
            times: Vec::new(),
        })
    }

    /// What is run.
    fn program(&self) -> Result<&'a Program, Error> {
        Ok(&self.kernel.class(self.calls.batch())?.program)
    }

    /// The kernel.
    pub fn kernel(&self) -> &'a Kernel {
        self.kernel
    }

    /// Threads that a call is divided among.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Seconds of one call, over several, each on the next copy of the weights. A call before them that is not timed brings back
    /// what others have put out of the caches.
    pub fn round(&mut self) -> Result<f64, Error> {
        if self.times.last().is_none_or(|t| *t < LONG) {
            self.calls.time(1, &mut self.next)?;
        }
        let seconds = self.calls.time(self.each, &mut self.next)?;
        self.times.push(seconds);
        Ok(seconds)
    }

    /// The time of a call in the rounds until now.
    pub fn seconds(&self) -> Spread {
        Spread::of(&self.times)
    }
}

#[cfg(test)]
mod tests;
