//! Values: one operation of the extracted term into vector operations.

use super::nest::{Nest, environments};
use super::{Env, I32};
use crate::format::{Element, UnOp};
use crate::rewrite::extract::Picked;
use crate::rewrite::lang::{Node, Op as Term, Ty};
use crate::schedule::ScheduleError;
use crate::schedule::index::AxisId;
use crate::vector::ir::{Bin, Cmp, Convert, Elem, Op, Shift, Type, Un, Value};

/// What an accumulator starts from: 0, or minus infinity for a maximum.
pub(super) fn zero(nest: &mut Nest<'_, '_, '_>, node: &Picked) -> Value {
    let ty = nest.ty(node);
    let op = match (node.op, ty.elem) {
        (Term::VMaxOver, _) => Op::FConst(f32::NEG_INFINITY.to_bits()),
        (_, Elem::F32) => Op::FConst(0),
        _ => Op::IConst(0),
    };
    nest.lower.put_at(0, ty, op)
}

impl Nest<'_, '_, '_> {
    /// The value of a node; the loops that it needs have been emitted.
    pub(super) fn value(&mut self, at: usize, env: &Env) -> Result<Value, ScheduleError> {
        let key = self.key(at, env);
        if let Some(value) = self.known(&key) {
            return Ok(value);
        }
        let value = self.compute(at, env)?;
        self.remember(key, value);
        Ok(value)
    }

    fn compute(&mut self, at: usize, env: &Env) -> Result<Value, ScheduleError> {
        let node = self.node(at).clone();
        let ty = self.ty(&node);
        match node.op {
            Term::VSum | Term::VMaxOver => {
                let max = node.op == Term::VMaxOver;
                let axis = self.bound_axis(at);
                let mut acc = None;
                for copy in 0..self.copies(axis) {
                    let mut inner = env.clone();
                    inner.insert(axis, copy);
                    acc = Some(match acc {
                        None => self.value(node.children[0], &inner)?,
                        Some(acc) => self.accumulate(acc, node.children[0], &inner, max)?,
                    });
                }
                return acc.ok_or(ScheduleError::Internal("a sum over no copies"));
            }
            Term::VSumBytes => return self.sum_bytes(at, env, ty),
            Term::VPackBits => return self.pack_bits(at, env, ty),
            Term::VIAdd => {
                if let Some(bits) = self.bits_together(at, ty, env)? {
                    return Ok(bits);
                }
            }
            Term::VLoad => return self.load(&node, env),
            Term::VStage | Term::VPanel => return self.kept(at, ty, env),
            _ => {}
        }
        let children = node
            .children
            .iter()
            .map(|c| self.value(*c, env))
            .collect::<Result<Vec<_>, _>>()?;
        self.operation(&node, ty, &children, env)
    }

    /// Bytes summed over copies. A pair of bytes is a word: the sum of words is the sum of low bytes and 256 times that of
    /// high ones, of which the second is also summed alone.
    fn sum_bytes(&mut self, at: usize, env: &Env, ty: Type) -> Result<Value, ScheduleError> {
        let (axis, child) = (self.bound_axis(at), self.node(at).children[0]);
        let words = Type::new(Elem::I16, ty.lanes / 2);
        let mut sums: Option<(Value, Value)> = None;
        for copy in 0..self.copies(axis) {
            let mut inner = env.clone();
            inner.insert(axis, copy);
            let bytes = self.value(child, &inner)?;
            let all = self.lower.put(words, Op::Bitcast(bytes), &[bytes]);
            let high = self
                .lower
                .put(words, Op::Shift(Shift::UShr, all, 8), &[all]);
            let mut add = |a: Value, b: Value| {
                let op = Op::Bin(Bin::IAdd, a, b);
                self.lower.put(words, op, &[a, b])
            };
            sums = Some(match sums {
                None => (all, high),
                Some((alls, highs)) => (add(alls, all), add(highs, high)),
            });
        }
        let (all, hi) = sums.ok_or(ScheduleError::Internal("a sum over no copies"))?;
        let above = self.lower.put(words, Op::Shift(Shift::Shl, hi, 8), &[hi]);
        let lo = self
            .lower
            .put(words, Op::Bin(Bin::ISub, all, above), &[all, above]);
        let pairs = Type::new(Elem::I32, words.lanes);
        let joined = self.lower.put(pairs, Op::Join { lo, hi }, &[lo, hi]);
        Ok(self.lower.put(ty, Op::Bitcast(joined), &[joined]))
    }

    /// Bits of copies as bytes: from the highest down, what there is doubled and the next one added.
    fn pack_bits(&mut self, at: usize, env: &Env, ty: Type) -> Result<Value, ScheduleError> {
        let (axis, child) = (self.bound_axis(at), self.node(at).children[0]);
        let mut packed = None;
        for copy in (0..self.copies(axis)).rev() {
            let mut inner = env.clone();
            inner.insert(axis, copy);
            let bit = self.value(child, &inner)?;
            let mut add = |a: Value, b: Value| {
                let op = Op::Bin(Bin::IAdd, a, b);
                self.lower.put(ty, op, &[a, b])
            };
            packed = Some(match packed {
                None => bit,
                Some(above) => {
                    let twice = add(above, above);
                    add(twice, bit)
                }
            });
        }
        packed.ok_or(ScheduleError::Internal("bits of no copies"))
    }

    fn operation(
        &mut self,
        node: &Picked,
        ty: Type,
        c: &[Value],
        env: &Env,
    ) -> Result<Value, ScheduleError> {
        let reference = |at: usize| match node.data.get(at) {
            Some(Node::Ref(r)) => Ok(*r),
            _ => Err(ScheduleError::Internal("an operation without its number")),
        };
        let mut bin = |b: Bin| self.lower.put(ty, Op::Bin(b, c[0], c[1]), c);
        Ok(match node.op {
            Term::VFAdd => bin(Bin::FAdd),
            Term::VFSub => bin(Bin::FSub),
            Term::VFMul => bin(Bin::FMul),
            Term::VFDiv => bin(Bin::FDiv),
            Term::VFMin => bin(Bin::FMin),
            Term::VFMax => bin(Bin::FMax),
            Term::VIAdd => bin(Bin::IAdd),
            Term::VIMul | Term::VMulLow => bin(Bin::IMul),
            Term::VAnd => bin(Bin::And),
            Term::VCountOnes => self.lower.put(ty, Op::Un(Un::CountOnes, c[0]), c),
            Term::VAbs => self.lower.put(ty, Op::Un(Un::FAbs, c[0]), c),
            Term::VSqrt => self.lower.put(ty, Op::Un(Un::FSqrt, c[0]), c),
            Term::VRound => self.lower.declared_unary(UnOp::Round, c[0], ty),
            Term::VRoundAway => self.lower.declared_unary(UnOp::RoundAway, c[0], ty),
            Term::VTrunc => self.lower.declared_unary(UnOp::Trunc, c[0], ty),
            Term::VFloor => self.lower.declared_unary(UnOp::Floor, c[0], ty),
            Term::VFloorPow2 => self.lower.declared_unary(UnOp::FloorPow2, c[0], ty),
            Term::VExp => self.lower.exp(c[0], ty),
            Term::VTanh => self.lower.tanh(c[0], ty),
            Term::VSilu => self.lower.silu(c[0], ty),
            Term::VGelu => self.lower.gelu(c[0], ty),
            Term::VSelectLt => self.select(Cmp::FLt, ty, c),
            Term::VSelectLe => self.select(Cmp::FLe, ty, c),
            Term::VSelectEq => self.select(Cmp::FEq, ty, c),
            Term::VFloat => self
                .lower
                .put(ty, Op::Convert(Convert::IntToFloat, c[0]), c),
            Term::VMagic => self.lower.magic(c[0], ty),
            Term::VWiden => {
                let unsigned = matches!(self.node(node.children[0]).ty, Ty::U8 | Ty::U16);
                let kind = if unsigned {
                    Convert::WidenU
                } else {
                    Convert::WidenS
                };
                self.lower.convert(kind, ty, c[0])
            }
            Term::VBias => {
                let flip = self.lower.put_at(0, ty, Op::IConst(-128));
                self.lower
                    .put(ty, Op::Bin(Bin::Xor, c[0], flip), &[c[0], flip])
            }
            Term::VPlain => c[0],
            Term::VPlace => {
                let places = (0..u64::from(ty.lanes)).collect();
                self.lower.put_at(0, ty, Op::VConst(places))
            }
            Term::VPick => {
                let (table, index) = (c[0], c[1]);
                self.lower.put(ty, Op::Lookup { table, index }, c)
            }
            Term::VJoin => {
                let (lo, hi) = (c[0], c[1]);
                self.lower.put(ty, Op::Join { lo, hi }, c)
            }
            Term::VLow | Term::VNarrow => self.lower.convert(Convert::Narrow, ty, c[0]),
            Term::VHigh => {
                let wide = Type::new(Elem::I16, ty.lanes);
                let high = self.lower.put(wide, Op::Shift(Shift::UShr, c[0], 8), c);
                self.lower
                    .put(ty, Op::Convert(Convert::Narrow, high), &[high])
            }
            Term::VMulHigh => {
                let factor = self.constant(node, ty);
                self.lower
                    .put(ty, Op::Bin(Bin::MulHigh, c[0], factor), &[c[0], factor])
            }
            Term::VMulBytes => self.lower.mul_bytes(c[0], c[1], ty),
            Term::VOver256 => self.lower.put(ty, Op::Shift(Shift::SShr, c[0], 8), c),
            Term::VNum => self.constant(node, ty),
            Term::VUnit => self.unit(reference(2)?, ty, env)?,
            Term::VExtent => self.extent(reference(1)?, ty)?,
            Term::VSpread => self.spread(node, ty, c[0]),
            Term::VBits => self.bits(reference(0)?, ty, c[0], env)?,
            Term::VLookup8 => self.lookup8(reference(1)?, ty, c[0]),
            Term::VLookup32 => self.lookup32(reference(0)?, ty, c[0]),
            Term::VFetch => {
                let element = self.element(reference(1)?);
                self.lower.fetch_value(&element, ty, c[0])
            }
            Term::VTable => {
                let entries = self.entries(reference(1)?);
                self.lower.table_value("table", &entries, ty, c[0])
            }
            Term::VSigned => {
                let element = self.element(reference(1)?);
                self.lower.extend_sign(&element, ty, c[0])
            }
            Term::VDecode => {
                let element = self.element(reference(0)?);
                self.lower.decode_value(&element, ty, c[0])?
            }
            Term::VFold => self.lower.put(ty, Op::Fold(c[0]), c),
            Term::VFoldMax => self.lower.put(ty, Op::FoldMax(c[0]), c),
            Term::VDot4 | Term::VDot4S => {
                let acc = self.lower.put_at(0, ty, Op::IConst(0));
                let (a, b) = (c[0], c[1]);
                let op = if node.op == Term::VDot4 {
                    Op::Dot4U8S8 { acc, a, b }
                } else {
                    Op::Dot4S8S8 { acc, a, b }
                };
                self.lower.put(ty, op, &[acc, a, b])
            }
            Term::VMulPairs8 => self.lower.put(ty, Op::MulPairsU8S8(c[0], c[1]), c),
            Term::VMulPairs16 => self.lower.put(ty, Op::MulPairsS16(c[0], c[1]), c),
            Term::VAddPairs16 => {
                let ones = self
                    .lower
                    .put_at(0, Type::new(Elem::I16, ty.lanes * 2), Op::IConst(1));
                self.lower
                    .put(ty, Op::MulPairsS16(c[0], ones), &[c[0], ones])
            }
            Term::Add
            | Term::Mul
            | Term::Div
            | Term::Min
            | Term::Max
            | Term::Abs
            | Term::Exp
            | Term::Sqrt
            | Term::Tanh
            | Term::Silu
            | Term::Gelu
            | Term::Round
            | Term::RoundAway
            | Term::Trunc
            | Term::Floor
            | Term::FloorPow2
            | Term::SelectLt
            | Term::SelectLe
            | Term::SelectEq
            | Term::StrictAdd
            | Term::StrictSub
            | Term::StrictMul
            | Term::StrictDiv
            | Term::StrictMin
            | Term::StrictMax
            | Term::Ld
            | Term::Extent
            | Term::Unit
            | Term::Bits
            | Term::Elem
            | Term::Lookup
            | Term::Biased
            | Term::Place
            | Term::Pick
            | Term::At
            | Term::LowByte
            | Term::HighByte
            | Term::Over256
            | Term::Wrap
            | Term::And
            | Term::CountOnes
            | Term::PackBits
            | Term::Sum
            | Term::MaxOver
            | Term::Vec
            | Term::VLoad
            | Term::VSum
            | Term::VSumBytes
            | Term::VPackBits
            | Term::VMaxOver
            | Term::VStage
            | Term::VPanel => {
                return Err(ScheduleError::Internal(
                    "an operation that is not a target's",
                ));
            }
        })
    }

    fn element(&self, number: u32) -> Element {
        self.chosen.facts.terms.elements[number as usize].clone()
    }

    fn select(&mut self, cmp: Cmp, ty: Type, c: &[Value]) -> Value {
        let mask = self
            .lower
            .put(ty.as_int(), Op::Cmp(cmp, c[0], c[1]), &c[..2]);
        self.lower
            .put(ty, Op::Select(mask, c[2], c[3]), &[mask, c[2], c[3]])
    }

    fn constant(&mut self, node: &Picked, ty: Type) -> Value {
        let number = match node.data.last() {
            Some(Node::Num(bits)) => f64::from_bits(*bits),
            _ => 0.0,
        };
        self.number(number, ty)
    }

    fn number(&mut self, number: f64, ty: Type) -> Value {
        let op = if ty.elem == Elem::F32 {
            Op::FConst((number as f32).to_bits())
        } else {
            Op::IConst(number as i64)
        };
        self.lower.put_at(0, ty, op)
    }

    fn extent(&mut self, number: u32, ty: Type) -> Result<Value, ScheduleError> {
        use crate::schedule::term::Term as T;
        let scalars = self
            .chosen
            .facts
            .terms
            .terms
            .values()
            .filter_map(|t| match t {
                T::Scalar(s) => Some(s.clone()),
                _ => None,
            });
        let scalar = scalars
            .into_iter()
            .nth(number as usize)
            .ok_or(ScheduleError::Internal("an extent that is not there"))?;
        let wide = self.lower.scalar(&scalar);
        let int = self
            .lower
            .put(I32, Op::Convert(Convert::Narrow, wide), &[wide]);
        let float = self.lower.put(
            Type::new(Elem::F32, 1),
            Op::Convert(Convert::IntToFloat, int),
            &[int],
        );
        Ok(if ty.lanes == 1 {
            float
        } else {
            self.lower.put(ty, Op::Splat(float), &[float])
        })
    }

    fn spread(&mut self, node: &Picked, ty: Type, short: Value) -> Value {
        let from = self.node(node.children[0]).lanes;
        if from.is_empty() {
            return self.lower.put(ty, Op::Splat(short), &[short]);
        }
        let all: Vec<AxisId> = node.lanes.iter().collect();
        let kept: Vec<AxisId> = from.iter().collect();
        if all.ends_with(&kept) {
            return self.lower.put(ty, Op::Tile(short), &[short]);
        }
        if all.starts_with(&kept) {
            return self.lower.put(ty, Op::Repeat(short), &[short]);
        }
        let scalar = Type::new(ty.elem, 1);
        let lanes: Vec<Value> = environments(&all, &self.axes)
            .iter()
            .map(|env| {
                let lane = kept
                    .iter()
                    .fold(0, |n, a| n * self.axes[*a].nominal + env[a]);
                self.lower
                    .put(scalar, Op::Extract(short, lane as u16), &[short])
            })
            .collect();
        self.lower.put(ty, Op::Build(lanes.clone()), &lanes)
    }

    /// What a number is worth, in a copy.
    fn unit(&mut self, number: u32, ty: Type, env: &Env) -> Result<Value, ScheduleError> {
        let unit = self.chosen.facts.terms.units[number as usize].clone();
        let value = unit.at(self.known_place(&unit.bits, env)?);
        Ok(self.number(value, ty))
    }

    fn entries(&self, number: u32) -> Vec<f64> {
        let mut entries = self.chosen.facts.tables[number as usize].clone();
        entries.resize(16, 0.0);
        entries
    }

    fn lookup8(&mut self, number: u32, ty: Type, code: Value) -> Value {
        let entries = self.entries(number);
        let bytes: Vec<u8> = entries.iter().map(|e| *e as i64 as u8).collect();
        if let Some(known) = self.lower.known_bytes(&bytes, ty, code) {
            return known;
        }
        if ty.lanes == 1 {
            return self.lower.table_load("bytes", bytes, 1, code, ty);
        }
        self.plane(&bytes, ty, code)
    }

    fn plane(&mut self, bytes: &[u8], ty: Type, code: Value) -> Value {
        let lanes = bytes.iter().map(|b| u64::from(*b)).collect();
        let table = self
            .lower
            .put_at(0, Type::new(Elem::I8, 16), Op::VConst(lanes));
        self.lower
            .put(ty, Op::Lookup { table, index: code }, &[table, code])
    }

    /// A table of floats in registers: a look-up for each byte that is not zero in all entries, joined.
    fn lookup32(&mut self, number: u32, ty: Type, code: Value) -> Value {
        let floats: Vec<u32> = self
            .entries(number)
            .iter()
            .map(|e| (*e as f32).to_bits())
            .collect();
        if ty.lanes == 1 {
            let bytes = floats.iter().flat_map(|f| f.to_le_bytes()).collect();
            return self.lower.table_load("floats", bytes, 4, code, ty);
        }
        let bytes_ty = Type::new(Elem::I8, ty.lanes);
        let half = |nest: &mut Self, low: u32| -> Option<Value> {
            let plane =
                |p: u32| -> Vec<u8> { floats.iter().map(|f| (f >> (8 * p)) as u8).collect() };
            let (lo, hi) = (plane(low), plane(low + 1));
            if lo.iter().chain(&hi).all(|b| *b == 0) {
                return None;
            }
            let mut get = |bytes: Vec<u8>| match bytes.iter().all(|b| *b == 0) {
                true => nest.lower.put_at(0, bytes_ty, Op::IConst(0)),
                false => nest.plane(&bytes, bytes_ty, code),
            };
            let (lo, hi) = (get(lo), get(hi));
            Some(nest.lower.put(
                Type::new(Elem::I16, ty.lanes),
                Op::Join { lo, hi },
                &[lo, hi],
            ))
        };
        let (low, high) = (half(self, 0), half(self, 2));
        let empty = Type::new(Elem::I16, ty.lanes);
        let lo = low.unwrap_or_else(|| self.lower.put_at(0, empty, Op::IConst(0)));
        let hi = high.unwrap_or_else(|| self.lower.put_at(0, empty, Op::IConst(0)));
        let bits = self.lower.put(ty.as_int(), Op::Join { lo, hi }, &[lo, hi]);
        self.lower.put(ty, Op::Bitcast(bits), &[bits])
    }
}
