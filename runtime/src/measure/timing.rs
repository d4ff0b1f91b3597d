//! The times of candidates, in turn with each other and with the clock.

use super::data::Packed;
use super::{Contender, Effort};
use crate::call::{Prepared, Scratch};
use crate::{Error, Tensor, calibrate};
use std::time::Instant;

/// A candidate that takes so many times as long as the fastest is timed once or twice.
const SLOW: f64 = 8.0;

/// Cycles of a call of each contender: the lower quartile of its timings.
pub(super) fn time(
    contenders: &[Contender],
    packed: &[Packed],
    inputs: &[Option<Tensor>],
    effort: &Effort,
    rotated: bool,
    clock: &mut Vec<f64>,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<f64>, Error> {
    let Some(target) = contenders.first().map(|c| c.kernel.target()) else {
        return Ok(Vec::new());
    };
    let mut runs = Vec::new();
    for contender in contenders {
        runs.push(Run::new(
            contender,
            &packed[contender.packed],
            inputs,
            rotated,
        )?);
    }
    // The next copy of each set of weights.
    let mut next = vec![0; packed.len()];
    let mut first = Vec::new();
    let mut best = f64::INFINITY;
    for (contender, run) in contenders.iter().zip(&mut runs) {
        let mut seconds = run.time(1, &mut next[contender.packed])?;
        if seconds < best * SLOW {
            seconds = run.time(1, &mut next[contender.packed])?;
        }
        best = best.min(seconds);
        first.push(seconds);
    }
    let start = Instant::now();
    let mut times: Vec<Vec<f64>> = first.iter().map(|t| vec![*t]).collect();
    let mut cycle = Vec::new();
    let mut rounds = 0;
    for round in 0..effort.repeats.max(1) {
        if round >= 2 && start.elapsed() > effort.budget {
            break;
        }
        cycle.push(calibrate::clock(target)?);
        for (at, (contender, run)) in contenders.iter().zip(&mut runs).enumerate() {
            if first[at] > best * SLOW {
                continue;
            }
            let calls = (effort.run.as_secs_f64() / first[at].max(1e-7)).ceil();
            let calls = (calls as u64).clamp(1, 1 << 16);
            times[at].push(run.time(calls, &mut next[contender.packed])?);
        }
        rounds = round + 1;
        progress(1);
    }
    progress((effort.repeats.max(1) - rounds) as u64);
    let hertz = median(&mut cycle);
    clock.push(hertz);
    // What else runs on the machine only makes times longer.
    let cycles = times.iter_mut().map(|times| part(times, 4) * hertz);
    Ok(cycles.collect())
}

/// Calls of a contender, checked beforehand.
struct Run<'a> {
    calls: Vec<Prepared<'a>>,
    outputs: Vec<Vec<u8>>,
    scratch: Scratch,
}

impl<'a> Run<'a> {
    fn new(
        contender: &'a Contender,
        packed: &'a Packed,
        inputs: &'a [Option<Tensor>],
        rotated: bool,
    ) -> Result<Run<'a>, Error> {
        let spec = contender.kernel.spec();
        let copies = if rotated { packed.copies.len() } else { 1 };
        let mut calls = Vec::new();
        for copy in &packed.copies[..copies] {
            let mut args: Vec<(&str, &Tensor)> = Vec::new();
            for (id, tensor) in spec.tensors.iter() {
                let weight = packed.layouts.iter().position(|(w, _)| *w == id);
                let given = match weight {
                    Some(at) => copy.get(at),
                    None => inputs[id.as_u32() as usize].as_ref(),
                };
                args.extend(given.map(|g| (tensor.name.as_str(), g)));
            }
            calls.push(contender.kernel.prepare(&args)?);
        }
        let outputs = match calls.first() {
            Some(call) => call.outputs()?.into_iter().map(|(_, _, b)| b).collect(),
            None => Vec::new(),
        };
        Ok(Run {
            calls,
            outputs,
            scratch: Scratch::default(),
        })
    }

    /// Seconds of a call, over several.
    fn time(&mut self, calls: u64, next: &mut usize) -> Result<f64, Error> {
        let mut slices: Vec<&mut [u8]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let start = Instant::now();
        for _ in 0..calls {
            let call = &self.calls[*next % self.calls.len()];
            call.run(&mut slices, &mut self.scratch)?;
            *next += 1;
        }
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    }
}

/// The lower median; 0 of nothing.
pub(super) fn median(values: &mut [f64]) -> f64 {
    part(values, 2)
}

/// The value that one in so many lies below; 0 of nothing.
fn part(values: &mut [f64], of: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) / of;
    values.get(at).copied().unwrap_or(0.0)
}
