//! What `rules/README.md` says of all rules, counted.

use crate::rewrite::RuleSet;
use crate::rewrite::lang::{Node, Op};
use crate::rewrite::rule::{Bind, Rule};
use egg::{ENodeOrVar, Pattern};
use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::str::FromStr;

/// Operations of the machine that a right side may add.
const MOST: usize = 2;

const README: &str = include_str!("../README.md");

/// The heading of the list of rules with code of their own.
const HEADING: &str = "## Rules with code of their own";

/// Operations of the machine in a pattern.
fn machine_operations(pattern: &str) -> usize {
    let pattern = Pattern::<Node>::from_str(pattern).expect("a pattern");
    let machine = |op: &Op| op.name().starts_with("v.");
    let found = pattern.ast.as_ref().iter().filter(|node| match node {
        ENodeOrVar::ENode(Node::Op(op, _)) => machine(op),
        _ => false,
    });
    found.count()
}

#[test]
fn right_sides_add_two_operations_at_most() {
    let rules = crate::rewrite::rules::all();
    let long = rules.iter().filter(|r| machine_operations(r.right) > MOST);
    let long: Vec<&str> = long.map(|r| r.name).collect();
    assert!(long.is_empty(), "{long:?}");
    assert_eq!(
        machine_operations("(v.sum ?i (v.float (v.widen i32 ?a)))"),
        3
    );
}

/// Rules with a computed variable that no other rule has: code for one rule, behind a name. The same rule for operands in
/// another order is no other.
fn alone_with_a_variable(rules: &[Rule]) -> Vec<&'static str> {
    let kinds = |r: &Rule| r.bind.iter().map(discriminant).collect::<Vec<_>>();
    let swapped = |r: &&Rule| {
        let original = r.name.strip_suffix("-swapped");
        rules
            .iter()
            .any(|o| Some(o.name) == original && kinds(o) == kinds(r))
    };
    let originals = rules.iter().filter(|r| !swapped(r));
    let all: Vec<Discriminant<Bind>> = originals.flat_map(kinds).collect();
    let once = |kind: &Discriminant<Bind>| all.iter().filter(|k| *k == kind).count() == 1;
    let found = rules.iter().filter(|r| kinds(r).iter().any(once));
    found.map(|r| r.name).collect()
}

#[test]
fn rules_with_code_of_their_own_are_listed() {
    let rules = crate::rewrite::rules::all();
    let mut wanted: BTreeSet<&str> = alone_with_a_variable(&rules).into_iter().collect();
    let compiled = RuleSet::standard().expect("the rules compile");
    let names: BTreeSet<&str> = rules.iter().map(|r| r.name).collect();
    wanted.extend(compiled.names().filter(|name| !names.contains(name)));
    let section = README.split(HEADING).nth(1).expect(HEADING);
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut listed = BTreeSet::new();
    for line in section.lines().filter(|l| l.starts_with("- ")) {
        let (name, reason) = line[2..].split_once(':').expect("a name and a reason");
        assert!(!reason.trim().is_empty(), "{line}");
        listed.insert(name.trim_matches('`'));
    }
    assert_eq!(
        wanted, listed,
        "rules with code of their own, and those that the README lists"
    );
}
