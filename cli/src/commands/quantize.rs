//! `quantize`: the tensors of a file in other formats, and what that costs.

use crate::fidelity::{Codecs, Fidelity, Method, Sums};
use crate::importances::Importances;
use crate::output::say;
use crate::progress::Progress;
use crate::table::table;
use crate::text;
use crate::weights::{Place, Weights, kind_of, place, write};
use crate::{Failure, formats};
use clap::Args;
use lowbit::compiler::format::{Element, Format, FormatKind};
use lowbit::files::{Content, Entry, Kind, file_type};
use lowbit::plot::{Axis, Chart, Point, Scale};
use lowbit::{Searcher, Tensor};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Quantise the tensors of a file into a format, and say what that costs
#[derive(Args)]
#[command(after_help = "Examples:
  lowbit quantize tests/data/smollm2-slice.gguf --as q4_1 --output q4_1.gguf
  lowbit run dsl-examples/q4_1_linear.lowbit --tensor w=q4_1.gguf:blk.0.attn_k.weight --check
  lowbit quantize tests/data/smollm2-slice.gguf --as iq4_nl --method search
  lowbit quantize tests/data/smollm2-slice.gguf --only attn_k --as nf4_64 --as std/ints:int3_32 --as dsl-examples/fp4_linear.lowbit:fp4_32 --plot error.svg")]
pub(crate) struct Quantize {
    /// A GGUF, safetensors or npy file, or one that `lowbit pack` wrote; all of its tensors, or the one that is named
    #[arg(value_name = "FILE[:TENSOR]", value_parser = place)]
    input: Place,
    /// The format; several are compared
    #[arg(long = "as", value_name = "FORMAT", required = true, long_help = format!("The format; several are compared. {}", formats::HELP))]
    formats: Vec<String>,
    /// How codes are chosen
    #[arg(long, value_enum, default_value_t = Method::Nearest)]
    method: Method,
    /// For a search: a file with a tensor of the same name for each tensor, or that name with `.in_sum2` behind it, and in it
    /// a weight for each column. Tensors that it lacks have equal weights
    #[arg(long, value_name = "FILE", value_parser = place)]
    importances: Option<Place>,
    /// The file to write, .gguf or .safetensors; of several formats, each gets one with its name in it. Without it, nothing is written
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only tensors whose names contain this text; others are kept
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Draw the error of each format against its bits per weight
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Quantize {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let formats = self.named()?;
        let kind = self.output.as_deref().map(kind_of).transpose()?;
        let weights = self.input.weights()?;
        let found = |only: &String| weights.tensors.iter().any(|t| t.name.contains(only));
        if let Some(only) = self.only.iter().find(|only| !found(only)) {
            return Err(Failure::Input(format!(
                "no tensor has `{only}` in its name"
            )));
        }
        let plan = |format| Plan::new(&weights, format, kind, &self.only);
        let plans: Vec<Plan> = formats.iter().map(plan).collect();
        let importances = self.importances(&weights)?;
        let steps = plans.iter().map(|plan| plan.steps(&weights)).sum();
        let progress = Progress::new("value", steps);
        let mut points = Vec::new();
        let mut pages = Vec::new();
        for plan in &plans {
            let format = &plan.format;
            let output = self.output.as_deref().map(|o| self.output_of(o, format));
            let mut work = Work {
                codecs: Codecs::new(format, self.method)?,
                importances: &importances,
                progress: &progress,
            };
            let measured = plan.carry_out(&weights, output.as_deref(), &mut work)?;
            points.extend(measured.point(format));
            pages.push(measured.page(format, output.as_deref()));
        }
        say(pages.join("\n"))?;
        match &self.plot {
            Some(path) => text::write(path, errors(points).svg()),
            None => Ok(()),
        }
    }

    /// The importances, if any are given.
    fn importances(&self, weights: &Weights) -> Result<Importances, Failure> {
        let Some(place) = &self.importances else {
            return Ok(Importances::default());
        };
        if self.method != Method::Search {
            let text = "importances have no part in rounding to nearest; add --method search";
            return Err(Failure::Input(text.into()));
        }
        Importances::new(place.numbers()?, weights)
    }

    /// The formats, all of which values can be brought into; two outputs must not have one name.
    fn named(&self) -> Result<Vec<Arc<Format>>, Failure> {
        let mut names = BTreeSet::new();
        let mut formats = Vec::new();
        for text in &self.formats {
            let format = formats::named(text)?;
            self.check(&format)?;
            if !names.insert(format.name.clone()) {
                return Err(Failure::Input(format!(
                    "two formats are called `{}`",
                    format.name
                )));
            }
            formats.push(format);
        }
        Ok(formats)
    }

    /// An error if the method does not know the format.
    fn check(&self, format: &Arc<Format>) -> Result<(), Failure> {
        let clause = !matches!(&format.kind, FormatKind::Block(b) if b.encode.is_none());
        if self.method == Method::Nearest && clause {
            return Ok(());
        }
        Searcher::new(format)?;
        match self.method {
            Method::Search => Ok(()),
            Method::Nearest => Err(Failure::Input(format!(
                "format `{}` has no `encode` clause; --method search quantises into it",
                format.name
            ))),
        }
    }

    /// Where the file in a format goes.
    fn output_of(&self, output: &Path, format: &Format) -> PathBuf {
        if self.formats.len() == 1 {
            return output.to_owned();
        }
        let part =
            |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
        let (stem, extension) = (part(output.file_stem()), part(output.extension()));
        output.with_file_name(format!("{stem}-{}.{extension}", format.name))
    }
}

/// What it takes to quantise tensors.
struct Work<'a> {
    codecs: Codecs,
    importances: &'a Importances,
    progress: &'a Progress,
}

impl Work<'_> {
    /// A tensor in the format, and what that costs.
    fn quantize(&mut self, name: &str, tensor: &Tensor) -> Result<(Tensor, Sums), Failure> {
        let values = self.codecs.decode(tensor)?;
        let importances = self.importances.of(name);
        let step = |done| self.progress.add(done);
        let made = self
            .codecs
            .quantize(tensor.shape(), &values, importances, &step)?;
        let found = self.codecs.decode(&made)?;
        let sums = Sums::of(&values, &found, made.bytes().len());
        Ok((made, sums))
    }
}

/// What becomes of each tensor in one format.
struct Plan {
    format: Arc<Format>,
    /// Why a tensor is kept as it is, if it is.
    kept: Vec<Option<String>>,
}

impl Plan {
    fn new(weights: &Weights, format: &Arc<Format>, kind: Option<Kind>, only: &[String]) -> Plan {
        let reason = |entry: &Entry| {
            let named = only.is_empty() || only.iter().any(|o| entry.name.contains(o));
            if named {
                reason_to_keep(entry, format, kind)
            } else {
                Some("not named".into())
            }
        };
        Plan {
            format: format.clone(),
            kept: weights.tensors.iter().map(reason).collect(),
        }
    }

    /// How many values are quantised.
    fn steps(&self, weights: &Weights) -> u64 {
        let tensors = weights.tensors.iter().zip(&self.kept);
        let count = |(entry, kept): (&Entry, &Option<String>)| match (&entry.content, kept) {
            (Content::Tensor(tensor), None) => tensor.shape().iter().product(),
            _ => 0,
        };
        tensors.map(count).sum()
    }

    /// Quantises tensor after tensor, into a file if one is to be written.
    fn carry_out(
        &self,
        weights: &Weights,
        output: Option<&Path>,
        work: &mut Work<'_>,
    ) -> Result<Measured, Failure> {
        let mut measured = Measured::default();
        let mut entries = Vec::new();
        for (entry, kept) in weights.tensors.iter().zip(&self.kept) {
            match (kept, &entry.content) {
                (None, Content::Tensor(tensor)) => {
                    let later = Entry::later(&entry.name, self.format.clone(), tensor.shape());
                    entries.push(later);
                }
                _ => entries.push(entry.clone()),
            }
        }
        let mut make = |name: &str| {
            let found = weights.tensors.iter().find(|t| t.name == name);
            let Some(Content::Tensor(tensor)) = found.map(|t| &t.content) else {
                return Err(Failure::Input(format!("there is no tensor `{name}`")));
            };
            let (made, sums) = work.quantize(name, tensor)?;
            measured.tensors.push((name.to_owned(), sums));
            Ok(made)
        };
        match output {
            Some(output) => write(output, &weights.metadata, &entries, make)?,
            None => {
                for entry in &entries {
                    if matches!(entry.content, Content::Later { .. }) {
                        make(&entry.name)?;
                    }
                }
            }
        }
        measured.rows = self.rows(weights, &measured);
        Ok(measured)
    }

    /// The rows of the table, in the order of the file.
    fn rows(&self, weights: &Weights, measured: &Measured) -> Vec<Vec<String>> {
        let row = |(entry, kept): (&Entry, &Option<String>)| {
            let (shape, format) = match &entry.content {
                Content::Tensor(tensor) => (tensor.shape(), tensor.format().name.clone()),
                Content::Later { format, shape } => (&shape[..], format.name.clone()),
                Content::Opaque { dtype, shape, .. } => (&shape[..], dtype.to_string()),
            };
            let start = vec![entry.name.clone(), format!("{shape:?}")];
            let found = measured.tensors.iter().find(|(n, _)| *n == entry.name);
            let rest = match (kept, found) {
                (Some(why), _) => {
                    let mut cells = vec![String::new(); NUMBERS];
                    cells.push(format!("kept in {format}: {why}"));
                    cells
                }
                (None, found) => numbers(&found.map(|(_, s)| *s).unwrap_or_default().fidelity()),
            };
            [start, rest].concat()
        };
        weights.tensors.iter().zip(&self.kept).map(row).collect()
    }
}

/// Why a tensor stays as it is; `None` if it is quantised.
fn reason_to_keep(entry: &Entry, format: &Format, kind: Option<Kind>) -> Option<String> {
    let Content::Tensor(tensor) = &entry.content else {
        return Some("no format is bound to its type".into());
    };
    let shape = tensor.shape();
    if shape.len() < 2 {
        return Some("fewer than two axes".into());
    }
    if shape.contains(&0) {
        return Some("no elements".into());
    }
    if let FormatKind::Plain(Element::Int { .. } | Element::UInt { .. }) = tensor.format().kind {
        return Some("integers".into());
    }
    let FormatKind::Block(block) = &format.kind else {
        return None;
    };
    // The file has a type for the format, and its rules forbid part of a block at the end of a row.
    let has_type = |shape: &[u64]| kind.is_some_and(|k| file_type(k, format, shape).is_some());
    let row = shape.last().copied().unwrap_or(1);
    (has_type(&[1, block.len.into()]) && !row.is_multiple_of(block.len.into()))
        .then(|| format!("rows of {row} are no whole blocks of {}", block.len))
}

/// What was measured of one format.
#[derive(Default)]
struct Measured {
    tensors: Vec<(String, Sums)>,
    rows: Vec<Vec<String>>,
}

impl Measured {
    fn together(&self) -> Fidelity {
        let all = self.tensors.iter().map(|(_, s)| *s);
        all.fold(Sums::default(), Sums::and).fidelity()
    }

    /// Where the format lies on the plot; nowhere if nothing was quantised.
    fn point(&self, format: &Format) -> Option<Point> {
        let Fidelity {
            rmse,
            bits_per_weight,
            ..
        } = self.together();
        (!self.tensors.is_empty()).then(|| Point {
            label: match rmse {
                0.0 => format!("{} (no error)", format.name),
                _ => format.name.clone(),
            },
            x: bits_per_weight,
            y: rmse,
            colour: 0,
        })
    }

    /// The table of a format.
    fn page(&self, format: &Format, output: Option<&Path>) -> String {
        let target = output.map(|o| format!(", in {}", o.display()));
        let title = format!(
            "{}: {} of {} tensors{}\n",
            format.name,
            self.tensors.len(),
            self.rows.len(),
            target.unwrap_or_default()
        );
        let heading = ["tensor", "shape", "bits", "RMSE", "SQNR dB", "max error"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.rows.iter().cloned());
        if !self.tensors.is_empty() {
            let start = vec!["together".to_owned(), String::new()];
            rows.push([start, numbers(&self.together())].concat());
        }
        title + &table(&rows)
    }
}

/// How many numbers a row has.
const NUMBERS: usize = 4;

/// The numbers of a row.
fn numbers(fidelity: &Fidelity) -> Vec<String> {
    let numbers: [String; NUMBERS] = [
        format!("{:.3}", fidelity.bits_per_weight),
        format!("{:.3e}", fidelity.rmse),
        format!("{:.2}", fidelity.sqnr_db),
        format!("{:.3e}", fidelity.max_error),
    ];
    numbers.to_vec()
}

/// Errors over bits.
fn errors(points: Vec<Point>) -> Chart {
    Chart {
        x: Axis {
            label: "bits per weight".into(),
            scale: Scale::Linear,
        },
        y: Axis {
            label: "RMSE".into(),
            scale: Scale::Decades,
        },
        points,
        lines: Vec::new(),
    }
}
