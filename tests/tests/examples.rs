//! Every example compiles for every target, and agrees with the reference interpreter where it can run, on shapes that
//! divide evenly and on shapes that do not.

use lowbit::check::{Random, compare};
use lowbit::compiler::target::{Target, names};
use lowbit::{Engine, Options, Stage, Tensor};
use lowbit_tests::{examples, texts};

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
    let mut all = examples();
    all.extend(texts("dsl-checkpoints"));
    for (name, text) in all {
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
                let stages = &kernel.program().expect("a program").stages;
                assert!(
                    stages.iter().all(|s| s.saturated),
                    "{name} for {target}: an e-graph reached a limit"
                );
                let listing = kernel.stage(Stage::Assembly);
                assert!(listing.is_ok(), "{name} for {target}: {listing:?}");
            }
        }
    }
}

#[test]
fn integer_sums_are_exact_past_the_precision_of_floats() {
    let text = "language 1;
        kernel product(weight w: i8[N, K], input x: i8[M, K]) -> output y: i32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";
    let engine = Engine::host().expect("an engine");
    for dims in [&[("N", 5), ("K", 4099)][..], &[]] {
        let kernel = engine.compile(text, dims).expect("it compiles");
        let values: Vec<i8> = (0..5 * 4099)
            .map(|i| if i % 7 == 0 { -128 } else { 127 })
            .collect();
        let w = Tensor::from_i8(&[5, 4099], &values).expect("weights");
        let w = kernel.convert("w", &w).expect("the layout");
        let x = Tensor::from_i8(&[1, 4099], &values[..4099]).expect("a row");
        let y = kernel.call(&[("w", &w), ("x", &x)]).expect("a call");
        let wanted: Vec<i32> = values
            .chunks(4099)
            .map(|row| {
                row.iter()
                    .zip(&values)
                    .map(|(w, x)| i32::from(*w) * i32::from(*x))
                    .sum()
            })
            .collect();
        let bytes: Vec<u8> = wanted.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(y.bytes(), bytes);
    }
}

#[test]
fn a_free_reduction_has_a_largest_extent() {
    let text = "language 1;
        kernel total(input x: f32[M, K]) -> output y: f32[M] { y[m] = sum(k) x[m, k]; }";
    let kernel = Engine::host()
        .expect("an engine")
        .compile(text, &[])
        .expect("it compiles");
    let x = Tensor::from_f32(&[1, 32_769], &[1.0; 32_769]).expect("a row");
    let error = kernel
        .call(&[("x", &x)])
        .expect_err("it is refused")
        .to_string();
    assert!(error.contains("`K`") && error.contains("32769"), "{error}");
}

#[test]
fn extents_that_are_numbers_are_told_apart() {
    let text = "language 1;
        kernel f(input x: f32[N, K]) -> output y: f32[N] {
            y[n] = (sum(k) x[n, k] * K) + N * 0.5; }";
    let engine = Engine::host().expect("an engine");
    let kernel = engine.compile(text, &[]).expect("it compiles");
    let found = compare(&kernel, &[5, 11], &mut Random::new(3)).expect("it runs");
    assert!(found.differences.is_empty(), "{:#?}", found.differences);
}

#[test]
fn integers_that_32_bits_may_not_hold_are_refused() {
    let engine = Engine::host().expect("an engine");
    let text = |x: &str, value: &str| {
        format!(
            "language 1;\nkernel k(input a: {x}[N, K], input b: i8[N, K]) -> output y: i32[N] {{ y[n] = {value}; }}"
        )
    };
    let product = "sum(k) a[n, k] * b[n, k]";
    for (x, value, k, holds) in [
        ("i16", product, 300, true),
        ("i16", product, 3000, false),
        ("i32", product, 1, false),
        ("i8", product, 60000, true),
        (
            "i8",
            "max(k) min(a[n, k], b[n, k]) + abs(a[n, 0])",
            30,
            true,
        ),
        ("i32", "max(k) a[n, k]", 3, false),
    ] {
        let compiled = engine.compile(&text(x, value), &[("K", k)]);
        match compiled {
            Ok(kernel) => {
                assert!(holds, "{x}, {value}, {k}");
                let result = compare(&kernel, &[3], &mut Random::new(3)).expect("it runs");
                assert!(result.differences.is_empty(), "{:?}", result.differences);
            }
            Err(error) => {
                assert!(!holds, "{x}, {value}, {k}: {error}");
                assert!(
                    error.to_string().contains("more than 32 bits hold"),
                    "{error}"
                );
            }
        }
    }
}
