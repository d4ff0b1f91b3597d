//! Saturation is bounded: what each example and each format that ships makes of e-graphs before the first callable kernel.
//! That other batches compile when first needed is tested in `runtime.rs`.

use lowbit::compiler::pipeline::Stage;
use lowbit::compiler::target::Target;
use lowbit::{Engine, Kernel};
use lowbit_tests::{examples, is_woven, kernels, library, on_two_threads};

/// Targets, and rows of activations where they are bound: e-graphs differ by whether a target looks up in registers and counts
/// bits, and by whether there are batches to decode panels for.
const TARGETS: [(&str, Option<u64>); 5] = [
    ("x86-64", None),
    ("x86-64-v3", None),
    ("x86-64-vnni", None),
    ("x86-64-vnni", Some(64)),
    ("aarch64-dotprod", None),
];

/// Nodes of an e-graph.
const NODES: usize = 4000;
/// E-graphs of a kernel.
const GRAPHS: usize = 8;

const EXTENTS: [(&str, u64); 5] = [
    ("N", 4096),
    ("K", 4096),
    ("V", 4096),
    ("D", 4096),
    ("H", 4096),
];

/// Both operands in few bits: tables of products beside joint codes, counts and dot products.
const FEW_BITS: &str = "language 1;
    format a = block i < 32 { s: f16; q[i]: codebook [-1, 0.25, 0.5, 1]; value = s * q[i]; }
    format b = block i < 32 { s: f16; q[i]: int(2); value = s * q[i]; }
    kernel codebooks(weight w: a[N, K], input x: a[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }
    kernel integers(weight w: b[N, K], input x: b[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }";

/// Names and texts: the examples, linear layers over every format, and products of few bits with few.
fn texts() -> Vec<(String, String, bool)> {
    let examples = examples().into_iter();
    let mut texts: Vec<_> = examples.map(|(name, text)| (name, text, false)).collect();
    texts.push(("few bits".to_owned(), FEW_BITS.to_owned(), false));
    for (module, format) in library() {
        let name = &format.name;
        let layer = |kernel: &str, input: &str, tables: &str| {
            format!(
                "kernel {kernel}(weight w: {name}[N, K], input x: {input}[M, K]) -> output y: f32[M, N]{tables} {{
                    y[m, n] = sum(k) w[n, k] * x[m, k];
                }}\n"
            )
        };
        let text = format!(
            "language 1; import \"std/ints\"; import \"{module}\";\n{}{}{}",
            layer("with_f32", "f32", ""),
            layer("with_int8", "q8_32", ""),
            layer("with_tables", "q8_32", " tables int8")
        );
        texts.push((name.clone(), text, is_woven(&format)));
    }
    texts
}

/// What is beyond the budget in a kernel.
fn beyond(kernel: &Kernel) -> Vec<String> {
    let program = kernel.program().expect("a program");
    let stages: &[Stage] = &program.stages;
    let mut found = Vec::new();
    let nodes = stages.iter().map(|s| s.nodes).max().unwrap_or(0);
    let graphs: usize = stages.iter().map(|s| s.graphs).sum();
    if nodes > NODES {
        found.push(format!("{nodes} nodes"));
    }
    if graphs > GRAPHS {
        found.push(format!("{graphs} e-graphs"));
    }
    if !stages.iter().all(|s| s.saturated) {
        found.push("a limit was reached".to_owned());
    }
    found
}

#[test]
fn saturation_stays_within_its_budget() {
    let texts = texts();
    let jobs = TARGETS
        .into_iter()
        .flat_map(|t| texts.iter().map(move |x| (t, x)));
    let mut found = on_two_threads(jobs, |((target, rows), (name, text, refusable))| {
        let engine = Engine::new(Target::named(target).expect("a target"));
        let rows = rows.map(|rows| ("M", rows));
        let extents: Vec<(&str, u64)> = EXTENTS.into_iter().chain(rows).collect();
        let kernels = match kernels(&engine.expect("an engine"), text, &extents) {
            Ok(kernels) => kernels,
            Err(e) if *refusable && e.to_string().contains("not supported yet") => Vec::new(),
            Err(e) => panic!("{name} on {target}: {e}"),
        };
        let lines = kernels.iter().flat_map(|kernel| {
            let place = format!("{name}, {} on {target}", kernel.name());
            let lines = beyond(kernel).into_iter();
            lines.map(move |line| format!("{place}: {line}"))
        });
        lines.collect()
    });
    found.sort();
    assert!(
        found.is_empty(),
        "{} beyond:\n{}",
        found.len(),
        found.join("\n")
    );
}
