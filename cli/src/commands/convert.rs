//! `convert`: other layouts of the same codes, other kinds of files; no value changes.

use crate::output::say;
use crate::table::table;
use crate::weights::{Place, Weights, kind_of, place, write};
use crate::{Failure, formats};
use clap::Args;
use lowbit::Tensor;
use lowbit::compiler::format::layout::{fields_differ, layout_id, same_layout};
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::files::{Content, Entry};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Bring tensors into another layout or another kind of file; no value changes
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit convert tests/data/smollm2-slice.gguf slice.safetensors
  lowbit pack dsl-examples/q4_1_linear.lowbit --tensor w=slice.safetensors:blk.0.attn_k.weight --output w.packed
  lowbit convert slice.safetensors laid-out.gguf --as-layout w.packed
  lowbit convert laid-out.gguf back.gguf --to q4_1")]
pub(crate) struct Convert {
    /// A GGUF, safetensors or npy file, or one that `lowbit pack` wrote; all of its tensors, or the one that is named
    #[arg(value_name = "FILE[:TENSOR]", value_parser = place)]
    input: Place,
    /// The file to write; its extension says which kind, .gguf or .safetensors
    output: PathBuf,
    /// The layout: a format with the fields of the tensors' own. Without it, tensors stay as they lie
    #[arg(long, value_name = "FORMAT", long_help = format!("The layout: {}", formats::HELP))]
    to: Option<String>,
    /// The layout in which a tensor of another file lies
    #[arg(long, value_name = "FILE[:TENSOR]", value_parser = place, conflicts_with = "to")]
    as_layout: Option<Place>,
}

impl Convert {
    pub(crate) fn run(self) -> Result<(), Failure> {
        kind_of(&self.output)?;
        let to = match (&self.to, &self.as_layout) {
            (Some(name), _) => Some(formats::named(name)?),
            (None, Some(place)) => Some(place.load("--as-layout ")?.format().clone()),
            (None, None) => None,
        };
        let Weights { tensors, metadata } = self.input.weights()?;
        let must = self.input.names_one() || tensors.len() == 1;
        let mut plan = Plan::default();
        for entry in tensors {
            plan.add(entry, to.as_ref(), must)?;
        }
        if let Some(to) = &to {
            plan.some_moved(to)?;
        }
        let Plan {
            rows,
            entries,
            moved,
            ..
        } = plan;
        write(&self.output, &metadata, &entries, |name| {
            let missing = || Failure::Input(format!("there is no tensor `{name}`"));
            let (tensor, to) = moved.get(name).ok_or_else(missing)?;
            Ok(tensor.relayout(to)?)
        })?;
        let heading = ["tensor", "shape", "from", "to"]
            .map(str::to_owned)
            .to_vec();
        say(table(&[vec![heading], rows].concat()))
    }
}

/// What becomes of each tensor.
#[derive(Default)]
struct Plan {
    entries: Vec<Entry>,
    rows: Vec<Vec<String>>,
    moved: BTreeMap<String, (Tensor, Arc<Format>)>,
    /// The first tensor in blocks that holds other fields.
    unlike: Option<Tensor>,
}

impl Plan {
    /// A tensor is moved if it holds the fields of the layout; if it `must` be, it is an error if not.
    fn add(&mut self, entry: Entry, to: Option<&Arc<Format>>, must: bool) -> Result<(), Failure> {
        let [shape, from] = described(&entry.content);
        let mut row = vec![entry.name.clone(), shape, from, "kept".to_owned()];
        if let (Some(to), Content::Tensor(tensor)) = (to, &entry.content) {
            if holds(tensor.format(), to) {
                row[3] = layout(to);
                let later = Entry::later(&entry.name, to.clone(), tensor.shape());
                let moved = (tensor.clone(), to.clone());
                self.moved.insert(entry.name, moved);
                self.entries.push(later);
                self.rows.push(row);
                return Ok(());
            }
            if must {
                tensor.relayout(to)?;
            }
            if self.unlike.is_none() && matches!(tensor.format().kind, FormatKind::Block(_)) {
                self.unlike = Some(tensor.clone());
            }
        }
        self.entries.push(entry);
        self.rows.push(row);
        Ok(())
    }

    /// An error if none was moved: of a tensor that might have been meant, if there is one.
    fn some_moved(&self, to: &Arc<Format>) -> Result<(), Failure> {
        if !self.moved.is_empty() {
            return Ok(());
        }
        if let Some(tensor) = &self.unlike {
            tensor.relayout(to)?;
        }
        let what = format!("no tensor of the file can be laid out as `{}`", to.name);
        Err(Failure::Input(what))
    }
}

/// The shape of a tensor, and what it lies as.
fn described(content: &Content) -> [String; 2] {
    match content {
        Content::Tensor(tensor) => [format!("{:?}", tensor.shape()), layout(tensor.format())],
        Content::Later { format, shape } => [format!("{shape:?}"), layout(format)],
        Content::Opaque { dtype, shape, .. } => [format!("{shape:?}"), dtype.to_string()],
    }
}

/// Whether one layout holds what the other does.
fn holds(from: &Format, to: &Format) -> bool {
    match (&from.kind, &to.kind) {
        (FormatKind::Block(from), FormatKind::Block(to)) => fields_differ(from, to).is_none(),
        _ => same_layout(from, to),
    }
}

fn layout(format: &Format) -> String {
    format!("{} (layout {})", format.name, layout_id(format))
}
