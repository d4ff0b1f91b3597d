//! What is expected of lowerings: written down before they were looked at.

use super::cells::{Activations, Cell};

/// Something that is expected of some cells.
pub(crate) struct Expectation {
    pub(crate) name: &'static str,
    /// Whether it is about a cell.
    pub(crate) of: fn(&Cell) -> bool,
    /// Whether it holds of one.
    pub(crate) holds: fn(&Cell) -> bool,
}

/// Formats of sixteen values that are integers of eight bits, up to a power of two.
const CODEBOOKS: [&str; 4] = ["iq4_nl", "fp4_32", "mxfp4", "nvfp4"];

fn looks_up_sums(cell: &Cell) -> bool {
    cell.name.contains("look-up of")
}

fn dot_product(cell: &Cell) -> bool {
    cell.name.contains("dot product")
}

/// Dot products of the bytes that a target has: of four, or of pairs.
fn products_of_bytes(cell: &Cell) -> bool {
    match cell.dots {
        true => dot_product(cell),
        false => {
            let pairs = cell.name.contains("products in pairs");
            pairs || cell.name.contains("integer products")
        }
    }
}

fn integers(cell: &Cell) -> bool {
    cell.activations != Activations::F32
}

fn integer_path(cell: &Cell) -> bool {
    let integer = [
        "look-up of",
        "dot product",
        "products in pairs",
        "integer products",
    ];
    integer.iter().any(|words| cell.name.contains(words))
}

pub(crate) const EXPECTATIONS: &[Expectation] = &[
    Expectation {
        name: "three candidates",
        of: |_| true,
        holds: |cell| cell.candidates >= 3,
    },
    Expectation {
        name: "one and two bits with tables take look-ups",
        of: |cell| {
            let plain = ["x86-64-v2", "x86-64-v3", "aarch64"].contains(&cell.target);
            let few = cell.bits == 1.0 || cell.bits == 2.0;
            plain && few && cell.activations == Activations::Tables && cell.rows == 1
        },
        holds: looks_up_sums,
    },
    Expectation {
        name: "two bits and more take dot products",
        of: |cell| cell.dots && cell.bits >= 2.0 && integers(cell),
        holds: dot_product,
    },
    Expectation {
        name: "64 rows take decoded panels or dot products",
        of: |cell| cell.rows == 64,
        holds: |cell| cell.name.contains("decoded panel") || dot_product(cell),
    },
    Expectation {
        name: "codebooks of bytes take look-ups and dot products",
        of: |cell| cell.looks_up && CODEBOOKS.contains(&cell.format) && integers(cell),
        holds: |cell| cell.name.contains("table look-up to bytes") && products_of_bytes(cell),
    },
    Expectation {
        name: "f32 takes no integers",
        of: |cell| !integers(cell),
        holds: |cell| !integer_path(cell),
    },
];
