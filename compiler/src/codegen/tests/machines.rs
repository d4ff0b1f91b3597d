//! Every operation on every target, also on those that are not this machine: as objects, linked and run on an emulator.
//! (Whole kernels: `tests/tests/machines.rs`.)

#[path = "../../../../tests/machines/harness.rs"]
#[expect(dead_code, reason = "kernels are passed more kinds of words")]
mod harness;

use super::{difference, expected, in_loop, stores};
use crate::codegen::{CodegenError, Features, object};
use crate::target::{Target, names};
use crate::vector::ir::{Elem, Function, Type};
use crate::vector::testing::{Rng, inputs, random, single};
use harness::{Job, Program, Word, machines};
use std::sync::Mutex;

fn features(target: &str) -> Features {
    Target::named(target).expect("a target").features
}

/// The failures of functions on all machines of a target.
fn failures(target: &str, functions: &[(&Function, Vec<u8>)]) -> Vec<String> {
    let features = features(target);
    let mut machines = machines(target, features.runs_here());
    // This machine runs the same functions in other tests.
    machines.truncate(1);
    if machines.is_empty() {
        return Vec::new();
    }
    let symbol = |at: usize| format!("f{at}");
    let object = |(at, (function, _)): (usize, &(&Function, Vec<u8>))| {
        let object = object(function, &features, &symbol(at));
        (
            symbol(at),
            object.unwrap_or_else(|e| panic!("{e}\n{function}")),
        )
    };
    let objects: Vec<(String, Vec<u8>)> = functions.iter().enumerate().map(object).collect();
    let program = Program::link(target, &objects).expect("it links");
    let job = |function: usize| {
        let (bytes, floats) = inputs(&mut Rng(1));
        let out = vec![0xaa; functions[function].1.len()];
        let words = vec![Word::Read(bytes), Word::Read(floats), Word::Write(out)];
        Job { function, words }
    };
    let mut failures = Vec::new();
    for machine in &machines {
        // As many as fit a file of moderate size.
        for first in (0..functions.len()).step_by(256) {
            let some = first..functions.len().min(first + 256);
            let jobs: Vec<Job> = some.clone().map(job).collect();
            let outcomes = program.run(machine, &jobs).expect("it runs");
            for (at, outcome) in some.zip(outcomes) {
                let (function, wanted) = &functions[at];
                let failure = match outcome {
                    Ok(written) => difference(function, wanted, &written[0]),
                    Err(ending) => Some(ending),
                };
                let place = format!("{target} ({})", machine.name);
                failures.extend(failure.map(|f| format!("{place}: {f}\n{function}")));
            }
        }
    }
    failures
}

#[test]
fn every_operation_is_its_meaning_on_every_machine() {
    let mut functions = single();
    functions.extend((100..140).map(random));
    // Of what is written no more than the function reaches: the memory behind it is not there.
    let wanted = |function| {
        let mut wanted = expected(function, 1);
        let mut places = Vec::new();
        stores(function, &function.body, &mut places);
        let ends = places.iter().map(|(ty, at)| at + ty.bytes() as usize);
        wanted.truncate(ends.max().unwrap_or(0));
        (function, wanted)
    };
    let wanted: Vec<(&Function, Vec<u8>)> = functions.iter().map(wanted).collect();
    let targets = Mutex::new(names());
    let found = Mutex::new(Vec::new());
    let work = || {
        while let Some(target) = { targets.lock().expect("a lock").pop() } {
            let failures = failures(target, &wanted);
            found.lock().expect("a lock").extend(failures);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let failures: Vec<String> = found.into_inner().expect("a lock");
    let first: Vec<&str> = failures.iter().take(6).map(String::as_str).collect();
    assert!(
        failures.is_empty(),
        "{} failures\n{}",
        failures.len(),
        first.join("\n")
    );
}

/// Otherwise an instruction above the level of a target would not be found.
#[test]
fn emulated_machines_have_their_level_and_no_more() {
    let i8x16 = Type::new(Elem::I8, 16);
    let dot = |signed: bool| {
        in_loop(&[Type::new(Elem::I32, 4)], move |b, at, c| {
            let (x, y) = (b.load(i8x16, at[0], 0), b.load(i8x16, at[1], 0));
            c[0] = match signed {
                true => b.dot4_s8s8(c[0], x, y),
                false => b.dot4_u8s8(c[0], x, y),
            };
        })
    };
    for (code, lower, function) in [
        ("x86-64-v2", "x86-64", dot(false)),
        ("x86-64-v3", "x86-64-v2", dot(false)),
        ("aarch64-dotprod", "aarch64", dot(true)),
        ("aarch64-i8mm", "aarch64-dotprod", dot(false)),
    ] {
        let object = object(&function, &features(code), "f").expect("an object");
        for (target, runs) in [(lower, false), (code, true)] {
            for machine in machines(target, false) {
                let program = Program::link(target, &[("f".to_owned(), object.clone())]);
                let words = vec![
                    Word::Read(vec![1; 16]),
                    Word::Read(vec![2; 16]),
                    Word::Write(vec![0; 16]),
                    Word::Number(16),
                ];
                let job = [Job { function: 0, words }];
                let outcomes = program.expect("it links").run(&machine, &job);
                let outcome = &outcomes.expect("it runs")[0];
                let illegal = |e: &String| e.starts_with("an instruction");
                assert_eq!(outcome.is_ok(), runs, "{code} on {target}: {outcome:?}");
                assert!(outcome.as_ref().err().is_none_or(illegal), "{outcome:?}");
            }
        }
    }
}

/// Names of the symbols that an ELF object needs from elsewhere.
fn undefined(object: &[u8]) -> Vec<String> {
    let number = |at: usize, size: usize| {
        let bytes = object[at..at + size].iter().rev();
        bytes.fold(0usize, |n, b| n << 8 | usize::from(*b))
    };
    let (sections, size, count) = (number(0x28, 8), number(0x3a, 2), number(0x3c, 2));
    let section = |n: usize| sections + n * size;
    let place = |n: usize| (number(section(n) + 0x18, 8), number(section(n) + 0x20, 8));
    let table = (0..count).find(|n| number(section(*n) + 4, 4) == 2);
    let table = table.expect("a table of symbols");
    let (names, _) = place(number(section(table) + 0x28, 4));
    let (first, bytes) = place(table);
    // The first symbol is none.
    let symbols = (first..first + bytes).step_by(24).skip(1);
    let undefined = symbols.filter(|s| number(s + 6, 2) == 0);
    undefined
        .map(|s| {
            let name = object[names + number(s, 4)..].iter();
            let name = name.take_while(|b| **b != 0).map(|b| char::from(*b));
            name.collect()
        })
        .collect()
}

#[test]
fn objects_need_no_symbols_and_are_stable() {
    let mut functions = single();
    functions.extend((0..40).map(random));
    for target in names() {
        for function in &functions {
            let bytes = object(function, &features(target), "f").expect("an object");
            assert_eq!(undefined(&bytes), [""; 0], "{target}\n{function}");
        }
        for function in &functions[..20] {
            let [first, second] = [0, 1].map(|_| object(function, &features(target), "f"));
            assert_eq!(first, second, "{target}");
        }
    }
}

#[test]
fn symbols_are_names_of_c() {
    let function = random(1);
    for symbol in ["", "1st", "a b", "naïve", "x\0"] {
        let refused = object(&function, &Features::aarch64(), symbol);
        assert_eq!(refused, Err(CodegenError::Symbol(symbol.to_owned())));
    }
    assert!(object(&function, &Features::aarch64(), "_4").is_ok());
}
