//! Every example compiles for every target, and agrees with the reference interpreter where it can run, on shapes that
//! divide evenly and on shapes that do not.

use lowbit::check::{Random, compare};
use lowbit::compiler::target::{Target, names};
use lowbit::{Engine, Options, Stage};
use std::path::PathBuf;

fn examples() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the examples")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "lowbit"))
        .collect();
    files.sort();
    let name = |p: &PathBuf| {
        p.file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    files
        .iter()
        .map(|p| (name(p), std::fs::read_to_string(p).expect("readable")))
        .collect()
}

/// Extents for the dimensions of an example, by position.
const SHAPES: [[u64; 4]; 6] = [
    [1, 1, 1, 1],
    [3, 5, 64, 7],
    [8, 16, 128, 4],
    [2, 17, 96, 5],
    [5, 0, 33, 2],
    [13, 7, 191, 3],
];

#[test]
fn examples_agree_with_the_interpreter() {
    let engine = Engine::host().expect("an engine");
    let mut failures = Vec::new();
    for (name, text) in examples() {
        let module = engine.load(&text).expect("the example reads");
        for spec in &module.kernels {
            for shape in SHAPES {
                let dims: Vec<(String, u64)> = spec
                    .dims
                    .values()
                    .zip(shape)
                    .map(|(d, n)| (d.name.clone(), n))
                    .collect();
                let bound: Vec<(&str, u64)> = dims.iter().map(|(d, n)| (d.as_str(), *n)).collect();
                let options = Options {
                    kernel: Some(spec.name.clone()),
                    ..Options::default()
                };
                for bound in [&bound[..], &[]] {
                    let kernel = engine
                        .compile_module(&module, bound, &options)
                        .expect("the example compiles");
                    let mut random = Random::new(7);
                    let result = compare(&kernel, &shape, &mut random).expect("it runs");
                    if !result.differences.is_empty() {
                        let bound = if bound.is_empty() { "free" } else { "bound" };
                        failures.push(format!(
                            "{name} {shape:?} {bound}: {}",
                            result.differences.join("; ")
                        ));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn examples_compile_for_every_target() {
    for target in names() {
        let engine = Engine::new(Target::named(target).expect("a target")).expect("an engine");
        for (name, text) in examples() {
            let module = engine.load(&text).expect("the example reads");
            for spec in &module.kernels {
                let options = Options {
                    kernel: Some(spec.name.clone()),
                    ..Options::default()
                };
                let kernel = engine.compile_module(&module, &[], &options);
                let kernel = kernel.unwrap_or_else(|e| panic!("{name} for {target}: {e}"));
                let listing = kernel.stage(Stage::Assembly);
                assert!(listing.is_ok(), "{name} for {target}: {listing:?}");
            }
        }
    }
}
