//! Quantisation by search, on formats of every structure that it knows.

use super::module;
use crate::format::search::{NotAffine, SearchPlan, block_error, search_block};
use crate::format::{BlockFormat, FormatKind};

/// A generator of numbers; the same on every machine.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.bits() % n
    }
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }
    /// About normal: a sum of uniform numbers.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
    /// Values of one of several kinds.
    fn values(&mut self, n: usize) -> Vec<f32> {
        let kind = self.below(7);
        let size = 10f32.powi(self.below(7) as i32 - 3);
        let value = |r: &mut Random, i: usize| match kind {
            0 | 1 => r.normal(),
            2 => r.normal() + 3.0,
            3 => r.normal().powi(3),
            4 if i % 17 == 3 => 30.0 * r.normal(),
            4 => 0.01 * r.normal(),
            5 => r.below(3) as f32 - 1.0,
            _ => -r.unit(),
        };
        (0..n).map(|i| size * value(self, i)).collect()
    }
}

fn block(text: &str) -> BlockFormat {
    let text = format!("language 1;\nformat f = {text}\n");
    let module = module(&text);
    let format = module.format("f").expect("the format");
    match &format.kind {
        FormatKind::Block(b) => b.clone(),
        FormatKind::Plain(_) => panic!("no block: {text}"),
    }
}

fn searched(b: &BlockFormat, x: &[f32], w: Option<&[f32]>) -> Vec<u8> {
    let plan = SearchPlan::new(b).expect("a plan");
    let mut out = vec![0xa5; b.bytes as usize];
    search_block(b, &plan, x, w, &mut out);
    out
}

/// The search's squared error over the sum of squares.
fn relative(b: &BlockFormat, x: &[f32]) -> f64 {
    let energy: f64 = x.iter().map(|v| f64::from(*v).powi(2)).sum();
    block_error(b, x, None, &searched(b, x, None)) / energy
}

/// One level of scales, with `encode` clauses: derived, or written here.
const ENCODED: [&str; 9] = [
    "block i < 32 { d: f16; q[i]: int(4); value = d * q[i]; }",
    "block i < 24 { d: f32; q[i]: uint(3); value = d * (q[i] - 4); }",
    "block i < 32 { d: f16; q[i]: int(8); value = d * q[i]; }",
    "block i < 16 { d: f16; q[i]: codebook [-1, -0.6, -0.25, 0, 0.2, 0.55, 1]; value = d * q[i]; }",
    "block i < 32 { d: f16; q[i]: float(2, 1, finite); value = q[i] * d; }",
    "block i < 64 { d[i / 16]: float(4, 3, nan); q[i]: int(3); value = d[i / 16] * q[i]; }",
    "block i < 32 { s: e8m0; q[i]: float(2, 1, finite); value = s * q[i];
        encode x { s = floor_pow2(max(i) abs(x[i])) / 4; q[i] = x[i] / s; } }",
    "block i < 32 { d: f16; m: f16; q[i]: uint(4); value = d * q[i] + m;
        encode x { m = min(i) x[i]; d = (max(i) x[i] - m) / 15; q[i] = (x[i] - m) / d; } }",
    "block i < 32 { d: f16; h[i]: uint(1); q[i]: uint(4); value = d * (q[i] + 16 * h[i] - 16);
        encode x { d = absmax_signed(i) x[i] / -16; h[i] = floor(floor(x[i] / d + 16.5) / 16);
            q[i] = floor(x[i] / d + 16.5) - 16 * h[i]; } }",
];

/// More levels of scales, scales and minima, in spellings of every kind. Each with how large the relative squared error
/// of normal values may be.
const NESTED: [(&str, f64); 8] = [
    // scales and minima of 16, as in ggml's Q2_K
    (
        "block i < 256 { sc[i / 16]: uint(4); m[i / 16]: uint(4); q[i]: uint(2); d: f16; dmin: f16;
        value = d * sc[i / 16] * q[i] - dmin * m[i / 16]; }",
        0.080,
    ),
    // Q3_K
    (
        "block i < 256 { q[i]: uint(3); sc[i / 16]: uint(6); d: f16; value = d * (sc[i / 16] - 32) * (q[i] - 4); }",
        0.029,
    ),
    // Q4_K
    (
        "block i < 256 { d: f16; dmin: f16; sc[i / 32]: uint(6); m[i / 32]: uint(6); q[i]: uint(4);
        value = d * sc[i / 32] * q[i] - dmin * m[i / 32]; }",
        0.0065,
    ),
    // Q6_K
    (
        "block i < 256 { q[i]: uint(6); sc[i / 16]: int(8); d: f16; value = d * sc[i / 16] * (q[i] - 32); }",
        0.0006,
    ),
    // IQ4_XS
    (
        "block i < 256 { d: f16; sc[i / 32]: uint(6);
        q[i]: codebook [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
        value = d * (sc[i / 32] - 32) * q[i]; }",
        0.0065,
    ),
    // three levels
    (
        "block i < 128 { d: f32; a[i / 64]: uint(6); b[i / 16]: uint(4); q[i]: int(4);
        value = d * a[i / 64] * b[i / 16] * q[i]; }",
        0.013,
    ),
    // one scale for the scales and the minima
    (
        "block i < 64 { d: f16; sc[i / 16]: uint(6); m[i / 16]: int(6); q[i]: uint(3);
        value = d * (sc[i / 16] * q[i] + m[i / 16]); }",
        0.033,
    ),
    // two scales with codes of their own
    (
        "block i < 32 { d: f16; e: f16; q[i]: uint(2); h[i]: int(2); value = d * (q[i] - 1) + e * h[i]; }",
        0.012,
    ),
];

#[test]
fn a_search_is_never_worse_than_the_encode_clause() {
    let mut r = Random(1);
    let mut better = 0;
    for text in ENCODED {
        let b = block(text);
        for _ in 0..60 {
            let x = r.values(b.len as usize);
            let weights: Vec<f32> = x.iter().map(|_| r.unit().powi(2)).collect();
            for w in [None, Some(weights.as_slice())] {
                let nearest = b.encode_block(&x).expect("an encoder");
                let found = searched(&b, &x, w);
                let (near, search) = (
                    block_error(&b, &x, w, &nearest),
                    block_error(&b, &x, w, &found),
                );
                assert!(search <= near, "{search} > {near} in {text} of {x:?}");
                better += u32::from(search < 0.9 * near);
            }
        }
    }
    assert!(better > 500, "only {better} of 1080 blocks gain 10 %");
}

#[test]
fn scales_with_illegal_codes_get_legal_ones() {
    let mut r = Random(2);
    for text in [
        "block i < 16 { s: codebook [_, 0.5, 1, _, 2] else 7; q[i]: int(4); value = s * q[i]; }",
        "block i < 16 { d: f16; s[i / 4]: codebook [_, 0.5, 1, 2, _] else nan; q[i]: int(4); value = d * s[i / 4] * q[i]; }",
    ] {
        let b = block(text);
        let s = b.fields.values().find(|f| f.name == "s").expect("scales");
        for _ in 0..100 {
            let found = searched(&b, &r.values(16), None);
            let codes = (0..s.slots()).map(|slot| s.read(&found, slot));
            assert!(codes.into_iter().all(|c| s.element.is_legal(c)), "{text}");
        }
    }
    // twice the codes: they are found only under the scale that is worth 2
    let b = block(
        "block i < 16 { s: codebook [_, 0.5, 1, _, 2] else 7; q[i]: int(4); value = s * q[i]; }",
    );
    let x: Vec<f32> = (0..16).map(|i| 2.0 * (i as f32 - 8.0)).collect();
    assert_eq!(block_error(&b, &x, None, &searched(&b, &x, None)), 0.0);
}

#[test]
fn a_clause_that_makes_no_numbers_is_not_followed() {
    let b = block("block i < 4 { d: f16; q[i]: int(4); value = d * q[i]; }");
    let (huge, infinite) = ([1e38, 0.0, 1.0, -1e38], [f32::INFINITY; 4]);
    for (x, w) in [(huge, Some(&[0.0; 4][..])), (infinite, None)] {
        let mut y = [0.0; 4];
        b.decode_block(&searched(&b, &x, w), &mut y);
        assert!(y.iter().all(|y| y.is_finite()), "{x:?} becomes {y:?}");
    }
}

#[test]
fn weights_of_zero_are_equal_weights() {
    let mut r = Random(3);
    let b = block("block i < 32 { d: f16; q[i]: int(4); value = d * q[i]; }");
    for _ in 0..20 {
        let x = r.values(32);
        assert_eq!(searched(&b, &x, Some(&[0.0; 32])), searched(&b, &x, None));
    }
}

#[test]
fn a_plan_for_very_many_scales_is_made_soon() {
    // a pair of elements for each scale: what is quadratic in them takes minutes
    let b = block(
        "block i < 65536 { d: f16; s[i / 2]: uint(4); m[i / 4]: uint(4); q[i]: int(4); value = d * s[i / 2] * q[i] + m[i / 4]; }",
    );
    assert!(SearchPlan::new(&b).is_ok());
}

#[test]
fn values_that_the_codes_can_hold_are_found_again() {
    let mut r = Random(2);
    for text in ENCODED {
        let b = block(text);
        for _ in 0..40 {
            let mut bytes: Vec<u8> = (0..b.bytes).map(|_| r.bits() as u8).collect();
            // scales that are ordinary numbers
            for f in b.fields.values().filter(|f| f.count < b.len) {
                for slot in 0..f.slots() {
                    f.write(&mut bytes, slot, f.element.encode(0.25 + r.unit()));
                }
            }
            let mut x = vec![0.0; b.len as usize];
            b.decode_block(&bytes, &mut x);
            let error = relative(&b, &x);
            assert!(error < 1e-6, "{error} in {text} of {x:?}");
        }
    }
}

#[test]
fn formats_with_levels_of_scales_come_near_normal_values() {
    let mut r = Random(3);
    for (text, limit) in NESTED {
        let b = block(text);
        let blocks = 2048 / b.len;
        let errors = (0..blocks).map(|_| {
            let x: Vec<f32> = (0..b.len).map(|_| 0.02 * r.normal()).collect();
            relative(&b, &x)
        });
        let mean = errors.sum::<f64>() / f64::from(blocks);
        assert!(mean < limit, "{mean} is not below {limit} in {text}");
        assert!(mean > 0.3 * limit, "{mean} is far below {limit} in {text}");
    }
}

#[test]
fn the_spelling_of_a_value_does_not_matter() {
    let mut r = Random(4);
    let one = block("block i < 32 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }");
    let other = block("block i < 32 { d: f16; q[i]: uint(4); value = q[i] * d - 8 * d; }");
    for _ in 0..20 {
        let x = r.values(32);
        let (a, b) = (relative(&one, &x), relative(&other, &x));
        assert!((a - b).abs() <= 1e-6 * a.max(1e-9), "{a} and {b}");
    }
}

#[test]
fn heavy_elements_come_nearer() {
    let mut r = Random(5);
    for text in ENCODED.iter().chain(NESTED.iter().map(|n| &n.0)) {
        let b = block(text);
        let heavy = |i: usize| i % 4 == 1;
        let weights: Vec<f32> = (0..b.len as usize)
            .map(|i| if heavy(i) { 50.0 } else { 1.0 })
            .collect();
        let only: Vec<f32> = (0..b.len as usize)
            .map(|i| if heavy(i) { 1.0 } else { 0.0 })
            .collect();
        let (mut with, mut without) = (0.0, 0.0);
        for _ in 0..12 {
            let x: Vec<f32> = (0..b.len).map(|_| r.normal()).collect();
            with += block_error(&b, &x, Some(&only), &searched(&b, &x, Some(&weights)));
            without += block_error(&b, &x, Some(&only), &searched(&b, &x, None));
        }
        assert!(with < without, "{with} and {without} in {text}");
    }
}

#[test]
fn what_has_no_weight_does_not_move_the_rest() {
    for text in ENCODED {
        let b = block(text);
        let mut r = Random(6);
        let x: Vec<f32> = (0..b.len).map(|_| r.normal()).collect();
        let mut spoilt = x.clone();
        let mut weights = vec![1.0; x.len()];
        for i in [1, 7, 11] {
            spoilt[i] = 1000.0;
            weights[i] = [0.0, -1.0, f32::NAN][i % 3];
        }
        let error =
            |v: &[f32]| block_error(&b, v, Some(&weights), &searched(&b, v, Some(&weights)));
        let (clean, with) = (error(&x), error(&spoilt));
        assert!(with <= clean * 1.05 + 1e-9, "{with} and {clean} in {text}");
    }
}

#[test]
fn nan_and_infinity_leave_the_rest_of_the_block_alone() {
    for text in ENCODED.iter().chain(NESTED.iter().map(|n| &n.0)) {
        let b = block(text);
        let mut r = Random(7);
        let mut x: Vec<f32> = (0..b.len).map(|_| r.normal()).collect();
        (x[0], x[3], x[5]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
        let bytes = searched(&b, &x, None);
        let mut y = vec![0.0; x.len()];
        b.decode_block(&bytes, &mut y);
        assert!(y.iter().all(|v| v.is_finite()), "{y:?} in {text}");
        let energy: f64 = x
            .iter()
            .filter(|v| v.is_finite())
            .map(|v| f64::from(*v).powi(2))
            .sum();
        assert!(block_error(&b, &x, None, &bytes) < 0.2 * energy, "{text}");
        assert!(y[3] > 0.0 && y[5] < 0.0, "{text}");
    }
}

#[test]
fn zeros_stay_zeros_and_short_values_are_a_ragged_block() {
    for text in ENCODED.iter().chain(NESTED.iter().map(|n| &n.0)) {
        let b = block(text);
        let mut y = vec![1.0; b.len as usize];
        b.decode_block(&searched(&b, &vec![0.0; y.len()], None), &mut y);
        assert!(y.iter().all(|v| v.abs() < 1e-30), "{y:?} in {text}");
        let mut r = Random(8);
        let x: Vec<f32> = (0..5).map(|_| r.normal()).collect();
        let error = relative(&b, &x);
        assert!(error < 0.1, "{error} in {text}");
    }
}

#[test]
fn sizes_far_from_one_are_searched_as_well() {
    for size in [1e-30f32, 1e-12, 1e12, 1e30] {
        let b = block("block i < 32 { d: f32; q[i]: int(4); value = d * q[i]; }");
        let mut r = Random(9);
        let x: Vec<f32> = (0..32).map(|_| r.normal()).collect();
        let scaled: Vec<f32> = x.iter().map(|v| v * size).collect();
        let (a, b) = (relative(&b, &x), relative(&b, &scaled));
        assert!((a - b).abs() < 1e-3 * a, "{a} and {b} at {size}");
    }
}

#[test]
fn interleaved_rows_are_searched_one_by_one() {
    let plain = block("block i < 8 { d: f16; q[i]: uint(4); value = d * (q[i] - 8); }");
    let woven = block(
        "block r < 2, i < 8, bytes 12 { d[r]: f16 at 16 * r; q[r, i]: uint(4) at 32 + 8 * i + 4 * r;
            value = d[r] * (q[r, i] - 8); }",
    );
    let mut r = Random(10);
    let x: Vec<f32> = (0..16).map(|_| r.normal()).collect();
    let mut y = vec![0.0; 16];
    woven.decode_block(&searched(&woven, &x, None), &mut y);
    for (row, values) in x.chunks(8).zip(y.chunks(8)) {
        let mut one = vec![0.0; 8];
        plain.decode_block(&searched(&plain, row, None), &mut one);
        assert_eq!(one, values);
    }
}

#[test]
fn the_same_values_give_the_same_bytes() {
    let mut r = Random(11);
    for (text, _) in NESTED {
        let b = block(text);
        let x = r.values(b.len as usize);
        assert_eq!(searched(&b, &x, None), searched(&b, &x, None));
    }
}

#[test]
fn a_value_that_is_not_affine_is_refused_by_name() {
    let refused = |text: &str| SearchPlan::new(&block(text)).expect_err(text);
    let scale = |text: &str, name: &str| match refused(text) {
        NotAffine::Scale { field, .. } => assert_eq!(field, name, "{text}"),
        other => panic!("{other} for {text}"),
    };
    scale(
        "block i < 8 { d: f16; q[i]: uint(4); value = d * d * q[i]; }",
        "d",
    );
    scale(
        "block i < 8 { d: f16; q[i]: uint(4); value = q[i] / d; }",
        "d",
    );
    scale(
        "block i < 8 { d: f16; q[i]: int(4); value = max(d * q[i], 0); }",
        "d",
    );
    let wide = refused("block i < 8 { d: f16; q[i]: f32; value = d * q[i]; }");
    assert_eq!(wide, NotAffine::Codes { bits: 32 });
    // what happens to codes alone may be anything
    let b = block("block i < 8 { d: f16; q[i]: int(4); value = d * max(abs(q[i]) - 1, 0); }");
    let x = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5];
    assert!(relative(&b, &x) < 1e-6);
}
#[test]
fn a_scale_that_two_parameters_share_costs_little() {
    let x: Vec<f32> = (0..64).map(|i| (i as f32 * 0.7).sin()).collect();
    let fields = "d: f16; s[i / 16]: uint(6); m[i / 16]: uint(6); q[i]: uint(3);";
    let own = format!(
        "block i < 64 {{ e: f16; {fields} value = d * s[i / 16] * q[i] - e * m[i / 16]; }}"
    );
    let shared = format!("block i < 64 {{ {fields} value = d * (s[i / 16] * q[i] - m[i / 16]); }}");
    let (own, shared) = (relative(&block(&own), &x), relative(&block(&shared), &x));
    assert!(shared < 1.1 * own, "{shared} and {own}");
}

#[test]
fn codes_under_several_scales_are_refused_where_there_are_too_many() {
    let mixed = |bits: u32| {
        block(&format!(
            "block i < 16 {{ d: f16; e: f16; a[i]: uint({bits}); b[i]: int({bits}); value = d * a[i] + e * b[i]; }}"
        ))
    };
    assert!(SearchPlan::new(&mixed(4)).is_ok());
    let refused = SearchPlan::new(&mixed(6)).unwrap_err();
    assert_eq!(refused, NotAffine::Mixed { count: 4096 });
}
