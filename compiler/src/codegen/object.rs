//! Objects: the code of a function as a relocatable ELF file, for any target, to be linked into programs.

use super::CodegenError;
use super::constants::{Constants, LINE, Tables};
use super::emit::signature;
use super::features::Features;
use super::finish::{compiled, define};
use super::jit::{clif_of, guarded, ready};
use crate::vector::ir::Function;
use cranelift_codegen::ir::UserExternalName;
use cranelift_codegen::{Context, FinalizedRelocTarget};
use cranelift_module::{DataDescription, Linkage, Module, default_libcall_names};
use cranelift_object::{ObjectBuilder, ObjectModule};

/// An ELF object that defines `symbol` as `void symbol(const uint64_t *words)`, one word for each parameter of the function
/// in their order (see [`MachineCode::call`](super::MachineCode::call) for what they hold). It needs no other symbol; its
/// constant tables are read-only data. The same function, features and symbol give the same bytes.
///
/// # Errors
/// [`CodegenError::Symbol`] if `symbol` is no name of C, and whatever keeps the function from being compiled.
pub fn object(
    function: &Function,
    features: &Features,
    symbol: &str,
) -> Result<Vec<u8>, CodegenError> {
    if !is_symbol(symbol) {
        return Err(CodegenError::Symbol(symbol.to_owned()));
    }
    let ready = ready(function, features)?;
    let constants = Constants::new(&ready, features);
    let isa = features.isa()?;
    let signature = signature(&*isa);
    let error = |reason: String| CodegenError::Cranelift {
        function: function.name.clone(),
        reason,
    };
    let builder = ObjectBuilder::new(isa, symbol, default_libcall_names());
    let mut module = ObjectModule::new(builder.map_err(|e| error(e.to_string()))?);
    let tables = guarded(function, || tables(&mut module, symbol, &constants))?;
    let clif = clif_of(&ready, features, &tables)?;
    guarded(function, || {
        let id = module
            .declare_function(symbol, Linkage::Export, &signature)
            .map_err(|e| e.to_string())?;
        let mut context = Context::for_function(clif);
        let code = compiled(&mut context, module.isa())?;
        define(&mut module, id, &context.func, &code)?;
        let mut targets = code.buffer.relocs().iter().map(|r| &r.target);
        let calls = targets.find(|t| !is_table(t)).map(|t| format!("{t:?}"));
        match calls {
            Some(name) => Err(format!("the code needs `{name}`")),
            None => module.finish().emit().map_err(|e| e.to_string()),
        }
    })
}

/// Puts the tables into the object.
fn tables(
    module: &mut ObjectModule,
    symbol: &str,
    constants: &Constants,
) -> Result<Tables, String> {
    let bytes = constants.bytes();
    if bytes.is_empty() {
        return Ok(constants.here());
    }
    let id = module
        .declare_data(&format!("{symbol}.tables"), Linkage::Local, false, false)
        .map_err(|e| e.to_string())?;
    let mut data = DataDescription::new();
    data.define(bytes.into_boxed_slice());
    data.set_align(LINE as u64);
    module.define_data(id, &data).map_err(|e| e.to_string())?;
    // Data objects are in the namespace 1, functions in 0.
    Ok(constants.within(UserExternalName::new(1, id.as_u32())))
}

/// Whether a relocation is to the tables: nothing else is in an object that is not in the function.
fn is_table(target: &FinalizedRelocTarget) -> bool {
    match target {
        FinalizedRelocTarget::ExternalName(name) => {
            matches!(name, cranelift_codegen::ir::ExternalName::User(_))
        }
        FinalizedRelocTarget::Func(_) => true,
    }
}

/// Whether a name can be one of a function in C.
fn is_symbol(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}
