//! Digits of a code by multiplication: a number below `base^n` times a fitting factor, modulo 2^16, is a fraction whose first
//! digit to that base is any digit wanted.
//!
//! The trick is that of ggml's `TQ1_0` (five ternary digits in a byte). Which factors do it is not derived but found, and
//! checked for every code: so it holds of every packing of digits, whatever its order, and of illegal codes too.

/// How the entries of a table follow from the code: `middle + round(second * round(first * wrap(multiplier * (2 * code + half))))`,
/// where `wrap` is to 16 signed bits and `round` to the next integer, halves up. What is rounded lies about 0, so the fraction is
/// moved by a half: by an addition to the code that the multipliers of all places turn into one.
#[derive(Clone, Debug, PartialEq)]
pub struct Digits {
    /// The multiplier of each place, modulo 2^16.
    pub multipliers: Vec<i16>,
    /// What is added to twice the code.
    pub half: f64,
    /// The first factor, over 2^15.
    pub first: f64,
    /// The second factor, over 2^15.
    pub second: f64,
    /// The digit in the middle of the range.
    pub middle: f64,
}

/// How the entries of a table follow from the code within bytes: `low + (base * x - wrap(base * x)) / 256`, where `x` is
/// `wrap(multiplier * code)` and `wrap` is to 8 bits without a sign. Both bytes can be multiplied with something else and summed
/// before their difference is divided, which is then exact; so a digit costs a multiplication and a product more.
#[derive(Clone, Debug, PartialEq)]
pub struct Fractions {
    /// The multiplier of each place, modulo 2^8.
    pub multipliers: Vec<u8>,
    /// How many digits there are.
    pub base: u8,
    /// The lowest digit.
    pub low: f64,
}

/// The factors that round are over this.
const ONE: i32 = 1 << 15;

/// What is added to twice a code: for codes that are numbers, and for codes that are fractions over 256.
const HALVES: [i32; 2] = [1, 256];

/// Codes are bytes.
const CODES: usize = 256;

impl Digits {
    /// How the entries at `code * width + place` follow from products, if they do: where they are an odd number of
    /// neighbouring integers.
    pub fn of(entries: &[f64], width: usize) -> Option<Digits> {
        if width < 2 || entries.len() != CODES * width {
            return None;
        }
        let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
        let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = (low + high) / 2.0;
        let base = high - low + 1.0;
        let integers = entries.iter().all(|e| e.fract() == 0.0);
        if !integers || middle.fract() != 0.0 || !(3.0..=16.0).contains(&base) {
            return None;
        }
        // Together the factors take 2^16 to the base; the first is to be below 1.
        let (first, second) = (0..4)
            .map(|t| (base as i32 * (1 << (14 - t)), 1 << t))
            .find(|(first, _)| *first < ONE)?;
        let digit = |code: i32, half: i32, multiplier: i16| {
            let wrapped = (2 * code + half).wrapping_mul(multiplier.into()) as i16;
            let rounded = |factor: i32, x: i32| (factor * x + ONE / 2) >> 15;
            rounded(second, rounded(first, wrapped.into()))
        };
        let at = |place: usize, half: i32| {
            // The last codes tell most multipliers apart.
            let is = |multiplier: &i16| {
                (0..CODES).rev().all(|code| {
                    let wanted = entries[code * width + place] - middle;
                    f64::from(digit(code as i32, half, *multiplier)) == wanted
                })
            };
            (i16::MIN..=i16::MAX).find(is)
        };
        let all = |half: i32| {
            let multipliers = (0..width).map(|place| at(place, half));
            Some((multipliers.collect::<Option<Vec<i16>>>()?, half))
        };
        let (multipliers, half) = HALVES.into_iter().find_map(all)?;
        Some(Digits {
            multipliers,
            half: half.into(),
            first: f64::from(first) / f64::from(ONE),
            second: f64::from(second) / f64::from(ONE),
            middle,
        })
    }
}

impl Fractions {
    /// How the entries at `code * width + place` follow from bytes, if they do: where they are neighbouring integers.
    pub fn of(entries: &[f64], width: usize) -> Option<Fractions> {
        if width < 2 || !entries.len().is_multiple_of(width) || entries.len() > CODES * width {
            return None;
        }
        let low = entries.iter().copied().fold(f64::INFINITY, f64::min);
        let high = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let base = high - low + 1.0;
        if entries.iter().any(|e| e.fract() != 0.0) || !(3.0..=16.0).contains(&base) {
            return None;
        }
        let base = base as u8;
        let places = entries.chunks_exact(width);
        let at = |place: usize| {
            let is = |multiplier: &u8| {
                let digit = |code: usize| {
                    let fraction = (code as u8).wrapping_mul(*multiplier);
                    f64::from(u32::from(base) * u32::from(fraction) / 256)
                };
                // The last codes tell most multipliers apart.
                let mut codes = places.clone().enumerate().rev();
                codes.all(|(code, digits)| digit(code) == digits[place] - low)
            };
            (0..=u8::MAX).find(is)
        };
        Some(Fractions {
            multipliers: (0..width).map(at).collect::<Option<_>>()?,
            base,
            low,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(width: u32, value: impl Fn(u32, u32) -> u32) -> Vec<f64> {
        let places = |c| (0..width).map(move |j| (c, j));
        let all = (0..256).flat_map(places);
        all.map(|(c, j)| f64::from(value(c, j))).collect()
    }

    #[test]
    fn digits_of_a_number_and_of_a_fraction_are_found_to_any_odd_base() {
        for (base, width) in [(3u32, 5u32), (5, 3), (7, 2)] {
            let number = table(width, |c, j| c / base.pow(j) % base);
            assert!(Digits::of(&number, width as usize).is_some(), "{base}");
            let backwards = table(width, |c, j| c / base.pow(width - 1 - j) % base);
            assert!(Digits::of(&backwards, width as usize).is_some(), "{base}");
            let fraction = table(width, |c, j| c * base.pow(j) % 256 * base / 256);
            assert!(Digits::of(&fraction, width as usize).is_some(), "{base}");
        }
    }

    #[test]
    fn one_entry_that_is_no_such_digit_refuses_the_table() {
        let mut entries = table(5, |c, j| c / 3u32.pow(j) % 3);
        let digits = Digits::of(&entries, 5).expect("digits to base 3");
        assert_eq!((digits.first, digits.second), (0.75, 1.0 / 16384.0));
        entries[5 * 77 + 2] = (entries[5 * 77 + 2] + 1.0) % 3.0;
        assert_eq!(Digits::of(&entries, 5), None);
    }

    #[test]
    fn digits_of_fractions_are_found_within_bytes() {
        for (base, width) in [(3u32, 5u32), (5, 3), (6, 3), (7, 2)] {
            let fraction = table(width, |c, j| c * base.pow(j) % 256 * base / 256);
            let found = Fractions::of(&fraction, width as usize).expect("fractions");
            assert_eq!((u32::from(found.base), found.low), (base, 0.0));
            let powers = (0..width).map(|j| base.pow(j) as u8);
            assert_eq!(found.multipliers, powers.collect::<Vec<u8>>());
            // Of a number below 243, a byte is no fraction that is fine enough.
            let number = table(width, |c, j| c / base.pow(j) % base);
            assert_eq!(Fractions::of(&number, width as usize), None);
        }
    }

    #[test]
    fn one_entry_that_is_no_fraction_refuses_the_table() {
        let mut entries = table(5, |c, j| c * 3u32.pow(j) % 256 * 3 / 256);
        entries[5 * 77 + 2] = (entries[5 * 77 + 2] + 1.0) % 3.0;
        assert_eq!(Fractions::of(&entries, 5), None);
        assert_eq!(Fractions::of(&entries[1..], 5), None);
    }

    #[test]
    fn other_tables_are_no_digits() {
        let even = table(2, |c, j| c >> (4 * j) & 3);
        assert_eq!(Digits::of(&even, 2), None);
        let short: Vec<f64> = (0..27 * 3).map(|e| f64::from(e % 3)).collect();
        assert_eq!(Digits::of(&short, 3), None);
    }
}
