//! Files that lie about themselves, and what the readers answer.

use super::super::Kind;
use super::build::*;
use super::refusal;

fn gguf(file: &[u8], wanted: &str) {
    let message = refusal(Kind::Gguf, file);
    assert!(
        message.contains(wanted),
        "expected `{wanted}` in: {message}"
    );
}

fn counts(tensors: u64, pairs: u64) -> Vec<u8> {
    [
        b"GGUF",
        &3u32.to_le_bytes()[..],
        &tensors.to_le_bytes(),
        &pairs.to_le_bytes(),
        &[0; 64],
    ]
    .concat()
}

#[test]
fn counts_that_no_file_holds() {
    gguf(&counts(1 << 60, 0), "do not fit");
    gguf(&counts(0, 1 << 60), "do not fit");
    gguf(&counts(u64::MAX, u64::MAX), "do not fit");
    gguf(&counts(3, 0), "do not fit");
}

#[test]
fn versions() {
    for (version, wanted) in [
        (0, "version 0"),
        (1, "version 1"),
        (4, "version 4"),
        (3u32.swap_bytes(), "big end"),
    ] {
        gguf(&Gguf::default().header(version), wanted);
    }
    gguf(b"GGML????????????????????", "GGUF");
}

#[test]
fn lists_that_lie() {
    let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    for kind in [0, 4, 8, 10] {
        gguf(
            &Gguf::default().pair("k", 9, &list(kind, 1 << 60)).file(&[]),
            "ends early",
        );
        gguf(
            &Gguf::default()
                .pair("k", 9, &list(kind, u64::MAX))
                .file(&[]),
            "ends early",
        );
    }
    gguf(
        &Gguf::default().pair("k", 9, &list(13, 1)).file(&[]),
        "no kind of value",
    );
    gguf(
        &Gguf::default()
            .pair("k", 9, &list(9, 1).repeat(40))
            .file(&[]),
        "4 deep",
    );
    gguf(
        &Gguf::default()
            .pair("k", 9, &[list(9, 1 << 60), list(0, 0)].concat())
            .file(&[]),
        "the file",
    );
    gguf(
        &Gguf::default()
            .pair("k", 9, &[list(7, 2), vec![1, 2]].concat())
            .file(&[]),
        "neither true nor false",
    );
}

#[test]
fn values_that_lie() {
    gguf(
        &Gguf::default()
            .pair("k", 8, &u64::MAX.to_le_bytes())
            .file(&[]),
        "ends early",
    );
    gguf(
        &Gguf::default().pair("k", 13, &[]).file(&[]),
        "no kind of value with the number 13",
    );
    gguf(
        &Gguf::default().pair("k", 7, &[2]).file(&[]),
        "neither true nor false",
    );
    let bad = [&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat();
    gguf(&Gguf::default().pair("k", 8, &bad).file(&[]), "not UTF-8");
    gguf(
        &Gguf::default()
            .pair("k", 7, &[0])
            .pair("k", 7, &[1])
            .file(&[]),
        "`k` is given twice",
    );
}

#[test]
fn alignments() {
    for alignment in [0u32, 3, 48, 1 << 31] {
        gguf(
            &Gguf::default()
                .pair("general.alignment", 4, &alignment.to_le_bytes())
                .file(&[]),
            "power of two",
        );
    }
    gguf(
        &Gguf::default()
            .pair("general.alignment", 10, &32u64.to_le_bytes())
            .file(&[]),
        "32 bits",
    );
    gguf(
        &Gguf::default().tensor("t", &[4], 0, 8).file(&[0; 64]),
        "not a multiple of 32",
    );
    let other = Gguf::default()
        .pair("general.alignment", 4, &8u32.to_le_bytes())
        .tensor("t", &[4], 0, 8);
    let file = super::read(Kind::Gguf, &other.aligned(8, &[0; 24])).expect("aligned to 8");
    assert_eq!(file.tensors()[0].bytes, 16);
}

#[test]
fn tensors_that_lie() {
    let one = |dims: &[u64], kind, offset| {
        Gguf::default()
            .tensor("t", dims, kind, offset)
            .file(&[0; 64])
    };
    gguf(&one(&[16, 2], 0, 0), "takes 128 bytes");
    gguf(&one(&[1 << 40, 1 << 40], 0, 0), "too many elements");
    gguf(&one(&[u64::MAX], 0, 0), "too large");
    gguf(&one(&[u64::MAX / 4 + 2], 0, 0), "too large");
    gguf(&one(&[1 << 60, 1 << 60, 0], 0, 0), "too many elements");
    gguf(&one(&[33], 2, 0), "no whole blocks of 32");
    gguf(&one(&[4], 0, !31), "past the end of the file");
    gguf(&one(&[4], 0, 96), "past the end of the file");
    gguf(&one(&[4], 0, 64), "takes 16 bytes");
    gguf(&one(&[4], 99, 64), "has elements and no bytes");
    gguf(&one(&[1; 9], 0, 0), "9 axes");
    let axes = [&text("t")[..], &u32::MAX.to_le_bytes(), &[0; 64]].concat();
    gguf(&[&counts(1, 0)[..24], &axes].concat(), "axes");
}

#[test]
fn tensors_on_each_other() {
    let two = |second: u64, kind| {
        Gguf::default()
            .tensor("a", &[16], 0, 0)
            .tensor("b", &[8], kind, second)
    };
    gguf(
        &two(32, 0).file(&[0; 96]),
        "`a`: takes 64 bytes, and the next tensor comes after 32",
    );
    gguf(&two(0, 0).file(&[0; 96]), "the next tensor comes after 0");
    gguf(&two(0, 99).file(&[0; 96]), "tensor `a`");
    gguf(
        &Gguf::default()
            .tensor("a", &[1], 0, 0)
            .tensor("a", &[1], 0, 32)
            .file(&[0; 64]),
        "two tensors",
    );
}

#[test]
fn safetensors_that_lie() {
    let bad = |header: &str, data: &[u8], wanted: &str| {
        let message = refusal(Kind::Safetensors, &safetensors(header, data));
        assert!(
            message.contains(wanted),
            "expected `{wanted}` in: {message}"
        );
    };
    let entry = |shape: &str, from: u64, to: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[1]", 0, 8)),
        &[0; 8],
        "do not take 8 bytes",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[1]", 4, 0)),
        &[0; 4],
        "lies at 4..0",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[1]", 0, u64::MAX)),
        &[0; 4],
        "lies at",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[1]", 4, 8)),
        &[0; 8],
        "starts at 4",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[1]", 0, 4)),
        &[0; 8],
        "4 bytes belong to no tensor",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[4294967296,4294967296]", 0, 4)),
        &[0; 4],
        "too many elements",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[18446744073709551615]", 0, 4)),
        &[0; 4],
        "do not take",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[18446744073709551616]", 0, 4)),
        &[0; 4],
        "header",
    );
    bad(
        &format!(r#"{{"t":{}}}"#, entry("[-1]", 0, 4)),
        &[0; 4],
        "header",
    );
    bad(
        &format!(
            r#"{{"t":{},"t":{}}}"#,
            entry("[1]", 0, 4),
            entry("[1]", 4, 8)
        ),
        &[0; 8],
        "two tensors",
    );
    bad(
        &format!(
            r#"{{"a":{},"b":{}}}"#,
            entry("[2]", 0, 8),
            entry("[1]", 4, 8)
        ),
        &[0; 8],
        "starts at 4",
    );
    bad(
        r#"{"t":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#,
        &[0; 2],
        "do not take",
    );
    bad("[]", &[], "must start with");
    bad(&format!("{{\"t\":{}", "[".repeat(10_000)), &[], "header");
    let message = refusal(Kind::Safetensors, &(1u64 << 60).to_le_bytes());
    assert!(message.contains("at most 100000000"), "{message}");
    let message = refusal(Kind::Safetensors, &99_999_999u64.to_le_bytes());
    assert!(message.contains("ends early"), "{message}");
}

#[test]
fn npy_that_lie() {
    let bad = |header: &str, data: &[u8], wanted: &str| {
        let message = refusal(Kind::Npy, &npy(header, data));
        assert!(
            message.contains(wanted),
            "expected `{wanted}` in: {message}"
        );
    };
    let with = |descr: &str, order: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n")
    };
    bad(&with("'<f4'", "True", "(1,)"), &[0; 4], "Fortran");
    bad(&with("'>f4'", "False", "(1,)"), &[0; 4], "`>f4`");
    bad(&with("'|O'", "False", "(1,)"), &[0; 8], "`|O`");
    bad(
        &with("[('a', '<f4')]", "False", "(1,)"),
        &[0; 4],
        "expected a text in quotes",
    );
    bad(
        &with("'<f4'", "False", "(2,)"),
        &[0; 4],
        "takes 8 bytes, and 4 are there",
    );
    bad(
        &with("'<f4'", "False", "(1,)"),
        &[0; 5],
        "takes 4 bytes, and 5 are there",
    );
    bad(
        &with("'<f4'", "False", "(18446744073709551615,)"),
        &[],
        "more bytes than can be counted",
    );
    bad(
        &with("'<f4'", "False", "(4294967296, 4294967296, 0)"),
        &[],
        "more bytes than can be counted",
    );
    bad(
        &with("'<f4'", "False", "(18446744073709551616,)"),
        &[],
        "too large",
    );
    bad(&with("'<f4'", "False", "(-1,)"), &[], "expected a number");
    bad(
        &with("'<f4'", "False", &format!("({})", "1,".repeat(33))),
        &[0; 4],
        "more than 32 axes",
    );
    bad(&with("'<f4'", "0", "(1,)"), &[0; 4], "True");
    bad("{'descr': '<f4', 'descr': '<f4'}", &[], "given twice");
    bad("{'descr': '<f4'}", &[], "expected `descr`");
    bad("{'descr': '<f4', 'x': 1}", &[], "not known");
    bad("{'descr", &[], "does not end");
    bad("{} x", &[], "nothing may follow");
    bad("", &[], "expected `{`");
    let long = [b"\x93NUMPY\x02\x00", &u32::MAX.to_le_bytes()[..]].concat();
    assert!(refusal(Kind::Npy, &long).contains("ends early"));
    assert!(refusal(Kind::Npy, b"\x93NUMPY\x09\x00\x00\x00").contains("version 9.0"));
}
