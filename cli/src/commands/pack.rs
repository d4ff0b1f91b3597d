//! `pack`: a weight in the layout of a kernel.

use crate::Failure;
use crate::data::{Given, extents, given, inputs};
use crate::output::say;
use crate::packed;
use crate::text::Source;
use clap::Args;
use std::path::PathBuf;

/// Lay out a weight for a kernel and write the bytes, with the layout as text beside them
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit pack dsl-examples/q4_1_linear.lowbit --tensor w=tests/data/smollm2-slice.gguf:blk.0.attn_k.weight --output w.packed
  lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=w.packed")]
pub(crate) struct Pack {
    #[command(flatten)]
    source: Source,
    /// The weight, from a GGUF, safetensors or npy file
    #[arg(long, value_name = "NAME=FILE[:TENSOR]", value_parser = given)]
    tensor: Given,
    /// Where to write the bytes; a text that says what they are goes to the same name with `.lowbit` after it
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

impl Pack {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let name = self.tensor.name().to_owned();
        let loaded = vec![(name.clone(), self.tensor.load()?)];
        let free = self.source.spec()?;
        let dims = extents(&free, &loaded, &self.source.dims);
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
        packed::write(&self.output, &name, &packed)?;
        say(format!(
            "{name}: {} elements in {} bytes, layout {} ({})",
            packed.shape().iter().product::<u64>(),
            packed.bytes().len(),
            packed.format().name,
            packed.layout_id()
        ))
    }
}
