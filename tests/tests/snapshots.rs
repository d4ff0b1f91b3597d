//! Every example at every stage on one page, and the instructions of its innermost loops on every target.

use lowbit::compiler::target::{Target, names};
use lowbit::{Engine, Kernel};
use lowbit_tests::{examples, kernels};

/// Extents that leave nothing over, so that a page shows one path.
const BOUND: [(&str, u64); 5] = [("N", 64), ("K", 256), ("D", 256), ("V", 64), ("H", 64)];

fn compile(text: &str, target: &str) -> Vec<Kernel> {
    let engine = Engine::new(Target::named(target).expect("a target")).expect("an engine");
    kernels(&engine, text, &BOUND).expect("the example compiles")
}

#[test]
fn examples_at_every_stage() {
    for (name, text) in examples() {
        for kernel in compile(&text, "x86-64-vnni") {
            let page = kernel.snapshot().expect("a page");
            insta::assert_snapshot!(format!("{name}-{}", kernel.name()), page);
        }
    }
}

/// Instructions that the innermost loops of an example must have: one of each list.
const WANTED: &[(&str, &str, &[&str])] = &[
    ("nf4_linear", "x86-64-v2", &["pshufb"]),
    ("nf4_linear", "x86-64-v3", &["vpshufb"]),
    ("nf4_linear", "aarch64", &["tbl"]),
    ("fp4_linear", "x86-64-v3", &["vpshufb"]),
    ("mxfp4_linear", "x86-64-v3", &["vpshufb"]),
    ("mxfp4_linear", "aarch64", &["tbl"]),
    ("int4_int8", "x86-64-v2", &["pmaddubsw"]),
    ("int4_int8", "x86-64-v3", &["vpmaddubsw"]),
    ("int4_int8", "x86-64-vnni", &["vpdpbusd"]),
    ("int4_int8", "aarch64-dotprod", &["sdot"]),
    ("int4_int8", "aarch64-i8mm", &["usdot", "sdot"]),
    ("int2_int8", "x86-64-v3", &["vpmaddubsw"]),
    ("int2_int8", "x86-64-vnni", &["vpdpbusd"]),
    ("int8_matmul", "x86-64-vnni", &["vpdpbusd"]),
    ("binary_linear", "x86-64-v2", &["pshufb"]),
    ("binary_linear", "aarch64", &["cnt"]),
    ("int8_matmul", "aarch64-dotprod", &["sdot"]),
    ("int8_matmul", "aarch64-i8mm", &["sdot"]),
];

/// Bytes without a sign times bytes with one: the examples have none, since their codes also fit signed bytes.
#[test]
fn unsigned_bytes_have_the_products_of_the_target() {
    let text = "language 1;
        kernel product(weight w: u8[N, K], input x: i8[M, K]) -> output y: i32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";
    for (target, wanted) in [
        ("x86-64-vnni", "vpdpbusd"),
        ("aarch64", "smull2"),
        ("aarch64-dotprod", "smull2"),
        ("aarch64-i8mm", "usdot"),
    ] {
        let kernels = compile(text, target);
        let facts = kernels[0].hot_loops().expect("a listing");
        assert!(facts.has(wanted), "no {wanted} on {target}: {facts:?}");
    }
}

#[test]
fn hot_loops_have_the_instructions_of_the_target() {
    let examples = examples();
    let mut missing = Vec::new();
    for (example, target, wanted) in WANTED {
        let (_, text) = examples.iter().find(|(n, _)| n == example).expect(example);
        let kernels = compile(text, target);
        let has = |kernel: &Kernel| {
            let facts = kernel.hot_loops().expect("a listing");
            wanted.iter().any(|w| facts.has(w))
        };
        if !kernels.iter().any(has) {
            missing.push(format!("{example} on {target}: none of {wanted:?}"));
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Loops that do touch the stack, with the reason.
const TOUCHING: &[(&str, &str, &str)] = &[
    ("nf4_linear", "x86-64", SCALAR),
    ("ternary_linear", "x86-64", SCALAR),
    ("int2_int8", "x86-64", ROUNDING),
    ("rmsnorm_quantize", "x86-64", ROUNDING),
    ("int2_int8", "aarch64", LONG),
    ("int4_int8", "x86-64", WAITING),
    ("int2_int8", "x86-64-v2", WAITING),
    ("int4_int8", "x86-64-v2", WAITING),
    ("int2_int8", "x86-64-v3", WAITING),
    ("int4_int8", "x86-64-v3", WAITING),
    ("int2_int8", "x86-64-vnni", WAITING),
    ("int4_int8", "x86-64-vnni", WAITING),
    ("uint8_zero_point", "x86-64", WAITING),
    ("uint8_zero_point", "aarch64", WAITING),
    ("uint8_zero_point", "aarch64-dotprod", WAITING),
    ("int2_tables", "aarch64", WAITING),
    ("binary_linear", "x86-64", COUNTS),
    ("binary_linear", "x86-64-v2", COUNTS),
    ("binary_linear", "x86-64-v3", COUNTS),
    ("binary_linear", "x86-64-vnni", COUNTS),
    ("binary_linear", "aarch64", COUNTS),
    ("binary_linear", "aarch64-dotprod", COUNTS),
    ("binary_linear", "aarch64-i8mm", COUNTS),
];
const COUNTS: &str = "the activations' bytes of both planes wait in registers until the second sixteen results have used them, too";
const WAITING: &str = "sums that a long round adds to once wait on the stack, and what many operations of it use is loaded once";
const LONG: &str = "two planes of bits, eight copies of each and tables of two bytes are one straight piece of code";
const ROUNDING: &str =
    "SSE2 has no rounding: its numbers do not fit the registers beside those of the conversion";
const SCALAR: &str =
    "SSE2 has no byte look-up: sixteen codes at a time pass through the scalar registers";

#[test]
fn hot_loops_do_not_touch_the_stack() {
    let mut touching = Vec::new();
    for target in names() {
        for (name, text) in examples() {
            for kernel in compile(&text, target) {
                let accesses = kernel.hot_loops().expect("a listing").stack_accesses;
                let known = TOUCHING.iter().any(|(n, t, _)| *n == name && *t == target);
                if (accesses > 0) != known {
                    touching.push(format!("{name} on {target}: {accesses}"));
                }
            }
        }
    }
    assert!(touching.is_empty(), "{}", touching.join("\n"));
}
