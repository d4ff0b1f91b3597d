//! Which operations of the vector IR a function uses.

use lowbit::compiler::vector::ir::{Function, Op, Step};
use std::collections::BTreeSet;

/// Names of the operations of a function.
pub(crate) fn ops(function: &Function) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    walk(&function.body, &mut names);
    names
}

fn walk(steps: &[Step], names: &mut BTreeSet<String>) {
    for step in steps {
        match step {
            Step::Let(_, op) => {
                names.insert(name(op));
            }
            Step::Store { .. } => {
                names.insert("Store".into());
            }
            Step::Loop(one) => {
                names.insert("Loop".into());
                walk(&one.body, names);
            }
        }
    }
}

/// The variant's name, with the kind of an operation that has kinds.
fn name(op: &Op) -> String {
    let debug = format!("{op:?}");
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect()
    };
    match op {
        Op::Bin(kind, ..) => format!("Bin {kind:?}"),
        Op::Un(kind, _) => format!("Un {kind:?}"),
        Op::Shift(kind, ..) => format!("Shift {kind:?}"),
        Op::ShiftBy(kind, ..) => format!("ShiftBy {kind:?}"),
        Op::Cmp(kind, ..) => format!("Cmp {kind:?}"),
        Op::Convert(kind, _) => format!("Convert {kind:?}"),
        _ => word(&debug),
    }
}
