//! Programs that failed once, shortened: what went wrong is the name of the case.

/// What went wrong, the target, extents (`!` where bound), the text.
pub(crate) type Case = (&'static str, &'static str, &'static str, &'static str);

/// The cases.
pub(crate) const CASES: &[Case] = &[
    (
        "equal costs let extraction go round for ever",
        "x86-64-v2",
        "N=17 K=33!",
        "format w0 = block i < 32 { s: f16 at 64; q[i]: int(2) at 2 * i; value = s * q[i]; }
         kernel k(weight x: w0[N, K], input g: f32[K]) -> output y: f32[N, K] {
             let h[n] = 1 / sqrt((sum(k) x[n, k] * x[n, k]) / K + 0.01);
             y[n, k] = g[k] * x[n, k] * h[n];
         }",
    ),
    (
        "codes of odd width had no integer form",
        "x86-64-v2",
        "M=5! N=13! K=1!",
        "format w0 = int(6);
         kernel k(weight w: w0[N, K], input x: i8[M, K]) -> output y: i32[M, N] { y[m, n] = sum(k) w[n, k] * x[m, k]; }",
    ),
    (
        "products of constants grew without end",
        "x86-64-v3",
        "M=1 N=1! K=60",
        "format w0 = block i < 32 { q[i]: float(3, 0, nan); d: float(4, 3, nan); m: float(4, 3, nan); value = m - d * -q[i]; }
         kernel k(input w: w0[N, K], input x: f32[M, K]) -> (output y: f32[M, N], output z: f32[M, N]) {
             y[m, n], z[m, n] = sum(k) w[n, k] * (x[m, k] + 0.25), tanh(sum(k) w[n, k]);
         }",
    ),
    (
        "polynomials of one code grew without end",
        "x86-64-v2",
        "N=3! K=127!",
        "format w0 = block i < 32 { s: f32; q[i]: int(2); value = s * (q[i] * q[i]); }
         kernel k(weight x: w0[N, K], input g: f32[K]) -> output y: bf16[N, K] {
             let h[n] = 1 / sqrt((sum(k) x[n, k] * x[n, k]) / K + 0.01);
             y[n, k] = h[n] * g[k] * x[n, k];
         }",
    ),
    (
        "tables had no form where no instruction looks up",
        "x86-64",
        "B=1 M=1 N=1 K=7",
        "format w0 = block i < 32 { s: float(4, 3, nan); q[i]: float(2, 2, finite, unsigned, bias 0); value = s * (q[i] - 8); }
         kernel k(weight w: w0[B, N, K], input x: f32[B, M, K]) -> output y: f32[B, M, N] {
             y[b, m, n] = sum(k) w[b, n, k] * (x[b, m, k] + 0.25);
         }",
    ),
    (
        "a sum over an axis stood inside a sum over the same axis",
        "x86-64-v2",
        "N=7! K=2!",
        "format w0 = block i < 24 {
             d: f16; q[i]: float(3, 2, finite); m: f32;
             value = d * (q[i] + 1) + m;
             encode x { m = min(i) x[i]; d = (max(i) x[i] - m) / 7; q[i] = (x[i] - m) / d; }
         }
         kernel k(weight x: w0[N, K], input g: f32[K]) -> output y: f32[N, K] {
             let h[n] = 1 / sqrt((sum(k) x[n, k] * x[n, k]) / K + 0.01);
             y[n, k] = h[n] * (x[n, k] * g[k]);
         }",
    ),
    (
        "two statements read one weight in two layouts",
        "x86-64-v2",
        "M=3 N=2 K=65!",
        "kernel k(weight w: i8[N, K], input x: f32[M, K]) -> (output y: f32[M, N], output z: f32[M, N]) {
             y[m, n], z[m, n] = sum(k) w[n, k] * x[m, k], relu(sum(k) w[n, k]);
         }",
    ),
    (
        "blocks of one element could not be quantised into",
        "x86-64-v2",
        "N=3! K=31!",
        "format y0 = block i < 1 { q[i]: float(4, 0, finite) at 16 + 5 * i; s: f16 at 0; value = s * q[i]; }
         kernel k(stored x: f32[N, K], input g: f32[K]) -> output y: y0[N, K] { y[n, k] = quantize g[k] * x[n, k] as y0; }",
    ),
    (
        "signed codes were not extended where values are quantised",
        "x86-64-v2",
        "M=1! N=5! K=64!",
        "format a0 = block i < 1 { s: float(4, 3, nan); q[i]: int(6); value = s * q[i]; }
         kernel k(stored w: f32[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
             let xq[m, k] = quantize x[m, k] as a0;
             y[m, n] = sum(k) w[n, k] * (xq[m, k] + 0.25);
         }",
    ),
    (
        "divisors without a common factor made a chunk that no table holds",
        "host",
        "M=2 N=2! K=70!",
        "format w0 = block i < 509 { d: f16; q[i]: uint(4); value = d * q[i]; }
         format u0 = block i < 511 { d: f16; q[i]: uint(4); value = d * q[i]; }
         kernel k(weight w: w0[N, K], weight u: u0[N, K], input s: f16[K / 4093, N], input t: f16[K / 4091, N], input x: f32[M, K]) -> output y: f32[M, N] {
             y[m, n] = sum(k) w[n, k] * u[n, k] * s[k / 4093, n] * t[k / 4091, n] * x[m, k];
         }",
    ),
    (
        "a scale of a tensor without elements was read before the loop that has no trips",
        "host",
        "N=17! K=0!",
        "kernel k(input w: f32[N, K], input s: f16[N, K / 70000], input id: i32[K / 70000], input t: f32[N]) -> (output y: f32[N], output z: f32[N], output v: f32[N]) {
             y[n] = sum(k) w[n, k] * s[n, k / 70000];
             z[n] = sum(k) s[n, k / 70000];
             v[n] = sum(k) t[id[k / 70000]];
         }",
    ),
    (
        "the largest divisor was one too many",
        "host",
        "M=3 N=5 K=40",
        "kernel k(weight w: i8[N, K], input s: f16[N, K / 4294967296], input u: f16[K / 4294967296, N], input x: f32[M, K]) -> output y: f32[M, N] {
             y[m, n] = sum(k) w[n, k] * s[n, k / 4294967296] * u[k / 4294967296, n] * x[m, k];
         }",
    ),
    (
        "rows without columns kept other sums than none",
        "x86-64-v2",
        "M=1 N=13 K=0",
        "format w0 = block i < 8 { q[i]: int(3); z: uint(7); s: f16; kept row sums: f32; value = s * q[i] - s * z; }
         kernel k(stored w: w0[N, K], input x: i8[M, K]) -> (output y: f32[M, N], output z: f32[M, N]) {
             y[m, n], z[m, n] = sum(k) w[n, k] * x[m, k] * 0.5, gelu((sum(k) w[n, k]));
         }",
    ),
    (
        "signed codes of five bits were moved by 128 in sums of floats",
        "host",
        "N=16 K=1 M=3",
        "import \"std/ints\";
         format f = block i < 64 { d: f16; q[i]: int(5); value = d * q[i]; }
         kernel k(weight w: f[N, K], input x: f32[M, K]) -> output y: f32[M, N] {
             let q[m, k] = quantize x[m, k] as q8_32;
             y[m, n] = sum(k) w[n, k] * q[m, k];
         }",
    ),
    (
        "the bound left out the rounding of products past the end",
        "host",
        "N=61 K=1 M=2",
        "format f = block i < 48 { d: f16; s[i / 16]: uint(3); q[i]: int(3); value = d * s[i / 16] * q[i]; }
         kernel k(weight w: f[N, K], input x: i8[M, K]) -> output y: f32[M, N] tables int8 {
             y[m, n] = sum(k) w[n, k] * x[m, k];
         }",
    ),
];
