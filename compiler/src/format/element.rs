//! One code and its value: the reference decode and encode of an element.

use super::{Codebook, Element, FloatSpec, Illegal, Overflow, Specials};

/// IEEE 754 binary32.
pub const F32: Element = Element::Float(FloatSpec::ieee(8, 23));

/// `2^e`, exact for every exponent that a float element can have.
pub(crate) fn pow2(e: i32) -> f64 {
    if e >= -1022 {
        f64::from_bits(((e.min(1023) + 1023) as u64) << 52)
    } else {
        f64::from_bits(1u64 << (e + 1074).clamp(0, 51))
    }
}

/// The exponent of a finite number that is not zero: `2^e <= |x| < 2^(e+1)`.
pub(crate) fn exponent(x: f64) -> i32 {
    let bits = ((x.to_bits() >> 52) & 0x7ff) as i32;
    if bits == 0 {
        exponent(x * pow2(200)) - 200
    } else {
        bits - 1023
    }
}

impl FloatSpec {
    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        u32::from(self.exp) + u32::from(self.man) + u32::from(self.signed)
    }
    /// The code whose only bit is the sign.
    fn sign_bit(&self) -> u32 {
        1 << (u32::from(self.exp) + u32::from(self.man))
    }
    /// The largest magnitude's code that is finite.
    fn max_code(&self) -> u32 {
        let all = ((1u64 << (u32::from(self.exp) + u32::from(self.man))) - 1) as u32;
        match self.specials {
            Specials::Ieee => all - (1 << self.man),
            Specials::Finite => all,
            Specials::NanOnly => all - 1,
            Specials::NanAtNegativeZero => all,
        }
    }
    /// The exponent of the smallest normal number.
    pub(crate) fn min_exponent(&self) -> i32 {
        i32::from(self.subnormal) - self.bias
    }
    fn nan_code(&self) -> Option<u32> {
        let inf = self.max_code().wrapping_add(1);
        match self.specials {
            Specials::Ieee if self.man > 0 => Some(inf | (1 << (self.man - 1))),
            Specials::NanOnly => Some(inf),
            Specials::NanAtNegativeZero => Some(self.sign_bit()),
            Specials::Ieee | Specials::Finite => None,
        }
    }
    fn decode_magnitude(&self, code: u32) -> f64 {
        let max = self.max_code();
        if code > max {
            let infinite = self.specials == Specials::Ieee && code == max + 1;
            return if infinite { f64::INFINITY } else { f64::NAN };
        }
        let (field, m) = (
            (code >> self.man) as i32,
            f64::from(code & ((1 << self.man) - 1)),
        );
        let one = f64::from(1u32 << self.man);
        let quantum = |e: i32| pow2(e - i32::from(self.man));
        if field == 0 && self.subnormal {
            m * quantum(1 - self.bias)
        } else {
            (one + m) * quantum(field - self.bias)
        }
    }
    fn encode_magnitude(&self, x: f64) -> u32 {
        let max = self.max_code();
        let over = match (self.overflow, self.specials) {
            (Overflow::Saturate, _) | (_, Specials::Finite) => max,
            (Overflow::Special, Specials::Ieee | Specials::NanOnly) => max + 1,
            (Overflow::Special, Specials::NanAtNegativeZero) => self.sign_bit(),
        };
        if x == f64::INFINITY {
            return over;
        }
        let low = self.min_exponent();
        if x == 0.0 {
            return 0;
        }
        let k = exponent(x);
        if k < low && !self.subnormal {
            return 0; // the smallest value is nearest, or there is nothing below it
        }
        let e = k.max(low);
        // the code of the number just below, and how far x lies from it towards the next
        let scaled = x * pow2(i32::from(self.man) - e);
        let floor = scaled.floor();
        let field = i64::from(e - low) + i64::from(self.subnormal);
        let code = if k < low {
            floor as i64
        } else {
            (field << self.man) + floor as i64 - (1i64 << self.man)
        };
        let rest = scaled - floor;
        let up = rest > 0.5 || (rest == 0.5 && code % 2 == 1);
        let code = code + i64::from(up);
        if code > i64::from(max) {
            over
        } else {
            code as u32
        }
    }
}

/// Values of codes as sums over their bits.
#[derive(Clone, Debug, PartialEq)]
pub struct BitWorths {
    /// The value of code 0.
    pub zero: f64,
    /// What each bit adds to it, the lowest first.
    pub bits: Vec<f64>,
}

impl BitWorths {
    /// Whether all are small integers, up to a power of two: then sums of them are exact, and no larger than a few of the values,
    /// so that nothing is lost where they cancel.
    pub fn are_small(&self) -> bool {
        let worths = || self.bits.iter().chain([&self.zero]);
        let largest = worths().fold(0.0f64, |most, w| most.max(w.abs()));
        // The largest power of two that is no larger than the largest worth, and those below it.
        let first = pow2(exponent(largest));
        let units = (0..=SMALL_BITS).map(|down| first / pow2(down));
        let mut exact = units.filter(|unit| worths().all(|w| (w / unit).fract() == 0.0));
        largest == 0.0 || exact.next().is_some()
    }
}

/// Bits of an integer that is small beside a value that is not 0.
const SMALL_BITS: i32 = 3;

impl Element {
    /// Bits of a code.
    pub fn bits(&self) -> u32 {
        match self {
            Element::Int { bits } | Element::UInt { bits } => u32::from(*bits),
            Element::Float(f) => f.bits(),
            Element::Codebook(c) => c.bits(),
        }
    }

    /// Bytes of a code that stands alone: 1, 2 or 4.
    pub fn storage_bytes(&self) -> u32 {
        match self.bits() {
            0..=8 => 1,
            9..=16 => 2,
            _ => 4,
        }
    }

    /// Whether every value is an integer.
    pub fn is_integer(&self) -> bool {
        match self {
            Element::Int { .. } | Element::UInt { .. } => true,
            Element::Float(_) => false,
            Element::Codebook(c) => {
                let mut worth = c.entries.iter().copied().chain(illegal_worth(c));
                worth.all(|v| v.fract() == 0.0)
            }
        }
    }

    /// Whether some code is a NaN or an infinity.
    pub fn has_nan_or_inf(&self) -> bool {
        match self {
            Element::Int { .. } | Element::UInt { .. } => false,
            Element::Float(f) => f.specials != Specials::Finite,
            Element::Codebook(c) => {
                let mut worth = c.entries.iter().copied().chain(illegal_worth(c));
                worth.any(|v| !v.is_finite())
            }
        }
    }

    /// The smallest and the largest finite value that a number is encoded to: those of the legal codes.
    pub fn reach(&self) -> (f64, f64) {
        match self {
            Element::Codebook(c) => hull(c.legal().flat_map(|code| c.entry(code)).copied()),
            Element::Int { .. } | Element::UInt { .. } | Element::Float(_) => self.range(),
        }
    }

    /// The smallest and the largest finite value that a code decodes to.
    pub fn range(&self) -> (f64, f64) {
        match self {
            Element::Int { bits } => (
                -pow2(i32::from(*bits) - 1),
                pow2(i32::from(*bits) - 1) - 1.0,
            ),
            Element::UInt { bits } => (0.0, pow2(i32::from(*bits)) - 1.0),
            Element::Float(f) => {
                let max = f.decode_magnitude(f.max_code());
                (
                    if f.signed {
                        -max
                    } else {
                        f.decode_magnitude(0)
                    },
                    max,
                )
            }
            Element::Codebook(c) => hull(c.entries.iter().copied().chain(illegal_worth(c))),
        }
    }

    /// How many elements of a block a code gives values to.
    pub fn width(&self) -> u32 {
        match self {
            Element::Codebook(c) => c.width.max(1),
            Element::Int { .. } | Element::UInt { .. } | Element::Float(_) => 1,
        }
    }

    /// What one component of a code is worth, exactly.
    pub fn decode_at(&self, code: u32, component: u32) -> f64 {
        match self {
            Element::Codebook(c) if c.width > 1 => f64::from(c.worth(code, component)),
            _ => self.decode(code),
        }
    }

    /// Whether a code is one that numbers are encoded to.
    pub fn is_legal(&self, code: u32) -> bool {
        match self {
            Element::Codebook(c) => c.is_legal(code),
            Element::Int { .. } | Element::UInt { .. } | Element::Float(_) => true,
        }
    }

    /// Whether bytes with some of its codes are refused.
    pub fn refuses(&self) -> bool {
        matches!(self, Element::Codebook(c) if c.illegal == Illegal::Refused)
    }

    /// Whether its codes mean what those of another do; how numbers are encoded does not matter.
    pub(super) fn means_what(&self, other: &Element) -> bool {
        match (self, other) {
            (Element::Float(a), Element::Float(b)) => {
                *a == FloatSpec {
                    overflow: a.overflow,
                    ..*b
                }
            }
            (a, b) => a == b,
        }
    }

    /// What its bits are worth, if each is worth the same whatever the others are: so are those of integers, and a single bit
    /// is. Of at most eight bits.
    pub fn bit_worths(&self) -> Option<BitWorths> {
        if self.bits() > 8 || self.width() > 1 || self.has_nan_or_inf() {
            return None;
        }
        let zero = self.decode(0);
        let bits: Vec<f64> = (0..self.bits())
            .map(|bit| self.decode(1 << bit) - zero)
            .collect();
        let sum = |code: u32| {
            let set = (0..).zip(&bits).filter(|(bit, _)| code >> bit & 1 == 1);
            zero + set.map(|(_, worth)| worth).sum::<f64>()
        };
        let exact = (0..1 << self.bits()).all(|code| self.decode(code) == sum(code));
        exact.then_some(BitWorths { zero, bits })
    }

    /// The value of the first code of a codebook, if every other is worth one more than that before it.
    pub fn counted_from(&self) -> Option<f64> {
        let Element::Codebook(_) = self else {
            return None;
        };
        let BitWorths { zero, bits } = self.bit_worths()?;
        let counted = (0..)
            .zip(&bits)
            .all(|(bit, worth)| *worth == f64::from(1u32 << bit));
        counted.then_some(zero)
    }

    /// The value of every legal code, in order, if there are at most 16 bits.
    pub fn values(&self) -> Vec<f64> {
        if self.bits() > 16 {
            return Vec::new();
        }
        let legal = (0..1u32 << self.bits()).filter(|c| self.is_legal(*c));
        legal.map(|c| self.decode(c)).collect()
    }

    /// What a code is worth, exactly. Bits above the code's are ignored.
    pub fn decode(&self, code: u32) -> f64 {
        let bits = self.bits().clamp(1, 32);
        let code = if bits == 32 {
            code
        } else {
            code & ((1 << bits) - 1)
        };
        match self {
            Element::Int { .. } => f64::from(((code << (32 - bits)) as i32) >> (32 - bits)),
            Element::UInt { .. } => f64::from(code),
            Element::Float(f) => {
                let sign = f.signed && code >> (bits - 1) == 1;
                if f.specials == Specials::NanAtNegativeZero && Some(code) == f.nan_code() {
                    return f64::NAN;
                }
                let magnitude = f.decode_magnitude(if f.signed {
                    code & !(1 << (bits - 1))
                } else {
                    code
                });
                if sign { -magnitude } else { magnitude }
            }
            Element::Codebook(c) => f64::from(c.worth(code, 0)),
        }
    }

    /// The code nearest to `x`; ties go to the even code, in a codebook to the lower one. What is too large saturates,
    /// except that an IEEE float overflows to infinity. A NaN becomes the element's NaN, or the code nearest to 0.
    pub fn encode(&self, x: f32) -> u32 {
        if *self == F32 {
            x.to_bits()
        } else {
            self.encode_f64(f64::from(x))
        }
    }

    /// As [`Element::encode`], rounding once from f64.
    pub fn encode_f64(&self, x: f64) -> u32 {
        let bits = self.bits().clamp(1, 32);
        match self {
            Element::Int { .. } | Element::UInt { .. } => {
                let (low, high) = self.range();
                let v = if x.is_nan() {
                    0.0
                } else {
                    x.round_ties_even().clamp(low, high)
                };
                let mask = if bits == 32 {
                    u32::MAX
                } else {
                    (1 << bits) - 1
                };
                (v as i64 as u32) & mask
            }
            Element::Float(f) => {
                if x.is_nan() {
                    return f.nan_code().unwrap_or(0);
                }
                let sign = x.is_sign_negative();
                if sign && !f.signed {
                    return 0;
                }
                let code = f.encode_magnitude(x.abs());
                if code == 0 && f.specials == Specials::NanAtNegativeZero {
                    return 0;
                }
                code | (u32::from(sign) << (bits - 1) & u32::from(f.signed).wrapping_neg())
            }
            Element::Codebook(c) => {
                let (low, high) = self.reach();
                let x = if x.is_nan() { 0.0 } else { x.clamp(low, high) };
                let mut best = (f64::INFINITY, 0);
                for code in c.legal() {
                    let d = (x - f64::from(c.entries[code as usize])).abs();
                    if d < best.0 {
                        best = (d, code);
                    }
                }
                best.1
            }
        }
    }
}

/// What the illegal codes of a table are worth, if it has any and they may be met.
fn illegal_worth(c: &Codebook) -> Option<f32> {
    match c.illegal {
        Illegal::Worth(v) if c.has_illegal() => Some(v),
        Illegal::Worth(_) | Illegal::Refused => None,
    }
}

/// The smallest and the largest of some values; a NaN is neither.
fn hull(values: impl Iterator<Item = f32>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| {
        (a.min(f64::from(v)), b.max(f64::from(v)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(exp: u8, man: u8, specials: Specials) -> Element {
        let overflow = match specials {
            Specials::Ieee => Overflow::Special,
            _ => Overflow::Saturate,
        };
        Element::Float(FloatSpec {
            specials,
            overflow,
            ..FloatSpec::ieee(exp, man)
        })
    }

    #[test]
    fn f32_is_itself() {
        for x in [
            0.0f32,
            -0.0,
            1.0,
            -1.5,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-45,
            f32::INFINITY,
            0.1,
        ] {
            assert_eq!(F32.encode_f64(f64::from(x)), x.to_bits());
            assert_eq!(F32.decode(x.to_bits()) as f32, x);
        }
        assert!(F32.decode(F32.encode_f64(f64::NAN)).is_nan());
        assert_eq!(F32.encode_f64(1e300), f32::INFINITY.to_bits());
        assert_eq!(F32.encode_f64(1e-300), 0);
    }

    #[test]
    fn every_code_encodes_to_itself_and_midpoints_to_even() {
        for e in [
            float(2, 1, Specials::Finite),
            float(4, 3, Specials::NanOnly),
            float(5, 2, Specials::Ieee),
            float(5, 10, Specials::Ieee),
            float(2, 0, Specials::Finite),
            Element::Int { bits: 4 },
            Element::UInt { bits: 3 },
        ] {
            for (c, v) in e.values().into_iter().enumerate() {
                let c = c as u32;
                if v.is_nan() {
                    assert!(e.decode(e.encode_f64(v)).is_nan());
                    continue;
                }
                assert_eq!(e.encode_f64(v), c, "{e:?} {v}");
                let next = e.decode(c + 1);
                if v >= 0.0 && next.is_finite() && next > v {
                    let even = c + c % 2;
                    assert_eq!(
                        e.encode_f64((v + next) / 2.0),
                        even,
                        "{e:?} between {v} and {next}"
                    );
                    assert_eq!(e.encode_f64(v + (next - v) * 0.49), c);
                    assert_eq!(e.encode_f64(v + (next - v) * 0.51), c + 1);
                }
            }
        }
    }

    #[test]
    fn special_values() {
        let e4m3 = float(4, 3, Specials::NanOnly);
        assert_eq!(e4m3.range(), (-448.0, 448.0));
        assert_eq!(e4m3.encode(1e9), 0x7e);
        assert_eq!(e4m3.encode(f32::NAN), 0x7f);
        assert_eq!(e4m3.encode(-0.0), 0x80);
        let e5m2 = float(5, 2, Specials::Ieee);
        assert_eq!(e5m2.encode(57344.0), 0x7b);
        assert_eq!(e5m2.encode(61439.0), 0x7b);
        assert_eq!(e5m2.encode(61440.0), 0x7c);
        let e8m0 = Element::Float(FloatSpec {
            specials: Specials::NanOnly,
            overflow: Overflow::Saturate,
            signed: false,
            subnormal: false,
            ..FloatSpec::ieee(8, 0)
        });
        assert_eq!(e8m0.decode(0), 2f64.powi(-127));
        assert_eq!(e8m0.decode(254), 2f64.powi(127));
        assert!(e8m0.decode(255).is_nan());
        assert_eq!(
            (
                e8m0.encode(0.0),
                e8m0.encode(-1.0),
                e8m0.encode(1.0),
                e8m0.encode(f32::INFINITY)
            ),
            (0, 0, 127, 254)
        );
        assert_eq!(
            (
                e8m0.encode(1.49),
                e8m0.encode(1.51),
                e8m0.encode(1.5),
                e8m0.encode(3.0)
            ),
            (127, 128, 128, 128)
        );
        let int = Element::Int { bits: 4 };
        assert_eq!(
            (
                int.encode(9.0),
                int.encode(-9.0),
                int.encode(2.5),
                int.encode(f32::NAN)
            ),
            (7, 8, 2, 0)
        );
        let entries = vec![-1.0, 0.0, 1.0];
        let book = Element::Codebook(std::sync::Arc::new(Codebook::scalar(entries)));
        assert_eq!(
            (
                book.bits(),
                book.decode(3),
                book.encode(0.5),
                book.encode(f32::INFINITY),
                book.encode(-0.5)
            ),
            (2, 0.0, 1, 2, 0)
        );
    }
}
