//! Functions, loops, loads and stores into CLIF. A value of the IR is a list of CLIF values, one a register.

use super::constants::{Place, Tables};
use super::features::Features;
use super::legal::{self, shape};
use super::loads::{self, Load, Want};
use super::parts::{self, Parts, by_parts};
use crate::vector::ir::{Function, Loop, Op, Step, Type, Value};
use cranelift_codegen::ir::{
    self, AbiParam, BlockArg, ExternalName, GlobalValueData, InstBuilder, MemFlagsData as MemFlags,
    Signature, UserExternalName, UserFuncName, condcodes::IntCC, types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_entity::SecondaryMap;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use std::collections::BTreeMap;

/// State of the emission of one function.
pub(super) struct Emit<'f, 'b> {
    pub(super) ir: &'f Function,
    pub(super) features: Features,
    pub(super) b: FunctionBuilder<'b>,
    pub(super) values: SecondaryMap<Value, Vec<ir::Value>>,
    pub(super) wants: SecondaryMap<Value, Want>,
    pub(super) spent: SecondaryMap<Value, bool>,
    pub(super) loads: SecondaryMap<Value, Option<Load>>,
    /// Scalars that are the low bits of a 64-bit value with zeros above.
    pub(super) extended: BTreeMap<ir::Value, ir::Value>,
    /// Constants, which are emitted where they are used.
    pub(super) constants: SecondaryMap<Value, Option<&'f Op>>,
    /// Constants that were emitted for the present step.
    pub(super) made: Vec<Value>,
    /// Loads that are emitted at every use.
    pub(super) repeated: SecondaryMap<Value, bool>,
    /// Loads that may still have to be emitted.
    pub(super) pending: Vec<Value>,
    /// Operations that are emitted register by register where they are used.
    pub(super) postponed: SecondaryMap<Value, Option<Parts<'f>>>,
    /// Those of them that may still have to be emitted.
    pub(super) unfinished: Vec<Value>,
    /// Values that depend on one that a loop carries.
    pub(super) accumulates: SecondaryMap<Value, bool>,
    /// Registers that are held for values that are postponed.
    pub(super) held: SecondaryMap<Value, Option<usize>>,
    args: ir::Value,
    pub(super) tables: &'f Tables,
    /// Where the constants begin, if instructions take them from memory.
    pub(super) beginning: Option<ir::Value>,
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
        wants: loads::wants(ir, &features),
        spent: loads::spent(ir),
        loads: SecondaryMap::new(),
        extended: BTreeMap::new(),
        constants: SecondaryMap::new(),
        made: Vec::new(),
        repeated: SecondaryMap::new(),
        pending: Vec::new(),
        postponed: SecondaryMap::new(),
        unfinished: Vec::new(),
        accumulates: parts::accumulates(ir),
        held: SecondaryMap::new(),
        args,
        tables,
        beginning: None,
    };
    if tables.has_vectors() {
        emit.beginning = Some(emit.beginning());
    }
    emit.region(&ir.body);
    emit.b.ins().return_(&[]);
    emit.b.finalize(isa.frontend_config());
    clif
}

impl<'f> Emit<'f, '_> {
    fn region(&mut self, steps: &'f [Step]) {
        for step in steps {
            match step {
                Step::Let(value, op) => {
                    let ty = self.ir.types[*value];
                    match op {
                        Op::Load { base, offset } => self.defer(*value, ty, *base, *offset),
                        op if op.is_constant() => self.constants[*value] = Some(op),
                        op if by_parts(self.ir, ty, op) => self.postpone(*value, op),
                        other => {
                            self.values[*value] = self.compute(ty, other);
                            self.held[*value] = loads::repeats(other).then_some(1);
                        }
                    }
                }
                Step::Store {
                    value,
                    base,
                    offset,
                } => self.store(*value, *base, *offset),
                Step::Loop(body) => self.looped(body),
            }
            self.forget_constants();
        }
    }

    pub(super) fn ty(&self, value: Value) -> Type {
        self.ir.types[value]
    }

    /// A loop, tested before each round. Carried values pass through one block, the test: a value that is given to two
    /// blocks counts as used twice, and Cranelift would fold no load into what it is made of.
    fn looped(&mut self, l: &'f Loop) {
        self.finish();
        self.flush();
        let (test, body, exit) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        let to = self.one(l.to);
        let mut entering = vec![self.one(l.from)];
        for c in &l.carried {
            entering.extend(self.parts(c.init));
        }
        let mut types = Vec::new();
        for value in &entering {
            types.push(self.b.func.dfg.value_type(*value));
        }
        let params: Vec<ir::Value> = types
            .into_iter()
            .map(|ty| self.b.append_block_param(test, ty))
            .collect();
        let hoisted = self.fit_registers(l);
        self.jump(test, &entering);
        self.b.switch_to_block(test);
        // The exit comes first: then the body is laid out right behind the test.
        let done = IntCC::SignedGreaterThanOrEqual;
        let leave = self.b.ins().icmp(done, params[0], to);
        self.b.ins().brif(leave, exit, &[], body, &[]);
        self.b.seal_block(body);
        self.b.seal_block(exit);
        self.b.switch_to_block(body);
        self.values[l.counter] = vec![params[0]];
        let mut rest = params.iter().skip(1).copied();
        for c in &l.carried {
            let count = shape(self.ty(c.inside)).parts;
            let parts: Vec<ir::Value> = rest.by_ref().take(count).collect();
            self.values[c.inside] = parts.clone();
            self.values[c.result] = parts;
        }
        self.region(&l.body);
        let mut next = vec![self.b.ins().iadd_imm_s(params[0], l.step)];
        for c in &l.carried {
            next.extend(self.parts(c.next));
        }
        // What is pending here has no use.
        self.pending.clear();
        self.unfinished.clear();
        self.jump(test, &next);
        self.made.extend(hoisted);
        self.forget_constants();
        self.b.seal_block(test);
        self.b.switch_to_block(exit);
    }

    fn jump(&mut self, to: ir::Block, values: &[ir::Value]) {
        let args: Vec<BlockArg> = values.iter().copied().map(BlockArg::Value).collect();
        self.b.ins().jump(to, &args);
    }

    pub(super) fn param(&mut self, at: u32) -> ir::Value {
        self.b
            .ins()
            .load(types::I64, MemFlags::trusted(), self.args, at as i32 * 8)
    }

    pub(super) fn table(&mut self, at: u32) -> ir::Value {
        let at = at as usize;
        match &self.tables.place {
            Place::Here { tables, .. } => {
                let address = tables.get(at).copied().unwrap_or(0);
                self.b.ins().iconst(types::I64, address as i64)
            }
            Place::In(symbol, offsets) => {
                let offset = offsets.get(at).copied().unwrap_or(0);
                self.place_in(symbol, offset)
            }
        }
    }

    /// Where the constants begin. In this process the address comes from memory: Cranelift would make one that it knows again for
    /// every use.
    fn beginning(&mut self) -> ir::Value {
        match &self.tables.place {
            Place::Here { beginning, .. } => {
                let word = self.b.ins().iconst(types::I64, *beginning as i64);
                let flags = MemFlags::trusted().with_readonly();
                self.b.ins().load(types::I64, flags, word, 0)
            }
            Place::In(symbol, _) => self.place_in(symbol, 0),
        }
    }

    /// The address of a place in a symbol.
    fn place_in(&mut self, symbol: &UserExternalName, offset: i64) -> ir::Value {
        let function = &mut self.b.func;
        let name = function.declare_imported_user_function(symbol.clone());
        let place = function.create_global_value(GlobalValueData::Symbol {
            name: ExternalName::user(name),
            offset: offset.into(),
            // Beside the code: its address is relative to the instruction.
            colocated: true,
            tls: false,
        });
        self.b.ins().symbol_value(types::I64, place)
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
        self.flush();
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
}
