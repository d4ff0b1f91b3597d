//! Kernels whose results are integers: weights of one to eight bits, in every kind of format, with several kinds of
//! activations.

/// A kernel with what it is called in failures.
pub(crate) struct Text {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A format `w0` of weights: blocks of 32 codes without a scale.
fn block(code: &str, value: &str) -> String {
    format!("format w0 = block i < 32 {{ q[i]: {code}; value = {value}; }}")
}

/// The same with a scale, which the data has as 1.
fn scaled(code: &str, value: &str) -> String {
    format!("format w0 = block i < 32 {{ scale: f16; q[i]: {code}; value = scale * ({value}); }}")
}

/// Formats of weights: what they are called, and the text that defines them.
fn weights() -> Vec<(&'static str, String)> {
    let sixteen =
        "codebook [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]";
    let own = |text: &str| ("w0", text.to_owned());
    let mut weights = vec![
        ("i8", String::new()),
        ("u8", String::new()),
        own("format w0 = uint(4);"),
        own("format w0 = int(3);"),
        own("format w0 = codebook [-3, 1, 0, 7];"),
        own(&block("codebook [-3, 1, 0, 7]", "q[i]")),
        own(&block(sixteen, "q[i]")),
        own(&block("float(2, 1, finite)", "2 * q[i]")),
        own(&block("int(2)", "q[i]")),
        own(&scaled("int(3)", "q[i]")),
        own(&scaled("uint(4)", "q[i] - 8")),
        own("format w0 = codebook [-1, 1];"),
        ("tl1", "import \"std/ternary\";".to_owned()),
        ("ternary3_96", "import \"std/ternary\";".to_owned()),
        own("format w0 = block i < 32 { t[i]: digit(7) packed 2 per 8; value = t[i] - 3; }"),
        own("format w0 = block i < 48 { t[i]: digit(5) packed 3 per 8; value = t[i]; }"),
        own(
            "format fractions = codebook c < 256, j < 2: c * pow(7, j) % 256 * 7 / 256 - 3;
            format w0 = block i < 32 { q[i % 16, i / 16]: fractions; value = q[i]; }",
        ),
    ];
    for bits in 1..=8 {
        let zero = 1 << (bits - 1);
        let unsigned = format!("uint({bits})");
        weights.push(("w0", block(&unsigned, &format!("q[i] - {zero}"))));
    }
    // Few values, which neighbours have joint codes for.
    weights.extend([
        own("format w0 = block i < 48 { scale: f16; q[i]: codebook [-1, 0, 1]; value = scale * q[i]; }"),
        own("format w0 = block i < 40 { q[i]: codebook [1, -1]; value = q[i]; }"),
        own("format w0 = codebook [-1, 0, 1];"),
        own("format w0 = codebook [-9, -2, 0, 2, 9];"),
    ]);
    weights
}

/// Activations, and the text that defines them: bytes, small integers, blocks with a scale, one bit, three values, two bits, and
/// four values that are no sums over bits.
const ACTIVATIONS: [(&str, &str); 10] = [
    ("i8", ""),
    ("u8", ""),
    (
        "a0",
        "format a0 = block i < 32 { d: f32; c[i]: int(8); value = d * c[i]; }",
    ),
    ("a0", "format a0 = int(5);"),
    ("a0", "format a0 = codebook [-1, 1];"),
    ("a0", "format a0 = codebook [-1, 0, 1];"),
    ("a0", "format a0 = int(2);"),
    (
        "a0",
        "format a0 = block i < 32 { c[i]: uint(2); value = c[i] - 1; }",
    ),
    (
        "a0",
        "format a0 = block i < 32 { c[i]: codebook [-1, 1]; value = c[i]; }",
    ),
    (
        "a0",
        "format a0 = block i < 32 { c[i]: codebook [-3, 1, 0, 5]; value = c[i]; }",
    ),
];

/// Pairs beside those that come of themselves: unsigned with signed bytes, few bits with each kind of byte, and few bits with
/// few.
const PAIRS: [(usize, usize); 13] = [
    (0, 1),
    (17, 0),
    (15, 1),
    (17, 8),
    (17, 6),
    (18, 7),
    (8, 6),
    (11, 4),
    (5, 9),
    (18, 9),
    (26, 1),
    (27, 0),
    (28, 0),
];

/// Weights and activations of kernels with two axes of batches.
const BATCHED: [(usize, usize); 4] = [(20, 0), (9, 3), (6, 2), (18, 7)];

/// Every kind of weights with a kind of activations, so that each of these meets several kinds of weights.
pub(crate) fn integer_kernels() -> Vec<Text> {
    let weights = weights();
    let each = (0..weights.len()).map(|number| (number, number % ACTIVATIONS.len()));
    let text = |((weight, input), product): ((usize, usize), Product)| {
        let (weight, format) = &weights[weight];
        let (input, other) = ACTIVATIONS[input];
        // Values of blocks are real numbers to the language, even where they have no scale.
        let blocks = [format, other]
            .iter()
            .any(|t| t.contains("block") || t.contains("import"));
        let result = if blocks { "f32[M, N]" } else { "i32[M, N]" };
        Text {
            name: format!("{weight} {format} x {input} {other}"),
            text: product(&format!("{format} {other}"), weight, input, result),
        }
    };
    let single = each.chain(PAIRS).map(|pair| (pair, product as Product));
    let batched = BATCHED.map(|pair| (pair, batched as Product));
    single.chain(batched).map(text).collect()
}

/// The text of a product: formats, weights, activations, and the axes of results with their element.
type Product = fn(&str, &str, &str, &str) -> String;

/// Several matrix products with the same weights.
fn batched(formats: &str, weight: &str, input: &str, result: &str) -> String {
    let result = result.replace("[M, N]", "[B, M, N]");
    format!(
        "language 1; {formats}
        kernel k(weight w: {weight}[N, K], input x: {input}[B, M, K]) -> output y: {result} {{
            y[b, m, n] = sum(k) w[n, k] * x[b, m, k];
        }}"
    )
}

/// A matrix product.
fn product(formats: &str, weight: &str, input: &str, result: &str) -> String {
    format!(
        "language 1; {formats}
        kernel k(weight w: {weight}[N, K], input x: {input}[M, K]) -> output y: {result} {{
            y[m, n] = sum(k) w[n, k] * x[m, k];
        }}"
    )
}

/// Kernels that permit rounded tables, over activations that have no sign, or few bits.
pub(crate) fn one_sided_kernels() -> Vec<Text> {
    let weights = [
        "uint(1)",
        "uint(2)",
        "int(4)",
        "codebook [0, 0.31, 0.55, 1]",
    ]
    .map(|code| scaled(code, "q[i]"));
    let inputs = [
        ("u8", ""),
        ("a0", "format a0 = uint(6);"),
        ("a0", "format a0 = codebook [-1, 100];"),
        (
            "a0",
            "format a0 = block i < 32 { d: f32; c[i]: uint(7); value = d * c[i]; }",
        ),
    ];
    let pairs = weights
        .iter()
        .flat_map(|w| inputs.map(|input| (w.clone(), input)));
    let text = |(weight, (input, other)): (String, (&str, &str))| Text {
        name: format!("{weight} x {input} {other}"),
        text: product(
            &format!("{weight} {other}"),
            "w0",
            input,
            "f32[M, N] tables int8",
        ),
    };
    pairs.map(text).collect()
}

/// Kernels that permit the values of a codebook to be rounded: of two, three and four bits.
pub(crate) fn codebook_kernels() -> Vec<Text> {
    let levels = [
        "-1, -0.3, 0.45, 1",
        "-1, -0.61, -0.35, -0.1, 0.07, 0.3, 0.62, 1",
        "-1, -0.7, -0.55, -0.43, -0.3, -0.2, -0.1, 0, 0.08, 0.17, 0.26, 0.35, 0.47, 0.6, 0.73, 1",
    ];
    let formats = levels.iter().flat_map(|levels| {
        let book = format!("codebook [{levels}]");
        [format!("format w0 = {book};"), block(&book, "q[i]")]
    });
    let text = |format: String| Text {
        name: format.clone(),
        text: product(&format, "w0", "i8", "f32[M, N] tables int8"),
    };
    formats.map(text).collect()
}

/// Kernels that permit rounded tables: integers of one to four bits, other values, pairs and triples of three values.
pub(crate) fn rounded_kernels() -> Vec<Text> {
    let one_to_four = (1..=4).map(|bits| {
        let zero = 1 << (bits - 1);
        (
            "w0",
            scaled(&format!("uint({bits})"), &format!("q[i] - {zero}")),
        )
    });
    let others = [
        ("w0", block("codebook [-3, 1, 0, 7]", "q[i]")),
        ("tl1", "import \"std/ternary\";".to_owned()),
        ("ternary3_96", "import \"std/ternary\";".to_owned()),
        ("w0", "format w0 = codebook [-1, 0, 1];".to_owned()),
        ("w0", "format w0 = codebook [-1, 1];".to_owned()),
        ("w0", "format w0 = codebook [-9, -2, 0, 2, 9];".to_owned()),
    ];
    let text = |(weight, format): (&str, String)| Text {
        name: format!("{weight} {format}"),
        text: product(&format, weight, "i8", "f32[M, N] tables int8"),
    };
    one_to_four.chain(others).map(text).collect()
}
