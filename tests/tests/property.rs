//! Random programs against the interpreter: formats with bits anywhere, kernels of every form, shapes that do not divide.
//! A failure prints the seed and the program; `LOWBIT_SEED` runs one seed alone, `LOWBIT_PROGRAMS` sets how many run.

mod property {
    pub(crate) mod cases;
    pub(crate) mod coverage;
    pub(crate) mod definitions;
    pub(crate) mod expected;
    pub(crate) mod formats;
    pub(crate) mod kernels;
    pub(crate) mod layers;
    pub(crate) mod program;
    pub(crate) mod run;
}

use lowbit::compiler::format::layout::{layout_id, same_layout};
use property::cases::{CASES, Case};
use property::definitions::{
    codes_come_back, random_format, refused_codes_are_found, texts_read_as_they_print,
    values_find_their_codes,
};
use property::expected::missing;
use property::kernels::program;
use property::layers::layer;
use property::program::Program;
use property::run::{Outcome, run};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fixed seeds: `0 .. PROGRAMS`.
const PROGRAMS: u64 = 2500;
/// Seeds of layers.
const LAYERS: u64 = 600;
/// Programs from a seed of the day.
const FRESH: u64 = 32;

/// What a run of many programs gave.
#[derive(Default)]
struct Report {
    failures: Vec<String>,
    unsupported: BTreeMap<String, u64>,
    covered: BTreeMap<String, u64>,
    agree: u64,
}

impl Report {
    fn add(&mut self, program: &Program) {
        let seed = program.seed;
        match run(program) {
            Outcome::Agrees(tags) => {
                self.agree += 1;
                for tag in tags {
                    *self.covered.entry(tag).or_default() += 1;
                }
            }
            Outcome::Unsupported(what) => *self.unsupported.entry(what).or_default() += 1,
            Outcome::Fails(what) => self.failures.push(format!(
                "seed {seed}, target {}, {:?}, bound {:?}:\n{}\n{what}\n",
                program.target, program.dims, program.bound, program.text
            )),
        }
    }
    fn unsupported(&self) -> u64 {
        self.unsupported.values().sum()
    }
}

/// Runs the programs of seeds on two threads.
fn run_all(of: fn(u64) -> Program, seeds: &[u64]) -> Report {
    let next = AtomicU64::new(0);
    let report = Mutex::new(Report::default());
    let work = || {
        let mut own = Report::default();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            own.add(&of(*seed));
        }
        let mut all = report.lock().expect("no panic");
        all.failures.extend(own.failures);
        all.agree += own.agree;
        for (tag, n) in own.covered {
            *all.covered.entry(tag).or_default() += n;
        }
        for (what, n) in own.unsupported {
            *all.unsupported.entry(what).or_default() += n;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    report.into_inner().expect("no panic")
}

fn check(report: &Report) {
    println!(
        "{} agree, unsupported: {:?}",
        report.agree, report.unsupported
    );
    for (tag, n) in &report.covered {
        println!("{n:6} {tag}");
    }
    let failures = &report.failures;
    let shown = failures.len().min(12);
    assert!(
        failures.is_empty(),
        "{} programs fail:\n{}",
        failures.len(),
        failures[..shown].join("\n")
    );
    let total = report.agree + report.unsupported();
    assert!(
        report.unsupported() * 10 < total.max(10),
        "too many programs are not supported: {:?}",
        report.unsupported
    );
}

#[test]
fn random_programs_agree_with_the_interpreter() {
    let seeds: Vec<u64> = match std::env::var("LOWBIT_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => {
            let programs = std::env::var("LOWBIT_PROGRAMS").map(|n| n.parse().expect("a number"));
            (0..programs.unwrap_or(PROGRAMS)).collect()
        }
    };
    let all = seeds.len() as u64 >= PROGRAMS;
    let report = run_all(program, &seeds);
    check(&report);
    let missing = if all {
        missing(&report.covered)
    } else {
        Vec::new()
    };
    assert!(
        missing.is_empty(),
        "covered too rarely:\n{}",
        missing.join("\n")
    );
}

#[test]
fn random_layers_agree_with_the_interpreter() {
    let seeds: Vec<u64> = (0..LAYERS).collect();
    check(&run_all(layer, &seeds));
}

#[test]
fn programs_of_a_fresh_seed_agree() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    println!("fresh seeds from {now}");
    let seeds: Vec<u64> = (0..FRESH).map(|i| (now << 16) + i).collect();
    check(&run_all(program, &seeds));
    check(&run_all(layer, &seeds));
}

/// A case as a program.
fn remembered((_, target, dims, text): &Case) -> Program {
    let dims = dims.split_whitespace().map(|dim| {
        let (name, extent) = dim.split_once('=').expect("NAME=EXTENT");
        let number = extent.trim_end_matches('!').parse().expect("a number");
        ((name.to_owned(), number), extent.ends_with('!'))
    });
    let (dims, bound) = dims.unzip();
    Program {
        seed: 0,
        text: format!("language 1;\n{text}\n"),
        dims,
        bound,
        target,
        force: None,
        tags: BTreeSet::new(),
    }
}

#[test]
fn programs_that_failed_once_agree() {
    for case in CASES {
        let what = match run(&remembered(case)) {
            Outcome::Agrees(_) => continue,
            Outcome::Unsupported(what) | Outcome::Fails(what) => what,
        };
        panic!("{}: {what}", case.0);
    }
}

#[test]
#[ignore = "prints the program of a seed"]
fn print_a_program() {
    let seed = std::env::var("LOWBIT_SEED").map_or(0, |s| s.parse().expect("a number"));
    let program = program(seed);
    println!(
        "{:?} {:?} {}\n{}",
        program.dims, program.bound, program.target, program.text
    );
}

/// Random definitions.
const DEFINITIONS: u64 = 1200;

#[test]
fn random_definitions_hold_their_codes_and_print_as_they_read() {
    for seed in 0..DEFINITIONS {
        let (text, format) = random_format(seed);
        codes_come_back(&format, seed);
        values_find_their_codes(&format, seed);
        refused_codes_are_found(&format, seed);
        texts_read_as_they_print(&text, &format, seed);
    }
}

#[test]
fn layouts_have_the_same_id_exactly_if_they_are_the_same() {
    let formats: Vec<_> = (0..DEFINITIONS).map(|s| random_format(s).1).collect();
    for (n, a) in formats.iter().enumerate() {
        for b in &formats[n + 1..] {
            let equal = layout_id(a) == layout_id(b);
            assert_eq!(equal, same_layout(a, b), "{a:?}\n{b:?}");
        }
    }
}
