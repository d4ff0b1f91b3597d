//! All rules, grouped by theme. See `README.md` for the rules about rules.

pub mod bits;
pub mod entries;
pub mod floats;
pub mod integers;
pub mod real;
pub mod tables;
#[cfg(test)]
mod tests;

use super::rule::Rule;

/// Every rule that is data, in a fixed order (which must not matter).
pub fn all() -> Vec<Rule> {
    [
        real::RULES,
        tables::RULES,
        entries::RULES,
        bits::RULES,
        integers::RULES,
        floats::LANE_WISE,
        floats::RULES,
    ]
    .concat()
}
