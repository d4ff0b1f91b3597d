//! The book holds: its texts of the language are read (or refused, where it says so), its pages of the compiler's output are
//! what the compiler prints, its table lists the formats that ship, and its links lead somewhere.
//!
//! `LOWBIT_BOOK=write cargo test -p lowbit-tests --test book` writes the pages and the table anew. The Rust code of the book
//! is run as documentation tests of `src/lib.rs`.

use lowbit::compiler::format::layout::layout_id;
use lowbit::compiler::format::{Format, FormatKind, std as shipped};
use lowbit::compiler::spec::load;
use lowbit::compiler::target::Target;
use lowbit::{Engine, Kernel, Stage};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../book/src")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The chapters that the summary names, in order.
fn chapters() -> Vec<String> {
    links(&read("SUMMARY.md"))
}

/// What the links of a text lead to.
fn links(text: &str) -> Vec<String> {
    let after = text.split("](").skip(1);
    after
        .filter_map(|rest| rest.split(')').next())
        .map(str::to_owned)
        .collect()
}

/// A fenced block: what stands behind the fence, the line that its text begins on, and its text.
struct Block {
    info: String,
    line: usize,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block {
                    info: info.to_owned(),
                    line: number + 2,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    found
}

#[test]
fn texts_of_the_language_are_read_or_refused_as_the_book_says() {
    let (mut read_in, mut refused) = (0, 0);
    for chapter in chapters() {
        for block in blocks(&read(&chapter)) {
            let place = format!("{chapter}:{}", block.line);
            let loaded = load(&place, &block.text, &|_| None);
            match (block.info.as_str(), loaded) {
                ("lowbit", Ok(module)) => {
                    assert!(module.warnings.is_empty(), "{}", module.warnings);
                    read_in += 1;
                }
                ("lowbit", Err(errors)) => panic!("{errors}"),
                ("lowbit,error", Ok(_)) => panic!("{place} is not refused"),
                ("lowbit,error", Err(_)) => refused += 1,
                _ => {}
            }
        }
    }
    assert!(
        read_in >= 5 && refused >= 3,
        "{read_in} read, {refused} refused"
    );
}

#[test]
fn kernels_of_the_book_compile() {
    let engine = Engine::host().expect("an engine");
    for chapter in chapters() {
        for block in blocks(&read(&chapter))
            .iter()
            .filter(|b| b.info == "lowbit")
        {
            let module = engine.load(&block.text).expect("it reads");
            for kernel in &module.kernels {
                let options = lowbit::Options {
                    kernel: Some(kernel.name.clone()),
                    ..Default::default()
                };
                let compiled = engine.compile_module(&module, &[], &options);
                assert!(compiled.is_ok(), "{chapter}:{}: {compiled:?}", block.line);
            }
        }
    }
}

#[test]
fn blocks_say_what_they_are() {
    for chapter in chapters() {
        for block in blocks(&read(&chapter)) {
            let known = ["lowbit", "lowbit,error", "rust", "sh", "text"];
            let page = block.info.starts_with("text,page-");
            let (info, line) = (&block.info, block.line);
            assert!(
                page || known.contains(&info.as_str()),
                "{chapter}:{line}: `{info}`"
            );
        }
    }
}

/// The anchor that a heading has.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
        .collect()
}

/// The pages in a folder of the book and in those within.
fn pages(within: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder().join(within)).expect("a folder") {
        let entry = entry.expect("an entry");
        let place = within.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(pages(&place));
        } else if place.extension().is_some_and(|e| e == "md") {
            found.push(place.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn links_lead_somewhere() {
    let mut files = pages(Path::new(""));
    files.retain(|n| n != "SUMMARY.md");
    files.sort();
    let mut named = chapters();
    named.sort();
    assert_eq!(
        files, named,
        "the files of the book, and the chapters that SUMMARY.md names"
    );
    for chapter in chapters() {
        for link in links(&read(&chapter)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, place) = link.split_once('#').unwrap_or((&link, ""));
            let beside = Path::new(&chapter).with_file_name(file);
            let file = match file.is_empty() {
                true => &chapter,
                false => beside.to_str().expect("text"),
            };
            assert!(folder().join(file).exists(), "{chapter}: {link}");
            let headings = read(file);
            let mut headings = headings.lines().filter(|l| l.starts_with('#'));
            assert!(
                place.is_empty() || headings.any(|h| anchor(h) == place),
                "{chapter}: {link}"
            );
        }
    }
}

#[test]
fn links_of_the_pages_at_the_root_lead_somewhere() {
    let root = folder().join("../..");
    for page in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs::read_to_string(root.join(page)).expect("the page");
        for link in links(&text).iter().filter(|l| !l.contains("://")) {
            assert!(root.join(link).exists(), "{page}: {link}");
        }
    }
}

/// The kernel that the chapter about the compiler follows.
fn followed() -> Kernel {
    let text = blocks(&read("compiler.md"))
        .into_iter()
        .find(|b| b.info == "lowbit")
        .expect("a kernel")
        .text;
    let target = Target::named("x86-64-vnni").expect("a target");
    let engine = Engine::new(target).expect("an engine");
    engine
        .compile(&text, &[("N", 64), ("K", 256)])
        .expect("it compiles")
}

/// A part of what the compiler prints, by the name that the book gives to it.
fn page(kernel: &Kernel, name: &str) -> String {
    let stage = |s| kernel.stage(s).expect("a stage");
    match name {
        "spec" => stage(Stage::Spec),
        "schedule" => stage(Stage::Schedule),
        "rewrite" => stage(Stage::Rewrite),
        "layout" => {
            let layout = kernel.layout("w").expect("a layout");
            lowbit::compiler::format::text::definition(&layout)
        }
        "explain" => {
            let text = kernel.explain().expect("an explanation").to_string();
            let lines: Vec<&str> = text.lines().collect();
            let rules = lines.last().expect("lines");
            format!("{}\n…\n{rules}", lines[..11].join("\n"))
        }
        "vector" => innermost(&stage(Stage::Vector)),
        "instructions" => {
            let inner = kernel.hot_loops().expect("a listing").inner;
            let jumps = |l: &String| l.starts_with("jmp");
            let last = inner[..inner.len() - 1].iter().rposition(jumps);
            inner[last.map_or(0, |at| at + 1)..].join("\n")
        }
        other => panic!("there is no page `{other}`"),
    }
}

/// The names of instructions, without their operands.
fn mnemonics(listing: &str) -> Vec<&str> {
    let words = listing.lines().map(|l| l.split_whitespace().next());
    words.map(Option::unwrap_or_default).collect()
}

/// The last loop of a function that has no loop inside, without the indentation.
fn innermost(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let is_loop = |l: &&str| l.trim_start().starts_with("loop ");
    let indent = |l: &str| l.len() - l.trim_start().len();
    let start = lines.iter().rposition(is_loop).expect("a loop");
    let deep = indent(lines[start]);
    let length = lines[start + 1..].iter().position(|l| indent(l) == deep);
    let end = start + 1 + length.expect("its end");
    let cut: Vec<&str> = lines[start..=end].iter().map(|l| &l[deep..]).collect();
    cut.join("\n")
}

/// Compares a chapter with what it should be, or writes it.
fn hold(chapter: &str, wanted: &str) {
    if std::env::var_os("LOWBIT_BOOK").is_some_and(|v| v == "write") {
        fs::write(folder().join(chapter), wanted).expect("written");
        return;
    }
    let found = read(chapter);
    let differs = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    assert!(
        found == wanted,
        "{chapter} is out of date from line {}; `LOWBIT_BOOK=write cargo test -p lowbit-tests --test book` writes it anew.\n\
         It should be:\n{wanted}",
        differs.map_or(0, |l| l + 1)
    );
}

#[test]
fn pages_are_what_the_compiler_prints() {
    let kernel = followed();
    let text = read("compiler.md");
    let mut wanted = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("```text,page-") {
        let (before, from) = rest.split_at(at);
        let (info, body) = from.split_once('\n').expect("a line");
        let name = info.trim_start_matches("```text,page-");
        let end = body.find("```").expect("an end");
        let mut page = page(&kernel, name);
        // Which register holds what is no news.
        if name == "instructions" && mnemonics(&page) == mnemonics(&body[..end]) {
            page = body[..end].to_owned();
        }
        wanted += &format!("{before}{info}\n{}\n```", page.trim_end());
        rest = &body[end + 3..];
    }
    wanted += rest;
    hold("compiler.md", &wanted);
}

/// Where a module's formats come from: what its text says first.
fn source(module: &str) -> String {
    let text = shipped::source(module).expect("its text");
    let lines = text.lines().skip(1).map_while(|l| l.strip_prefix("// "));
    let said: Vec<&str> = lines.collect();
    assert!(
        !said.is_empty(),
        "`{module}` says where its formats come from"
    );
    said.join(" ")
}

/// How much of a format is compared with whom, as `tests/data/compared.txt` has it: a name, and what the table says.
fn compared() -> Vec<(String, String)> {
    let path = folder().join("../../tests/data/compared.txt");
    let text = fs::read_to_string(path).expect("the counts");
    let said = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        let [name, source, formats, decoded, encoded] = parts[..] else {
            panic!("`{line}` has five parts")
        };
        let encoded = match encoded {
            "0" => String::new(),
            n => format!(" + {n}"),
        };
        let formats = match formats {
            "1" => String::new(),
            n => format!(" ({n} of them)"),
        };
        (
            name.to_owned(),
            format!("{source}: {decoded}{encoded}{formats}"),
        )
    };
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .map(said)
        .collect()
}

/// What stands in the last column for a format.
fn compared_with(name: &str, compared: &[(String, String)]) -> String {
    let of_format = compared.iter().filter(|(n, _)| n == name);
    let said: Vec<&str> = of_format.map(|(_, said)| said.as_str()).collect();
    match said[..] {
        [] => String::new(),
        _ => format!(" {}", said.join(", ")),
    }
}

fn row(format: &Format, compared: &str) -> String {
    let id = layout_id(format);
    let name = &format.name;
    match &format.kind {
        FormatKind::Plain(element) => {
            format!(
                "| `{name}` | {} | | | `{id}` |{compared} |\n",
                element.bits()
            )
        }
        FormatKind::Block(block) => format!(
            "| `{name}` | {} | {} | {} | `{id}` |{compared} |\n",
            format.bits_per_element(),
            u64::from(block.len) * u64::from(block.rows),
            block.bytes
        ),
    }
}

#[test]
fn the_table_lists_the_formats_that_ship() {
    let text = read("formats.md");
    let compared = compared();
    let head = text.split("\n## ").next().expect("a beginning").trim_end();
    let mut wanted = format!("{head}\n");
    for module in shipped::NAMES {
        let text = shipped::source(module).expect("its text");
        let loaded = load(module, text, &|_| None).expect("it reads");
        let said = source(module);
        wanted += &format!("\n## {module}\n\n{}.\n\n", said.trim_end_matches('.'));
        wanted += "| format | bits | elements of a block | bytes of a block | layout | compared with |\n|---|---|---|---|---|---|\n";
        let own = |f: &&std::sync::Arc<Format>| shipped::module_of(&f.name) == Some(module);
        for format in loaded.formats.iter().filter(own) {
            wanted += &row(format, &compared_with(&format.name, &compared));
        }
    }
    wanted += "\n## Built in\n\n`float(…)` stands for floats of any widths, biases and special values.\n\n";
    wanted += "| format | compared with |\n|---|---|\n";
    for (name, said) in &compared {
        let shown = if name == "float" { "float(…)" } else { name };
        if shipped::module_of(name).is_none() {
            wanted += &format!("| `{shown}` | {said} |\n");
        }
    }
    hold("formats.md", &wanted);
}
