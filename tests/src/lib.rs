//! Tests that span the crates of lowbit: see `tests/`. What they share is [`lowbit::check`] and what is here. The Rust code
//! of the book is run as tests of this documentation.

pub mod data;

use lowbit::compiler::format::std as shipped;
use lowbit::compiler::format::{Format, FormatKind};
use lowbit::compiler::spec::load;
use lowbit::{Engine, Error, Kernel, Options};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What some work gives for all jobs, on two threads; in no order.
///
/// # Panics
/// If the work does.
pub fn on_two_threads<J: Send, R: Send>(
    jobs: impl IntoIterator<Item = J>,
    work: impl Fn(J) -> Vec<R> + Sync,
) -> Vec<R> {
    let jobs: Vec<J> = jobs.into_iter().collect();
    let waiting = Mutex::new(jobs.into_iter());
    let done = Mutex::new(Vec::new());
    let next = || waiting.lock().expect("a lock").next();
    let run = || {
        while let Some(job) = next() {
            let results = work(job);
            done.lock().expect("a lock").extend(results);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(run);
        scope.spawn(run);
    });
    done.into_inner().expect("a lock")
}

/// The examples that ship: their names and texts, in order. Empty if the folder cannot be read.
pub fn examples() -> Vec<(String, String)> {
    texts("dsl-examples")
}

/// The texts of a folder of the repository.
pub fn texts(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "lowbit"));
    files.sort();
    let named = |p: &PathBuf| {
        let name = p.file_stem()?.to_string_lossy().into_owned();
        Some((name, std::fs::read_to_string(p).ok()?))
    };
    files.iter().filter_map(named).collect()
}

/// Every format that ships and can be one of tensors (codes with several values are for fields only), with its module.
///
/// # Panics
/// If a module that ships cannot be read.
pub fn library() -> Vec<(&'static str, Arc<Format>)> {
    let mut formats = Vec::new();
    for module in shipped::NAMES {
        let text = shipped::source(module).expect("its text");
        let loaded = load(module, text, &|_| None).expect("it reads");
        let of_tensors =
            |f: &&Arc<Format>| !matches!(&f.kind, FormatKind::Plain(e) if e.width() > 1);
        let found = loaded.formats.iter().filter(of_tensors).cloned();
        formats.extend(found.map(|f| (module, f)));
    }
    formats
}

/// Elements of a block; 1 without one.
pub fn block_len(format: &Format) -> u64 {
    match &format.kind {
        FormatKind::Plain(_) => 1,
        FormatKind::Block(block) => u64::from(block.len),
    }
}

/// Whether kernels can quantise into it.
pub fn encodes(format: &Format) -> bool {
    matches!(&format.kind, FormatKind::Block(b) if b.encode.is_some())
}

/// Whether rows share blocks: some kernels refuse that.
pub fn is_woven(format: &Format) -> bool {
    matches!(&format.kind, FormatKind::Block(b) if b.rows > 1)
}

/// Every kernel of a text, with those of the extents bound that it has dimensions for.
pub fn kernels(engine: &Engine, text: &str, extents: &[(&str, u64)]) -> Result<Vec<Kernel>, Error> {
    let module = engine.load(text)?;
    let compile = |spec: &lowbit::compiler::spec::kernel::Kernel| {
        let has = |name: &str| spec.dims.values().any(|d| d.name == name);
        let dims: Vec<(&str, u64)> = extents.iter().filter(|(n, _)| has(n)).copied().collect();
        let options = Options {
            kernel: Some(spec.name.clone()),
            ..Options::default()
        };
        engine.compile_module(&module, &dims, &options)
    };
    module.kernels.iter().map(compile).collect()
}

#[cfg(doctest)]
mod book {
    macro_rules! chapters {
        ($($name:ident: $file:literal),* $(,)?) => {
            $(#[doc = include_str!(concat!("../../book/src/", $file))] mod $name {})*
        };
    }
    chapters! {
        introduction: "introduction.md",
        ten_minutes: "ten-minutes.md",
        language: "language.md",
        files: "files.md",
        compiler: "compiler.md",
        snapshots: "snapshots.md",
        add_a_format: "add-a-format.md",
        add_a_rule: "add-a-rule.md",
        add_a_target: "add-a-target.md",
        formats: "formats.md",
    }
}
