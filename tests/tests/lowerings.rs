//! What is chosen for each format, kind of activations and number of rows, on every target: a table for each target, and what
//! was expected of it before it was made. `INSTA_UPDATE=always cargo test -p lowbit-tests --test lowerings` writes the tables
//! anew; read the difference.

mod lowerings {
    pub(crate) mod cells;
    pub(crate) mod exceptions;
    pub(crate) mod expected;
}

use lowbit::compiler::target::names;
use lowerings::cells::{ACTIVATIONS, Cell, FORMATS, ROWS, cells, table};
use lowerings::exceptions::EXCEPTIONS;
use lowerings::expected::EXPECTATIONS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn of_target<'c>(cells: &'c [Cell], target: &str) -> Vec<&'c Cell> {
    cells.iter().filter(|c| c.target == target).collect()
}

/// Tables lie beside this file.
fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("lowerings");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
}

#[test]
fn every_target_has_its_table_of_lowerings() {
    let cells = cells();
    assert_eq!(
        cells.len(),
        names().len() * FORMATS.len() * ACTIVATIONS.len() * ROWS.len()
    );
    for target in names() {
        let table = table(&of_target(cells, target));
        settings().bind(|| insta::assert_snapshot!(target, table));
    }
}

#[test]
fn tables_of_lowerings_belong_to_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lowerings");
    let entries = std::fs::read_dir(folder).expect("the folder");
    let names = names().into_iter().chain(["unmet"]);
    let names: BTreeSet<String> = names.map(|n| format!("{n}.snap")).collect();
    let files = entries.map(|e| e.expect("an entry").file_name());
    let files = files.map(|f| f.to_string_lossy().into_owned());
    let others: Vec<String> = files
        .filter(|f| !f.ends_with(".rs") && !names.contains(f))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn lowerings_are_those_expected_but_for_what_is_explained() {
    let mut unmet = Vec::new();
    // For each reason the cells that it explains, of a target and format in one line.
    let mut excused: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let mut needed = vec![false; EXCEPTIONS.len()];
    let mut judged = vec![0; EXPECTATIONS.len()];
    for cell in cells() {
        for (at, expectation) in EXPECTATIONS.iter().enumerate() {
            if !(expectation.of)(cell) {
                continue;
            }
            judged[at] += 1;
            if (expectation.holds)(cell) {
                continue;
            }
            let mut exceptions = EXCEPTIONS.iter();
            let Some(number) = exceptions.position(|e| e.covers(expectation.name, cell)) else {
                unmet.push(format!("{}: {} {cell}", expectation.name, cell.target));
                continue;
            };
            needed[number] = true;
            let reason = format!("{}: {}", expectation.name, EXCEPTIONS[number].why);
            let line = format!("{} {}", cell.target, cell.format);
            let cells = excused.entry(reason).or_default().entry(line).or_default();
            cells.push(format!("{:?} × {}", cell.activations, cell.rows));
        }
    }
    for (at, expectation) in EXPECTATIONS.iter().enumerate() {
        assert!(judged[at] > 0, "{}: of no cell", expectation.name);
    }
    let idle = EXCEPTIONS.iter().zip(&needed).filter(|(_, n)| !**n);
    let idle: Vec<String> = idle
        .map(|(e, _)| format!("{} {:?} {:?}: {}", e.of, e.targets, e.formats, e.why))
        .collect();
    assert!(
        unmet.is_empty(),
        "{} unmet:\n{}",
        unmet.len(),
        unmet.join("\n")
    );
    assert!(idle.is_empty(), "not needed any more: {idle:#?}");
    let mut table = String::new();
    for (reason, lines) in excused {
        table.push_str(&format!("{reason}\n"));
        for (line, cells) in lines {
            table.push_str(&format!("    {line:28} {}\n", cells.join(", ")));
        }
    }
    settings().bind(|| insta::assert_snapshot!("unmet", table));
}
