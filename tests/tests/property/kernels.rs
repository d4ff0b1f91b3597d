//! Random kernels as text, over random formats.

use crate::property::formats::{Need, block, element};
use crate::property::program::{Maker, Program};

const ROWS: &[u64] = &[0, 1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 33];
const BATCH: &[u64] = &[1, 1, 2, 3, 4, 5, 8, 9];
const LONG: &[u64] = &[
    0, 1, 2, 7, 16, 20, 31, 32, 33, 60, 64, 65, 96, 127, 128, 130, 256, 300,
];

/// The kinds of kernels.
pub(crate) const FORMS: [&str; 25] = [
    "linear",
    "elementwise",
    "in place",
    "dequantise",
    "dequantise",
    "dequantise",
    "select",
    "two sums",
    "maximum",
    "select",
    "several results",
    "quantize",
    "gather",
    "experts",
    "let",
    "quantised activations",
    "integers",
    "batched",
    "sum over two indices",
    "scales apart",
    "scales apart",
    "block activations",
    "joint codes",
    "digits",
    "counts",
];

/// What lowerings of tables made at a call say.
const TABLES: &str = "look-up of";
/// What lowerings that count bits say.
const COUNTS: &str = "counts of bits";
/// What lowerings that read codes where they lie say.
const IN_PLACE: &str = "in place";

/// The program of a seed.
pub(crate) fn program(seed: u64) -> Program {
    let mut m = Maker::new(seed);
    let form = (seed % FORMS.len() as u64) as usize;
    m.tag("kernel", FORMS[form]);
    let kernel = kernel(&mut m, form);
    let joint = FORMS[form] == "joint codes";
    let force = match FORMS[form] {
        "joint codes" => Some(TABLES),
        "counts" => Some(COUNTS),
        "in place" => Some(IN_PLACE),
        _ => None,
    };
    let target = match joint {
        _ if force == Some(IN_PLACE) => "host",
        true => m.pick(&["host", "x86-64-v2", "x86-64-v3"]),
        false => m.pick(&["host", "host", "x86-64", "x86-64-v2", "x86-64-v3"]),
    };
    m.tag("target", target);
    let how = m.below(3);
    m.tag("dimensions", ["bound", "free", "some free"][how as usize]);
    let bound = m.dims.clone();
    let bound = bound
        .iter()
        .map(|_| how == 0 || (how == 2 && m.once_in(2)))
        .collect();
    let named = m.once_in(4) && kernel.contains("0.5");
    let (constant, kernel) = match named {
        true => ("const HALF = 1 / 2;\n", kernel.replace("0.5", "HALF")),
        false => ("", kernel),
    };
    let kernel = match m.once_in(4) || joint && m.once_in(2) {
        true => {
            m.tag("tables", "int8");
            let (head, rest) = kernel.split_once("->").expect("a kernel has results");
            format!("{head}->{}", rest.replacen(" {", " tables int8 {", 1))
        }
        false => kernel,
    };
    Program {
        seed,
        text: format!(
            "language 1;\nimport \"std/ints\";\n{constant}{}{kernel}",
            m.formats.concat()
        ),
        dims: m.dims,
        bound,
        target,
        force,
        tags: m.tags,
    }
}

fn role(m: &mut Maker) -> &'static str {
    let role = m.pick(&["weight", "weight", "stored", "input"]);
    m.tag("role", role);
    role
}

/// The name of a format for a tensor that is read: mostly a new block, now and then a plain one.
fn format(m: &mut Maker, name: &'static str) -> &'static str {
    if m.once_in(5) {
        return plain(m, name);
    }
    block(m, name, Need::Read);
    name
}

/// The name of a plain format.
fn plain(m: &mut Maker, name: &'static str) -> &'static str {
    if m.once_in(3) {
        let most = m.pick(&[8, 12]);
        let (text, _) = element(m, most);
        m.formats.push(format!("format {name} = {text};\n"));
        m.tag("tensor", "of plain elements");
        return name;
    }
    m.pick(&["f32", "f16", "bf16", "i8", "u8", "i16"])
}

fn activation(m: &mut Maker) -> &'static str {
    let format = m.pick(&["f32", "f32", "f32", "f16", "bf16", "i8", "q8_32"]);
    m.tag("activation", format);
    format
}

fn output(m: &mut Maker) -> &'static str {
    m.pick(&["f32", "f32", "f32", "f16", "bf16"])
}

/// A function of one expression.
fn function(m: &mut Maker, x: &str) -> String {
    let text = m.pick(&[
        "X",
        "X",
        "abs(X)",
        "tanh(X)",
        "tanh(X) * 2",
        "tanh(X) + floor(X)",
        "gelu(X) + 1",
        "exp(-abs(X))",
        "round(X * 3)",
        "silu(X)",
        "gelu(X)",
        "relu(X)",
        "max(X, 0.5)",
        "min(X, 1)",
        "clamp(X, -1, 1)",
        "sqrt(abs(X))",
        "exp(min(X, 2))",
        "round(X)",
        "floor(X) + trunc(X * 3)",
        "floor_pow2(X) - round_away(X)",
        "round_away(X * 2) + floor(X)",
        "trunc(X) / 2 + floor_pow2(X)",
        "-X",
        "(X + 1) / 3",
    ]);
    text.replace('X', x)
}

fn body(m: &mut Maker, w: &str, x: &str) -> String {
    let (w, x) = (w.to_owned(), x.to_owned());
    match m.below(5) {
        0 => m.product(&[w, x, "0.5".into()]),
        1 => {
            let sum = m.sum(&[x, "0.25".into()]);
            m.product(&[w, format!("({sum})")])
        }
        _ => m.product(&[w, x]),
    }
}

/// A block of codes of one to four bits, of which neighbours make up joint codes.
fn small_codes(m: &mut Maker, name: &'static str) {
    let len = m.pick(&[8, 16, 32, 48, 64, 128]);
    let bits = m.between(1, 4);
    let element = match m.below(5) {
        0 => "codebook [-1, 1]".to_owned(),
        1 => "codebook [-3, 0, 1, 7]".to_owned(),
        2 => "codebook [-1, 0, 1]".to_owned(),
        3 => format!("int({bits})"),
        _ => format!("uint({bits})"),
    };
    let scale = m.pick(&["f16", "f32", "bf16"]);
    let value = m.pick(&["s * q[i]", "s * (q[i] - 2)", "s * q[i] - s", "q[i] * 0.5"]);
    let scale = match value.contains('s') {
        true => format!("s: {scale}; "),
        false => String::new(),
    };
    m.tag(
        "joint",
        element.split('(').next().unwrap_or_default().trim(),
    );
    m.formats.push(format!(
        "format {name} = block i < {len} {{ {scale}q[i]: {element}; value = {value}; }}\n"
    ));
}

/// Codes of one or two bits.
fn few_bits(m: &mut Maker, name: &'static str) {
    let element = m.pick(&[
        "int(1)",
        "int(2)",
        "uint(1)",
        "uint(2)",
        "uint(2)",
        "codebook [-1, 1]",
        "codebook [0.5, -2]",
        "codebook [-3, 1, 0, 4]",
        "codebook [-0.9, 0.0007]",
        "codebook [-1, 0.003]",
        "codebook [-8192, 1]",
    ]);
    m.tag("few bits", element);
    let len = m.pick(&[8, 16, 32, 64, 96]);
    let text = match m.below(4) {
        0 => format!("format {name} = {element};\n"),
        1 => format!("format {name} = block i < {len} {{ q[i]: {element}; value = q[i] - 1; }}\n"),
        _ => format!(
            "format {name} = block i < {len} {{ s: f16; q[i]: {element}; value = s * q[i]; }}\n"
        ),
    };
    m.formats.push(text);
}

/// A block of bytes with several digits each: of a number or of a fraction, of neighbours or of elements far apart.
fn digits(m: &mut Maker, name: &'static str) {
    let (radix, width) = m.pick(&[(3, 5), (3, 5), (5, 3), (7, 2)]);
    let bytes = m.pick(&[4, 8, 16, 24]);
    let len = width * bytes;
    let middle = m.pick(&[0, (radix - 1) / 2]);
    let digit = match m.once_in(2) {
        true => format!("c * pow({radix}, j) % 256 * {radix} / 256"),
        false => format!("c / pow({radix}, j) % {radix}"),
    };
    let apart = m.once_in(2);
    let place = match apart {
        true => format!("q[i % {bytes}, i / {bytes}]"),
        false => format!("q[i / {width}, i % {width}]"),
    };
    let value = m.pick(&["s * q[i]", "s * (q[i] - 1)", "q[i]"]);
    let scale = if value.contains('s') { "s: f16; " } else { "" };
    m.tag("digits", if apart { "far apart" } else { "of neighbours" });
    m.formats.push(format!(
        "format {name}_digits = codebook c < 256, j < {width}: {digit} - {middle};\n\
         format {name} = block i < {len} {{ {place}: {name}_digits; {scale}value = {value}; }}\n"
    ));
}

/// A format of few bits whose codes may be read where they lie.
fn in_place(m: &mut Maker, name: &'static str) {
    let len = m.pick(&[8, 16, 24, 32, 64]);
    let code = m.pick(&[
        "uint(1)",
        "uint(2)",
        "uint(3)",
        "int(3)",
        "codebook [-1, 1]",
        "codebook [-3, -1, 1, 3]",
        "codebook [-1, 0, 1] else 2",
    ]);
    let value = m.pick(&[
        "s * q[i]",
        "s * (q[i] - 2)",
        "s * (2 * q[i] - 3)",
        "q[i]",
        "q[i] - 1",
    ]);
    let scale = if value.contains('s') { "s: f16; " } else { "" };
    m.formats.push(format!(
        "format {name} = block i < {len} {{ {scale}q[i]: {code}; value = {value}; }}\n"
    ));
}

fn kernel(m: &mut Maker, form: usize) -> String {
    m.dim("M", BATCH);
    m.dim("N", ROWS);
    m.dim("K", LONG);
    let r = role(m);
    match FORMS[form] {
        "linear" => {
            let (w, x, y) = (format(m, "w0"), activation(m), output(m));
            let product = body(m, "w[n, k]", "x[m, k]");
            let terms = m.sum(&[format!("(sum(k) {product})"), "b[n]".into()]);
            let value = function(m, &format!("({terms})"));
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[M, K], input b: f32[N]) -> output y: {y}[M, N] {{ y[m, n] = {value}; }}"
            )
        }
        "elementwise" => {
            let (w, x, y) = (format(m, "w0"), plain(m, "x0"), output(m));
            let value = body(m, "w[n, k]", "x[n, k]");
            let value = function(m, &format!("({value})"));
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[N, K], input s: f32[M]) -> output y: {y}[N, K] {{ y[n, k] = {value}; }}"
            )
        }
        "dequantise" => {
            let need = m.pick(&[Need::Strict, Need::Read]);
            block(m, "w0", need);
            let (w, y) = ("w0", output(m));
            let rank = m.below(3);
            let (axes, index) = [
                ("[K]", "[k]"),
                ("[N, K]", "[n, k]"),
                ("[M, N, K]", "[m, n, k]"),
            ][rank as usize];
            format!(
                "kernel k({r} w: {w}{axes}, input d: f32[M, N, K]) -> output y: {y}{axes} {{ y{index} = w{index}; }}"
            )
        }
        "two sums" => {
            let (w, u, x) = (format(m, "w0"), format(m, "u0"), activation(m));
            let s = role(m);
            let (a, b) = (body(m, "w[n, k]", "x[m, k]"), body(m, "u[n, k]", "x[m, k]"));
            let join = m.pick(&["silu(A) * (B)", "(A) + (B)", "max(A, B)", "(A) - (B) * 0.5"]);
            let value = join
                .replace('A', &format!("sum(k) {a}"))
                .replace('B', &format!("sum(k) {b}"));
            format!(
                "kernel k({r} w: {w}[N, K], {s} u: {u}[N, K], input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = {value}; }}"
            )
        }
        "maximum" => {
            let (w, x) = (format(m, "w0"), plain(m, "x0"));
            let value = body(m, "w[n, k]", "x[m, k]");
            let value = m
                .pick(&["max(k) V", "max(k) abs(V)", "max(0, max(k) V)"])
                .replace('V', &format!("({value})"));
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = {value}; }}"
            )
        }
        "select" => {
            let (w, x) = (format(m, "w0"), plain(m, "x0"));
            let compare = m.pick(&["<", "<=", ">", ">=", "=="]);
            let value = m.pick(&[
                "select(X C 0.5, W, X)",
                "select(X C W, X, W)",
                "select(W C 0, 0, X * 2)",
            ]);
            let value = value
                .replace('C', compare)
                .replace('X', "x[n, k]")
                .replace('W', "w[n, k]");
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[N, K], input s: f32[M]) -> output y: f32[N, K] {{ y[n, k] = {value}; }}"
            )
        }
        "several results" => {
            let (w, x) = (format(m, "w0"), activation(m));
            let (a, b) = (
                body(m, "w[n, k]", "x[m, k]"),
                function(m, "(sum(k) w[n, k])"),
            );
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[M, K]) -> (output y: f32[M, N], output z: f32[M, N]) {{ y[m, n], z[m, n] = sum(k) {a}, {b}; }}"
            )
        }
        "quantize" => {
            block(m, "y0", Need::Quantize);
            let x = plain(m, "x0");
            let value = m.product(&["x[n, k]".into(), "g[k]".into()]);
            format!(
                "kernel k({r} x: {x}[N, K], input g: f32[K], input s: f32[M]) -> output y: y0[N, K] {{ y[n, k] = quantize {value} as y0; }}"
            )
        }
        "gather" => {
            let (w, y) = (format(m, "w0"), output(m));
            m.dims[1].1 = m.dims[1].1.max(1);
            let id = m.pick(&["i32", "i16", "u8"]);
            let value = m.pick(&["w[id[m], k]", "w[id[m], k] * 2", "w[id[m], k] + w[0, k]"]);
            format!(
                "kernel k({r} w: {w}[N, K], input id: {id}[M]) -> output y: {y}[M, K] {{ y[m, k] = {value}; }}"
            )
        }
        "experts" => {
            let (w, x) = (format(m, "w0"), activation(m));
            m.dim("E", &[1, 2, 3, 5]);
            let value = body(m, "w[id[m], n, k]", "x[m, k]");
            format!(
                "kernel k({r} w: {w}[E, N, K], input x: {x}[M, K], input id: i32[M]) -> output y: f32[M, N] {{ y[m, n] = sum(k) {value}; }}"
            )
        }
        "let" => {
            let (x, y) = (format(m, "w0"), output(m));
            let value = m.product(&["x[n, k]".into(), "h[n]".into(), "g[k]".into()]);
            format!(
                "kernel k({r} x: {x}[N, K], input g: f32[K], input s: f32[M]) -> output y: {y}[N, K] {{\n    let h[n] = 1 / sqrt((sum(k) x[n, k] * x[n, k]) / K + 0.01);\n    y[n, k] = {value};\n}}"
            )
        }
        "quantised activations" => {
            let w = format(m, "w0");
            let q = if m.once_in(2) { "q8_32" } else { "a0" };
            if q == "a0" {
                block(m, "a0", Need::Quantize);
            }
            let value = body(m, "w[n, k]", "xq[m, k]");
            format!(
                "kernel k({r} w: {w}[N, K], input x: f32[M, K]) -> output y: f32[M, N] {{\n    let xq[m, k] = quantize x[m, k] as {q};\n    y[m, n] = sum(k) {value};\n}}"
            )
        }
        "integers" => {
            let mut bytes = |name: &'static str| match m.below(3) {
                0 => {
                    let bits = m.between(2, 8);
                    let kind = m.pick(&["int", "uint"]);
                    m.tag("element", kind);
                    m.formats.push(format!("format {name} = {kind}({bits});\n"));
                    name
                }
                _ => m.pick(&["i8", "u8"]),
            };
            let (w, x) = (bytes("w0"), bytes("x0"));
            let value = m.pick(&[
                "sum(k) w[n, k] * x[m, k]",
                "sum(k) x[m, k] * (w[n, k] - 3)",
                "sum(k) w[n, k] * x[m, k] + 7",
            ]);
            format!(
                "kernel k({r} w: {w}[N, K], input x: {x}[M, K]) -> output y: i32[M, N] {{ y[m, n] = {value}; }}"
            )
        }
        "batched" => {
            let (w, x) = (format(m, "w0"), activation(m));
            m.dim("B", &[1, 2, 3]);
            let value = body(m, "w[b, n, k]", "x[b, m, k]");
            format!(
                "kernel k({r} w: {w}[B, N, K], input x: {x}[B, M, K]) -> output y: f32[B, M, N] {{ y[b, m, n] = sum(k) {value}; }}"
            )
        }
        "sum over two indices" => {
            let (w, x) = (format(m, "w0"), plain(m, "x0"));
            m.dim("J", &[1, 2, 3, 5]);
            let value = body(m, "w[n, j, k]", "x[j, k]");
            let order = m.pick(&["j, k", "k, j"]);
            format!(
                "kernel k({r} w: {w}[N, J, K], input x: {x}[J, K], input s: f32[M]) -> output y: f32[N] {{ y[n] = sum({order}) {value}; }}"
            )
        }
        "scales apart" => {
            let (w, s) = (format(m, "w0"), format(m, "s0"));
            let (by, rows) = (
                m.pick(&[2, 3, 7, 16, 20, 32, 64, 128]),
                m.pick(&[2, 4, 5, 128]),
            );
            let places = ["[N, K / B]", "[K / B, N]", "[N / R, K / B]", "[N / R, K]"];
            let place = m.pick(&places);
            m.tag("scales", place);
            let axes = place
                .replace('B', &by.to_string())
                .replace('R', &rows.to_string());
            let index = axes.to_lowercase();
            let role = role(m);
            let x = activation(m);
            let scale = m.sum(&[format!("s{index}"), "0.5".into()]);
            let scaled = m.product(&["w[n, k]".into(), format!("({scale})")]);
            match m.below(3) {
                0 => format!(
                    "kernel k({r} w: {w}[N, K], {role} s: {s}{axes}, input d: f32[M]) -> output y: f32[N, K] {{ y[n, k] = {scaled}; }}"
                ),
                _ => format!(
                    "kernel k({r} w: {w}[N, K], {role} s: {s}{axes}, input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) {scaled} * x[m, k]; }}"
                ),
            }
        }
        "joint codes" => {
            m.dims[1].1 = m.pick(&[5, 16, 17, 32, 33, 40, 48]);
            small_codes(m, "w0");
            let x = m.pick(&["q8_32", "q8_32", "i8"]);
            let value = body(m, "w[n, k]", "x[m, k]");
            format!(
                "kernel k(weight w: w0[N, K], input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) {value}; }}"
            )
        }
        "counts" => {
            m.dims[1].1 = m.pick(&[5, 16, 17, 33, 48]);
            few_bits(m, "w0");
            few_bits(m, "x0");
            let value = body(m, "w[n, k]", "x[m, k]");
            format!(
                "kernel k(weight w: w0[N, K], input x: x0[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) {value}; }}"
            )
        }
        "in place" => {
            m.dims[1].1 = m.pick(&[32, 33, 47, 64, 97]);
            m.dims[2].1 = m.pick(&[1, 31, 64, 97, 160, 192]);
            in_place(m, "w0");
            let x = m.pick(&["q8_32", "i8", "f32"]);
            format!(
                "kernel k(weight w: w0[N, K], input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) w[n, k] * x[m, k]; }}"
            )
        }
        "digits" => {
            m.dims[1].1 = m.pick(&[1, 3, 5, 16, 17]);
            m.dims[2].1 = m.pick(&[7, 40, 80, 97, 160, 240]);
            digits(m, "w0");
            let x = m.pick(&["q8_32", "i8", "f32"]);
            format!(
                "kernel k({r} w: w0[N, K], input x: {x}[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) w[n, k] * x[m, k]; }}"
            )
        }
        _ => {
            let w = format(m, "w0");
            block(m, "a0", Need::Read);
            let value = body(m, "w[n, k]", "x[m, k]");
            format!(
                "kernel k({r} w: {w}[N, K], input x: a0[M, K]) -> output y: f32[M, N] {{ y[m, n] = sum(k) {value}; }}"
            )
        }
    }
}
