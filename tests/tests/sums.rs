//! Sums of weights for zero points: kept when weights are packed, so that a call adds none of them up.

use lowbit::check::{Random, compare};
use lowbit::compiler::format::layout::move_codes;
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::rewrite::Rewritten;
use lowbit::compiler::rewrite::extract::Extracted;
use lowbit::compiler::rewrite::lang::{Node, Op};
use lowbit::compiler::target::Target;
use lowbit::{Engine, Kernel, Options, Packer, Tensor};
use std::sync::Arc;

/// Weights with scales for blocks, for rows, and without; codes that are digits, bits and entries of tables.
const FORMATS: &str = "language 1;
    import \"std/ggml\";
    import \"std/nf4\";
    format int4_128 = block i < 128 { s: f16; q[i]: int(4); value = s * q[i]; }
    format ternary = block i < 40 { row s: f16; t[i]: digit(3) packed 5 per 8; value = s * (t[i] - 1); }
    format signs = block i < 64 { c[i]: uint(1); value = 2 * c[i] - 1; encode x { c[i] = (x[i] + 1) / 2; } }";

/// Weights, by format.
const WEIGHTS: [&str; 7] = [
    "int4_128", "q4_0", "q4_1", "nf4_64", "ternary", "signs", "i8",
];

/// A kernel with a zero point a row of activations.
fn by_row(weight: &str) -> String {
    let result = if weight == "i8" { "i32" } else { "f32" };
    format!(
        "{FORMATS}
        kernel by_row(weight w: {weight}[N, K], input q: u8[M, K], input z: u8[M]) -> output y: {result}[M, N] {{
            y[m, n] = sum(k) w[n, k] * (q[m, k] - z[m]);
        }}"
    )
}

/// Zero points elsewhere: one for all activations, one in weights too, a constant, under a function, and products of signs.
const OTHERS: [&str; 5] = [
    "kernel one(weight w: i8[N, K], input q: u8[M, K], input z: u8[1]) -> output y: i32[M, N] {
        y[m, n] = sum(k) w[n, k] * (q[m, k] - z[0]);
    }",
    "kernel both(weight w: u8[N, K], input q: u8[M, K], input z: u8[M]) -> output y: i32[M, N] {
        y[m, n] = sum(k) (w[n, k] - 128) * (q[m, k] - z[m]);
    }",
    "kernel constant(weight w: q4_1[N, K], input q: u8[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * (q[m, k] - 128);
    }",
    "kernel activated(weight w: q4_0[N, K], input q: u8[M, K], input z: u8[M]) -> output y: f32[M, N] {
        y[m, n] = silu(sum(k) w[n, k] * (q[m, k] - z[m]));
    }",
    "kernel products(weight w: signs[N, K], input x: signs[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * x[m, k];
    }",
];

fn others() -> impl Iterator<Item = String> {
    OTHERS.iter().map(|text| format!("{FORMATS}\n{text}"))
}

fn engine(target: &str) -> Engine {
    Engine::new(Target::named(target).expect("a target")).expect("an engine")
}

fn kernel(engine: &Engine, text: &str, n: u64, k: u64) -> Kernel {
    engine.compile(text, &[("N", n), ("K", k)]).expect(text)
}

fn keeps(layout: &Format) -> bool {
    matches!(&layout.kind, FormatKind::Block(block) if block.kept.is_some())
}

/// Whether a term adds up something that depends on weights and on nothing of the call.
fn adds_weights_up(term: &Extracted, rewritten: &Rewritten) -> bool {
    let mut found = false;
    // Whether a value depends on weights, and on the call.
    let mut depends: Vec<(bool, bool)> = Vec::new();
    for node in &term.nodes {
        let (mut weights, mut call) = (false, false);
        if let (Op::VLoad, Some(Node::Ref(load))) = (node.op, node.data.last()) {
            weights = rewritten.weights[*load as usize];
            call = !weights;
        }
        for child in &node.children {
            weights |= depends[*child].0;
            call |= depends[*child].1;
        }
        found |= weights && !call && (node.op.has_axis() || node.op == Op::VFold);
        depends.push((weights, call));
    }
    found
}

#[test]
fn calls_read_the_sums_and_add_no_weights_up() {
    let mut wrong = Vec::new();
    for target in ["x86-64-v3", "x86-64-vnni", "aarch64", "aarch64-dotprod"] {
        let engine = engine(target);
        let texts = WEIGHTS.iter().map(|w| (*w, by_row(w)));
        let rest = OTHERS.iter().map(|text| &text[7..15]).zip(others());
        for (name, text) in texts.chain(rest) {
            let kernel = kernel(&engine, &text, 4096, 4096);
            let layout = kernel.layout("w").expect("a layout");
            let parts = kernel.program().expect("a program").stages.iter();
            let mut parts = parts.flat_map(|s| &s.parts);
            let adds =
                parts.any(|(_, _, rewritten, lowering)| adds_weights_up(&lowering.term, rewritten));
            if adds || !keeps(&layout) {
                wrong.push(format!(
                    "{name} on {target}: {}, adds up: {adds}",
                    layout.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn results_are_those_of_the_interpreter() {
    let engine = Engine::host().expect("an engine");
    let mut failures = Vec::new();
    for text in WEIGHTS.iter().map(|w| by_row(w)).chain(others()) {
        for (n, k) in [(1, 1), (5, 131), (16, 256), (17, 1009), (33, 384)] {
            let kernel = kernel(&engine, &text, n, k);
            for m in [1, 8, 65] {
                let dims = [n, k, m];
                let result = compare(&kernel, &[m], &mut Random::new(3)).expect("it runs");
                if !result.differences.is_empty() {
                    let name = kernel.name();
                    failures.push(format!(
                        "{name} {dims:?}: {}",
                        result.differences.join("; ")
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn fixed_layouts_have_no_sums() {
    let engine = engine("x86-64-v3");
    let stored = by_row("q4_0").replace("weight w", "stored w");
    let fixed = kernel(&engine, &stored, 64, 4096);
    assert!(!keeps(&fixed.layout("w").expect("a layout")));
    // What does not say so when it is compiled may have rows of any length.
    let free = engine.compile(&by_row("q4_0"), &[]).expect("it compiles");
    assert!(!keeps(&free.layout("w").expect("a layout")));
    let plain = by_row("q4_0")
        .replace("q: u8", "q: f32")
        .replace(" - z[m]", " + z[m] * q[m, k]");
    let plain = kernel(&engine, &plain, 64, 4096)
        .layout("w")
        .expect("a layout");
    assert!(!keeps(&plain));
    let options = Options {
        layouts: vec![("w".into(), plain.clone())],
        ..Options::default()
    };
    let module = engine.load(&by_row("q4_0")).expect("it reads");
    let dims = [("N", 64), ("K", 4096)];
    let required = engine
        .compile_module(&module, &dims, &options)
        .expect("it compiles");
    assert_eq!(required.layout("w").expect("a layout").name, plain.name);
}

/// Four bytes of a row are at most a twentieth of what it takes from 160 columns of 18 bytes in 32 on.
#[test]
fn a_layout_grows_by_a_twentieth_at_most() {
    let engine = engine("x86-64-v3");
    let layout = |k: u64| {
        kernel(&engine, &by_row("q4_0"), 64, k)
            .layout("w")
            .expect("a layout")
    };
    assert!(!keeps(&layout(128)));
    assert!(keeps(&layout(160)));
    for k in [160, 4096] {
        let (layout, shape) = (layout(k), [64, k]);
        let stored = 64 * k / 32 * 18;
        let bytes = layout.tensor_bytes(&shape).expect("bytes");
        assert!(
            bytes > stored && bytes * 100 <= stored * 105,
            "{k}: {bytes}"
        );
    }
}

/// Tensors that are worth compiling for go through kernels that move codes, small ones through the reference.
#[test]
fn packing_fills_the_sums_in() {
    let engine = Engine::host().expect("an engine");
    for weight in WEIGHTS {
        let kernel = kernel(&engine, &by_row(weight), 67, 1009);
        let layout = kernel.layout("w").expect("a layout");
        assert!(keeps(&layout), "{weight}");
        let declared = kernel.spec().tensors.values().find(|t| t.name == "w");
        let declared = declared.expect("a weight").format.clone();
        let shape = [67, 1009];
        let values: Vec<f32> = (0..67 * 1009u32)
            .map(|i| (i % 251 * i % 31) as f32 - 15.0)
            .collect();
        let stored = Tensor::quantize(declared.clone(), &shape, &values).expect(weight);
        let wanted = move_codes(&declared, &layout, &shape, stored.bytes()).expect(weight);
        let packer = Packer::new(&engine, &declared, &layout).expect(weight);
        assert_eq!(
            packer.pack(&stored).expect(weight).bytes(),
            wanted,
            "{weight}"
        );
        assert_eq!(
            kernel.convert("w", &stored).expect(weight).bytes(),
            wanted,
            "{weight}"
        );
        // Bytes from elsewhere are looked at.
        let again = Tensor::from_bytes(layout.clone(), &shape, wanted.clone());
        assert!(again.is_ok(), "{weight}");
        let mut other = wanted;
        other[1] ^= 1;
        assert!(
            Tensor::from_bytes(layout, &shape, other).is_err(),
            "{weight}"
        );
        back(&engine, &stored, &kernel, &declared);
    }
}

/// The way back, where there is one: plain values are assigned and not moved.
fn back(engine: &Engine, stored: &Tensor, kernel: &Kernel, declared: &Arc<Format>) {
    if matches!(declared.kind, FormatKind::Plain(_)) {
        return;
    }
    let packed = kernel.convert("w", stored).expect("packed");
    let unpacker = Packer::new(engine, packed.format(), declared).expect("the way back");
    assert_eq!(
        unpacker.pack(&packed).expect("a call").bytes(),
        stored.bytes()
    );
    assert_eq!(
        packed.relayout(declared).expect("moved").bytes(),
        stored.bytes()
    );
}

/// Kernels over formats that keep sums as their author says, of weights and of bytes as they are in a file.
const DECLARED: [&str; 5] = [
    "kernel zeros(weight w: kept[N, K], input q: u8[M, K], input z: u8[M]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * (q[m, k] - z[m]);
    }",
    "kernel stored_zeros(stored w: kept[N, K], input q: u8[M, K], input z: u8[M]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * (q[m, k] - z[m]);
    }",
    "kernel products(weight w: kept[N, K], input q: u8[M, K]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * q[m, k];
    }",
    "kernel twice(weight w: kept[N, K]) -> output y: f32[N, K] { y[n, k] = w[n, k] * 2; }",
    "kernel rows(stored w: of_row[N, K], input q: u8[M, K], input z: u8[M]) -> output y: f32[M, N] {
        y[m, n] = sum(k) w[n, k] * (q[m, k] - z[m]);
    }",
];

#[test]
fn formats_may_say_that_they_keep_sums() {
    let formats = "language 1;
        format kept = block i < 32 { q[i]: int(4); kept row sums: int(32); value = q[i]; }
        format of_row = block i < 32 { row r: int(4); kept row sums: int(32); value = r; }";
    let engine = Engine::host().expect("an engine");
    for text in DECLARED {
        for (n, k) in [(1, 1), (3, 256), (16, 256), (37, 65)] {
            let kernel = kernel(&engine, &format!("{formats}\n{text}"), n, k);
            let free: &[u64] = if text.contains("[M") { &[8] } else { &[] };
            let result = compare(&kernel, free, &mut Random::new(3)).expect("it runs");
            let differences = result.differences.join("; ");
            assert!(
                differences.is_empty(),
                "{} {n} {k}: {differences}",
                kernel.name()
            );
        }
    }
}
