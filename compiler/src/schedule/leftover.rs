//! Codes whose bits do not fill bytes: as many as fit lie whole in each byte of a few, and what is left over in these bytes makes
//! up the others. A whole code takes a shift and a mask, where planes of its parts take one of each for every part: of eight
//! codes of three bits in three bytes six lie whole.

/// How codes lie in a few bytes: of all bytes all bits are taken.
pub(super) struct Leftover {
    /// Codes of so many bytes.
    pub codes: u32,
    /// Bytes that they fill.
    pub bytes: u32,
    /// Widths of the parts of a code, low bits first: those of the codes from what is left over. A code that lies whole has them
    /// side by side.
    pub widths: Vec<u32>,
}

impl Leftover {
    /// Of codes of so many bits; `None` where codes fill bytes, or are wider than these.
    pub(super) fn of(bits: u32) -> Option<Leftover> {
        if !(1..8).contains(&bits) || 8 % bits == 0 {
            return None;
        }
        let each = bits.trailing_zeros();
        // What a byte leaves over is one part, then there are single bits.
        let rest = 8 % bits;
        let parts = vec![rest; (bits / rest) as usize];
        let single = vec![1; (bits % rest) as usize];
        Some(Leftover {
            codes: 8 >> each,
            bytes: bits >> each,
            widths: [parts, single].concat(),
        })
    }

    /// Bits of a code.
    fn bits(&self) -> u32 {
        self.widths.iter().sum()
    }

    /// Codes that lie whole in a byte.
    pub(super) fn in_byte(&self) -> u32 {
        8 / self.bits()
    }

    /// The byte of a part of a code, and its lowest bit in that byte.
    pub(super) fn place(&self, code: u32, part: u32) -> (u32, u32) {
        let bits = self.bits();
        let in_byte = self.in_byte();
        let below = self.widths[..part as usize].iter().sum::<u32>();
        if code < in_byte * self.bytes {
            return (code / in_byte, code % in_byte * bits + below);
        }
        let (code, all) = (
            code - in_byte * self.bytes,
            self.codes - in_byte * self.bytes,
        );
        let rest = 8 % bits;
        let whole = bits / rest;
        if part < whole {
            return (part * all + code, in_byte * bits);
        }
        let single = code * (bits % rest) + part - whole;
        (whole * all + single / rest, in_byte * bits + single % rest)
    }
}

#[cfg(test)]
mod tests {
    use super::Leftover;
    use std::collections::BTreeSet;

    #[test]
    fn every_bit_of_the_bytes_is_taken_once() {
        for bits in [3, 5, 6, 7] {
            let of = Leftover::of(bits).expect("codes that do not fill bytes");
            assert_eq!(of.codes * bits, 8 * of.bytes);
            assert_eq!(of.widths.iter().sum::<u32>(), bits);
            let mut taken = BTreeSet::new();
            for code in 0..of.codes {
                for (part, width) in (0..).zip(&of.widths) {
                    let (byte, bit) = of.place(code, part);
                    assert!(byte < of.bytes && bit + width <= 8);
                    let fresh = (bit..bit + width).all(|bit| taken.insert((byte, bit)));
                    assert!(fresh, "{bits}: {code}, {part}");
                }
            }
        }
    }

    #[test]
    fn most_codes_lie_whole() {
        let whole = |bits: u32| {
            let of = Leftover::of(bits)?;
            let first = |code: u32| of.place(code, 0);
            let lies_whole = |code: &u32| {
                let mut below = 0;
                (0..).zip(&of.widths).all(|(part, width)| {
                    let (byte, bit) = of.place(*code, part);
                    let beside = (byte, bit) == (first(*code).0, first(*code).1 + below);
                    below += width;
                    beside
                })
            };
            Some((0..of.codes).filter(lies_whole).count())
        };
        assert_eq!([3, 5, 6, 7].map(whole), [6, 5, 3, 7].map(Some));
        assert_eq!([1, 2, 4, 8, 9].map(whole), [None; 5]);
    }
}
