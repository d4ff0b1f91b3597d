//! Formats of the standard library and of hand-written texts.

use super::module;
use crate::format::codec::{decode_tensor, encode_tensor};
use crate::format::layout::{layout_id, relayout, same_layout};
use crate::format::permute::{Axis, permute};
use crate::format::text::definition;
use crate::format::{Field, Format, FormatKind};
use crate::syntax::{ast, format_source, parse};
use std::sync::Arc;

fn std_formats() -> Vec<Arc<Format>> {
    let imports: String = crate::format::std::NAMES
        .iter()
        .map(|n| format!("import \"{n}\";\n"))
        .collect();
    module(&format!("language 1;\n{imports}")).formats
}

#[test]
fn the_standard_library_loads_and_is_formatted() {
    for name in crate::format::std::NAMES {
        let text = crate::format::std::source(name).unwrap();
        let warnings = module(text).warnings;
        assert!(warnings.is_empty(), "{warnings}");
        assert_eq!(
            format_source(name, text).unwrap(),
            text,
            "{name} is not formatted"
        );
    }
    assert!(std_formats().len() > 20);
}

#[test]
fn a_format_prints_as_text_that_parses_to_it() {
    for f in std_formats() {
        let text = format!("language 1;\n{}", definition(&f));
        let back = module(&text);
        assert_eq!(back.formats[0].kind, f.kind, "{text}");
        assert_eq!(format_source("x", &text).unwrap(), text);
    }
}

/// Whether a tensor of -1 comes back without a negative number: codes that are told apart from their zero point elsewhere.
fn holds_no_negative(f: &Format, shape: &[u64]) -> bool {
    let n = shape.iter().product::<u64>() as usize;
    let bytes = encode_tensor(f, shape, &vec![-1.0; n]).unwrap();
    let back = decode_tensor(f, shape, &bytes).unwrap();
    back.iter().all(|v| *v >= 0.0)
}

#[test]
fn codes_survive_a_round_trip() {
    let mut encoded = 0;
    for f in std_formats() {
        let FormatKind::Block(b) = &f.kind else {
            continue;
        };
        if b.encode.is_none() {
            continue;
        }
        encoded += 1;
        let shape = [3, u64::from(b.len) + 5];
        let n = (shape[0] * shape[1]) as usize;
        let mut x: Vec<f32> = (0..n)
            .map(|i| ((i * 7919) % 1009) as f32 / 100.0 - 5.0)
            .collect();
        if holds_no_negative(&f, &shape) {
            x = x.into_iter().map(f32::abs).collect();
        }
        let bytes = encode_tensor(&f, &shape, &x).unwrap();
        assert_eq!(Some(bytes.len() as u64), f.tensor_bytes(&shape));
        let y = decode_tensor(&f, &shape, &bytes).unwrap();
        let rms = |v: &mut dyn Iterator<Item = f32>| v.map(|d| d * d).sum::<f32>().sqrt();
        let (error, size) = (
            rms(&mut x.iter().zip(&y).map(|(a, b)| a - b)),
            rms(&mut x.iter().copied()),
        );
        let coarse = |f: &Field| f.element.bits() <= 2 || f.element.width() > 1;
        let limit = if b.fields.values().any(coarse) {
            0.8
        } else {
            0.3
        };
        assert!(error < limit * size, "{}: {error} of {size}", f.name);
        let zeros = encode_tensor(&f, &shape, &vec![0.0; n]).unwrap();
        assert!(
            decode_tensor(&f, &shape, &zeros)
                .unwrap()
                .iter()
                .all(|v| v.abs() < 1e-30),
            "{}",
            f.name
        );
    }
    assert!(encoded > 25, "{encoded}");
}

#[test]
fn q4_1_is_where_ggml_has_it() {
    let m = module("language 1;\nimport \"std/ggml\";");
    let f = m.format("q4_1").unwrap();
    // d = 2, m = -1, codes 0, 1, 2, … 15, 0, 1, …
    let mut bytes = vec![0x00, 0x40, 0x00, 0xbc];
    bytes.extend((0..16u8).map(|j| j | (15 - j) << 4));
    let y = decode_tensor(f, &[32], &bytes).unwrap();
    for j in 0..16 {
        assert_eq!(y[j], 2.0 * j as f32 - 1.0);
        assert_eq!(y[j + 16], 2.0 * (15 - j) as f32 - 1.0);
    }
    assert_eq!(encode_tensor(f, &[32], &y).unwrap(), bytes);
}

#[test]
fn the_compiler_places_bits_like_the_author_would() {
    let m = module(
        "language 1;
        format a = block i < 4 { d: f16; q[i]: int(3); z: int(5); value = d * q[i]; encode x { d = 0; q[i] = 0; z = 0; } }
        format b = block i < 4, bytes 5 { d: f16 at 0; q[i]: int(3) at 16 + 3 * i; z: int(5) at 32; value = d * q[i]; }
        format c = block i < 4 { q[i]: int(3); value = q[i]; }",
    );
    assert_eq!(layout_id(&m.formats[0]), layout_id(&m.formats[1]));
    assert_ne!(layout_id(&m.formats[0]), layout_id(&m.formats[2]));
    let FormatKind::Block(c) = &m.formats[2].kind else {
        panic!()
    };
    assert_eq!(c.bytes, 2);
    assert!(c.encode.is_some());
}

#[test]
fn rows_can_be_interleaved() {
    let m = module(
        "language 1;
        format plain = block i < 8 { d: f16; q[i]: uint(4); value = d * q[i]; }
        format packed = block r < 4, i < 8, bytes 24 {
            d[r]: f16 at 16 * r;
            q[r, i]: uint(4) at 64 + 8 * (2 * i + r / 2) + 4 * (r % 2);
            value = d[r] * q[r, i];
        }",
    );
    let (FormatKind::Block(a), FormatKind::Block(b)) = (&m.formats[0].kind, &m.formats[1].kind)
    else {
        panic!()
    };
    let shape = [2, 6, 19];
    let x: Vec<f32> = (0..2 * 6 * 19).map(|i| (i % 16) as f32).collect();
    let plain = encode_tensor(&m.formats[0], &shape, &x).unwrap();
    let packed = relayout(a, b, &shape, &plain).unwrap();
    assert_eq!(packed.len(), 2 * 2 * 3 * 24);
    assert_eq!(
        decode_tensor(&m.formats[1], &shape, &packed).unwrap(),
        decode_tensor(&m.formats[0], &shape, &plain).unwrap()
    );
    assert_eq!(relayout(b, a, &shape, &packed).unwrap(), plain);
    assert_eq!(encode_tensor(&m.formats[1], &shape, &x).unwrap(), packed);
    let text = format!("language 1;\n{}", definition(&m.formats[1]));
    assert_eq!(module(&text).formats[0].kind, m.formats[1].kind, "{text}");
}

#[test]
fn printing_keeps_the_tree_and_the_comments() {
    let text = "// head\nlanguage 1;\n\n\nconst A = -(1 + 2) * 3 - (4 - 5);   // tail\nformat f = block i<4 { // open\n // about d\n d: f16; q[i]: int(4); // code\n\n value = (d*q[i]) ; // last\n // end\n}\nkernel k(input x: f32[M, K],) -> output y: f32[M] {\n  y[m] = 2 * (sum(k) x[m, k] * (x[m, k] - 1)) * 3 - -max(k) (-x[m, k]) + max(A, 1) - sum(k) (x[m,k] + 1); }\n// bye";
    let tree = parse("a", text).unwrap();
    let once = format_source("a", text).unwrap();
    assert_eq!(parse("a", &once).unwrap(), tree, "{once}");
    assert_eq!(format_source("a", &once).unwrap(), once);
    insta::assert_snapshot!(once, @r#"
    // head
    language 1;

    const A = -(1 + 2) * 3 - (4 - 5);  // tail
    format f = block i < 4 {  // open
        // about d
        d: f16;
        q[i]: int(4);  // code

        value = d * q[i];  // last
        // end
    }
    kernel k(input x: f32[M, K]) -> output y: f32[M] {
        y[m] = (2 * (sum(k) x[m, k] * (x[m, k] - 1))) * 3 - -max(k) (-x[m, k]) + max(A, 1) - sum(k) (x[m, k] + 1);
    }
    // bye
    "#);
    let ast::Item::Const { .. } = &tree.items[1] else {
        panic!()
    };
}

#[test]
fn the_examples_load_and_are_formatted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../dsl-examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let m = module(&text);
        assert!(m.warnings.is_empty(), "{}", m.warnings);
        assert!(!m.kernels.is_empty());
        assert_eq!(
            format_source("x", &text).unwrap(),
            text,
            "{}",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 12);
}

#[test]
fn any_layout_prints_as_text_that_parses_to_it() {
    let fields = [
        "q[i]: uint(3) at 3 * ((i * 7 + 2) % 16)",
        "q[i]: int(2) at [30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0]",
        "q[(i + 3) / 8 + 0]: float(3, 2, bias 5, nan) at 40 - 20 * ((i + 3) / 8)",
        "q[i % 4]: codebook [-1e-7, 0.1, 3e20] at 2 * (i % 4)",
        "q[i / 2 % 2 + 2 * (i / 8)]: uint(32) at 128 - 32 * (i / 2 % 2 + 2 * (i / 8))",
        "q[15 - i]: uint(4) at 4 * i",
        "q: float(8, 0, finite, unsigned, no_subnormals, bias 128) at 7",
    ];
    for f in fields {
        let subscript = &f[1..f.find(':').unwrap()];
        let text = format!(
            "language 1;\nformat f = block i < 16, bytes 20 {{ {f}; value = 2 * (q{subscript} - -0.1) / 3; }}"
        );
        let m = module(&text);
        let back = format!("language 1;\n{}", definition(&m.formats[0]));
        assert_eq!(module(&back).formats[0].kind, m.formats[0].kind, "{back}");
    }
}

#[test]
fn a_scale_is_derived_for_any_spelling() {
    for (value, reach) in [
        ("d * q[i]", 7.0),
        ("q[i] * d", 7.0),
        ("d * q[i] - d", 6.0),
        ("(q[i] + 3) * (2 * d)", 10.0),
        ("-d * (q[i] / 4)", 1.75),
    ] {
        let m = module(&format!(
            "language 1; format f = block i < 8 {{ d: f32; q[i]: int(4); value = {value}; }}"
        ));
        let x = [1.0, -0.5, 0.25, 0.0, -1.0, 0.125, 0.5, 0.75];
        let bytes = encode_tensor(&m.formats[0], &[8], &x).unwrap();
        let d = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        assert_eq!(d, 1.0 / reach, "{value}");
        let y = decode_tensor(&m.formats[0], &[8], &bytes).unwrap();
        assert!(
            x.iter().zip(&y).all(|(a, b)| (a - b).abs() < 0.26),
            "{value}: {y:?}"
        );
    }
}

#[test]
fn both_ends_of_an_uneven_codebook_are_reached() {
    let text = "language 1; format f = block i < 2 { d: f32; q[i]: codebook [-4, -1, 0, 2]; value = d * q[i]; }";
    let m = module(text);
    for (x, scale) in [
        ([1.0, -1.0], 0.5),
        ([1.0, -4.0], 1.0),
        ([-1.0, -4.0], 1.0),
        ([2.0, 0.0], 1.0),
    ] {
        let bytes = encode_tensor(&m.formats[0], &[2], &x).unwrap();
        let d = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        assert_eq!(d, scale, "{x:?}");
    }
}

#[test]
fn rows_and_tensors_have_fields_of_their_own() {
    let m = module(
        "language 1;
        format framed = block i < 4, bytes 2, row after bytes 5, tensor bytes 3 {
            tensor t: f16 at 8;
            row s: f16 after at 16;
            q[i]: int(4) at 4 * i;
            value = t * s * q[i];
            encode x {
                t = max(i) abs(x[i]) / 8;
                s = max(i) abs(x[i]) / t;
                q[i] = x[i] / (t * s) * 4;
            }
        }
        format packed = block r < 2, i < 4 {
            tensor t: f16;
            row s[r]: f16;
            q[r, i]: int(4);
            value = t * s[r] * q[r, i];
        }",
    );
    let framed = m.format("framed").unwrap();
    let shape = [1, 3, 5];
    let x = [
        1.0, 2.0, -1.0, 0.0, 1.0, //
        4.0, 8.0, -8.0, 0.0, 4.0, //
        0.0, 0.0, 0.0, 0.0, 0.0,
    ];
    let bytes = encode_tensor(framed, &shape, &x).unwrap();
    // t = 1; s = 2, 8, 0; two blocks a row, the second with one element
    let half = |v: f32| ((v.log2() as u16 + 15) << 10).to_le_bytes();
    let row = |blocks: [u8; 4], s: [u8; 2]| [&blocks[..], &[0, 0], &s, &[0]].concat();
    let [one, two, eight] = [1.0, 2.0, 8.0].map(half);
    let wanted = [
        vec![0, one[0], one[1]],
        row([0x42, 0x0e, 0x02, 0], two),
        row([0x42, 0x0c, 0x02, 0], eight),
        row([0; 4], [0, 0]),
    ]
    .concat();
    assert_eq!(bytes, wanted);
    let values = decode_tensor(framed, &shape, &bytes).unwrap();
    let wanted = [
        4.0, 8.0, -4.0, 0.0, 4.0, //
        16.0, 32.0, -32.0, 0.0, 16.0, //
        0.0, 0.0, 0.0, 0.0, 0.0,
    ];
    assert_eq!(values, wanted);

    let packed = m.format("packed").unwrap();
    let (FormatKind::Block(a), FormatKind::Block(b)) = (&framed.kind, &packed.kind) else {
        panic!("blocks");
    };
    let other = relayout(a, b, &shape, &bytes).unwrap();
    // a tensor scale, then for two rows each: two row scales and two blocks of both rows
    assert_eq!(other.len(), 2 + 2 * (4 + 2 * 4));
    assert_eq!(decode_tensor(packed, &shape, &other).unwrap(), wanted);
    assert_eq!(relayout(b, a, &shape, &other).unwrap(), bytes);
    let text = definition(framed);
    assert!(text.starts_with("format framed = block i < 4, bytes 2, row after bytes 5, tensor bytes 3 {\n    tensor t: float(5, 10) at 8;\n    row s: float(5, 10) after at 16;") , "{text}");
    let again = module(&format!("language 1;\n{text}"));
    assert!(same_layout(again.format("framed").unwrap(), framed));
    assert!(!same_layout(framed, packed) && layout_id(framed) != layout_id(packed));
}

#[test]
fn tensors_without_columns_may_have_any_number_of_rows() {
    let m = module("language 1; format f = block i < 4 { q[i]: int(8); value = q[i]; }");
    let format = m.format("f").unwrap();
    let shape = [1 << 50, 0];
    assert!(encode_tensor(format, &shape, &[]).unwrap().is_empty());
    assert!(decode_tensor(format, &shape, &[]).unwrap().is_empty());
    let moved = permute(format, &shape, &[], Axis::Columns, &[]);
    assert!(moved.unwrap().is_empty());
}
