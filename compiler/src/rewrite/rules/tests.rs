//! Every rule against an evaluator of the language, and against itself with something changed. The tests are made from the
//! table of rules alone.

mod counts;
mod instance;
mod lanes;
mod leaves;
mod machine;
mod magic;
mod mutants;
mod number;
mod proofs;
mod sound;
mod uncaught;
mod vectors;

use crate::rewrite::tabulate::CodeRule;
use sound::{Outcome, trial, trial_of};
use std::collections::BTreeSet;

/// Instances that a rule must match.
const FIRED: usize = 20;
/// Instances that it is enough to match.
const ENOUGH: usize = 400;
/// Instances that are drawn for a rule at most.
const DRAWN: u64 = 10000;

#[test]
fn both_sides_of_every_rule_agree() {
    let mut failures = Vec::new();
    for rule in super::all() {
        let trial = trial(&rule, DRAWN, ENOUGH);
        if std::env::var("SHOW").is_ok() {
            eprintln!("{} {}", rule.name, trial.fired);
        }
        match trial.outcome {
            Outcome::Sound if trial.fired < FIRED => {
                failures.push(format!("`{}` fired {} times", rule.name, trial.fired));
            }
            Outcome::Sound => {}
            Outcome::Differs(why) => failures.push(format!("`{}`: {why}", rule.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Terms that depend on one code only, and others.
const TABULATED: [&str; 3] = ["(elem ?x ?c)", "(mul ?a ?b)", "(add (mul ?a ?b) ?a)"];

#[test]
fn tables_are_worth_what_they_stand_for() {
    let tabulate = CodeRule::Tabulate.compile().expect("a rule");
    for left in TABULATED {
        let trial = trial_of(&tabulate, left, DRAWN, ENOUGH);
        let sound = matches!(trial.outcome, Outcome::Sound);
        assert!(sound && trial.fired >= FIRED, "{left}: {trial:?}");
    }
}

/// Sums over neighbours that depend on weights through a joint code, and what is rounded of them.
const JOINT: [&str; 3] = [
    "(sum ?j (mul (bits ?f (ld ?x)) ?e))",
    "(sum ?j (mul (lookup ?t (bits ?f (ld ?x))) ?e))",
    "(floor (mul ?e (bits ?f (ld ?x))))",
];

#[test]
fn tables_made_at_the_call_are_worth_what_they_stand_for() {
    let tabulate = CodeRule::TabulateJoint.compile().expect("a rule");
    for left in JOINT {
        let trial = trial_of(&tabulate, left, 4 * DRAWN, ENOUGH);
        let sound = matches!(trial.outcome, Outcome::Sound);
        assert!(sound && trial.fired >= FIRED, "{left}: {trial:?}");
    }
}

#[test]
fn names_of_rules_are_unique_and_kebab_case() {
    let rules = super::all();
    let names: BTreeSet<&str> = rules.iter().map(|r| r.name).collect();
    assert_eq!(names.len(), rules.len());
    let kebab = |name: &&str| {
        let part = |p: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            !p.is_empty() && p.chars().all(plain)
        };
        name.split('-').all(part)
    };
    let odd: Vec<&&str> = names.iter().filter(|n| !kebab(n)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn every_rule_compiles() {
    for rule in super::all() {
        let compiled = rule.compile();
        assert!(compiled.is_ok(), "{:?}", compiled.err());
    }
}
