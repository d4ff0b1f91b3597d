//! Cells that are not as expected, and why. One that is not needed any more fails the test.

use super::cells::{Activations, Cell};

/// Cells of which an expectation does not hold; an empty list stands for all.
pub(crate) struct Exception {
    /// The expectation.
    pub(crate) of: &'static str,
    pub(crate) targets: &'static [&'static str],
    pub(crate) formats: &'static [&'static str],
    pub(crate) activations: &'static [Activations],
    pub(crate) rows: &'static [u64],
    /// Why.
    pub(crate) why: &'static str,
}

fn has<T: PartialEq>(list: &[T], one: T) -> bool {
    list.is_empty() || list.contains(&one)
}

impl Exception {
    /// Whether it explains that an expectation does not hold of a cell.
    pub(crate) fn covers(&self, expectation: &str, cell: &Cell) -> bool {
        self.of == expectation
            && has(self.targets, cell.target)
            && has(self.formats, cell.format)
            && has(self.activations, cell.activations)
            && has(self.rows, cell.rows)
    }
}

const MANY: &[u64] = &[8, 64];

const LAYOUT: &str = "the layout is fixed by then, which leaves few lane lists";
const PLACES: &str = "the place of a value in a codebook of several is an integer product";
const SCALES: &str =
    "scales of few bits are multiplied to the codes as integers; the activations stay f32";
const FRACTIONS: &str = "the values are no integers";
const SHORT: &str =
    "scales of sixteen weights: the sums that look-ups save are few beside their conversions";

pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        of: "one and two bits with tables take look-ups",
        targets: &["x86-64-v2", "x86-64-v3", "aarch64"],
        formats: &["q2_k"],
        activations: &[],
        rows: &[],
        why: SHORT,
    },
    Exception {
        of: "three candidates",
        targets: &[],
        formats: &["ternary2_128", "ternary3_96", "tq1_0", "nf4_64", "int6_32"],
        activations: &[],
        rows: MANY,
        why: LAYOUT,
    },
    Exception {
        of: "three candidates",
        targets: &["x86-64"],
        formats: &[],
        activations: &[],
        rows: MANY,
        why: LAYOUT,
    },
    Exception {
        of: "f32 takes no integers",
        targets: &[],
        formats: &["ternary3_96", "tq1_0"],
        activations: &[],
        rows: &[],
        why: PLACES,
    },
    Exception {
        of: "f32 takes no integers",
        targets: &[],
        formats: &["q2_k", "q4_k"],
        activations: &[],
        rows: &[],
        why: SCALES,
    },
    Exception {
        of: "two bits and more take dot products",
        targets: &[],
        formats: &["nf4_64"],
        activations: &[],
        rows: &[],
        why: FRACTIONS,
    },
];
