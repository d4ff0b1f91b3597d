//! Whether predicted order agrees with measured order: every candidate of many kernels is compiled and timed, for one row
//! and for 64, with weights that the second cache holds and with weights from memory. Prints a table in Markdown, the
//! misses, and the two figures that count: how often the chosen candidate is within 10 % of the fastest, and the median rank
//! correlation. `--quick` takes a few kernels and one row, `--all` lists every candidate;
//! further arguments are parts of kernels' names.

use lowbit::measure::{Agreement, Effort, MeasuredCandidate, measure};
use lowbit::{Engine, Error};
use std::time::{Duration, Instant};

/// Rows and columns whose weights the second cache holds, and those that come from memory.
const CACHED: u64 = 1024;
const STREAMED: u64 = 4096;
/// What the chosen candidate may take longer than the fastest.
const NEAR: f64 = 1.1;

const UINT2: &str =
    "format uint2_128 = block i < 128 { d: f16; q[i]: uint(2); value = d * (q[i] - 2);
     encode x { d = max(i) abs(x[i]) / 2; q[i] = x[i] / d + 2; } }";

/// Modules or definitions, and the format of the weights.
const FORMATS: &[(&str, &str)] = &[
    ("import \"std/ternary\";", "ternary2_128"),
    ("", "int2_32"),
    (UINT2, "uint2_128"),
    ("", "int3_32"),
    ("", "int4_32"),
    ("import \"std/nf4\";", "nf4_64"),
    ("import \"std/floats\";", "fp4_32"),
    ("import \"std/mx\";", "mxfp4"),
    ("import \"std/mx\";", "nvfp4"),
    ("import \"std/ggml\";", "iq4_nl"),
    ("import \"std/ggml_k\";", "q4_k"),
    ("import \"std/ggml_k\";", "q2_k"),
    ("import \"std/ggml\";", "tq1_0"),
    ("import \"std/ternary\";", "ternary3_96"),
];
const QUICK: [&str; 4] = ["ternary2_128", "int4_32", "nf4_64", "q4_k"];

/// Activations, and what may be rounded.
const ACTIVATIONS: [(&str, &str, &str); 3] = [
    ("f32", "f32", ""),
    ("q8", "q8_32", ""),
    ("q8 tables", "q8_32", " tables int8"),
];

/// A kernel for some rows in a setting.
struct Case {
    kernel: String,
    rows: u64,
    setting: &'static str,
    agreement: Agreement,
    candidates: Vec<(MeasuredCandidate, f64)>,
    hertz: f64,
}

fn text(definitions: &str, weight: &str, input: &str, tables: &str) -> String {
    format!(
        "language 1;\nimport \"std/ints\";\n{definitions}\n\
         kernel linear(weight w: {weight}[N, K], input x: {input}[M, K]) -> output y: f32[M, N]{tables} {{\n\
         y[m, n] = sum(k) w[n, k] * x[m, k];\n}}\n"
    )
}

/// Columns in whole blocks of a format, near a size.
fn columns(weight: &str, size: u64) -> u64 {
    match weight {
        "ternary3_96" => size.div_ceil(96) * 96,
        _ => size,
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|a| a == "--quick");
    let parts: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    let engine = Engine::host()?;
    let start = Instant::now();
    let mut cases = Vec::new();
    println!(
        "| kernel | rows | weights | candidates | chosen ÷ fastest | rank correlation | chosen |"
    );
    println!("|---|--:|---|--:|--:|--:|---|");
    for (definitions, weight) in FORMATS {
        for (words, input, tables) in ACTIVATIONS {
            let kernel = format!("{weight} × {words}");
            let named = parts.iter().any(|p| kernel.contains(p.as_str()));
            if !parts.is_empty() && !named || quick && !QUICK.contains(weight) {
                continue;
            }
            let text = text(definitions, weight, input, tables);
            for (setting, size) in [("cached", CACHED), ("streamed", STREAMED)] {
                let dims = [("N", size), ("K", columns(weight, size))];
                let compiled = engine.compile(&text, &dims)?;
                for rows in if quick { vec![1] } else { vec![1, 64] } {
                    let case = case(&compiled, &kernel, rows, setting)?;
                    print(&case);
                    let seconds = start.elapsed().as_secs();
                    eprintln!("{seconds:4} s: {kernel}, {rows} rows, {setting}");
                    cases.push(case);
                }
            }
        }
    }
    misses(&cases);
    if arguments.iter().any(|a| a == "--all") {
        all(&cases);
    }
    summary(&cases);
    Ok(())
}

fn case(
    kernel: &lowbit::Kernel,
    name: &str,
    rows: u64,
    setting: &'static str,
) -> Result<Case, Error> {
    let cached = setting == "cached";
    let effort = Effort {
        repeats: 7,
        run: Duration::from_micros(1500),
        budget: Duration::from_millis(600),
        cached,
        streamed: if cached { 0 } else { 256 << 20 },
    };
    let measured = measure(kernel, rows, &effort, &mut |_, _| {})?;
    let step = measured.steps.last().ok_or(Error::TooLarge(0))?;
    let agreement = if cached { step.cached } else { step.streamed };
    let of = |c: &MeasuredCandidate| if cached { c.cached } else { c.streamed };
    let candidates = step.candidates.iter();
    Ok(Case {
        kernel: name.to_owned(),
        rows,
        setting,
        agreement: agreement.ok_or(Error::TooLarge(0))?,
        candidates: candidates
            .map(|c| (c.clone(), of(c).unwrap_or(f64::NAN)))
            .collect(),
        hertz: measured.hertz,
    })
}

impl Case {
    fn chosen(&self) -> Option<&(MeasuredCandidate, f64)> {
        self.candidates.iter().find(|(c, _)| c.chosen)
    }

    fn fastest(&self) -> Option<&(MeasuredCandidate, f64)> {
        let by_time = |a: &&(_, f64), b: &&(_, f64)| a.1.total_cmp(&b.1);
        self.candidates.iter().min_by(by_time)
    }
}

fn described(candidate: &MeasuredCandidate) -> String {
    format!("{} {}", candidate.lanes, candidate.name)
}

fn print(case: &Case) {
    println!(
        "| {} | {} | {} | {} | {:.2} | {:.2} | {} |",
        case.kernel,
        case.rows,
        case.setting,
        case.candidates.len(),
        case.agreement.chosen_over_fastest,
        case.agreement.rank_correlation,
        case.chosen().map(|(c, _)| described(c)).unwrap_or_default()
    );
}

/// Cases whose chosen candidate is not near the fastest.
fn misses(cases: &[Case]) {
    println!("\nMisses, in microseconds predicted → measured:\n");
    let far = |c: &&Case| c.agreement.chosen_over_fastest > NEAR;
    for case in cases.iter().filter(far) {
        println!(
            "- {}, {} rows, {}: {:.2} × the fastest",
            case.kernel, case.rows, case.setting, case.agreement.chosen_over_fastest
        );
        let both = [("chosen ", case.chosen()), ("fastest", case.fastest())];
        for (what, found) in both {
            if let Some((candidate, cycles)) = found {
                println!(
                    "  - {what} {:.1} → {:.1}: {}",
                    candidate.predicted / case.hertz * 1e6,
                    cycles / case.hertz * 1e6,
                    described(candidate)
                );
            }
        }
    }
}

/// Every candidate of every case: cycles predicted and measured, and how many times as many.
fn all(cases: &[Case]) {
    println!("\nAll candidates:\n");
    for case in cases {
        println!("- {}, {} rows, {}", case.kernel, case.rows, case.setting);
        for (candidate, cycles) in &case.candidates {
            println!(
                "  - {}{:.0} → {cycles:.0} ({:.2} ×): {}",
                if candidate.chosen { "chosen " } else { "" },
                candidate.predicted,
                cycles / candidate.predicted.max(1.0),
                described(candidate)
            );
        }
    }
}

fn summary(cases: &[Case]) {
    for setting in ["cached", "streamed", ""] {
        let of: Vec<&Case> = cases
            .iter()
            .filter(|c| setting.is_empty() || c.setting == setting)
            .collect();
        let near = of
            .iter()
            .filter(|c| c.agreement.chosen_over_fastest <= NEAR)
            .count();
        let mut ranks: Vec<f64> = of.iter().map(|c| c.agreement.rank_correlation).collect();
        ranks.sort_by(f64::total_cmp);
        println!(
            "\n{}: {near} of {} cases within 10 % of the fastest ({:.0} %), median rank correlation {:.2}",
            if setting.is_empty() { "all" } else { setting },
            of.len(),
            near as f64 / of.len().max(1) as f64 * 100.0,
            ranks.get(ranks.len() / 2).copied().unwrap_or(0.0)
        );
    }
}
