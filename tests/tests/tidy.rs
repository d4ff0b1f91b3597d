//! What must hold of the repository as a whole: licences of dependencies, headers and lengths of files, stages that know no
//! format by name, snapshots without leftovers, and no paths of somebody's machine.

use lowbit::Engine;
use lowbit::compiler::format::std as shipped;
use lowbit::compiler::spec::load;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a program prints; `None` if it is not there or fails.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(program)
        .args(args)
        .current_dir(root())
        .output();
    let done = done.ok().filter(|d| d.status.success())?;
    String::from_utf8(done.stdout).ok()
}

/// The files of the repository, from its root; `None` if this is a copy without its history.
fn tracked() -> Option<Vec<String>> {
    let files = output("git", &["ls-files"]);
    if files.is_none() {
        eprintln!("SKIPPED: this is no checkout");
    }
    let exists = |f: &&str| root().join(f).exists();
    Some(files?.lines().filter(exists).map(str::to_owned).collect())
}

/// All `.rs` files below a folder, with their texts.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|e| e.expect("an entry").path()) {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources in {}", folder.display());
    found
}

/// Licences that suit both of ours. A dependency with another one needs a decision.
const LICENCES: [&str; 6] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether an expression of licences can be met: one of alternatives, all of what is joined.
fn allowed(expression: &str) -> bool {
    let plain = expression
        .replace(['(', ')'], "")
        .replace(" / ", " OR ")
        .replace('/', " OR ");
    let joined = plain.split(" AND ");
    joined.into_iter().all(|part| {
        let mut choices = part.split(" OR ");
        choices.any(|c| LICENCES.contains(&c.trim()))
    })
}

#[test]
fn licences_are_read_as_they_are_written() {
    assert!(allowed("MIT OR Apache-2.0") && allowed("MIT/Apache-2.0") && allowed("GPL-3.0 OR MIT"));
    assert!(allowed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!allowed("GPL-3.0") && !allowed("MIT AND GPL-3.0") && !allowed(""));
}

#[test]
fn dependencies_have_licences_that_suit_ours() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = output("rustc", &["-vV"]).expect("rustc");
    let host = version
        .lines()
        .find_map(|l| l.strip_prefix("host: "))
        .expect("a host");
    let args = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--offline",
        "--filter-platform",
        host,
    ];
    let metadata = output(&cargo, &args).expect("cargo metadata");
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let refused: Vec<String> = packages
        .iter()
        .filter(|p| !allowed(p["license"].as_str().unwrap_or_default()))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(
        packages.len() > 20 && refused.is_empty(),
        "{}",
        refused.join("\n")
    );
}

#[test]
fn every_source_file_says_what_is_in_it_and_is_not_too_long() {
    let mut wrong = Vec::new();
    for (path, text) in sources(&root()) {
        let lines = text.lines().count();
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with `//!`", path.display()));
        }
        if lines > 800 {
            wrong.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The names of the formats that ship.
fn formats() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for module in shipped::NAMES {
        let text = shipped::source(module).expect("its text");
        let module = load(module, text, &|_| None).expect("it reads");
        names.extend(module.formats.iter().map(|f| f.name.clone()));
    }
    names
}

/// The code of a file, without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text
        .lines()
        .map(|l| l.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_stage_behind_the_spec_names_a_format() {
    let formats = formats();
    let mut named = Vec::new();
    for stage in [
        "schedule", "rewrite", "lower", "vector", "codegen", "target",
    ] {
        for (path, text) in sources(&root().join("compiler/src").join(stage)) {
            let is_test = path.components().any(|c| {
                let name = c.as_os_str().to_string_lossy();
                name.starts_with("tests") || name.starts_with("testing")
            });
            let code = code(&text);
            let words = code.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|w| !is_test && formats.contains(*w)) {
                named.push(format!("{}: `{word}`", path.display()));
            }
        }
    }
    assert!(named.is_empty(), "{}", named.join("\n"));
}

#[test]
fn every_snapshot_belongs_to_a_kernel_of_an_example() {
    let engine = Engine::host().expect("an engine");
    let mut known = BTreeSet::new();
    for entry in fs::read_dir(root().join("dsl-examples")).expect("the examples") {
        let path = entry.expect("an entry").path();
        let file = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("readable");
        for kernel in &engine.load(&text).expect("it reads").kernels {
            known.insert(format!("snapshots__{file}-{}.snap", kernel.name));
        }
    }
    // A kernel without a snapshot fails in `snapshots.rs`.
    let folder = fs::read_dir(root().join("tests/tests/snapshots"));
    let leftovers: Vec<String> = folder
        .into_iter()
        .flatten()
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|n| n.ends_with(".snap") && !known.contains(n))
        .collect();
    assert!(leftovers.is_empty(), "of no example: {leftovers:?}");
}

#[test]
fn no_file_knows_a_path_of_somebodys_machine() {
    // In two parts, so that this file does not hold them.
    let places = ["home", "work", "root", "Users"].map(|name| format!("/{name}/"));
    let mut found = Vec::new();
    for file in tracked().unwrap_or_default() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let before = |place: &String| {
                let at = line.find(place.as_str())?;
                Some(line[..at].chars().next_back())
            };
            // `a/work/b` is a path of the repository, `/work/b` is one of a machine.
            let absolute = |place: &String| {
                before(place).is_some_and(|c| c.is_none_or(|c| !c.is_alphanumeric() && c != '.'))
            };
            if places.iter().any(absolute) {
                found.push(format!("{file}:{}: {line}", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
