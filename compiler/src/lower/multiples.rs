//! Products of bytes modulo 256: with one number in all lanes, sums of the multiples that are there already.

use super::Lower;
use crate::vector::ir::{Bin, Convert, Elem, Op, Shift, Type, Value};

impl Lower<'_> {
    /// Low bytes of the products of a factor and of bytes.
    pub(super) fn mul_bytes(&mut self, factor: Value, bytes: Value, ty: Type) -> Value {
        let one = |lanes: &[u64]| {
            let first = *lanes.first()?;
            lanes.iter().all(|lane| *lane == first).then_some(first)
        };
        if let Some(number) = self.known_lanes(factor).and_then(one) {
            return self.multiple(bytes, number as u8, ty);
        }
        self.word_products(factor, bytes, ty)
    }

    /// No instruction multiplies bytes. The low byte of a word's product is that of the low bytes; with a low byte of 0 in one
    /// factor, the high byte is that of the other bytes.
    fn word_products(&mut self, a: Value, b: Value, ty: Type) -> Value {
        if ty.lanes == 1 {
            let word = Type::new(Elem::I16, 1);
            let [a, b] = [a, b].map(|x| self.convert(Convert::WidenU, word, x));
            let product = self.bin(Bin::IMul, a, b);
            return self.convert(Convert::Narrow, ty, product);
        }
        let words = Type::new(Elem::I16, ty.lanes / 2);
        let [a, b] = [a, b].map(|x| self.pairs_of(x, words));
        let low = self.put_at(0, words, Op::IConst(0xff));
        let lows = self.bin(Bin::IMul, a, b);
        let lows = self.bin(Bin::And, lows, low);
        let above = self.shifted(a, words);
        let high = self.put_at(0, words, Op::IConst(-0x100));
        let b = self.bin(Bin::And, b, high);
        let highs = self.bin(Bin::IMul, above, b);
        let both = self.bin(Bin::Or, lows, highs);
        self.put(ty, Op::Bitcast(both), &[both])
    }

    /// Bytes as words.
    fn pairs_of(&mut self, bytes: Value, words: Type) -> Value {
        let Some(known) = self.known_lanes(bytes) else {
            return self.put(words, Op::Bitcast(bytes), &[bytes]);
        };
        let pair = |pair: &[u64]| pair[0] | pair[1] << 8;
        let lanes = known.chunks_exact(2).map(pair).collect();
        self.lanes(words, lanes)
    }

    /// The high bytes of words.
    fn shifted(&mut self, words: Value, ty: Type) -> Value {
        let Some(known) = self.known_lanes(words) else {
            return self.put(ty, Op::Shift(Shift::UShr, words, 8), &[words]);
        };
        let lanes = known.iter().map(|word| word >> 8).collect();
        self.lanes(ty, lanes)
    }

    /// Bytes times a number, by doubling and adding from that multiple of them which is the nearest. Digits one after another
    /// are such multiples: each follows from the last.
    fn multiple(&mut self, bytes: Value, number: u8, ty: Type) -> Value {
        let (bytes, number) = match self.multiple_of.get(&bytes) {
            Some((first, times)) => (*first, times.wrapping_mul(number)),
            None => (bytes, number),
        };
        if number == 0 {
            return self.put_at(0, ty, Op::IConst(0));
        }
        let known = self.multiples.entry(bytes).or_default();
        known.entry(1).or_insert(bytes);
        let sums = |factor: u8| factor.ilog2() + factor.count_ones() - 1;
        let from = known.iter().flat_map(|(have, value)| {
            let fits = move |factor: &u8| have.wrapping_mul(*factor) == number;
            let factors = (1..=u8::MAX).filter(fits);
            factors.map(move |factor| (factor, *have, *value))
        });
        let nearest = from.min_by_key(|(factor, ..)| sums(*factor));
        // There is the number itself, from the bytes as they are.
        let (factor, have, base) = nearest.unwrap_or((number, 1, bytes));
        let (mut at, mut value) = (1u8, base);
        for bit in (0..factor.ilog2()).rev() {
            (at, value) = (2 * at, self.bin(Bin::IAdd, value, value));
            self.note(bytes, have.wrapping_mul(at), value);
            if factor >> bit & 1 == 1 {
                (at, value) = (at + 1, self.bin(Bin::IAdd, value, base));
                self.note(bytes, have.wrapping_mul(at), value);
            }
        }
        value
    }

    fn note(&mut self, bytes: Value, number: u8, value: Value) {
        let known = self.multiples.entry(bytes).or_default();
        known.entry(number).or_insert(value);
        self.multiple_of.entry(value).or_insert((bytes, number));
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::nothing;
    use super::*;
    use crate::vector::interp::run;
    use crate::vector::ir::ParamKind;

    const BYTES: Type = Type::new(Elem::I8, 16);

    /// Products of the numbers 100, 101, … with each factor in turn, and how many sums all of them take.
    fn products(factors: &[[u8; 16]]) -> (Vec<u8>, u64) {
        let kernel = nothing();
        let mut lower = Lower::new(&kernel, "products");
        let from = lower.b.param("from", ParamKind::Read);
        let to = lower.b.param("to", ParamKind::Write);
        lower.depth.extend([(from, 0), (to, 0)]);
        let load = Op::Load {
            base: from,
            offset: 0,
        };
        let bytes = lower.put(BYTES, load, &[from]);
        for (at, factor) in factors.iter().enumerate() {
            let lanes = factor.iter().map(|f| u64::from(*f)).collect();
            let factor = lower.lanes(BYTES, lanes);
            let product = lower.mul_bytes(factor, bytes, BYTES);
            lower.b.store_at(0, product, to, 16 * at as i32);
        }
        let function = lower.b.finish();
        let ids: Vec<_> = function.params.keys().collect();
        let given = (100..116).collect();
        let mut buffers = [(ids[0], given), (ids[1], vec![0; 16 * factors.len()])];
        let counts = run(&function, &mut buffers, &|_| 0, (0, 1)).expect("it runs");
        let [_, (_, written)] = buffers;
        (written, counts.get("iadd").copied().unwrap_or(0))
    }

    fn wanted(factors: &[[u8; 16]]) -> Vec<u8> {
        let times =
            |f: &[u8; 16]| std::array::from_fn::<u8, 16, _>(|i| f[i].wrapping_mul(100 + i as u8));
        factors.iter().flat_map(times).collect()
    }

    #[test]
    fn every_multiple_is_a_sum_of_others() {
        for number in 0..=u8::MAX {
            let factors = [[number; 16]];
            let (found, sums) = products(&factors);
            assert_eq!(found, wanted(&factors), "{number}");
            assert!(sums <= 14, "{number} takes {sums}");
        }
    }

    #[test]
    fn powers_of_a_base_follow_from_each_other() {
        for (base, each) in [(3u8, 2), (5, 3)] {
            let power = |n| [(0..n).fold(1u8, |p, _| p.wrapping_mul(base)); 16];
            let factors: Vec<_> = (1..6).map(power).collect();
            let (found, sums) = products(&factors);
            assert_eq!((found, sums), (wanted(&factors), 5 * each), "{base}");
        }
    }

    #[test]
    fn multiples_of_multiples_are_found_again() {
        let kernel = nothing();
        let mut lower = Lower::new(&kernel, "products");
        let bytes = lower.put_at(0, BYTES, Op::VConst((0..16).collect()));
        let nine = lower.multiple(bytes, 9, BYTES);
        let three = lower.multiple(bytes, 3, BYTES);
        assert_eq!(lower.multiple(three, 3, BYTES), nine);
        assert_eq!(lower.multiple(nine, 57, BYTES), bytes);
    }

    #[test]
    fn lanes_of_different_numbers_are_multiplied() {
        let factors = [std::array::from_fn(|i| 37u8.wrapping_mul(i as u8))];
        assert_eq!(products(&factors), (wanted(&factors), 0));
    }
}
