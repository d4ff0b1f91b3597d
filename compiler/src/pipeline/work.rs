//! What code takes that there is nothing to choose for: its operations, as often as loops go round, on the units of a target.

use crate::rewrite::cost::CostVector;
use crate::rewrite::lang::Op as Term;
use crate::target::{Target, UNITS, Unit};
use crate::vector::ir::{
    Bin, Convert, Elem, Function, Loop, Op, ParamKind, Shift, Step, Type, Un, Value,
};
use std::collections::BTreeMap;

/// What a function takes for given extents of the dimensions.
pub(super) fn of(function: &Function, target: &Target, dims: &[u64]) -> CostVector {
    let mut work = Work {
        function,
        target,
        dims,
        numbers: BTreeMap::new(),
        units: [0.0; UNITS],
    };
    work.steps(&function.body, 1.0);
    CostVector::of_units(work.units, target)
}

struct Work<'a> {
    function: &'a Function,
    target: &'a Target,
    dims: &'a [u64],
    /// Integers that are known.
    numbers: BTreeMap<Value, i64>,
    units: [f64; UNITS],
}

impl Work<'_> {
    fn steps(&mut self, steps: &[Step], times: f64) {
        for step in steps {
            match step {
                Step::Let(value, op) => {
                    if let Some(number) = self.number(op) {
                        self.numbers.insert(*value, number);
                    }
                    let ty = self.function.types[*value];
                    let (unit, each) = self.cost(op, ty);
                    self.add(unit, each * times);
                }
                Step::Store { value, .. } => {
                    let stored = self.registers(self.function.types[*value]);
                    self.add(Unit::Store, stored * times);
                }
                Step::Loop(l) => {
                    let rounds = self.rounds(l) * times;
                    self.add(Unit::Scalar, ROUND * rounds);
                    self.steps(&l.body, rounds);
                }
            }
        }
    }

    fn add(&mut self, unit: Unit, operations: f64) {
        self.units[unit as usize] += operations;
    }

    /// Rounds of a loop; one where its bounds are not known.
    fn rounds(&self, l: &Loop) -> f64 {
        let number = |v: &Value| self.numbers.get(v).copied();
        match (number(&l.from), number(&l.to)) {
            (Some(from), Some(to)) if to > from => {
                (to.abs_diff(from)).div_ceil(l.step.unsigned_abs().max(1)) as f64
            }
            (Some(_), Some(_)) => 0.0,
            _ => 1.0,
        }
    }

    fn number(&self, op: &Op) -> Option<i64> {
        let known = |v: &Value| self.numbers.get(v).copied();
        match op {
            Op::IConst(n) => Some(*n),
            Op::Param(id) => match &self.function.params[*id].kind {
                ParamKind::Scalar(scalar) => i64::try_from(scalar.eval(self.dims)).ok(),
                _ => None,
            },
            Op::Bin(bin, a, b) => {
                let (a, b) = (known(a)?, known(b)?);
                match bin {
                    Bin::IAdd => a.checked_add(b),
                    Bin::ISub => a.checked_sub(b),
                    Bin::IMul => a.checked_mul(b),
                    Bin::SMin => Some(a.min(b)),
                    Bin::SMax => Some(a.max(b)),
                    _ => None,
                }
            }
            Op::Shift(Shift::Shl, a, by) => known(a)?.checked_shl((*by).into()),
            Op::Shift(Shift::UShr | Shift::SShr, a, by) => known(a)?.checked_shr((*by).into()),
            _ => None,
        }
    }

    /// Registers of a value.
    fn registers(&self, ty: Type) -> f64 {
        let bytes = u32::from(ty.lanes) * ty.elem.bits() / 8;
        bytes.div_ceil(self.target.vector_bytes).max(1).into()
    }

    /// The unit that an operation runs on, and what it takes of it.
    fn cost(&self, op: &Op, ty: Type) -> (Unit, f64) {
        let registers = self.registers(ty);
        let like = |term: Term| {
            let cost = self.target.costs.get(&term);
            cost.map_or((Unit::Vector, registers), |c| (c.unit, c.uops * registers))
        };
        let whole = ty.lanes == 1 && ty.elem != Elem::F32;
        match op {
            Op::IConst(_)
            | Op::FConst(_)
            | Op::VConst(_)
            | Op::Param(_)
            | Op::TableAddr(_)
            | Op::Bitcast(_) => (Unit::Scalar, 0.0),
            Op::Load { .. } => (Unit::Load, registers),
            _ if whole => (Unit::Scalar, 1.0),
            Op::Bin(bin, ..) => match bin {
                Bin::FAdd | Bin::FSub => like(Term::VFAdd),
                Bin::FMul => like(Term::VFMul),
                Bin::FDiv => like(Term::VFDiv),
                Bin::FMin => like(Term::VFMin),
                Bin::FMax => like(Term::VFMax),
                Bin::IMul => like(Term::VIMul),
                Bin::MulHigh => like(Term::VMulHigh),
                Bin::IAdd | Bin::ISub | Bin::And | Bin::Or | Bin::Xor | Bin::SMin | Bin::SMax => {
                    (Unit::Vector, registers)
                }
            },
            Op::MulAdd(..) => like(Term::VFMul),
            Op::Un(Un::FRound, _) => like(Term::VRound),
            Op::Un(Un::FFloor, _) => like(Term::VFloor),
            Op::Un(Un::FSqrt, _) => like(Term::VFDiv),
            Op::Un(Un::CountOnes, _) => like(Term::VCountOnes),
            Op::Un(Un::FNeg | Un::FAbs, _) | Op::Shift(..) | Op::Cmp(..) => {
                (Unit::Vector, registers)
            }
            Op::Select(..) => (Unit::Vector, CHOOSE * registers),
            Op::Convert(Convert::FloatToInt, _) => (Unit::Vector, TO_INTEGER * registers),
            Op::Convert(Convert::IntToFloat, _) => (Unit::Add, registers),
            _ => (Unit::Shuffle, registers),
        }
    }
}

/// Operations of a round of a loop.
const ROUND: f64 = 2.0;

/// Operations of a choice between two vectors, and of a conversion to integers that saturates, in registers of 128 bits.
const CHOOSE: f64 = 2.0;
const TO_INTEGER: f64 = 7.0;

#[cfg(test)]
mod tests {
    use super::of;
    use crate::target::{Target, Unit};
    use crate::vector::read::read;

    const SUMS: &str = "func sums {
  param p0 x: read
  param p1 y: write
  param p2 s0: scalar d0
  v0: i64 = param p0
  v1: i64 = param p1
  v2: i64 = param p2
  v3: i64 = iconst 0
  v4: i64 = iconst 10
  loop row: v5 = v3 to v2 step 1 {
    loop pair: v6 = v3 to v4 step 2 {
      v7: f32x16 = load v0
      v8: f32x16 = fadd v7, v7
      store v8, v1
    }
  }
}
";

    #[test]
    fn operations_count_as_often_as_loops_go_round() {
        let function = read(SUMS).expect("a function");
        let target = Target::named("x86-64-v3").expect("a target");
        let work = |rows| of(&function, &target, &[rows]);
        // Four registers of four floats, in five rounds of each row.
        assert_eq!(work(3).units[Unit::Load as usize], 4.0 * 5.0 * 3.0);
        assert_eq!(work(3).units[Unit::Store as usize], 4.0 * 5.0 * 3.0);
        assert_eq!(work(3).units[Unit::Add as usize], 4.0 * 5.0 * 3.0);
        assert_eq!(work(0).units[Unit::Add as usize], 0.0);
        assert!(work(6).cycles > work(3).cycles && work(3).cycles > 0.0);
    }
}
