//! Every format that ships, code for code and number for number, as independent implementations have it: what
//! `scripts/oracles/` wrote is decoded and encoded again. How much was compared stands in `tests/data/compared.txt`, which the
//! book's table of formats shows; `LOWBIT_BOOK=write` writes that file anew.

use super::{compare, floats, index, number, oracle, string};
use lowbit::compiler::format::codec::{decode_tensor, encode_tensor};
use lowbit::compiler::format::{Format, FormatKind, std as shipped};
use lowbit::compiler::spec::load;
use lowbit::files::{Dtype, format_of};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

/// One comparison: the bytes of a tensor and its values.
struct Comparison {
    /// The name of the format, or what follows `format made_up = `.
    name: String,
    format: Arc<Format>,
    source: String,
    shape: Vec<u64>,
    bytes: Vec<u8>,
    values: Vec<f32>,
    /// Whether the other side loses the sign of zeros.
    unsigned_zeros: bool,
}

impl Comparison {
    fn read(entry: &Value) -> Comparison {
        let stem = string(entry, "stem");
        let file = |end: &str| oracle(&format!("library/{stem}.{end}")).expect("beside the index");
        let shape = entry["shape"].as_array().expect("a shape").iter();
        Comparison {
            name: entry["text"]
                .as_str()
                .unwrap_or(string(entry, "format"))
                .to_owned(),
            format: format(entry),
            source: string(entry, "source").to_owned(),
            shape: shape.map(|n| n.as_u64().expect("an extent")).collect(),
            bytes: file("bytes"),
            values: floats(&file("f32")),
            unsigned_zeros: entry["unsigned_zeros"] == true,
        }
    }

    /// The words for a message.
    fn title(&self) -> String {
        format!("{} of {}", self.name, self.source)
    }

    /// Blocks, or codes that stand alone.
    fn units(&self) -> u64 {
        units(&self.format, &self.shape)
    }
}

fn units(format: &Format, shape: &[u64]) -> u64 {
    let elements: u64 = shape.iter().product();
    match &format.kind {
        FormatKind::Plain(_) => elements,
        FormatKind::Block(b) => elements / u64::from(b.len * b.rows),
    }
}

/// The format that an entry names, or describes.
fn format(entry: &Value) -> Arc<Format> {
    let name = string(entry, "format");
    let (item, name) = match (entry["text"].as_str(), shipped::module_of(name)) {
        (Some(text), _) => (format!("format made_up = {text};"), "made_up"),
        (None, Some(module)) => (format!("import \"{module}\";"), name),
        (None, None) => (format!("format built_in = {name};"), "built_in"),
    };
    let text = format!("language 1;\n{item}\n");
    let module = load("oracle", &text, &|_| None).unwrap_or_else(|e| panic!("{text}{e}"));
    module.format(name).expect(name).clone()
}

fn comparisons(kind: &str) -> Option<Vec<Comparison>> {
    let index = index("library/index.json")?;
    let entries = index.as_array().expect("a list").iter();
    Some(
        entries
            .filter(|e| string(e, "kind") == kind)
            .map(Comparison::read)
            .collect(),
    )
}

#[test]
fn formats_decode_as_others_do() {
    for c in comparisons("decode").unwrap_or_default() {
        let mut ours = decode_tensor(&c.format, &c.shape, &c.bytes)
            .unwrap_or_else(|e| panic!("{}: {e}", c.title()));
        if c.unsigned_zeros {
            ours.iter_mut().for_each(|v| *v += 0.0);
        }
        compare(&c.title(), &ours, &c.values);
    }
}

/// Something that became other bytes than there: a block, or a code that stands alone.
struct Difference<'a> {
    numbers: &'a [f32],
    ours: Vec<f32>,
    theirs: Vec<f32>,
}

/// What is encoded otherwise. Where several codes are NaNs, each is as good as every other.
fn differences(c: &Comparison) -> Vec<Difference<'_>> {
    let ours = encode_tensor(&c.format, &c.shape, &c.values)
        .unwrap_or_else(|e| panic!("{}: {e}", c.title()));
    assert_eq!(ours.len(), c.bytes.len(), "{}", c.title());
    let units = c.units() as usize;
    let (size, length) = (ours.len() / units, c.values.len() / units);
    let worth = |bytes| decode_tensor(&c.format, &[length as u64], bytes).expect("whole blocks");
    let blocks = ours.chunks_exact(size).zip(c.bytes.chunks_exact(size));
    let pairs = blocks.zip(c.values.chunks_exact(length));
    let differing = pairs
        .filter(|((a, b), _)| a != b)
        .map(|((a, b), numbers)| Difference {
            numbers,
            ours: worth(a),
            theirs: worth(b),
        });
    differing
        .filter(|d| length > 1 || !(d.ours[0].is_nan() && d.theirs[0].is_nan()))
        .collect()
}

/// An encoder that does something else on purpose: who, the format, how often among our inputs, and what it does.
type Exception = (&'static str, &'static str, usize, fn(&Difference) -> bool);

const EXCEPTIONS: [Exception; 13] = [
    ("ml_dtypes", "e2m1", 3, nan_is_negative_zero),
    ("ml_dtypes", "e2m3", 3, nan_is_negative_zero),
    ("ml_dtypes", "e3m2", 3, nan_is_negative_zero),
    ("ml_dtypes", "e8m0", 142, powers_of_two),
    ("ml_dtypes", "e8m0_overflow", 143, powers_of_two),
    ("bitsandbytes", "bnb_dynamic8_256", 85, one_of_65536),
    ("ONNX Runtime", "matmul_bnb4_fp4_64", 61, zero_with_a_sign),
    ("ONNX Runtime", "nbits2_32", 47, largest_of_both_signs),
    ("ONNX Runtime", "nbits2_128", 29, largest_of_both_signs),
    ("ONNX Runtime", "nbits4_32", 47, largest_of_both_signs),
    ("ONNX Runtime", "nbits4_128", 27, largest_of_both_signs),
    ("ONNX Runtime", "nbits8_32", 43, largest_of_both_signs),
    ("ONNX Runtime", "nbits8_128", 22, largest_of_both_signs),
];

/// ml_dtypes makes of a NaN without a sign the negative zero of a float that has no NaN. Here it is zero.
fn nan_is_negative_zero(d: &Difference) -> bool {
    let zeros = d.ours[0].to_bits() == 0 && d.theirs[0].to_bits() == 1 << 31;
    zeros && d.numbers[0].is_nan() && d.numbers[0].is_sign_positive()
}

/// In ml_dtypes a power of two that is neither a NaN nor below all others comes of positive numbers only, a number halfway
/// between two becomes the larger one, and so does every number between the two smallest. Here numbers that are not positive
/// become the smallest power, and the nearest power is taken, of two the one with the even code.
fn powers_of_two(d: &Difference) -> bool {
    let (x, ours, theirs) = (d.numbers[0], d.ours[0], d.theirs[0]);
    let smallest = 0.5 * f32::MIN_POSITIVE;
    if x <= 0.0 {
        return ours == smallest && theirs.is_nan();
    }
    let between_smallest = x > smallest && x < 2.0 * smallest;
    let next = 2.0 * ours;
    let up = theirs == next || (theirs.is_nan() && next.is_infinite());
    up && (x == 1.5 * ours || between_smallest)
}

/// bitsandbytes rounds the quotient to one of 65536 places before it looks for the nearest entry, and divides 0 by 0 in a
/// block of zeros. Here the nearest entry is that of the quotient, and zeros stay zeros.
fn one_of_65536(d: &Difference) -> bool {
    let largest = d.numbers.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    if largest == 0.0 {
        return d.ours.iter().all(|v| *v == 0.0);
    }
    let values = d.ours.iter().zip(&d.theirs).zip(d.numbers);
    let close = |((ours, theirs), x): ((&f32, &f32), &f32)| {
        let halfway = f64::from(*ours) / 2.0 + f64::from(*theirs) / 2.0;
        ours == theirs || (f64::from(*x) - halfway).abs() <= f64::from(largest) / 32768.0
    };
    values.into_iter().all(close)
}

/// Of FP4's two codes that are worth 0, ONNX Runtime takes that with a sign for numbers below zero. Here it is the first one.
fn zero_with_a_sign(d: &Difference) -> bool {
    d.ours == d.theirs && d.numbers.iter().any(|x| *x < 0.0)
}

/// If the largest magnitude of a block stands on both sides of zero, ONNX Runtime decides for the negative number. Here it is
/// the first of the two.
fn largest_of_both_signs(d: &Difference) -> bool {
    let largest = d.numbers.iter().fold(0.0f32, |a, x| a.max(x.abs()));
    let first = d.numbers.iter().find(|x| x.abs() == largest);
    d.numbers.contains(&-largest) && first == Some(&largest)
}

#[test]
fn formats_encode_as_others_do() {
    let Some(comparisons) = comparisons("encode") else {
        return;
    };
    let mut met = 0;
    for c in comparisons {
        let differing = differences(&c);
        let of_format = |e: &&Exception| e.0 == c.source && e.1 == c.name;
        let Some((.., count, meant)) = EXCEPTIONS.iter().find(of_format) else {
            let first = differing.first().map(|d| (d.numbers, &d.ours, &d.theirs));
            assert!(first.is_none(), "{}: {first:?}", c.title());
            continue;
        };
        met += 1;
        let other = differing.iter().find(|d| !meant(d));
        let other = other.map(|d| (d.numbers, &d.ours, &d.theirs));
        assert!(other.is_none(), "{}: {other:?}", c.title());
        assert_eq!(differing.len(), *count, "{}", c.title());
    }
    assert_eq!(met, EXCEPTIONS.len());
}

/// Where the counts stand that the book shows.
const COMPARED: &str = "tests/data/compared.txt";

/// How much of each format is compared with whom: codes or blocks decoded, numbers or blocks encoded. Floats that were made
/// up for a comparison are counted together.
fn compared() -> Option<String> {
    let mut counts: BTreeMap<(String, String), [u64; 3]> = BTreeMap::new();
    for (at, kind) in ["decode", "encode"].into_iter().enumerate() {
        for c in comparisons(kind)? {
            let name = match shipped::module_of(&c.name) {
                None if c.name.starts_with("float(") => "float".to_owned(),
                _ => c.name.clone(),
            };
            let count = counts.entry((name, c.source.clone())).or_default();
            count[at] += c.units();
            count[2] += u64::from(at == 0);
        }
    }
    for entry in super::list(&index("formats/formats.json")?, "blocks") {
        let format = format_of(&Dtype::new(string(entry, "dtype"))).expect("it ships");
        let shape = [number(entry, "rows"), number(entry, "cols")];
        let count = counts.entry((format.name.clone(), "gguf".to_owned()));
        *count.or_default() = [units(&format, &shape), 0, 1];
    }
    let line = |((name, source), [decoded, encoded, formats]): (&(String, String), &[u64; 3])| {
        format!("{name}\t{source}\t{formats}\t{decoded}\t{encoded}\n")
    };
    let lines: String = counts.iter().map(line).collect();
    Some(format!(
        "# Format, compared with, formats, codes or blocks decoded, numbers or blocks encoded\n{lines}"
    ))
}

#[test]
fn the_book_says_how_much_is_compared() {
    let Some(compared) = compared() else {
        return;
    };
    let path = super::root().join(COMPARED);
    if std::env::var_os("LOWBIT_BOOK").is_some_and(|v| v == "write") {
        fs::write(&path, &compared).expect("written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == compared,
        "{COMPARED} is out of date; with LOWBIT_BOOK=write this test writes it anew. It should be:\n{compared}"
    );
}
