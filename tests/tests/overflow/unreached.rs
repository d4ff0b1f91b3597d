//! Limits that no kernel goes beyond by one code or product so that a result is wrong, and why.

use super::cases::Limit;

const CODES: &str =
    "tables have at most sixteen entries, so their codes are far below the largest byte";
const ROUNDED: &str = "entries are rounded by a factor that is made so that the largest is within a byte, from sums that 16 bits hold";
const BIASED: &str = "entries without a sign are low bytes, or rounded ones that are biased";
const CLASS: &str = "the entries are the sums themselves: what asks for those in 16 bits, and what sums in 16 bits, is at its \
     limit with them, and relaxed in the case of such tables";
const MODULAR: &str = "sums and products of registers are right modulo their width, so that a result that fits is right; an \
     operand that is made by saturation has a limit of its own";
const WRAPS: &str = "the instruction wraps as the sum of 32 bits does that asks for it, and that has a limit of its own";
const BYTES: &str =
    "what is more than a byte is loaded as more than a byte, and is never asked for in bytes";
const SAME: &str = "the register is the same whatever it holds, and what asks for a signed byte has a limit of its own";
const BYTE: &str = "the table is of 256 codes, and a code of as many bits is a byte";
const PACKED: &str = "eight bits are a byte, and never more";
const NUMBER: &str = "a number is asked for only by sums and products that fit, and they are right modulo their width";
const FACTORS: &str =
    "codes of at most eight bits, the multipliers of digits and what both make are bytes";
const PRODUCTS: &str = "a byte times a base of at most sixteen is far below 2^15";
const APART: &str = "the sums of both bytes of digits change together, so that their difference stays far within its interval";

const FAR: &str = "a constant of 16 bits is far from where an f32 of 24 rounds its sum with one";

/// A limit, and why.
pub(crate) const UNREACHED: &[(Limit, &str)] = &[
    (("lookup-bytes", 1), CODES),
    (("lookup-unsigned-bytes", 1), CODES),
    (("lookup-floats", 0), CODES),
    (("pick-bytes", 1), CODES),
    (("pick-unsigned-bytes", 1), CODES),
    (("pick-bytes", 0), ROUNDED),
    (("bias-entries", 0), ROUNDED),
    (("narrow-floor", 0), ROUNDED),
    (("mul-high", 0), ROUNDED),
    (("pick-unsigned-bytes", 0), BIASED),
    (("pick-words", 0), CLASS),
    (("low-bytes", 0), CLASS),
    (("high-bytes", 0), CLASS),
    (("add-u8", 0), MODULAR),
    (("add-i16", 0), MODULAR),
    (("add-i16", 1), MODULAR),
    (("add-i32", 0), MODULAR),
    (("add-i32", 1), MODULAR),
    (("mul-i16", 0), MODULAR),
    (("mul-i16", 1), MODULAR),
    (("mul-i32", 0), MODULAR),
    (("mul-i32", 1), MODULAR),
    (("sum-bytes", 3), MODULAR),
    (("mul-pairs16", 5), WRAPS),
    (("mul-low", 0), MODULAR),
    (("mul-low", 1), MODULAR),
    (("digits", 0), BYTE),
    (("digits-swapped", 0), BYTE),
    (("digits-in-bytes", 0), BYTE),
    (("digits-in-bytes-swapped", 0), BYTE),
    (("mul-bytes", 0), FACTORS),
    (("mul-bytes", 1), FACTORS),
    (("high-unsigned-bytes", 0), PRODUCTS),
    (("over-256", 0), APART),
    (("sum-of-four", 5), BYTES),
    (("unpack-bits", 0), BYTES),
    (("plain-bytes", 0), SAME),
    (("number", 1), NUMBER),
    (("magic-sum", 1), FAR),
    (("and-bytes", 0), PACKED),
    (("and-bytes", 1), PACKED),
    (("count-bytes", 0), PACKED),
];
