//! Operations into CLIF: arithmetic, lane by lane.

use super::constants;
use super::emit::Emit;
use super::features::Arch;
use super::legal::{register, scalar, shape};
use crate::vector::ir::{Bin, Cmp, Elem, Op, Shift, Type, Un, Value};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, ConstantData, InstBuilder, MemFlagsData as MemFlags, types};

impl Emit<'_, '_> {
    pub(super) fn compute(&mut self, ty: Type, op: &Op) -> Vec<ir::Value> {
        match op {
            Op::IConst(n) => self.int_const(ty, *n),
            Op::FConst(bits) => self.float_const(ty, *bits),
            Op::VConst(values) => self.vector_const(ty, values),
            // Vectors of these are emitted register by register.
            Op::Bin(..)
            | Op::Un(..)
            | Op::Shift(..)
            | Op::MulAdd(..)
            | Op::Cmp(..)
            | Op::Select(..) => self.compute_part(ty, op, 0).into_iter().collect(),
            Op::ShiftBy(shift, a, n) => {
                let (a, n) = (self.one(*a), self.one(*n));
                vec![match shift {
                    Shift::Shl => self.b.ins().ishl(a, n),
                    Shift::UShr => self.b.ins().ushr(a, n),
                    Shift::SShr => self.b.ins().sshr(a, n),
                }]
            }
            Op::UDiv(a, by) => {
                let (a, by) = (self.one(*a), i64::from(*by));
                let by = self.b.ins().iconst(cranelift_codegen::ir::types::I64, by);
                vec![self.b.ins().udiv(a, by)]
            }
            Op::Convert(convert, a) => self.convert(*convert, ty, *a),
            Op::Bitcast(a) => self.bitcast(ty, *a),
            Op::Splat(a) => self.splat(ty, *a),
            Op::Tile(a) => self.tile(ty, *a),
            Op::Repeat(a) => self.repeat(ty, *a),
            Op::Build(values) => self.build(ty, values),
            Op::Extract(a, lane) => vec![self.extract(*a, *lane)],
            Op::Slice(a, start) => self.slice(ty, *a, *start),
            Op::Join { lo, hi } => vec![self.join(ty, *lo, *hi)],
            Op::Lookup { table, index } => vec![self.lookup(*table, *index)],
            Op::MulPairsU8S8(a, b) => self.zip(ty, *a, *b, |e, x, y| e.mul_pairs_u8s8(x, y)),
            Op::MulPairsS16(a, b) => self.zip(ty, *a, *b, |e, x, y| e.mul_pairs_s16(x, y)),
            Op::Dot4U8S8 { acc, a, b } => self.dot(ty, *acc, *a, *b, false),
            Op::Dot4S8S8 { acc, a, b } => self.dot(ty, *acc, *a, *b, true),
            Op::Fold(a) => self.fold(ty, *a, false),
            Op::FoldMax(a) => self.fold(ty, *a, true),
            Op::Param(p) => vec![self.param(p.as_u32())],
            Op::TableAddr(t) => vec![self.table(t.as_u32())],
            // Loads are emitted where they are used.
            Op::Load { .. } => Vec::new(),
        }
    }

    /// Part by part. Where the operands have lanes that the result folds, a scalar result comes from a register.
    pub(super) fn zip(
        &mut self,
        ty: Type,
        a: Value,
        b: Value,
        f: impl Fn(&mut Self, ir::Value, ir::Value) -> ir::Value,
    ) -> Vec<ir::Value> {
        let count = shape(self.ty(a)).parts;
        let part = |p| {
            let (x, y) = (self.part(a, p), self.part(b, p));
            f(self, x, y)
        };
        let parts = (0..count).map(part).collect();
        self.fitted(ty, self.ty(a), parts)
    }

    /// Results of folding operations, whose parts may be fewer or scalar.
    pub(super) fn fitted(
        &mut self,
        ty: Type,
        operand: Type,
        parts: Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        if ty.lanes == 1 && operand.lanes > 1 {
            return vec![self.b.ins().extractlane(parts[0], 0)];
        }
        parts
    }

    /// A register of a constant: loaded from beside the code if it is there, which instructions do on the way.
    pub(super) fn constant(&mut self, to: ir::Type, bytes: Vec<u8>) -> ir::Value {
        if let (Some(beginning), Some(offset)) = (self.beginning, self.tables.offset(&bytes)) {
            let flags = MemFlags::trusted().with_readonly();
            return self.b.ins().load(to, flags, beginning, offset);
        }
        let constant = self
            .b
            .func
            .dfg
            .constants
            .insert(ConstantData::from(bytes.as_slice()));
        self.b.ins().vconst(to, constant)
    }

    pub(super) fn int_const(&mut self, ty: Type, n: i64) -> Vec<ir::Value> {
        if ty.lanes == 1 {
            let bits = ty.elem.bits();
            let n = if bits == 64 {
                n
            } else {
                n & ((1i64 << bits) - 1)
            };
            return vec![self.b.ins().iconst(scalar(ty.elem), n)];
        }
        self.splat_bits(ty, n as u64)
    }

    pub(super) fn splat_bits(&mut self, ty: Type, bits: u64) -> Vec<ir::Value> {
        let bytes = constants::same(ty.elem, bits).to_vec();
        let part = self.constant(register(ty.elem), bytes);
        vec![part; shape(ty).parts]
    }

    pub(super) fn float_const(&mut self, ty: Type, bits: u32) -> Vec<ir::Value> {
        if ty.lanes == 1 {
            return vec![self.b.ins().f32const(f32::from_bits(bits))];
        }
        self.splat_bits(ty, u64::from(bits))
    }

    pub(super) fn vector_const(&mut self, ty: Type, values: &[u64]) -> Vec<ir::Value> {
        if ty.lanes == 1 {
            let bits = values.first().copied().unwrap_or(0);
            return if ty.elem == Elem::F32 {
                self.float_const(ty, bits as u32)
            } else {
                self.int_const(ty, bits as i64)
            };
        }
        let parts = constants::registers(ty, &Op::VConst(values.to_vec()));
        let parts = parts.into_iter();
        parts
            .map(|part| self.constant(register(ty.elem), part.to_vec()))
            .collect()
    }

    pub(super) fn is_vector(&self, value: ir::Value) -> bool {
        self.b.func.dfg.value_type(value).is_vector()
    }

    pub(super) fn bin(&mut self, bin: Bin, ty: Type, x: ir::Value, y: ir::Value) -> ir::Value {
        match bin {
            Bin::IAdd => self.b.ins().iadd(x, y),
            Bin::ISub => self.b.ins().isub(x, y),
            Bin::IMul => self.b.ins().imul(x, y),
            Bin::And => self.b.ins().band(x, y),
            Bin::Or => self.b.ins().bor(x, y),
            Bin::Xor => self.b.ins().bxor(x, y),
            Bin::SMin | Bin::SMax => self.int_extreme(bin == Bin::SMax, ty, x, y),
            Bin::MulHigh => self.mul_high(x, y),
            Bin::FAdd => self.b.ins().fadd(x, y),
            Bin::FSub => self.b.ins().fsub(x, y),
            Bin::FMul => self.b.ins().fmul(x, y),
            Bin::FDiv => self.b.ins().fdiv(x, y),
            Bin::FMin | Bin::FMax => self.float_extreme(bin == Bin::FMax, x, y),
        }
    }

    pub(super) fn int_extreme(
        &mut self,
        max: bool,
        ty: Type,
        x: ir::Value,
        y: ir::Value,
    ) -> ir::Value {
        let has = self.features.arch == Arch::Aarch64 || self.features.sse41;
        if self.is_vector(x) && has && ty.elem != Elem::I64 {
            return if max {
                self.b.ins().smax(x, y)
            } else {
                self.b.ins().smin(x, y)
            };
        }
        let cc = if max {
            IntCC::SignedGreaterThan
        } else {
            IntCC::SignedLessThan
        };
        let first = self.b.ins().icmp(cc, x, y);
        if self.is_vector(x) {
            self.b.ins().bitselect(first, x, y)
        } else {
            self.b.ins().select(first, x, y)
        }
    }

    /// `x < y ? x : y` is one instruction on x86, and gives `y` if either is NaN; a NaN `y` is then replaced by `x`.
    pub(super) fn float_extreme(&mut self, max: bool, x: ir::Value, y: ir::Value) -> ir::Value {
        let cc = if max {
            FloatCC::GreaterThan
        } else {
            FloatCC::LessThan
        };
        if !self.is_vector(x) {
            let first = self.b.ins().fcmp(cc, x, y);
            let chosen = self.b.ins().select(first, x, y);
            let number = self.b.ins().fcmp(FloatCC::Equal, y, y);
            return self.b.ins().select(number, chosen, x);
        }
        let (less, number) = match max {
            false => (
                self.b.ins().fcmp(FloatCC::LessThan, x, y),
                self.b.ins().fcmp(FloatCC::Equal, y, y),
            ),
            true => (
                self.b.ins().fcmp(FloatCC::LessThan, y, x),
                self.b.ins().fcmp(FloatCC::Equal, y, y),
            ),
        };
        let less = self.cast(less, types::F32X4);
        let chosen = self.b.ins().bitselect(less, x, y);
        let number = self.cast(number, types::F32X4);
        self.b.ins().bitselect(number, chosen, x)
    }

    pub(super) fn un(&mut self, un: Un, ty: Type, x: ir::Value) -> ir::Value {
        let rounds = self.features.arch == Arch::Aarch64 || self.features.sse41;
        match un {
            Un::FNeg => self.b.ins().fneg(x),
            Un::FAbs => self.b.ins().fabs(x),
            Un::FSqrt => self.b.ins().sqrt(x),
            Un::FRound if rounds => self.b.ins().nearest(x),
            Un::CountOnes => self.b.ins().popcnt(x),
            Un::FFloor if rounds => self.b.ins().floor(x),
            Un::FRound => self.round(ty, x),
            Un::FFloor => {
                let rounded = self.round(ty, x);
                let one = self.same(ty, 1.0f32.to_bits());
                let below = self.b.ins().fsub(rounded, one);
                let above = self.b.ins().fcmp(FloatCC::GreaterThan, rounded, x);
                self.pick(above, below, rounded)
            }
        }
    }

    pub(super) fn same(&mut self, ty: Type, bits: u32) -> ir::Value {
        self.float_const(Type::new(Elem::F32, ty.lanes.min(4)), bits)[0]
    }

    pub(super) fn pick(&mut self, condition: ir::Value, x: ir::Value, y: ir::Value) -> ir::Value {
        if !self.is_vector(x) {
            return self.b.ins().select(condition, x, y);
        }
        // In the type of the comparison: through a cast Cranelift does not see that the bits of a lane are the same.
        let to = self.b.func.dfg.value_type(x);
        let of = self.b.func.dfg.value_type(condition);
        let (x, y) = (self.cast(x, of), self.cast(y, of));
        let picked = self.b.ins().bitselect(condition, x, y);
        self.cast(picked, to)
    }

    /// Rounding without `roundps`: adding and subtracting 2^23 leaves an integer, for magnitudes below it.
    pub(super) fn round(&mut self, ty: Type, x: ir::Value) -> ir::Value {
        let magic = self.same(ty, 8_388_608.0f32.to_bits());
        let magnitude = self.b.ins().fabs(x);
        let up = self.b.ins().fadd(magnitude, magic);
        let down = self.b.ins().fsub(up, magic);
        let signed = if self.is_vector(x) {
            let sign = self.same(ty, 0x8000_0000);
            let bit = self.b.ins().band(x, sign);
            self.b.ins().bor(down, bit)
        } else {
            self.b.ins().fcopysign(down, x)
        };
        let small = self.b.ins().fcmp(FloatCC::LessThan, magnitude, magic);
        self.pick(small, signed, x)
    }

    pub(super) fn shift(&mut self, shift: Shift, x: ir::Value, n: u8) -> ir::Value {
        let n = self.b.ins().iconst(types::I32, i64::from(n));
        match shift {
            Shift::Shl => self.b.ins().ishl(x, n),
            Shift::UShr => self.b.ins().ushr(x, n),
            Shift::SShr => self.b.ins().sshr(x, n),
        }
    }

    pub(super) fn mul_add(&mut self, a: Value, b: Value, c: Value, p: usize) -> ir::Value {
        let fused = self.features.fma;
        // On x86 the result takes the first factor's register (Cranelift never chooses the form that adds in place), or,
        // if the second is folded from memory, the first's all the same.
        let in_place = self.spent[b] && !self.spent[a] && self.loads[b].is_none();
        let (a, b) = match self.features.arch {
            Arch::X86_64 if fused && in_place => (b, a),
            Arch::X86_64 | Arch::Aarch64 => (a, b),
        };
        let (x, y, z) = (self.part(a, p), self.part(b, p), self.part(c, p));
        if fused {
            return self.b.ins().fma(x, y, z);
        }
        let product = self.b.ins().fmul(x, y);
        // The accumulator first: two-address code then adds to it in place.
        self.b.ins().fadd(z, product)
    }

    pub(super) fn cmp(&mut self, cmp: Cmp, ty: Type, x: ir::Value, y: ir::Value) -> ir::Value {
        let flag = match cmp {
            Cmp::IEq => self.b.ins().icmp(IntCC::Equal, x, y),
            Cmp::SLt => self.b.ins().icmp(IntCC::SignedLessThan, x, y),
            Cmp::FLt => self.b.ins().fcmp(FloatCC::LessThan, x, y),
            Cmp::FLe => self.b.ins().fcmp(FloatCC::LessThanOrEqual, x, y),
            Cmp::FEq => self.b.ins().fcmp(FloatCC::Equal, x, y),
        };
        if self.is_vector(x) {
            flag
        } else {
            self.b.ins().bmask(scalar(ty.elem), flag)
        }
    }

    pub(super) fn select(
        &mut self,
        ty: Type,
        mask: Value,
        a: Value,
        b: Value,
        p: usize,
    ) -> ir::Value {
        let (m, x, y) = (self.part(mask, p), self.part(a, p), self.part(b, p));
        if ty.lanes > 1 {
            return self.pick(m, x, y);
        }
        let set = self.b.ins().icmp_imm_s(IntCC::NotEqual, m, 0);
        self.b.ins().select(set, x, y)
    }
}
