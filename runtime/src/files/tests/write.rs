//! Files that were written and are read again: what went in comes out.

use super::super::{
    Content, Dtype, Entry, FileError, Kind, Metadata, TensorFile, Value, file_type, write_lazily,
    write_tensors,
};
use super::build::*;
use super::read;
use crate::Tensor;
use lowbit_compiler::format::layout::same_layout;
use lowbit_compiler::format::{Format, FormatKind, std as shipped};
use lowbit_compiler::spec::load;
use std::sync::Arc;

const KINDS: [Kind; 2] = [Kind::Gguf, Kind::Safetensors];

/// A format that nobody knows, one whose rows are interleaved, one of ggml, and plain ones.
const TEXT: &str = r#"language 1;
import "std/ggml";
import "std/floats";
format octave = codebook [-4, -2, -1, 0, 1, 2, 4, 8];
format octave_20 = block i < 20 {
    scale: f16;
    code[i]: octave;
    value = scale * code[i];
}
format woven = block r < 4, i < 32, bytes 72 {
    d[r]: f16 at 16 * r;
    q[r, i]: uint(4) at 64 + 4 * r + 16 * i;
    value = d[r] * (q[r, i] - 8);
    encode x { d[r] = absmax_signed(i) x[r, i] / -8; q[r, i] = floor(x[r, i] / d[r] + 8.5); }
}
format half = f16;
"#;

fn format(name: &str) -> Arc<Format> {
    let module = load("test", TEXT, &|_| None).expect("the formats read");
    module.format(name).expect(name).clone()
}

fn tensor(format: Arc<Format>, shape: &[u64]) -> Tensor {
    let count = shape.iter().product::<u64>();
    let values: Vec<f32> = (0..count)
        .map(|n| ((n * 37 + 11) % 64) as f32 / 8.0 - 4.0)
        .collect();
    if let FormatKind::Block(b) = &format.kind
        && b.encode.is_none()
    {
        let bytes = (0..format.tensor_bytes(shape).expect("a size")).map(|n| (n * 29) as u8);
        return Tensor::from_bytes(format, shape, bytes.collect()).expect("a tensor");
    }
    Tensor::quantize(format, shape, &values).expect("a tensor")
}

/// Tensors of all sorts: whole and ragged rows, interleaved rows, no axes, no elements, odd names.
fn tensors() -> Vec<(String, Tensor)> {
    let f32s = Tensor::from_f32(&[3], &[1.0, -2.0, f32::INFINITY]).expect("a tensor");
    let list = [
        ("norm", f32s.clone()),
        ("q", tensor(format("q4_1"), &[2, 64])),
        ("ragged", tensor(format("q4_1"), &[2, 33])),
        ("made up \"\\\n{}é", tensor(format("octave_20"), &[3, 50])),
        ("woven", tensor(format("woven"), &[2, 6, 40])),
        ("half", tensor(format("half"), &[5, 1])),
        ("e4m3", tensor(format("f8e4m3fn"), &[3])),
        (
            "bytes",
            Tensor::from_i8(&[2, 2], &[1, -2, 3, -4]).expect("a tensor"),
        ),
        ("scalar", Tensor::from_f32(&[], &[7.0]).expect("a tensor")),
        ("empty", Tensor::from_f32(&[0, 4], &[]).expect("a tensor")),
        ("five axes", tensor(f32s.format().clone(), &[1, 2, 1, 2, 1])),
    ];
    list.map(|(name, tensor)| (name.to_owned(), tensor)).into()
}

fn borrowed(tensors: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
    tensors.iter().map(|(n, t)| (n.as_str(), t)).collect()
}

fn written(kind: Kind, metadata: &Metadata, tensors: &[(String, Tensor)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_tensors(&mut bytes, kind, metadata, &borrowed(tensors)).expect("written");
    bytes
}

fn same(name: &str, a: &Tensor, b: &Tensor) {
    assert!(same_layout(a.format(), b.format()), "{name}");
    assert_eq!((a.shape(), a.bytes()), (b.shape(), b.bytes()), "{name}");
}

#[test]
fn tensors_come_back_as_they_went() {
    for kind in KINDS {
        let tensors = tensors();
        let file = read(kind, &written(kind, &Metadata::new(), &tensors)).expect("a good file");
        assert_eq!(file.tensors().len(), tensors.len());
        for (name, tensor) in &tensors {
            let loaded = file.load(name).expect(name);
            same(name, &loaded, tensor);
            assert_eq!(loaded.format().name, tensor.format().name, "{name}");
            let encoded = |t: &Tensor| Tensor::quantize(t.format().clone(), &[1, 2], &[1.0, -3.0]);
            let (ours, theirs) = (encoded(tensor), encoded(&loaded));
            let (ours, theirs) = (ours.expect("encodes"), theirs.expect("encodes"));
            assert_eq!(ours.bytes(), theirs.bytes(), "{name} is encoded otherwise");
        }
    }
}

#[test]
fn every_format_that_ships_comes_back() {
    for module in shipped::NAMES {
        let text = shipped::source(module).expect("its text");
        let formats = load(module, text, &|_| None).expect("it reads").formats;
        let encoded = |f: &Arc<Format>| (f.name.clone(), tensor(f.clone(), &[2, 3, 70]));
        let tensors: Vec<(String, Tensor)> = formats.iter().map(encoded).collect();
        for kind in KINDS {
            let bytes = written(kind, &Metadata::new(), &tensors);
            let file = read(kind, &bytes).expect("a good file");
            for (name, tensor) in &tensors {
                let loaded = file.load(name).expect(name);
                same(name, &loaded, tensor);
                assert_eq!(loaded.format().name, *name);
            }
        }
    }
}

#[test]
fn layouts_that_a_file_has_types_for_get_them() {
    let types = |kind| {
        let file = read(kind, &written(kind, &Metadata::new(), &tensors())).expect("a good file");
        move |name: &str| {
            let info = file.tensor(name).expect(name).info.clone();
            info.dtype.as_str().to_owned()
        }
    };
    let gguf = types(Kind::Gguf);
    assert_eq!(gguf("norm"), "ggml:0");
    assert_eq!(gguf("q"), "ggml:3");
    assert_eq!(gguf("half"), "ggml:1", "by its layout, not by its name");
    for bytes in ["ragged", "woven", "e4m3", "scalar", "empty", "five axes"] {
        assert_eq!(gguf(bytes), "ggml:24", "{bytes}");
    }
    let safetensors = types(Kind::Safetensors);
    assert_eq!(safetensors("norm"), "safetensors:F32");
    assert_eq!(safetensors("half"), "safetensors:F16");
    assert_eq!(safetensors("e4m3"), "safetensors:F8_E4M3");
    assert_eq!(safetensors("q"), "safetensors:U8");
    assert_eq!(safetensors("empty"), "safetensors:F32");
}

#[test]
fn a_name_does_not_make_a_format() {
    let other = Format {
        name: "q4_1".into(),
        kind: format("octave_20").kind.clone(),
    };
    assert_eq!(file_type(Kind::Gguf, &other, &[2, 20]), None);
    let strange = |name: &str| Format {
        name: name.into(),
        kind: other.kind.clone(),
    };
    let values = [
        tensor(Arc::new(other.clone()), &[2, 20]),
        tensor(format("q4_1"), &[2, 32]),
        tensor(Arc::new(strange("f32")), &[2, 20]),
        tensor(Arc::new(strange("4 bits; kernel")), &[2, 20]),
    ];
    let named = |(n, t): (usize, Tensor)| (format!("t{n}"), t);
    let tensors: Vec<(String, Tensor)> = values.into_iter().enumerate().map(named).collect();
    for kind in KINDS {
        let file = read(kind, &written(kind, &Metadata::new(), &tensors)).expect("a good file");
        for (name, tensor) in &tensors {
            same(name, &file.load(name).expect(name), tensor);
        }
        let names = ["t0", "t1", "t2", "t3"].map(|n| file.load(n).expect(n).format().name.clone());
        assert_eq!(names, ["q4_1", "q4_1_2", "f32_2", "_4_bits__kernel"]);
    }
}

#[test]
fn a_file_without_new_formats_has_no_definitions() {
    for kind in KINDS {
        let plain: Vec<(String, Tensor)> = tensors().into_iter().take(1).collect();
        let file = read(kind, &written(kind, &Metadata::new(), &plain)).expect("a good file");
        assert!(file.metadata().is_empty(), "{:?}", file.metadata());
    }
}

#[test]
fn metadata_is_carried_over_byte_by_byte() {
    let source = read(Kind::Gguf, &small_gguf()).expect("a good file");
    let mut metadata = Metadata::of(&source);
    let bytes = written(Kind::Gguf, &metadata, &tensors());
    let file = read(Kind::Gguf, &bytes).expect("a good file");
    let items = |file: &TensorFile, key: &str| match file.value(key) {
        Some(Value::List(list)) => file.items(list).expect(key),
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(
        file.value("general.name"),
        Some(&Value::Text("small".into()))
    );
    assert_eq!(file.value("flag"), Some(&Value::Bool(true)));
    assert_eq!(items(&file, "numbers"), items(&source, "numbers"));
    assert_eq!(items(&file, "texts"), items(&source, "texts"));
    assert_eq!(items(&file, "nested").len(), 1);
    assert_eq!(
        file.value("general.alignment"),
        None,
        "the writer has its own"
    );
    // A file that was written twice defines its formats once.
    let again = written(Kind::Gguf, &Metadata::of(&file), &tensors());
    assert_eq!(again, bytes);
    metadata.set("general.name", "other");
    let file = read(Kind::Gguf, &written(Kind::Gguf, &metadata, &[])).expect("a good file");
    assert_eq!(
        file.value("general.name"),
        Some(&Value::Text("other".into()))
    );
}

#[test]
fn metadata_crosses_to_the_other_kind_as_texts() {
    let source = read(Kind::Gguf, &small_gguf()).expect("a good file");
    let bytes = written(Kind::Safetensors, &Metadata::of(&source), &[]);
    let file = read(Kind::Safetensors, &bytes).expect("a good file");
    let text = |key: &str| match file.value(key) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(text("general.name"), "small");
    assert_eq!(text("flag"), "true");
    assert_eq!(text("numbers"), "[7,8,9]");
    assert_eq!(text("texts"), r#"["a","bc"]"#);
    assert_eq!(text("nested"), "[[7,8,9]]");
    let back = written(Kind::Gguf, &Metadata::of(&file), &[]);
    let back = read(Kind::Gguf, &back).expect("a good file");
    assert_eq!(back.value("numbers"), Some(&Value::Text("[7,8,9]".into())));
}

#[test]
fn the_crate_safetensors_reads_what_is_written() {
    let bytes = written(Kind::Safetensors, &Metadata::new(), &tensors());
    let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("they read it");
    for (name, tensor) in tensors() {
        let view = theirs.tensor(&name).expect("they find it");
        assert_eq!(view.data(), tensor.bytes(), "{name}");
    }
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    let file = read(Kind::Safetensors, &bytes).expect("a good file");
    assert_eq!(start % 8, 0);
    for name in ["norm", "five axes"] {
        assert_eq!(file.tensor(name).expect(name).info.offset % 4, 0, "{name}");
    }
}

#[test]
fn tensors_are_made_one_by_one_and_must_be_those_announced() {
    let (q, other) = (format("q4_1"), format("q5_0"));
    for kind in KINDS {
        let entries = ["a", "b"].map(|n| Entry::later(n, q.clone(), &[2, 32]));
        let mut asked = Vec::new();
        let mut bytes = Vec::new();
        let made = write_lazily(&mut bytes, kind, &Metadata::new(), &entries, |name| {
            asked.push(name.to_owned());
            Ok::<_, FileError>(tensor(q.clone(), &[2, 32]))
        });
        made.expect("written");
        assert_eq!(asked, ["a", "b"]);
        read(kind, &bytes)
            .expect("a good file")
            .load("b")
            .expect("b");
        for (format, shape) in [(&other, [2, 32]), (&q, [1, 64])] {
            let make = |_: &str| Ok::<_, FileError>(tensor(format.clone(), &shape));
            let refused = write_lazily(&mut Vec::new(), kind, &Metadata::new(), &entries, make);
            let message = refused.expect_err("another tensor").to_string();
            let names = message.contains("`q4_1` (layout ") && message.contains(&format.name);
            assert!(names, "{message}");
        }
    }
}

#[test]
fn layouts_of_as_many_bytes_are_told_apart() {
    let text = |at: &str| {
        format!(
            "language 1;\nformat w = block i < 32, bytes 16 {{ q[i]: uint(4) at {at}; value = q[i]; }}\n"
        )
    };
    let layout = |at: &str| {
        let module = load("test", &text(at), &|_| None).expect("it reads");
        module.format("w").expect("w").clone()
    };
    let (straight, split) = (layout("4 * i"), layout("8 * (i % 16) + 4 * (i / 16)"));
    let entries = [Entry::later("t", straight, &[1, 32])];
    let make = |_: &str| Ok::<_, FileError>(tensor(split.clone(), &[1, 32]));
    let refused = write_lazily(
        &mut Vec::new(),
        Kind::Gguf,
        &Metadata::new(),
        &entries,
        make,
    );
    let Err(FileError::Announced { wanted, found, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(wanted.format, found.format);
    assert_ne!(wanted.layout, found.layout);
}

#[test]
fn bytes_without_a_format_stay_in_their_kind_of_file() {
    let source = read(Kind::Gguf, &small_gguf()).expect("a good file");
    let entry = |name: &str, kind: &str| Entry {
        name: name.into(),
        content: Content::Opaque {
            dtype: Dtype::new(kind),
            shape: vec![8],
            bytes: source.shared("odd").expect("odd"),
        },
    };
    let write = |kind, entry: Entry| {
        let mut bytes = Vec::new();
        let none = |_: &str| -> Result<Tensor, FileError> { panic!("nothing is made") };
        write_lazily(&mut bytes, kind, &Metadata::new(), &[entry], none).map(|()| bytes)
    };
    let bytes = write(Kind::Gguf, entry("odd", "ggml:99")).expect("written");
    let file = read(Kind::Gguf, &bytes).expect("a good file");
    let odd = file.tensor("odd").expect("odd");
    assert_eq!(odd.bytes, source.tensor("odd").expect("odd").bytes);
    assert_eq!(odd.info.dtype.as_str(), "ggml:99");
    let message = write(Kind::Safetensors, entry("odd", "ggml:99"));
    let message = message.expect_err("not in this kind").to_string();
    assert!(
        message.contains("`odd`") && message.contains("ggml:99"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_written_is_refused() {
    let one = || Tensor::from_f32(&[1], &[1.0]).expect("a tensor");
    let refused = |kind, names: &[&str]| {
        let tensors: Vec<(String, Tensor)> = names.iter().map(|n| (n.to_string(), one())).collect();
        let result = write_tensors(&mut Vec::new(), kind, &Metadata::new(), &borrowed(&tensors));
        result.expect_err("refused").to_string()
    };
    for kind in KINDS {
        assert!(refused(kind, &["a", "a"]).contains("two tensors have this name"));
    }
    assert!(refused(Kind::Npy, &["a"]).contains("npy"));
    assert!(refused(Kind::Safetensors, &["__metadata__"]).contains("another use"));
    assert!(refused(Kind::Gguf, &["a".repeat(70_000).as_str()]).contains("too long"));
}
