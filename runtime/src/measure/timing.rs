//! The times of candidates, in turn with each other and with the clock.

use super::data::Packed;
use super::{Contender, Effort};
use crate::bench::Calls;
use crate::{Error, Tensor, calibrate};
use lowbit_compiler::spec::kernel::TensorId;
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
        let packed = &packed[contender.packed];
        runs.push(calls(contender, packed, inputs, rotated)?);
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
fn calls<'a>(
    contender: &'a Contender,
    packed: &'a Packed,
    inputs: &'a [Option<Tensor>],
    rotated: bool,
) -> Result<Calls<'a>, Error> {
    let copies = if rotated { packed.copies.len() } else { 1 };
    let at = |id: TensorId| packed.layouts.iter().position(|(w, _)| *w == id);
    let given = |copy: usize, id: TensorId| match at(id) {
        Some(at) => packed.copies[copy].get(at),
        None => inputs[id.as_u32() as usize].as_ref(),
    };
    Calls::new(&contender.kernel, copies, given, 1)
}

/// The lower median; 0 of nothing.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    part(values, 2)
}

/// The value that one in so many lies below; 0 of nothing.
pub(crate) fn part(values: &mut [f64], of: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = values.len().saturating_sub(1) / of;
    values.get(at).copied().unwrap_or(0.0)
}
