//! Codes that are read where they lie in their bytes: such lowerings give what the interpreter does, for whatever shape, batch and
//! bits; they shift nothing, and are not considered where what is not shifted would change results.

use lowbit::check::{Random, compare};
use lowbit::compiler::target::Target;
use lowbit::{Engine, Kernel, Options, Stage, Tensor};

/// What the lanes of such lowerings say.
const IN_PLACE: &str = "in place";

const FORMATS: [(&str, &str); 6] = [
    (
        "one bit",
        "block i < 16 { d: f16; q[i]: uint(1); value = d * (2 * q[i] - 1); }",
    ),
    (
        "two bits",
        "block i < 32 { d: f16; q[i]: uint(2); value = d * (q[i] - 2); }",
    ),
    (
        "odd numbers",
        "block i < 24 { d: f32; q[i]: codebook [-3, -1, 1, 3]; value = d * q[i]; }",
    ),
    (
        "ternary",
        "block i < 8 { q[i]: codebook [-1, 0, 1] else 2; value = q[i]; }",
    ),
    (
        "three bits",
        "block i < 32 { d: f16; m: f16; q[i]: uint(3); value = d * q[i] + m; }",
    ),
    (
        "signed planes",
        "block i < 64 { d: f16; q[i]: int(3); value = d * q[i]; }",
    ),
];

fn text(format: &str, activations: &str) -> String {
    let (quantised, x) = match activations {
        "f32" => (String::new(), "x"),
        _ => ("let q[m, k] = quantize x[m, k] as bytes;".to_owned(), "q"),
    };
    format!(
        "language 1;
        format f = {format}
        format bytes = block i < 8 {{ d: f32; q[i]: int(8); value = d * q[i];
            encode x {{ d = max(i) abs(x[i]) / 127; q[i] = x[i] / d; }} }}
        kernel linear(weight w: f[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
            {quantised} y[m, n] = sum(k) w[n, k] * {x}[m, k]; }}"
    )
}

fn compile(engine: &Engine, text: &str, extents: &[(&str, u64)], force: Option<&str>) -> Kernel {
    let options = Options {
        force: force.map(str::to_owned),
        ..Options::default()
    };
    engine
        .compile_with(text, extents, &options)
        .unwrap_or_else(|e| panic!("{text}\n{e}"))
}

/// The lanes of what was chosen for the last step.
fn chosen(kernel: &Kernel) -> String {
    let explanation = kernel.explain().expect("an explanation");
    let step = explanation.steps.last().expect("a step");
    let chosen = step.candidates.iter().find(|c| c.chosen).expect("one");
    chosen.lanes.clone()
}

/// Whether one of the candidates reads codes in place.
fn is_considered(kernel: &Kernel) -> bool {
    let explanation = kernel.explain().expect("an explanation");
    let mut steps = explanation.steps.iter();
    steps.any(|s| s.candidates.iter().any(|c| c.lanes.contains(IN_PLACE)))
}

fn vnni() -> Engine {
    Engine::new(Target::named("x86-64-vnni").expect("a target")).expect("an engine")
}

#[test]
fn codes_in_place_are_worth_what_the_interpreter_says() {
    let host = Target::named("host").expect("a target");
    if !host.multiplies_bytes() {
        eprintln!("skipped: this machine sums no products of bytes in 32 bits");
        return;
    }
    let engine = Engine::new(host).expect("an engine");
    let mut random = Random::new(5);
    for (name, format) in FORMATS {
        for activations in ["bytes", "f32"] {
            // What is 0 would be what rounding leaves of numbers that are none.
            if activations == "f32" && ["ternary", "signed planes"].contains(&name) {
                let extents = [("N", 64), ("K", 192), ("M", 1)];
                let kernel = compile(&engine, &text(format, activations), &extents, None);
                assert!(!is_considered(&kernel), "{name}");
                continue;
            }
            for (n, k) in [
                (32, 64),
                (33, 192),
                (61, 97),
                (97, 200),
                (128, 31),
                (130, 448),
            ] {
                let text = text(format, activations);
                let kernel = compile(&engine, &text, &[("N", n), ("K", k)], Some(IN_PLACE));
                assert!(
                    chosen(&kernel).contains(IN_PLACE),
                    "{name} × {activations} {n} {k}"
                );
                for m in [1, 2, 3, 5, 9] {
                    let found = compare(&kernel, &[m], &mut random).expect("it runs");
                    let differences = found.differences;
                    assert!(
                        differences.is_empty(),
                        "{name} × {activations}: {m} {n} {k}: {differences:#?}"
                    );
                }
            }
        }
    }
}

#[test]
fn codes_in_place_take_a_mask_and_no_shift() {
    let (engine, extents) = (vnni(), [("N", 64), ("K", 256), ("M", 1)]);
    let kernel = compile(
        &engine,
        &text(FORMATS[1].1, "bytes"),
        &extents,
        Some(IN_PLACE),
    );
    let listing = kernel.stage(Stage::Vector).expect("a listing");
    let step = listing.rsplit("loop n").next().expect("the loop over rows");
    let count = |op: &str| step.matches(op).count();
    assert!(count("= dot4") >= 8, "{step}");
    assert!(count(": i8x16 = and") >= count("= dot4"), "{step}");
    assert_eq!(count("= ushr"), 0, "{step}");
}

#[test]
fn fewer_rows_than_share_bytes_take_other_layouts() {
    let text = text(FORMATS[1].1, "bytes");
    let few = compile(&vnni(), &text, &[("N", 31), ("K", 256), ("M", 1)], None);
    assert!(!is_considered(&few));
    let enough = compile(&vnni(), &text, &[("N", 32), ("K", 256), ("M", 1)], None);
    assert!(is_considered(&enough));
}

#[test]
fn integers_and_steps_are_not_made_of_fractions() {
    let kernel = |output: &str, value: &str| {
        format!(
            "language 1;
            format g = block i < 8 {{ q[i]: uint(2); value = q[i] - 1; }}
            kernel k(weight w: g[N, K], input x: i8[M, K]) -> output y: {output}[M, N] {{
                y[m, n] = {value}; }}"
        )
    };
    let extents = [("N", 64), ("K", 256), ("M", 1)];
    let considered = |output: &str, value: &str| {
        is_considered(&compile(&vnni(), &kernel(output, value), &extents, None))
    };
    let sum = "sum(k) w[n, k] * x[m, k]";
    assert!(considered("f32", sum));
    assert!(!considered("i32", &format!("round({sum})")));
    assert!(!considered("f32", "round((sum(k) w[n, k] * x[m, k]) / 3)"));
    assert!(!considered("f32", "max(k) w[n, k] * x[m, k]"));
}

#[test]
fn codes_with_a_sign_bit_are_no_sums_of_doubled_bits() {
    let is_considered = |codes: &str| {
        let format = format!("block i < 32 {{ q[i]: {codes}; value = q[i]; }}");
        let extents = [("N", 64), ("K", 256), ("M", 1)];
        is_considered(&compile(&vnni(), &text(&format, "bytes"), &extents, None))
    };
    assert!(!is_considered("codebook [0, 1, -2, -1]"));
    // Integers are counted from the smallest.
    assert!(is_considered("int(2)"));
    assert!(is_considered("int(3)"));
}

/// Blocks of so many rows, whose groups of four share bytes: all groups, or two of them.
fn by_the_author(rows: u32, bytes: u32, place: &str) -> String {
    let codes = 16 * rows;
    format!(
        "block r < {rows}, i < 64, bytes {bytes} {{ d[r]: f16 at 16 * r;
            q[r, i]: uint(2) at {codes} + 8 * (i % 4) + 32 * (r % 4) + {place}; value = d[r] * (q[r, i] - 1);
            encode x {{ d[r] = max(i) abs(x[r, i]); q[r, i] = x[r, i] / d[r] + 1; }} }}"
    )
}

#[test]
fn layouts_of_the_author_are_read_as_they_are() {
    let engine = Engine::host().expect("an engine");
    let mut random = Random::new(7);
    for format in [
        by_the_author(16, 288, "2 * (r / 4) + 128 * (i / 4)"),
        by_the_author(8, 144, "4 * (r / 4) + 2 * (i / 4 % 2) + 128 * (i / 8)"),
    ] {
        for (n, k, m) in [(64, 128, 1), (48, 192, 3), (33, 64, 5)] {
            let text = text(&format, "bytes");
            let kernel = compile(&engine, &text, &[("N", n), ("K", k)], None);
            let found = compare(&kernel, &[m], &mut random).expect("it runs");
            assert!(
                found.differences.is_empty(),
                "{format}: {:#?}",
                found.differences
            );
        }
    }
}

#[test]
fn sums_near_the_largest_float_do_not_overflow() {
    let engine = Engine::host().expect("an engine");
    if !engine.target().multiplies_bytes() {
        eprintln!("skipped: this machine sums no products of bytes in 32 bits");
        return;
    }
    let text = text(FORMATS[2].1, "bytes");
    let extents = [("N", 64), ("K", 120), ("M", 1)];
    let kernel = compile(&engine, &text, &extents, Some(IN_PLACE));
    let mut x = vec![0.0; 120];
    x[5] = 3e37;
    let x = Tensor::from_f32(&[1, 120], &x).expect("a row");
    let w = kernel.pack("w", &[-3.0; 64 * 120]).expect("it packs");
    let y = kernel.call(&[("w", &w), ("x", &x)]).expect("a call");
    let y = y.to_f32().expect("numbers");
    assert!(y.iter().all(|y| (y + 9e37).abs() < 1e35), "{y:?}");
}
