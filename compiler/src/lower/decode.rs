//! Values of codes: from tables in memory, and by bit arithmetic.

use super::{I32, I64, Lower};
use crate::format::{Element, FloatSpec, Specials};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Value};
use std::collections::BTreeMap;

impl Lower<'_> {
    /// One entry of a table in memory.
    pub(super) fn table_load(
        &mut self,
        name: &str,
        bytes: Vec<u8>,
        width: u64,
        code: Value,
        ty: Type,
    ) -> Value {
        let table = self.table(name, bytes);
        let index = self.put(I64, Op::Convert(Convert::WidenU, code), &[code]);
        let scaled = match width {
            1 => index,
            n => self.put(
                I64,
                Op::Shift(Shift::Shl, index, n.trailing_zeros() as u8),
                &[index],
            ),
        };
        let pointer = self.put(I64, Op::Bin(Bin::IAdd, table, scaled), &[table, scaled]);
        self.put(
            ty,
            Op::Load {
                base: pointer,
                offset: 0,
            },
            &[pointer],
        )
    }

    /// Unsigned words as floats, plus 2^23: they are the low halves, and the high halves are those of 2^23.
    pub(super) fn magic(&mut self, words: Value, ty: Type) -> Value {
        let lo = words;
        let hi = self.put_at(0, Type::new(Elem::I16, ty.lanes), Op::IConst(0x4b00));
        let bits = self.put(ty.as_int(), Op::Join { lo, hi }, &[lo, hi]);
        self.put(ty, Op::Bitcast(bits), &[bits])
    }

    /// Values of codes from a table in memory, lane by lane.
    pub(super) fn fetch_value(&mut self, element: &Element, ty: Type, codes: Value) -> Value {
        let codes_of = 0..1u32 << element.bits();
        let values: Vec<f64> = codes_of.map(|c| element.decode(c)).collect();
        self.table_value("values", &values, ty, codes)
    }

    /// Entries of a table in memory (f32 or i32, as the type says), lane by lane.
    pub(super) fn table_value(
        &mut self,
        name: &str,
        entries: &[f64],
        ty: Type,
        codes: Value,
    ) -> Value {
        if let Some(known) = self.known_entries(entries, ty, codes) {
            return known;
        }
        let bytes: Vec<u8> = match ty.elem {
            Elem::F32 => entries
                .iter()
                .flat_map(|v| (*v as f32).to_le_bytes())
                .collect(),
            _ => entries
                .iter()
                .flat_map(|v| (*v as i32).to_le_bytes())
                .collect(),
        };
        let scalar = Type::new(ty.elem, 1);
        if ty.lanes == 1 {
            return self.table_load(name, bytes, 4, codes, scalar);
        }
        let lanes: Vec<Value> = (0..ty.lanes)
            .map(|lane| {
                let code = self.put(I32, Op::Extract(codes, lane), &[codes]);
                self.table_load(name, bytes.clone(), 4, code, scalar)
            })
            .collect();
        self.put(ty, Op::Build(lanes.clone()), &lanes)
    }

    /// The value of a signed integer from its code in lanes at least as wide.
    pub(super) fn extend_sign(&mut self, element: &Element, ty: Type, code: Value) -> Value {
        let sign = 1i64 << (element.bits() - 1);
        let sign = self.put_at(0, ty, Op::IConst(sign));
        let flipped = self.put(ty, Op::Bin(Bin::Xor, code, sign), &[code, sign]);
        self.put(ty, Op::Bin(Bin::ISub, flipped, sign), &[flipped, sign])
    }

    /// The value of a float by bit arithmetic on its code (i32 lanes).
    pub(super) fn decode_value(
        &mut self,
        element: &Element,
        ty: Type,
        code: Value,
    ) -> Result<Value, ScheduleError> {
        let int = ty.as_int();
        let float = match element {
            Element::Float(float) => *float,
            Element::Int { .. } | Element::UInt { .. } | Element::Codebook(_) => {
                return Err(ScheduleError::Internal(
                    "no arithmetic decodes this element",
                ));
            }
        };
        let keeps_sign = matches!(float.specials, Specials::Finite | Specials::Ieee);
        if float.signed && float.subnormal && keeps_sign {
            return Ok(self.decode_with_sign(float, ty, code));
        }
        let (exp, man) = (u32::from(float.exp), u32::from(float.man));
        let shift = 23 - man;
        let lower = &mut *self;
        let number = |lower: &mut Lower<'_>, n: i64| lower.put_at(0, int, Op::IConst(n));
        let magnitude_mask = number(lower, (1i64 << (exp + man)) - 1);
        let magnitude = match float.signed {
            true => lower.put(
                int,
                Op::Bin(Bin::And, code, magnitude_mask),
                &[code, magnitude_mask],
            ),
            false => code,
        };
        let placed = match shift {
            0 => magnitude,
            n => lower.put(int, Op::Shift(Shift::Shl, magnitude, n as u8), &[magnitude]),
        };
        let as_float = lower.put(ty, Op::Bitcast(placed), &[placed]);
        let factor = exponent_factor(float);
        let mut value = lower.scaled(ty, as_float, factor);
        // Codes of other values than that: where exponent field 0 is an ordinary exponent, and a lone NaN.
        let mut patches: Vec<(u32, u32)> = Vec::new();
        if !float.subnormal {
            let codes = 0..(1u32 << man.min(4));
            patches.extend(codes.map(|code| (code, (element.decode(code) as f32).to_bits())));
        }
        if float.specials == Specials::NanOnly {
            patches.push(((1 << (exp + man)) - 1, f32::NAN.to_bits()));
        }
        let unpatched = |code: u32| (f32::from_bits(code << shift) * factor).to_bits();
        value = lower.patched(ty, (value, magnitude), &patches, &unpatched);
        let top = (1i64 << exp) - 1;
        match float.specials {
            Specials::Finite => {}
            Specials::Ieee if float.bias == 127 && exp == 8 => {}
            Specials::Ieee => {
                // Infinities and NaNs: all exponent bits of the f32 set, mantissa kept.
                let first = number(lower, (top << man) - 1);
                let special = lower.put(
                    int,
                    Op::Cmp(Cmp::SLt, first, magnitude),
                    &[first, magnitude],
                );
                value = lower.with_bits(ty, value, special, 0x7f80_0000);
            }
            // Zero has no sign, so the sign below cannot be that of the NaN.
            Specials::NanAtNegativeZero => {
                let lone = number(lower, 1i64 << (exp + man));
                let special = lower.put(int, Op::Cmp(Cmp::IEq, code, lone), &[code, lone]);
                let nan = lower.put_at(0, ty, Op::FConst(f32::NAN.to_bits()));
                value = lower.put(ty, Op::Select(special, nan, value), &[special, nan, value]);
            }
            Specials::NanOnly => {}
        }
        if float.signed {
            let bit = number(lower, 1i64 << (exp + man));
            let sign = lower.put(int, Op::Bin(Bin::And, code, bit), &[code, bit]);
            let up = 31 - (exp + man);
            let placed = match up {
                0 => sign,
                n => lower.put(int, Op::Shift(Shift::Shl, sign, n as u8), &[sign]),
            };
            let bits = lower.put(int, Op::Bitcast(value), &[value]);
            let signed = lower.put(int, Op::Bin(Bin::Or, bits, placed), &[bits, placed]);
            value = lower.put(ty, Op::Bitcast(signed), &[signed]);
        }
        Ok(value)
    }

    /// The value of a float whose parts go to their places in an f32 together: what is above the exponent is copies of the sign,
    /// which a mask takes away, and the factor that sets the exponent right leaves the sign as it is.
    fn decode_with_sign(&mut self, float: FloatSpec, ty: Type, code: Value) -> Value {
        let int = ty.as_int();
        let (exp, man) = (u32::from(float.exp), u32::from(float.man));
        let number = |lower: &mut Self, n: u32| lower.put_at(0, int, Op::IConst(n.into()));
        let up = (31 - exp - man) as u8;
        let mut bits = self.put(int, Op::Shift(Shift::Shl, code, up), &[code]);
        if exp < 8 {
            let down = (8 - exp) as u8;
            bits = self.put(int, Op::Shift(Shift::SShr, bits, down), &[bits]);
            let parts = number(self, 1 << 31 | ((1 << (exp + man)) - 1) << (23 - man));
            bits = self.put(int, Op::Bin(Bin::And, bits, parts), &[bits, parts]);
        }
        let placed = self.put(ty, Op::Bitcast(bits), &[bits]);
        let value = self.scaled(ty, placed, exponent_factor(float));
        if float.specials == Specials::Finite || (float.bias == 127 && exp == 8) {
            return value;
        }
        // Infinities and NaNs: all exponent bits of the f32 set, mantissa kept.
        let top = number(self, ((1 << exp) - 1) << man);
        let field = self.put(int, Op::Bin(Bin::And, code, top), &[code, top]);
        let special = self.put(int, Op::Cmp(Cmp::IEq, field, top), &[field, top]);
        self.with_bits(ty, value, special, 0x7f80_0000)
    }

    /// A float times a constant.
    fn scaled(&mut self, ty: Type, value: Value, factor: f32) -> Value {
        if factor == 1.0 {
            return value;
        }
        let factor = self.put_at(0, ty, Op::FConst(factor.to_bits()));
        self.put(ty, Op::Bin(Bin::FMul, value, factor), &[value, factor])
    }

    /// A float with other bits where a code is one of some. Bits that are missing are added; others are chosen instead.
    fn patched(
        &mut self,
        ty: Type,
        (mut value, code): (Value, Value),
        patches: &[(u32, u32)],
        unpatched: &dyn Fn(u32) -> u32,
    ) -> Value {
        let int = ty.as_int();
        let is = |lower: &mut Self, which: u32| {
            let which = lower.put_at(0, int, Op::IConst(which.into()));
            lower.put(int, Op::Cmp(Cmp::IEq, code, which), &[code, which])
        };
        // Where bits are missing, by the bits.
        let mut missing: BTreeMap<u32, Value> = BTreeMap::new();
        for (which, wanted) in patches {
            let found = unpatched(*which);
            let mask = is(self, *which);
            if found & wanted == found {
                let others = missing.get(&(wanted ^ found)).copied();
                let all = others.map_or(mask, |o| {
                    self.put(int, Op::Bin(Bin::Or, o, mask), &[o, mask])
                });
                missing.insert(wanted ^ found, all);
                continue;
            }
            let fixed = self.put_at(0, ty, Op::FConst(*wanted));
            value = self.put(ty, Op::Select(mask, fixed, value), &[mask, fixed, value]);
        }
        missing.remove(&0);
        for (bits, mask) in missing {
            value = self.with_bits(ty, value, mask, bits);
        }
        value
    }

    /// A float with some bits set where a mask is.
    fn with_bits(&mut self, ty: Type, value: Value, mask: Value, bits: u32) -> Value {
        let int = ty.as_int();
        let bits = self.put_at(0, int, Op::IConst(bits.into()));
        let added = self.put(int, Op::Bin(Bin::And, mask, bits), &[mask, bits]);
        let known = self.put(int, Op::Bitcast(value), &[value]);
        let all = self.put(int, Op::Bin(Bin::Or, known, added), &[known, added]);
        self.put(ty, Op::Bitcast(all), &[all])
    }
}

/// What a float is multiplied by whose exponent field was put into that of an f32: the product is exact, and subnormals turn right.
fn exponent_factor(float: FloatSpec) -> f32 {
    2f64.powi(127 - float.bias) as f32
}
