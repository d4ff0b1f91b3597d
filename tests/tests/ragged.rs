//! Sums over rows that end within a chunk: activations go on with zeros, and weights are read up to the end of the chunk.

use lowbit::check::{Random, compare};
use lowbit::compiler::format::FormatKind;
use lowbit::{Engine, Kernel, Tensor};

/// Weights in blocks of all kinds, with activations.
const FORMATS: &str = "language 1;
    import \"std/ggml\";
    import \"std/ints\";
    import \"std/ggml_k\";
    import \"std/nf4\";
    import \"std/ternary\";
    format a8 = block i < 32 { d: f32; q[i]: int(8); value = d * q[i];
        encode x { d = max(i) abs(x[i]) / 127; q[i] = x[i] / d; } }
    format zero_point = block i < 32 { d: f32; z: uint(8); q[i]: uint(8); value = d * (q[i] - z);
        encode x { d = max(i) abs(x[i]) / 127; z = 128; q[i] = x[i] / d + z; } }
    format reversed = block i < 32 { d: f32; q[i]: int(4); r[31 - i]: uint(1); value = d * q[i] * r[31 - i];
        encode x { d = max(i) abs(x[i]) / 7; q[i] = x[i] / d; r[31 - i] = 1; } }
    format divided = block i < 64 { d: f16; s[i / 8]: uint(4); q[i]: uint(4); value = d * q[i] / s[i / 8];
        encode x { d = max(i) abs(x[i]); s[i / 8] = 1; q[i] = abs(x[i]) / d; } }
    format not_all = block i < 64 { d: f16; q[i]: codebook [-1, 0, 1] else nan; value = d * q[i]; }";

fn engine() -> Engine {
    Engine::host().expect("an engine")
}

fn kernel(weight: &str, x: &str, n: u64, k: u64) -> Kernel {
    let (quantised, read) = match x {
        "f32" | "i8" => (String::new(), format!("x: {x}[M, K]")),
        format => (
            format!("let q[m, k] = quantize x[m, k] as {format};"),
            "x: f32[M, K]".to_owned(),
        ),
    };
    let value = if quantised.is_empty() { "x" } else { "q" };
    let text = format!(
        "{FORMATS}
        kernel linear(weight w: {weight}[N, K], input {read}) -> output y: f32[M, N] {{
            {quantised}
            y[m, n] = sum(k) w[n, k] * {value}[m, k];
        }}"
    );
    compiled(&text, n, k)
}

fn compiled(text: &str, n: u64, k: u64) -> Kernel {
    let dims = [("N", n), ("K", k)];
    engine().compile(text, &dims).expect(text)
}

/// Whether elements past whole chunks are summed one by one.
fn has_tail(kernel: &Kernel) -> bool {
    let stages = kernel.program().expect("a program").stages.iter();
    let mut parts = stages.flat_map(|s| &s.parts);
    parts.any(|(_, placed, ..)| placed.axes.values().any(|a| a.name.ends_with(".tail")))
}

fn differences(kernel: &Kernel, m: u64) -> Vec<String> {
    let result = compare(kernel, &[m], &mut Random::new(11)).expect("it runs");
    result.differences
}

#[test]
fn sums_of_any_length_run_over_whole_chunks() {
    let weights = [
        "q4_0",
        "q8_0",
        "iq4_nl",
        "q4_k",
        "q2_k",
        "tq1_0",
        "nf4_64",
        "ternary3_96",
        "i2_s",
    ];
    let mut wrong = Vec::new();
    for weight in weights {
        for x in ["f32", "i8", "a8"] {
            for (n, k) in [(1, 1), (16, 95), (17, 257), (33, 1031)] {
                let kernel = kernel(weight, x, n, k);
                let found = differences(&kernel, 3);
                if has_tail(&kernel) || !found.is_empty() {
                    wrong.push(format!("{weight} × {x}, {n} × {k}: {}", found.join("; ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lengths_that_are_known_at_the_call_need_no_tail_after_quantising() {
    let text = format!(
        "{FORMATS}
        kernel linear(weight w: nf4_64[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
            let q[m, k] = quantize x[m, k] as a8;
            y[m, n] = sum(k) w[n, k] * q[m, k];
        }}"
    );
    let kernel = engine().compile(&text, &[]).expect("it compiles");
    assert!(!has_tail(&kernel));
    for dims in [[1, 1, 1], [17, 95, 2], [33, 128, 5], [16, 1031, 1]] {
        let result = compare(&kernel, &dims, &mut Random::new(5)).expect("it runs");
        assert_eq!(result.differences, [""; 0], "{dims:?}");
    }
}

/// Codes that are no numbers, sums that do not vanish where activations do, other reductions, and activations whose codes of 0
/// are not worth 0.
#[test]
fn what_does_not_vanish_past_the_end_is_summed_to_the_end() {
    let with = |statement: &str| {
        format!(
            "{FORMATS}
            kernel linear(weight w: q4_0[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
                {statement}
            }}"
        )
    };
    let texts = [
        (
            "a sum of sums",
            with("y[m, n] = sum(k) (w[n, k] + x[m, k]);"),
        ),
        ("powers", with("y[m, n] = sum(k) exp(w[n, k] * x[m, k]);")),
        (
            "a quotient",
            with("y[m, n] = sum(k) x[m, k] / (w[n, k] + 100);"),
        ),
        ("the largest", with("y[m, n] = max(k) w[n, k] * x[m, k];")),
    ];
    let mut kernels: Vec<(&str, Kernel)> = texts
        .iter()
        .map(|(name, text)| (*name, compiled(text, 17, 77)))
        .collect();
    kernels.push((
        "codes that are no numbers",
        kernel("not_all", "f32", 17, 77),
    ));
    kernels.push(("codes in another order", kernel("q4_0", "reversed", 17, 77)));
    kernels.push(("divisors that run out", kernel("divided", "f32", 17, 77)));
    kernels.push(("numbers that may be infinite", kernel("f16", "f32", 17, 77)));
    kernels.push(("zero points", kernel("q4_0", "zero_point", 17, 77)));
    for (name, kernel) in kernels {
        assert!(has_tail(&kernel), "{name}");
        assert_eq!(differences(&kernel, 3), [""; 0], "{name}");
    }
}

/// The tensor with other codes in what fills up its last blocks.
fn with_codes_past_the_end(tensor: &Tensor) -> Tensor {
    let format = tensor.format().clone();
    let FormatKind::Block(block) = &format.kind else {
        return tensor.clone();
    };
    let [rows, columns] = [tensor.shape()[0], tensor.shape()[1]];
    let mut bytes = tensor.bytes().to_vec();
    let (row, one) = (bytes.len() / rows as usize, block.bytes as usize);
    let left = (columns % u64::from(block.len)) as usize;
    let field = block.fields.values().find(|f| f.per_element());
    let field = field.expect("codes of elements");
    let (real, past) = field.occurrence.split_at(left);
    for last in bytes.chunks_exact_mut(row).map(|r| &mut r[row - one..]) {
        for slot in past.iter().filter(|o| !real.contains(o)) {
            field.write(last, *slot as usize, u32::MAX);
        }
    }
    Tensor::from_bytes(format.clone(), tensor.shape(), bytes).expect("a tensor")
}

fn results(kernel: &Kernel, w: &Tensor, x: &Tensor) -> Vec<f32> {
    let w = kernel.convert("w", w).expect("it packs");
    let y = kernel.call(&[("w", &w), ("x", x)]).expect("it runs");
    y.to_f32().expect("numbers")
}

#[test]
fn neither_codes_past_the_end_nor_other_rows_are_in_a_sum() {
    let (m, n, k) = (3, 21, 77);
    for weight in ["q4_0", "iq4_nl", "tq1_0", "nf4_64", "ternary3_96"] {
        for x in ["f32", "a8"] {
            let kernel = kernel(weight, x, n, k);
            let mut random = Random::new(2);
            let mut values = |count: u64| -> Vec<f32> {
                (0..count)
                    .map(|_| random.below(201) as f32 / 100.0 - 1.0)
                    .collect()
            };
            let (weights, mut inputs) = (values(n * k), values(m * k));
            // Another row with infinities, right behind.
            inputs[k as usize..2 * k as usize].fill(f32::INFINITY);
            let declared = kernel.spec().tensors.values().find(|t| t.name == "w");
            let format = declared.expect("weights").format.clone();
            let clean = Tensor::quantize(format, &[n, k], &weights).expect("a tensor");
            let x = Tensor::from_f32(&[m, k], &inputs).expect("a tensor");
            let wanted = results(&kernel, &clean, &x);
            let found = results(&kernel, &with_codes_past_the_end(&clean), &x);
            for row in [0, 2].map(|m| m * n as usize..(m + 1) * n as usize) {
                assert!(
                    wanted[row.clone()].iter().all(|v| v.is_finite()),
                    "{weight}"
                );
                assert_eq!(found[row.clone()], wanted[row], "{weight}");
            }
        }
    }
}

#[test]
fn intermediates_that_go_on_with_zeros_are_moved_and_read_row_by_row() {
    let text = format!(
        "{FORMATS}
        kernel both(weight w: q4_k[N, K], weight v: nf4_64[N, K], input x: f32[M, K])
            -> (output y: f32[M, N], output z: a8[M, K], output r: f32[M, K]) {{
            let q[m, k] = quantize x[m, k] as a8;
            y[m, n] = sum(k) w[n, k] * q[m, k] + sum(k) v[n, k] * q[m, k];
            z[m, k] = q[m, k];
            r[m, k] = q[m, k];
        }}"
    );
    for (n, k, m) in [(17, 257, 3), (16, 95, 2), (1, 1, 1)] {
        let kernel = compiled(&text, n, k);
        assert_eq!(differences(&kernel, m), [""; 0], "{n} × {k}, {m} rows");
    }
    // With a scale for a row, and in rows that share blocks.
    for (x, n, k) in [("int8_row", 17, 77), ("int8_row", 16, 4095)] {
        let kernel = kernel("q4_0", x, n, k);
        assert_eq!(differences(&kernel, 3), [""; 0], "{x} {n} × {k}");
    }
}
