//! Kernels whose intervals reach just up to a limit, with the conditions that hold them there. Real results are near 2^31
//! where 32 bits are at their limit; those of a lowering that wraps are off by 2^32, far beyond what rounding permits.

/// A condition of a rule: the rule's name, and which of its conditions.
pub(crate) type Limit = (&'static str, usize);

/// A kernel with a code to be chosen, or the length of a block.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    /// Its formats, with `A` in place of the code, and `B` for what a code of `A` bits has beyond four.
    pub(crate) formats: &'static str,
    /// Its tensors, result and value.
    pub(crate) kernel: &'static str,
    /// Extents that are bound; 0 stands for the code.
    pub(crate) dims: &'static [(&'static str, u64)],
    /// The largest code that fits.
    pub(crate) tight: i64,
    /// The next one, which does not.
    pub(crate) over: i64,
    /// How far one more code, or one more product, takes the interval.
    pub(crate) by: i32,
    /// The conditions that hold it.
    pub(crate) chain: &'static [Limit],
    /// Rules that are left out, since they lead to something cheaper that does not come near the limit.
    pub(crate) without: &'static [&'static str],
}

impl Case {
    /// The text with a code.
    pub(crate) fn text(&self, code: i64) -> String {
        let formats = self.formats.replace('A', &code.to_string());
        let formats = formats.replace('B', &(code - 4).to_string());
        format!("language 1; {formats} kernel k{}", self.kernel)
    }

    /// Extents that are bound for a code.
    pub(crate) fn dims(&self, code: i64) -> Vec<(&'static str, u64)> {
        let own = |(name, extent): &(&'static str, u64)| match extent {
            0 => (*name, code.unsigned_abs()),
            _ => (*name, *extent),
        };
        self.dims.iter().map(own).collect()
    }
}

/// Products of weights and activations, summed over rows.
const SUM: &str = "(weight w: w0[N, K], input x: x0[M, K]) -> output y: i32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }";
/// The same as real numbers.
const REAL_SUM: &str = "(weight w: w0[N, K], input x: x0[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }";
/// Products with sums of two weights.
const SUM_OF_TWO: &str =
    "(weight v: v0[N, K], weight w: w0[N, K], input x: x0[M, K]) -> output y: i32[M, N] {
    y[m, n] = sum(k) (v[n, k] + w[n, k]) * x[m, k];
}";
/// Products with sums of two activations.
const SUM_OF_TWO_INPUTS: &str =
    "(weight x: x0[N, K], input v: v0[M, K], input w: w0[M, K]) -> output y: i32[M, N] {
    y[m, n] = sum(k) (v[m, k] + w[m, k]) * x[n, k];
}";
/// Products, one by one.
const PRODUCT: &str = "(input w: w0[M, K], input x: x0[M, K]) -> output y: i32[M, K] { y[m, k] = w[m, k] * x[m, k]; }";
/// The same as real numbers.
const REAL_PRODUCT: &str = "(input w: w0[M, K], input x: x0[M, K]) -> output y: f32[M, K] { y[m, k] = w[m, k] * x[m, k]; }";
/// Values as they are.
const COPY: &str = "(input w: w0[M, K]) -> output y: f32[M, K] { y[m, k] = w[m, k]; }";
/// Sums of two, one by one.
const TWO: &str = "(input w: w0[M, K], input x: x0[M, K]) -> output y: i32[M, K] { y[m, k] = w[m, k] + x[m, k]; }";

const ROWS: &[(&str, u64)] = &[("N", 16), ("K", 64)];
const COLUMNS: &[(&str, u64)] = &[("K", 64)];

/// What most cases are.
const CASE: Case = Case {
    name: "",
    target: "x86-64-v2",
    formats: "",
    kernel: SUM,
    dims: ROWS,
    tight: 0,
    over: 0,
    by: 1,
    chain: &[],
    without: &[],
};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "two products of bytes in 16 bits, which saturate",
        formats: "format w0 = codebook [0, A]; format x0 = int(8);",
        tight: 128,
        over: 129,
        by: 256,
        chain: &[("widen-i16", 0), ("mul-pairs8", 5)],
        ..CASE
    },
    Case {
        name: "two products of bytes in 16 bits, summed in pairs",
        formats: "format w0 = codebook [0, A]; format x0 = int(8);",
        tight: 128,
        over: 129,
        by: 256,
        chain: &[("add-pairs16", 3), ("mul-pairs8", 5)],
        ..CASE
    },
    Case {
        name: "two products of bytes in 16 bits, the unsigned ones from the call",
        formats: "format w0 = codebook [A, 0]; format x0 = uint(8);",
        tight: -64,
        over: -65,
        by: 510,
        chain: &[("widen-i16", 0), ("mul-pairs8-swapped", 5)],
        ..CASE
    },
    Case {
        name: "products of 16 bits, summed in pairs",
        formats: "format w0 = codebook [0, A]; format x0 = uint(8);",
        tight: 128,
        over: 129,
        by: 255,
        chain: &[("add-pairs16", 3)],
        without: &["mul-pairs16"],
        ..CASE
    },
    Case {
        name: "products of 16 bits, one by one",
        formats: "format w0 = codebook [0, A]; format x0 = uint(8);",
        kernel: PRODUCT,
        dims: COLUMNS,
        tight: 128,
        over: 129,
        by: 255,
        chain: &[("widen-i16", 0)],
        ..CASE
    },
    Case {
        name: "an accumulator of 16 bits",
        formats: "format w0 = codebook [0, A]; format x0 = int(5);",
        dims: &[("N", 16), ("K", 1024)],
        tight: 32,
        over: 33,
        by: 1024,
        chain: &[("widen-i16", 0), ("sum-i16", 2)],
        ..CASE
    },
    Case {
        name: "an accumulator of 16 bits over a block, one product in each lane more",
        formats: "format w0 = block i < A { s: f16; q[i]: codebook [0, 2]; value = s * q[i]; } format x0 = int(8);",
        kernel: REAL_SUM,
        dims: &[("N", 16), ("K", 0)],
        tight: 2048,
        over: 2064,
        by: 256,
        chain: &[("widen-i16", 0), ("sum-i16", 2)],
        ..CASE
    },
    Case {
        name: "bytes summed over copies",
        formats: "format v0 = uint(7); format w0 = codebook [0, A]; format x0 = int(8);",
        kernel: "(weight v: v0[N, K], weight w: w0[N, K], input x: x0[M]) -> output y: i32[M, N] {
            y[m, n] = sum(k) (v[n, k] + w[n, k]) * x[m];
        }",
        tight: 128,
        over: 129,
        chain: &[("sum-bytes", 2)],
        ..CASE
    },
    Case {
        name: "sums of two bytes",
        formats: "format w0 = codebook [0, A]; format x0 = uint(7);",
        kernel: TWO,
        dims: COLUMNS,
        tight: 128,
        over: 129,
        chain: &[("widen-u8", 0)],
        without: &["widen-bytes"],
        ..CASE
    },
    Case {
        name: "a table of signed bytes",
        formats: "format w0 = codebook [-5, A]; format x0 = int(8);",
        kernel: TWO,
        dims: COLUMNS,
        tight: 127,
        over: 128,
        chain: &[("widen-i8", 0), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "a table of unsigned bytes",
        formats: "format w0 = codebook [3, A]; format x0 = int(8);",
        kernel: TWO,
        dims: COLUMNS,
        tight: 255,
        over: 256,
        chain: &[("widen-u8", 0), ("lookup-unsigned-bytes", 0)],
        ..CASE
    },
    Case {
        name: "dot products of four, the unsigned factor",
        target: "x86-64-vnni",
        formats: "format v0 = uint(7); format w0 = codebook [0, A]; format x0 = int(5);",
        kernel: SUM_OF_TWO,
        tight: 128,
        over: 129,
        chain: &[("dot4", 5)],
        ..CASE
    },
    Case {
        name: "products in pairs, the unsigned factor",
        formats: "format v0 = uint(7); format w0 = codebook [0, A]; format x0 = int(5);",
        kernel: SUM_OF_TWO,
        tight: 128,
        over: 129,
        chain: &[("mul-pairs8", 3)],
        ..CASE
    },
    Case {
        name: "dot products of four, the unsigned factor from the call",
        target: "x86-64-vnni",
        formats: "format v0 = uint(7); format w0 = codebook [0, A]; format x0 = int(5);",
        kernel: SUM_OF_TWO_INPUTS,
        tight: 128,
        over: 129,
        chain: &[("dot4-swapped", 5)],
        ..CASE
    },
    Case {
        name: "products in pairs, the unsigned factor from the call",
        formats: "format v0 = uint(7); format w0 = codebook [0, A]; format x0 = int(5);",
        kernel: SUM_OF_TWO_INPUTS,
        tight: 128,
        over: 129,
        chain: &[("mul-pairs8-swapped", 3)],
        ..CASE
    },
    Case {
        name: "dot products of four, the signed factor",
        target: "x86-64-vnni",
        formats: "format w0 = uint(4); format x0 = codebook [-5, A];",
        tight: 127,
        over: 128,
        chain: &[("dot4", 6), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "products in pairs, the signed factor",
        formats: "format w0 = uint(4); format x0 = codebook [-5, A];",
        tight: 127,
        over: 128,
        chain: &[("mul-pairs8", 4), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "dot products of four, the signed factor a weight",
        target: "x86-64-vnni",
        formats: "format w0 = codebook [-5, A]; format x0 = uint(4);",
        tight: 127,
        over: 128,
        chain: &[("dot4-swapped", 6), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "products in pairs, the signed factor a weight",
        formats: "format w0 = codebook [-5, A]; format x0 = uint(4);",
        tight: 127,
        over: 128,
        chain: &[("mul-pairs8-swapped", 4), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "dot products of four signed bytes, the first factor",
        target: "aarch64-dotprod",
        formats: "format w0 = codebook [-5, A]; format x0 = int(4);",
        tight: 127,
        over: 128,
        chain: &[("dot4-signed", 5), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "dot products of four signed bytes, the second factor",
        target: "aarch64-dotprod",
        formats: "format w0 = int(4); format x0 = codebook [-5, A];",
        tight: 127,
        over: 128,
        chain: &[("dot4-signed", 6), ("lookup-bytes", 0)],
        ..CASE
    },
    Case {
        name: "products of words in pairs, the first factor",
        formats: "format w0 = codebook [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, A]; format x0 = int(8);",
        tight: 32767,
        over: 32768,
        chain: &[("mul-pairs16", 3), ("narrow-elements", 0)],
        ..CASE
    },
    Case {
        name: "products of words in pairs, the second factor",
        formats: "format x0 = codebook [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, A]; format w0 = int(8);",
        tight: 32767,
        over: 32768,
        chain: &[("mul-pairs16", 4), ("narrow-elements", 0)],
        ..CASE
    },
    Case {
        name: "products of 32 bits, as real numbers",
        formats: "format w0 = codebook [0, A]; format x0 = uint(16);",
        kernel: REAL_PRODUCT,
        dims: COLUMNS,
        tight: 32768,
        over: 32769,
        by: 65535,
        chain: &[("int-to-float", 0)],
        without: &["mul-f32"],
        ..CASE
    },
    Case {
        name: "lanes summed in 32 bits",
        formats: "format w0 = codebook [0, A]; format x0 = int(16);",
        kernel: REAL_SUM,
        tight: 1024,
        over: 1025,
        by: 1 << 21,
        chain: &[("int-to-float", 0), ("fold-i32", 3)],
        without: &["fold-f32"],
        ..CASE
    },
    Case {
        name: "an accumulator of 32 bits",
        formats: "format w0 = block i < 32 { q[i]: codebook [0, A]; value = q[i]; } format x0 = int(16);",
        kernel: REAL_SUM,
        dims: &[("N", 16), ("K", 4096)],
        tight: 16,
        over: 17,
        by: 1 << 27,
        chain: &[("int-to-float", 0), ("sum-i32", 2)],
        without: &["sum-f32"],
        ..CASE
    },
    Case {
        name: "a table of 32 bits in memory",
        formats: "format w0 = codebook [A, 0];",
        kernel: COPY,
        dims: COLUMNS,
        tight: -2147483648,
        over: -2147483904,
        by: 256,
        chain: &[("int-to-float", 0), ("lookup-integers-in-memory", 0)],
        without: &[
            "lookup-floats",
            "lookup-in-memory",
            "fetch",
            "fetch-integers",
        ],
        ..CASE
    },
    Case {
        name: "values of 32 bits in memory",
        formats: "format w0 = codebook [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, A];",
        kernel: COPY,
        dims: COLUMNS,
        tight: -2147483648,
        over: -2147483904,
        by: 256,
        chain: &[("int-to-float", 0), ("fetch-integers", 1)],
        without: &["fetch"],
        ..CASE
    },
    Case {
        name: "sums of four activations in tables of two bytes",
        formats: "format w0 = block i < 32 { q[i]: codebook [0, A]; value = q[i]; } format x0 = int(8);",
        kernel: REAL_SUM,
        dims: &[("N", 64), ("K", 64)],
        tight: 64,
        over: 65,
        by: 512,
        chain: &[("add-pairs16", 3), ("sum-i16", 2)],
        ..CASE
    },
    Case {
        name: "a table of bytes as the low halves of floats",
        formats: "format w0 = codebook [A, 5];",
        kernel: COPY,
        dims: COLUMNS,
        tight: 0,
        over: -1,
        chain: &[("magic-float", 0), ("widen-codes", 0), ("lookup-unsigned-bytes", 0)],
        without: &["offset-table"],
        ..CASE
    },
    Case {
        name: "a table of bytes as words",
        formats: "format w0 = codebook [A, 5];",
        kernel: COPY,
        dims: COLUMNS,
        tight: 0,
        over: -1,
        chain: &[("widen-bytes", 0), ("lookup-unsigned-bytes", 0)],
        ..CASE
    },
    Case {
        name: "a table of bytes as the low halves of floats, with a zero point",
        formats: "format w0 = codebook [A, 5];",
        kernel: "(input w: w0[M, K]) -> output y: f32[M, K] { y[m, k] = w[m, k] - 7; }",
        dims: COLUMNS,
        tight: 0,
        over: -1,
        chain: &[("magic-sum", 0), ("widen-codes", 0), ("lookup-unsigned-bytes", 0)],
        without: &["magic-float", "offset-table"],
        ..CASE
    },
    Case {
        name: "signed codes of eight bits, in two places",
        formats: "format w0 = block i < 32 { s: f16 at 0; q[i]: int(A) at (4: 16 + 4 * i, B: 144 + 8 * i); value = s * q[i]; }
            format x0 = int(8);",
        kernel: "(stored w: w0[N, K], input x: x0[M, K]) -> output y: f32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }",
        tight: 8,
        over: 9,
        by: 256,
        chain: &[("widen-i8", 0), ("signed-bytes", 1), ("add-u8", 1)],
        ..CASE
    },
];
