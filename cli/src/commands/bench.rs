//! `bench`: how fast a kernel is beside what the machine can do, where its time goes, and what compiling it takes.

use crate::Failure;
use crate::output::say;
use crate::progress::Progress;
use crate::table::table;
use crate::text::{Source, borrowed, write};
use clap::Args;
use lowbit::bench::{
    Account, Bench as Timed, Compiling, Data, Effort, Limits, STREAMED, Source as Text, Spread,
    Stream, Summary,
};
use lowbit::compiler::spec::kernel::{DimId, Extent, Kernel as Spec, Role};
use lowbit::compiler::target::Target;
use lowbit::tune::Tuning;
use lowbit::{Error, Kernel};
use serde_json::json;
use std::path::PathBuf;
use std::time::Instant;

/// Measure how fast a kernel is beside what the machine can do, and where its time goes
#[derive(Args)]
#[command(
    after_help = "Dimensions that are not bound are 4096, but for that of the batch.

Examples:
  lowbit bench dsl-examples/int4_int8.lowbit --dim N=1024 --dim K=1024 --seconds 0.5
  lowbit bench dsl-examples/nf4_linear.lowbit --dim N=256 --dim K=1024 --rows 1,8 --threads 1,2 --cached --seconds 0.2 --json nf4.json"
)]
pub(crate) struct Bench {
    #[command(flatten)]
    source: Source,
    /// Rows of activations, where they are free
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    rows: Vec<u64>,
    /// Threads that a call is divided among
    #[arg(long, value_name = "THREADS", value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Read the same weights again and again, from caches where they fit, instead of copies that come from memory
    #[arg(long)]
    cached: bool,
    /// How long to measure
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
    /// Write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The extent of dimensions that are left out.
const EXTENT: u64 = 4096;

/// Rounds that are measured at least and at most, however long they take.
const ROUNDS: (f64, f64) = (3.0, 200.0);

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok();
    let usable = seconds.filter(|s: &f64| (0.0..=3600.0).contains(s));
    usable.ok_or_else(|| format!("`{text}` is no time from 0 to 3600 seconds"))
}

/// A kernel with some rows on some threads.
struct Line {
    summary: Summary,
    account: Account,
}

impl Bench {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let engine = self.source.engine(&Tuning::default())?;
        let dims = self.dims()?;
        let compiling = self.compiling(engine.target(), &dims)?;
        let (_, kernel) = self.source.compile(&dims)?;
        let (limits, lines, checked) = self.measured(&kernel)?;
        say(heading(&kernel, &limits))?;
        say(table(&times(&lines)))?;
        for line in lines.first().into_iter().chain(other_lowerings(&lines)) {
            say(format!(
                "{}: {}",
                rows(&line.summary),
                line.summary.lowering.join("; ")
            ))?;
        }
        let mut told: Vec<u64> = Vec::new();
        for line in &lines {
            if !told.contains(&line.summary.rows) {
                told.push(line.summary.rows);
                say(format!("\n{}", account(line)))?;
            }
        }
        say("\ncompiling, ms:")?;
        say(table(&stages(&compiling)))?;
        say(checked)?;
        let Some(path) = &self.json else {
            return Ok(());
        };
        let results = lines
            .iter()
            .map(|l| json!({ "summary": l.summary, "account": l.account }));
        let all = json!({
            "kernel": kernel.name(),
            "target": kernel.target().name,
            "dims": dims.iter().map(|(n, e)| json!({ "name": n, "extent": e })).collect::<Vec<_>>(),
            "cached": self.cached,
            "limits": limits,
            "results": results.collect::<Vec<_>>(),
            "compile": compiling,
        });
        let text = serde_json::to_string_pretty(&all)? + "\n";
        write(path, text)
    }

    /// Dimensions as they are given, and the others but those of the batch.
    fn dims(&self) -> Result<Vec<(String, u64)>, Failure> {
        let spec = self.source.spec()?;
        let mut dims = self.source.dims.clone();
        for (id, dim) in spec.dims.iter() {
            let given = dims.iter().any(|(name, _)| *name == dim.name);
            if dim.bound.is_none() && !given && !numbers_batches(&spec, id) {
                dims.push((dim.name.clone(), EXTENT));
            }
        }
        Ok(dims)
    }

    fn compiling(&self, target: &Target, dims: &[(String, u64)]) -> Result<Compiling, Failure> {
        let text = self.source.text()?;
        let source = Text {
            name: &text.name(),
            text: &text.text,
            imports: &|name| text.import(name),
            kernel: self.source.kernel(),
        };
        Ok(Compiling::of(target, &source, &borrowed(dims))?)
    }

    /// The limits of the machine, a line for each number of rows and of threads, and what was compared with the interpreter.
    fn measured(&self, kernel: &Kernel) -> Result<(Limits, Vec<Line>, String), Failure> {
        let bound = kernel.spec().dims.values().all(|d| d.bound.is_some());
        if bound && self.rows.len() > 1 {
            let what = "all dimensions are bound: there are no several numbers of rows to measure";
            return Err(Failure::Input(what.into()));
        }
        let threads: Vec<usize> = self.threads.iter().map(|t| usize::from(*t)).collect();
        let streamed = if self.cached { 0 } else { STREAMED };
        let first = Data::new(kernel, self.rows[0], streamed)?;
        let more = self.rows[1..].iter().map(|r| first.with_rows(kernel, *r));
        let more: Vec<Data> = more.collect::<Result<_, Error>>()?;
        let effort = Effort::default();
        let stream = Stream::new(STREAMED)?;
        let mut limits = Limits::measure(kernel.target(), &stream, &threads, &effort)?;
        let mut benches = Vec::new();
        for data in std::iter::once(&first).chain(&more) {
            for threads in &threads {
                benches.push(Timed::new(kernel, data, *threads, effort.run)?);
            }
        }
        let checked = checked(&mut benches)?;
        for (threads, rates) in
            threads
                .iter()
                .zip(rounds(&mut benches, &stream, &threads, self.seconds)?)
        {
            limits.set_bandwidth(*threads, Spread::of(&rates).median);
        }
        let line = |bench: &Timed<'_>| {
            Ok(Line {
                summary: bench.summary(&limits)?,
                account: bench.account(&limits)?,
            })
        };
        let lines = benches.iter().map(line).collect::<Result<_, Error>>()?;
        Ok((limits, lines, checked))
    }
}

/// Whether a dimension is one of the batch: of no weight; in a kernel without weights, the first axis of a result.
fn numbers_batches(spec: &Spec, dim: DimId) -> bool {
    let has = |e: &Extent| matches!(e, Extent::Dim(d) | Extent::Quotient(d, _) if *d == dim);
    let mut weights = spec
        .tensors
        .values()
        .filter(|t| t.role.is_packed())
        .peekable();
    if weights.peek().is_some() {
        return !weights.any(|t| t.shape.iter().any(has));
    }
    let mut outputs = spec.tensors.values().filter(|t| t.role == Role::Output);
    outputs.any(|t| t.shape.first().is_some_and(has))
}

/// Rounds of all benches in turn, and of the streams that they are held against: bytes a second for each number of threads.
fn rounds(
    benches: &mut [Timed<'_>],
    stream: &Stream,
    threads: &[usize],
    seconds: f64,
) -> Result<Vec<Vec<f64>>, Failure> {
    let mut rates = vec![Vec::new(); threads.len()];
    let mut round = || -> Result<(), Failure> {
        for (threads, rates) in threads.iter().zip(&mut rates) {
            rates.push(stream.read(*threads));
        }
        for bench in benches.iter_mut() {
            bench.round()?;
        }
        Ok(())
    };
    let start = Instant::now();
    round()?;
    let (least, most) = ROUNDS;
    let count = (seconds / start.elapsed().as_secs_f64()).clamp(least, most) as u64;
    let progress = Progress::new("round", count);
    progress.add(1);
    for _ in 1..count {
        round()?;
        progress.add(1);
    }
    Ok(rates)
}

/// Compares the results of all benches with the interpreter's.
fn checked(benches: &mut [Timed<'_>]) -> Result<String, Failure> {
    let (mut compared, mut worst) = (0, 0f64);
    for bench in benches {
        let Some(found) = bench.verify()? else {
            return Ok("not checked: too much for the reference interpreter".to_owned());
        };
        if !found.differences.is_empty() {
            let differences = found.differences.join("\n");
            return Err(Failure::Differs(format!("results differ:\n{differences}")));
        }
        compared += found.compared;
        worst = worst.max(found.worst);
    }
    Ok(format!(
        "checked: {compared} results agree with the reference interpreter (largest error {:.0} % of the bound)",
        worst * 100.0
    ))
}

fn heading(kernel: &Kernel, limits: &Limits) -> String {
    let dims = kernel.spec().dims.values();
    let bound = dims.filter_map(|d| Some(format!("{} = {}", d.name, d.bound?)));
    let bound: Vec<String> = bound.collect();
    let mut text = format!(
        "{} for {}: {}\n",
        kernel.name(),
        kernel.target().name,
        bound.join(", ")
    );
    let giga = |value: f64| format!("{:.1}", value / 1e9);
    let read = limits.bandwidth.iter();
    let read: Vec<String> = read
        .map(|b| {
            format!(
                "{} GB/s with {}",
                giga(b.bytes_per_second),
                threads(b.threads)
            )
        })
        .collect();
    let peaks = [
        (limits.dots, "GOPS by dot products of bytes"),
        (limits.pairs, "GOPS by byte products in pairs"),
        (limits.floats, "GFLOP/s by f32 multiply-adds"),
        (limits.look_ups, "G look-ups of bytes a second"),
    ];
    let peaks = peaks.into_iter();
    let peaks: Vec<String> = peaks
        .filter_map(|(rate, what)| Some(format!("{} {what}", giga(rate?))))
        .collect();
    text += &format!("limits: {} from memory\n", read.join(", "));
    text += &format!(
        "        {} a thread, in vectors of {} bits\n",
        peaks.join(", "),
        8 * limits.vector_bytes
    );
    text
}

fn threads(count: usize) -> String {
    match count {
        1 => "one thread".to_owned(),
        count => format!("{count} threads"),
    }
}

fn rows(summary: &Summary) -> String {
    match summary.rows {
        1 => "one row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// The table of times.
fn times(lines: &[Line]) -> Vec<Vec<String>> {
    let heading = [
        "rows",
        "threads",
        "µs",
        "±",
        "GB/s",
        "GOPS",
        "%",
        "of the limit",
        "bits a weight",
        "stored",
    ];
    let mut rows = vec![cells(heading)];
    for Line { summary, .. } in lines {
        let nearest = summary.shares.first();
        let bits = |bits: fn(&lowbit::Resident) -> f64| {
            let all = summary.weights.iter().map(|w| format!("{:.3}", bits(w)));
            all.collect::<Vec<_>>().join(", ")
        };
        rows.push(vec![
            summary.rows.to_string(),
            summary.threads.to_string(),
            format!("{:.1}", summary.seconds.median * 1e6),
            format!("{:.1}", summary.seconds.interquartile() / 2.0 * 1e6),
            format!("{:.1}", summary.bandwidth / 1e9),
            summary
                .rate
                .map_or("-".to_owned(), |r| format!("{:.1}", r / 1e9)),
            nearest.map_or("-".to_owned(), |s| format!("{:.0}", s.share * 100.0)),
            nearest.map_or("-", |s| s.limit).to_owned(),
            bits(|w| w.resident_bits),
            bits(|w| w.format_bits),
        ]);
    }
    rows
}

/// Lines whose code is another than that of the line before.
fn other_lowerings(lines: &[Line]) -> impl Iterator<Item = &Line> {
    let pairs = lines.windows(2);
    let others = pairs.filter(|p| p[0].summary.lowering != p[1].summary.lowering);
    others.map(|p| &p[1])
}

/// Where the time of a line goes.
fn account(line: &Line) -> String {
    let Line { summary, account } = line;
    let micro = |seconds: f64| format!("{:.1}", seconds * 1e6);
    let mut rows = vec![cells(["µs", "% of predicted", ""])];
    let mut add = |seconds: f64, what: &str| {
        let share = 100.0 * seconds / account.predicted.max(f64::MIN_POSITIVE);
        rows.push(vec![micro(seconds), format!("{share:.0}"), what.to_owned()]);
    };
    add(account.measured, "measured");
    add(
        account.predicted,
        "predicted: what takes longest, and a part of what it hides",
    );
    for (step, seconds) in &account.without_choice {
        add(
            *seconds,
            &format!("  {step}: as if no operation waited for another"),
        );
    }
    for charge in &account.charges {
        add(charge.seconds, &format!("  {} alone", charge.name));
    }
    add(account.unexplained, "not explained");
    format!(
        "where the time goes, {} with {}:\n{}",
        self::rows(summary),
        threads(summary.threads),
        table(&rows)
    )
}

/// What the stages of compiling take.
fn stages(compiling: &Compiling) -> Vec<Vec<String>> {
    let mut rows = vec![cells([
        "",
        "text",
        "choose",
        "lower",
        "machine code",
        "all",
    ])];
    for (name, times) in [
        ("the first time", compiling.first),
        ("twice as large, after it", compiling.later),
    ] {
        let all = [
            times.text,
            times.choose,
            times.lower,
            times.code,
            times.total(),
        ];
        let mut row = vec![name.to_owned()];
        row.extend(all.map(|s| format!("{:.2}", s * 1e3)));
        rows.push(row);
    }
    rows
}
