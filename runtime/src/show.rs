//! Text of the stages of a kernel, one by one and all on a page.

use crate::kernel::Stage;
use crate::{Error, Kernel};
use lowbit_compiler::codegen;
use lowbit_compiler::format::text::definition;
use lowbit_compiler::pipeline::Program;
use lowbit_compiler::spec::kernel::Role;

pub(crate) fn stage(kernel: &Kernel, program: &Program, stage: Stage) -> Result<String, Error> {
    Ok(match stage {
        Stage::Spec => kernel.spec().to_string(),
        Stage::Schedule => program.schedule_text(),
        Stage::Rewrite => program.rewrite_text(),
        Stage::Vector => program.function.to_string(),
        Stage::Assembly => codegen::listing(&program.function, &kernel.target().features)?,
    })
}

/// All stages but the machine instructions, with the layouts of the weights, on one page.
pub(crate) fn snapshot(kernel: &Kernel) -> Result<String, Error> {
    let mut page = format!("{} for {}\n", kernel.name(), kernel.target().name);
    for tensor in kernel
        .spec()
        .tensors
        .values()
        .filter(|t| t.role == Role::Weight)
    {
        page.push_str(&format!(
            "\n== layout of {}\n{}\n",
            tensor.name,
            definition(&*kernel.layout(&tensor.name)?).trim_end()
        ));
    }
    for stage in Stage::ALL {
        let text = kernel.stage(stage)?;
        page.push_str(&format!("\n== {}\n{}\n", stage.name(), text.trim_end()));
    }
    Ok(page)
}
