//! What every target has: f32 and integer arithmetic lane by lane, loops, folds, tables in memory. A target file adds to
//! this table or replaces lines of it.

use super::{Line, Unit::*};
use crate::rewrite::lang::Op;

/// Operations, unit, micro-operations per register, latency.
pub(super) const TABLE: &[Line] = &[
    (Op::VNum, Vector, 0.0, 0.0),
    (Op::VExtent, Vector, 0.0, 0.0),
    (Op::VSpread, Shuffle, 1.0, 1.0),
    (Op::VBits, Vector, 3.0, 2.0),
    (Op::VFetch, Load, 12.0, 8.0),
    (Op::VTable, Load, 12.0, 8.0),
    (Op::VSigned, Vector, 2.0, 2.0),
    (Op::VDecode, Vector, 8.0, 10.0),
    (Op::VBias, Vector, 1.0, 1.0),
    (Op::VWiden, Shuffle, 1.0, 1.0),
    (Op::VFloat, Vector, 1.0, 3.0),
    (Op::VFAdd, Vector, 1.0, 3.0),
    (Op::VFSub, Vector, 1.0, 3.0),
    (Op::VFMul, Multiply, 1.0, 3.0),
    (Op::VFDiv, Multiply, 5.0, 11.0),
    (Op::VFMin, Vector, 3.0, 3.0),
    (Op::VFMax, Vector, 3.0, 3.0),
    (Op::VAbs, Vector, 1.0, 1.0),
    (Op::VExp, Vector, 20.0, 30.0),
    (Op::VSqrt, Multiply, 6.0, 15.0),
    (Op::VTanh, Vector, 30.0, 45.0),
    (Op::VSilu, Vector, 26.0, 45.0),
    (Op::VGelu, Vector, 36.0, 60.0),
    (Op::VRound, Vector, 2.0, 3.0),
    (Op::VRoundAway, Vector, 10.0, 12.0),
    (Op::VTrunc, Vector, 6.0, 6.0),
    (Op::VFloor, Vector, 2.0, 3.0),
    (Op::VFloorPow2, Vector, 6.0, 5.0),
    (Op::VSelectLt, Vector, 4.0, 2.0),
    (Op::VSelectLe, Vector, 4.0, 2.0),
    (Op::VSelectEq, Vector, 4.0, 2.0),
    (Op::VIAdd, Vector, 1.0, 1.0),
    (Op::VIMul, Multiply, 2.0, 5.0),
    (Op::VSum, Vector, 1.0, 3.0),
    (Op::VMaxOver, Vector, 3.0, 3.0),
    (Op::VFold, Shuffle, 2.0, 4.0),
    (Op::VFoldMax, Shuffle, 6.0, 6.0),
    (Op::VStage, Load, 1.0, 4.0),
];
