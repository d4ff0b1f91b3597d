//! Formats that no package decodes on its own: their bytes are put together here a second way, by the shifts that the programs
//! which write them describe, and must decode to what went in, and encode to the same bytes.

use lowbit::compiler::format::codec::{decode_tensor, encode_tensor};
use lowbit::compiler::format::{Format, std as shipped};
use lowbit::compiler::spec::load;
use std::sync::Arc;

fn format(name: &str) -> Arc<Format> {
    let module = shipped::module_of(name).expect(name);
    let text = format!("language 1;\nimport \"{module}\";\n");
    let loaded = load("words", &text, &|_| None).expect("it reads");
    loaded.format(name).expect(name).clone()
}

/// Numbers below `limit`, the same in every run.
fn numbers(count: usize, limit: u32) -> Vec<u32> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as u32 % limit
    };
    (0..count).map(|_| next()).collect()
}

/// Weights of -1, 0 and 1.
fn ternary(count: usize) -> Vec<i32> {
    let digits = numbers(count, 3).into_iter();
    digits.map(|d| d as i32 - 1).collect()
}

fn little_endian(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

fn as_floats<T: Into<f64> + Copy>(values: &[T]) -> Vec<f32> {
    values.iter().map(|v| (*v).into() as f32).collect()
}

/// The bytes decode to the values, and these encode to the bytes.
fn hold(name: &str, shape: [u64; 2], bytes: &[u8], values: &[f32]) {
    let format = format(name);
    let decoded = decode_tensor(&format, &shape, bytes).expect(name);
    assert_eq!(decoded, values, "{name}");
    let encoded = encode_tensor(&format, &shape, values).expect(name);
    assert_eq!(encoded, bytes, "{name}");
}

#[test]
fn gptq_words_hold_neighbours_along_k() {
    let (k, n) = (64, 5);
    for bits in [2, 4, 8] {
        let each = 32 / bits;
        let codes = numbers(k * n, 1 << bits);
        let mut words = vec![0u32; k / each * n];
        for (at, code) in codes.iter().enumerate() {
            let (row, column) = (at / n, at % n);
            words[row / each * n + column] |= code << (bits * (row % each));
        }
        let shape = [k as u64, n as u64];
        hold(
            &format!("gptq{bits}"),
            shape,
            &little_endian(&words),
            &as_floats(&codes),
        );
    }
}

/// The three words of 32 codes: two codes lie across the ends of words.
fn three_words(codes: &[u32]) -> [u32; 3] {
    let mut words = [0; 3];
    for i in 0..10 {
        words[0] |= codes[i] << (3 * i);
        words[1] |= codes[11 + i] << (3 * i + 1);
        words[2] |= codes[22 + i] << (3 * i + 2);
    }
    words[0] |= codes[10] << 30;
    words[1] |= (codes[10] >> 2) & 1;
    words[1] |= codes[21] << 31;
    words[2] |= (codes[21] >> 1) & 3;
    words
}

#[test]
fn gptq_holds_32_codes_of_3_bits_in_three_words() {
    let n = 5;
    let codes = numbers(32 * n, 8);
    let column = |c: usize| (0..32).map(|r| codes[r * n + c]).collect::<Vec<u32>>();
    let words: Vec<u32> = (0..n).flat_map(|c| three_words(&column(c))).collect();
    hold(
        "gptq3",
        [32, n as u64],
        &little_endian(&words),
        &as_floats(&codes),
    );
}

#[test]
fn gptq_zero_points_are_one_more_than_what_is_stored() {
    for bits in [2, 3, 4, 8] {
        let codes = numbers(64, 1 << bits);
        let words: Vec<u32> = if bits == 3 {
            codes.chunks(32).flat_map(three_words).collect()
        } else {
            let word =
                |c: &[u32]| c.iter().rev().fold(0u64, |w, q| w << bits | u64::from(*q)) as u32;
            codes.chunks(32 / bits).map(word).collect()
        };
        let format = format(&format!("gptq{bits}_zeros"));
        let decoded =
            decode_tensor(&format, &[1, 64], &little_endian(&words)).expect("whole words");
        let zeros: Vec<u32> = codes.iter().map(|q| q + 1).collect();
        assert_eq!(decoded, as_floats(&zeros), "{bits} bits");
    }
}

#[test]
fn awq_words_hold_even_columns_before_odd_ones() {
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let codes = numbers(3 * 16, 16);
    let word = |c: &[u32]| {
        let nibbles = ORDER.iter().enumerate();
        nibbles.fold(0, |word, (place, column)| word | c[*column] << (4 * place))
    };
    let words: Vec<u32> = codes.chunks(8).map(word).collect();
    hold("awq4", [3, 16], &little_endian(&words), &as_floats(&codes));
}

#[test]
fn i2_s_has_three_layouts() {
    let (rows, columns) = (8, 256);
    let weights = ternary(rows * columns);
    let code = |w: i32| (w + 1) as u8;
    let shape = [rows as u64, columns as u64];
    // The scale stands behind all rows, in the first of 32 bytes.
    let tail = [1.5f32.to_le_bytes().to_vec(), vec![0; 28]].concat();
    let scaled: Vec<f32> = as_floats(&weights).iter().map(|w| w * 1.5).collect();
    for (name, length, group) in [("i2_s", 128, 32), ("i2_s_neon", 64, 16)] {
        let mut bytes = vec![0; rows * columns / 4];
        for (at, w) in weights.iter().enumerate() {
            let (block, j) = (at / length, at % length);
            bytes[block * group + j % group] |= code(*w) << (6 - 2 * (j / group));
        }
        bytes.extend(&tail);
        hold(name, shape, &bytes, &scaled);
    }
    let at = |row: usize, column: usize| code(weights[row * columns + column]);
    let byte = |group: usize, c: usize| (0..4).fold(0, |byte, r| byte << 2 | at(4 * group + r, c));
    let mut bytes: Vec<u8> = (0..rows / 4)
        .flat_map(|g| (0..columns).map(move |c| (g, c)))
        .map(|(g, c)| byte(g, c))
        .collect();
    bytes.extend(&tail);
    hold("i2_s_rows", shape, &bytes, &scaled);
}

#[test]
fn tl1_tiles_hold_two_pairs_of_16_rows() {
    let weights = ternary(16 * 8);
    let index = |row: usize, column: usize| {
        let pair = &weights[row * 8 + column..];
        (3 * pair[0] + pair[1] + 4) as u8
    };
    let mut bytes = Vec::new();
    for tile in [0, 4] {
        bytes.extend((0..16).map(|row| index(row, tile) << 4 | index(row, tile + 2)));
    }
    hold("tl1", [16, 8], &bytes, &as_floats(&weights));
}

#[test]
fn tl2_tiles_hold_triples_and_then_their_signs() {
    let weights = ternary(32 * 24);
    let triple = |row: usize, t: usize| {
        let w = &weights[row * 24 + 3 * t..];
        9 * w[0] + 3 * w[1] + w[2]
    };
    let mut bytes = Vec::new();
    for pair in 0..4 {
        for first in [0, 16, 8, 24] {
            let size = |row, t| triple(row, t).unsigned_abs() as u8;
            bytes
                .extend((first..first + 8).map(|r| size(r, 2 * pair) << 4 | size(r, 2 * pair + 1)));
        }
    }
    for row in 0..16 {
        let mut word = 0u16;
        for t in 0..8 {
            word |= u16::from(triple(row, t) < 0) << (15 - 2 * t);
            word |= u16::from(triple(row + 16, t) < 0) << (14 - 2 * t);
        }
        bytes.extend(word.to_le_bytes());
    }
    hold("tl2", [32, 24], &bytes, &as_floats(&weights));
}

/// A block of ternary weights whose scale is a power of two.
fn scaled(name: &str, length: usize, codes: &[u8]) {
    let weights = ternary(length);
    let format = format(name);
    let bytes = [&0x4000u16.to_le_bytes()[..], codes].concat();
    let decoded = decode_tensor(&format, &[1, length as u64], &bytes).expect(name);
    let doubled: Vec<f32> = weights.iter().map(|w| 2.0 * *w as f32).collect();
    assert_eq!(decoded, doubled, "{name}");
}

#[test]
fn five_digits_make_a_byte() {
    let value = |w: &[i32]| w.iter().rev().fold(0, |byte, w| 3 * byte + (w + 1) as u8);
    let codes: Vec<u8> = ternary(160).chunks(5).map(value).collect();
    scaled("ternary5_160", 160, &codes);
}

#[test]
fn three_digits_make_five_bits() {
    let weights = ternary(96);
    let mut codes = vec![0u8; 20];
    for (at, w) in weights.chunks(3).enumerate() {
        let t = 9 * w[0] + 3 * w[1] + w[2];
        let code = t.unsigned_abs() | u32::from(t < 0) << 4;
        for bit in (0..5).filter(|b| code >> b & 1 == 1) {
            codes[(5 * at + bit) / 8] |= 1 << ((5 * at + bit) % 8);
        }
    }
    scaled("ternary3_96", 96, &codes);
}

#[test]
fn two_bits_and_one_bit_lie_side_by_side() {
    let weights = ternary(128);
    let byte = |w: &[i32]| w.iter().rev().fold(0, |byte, w| byte << 2 | (w + 1) as u8);
    let codes: Vec<u8> = weights.chunks(4).map(byte).collect();
    scaled("ternary2_128", 128, &codes);
    let bits = numbers(128, 2);
    let byte = |b: &[u32]| b.iter().rev().fold(0, |byte, b| byte << 1 | *b as u8);
    let mut bytes = vec![0x00, 0x40];
    bytes.extend(bits.chunks(8).map(byte));
    let signs: Vec<f32> = bits
        .iter()
        .map(|b| if *b == 1 { 2.0 } else { -2.0 })
        .collect();
    hold("binary_128", [1, 128], &bytes, &signs);
}
