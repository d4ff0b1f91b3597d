//! A layer of a real model, brought into other formats: quantised weights stay within the error that a format implies, and
//! the compiled products are those of the quantised weights. Run `scripts/fetch-weights.sh` first; without the model the test
//! says so, and fails where the environment has `CI`.

use lowbit::compiler::format::{BlockFormat, Format, FormatKind};
use lowbit::compiler::spec::load;
use lowbit::files::TensorFile;
use lowbit::{Decoder, Encoder, Engine, Tensor};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const MODEL: &str = "../weights/SmolLM2-135M-Instruct.Q4_1.gguf";

/// The module and the name of each format.
const FORMATS: [(&str, &str); 10] = [
    ("std/ggml", "q4_0"),
    ("std/ggml", "q5_1"),
    ("std/ggml", "q8_0"),
    ("std/ggml", "iq4_nl"),
    ("std/ggml", "tq2_0"),
    ("std/mx", "mxfp4"),
    ("std/mx", "mxfp6_e2m3"),
    ("std/ints", "int3_32"),
    ("std/nf4", "nf4_64"),
    ("std/floats", "fp4_32"),
];

fn format(module: &str, name: &str) -> Arc<Format> {
    let text = lowbit::compiler::format::std::source(module).expect("its text");
    let loaded = load(module, text, &|_| None).expect("it reads");
    loaded.format(name).expect(name).clone()
}

fn block(format: &Format) -> &BlockFormat {
    match &format.kind {
        FormatKind::Block(block) => block,
        FormatKind::Plain(_) => panic!("a block format"),
    }
}

/// The largest error over the largest magnitude of a block: the widest gap between neighbouring values of a code, in units
/// of the largest one; a clipped end costs as much. The rounding of the scales comes on top.
fn implied(block: &BlockFormat) -> f64 {
    let codes = block.fields.values().find(|f| f.count == block.len);
    let mut values = codes.expect("codes of elements").element.values();
    values.sort_by(f64::total_cmp);
    let reach = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let gaps = values.windows(2).map(|w| w[1] - w[0]);
    // A shift of the codes moves them by half of their range at most.
    let shifted = if values[0] >= 0.0 { 0.5 } else { 1.0 };
    gaps.fold(0.0, f64::max) / (reach * shifted) * 1.02
}

/// The activations: numbers that f32 holds exactly.
fn activations(columns: u64) -> Vec<f32> {
    let number = |k: i64| ((k * 37 + 11) % 64 - 32) as f32 / 32.0;
    (0..columns as i64).map(number).collect()
}

fn check(name: &str, block: &BlockFormat, x: &[f32], w: &[f32], quantised: &[f32], y: &[f32]) {
    let columns = x.len();
    let implied = implied(block);
    for (part, found) in w
        .chunks(block.len as usize)
        .zip(quantised.chunks(block.len as usize))
    {
        let most = part.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        for (value, found) in part.iter().zip(found) {
            let error = f64::from((value - found).abs());
            assert!(
                error <= implied * f64::from(most) + 1e-7,
                "{name}: {value} became {found} in a block of {most}"
            );
        }
    }
    let rows = quantised.chunks(columns).zip(y);
    let (mut off, mut norm) = (0.0, 0.0);
    for (row, y) in rows {
        let products = row
            .iter()
            .zip(x)
            .map(|(w, x)| f64::from(*w) * f64::from(*x));
        let wanted: f64 = products.sum();
        off += (wanted - f64::from(*y)).powi(2);
        norm += wanted * wanted;
    }
    assert!(
        off.sqrt() <= 1e-5 * norm.sqrt(),
        "{name}: off by {off:e} of {norm:e}"
    );
}

#[test]
fn a_layer_of_a_model_in_ten_formats_stays_within_their_errors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(MODEL);
    if !path.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "no weights; run scripts/fetch-weights.sh"
        );
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: no weights; run scripts/fetch-weights.sh"
        );
        return;
    }
    let file = TensorFile::open(&path).expect("the model");
    let engine = Engine::host().expect("an engine");
    let tensors: Vec<(String, Tensor)> = (0..30)
        .map(|n| format!("blk.{n}.ffn_down.weight"))
        .map(|name| (name.clone(), file.load(&name).expect("a layer")))
        .collect();
    let source = Decoder::new(&engine, tensors[0].1.format()).expect("a decoder");
    for (module, name) in FORMATS {
        let format = format(module, name);
        let encoder = Encoder::new(&engine, &format).expect(name);
        let decoder = Decoder::new(&engine, &format).expect(name);
        let text = format!(
            "language 1;
            import \"{module}\";
            kernel linear(weight w: {name}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{
                y[m, n] = sum(k) w[n, k] * x[m, k];
            }}"
        );
        let [rows, columns] = tensors[0].1.shape()[..] else {
            panic!("a matrix");
        };
        let kernel = engine.compile(&text, &[("N", rows), ("K", columns)]);
        let kernel = kernel.expect(name);
        let numbers = activations(columns);
        let x = Tensor::from_f32(&[1, columns], &numbers).expect("a row");
        for (layer, tensor) in &tensors {
            let values = source.decode(tensor, 2).expect("values");
            let made = encoder.quantize(tensor.shape(), &values, 2).expect(name);
            let quantised = decoder.decode(&made, 2).expect(name);
            let w = kernel.convert("w", &made).expect("its layout");
            let y = kernel.call(&[("w", &w), ("x", &x)]).expect("a product");
            let y = y.to_f32().expect("values");
            let name = format!("{layer} in {name}");
            check(&name, block(&format), &numbers, &values, &quantised, &y);
        }
    }
}
