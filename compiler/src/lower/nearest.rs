//! Values into codes of a table: the nearest entry, by the thresholds at which the reference encoder changes its code.

use super::{I32, I64, Lower};
use crate::format::Element;
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Value};

const F32: Type = Type::new(Elem::F32, 1);
/// Most thresholds of a table that are compared with one after the other; where ranks are codes already, buckets are faster
/// from fewer on.
const COMPARED: usize = 32;
const COMPARED_IN_ORDER: usize = 8;

impl Lower<'_> {
    /// The code of the table entry nearest to a value: a search among the thresholds at which the reference changes its
    /// code, made here from the reference itself.
    pub(super) fn encode_nearest(
        &mut self,
        value: Value,
        ty: Type,
        element: &Element,
    ) -> Result<Value, ScheduleError> {
        if element.bits() > 12 {
            return Err(ScheduleError::Unsupported(
                "quantising at the call into a codebook of more than 4096 entries".into(),
            ));
        }
        let (thresholds, codes) = thresholds(element);
        let int = ty.as_int();
        let nan = element.encode(f32::NAN);
        let compared = match in_order(&codes) {
            true => COMPARED_IN_ORDER,
            false => COMPARED,
        };
        if ty.lanes > 1 && thresholds.len() <= compared {
            return Ok(self.compare_all(value, ty, &thresholds, &codes, nan));
        }
        if let Some(buckets) = Buckets::new(&thresholds) {
            return Ok(self.in_buckets(value, ty, &buckets, &codes, nan));
        }
        let lanes: Vec<Value> = (0..ty.lanes)
            .map(|lane| {
                let one = match ty.lanes {
                    1 => value,
                    _ => self.put(F32, Op::Extract(value, lane), &[value]),
                };
                self.search(one, &thresholds, &codes, nan)
            })
            .collect();
        Ok(match lanes[..] {
            [one] => one,
            _ => self.put(int, Op::Build(lanes.clone()), &lanes),
        })
    }

    /// The code by comparing with every threshold: each that the value reaches adds the step to the next code.
    fn compare_all(
        &mut self,
        value: Value,
        ty: Type,
        thresholds: &[i32],
        codes: &[u32],
        nan: u32,
    ) -> Value {
        let int = ty.as_int();
        let number = |lower: &mut Self, n: i64| lower.put_at(0, int, Op::IConst(n));
        let bits = self.put(int, Op::Bitcast(value), &[value]);
        let key = self.order_key(bits, int);
        let first = codes.first().copied().unwrap_or(0);
        let mut code = number(self, i64::from(first));
        for (threshold, pair) in thresholds.iter().zip(codes.windows(2)) {
            let below = number(self, i64::from(*threshold) - 1);
            let step = number(self, i64::from(pair[1]) - i64::from(pair[0]));
            let reached = self.put(int, Op::Cmp(Cmp::SLt, below, key), &[below, key]);
            let taken = self.bin(Bin::And, reached, step);
            code = self.bin(Bin::IAdd, code, taken);
        }
        let nan = number(self, i64::from(nan));
        let valid = self.put(int, Op::Cmp(Cmp::FEq, value, value), &[value]);
        self.put(int, Op::Select(valid, code, nan), &[valid, code, nan])
    }

    /// The code by the bucket of the value: one entry of a table and the low bits of the value tell its rank.
    fn in_buckets(
        &mut self,
        value: Value,
        ty: Type,
        buckets: &Buckets,
        codes: &[u32],
        nan: u32,
    ) -> Value {
        let int = ty.as_int();
        let number = |lower: &mut Self, n: i64| lower.put_at(0, int, Op::IConst(n));
        let bits = self.put(int, Op::Bitcast(value), &[value]);
        let all = number(self, 0x7fff_ffff);
        let mut size = self.bin(Bin::And, bits, all);
        let (first, last) = (number(self, buckets.first), number(self, buckets.last));
        if buckets.first > 0 {
            size = self.bin(Bin::SMax, size, first);
        }
        size = self.bin(Bin::SMin, size, last);
        if buckets.first > 0 {
            size = self.bin(Bin::ISub, size, first);
        }
        let shift = buckets.shift as u8;
        let bucket = self.put(int, Op::Shift(Shift::UShr, size, shift), &[size]);
        let sign = self.put(int, Op::Shift(Shift::SShr, bits, 31), &[bits]);
        let half = number(self, buckets.words.len() as i64 / 2);
        let below = self.bin(Bin::And, sign, half);
        let bucket = self.bin(Bin::IAdd, bucket, below);
        let words = self.words("buckets", &buckets.words, int, bucket);
        let key = self.order_key(bits, int);
        let mask = number(self, (1i64 << shift) - 1);
        let low = self.bin(Bin::And, key, mask);
        let sum = self.bin(Bin::IAdd, words, low);
        let rank = self.put(int, Op::Shift(Shift::UShr, sum, shift), &[sum]);
        let base = codes.first().copied().unwrap_or(0);
        let code = match (in_order(codes), base) {
            (true, 0) => rank,
            (true, base) => {
                let base = number(self, i64::from(base));
                self.bin(Bin::IAdd, rank, base)
            }
            (false, _) => self.words("codes", codes, int, rank),
        };
        let nan = number(self, i64::from(nan));
        let valid = self.put(int, Op::Cmp(Cmp::FEq, value, value), &[value]);
        self.put(int, Op::Select(valid, code, nan), &[valid, code, nan])
    }

    /// Entries of a table of words, lane by lane.
    fn words(&mut self, name: &str, entries: &[u32], ty: Type, at: Value) -> Value {
        let bytes: Vec<u8> = entries.iter().flat_map(|e| e.to_le_bytes()).collect();
        if ty.lanes == 1 {
            return self.table_load(name, bytes, 4, at, I32);
        }
        let lanes: Vec<Value> = (0..ty.lanes)
            .map(|lane| {
                let at = self.put(I32, Op::Extract(at, lane), &[at]);
                self.table_load(name, bytes.clone(), 4, at, I32)
            })
            .collect();
        self.put(ty, Op::Build(lanes.clone()), &lanes)
    }

    fn search(&mut self, value: Value, thresholds: &[i32], codes: &[u32], nan: u32) -> Value {
        let bits = self.put(I32, Op::Bitcast(value), &[value]);
        let key = self.order_key(bits, I32);
        let steps = usize::BITS - thresholds.len().leading_zeros();
        let mut padded = thresholds.to_vec();
        padded.resize((1 << steps) - 1, i32::MAX);
        let table = self.table(
            "thresholds",
            padded.iter().flat_map(|t| t.to_le_bytes()).collect(),
        );
        let mut rank = self.put_at(0, I64, Op::IConst(0));
        for step in (0..steps).rev() {
            let size = 1i64 << step;
            let scaled = self.put(I64, Op::Shift(Shift::Shl, rank, 2), &[rank]);
            let pointer = self.put(I64, Op::Bin(Bin::IAdd, table, scaled), &[table, scaled]);
            let offset = (size - 1) as i32 * 4;
            let threshold = self.put(
                I32,
                Op::Load {
                    base: pointer,
                    offset,
                },
                &[pointer],
            );
            let below = self.put(I32, Op::Cmp(Cmp::SLt, key, threshold), &[key, threshold]);
            let (add, zero) = (
                self.put_at(0, I32, Op::IConst(size)),
                self.put_at(0, I32, Op::IConst(0)),
            );
            let more = self.put(I32, Op::Select(below, zero, add), &[below, zero, add]);
            let wide = self.put(I64, Op::Convert(Convert::WidenU, more), &[more]);
            rank = self.put(I64, Op::Bin(Bin::IAdd, rank, wide), &[rank, wide]);
        }
        let mut padded = codes.to_vec();
        padded.resize(1 << steps, codes.last().copied().unwrap_or(0));
        let table = self.table(
            "codes",
            padded.iter().flat_map(|c| c.to_le_bytes()).collect(),
        );
        let scaled = self.put(I64, Op::Shift(Shift::Shl, rank, 2), &[rank]);
        let pointer = self.put(I64, Op::Bin(Bin::IAdd, table, scaled), &[table, scaled]);
        let code = self.put(
            I32,
            Op::Load {
                base: pointer,
                offset: 0,
            },
            &[pointer],
        );
        let nan = self.put_at(0, I32, Op::IConst(i64::from(nan)));
        let valid = self.put(I32, Op::Cmp(Cmp::FEq, value, value), &[value]);
        self.put(I32, Op::Select(valid, code, nan), &[valid, code, nan])
    }

    /// Integers in the order of the floats whose bits they are.
    fn order_key(&mut self, bits: Value, int: Type) -> Value {
        let sign = self.put(int, Op::Shift(Shift::SShr, bits, 31), &[bits]);
        let mask = self.put_at(0, int, Op::IConst(0x7fff_ffff));
        let flip = self.bin(Bin::And, sign, mask);
        self.bin(Bin::Xor, bits, flip)
    }
}

/// Most entries of a table of buckets.
const MOST_BUCKETS: usize = 1 << 14;

/// The floats of each sign in buckets of equal top bits, each with at most one threshold. Sizes below the first bucket and
/// above the last one have no threshold beside them.
struct Buckets {
    /// Bits of a size that a bucket leaves open.
    shift: u32,
    /// Size at which the first bucket starts.
    first: i64,
    /// Size at which the last one starts.
    last: i64,
    /// Those of positive floats, then those of negative ones. The rank of the lowest float above `shift` bits, which the low
    /// bits of a float's key make overflow at the threshold.
    words: Vec<u32>,
}

impl Buckets {
    /// The coarsest buckets for ascending thresholds; `None` if their table is too large.
    fn new(thresholds: &[i32]) -> Option<Buckets> {
        (1..=22)
            .rev()
            .filter(|shift| (thresholds.len() as u64 + 1) << shift <= 1 << 32)
            .find_map(|shift| Buckets::of(thresholds, shift))
    }

    fn of(thresholds: &[i32], shift: u32) -> Option<Buckets> {
        // The sizes next to a threshold: of the first float that reaches it, and of the last one that does not.
        let size = |key: i64| if key < 0 { !key } else { key };
        let sizes = || {
            let keys = thresholds.iter().filter(|t| **t != 0);
            keys.flat_map(|t| [size(i64::from(*t)), size(i64::from(*t) - 1)])
        };
        let first = ((sizes().min()? >> shift) - 1).max(0);
        let last = (sizes().max()? >> shift) + 1;
        let count = (last - first + 1) as usize;
        if 2 * count > MOST_BUCKETS {
            return None;
        }
        let keys = |bucket: i64| bucket << shift..(bucket + 1) << shift;
        let positive = (first..=last).map(keys);
        let negative = (first..=last).map(|b| {
            let sizes = keys(b);
            -sizes.end..-sizes.start
        });
        let word = |keys: std::ops::Range<i64>| {
            let rank = |key: i64| thresholds.partition_point(|t| i64::from(*t) <= key);
            let (low, high) = (rank(keys.start), rank(keys.end - 1));
            let carry = match high - low {
                0 => 0,
                1 => keys.end - i64::from(thresholds[low]),
                _ => return None,
            };
            Some(((low as u64) << shift) as u32 + carry as u32)
        };
        Some(Buckets {
            shift,
            first: first << shift,
            last: last << shift,
            words: positive.chain(negative).map(word).collect::<Option<_>>()?,
        })
    }
}

/// Whether codes follow each other.
fn in_order(codes: &[u32]) -> bool {
    codes.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

fn float_of(key: i32) -> f32 {
    f32::from_bits((key ^ (key >> 31 & 0x7fff_ffff)) as u32)
}

/// Keys at which the reference encoder changes its code, ascending, and the codes between them.
fn thresholds(element: &Element) -> (Vec<i32>, Vec<u32>) {
    let code = |key: i32| element.encode(float_of(key));
    let (first, last) = (i32::MIN + 0x7f_ffff + 1, 0x7f80_0000);
    let (mut thresholds, mut codes) = (Vec::new(), vec![code(first)]);
    let mut at = first;
    while code(last) != codes[codes.len() - 1] {
        // The first key past `at` whose code differs: codes are monotone in the value, so a bisection finds it.
        let current = codes[codes.len() - 1];
        let (mut low, mut high) = (at, last);
        while i64::from(high) - i64::from(low) > 1 {
            let middle = ((i64::from(low) + i64::from(high)) / 2) as i32;
            if code(middle) == current {
                low = middle
            } else {
                high = middle
            }
        }
        thresholds.push(high);
        codes.push(code(high));
        at = high;
    }
    (thresholds, codes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rank that the code computes from a table of buckets.
    fn rank(buckets: &Buckets, key: i32) -> u32 {
        let negative = key < 0;
        let size = i64::from(if negative { !key } else { key });
        let bucket = (size.clamp(buckets.first, buckets.last) - buckets.first) >> buckets.shift;
        let half = if negative { buckets.words.len() / 2 } else { 0 };
        let low = key as u32 & ((1 << buckets.shift) - 1);
        (buckets.words[bucket as usize + half] + low) >> buckets.shift
    }

    #[test]
    fn buckets_tell_the_rank_beside_every_threshold() {
        let tables: [&[f32]; 6] = [
            &[-1.0, 1.0],
            &[-3.0, -0.1, -1e-7, 0.0, 2e-7, 0.5, 0.51, 1.0],
            &[0.0, 1e-45, 3e-45, 4e-45],
            &[-1e-45, 0.0, 1e-45],
            &[1.0, 1.5, 2.0, 3.0, 4.0, 3.4e38],
            &[-3.4e38, -4.0, -3.5],
        ];
        for values in tables {
            let thresholds: Vec<i32> = values
                .iter()
                .map(|v| v.to_bits() as i32)
                .map(|bits| bits ^ (bits >> 31 & 0x7fff_ffff))
                .collect();
            let buckets = Buckets::new(&thresholds).expect("they are few");
            let beside = thresholds.iter().flat_map(|t| [t - 1, *t, t + 1]);
            for key in beside.chain([-0x7f80_0001, -1, 0, 0x7f80_0000]) {
                let wanted = thresholds.partition_point(|t| *t <= key) as u32;
                assert_eq!(rank(&buckets, key), wanted, "{values:?} at {key:#x}");
            }
        }
    }

    #[test]
    fn thresholds_too_close_together_have_no_buckets() {
        let close = [0, 0x3f80_0000, 0x3f80_0001, 0x3f80_0002, 0x7f00_0000];
        assert!(Buckets::new(&close).is_none());
    }
}
