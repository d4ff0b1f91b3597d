//! Bits of neighbours in bytes: sums of bits, and of products of bits, are counted.

use crate::rewrite::lang::Ty;
use crate::rewrite::rule::{Rule, When::*};

/// The rules of this file.
pub const RULES: &[Rule] = &[
    Rule {
        name: "count-sum",
        left: "(sum ?i ?a)",
        right: "(count-ones (pack-bits ?i ?a))",
        when: &[Octet("?i"), Bit("?a")],
        bind: &[],
        why: "a sum of bits is how many are set",
    },
    Rule {
        name: "pack-product",
        left: "(pack-bits ?i (mul ?a ?b))",
        right: "(and (pack-bits ?i ?a) (pack-bits ?i ?b))",
        when: &[Octet("?i"), Bit("?a"), Bit("?b")],
        bind: &[],
        why: "a product of bits is set where both are (XNOR-Net, ECCV 2016; bit-serial products of several bits follow plane by plane)",
    },
    Rule {
        name: "pack-byte",
        left: "(pack-bits ?i (bits ?f (ld ?x)))",
        right: "(ld ?x)",
        when: &[Octet("?i"), BitOfByte("?f", "?i", "?x")],
        bind: &[],
        why: "the bits of neighbours were laid out as a byte",
    },
    Rule {
        name: "pack-copies",
        left: "(vec ?l u8 (pack-bits ?i ?a))",
        right: "(v.pack-bits ?i (vec ?l u8 ?a))",
        when: &[Octet("?i"), Bit("?a")],
        bind: &[],
        why: "bits that lie apart are doubled and added, the highest first",
    },
    Rule {
        name: "stage-pack",
        left: "(vec [] u8 (pack-bits ?i ?a))",
        right: "(v.stage (vec [] u8 (pack-bits ?i ?a)))",
        when: &[StageableSum("?i", "?a")],
        bind: &[],
        why: "the bits of activations are brought together once, before the loop over rows",
    },
    Rule {
        name: "and-bytes",
        left: "(vec ?l u8 (and ?a ?b))",
        right: "(v.and (vec ?l u8 ?a) (vec ?l u8 ?b))",
        when: &[Fits("?a", Ty::U8), Fits("?b", Ty::U8)],
        bind: &[],
        why: "one instruction on every machine",
    },
    Rule {
        name: "count-bytes",
        left: "(vec ?l u8 (count-ones ?a))",
        right: "(v.count-ones (vec ?l u8 ?a))",
        when: &[Fits("?a", Ty::U8)],
        bind: &[],
        why: "one instruction (NEON, AVX512-BITALG), or two look-ups of half a byte (Muła, Kurz and Lemire, 2018)",
    },
];
