//! Elementary functions in f32, within a few units in the last place.
//!
//! `exp` reduces by ln 2 in two parts (Cody and Waite) and uses the Taylor polynomial of degree 7 on |r| <= ln 2 / 2, whose
//! remainder is below 2^-27; the power of two is applied in two factors, so that subnormals and overflow come out right.

use super::Lower;
use crate::vector::ir::{Bin, Cmp, Convert, Op, Shift, Type, Un, Value};

impl Lower<'_> {
    pub(super) fn float(&mut self, number: f32, ty: Type) -> Value {
        self.put_at(0, ty, Op::FConst(number.to_bits()))
    }

    pub(super) fn bin(&mut self, op: Bin, a: Value, b: Value) -> Value {
        let ty = self.b.ty(a);
        self.put(ty, Op::Bin(op, a, b), &[a, b])
    }

    /// `e^x`
    pub(super) fn exp(&mut self, x: Value, ty: Type) -> Value {
        let int = ty.as_int();
        let (low, high) = (self.float(-104.0, ty), self.float(89.0, ty));
        let above = self.bin(Bin::FMax, x, low);
        let clamped = self.bin(Bin::FMin, above, high);
        let log2e = self.float(std::f32::consts::LOG2_E, ty);
        let scaled = self.bin(Bin::FMul, clamped, log2e);
        let n = self.put(ty, Op::Un(Un::FRound, scaled), &[scaled]);
        let (hi, lo) = (self.float(0.693_359_4, ty), self.float(-2.121_944_4e-4, ty));
        let coarse = self.bin(Bin::FMul, n, hi);
        let rest = self.bin(Bin::FSub, clamped, coarse);
        let fine = self.bin(Bin::FMul, n, lo);
        let r = self.bin(Bin::FSub, rest, fine);
        let mut sum = self.float(1.0 / 5040.0, ty);
        for coefficient in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            let coefficient = self.float(coefficient, ty);
            sum = self.put(ty, Op::MulAdd(sum, r, coefficient), &[sum, r, coefficient]);
        }
        let power = self.put(int, Op::Convert(Convert::FloatToInt, n), &[n]);
        let half = self.put(int, Op::Shift(Shift::SShr, power, 1), &[power]);
        let other = self.bin(Bin::ISub, power, half);
        let (a, b) = (self.power_of_two(half, ty), self.power_of_two(other, ty));
        let once = self.bin(Bin::FMul, sum, a);
        let twice = self.bin(Bin::FMul, once, b);
        let number = self.put(int, Op::Cmp(Cmp::FEq, x, x), &[x]);
        self.put(ty, Op::Select(number, twice, x), &[number, twice, x])
    }

    /// `2^n` for an integer within the exponents of an f32.
    fn power_of_two(&mut self, n: Value, ty: Type) -> Value {
        let bias = self.put_at(0, ty.as_int(), Op::IConst(127));
        let biased = self.bin(Bin::IAdd, n, bias);
        let bits = self.put(ty.as_int(), Op::Shift(Shift::Shl, biased, 23), &[biased]);
        self.put(ty, Op::Bitcast(bits), &[bits])
    }

    /// `tanh x = sign(x) (1 - e^-2|x|) / (1 + e^-2|x|)`
    pub(super) fn tanh(&mut self, x: Value, ty: Type) -> Value {
        let magnitude = self.put(ty, Op::Un(Un::FAbs, x), &[x]);
        let minus_two = self.float(-2.0, ty);
        let exponent = self.bin(Bin::FMul, magnitude, minus_two);
        let e = self.exp(exponent, ty);
        let one = self.float(1.0, ty);
        let (below, above) = (self.bin(Bin::FSub, one, e), self.bin(Bin::FAdd, one, e));
        let t = self.bin(Bin::FDiv, below, above);
        let negated = self.put(ty, Op::Un(Un::FNeg, t), &[t]);
        let zero = self.float(0.0, ty);
        let negative = self.put(ty.as_int(), Op::Cmp(Cmp::FLt, x, zero), &[x, zero]);
        self.put(
            ty,
            Op::Select(negative, negated, t),
            &[negative, negated, t],
        )
    }

    /// `x / (1 + e^-x)`
    pub(super) fn silu(&mut self, x: Value, ty: Type) -> Value {
        self.gated(x, x, ty)
    }

    /// GELU by its tanh form: `x / (1 + e^-2u)`, `u = sqrt(2/pi) (x + 0.044715 x^3)`.
    pub(super) fn gelu(&mut self, x: Value, ty: Type) -> Value {
        let square = self.bin(Bin::FMul, x, x);
        let (cubic, one) = (self.float(0.044_715, ty), self.float(1.0, ty));
        let inner = self.put(ty, Op::MulAdd(square, cubic, one), &[square, cubic, one]);
        let scaled = self.bin(Bin::FMul, inner, x);
        let factor = self.float(2.0 * 0.797_884_6, ty);
        let twice = self.bin(Bin::FMul, scaled, factor);
        self.gated(x, twice, ty)
    }

    /// `x / (1 + e^-z)`
    fn gated(&mut self, x: Value, z: Value, ty: Type) -> Value {
        let negated = self.put(ty, Op::Un(Un::FNeg, z), &[z]);
        let e = self.exp(negated, ty);
        let one = self.float(1.0, ty);
        let below = self.bin(Bin::FAdd, one, e);
        self.bin(Bin::FDiv, x, below)
    }
}
