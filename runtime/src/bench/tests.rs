//! Benches of small kernels with next to no time: that figures go together, not how large they are.

use super::{
    Account, Bench, CompileTimes, Compiling, Data, Effort, Limits, Source, Spread, Stream,
};
use crate::check::CheckError;
use crate::{Axis, Engine, Error, Pool};
use lowbit_compiler::target::Target;
use std::num::NonZeroUsize;
use std::time::Duration;

const TEXT: &str = "language 1; import \"std/ints\";
    kernel linear(weight w: int4_32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
        let q[m, k] = quantize x[m, k] as q8_32;
        y[m, n] = sum(k) w[n, k] * q[m, k];
    }";

const EFFORT: Effort = Effort {
    repeats: 1,
    run: Duration::from_micros(10),
};

fn limits(engine: &Engine) -> Result<Limits, Error> {
    Limits::measure(engine.target(), &Stream::new(1 << 16)?, &[1, 2], &EFFORT)
}

#[test]
fn quartiles_lie_in_order() {
    let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
    let found = (spread.lower_quartile, spread.median, spread.upper_quartile);
    assert_eq!((found, spread.count), ((2.0, 3.0, 4.0), 5));
    assert_eq!(spread.interquartile(), 2.0);
    assert_eq!(Spread::of(&[7.0]).upper_quartile, 7.0);
    assert_eq!(Spread::of(&[]), Spread::default());
}

#[test]
fn limits_are_rates_and_bandwidths_can_be_replaced() -> Result<(), Error> {
    let engine = Engine::host()?;
    let mut limits = limits(&engine)?;
    let peaks = [limits.dots, limits.pairs, limits.floats, limits.look_ups];
    let known = [limits.hertz, limits.bandwidth[1].bytes_per_second];
    let mut all = peaks.into_iter().flatten().chain(known);
    assert!(all.all(|r| r.is_finite() && r > 0.0), "{limits:?}");
    assert!(limits.floats.is_some(), "{limits:?}");
    limits.set_bandwidth(1, 5.0);
    assert_eq!(
        (limits.bandwidth(1), limits.bandwidth(3)),
        (Some(5.0), None)
    );
    assert_eq!(limits.bandwidth.len(), 2);
    Ok(())
}

#[test]
fn rows_that_are_bound_are_told() -> Result<(), Error> {
    let engine = Engine::host()?;
    let bound = engine.compile(TEXT, &[("N", 64), ("K", 64), ("M", 8)])?;
    let data = Data::new(&bound, 1, 0)?;
    let bench = Bench::new(&bound, &data, 1, EFFORT.run)?;
    assert_eq!(bench.summary(&limits(&engine)?)?.rows, 8);
    Ok(())
}

#[test]
fn rows_are_those_of_all_batches() -> Result<(), Error> {
    let engine = Engine::host()?;
    let text = "language 1;
        kernel k(weight w: f32[N, K], input x: f32[B, M, K]) -> output y: f32[B, M, N] {
            y[b, m, n] = sum(k) w[n, k] * x[b, m, k];
        }";
    let kernel = engine.compile(text, &[("N", 16), ("K", 32), ("M", 8)])?;
    let data = Data::new(&kernel, 3, 0)?;
    let bench = Bench::new(&kernel, &data, 1, EFFORT.run)?;
    assert_eq!(bench.summary(&limits(&engine)?)?.rows, 24);
    Ok(())
}

#[test]
fn threads_compute_at_once() -> Result<(), Error> {
    let stream = Stream::new(1 << 16)?;
    let one = Pool::new(NonZeroUsize::MIN)?;
    for pool in [one, Pool::host()?] {
        let factor = stream.at_once(&pool);
        assert!(factor.is_finite() && factor > 0.0, "{factor}");
    }
    Ok(())
}

#[test]
fn a_summary_follows_from_the_times() -> Result<(), Error> {
    let engine = Engine::host()?;
    let kernel = engine.compile(TEXT, &[("N", 96), ("K", 256)])?;
    let limits = limits(&engine)?;
    for (rows, threads) in [(1, 1), (9, 2)] {
        let data = Data::new(&kernel, 1, 1 << 16)?.with_rows(&kernel, rows)?;
        assert!(data.copies() as u64 * data.weight_bytes() >= 1 << 16);
        let mut bench = Bench::new(&kernel, &data, threads, EFFORT.run)?;
        for _ in 0..3 {
            assert!(bench.round()? > 0.0);
        }
        let summary = bench.summary(&limits)?;
        let median = summary.seconds.median;
        assert_eq!((summary.rows, summary.threads), (rows, threads));
        assert_eq!(summary.weight_bytes, data.weight_bytes() as f64);
        assert_eq!(summary.bandwidth, summary.weight_bytes / median);
        assert_eq!(summary.operations, Some((2 * rows * 96 * 256) as f64));
        assert_eq!(summary.weights[0].format_bits, 4.5);
        let memory = summary.shares.iter().find(|s| s.limit == "memory");
        let wanted = limits.bandwidth(threads).map(|b| summary.bandwidth / b);
        assert_eq!(memory.map(|s| s.share), wanted);
        assert!(summary.shares.iter().all(|s| s.share > 0.0), "{summary:?}");
        let account = bench.account(&limits)?;
        holds(&account);
        assert_eq!(account.measured, median);
        let steps = account.without_choice.iter();
        let steps: Vec<&str> = steps.map(|(step, _)| step.as_str()).collect();
        assert_eq!(steps, ["encode x as q"]);
        assert!(account.without_choice[0].1 > 0.0);
    }
    Ok(())
}

fn holds(account: &Account) {
    assert!(account.predicted > 0.0 && !account.charges.is_empty());
    assert!(account.in_whole_tiles >= account.predicted);
    assert_eq!(account.unexplained, account.measured - account.predicted);
    for charge in &account.charges {
        assert_eq!(charge.share, charge.seconds / account.predicted);
    }
    let seconds = account.charges.iter().map(|c| c.seconds);
    assert!(seconds.is_sorted_by(|a, b| a >= b));
}

#[test]
fn results_are_compared_in_all_columns() -> Result<(), CheckError> {
    let engine = Engine::host()?;
    // What whole tiles and the rows that repeat leave over, and a format with something before all rows.
    for (format, n) in [("int4_32", 150), ("nvfp4", 67)] {
        let text = TEXT
            .replace("int4_32", format)
            .replace("std/ints\";", "std/ints\"; import \"std/mx\";");
        let kernel = engine.compile(&text, &[("N", n), ("K", 64)])?;
        for (rows, threads) in [(1, 1), (70, 2)] {
            let data = Data::new(&kernel, rows, 0)?;
            let mut bench = Bench::new(&kernel, &data, threads, EFFORT.run)?;
            let found = bench.verify()?.expect("rows are apart");
            assert!(found.differences.is_empty(), "{:?}", found.differences);
            assert!(
                found.compared as u64 >= n * rows.min(3),
                "{}",
                found.compared
            );
        }
    }
    Ok(())
}

#[test]
fn a_wrong_result_is_found_wherever_it_is() -> Result<(), CheckError> {
    let kernel = Engine::host()?.compile(TEXT, &[("N", 150), ("K", 64)])?;
    let mut data = Data::new(&kernel, 70, 0)?;
    let other = Data::new(&kernel, 1, 0)?;
    // The interpreter is given weights that the call does not have: two rows change places.
    let swapped: Vec<u32> = (0..150)
        .map(|row| if row < 2 { 1 - row } else { row })
        .collect();
    for weight in data.declared.iter_mut().take(1) {
        let tensor = weight.as_ref().map(|w| w.permute(Axis::Rows, &swapped));
        *weight = tensor.transpose()?;
    }
    let found = Bench::new(&kernel, &data, 1, EFFORT.run)?.verify()?;
    let differences = found.map(|c| c.differences).unwrap_or_default();
    assert!(
        !differences.is_empty() && differences.len() <= 8,
        "{differences:?}"
    );
    let right = Bench::new(&kernel, &other, 1, EFFORT.run)?.verify()?;
    assert!(right.is_some_and(|c| c.differences.is_empty()));
    Ok(())
}

#[test]
fn what_cannot_be_looked_at_apart_is_compared_as_a_whole_or_not_at_all() -> Result<(), CheckError> {
    let engine = Engine::host()?;
    let text = "language 1; kernel total(input x: f32[M, K]) -> output y: f32[K] {
        y[k] = sum(m) x[m, k];
    }";
    let kernel = engine.compile(text, &[("K", 1024)])?;
    for (rows, compared) in [(70, Some(1024)), (20_000, None)] {
        let data = Data::new(&kernel, rows, 0)?;
        let mut bench = Bench::new(&kernel, &data, 1, EFFORT.run)?;
        assert_eq!(bench.verify()?.map(|c| c.compared), compared);
    }
    Ok(())
}

#[test]
fn every_stage_of_compiling_takes_time() -> Result<(), Error> {
    let engine = Engine::host()?;
    let source = |kernel| Source {
        name: "text",
        text: TEXT,
        imports: &|_| None,
        kernel,
    };
    let Compiling { first, later } = Compiling::of(engine.target(), &source(None), &[("K", 64)])?;
    for times in [first, later] {
        let parts = [times.text, times.choose, times.lower, times.code];
        assert!(parts.iter().all(|t| *t > 0.0), "{times:?}");
        assert_eq!(times.total(), parts.iter().sum::<f64>());
    }
    let missing = CompileTimes::of(&engine, &source(Some("other")), &[]);
    assert!(
        matches!(missing, Err(Error::NoKernel { .. })),
        "{missing:?}"
    );
    Ok(())
}

#[test]
fn what_does_not_run_here_is_refused() -> Result<(), Error> {
    let other = match cfg!(target_arch = "aarch64") {
        true => "x86-64-v3",
        false => "aarch64",
    };
    let engine = Engine::new(Target::named(other)?)?;
    assert!(matches!(limits(&engine), Err(Error::Elsewhere { .. })));
    let kernel = engine.compile(TEXT, &[("N", 64), ("K", 64)])?;
    let data = Data::new(&kernel, 1, 0);
    assert!(matches!(data, Err(Error::Elsewhere { .. })), "{data:?}");
    Ok(())
}
