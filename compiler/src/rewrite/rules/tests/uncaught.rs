//! Mutants of rules that are sound: what their conditions are for instead.

const SEARCH: &str = "the law holds without it; it keeps the graph small";
const TABLES: &str =
    "the law holds without it; a polynomial of one code is kept together, as one table";
const ORDER: &str = "sums may change places; it keeps the orders few";
const NUMBER: &str = "the same holds of constants; the rule `number` has them in one operation";
const PRODUCT: &str =
    "a sum of equal terms may be summed; the rule `constant-sum` has a product instead";
const CODES: &str = "tables have at most sixteen entries, so their codes are bytes; it says so where bytes are made";
const NARROW: &str = "the law holds without it; codes of at most a byte are taken from bytes";
const BIAS: &str = "the law holds without it; sums of floats that are 128 too large lose bits";
const ROUNDING: &str =
    "the law holds without it; no sum with a constant of 16 bits is rounded by f32";
const OVERFLOW: &str =
    "the law holds without it; floats that a unit has left are larger and overflow earlier";
const MODULAR: &str =
    "the instruction wraps as the register of the left side does, and is not made to";

const BINDERS: &str =
    "every binder has an axis of its own, so that the field cannot change with this one";

/// Rule, change, and why nothing is wrong with it.
pub(super) const UNCAUGHT: &[(&str, &str, &str)] = &[
    ("unit-outwards", "without Integer(\"?a\")", OVERFLOW),
    ("unit-outwards", "without Integer(\"?b\")", OVERFLOW),
    ("unit-first", "without Integer(\"?a\")", OVERFLOW),
    ("count-sum", "without Octet(\"?i\")", SEARCH),
    ("pack-product", "without Octet(\"?i\")", SEARCH),
    ("pick-bytes", "without Fits(\"?c\", U8)", CODES),
    ("pick-unsigned-bytes", "without Fits(\"?c\", U8)", CODES),
    ("bias-entries", "without Signed(\"?t\")", SEARCH),
    ("pick-words", "without Fits(\"?t\", I16)", MODULAR),
    ("high-bytes", "without Fits(\"?t\", I16)", MODULAR),
    ("narrow-floor", "without FloorFits(\"?e\", I8)", MODULAR),
    (
        "narrow-elements",
        "without ElementFits(\"?x\", I16)",
        MODULAR,
    ),
    ("sum-bytes", "without Needed(\"?i\", \"?e\")", PRODUCT),
    ("sum-bytes", "without SumFits(\"?i\", \"?e\", I16)", MODULAR),
    ("at-sum", "without FieldFree(\"?i\", \"?f\")", BINDERS),
    ("distribute-left", "without Unrounded(\"?a\", \"?c\")", BIAS),
    (
        "distribute-right",
        "without Unrounded(\"?a\", \"?c\")",
        BIAS,
    ),
    ("distribute-left", "without AsDeep(\"?c\", \"?a\")", SEARCH),
    ("distribute-left", "without AsDeep(\"?c\", \"?b\")", SEARCH),
    ("distribute-right", "without AsDeep(\"?c\", \"?a\")", SEARCH),
    ("distribute-right", "without AsDeep(\"?c\", \"?b\")", SEARCH),
    ("distribute-right", "without NotConstant(\"?c\")", SEARCH),
    (
        "distribute-left",
        "without ApartCodes(\"?a\", \"?c\")",
        TABLES,
    ),
    (
        "distribute-left",
        "without ApartCodes(\"?b\", \"?c\")",
        TABLES,
    ),
    (
        "distribute-right",
        "without ApartCodes(\"?a\", \"?c\")",
        TABLES,
    ),
    (
        "distribute-right",
        "without ApartCodes(\"?b\", \"?c\")",
        TABLES,
    ),
    ("fold-inwards", "without Folds(\"?l\")", ORDER),
    ("fold-inwards", "without Folds(\"?j\")", ORDER),
    ("fold-inwards", "without Before(\"?l\", \"?j\")", ORDER),
    ("fold-inwards", "without Loop(\"?i\")", ORDER),
    ("fold-pair-inwards", "without Folds(\"?j\")", ORDER),
    ("fold-pair-inwards", "without Copies(\"?i\")", ORDER),
    ("bias-byte", "without OverRows(\"?x\")", SEARCH),
    ("lookup-bytes", "without Fits(\"?c\", U8)", CODES),
    ("lookup-unsigned-bytes", "without Fits(\"?c\", U8)", CODES),
    ("lookup-floats", "without Fits(\"?c\", U8)", CODES),
    (
        "unpack-wide-bits",
        "without WideField(\"?f\", \"?b\")",
        NARROW,
    ),
    ("int-to-float", "without NotConstant(\"?e\")", NUMBER),
    ("magic-float", "without Coded(\"?e\")", SEARCH),
    ("magic-sum", "without Coded(\"?e\")", SEARCH),
    ("magic-sum", "without Constant(\"?k\")", SEARCH),
    ("magic-sum", "without Fits(\"?k\", I16)", ROUNDING),
    ("widen-bytes", "without NotConstant(\"?e\")", NUMBER),
    ("widen-codes", "without NotConstant(\"?e\")", NUMBER),
    ("widen-i16", "without NotConstant(\"?e\")", NUMBER),
    ("widen-i8", "without NotConstant(\"?e\")", NUMBER),
    ("plain-bytes", "without NotConstant(\"?e\")", NUMBER),
    ("widen-u8", "without NotConstant(\"?e\")", NUMBER),
    ("spread", "without NotConstant(\"?e\")", NUMBER),
    ("sum-i16", "without Needed(\"?i\", \"?e\")", PRODUCT),
    ("sum-i32", "without Needed(\"?i\", \"?e\")", PRODUCT),
    ("fold-i32", "without Needed(\"?i\", \"?e\")", PRODUCT),
    ("sum-f32", "without Needed(\"?i\", \"?e\")", PRODUCT),
    ("fold-f32", "without Needed(\"?i\", \"?e\")", PRODUCT),
    (
        "mul-pairs16",
        "without ProductSumFits(\"?j\", \"?a\", \"?b\", I32)",
        MODULAR,
    ),
];
