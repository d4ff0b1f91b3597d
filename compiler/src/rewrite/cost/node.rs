//! What one execution of an operation occupies.

use super::{Access, Prices, access};
use crate::rewrite::extract::Picked;
use crate::rewrite::lang::{Node, Op, Ty};
use crate::schedule::index::{Axes, AxisId, AxisKind};
use crate::schedule::term::{LoadId, Storage, Terms};
use crate::target::{Cost, Unit};

impl Prices<'_> {
    /// What one execution of a node occupies; `None` if the target does not have it.
    pub fn node(&self, node: &Picked, children: &[&Picked]) -> Option<Cost> {
        let Prices {
            target,
            terms,
            axes,
            ..
        } = *self;
        let regs = self.registers(node);
        let lanes = self.lanes(node);
        let plain = target.costs.get(&node.op).copied();
        let by = |cost: Cost, factor: f64| Cost {
            uops: cost.uops * factor,
            ..cost
        };
        match node.op {
            Op::VLoad => {
                let Some(Node::Ref(load)) = node.data.last() else {
                    return None;
                };
                let load = LoadId::from_u32(*load);
                let named = |name: &str| target.accesses.get(name).copied();
                let by_hand = |uops| Cost {
                    unit: Unit::Scalar,
                    uops,
                    latency: 12.0,
                };
                match terms.loads[load].storage {
                    Storage::Code { bits } if shuffled(terms, axes, load, node) => {
                        let whole = bits == 8;
                        return Some(Cost {
                            unit: Unit::Shuffle,
                            uops: regs * if whole { WHOLE_CODE } else { PART_CODE },
                            latency: 8.0,
                        });
                    }
                    Storage::Code { bits } => {
                        return Some(by(by_hand(8.0 + f64::from(bits / 8)), lanes));
                    }
                    Storage::Place { .. } => {
                        let moves = |a: AxisId| axes[a].kind == AxisKind::Loop;
                        let constant = !terms.load_axes(load).iter().any(moves);
                        return Some(by(by_hand(if constant { 0.0 } else { 3.0 }), lanes));
                    }
                    _ => {}
                }
                let once = self.distinct(load);
                match access(terms, axes, load, node.lanes) {
                    Access::Scalar => named("load").map(|c| by(c, once)),
                    Access::Contiguous => named("load").map(|c| by(c, regs * once)),
                    Access::Gather => named("gather").map(|c| by(c, lanes * once)),
                }
            }
            // All registers of the result are one. A load into all lanes is two instructions: Cranelift joins them only where the
            // result has a single use.
            Op::VSpread => plain,
            Op::VSum => {
                let fused = children.first().is_some_and(|c| {
                    matches!(c.op, Op::VDot4 | Op::VDot4S | Op::VSum)
                        || (c.op == Op::VFMul && target.features.fma)
                });
                let addition = match node.ty {
                    Ty::F32 => target.costs.get(&Op::VFAdd),
                    _ => target.costs.get(&Op::VIAdd),
                };
                let like = |c: Cost, addition: &Cost| Cost {
                    unit: addition.unit,
                    latency: addition.latency,
                    ..c
                };
                plain.map(|c| {
                    by(
                        addition.map_or(c, |a| like(c, a)),
                        if fused { 0.0 } else { regs },
                    )
                })
            }
            Op::VLookup32 => {
                let Some(Node::Ref(_)) = node.data.first() else {
                    return None;
                };
                plain.map(|c| {
                    by(
                        c,
                        planes(node) * regs / 4.0 + joins(node) * regs / 4.0 * 2.0,
                    )
                })
            }
            Op::VBits => {
                let Some(Node::Ref(field)) = node.data.first() else {
                    return None;
                };
                plain.map(|c| by(c, regs * self.field_work[*field as usize]))
            }
            Op::VFMul | Op::VIMul => plain.map(|c| by(c, regs * self.in_units(children))),
            // The bits of one number go through scalar registers and back.
            Op::VDecode if node.lanes.is_empty() => plain.map(|c| by(c, SCALAR_DECODE)),
            Op::VDecode => plain.map(|c| by(c, regs)),
            Op::VTable => plain.map(|c| by(c, lanes / 4.0)),
            Op::VFetch => {
                let Some(Node::Ref(element)) = node.data.last() else {
                    return None;
                };
                let small = terms.elements[*element as usize].bits() <= SMALL_TABLE;
                plain.map(|c| by(c, lanes / 4.0 * if small { 1.0 } else { MISSES }))
            }
            Op::VDot4
            | Op::VDot4S
            | Op::VMulPairs8
            | Op::VMulPairs16
            | Op::VAddPairs16
            | Op::VSumBytes
            | Op::VPackBits
            | Op::VFold
            | Op::VFoldMax => {
                let child = children.first()?;
                let regs = self.registers(child);
                plain.map(|c| by(c, regs))
            }
            Op::VWiden => {
                let far = node.ty.bits() > 2 * children.first()?.ty.bits();
                // Half way there are half as many registers.
                let steps = match far && !self.target.features.spreads_bytes() {
                    true => regs + (regs / 2.0).max(1.0),
                    false => regs,
                };
                plain.map(|c| by(c, steps))
            }
            Op::VNarrow => plain.map(|c| by(c, regs)),
            Op::VPlace => plain,
            Op::VNum
            | Op::VExtent
            | Op::VUnit
            | Op::VLookup8
            | Op::VSigned
            | Op::VBias
            | Op::VPick
            | Op::VJoin
            | Op::VLow
            | Op::VHigh
            | Op::VMulHigh
            | Op::VFloat
            | Op::VMagic
            | Op::VFAdd
            | Op::VFSub
            | Op::VFDiv
            | Op::VFMin
            | Op::VFMax
            | Op::VAbs
            | Op::VExp
            | Op::VSqrt
            | Op::VTanh
            | Op::VSilu
            | Op::VGelu
            | Op::VRound
            | Op::VRoundAway
            | Op::VTrunc
            | Op::VFloor
            | Op::VFloorPow2
            | Op::VSelectLt
            | Op::VSelectLe
            | Op::VSelectEq
            | Op::VIAdd
            | Op::VMulLow
            | Op::VMulBytes
            | Op::VOver256
            | Op::VPlain
            | Op::VAnd
            | Op::VCountOnes
            | Op::VMaxOver => plain.map(|c| by(c, regs)),
            Op::VStage => plain,
            Op::VPanel => plain.map(|c| by(c, regs)),
            Op::Add
            | Op::Mul
            | Op::Div
            | Op::Min
            | Op::Max
            | Op::Abs
            | Op::Exp
            | Op::Sqrt
            | Op::Tanh
            | Op::Silu
            | Op::Gelu
            | Op::Round
            | Op::RoundAway
            | Op::Trunc
            | Op::Floor
            | Op::FloorPow2
            | Op::SelectLt
            | Op::SelectLe
            | Op::SelectEq
            | Op::StrictAdd
            | Op::StrictSub
            | Op::StrictMul
            | Op::StrictDiv
            | Op::StrictMin
            | Op::StrictMax
            | Op::Ld
            | Op::Extent
            | Op::Unit
            | Op::Bits
            | Op::Elem
            | Op::Lookup
            | Op::Biased
            | Op::Place
            | Op::Pick
            | Op::At
            | Op::LowByte
            | Op::HighByte
            | Op::Over256
            | Op::Wrap
            | Op::And
            | Op::CountOnes
            | Op::PackBits
            | Op::Sum
            | Op::MaxOver
            | Op::Vec => None,
        }
    }

    /// Of the copies of a product, the share that differs from the others: what copies of rows are worth is often the same.
    fn in_units(&self, factors: &[&Picked]) -> f64 {
        let [a, b] = factors else {
            return 1.0;
        };
        let share = |unit: &Picked, other: &Picked| {
            let (Op::VUnit, Some(Node::Ref(number))) = (unit.op, unit.data.last()) else {
                return None;
            };
            let (axes, share) = self.units[*number as usize];
            axes.intersect(other.free).is_empty().then_some(share)
        };
        share(a, b).or_else(|| share(b, a)).unwrap_or(1.0)
    }

    /// Of the copies of a load, the share that reads other bytes than the others.
    pub(super) fn distinct(&self, load: LoadId) -> f64 {
        self.distinct[load.as_u32() as usize]
    }
}

/// Whether codes are brought to their lanes by shuffles of a register: their places are known, and are those of one block.
fn shuffled(terms: &Terms, axes: &Axes, load: LoadId, node: &Picked) -> bool {
    let load = &terms.loads[load];
    let lanes: u64 = node.lanes.iter().map(|a| axes[a].nominal).product();
    let moves = |a: AxisId| axes[a].kind == AxisKind::Loop;
    let known = load
        .bit
        .as_ref()
        .is_some_and(|b| !b.axes().iter().any(moves));
    let shared = load.address.axes().intersect(node.lanes).is_empty();
    known && shared && lanes >= 4 && node.ty == Ty::U8
}

/// Micro-operations of a shuffle that brings bytes to their lanes, with its share of the load.
const WHOLE_CODE: f64 = 1.5;

/// The same for codes that are part of a byte, or lie in two.
const PART_CODE: f64 = 5.0;

/// Bits of codes whose values stay in the first cache.
const SMALL_TABLE: u32 = 12;

/// What a look-up costs in a table that does not.
const MISSES: f64 = 8.0;

/// Micro-operations of decoding one number, relative to those of a register of them.
const SCALAR_DECODE: f64 = 2.5;

/// Byte planes of a look-up of floats that are not all zero.
pub(super) fn planes(node: &Picked) -> f64 {
    node.planes as f64
}

/// Joins that put the planes together.
fn joins(node: &Picked) -> f64 {
    match node.planes {
        0 | 1 => 1.0,
        2 => 2.0,
        _ => 3.0,
    }
}
