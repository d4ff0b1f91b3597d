//! Operations into CLIF. Several shapes are recognised by Cranelift's lowering only in exactly this form and operand order
//! (`vpdpbusd`, `usdot`, `pmaddwd`); tests look for the instructions.

use super::emit::Emit;
use super::features::Arch;
use super::legal::{self, lanes, register, scalar, shape};
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{self, ConstantData, Immediate, InstBuilder, types};

impl Emit<'_, '_> {
    pub(super) fn compute(&mut self, ty: Type, op: &Op) -> Vec<ir::Value> {
        match op {
            Op::IConst(n) => self.int_const(ty, *n),
            Op::FConst(bits) => self.float_const(ty, *bits),
            Op::VConst(values) => self.vector_const(ty, values),
            Op::Bin(bin, a, b) => self.zip(ty, *a, *b, |e, x, y| e.bin(*bin, ty, x, y)),
            Op::Un(un, a) => self.map(*a, |e, x| e.un(*un, ty, x)),
            Op::Shift(shift, a, n) => self.map(*a, |e, x| e.shift(*shift, x, *n)),
            Op::ShiftBy(shift, a, n) => {
                let (a, n) = (self.one(*a), self.one(*n));
                vec![match shift {
                    Shift::Shl => self.b.ins().ishl(a, n),
                    Shift::UShr => self.b.ins().ushr(a, n),
                    Shift::SShr => self.b.ins().sshr(a, n),
                }]
            }
            Op::MulAdd(a, b, c) => self.mul_add(*a, *b, *c),
            Op::Cmp(cmp, a, b) => self.zip(ty, *a, *b, |e, x, y| e.cmp(*cmp, ty, x, y)),
            Op::Select(mask, a, b) => self.select(ty, *mask, *a, *b),
            Op::Convert(convert, a) => self.convert(*convert, ty, *a),
            Op::Bitcast(a) => self.bitcast(ty, *a),
            Op::Splat(a) => self.splat(ty, *a),
            Op::Tile(a) => self.tile(ty, *a),
            Op::Repeat(a) => self.repeat(ty, *a),
            Op::Build(values) => self.build(ty, values),
            Op::Extract(a, lane) => vec![self.extract(*a, *lane)],
            Op::Slice(a, start) => self.slice(ty, *a, *start),
            Op::Join { lo, hi } => self.join(ty, *lo, *hi),
            Op::Lookup { table, index } => self.lookup(ty, *table, *index),
            Op::MulPairsU8S8(a, b) => self.zip(ty, *a, *b, |e, x, y| e.mul_pairs_u8s8(x, y)),
            Op::MulPairsS16(a, b) => self.zip(ty, *a, *b, |e, x, y| e.mul_pairs_s16(x, y)),
            Op::Dot4U8S8 { acc, a, b } => self.dot(ty, *acc, *a, *b, false),
            Op::Dot4S8S8 { acc, a, b } => self.dot(ty, *acc, *a, *b, true),
            Op::Fold(a) => self.fold(ty, *a, false),
            Op::FoldMax(a) => self.fold(ty, *a, true),
            Op::Param(_) | Op::TableAddr(_) | Op::Load { .. } => Vec::new(),
        }
    }

    fn map(&mut self, a: Value, f: impl Fn(&mut Self, ir::Value) -> ir::Value) -> Vec<ir::Value> {
        let count = shape(self.ty(a)).parts;
        let part = |p| {
            let x = self.part(a, p);
            f(self, x)
        };
        (0..count).map(part).collect()
    }

    /// Part by part. Where the operands have lanes that the result folds, a scalar result comes from a register.
    fn zip(
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
    fn fitted(&mut self, ty: Type, operand: Type, parts: Vec<ir::Value>) -> Vec<ir::Value> {
        if ty.lanes == 1 && operand.lanes > 1 {
            return vec![self.b.ins().extractlane(parts[0], 0)];
        }
        parts
    }

    fn constant(&mut self, to: ir::Type, bytes: Vec<u8>) -> ir::Value {
        let constant = self
            .b
            .func
            .dfg
            .constants
            .insert(ConstantData::from(bytes.as_slice()));
        self.b.ins().vconst(to, constant)
    }

    fn int_const(&mut self, ty: Type, n: i64) -> Vec<ir::Value> {
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

    fn splat_bits(&mut self, ty: Type, bits: u64) -> Vec<ir::Value> {
        let width = (ty.elem.bits() / 8) as usize;
        let bytes: Vec<u8> = bits.to_le_bytes()[..width]
            .iter()
            .copied()
            .cycle()
            .take(16)
            .collect();
        let part = self.constant(register(ty.elem), bytes);
        vec![part; shape(ty).parts]
    }

    fn float_const(&mut self, ty: Type, bits: u32) -> Vec<ir::Value> {
        if ty.lanes == 1 {
            return vec![self.b.ins().f32const(f32::from_bits(bits))];
        }
        self.splat_bits(ty, u64::from(bits))
    }

    fn vector_const(&mut self, ty: Type, values: &[u64]) -> Vec<ir::Value> {
        let width = (ty.elem.bits() / 8) as usize;
        if ty.lanes == 1 {
            let bits = values.first().copied().unwrap_or(0);
            return if ty.elem == Elem::F32 {
                self.float_const(ty, bits as u32)
            } else {
                self.int_const(ty, bits as i64)
            };
        }
        let mut bytes: Vec<u8> = values
            .iter()
            .flat_map(|v| v.to_le_bytes()[..width].to_vec())
            .collect();
        bytes.resize(16 * shape(ty).parts, 0);
        bytes
            .chunks(16)
            .map(|part| self.constant(register(ty.elem), part.to_vec()))
            .collect()
    }

    fn is_vector(&self, value: ir::Value) -> bool {
        self.b.func.dfg.value_type(value).is_vector()
    }

    fn bin(&mut self, bin: Bin, ty: Type, x: ir::Value, y: ir::Value) -> ir::Value {
        match bin {
            Bin::IAdd => self.b.ins().iadd(x, y),
            Bin::ISub => self.b.ins().isub(x, y),
            Bin::IMul => self.b.ins().imul(x, y),
            Bin::And => self.b.ins().band(x, y),
            Bin::Or => self.b.ins().bor(x, y),
            Bin::Xor => self.b.ins().bxor(x, y),
            Bin::SMin | Bin::SMax => self.int_extreme(bin == Bin::SMax, ty, x, y),
            Bin::FAdd => self.b.ins().fadd(x, y),
            Bin::FSub => self.b.ins().fsub(x, y),
            Bin::FMul => self.b.ins().fmul(x, y),
            Bin::FDiv => self.b.ins().fdiv(x, y),
            Bin::FMin | Bin::FMax => self.float_extreme(bin == Bin::FMax, x, y),
        }
    }

    fn int_extreme(&mut self, max: bool, ty: Type, x: ir::Value, y: ir::Value) -> ir::Value {
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
    fn float_extreme(&mut self, max: bool, x: ir::Value, y: ir::Value) -> ir::Value {
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

    fn un(&mut self, un: Un, ty: Type, x: ir::Value) -> ir::Value {
        let rounds = self.features.arch == Arch::Aarch64 || self.features.sse41;
        match un {
            Un::FNeg => self.b.ins().fneg(x),
            Un::FAbs => self.b.ins().fabs(x),
            Un::FSqrt => self.b.ins().sqrt(x),
            Un::FRound if rounds => self.b.ins().nearest(x),
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

    fn same(&mut self, ty: Type, bits: u32) -> ir::Value {
        self.float_const(Type::new(Elem::F32, ty.lanes.min(4)), bits)[0]
    }

    fn pick(&mut self, condition: ir::Value, x: ir::Value, y: ir::Value) -> ir::Value {
        if !self.is_vector(x) {
            return self.b.ins().select(condition, x, y);
        }
        let to = self.b.func.dfg.value_type(x);
        let mask = self.cast(condition, to);
        self.b.ins().bitselect(mask, x, y)
    }

    /// Rounding without `roundps`: adding and subtracting 2^23 leaves an integer, for magnitudes below it.
    fn round(&mut self, ty: Type, x: ir::Value) -> ir::Value {
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

    fn shift(&mut self, shift: Shift, x: ir::Value, n: u8) -> ir::Value {
        let n = self.b.ins().iconst(types::I32, i64::from(n));
        match shift {
            Shift::Shl => self.b.ins().ishl(x, n),
            Shift::UShr => self.b.ins().ushr(x, n),
            Shift::SShr => self.b.ins().sshr(x, n),
        }
    }

    fn mul_add(&mut self, a: Value, b: Value, c: Value) -> Vec<ir::Value> {
        let fused = self.features.fma;
        let count = shape(self.ty(a)).parts;
        let part = |p| {
            let (x, y, z) = (self.part(a, p), self.part(b, p), self.part(c, p));
            if fused {
                return self.b.ins().fma(x, y, z);
            }
            let product = self.b.ins().fmul(x, y);
            // The accumulator first: two-address code then adds to it in place.
            self.b.ins().fadd(z, product)
        };
        (0..count).map(part).collect()
    }

    fn cmp(&mut self, cmp: Cmp, ty: Type, x: ir::Value, y: ir::Value) -> ir::Value {
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

    fn select(&mut self, ty: Type, mask: Value, a: Value, b: Value) -> Vec<ir::Value> {
        let part = |p| {
            let (m, x, y) = (self.part(mask, p), self.part(a, p), self.part(b, p));
            if ty.lanes > 1 {
                return self.pick(m, x, y);
            }
            let set = self.b.ins().icmp_imm_s(IntCC::NotEqual, m, 0);
            self.b.ins().select(set, x, y)
        };
        (0..shape(ty).parts).map(part).collect()
    }

    fn convert(&mut self, convert: Convert, ty: Type, a: Value) -> Vec<ir::Value> {
        let from = self.ty(a);
        match convert {
            Convert::WidenS | Convert::WidenU => {
                let signed = convert == Convert::WidenS;
                if let Some(parts) = self.widened(a) {
                    let half = Type::new(wider(from.elem), from.lanes);
                    return self.widen(signed, half, ty, parts);
                }
                let parts = self.parts(a);
                self.widen(signed, from, ty, parts)
            }
            Convert::Narrow => {
                let parts = self.parts(a);
                self.narrow(from, ty, parts)
            }
            Convert::IntToFloat => self.map(a, |e, x| {
                let to = if e.is_vector(x) {
                    types::F32X4
                } else {
                    types::F32
                };
                e.b.ins().fcvt_from_sint(to, x)
            }),
            Convert::FloatToInt => {
                let float = Type::new(Elem::F32, ty.lanes);
                self.map(a, |e, x| {
                    let to = if e.is_vector(x) {
                        types::I32X4
                    } else {
                        types::I32
                    };
                    let rounded = e.un(Un::FRound, float, x);
                    e.b.ins().fcvt_to_sint_sat(to, rounded)
                })
            }
        }
    }

    fn widen(
        &mut self,
        signed: bool,
        from: Type,
        to: Type,
        parts: Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        if from.lanes == 1 {
            let wide = scalar(to.elem);
            return vec![if signed {
                self.b.ins().sextend(wide, parts[0])
            } else {
                self.b.ins().uextend(wide, parts[0])
            }];
        }
        let (mut elem, mut parts) = (from.elem, parts);
        while elem != to.elem {
            elem = wider(elem);
            let count = shape(Type::new(elem, to.lanes)).parts;
            let mut next = Vec::new();
            for part in parts {
                next.push(if signed {
                    self.b.ins().swiden_low(part)
                } else {
                    self.b.ins().uwiden_low(part)
                });
                if next.len() < count {
                    next.push(if signed {
                        self.b.ins().swiden_high(part)
                    } else {
                        self.b.ins().uwiden_high(part)
                    });
                }
            }
            parts = next;
        }
        parts
    }

    /// Drops high bits: they are replaced by copies of the sign, so that the saturating pack keeps the value.
    fn narrow(&mut self, from: Type, to: Type, parts: Vec<ir::Value>) -> Vec<ir::Value> {
        if from.lanes == 1 {
            return vec![self.b.ins().ireduce(scalar(to.elem), parts[0])];
        }
        let (mut elem, mut parts) = (from.elem, parts);
        if elem == Elem::I64 {
            parts = self.narrow_quads(parts, from.lanes);
            elem = Elem::I32;
        }
        while elem != to.elem {
            let half = (elem.bits() / 2) as u8;
            let kept: Vec<ir::Value> = parts
                .iter()
                .map(|p| {
                    let up = self.shift(Shift::Shl, *p, half);
                    self.shift(Shift::SShr, up, half)
                })
                .collect();
            parts = kept
                .chunks(2)
                .map(|pair| self.b.ins().snarrow(pair[0], pair[pair.len() - 1]))
                .collect();
            elem = if elem == Elem::I32 {
                Elem::I16
            } else {
                Elem::I8
            };
        }
        parts
    }

    /// The low halves of 64-bit lanes.
    fn narrow_quads(&mut self, parts: Vec<ir::Value>, lanes: u16) -> Vec<ir::Value> {
        let scalars: Vec<ir::Value> = (0..lanes)
            .map(|lane| {
                let quad = self
                    .b
                    .ins()
                    .extractlane(parts[usize::from(lane / 2)], (lane % 2) as u8);
                self.b.ins().ireduce(types::I32, quad)
            })
            .collect();
        self.assemble(Type::new(Elem::I32, lanes), &scalars)
    }

    fn bitcast(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        let from = self.ty(a);
        let parts = self.parts(a);
        match (from.lanes, ty.lanes) {
            (1, 1) => vec![self.cast(parts[0], scalar(ty.elem))],
            (1, _) => vec![self.low_part(parts[0], register(ty.elem))],
            (_, 1) => {
                let register = self.cast(parts[0], register(ty.elem));
                vec![self.b.ins().extractlane(register, 0)]
            }
            (_, _) => parts
                .into_iter()
                .map(|p| self.cast(p, register(ty.elem)))
                .collect(),
        }
    }

    fn splat(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        if ty.lanes == 1 {
            return vec![self.one(a)];
        }
        if self.is_broadcast(a) {
            return self.broadcast(ty, a);
        }
        let one = self.one(a);
        let part = self.b.ins().splat(register(ty.elem), one);
        vec![part; shape(ty).parts]
    }

    /// The bits of a load over and over.
    fn broadcast(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        let bits = self.one(a);
        let scalar = self.b.func.dfg.value_type(bits);
        let lanes = legal::REGISTER * 8 / scalar.bits();
        let all = match scalar.by(lanes) {
            Some(vector) => self.b.ins().splat(vector, bits),
            None => bits,
        };
        let part = self.cast(all, register(ty.elem));
        vec![part; shape(ty).parts]
    }

    fn tile(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        let from = self.ty(a);
        let count = shape(ty).parts;
        if from.lanes == 1 {
            return self.splat(ty, a);
        }
        if self.is_broadcast(a) {
            return self.broadcast(ty, a);
        }
        let parts = self.parts(a);
        if from.bytes() >= legal::REGISTER {
            return parts.iter().copied().cycle().take(count).collect();
        }
        let mask = (0..from.bytes() as u8).cycle().take(16).collect();
        let part = self.shuffle(parts[0], parts[0], mask, register(ty.elem));
        vec![part; count]
    }

    fn repeat(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        let from = self.ty(a);
        let times = ty.lanes / from.lanes;
        if from.lanes == 1 {
            return self.splat(ty, a);
        }
        let per_part = lanes(ty.elem);
        let parts = self.parts(a);
        let full = shape(from).lanes;
        (0..shape(ty).parts as u16)
            .map(|p| {
                let source = |lane: u16| (p * per_part + lane).min(ty.lanes - 1) / times;
                let part = parts[usize::from(source(0) / full)];
                let width = ty.elem.bits() as u16 / 8;
                let mask = (0..16)
                    .map(|byte| (source(byte / width) % full * width + byte % width) as u8)
                    .collect();
                self.shuffle(part, part, mask, register(ty.elem))
            })
            .collect()
    }

    /// Bytes of two registers by a constant mask.
    fn shuffle(&mut self, x: ir::Value, y: ir::Value, mask: Vec<u8>, to: ir::Type) -> ir::Value {
        let x86 = self.features.arch == Arch::X86_64;
        if x86 && !self.features.ssse3 && !shuffles_without_pshufb(&mask) {
            return self.shuffle_lanes(x, y, &mask, to);
        }
        let (x, y) = (self.cast(x, types::I8X16), self.cast(y, types::I8X16));
        let mask: Immediate = self
            .b
            .func
            .dfg
            .immediates
            .push(ConstantData::from(mask.as_slice()));
        let bytes = self.b.ins().shuffle(x, y, mask);
        self.cast(bytes, to)
    }

    /// The same, lane by lane.
    fn shuffle_lanes(
        &mut self,
        x: ir::Value,
        y: ir::Value,
        mask: &[u8],
        to: ir::Type,
    ) -> ir::Value {
        let (vector, width) = match widest(mask) {
            1 => (types::I8X16, 1),
            2 => (types::I16X8, 2),
            4 => (types::I32X4, 4),
            _ => (types::I64X2, 8),
        };
        let (x, y) = (self.cast(x, vector), self.cast(y, vector));
        let mut result = x;
        for (lane, bytes) in mask.chunks(usize::from(width)).enumerate() {
            let from = bytes[0] / width;
            let (source, from) = if bytes[0] < 16 {
                (x, from)
            } else {
                (y, from - 16 / width)
            };
            if source == x && usize::from(from) == lane {
                continue;
            }
            let scalar = self.b.ins().extractlane(source, from);
            result = self.b.ins().insertlane(result, scalar, lane as u8);
        }
        self.cast(result, to)
    }

    fn build(&mut self, ty: Type, values: &[Value]) -> Vec<ir::Value> {
        let scalars: Vec<ir::Value> = values.iter().map(|v| self.one(*v)).collect();
        if ty.lanes == 1 {
            return scalars;
        }
        self.assemble(ty, &scalars)
    }

    fn assemble(&mut self, ty: Type, scalars: &[ir::Value]) -> Vec<ir::Value> {
        scalars
            .chunks(usize::from(lanes(ty.elem)))
            .map(|chunk| {
                let mut part = match ty.elem {
                    Elem::I8 | Elem::I16 => self.low_part(chunk[0], register(ty.elem)),
                    Elem::I32 | Elem::I64 | Elem::F32 => {
                        self.b.ins().scalar_to_vector(register(ty.elem), chunk[0])
                    }
                };
                for (lane, value) in chunk.iter().enumerate().skip(1) {
                    part = self.b.ins().insertlane(part, *value, lane as u8);
                }
                part
            })
            .collect()
    }

    fn extract(&mut self, a: Value, lane: u16) -> ir::Value {
        let from = self.ty(a);
        if from.lanes == 1 {
            return self.one(a);
        }
        let full = shape(from).lanes;
        let part = self.parts(a)[usize::from(lane / full)];
        self.b.ins().extractlane(part, (lane % full) as u8)
    }

    fn slice(&mut self, ty: Type, a: Value, start: u16) -> Vec<ir::Value> {
        let full = lanes(ty.elem);
        if ty.lanes == 1 {
            return vec![self.extract(a, start)];
        }
        if start.is_multiple_of(full) && (ty.lanes >= full || start + ty.lanes <= start + full) {
            let first = usize::from(start / full);
            return self.parts(a)[first..first + shape(ty).parts].to_vec();
        }
        let scalars: Vec<ir::Value> = (0..ty.lanes).map(|l| self.extract(a, start + l)).collect();
        self.assemble(ty, &scalars)
    }

    fn join(&mut self, ty: Type, lo: Value, hi: Value) -> Vec<ir::Value> {
        let (low, high) = (self.parts(lo), self.parts(hi));
        if ty.lanes == 1 {
            let wide = scalar(ty.elem);
            let (l, h) = (
                self.b.ins().uextend(wide, low[0]),
                self.b.ins().uextend(wide, high[0]),
            );
            let up = self.shift(Shift::Shl, h, (ty.elem.bits() / 2) as u8);
            return vec![self.b.ins().bor(l, up)];
        }
        let width = (ty.elem.bits() / 16) as u8;
        let mask = |from: u8| interleave(width, from);
        let count = shape(ty).parts;
        let mut parts = Vec::new();
        for (l, h) in low.into_iter().zip(high) {
            parts.push(self.shuffle(l, h, mask(0), register(ty.elem)));
            if parts.len() < count {
                parts.push(self.shuffle(l, h, mask(8), register(ty.elem)));
            }
        }
        parts
    }

    fn lookup(&mut self, ty: Type, table: Value, index: Value) -> Vec<ir::Value> {
        let table = self.one(table);
        if ty.lanes == 1 {
            let index = self.one(index);
            let vector = self.low_part(index, types::I8X16);
            let found = self.table_bytes(table, vector);
            return vec![self.b.ins().extractlane(found, 0)];
        }
        self.map(index, |e, x| e.table_bytes(table, x))
    }

    fn table_bytes(&mut self, table: ir::Value, index: ir::Value) -> ir::Value {
        match self.features.arch {
            Arch::Aarch64 => self.b.ins().swizzle(table, index),
            Arch::X86_64 if self.features.ssse3 => self.b.ins().x86_pshufb(table, index),
            Arch::X86_64 => {
                // One entry after the other: entry where the index is its number.
                let zero = self.constant(types::I8X16, vec![0; 16]);
                (0..16).fold(zero, |sum, n| {
                    let number = self.constant(types::I8X16, vec![n; 16]);
                    let here = self.b.ins().icmp(IntCC::Equal, index, number);
                    let entry = self.b.ins().extractlane(table, n);
                    let entries = self.b.ins().splat(types::I8X16, entry);
                    let found = self.b.ins().band(here, entries);
                    self.b.ins().bor(sum, found)
                })
            }
        }
    }

    fn mul_pairs_u8s8(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        if self.features.arch == Arch::X86_64 && self.features.ssse3 {
            return self.b.ins().x86_pmaddubsw(b, a);
        }
        let (al, ah) = (self.b.ins().uwiden_low(a), self.b.ins().uwiden_high(a));
        let (bl, bh) = (self.b.ins().swiden_low(b), self.b.ins().swiden_high(b));
        let (low, high) = (self.b.ins().imul(al, bl), self.b.ins().imul(ah, bh));
        let pick = |odd: u8| -> Vec<u8> {
            (0..8)
                .flat_map(|l| [l * 4 + odd * 2, l * 4 + odd * 2 + 1])
                .collect()
        };
        let even = self.shuffle(low, high, pick(0), types::I16X8);
        let odd = self.shuffle(low, high, pick(1), types::I16X8);
        self.b.ins().sadd_sat(even, odd)
    }

    fn mul_pairs_s16(&mut self, a: ir::Value, b: ir::Value) -> ir::Value {
        let (al, bl) = (self.b.ins().swiden_low(a), self.b.ins().swiden_low(b));
        let low = self.b.ins().imul(al, bl);
        let (ah, bh) = (self.b.ins().swiden_high(a), self.b.ins().swiden_high(b));
        let high = self.b.ins().imul(ah, bh);
        self.b.ins().iadd_pairwise(low, high)
    }

    fn dot(&mut self, ty: Type, acc: Value, a: Value, b: Value, signed: bool) -> Vec<ir::Value> {
        let scalar_acc = ty.lanes == 1;
        let mut acc = self.parts(acc);
        if scalar_acc {
            acc = vec![self.low_part(acc[0], types::I32X4)];
        }
        let part = |(p, acc)| {
            let (a, b) = (self.part(a, p), self.part(b, p));
            self.dot_part(acc, a, b, signed)
        };
        let parts: Vec<ir::Value> = acc.into_iter().enumerate().map(part).collect();
        if scalar_acc {
            vec![self.b.ins().extractlane(parts[0], 0)]
        } else {
            parts
        }
    }

    /// The tree that `vpdpbusd` (signed factor first), `usdot` (unsigned first) and `sdot` are selected for; the
    /// accumulator is the second operand. Elsewhere it is exact as it stands: products fit 16 bits, pairs fit 32.
    fn dot_part(&mut self, acc: ir::Value, a: ir::Value, b: ir::Value, signed: bool) -> ir::Value {
        let x86 = self.features.arch == Arch::X86_64;
        let (al, ah) = match signed {
            true => (self.b.ins().swiden_low(a), self.b.ins().swiden_high(a)),
            false => (self.b.ins().uwiden_low(a), self.b.ins().uwiden_high(a)),
        };
        let (bl, bh) = (self.b.ins().swiden_low(b), self.b.ins().swiden_high(b));
        let (low, high) = match x86 && !signed {
            true => (self.b.ins().imul(bl, al), self.b.ins().imul(bh, ah)),
            false => (self.b.ins().imul(al, bl), self.b.ins().imul(ah, bh)),
        };
        let (ll, lh) = (self.b.ins().swiden_low(low), self.b.ins().swiden_high(low));
        let (hl, hh) = (
            self.b.ins().swiden_low(high),
            self.b.ins().swiden_high(high),
        );
        let (low, high) = (
            self.b.ins().iadd_pairwise(ll, lh),
            self.b.ins().iadd_pairwise(hl, hh),
        );
        let four = self.b.ins().iadd_pairwise(low, high);
        self.b.ins().iadd(four, acc)
    }

    fn fold(&mut self, ty: Type, a: Value, max: bool) -> Vec<ir::Value> {
        let from = self.ty(a);
        let mut parts = self.parts(a);
        if from.lanes == ty.lanes {
            return parts;
        }
        let mut lanes_left = from.lanes;
        while lanes_left > ty.lanes {
            let group = lanes_left / ty.lanes;
            let (first, second) = self.halves(parts, ty.elem, lanes_left, group);
            parts = first
                .into_iter()
                .zip(second)
                .map(|(x, y)| self.combine(ty, max, x, y))
                .collect();
            lanes_left /= 2;
        }
        if ty.lanes == 1 {
            vec![self.b.ins().extractlane(parts[0], 0)]
        } else {
            parts
        }
    }

    fn combine(&mut self, ty: Type, max: bool, x: ir::Value, y: ir::Value) -> ir::Value {
        let op = match (max, ty.elem) {
            (true, Elem::F32) => Bin::FMax,
            (true, _) => Bin::SMax,
            (false, Elem::F32) => Bin::FAdd,
            (false, _) => Bin::IAdd,
        };
        self.bin(op, Type::new(ty.elem, 4), x, y)
    }

    /// First and second halves of groups of lanes, side by side.
    fn halves(
        &mut self,
        parts: Vec<ir::Value>,
        elem: Elem,
        count: u16,
        group: u16,
    ) -> (Vec<ir::Value>, Vec<ir::Value>) {
        let full = lanes(elem);
        let half = group / 2;
        if half >= full {
            let per_half = usize::from(half / full);
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for chunk in parts.chunks(2 * per_half) {
                first.extend(&chunk[..per_half]);
                second.extend(&chunk[per_half..]);
            }
            return (first, second);
        }
        let width = elem.bits() as u16 / 8;
        let out = usize::from((count / 2).div_ceil(full));
        let source = |lane: u16, side: u16| lane / half * group + side * half + lane % half;
        let mut sides = [Vec::new(), Vec::new()];
        for (side, list) in sides.iter_mut().enumerate() {
            for p in 0..out as u16 {
                // The lanes of this part come from two neighbouring registers.
                let base = usize::from(source(p * full, side as u16).min(count - 1) / full);
                let other = (base + 1).min(parts.len() - 1);
                let mask = (0..16u16)
                    .map(|byte| {
                        let lane = source(p * full + byte / width, side as u16).min(count - 1);
                        let within = lane - base as u16 * full;
                        (within.min(2 * full - 1) * width + byte % width) as u8
                    })
                    .collect();
                list.push(self.shuffle(parts[base], parts[other], mask, register(elem)));
            }
        }
        let [first, second] = sides;
        (first, second)
    }
}

fn wider(elem: Elem) -> Elem {
    match elem {
        Elem::I8 => Elem::I16,
        Elem::I16 => Elem::I32,
        Elem::I32 | Elem::I64 | Elem::F32 => Elem::I64,
    }
}

/// Bytes of the widest lanes that a mask moves whole.
fn widest(mask: &[u8]) -> u8 {
    let whole = |width: u8| {
        mask.chunks(usize::from(width))
            .all(|lane| lane[0].is_multiple_of(width) && lane.windows(2).all(|w| w[1] == w[0] + 1))
    };
    [8, 4, 2].into_iter().find(|w| whole(*w)).unwrap_or(1)
}

/// Whether SSE2 has an instruction: 32-bit lanes of one register, and interleaving.
fn shuffles_without_pshufb(mask: &[u8]) -> bool {
    let one = mask.iter().all(|b| *b < 16) || mask.iter().all(|b| *b >= 16);
    let interleaves = [1u8, 2, 4, 8].into_iter().any(|width| {
        [0, 8]
            .into_iter()
            .any(|from| mask == interleave(width, from))
    });
    interleaves || one && widest(mask) >= 4
}

/// Lanes of two registers in turn, from a byte on.
fn interleave(width: u8, from: u8) -> Vec<u8> {
    (0..8 / width)
        .flat_map(|lane| (0..2).map(move |side| from + lane * width + side * 16))
        .flat_map(|start| start..start + width)
        .collect()
}
