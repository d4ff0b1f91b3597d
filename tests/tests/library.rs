//! Every format that ships, in the kernels that people write first: linear layers over packed and over stored weights, with
//! f32 and with int8 activations, decoding and quantising; on shapes that no block divides.

use lowbit::check::{Random, compare};
use lowbit::compiler::format::Format;
use lowbit::compiler::spec::load;
use lowbit::{Decoder, Encoder, Engine, Options, Tensor};
use lowbit_tests::{block_len, encodes, is_woven, library, on_two_threads};
use std::sync::Arc;

/// A format, the module that it is in, and the kernels that it can be used in.
struct Case {
    name: String,
    text: String,
    /// Elements of a block; 1 without one.
    len: u64,
    /// Whether rows share blocks: some kernels refuse that.
    woven: bool,
}

fn kernels(module: &str, format: &Format) -> String {
    let name = &format.name;
    let mut text = format!(
        "language 1;
        import \"std/ints\";
        import \"{module}\";
        kernel packed(weight w: {name}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }}
        kernel packed_int8(weight w: {name}[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {{
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }}
        kernel as_stored(stored w: {name}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }}
        kernel decode(stored w: {name}[N, K], input x: f32[M]) -> output y: f32[N, K] {{
            y[n, k] = w[n, k];
        }}\n"
    );
    if encodes(format) {
        text += &format!(
            "kernel encode(input x: f32[N, K], input z: f32[M]) -> output w: {name}[N, K] {{
                w[n, k] = quantize x[n, k] as {name};
            }}\n"
        );
    }
    text
}

fn cases() -> Vec<Case> {
    let case = |(module, format): (&str, Arc<Format>)| Case {
        name: format.name.clone(),
        text: kernels(module, &format),
        len: block_len(&format),
        woven: is_woven(&format),
    };
    library().into_iter().map(case).collect()
}

/// What went wrong with a case.
fn failures(engine: &Engine, case: &Case) -> Vec<String> {
    let module = engine.load(&case.text).expect(&case.name);
    let mut failures = Vec::new();
    for spec in &module.kernels {
        let shape = [3, 5, case.len + 7];
        // The order of the dimensions is that of their first use.
        let extent = |name: &str| match name {
            "M" => shape[0],
            "N" => shape[1],
            _ => shape[2],
        };
        let dims: Vec<u64> = spec.dims.values().map(|d| extent(&d.name)).collect();
        let bound: Vec<(&str, u64)> = spec
            .dims
            .values()
            .filter(|d| d.name != "M")
            .map(|d| (d.name.as_str(), extent(&d.name)))
            .collect();
        let options = Options {
            kernel: Some(spec.name.clone()),
            ..Options::default()
        };
        let at = format!("{} of {}", spec.name, case.name);
        let kernel = match engine.compile_module(&module, &bound, &options) {
            Ok(kernel) => kernel,
            Err(e) if case.woven && e.to_string().contains("not supported yet") => continue,
            Err(e) => {
                failures.push(format!("{at}: {e}"));
                continue;
            }
        };
        let free: Vec<u64> = spec
            .dims
            .values()
            .zip(&dims)
            .filter(|(d, _)| d.name == "M")
            .map(|(_, n)| *n)
            .collect();
        match compare(&kernel, &free, &mut Random::new(11)) {
            Ok(result) if result.differences.is_empty() => {}
            Ok(result) => failures.push(format!("{at}: {}", result.differences[0])),
            Err(e) => failures.push(format!("{at}: {e}")),
        }
    }
    failures
}

#[test]
fn every_format_that_ships_works_in_kernels() {
    let engine = Engine::host().expect("an engine");
    let cases = cases();
    assert!(cases.len() >= 50, "{}", cases.len());
    let failed = on_two_threads(cases, |case| failures(&engine, &case));
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Formats that do not ship: rows that share blocks, and parts of codes everywhere.
const OTHERS: &str = "language 1;
    format woven = block r < 4, i < 20 { d[r]: f16; q[r, i]: uint(3); value = d[r] * (q[r, i] - 3); }
    format planes = block i < 24, bytes 11 {
        d: f16 at 0;
        q[i]: int(3) at (2: msb 16 + 2 * i, 1: msb 64 + i);
        value = d * q[i];
    }";

#[test]
fn bulk_work_gives_what_the_reference_codec_gives() {
    let engine = Engine::host().expect("an engine");
    let mut formats = load("others", OTHERS, &|_| None).expect("it reads").formats;
    formats.extend(library().into_iter().map(|(_, format)| format));
    let mut quantised = 0;
    for (n, format) in formats.iter().enumerate() {
        let name = &format.name;
        // Rows that no block divides, and for some formats more of them than one thread takes at a time.
        let rows = if n % 10 == 0 { 900 } else { 9 };
        let (decoder, encoder) = (Decoder::new(&engine, format), Encoder::new(&engine, format));
        let decoder = decoder.expect(name);
        for shape in [
            vec![3, 2, 261],
            vec![rows, 300],
            vec![67, 37],
            vec![33, 1],
            vec![7],
            vec![0, 5],
        ] {
            let mut random = Random::new(5);
            let count: u64 = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|_| random.real()).collect();
            let tensor = match Tensor::quantize(format.clone(), &shape, &values) {
                Ok(wanted) => {
                    quantised += 1;
                    let encoder = encoder.as_ref().expect(name);
                    let ours = encoder.quantize(&shape, &values, 2).expect(name);
                    assert!(ours.bytes() == wanted.bytes(), "{name} {shape:?}");
                    wanted
                }
                Err(_) => {
                    assert!(encoder.is_err(), "{name}");
                    let size = format.tensor_bytes(&shape).expect("a size");
                    let bytes = (0..size).map(|_| random.number() as u8).collect();
                    Tensor::from_bytes(format.clone(), &shape, bytes).expect(name)
                }
            };
            let (ours, wanted) = (
                decoder.decode(&tensor, 2).expect(name),
                tensor.to_f32().expect(name),
            );
            let same =
                |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(ours.iter().zip(&wanted).all(same), "{name} {shape:?}");
            assert_eq!(ours.len(), wanted.len());
        }
    }
    assert!(quantised > 100, "{quantised}");
}

#[test]
fn a_decoder_refuses_tensors_of_another_layout() {
    let engine = Engine::host().expect("an engine");
    let text = "language 1; import \"std/ggml\";";
    let module = load("two", text, &|_| None).expect("it reads");
    let format = |name: &str| module.format(name).expect(name);
    let decoder = Decoder::new(&engine, format("q8_0")).expect("a decoder");
    let short = Tensor::quantize(format("q4_0").clone(), &[2, 64], &[1.0; 128]);
    let refused = decoder.decode(&short.expect("a tensor"), 2);
    let refused = refused.expect_err("fewer bytes").to_string();
    assert!(
        refused.contains("`q4_0`") && refused.contains("`q8_0`"),
        "{refused}"
    );
}
