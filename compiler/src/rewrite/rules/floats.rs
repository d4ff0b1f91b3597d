//! Vectors of f32, loads, spreading, stages, and declared arithmetic: what every target has.

use crate::rewrite::lang::Ty;
use crate::rewrite::rule::{Bind::*, Rule, When::*};

macro_rules! lane_wise {
    ($($name:literal: $left:literal => $right:literal),* $(,)?) => {
        &[$(Rule { name: $name, left: $left, right: $right, when: &[], bind: &[], why: "lane by lane" }),*]
    };
}

/// Operations that act lane by lane, with nothing to prove.
pub const LANE_WISE: &[Rule] = lane_wise![
    "add-f32": "(vec ?l f32 (add ?a ?b))" => "(v.fadd (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "mul-f32": "(vec ?l f32 (mul ?a ?b))" => "(v.fmul (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "div-f32": "(vec ?l f32 (div ?a ?b))" => "(v.fdiv (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "min-f32": "(vec ?l f32 (min ?a ?b))" => "(v.fmin (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "max-f32": "(vec ?l f32 (max ?a ?b))" => "(v.fmax (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "abs-f32": "(vec ?l f32 (abs ?a))" => "(v.abs (vec ?l f32 ?a))",
    "exp-f32": "(vec ?l f32 (exp ?a))" => "(v.exp (vec ?l f32 ?a))",
    "sqrt-f32": "(vec ?l f32 (sqrt ?a))" => "(v.sqrt (vec ?l f32 ?a))",
    "tanh-f32": "(vec ?l f32 (tanh ?a))" => "(v.tanh (vec ?l f32 ?a))",
    "silu-f32": "(vec ?l f32 (silu ?a))" => "(v.silu (vec ?l f32 ?a))",
    "gelu-f32": "(vec ?l f32 (gelu ?a))" => "(v.gelu (vec ?l f32 ?a))",
    "round-f32": "(vec ?l f32 (round ?a))" => "(v.round (vec ?l f32 ?a))",
    "round-away-f32": "(vec ?l f32 (round-away ?a))" => "(v.round-away (vec ?l f32 ?a))",
    "trunc-f32": "(vec ?l f32 (trunc ?a))" => "(v.trunc (vec ?l f32 ?a))",
    "floor-f32": "(vec ?l f32 (floor ?a))" => "(v.floor (vec ?l f32 ?a))",
    "floor-pow2-f32": "(vec ?l f32 (floor-pow2 ?a))" => "(v.floor-pow2 (vec ?l f32 ?a))",
    "select-lt-f32": "(vec ?l f32 (select-lt ?a ?b ?c ?d))" => "(v.select-lt (vec ?l f32 ?a) (vec ?l f32 ?b) (vec ?l f32 ?c) (vec ?l f32 ?d))",
    "select-le-f32": "(vec ?l f32 (select-le ?a ?b ?c ?d))" => "(v.select-le (vec ?l f32 ?a) (vec ?l f32 ?b) (vec ?l f32 ?c) (vec ?l f32 ?d))",
    "select-eq-f32": "(vec ?l f32 (select-eq ?a ?b ?c ?d))" => "(v.select-eq (vec ?l f32 ?a) (vec ?l f32 ?b) (vec ?l f32 ?c) (vec ?l f32 ?d))",
    "strict-add-f32": "(vec ?l f32 (strict-add ?a ?b))" => "(v.fadd (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "strict-sub-f32": "(vec ?l f32 (strict-sub ?a ?b))" => "(v.fsub (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "strict-mul-f32": "(vec ?l f32 (strict-mul ?a ?b))" => "(v.fmul (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "strict-div-f32": "(vec ?l f32 (strict-div ?a ?b))" => "(v.fdiv (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "strict-min-f32": "(vec ?l f32 (strict-min ?a ?b))" => "(v.fmin (vec ?l f32 ?a) (vec ?l f32 ?b))",
    "strict-max-f32": "(vec ?l f32 (strict-max ?a ?b))" => "(v.fmax (vec ?l f32 ?a) (vec ?l f32 ?b))",
];

/// The other rules of this file.
pub const RULES: &[Rule] = &[
    Rule {
        name: "load",
        left: "(vec ?l ?t (ld ?x))",
        right: "(v.load ?l ?t ?x)",
        when: &[StoredAs("?x", "?t")],
        bind: &[],
        why: "the address says whether the lanes lie side by side; its cost follows",
    },
    Rule {
        name: "unpack-bits",
        left: "(vec ?l u8 (bits ?f ?b))",
        right: "(v.bits ?f (vec ?l u8 ?b))",
        when: &[Fits("?b", Ty::U8)],
        bind: &[],
        why: "a shift and a mask",
    },
    Rule {
        name: "unpack-wide-bits",
        left: "(vec ?l i32 (bits ?f ?b))",
        right: "(v.bits ?f (vec ?l i32 ?b))",
        when: &[WideField("?f", "?b")],
        bind: &[],
        why: "the same for codes of more than a byte",
    },
    Rule {
        name: "spread",
        left: "(vec ?l ?t ?e)",
        right: "(v.spread ?l (vec ?m ?t ?e))",
        when: &[NotConstant("?e")],
        bind: &[Restrict("?m", "?l", "?e")],
        why: "lanes that the term does not depend on hold copies",
    },
    Rule {
        name: "number",
        left: "(vec ?l ?t ?e)",
        right: "(v.num ?l ?t ?e)",
        when: &[Constant("?e"), FitsVar("?e", "?t")],
        bind: &[],
        why: "the same number in every lane",
    },
    Rule {
        name: "extent",
        left: "(vec ?l f32 (extent ?x))",
        right: "(v.extent ?l ?x)",
        when: &[],
        bind: &[],
        why: "a number known before the call",
    },
    Rule {
        name: "unit",
        left: "(vec ?l f32 (unit ?u))",
        right: "(v.unit ?l f32 ?u)",
        when: &[],
        bind: &[],
        why: "a power of two, known in each copy",
    },
    Rule {
        name: "sum-f32",
        left: "(vec ?l f32 (sum ?i ?e))",
        right: "(v.sum ?i (vec ?l f32 ?e))",
        when: &[Loop("?i"), Needed("?i", "?e")],
        bind: &[],
        why: "an accumulator",
    },
    Rule {
        name: "fold-f32",
        left: "(vec ?l f32 (sum ?i ?e))",
        right: "(v.fold ?i (vec ?m f32 ?e))",
        when: &[Lane("?i"), Innermost("?i", "?l"), Needed("?i", "?e")],
        bind: &[Push("?m", "?l", "?i")],
        why: "the horizontal sum; outside the loops it is paid once",
    },
    Rule {
        name: "max-f32-over",
        left: "(vec ?l f32 (max-over ?i ?e))",
        right: "(v.max-over ?i (vec ?l f32 ?e))",
        when: &[Loop("?i")],
        bind: &[],
        why: "a running maximum",
    },
    Rule {
        name: "max-f32-lanes",
        left: "(vec ?l f32 (max-over ?i ?e))",
        right: "(v.fold-max ?i (vec ?m f32 ?e))",
        when: &[Lane("?i"), Innermost("?i", "?l")],
        bind: &[Push("?m", "?l", "?i")],
        why: "the horizontal maximum",
    },
    Rule {
        name: "stage-f32",
        left: "(vec [] f32 (sum ?i ?e))",
        right: "(v.stage (vec [] f32 (sum ?i ?e)))",
        when: &[StageableSum("?i", "?e")],
        bind: &[],
        why: "what does not depend on the row is computed once, before the loop over rows",
    },
    Rule {
        name: "stage-i32",
        left: "(vec ?l i32 (sum ?i ?e))",
        right: "(v.stage (vec ?l i32 (sum ?i ?e)))",
        when: &[StageableLanes("?l", "?i", "?e")],
        bind: &[],
        why: "the same for integers, whose lanes need not be folded",
    },
    Rule {
        name: "panel",
        left: "(vec ?l ?t ?e)",
        right: "(v.panel (vec ?l ?t ?e))",
        when: &[Panelled("?e")],
        bind: &[],
        why: "what weights alone decide is computed once for all tiles of rows of activations",
    },
];
