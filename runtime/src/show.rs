//! Text of the stages of a kernel.

use crate::kernel::Stage;
use crate::{Error, Kernel};
use lowbit_compiler::codegen;
use lowbit_compiler::pipeline::Program;

pub(crate) fn stage(kernel: &Kernel, program: &Program, stage: Stage) -> Result<String, Error> {
    Ok(match stage {
        Stage::Spec => kernel.spec().to_string(),
        Stage::Schedule => program.schedule_text(),
        Stage::Rewrite => program.rewrite_text(),
        Stage::Vector => program.function.to_string(),
        Stage::Assembly => codegen::listing(&program.function, &kernel.target().features)?,
    })
}
