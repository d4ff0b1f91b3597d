//! What the machine can do at most: bytes that are read from memory, and operations of each kind that kernels do much of.

use super::summary::Spread;
use crate::memory::Memory;
use crate::{Error, Pool, SharedBytes, calibrate};
use lowbit_compiler::lower::sample::{Peak, peak};
use lowbit_compiler::target::Target;
use serde::Serialize;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How much is done for a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How often something is timed.
    pub repeats: u32,
    /// How long a timing lasts at least.
    pub run: Duration,
}

impl Default for Effort {
    /// Under a second in all.
    fn default() -> Effort {
        Effort {
            repeats: 7,
            run: Duration::from_millis(2),
        }
    }
}

/// Memory that is read in order.
pub struct Stream {
    memory: SharedBytes,
}

/// Bytes of a step: eight sums side by side for each of two lines.
const STEP: usize = 128;

impl Stream {
    /// So many bytes: [`STREAMED`](super::STREAMED), so that no cache holds them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the system does not give them.
    pub fn new(bytes: u64) -> Result<Stream, Error> {
        let bytes = usize::try_from(bytes).map_err(|_| Error::TooLarge(bytes))?;
        let mut memory = Memory::zeroed(bytes)?;
        // A page that nobody wrote to is no memory yet.
        memory.bytes().fill(1);
        Ok(Stream {
            memory: memory.share()?,
        })
    }

    /// Bytes a second that so many threads read together, each a part of its own.
    pub fn read(&self, threads: usize) -> f64 {
        let memory = (*self.memory).as_ref();
        let part = memory.len().div_ceil(threads.max(1));
        let mut parts = memory.chunks(part.next_multiple_of(STEP));
        let first = parts.next();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in parts {
                scope.spawn(|| black_box(sum(black_box(part))));
            }
            first.map(|part| black_box(sum(black_box(part))));
        });
        memory.len() as f64 / start.elapsed().as_secs_f64()
    }

    /// How many times as fast as one thread the threads of a pool compute together, on what their nearest caches hold: as many
    /// times as there are threads, if each has a core. Processors of a virtual machine may be halves of one, for moments only.
    pub fn at_once(&self, pool: &Pool) -> f64 {
        let memory = (*self.memory).as_ref();
        let near = &memory[..memory.len().min(NEAR)];
        let passes = |_| (0..PASSES).for_each(|_| _ = black_box(sum(black_box(near))));
        let team = || pool.run(pool.threads(), &|piece| passes(piece.index));
        // Workers that sleep are woken before.
        team();
        let start = Instant::now();
        team();
        let at_once = start.elapsed();
        let start = Instant::now();
        passes(0);
        let alone = start.elapsed();
        pool.threads() as f64 * alone.as_secs_f64() / at_once.as_secs_f64()
    }
}

/// Bytes in the nearest cache of every machine, and how often they are read in some tenths of a millisecond.
const NEAR: usize = 16 << 10;
const PASSES: usize = 1 << 10;

/// Reads everything once, in independent sums.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; STEP / 8];
    let (steps, _) = bytes.as_chunks::<STEP>();
    for step in steps {
        let (words, _) = step.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Bytes that some threads read from memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bandwidth {
    /// How many threads.
    pub threads: usize,
    /// Bytes a second of all of them together.
    pub bytes_per_second: f64,
}

/// The limits of the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Cycles a second, in the terms of the cost model.
    pub hertz: f64,
    /// Bytes of a vector register, which the peaks are for.
    pub vector_bytes: u32,
    /// What is read from memory.
    pub bandwidth: Vec<Bandwidth>,
    /// Additions and multiplications a second of one thread in dot products of bytes; nothing where there are none.
    pub dots: Option<f64>,
    /// The same by products of bytes in pairs.
    pub pairs: Option<f64>,
    /// The same of 32-bit floats.
    pub floats: Option<f64>,
    /// Bytes a second that one thread looks up in tables in registers.
    pub look_ups: Option<f64>,
}

impl Limits {
    /// Measures the machine that this runs on, with the operations of a target.
    ///
    /// # Errors
    /// If the target's code does not run here.
    pub fn measure(
        target: &Target,
        stream: &Stream,
        threads: &[usize],
        effort: &Effort,
    ) -> Result<Limits, Error> {
        if !target.features.runs_here() {
            return Err(Error::Elsewhere {
                target: target.name.clone(),
            });
        }
        let samples = calibrate::Effort {
            repeats: effort.repeats,
            run: effort.run,
            memory: 0,
        };
        let rate = |of: Peak| calibrate::rate(target, &samples, &peak(of, target));
        let mut limits = Limits {
            hertz: calibrate::clock(target)?,
            vector_bytes: target.vector_bytes,
            bandwidth: Vec::new(),
            dots: rate(Peak::Dots)?,
            pairs: rate(Peak::Pairs)?,
            floats: rate(Peak::Floats)?,
            look_ups: rate(Peak::LookUps)?,
        };
        for threads in threads {
            let rates: Vec<f64> = (0..effort.repeats.max(1))
                .map(|_| stream.read(*threads))
                .collect();
            limits.set_bandwidth(*threads, Spread::of(&rates).median);
        }
        Ok(limits)
    }

    /// Replaces what so many threads read, such as by what was measured in the same rounds as kernels.
    pub fn set_bandwidth(&mut self, threads: usize, bytes_per_second: f64) {
        self.bandwidth.retain(|b| b.threads != threads);
        self.bandwidth.push(Bandwidth {
            threads,
            bytes_per_second,
        });
        self.bandwidth.sort_by_key(|b| b.threads);
    }

    /// Bytes a second that so many threads read, if that was measured.
    pub fn bandwidth(&self, threads: usize) -> Option<f64> {
        let found = self.bandwidth.iter().find(|b| b.threads == threads);
        found.map(|b| b.bytes_per_second)
    }

    /// What one thread does a second at most; nothing where the target does not have it.
    pub fn peak(&self, peak: Peak) -> Option<f64> {
        match peak {
            Peak::Dots => self.dots,
            Peak::Pairs => self.pairs,
            Peak::Floats => self.floats,
            Peak::LookUps => self.look_ups,
        }
    }
}
