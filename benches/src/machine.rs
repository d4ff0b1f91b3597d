//! The machine that a report is of.

use lowbit::compiler::codegen::Features;
use serde::Serialize;
use std::path::Path;
use std::process::Command;

/// What figures depend on.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The model of the processor.
    pub(crate) cpu: String,
    /// Its instruction sets, as the system names them, as far as they are for vectors.
    pub(crate) features: Vec<String>,
    /// Those that code is made for.
    pub(crate) used: String,
    /// Processors that the system has.
    pub(crate) processors: usize,
    /// The version of lowbit, and the commit, if it is known.
    pub(crate) lowbit: String,
}

/// What the names of vector instruction sets begin with.
const VECTORS: [&str; 9] = [
    "sse4", "ssse3", "avx", "fma", "f16c", "gfni", "asimd", "i8mm", "sve",
];

impl Machine {
    /// The one that this runs on; the commit is that of a checkout.
    pub(crate) fn here(features: &Features, checkout: &Path) -> Machine {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |names: [&str; 2]| {
            let lines = info.lines().filter_map(|l| l.split_once(':'));
            let mut found = lines.filter(|(key, _)| names.contains(&key.trim()));
            found.next().map(|(_, value)| value.trim().to_owned())
        };
        let flags = field(["flags", "Features"]).unwrap_or_default();
        let vectors = |f: &&str| VECTORS.iter().any(|v| f.starts_with(v));
        let unknown = || format!("an unknown processor ({})", std::env::consts::ARCH);
        let version = env!("CARGO_PKG_VERSION");
        Machine {
            cpu: field(["model name", "CPU implementer"]).unwrap_or_else(unknown),
            features: flags
                .split(' ')
                .filter(vectors)
                .map(str::to_owned)
                .collect(),
            used: features.to_string(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            lowbit: match commit(checkout) {
                Some(commit) => format!("{version} ({commit})"),
                None => version.to_owned(),
            },
        }
    }
}

fn commit(checkout: &Path) -> Option<String> {
    let mut git = Command::new("git");
    git.args(["rev-parse", "--short", "HEAD"])
        .current_dir(checkout);
    let output = git.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned())
}
