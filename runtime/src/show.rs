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

/// All stages on one page, with the layouts of the weights; of the machine instructions those of innermost loops.
pub(crate) fn snapshot(kernel: &Kernel) -> Result<String, Error> {
    let mut page = format!("{} for {}\n", kernel.name(), kernel.target().name);
    for tensor in kernel
        .spec()
        .tensors
        .values()
        .filter(|t| t.role == Role::Weight)
    {
        let layout = definition(&*kernel.layout(&tensor.name)?);
        page.push_str(&format!(
            "\n== layout of {}\n{}\n",
            tensor.name,
            layout.trim_end()
        ));
    }
    for stage in [Stage::Spec, Stage::Schedule, Stage::Rewrite, Stage::Vector] {
        let text = kernel.stage(stage)?;
        page.push_str(&format!("\n== {}\n{}\n", stage.name(), text.trim_end()));
    }
    let facts = hot_loops(kernel)?;
    page.push_str(&format!(
        "\n== innermost loops\n{}\n",
        facts.inner.join("\n")
    ));
    Ok(page)
}

/// The instructions of innermost loops.
pub(crate) fn hot_loops(kernel: &Kernel) -> Result<codegen::ListingFacts, Error> {
    let listing = kernel.stage(Stage::Assembly)?;
    Ok(codegen::ListingFacts::of(
        &listing,
        kernel.target().features.arch,
    ))
}
