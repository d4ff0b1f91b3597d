//! Random definitions by themselves: codes that are written come back, values find their codes again, texts parse to what
//! they print, and ids tell layouts apart exactly.

use crate::property::formats::{Need, block};
use crate::property::program::Maker;
use lowbit::check::Random;
use lowbit::compiler::format::layout::{layout_id, same_layout};
use lowbit::compiler::format::refuse::check_codes;
use lowbit::compiler::format::text::definition;
use lowbit::compiler::format::{BlockFormat, Element, Field, Format, FormatKind, Scope};
use lowbit::compiler::spec::load;
use std::sync::Arc;

/// A format made from a seed, with its text.
pub(crate) fn random_format(seed: u64) -> (String, Arc<Format>) {
    let mut maker = Maker::new(seed);
    let need = maker.pick(&[Need::Read, Need::Quantize, Need::Strict]);
    block(&mut maker, "f", need);
    let text = format!("language 1;\n{}", maker.formats.concat());
    let module = load("random", &text, &|_| None);
    let module = module.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
    let format = module.format("f").expect("the format").clone();
    (text, format)
}

fn of_block(format: &Format) -> &BlockFormat {
    match &format.kind {
        FormatKind::Block(block) => block,
        FormatKind::Plain(_) => panic!("a block was made"),
    }
}

/// Codes in every occurrence of every field, written in any order, are read back; nothing else is touched.
pub(crate) fn codes_come_back(format: &Format, seed: u64) {
    let block = of_block(format);
    let mut random = Random::new(seed);
    let mut bytes = vec![0; block.bytes as usize];
    let mut written = Vec::new();
    for field in own(block) {
        for slot in 0..field.slots() {
            let code = random.number() as u32 & low_bits(field);
            field.write(&mut bytes, slot, code);
            written.push(code);
        }
    }
    let fields = own(block);
    let read: Vec<u32> = fields
        .flat_map(|f| (0..f.slots()).map(|slot| f.read(&bytes, slot)))
        .collect();
    assert_eq!(written, read, "seed {seed}");
    // What is zeroed again leaves nothing behind.
    for field in own(block) {
        for slot in 0..field.slots() {
            field.write(&mut bytes, slot, 0);
        }
    }
    assert!(bytes.iter().all(|b| *b == 0), "seed {seed}");
}

/// The fields that lie in the block.
fn own(block: &BlockFormat) -> impl Iterator<Item = &Field> {
    let fields = block.fields.values();
    fields.filter(|f| f.scope == Scope::Block)
}

fn low_bits(field: &Field) -> u32 {
    u32::MAX >> (32 - field.element.bits())
}

/// The code that the value of a code is encoded to.
fn again(element: &Element, code: u32) -> u32 {
    match element {
        Element::Codebook(book) if book.width > 1 => {
            let values = (0..book.width).map(|j| element.decode_at(code, j) as f32);
            match book.product(&(0..book.width).collect::<Vec<u32>>()) {
                Some(product) => product.nearest(&values.collect::<Vec<f32>>()),
                None => book.nearest(&(0..).zip(values).collect::<Vec<(u32, f32)>>()),
            }
        }
        element => element.encode(element.decode(code) as f32),
    }
}

fn same_values(element: &Element, a: u32, b: u32) -> bool {
    (0..element.width()).all(|j| {
        let (a, b) = (element.decode_at(a, j), element.decode_at(b, j));
        a == b || (a.is_nan() && b.is_nan())
    })
}

/// Encoding after decoding goes to a code of the same value, which stays where it is.
pub(crate) fn values_find_their_codes(format: &Format, seed: u64) {
    for field in of_block(format).fields.values() {
        let element = &field.element;
        let codes = 0..1u32 << element.bits().min(12);
        for code in codes.filter(|c| element.is_legal(*c)) {
            let first = again(element, code);
            // A float that saturates makes a number of an infinity.
            let infinite = element.decode_at(code, 0).is_infinite();
            assert!(
                infinite || same_values(element, code, first),
                "seed {seed}: code {code} of {element:?} becomes {first}"
            );
            assert_eq!(again(element, first), first, "seed {seed}: {element:?}");
        }
    }
}

/// Bytes of any codes are a tensor unless one of them is refused.
pub(crate) fn refused_codes_are_found(format: &Format, seed: u64) {
    let block = of_block(format);
    if !block.frame.is_empty() {
        return; // a block alone is no tensor
    }
    let mut random = Random::new(seed);
    let mut bytes = vec![0; block.bytes as usize];
    let mut legal = true;
    // Most codes are legal, else every block is refused by its first ones.
    for field in block.fields.values() {
        let odd = random.below(1 + 2 * field.slots() as u64) as usize;
        for slot in 0..field.slots() {
            let codes = || random.number() as u32 & low_bits(field);
            let mut codes = std::iter::repeat_with(codes);
            let code = codes.find(|c| slot == odd || field.element.is_legal(*c));
            let code = code.unwrap_or(0);
            legal &= !field.element.refuses() || field.element.is_legal(code);
            field.write(&mut bytes, slot, code);
        }
    }
    let shape = [u64::from(block.rows), u64::from(block.len)];
    let found = check_codes(format, &shape, &bytes);
    assert_eq!(found.is_ok(), legal, "seed {seed}: {found:?}");
}

/// The printed text reads as an equal layout that prints the same, whatever its name.
pub(crate) fn texts_read_as_they_print(text: &str, format: &Format, seed: u64) {
    let printed = definition(format);
    let read = |text: &str| {
        let module = load("printed", &format!("language 1;\n{text}"), &|_| None);
        let module = module.unwrap_or_else(|e| panic!("seed {seed}: {e}\n{text}"));
        module.formats[0].clone()
    };
    let back = read(&printed);
    assert!(
        same_layout(&back, format),
        "seed {seed}:\n{text}\n{printed}"
    );
    assert_eq!(layout_id(&back), layout_id(format), "seed {seed}");
    assert_eq!(definition(&back), printed, "seed {seed}");
    let renamed = read(&printed.replacen("format f ", "format g ", 1));
    assert_eq!(layout_id(&renamed), layout_id(format), "seed {seed}");
}
