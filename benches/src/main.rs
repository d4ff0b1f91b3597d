//! Speed of generated kernels beside the limits of the machine and beside peers: formats × shapes × rows × threads.
//!
//! Ours, those of peers and streams from memory are timed in turn, and medians are reported. `cases.rs` has the formats,
//! `measured.rs` what is done with one, `peers.rs` the other side, `report.rs` and `plots.rs` what comes out. `README.md` beside
//! this folder says how to read it.
#![forbid(unsafe_code)]

mod cases;
mod machine;
mod measured;
mod peers;
mod plots;
mod report;

use cases::{CASES, Case};
use clap::Parser;
use lowbit::Engine;
use lowbit::bench::{Effort, Limits, STREAMED, Stream};
use machine::Machine;
use measured::{Bed, Plan};
use peers::Peer;
use report::Report;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Speed of lowbit's kernels beside the limits of this machine and beside peers
#[derive(Parser)]
struct Arguments {
    /// Parts of names of cases; all cases without one
    cases: Vec<String>,
    /// List the cases, and measure nothing
    #[arg(long)]
    list: bool,
    /// Shapes of weights, rows × columns; 11008x4096, 4096x11008, 3200x8640 and 576x1536 are those of models, too
    #[arg(long = "shape", value_name = "NxK", value_delimiter = ',', default_value = "4096x4096", value_parser = shape)]
    shapes: Vec<(u64, u64)>,
    /// Rows of activations
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_values_t = [1, 256], default_value_if("quick", "true", "1,64"), value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    rows: Vec<u64>,
    /// Threads
    #[arg(long, value_name = "THREADS", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Rounds of each; times are medians over them
    #[arg(long, default_value_t = 11)]
    rounds: usize,
    /// Few rounds, in about a minute
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Start no peers
    #[arg(long)]
    no_peers: bool,
    /// Start this program as a peer, too
    #[arg(long = "peer", value_name = "COMMAND")]
    more: Vec<String>,
    /// Write report.md, report.json and the plots to this folder
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Rounds of `--quick`.
const QUICK: usize = 3;

/// `NxK`
fn shape(text: &str) -> Result<(u64, u64), String> {
    let extent = |text: &str| text.parse().ok().filter(|n| (1..=1 << 20).contains(n));
    let shape = text
        .split_once('x')
        .and_then(|(n, k)| Some((extent(n)?, extent(k)?)));
    shape.ok_or_else(|| format!("`{text}` is no shape such as 4096x4096"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let named = |c: &&Case| {
        let name = c.name.to_lowercase();
        let parts = &arguments.cases;
        parts.is_empty() || parts.iter().any(|p| name.contains(&p.to_lowercase()))
    };
    let cases: Vec<&Case> = CASES.iter().filter(named).collect();
    if arguments.list {
        cases.iter().for_each(|c| println!("{}", c.name));
        return Ok(());
    }
    let report = measured(&arguments, &cases)?;
    println!("{}", report.markdown());
    match &arguments.output {
        Some(folder) => written(&report, folder),
        None => Ok(()),
    }
}

fn measured(arguments: &Arguments, cases: &[&Case]) -> Result<Report, Box<dyn Error>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let engine = Engine::host()?;
    let machine = Machine::here(&engine.target().features, &repository);
    let threads: Vec<usize> = arguments.threads.iter().map(|t| usize::from(*t)).collect();
    let effort = Effort::default();
    let stream = Stream::new(STREAMED)?;
    let mut limits = Limits::measure(engine.target(), &stream, &threads, &effort)?;
    let mut bed = Bed {
        engine: &engine,
        stream: &stream,
        limits: &limits.clone(),
        peers: peers(arguments, &repository),
        missing: Vec::new(),
    };
    let plan = Plan {
        rows: arguments.rows.clone(),
        threads,
        rounds: if arguments.quick {
            QUICK
        } else {
            arguments.rounds.max(1)
        },
        effort,
    };
    let start = Instant::now();
    let mut lines = Vec::new();
    for shape in &arguments.shapes {
        for case in cases {
            let seconds = start.elapsed().as_secs();
            eprintln!("{seconds:4} s: {}, {} × {}", case.name, shape.0, shape.1);
            match bed.measure(case, *shape, &plan) {
                Ok(more) => lines.extend(more),
                Err(why) => {
                    let missing = format!("{}, {} × {}: {why}", case.name, shape.0, shape.1);
                    eprintln!("        {missing}");
                    bed.missing.push(missing);
                }
            }
        }
    }
    for threads in &plan.threads {
        let of = lines
            .iter()
            .filter(|l: &&report::Line| l.threads == *threads);
        let rates: Vec<f64> = of.map(|l| l.stream).collect();
        if !rates.is_empty() {
            limits.set_bandwidth(*threads, lowbit::bench::Spread::of(&rates).median);
        }
    }
    Ok(Report {
        machine,
        limits,
        peers: bed.peers.iter().map(|p| p.greeting.clone()).collect(),
        lines,
        missing: bed.missing,
    })
}

/// The peers that are installed or named, started.
fn peers(arguments: &Arguments, repository: &Path) -> Vec<Peer> {
    let mut commands = match arguments.no_peers {
        true => Vec::new(),
        false => peers::installed(repository),
    };
    for line in &arguments.more {
        let mut words = line.split_whitespace();
        let Some(program) = words.next() else {
            continue;
        };
        let mut command = Command::new(program);
        command.args(words);
        commands.push((line.clone(), command));
    }
    let mut peers = Vec::new();
    for (name, mut command) in commands {
        match Peer::start(&mut command) {
            Ok(peer) => {
                let of = &peer.greeting;
                eprintln!("peer {} {}: {}", of.name, of.version, of.formats.join(", "));
                peers.push(peer);
            }
            Err(why) => eprintln!("peer {name} does not start: {why}"),
        }
    }
    peers
}

/// Writes the report and its plots.
fn written(report: &Report, folder: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let mut rows: Vec<u64> = report.lines.iter().map(|l| l.rows).collect();
    rows.sort_unstable();
    rows.dedup();
    let mut page = report.markdown();
    page += "\n## Below the limits of the machine\n\n![roofline](roofline.svg)\n";
    for rows in rows {
        let counted = if rows == 1 { "row" } else { "rows" };
        let name = format!("bars-{rows}.svg");
        page += &format!("\n## {rows} {counted}, beside peers\n\n![bars]({name})\n");
        std::fs::write(folder.join(name), plots::beside_peers(report, rows))?;
    }
    std::fs::write(folder.join("report.md"), page)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    std::fs::write(folder.join("report.json"), json)?;
    std::fs::write(folder.join("roofline.svg"), plots::roofline(report))?;
    Ok(())
}
