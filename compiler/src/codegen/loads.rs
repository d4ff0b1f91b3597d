//! Loads into CLIF. A load is emitted where its first register is used, unless a store or a loop comes first: so Cranelift
//! can fold it into the instruction, and fewer registers are live. What the uses want decides its form: bits for a
//! broadcast, lanes widened on the way (`pmovsxbw` from memory), or plain registers.

use super::emit::Emit;
use super::features::{Arch, Features};
use super::legal::{self, scalar, shape};
use crate::vector::ir::{Convert, Elem, Function, Op, Step, Type, Value};
use cranelift_codegen::ir::{self, InstBuilder, MemFlagsData as MemFlags, types};
use cranelift_entity::SecondaryMap;

/// What all uses of a value want.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Want {
    /// It has no use.
    #[default]
    Nothing,
    /// Only its lanes, sign extended to the next width.
    WidenS,
    /// Only its lanes, zero extended to the next width.
    WidenU,
    /// Only all of it, over and over in a register.
    Broadcast,
    /// Its registers.
    Registers,
}

/// A load whose parts are emitted on demand.
#[derive(Clone, Debug)]
pub(super) struct Load {
    ty: Type,
    base: Value,
    offset: i32,
    want: Want,
    parts: Vec<Option<ir::Value>>,
}

/// What the uses of every value want.
pub(super) fn wants(function: &Function, features: &Features) -> SecondaryMap<Value, Want> {
    let mut wants = SecondaryMap::new();
    region(function, features, &function.body, &mut wants);
    wants
}

/// Values whose registers are free after their one use: it is in the region that defines them, and each register holds
/// other lanes.
pub(super) fn spent(function: &Function) -> SecondaryMap<Value, bool> {
    let mut spent = SecondaryMap::new();
    spent_in(&function.body, &mut spent);
    spent
}

fn spent_in(steps: &[Step], spent: &mut SecondaryMap<Value, bool>) {
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    let mut defined = Vec::new();
    for step in steps {
        match step {
            Step::Let(value, op) => {
                op.operands().into_iter().for_each(|o| uses[o] += 1);
                if !repeats(op) {
                    defined.push(*value);
                }
            }
            Step::Store { value, base, .. } => {
                uses[*value] += 1;
                uses[*base] += 1;
            }
            Step::Loop(l) => {
                spent_in(&l.body, spent);
                // Whatever an inner loop uses is needed in its next round.
                used_in(&l.body, &mut |v| uses[v] += 2);
                defined.extend(l.carried.iter().map(|c| c.result));
                let carried = l.carried.iter().flat_map(|c| [c.init, c.next]);
                carried.chain([l.from, l.to]).for_each(|v| uses[v] += 1);
            }
        }
    }
    for value in defined {
        spent[value] = uses[value] == 1;
    }
}

pub(super) fn used_in(steps: &[Step], note: &mut impl FnMut(Value)) {
    for step in steps {
        match step {
            Step::Let(_, op) => op.operands().into_iter().for_each(&mut *note),
            Step::Store { value, base, .. } => [*value, *base].into_iter().for_each(&mut *note),
            Step::Loop(l) => {
                let carried = l.carried.iter().flat_map(|c| [c.init, c.next]);
                carried.chain([l.from, l.to]).for_each(&mut *note);
                used_in(&l.body, note);
            }
        }
    }
}

/// Whether all registers of the result may be one.
pub(super) fn repeats(op: &Op) -> bool {
    match op {
        Op::Splat(_) | Op::Tile(_) | Op::Repeat(_) => true,
        Op::IConst(_) | Op::FConst(_) | Op::VConst(_) => true,
        Op::Param(_)
        | Op::TableAddr(_)
        | Op::Load { .. }
        | Op::Bin(..)
        | Op::Un(..)
        | Op::Shift(..)
        | Op::ShiftBy(..)
        | Op::UDiv(..)
        | Op::MulAdd(..)
        | Op::Cmp(..)
        | Op::Select(..)
        | Op::Convert(..)
        | Op::Bitcast(_)
        | Op::Build(_)
        | Op::Extract(..)
        | Op::Slice(..)
        | Op::Join { .. }
        | Op::Lookup { .. }
        | Op::MulPairsU8S8(..)
        | Op::MulPairsS16(..)
        | Op::Dot4U8S8 { .. }
        | Op::Dot4S8S8 { .. }
        | Op::Fold(_)
        | Op::FoldMax(_) => false,
    }
}

fn region(
    function: &Function,
    features: &Features,
    steps: &[Step],
    wants: &mut SecondaryMap<Value, Want>,
) {
    let mut note = |value: Value, want: Want| {
        let before = wants[value];
        wants[value] = match before == want || before == Want::Nothing {
            true => want,
            false => Want::Registers,
        };
    };
    for step in steps {
        match step {
            Step::Let(value, op) => {
                let want = wanted(function, features, function.types[*value], op);
                op.operands().into_iter().for_each(|o| note(o, want));
            }
            Step::Store { value, base, .. } => {
                note(*value, Want::Registers);
                note(*base, Want::Registers);
            }
            Step::Loop(l) => {
                let carried = l.carried.iter().flat_map(|c| [c.init, c.next]);
                carried
                    .chain([l.from, l.to])
                    .for_each(|v| note(v, Want::Registers));
            }
        }
    }
    for step in steps {
        if let Step::Loop(l) = step {
            region(function, features, &l.body, wants);
        }
    }
}

/// What an operation wants of its operands.
fn wanted(function: &Function, features: &Features, ty: Type, op: &Op) -> Want {
    // On Arm two extensions of a register are cheaper than two loads.
    let widens = |from: Type| {
        let vectors = features.arch == Arch::X86_64 && features.sse41;
        from.lanes == 1 || vectors && from.bytes() >= 8
    };
    match op {
        Op::Convert(Convert::WidenS, a) if widens(function.types[*a]) => Want::WidenS,
        Op::Convert(Convert::WidenU, a) if widens(function.types[*a]) => Want::WidenU,
        Op::Splat(_) if ty.lanes > 1 => Want::Broadcast,
        Op::Tile(a) if ty.lanes > 1 && function.types[*a].bytes() < legal::REGISTER => {
            Want::Broadcast
        }
        Op::Repeat(a) if ty.lanes > 1 && function.types[*a].lanes == 1 => Want::Broadcast,
        Op::Convert(..)
        | Op::Splat(_)
        | Op::Tile(_)
        | Op::Repeat(_)
        | Op::IConst(_)
        | Op::FConst(_)
        | Op::VConst(_)
        | Op::Param(_)
        | Op::TableAddr(_)
        | Op::Load { .. }
        | Op::Bin(..)
        | Op::Un(..)
        | Op::Shift(..)
        | Op::ShiftBy(..)
        | Op::UDiv(..)
        | Op::MulAdd(..)
        | Op::Cmp(..)
        | Op::Select(..)
        | Op::Bitcast(_)
        | Op::Build(_)
        | Op::Extract(..)
        | Op::Slice(..)
        | Op::Join { .. }
        | Op::Lookup { .. }
        | Op::MulPairsU8S8(..)
        | Op::MulPairsS16(..)
        | Op::Dot4U8S8 { .. }
        | Op::Dot4S8S8 { .. }
        | Op::Fold(_)
        | Op::FoldMax(_) => Want::Registers,
    }
}

impl Emit<'_, '_> {
    /// Notes a load, to be emitted when it is used.
    pub(super) fn defer(&mut self, value: Value, ty: Type, base: Value, offset: i32) {
        let want = self.wants[value];
        let count = match want {
            Want::Nothing => return,
            Want::WidenS | Want::WidenU if ty.lanes > 1 => (ty.bytes() / 8) as usize,
            Want::WidenS | Want::WidenU | Want::Broadcast => 1,
            Want::Registers => shape(ty).parts,
        };
        self.loads[value] = Some(Load {
            ty,
            base,
            offset,
            want,
            parts: vec![None; count],
        });
        self.pending.push(value);
    }

    /// Emits what is still to be loaded, before memory may change or a loop begins.
    pub(super) fn flush(&mut self) {
        for value in std::mem::take(&mut self.pending) {
            let count = self.loads[value].as_ref().map_or(0, |l| l.parts.len());
            for part in 0..count {
                self.loaded(value, part);
            }
        }
    }

    /// A part of a load.
    fn loaded(&mut self, value: Value, part: usize) -> Option<ir::Value> {
        let load = self.loads[value].as_ref()?;
        if let Some(found) = load.parts[part] {
            return Some(found);
        }
        let (ty, want, offset) = (load.ty, load.want, load.offset);
        let base = load.base;
        let base = self.one(base);
        let loaded = match want {
            Want::Nothing | Want::Registers => self.load_register(ty, base, offset, part),
            Want::Broadcast => self.load_bits(broadcast_bits(ty), base, offset),
            Want::WidenS | Want::WidenU if ty.lanes == 1 => {
                self.load_extended(want == Want::WidenS, ty.elem, base, offset)
            }
            Want::WidenS | Want::WidenU => {
                let at = offset.wrapping_add(8 * part as i32);
                self.load_wide(want == Want::WidenS, ty.elem, base, at)
            }
        };
        if let Some(load) = &mut self.loads[value]
            && !self.repeated[value]
        {
            load.parts[part] = Some(loaded);
        }
        Some(loaded)
    }

    /// A register of a value.
    pub(super) fn part(&mut self, value: Value, part: usize) -> ir::Value {
        let found = self
            .loaded(value, part)
            .or_else(|| self.postponed_part(value, part));
        found.unwrap_or_else(|| {
            self.materialise(value);
            self.values[value][part]
        })
    }

    /// All registers of a value.
    pub(super) fn parts(&mut self, value: Value) -> Vec<ir::Value> {
        let count = shape(self.ty(value)).parts;
        (0..count).map(|p| self.part(value, p)).collect()
    }

    /// A value that is one part.
    pub(super) fn one(&mut self, value: Value) -> ir::Value {
        self.part(value, 0)
    }

    /// Whether a load gives bits for a broadcast.
    pub(super) fn is_broadcast(&self, value: Value) -> bool {
        self.loads[value]
            .as_ref()
            .is_some_and(|l| l.want == Want::Broadcast)
    }

    /// Registers of a load, already widened: vectors once, scalars to 64 bits.
    pub(super) fn widened(&mut self, value: Value) -> Option<Vec<ir::Value>> {
        let load = self.loads[value].as_ref()?;
        if !matches!(load.want, Want::WidenS | Want::WidenU) {
            return None;
        }
        (0..load.parts.len())
            .map(|p| self.loaded(value, p))
            .collect()
    }

    /// A register of a vector load that is already widened.
    pub(super) fn widened_part(&mut self, value: Value, part: usize) -> Option<ir::Value> {
        let want = self.loads[value].as_ref()?.want;
        matches!(want, Want::WidenS | Want::WidenU).then(|| self.loaded(value, part))?
    }

    fn load_bits(&mut self, ty: ir::Type, base: ir::Value, offset: i32) -> ir::Value {
        let flags = MemFlags::new().with_notrap();
        self.b.ins().load(ty, flags, base, offset)
    }

    /// A register; a value that is shorter is loaded as a scalar of its size, since loads touch no byte beyond it.
    fn load_register(&mut self, ty: Type, base: ir::Value, offset: i32, part: usize) -> ir::Value {
        let to = shape(ty).clif;
        if ty.lanes == 1 {
            return self.load_bits(to, base, offset);
        }
        if ty.bytes() < legal::REGISTER {
            let bits = match ty.bytes() {
                2 => types::I16,
                4 => types::I32,
                _ => types::I64,
            };
            let bits = self.load_bits(bits, base, offset);
            return self.low_part(bits, to);
        }
        // Without AVX, Cranelift 0.135 folds unaligned loads into `cmpps`, which then faults: it does not fold through a
        // cast. Nothing is lost, since no other instruction may fold them either.
        let loaded = match (self.features.arch, self.features.avx, to) {
            (Arch::X86_64, false, types::I8X16) => types::I64X2,
            (Arch::X86_64, false, _) => types::I8X16,
            (Arch::X86_64 | Arch::Aarch64, _, to) => to,
        };
        let at = offset.wrapping_add(16 * part as i32);
        let value = self.load_bits(loaded, base, at);
        self.cast(value, to)
    }

    /// A scalar integer in 64 bits.
    fn load_extended(
        &mut self,
        signed: bool,
        elem: Elem,
        base: ir::Value,
        offset: i32,
    ) -> ir::Value {
        let flags = MemFlags::new().with_notrap();
        let ins = self.b.ins();
        match (elem, signed) {
            (Elem::I8, true) => ins.sload8(types::I64, flags, base, offset),
            (Elem::I8, false) => ins.uload8(types::I64, flags, base, offset),
            (Elem::I16, true) => ins.sload16(types::I64, flags, base, offset),
            (Elem::I16, false) => ins.uload16(types::I64, flags, base, offset),
            (Elem::I32 | Elem::F32, true) => ins.sload32(flags, base, offset),
            (Elem::I32 | Elem::F32, false) => ins.uload32(flags, base, offset),
            (Elem::I64, _) => ins.load(types::I64, flags, base, offset),
        }
    }

    /// Eight bytes of lanes, in lanes of twice the width.
    fn load_wide(&mut self, signed: bool, elem: Elem, base: ir::Value, offset: i32) -> ir::Value {
        let flags = MemFlags::new().with_notrap();
        let ins = self.b.ins();
        match (elem, signed) {
            (Elem::I8, true) => ins.sload8x8(flags, base, offset),
            (Elem::I8, false) => ins.uload8x8(flags, base, offset),
            (Elem::I16, true) => ins.sload16x4(flags, base, offset),
            (Elem::I16, false) => ins.uload16x4(flags, base, offset),
            (Elem::I32 | Elem::I64 | Elem::F32, true) => ins.sload32x2(flags, base, offset),
            (Elem::I32 | Elem::I64 | Elem::F32, false) => ins.uload32x2(flags, base, offset),
        }
    }
}

/// The scalar that a value is loaded as for a broadcast: floats go straight into vector registers.
fn broadcast_bits(ty: Type) -> ir::Type {
    match ty.bytes() {
        4 => types::F32,
        8 => types::F64,
        2 => types::I16,
        _ => scalar(ty.elem),
    }
}
