//! Kernel texts: reading them, their imports, and the options that most commands share.

use crate::Failure;
use clap::Args;
use lowbit::compiler::spec::kernel::Kernel as Spec;
use lowbit::compiler::spec::{self, Module};
use lowbit::compiler::target::Target;
use lowbit::tune::Tuning;
use lowbit::{Engine, Kernel, Options, find_kernel};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What is compiled, and for which machine.
#[derive(Args)]
pub(crate) struct Source {
    /// The text
    file: PathBuf,
    /// The kernel, where the text has several
    #[arg(long)]
    kernel: Option<String>,
    /// Bind a dimension; those that are left out stay free
    #[arg(long = "dim", value_name = "NAME=EXTENT", value_parser = dimension)]
    pub(crate) dims: Vec<(String, u64)>,
    /// The machine: `host`, or one of those that `lowbit show --help` lists
    #[arg(long, default_value = "host", long_help = target_help())]
    target: String,
    /// Replace costs of the target by those of a JSON file, such as `lowbit calibrate` writes
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    /// Choose what was measured to be fastest: records of `lowbit tune`
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// Only lowerings whose description contains this text
    #[arg(long, value_name = "TEXT")]
    force: Option<String>,
}

fn target_help() -> String {
    format!(
        "The machine: host, {}",
        lowbit::compiler::target::names().join(", ")
    )
}

/// `NAME=EXTENT`
fn dimension(text: &str) -> Result<(String, u64), String> {
    let (name, extent) = text
        .split_once('=')
        .ok_or("write NAME=EXTENT, for example K=4096")?;
    let extent = extent
        .parse()
        .map_err(|_| format!("`{extent}` is not a number"))?;
    Ok((name.to_owned(), extent))
}

impl Source {
    /// The text that is named.
    pub(crate) fn text(&self) -> Result<Text, Failure> {
        Text::read(&self.file)
    }

    /// The name of the kernel, where one is named.
    pub(crate) fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// The kernel as it is written, no dimension bound.
    pub(crate) fn spec(&self) -> Result<Spec, Failure> {
        let module = module(&self.file)?;
        Ok(find_kernel(&module, self.kernel())?.clone())
    }

    /// For the machine that is named, with the costs and records that are given.
    pub(crate) fn engine(&self, more: &Tuning) -> Result<Engine, Failure> {
        let mut engine = Engine::new(Target::named(&self.target)?)?;
        if let Some(costs) = &self.costs {
            engine = engine.with_costs(&read(costs)?)?;
        }
        let mut tuning = match &self.tuning {
            Some(file) => Tuning::from_json(&read(file)?)?,
            None => Tuning::default(),
        };
        tuning.extend(more.clone());
        Ok(engine.with_tuning(tuning))
    }

    /// Reads, checks and compiles it, with some dimensions bound.
    pub(crate) fn compile(&self, bound: &[(String, u64)]) -> Result<(Engine, Kernel), Failure> {
        self.compile_with(bound, &Tuning::default())
    }

    /// The same, with more records of measurements.
    pub(crate) fn compile_with(
        &self,
        bound: &[(String, u64)],
        more: &Tuning,
    ) -> Result<(Engine, Kernel), Failure> {
        let module = module(&self.file)?;
        let engine = self.engine(more)?;
        let options = Options {
            kernel: self.kernel.clone(),
            force: self.force.clone(),
            ..Options::default()
        };
        let kernel = engine.compile_module(&module, &borrowed(bound), &options)?;
        Ok((engine, kernel))
    }
}

/// Dimensions as the library takes them.
pub(crate) fn borrowed(dims: &[(String, u64)]) -> Vec<(&str, u64)> {
    dims.iter().map(|(n, e)| (n.as_str(), *e)).collect()
}

/// A text with the place where it lies.
pub(crate) struct Text {
    path: PathBuf,
    pub(crate) text: String,
}

impl Text {
    fn read(path: &Path) -> Result<Text, Failure> {
        Ok(Text {
            path: path.to_path_buf(),
            text: read(path)?,
        })
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What it imports: `std/…` is built in, other names are files beside the text.
    pub(crate) fn import(&self, name: &str) -> Option<String> {
        let folder = self
            .path
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let inside = !name.split('/').any(|part| part == "..") && !name.starts_with('/');
        let file = folder.join(format!("{name}.lowbit"));
        if inside {
            std::fs::read_to_string(file).ok()
        } else {
            None
        }
    }
}

/// A text and its imports.
pub(crate) fn module(path: &Path) -> Result<Module, Failure> {
    let text = Text::read(path)?;
    spec::load(&text.name(), &text.text, &|name| text.import(name))
        .map_err(|d| Failure::Input(rendered(&d)))
}

/// Diagnostics, in colour on a terminal.
pub(crate) fn rendered(diagnostics: &lowbit::compiler::diagnostic::Diagnostics) -> String {
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        diagnostics.render_styled()
    } else {
        diagnostics.to_string()
    }
}

/// A text file, with its name in the error.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))
}

/// Writes a file, with its name in the error.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<(), Failure> {
    std::fs::write(path, contents).map_err(|e| Failure::Input(format!("{}: {e}", path.display())))
}
