//! `pack`: a weight in the layout of a kernel.

use crate::Failure;
use crate::data::{Given, extents, given, inputs};
use crate::text::Source;
use clap::Args;
use lowbit::compiler::format::text::definition;
use std::path::PathBuf;

/// Lay out a weight for a kernel and write the bytes, with the layout as text beside them
#[derive(Args)]
pub(crate) struct Pack {
    #[command(flatten)]
    source: Source,
    /// The weight, from a GGUF, safetensors or npy file
    #[arg(long, value_name = "NAME=FILE[:TENSOR]", value_parser = given)]
    tensor: Given,
    /// Where to write the bytes; the layout goes to the same name with `.lowbit` after it
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl Pack {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let name = self.tensor.name().to_owned();
        let loaded = vec![(name.clone(), self.tensor.load()?)];
        let (_, free) = self.source.compile(&[])?;
        let dims = extents(free.spec(), &loaded, &self.source.dims);
        let (_, kernel) = self.source.compile(&dims)?;
        let inputs = inputs(&kernel, loaded, &dims, 1)?;
        let found = kernel
            .spec()
            .tensors
            .values()
            .zip(inputs.tensors)
            .find(|(t, _)| t.name == name);
        let Some((_, Some(tensor))) = found else {
            return Err(Failure::Input(format!(
                "`{name}` is not a weight or an input of the kernel"
            )));
        };
        let packed = kernel.convert(&name, &tensor)?;
        let write = |path: &PathBuf, bytes: &[u8]| {
            std::fs::write(path, bytes)
                .map_err(|e| Failure::Input(format!("{}: {e}", path.display())))
        };
        write(&self.output, packed.bytes())?;
        let mut beside = self.output.clone().into_os_string();
        beside.push(".lowbit");
        let text = format!("language 1;\n{}\n", definition(packed.format()));
        write(&PathBuf::from(beside), text.as_bytes())?;
        println!(
            "{name}: {} elements in {} bytes, layout {} ({})",
            packed.shape().iter().product::<u64>(),
            packed.bytes().len(),
            packed.format().name,
            packed.layout_id()
        );
        Ok(())
    }
}
