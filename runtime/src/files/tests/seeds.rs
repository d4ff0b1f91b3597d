//! The seeds of the fuzzers, replayed: `good-*` is read, `bad-*` is refused, whatever else is there must only not crash.

use super::super::Kind;
use super::read;
use lowbit_compiler::spec::load;
use std::fs;
use std::path::PathBuf;

fn replay(folder: &str, accepts: impl Fn(&[u8]) -> bool) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds")).join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("the seeds are there")
        .map(|e| e.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(
        paths.len() >= 5,
        "{}: {} seeds",
        folder.display(),
        paths.len()
    );
    for path in paths {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let accepted = accepts(&fs::read(&path).expect("a seed is read"));
        assert!(!name.starts_with("good-") || accepted, "{name} was refused");
        assert!(
            !name.starts_with("bad-") || !accepted,
            "{name} was accepted"
        );
    }
}

#[test]
fn gguf() {
    replay("gguf", |bytes| read(Kind::Gguf, bytes).is_ok());
}

#[test]
fn safetensors() {
    replay("safetensors", |bytes| {
        read(Kind::Safetensors, bytes).is_ok()
    });
}

#[test]
fn npy() {
    replay("npy", |bytes| read(Kind::Npy, bytes).is_ok());
}

#[test]
fn spec() {
    replay("spec", |bytes| {
        std::str::from_utf8(bytes).is_ok_and(|text| load("seed", text, &|_| None).is_ok())
    });
}
