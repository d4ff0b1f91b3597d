//! What is measured: linear layers over many formats of weights, with the activations that they are used with. Where
//! activations are bytes, quantising them is part of the kernel and of its time.

use serde::Serialize;

/// What weights are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Activations {
    /// 32-bit floats.
    F32,
    /// Bytes, with a scale for 32 of them.
    Int8,
    /// Bytes, with a scale for 128 of them: as many as weights share one.
    Int8By128,
    /// Bytes, with a scale for 256 of them: a block of ggml's formats with two levels of scales, and what it multiplies them by.
    Int8By256,
    /// Bytes, with a scale for a row.
    Int8Row,
}

impl Activations {
    /// The accuracy class, as peers name it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Activations::F32 => "f32",
            Activations::Int8
            | Activations::Int8By128
            | Activations::Int8By256
            | Activations::Int8Row => "int8",
        }
    }

    /// The format that they are quantised into.
    fn format(self) -> Option<&'static str> {
        match self {
            Activations::F32 => None,
            Activations::Int8 => Some("q8_32"),
            Activations::Int8By128 => Some("q8_128"),
            Activations::Int8By256 => Some("q8_256"),
            Activations::Int8Row => Some("int8_row"),
        }
    }
}

/// A linear layer over a format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Its name, which filters look into.
    pub(crate) name: &'static str,
    /// The format of the weights.
    pub(crate) format: &'static str,
    /// Where it is defined: a module, or a text.
    definitions: &'static str,
    pub(crate) activations: Activations,
    /// Whether sums in tables may be rounded to bytes.
    pub(crate) rounded: bool,
    /// Weights that share a scale, in words.
    pub(crate) block: &'static str,
    /// The type of scales, in words.
    pub(crate) scale: &'static str,
    /// The formats of peers that it is compared with, as peers name them.
    pub(crate) peers: &'static [&'static str],
}

impl Case {
    /// The text of the kernel.
    pub(crate) fn text(&self) -> String {
        let rounded = if self.rounded { " tables int8" } else { "" };
        let (quantised, x) = match self.activations.format() {
            Some(format) => (
                format!("    let q[m, k] = quantize x[m, k] as {format};\n"),
                "q",
            ),
            None => (String::new(), "x"),
        };
        format!(
            "language 1;\nimport \"std/ints\";\n{}\n{BYTES}\n\
             kernel linear(weight w: {}[N, K], input x: f32[M, K]) -> output y: f32[M, N]{rounded} {{\n\
             {quantised}    y[m, n] = sum(k) w[n, k] * {x}[m, k];\n}}\n",
            self.definitions, self.format
        )
    }
}

const BYTES: &str = "format q8_128 = block i < 128 { d: f32; q[i]: int(8); value = d * q[i];
    encode x { d = max(i) abs(x[i]) / 127; q[i] = x[i] / d; } }
format q8_256 = block i < 256 { d: f32; q[i]: int(8); value = d * q[i];
    encode x { d = max(i) abs(x[i]) / 127; q[i] = x[i] / d; } }";
const GGML: &str = "import \"std/ggml\";";
const GGML_K: &str = "import \"std/ggml_k\";";
const TERNARY: &str = "import \"std/ternary\";";
const MX: &str = "import \"std/mx\";";
const NF4: &str = "import \"std/nf4\";";
const FLOATS: &str = "import \"std/floats\";";
const INT2: &str =
    "format int2_128 = block i < 128 { d: f16; q[i]: uint(2); value = d * (q[i] - 2);
    encode x { d = max(i) abs(x[i]) / 2; q[i] = x[i] / d + 2; } }";

use Activations::{F32, Int8, Int8By128, Int8By256, Int8Row};

/// A case, exact.
const fn case(
    name: &'static str,
    (definitions, format): (&'static str, &'static str),
    activations: Activations,
    (block, scale): (&'static str, &'static str),
    peers: &'static [&'static str],
) -> Case {
    Case {
        name,
        format,
        definitions,
        activations,
        rounded: false,
        block,
        scale,
        peers,
    }
}

/// The same where sums in tables may be rounded.
const fn rounded(name: &'static str, case: Case) -> Case {
    Case {
        name,
        rounded: true,
        ..case
    }
}

const NF4_INT8: Case = case(
    "NF4 × int8",
    (NF4, "nf4_64"),
    Int8,
    ("64", "f32"),
    &["iq4_nl", "iq4_nl_plain", "nf4_64"],
);
const INT2_INT8: Case = case(
    "INT2 block 128 × int8",
    (INT2, "int2_128"),
    Int8By128,
    ("128", "f16"),
    &["int2_128", "q2_k", "q2_k_plain"],
);
const BINARY_INT8: Case = case(
    "1 bit block 128 × int8",
    (TERNARY, "binary_128"),
    Int8By128,
    ("128", "f16"),
    &["q1_0", "int1_128"],
);

/// All cases; the first is what others are measured by.
pub(crate) const CASES: &[Case] = &[
    case("f32 × f32", ("", "f32"), F32, ("-", "-"), &["f32"]),
    case(
        "INT4 block 32 (q4_0) × int8",
        (GGML, "q4_0"),
        Int8,
        ("32", "f16"),
        &["q4_0", "q4_0_plain", "int4_32"],
    ),
    case(
        "q4_K × int8",
        (GGML_K, "q4_k"),
        Int8By256,
        ("32", "6 bits, f16 for 256"),
        &["q4_k", "q4_k_plain"],
    ),
    case(
        "INT4 block 128 × int8",
        ("", "int4_128"),
        Int8By128,
        ("128", "f16"),
        &["int4_128"],
    ),
    case(
        "NF4 × f32",
        (NF4, "nf4_64"),
        F32,
        ("64", "f32"),
        &["nf4_64", "nf4_64_bf16"],
    ),
    rounded("NF4 × int8, rounded tables", NF4_INT8),
    case(
        "IQ4_NL × int8",
        (GGML, "iq4_nl"),
        Int8,
        ("32", "f16"),
        &["iq4_nl", "iq4_nl_plain"],
    ),
    case(
        "FP4 block 32 × f32",
        (FLOATS, "fp4_32"),
        F32,
        ("32", "f16"),
        &["fp4_32", "fp4_32_bf16"],
    ),
    case(
        "MXFP4 × f32",
        (MX, "mxfp4"),
        F32,
        ("32", "e8m0"),
        &["mxfp4", "mxfp4_bf16"],
    ),
    case(
        "MXFP4 × int8",
        (MX, "mxfp4"),
        Int8,
        ("32", "e8m0"),
        &["mxfp4", "mxfp4_plain"],
    ),
    case(
        "NVFP4 × int8",
        (MX, "nvfp4"),
        Int8,
        ("16", "e4m3, f32 for all"),
        &["nvfp4"],
    ),
    INT2_INT8,
    rounded("INT2 block 128 × int8, rounded tables", INT2_INT8),
    case(
        "Q2_K × int8",
        (GGML_K, "q2_k"),
        Int8By256,
        ("16", "4 bits, f16 for 256"),
        &["q2_k", "q2_k_plain"],
    ),
    case(
        "INT3 block 32 × int8",
        ("", "int3_32"),
        Int8,
        ("32", "f16"),
        &["q3_k", "int3_32"],
    ),
    case(
        "Q3_K × int8",
        (GGML_K, "q3_k"),
        Int8By256,
        ("16", "6 bits, f16 for 256"),
        &["q3_k"],
    ),
    case(
        "ternary 2 bits, one scale (I2_S) × int8",
        (TERNARY, "i2_s"),
        Int8Row,
        ("all", "f32"),
        &["i2_s", "tq2_0", "ternary"],
    ),
    case(
        "TQ2_0 × int8",
        (GGML, "tq2_0"),
        Int8By256,
        ("256", "f16"),
        &["tq2_0"],
    ),
    case(
        "TQ1_0 × int8",
        (GGML, "tq1_0"),
        Int8By256,
        ("256", "f16"),
        &["tq1_0"],
    ),
    case(
        "ternary 1.67 bits (TL2's triples) × int8",
        (TERNARY, "ternary3_96"),
        Int8Row,
        ("96", "f16"),
        &["tl2", "tq1_0"],
    ),
    BINARY_INT8,
    rounded("1 bit block 128 × int8, rounded tables", BINARY_INT8),
];

#[cfg(test)]
mod tests {
    use super::CASES;
    use lowbit::Engine;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_is_a_text_with_a_name_of_its_own() {
        let engine = Engine::host().expect("an engine");
        for case in CASES {
            let module = engine.load(&case.text()).expect(case.name);
            assert_eq!(module.kernels.len(), 1, "{}", case.name);
        }
        let names: BTreeSet<&str> = CASES.iter().map(|c| c.name).collect();
        assert_eq!(names.len(), CASES.len());
    }
}
