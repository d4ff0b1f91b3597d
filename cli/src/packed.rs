//! Packed tensors on disk: the bytes as a kernel reads them, and beside them a text that says what they are. The text is
//! a module of the language: the layout as a format, and a kernel that says what the tensor decodes to.

use crate::Failure;
use crate::text::{self, module};
use lowbit::Tensor;
use lowbit::compiler::format::text::definition;
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::spec::kernel::{Extent, Role};
use std::path::{Path, PathBuf};

/// Where the text lies that describes a packed file.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lowbit");
    PathBuf::from(name)
}

/// Writes a tensor and its text.
pub(crate) fn write(path: &Path, name: &str, tensor: &Tensor) -> Result<(), Failure> {
    text::write(path, tensor.bytes())?;
    text::write(&beside(path), description(name, tensor))
}

/// The text: a format, and a kernel that decodes.
fn description(name: &str, tensor: &Tensor) -> String {
    let mut format: Format = (**tensor.format()).clone();
    if matches!(format.kind, FormatKind::Plain(_)) {
        // Names of plain formats are built in.
        format.name = format!("plain_{}", format.name);
    }
    let list = |items: Vec<String>| items.join(", ");
    let shape = list(tensor.shape().iter().map(u64::to_string).collect());
    let axes = list((0..tensor.shape().len()).map(|n| format!("i{n}")).collect());
    let output = if name == "decoded" {
        "values"
    } else {
        "decoded"
    };
    format!(
        "language 1;\n// What the bytes of the file beside this text are, and what they decode to\n\n{}\n\
         kernel decode(stored {name}: {}[{shape}]) -> output {output}: f32[{shape}] {{\n    \
         {output}[{axes}] = {name}[{axes}];\n}}\n",
        definition(&format),
        format.name
    )
}

/// Reads a tensor that [`write()`] wrote, and its name.
pub(crate) fn read(path: &Path) -> Result<(String, Tensor), Failure> {
    let text = beside(path);
    let error = |what: &str| Failure::Input(format!("{}: {what}", text.display()));
    let module = module(&text)?;
    let [kernel] = &module.kernels[..] else {
        return Err(error("a packed file is described by one kernel"));
    };
    let stored = kernel.tensors.values().find(|t| t.role == Role::Stored);
    let Some(stored) = stored else {
        return Err(error("the kernel reads no stored tensor"));
    };
    let extent = |e: &Extent| match e {
        Extent::Const(n) => Ok(*n),
        Extent::Dim(_) | Extent::Quotient(..) => {
            Err(error("the shape of the stored tensor is not fixed"))
        }
    };
    let shape = stored
        .shape
        .iter()
        .map(extent)
        .collect::<Result<Vec<u64>, _>>()?;
    let bytes =
        std::fs::read(path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))?;
    let tensor = Tensor::from_bytes(stored.format.clone(), &shape, bytes)?;
    Ok((stored.name.clone(), tensor))
}
