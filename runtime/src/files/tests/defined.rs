//! Files that define formats: what is believed of them, and what is refused.

use super::super::{FileError, Kind};
use super::build::*;
use super::{read, refusal};

fn refused(formats: &str, tensors: &str, wanted: &str) {
    let message = refusal(Kind::Gguf, &defining(formats, tensors));
    assert!(
        message.contains(wanted),
        "expected `{wanted}` in: {message}"
    );
}

#[test]
fn a_definition_counts_for_more_than_a_type() {
    let file = read(Kind::Gguf, &defined_gguf()).expect("a good file");
    let load = |name: &str| file.load(name).expect(name);
    let a = load("a");
    assert_eq!((a.shape(), a.format().name.as_str()), (&[4, 4][..], "t"));
    let rows = [
        [0.0; 4],
        [6.0, 0.0, 0.0, 0.0],
        [4.0, 4.0, 0.0, 0.0],
        [18.0, 6.0, 0.0, 0.0],
    ];
    assert_eq!(a.to_f32().expect("values"), rows.concat());
    assert_eq!(
        load("b").bytes(),
        [64, 65, 66, 67],
        "as long as the definition says"
    );
    let c = load("c");
    assert_eq!((c.shape(), c.format().name.as_str()), (&[2, 1][..], "bf16"));
    let info = file.tensor("c").expect("c").info;
    assert_eq!(info.dtype.as_str(), "ggml:1", "the type is still there");
}

#[test]
fn safetensors_define_formats_too() {
    let file = |shape: &str| {
        let text = serde_json::Value::from(DEFINED);
        let list = format!(r#"{{"a":{{"format":"t","shape":{shape}}}}}"#);
        let list = serde_json::Value::from(list);
        let metadata = format!(r#"{{"lowbit.formats":{text},"lowbit.tensors":{list}}}"#);
        let tensor = r#"{"dtype":"I4","shape":[4],"data_offsets":[0,2]}"#;
        let header = format!(r#"{{"__metadata__":{metadata},"a":{tensor}}}"#);
        safetensors(&header, &[3, 0b10])
    };
    let good = read(Kind::Safetensors, &file("[1,4]")).expect("a good file");
    let values = good.load("a").expect("a").to_f32().expect("values");
    assert_eq!(values, [6.0, 0.0, 0.0, 0.0]);
    let message = refusal(Kind::Safetensors, &file("[0]"));
    assert!(message.contains("takes 0 bytes"), "{message}");
}

#[test]
fn sizes_that_do_not_fit() {
    let a = |shape: &str| format!(r#"{{"a":{{"format":"t","shape":{shape}}}}}"#);
    refused(
        DEFINED,
        &a("[3,4]"),
        "takes 6 bytes for shape [3, 4], and it has 8",
    );
    refused(DEFINED, &a("[17]"), "takes 10 bytes");
    refused(
        DEFINED,
        &a("[18446744073709551615, 2]"),
        "cannot have the shape",
    );
    refused(
        DEFINED,
        &a("[18446744073709551615]"),
        "takes 9223372036854775808 bytes",
    );
    refused(
        DEFINED,
        &a(&format!("[{}1]", "1,".repeat(32))),
        "cannot have the shape",
    );
    refused(
        DEFINED,
        r#"{"b":{"format":"t","shape":[100]}}"#,
        "takes 50 bytes",
    );
    refused(
        DEFINED,
        r#"{"c":{"format":"f32","shape":[2]}}"#,
        "takes 8 bytes",
    );
}

#[test]
fn lists_that_lie() {
    let entry = r#"{"format":"t","shape":[16]}"#;
    refused(
        DEFINED,
        r#"{"a":{"format":"u","shape":[16]}}"#,
        "`u` is not defined",
    );
    refused(
        DEFINED,
        &format!(r#"{{"a":{entry},"a":{entry}}}"#),
        "listed twice",
    );
    for list in [
        "",
        "[]",
        "{\"a\":",
        r#"{"a":[]}"#,
        r#"{"a":{"format":"t"}}"#,
        r#"{"a":{"format":"t","shape":[-1]}}"#,
        r#"{"a":{"format":"t","shape":[1.5]}}"#,
        r#"{"a":{"format":"t","format":"t","shape":[16]}}"#,
        &format!("{{\"a\":{}", "[".repeat(10_000)),
    ] {
        refused(DEFINED, list, "`lowbit.tensors`: ");
    }
    let number = Gguf::default().pair("lowbit.tensors", 4, &[0; 4]);
    let message = refusal(Kind::Gguf, &number.file(&[]));
    assert!(
        message.contains("`lowbit.tensors` is not a text"),
        "{message}"
    );
}

#[test]
fn texts_that_lie() {
    refused("", "{}", "language 1;");
    refused("language 2;", "{}", "this version of the language");
    refused(
        "language 1;\nformat t = int(33);",
        "{}",
        "lowbit.formats:2:16",
    );
    refused(
        "language 1;\nimport \"beside\";",
        "{}",
        "there is no module `beside`",
    );
    refused(
        "language 1;\nimport \"../std/ggml\";",
        "{}",
        "there is no module",
    );
    let kernel = "language 1;\nkernel k(input x: f32[N]) -> output y: f32[N] { y[n] = x[n]; }";
    refused(kernel, "{}", "`k` is a kernel");
    let long = format!("language 1;\n//{}", "x".repeat(1 << 20));
    refused(&long, "{}", "the limit is 1048576");
}

#[test]
fn texts_are_never_longer_than_what_is_read() {
    let long = " ".repeat((1 << 24) + 1);
    for key in ["lowbit.formats", "lowbit.tensors"] {
        let gguf = Gguf::default().pair(key, 8, &text(&long)).file(&[]);
        assert!(refusal(Kind::Gguf, &gguf).contains("at most 16777216"));
        let header = format!(r#"{{"__metadata__":{{"{key}":"{long}"}}}}"#);
        let read = read(Kind::Safetensors, &safetensors(&header, &[]));
        assert!(matches!(read, Err(FileError::Definitions(m)) if m.contains("at most 16777216")));
    }
}

#[test]
fn consts_and_the_standard_library_may_stand_in_definitions() {
    let formats = "language 1;\nimport \"std/floats\";\nconst LEN = 4;\n\
        format mine = block i < LEN { s: f16; c[i]: e2m1; value = s * c[i]; }\n";
    let tensors = r#"{"a":{"format":"mine","shape":[2,4]},"c":{"format":"f8e4m3fn","shape":[4]}}"#;
    let file = read(Kind::Gguf, &defining(formats, tensors)).expect("a good file");
    assert_eq!(file.load("a").expect("a").format().name, "mine");
    assert_eq!(file.load("c").expect("c").format().name, "f8e4m3fn");
}

#[test]
fn a_text_that_would_fill_the_memory_is_refused() {
    let fields: String = (0..16).map(|n| format!("a{n}[i]: uint(1); ")).collect();
    let block = format!("block i < 65536 {{ {fields} value = a0[i]; }}");
    let copies: String = (0..4000).map(|n| format!("format g{n} = g;")).collect();
    let text = format!("language 1;\nformat g = {block}\n{copies}");
    refused(&text, "{}", "too large together");
}

#[test]
fn a_tensor_with_a_code_that_its_format_refuses_is_not_loaded() {
    let formats = "language 1;\nformat t = block i < 4, bytes 2 \
        { s: uint(8) at 0; c[i]: codebook [0, 1, 2] else refuse at 8 + 2 * i; value = s * c[i]; }\n";
    let file = |data: [u8; 2]| {
        let metadata = serde_json::json!({
            "lowbit.formats": formats,
            "lowbit.tensors": r#"{"a":{"format":"t","shape":[1,4]}}"#,
        });
        let header = serde_json::json!({
            "__metadata__": metadata,
            "a": { "dtype": "I4", "shape": [4], "data_offsets": [0, 2] },
        });
        safetensors(&header.to_string(), &data)
    };
    let load = |data| {
        let file = read(Kind::Safetensors, &file(data)).expect("a good file");
        file.load("a").map(|t| t.to_f32().expect("values"))
    };
    assert_eq!(load([3, 0b10]).expect("legal codes"), [6.0, 0.0, 0.0, 0.0]);
    let error = load([3, 0b0111_0010]).expect_err("code 3");
    assert!(matches!(&error, FileError::Value(_)));
    let message = error.to_string();
    assert!(message.contains("code 3 of `c`"), "{message}");
}
