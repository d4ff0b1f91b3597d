//! Speed of generated kernels against the machine's limits, in one run on one thread: 4096 × 4096, one row of activations,
//! weights rotated so that they come from memory.
//!
//! Everything is interleaved and repeated, and medians are printed with their ratio to the f32 product; the streaming read
//! bandwidth is measured in the same rounds, on the same kind of pages.

use lowbit::{Engine, Error, Kernel, Scratch, Tensor};
use serde::Serialize;
use std::hint::black_box;
use std::time::Instant;

const N: u64 = 4096;
const K: u64 = 4096;
/// Weights of a case are copied until they take this many bytes, so that no cache holds them.
const ROTATED: usize = 256 << 20;

struct Case {
    name: &'static str,
    text: String,
    activation: Activation,
    /// The ratio to the f32 product that is asked for, if any.
    wanted: Option<f64>,
}

enum Activation {
    F32,
    /// Quantised beforehand into the kernel's format for `x`.
    Format,
}

#[derive(Serialize)]
struct Row {
    name: String,
    milliseconds: f64,
    gigabytes_per_second: f64,
    times_f32: f64,
    wanted: Option<f64>,
    compile_milliseconds: f64,
    lowering: String,
}

#[derive(Serialize)]
struct Report {
    rows: Vec<Row>,
    stream_gigabytes_per_second: f64,
    f32_of_stream: f64,
}

fn linear(formats: &str, weight: &str, input: &str) -> String {
    format!(
        "language 1;\n{formats}\nkernel linear(weight w: {weight}[N, K], input x: {input}[M, K]) -> output y: f32[M, N] {{\n\
         y[m, n] = sum(k) w[n, k] * x[m, k];\n}}\n"
    )
}

fn cases() -> Vec<Case> {
    let int4 = "format i4 = block i < 32 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }\n\
                format q8 = block i < 32 { d: f32; q[i]: int(8); value = d * q[i]; }";
    let int2 = "format i2 = block i < 32 { d: f16; q[i]: uint(2); value = d * (q[i] - 2); }\n\
                format q8 = block i < 32 { d: f32; q[i]: int(8); value = d * q[i]; }";
    let fp4 = "format e2m1 = float(2, 1, finite);\n\
               format fp4 = block i < 32 { d: f16; q[i]: e2m1; value = d * q[i]; }";
    let nf4 = "import \"std/nf4\";";
    let case = |name, text, activation, wanted| Case {
        name,
        text,
        activation,
        wanted,
    };
    vec![
        case("f32 × f32", linear("", "f32", "f32"), Activation::F32, None),
        case(
            "INT4 × int8",
            linear(int4, "i4", "q8"),
            Activation::Format,
            Some(2.5),
        ),
        case(
            "FP4 × f32",
            linear(fp4, "fp4", "f32"),
            Activation::F32,
            Some(1.3),
        ),
        case(
            "NF4 × f32",
            linear(nf4, "nf4_64", "f32"),
            Activation::F32,
            Some(1.0),
        ),
        case(
            "INT2 × int8",
            linear(int2, "i2", "q8"),
            Activation::Format,
            None,
        ),
        case(
            "INT4 × f32",
            linear(int4, "i4", "f32"),
            Activation::F32,
            None,
        ),
    ]
}

struct Ready {
    kernel: Kernel,
    weights: Vec<Tensor>,
    x: Tensor,
    compile_milliseconds: f64,
    times: Vec<f64>,
}

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(15);
    let json = arguments.next();
    let engine = Engine::host()?;
    let cases = cases();
    let mut ready = Vec::new();
    for case in &cases {
        eprintln!("preparing {}", case.name);
        ready.push(prepare(&engine, case)?);
    }
    let mut stream_times = Vec::new();
    for round in 0..rounds {
        let start = Instant::now();
        for tensor in &ready[0].weights {
            black_box(sum(black_box(tensor.bytes())));
        }
        stream_times.push(start.elapsed().as_secs_f64());
        for case in &mut ready {
            let seconds = once(case, round)?;
            case.times.push(seconds);
        }
    }
    let streamed: usize = ready[0].weights.iter().map(|t| t.bytes().len()).sum();
    let bandwidth = streamed as f64 / median(&mut stream_times) / 1e9;
    let f32_seconds = median(&mut ready[0].times.clone());
    let mut rows = Vec::new();
    for (case, ready) in cases.iter().zip(&mut ready) {
        let seconds = median(&mut ready.times);
        let bytes = ready.weights[0].bytes().len() as f64;
        let stages = &ready.kernel.program()?.stages;
        let best = stages
            .iter()
            .flat_map(|s| &s.candidates)
            .filter(|c| c.chosen)
            .map(|c| format!("{} {}", c.lanes, c.name));
        rows.push(Row {
            name: case.name.to_owned(),
            milliseconds: seconds * 1e3,
            gigabytes_per_second: bytes / seconds / 1e9,
            times_f32: f32_seconds / seconds,
            wanted: case.wanted,
            compile_milliseconds: ready.compile_milliseconds,
            lowering: best.collect::<Vec<_>>().join("; "),
        });
    }
    let f32_of_stream = rows[0].gigabytes_per_second / bandwidth;
    let report = Report {
        rows,
        stream_gigabytes_per_second: bandwidth,
        f32_of_stream,
    };
    print(&report);
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!("{path}: {error}");
        }
    }
    Ok(())
}

fn print(report: &Report) {
    println!("4096 × 4096, one row, one thread, weights from memory; medians");
    println!(
        "streaming read {:.1} GB/s; the f32 product reads at {:.0} % of it",
        report.stream_gigabytes_per_second,
        report.f32_of_stream * 100.0
    );
    println!(
        "{:14} {:>8} {:>8} {:>8} {:>7} {:>11}  lowering",
        "kernel", "ms", "GB/s", "× f32", "wanted", "compile ms"
    );
    for row in &report.rows {
        let wanted = row.wanted.map_or("-".to_owned(), |w| format!("{w:.1}"));
        println!(
            "{:14} {:8.3} {:8.1} {:8.2} {:>7} {:11.1}  {}",
            row.name,
            row.milliseconds,
            row.gigabytes_per_second,
            row.times_f32,
            wanted,
            row.compile_milliseconds,
            row.lowering
        );
    }
}

fn prepare(engine: &Engine, case: &Case) -> Result<Ready, Error> {
    let dims = [("N", N), ("K", K)];
    engine.compile(&case.text, &dims)?;
    let start = Instant::now();
    let kernel = engine.compile(&case.text, &dims)?;
    let compile_milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let values: Vec<f32> = (0..N * K)
        .map(|i| ((i * 2_654_435_761 % 1009) as f32 - 504.0) / 504.0)
        .collect();
    let first = kernel.pack("w", &values)?;
    let copies = ROTATED.div_ceil(first.bytes().len()).max(2);
    let mut weights = vec![first.clone()];
    for _ in 1..copies {
        weights.push(Tensor::from_bytes(
            first.format().clone(),
            first.shape(),
            first.bytes().to_vec(),
        )?);
    }
    let row: Vec<f32> = (0..K)
        .map(|i| ((i * 40503 % 251) as f32 - 125.0) / 125.0)
        .collect();
    let x = match case.activation {
        Activation::F32 => Tensor::from_f32(&[1, K], &row)?,
        Activation::Format => Tensor::quantize(kernel.layout("x")?, &[1, K], &row)?,
    };
    Ok(Ready {
        kernel,
        weights,
        x,
        compile_milliseconds,
        times: Vec::new(),
    })
}

/// Seconds of one call, each round over other weights; several calls are timed together.
fn once(ready: &mut Ready, round: usize) -> Result<f64, Error> {
    let mut output = vec![0u8; N as usize * 4];
    let mut scratch = Scratch::default();
    let calls = 4;
    let mut seconds = 0.0;
    for call in 0..calls {
        let w = &ready.weights[(round * calls + call) % ready.weights.len()];
        let args = [("w", w), ("x", &ready.x)];
        let start = Instant::now();
        ready
            .kernel
            .call_into(&args, &mut [&mut output], &mut scratch)?;
        seconds += start.elapsed().as_secs_f64();
    }
    black_box(&output);
    Ok(seconds / calls as f64)
}

/// Reads everything once, in independent sums: the limit that the f32 product is held against, over the very same memory.
fn sum(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for chunk in bytes.chunks_exact(128) {
        for (sum, word) in sums.iter_mut().zip(chunk.chunks_exact(8)) {
            *sum = sum.wrapping_add(u64::from_le_bytes([
                word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
            ]));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
