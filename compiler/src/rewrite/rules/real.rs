//! Laws of real arithmetic: distribution, and moving sums inwards and factors outwards.

use crate::rewrite::rule::{Bind::*, Rule, When::*};

/// The rules of this file.
pub const RULES: &[Rule] = &[
    Rule {
        name: "distribute-left",
        left: "(mul (add ?a ?b) ?c)",
        right: "(add (mul ?a ?c) (mul ?b ?c))",
        when: &[
            AsDeep("?c", "?a"),
            AsDeep("?c", "?b"),
            Unrounded("?a", "?c"),
            ApartCodes("?a", "?c"),
            ApartCodes("?b", "?c"),
        ],
        bind: &[],
        why: "zero points and minima come out of the innermost products; what changes less often is pulled out by `factor-sum`, and polynomials of one code are one table",
    },
    Rule {
        name: "distribute-right",
        left: "(mul ?c (add ?a ?b))",
        right: "(add (mul ?c ?a) (mul ?c ?b))",
        when: &[
            AsDeep("?c", "?a"),
            AsDeep("?c", "?b"),
            NotConstant("?c"),
            Unrounded("?a", "?c"),
            ApartCodes("?a", "?c"),
            ApartCodes("?b", "?c"),
        ],
        bind: &[],
        why: "the same, from the other side",
    },
    Rule {
        name: "associate",
        left: "(mul (mul ?a ?b) ?c)",
        right: "(mul ?a (mul ?b ?c))",
        when: &[],
        bind: &[],
        why: "factors of fewer axes come first, so that sums can leave them outside",
    },
    Rule {
        name: "add-zero",
        left: "(add 0 ?x)",
        right: "?x",
        when: &[],
        bind: &[],
        why: "digits about 0 have no middle to add",
    },
    Rule {
        name: "split-sum",
        left: "(sum ?i (add ?a ?b))",
        right: "(add (sum ?i ?a) (sum ?i ?b))",
        when: &[],
        bind: &[],
        why: "a correction gets a sum of its own",
    },
    Rule {
        name: "factor-sum",
        left: "(sum ?i (mul ?a ?b))",
        right: "(mul ?a (sum ?i ?b))",
        when: &[NotFree("?i", "?a")],
        bind: &[],
        why: "what does not depend on the axis is multiplied once",
    },
    Rule {
        name: "constant-sum",
        left: "(sum ?i ?e)",
        right: "(mul ?n ?e)",
        when: &[NotFree("?i", "?e")],
        bind: &[Extent("?n", "?i")],
        why: "a sum of equal terms is a product",
    },
    Rule {
        name: "fold-inwards",
        left: "(sum ?l (sum ?j (sum ?i ?e)))",
        right: "(sum ?i (sum ?l (sum ?j ?e)))",
        when: &[Folds("?l"), Folds("?j"), Before("?l", "?j"), Loop("?i")],
        bind: &[],
        why: "dot products fold neighbouring lanes inside the loop; the two lanes move together, or their orders multiply",
    },
    Rule {
        name: "fold-pair-inwards",
        left: "(sum ?j (sum ?i ?e))",
        right: "(sum ?i (sum ?j ?e))",
        when: &[Folds("?j"), Copies("?i")],
        bind: &[],
        why: "products in pairs can be summed over copies before they are widened",
    },
];
