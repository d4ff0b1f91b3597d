//! An operation on a link of a chain, lowered as in kernels, so that its result is the next link.

use super::{F32, I8, I16, I32};
use crate::format::{Element, FloatSpec, UnOp};
use crate::lower::Lower;
use crate::rewrite::lang::Op as Term;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};

impl Lower<'_> {
    fn integers(&mut self, n: i64, ty: Type) -> Value {
        self.put_at(0, ty, Op::IConst(n))
    }

    fn cast(&mut self, x: Value, ty: Type) -> Value {
        self.put(ty, Op::Bitcast(x), &[x])
    }

    /// An operation on a link of a chain, as the next link; and for how many registers that counts.
    pub(super) fn step(
        &mut self,
        op: Term,
        ty: Type,
        [x, other]: [Value; 2],
    ) -> Option<(Value, f64)> {
        let near_one = 1.000_01;
        let value = match op {
            Term::VFAdd | Term::VSum => self.with(Bin::FAdd, x, near_one),
            Term::VFSub => self.with(Bin::FSub, x, near_one),
            Term::VFMul => self.with(Bin::FMul, x, near_one),
            Term::VFDiv => self.with(Bin::FDiv, x, near_one),
            Term::VFMin => self.with(Bin::FMin, x, near_one),
            Term::VFMax | Term::VMaxOver => self.with(Bin::FMax, x, near_one),
            Term::VAbs => self.put(ty, Op::Un(Un::FAbs, x), &[x]),
            Term::VSqrt => self.put(ty, Op::Un(Un::FSqrt, x), &[x]),
            Term::VExp => self.exp(x, ty),
            Term::VTanh => self.tanh(x, ty),
            Term::VSilu => self.silu(x, ty),
            Term::VGelu => self.gelu(x, ty),
            Term::VRound => self.declared_unary(UnOp::Round, x, ty),
            Term::VRoundAway => self.declared_unary(UnOp::RoundAway, x, ty),
            Term::VTrunc => self.declared_unary(UnOp::Trunc, x, ty),
            Term::VFloor => self.declared_unary(UnOp::Floor, x, ty),
            Term::VFloorPow2 => self.declared_unary(UnOp::FloorPow2, x, ty),
            Term::VSelectLt => self.chosen_by(Cmp::FLt, x),
            Term::VSelectLe => self.chosen_by(Cmp::FLe, x),
            Term::VSelectEq => self.chosen_by(Cmp::FEq, x),
            Term::VIAdd | Term::VIMul => {
                let bin = if op == Term::VIAdd {
                    Bin::IAdd
                } else {
                    Bin::IMul
                };
                self.bin(bin, x, other)
            }
            Term::VPick => {
                let (table, index) = (other, x);
                self.put(I8, Op::Lookup { table, index }, &[table, index])
            }
            Term::VMulLow => self.bin(Bin::IMul, x, other),
            Term::VOver256 => self.put(ty, Op::Shift(Shift::SShr, x, 8), &[x]),
            Term::VAnd => self.bin(Bin::And, x, other),
            Term::VCountOnes => self.put(ty, Op::Un(Un::CountOnes, x), &[x]),
            Term::VMulHigh => self.bin(Bin::MulHigh, x, other),
            Term::VJoin => {
                let (lo, hi) = (x, other);
                let words = Type::new(Elem::I16, 16);
                let joined = self.put(words, Op::Join { lo, hi }, &[lo, hi]);
                let first = self.put(I16, Op::Slice(joined, 0), &[joined]);
                self.cast(first, ty)
            }
            Term::VMagic => {
                let floats = self.magic(x, Type::new(Elem::F32, 8));
                let first = self.put(F32, Op::Slice(floats, 0), &[floats]);
                self.cast(first, ty)
            }
            Term::VBias => self.bin(Bin::Xor, x, other),
            Term::VBits => {
                let mask = self.integers(15, ty);
                let moved = self.shift_words(ty, Shift::UShr, x, 2);
                self.bin(Bin::And, moved, mask)
            }
            Term::VSigned => self.extend_sign(&Element::Int { bits: 4 }, ty, x),
            Term::VFloat => {
                let float = self.put(F32, Op::Convert(Convert::IntToFloat, x), &[x]);
                self.cast(float, ty)
            }
            Term::VDecode => {
                let element = Element::Float(FloatSpec::ieee(4, 3));
                let float = self.decode_value(&element, F32, x).ok()?;
                self.cast(float, ty)
            }
            Term::VFetch => self.fetch_value(&Element::UInt { bits: 8 }, ty, x),
            Term::VTable => {
                let entries: Vec<f64> = (0..16).map(|n| f64::from(n * 7 % 16)).collect();
                self.table_value("table", &entries, ty, x)
            }
            Term::VWiden => {
                let half = self.put(Type::new(Elem::I8, 8), Op::Slice(x, 0), &[x]);
                let wide = self.put(I16, Op::Convert(Convert::WidenS, half), &[half]);
                self.cast(wide, ty)
            }
            Term::VSpread => {
                let one = self.put(Type::new(Elem::F32, 1), Op::Extract(x, 0), &[x]);
                self.put(ty, Op::Splat(one), &[one])
            }
            Term::VFold | Term::VFoldMax => {
                let fold = if op == Term::VFold {
                    Op::Fold(x)
                } else {
                    Op::FoldMax(x)
                };
                let one = self.put(Type::new(Elem::F32, 1), fold, &[x]);
                self.put(ty, Op::Splat(one), &[one])
            }
            Term::VLookup8 => self.table_step(x, 7),
            Term::VLookup32 => return Some(self.planes(x)),
            Term::VDot4 | Term::VDot4S => {
                let (acc, b) = (self.integers(0, I32), self.integers(3, ty));
                let dot = match op {
                    Term::VDot4 => Op::Dot4U8S8 { acc, a: x, b },
                    _ => Op::Dot4S8S8 { acc, a: x, b },
                };
                let sum = self.put(I32, dot, &[x]);
                self.cast(sum, ty)
            }
            Term::VMulPairs8 => {
                let b = self.integers(3, ty);
                let sum = self.put(I16, Op::MulPairsU8S8(x, b), &[x]);
                self.cast(sum, ty)
            }
            Term::VMulPairs16 | Term::VAddPairs16 => {
                let b = self.integers(if op == Term::VAddPairs16 { 1 } else { 3 }, ty);
                let sum = self.put(I32, Op::MulPairsS16(x, b), &[x]);
                self.cast(sum, ty)
            }
            _ => return None,
        };
        Some((value, 1.0))
    }

    fn with(&mut self, bin: Bin, x: Value, number: f32) -> Value {
        let number = self.float(number, F32);
        self.bin(bin, x, number)
    }

    fn chosen_by(&mut self, cmp: Cmp, x: Value) -> Value {
        let (bound, other) = (self.float(0.5, F32), self.float(0.75, F32));
        let mask = self.put(I32, Op::Cmp(cmp, x, bound), &[x]);
        self.put(F32, Op::Select(mask, other, x), &[mask, x])
    }

    /// A look-up in a table that has every index once.
    fn table_step(&mut self, x: Value, by: u64) -> Value {
        let lanes = (0..16).map(|n| n * by % 16).collect();
        let table = self.put_at(0, I8, Op::VConst(lanes));
        self.put(I8, Op::Lookup { table, index: x }, &[x])
    }

    /// Floats of sixteen codes by four byte planes, joined; the cost model counts four look-ups and six joins for these.
    fn planes(&mut self, x: Value) -> (Value, f64) {
        let planes = [3, 5, 7, 9].map(|by| self.table_step(x, by));
        let half = Type::new(Elem::I16, 16);
        let [lo, hi] = [0, 2].map(|at| {
            let (lo, hi) = (planes[at], planes[at + 1]);
            self.put(half, Op::Join { lo, hi }, &[lo, hi])
        });
        let words = Type::new(Elem::I32, 16);
        let all = self.put(words, Op::Join { lo, hi }, &[lo, hi]);
        let four: Vec<Value> = (0..4)
            .map(|at| self.put(I32, Op::Slice(all, 4 * at), &[all]))
            .collect();
        let sum = four[1..]
            .iter()
            .fold(four[0], |s, v| self.bin(Bin::Or, s, *v));
        let bytes = self.cast(sum, I8);
        let mask = self.integers(15, I8);
        (self.bin(Bin::And, bytes, mask), 10.0)
    }
}
