//! Files that hold, and what is read from them.

use super::super::{Dtype, FileError, Kind, TensorFile, Value, bindings, format_of};
use super::build::*;
use super::read;

#[test]
fn every_line_of_the_table_resolves() {
    let mut count = 0;
    for binding in bindings() {
        let format = format_of(&Dtype::new(binding.dtype)).expect(binding.dtype);
        assert_eq!(format.name, binding.format, "{}", binding.dtype);
        count += 1;
    }
    let lines = super::super::dtype::TABLE
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .count();
    assert_eq!(count, lines);
    assert!(matches!(
        format_of(&Dtype::new("ggml:4")),
        Err(FileError::NoFormat(_))
    ));
}

#[test]
fn gguf() {
    let file = read(Kind::Gguf, &small_gguf()).expect("a good file");
    let names: Vec<&str> = file.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["q", "norm", "odd"]);
    let q = file.tensor("q").expect("q");
    assert_eq!(
        (
            q.info.shape.as_slice(),
            q.info.dtype.as_str(),
            q.bytes.len()
        ),
        (&[2, 32][..], "ggml:3", 40)
    );
    assert_eq!(q.bytes[..3], [0, 37, 74]);
    assert_eq!(file.tensor("norm").expect("norm").bytes.len(), 16);
    assert_eq!(
        file.tensor("odd").expect("odd").bytes.len(),
        32,
        "an unknown type runs to the end"
    );
    assert_eq!(file.load("q").expect("q").format().name, "q4_1");
    assert!(matches!(file.load("odd"), Err(FileError::NoFormat(t)) if t == "ggml:99"));
}

#[test]
fn gguf_metadata() {
    let file = read(Kind::Gguf, &small_gguf()).expect("a good file");
    assert_eq!(
        file.value("general.name"),
        Some(&Value::Text("small".into()))
    );
    assert_eq!(file.value("flag"), Some(&Value::Bool(true)));
    let items = |key| match file.value(key) {
        Some(Value::List(list)) => file.items(list).expect(key),
        other => panic!("{key} is {other:?}"),
    };
    assert_eq!(
        items("numbers"),
        [Value::UInt(7), Value::UInt(8), Value::UInt(9)]
    );
    assert_eq!(
        items("texts"),
        [Value::Text("a".into()), Value::Text("bc".into())]
    );
    let [Value::List(inner)] = items("nested")[..] else {
        panic!("one list in a list")
    };
    assert_eq!(
        file.items(&inner).expect("the inner list"),
        items("numbers")
    );
}

#[test]
fn gguf_version_2_and_empty_files() {
    assert!(
        read(Kind::Gguf, &Gguf::default().header(2))
            .expect("no tensors")
            .tensors()
            .is_empty()
    );
    let empties = Gguf::default()
        .tensor("a", &[0, 4], 0, 0)
        .tensor("b", &[4], 0, 0)
        .tensor("c", &[0], 77, 0);
    let file = read(Kind::Gguf, &empties.file(&[0; 16])).expect("empty tensors");
    assert_eq!(
        file.tensors().iter().map(|t| t.bytes).collect::<Vec<_>>(),
        [0, 16, 0]
    );
}

#[test]
fn safetensors_file() {
    let file = read(Kind::Safetensors, &small_safetensors()).expect("a good file");
    let w = file.tensor("w").expect("w");
    assert_eq!(
        (w.info.shape.as_slice(), w.info.dtype.as_str()),
        (&[2, 3][..], "safetensors:F32")
    );
    assert_eq!(w.bytes, (0..24).collect::<Vec<u8>>());
    assert_eq!(file.value("format"), Some(&Value::Text("pt".into())));
    assert_eq!(file.load("code").expect("code").format().name, "f8e4m3fn");
    assert_eq!(
        file.tensor("packed")
            .expect("a type that only we pass on")
            .bytes,
        [28, 29, 30, 31]
    );
}

#[test]
fn npy_file() {
    let file = read(Kind::Npy, &small_npy()).expect("a good file");
    let array = file.load("array").expect("array");
    assert_eq!(
        (array.shape(), array.format().name.as_str()),
        (&[2, 3][..], "f32")
    );
    let header = "{'shape': (), \"fortran_order\": False,'descr':'|u1'}";
    assert!(
        read(Kind::Npy, &npy(header, &[5]))
            .expect("a scalar")
            .tensors()[0]
            .shape
            .is_empty()
    );
    for version in [2u8, 3] {
        let header = "{'descr': '<i4', 'fortran_order': False, 'shape': (1,)}\n";
        let length = (header.len() as u32).to_le_bytes();
        let bytes = [
            b"\x93NUMPY",
            &[version, 0][..],
            &length,
            header.as_bytes(),
            &[1, 0, 0, 0],
        ]
        .concat();
        assert_eq!(
            read(Kind::Npy, &bytes).expect("a good file").tensors()[0]
                .dtype
                .as_str(),
            "npy:<i4"
        );
    }
}

#[test]
fn kinds_are_told_apart() {
    for (kind, bytes) in [
        (Kind::Gguf, small_gguf()),
        (Kind::Safetensors, small_safetensors()),
        (Kind::Npy, small_npy()),
    ] {
        assert_eq!(Kind::detect(&bytes, None), Some(kind));
    }
    assert_eq!(Kind::detect(b"", None), None);
    assert_eq!(
        Kind::detect(b"????????", Some("model.SafeTensors".as_ref())),
        Some(Kind::Safetensors)
    );
}

#[test]
fn names_that_are_wrong_are_answered_with_near_ones() {
    let file = read(Kind::Gguf, &small_gguf()).expect("a good file");
    let message = file.tensor("nrom").expect_err("no such tensor").to_string();
    assert_eq!(message, "there is no tensor `nrom`; did you mean `norm`?");
    let message = file
        .tensor("embedding")
        .expect_err("no such tensor")
        .to_string();
    assert_eq!(message, "there is no tensor `embedding`");
}

#[test]
fn mapped_files() {
    let folder = std::env::temp_dir().join(format!("lowbit-files-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    let path = folder.join("small.gguf");
    std::fs::write(&path, small_gguf()).expect("a file is written");
    let mapped = TensorFile::open(&path).expect("a good file");
    let tensor = mapped.load("q").expect("q");
    let read = TensorFile::read(&path).expect("a good file");
    assert_eq!(tensor.bytes(), read.tensor("q").expect("q").bytes);
    drop(mapped);
    assert_eq!(tensor.bytes().len(), 40, "a tensor keeps the map alive");
    let empty = folder.join("empty.npy");
    std::fs::write(&empty, b"").expect("a file is written");
    assert!(matches!(
        TensorFile::open(&empty),
        Err(FileError::Truncated { .. })
    ));
    assert!(matches!(
        TensorFile::open(&folder),
        Err(FileError::Io { .. })
    ));
    assert!(matches!(
        TensorFile::open(folder.join("absent.gguf")),
        Err(FileError::Io { .. })
    ));
    std::fs::remove_dir_all(&folder).expect("the folder is removed");
}
