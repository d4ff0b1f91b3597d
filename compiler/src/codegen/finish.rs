//! From CLIF to machine code. Between the two, blocks are parted after numbers that are loaded into one or all lanes of a vector:
//! Cranelift does both with one instruction only where it sees one use, and takes an operand of what has several uses to have
//! several itself. What a block is given as a parameter has one use, the jump to the block, and that jump is no instruction.

use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{Function, Inst, InstBuilder, Opcode, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CompiledCode, Context};
use cranelift_module::{FuncId, Module, ModuleReloc};
use std::collections::HashMap;

/// The code of a context's function, which is optimised on the way.
pub(super) fn compiled(context: &mut Context, isa: &dyn TargetIsa) -> Result<CompiledCode, String> {
    let plane = &mut ControlPlane::default();
    context.optimize(isa, plane).map_err(|e| format!("{e:?}"))?;
    part_after_loads(&mut context.func);
    context.compute_cfg();
    context.compute_domtree();
    let code = isa.compile_function(
        &context.func,
        &context.domtree,
        &mut Default::default(),
        context.want_disasm,
        plane,
    );
    let code = code.map_err(|e| format!("{e:?}"))?;
    Ok(code.apply_params(&context.func.params))
}

/// Makes compiled code the body of a function of a module.
pub(super) fn define(
    module: &mut impl Module,
    id: FuncId,
    function: &Function,
    code: &CompiledCode,
) -> Result<(), String> {
    let isa = module.isa();
    let alignment = u64::from(code.buffer.alignment)
        .max(u64::from(isa.function_alignment().minimum))
        .max(isa.symbol_alignment());
    let relocs = code.buffer.relocs().iter();
    let relocs: Vec<ModuleReloc> = relocs
        .map(|r| ModuleReloc::from_mach_reloc(r, function, id))
        .collect();
    module
        .define_function_bytes(id, alignment, code.code_buffer(), &relocs)
        .map_err(|e| e.to_string())
}

/// Ends a block after each number that is loaded into a vector which Cranelift takes to be used more than once.
fn part_after_loads(function: &mut Function) {
    let uses = Uses::of(function);
    let blocks = function.layout.blocks();
    let all = blocks.flat_map(|block| function.layout.block_insts(block));
    let places: Vec<Inst> = all
        .filter(|inst| uses.parts_after(function, *inst))
        .collect();
    for inst in places {
        let value = function.dfg.first_result(inst);
        let (Some(block), Some(next)) = (
            function.layout.inst_block(inst),
            function.layout.next_inst(inst),
        ) else {
            continue;
        };
        let rest = function.dfg.make_block();
        let ty = function.dfg.value_type(value);
        let parameter = function.dfg.append_block_param(rest, ty);
        function.layout.split_block(rest, next);
        for user in uses.of_value(value) {
            let given = |v: Value| if v == value { parameter } else { v };
            function.dfg.map_inst_values(*user, given);
        }
        let mut end = FuncCursor::new(function).at_bottom(block);
        end.ins().jump(rest, &[value.into()]);
    }
}

/// The instructions that use each value.
struct Uses(HashMap<Value, Vec<Inst>>);

impl Uses {
    fn of(function: &Function) -> Uses {
        let mut uses: HashMap<Value, Vec<Inst>> = HashMap::new();
        for block in function.layout.blocks() {
            for inst in function.layout.block_insts(block) {
                for value in function.dfg.inst_values(inst) {
                    uses.entry(value).or_default().push(inst);
                }
            }
        }
        Uses(uses)
    }

    fn of_value(&self, value: Value) -> &[Inst] {
        self.0.get(&value).map_or(&[], Vec::as_slice)
    }

    /// Whether an instruction could load an operand itself, and does not for the uses of its result.
    fn parts_after(&self, function: &Function, inst: Inst) -> bool {
        let dfg = &function.dfg;
        let takes_load = |value: &Value, readonly: bool| {
            dfg.value_def(*value).inst().is_some_and(|load| {
                let data = &dfg.insts[load];
                let is_load = data.opcode() == Opcode::Load;
                let flags = data.memflags_data(dfg).filter(|_| is_load);
                flags.is_some_and(|f| f.readonly() || !readonly)
                    && function.layout.inst_block(load) == function.layout.inst_block(inst)
                    && self.of_value(*value).len() == 1
            })
        };
        let loads = match (dfg.insts[inst].opcode(), dfg.inst_args(inst)) {
            (Opcode::Splat | Opcode::ScalarToVector, [number]) => takes_load(number, false),
            (
                Opcode::Band
                | Opcode::Bor
                | Opcode::Bxor
                | Opcode::Iadd
                | Opcode::Icmp
                | Opcode::Fmul
                | Opcode::Fadd,
                [_, constant],
            ) => takes_load(constant, true),
            _ => false,
        };
        loads && self.several(function, dfg.first_result(inst))
    }

    /// Whether a value, or what is made of it alone, has several uses.
    fn several(&self, function: &Function, mut value: Value) -> bool {
        while let [user] = self.of_value(value) {
            let [result] = function.dfg.inst_results(*user) else {
                return false;
            };
            value = *result;
        }
        self.of_value(value).len() > 1
    }
}
