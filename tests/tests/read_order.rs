//! The look-up kernel of `int2_tables` on machines that look up in registers and have no dot products: the terms, the layout
//! in the order in which it is read, and the instructions of the hot loop.

use lowbit::compiler::format::text::definition;
use lowbit::compiler::target::Target;
use lowbit::{Engine, Stage};
use lowbit_tests::{examples, kernels};
use std::collections::BTreeMap;

/// A target, and the instruction that looks up.
const TARGETS: [(&str, &str); 2] = [("x86-64-v2", "pshufb"), ("aarch64", "tbl")];

#[test]
fn int2_with_tables_is_looked_up_bit_plane_by_bit_plane() {
    let found = examples().into_iter().find(|(n, _)| n == "int2_tables");
    let (_, text) = found.expect("the example");
    for (name, instruction) in TARGETS {
        let engine = Engine::new(Target::named(name).expect("a target")).expect("an engine");
        let bound = [("N", 4096), ("K", 4096)];
        let mut kernels = kernels(&engine, &text, &bound).expect("it compiles");
        let kernel = kernels.pop().expect("a kernel");
        let hot = kernel.hot_loops().expect("a listing");
        assert!(hot.has(instruction), "{name}: {hot:?}");
        let rewrite = kernel.stage(Stage::Rewrite).expect("a stage");
        let layout = definition(&kernel.layout("w").expect("a layout"));
        // How often each instruction is in the hot loops: registers and addresses may change.
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for line in &hot.inner {
            *counts
                .entry(line.split_whitespace().next().unwrap_or_default())
                .or_default() += 1;
        }
        let page = format!("{rewrite}\n{layout}\n{counts:#?}\n");
        insta::with_settings!({snapshot_path => "read_order", prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name, page);
        });
    }
}
