//! Operations that act register by register. They are emitted when a register of the result is used: a chain of them then
//! runs through once for each register, and few of their registers are live at a time.

use super::emit::Emit;
use super::legal::{register, shape};
use crate::vector::ir::{Convert, Elem, Function, Op, Step, Type, Un, Value};
use cranelift_codegen::ir::{self, InstBuilder, types};
use cranelift_entity::SecondaryMap;

/// An operation whose parts are emitted on demand.
#[derive(Clone, Debug)]
pub(super) struct Parts<'f> {
    op: &'f Op,
    parts: Vec<Option<ir::Value>>,
}

/// Whether each register of the result comes from one register of each operand.
pub(super) fn by_parts(function: &Function, ty: Type, op: &Op) -> bool {
    let vector = |a: Value| function.types[a].lanes > 1;
    ty.lanes > 1
        && match op {
            Op::Bin(..)
            | Op::Un(..)
            | Op::Shift(..)
            | Op::MulAdd(..)
            | Op::Cmp(..)
            | Op::Select(..)
            | Op::Join { .. }
            | Op::Lookup { .. }
            | Op::Convert(Convert::IntToFloat | Convert::FloatToInt, _) => true,
            Op::Bitcast(a) => vector(*a),
            Op::Convert(Convert::WidenS | Convert::WidenU, a) => {
                vector(*a) && function.types[*a].elem.bits() * 2 == ty.elem.bits()
            }
            Op::Convert(Convert::Narrow, _)
            | Op::IConst(_)
            | Op::FConst(_)
            | Op::VConst(_)
            | Op::Param(_)
            | Op::TableAddr(_)
            | Op::Load { .. }
            | Op::ShiftBy(..)
            | Op::UDiv(..)
            | Op::Splat(_)
            | Op::Tile(_)
            | Op::Repeat(_)
            | Op::Build(_)
            | Op::Extract(..)
            | Op::Slice(..)
            | Op::MulPairsU8S8(..)
            | Op::MulPairsS16(..)
            | Op::Dot4U8S8 { .. }
            | Op::Dot4S8S8 { .. }
            | Op::Fold(_)
            | Op::FoldMax(_) => false,
        }
}

/// Values that depend on one that a loop carries.
pub(super) fn accumulates(function: &Function) -> SecondaryMap<Value, bool> {
    let mut found = SecondaryMap::new();
    accumulates_in(&function.body, &mut found);
    found
}

fn accumulates_in(steps: &[Step], found: &mut SecondaryMap<Value, bool>) {
    for step in steps {
        match step {
            Step::Let(value, op) => found[*value] = op.operands().iter().any(|o| found[*o]),
            Step::Store { .. } => {}
            Step::Loop(l) => {
                l.carried.iter().for_each(|c| found[c.inside] = true);
                accumulates_in(&l.body, found);
            }
        }
    }
}

impl<'f> Emit<'f, '_> {
    /// Notes an operation, to be emitted when it is used, unless that would hold more registers than its result.
    pub(super) fn postpone(&mut self, value: Value, op: &'f Op) {
        let count = shape(self.ty(value)).parts;
        let parts = vec![None; count];
        self.postponed[value] = Some(Parts { op, parts });
        self.unfinished.push(value);
        let operands = op.operands().iter().map(|o| self.held_by(*o)).sum();
        let held = match op {
            // A narrow register that was computed is held from its first half to its second.
            Op::Convert(Convert::WidenS | Convert::WidenU, a) if self.loads[*a].is_none() => {
                shape(self.ty(*a)).parts.max(operands)
            }
            // Bytes read as words are read twice: for their sums, and for those of their high halves.
            Op::Bitcast(a) if self.ty(*a).elem == Elem::I8 => count.max(operands),
            Op::Join { lo, hi } => {
                let kept = |v: Value| self.loads[v].is_none() && self.constants[v].is_none();
                let narrow = |v: &Value| match kept(*v) {
                    true => shape(self.ty(*v)).parts,
                    false => 0,
                };
                operands.max(narrow(lo) + narrow(hi))
            }
            _ => operands,
        };
        // Accumulators go on in their order: what they add is done register by register with them.
        if held > count || self.accumulates[value] {
            self.parts(value);
        } else {
            self.held[value] = Some(held);
        }
    }

    /// Registers that a value holds until it is used: none if it is a constant or still in memory.
    fn held_by(&self, value: Value) -> usize {
        if self.constants[value].is_some() || self.loads[value].is_some() {
            return 0;
        }
        self.held[value].unwrap_or_else(|| shape(self.ty(value)).parts)
    }

    /// Emits what was noted, before a loop begins.
    pub(super) fn finish(&mut self) {
        for value in std::mem::take(&mut self.unfinished) {
            for part in 0..shape(self.ty(value)).parts {
                self.postponed_part(value, part);
            }
        }
    }

    /// A part of an operation that was noted.
    pub(super) fn postponed_part(&mut self, value: Value, part: usize) -> Option<ir::Value> {
        let Parts { op, parts } = self.postponed[value].as_ref()?;
        if let Some(found) = parts[part] {
            return Some(found);
        }
        let (op, ty) = (*op, self.ty(value));
        let computed = self.compute_part(ty, op, part)?;
        if let Some(postponed) = &mut self.postponed[value] {
            postponed.parts[part] = Some(computed);
        }
        Some(computed)
    }

    /// One register of an operation that acts register by register.
    pub(super) fn compute_part(&mut self, ty: Type, op: &Op, p: usize) -> Option<ir::Value> {
        Some(match op {
            Op::Bin(bin, a, b) => {
                let (x, y) = (self.part(*a, p), self.part(*b, p));
                self.bin(*bin, ty, x, y)
            }
            Op::Un(un, a) => {
                let x = self.part(*a, p);
                self.un(*un, ty, x)
            }
            Op::Shift(shift, a, n) => {
                let x = self.part(*a, p);
                self.shift(*shift, x, *n)
            }
            Op::MulAdd(a, b, c) => self.mul_add(*a, *b, *c, p),
            Op::Cmp(cmp, a, b) => {
                let (x, y) = (self.part(*a, p), self.part(*b, p));
                self.cmp(*cmp, ty, x, y)
            }
            Op::Select(mask, a, b) => self.select(ty, *mask, *a, *b, p),
            Op::Bitcast(a) => {
                let x = self.part(*a, p);
                self.cast(x, register(ty.elem))
            }
            Op::Join { lo, hi } => self.join_part(ty, *lo, *hi, p),
            Op::Lookup { table, index } => {
                let (table, x) = (self.one(*table), self.part(*index, p));
                self.table_bytes(table, x)
            }
            Op::Convert(Convert::IntToFloat, a) => {
                let x = self.part(*a, p);
                self.b.ins().fcvt_from_sint(types::F32X4, x)
            }
            Op::Convert(Convert::FloatToInt, a) => {
                let x = self.part(*a, p);
                let rounded = self.un(Un::FRound, Type::new(Elem::F32, ty.lanes), x);
                self.b.ins().fcvt_to_sint_sat(types::I32X4, rounded)
            }
            Op::Convert(Convert::WidenS, a) => self.widen_part(true, *a, p),
            Op::Convert(Convert::WidenU, a) => self.widen_part(false, *a, p),
            _ => return None,
        })
    }

    /// One register of lanes in twice their width.
    fn widen_part(&mut self, signed: bool, a: Value, p: usize) -> ir::Value {
        if let Some(loaded) = self.widened_part(a, p) {
            return loaded;
        }
        let x = self.part(a, p / 2);
        match (signed, p % 2) {
            (true, 0) => self.b.ins().swiden_low(x),
            (true, _) => self.b.ins().swiden_high(x),
            (false, 0) => self.b.ins().uwiden_low(x),
            (false, _) => self.b.ins().uwiden_high(x),
        }
    }
}
