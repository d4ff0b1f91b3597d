//! Whether any shape falls out of line: one format on many shapes, each compiled with its rows and columns bound, with its time
//! beside what the cost model predicts for the shape in whole tiles. Prints the shapes that take more than 2.5 × (1 µs + that),
//! the worst first, and draws all of them (`--plot`). Quantising activations is part of both: where there are few columns of
//! results, it is most of it.
#![forbid(unsafe_code)]

use clap::Parser;
use lowbit::Engine;
use lowbit::bench::{Bench, Data, Effort, Limits, Stream};
use lowbit::check::Random;
use lowbit::plot::{Axis, Chart, Line, Point, Scale};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

/// Times of one format on many shapes beside the model's
#[derive(Parser)]
struct Arguments {
    /// The format of the weights
    #[arg(long, default_value = "uint4_32")]
    format: String,
    /// The module that it is in
    #[arg(long, default_value = "std/ints")]
    module: String,
    /// What activations are quantised into; `f32` to take them as they are
    #[arg(long, default_value = "q8_32")]
    activations: String,
    /// How many shapes
    #[arg(long, default_value_t = 300)]
    shapes: usize,
    /// The largest extent
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    most: u64,
    /// The seed of the shapes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many of the worst to list at least
    #[arg(long, default_value_t = 10)]
    list: usize,
    /// Draw time over the model's
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// What a call may take over the model's time, and what is added to that for the call itself.
const TIMES: f64 = 2.5;
const CALL: f64 = 1e-6;

/// Rounds of a shape.
const ROUNDS: usize = 7;

/// A shape, and its times in seconds.
struct Measured {
    shape: [u64; 3],
    seconds: f64,
    model: f64,
    lowering: String,
}

impl Measured {
    /// The time over what it may be.
    fn over(&self) -> f64 {
        self.seconds / (TIMES * (CALL + self.model))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let engine = Engine::host()?;
    let stream = Stream::new(1 << 20)?;
    let limits = Limits::measure(engine.target(), &stream, &[1], &Effort::default())?;
    let mut random = Random::new(arguments.seed);
    let mut all = Vec::new();
    for at in 0..arguments.shapes {
        let shape = [(); 3].map(|()| extent(&mut random, arguments.most));
        if at % 10 == 0 {
            eprintln!("{at} of {} shapes", arguments.shapes);
        }
        all.push(measured(&engine, &arguments, &limits, shape)?);
    }
    all.sort_by(|a, b| b.over().total_cmp(&a.over()));
    print(&all, arguments.list);
    if let Some(path) = &arguments.plot {
        std::fs::write(path, chart(&all).svg())?;
    }
    Ok(())
}

/// An extent from 1 on, evenly by its logarithm.
fn extent(random: &mut Random, most: u64) -> u64 {
    let part = random.below(1 << 32) as f64 / (1u64 << 32) as f64;
    let extent = ((most as f64 + 1.0).ln() * part).exp() as u64;
    extent.clamp(1, most)
}

fn text(arguments: &Arguments) -> String {
    let Arguments {
        format,
        module,
        activations,
        ..
    } = arguments;
    let (quantised, x) = match activations.as_str() {
        "f32" => (String::new(), "x"),
        format => (format!("let q[m, k] = quantize x[m, k] as {format};"), "q"),
    };
    let import = match module.as_str() {
        "std/ints" => String::new(),
        module => format!("import \"{module}\";"),
    };
    format!(
        "language 1; import \"std/ints\"; {import}
         kernel linear(weight w: {format}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
             {quantised}
             y[m, n] = sum(k) w[n, k] * {x}[m, k];
         }}"
    )
}

/// The time of a shape, with weights that caches may hold: most of these do.
fn measured(
    engine: &Engine,
    arguments: &Arguments,
    limits: &Limits,
    shape: [u64; 3],
) -> Result<Measured, Box<dyn Error>> {
    let [m, n, k] = shape;
    let kernel = engine.compile(&text(arguments), &[("N", n), ("K", k)])?;
    let data = Data::new(&kernel, m, 0)?;
    let mut bench = Bench::new(&kernel, &data, 1, Duration::from_millis(1))?;
    if let Some(checked) = bench.verify()?
        && let Some(difference) = checked.differences.first()
    {
        return Err(format!("M = {m}, N = {n}, K = {k}: {difference}").into());
    }
    for _ in 0..ROUNDS {
        bench.round()?;
    }
    let summary = bench.summary(limits)?;
    Ok(Measured {
        shape,
        seconds: summary.seconds.median,
        model: bench.account(limits)?.in_whole_tiles,
        lowering: summary.lowering.join("; "),
    })
}

fn print(all: &[Measured], least: usize) {
    let over = all.iter().filter(|m| m.over() > 1.0).count();
    println!(
        "{over} of {} shapes take more than {TIMES} × (1 µs + the model's time in whole tiles)\n",
        all.len()
    );
    println!("| M | N | K | µs | model, µs | of what it may take | lowering |");
    println!("|--:|--:|--:|--:|--:|--:|---|");
    for m in all.iter().take(over.max(least)) {
        let [rows, n, k] = m.shape;
        println!(
            "| {rows} | {n} | {k} | {:.1} | {:.1} | {:.2} | {} |",
            m.seconds * 1e6,
            m.model * 1e6,
            m.over(),
            m.lowering
        );
    }
}

fn chart(all: &[Measured]) -> Chart {
    let axis = |label: &str| Axis {
        label: label.into(),
        scale: Scale::Decades,
    };
    let point = |m: &Measured| Point {
        label: String::new(),
        x: m.model * 1e6,
        y: m.seconds * 1e6,
        colour: usize::from(m.over() > 1.0),
    };
    let models = || all.iter().map(|m| m.model * 1e6);
    let low = models().fold(f64::INFINITY, f64::min).max(1e-3);
    let high = models().fold(low, f64::max);
    // Straight on axes of decades only far from the microsecond of the call: in steps.
    let steps = (0..=32).map(|s| low * (high / low).powf(f64::from(s) / 32.0));
    let points: Vec<f64> = steps.collect();
    let line = |label: &str, of: &dyn Fn(f64) -> f64| Line {
        label: label.into(),
        points: points.iter().map(|x| (*x, of(*x))).collect(),
    };
    Chart {
        x: axis("µs by the model, in whole tiles"),
        y: axis("µs"),
        points: all.iter().map(point).collect(),
        lines: vec![
            line("2.5 × (1 µs + model)", &|x| TIMES * (x + CALL * 1e6)),
            line("model", &|x| x),
        ],
    }
}
