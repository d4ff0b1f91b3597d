//! Exactness, candidate by candidate: every lowering of integers that is considered gives the interpreter's bits, unless it
//! says that it rounds; those that round are off by no more than the interpreter permits, and by some inputs nearly so.

mod exactness {
    pub(crate) mod kernels;
}

use exactness::kernels::{
    Text, codebook_kernels, integer_kernels, one_sided_kernels, rounded_kernels,
};
use lowbit::check::Random;
use lowbit::compiler::pipeline::Candidate;
use lowbit::compiler::target::{Target, names};
use lowbit::{Engine, Kernel};
use lowbit_tests::data::{Call, extreme, repeating};
use lowbit_tests::on_two_threads;

/// Targets that run here, and the machine itself: it may have what no level has.
fn engines() -> Vec<Engine> {
    let targets = names().into_iter().chain(["host"]);
    let targets = targets.map(|n| Target::named(n).expect(n));
    let here = targets.filter(|t| t.features.runs_here());
    let engines: Vec<Engine> = here.map(|t| Engine::new(t).expect("an engine")).collect();
    assert!(!engines.is_empty());
    engines
}

/// Extents by name: one; odd numbers; primes beyond the largest tile of rows and beyond a block, so that tiles, what they
/// leave over, whole blocks and parts of one are all computed.
const SHAPES: [[(&str, u64); 4]; 5] = [
    [("B", 1), ("M", 1), ("N", 1), ("K", 1)],
    [("B", 1), ("M", 3), ("N", 9), ("K", 133)],
    [("B", 2), ("M", 2), ("N", 67), ("K", 101)],
    [("B", 2), ("M", 11), ("N", 67), ("K", 133)],
    [("B", 1), ("M", 65), ("N", 67), ("K", 133)],
];

/// Classes of batches, and which of the shapes they are for. The larger ones decode into panels.
const CLASSES: [(u64, std::ops::Range<usize>); 3] = [(1, 0..3), (8, 3..4), (64, 4..5)];

/// One in how many kernels is also compiled for the largest class.
const LARGEST: usize = 4;

/// An extent by name.
fn extent(shape: &[(&str, u64)], name: &str) -> u64 {
    shape
        .iter()
        .find(|(n, _)| *n == name)
        .expect("its extent")
        .1
}

/// A call of a kernel with extreme codes.
fn extreme_call(kernel: &Kernel, shape: &[(&str, u64)]) -> Call {
    let spec = kernel.spec();
    let free: Vec<u64> = spec.dims.values().map(|d| extent(shape, &d.name)).collect();
    let call = Call::new(spec, &free, &mut extreme(Random::new(3)));
    // Every integer on the way is one of f32, so that scales of 1 cost nothing.
    let most = f64::from(1 << 24);
    let integers = call
        .wanted()
        .values
        .iter()
        .all(|v| v.fract() == 0.0 && v.abs() < most);
    assert!(integers, "{:?}", call.dims);
    call
}

/// A candidate in a report.
fn shown(text: &Text, engine: &Engine, candidate: &Candidate) -> String {
    let Candidate { lanes, name, .. } = candidate;
    format!("{} on {}: {lanes} {name}", text.name, engine.target().name)
}

/// Whether a kernel runs the term of a candidate on whole tiles of a shape; what tiles leave over has a term of its own.
fn runs_on(kernel: &Kernel, candidate: &Candidate, shape: &[(&str, u64)]) -> bool {
    let stage = &kernel.program().expect("a program").stages[0];
    let rows = stage.plan.row_group() * stage.plan.row_tile;
    let (_, _, _, lowering) = &stage.parts[0];
    let whole = rows <= extent(shape, "N") && stage.plan.chunk <= extent(shape, "K");
    whole && lowering.term.hash == candidate.term
}

/// Whether a target's turn comes at the kernel of a number. Two levels have operations that a third has too, and differ only
/// in how these are encoded.
fn is_turn(target: &str, number: usize) -> bool {
    match target {
        "x86-64-v2" => number % 4 == 1,
        "x86-64-v3" => number % 4 == 3,
        "host" => number % 4 == 2,
        _ => true,
    }
}

/// Candidates of a text that are not exact, and how many there are.
fn inexact(engines: &[Engine], number: usize, text: &Text) -> (usize, Vec<String>) {
    let mut failures = Vec::new();
    let mut count = 0;
    let mut calls: Vec<Call> = Vec::new();
    let turns = |e: &&Engine| is_turn(&e.target().name, number);
    for engine in engines.iter().filter(turns) {
        let kernel = engine.compile(&text.text, &[]).expect(&text.text);
        if calls.is_empty() {
            calls = SHAPES.iter().map(|s| extreme_call(&kernel, s)).collect();
        }
        let classes = if number.is_multiple_of(LARGEST) { 3 } else { 2 };
        for (batch, which) in CLASSES.into_iter().take(classes) {
            for other in kernel.alternatives(batch).expect("they compile") {
                let runs = |s: &[(&str, u64); 4]| runs_on(&other.kernel, &other.candidate, s);
                let runs = SHAPES[which.clone()].iter().any(runs);
                assert!(runs && !other.candidate.rounded, "{}", text.name);
                count += 1;
                for call in &calls[which.clone()] {
                    if call.run(&other.kernel).bytes() != call.wanted().bytes {
                        let shown = shown(text, engine, &other.candidate);
                        failures.push(format!("{:?} {shown}", call.dims));
                    }
                }
            }
        }
    }
    (count, failures)
}

#[test]
fn every_exact_lowering_of_integers_gives_the_bits_of_the_interpreter() {
    let engines = engines();
    let jobs = integer_kernels().into_iter().enumerate();
    let results = on_two_threads(jobs, |(number, text)| {
        vec![inexact(&engines, number, &text)]
    });
    let count: usize = results.iter().map(|(n, _)| n).sum();
    let failures: Vec<String> = results.into_iter().flat_map(|(_, f)| f).collect();
    assert!(count > 1000, "only {count} candidates");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// How near to its bound each candidate of a kernel comes, of those that are rounded or of the cheapest too.
fn of_rounded(engines: &[Engine], text: &Text, exact: usize) -> Vec<(f64, String)> {
    let mut ratios = Vec::new();
    let mut made: Option<Call> = None;
    for engine in engines.iter().filter(|e| e.target().has_tables()) {
        let kernel = engine.compile(&text.text, &[]).expect(&text.text);
        let call = made.get_or_insert_with(|| {
            let free = kernel
                .spec()
                .dims
                .values()
                .map(|d| extent(&ROUNDED, &d.name));
            let free: Vec<u64> = free.collect();
            Call::new(kernel.spec(), &free, &mut repeating(Random::new(1)))
        });
        let others = kernel.alternatives(1).expect("they compile");
        let wanted =
            |(at, other): &(usize, lowbit::Alternative)| *at < exact || other.candidate.rounded;
        for (_, other) in others.into_iter().enumerate().filter(wanted) {
            let runs = runs_on(&other.kernel, &other.candidate, &ROUNDED);
            assert!(runs, "{}", text.name);
            let found = call.run(&other.kernel).to_f32().expect("numbers");
            let (values, bounds) = (&call.wanted().values, &call.wanted().bound);
            let ratio = |((f, v), b): ((&f32, &f64), &f64)| (f64::from(*f) - v).abs() / b;
            let ratios_of_results = found.iter().zip(values).zip(bounds).map(ratio);
            let worst = ratios_of_results.fold(0.0, f64::max);
            ratios.push((worst, shown(text, engine, &other.candidate)));
        }
    }
    ratios
}

/// How near to its bound each rounded candidate comes, and whether no result of it is further off than that.
fn nearness(engines: &[Engine], text: &Text) -> Vec<(f64, String)> {
    let ratios = of_rounded(engines, text, 0);
    assert!(!ratios.is_empty(), "{} has no rounded candidate", text.name);
    ratios
}

#[test]
fn tables_are_not_rounded_where_the_bound_would_not_hold() {
    let engines = engines();
    let failures = on_two_threads(one_sided_kernels(), |text| {
        let ratios = of_rounded(&engines, &text, 1);
        let beyond = ratios.into_iter().filter(|(ratio, _)| *ratio > 1.0);
        beyond.collect::<Vec<(f64, String)>>()
    });
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn codebooks_that_are_rounded_stay_within_their_bound() {
    let engines = engines();
    let ratios = on_two_threads(codebook_kernels(), |text| nearness(&engines, &text));
    let wrong: Vec<_> = ratios
        .iter()
        .filter(|(ratio, _)| !(0.01..=1.0).contains(ratio))
        .collect();
    assert!(wrong.is_empty(), "of the bound: {wrong:#?}");
}

/// Extents of calls with rounded tables: enough groups of activations that some are rounded nearly by a half.
const ROUNDED: [(&str, u64); 3] = [("M", 48), ("N", 67), ("K", 192)];

#[test]
fn rounded_lowerings_come_near_to_their_bound_and_stay_within() {
    let engines = engines();
    let mut ratios = on_two_threads(rounded_kernels(), |text| nearness(&engines, &text));
    ratios.sort_by(|a, b| a.1.cmp(&b.1));
    let lines = ratios.iter().map(|(r, what)| format!("{r:.4} {what}\n"));
    let lines: String = lines.collect();
    let wrong = ratios.iter().any(|(r, _)| !(0.1..=1.0).contains(r));
    assert!(!wrong, "of the bound:\n{lines}");
}
