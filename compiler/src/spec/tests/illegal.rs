//! Codes that have no value: what they decode to, that they are refused, and that no encoder makes them.

use super::{errors, module};
use crate::format::codec::{CodecError, decode_tensor, encode_tensor};
use crate::format::layout::{LayoutId, layout_id, relayout, same_layout};
use crate::format::refuse::check_codes;
use crate::format::search::{SearchPlan, search_tensor};
use crate::format::text::definition;
use crate::format::{BlockFormat, Element, Format, FormatKind};
use crate::syntax::format_source;
use std::sync::Arc;

fn format(text: &str) -> Arc<Format> {
    module(&format!("language 1;\n{text}")).formats[0].clone()
}

/// The element of a format of one.
fn element(text: &str) -> Element {
    match &format(&format!("format f = {text};")).kind {
        FormatKind::Plain(e) => e.clone(),
        FormatKind::Block(_) => panic!("an element"),
    }
}

fn block(format: &Format) -> &BlockFormat {
    match &format.kind {
        FormatKind::Block(b) => b,
        FormatKind::Plain(_) => panic!("a block"),
    }
}

fn values(e: &Element) -> Vec<f64> {
    (0..1 << e.bits()).map(|c| e.decode(c)).collect()
}

#[test]
fn illegal_codes_are_worth_what_the_format_says() {
    for (text, wanted) in [
        ("codebook [-1, 0, 1]", [-1.0, 0.0, 1.0, 0.0]),
        ("codebook [-1, 0, 1] else 0", [-1.0, 0.0, 1.0, 0.0]),
        (
            "codebook [-1, 0, 1] else -(1 + 1.5)",
            [-1.0, 0.0, 1.0, -2.5],
        ),
        ("codebook c < 3: abs(c) else 7", [0.0, 1.0, 2.0, 7.0]),
        ("codebook [0, 1, _, -1]", [0.0, 1.0, 0.0, -1.0]),
        ("codebook [_, 1, _, -1] else 9", [9.0, 1.0, 9.0, -1.0]),
        ("codebook [5, _, _]", [5.0, 0.0, 0.0, 0.0]),
        // Where nothing refuses them, as past the end of a row.
        ("codebook [_, 4, 5] else refuse", [4.0, 4.0, 5.0, 4.0]),
    ] {
        assert_eq!(values(&element(text)), wanted, "{text}");
    }
    let nan = element("codebook [-1, 0, 1] else nan");
    assert!(nan.decode(3).is_nan() && nan.has_nan_or_inf() && !nan.is_integer());
    assert_eq!(nan.range(), (-1.0, 1.0));
    let pairs = element("codebook j < 2: [1, 2, _, _, 5, 6] else 3");
    let all: Vec<f64> = (0..8).map(|n| pairs.decode_at(n / 2, n % 2)).collect();
    assert_eq!(all, [1.0, 2.0, 3.0, 3.0, 5.0, 6.0, 3.0, 3.0]);
}

#[test]
fn words_that_digits_do_not_write_can_be_illegal() {
    let all = element("digit(3) packed 5 per 8");
    let written = element("digit(3) packed 5 per 8 else -4");
    for code in 0..256 {
        for j in 0..5 {
            let wanted = match code < 243 {
                true => all.decode_at(code, j),
                false => -4.0,
            };
            assert_eq!(written.decode_at(code, j), wanted, "{code}");
        }
    }
    // A word keeps its bits, though fewer would do.
    let wide = element("digit(3) packed 2 per 8 else refuse");
    assert_eq!(wide.bits(), 8);
    assert!((0..256).all(|c| wide.is_legal(c) == (c < 9)));
}

#[test]
fn an_illegal_code_counts_among_what_is_read_and_not_among_what_is_written() {
    let e = element("codebook [1, 2, 3] else 100");
    assert_eq!((e.range(), e.reach()), ((1.0, 100.0), (1.0, 3.0)));
    assert_eq!(e.encode(90.0), 2);
    assert_eq!(e.encode(f32::NAN), 0);
    let e = element("codebook [_, 2, 3] else refuse");
    assert_eq!((e.range(), e.reach()), ((2.0, 3.0), (2.0, 3.0)));
    assert_eq!(e.encode(f32::NAN), 1);
    assert!(!element("codebook [1, 2, 3] else 2.5").is_integer());
    assert!(element("codebook [1, 2] ").is_integer());
}

#[test]
fn ids_differ_exactly_where_the_meaning_does() {
    let id = |text: &str| layout_id(&format(&format!("format f = {text};")));
    let same = [
        ("codebook [-1, 0, 1]", "codebook [-1, 0, 1] else 0"),
        ("codebook [-1, 0, 1]", "codebook [-1, 0, 1, _]"),
        (
            "codebook [5, 6, 7, _] else nan",
            "codebook c < 3: c + 5 else nan",
        ),
        (
            "codebook c < 9, j < 2: c / pow(3, j) % 3 else refuse",
            "digit(3) packed 2 per 4 else refuse",
        ),
    ];
    for (a, b) in same {
        assert_eq!(id(a), id(b), "{a} and {b}");
        assert_eq!(element(a), element(b), "{a} and {b}");
    }
    let different = [
        "codebook [-1, 0, 1]",
        "codebook [-1, 0, 1] else -0",
        "codebook [-1, 0, 1] else 1",
        "codebook [-1, 0, 1] else nan",
        "codebook [-1, 0, 1] else refuse",
        "codebook [-1, 0, _, 1]",
        "codebook [-1, 0, _, 1] else 1",
        "codebook [-1, 0, _, 1] else refuse",
        "codebook [-1, 0, 1, _, _]",
        "codebook [-1, 0, 0, 1]",
        "digit(3) packed 2 per 4",
        "digit(3) packed 2 per 4 else 0",
        "digit(3) packed 2 per 5 else 0",
    ];
    for (n, a) in different.iter().enumerate() {
        for b in &different[n + 1..] {
            assert_ne!(id(a), id(b), "{a} and {b}");
            let (a, b) = (
                format(&format!("format f = {a};")),
                format(&format!("format f = {b};")),
            );
            assert!(
                !same_layout(&a, &b),
                "{} {}",
                definition(&a),
                definition(&b)
            );
        }
    }
    // What had an id before formats could say so keeps it.
    assert_eq!(id("codebook [-1, 0, 1]"), LayoutId(0x6afa_67de_35f2_7d5a));
}

#[test]
fn a_definition_says_what_is_illegal() {
    for (text, printed) in [
        ("codebook [-1, 0, 1] else 0", "codebook [-1, 0, 1]"),
        (
            "codebook [-1, 0, 1] else 5 / 2",
            "codebook [-1, 0, 1] else 2.5",
        ),
        (
            "codebook [-1, 0, 1] else nan",
            "codebook [-1, 0, 1] else nan",
        ),
        (
            "codebook [-1, 0, 1] else refuse",
            "codebook [-1, 0, 1] else refuse",
        ),
        ("codebook [0, 1, _, -1]", "codebook [0, 1, _, -1]"),
        (
            "codebook c < 3, j < 2: c + j else -0",
            "codebook j < 2: [0, 1, 1, 2, 2, 3] else -0",
        ),
    ] {
        let f = format(&format!("format f = {text};"));
        assert_eq!(definition(&f), format!("format f = {printed};\n"));
        assert_eq!(format(&definition(&f)).kind, f.kind, "{text}");
    }
    let text = "format f = block i < 8, bytes 2 {
    q[i / 5, i % 5]: digit(3) packed 5 per 8 else abs(1) at [8, 0];
    value = q[i];
}
";
    assert_eq!(format_source("x", text).unwrap(), text);
    let f = format(text);
    assert_eq!(format(&definition(&f)).kind, f.kind);
}

#[test]
fn no_encoder_writes_an_illegal_code() {
    // The illegal code is worth just what is encoded.
    for text in [
        "q[i]: codebook [1, 2, 3] else 7",
        "q[i]: codebook [_, 2, 3] else 7",
        "q[i]: codebook [_, _, 3, 1, 2] else refuse",
        "q[i]: codebook [_, _, 3, 1, 2] else nan",
        "q[i]: codebook [1, 2, 3]",
        "q[i / 2, i % 2]: codebook j < 2: [_, _, 1, 2, 3, 3] else 7",
        "q[i / 2, i % 2]: digit(3) packed 2 per 8 else 7",
        "q[i / 2, i % 2]: codebook j < 2: [_, _, 1, 1, 1, 2, _, _, 2, 1, 2, 2] else 7",
    ] {
        let f = format(&format!(
            "format f = block i < 6 {{ d: f32; {text}; value = d * q[i]; encode x {{ d = 1; q[i] = x[i]; }} }}"
        ));
        let x = [7.0, 0.0, -3.0, f32::NAN, f32::INFINITY, 2.0];
        let bytes = encode_tensor(&f, &[6], &x).unwrap();
        let field = block(&f).fields.values().last().unwrap();
        for slot in 0..field.slots() {
            let code = field.read(&bytes, slot);
            assert!(field.element.is_legal(code), "{text}: {code}");
        }
        let Ok(plan) = SearchPlan::new(block(&f)) else {
            assert!(field.element.width() > 1, "{text} is searched");
            continue;
        };
        let x = [7.0, 0.0, -3.0, 1.0, 0.5, 2.0];
        let bytes = search_tensor(block(&f), &plan, &[1, 6], &x, None).unwrap();
        for slot in 0..field.slots() {
            let code = field.read(&bytes, slot);
            assert!(field.element.is_legal(code), "{text}: {code}");
        }
    }
}

const TRITS: &str = "format trits = block i < 8 {
    d: f16;
    q[i]: codebook [-1, 0, 1] else refuse;
    value = d * q[i];
}";

fn refused(
    format: &Format,
    shape: &[u64],
    bytes: &[u8],
) -> Option<(Option<String>, u32, u64, u64)> {
    let error = check_codes(format, shape, bytes).err();
    assert_eq!(decode_tensor(format, shape, bytes).err(), error);
    match error? {
        CodecError::Refused {
            field,
            code,
            row,
            element,
            ..
        } => Some((field, code, row, element)),
        other => panic!("{other}"),
    }
}

#[test]
fn bytes_with_a_refused_code_are_no_tensor() {
    let f = format(TRITS);
    let shape = [2, 3, 11];
    let mut bytes = encode_tensor(&f, &shape, &[1.0; 66]).unwrap();
    assert_eq!(refused(&f, &shape, &bytes), None);
    // Row 4 begins with block 8; its second block has elements 8 to 10, and five that fill it up.
    let field = block(&f).fields.values().nth(1).unwrap();
    for slot in 3..8 {
        field.write(&mut bytes[9 * 4..], slot, 3);
    }
    assert_eq!(refused(&f, &shape, &bytes), None);
    field.write(&mut bytes[9 * 4..], 2, 3);
    assert_eq!(
        refused(&f, &shape, &bytes),
        Some((Some("q".into()), 3, 4, 10))
    );
    let error = check_codes(&f, &shape, &bytes).unwrap_err();
    insta::assert_snapshot!(error, @"`trits` refuses code 3 of `q`, which stands in row 4, element 10");
    let moved = relayout(block(&f), block(&f), &shape, &bytes);
    assert!(matches!(
        moved,
        Err(CodecError::Refused {
            row: 4,
            element: 10,
            ..
        })
    ));
    // The scale may be anything.
    bytes[9 * 4 + 2..][..2].fill(0);
    bytes[0..2].fill(0xff);
    assert_eq!(refused(&f, &shape, &bytes), None);
}

#[test]
fn a_refused_code_is_found_wherever_its_bits_lie() {
    for (text, slots) in [
        ("q[i]: codebook [1, 2, 3, 4, 5] else refuse at 3 * i", 16),
        (
            "q[i]: codebook [1, 2, 3, 4, 5] else refuse at (1: 32 + i, 2: 2 * i)",
            16,
        ),
        (
            "q[i]: codebook [1, 2, 3, 4, 5] else refuse at msb 3 * i",
            16,
        ),
        ("q[i]: codebook [1, 2, _, 4, 5] else refuse at 8 * i", 16),
        ("q[i]: codebook c < 1000: c else refuse at 10 * i", 16),
        (
            "q[i / 4, i % 4]: digit(3) packed 4 per 7 else refuse at 10 * (i / 4)",
            4,
        ),
        (
            "q[i / 4]: codebook [1, 2, 3] else refuse at 16 * (i / 4)",
            4,
        ),
        (
            "q[i % 4]: codebook [1, 2, 3] else refuse at 16 * (i % 4)",
            4,
        ),
    ] {
        let name = text.split(':').next().unwrap();
        let f = format(&format!(
            "format f = block i < 16, bytes 20 {{ {text}; value = {name}; }}"
        ));
        let field = block(&f).fields.values().next().unwrap();
        assert_eq!(field.slots(), slots);
        let element = &field.element;
        let codes = 0..1u32 << element.bits();
        let legal = codes.clone().find(|c| element.is_legal(*c)).unwrap();
        let mut bytes = vec![0xff; 60];
        for block in bytes.chunks_mut(20) {
            (0..slots).for_each(|s| field.write(block, s, legal));
        }
        assert_eq!(refused(&f, &[3, 16], &bytes), None, "{text}");
        for slot in 0..slots {
            for code in codes.clone() {
                field.write(&mut bytes[20..40], slot, code);
                let first = field.occurrence.iter().position(|o| *o as usize == slot);
                let found = Some((Some("q".into()), code, 1, first.unwrap() as u64));
                let wanted = found.filter(|_| !element.is_legal(code));
                assert_eq!(refused(&f, &[3, 16], &bytes), wanted, "{text}");
            }
            field.write(&mut bytes[20..40], slot, legal);
        }
    }
}

#[test]
fn rows_past_the_end_of_a_group_may_hold_anything() {
    let f = format(
        "format f = block r < 4, i < 4, bytes 4 { q[r, i]: codebook [-1, 0, 1] else refuse at 8 * i + 2 * r; value = q[r, i]; }",
    );
    // Rows 4 and 5 of the second group are there, 6 and 7 are not.
    let mut bytes = vec![0; 8];
    bytes[4..].fill(0xf0);
    assert_eq!(refused(&f, &[6, 4], &bytes), None);
    bytes[6] = 0xfc;
    assert_eq!(
        refused(&f, &[6, 4], &bytes),
        Some((Some("q".into()), 3, 5, 2))
    );
}

#[test]
fn plain_codes_are_refused_too() {
    let f = format("format f = codebook [-1, 0, 1] else refuse;");
    // Bits above the code's are not the format's.
    assert_eq!(refused(&f, &[2, 3], &[0, 1, 2, 0xfc, 0, 0]), None);
    assert_eq!(
        refused(&f, &[2, 3], &[0, 1, 2, 0, 0xff, 0]),
        Some((None, 3, 1, 1))
    );
    assert_eq!(refused(&f, &[], &[3]), Some((None, 3, 0, 0)));
    assert_eq!(refused(&f, &[5, 0], &[]), None);
}

#[test]
fn misuse_is_explained() {
    insta::assert_snapshot!(errors("language 1;
format a = codebook [-1, 0, 1, 2] else 0;
format b = int(4) else refuse;
format c = codebook [-1, 0, 1] else refused;
format d = codebook [-1, 0, 1] else NaN;
format e = a else nan;
format g = codebook [_, _];
format h = codebook j < 2: [1, 2, _, 3];
format i = codebook [1, 2, 3] else 1e60;
format j = digit(2) packed 8 per 8 else nan;
format k = digit(3) packed 6 per 8 else nan;
format l = codebook c < 3: _ else 1;
format m = codebook [1, 2, 3] else;
format n = codebook [1, 2, 3] else 1 else 2;
"), @r#"
    error[size]: there are no codes left to say this of
     --> test.lowbit:2:35
      |
    2 | format a = codebook [-1, 0, 1, 2] else 0;
      |                                   ^^^^^^ all 4 codes of 2 bits have values
      |
    help: write this instead
      |
    2 - format a = codebook [-1, 0, 1, 2] else 0;
    2 + format a = codebook [-1, 0, 1, 2];
      |

    error[type]: only codebooks and digits have codes without values
     --> test.lowbit:3:19
      |
    3 | format b = int(4) else refuse;
      |            ------ ^^^^^^^^^^^ not allowed here
      |            |
      |            every code of this has a value
      |
      = help: `codebook c < 6: c else refuse` are the integers below 6

    error[unknown-name]: `refused` does not say what illegal codes are
     --> test.lowbit:4:37
      |
    4 | format c = codebook [-1, 0, 1] else refused;
      |                                     ^^^^^^^ expected a constant, `nan` or `refuse`
      |
    help: a similar name exists
      |
    4 - format c = codebook [-1, 0, 1] else refused;
    4 + format c = codebook [-1, 0, 1] else refuse;
      |

    error[unknown-name]: `NaN` does not say what illegal codes are
     --> test.lowbit:5:37
      |
    5 | format d = codebook [-1, 0, 1] else NaN;
      |                                     ^^^ expected a constant, `nan` or `refuse`
      |
    help: write this instead
      |
    5 - format d = codebook [-1, 0, 1] else NaN;
    5 + format d = codebook [-1, 0, 1] else nan;
      |

    error[type]: only codebooks and digits have codes without values
     --> test.lowbit:6:14
      |
    6 | format e = a else nan;
      |              ^^^^^^^^ not allowed here
      |
      = help: say it where `a` is defined

    error[missing]: a codebook without a value
     --> test.lowbit:7:22
      |
    7 | format g = codebook [_, _];
      |                      ^^^^ every code is illegal

    error[size]: code 1 has only some of its 2 values
     --> test.lowbit:8:35
      |
    8 | format h = codebook j < 2: [1, 2, _, 3];
      |                                   ^^^^ an illegal code has `_` for all of them

    error[range]: this constant is larger than any f32
     --> test.lowbit:9:36
      |
    9 | format i = codebook [1, 2, 3] else 1e60;
      |                                    ^^^^ too large

    error[size]: there are no codes left to say this of
      --> test.lowbit:10:36
       |
    10 | format j = digit(2) packed 8 per 8 else nan;
       |                                    ^^^^^^^^ all 256 codes of 8 bits have values
       |
    help: write this instead
       |
    10 - format j = digit(2) packed 8 per 8 else nan;
    10 + format j = digit(2);
       |

    error[size]: 6 digits of radix 3 do not fit 8 bits
      --> test.lowbit:11:28
       |
    11 | format k = digit(3) packed 6 per 8 else nan;
       |                            ^^^^^^^ too many digits

    error[unknown-name]: `_` is not an index or a constant
      --> test.lowbit:12:28
       |
    12 | format l = codebook c < 3: _ else 1;
       |                            ^ not known here

    error[syntax]: `;` is not expected here
      --> test.lowbit:13:35
       |
    13 | format m = codebook [1, 2, 3] else;
       |                                   ^ expected an expression

    error[syntax]: `else` is not expected here
      --> test.lowbit:14:38
       |
    14 | format n = codebook [1, 2, 3] else 1 else 2;
       |                                      ^^^^ expected an operator or `;`
    "#);
}
