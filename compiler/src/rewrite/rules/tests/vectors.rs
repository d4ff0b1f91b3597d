//! Vectors of the evaluator: what instructions do to the lanes of registers, wrapping and saturating as they do.

use super::lanes::{
    Lane, Vector, accumulate, bit_arithmetic, entry, hold, in_memory, in_range, neighbours,
    reinterpret, zip,
};
use super::machine::{Env, Machine};
use super::number::{Bad, Num, apply};
use crate::format::Element;
use crate::rewrite::analysis::{Fact, real};
use crate::rewrite::lang::{Node, Op, Ty};
use crate::schedule::index::{AxisId, AxisKind, AxisSet};

/// The operation of reals that a vector operation does in every lane.
fn lane_wise(op: Op) -> Option<Op> {
    Some(match op {
        Op::VFAdd => Op::Add,
        Op::VFSub => Op::StrictSub,
        Op::VFMul => Op::Mul,
        Op::VFDiv => Op::Div,
        Op::VFMin => Op::Min,
        Op::VFMax => Op::Max,
        Op::VAbs => Op::Abs,
        Op::VExp => Op::Exp,
        Op::VSqrt => Op::Sqrt,
        Op::VTanh => Op::Tanh,
        Op::VSilu => Op::Silu,
        Op::VGelu => Op::Gelu,
        Op::VRound => Op::Round,
        Op::VRoundAway => Op::RoundAway,
        Op::VTrunc => Op::Trunc,
        Op::VFloor => Op::Floor,
        Op::VFloorPow2 => Op::FloorPow2,
        Op::VSelectLt => Op::SelectLt,
        Op::VSelectLe => Op::SelectLe,
        Op::VSelectEq => Op::SelectEq,
        _ => return None,
    })
}

impl Machine<'_> {
    fn lanes(&self, id: egg::Id) -> AxisSet {
        match self.leaf(id) {
            Node::Lanes(set) => *set,
            other => panic!("{other} is no lane list"),
        }
    }

    fn ty(&self, id: egg::Id) -> Ty {
        match self.leaf(id) {
            Node::Ty(ty) => *ty,
            other => panic!("{other} is no type"),
        }
    }

    /// The value of a node of vectors.
    pub(super) fn vector_node(&self, node: &Node, env: Env) -> Result<Vector, Bad> {
        let Node::Op(op, c) = node else {
            return Err(Bad::Fault("data is no vector"));
        };
        let operand = |i: usize| self.vector(c[i], env);
        let integer = |i: usize, ty: Ty| operand(i)?.of_type(ty);
        if let Some(scalar) = lane_wise(*op) {
            let operands = (0..c.len()).map(|i| integer(i, Ty::F32));
            let operands = operands.collect::<Result<Vec<_>, _>>()?;
            return zip(Ty::F32, &operands, |x| {
                let x: Vec<Num> = x.iter().map(|l| l.value).collect();
                hold(Ty::F32, apply(scalar, &x)?)
            });
        }
        match op {
            Op::Vec => {
                let ty = self.ty(c[1]);
                self.each(self.lanes(c[0]), ty, env, |e| hold(ty, self.real(c[2], e)?))
            }
            Op::VLoad => {
                let (ty, load) = (self.ty(c[1]), self.number(c[2]));
                if self.facts().load_ty(load) != ty {
                    return Err(Bad::Fault("a load of another type"));
                }
                self.each(self.lanes(c[0]), ty, env, |e| hold(ty, self.load(load, e)?))
            }
            Op::VNum => {
                let ty = self.ty(c[1]);
                let Some(number) = real(self.graph, c[2]).and_then(|r| r.constant) else {
                    return Err(Bad::Fault("no number known to the compiler"));
                };
                let lane = hold(ty, Num::of(number)?)?;
                if lane.wrapped {
                    return Err(Bad::Fault("a number that the type does not hold"));
                }
                self.each(self.lanes(c[0]), ty, env, |_| Ok(lane))
            }
            Op::VUnit => {
                let (ty, unit) = (self.ty(c[1]), Node::Op(Op::Unit, vec![c[2]]));
                let lane = hold(ty, self.real_node(&unit, env)?)?;
                if lane.wrapped {
                    return Err(Bad::Fault("a unit that the type does not hold"));
                }
                self.each(self.lanes(c[0]), ty, env, |_| Ok(lane))
            }
            Op::VExtent => {
                let extent = self.real_node(&Node::Op(Op::Extent, vec![c[1]]), env)?;
                self.each(self.lanes(c[0]), Ty::F32, env, |_| hold(Ty::F32, extent))
            }
            Op::VSpread => {
                let (inner, set) = (operand(1)?, self.lanes(c[0]));
                if !inner.set.minus(set).is_empty() {
                    return Err(Bad::Fault("a spread to fewer lanes"));
                }
                let lanes = self.places(set).into_iter();
                let lanes = lanes.map(|place| inner.lanes[self.position(inner.set, &place)]);
                let (ty, lanes) = (inner.ty, lanes.collect());
                Ok(Vector { set, ty, lanes })
            }
            Op::VBits => {
                let field = self.number(c[0]);
                let shift = self.shift(field, env)?;
                let bits = &self.facts().terms.fields[field as usize];
                let (mask, up) = ((1 << bits.width) - 1, self.up(field, env)?);
                let words = operand(1)?;
                let ty = words.ty;
                if !matches!(ty, Ty::U8 | Ty::I32) {
                    return Err(Bad::Fault("a register of another type"));
                }
                words.map(ty, |l| {
                    hold(ty, Num::Int((l.integer() >> shift & mask) << up))
                })
            }
            Op::VLookup8 => {
                let (ty, entries) = (self.ty(c[0]), self.entries(c[1])?);
                integer(2, Ty::U8)?.map(ty, |l| {
                    let entry = Num::of(entry(entries, l)?)?;
                    hold(ty, entry).and_then(in_range)
                })
            }
            Op::VLookup32 => {
                let entries = self.entries(c[0])?;
                let found = |l| hold(Ty::F32, Num::of(entry(entries, l)?)?);
                integer(1, Ty::U8)?.map(Ty::F32, found)
            }
            Op::VPlace => {
                let axis = self.axis(c[0]);
                let number = |place: Env| hold(Ty::U8, Num::Int(i128::from(place.get(axis)?)));
                self.each(AxisSet::one(axis), Ty::U8, env, number)
            }
            Op::VPick => {
                let ty = self.ty(c[0]);
                let table = integer(1, ty)?;
                if ty.bits() != 8 || table.lanes.len() > 16 {
                    return Err(Bad::Fault("a table of more than sixteen bytes"));
                }
                integer(2, Ty::U8)?.map(ty, |l| {
                    let at = usize::try_from(l.integer()).ok();
                    let entry = at.and_then(|at| table.lanes.get(at)).copied();
                    entry.ok_or(Bad::Undefined)
                })
            }
            Op::VJoin => zip(Ty::I16, &[integer(0, Ty::U8)?, integer(1, Ty::I8)?], |x| {
                hold(Ty::I16, Num::Int(x[0].integer() + 256 * x[1].integer()))
            }),
            Op::VLow => integer(0, Ty::I16)?.map(Ty::U8, |l| {
                hold(Ty::U8, Num::Int(l.integer().rem_euclid(256)))
            }),
            Op::VHigh => {
                let ty = self.ty(c[0]);
                integer(1, Ty::I16)?.map(ty, |l| {
                    hold(ty, Num::Int(reinterpret(ty, l.integer().div_euclid(256))))
                })
            }
            Op::VNarrow => {
                let (ty, wide) = (self.ty(c[0]), operand(1)?);
                if wide.ty == Ty::F32 || wide.ty.bits() <= ty.bits() {
                    return Err(Bad::Fault("no narrower type"));
                }
                wide.map(ty, |l| hold(ty, l.value))
            }
            Op::VMulHigh => {
                let Node::Num(factor) = self.leaf(c[0]) else {
                    return Err(Bad::Fault("no constant"));
                };
                let factor = f64::from_bits(*factor) as i128;
                integer(1, Ty::I16)?.map(Ty::I16, |l| {
                    let rounded = (l.integer() * factor + (1 << 14)) >> 15;
                    hold(Ty::I16, Num::Int(rounded))
                })
            }
            Op::VMulLow => zip(
                Ty::I16,
                &[integer(0, Ty::I16)?, integer(1, Ty::I16)?],
                |x| {
                    let low = reinterpret(Ty::I16, x[0].integer() * x[1].integer());
                    hold(Ty::I16, Num::Int(low))
                },
            ),
            Op::VMulBytes => zip(Ty::U8, &[integer(0, Ty::U8)?, integer(1, Ty::U8)?], |x| {
                let low = reinterpret(Ty::U8, x[0].integer() * x[1].integer());
                hold(Ty::U8, Num::Int(low))
            }),
            Op::VOver256 => integer(0, Ty::I32)?.map(Ty::I32, |l| {
                hold(Ty::I32, Num::Int(l.integer().div_euclid(256)))
            }),
            Op::VAnd => zip(Ty::U8, &[integer(0, Ty::U8)?, integer(1, Ty::U8)?], |x| {
                hold(Ty::U8, Num::Int(x[0].integer() & x[1].integer()))
            }),
            Op::VCountOnes => integer(0, Ty::U8)?.map(Ty::U8, |l| {
                hold(Ty::U8, Num::Int(i128::from(l.integer().count_ones())))
            }),
            Op::VPackBits => self.pack_bits(self.axis(c[0]), c[1], env),
            Op::VTable => {
                let (ty, entries) = (self.ty(c[0]), self.entries(c[1])?);
                integer(2, Ty::I32)?.map(ty, |l| in_memory(ty, entry(entries, l)?))
            }
            Op::VFetch => {
                let (ty, element) = (self.ty(c[0]), self.element(c[1]));
                if element.bits() > 16 {
                    return Err(Bad::Fault("too many values for memory"));
                }
                self.codes(c[2], element, Ty::I32, env)?.map(ty, |l| {
                    let code = reinterpret(Ty::U16, l.integer());
                    in_memory(ty, element.decode(code as u32))
                })
            }
            Op::VSigned => {
                let (ty, element) = (self.ty(c[0]), self.element(c[1]));
                let sign = 1i128 << (element.bits() - 1);
                let codes = if ty.bits() == 8 { Ty::U8 } else { ty };
                self.codes(c[2], element, codes, env)?.map(ty, |l| {
                    let flipped = l.integer() ^ sign;
                    let value = reinterpret(ty, flipped - sign);
                    hold(ty, Num::Int(value))
                })
            }
            Op::VDecode => {
                let element = self.element(c[0]);
                let found = |l: Lane| hold(Ty::F32, bit_arithmetic(element, l.integer())?);
                self.codes(c[1], element, Ty::I32, env)?.map(Ty::F32, found)
            }
            Op::VPlain => {
                let same = |l: Lane| hold(Ty::I8, Num::Int(reinterpret(Ty::I8, l.integer())));
                integer(0, Ty::U8)?.map(Ty::I8, same)
            }
            Op::VBias => {
                let flipped = |l: Lane| hold(Ty::U8, Num::Int(l.integer() + 128));
                integer(0, Ty::I8)?.map(Ty::U8, flipped)
            }
            Op::VWiden => {
                let (ty, narrow) = (self.ty(c[0]), operand(1)?);
                if narrow.ty == Ty::F32 || narrow.ty.bits() >= ty.bits() {
                    return Err(Bad::Fault("no wider type"));
                }
                narrow.map(ty, |l| hold(ty, l.value))
            }
            Op::VFloat => integer(0, Ty::I32)?.map(Ty::F32, Ok),
            Op::VMagic => integer(0, Ty::U16)?.map(Ty::F32, |l| {
                hold(Ty::F32, Num::Int(l.integer() + (1 << 23)))
            }),
            Op::VIAdd | Op::VIMul => {
                let ty = self.ty(c[0]);
                let scalar = if *op == Op::VIAdd { Op::Add } else { Op::Mul };
                let operands = [integer(1, ty)?, integer(2, ty)?];
                zip(ty, &operands, |x| {
                    hold(ty, apply(scalar, &[x[0].value, x[1].value])?)
                })
            }
            Op::VSum | Op::VSumBytes | Op::VMaxOver => {
                let axis = self.axis(c[0]);
                if self.facts().is_lane(axis) {
                    return Err(Bad::Fault("a loop over lanes"));
                }
                let bytes = *op == Op::VSumBytes;
                let ty = if bytes { Ty::I16 } else { self.shape(c[1])?.1 };
                let mut total: Option<Vector> = None;
                for value in 0..self.extent(axis) {
                    let mut term = self.vector(c[1], env.with(axis, value))?;
                    if bytes {
                        let two = term.set.iter().next().is_some();
                        if !two {
                            return Err(Bad::Fault("no pairs of lanes"));
                        }
                        term = term.of_type(Ty::U8)?.map(ty, |l| hold(ty, l.value))?;
                    }
                    total = Some(match total {
                        None => term,
                        Some(t) => zip(t.ty, &[t, term], |x| accumulate(*op, ty, x))?,
                    });
                }
                match total {
                    Some(total) => Ok(total),
                    None if *op == Op::VMaxOver => Err(Bad::Undefined),
                    None => Ok(Vector {
                        ty,
                        ..self.zeros(c[1])?
                    }),
                }
            }
            Op::VFold | Op::VFoldMax => {
                let (axis, inner) = (self.axis(c[0]), operand(1)?);
                let set = inner.set.minus(AxisSet::one(axis));
                if set == inner.set {
                    return Err(Bad::Fault("a fold of other lanes"));
                }
                let ty = inner.ty;
                let group = self.extent(axis) as usize;
                let folded = |lanes: &[Lane]| {
                    let mut rest = lanes[1..].iter();
                    rest.try_fold(lanes[0], |t, l| accumulate(*op, ty, &[t, *l]))
                };
                neighbours(set, ty, &inner.lanes, group, folded)
            }
            Op::VDot4 | Op::VDot4S | Op::VMulPairs8 | Op::VMulPairs16 | Op::VAddPairs16 => {
                self.products(*op, c, env)
            }
            Op::VStage => {
                // Computed before the loops over rows.
                let rows = self.axes(|a| self.facts().axes[a].row);
                self.vector(c[0], env.without(rows))
            }
            Op::VPanel => {
                // Computed before the loop over the batch.
                let batch = self.axes(|a| self.facts().axes[a].batch);
                self.vector(c[0], env.without(batch))
            }
            _ => Err(Bad::Fault("no vector operation")),
        }
    }

    /// Bytes of copies, doubled as often as there are copies below, and summed.
    fn pack_bits(&self, axis: AxisId, bit: egg::Id, env: Env) -> Result<Vector, Bad> {
        if self.facts().axes[axis].kind != AxisKind::Unroll {
            return Err(Bad::Fault("bits of no copies"));
        }
        let place = |place: u64| self.vector(bit, env.with(axis, place))?.of_type(Ty::U8);
        let mut packed = place(self.extent(axis) - 1)?;
        for next in (0..self.extent(axis) - 1).rev() {
            packed = zip(Ty::U8, &[packed, place(next)?], |x| {
                hold(Ty::U8, Num::Int(2 * x[0].integer() + x[1].integer()))
            })?;
        }
        Ok(packed)
    }

    /// Products of neighbouring lanes, summed.
    fn products(&self, op: Op, c: &[egg::Id], env: Env) -> Result<Vector, Bad> {
        let (group, ty, sides) = match op {
            Op::VDot4 => (4, Ty::I32, [Ty::U8, Ty::I8]),
            Op::VDot4S => (4, Ty::I32, [Ty::I8, Ty::I8]),
            Op::VMulPairs8 => (2, Ty::I16, [Ty::U8, Ty::I8]),
            _ => (2, Ty::I32, [Ty::I16, Ty::I16]),
        };
        let a = self.vector(c[0], env)?;
        if a.ty.bits() != sides[0].bits() {
            return Err(Bad::Fault("a register of another type"));
        }
        let b = match op {
            Op::VAddPairs16 => a.clone().map(Ty::I16, |_| hold(Ty::I16, Num::Int(1)))?,
            _ => self.vector(c[1], env)?,
        };
        if b.ty.bits() != sides[1].bits() {
            return Err(Bad::Fault("a register of another type"));
        }
        let axes: Vec<_> = a.set.iter().collect();
        let dropped = if group == 4 { 2 } else { 1 };
        let set = axes.iter().rev().skip(dropped);
        let set = set.fold(AxisSet::default(), |s, x| s.union(AxisSet::one(*x)));
        let pairs = zip(ty, &[a, b], |x| {
            let [first, second] = [0, 1].map(|i| reinterpret(sides[i], x[i].integer()));
            let value = Num::Int(first * second);
            let wrapped = false;
            Ok(Lane { value, wrapped })
        })?;
        let summed = |lanes: &[Lane]| {
            let sum: i128 = lanes.iter().map(|l| l.integer()).sum();
            let saturated = sum.clamp(-32768, 32767);
            if op == Op::VMulPairs8 {
                let value = Num::Int(saturated);
                let wrapped = saturated != sum;
                return Ok(Lane { value, wrapped });
            }
            hold(ty, Num::Int(sum))
        };
        neighbours(set, ty, &pairs.lanes, group, summed).and_then(|v| {
            if v.lanes.len() == self.places(set).len() {
                Ok(v)
            } else {
                Err(Bad::Fault("groups of another size"))
            }
        })
    }

    /// Codes in lanes: an operation that takes the low bits of its lanes does not mind what is above.
    fn codes(&self, id: egg::Id, element: &Element, ty: Ty, env: Env) -> Result<Vector, Bad> {
        let mut codes = self.vector(id, env)?.of_type(ty)?;
        if element.bits() <= ty.bits() {
            codes.lanes.iter_mut().for_each(|l| l.wrapped = false);
        }
        Ok(codes)
    }

    fn entries(&self, id: egg::Id) -> Result<&[f64], Bad> {
        let entries = &self.facts().tables[self.number(id) as usize];
        if entries.len() > 16 {
            return Err(Bad::Fault("a table of more than sixteen"));
        }
        Ok(entries)
    }

    fn element(&self, id: egg::Id) -> &Element {
        &self.facts().terms.elements[self.number(id) as usize]
    }

    /// Lanes and type of a class of vectors.
    fn shape(&self, id: egg::Id) -> Result<(AxisSet, Ty), Bad> {
        match self.graph[id].data {
            Fact::Vector { lanes, ty } => Ok((lanes, ty)),
            _ => Err(Bad::Fault("no vector")),
        }
    }

    /// An accumulator as it starts.
    fn zeros(&self, id: egg::Id) -> Result<Vector, Bad> {
        let (set, ty) = self.shape(id)?;
        let zero = hold(ty, Num::Int(0))?;
        let lanes = vec![zero; self.places(set).len()];
        Ok(Vector { set, ty, lanes })
    }

    /// Values of the axes of a lane list, lane by lane.
    fn places(&self, set: AxisSet) -> Vec<Env> {
        let mut places = vec![Env::EMPTY];
        for axis in set.iter() {
            let more = |p: Env| (0..self.extent(axis)).map(move |v| p.with(axis, v));
            places = places.into_iter().flat_map(more).collect();
        }
        places
    }

    /// The lane of a lane list at values of its axes and others.
    fn position(&self, set: AxisSet, place: &Env) -> usize {
        set.iter().fold(0, |at, axis| {
            let value = place.get(axis).expect("a lane has a value");
            at * self.extent(axis) as usize + value as usize
        })
    }

    /// A vector from the value in each lane. Lanes have values in their vector only.
    fn each(
        &self,
        set: AxisSet,
        ty: Ty,
        env: Env,
        value: impl Fn(Env) -> Result<Lane, Bad>,
    ) -> Result<Vector, Bad> {
        let lanes = self.axes(|a| self.facts().is_lane(a));
        if !set.minus(lanes).is_empty() {
            return Err(Bad::Fault("a loop as a lane"));
        }
        let outside = env.without(lanes);
        let lanes = self.places(set).into_iter().map(|place| {
            let inside = set
                .iter()
                .try_fold(outside, |e, a| Ok::<Env, Bad>(e.with(a, place.get(a)?)))?;
            value(inside)
        });
        let lanes = lanes.collect::<Result<_, _>>()?;
        Ok(Vector { set, ty, lanes })
    }
}
