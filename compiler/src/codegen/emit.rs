//! Functions, loops, loads and stores into CLIF. A value of the IR is a list of CLIF values, one a register.

use super::features::{Arch, Features};
use super::legal::{self, shape};
use crate::vector::ir::{Function, Loop, Op, Step, Type, Value};
use cranelift_codegen::ir::{
    self, AbiParam, InstBuilder, MemFlagsData as MemFlags, Signature, UserFuncName,
    condcodes::IntCC, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_entity::SecondaryMap;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};

/// Addresses of the constant tables, in their order.
pub(super) type Tables = Vec<u64>;

/// State of the emission of one function.
pub(super) struct Emit<'f, 'b> {
    pub(super) ir: &'f Function,
    pub(super) features: Features,
    pub(super) b: FunctionBuilder<'b>,
    pub(super) values: SecondaryMap<Value, Vec<ir::Value>>,
    /// Bits of vectors shorter than a register that were just loaded: a broadcast takes them as they are.
    short: SecondaryMap<Value, Option<ir::Value>>,
    args: ir::Value,
    tables: &'f Tables,
}

/// The signature of generated code: one pointer to the parameters, each 8 bytes.
pub(super) fn signature(isa: &dyn TargetIsa) -> Signature {
    let mut signature = Signature::new(CallConv::triple_default(isa.triple()));
    signature.params.push(AbiParam::new(types::I64));
    signature
}

/// The CLIF of a function.
pub(super) fn function(
    ir: &Function,
    features: Features,
    isa: &dyn TargetIsa,
    tables: &Tables,
) -> ir::Function {
    let mut clif = ir::Function::with_name_signature(UserFuncName::user(0, 0), signature(isa));
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut clif, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let args = b.block_params(entry)[0];
    let mut emit = Emit {
        ir,
        features,
        b,
        values: SecondaryMap::new(),
        short: SecondaryMap::new(),
        args,
        tables,
    };
    emit.region(&ir.body);
    emit.b.ins().return_(&[]);
    emit.b.finalize(isa.frontend_config());
    clif
}

impl Emit<'_, '_> {
    fn region(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Let(value, op) => {
                    let ty = self.ir.types[*value];
                    match (self.short_load(ty, op), op) {
                        (Some(bits), _) => self.short[*value] = Some(bits),
                        (None, op) => self.values[*value] = self.op(ty, op),
                    }
                }
                Step::Store {
                    value,
                    base,
                    offset,
                } => self.store(*value, *base, *offset),
                Step::Loop(body) => self.looped(body),
            }
        }
    }

    /// The parts of a value.
    pub(super) fn parts(&mut self, value: Value) -> Vec<ir::Value> {
        if let Some(bits) = self.short[value] {
            let register = shape(self.ir.types[value]).clif;
            return vec![self.low_part(bits, register)];
        }
        self.values[value].clone()
    }

    /// A value that is one part.
    pub(super) fn one(&mut self, value: Value) -> ir::Value {
        self.parts(value)[0]
    }

    /// The bits of a short vector that was loaded.
    pub(super) fn short_bits(&self, value: Value) -> Option<ir::Value> {
        self.short[value]
    }

    /// Loads never touch a byte beyond the value: a short vector is loaded as a scalar of its size.
    fn short_load(&mut self, ty: Type, op: &Op) -> Option<ir::Value> {
        let Op::Load { base, offset } = op else {
            return None;
        };
        if ty.lanes == 1 || ty.bytes() >= legal::REGISTER {
            return None;
        }
        let scalar = match ty.bytes() {
            2 => types::I16,
            4 => types::I32,
            _ => types::I64,
        };
        let base = self.one(*base);
        Some(
            self.b
                .ins()
                .load(scalar, MemFlags::new().with_notrap(), base, *offset),
        )
    }

    pub(super) fn ty(&self, value: Value) -> Type {
        self.ir.types[value]
    }

    /// A loop: tested before each round; the body falls back to the test.
    fn looped(&mut self, l: &Loop) {
        let header = self.b.create_block();
        let body = self.b.create_block();
        let exit = self.b.create_block();
        let counter = self.b.declare_var(types::I64);
        let from = self.one(l.from);
        self.b.def_var(counter, from);
        let mut carried: Vec<Vec<Variable>> = Vec::new();
        for c in &l.carried {
            let parts = self.parts(c.init);
            let variables = parts
                .iter()
                .map(|part| {
                    let ty = self.b.func.dfg.value_type(*part);
                    let variable = self.b.declare_var(ty);
                    self.b.def_var(variable, *part);
                    variable
                })
                .collect();
            carried.push(variables);
        }
        let to = self.one(l.to);
        // Rotated: one test at the entry, one at the end of each round.
        let enter = self.b.ins().icmp(IntCC::SignedLessThan, from, to);
        self.b.ins().brif(enter, body, &[], exit, &[]);
        self.b.switch_to_block(header);
        let at = self.b.use_var(counter);
        let next = self.b.ins().iadd_imm_s(at, l.step);
        self.b.def_var(counter, next);
        let again = self.b.ins().icmp(IntCC::SignedLessThan, next, to);
        self.b.ins().brif(again, body, &[], exit, &[]);
        self.b.switch_to_block(body);
        self.values[l.counter] = vec![self.b.use_var(counter)];
        for (c, variables) in l.carried.iter().zip(&carried) {
            self.values[c.inside] = variables.iter().map(|v| self.b.use_var(*v)).collect();
        }
        self.region(&l.body);
        for (c, variables) in l.carried.iter().zip(&carried) {
            for (part, variable) in self.parts(c.next).into_iter().zip(variables) {
                self.b.def_var(*variable, part);
            }
        }
        self.b.ins().jump(header, &[]);
        self.b.seal_block(header);
        self.b.seal_block(body);
        self.b.seal_block(exit);
        self.b.switch_to_block(exit);
        for (c, variables) in l.carried.iter().zip(&carried) {
            self.values[c.result] = variables.iter().map(|v| self.b.use_var(*v)).collect();
        }
    }

    pub(super) fn param(&mut self, at: u32) -> ir::Value {
        self.b
            .ins()
            .load(types::I64, MemFlags::trusted(), self.args, at as i32 * 8)
    }

    pub(super) fn table(&mut self, at: u32) -> ir::Value {
        let address = self.tables.get(at as usize).copied().unwrap_or(0);
        self.b.ins().iconst(types::I64, address as i64)
    }

    fn load(&mut self, ty: Type, base: Value, offset: i32) -> Vec<ir::Value> {
        let base = self.one(base);
        let shape = shape(ty);
        let flags = MemFlags::new().with_notrap();
        if ty.lanes == 1 {
            return vec![self.b.ins().load(shape.clif, flags, base, offset)];
        }
        // Without AVX, Cranelift 0.135 folds unaligned loads into `cmpps`, which then faults: it does not fold through a
        // cast. Nothing is lost, since no other instruction may fold them either.
        let loaded = match (self.features.arch, self.features.avx, shape.clif) {
            (Arch::X86_64, false, types::I8X16) => types::I64X2,
            (Arch::X86_64, false, _) => types::I8X16,
            (Arch::X86_64 | Arch::Aarch64, _, clif) => clif,
        };
        let part = |e: &mut Self, p: usize| {
            let at = offset.wrapping_add(16 * p as i32);
            let value = e.b.ins().load(loaded, flags, base, at);
            e.cast(value, shape.clif)
        };
        (0..shape.parts).map(|p| part(self, p)).collect()
    }

    /// A scalar of up to 64 bits in the low part of a register, zeros above.
    pub(super) fn low_part(&mut self, bits: ir::Value, to: ir::Type) -> ir::Value {
        let ty = self.b.func.dfg.value_type(bits);
        let (bits, ty) = if ty == types::I16 || ty == types::I8 {
            (self.b.ins().uextend(types::I32, bits), types::I32)
        } else {
            (bits, ty)
        };
        let vector = match ty {
            types::I32 => types::I32X4,
            types::F32 => types::F32X4,
            _ => types::I64X2,
        };
        let in_register = self.b.ins().scalar_to_vector(vector, bits);
        self.cast(in_register, to)
    }

    /// The same bits as another register type.
    pub(super) fn cast(&mut self, value: ir::Value, to: ir::Type) -> ir::Value {
        if self.b.func.dfg.value_type(value) == to {
            return value;
        }
        let flags = MemFlags::new().with_endianness(ir::Endianness::Little);
        self.b.ins().bitcast(to, flags, value)
    }

    fn store(&mut self, value: Value, base: Value, offset: i32) {
        let ty = self.ty(value);
        let base = self.one(base);
        let flags = MemFlags::new().with_notrap();
        let parts = self.parts(value);
        if ty.lanes > 1 && ty.bytes() < legal::REGISTER {
            let (vector, bytes) = match ty.bytes() {
                2 => (types::I16X8, 2),
                4 => (types::I32X4, 4),
                _ => (types::I64X2, 8),
            };
            let whole = self.cast(parts[0], vector);
            let scalar = self.b.ins().extractlane(whole, 0);
            debug_assert_eq!(bytes, ty.bytes());
            self.b.ins().store(flags, scalar, base, offset);
            return;
        }
        for (p, part) in parts.into_iter().enumerate() {
            self.b
                .ins()
                .store(flags, part, base, offset.wrapping_add(16 * p as i32));
        }
    }

    /// CLIF of an operation.
    fn op(&mut self, ty: Type, op: &Op) -> Vec<ir::Value> {
        match op {
            Op::Param(p) => vec![self.param(p.as_u32())],
            Op::TableAddr(t) => vec![self.table(t.as_u32())],
            Op::Load { base, offset } => self.load(ty, *base, *offset),
            other => self.compute(ty, other),
        }
    }
}
