//! Finished code: compiled, loaded, callable from any thread, and freed when it is dropped.

use super::CodegenError;
use super::constants::{Constants, Tables};
use super::emit::{self, signature};
use super::features::{Arch, Features};
use super::finish::{compiled, define};
use super::order::reordered;
use super::words::shifted_as_words;
use crate::vector::ir::Function;
use crate::vector::verify::verify;
use cranelift_codegen::Context;
use cranelift_codegen::ir;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module, default_libcall_names};
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The convention of generated code: one pointer to the words of the parameters.
type Entry = unsafe extern "C" fn(*const u64);

/// Code that runs on this machine. Its memory is freed when it is dropped.
#[derive(Debug)]
pub struct MachineCode {
    module: Option<JITModuleBox>,
    entry: Entry,
    /// The code holds the addresses of these.
    _constants: Constants,
    size: usize,
}

/// The module, which is only kept to be freed.
struct JITModuleBox(JITModule);

impl std::fmt::Debug for JITModuleBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JITModule")
    }
}

// SAFETY: after `compile` the module is never used again until it is freed by the one owner in `drop`; finished code and
// constants are only read.
unsafe impl Sync for MachineCode {}

/// A function that keeps the rules, as it is emitted: without shifts that the target has not, in an order that needs few registers.
pub(super) fn ready(function: &Function, features: &Features) -> Result<Function, CodegenError> {
    if let Some(error) = verify(function).into_iter().next() {
        return Err(CodegenError::Invalid {
            function: function.name.clone(),
            error,
        });
    }
    let legal = match features.arch {
        Arch::X86_64 => Cow::Owned(shifted_as_words(function)),
        Arch::Aarch64 => Cow::Borrowed(function),
    };
    Ok(reordered(&legal))
}

/// CLIF of a function that is ready, which finds its constants where they are said to be.
pub(super) fn clif_of(
    ready: &Function,
    features: &Features,
    tables: &Tables,
) -> Result<ir::Function, CodegenError> {
    let isa = features.isa()?;
    guarded(ready, || {
        Ok(emit::function(ready, *features, &*isa, tables))
    })
}

/// CLIF of a function with constants that are numbered instead of placed.
pub(super) fn numbered(
    function: &Function,
    features: &Features,
) -> Result<ir::Function, CodegenError> {
    let ready = ready(function, features)?;
    clif_of(
        &ready,
        features,
        &Constants::new(&ready, features).placeholders(),
    )
}

/// Text of a function in Cranelift's IR, as it is given to Cranelift; constants are numbered instead of placed.
pub fn clif(function: &Function, features: &Features) -> Result<String, CodegenError> {
    Ok(numbered(function, features)?.display().to_string())
}

/// Runs a step of Cranelift; a panic inside becomes an error.
pub(super) fn guarded<T>(
    function: &Function,
    step: impl FnOnce() -> Result<T, String>,
) -> Result<T, CodegenError> {
    let error = |reason: String| CodegenError::Cranelift {
        function: function.name.clone(),
        reason,
    };
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(error),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            Err(error(text.unwrap_or_else(|| "a panic".to_owned())))
        }
    }
}

/// Compiles a function for this machine, with no more than the features given.
pub fn compile(function: &Function, features: &Features) -> Result<MachineCode, CodegenError> {
    if !features.runs_here() {
        return Err(CodegenError::Foreign(features.arch.name()));
    }
    let ready = ready(function, features)?;
    let constants = Constants::new(&ready, features);
    let clif = clif_of(&ready, features, &constants.here())?;
    let isa = features.isa()?;
    let signature = signature(&*isa);
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let result = guarded(function, || {
        let id = module
            .declare_function("kernel", Linkage::Local, &signature)
            .map_err(|e| e.to_string())?;
        let mut context = Context::for_function(clif);
        let code = compiled(&mut context, module.isa())?;
        let size = code.code_buffer().len();
        define(&mut module, id, &context.func, &code)?;
        module.finalize_definitions().map_err(|e| e.to_string())?;
        Ok((module.get_finalized_function(id), size))
    });
    let (pointer, size) = match result {
        Ok(done) => done,
        Err(error) => {
            // SAFETY: nothing of this module was handed out.
            unsafe { module.free_memory() };
            return Err(error);
        }
    };
    // SAFETY: the pointer is to finished code of a function compiled with this signature and the platform's C convention.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(pointer) };
    Ok(MachineCode {
        module: Some(JITModuleBox(module)),
        entry,
        _constants: constants,
        size,
    })
}

impl MachineCode {
    /// Runs the code.
    ///
    /// # Safety
    /// `args` must hold one word for each parameter of the function, in order: for buffers a pointer to memory of at least
    /// the size that the function reads or writes for these scalars, writable for written buffers and scratch, and not
    /// overlapping a written buffer; for scalars their values.
    pub unsafe fn call(&self, args: &[u64]) {
        // SAFETY: the code was compiled with this signature and is alive as long as `self`; the caller answers for the words.
        unsafe { (self.entry)(args.as_ptr()) };
    }

    /// Size of the code in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for MachineCode {
    fn drop(&mut self) {
        if let Some(module) = self.module.take() {
            // SAFETY: the code is owned by `self`, which nobody can call any more.
            unsafe { module.0.free_memory() };
        }
    }
}
