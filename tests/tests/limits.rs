//! Kernels at the edges: many axes, and activations in the densest formats.

use lowbit::check::{Random, compare};
use lowbit::compiler::target::Target;
use lowbit::{Engine, Error};
use lowbit_tests::on_two_threads;

const TARGETS: [&str; 4] = ["x86-64", "x86-64-v3", "x86-64-vnni", "aarch64-dotprod"];

fn engine(target: &str) -> Engine {
    Engine::new(Target::named(target).expect("a target")).expect("an engine")
}

/// Minima and scales of two levels, and a panel for two axes of batches that no tile divides.
#[test]
fn blocks_of_blocks_have_kernels_with_several_axes_of_batches() {
    let text = "language 1; import \"std/ggml_k\"; import \"std/ints\";
        kernel k(weight w: q5_k[N, K], input x: q8_32[B, M, K]) -> output y: f32[B, M, N] {
            y[b, m, n] = sum(k) w[n, k] * x[b, m, k];
        }";
    let failed = on_two_threads(TARGETS, |target| {
        let dims = [("N", 23), ("K", 16), ("B", 2), ("M", 9)];
        let kernel = engine(target).compile(text, &dims).expect(target);
        kernel.program().expect(target);
        if kernel.target().features.runs_here() {
            let result = compare(&kernel, &[], &mut Random::new(7)).expect(target);
            result.differences
        } else {
            Vec::new()
        }
    });
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn a_statement_of_more_axes_than_there_are_names_for_is_refused() {
    let sums = |count: usize| -> String {
        let inputs: Vec<String> = (0..count)
            .map(|i| format!("input x{i}: f32[K{i}]"))
            .collect();
        let sums: Vec<String> = (0..count).map(|i| format!("(sum(k) x{i}[k])")).collect();
        format!(
            "language 1; kernel k({}) -> output y: f32 {{ y = {}; }}",
            inputs.join(", "),
            sums.join(" + ")
        )
    };
    let engine = engine("x86-64-v3");
    engine.compile(&sums(3), &[]).expect("a kernel");
    let error = engine.compile(&sums(60), &[]).expect_err("an error");
    assert!(matches!(error, Error::Compile(_)), "{error:?}");
    assert!(error.to_string().contains("64"), "{error}");
}

/// Digits are told apart by products that round, which is exact: only tables of sums may be rounded, and are said to be.
#[test]
fn digits_of_activations_are_not_said_to_be_rounded() {
    let text = "language 1; import \"std/ggml\"; import \"std/ints\";
        kernel digits(input w: tq1_0[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] tables int8 {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }
        kernel sums(weight w: int2_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] tables int8 {
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }";
    for (name, any) in [("digits", false), ("sums", true)] {
        let engine = engine("x86-64-v3");
        let options = lowbit::Options {
            kernel: Some(name.to_owned()),
            ..lowbit::Options::default()
        };
        let dims = [("N", 64), ("K", 512)];
        let kernel = engine.compile_with(text, &dims, &options).expect(name);
        let program = kernel.program().expect(name);
        let mut candidates = program.stages.iter().flat_map(|s| &s.candidates);
        let digits = |text: &str| text.contains("digits");
        assert!(
            any || candidates.clone().any(|c| digits(&c.name)),
            "no digits in {name}"
        );
        assert_eq!(candidates.any(|c| c.rounded), any, "{name}");
    }
}

/// Codes of a codebook are rounded to bytes where each belongs to one element, as the bound has it; exact lowerings stand beside.
#[test]
fn codes_of_one_element_are_rounded_beside_exact_ones() {
    for (codes, rounded) in [("q[i]", true), ("q[i / 2]", false)] {
        let text = format!(
            "language 1; import \"std/ints\";
            format f = block i < 32 {{ d: f16; {codes}: codebook [-1, -0.69, -0.52, -0.39, 0, 0.08, 0.24, 0.9]; value = d * {codes}; }}
            kernel k(weight w: f[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] tables int8 {{
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }}"
        );
        let kernel = engine("x86-64-vnni").compile(&text, &[("N", 64), ("K", 512)]);
        let kernel = kernel.expect(codes);
        let program = kernel.program().expect(codes);
        let candidates = || program.stages.iter().flat_map(|s| &s.candidates);
        assert_eq!(candidates().any(|c| c.rounded), rounded, "{codes}");
        assert!(candidates().any(|c| !c.rounded), "{codes}");
    }
}

/// Tensors that no memory holds: their kernels are compiled, as those with free dimensions are, and no call is ever made.
#[test]
fn extents_whose_product_no_number_holds_are_compiled() {
    let texts = [
        "kernel k(stored w: a[A, B, N, K]) -> output y: b[A, B, N, K] { y[a, b, n, k] = w[a, b, n, k]; }",
        "kernel k(stored w: a[A, B, N, K]) -> output y: f32[A, B, N, K] { y[a, b, n, k] = w[a, b, n, k]; }",
        "kernel k(input x: f32[A, B, N, K]) -> output y: a[A, B, N, K] { y[a, b, n, k] = quantize x[a, b, n, k] as a; }",
        "kernel k(weight w: a[A, B, N, K], input x: f32[K]) -> output y: f32[A, B, N] { y[a, b, n] = sum(k) w[a, b, n, k] * x[k]; }",
    ];
    let formats = "format a = block i < 32 { d: f16; q[i]: int(4); value = d * q[i]; }
        format b = block r < 4, i < 32 { d[r]: f16; q[r, i]: int(4); value = d[r] * q[r, i]; }";
    let most = 1 << 32;
    let dims = [("A", most), ("B", most), ("N", most), ("K", most)];
    for text in texts {
        let text = format!("language 1; {formats} {text}");
        let kernel = engine("x86-64-v3").compile(&text, &dims).expect(&text);
        let spec = kernel.spec();
        let given = spec.tensors.values().next().expect("a tensor");
        assert_eq!(given.format.tensor_bytes(&[most; 4]), None, "{text}");
    }
}
