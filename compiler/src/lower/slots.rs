//! What moves codes in memory: pointers that go on by strides, words of codes, and codes at bit addresses that are looked up while
//! the code runs, as loops over the occurrences of a field load and store them.

use super::{I32, I64, Lower};
use crate::format::{Field, Part};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Convert, Elem, Op, Scalar, Shift, Type, Value};

const I8: Type = Type::new(Elem::I8, 1);
const I16: Type = Type::new(Elem::I16, 1);

impl Lower<'_> {
    /// A pointer so many strides on.
    pub(super) fn offset(&mut self, base: Value, index: Value, stride: &Scalar) -> Value {
        let stride = self.scalar(stride);
        let scaled = self.bin(Bin::IMul, index, stride);
        self.bin(Bin::IAdd, base, scaled)
    }

    /// A pointer some bytes on.
    pub(super) fn further(&mut self, pointer: Value, bytes: &Scalar) -> Value {
        let bytes = self.scalar(bytes);
        self.bin(Bin::IAdd, pointer, bytes)
    }

    /// Sets bytes to 0.
    pub(super) fn clear(&mut self, bytes: Value, count: u32) {
        if count == 0 {
            return;
        }
        let zero = self.scalar(&Scalar::Const(0));
        let end = self.scalar(&Scalar::Const(count.into()));
        let (at, _) = self.open("clear", zero, end, 1, &[]);
        let pointer = self.bin(Bin::IAdd, bytes, at);
        let nothing = self.put_at(0, I8, Op::IConst(0));
        self.b.store_at(self.here(), nothing, pointer, 0);
        self.close(&[]);
    }

    /// Stores the low bytes of a word, up to eight: of fewer the parts of four, two and one.
    pub(super) fn store_word(&mut self, word: Value, bytes: Value, at: u32, count: u32) {
        let here = self.here();
        if count >= 8 {
            self.b.store_at(here, word, bytes, at as i32);
            return;
        }
        let mut done = 0;
        for (size, elem) in [(4, Elem::I32), (2, Elem::I16), (1, Elem::I8)] {
            if count & size == 0 {
                continue;
            }
            let rest = match done {
                0 => word,
                done => self.put(I64, Op::Shift(Shift::UShr, word, 8 * done), &[word]),
            };
            let ty = Type::new(elem, 1);
            let part = self.put(ty, Op::Convert(Convert::Narrow, rest), &[rest]);
            let place = at + u32::from(done);
            self.b.store_at(here, part, bytes, place as i32);
            done += size as u8;
        }
    }

    /// `entries[at]` as i64.
    pub(super) fn table_entry(&mut self, name: &str, entries: Vec<u32>, at: Value) -> Value {
        let table = self.table(name, entries.iter().flat_map(|e| e.to_le_bytes()).collect());
        let scaled = self.put(I64, Op::Shift(Shift::Shl, at, 2), &[at]);
        let base = self.bin(Bin::IAdd, table, scaled);
        let entry = self.put(I32, Op::Load { base, offset: 0 }, &[base]);
        self.put(I64, Op::Convert(Convert::WidenU, entry), &[entry])
    }

    /// Bit address of a part of a slot as i64.
    fn bit_address(&mut self, name: &str, part: &Part, slot: Value) -> Value {
        let mut addresses = part.address.iter().map(|a| i64::from(*a));
        let first = addresses.next().unwrap_or(0);
        let slope = addresses.next().map_or(0, |second| second - first);
        let mut all = (0..).zip(&part.address);
        let affine = all.all(|(o, a)| i64::from(*a) == first + slope * o);
        if !affine {
            return self.table_entry(name, part.address.clone(), slot);
        }
        let [slope, first] = [slope, first].map(|n| self.put_at(0, I64, Op::IConst(n)));
        let scaled = self.bin(Bin::IMul, slot, slope);
        self.bin(Bin::IAdd, scaled, first)
    }

    /// The code of a slot of a field, from the bytes that its addresses count from.
    pub(super) fn load_slot(
        &mut self,
        bytes: Value,
        field: &Field,
        slot: Value,
    ) -> Result<Value, ScheduleError> {
        let mut sum = None;
        for (up, part) in field.placed_parts() {
            let bit = self.bit_address(&field.name, part, slot);
            let bits = self.code(bytes, bit, part.bits)?;
            let placed = match up {
                0 => bits,
                up => self.put(I32, Op::Shift(Shift::Shl, bits, up as u8), &[bits]),
            };
            sum = Some(match sum {
                None => placed,
                Some(sum) => self.bin(Bin::Or, sum, placed),
            });
        }
        sum.ok_or(ScheduleError::Internal("a field of no parts"))
    }

    /// Stores a code, part by part. Bytes that it does not fill are 0 where no other code has been stored.
    pub(super) fn store_slot(&mut self, bytes: Value, field: &Field, slot: Value, code: Value) {
        for (up, part) in field.placed_parts() {
            let bits = match up {
                0 => code,
                up => self.put(I32, Op::Shift(Shift::UShr, code, up as u8), &[code]),
            };
            let bit = self.bit_address(&field.name, part, slot);
            self.store_part(bytes, part, bit, bits);
        }
    }

    /// Stores the low bits of a code at a bit address: whole bytes as they are, parts of bytes by `or`.
    fn store_part(&mut self, bytes: Value, part: &Part, bit: Value, code: Value) {
        let bits = u32::from(part.bits);
        let byte = self.put(I64, Op::Shift(Shift::UShr, bit, 3), &[bit]);
        let pointer = self.bin(Bin::IAdd, bytes, byte);
        let here = self.here();
        let whole = part.address.iter().all(|a| a % 8 == 0);
        if whole && [8, 16, 32].contains(&bits) {
            let value = match bits {
                8 => self.put(I8, Op::Convert(Convert::Narrow, code), &[code]),
                16 => self.put(I16, Op::Convert(Convert::Narrow, code), &[code]),
                _ => code,
            };
            self.b.store_at(here, value, pointer, 0);
            return;
        }
        let mask = self.put_at(0, I64, Op::IConst(7));
        let shift = self.bin(Bin::And, bit, mask);
        let wide = self.put(I64, Op::Convert(Convert::WidenU, code), &[code]);
        let ones = self.put_at(0, I64, Op::IConst((1i64 << bits) - 1));
        let kept = self.bin(Bin::And, wide, ones);
        let placed = self.put(I64, Op::ShiftBy(Shift::Shl, kept, shift), &[kept, shift]);
        let width = self.scalar(&Scalar::Const(u64::from(bits) - 1));
        let end = self.bin(Bin::IAdd, bit, width);
        let last = self.put(I64, Op::Shift(Shift::UShr, end, 3), &[end]);
        // Bytes in order, each read after the one before is written: past the last byte nothing is left to store, and the
        // address stays on it.
        for n in 0..(bits + 7).div_ceil(8) {
            let step = self.put_at(0, I64, Op::IConst(i64::from(n)));
            let next = self.bin(Bin::IAdd, byte, step);
            let at = self.bin(Bin::SMin, next, last);
            let base = self.bin(Bin::IAdd, bytes, at);
            let part = match n {
                0 => placed,
                n => self.put(
                    I64,
                    Op::Shift(Shift::UShr, placed, (8 * n) as u8),
                    &[placed],
                ),
            };
            let part = self.put(I8, Op::Convert(Convert::Narrow, part), &[part]);
            let old = self.put_at(here, I8, Op::Load { base, offset: 0 });
            let new = self.bin(Bin::Or, old, part);
            self.b.store_at(here, new, base, 0);
        }
    }
}
