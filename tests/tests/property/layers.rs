//! Random linear layers: formats as model files have them (scales of a block, of its parts, a smallest value, codes of any
//! width), each with activations of every kind, on sums of one element, and of one more than whole blocks.

use crate::property::program::{Maker, Program};

const BLOCKS: &[u64] = &[8, 16, 24, 32, 48, 64, 96, 128, 256];
const PARTS: &[u64] = &[8, 16, 32];
const ROWS: &[u64] = &[1, 3, 16, 17, 32, 33, 61, 64, 130];
const BATCH: &[u64] = &[1, 1, 2, 3, 5, 9];

/// The layer of a seed.
pub(crate) fn layer(seed: u64) -> Program {
    let mut m = Maker::new(seed);
    let len = m.pick(BLOCKS);
    let definition = format(&mut m, len);
    m.dim("N", ROWS);
    m.dim(
        "K",
        &[1, 7, 31, 64, 97, 200, 300, len, len + 1, 2 * len + 1],
    );
    m.dim("M", BATCH);
    let tables = m.pick(&["", " tables int8"]);
    let (given, quantised) = m.pick(&[
        ("i8", ""),
        ("f32", ""),
        ("f32", "let q[m, k] = quantize x[m, k] as q8_32; "),
        ("f32", "let q[m, k] = quantize x[m, k] as q8_32; "),
    ]);
    let activation = if quantised.is_empty() { "x" } else { "q" };
    let kernel = format!(
        "kernel k(weight w: f[N, K], input x: {given}[M, K]) -> output y: f32[M, N]{tables} {{ \
         {quantised}y[m, n] = sum(k) w[n, k] * {activation}[m, k]; }}"
    );
    let bound = m.once_in(3);
    let target = m.pick(&["host", "host", "x86-64-v2", "x86-64-v3"]);
    Program {
        seed,
        text: format!("language 1;\nimport \"std/ints\";\n{definition}\n{kernel}\n"),
        bound: m.dims.iter().map(|_| bound).collect(),
        dims: m.dims,
        target,
        force: None,
        tags: m.tags,
    }
}

fn format(m: &mut Maker, len: u64) -> String {
    let bits = m.pick(&[1, 2, 3, 3, 4, 5, 6, 7]);
    let element = match bits {
        1 => "uint",
        _ => m.pick(&["int", "uint", "offset"]),
    };
    let middle = 1 << (bits - 1);
    let centred = match element {
        "uint" if m.once_in(2) => format!("(q[i] - {middle})"),
        _ => "q[i]".to_owned(),
    };
    let (mut fields, mut scale) = ("d: f16; ".to_owned(), "d * ".to_owned());
    let part = m.pick(PARTS);
    if m.once_in(2) && part < len && len.is_multiple_of(part) {
        fields += &format!("s[i / {part}]: uint({}); ", m.between(3, 8));
        scale += &format!("s[i / {part}] * ");
    }
    let mut least = "";
    if m.once_in(3) {
        fields += "m: f16; ";
        least = " - m";
    }
    format!(
        "format f = block i < {len} {{ {fields}q[i]: {element}({bits}); value = {scale}{centred}{least}; }}"
    )
}
