//! Conversions between element types, and casts, into CLIF.

use super::constants::{SPREAD, spreads};
use super::emit::Emit;
use super::legal::{register, scalar, shape};
use crate::vector::ir::{Convert, Elem, Shift, Type, Un, Value};
use cranelift_codegen::ir::{self, InstBuilder, types};

impl Emit<'_, '_> {
    pub(super) fn convert(&mut self, convert: Convert, ty: Type, a: Value) -> Vec<ir::Value> {
        let from = self.ty(a);
        match convert {
            Convert::WidenS | Convert::WidenU => {
                let signed = convert == Convert::WidenS;
                if let Some(parts) = self.widened(a) {
                    if from.lanes == 1 {
                        return vec![self.low_bits(signed, ty, parts[0])];
                    }
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
            Convert::IntToFloat => {
                let x = self.one(a);
                vec![self.b.ins().fcvt_from_sint(types::F32, x)]
            }
            Convert::FloatToInt => {
                let x = self.one(a);
                let rounded = self.un(Un::FRound, Type::new(Elem::F32, 1), x);
                vec![self.b.ins().fcvt_to_sint_sat(types::I32, rounded)]
            }
        }
    }

    pub(super) fn widen(
        &mut self,
        signed: bool,
        from: Type,
        to: Type,
        parts: Vec<ir::Value>,
    ) -> Vec<ir::Value> {
        if from.lanes == 1 {
            // Through 64 bits, since wide values are mostly widened again, for addresses.
            let wide = match (signed, self.extended.get(&parts[0])) {
                (false, Some(known)) => *known,
                (false, None) => self.b.ins().uextend(types::I64, parts[0]),
                (true, _) => self.b.ins().sextend(types::I64, parts[0]),
            };
            return vec![self.low_bits(signed, to, wide)];
        }
        if !signed && self.features.spreads_bytes() && spreads(from, to) {
            let mut next = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let quarters = shape(to).parts - 4 * at;
                for mask in &SPREAD[..quarters.min(4)] {
                    let mask = self.constant(types::I8X16, mask.to_vec());
                    let spread = self.b.ins().x86_pshufb(*part, mask);
                    next.push(self.cast(spread, types::I32X4));
                }
            }
            return next;
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

    /// A scalar of which 64 bits are known.
    fn low_bits(&mut self, signed: bool, to: Type, wide: ir::Value) -> ir::Value {
        if to.elem == Elem::I64 {
            return wide;
        }
        let low = self.b.ins().ireduce(scalar(to.elem), wide);
        if !signed {
            self.extended.insert(low, wide);
        }
        low
    }

    /// Drops high bits: they are replaced by copies of the sign, so that the saturating pack keeps the value.
    pub(super) fn narrow(&mut self, from: Type, to: Type, parts: Vec<ir::Value>) -> Vec<ir::Value> {
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
    pub(super) fn narrow_quads(&mut self, parts: Vec<ir::Value>, lanes: u16) -> Vec<ir::Value> {
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

    pub(super) fn bitcast(&mut self, ty: Type, a: Value) -> Vec<ir::Value> {
        let bits = self.one(a);
        vec![match (self.ty(a).lanes, ty.lanes) {
            (1, 1) => self.cast(bits, scalar(ty.elem)),
            (1, _) => self.low_part(bits, register(ty.elem)),
            (_, _) => {
                let register = self.cast(bits, register(ty.elem));
                self.b.ins().extractlane(register, 0)
            }
        }]
    }
}

fn wider(elem: Elem) -> Elem {
    match elem {
        Elem::I8 => Elem::I16,
        Elem::I16 => Elem::I32,
        Elem::I32 | Elem::I64 | Elem::F32 => Elem::I64,
    }
}
