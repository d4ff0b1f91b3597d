//! Other codes of the same values, which a layout stores in place of those of a format. Signed integers are counted from the
//! smallest, since products of bytes want one factor without a sign. Neighbours that have few values have joint codes of a
//! mixed radix: a code gives all of them their values, in fewer bits than theirs together, and with a bit above that is the
//! sign of all, so that a table needs entries for half of the combinations (the mirrored tables of LUT Tensor Core, the triples
//! of bitnet.cpp's TL2).

use super::{Codebook, Element, Field, Scope};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most bits of single codes side by side: there are tables over them.
const MOST_BITS: u32 = 16;

/// How single codes go together with joint codes, or with others of one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Recoding {
    /// Values of a joint code.
    pub width: u32,
    /// Bits of a single code.
    pub bits: u32,
    /// The joint code of single codes side by side, the first lowest.
    pub joint: Vec<u32>,
    /// The single codes of each joint code, `width` by `width`.
    pub single: Vec<u32>,
}

impl Recoding {
    /// What brings the codes of one element together to codes of another that are worth the same; `None` if there are no such
    /// codes for some.
    pub fn of(single: &Element, joint: &Element) -> Option<Recoding> {
        let Element::Codebook(book) = joint else {
            return None;
        };
        let (width, bits) = (joint.width(), single.bits());
        if single.width() > 1 || width.checked_mul(bits)? > MOST_BITS {
            return None;
        }
        // Tables of the same values may differ in the codes that they refuse.
        if width == 1 && counted(single).as_ref() != Some(&**book) {
            return None;
        }
        let key = |v: f64| (v != 0.0).then(|| v.to_bits());
        let mut known = BTreeMap::new();
        for code in book.legal() {
            let values = (0..width).map(|j| key(joint.decode_at(code, j)));
            known.entry(values.collect::<Vec<_>>()).or_insert(code);
        }
        let values = singles(single)?;
        let of_bits = |codes: u32| {
            let part = |j: u32| (codes >> (j * bits)) & ((1 << bits) - 1);
            let values = (0..width).map(|j| key(single.decode(part(j))));
            known.get(&values.collect::<Vec<_>>()).copied()
        };
        let joint_codes = (0..1 << (width * bits)).map(of_bits);
        let joint_codes = joint_codes.collect::<Option<Vec<u32>>>()?;
        let first = values.first().map_or(0, |(_, code)| *code);
        let code_of = |v: f64| {
            let found = values.iter().find(|(value, _)| *value == v);
            found.map_or(first, |(_, code)| *code)
        };
        let all = (0..1u32 << joint.bits()).flat_map(|c| (0..width).map(move |j| (c, j)));
        Some(Recoding {
            width,
            bits,
            joint: joint_codes,
            single: all.map(|(c, j)| code_of(joint.decode_at(c, j))).collect(),
        })
    }

    /// The joint code of so many single codes.
    pub fn join(&self, codes: impl Iterator<Item = u32>) -> u32 {
        let side_by_side = codes
            .zip(0..self.width)
            .fold(0, |sum, (code, j)| sum | code << (j * self.bits));
        self.joint.get(side_by_side as usize).copied().unwrap_or(0)
    }

    /// One of the single codes of a joint code.
    pub fn split(&self, joint: u32, component: u32) -> u32 {
        let at = (joint * self.width + component) as usize;
        self.single.get(at).copied().unwrap_or(0)
    }
}

/// The values of an element, ascending, each with its lowest legal code; `None` if one is no number or a negative zero, which
/// joint codes do not tell from others, or if there are none.
fn singles(element: &Element) -> Option<Vec<(f64, u32)>> {
    if element.bits() > MOST_BITS {
        return None;
    }
    let codes = || 0..1u32 << element.bits();
    let worth = |code: u32| element.decode(code);
    if codes().any(|c| !worth(c).is_finite() || worth(c).to_bits() == (-0.0f64).to_bits()) {
        return None;
    }
    let legal = codes().filter(|c| element.is_legal(*c));
    let mut values: Vec<(f64, u32)> = legal.map(|c| (worth(c), c)).collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    values.dedup_by(|b, a| a.0 == b.0);
    let known = |c: u32| values.iter().any(|(v, _)| *v == worth(c));
    (!values.is_empty() && codes().all(known)).then_some(values)
}

/// The joint codes of as many neighbours as have one code of so many bits and a sign, but more combinations than without the
/// sign: digits of their values' ranks, counted from the middle. `None` where the values are not symmetric, or their number
/// has no such power.
pub fn mirrored(element: &Element, bits: u32) -> Option<Codebook> {
    if element.width() > 1 || element.bits() > bits {
        return None;
    }
    let values: Vec<f64> = singles(element)?.into_iter().map(|(v, _)| v).collect();
    let opposite = values.iter().zip(values.iter().rev());
    let radix = values.len() as u32;
    let half = 1u32 << bits;
    let width = (1..=2 * bits).find(|n| radix.checked_pow(*n).is_none_or(|all| all > half))?;
    let all = radix.checked_pow(width).filter(|all| *all <= 2 * half)?;
    if width * element.bits() > MOST_BITS {
        return None;
    }
    if !{ opposite }.all(|(a, b)| *a == -b) {
        return None;
    }
    let entry = |code: u32, j: u32| {
        let rank = all / 2 + code % half;
        let value = match rank < all {
            true => values[(rank / radix.pow(width - 1 - j) % radix) as usize],
            false => 0.0,
        };
        // No zero is negative.
        (if code < half || value == 0.0 {
            value
        } else {
            -value
        }) as f32
    };
    let codes = (0..2 * half).flat_map(|c| (0..width).map(move |j| (c, j)));
    let entries = codes.map(|(c, j)| entry(c, j)).collect();
    let exact = values.iter().all(|v| f64::from(*v as f32) == *v);
    exact.then(|| Codebook::of(entries, width))
}

/// The codes of signed integers of less than a byte, counted from the smallest; `None` for others.
pub fn counted(element: &Element) -> Option<Codebook> {
    let Element::Int { bits: bits @ 2..=7 } = element else {
        return None;
    };
    let half = 1i16 << (bits - 1);
    Some(Codebook::scalar((-half..half).map(f32::from).collect()))
}

/// A field with other codes, of one value or several, without places for them yet.
pub fn recoded(field: &Field, book: Codebook) -> Field {
    let width = book.width;
    let len = field.occurrence.len() as u32;
    Field {
        element: Element::Codebook(Arc::new(book)),
        count: len / width,
        occurrence: (0..len).map(|i| i / width).collect(),
        component: (0..len).map(|i| i % width).collect(),
        parts: Vec::new(),
        ..field.clone()
    }
}

/// How the codes of a field move into another of the same values.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// One by one.
    Alone,
    /// Neighbours to a joint code, or each code to one of a table.
    Join(Recoding),
    /// A joint code to those of neighbours, or a code of a table to another.
    Split(Recoding),
}

impl Way {
    /// The way of one field to another; `None` if they hold different values.
    pub fn between(from: &Field, to: &Field) -> Option<Way> {
        if !from.scope.is_like(to.scope) {
            return None;
        }
        let shared = || {
            from.count == to.count
                && from.occurrence == to.occurrence
                && from.component == to.component
        };
        if from.element.means_what(&to.element) {
            return shared().then_some(Way::Alone);
        }
        let block = from.scope == Scope::Block && from.occurrence.len() == to.occurrence.len();
        let len = from.occurrence.len() as u32;
        let [a, b] = [from, to].map(|f| f.values_per_code(len));
        let (a, b) = (a.filter(|_| block)?, b?);
        match (a, b) {
            (1, 1) => {
                let join = Recoding::of(&from.element, &to.element).map(Way::Join);
                join.or_else(|| Recoding::of(&to.element, &from.element).map(Way::Split))
            }
            (1, _) => Recoding::of(&from.element, &to.element).map(Way::Join),
            (_, 1) => Recoding::of(&to.element, &from.element).map(Way::Split),
            _ => None,
        }
    }

    /// The bits that codes differ in from those that they become, if all differ in the same: of codes that stay, none.
    pub fn flips(&self) -> Option<u32> {
        let (recoding, codes) = match self {
            Way::Alone => return Some(0),
            Way::Join(recoding) => (recoding, &recoding.joint),
            Way::Split(recoding) => (recoding, &recoding.single),
        };
        let first = *codes.first().filter(|_| recoding.width == 1)?;
        let mut all = (0..).zip(codes);
        all.all(|(code, other): (u32, &u32)| code ^ other == first)
            .then_some(first)
    }

    /// Moves the codes of a row of a block, from that many rows after the first of each on.
    pub(super) fn row(
        &self,
        (from, source, r): (&Field, &[u8], usize),
        (to, target, s): (&Field, &mut [u8], usize),
    ) {
        let [first, start] = [r * from.count as usize, s * to.count as usize];
        match self {
            Way::Alone => {
                for o in 0..from.count as usize {
                    to.write(target, start + o, from.read(source, first + o));
                }
            }
            Way::Join(recoding) => {
                let width = recoding.width as usize;
                for o in 0..to.count as usize {
                    let single = (0..width).map(|j| from.read(source, first + o * width + j));
                    to.write(target, start + o, recoding.join(single));
                }
            }
            Way::Split(recoding) => {
                for o in 0..from.count as usize {
                    let joint = from.read(source, first + o);
                    for j in 0..recoding.width {
                        let at = start + o * recoding.width as usize + j as usize;
                        to.write(target, at, recoding.split(joint, j));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[f32]) -> Element {
        Element::Codebook(Arc::new(Codebook::scalar(values.to_vec())))
    }

    #[test]
    fn neighbours_of_few_symmetric_values_have_mirrored_joint_codes() {
        let width = |values: &[f32]| mirrored(&table(values), 4).map(|b| (b.width, b.bits()));
        assert_eq!(width(&[-1.0, 1.0]), Some((5, 5)));
        assert_eq!(width(&[-1.0, 0.0, 1.0]), Some((3, 5)));
        assert_eq!(width(&[0.0, 1.0, -1.0, 0.0]), Some((3, 5)));
        assert_eq!(width(&[-2.0, -0.5, 0.0, 0.5, 2.0]), Some((2, 5)));
        assert_eq!(width(&[-2.0, -1.0, 1.0, 2.0]), None, "16 have no sign");
        assert_eq!(width(&[0.0, 1.0]), None, "not symmetric");
        assert_eq!(width(&[-1.0, 0.0, 2.0]), None, "not symmetric");
        let again = [1.0, -1.0].repeat(8);
        assert_eq!(width(&again), None, "five codes of four bits are too many");
        assert_eq!(width(&again[..8]), Some((5, 5)));
        assert_eq!(mirrored(&Element::UInt { bits: 2 }, 4), None);
        assert_eq!(mirrored(&Element::Int { bits: 1 }, 4), None);
    }

    #[test]
    fn signed_integers_are_counted_from_the_smallest() {
        for bits in 2..=7 {
            let signed = Element::Int { bits };
            let book = counted(&signed).expect("a table");
            let element = Element::Codebook(Arc::new(book));
            assert_eq!(element.counted_from(), Some(-f64::from(1 << (bits - 1))));
            let to = Recoding::of(&signed, &element).expect("a way");
            for code in 0..1u32 << bits {
                assert_eq!(to.join([code].into_iter()), code ^ 1 << (bits - 1));
                assert_eq!(to.split(code, 0), code ^ 1 << (bits - 1));
            }
            assert_eq!(Recoding::of(&element, &signed), None, "there is a way back");
            for way in [Way::Join(to.clone()), Way::Split(to)] {
                assert_eq!(way.flips(), Some(1 << (bits - 1)));
            }
        }
        let others = [1, 8].map(|bits| Element::Int { bits });
        assert!(others.iter().all(|e| counted(e).is_none()));
        assert_eq!(counted(&Element::UInt { bits: 4 }), None);
    }

    #[test]
    fn every_combination_has_a_joint_code_that_is_worth_it() {
        let cases: [&[f32]; 5] = [
            &[1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 1.0, 1.0],
            &[-1.0, 1.0],
            &[-1.0, 0.0, 1.0],
            &[1.0, 0.0, -1.0, 1.0],
            &[-3.0, -1.0, 0.0, 1.0, 3.0],
        ];
        for values in cases {
            let single = table(values);
            let book = mirrored(&single, 4).expect("joint codes");
            assert!(book.is_mirrored());
            let joint = Element::Codebook(Arc::new(book));
            let recoding = Recoding::of(&single, &joint).expect("a way");
            let (width, bits) = (recoding.width, single.bits());
            for codes in 0..1u32 << (width * bits) {
                let parts: Vec<u32> = (0..width)
                    .map(|j| codes >> (j * bits) & ((1 << bits) - 1))
                    .collect();
                let code = recoding.join(parts.iter().copied());
                for (j, part) in (0..).zip(parts) {
                    assert_eq!(joint.decode_at(code, j), single.decode(part));
                    let back = recoding.split(code, j);
                    assert_eq!(single.decode(back), single.decode(part));
                }
            }
        }
    }

    #[test]
    fn codes_that_joint_codes_do_not_tell_apart_stay_alone() {
        let trits = mirrored(&table(&[-1.0, 0.0, 1.0]), 4).map(Arc::new);
        let joint = Element::Codebook(trits.expect("joint codes"));
        for other in [&[-1.0, 0.0, 2.0][..], &[-1.0, -0.0, 1.0], &[f32::NAN, 1.0]] {
            assert_eq!(Recoding::of(&table(other), &joint), None, "{other:?}");
        }
        assert_eq!(Recoding::of(&Element::UInt { bits: 2 }, &joint), None);
    }
}
