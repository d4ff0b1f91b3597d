//! Measures what operations, accesses and memory cost on this machine, in the terms of the cost model.
//!
//! Small functions of the vector IR (see [`sample`]) are compiled as kernels are, and timed: chains beside each other for
//! throughput, one chain for latency. Cycles are those of a chain of dependent integer operations timed in turn with them,
//! so that a clock that changes changes both. Of several times the shortest counts.

use crate::Error;
use lowbit_compiler::codegen::{self, MachineCode};
use lowbit_compiler::lower::sample::{self, Sample};
use lowbit_compiler::rewrite::lang::Op;
use lowbit_compiler::target::{Cost, CostFile, LOADS, Level, Target, Throughput, Unit};
use std::time::{Duration, Instant};

/// How much is done for a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// How often a sample is timed.
    pub repeats: u32,
    /// How long a sample runs at least, each time.
    pub run: Duration,
    /// Bytes of the buffer that is read from memory; larger than all caches.
    pub memory: u64,
}

impl Default for Effort {
    /// Some seconds in all.
    fn default() -> Effort {
        Effort {
            repeats: 7,
            run: Duration::from_millis(2),
            memory: 256 << 20,
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// The costs, for [`Target::apply`].
    pub costs: CostFile,
    /// Cycles a second of the clock that they were measured with.
    pub hertz: f64,
}

/// What is being measured: how many figures are done, of how many, and which one is next.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Done.
    pub done: usize,
    /// All.
    pub total: usize,
    /// The next.
    pub what: &'a str,
}

/// Buffers of the levels: one that fits the level of any machine that has it, and none before.
const LEVELS: [(&str, u64); 3] = [("L1", 16 << 10), ("L2", 384 << 10), ("L3", 6 << 20)];

/// What lies in the buffers: floats just above 1, and small integers.
const CONTENTS: u64 = 0x3f80_0001_3f80_0001;

/// Measures the machine that this runs on.
///
/// # Errors
/// If the target's code does not run here, or a sample cannot be compiled.
pub fn calibrate(
    target: &Target,
    effort: &Effort,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Calibration, Error> {
    let mut bench = Bench::new(target, effort)?;
    let total = target.costs.len() + LOADS.len() + LEVELS.len() + 2;
    let mut done = 0;
    let mut next = |what: &str| {
        progress(Progress { done, total, what });
        done += 1;
    };
    let units = target.throughput.units;
    let rate = |unit: Unit| units[unit as usize];
    let mut costs = CostFile::default();
    next("broadcast of a register");
    let spread = bench.operation(Op::VSpread)?;
    for (op, known) in &target.costs {
        next(op.name());
        let Some((mut cycles, mut latency)) = bench.operation(*op)? else {
            costs
                .derived
                .insert(op.name().to_owned(), reason(*op).to_owned());
            continue;
        };
        if let (Op::VFold | Op::VFoldMax, Some((around, late))) = (op, spread) {
            // Their samples spread the result again.
            cycles = (cycles - around).max(LEAST);
            latency = (latency - late).max(LEAST);
        }
        let cost = cost(known.unit, cycles * rate(known.unit), latency);
        costs.operations.insert(op.name().to_owned(), cost);
    }
    let chase = bench.cycles(&sample::chase())?;
    for kind in LOADS {
        next(kind);
        let (Some(known), Some(sample)) =
            (target.accesses.get(kind), sample::access(kind, LEVELS[0].1))
        else {
            continue;
        };
        // A vector takes as much longer than an address as the table says; a store has no result.
        let more = target
            .accesses
            .get("load")
            .map_or(0.0, |l| known.latency - l.latency);
        let latency = if kind == "store" {
            known.latency
        } else {
            (chase + more).max(LEAST)
        };
        let cycles = bench.cycles(&sample)?;
        costs.accesses.insert(
            kind.to_owned(),
            cost(known.unit, cycles * rate(known.unit), latency),
        );
    }
    for (name, bytes) in LEVELS.into_iter().chain([("memory", effort.memory)]) {
        next(name);
        costs.levels.push(bench.level(name, bytes)?);
    }
    let issue = 1.0 / bench.cycles(&sample::issue())?;
    let memory = costs
        .levels
        .last()
        .map_or(target.throughput.memory, |l| l.rate);
    costs.throughput = Some(Throughput {
        issue: rounded(issue),
        memory,
        ..target.throughput
    });
    let hertz = bench.hertz()?;
    Ok(Calibration { costs, hertz })
}

/// Cycles of a second now, in the terms of the cost model.
pub(crate) fn clock(target: &Target) -> Result<f64, Error> {
    let effort = Effort {
        repeats: 3,
        run: Duration::from_micros(200),
        memory: 0,
    };
    let mut bench = Bench::new(target, &effort)?;
    let mut best = Duration::MAX;
    for _ in 0..effort.repeats {
        best = best.min(bench.time(None, bench.clock_rounds));
    }
    Ok(bench.clock_rounds as f64 * bench.cycles_of_clock / best.as_secs_f64())
}

/// How often a second the fastest of some samples does what it does; `None` without one.
pub(crate) fn rate(
    target: &Target,
    effort: &Effort,
    samples: &[Sample],
) -> Result<Option<f64>, Error> {
    let mut bench = Bench::new(target, effort)?;
    let mut best: Option<f64> = None;
    for sample in samples {
        let (once, _) = bench.seconds_of(sample)?;
        best = Some(best.map_or(once.recip(), |b| b.max(once.recip())));
    }
    Ok(best)
}

/// What nothing costs less than: figures are rounded to this.
const LEAST: f64 = 0.001;

fn rounded(value: f64) -> f64 {
    (value / LEAST).round().max(1.0) / LEAST.recip()
}

fn cost(unit: Unit, uops: f64, latency: f64) -> Cost {
    Cost {
        unit,
        uops: rounded(uops),
        latency: rounded(latency),
    }
}

/// Why an operation was not measured.
fn reason(op: Op) -> &'static str {
    let found = sample::DERIVED.iter().find(|(o, _)| *o == op);
    found.map_or("no sample of it is made", |(_, reason)| reason)
}

/// A buffer at the start of a page.
struct Buffer {
    words: Vec<u64>,
    skipped: usize,
}

const PAGE: usize = 4096;

impl Buffer {
    fn new(bytes: usize) -> Buffer {
        let words = vec![CONTENTS; (bytes + PAGE).div_ceil(8)];
        let skipped = words.as_ptr().align_offset(PAGE).min(PAGE / 8);
        Buffer { words, skipped }
    }

    fn address(&mut self) -> u64 {
        self.words[self.skipped..].as_mut_ptr() as u64
    }

    fn bytes(&self) -> usize {
        8 * (self.words.len() - self.skipped)
    }
}

/// Samples in turn with the clock.
struct Bench<'t> {
    target: &'t Target,
    effort: Effort,
    clock: MachineCode,
    cycles_of_clock: f64,
    clock_rounds: u64,
    read: Buffer,
    written: Buffer,
}

impl<'t> Bench<'t> {
    fn new(target: &'t Target, effort: &Effort) -> Result<Bench<'t>, Error> {
        let sample = sample::clock();
        let clock = codegen::compile(&sample.function, &target.features)?;
        let mut bench = Bench {
            target,
            effort: *effort,
            clock,
            cycles_of_clock: sample.times,
            clock_rounds: 0,
            read: Buffer::new(sample.bytes),
            written: Buffer::new(PAGE),
        };
        bench.fit(&sample);
        bench.clock_rounds = bench.rounds(None);
        Ok(bench)
    }

    /// Buffers as large as a sample says; the clock needs no more than any other.
    fn fit(&mut self, sample: &Sample) {
        if self.read.bytes() < sample.bytes {
            self.read = Buffer::new(sample.bytes);
        }
        if self.written.bytes() < sample.written {
            self.written = Buffer::new(sample.written);
        }
    }

    /// Runs a sample, or the clock.
    fn time(&mut self, code: Option<&MachineCode>, rounds: u64) -> Duration {
        let code = code.unwrap_or(&self.clock);
        let words = [self.read.address(), self.written.address(), rounds];
        let start = Instant::now();
        // SAFETY: the code is a sample's, whose parameters are these three; `fit` made both buffers at least as large as it
        // says before it is run, buffers never shrink, they are two, and nothing else refers to them.
        unsafe { code.call(&words) };
        start.elapsed()
    }

    /// Rounds that take as long as a run should.
    fn rounds(&mut self, code: Option<&MachineCode>) -> u64 {
        let mut rounds = 1;
        loop {
            let time = self.time(code, rounds);
            if time >= self.effort.run || rounds > 1 << 40 {
                return rounds;
            }
            let by = self.effort.run.as_nanos() / time.as_nanos().max(1);
            rounds = rounds.saturating_mul((by as u64).clamp(2, 16));
        }
    }

    /// Seconds of a round of a sample and of a cycle.
    fn seconds(&mut self, code: &MachineCode) -> (f64, f64) {
        let rounds = self.rounds(Some(code));
        let (mut best, mut clock) = (Duration::MAX, Duration::MAX);
        for _ in 0..self.effort.repeats.max(1) {
            clock = clock.min(self.time(None, self.clock_rounds));
            best = best.min(self.time(Some(code), rounds));
        }
        let cycle = clock.as_secs_f64() / (self.clock_rounds as f64 * self.cycles_of_clock);
        (best.as_secs_f64() / rounds as f64, cycle)
    }

    /// Cycles for once of what a sample does.
    fn cycles(&mut self, sample: &Sample) -> Result<f64, Error> {
        let (once, cycle) = self.seconds_of(sample)?;
        Ok(once / cycle)
    }

    /// Seconds for once of what a sample does, and of a cycle.
    fn seconds_of(&mut self, sample: &Sample) -> Result<(f64, f64), Error> {
        self.fit(sample);
        let address = self.read.address();
        let at = self.read.skipped;
        if sample.function.name == "chase" {
            self.read.words[at] = address;
        }
        let code = codegen::compile(&sample.function, &self.target.features)?;
        let (round, cycle) = self.seconds(&code);
        self.read.words[at] = CONTENTS;
        Ok((round / sample.times, cycle))
    }

    /// Cycles of an operation on a register where many are under way, and until its result can be used.
    fn operation(&mut self, op: Op) -> Result<Option<(f64, f64)>, Error> {
        let (Some(alone), Some(few), Some(many)) = (
            sample::operation(op, 1),
            sample::operation(op, sample::CHAINS / 2),
            sample::operation(op, sample::CHAINS),
        ) else {
            return Ok(None);
        };
        let latency = self.cycles(&alone)? * alone.times / alone.links;
        let cycles = self.cycles(&few)?.min(self.cycles(&many)?);
        Ok(Some((cycles, latency)))
    }

    /// The rate of a level, by reading a buffer over and over.
    fn level(&mut self, name: &str, bytes: u64) -> Result<Level, Error> {
        let sample = sample::access("load", bytes).map(|s| Sample { times: 1.0, ..s });
        let cycles = match &sample {
            Some(sample) => self.cycles(sample)?,
            None => f64::INFINITY,
        };
        Ok(Level {
            name: name.to_owned(),
            bytes,
            rate: rounded(bytes as f64 / cycles),
        })
    }

    fn hertz(&mut self) -> Result<f64, Error> {
        let code = codegen::compile(&sample::clock().function, &self.target.features)?;
        Ok(1.0 / self.seconds(&code).1)
    }
}
