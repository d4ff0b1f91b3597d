//! Layouts that keep the sums of rows: their text, their ids, and the sums on the way in and out.

use super::module;
use crate::format::codec::{CodecError, decode_tensor, encode_tensor};
use crate::format::layout::{
    blocks_differ, is_layout_of, layout_id, move_codes, relayout, same_layout,
};
use crate::format::permute::{Axis, permute};
use crate::format::refuse::check_codes;
use crate::format::sums::fill_sums;
use crate::format::text::definition;
use crate::format::{BlockFormat, Element, Format, FormatKind};
use crate::schedule::layout::{Cut, interleave};
use crate::spec::load;

const TEXT: &str = "language 1;
    format scaled = block i < 8 { d: f16; q[i]: int(4); value = d * q[i]; }
    format framed = block i < 8 { row sums: f16; tensor t: f32; q[i]: uint(4); value = sums * t * (q[i] - 8);
        encode x { t = 0.5; sums = 3; q[i] = x[i] + 8; } }
    format whole = block i < 8 { q[i]: int(4); value = q[i]; }
    format bytes = int(8);";

/// Formats, each with a layout of so many rows to a block that keeps the sums of rows.
fn formats(rows: u32, columns: u64) -> Vec<(Format, Format)> {
    let cut = Cut {
        lanes: 2,
        joint: 1,
        copies: 2,
        span: 8,
        beside: 1,
    };
    let keeping = |format: &Format| {
        let block = match &format.kind {
            FormatKind::Block(block) => block.clone(),
            FormatKind::Plain(element) => BlockFormat::of_plain(element, 8),
        };
        let mut block = interleave(&block, rows, 1, cut);
        block.keep_sums(columns);
        Format {
            name: "keeping".into(),
            kind: FormatKind::Block(block),
        }
    };
    let formats = module(TEXT).formats.into_iter();
    formats.map(|f| ((*f).clone(), keeping(&f))).collect()
}

fn block(format: &Format) -> &BlockFormat {
    match &format.kind {
        FormatKind::Block(block) => block,
        FormatKind::Plain(_) => panic!("{} is plain", format.name),
    }
}

fn values(count: u64) -> Vec<f32> {
    (0..count).map(|i| (i * i % 13) as f32 - 5.0).collect()
}

/// The sums that a tensor keeps, row after row, as numbers.
fn kept(format: &Format, shape: &[u64; 3], bytes: &[u8]) -> Vec<f32> {
    let block = block(format);
    let kept = block.kept.as_ref().expect("sums");
    let [matrices, rows, columns] = *shape;
    let across = columns.div_ceil(block.len.into()) as usize;
    let group = across * block.bytes as usize + block.frame.row[0] as usize;
    let groups = rows.div_ceil(block.rows.into());
    let of = |(matrix, row): (u64, u64)| {
        let at = (matrix * groups + row / u64::from(block.rows)) as usize * group;
        let at = at + block.frame.tensor[0] as usize;
        let code = kept.read(&bytes[at..], (row % u64::from(block.rows)) as usize);
        kept.element.decode(code) as f32
    };
    let rows = (0..matrices).flat_map(|m| (0..rows).map(move |r| (m, r)));
    rows.map(of).collect()
}

#[test]
fn sums_are_of_the_columns_that_are_there_on_the_way_in_and_gone_on_the_way_out() {
    for shape in [
        [1, 1, 1],
        [2, 5, 19],
        [1, 7, 8],
        [3, 4, 31],
        [1, 3, 0],
        [2, 0, 9],
    ] {
        for rows in [1, 4] {
            for (from, to) in formats(rows, shape[2]) {
                let name = format!("{} {shape:?} in {rows}", from.name);
                let x = values(shape.iter().product());
                let plain = encode_tensor(&from, &shape, &x).expect(&name);
                let packed = move_codes(&from, &to, &shape, &plain).expect(&name);
                let decoded = decode_tensor(&to, &shape, &packed).expect(&name);
                assert_eq!(decoded, decode_tensor(&from, &shape, &plain).expect(&name));
                if shape[2] > 0 {
                    let sums = decoded.chunks(shape[2] as usize);
                    let sum = |row: &[f32]| row.iter().map(|v| f64::from(*v)).sum::<f64>() as f32;
                    let sums: Vec<f32> = sums.map(sum).collect();
                    assert_eq!(kept(&to, &shape, &packed), sums, "{name}");
                }
                assert_eq!(check_codes(&to, &shape, &packed), Ok(()), "{name}");
                // Rows that fill up a group have other codes there.
                let encoded = encode_tensor(&to, &shape, &x).expect(&name);
                assert_eq!(
                    kept(&to, &shape, &encoded),
                    kept(&to, &shape, &packed),
                    "{name}"
                );
                if let FormatKind::Block(declared) = &from.kind {
                    let back = relayout(block(&to), declared, &shape, &packed);
                    assert_eq!(back.expect(&name), plain, "{name}");
                }
                let order: Vec<u32> = (0..shape[1] as u32).rev().collect();
                let turned = permute(&to, &shape, &packed, Axis::Rows, &order).expect(&name);
                assert_eq!(check_codes(&to, &shape, &turned), Ok(()), "{name}");
            }
        }
    }
}

#[test]
fn small_integers_are_added_up_as_integers() {
    let elements = |columns: u64| -> Vec<Element> {
        let element = |(_, to): &(Format, Format)| block(to).kept.clone().expect("sums").element;
        formats(4, columns).iter().map(element).collect()
    };
    let whole = Element::Int { bits: 32 };
    let is_whole = |e: &Element| *e == whole;
    let found: Vec<bool> = elements(4096).iter().map(is_whole).collect();
    assert_eq!(found, [false, false, true, true]);
    // 2^25 bytes of -128 add up to one more than 32 bits hold.
    let found: Vec<bool> = elements(1 << 24).iter().map(is_whole).collect();
    assert_eq!(found, [false, false, true, false]);
}

#[test]
fn a_layout_with_sums_is_another_layout_of_the_same_values_and_describes_itself() {
    for (from, to) in formats(4, 64) {
        assert!(is_layout_of(&to, &from), "{}", from.name);
        assert_eq!(blocks_differ(&from, &to), None);
        let without = Format {
            name: "without".into(),
            kind: FormatKind::Block(block(&to).without_sums()),
        };
        assert!(!same_layout(&to, &without));
        assert_ne!(layout_id(&to), layout_id(&without));
        let text = format!("language 1;\n{}", definition(&to));
        let again = module(&text);
        assert!(same_layout(&again.formats[0], &to), "{text}");
        assert_eq!(layout_id(&again.formats[0]), layout_id(&to));
    }
}

#[test]
fn other_numbers_than_the_sums_are_refused() {
    let (from, to) = &formats(4, 19)[2];
    // Rows without columns have sums too.
    for columns in [19, 0] {
        let shape = [1, 5, columns];
        let plain = encode_tensor(from, &shape, &values(5 * columns)).expect("bytes");
        let packed = move_codes(from, to, &shape, &plain).expect("bytes");
        let mut other = packed.clone();
        other[0] ^= 1;
        let row = CodecError::Sum {
            format: "keeping".into(),
            row: 0,
        };
        assert_eq!(check_codes(to, &shape, &other), Err(row));
        fill_sums(block(to), &shape, &mut other).expect("they fit");
        assert_eq!(other, packed);
    }
}

#[test]
fn sums_that_do_not_fit_are_refused() {
    let text = "language 1;
        format large = block i < 2 { q[i]: int(32); kept row sums: int(32); value = q[i]; }";
    let large = &module(text).formats[0];
    let made = encode_tensor(large, &[1, 2], &[2e9, 2e9]);
    let error = |sum: &str| {
        let (kept, sum) = ("sums".into(), sum.into());
        Err(CodecError::LargeSum { kept, sum })
    };
    assert_eq!(made, error("4e9"));
    let text = "language 1;
        format real = block i < 2 { s: f32; q[i]: int(8); kept row sums: f32; value = s * q[i]; }";
    let real = &module(text).formats[0];
    let made = encode_tensor(real, &[1, 4], &[2.5e38; 4]);
    assert!(matches!(made, Err(CodecError::LargeSum { .. })), "{made:?}");
}

#[test]
fn integers_do_not_keep_sums_of_fractions() {
    for value in ["0.5 * q[i]", "q[i] / 2", "s * q[i]"] {
        let text = format!(
            "language 1;
            format f = block i < 4 {{ s: f16; q[i]: int(4); kept row sums: int(32); value = {value}; }}"
        );
        let error = load("test", &text, &|_| None).expect_err(value).to_string();
        assert!(error.contains("fractions"), "{value}: {error}");
    }
}

#[test]
fn sums_stand_last_belong_to_rows_and_make_no_values() {
    let block = |lines: &str| format!("language 1; format f = block i < 4 {{ {lines} }}");
    for (lines, wanted) in [
        (
            "kept row s: f32; q[i]: int(4); value = q[i];",
            "is not the last",
        ),
        ("kept row s: f32; value = 1;", "is not the last"),
        ("q[i]: int(4); kept s: f32; value = q[i];", "of a row"),
        ("q[i]: int(4); kept row s: f16; value = q[i];", "of a row"),
        (
            "q[i]: int(4) at 4 * i; kept row s: f32 at (16: 0, 16: 16); value = q[i];",
            "of a row",
        ),
        ("q[i]: int(4); kept row s: f32; value = s * q[i];", "`s`"),
    ] {
        let error = load("test", &block(lines), &|_| None).expect_err(lines);
        assert!(error.to_string().contains(wanted), "{lines}: {error}");
    }
}
