//! Decoded and encoded values and whole products, held against implementations that are not ours (see `scripts/oracle.py`).
//!
//! Run `scripts/oracle.sh` first. Without its files these tests say so and compare nothing, except where the environment
//! has `CI`: there they fail.

#[path = "oracle/library.rs"]
mod library;
#[path = "oracle/search.rs"]
mod search;

use lowbit::compiler::format::codec::{decode_tensor, encode_tensor};
use lowbit::compiler::spec::load;
use lowbit::files::{Dtype, Kind, Metadata, TensorFile, format_of, write_tensors};
use lowbit::{Engine, Kernel, Tensor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the oracles; `None`, and a line that cannot be overlooked, if it is not there.
fn oracle(name: &str) -> Option<Vec<u8>> {
    let path = root().join("target/oracle").join(name);
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(e) if std::env::var_os("CI").is_some() => {
            panic!("{}: {e}; run scripts/oracle.sh", path.display())
        }
        Err(_) => {
            // Straight to the stream: what tests print is shown only if they fail.
            let _ = writeln!(
                std::io::stderr(),
                "\nSKIPPED: no target/oracle/{name}; run scripts/oracle.sh"
            );
            None
        }
    }
}

fn index(name: &str) -> Option<Value> {
    oracle(name).map(|bytes| serde_json::from_slice(&bytes).expect("the oracle writes JSON"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().expect("a list")
}

fn string<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().expect("a text")
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().expect("a number")
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]]))
        .collect()
}

/// Equal bit for bit; every NaN is like every other.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn compare(name: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let differing: Vec<usize> = (0..ours.len())
        .filter(|i| !same(ours[*i], theirs[*i]))
        .collect();
    if let Some(first) = differing.first() {
        let (a, b) = (ours[*first], theirs[*first]);
        panic!(
            "{name}: {} of {} values differ, the first at {first}: {a:e}, not {b:e}",
            differing.len(),
            ours.len()
        );
    }
}

#[test]
fn blocks_decode_as_ggml_does() {
    let Some(index) = index("formats/formats.json") else {
        return;
    };
    let blocks = list(&index, "blocks");
    assert_eq!(blocks.len(), 23);
    for entry in blocks {
        let name = string(entry, "name");
        let format = format_of(&Dtype::new(string(entry, "dtype"))).expect(name);
        let shape = [number(entry, "rows"), number(entry, "cols")];
        let bytes =
            oracle(&format!("formats/{name}.blocks.bin")).expect("the blocks beside the index");
        let values =
            oracle(&format!("formats/{name}.values.bin")).expect("the values beside the index");
        let ours = decode_tensor(&format, &shape, &bytes).expect(name);
        compare(name, &ours, &floats(&values));
    }
}

#[test]
fn blocks_encode_as_gguf_does() {
    let Some(index) = index("formats/formats.json") else {
        return;
    };
    let numbers = floats(&oracle("formats/numbers.bin").expect("the numbers beside the index"));
    let encoded = list(&index, "encoded");
    assert_eq!(encoded.len(), 8);
    for entry in encoded {
        let name = string(entry, "name");
        let format = format_of(&Dtype::new(string(entry, "dtype"))).expect(name);
        let shape = [number(entry, "rows"), number(entry, "cols")];
        let theirs =
            oracle(&format!("formats/{name}.encoded.bin")).expect("bytes beside the index");
        let ours = encode_tensor(&format, &shape, &numbers).expect(name);
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let row = theirs.len() / number(entry, "rows") as usize;
        let differing = (0..theirs.len()).filter(|i| ours[*i] != theirs[*i]);
        let differing: Vec<(usize, usize)> = differing.map(|i| (i / row, i % row)).collect();
        assert!(
            differing.is_empty(),
            "{name}: {} bytes differ, the first (row, byte) are {:?}",
            differing.len(),
            &differing[..differing.len().min(8)]
        );
    }
}

const MADE_UP: &str = "language 1;
import \"std/ggml\";
format octave = codebook [-4, -2, -1, 0, 1, 2, 4, 8];
format octave_20 = block i < 20 { scale: f16; code[i]: octave; value = scale * code[i]; }
";

/// What another program reads of a file that we wrote, as JSON; `None`, and a line that cannot be overlooked, if it is not
/// there.
fn read_by_gguf(file: &Path) -> Option<Value> {
    let python = root().join("target/oracle-venv/bin/python");
    if !python.exists() {
        assert!(std::env::var_os("CI").is_none(), "run scripts/oracle.sh");
        let _ = writeln!(
            std::io::stderr(),
            "\nSKIPPED: no target/oracle-venv; run scripts/oracle.sh"
        );
        return None;
    }
    let script = root().join("scripts/oracle.py");
    let mut command = std::process::Command::new(python);
    let done = command.arg(script).arg("--read").arg(file).output();
    let done = done.expect("python starts");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{errors}");
    Some(serde_json::from_slice(&done.stdout).expect("the oracle writes JSON"))
}

#[test]
fn files_that_we_write_are_read_by_gguf() {
    let module = load("oracle", MADE_UP, &|_| None).expect("the formats read");
    let quantised = |name: &str| {
        let format = module.format(name).expect(name).clone();
        let values: Vec<f32> = (0..4 * 64).map(|n| ((n * 37) % 101) as f32 / 8.0).collect();
        Tensor::quantize(format, &[4, 64], &values).expect("a tensor")
    };
    let norm = Tensor::from_f32(&[3], &[1.0, -2.5, 0.0]).expect("a tensor");
    let names = [
        "q4_0",
        "q4_1",
        "q5_0",
        "q5_1",
        "q8_0",
        "iq4_nl",
        "octave_20",
    ];
    let mut tensors: Vec<(&str, Tensor)> = names.map(|n| (n, quantised(n))).into();
    tensors.push(("norm", norm));
    let borrowed: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
    let mut bytes = Vec::new();
    write_tensors(&mut bytes, Kind::Gguf, &Metadata::new(), &borrowed).expect("written");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ours.gguf");
    fs::write(&file, bytes).expect("written");
    let Some(theirs) = read_by_gguf(&file) else {
        return;
    };
    let read = list(&theirs, "tensors");
    assert_eq!(read.len(), tensors.len());
    for (entry, (name, tensor)) in read.iter().zip(&tensors) {
        assert_eq!(string(entry, "name"), *name);
        let numbers = list(entry, "values").iter();
        let values: Vec<f32> = numbers
            .map(|v| v.as_f64().expect("a number") as f32)
            .collect();
        if *name == "octave_20" {
            // Bytes for all who do not read the definition.
            assert_eq!(number(entry, "type"), 24);
            let bytes = tensor.bytes().iter().map(|b| f32::from(*b as i8));
            compare(name, &bytes.collect::<Vec<f32>>(), &values);
        } else {
            compare(name, &tensor.to_f32().expect("values"), &values);
        }
    }
    let text = string(&theirs["texts"], "lowbit.formats");
    assert!(text.contains("format octave_20 = block i < 20 {"), "{text}");
}

/// `W x` in f64, row by row.
fn product(tensor: &Tensor) -> Vec<f64> {
    let cols = tensor.shape()[1] as usize;
    let x: Vec<f64> = (0..cols as i64)
        .map(|k| ((k * 37 + 11) % 64 - 32) as f64 / 32.0)
        .collect();
    let weights = tensor.to_f32().expect("the weights decode");
    let dot = |row: &[f32]| row.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum();
    weights.chunks_exact(cols).map(dot).collect()
}

/// Both sum in f64, in different orders: that costs a few units in the last place of the largest sum on the way.
fn close(ours: f64, theirs: f64, norm: f64) -> bool {
    (ours - theirs).abs() <= 1e-12 * norm.max(1.0)
}

#[test]
fn a_whole_model_multiplies_as_gguf_does() {
    let model = root().join("weights/SmolLM2-135M-Instruct.Q4_1.gguf");
    let Some(index) = index("smollm2.json") else {
        return;
    };
    let results = oracle("smollm2.f64").expect("the results beside the index");
    let results: Vec<f64> = results
        .chunks_exact(8)
        .map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]))
        .collect();
    let file = TensorFile::open(&model).expect("the model is there if its products are");
    let mut compared = 0;
    for entry in list(&index, "tensors") {
        let name = string(entry, "name");
        let tensor = file.load(name).expect(name);
        let shape: Vec<u64> = list(entry, "shape")
            .iter()
            .map(|n| n.as_u64().expect("an extent"))
            .collect();
        assert_eq!(tensor.shape(), shape, "{name}");
        let norm = entry["norm"].as_f64().expect("a norm");
        let theirs = &results[number(entry, "at") as usize..];
        for (row, (ours, theirs)) in product(&tensor).into_iter().zip(theirs).enumerate() {
            assert!(
                close(ours, *theirs, norm),
                "{name}, row {row}: {ours}, not {theirs}"
            );
            compared += 1;
        }
    }
    assert_eq!(compared, results.len());
}

/// The kernel of the examples, compiled for each shape of the model and run on every one of its matrices.
#[test]
fn the_compiled_kernel_multiplies_a_whole_model() {
    let model = root().join("weights/SmolLM2-135M-Instruct.Q4_1.gguf");
    let Some(index) = index("smollm2.json") else {
        return;
    };
    let results = oracle("smollm2.f64").expect("the results beside the index");
    let text = std::fs::read_to_string(root().join("dsl-examples/q4_1_linear.lowbit"));
    let text = text.expect("the example");
    let engine = Engine::host().expect("an engine");
    let file = TensorFile::open(&model).expect("the model is there if its products are");
    let mut kernels: BTreeMap<Vec<u64>, Kernel> = BTreeMap::new();
    let entries = list(&index, "tensors");
    assert_eq!(entries.len(), 210);
    for entry in entries {
        let name = string(entry, "name");
        let tensor = file.load(name).expect(name);
        let shape = tensor.shape().to_vec();
        let kernel = kernels.entry(shape.clone()).or_insert_with(|| {
            let dims = [("N", shape[0]), ("K", shape[1])];
            engine.compile(&text, &dims).expect("the kernel compiles")
        });
        let x: Vec<f32> = (0..shape[1] as i64)
            .map(|k| ((k * 37 + 11) % 64 - 32) as f32 / 32.0)
            .collect();
        let x = Tensor::from_f32(&[1, shape[1]], &x).expect("a row");
        let w = kernel.convert("w", &tensor).expect("the kernel's layout");
        let y = kernel.call(&[("w", &w), ("x", &x)]).expect("the call");
        let y = y.to_f32().expect("f32");
        let at = number(entry, "at") as usize;
        let theirs = results[at * 8..]
            .chunks_exact(8)
            .map(|c| f64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]));
        let error: f64 = y
            .iter()
            .zip(theirs)
            .map(|(a, b)| (f64::from(*a) - b).powi(2))
            .sum();
        let norm = entry["norm"].as_f64().expect("a norm");
        assert!(
            error.sqrt() <= 1e-5 * norm,
            "{name}: {} of {norm}",
            error.sqrt()
        );
    }
}

#[test]
fn the_slice_is_of_the_model() {
    let slice = TensorFile::open(root().join("tests/data/smollm2-slice.gguf"))
        .expect("the slice is in the repository");
    let k = slice.load("blk.0.attn_k.weight").expect("the matrix");
    assert_eq!(
        (k.shape(), k.format().name.as_str()),
        (&[96, 576][..], "q4_1")
    );
    let norm = slice.load("blk.0.attn_norm.weight").expect("the norm");
    assert_eq!(
        (norm.shape(), norm.format().name.as_str()),
        (&[576][..], "f32")
    );
    let Some(index) = index("smollm2.json") else {
        return;
    };
    let of_model = list(&index, "tensors")
        .iter()
        .find(|t| t["name"] == "blk.0.attn_k.weight")
        .expect("the matrix");
    let ours = product(&k);
    for (ours, theirs) in ours.iter().zip(list(of_model, "first")) {
        assert!(
            close(*ours, theirs.as_f64().expect("a number"), 1.0),
            "{ours}, not {theirs}"
        );
    }
}
