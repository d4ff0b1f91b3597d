//! Declared arithmetic, and values into codes: the nearest integer, float or table entry, as the reference encoder has it.

use super::{I32, Lower};
use crate::format::{Element, FloatSpec, Specials, UnOp};
use crate::schedule::ScheduleError;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};

const F32: Type = Type::new(Elem::F32, 1);

impl Lower<'_> {
    pub(super) fn declared_unary(&mut self, op: UnOp, a: Value, ty: Type) -> Value {
        let un = |lower: &mut Self, un: Un, a: Value| lower.put(ty, Op::Un(un, a), &[a]);
        match op {
            UnOp::Neg => un(self, Un::FNeg, a),
            UnOp::Abs => un(self, Un::FAbs, a),
            UnOp::Round => un(self, Un::FRound, a),
            UnOp::RoundAway => {
                let size = un(self, Un::FAbs, a);
                let whole = un(self, Un::FFloor, size);
                let rest = self.bin(Bin::FSub, size, whole);
                let twice = self.bin(Bin::FAdd, rest, rest);
                let up = un(self, Un::FFloor, twice);
                let rounded = self.bin(Bin::FAdd, whole, up);
                self.signed_as(a, rounded, ty)
            }
            UnOp::Trunc => {
                let size = un(self, Un::FAbs, a);
                let whole = un(self, Un::FFloor, size);
                self.signed_as(a, whole, ty)
            }
            UnOp::Floor => un(self, Un::FFloor, a),
            UnOp::FloorPow2 => self.floor_pow2(a, ty),
        }
    }

    /// A size, negated where a number is below 0.
    fn signed_as(&mut self, number: Value, size: Value, ty: Type) -> Value {
        let zero = self.float(0.0, ty);
        let below = self.put(
            ty.as_int(),
            Op::Cmp(Cmp::FLt, number, zero),
            &[number, zero],
        );
        let minus = self.put(ty, Op::Un(Un::FNeg, size), &[size]);
        self.put(ty, Op::Select(below, minus, size), &[below, minus, size])
    }

    /// The largest power of two not above `|a|`: the exponent bits; subnormals are scaled into range first.
    fn floor_pow2(&mut self, a: Value, ty: Type) -> Value {
        let int = ty.as_int();
        let magnitude = self.put(ty, Op::Un(Un::FAbs, a), &[a]);
        let (up, down) = (
            self.float(16_777_216.0, ty),
            self.float(1.0 / 16_777_216.0, ty),
        );
        let smallest = self.float(f32::MIN_POSITIVE, ty);
        let exponent = |lower: &mut Self, x: Value| {
            let bits = lower.put(int, Op::Bitcast(x), &[x]);
            let mask = lower.put_at(0, int, Op::IConst(0x7f80_0000));
            let kept = lower.put(int, Op::Bin(Bin::And, bits, mask), &[bits, mask]);
            lower.put(ty, Op::Bitcast(kept), &[kept])
        };
        let scaled = self.bin(Bin::FMul, magnitude, up);
        let high = exponent(self, scaled);
        let small = self.bin(Bin::FMul, high, down);
        let normal = exponent(self, magnitude);
        let tiny = self.put(
            int,
            Op::Cmp(Cmp::FLt, magnitude, smallest),
            &[magnitude, smallest],
        );
        let power = self.put(ty, Op::Select(tiny, small, normal), &[tiny, small, normal]);
        let number = self.put(int, Op::Cmp(Cmp::FEq, magnitude, magnitude), &[magnitude]);
        self.put(
            ty,
            Op::Select(number, power, magnitude),
            &[number, power, magnitude],
        )
    }

    pub(super) fn declared_binary(
        &mut self,
        op: crate::format::BinOp,
        a: Value,
        b: Value,
        ty: Type,
    ) -> Value {
        use crate::format::BinOp;
        match op {
            BinOp::Add => self.bin(Bin::FAdd, a, b),
            BinOp::Sub => self.bin(Bin::FSub, a, b),
            BinOp::Mul => self.bin(Bin::FMul, a, b),
            BinOp::Min => self.bin(Bin::FMin, a, b),
            BinOp::Max => self.bin(Bin::FMax, a, b),
            BinOp::Div => {
                let quotient = self.bin(Bin::FDiv, a, b);
                let zero = self.float(0.0, ty);
                let none = self.put(ty.as_int(), Op::Cmp(Cmp::FEq, b, zero), &[b, zero]);
                self.put(
                    ty,
                    Op::Select(none, zero, quotient),
                    &[none, zero, quotient],
                )
            }
        }
    }

    /// The value of a scalar code.
    pub(super) fn decode_code(
        &mut self,
        element: &Element,
        code: Value,
    ) -> Result<Value, ScheduleError> {
        match element {
            Element::UInt { .. } => {
                Ok(self.put(F32, Op::Convert(Convert::IntToFloat, code), &[code]))
            }
            Element::Float(f) if f.exp == 8 && f.man == 23 && f.bias == 127 => {
                Ok(self.put(F32, Op::Bitcast(code), &[code]))
            }
            Element::Int { .. } => {
                let number = self.extend_sign(element, I32, code);
                Ok(self.put(F32, Op::Convert(Convert::IntToFloat, number), &[number]))
            }
            Element::Float(_) => self.decode_value(element, F32, code),
            Element::Codebook(_) => Ok(self.fetch_value(element, F32, code)),
        }
    }

    /// The code (i32) of the element nearest to a value.
    pub(super) fn encode_code(
        &mut self,
        value: Value,
        ty: Type,
        element: &Element,
    ) -> Result<Value, ScheduleError> {
        match element {
            Element::Int { .. } | Element::UInt { .. } => {
                let number = self.put(
                    ty.as_int(),
                    Op::Convert(Convert::FloatToInt, value),
                    &[value],
                );
                let (low, high) = element.range();
                Ok(self.clamp(number, ty.as_int(), low, high))
            }
            Element::Float(f) => Ok(self.encode_float(value, ty, f)),
            Element::Codebook(_) => self.encode_nearest(value, ty, element),
        }
    }

    /// The code of the float nearest to a value, ties to even.
    pub(super) fn encode_float(&mut self, value: Value, ty: Type, float: &FloatSpec) -> Value {
        let int = ty.as_int();
        let bits = self.put(int, Op::Bitcast(value), &[value]);
        if float.exp == 8
            && float.man == 23
            && float.bias == 127
            && float.specials == Specials::Ieee
        {
            return bits;
        }
        let element = Element::Float(*float);
        let (exp, man) = (u32::from(float.exp), u32::from(float.man));
        let shift = 23 - man;
        let number = |lower: &mut Self, n: i64| lower.put_at(0, int, Op::IConst(n));
        let all = number(self, 0x7fff_ffff);
        let magnitude = self.bin(Bin::And, bits, all);
        // Normal results: rebias, then round the mantissa; a carry goes into the exponent.
        let rebias = number(self, (127 - i64::from(float.bias)) << 23);
        let moved = self.bin(Bin::ISub, magnitude, rebias);
        let mut normal = moved;
        if shift > 0 {
            let down = self.put(int, Op::Shift(Shift::SShr, moved, shift as u8), &[moved]);
            let one = number(self, 1);
            let odd = self.bin(Bin::And, down, one);
            let half = number(self, (1i64 << (shift - 1)) - 1);
            let plus = self.bin(Bin::IAdd, moved, half);
            let rounded = self.bin(Bin::IAdd, plus, odd);
            normal = self.put(
                int,
                Op::Shift(Shift::SShr, rounded, shift as u8),
                &[rounded],
            );
        }
        let absolute = self.put(ty, Op::Un(Un::FAbs, value), &[value]);
        let first_normal = if float.subnormal {
            1 - float.bias
        } else {
            -float.bias
        };
        let small = if float.subnormal {
            // Subnormal results: a multiple of the smallest step, rounded by the conversion.
            let scale = 2f64.powi(float.bias - 1 + man as i32);
            let (a, b) = split_power(scale);
            let (a, b) = (self.float(a, ty), self.float(b, ty));
            let once = self.bin(Bin::FMul, absolute, a);
            let scaled = self.bin(Bin::FMul, once, b);
            self.put(int, Op::Convert(Convert::FloatToInt, scaled), &[scaled])
        } else {
            number(self, 0)
        };
        let limit = self.float(2f64.powi(first_normal) as f32, ty);
        let is_small = self.put(int, Op::Cmp(Cmp::FLt, absolute, limit), &[absolute, limit]);
        let mut code = self.put(
            int,
            Op::Select(is_small, small, normal),
            &[is_small, small, normal],
        );
        // Past the largest: the reference says what (saturated or infinite).
        let over = element.encode(f32::INFINITY);
        let largest = element.encode(element.range().1 as f32);
        let largest_code = number(self, i64::from(largest));
        let too_large = self.put(
            int,
            Op::Cmp(Cmp::SLt, largest_code, code),
            &[largest_code, code],
        );
        let over = number(self, i64::from(over));
        code = self.put(
            int,
            Op::Select(too_large, over, code),
            &[too_large, over, code],
        );
        let infinity = number(self, 0x7f80_0000);
        let infinite = self.put(
            int,
            Op::Cmp(Cmp::IEq, magnitude, infinity),
            &[magnitude, infinity],
        );
        code = self.put(
            int,
            Op::Select(infinite, over, code),
            &[infinite, over, code],
        );
        let zero = number(self, 0);
        let negative = self.put(int, Op::Cmp(Cmp::SLt, bits, zero), &[bits, zero]);
        code = if float.signed {
            let sign = number(self, 1i64 << (exp + man));
            let mut with = self.bin(Bin::Or, code, sign);
            if float.specials == Specials::NanAtNegativeZero {
                // Zero has no sign.
                let none = self.put(int, Op::Cmp(Cmp::IEq, code, zero), &[code, zero]);
                with = self.put(int, Op::Select(none, zero, with), &[none, zero, with]);
            }
            self.put(
                int,
                Op::Select(negative, with, code),
                &[negative, with, code],
            )
        } else {
            self.put(
                int,
                Op::Select(negative, zero, code),
                &[negative, zero, code],
            )
        };
        let nan = number(self, i64::from(element.encode(f32::NAN)));
        let valid = self.put(int, Op::Cmp(Cmp::FEq, value, value), &[value]);
        self.put(int, Op::Select(valid, code, nan), &[valid, code, nan])
    }
}

/// A power of two as a product of two that are normal in f32.
fn split_power(power: f64) -> (f32, f32) {
    let half = 2f64.powi(power.log2() as i32 / 2);
    (half as f32, (power / half) as f32)
}
