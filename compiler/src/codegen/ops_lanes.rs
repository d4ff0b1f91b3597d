//! Operations that move lanes into CLIF: broadcasts, shuffles, slices, and folds of neighbouring lanes.

use super::emit::Emit;
use super::features::Arch;
use super::legal::{self, lanes, register, scalar, shape};
use crate::vector::ir::{Bin, Elem, Shift, Type, Value};
use cranelift_codegen::ir::{self, ConstantData, Immediate, InstBuilder, types};

impl Emit<'_, '_> {
    pub(super) fn splat(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
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
    pub(super) fn broadcast(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
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

    pub(super) fn tile(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
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

    pub(super) fn repeat(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
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
    pub(super) fn shuffle(
        &mut self,
        x: ir::Value,
        y: ir::Value,
        mask: Vec<u8>,
        to: ir::Type,
    ) -> ir::Value {
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
    pub(super) fn shuffle_lanes(
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

    pub(super) fn build(&mut self, ty: Type, values: &[Value]) -> Vec<ir::Value> {
        let scalars: Vec<ir::Value> = values.iter().map(|v| self.one(*v)).collect();
        if ty.lanes == 1 {
            return scalars;
        }
        self.assemble(ty, &scalars)
    }

    pub(super) fn assemble(&mut self, ty: Type, scalars: &[ir::Value]) -> Vec<ir::Value> {
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

    pub(super) fn extract(&mut self, a: Value, lane: u16) -> ir::Value {
        let from = self.ty(a);
        if from.lanes == 1 {
            return self.one(a);
        }
        let full = shape(from).lanes;
        let part = self.parts(a)[usize::from(lane / full)];
        self.b.ins().extractlane(part, (lane % full) as u8)
    }

    pub(super) fn slice(&mut self, ty: Type, a: Value, start: u16) -> Vec<ir::Value> {
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

    /// A scalar from its halves.
    pub(super) fn join(&mut self, ty: Type, lo: Value, hi: Value) -> ir::Value {
        let (low, high) = (self.one(lo), self.one(hi));
        let wide = scalar(ty.elem);
        let (l, h) = (
            self.b.ins().uextend(wide, low),
            self.b.ins().uextend(wide, high),
        );
        let up = self.shift(Shift::Shl, h, (ty.elem.bits() / 2) as u8);
        self.b.ins().bor(l, up)
    }

    /// A register of interleaved lanes.
    pub(super) fn join_part(&mut self, ty: Type, lo: Value, hi: Value, p: usize) -> ir::Value {
        let (l, h) = (self.part(lo, p / 2), self.part(hi, p / 2));
        let mask = interleave((ty.elem.bits() / 16) as u8, 8 * (p % 2) as u8);
        self.shuffle(l, h, mask, register(ty.elem))
    }

    pub(super) fn fold(&mut self, ty: Type, a: Value, max: bool) -> Vec<ir::Value> {
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

    pub(super) fn combine(&mut self, ty: Type, max: bool, x: ir::Value, y: ir::Value) -> ir::Value {
        let op = match (max, ty.elem) {
            (true, Elem::F32) => Bin::FMax,
            (true, _) => Bin::SMax,
            (false, Elem::F32) => Bin::FAdd,
            (false, _) => Bin::IAdd,
        };
        self.bin(op, Type::new(ty.elem, 4), x, y)
    }

    /// First and second halves of groups of lanes, side by side.
    pub(super) fn halves(
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

fn widest(mask: &[u8]) -> u8 {
    let whole = |width: u8| {
        mask.chunks(usize::from(width))
            .all(|lane| lane[0].is_multiple_of(width) && lane.windows(2).all(|w| w[1] == w[0] + 1))
    };
    [8, 4, 2].into_iter().find(|w| whole(*w)).unwrap_or(1)
}

fn shuffles_without_pshufb(mask: &[u8]) -> bool {
    let one = mask.iter().all(|b| *b < 16) || mask.iter().all(|b| *b >= 16);
    let interleaves = [1u8, 2, 4, 8].into_iter().any(|width| {
        [0, 8]
            .into_iter()
            .any(|from| mask == interleave(width, from))
    });
    interleaves || one && widest(mask) >= 4
}

fn interleave(width: u8, from: u8) -> Vec<u8> {
    (0..8 / width)
        .flat_map(|lane| (0..2).map(move |side| from + lane * width + side * 16))
        .flat_map(|start| start..start + width)
        .collect()
}
