//! Rules that are not stated in integers, and conditions that integers do not miss.

const LAW: &str = "a law of real numbers, of which integers of some width prove nothing";
const FLOATS: &str =
    "floats: each operation denotes the exact result, and what it rounds goes into a bound";
const ENTRIES: &str = "a term with the number of an entry in place of a code: nothing is computed that could overflow";
const MAGIC: &str = "a sum of floats below 2^24, which is exact: `magic.rs` tries all words";
const DIGITS: &str = "fractions of 2^15, rounded; each factor is found by trying all codes";
const BYTES: &str = "each multiplier is found by trying all codes";
const FRACTIONS: &str = "entries of the table are fractions";

/// Rule, and why it is not proved by the solver.
pub(super) const UNSTATED: &[(&str, &str)] = &[
    ("distribute-left", LAW),
    ("distribute-right", LAW),
    ("associate", LAW),
    ("unit-outwards", LAW),
    ("unit-first", LAW),
    ("split-sum", LAW),
    ("add-zero", LAW),
    ("factor-sum", LAW),
    ("constant-sum", LAW),
    ("fold-inwards", LAW),
    ("fold-pair-inwards", LAW),
    ("scale-table", FRACTIONS),
    ("product-table", LAW),
    ("digits", DIGITS),
    ("digits-swapped", DIGITS),
    ("digits-in-bytes", BYTES),
    ("digits-in-bytes-swapped", BYTES),
    ("whole-part", LAW),
    ("part-times", LAW),
    ("sum-parts", LAW),
    ("count-sum", LAW),
    ("pack-product", LAW),
    ("pack-byte", "where bits lie; nothing is computed"),
    ("mul-high", "a fraction of 2^15, rounded"),
    ("narrow-floor", "what is rounded is a fraction"),
    ("at-code", ENTRIES),
    ("at-other", ENTRIES),
    ("at-sum", ENTRIES),
    ("at-add", ENTRIES),
    ("at-mul", ENTRIES),
    ("at-floor", ENTRIES),
    ("at-element", ENTRIES),
    ("entry-numbers", ENTRIES),
    ("pick-bytes", ENTRIES),
    ("pick-unsigned-bytes", ENTRIES),
    ("bias-entries", ENTRIES),
    ("pick-words", ENTRIES),
    ("stage-table", ENTRIES),
    ("decode", FLOATS),
    ("magic-float", MAGIC),
    ("magic-sum", MAGIC),
    ("add-f32", FLOATS),
    ("mul-f32", FLOATS),
    ("div-f32", FLOATS),
    ("min-f32", FLOATS),
    ("max-f32", FLOATS),
    ("abs-f32", FLOATS),
    ("exp-f32", FLOATS),
    ("sqrt-f32", FLOATS),
    ("tanh-f32", FLOATS),
    ("silu-f32", FLOATS),
    ("gelu-f32", FLOATS),
    ("round-f32", FLOATS),
    ("round-away-f32", FLOATS),
    ("trunc-f32", FLOATS),
    ("floor-f32", FLOATS),
    ("floor-pow2-f32", FLOATS),
    ("select-lt-f32", FLOATS),
    ("select-le-f32", FLOATS),
    ("select-eq-f32", FLOATS),
    ("strict-add-f32", FLOATS),
    ("strict-sub-f32", FLOATS),
    ("strict-mul-f32", FLOATS),
    ("strict-div-f32", FLOATS),
    ("strict-min-f32", FLOATS),
    ("strict-max-f32", FLOATS),
    ("sum-f32", FLOATS),
    ("fold-f32", FLOATS),
    ("max-f32-over", FLOATS),
    ("max-f32-lanes", FLOATS),
];

/// Rule, change, and why the solver finds nothing wrong with it although the evaluator does.
pub(super) const UNMISSED: &[(&str, &str, &str)] = &[];
