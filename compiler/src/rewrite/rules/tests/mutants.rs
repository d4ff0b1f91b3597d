//! Every rule with one thing changed: a condition dropped, operands flipped, a constant off by one. The evaluator must
//! tell each mutant from a sound rule, except those that are listed with the reason why they are sound too.

use super::sound::{Outcome, trial};
use super::uncaught::UNCAUGHT;
use super::{DRAWN, ENOUGH};
use crate::rewrite::lang::{Node, Op};
use crate::rewrite::rule::{Rule, When};
use egg::{ENodeOrVar, Pattern, PatternAst};
use std::str::FromStr;

/// A rule with one thing changed.
struct Mutant {
    rule: Rule,
    change: String,
    /// Whether the change is that of a law, so that the mutant is sound.
    lawful: bool,
}

/// Rules are data that lives for ever, mutants too.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn without_conditions(rule: &Rule) -> Vec<Mutant> {
    let mutants = rule.when.iter().enumerate().map(|(at, dropped)| {
        let mut when: Vec<When> = rule.when.to_vec();
        when.remove(at);
        Mutant {
            rule: Rule {
                when: Box::leak(when.into_boxed_slice()),
                ..*rule
            },
            change: format!("without {dropped:?}"),
            lawful: false,
        }
    });
    mutants.collect()
}

/// Operands at the front of an operation that are data and no terms.
fn data_operands(op: Op) -> usize {
    match op {
        Op::VLoad | Op::VNum | Op::VUnit | Op::At => 3,
        Op::Vec | Op::VExtent | Op::VLookup8 | Op::VFetch | Op::VTable | Op::VSigned => 2,
        Op::Ld
        | Op::Place
        | Op::Pick
        | Op::VPlace
        | Op::VPick
        | Op::VNarrow
        | Op::VHigh
        | Op::VMulHigh
        | Op::VSumBytes
        | Op::PackBits
        | Op::VPackBits
        | Op::Extent
        | Op::Unit
        | Op::Bits
        | Op::Elem
        | Op::Lookup
        | Op::Sum
        | Op::MaxOver
        | Op::VSpread
        | Op::VBits
        | Op::VLookup32
        | Op::VDecode
        | Op::VWiden
        | Op::VIAdd
        | Op::VIMul
        | Op::VSum
        | Op::VMaxOver
        | Op::VFold
        | Op::VFoldMax => 1,
        _ => 0,
    }
}

/// Whether an operation stays the same when two of its operands change places.
fn commutes(op: Op, at: usize) -> bool {
    match op {
        Op::SelectEq | Op::VSelectEq => at == 0,
        Op::Add
        | Op::Mul
        | Op::VFAdd
        | Op::VFMul
        | Op::VFMin
        | Op::VFMax
        | Op::VIAdd
        | Op::VIMul
        | Op::VMulLow
        | Op::VMulBytes
        | Op::And
        | Op::VAnd
        | Op::VDot4S
        | Op::VMulPairs16 => true,
        _ => false,
    }
}

/// The right side with one node changed.
fn changed(rule: &Rule, ast: &PatternAst<Node>, at: usize, node: Node) -> Rule {
    let mut nodes: Vec<_> = ast.as_ref().to_vec();
    nodes[at] = ENodeOrVar::ENode(node);
    let right = leak(Pattern::new(PatternAst::from(nodes)).to_string());
    Rule { right, ..*rule }
}

fn with_other_right_sides(rule: &Rule) -> Vec<Mutant> {
    let ast = Pattern::<Node>::from_str(rule.right)
        .expect("a pattern")
        .ast;
    let mut mutants = Vec::new();
    for (at, node) in ast.as_ref().iter().enumerate() {
        match node {
            ENodeOrVar::ENode(Node::Op(op, children)) => {
                for left in data_operands(*op)..children.len().saturating_sub(1) {
                    let mut flipped = children.clone();
                    flipped.swap(left, left + 1);
                    mutants.push(Mutant {
                        rule: changed(rule, &ast, at, Node::Op(*op, flipped)),
                        change: format!("flipped {} {left}", op.name()),
                        lawful: commutes(*op, left),
                    });
                }
            }
            ENodeOrVar::ENode(Node::Num(bits)) => {
                for by in [-1.0, 1.0] {
                    let number = f64::from_bits(*bits) + by;
                    mutants.push(Mutant {
                        rule: changed(rule, &ast, at, Node::num(number)),
                        change: format!("constant {number}"),
                        lawful: false,
                    });
                }
            }
            _ => {}
        }
    }
    mutants
}

/// Tries mutants; what is wrong with the evaluator or with the list.
fn judge(mutants: impl Fn(&Rule) -> Vec<Mutant>) -> Vec<String> {
    let mut wrong = Vec::new();
    for mutant in super::super::all().iter().flat_map(mutants) {
        let Mutant {
            rule,
            change,
            lawful,
        } = mutant;
        let outcome = trial(&rule, 4 * DRAWN, 2 * ENOUGH).outcome;
        let caught = matches!(outcome, Outcome::Differs(_));
        let listed = UNCAUGHT
            .iter()
            .any(|(name, c, _)| *name == rule.name && *c == change);
        let case = format!("`{}` {change}", rule.name);
        match (caught, lawful || listed) {
            (false, false) => wrong.push(format!("{case}: not caught")),
            (true, true) => wrong.push(format!("{case}: said to be sound, but {outcome:?}")),
            _ => {}
        }
    }
    wrong
}

#[test]
fn conditions_that_are_dropped_are_missed() {
    let wrong = judge(without_conditions);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn operands_and_constants_that_are_changed_are_noticed() {
    let wrong = judge(with_other_right_sides);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_listed_as_uncaught_exists() {
    let rules = super::super::all();
    let of = |r: &Rule| {
        let both = [without_conditions(r), with_other_right_sides(r)];
        both.into_iter().flatten()
    };
    let mutants = rules.iter().flat_map(of);
    let known: Vec<(&str, String)> = mutants.map(|m| (m.rule.name, m.change)).collect();
    for (name, change, reason) in UNCAUGHT {
        assert!(
            known.iter().any(|(n, c)| n == name && c == change),
            "`{name}` {change}"
        );
        assert!(!reason.is_empty());
    }
}
