//! The interpreter.

use super::module;
use crate::format::codec::encode_tensor;
use crate::spec::interp::{InterpError, evaluate};
use crate::spec::kernel::{Extent, Role, Tensor};
use crate::spec::{BindError, bind};

fn floats(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn a_linear_layer() {
    let m = module(
        "language 1; import \"std/nf4\";
        kernel linear(weight w: nf4_64[N, K], input x: f32[M, K], input b: f32[N]) -> output y: f32[M, N] {
            y[m, n] = sum(k) w[n, k] * x[m, k] + b[n];
        }",
    );
    let k = &m.kernels[0];
    let (n, kk, mm) = (3u64, 70u64, 2u64);
    let w: Vec<f32> = (0..n * kk).map(|i| (i as f32 * 0.37).sin()).collect();
    let x: Vec<f32> = (0..mm * kk).map(|i| (i as f32 * 0.11).cos()).collect();
    let f = m.format("nf4_64").unwrap();
    let w = encode_tensor(f, &[n, kk], &w).unwrap();
    let decoded = crate::format::codec::decode_tensor(f, &[n, kk], &w).unwrap();
    let b = [1.0, 2.0, 3.0];
    let out = evaluate(
        k,
        &[n, kk, mm],
        &[Some(&w), Some(&floats(&x)), Some(&floats(&b))],
    )
    .unwrap();
    let y = &out[0].1;
    for m in 0..2 {
        for n in 0..3 {
            let want: f64 = (0..70)
                .map(|k| f64::from(decoded[n * 70 + k]) * f64::from(x[m * 70 + k]))
                .sum::<f64>()
                + f64::from(b[n]);
            assert!((y.values[m * 3 + n] - want).abs() < 1e-12);
            assert!(y.bound[m * 3 + n] > 1e-7 && y.bound[m * 3 + n] < 1e-3);
        }
    }
    insta::assert_snapshot!(k, @r#"
    kernel @linear {
      dim0: N
      dim1: K
      dim2: M
      t0: weight w: nf4_64[N, K]
      t1: input x: f32[M, K]
      t2: input b: f32[N]
      t3: output y: f32[M, N]
      statement
        e0 = load w[n.1, k.2]
        e1 = load x[m.0, k.2]
        e2 = mul e0, e1
        e3 = sum(k.2 < K) e2
        e4 = load b[n.1]
        e5 = add e3, e4
        y[m.0 < M, n.1 < N] = e5
    }
    "#);
    let bound = bind(k, &[("N", 3), ("K", 70)]).unwrap();
    assert!(matches!(
        bind(&bound, &[("K", 71)]),
        Err(BindError::Conflict { .. })
    ));
    assert!(matches!(
        bind(k, &[("Q", 1)]),
        Err(BindError::Unknown { .. })
    ));
    assert!(matches!(
        evaluate(&bound, &[3, 71, 2], &[]),
        Err(InterpError::Bound { .. })
    ));
    assert!(matches!(
        evaluate(&bound, &[3, 70, 2], &[]),
        Err(InterpError::Missing(_))
    ));
    let empty = evaluate(k, &[3, 0, 1], &[Some(&[]), Some(&[]), Some(&floats(&b))]).unwrap();
    assert_eq!(empty[0].1.values, [1.0, 2.0, 3.0]);
}

#[test]
fn integers_are_exact() {
    let m = module(
        "language 1;
        kernel mm(weight w: i8[N, K], input x: i8[M, K]) -> output y: i32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }
        kernel half(input x: i8[K]) -> output y: f32 { y = sum(k) x[k] / 2; }",
    );
    let out = evaluate(
        &m.kernels[0],
        &[1, 3, 1],
        &[Some(&[1, 2, 253]), Some(&[4, 5, 6])],
    )
    .unwrap();
    assert_eq!((out[0].1.values[0], out[0].1.bound[0]), (-4.0, 0.0));
    assert_eq!(out[0].1.bytes, (-4i32).to_le_bytes());
    let out = evaluate(&m.kernels[1], &[3], &[Some(&[1, 2, 254])]).unwrap();
    assert_eq!(out[0].1.values[0], 0.5);
    assert!(out[0].1.bound[0] > 0.0);
}

#[test]
fn looking_up_is_exact_and_checked() {
    let m = module(
        "language 1; import \"std/ggml\";
        kernel embed(stored t: q8_0[V, D], input id: i32[T]) -> output y: f32[T, D] { y[t, d] = t[id[t], d]; }",
    );
    let f = m.format("q8_0").unwrap();
    let table: Vec<f32> = (0..4 * 32).map(|i| i as f32).collect();
    let table = encode_tensor(f, &[4, 32], &table).unwrap();
    let ids = |a: i32, b: i32| [a.to_le_bytes(), b.to_le_bytes()].concat();
    let out = evaluate(
        &m.kernels[0],
        &[4, 32, 2],
        &[Some(&table), Some(&ids(3, 0))],
    )
    .unwrap();
    assert!(out[0].1.bound.iter().all(|b| *b == 0.0));
    assert!((out[0].1.values[31] - 127.0).abs() < 0.1);
    for bad in [4, -1] {
        let e = evaluate(
            &m.kernels[0],
            &[4, 32, 2],
            &[Some(&table), Some(&ids(bad, 0))],
        )
        .unwrap_err();
        assert!(matches!(e, InterpError::Outside { extent: 4, .. }), "{e}");
    }
}

#[test]
fn several_results_intermediates_and_quantising() {
    let m = module(
        "language 1; import \"std/ints\";
        kernel stats(input x: f32[M, K]) -> (output a: f32[M], output c: f32[M]) {
            let h[m, k] = x[m, k] * 2;
            a[m], c[m] = max(k) h[m, k], sum(k) abs(h[m, k]) / K;
        }
        kernel q(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize x[m, k] as q8_32; }
        kernel q2(input x: f32[M, K]) -> output y: q8_32[M, K] { y[m, k] = quantize exp(x[m, k]) as q8_32; }",
    );
    let x = floats(&[1.0, -2.0, 3.0, 4.0]);
    let out = evaluate(&m.kernels[0], &[2, 2], &[Some(&x)]).unwrap();
    assert_eq!(out[0].1.values, [2.0, 8.0]);
    assert_eq!(out[1].1.values, [3.0, 7.0]);
    let f = m.format("q8_32").unwrap();
    let out = evaluate(&m.kernels[1], &[2, 2], &[Some(&x)]).unwrap();
    assert_eq!(
        out[0].1.bytes,
        encode_tensor(f, &[2, 2], &[1.0, -2.0, 3.0, 4.0]).unwrap()
    );
    assert!(out[0].1.bound.iter().all(|b| *b == 0.0));
    let out = evaluate(&m.kernels[2], &[2, 2], &[Some(&x)]).unwrap();
    assert!(
        out[0].1.bound.iter().all(|b| *b > 0.0 && *b < 1.0),
        "{:?}",
        out[0].1.bound
    );
}

#[test]
fn comparisons_in_doubt_widen_the_bound() {
    let m = module(
        "language 1;
        kernel s(input x: f32[K]) -> (output y: f32, output z: i32) { y, z = select(sum(k) x[k] > 0.3, 1, 0), round(sum(k) x[k] * 5); }",
    );
    let out = evaluate(&m.kernels[0], &[2], &[Some(&floats(&[0.1, 0.2]))]).unwrap();
    assert!(out[0].1.bound[0] >= 1.0);
    assert!(out[1].1.bound[0] >= 1.0);
    let out = evaluate(&m.kernels[0], &[2], &[Some(&floats(&[0.1, 0.9]))]).unwrap();
    assert_eq!(
        (
            out[0].1.values[0],
            out[0].1.bound[0],
            out[1].1.values[0],
            out[1].1.bound[0]
        ),
        (1.0, 0.0, 5.0, 0.0)
    );
}

#[test]
fn the_deepest_expressions_fit_the_stack() {
    let sum = |x: &str| {
        format!("{}{x}{}", "(1 + ".repeat(60), ")".repeat(60)) + &format!(" + {x}").repeat(180)
    };
    let text = format!(
        "language 1;
        format f = block i < 4 {{ d: f32; q[i]: int(8); value = {}; encode x {{ d = {}; q[i] = {}; }} }}
        kernel k(input w: f[K]) -> output y: f32[K] {{ y[k] = {}; }}",
        sum("d"),
        sum("max(i) x[i]"),
        sum("x[i]"),
        sum("w[k]")
    );
    // reductions are limited for each statement
    let text = text.replace(&sum("max(i) x[i]"), "max(i) x[i]");
    let m = module(&text);
    let out = evaluate(&m.kernels[0], &[4], &[Some(&[0; 8])]).unwrap();
    assert_eq!(out[0].1.values[0], 60.0 + 181.0 * 60.0);
    assert!(crate::format::text::definition(&m.formats[0]).len() > 1000);
}

#[test]
fn a_quotient_of_an_index_reads_the_element_of_a_group() {
    let m = module(
        "language 1;
        kernel k(input q: f32[N, K], input s: f32[N, K / 4], input t: f32[K / 4 , N / 2]) -> output y: f32[N, K] {
            y[n, k] = q[n, k] * s[n, k / 4] + t[k / 4, n / 2];
        }",
    );
    let (n, k) = (3, 6);
    let q: Vec<f32> = (0..n * k).map(|i| i as f32).collect();
    let s: Vec<f32> = (0..n * 2).map(|i| 10.0 + i as f32).collect();
    let t: Vec<f32> = (0..4).map(|i| 100.0 * i as f32).collect();
    let inputs = [&q, &s, &t].map(|x| floats(x));
    let inputs: Vec<Option<&[u8]>> = inputs.iter().map(|b| Some(&b[..])).collect();
    let out = evaluate(&m.kernels[0], &[n, k], &inputs).unwrap();
    for (at, y) in out[0].1.values.iter().enumerate() {
        let (r, c) = (at / 6, at % 6);
        let want = q[at] * s[r * 2 + c / 4] + t[c / 4 * 2 + r / 2];
        assert_eq!(*y, f64::from(want));
    }
    // As one says it: the index takes its extent from the groups, if that is all there is.
    let m = module(
        "language 1;
        kernel k(input s: f32[N, K / 4], input i: f32[K / 4]) -> (output y: f32[N], output g: f32[N, K / 4]) {
            y[n] = sum(k) s[n, k / 4];
            g[n, j] = s[n, j] * i[j];
        }
        kernel nested(input s: f32[K / 2 / 3], input q: f32[K]) -> output y: f32[K] { y[k] = q[k] * s[k / 3 / 2]; }",
    );
    assert!(m.kernels[1].to_string().contains("load s[k.0 / 6]"));
    let text = m.kernels[0].to_string();
    assert!(
        text.contains("sum(k.1 < K)") && text.contains("t3: output g: f32[N, K / 4]"),
        "{text}"
    );
}

#[test]
fn every_example_evaluates() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../dsl-examples");
    for entry in std::fs::read_dir(folder).unwrap() {
        let m = module(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        for k in &m.kernels {
            let dims: Vec<u64> = k
                .dims
                .values()
                .map(|d| {
                    if d.name == "K" || d.name == "D" {
                        96
                    } else {
                        3
                    }
                })
                .collect();
            let extent = |e: &Extent| e.value(|d| Some(dims[d.as_u32() as usize])).unwrap();
            let shape = |t: &Tensor| t.shape.iter().map(extent).collect::<Vec<u64>>();
            let data = |t: &Tensor| {
                let n: u64 = shape(t).iter().product();
                let x: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 40.0).collect();
                encode_tensor(&t.format, &shape(t), &x).unwrap()
            };
            let inputs: Vec<Option<Vec<u8>>> = k
                .tensors
                .values()
                .map(|t| (!matches!(t.role, Role::Output | Role::Local)).then(|| data(t)))
                .collect();
            let inputs: Vec<Option<&[u8]>> = inputs.iter().map(Option::as_deref).collect();
            for (t, out) in evaluate(k, &dims, &inputs).unwrap() {
                let t = &k.tensors[t];
                assert_eq!(
                    Some(out.bytes.len() as u64),
                    t.format.tensor_bytes(&shape(t))
                );
                let exact = matches!(k.name.as_str(), "int8_matmul" | "embedding" | "dequantize");
                for (v, b) in out.values.iter().zip(&out.bound) {
                    assert!(
                        v.is_finite() && *b <= 5e-2 * v.abs().max(1.0),
                        "{}: {v} within {b}",
                        k.name
                    );
                    assert!(!exact || *b == 0.0);
                }
            }
        }
    }
}
