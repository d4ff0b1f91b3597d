//! Rules of integers proved by an SMT solver. From the data of a rule alone comes a question in each of some small worlds:
//! is there a number for every variable, within what the conditions say, for which the sides differ in a lane, or the right
//! side reads a register that does not hold what it stands for? The solver refutes it; without any one of the conditions it
//! must find such numbers.
//!
//! Numbers are integers without bounds that matter, registers wrap and saturate as the machine's do (`operations.rs`). Lanes
//! are few, loops are taken by induction. That intervals bound sums and products, as conditions on sums suppose, is proved
//! apart.

mod conditions;
mod intervals;
mod meanings;
mod operations;
mod question;
mod registers;
mod shapes;
mod smt;
mod statement;
mod unstated;

use super::uncaught::UNCAUGHT;
use crate::rewrite::lang::{Node, Op};
use crate::rewrite::rule::{Rule, When};
use egg::Pattern;
use question::Question;
use smt::{Answer, GUESS, NUMBER, PROOF, Solver};
use std::collections::BTreeSet;
use std::str::FromStr;
use unstated::{UNMISSED, UNSTATED};

/// Why there is no question.
#[derive(Clone, Debug, PartialEq)]
enum Stop {
    /// It cannot be said in integers.
    Unstated(String),
    /// The machine cannot do what the right side asks.
    Fault(&'static str),
    /// The table lacks an operation.
    NoLine(Op),
}

/// What is to be refuted for a rule: a text for each world, or what the machine cannot do there.
type Questions = Vec<Result<Question, &'static str>>;

fn pattern(text: &str) -> Pattern<Node> {
    Pattern::from_str(text).expect("a pattern")
}

/// All questions of a rule; why it has none, if it cannot be stated.
fn questions(rule: &Rule) -> Result<Questions, Stop> {
    let (left, right) = (pattern(rule.left), pattern(rule.right));
    let mut found = Vec::new();
    for shape in shapes::shapes(rule, &left.ast)? {
        match statement::question(rule, [&left.ast, &right.ast], &shape) {
            Ok(Some(question)) => found.push(Ok(question)),
            Ok(None) => {}
            Err(Stop::Fault(what)) => found.push(Err(what)),
            Err(stop) => return Err(stop),
        }
    }
    Ok(found)
}

/// Every rule that can be stated, with its questions.
fn stated() -> Vec<(Rule, Questions)> {
    let of = |rule: Rule| Some((rule, questions(&rule).ok()?));
    super::super::all().into_iter().filter_map(of).collect()
}

#[test]
fn every_operation_has_its_line() {
    let odd = operations::odd_lines();
    assert!(
        odd.is_empty(),
        "give `{}` one line in `rules/tests/proofs/operations.rs`: what it means to the solver, or why that is not stated",
        odd.join("`, `")
    );
}

#[test]
fn what_is_not_stated_is_listed() {
    let mut wrong = Vec::new();
    for rule in super::super::all() {
        let listed = UNSTATED.iter().any(|(name, _)| *name == rule.name);
        match (questions(&rule), listed) {
            (Ok(_), true) => wrong.push(format!("`{}` can be stated", rule.name)),
            (Err(stop), false) => wrong.push(format!("`{}` cannot be stated: {stop:?}", rule.name)),
            _ => {}
        }
    }
    let names: BTreeSet<&str> = super::super::all().iter().map(|r| r.name).collect();
    for (name, reason) in UNSTATED {
        if !names.contains(name) || reason.is_empty() {
            wrong.push(format!("`{name}` is listed for nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rules_of_integers_hold() {
    let Some(mut solver) = Solver::start() else {
        return;
    };
    let mut wrong = Vec::new();
    for (rule, questions) in stated() {
        if questions.is_empty() {
            wrong.push(format!("`{}` holds in no world", rule.name));
        }
        for question in &questions {
            match question.as_ref().map(|q| solver.ask(&q.whole(), PROOF)) {
                Ok(Answer::Unsat) => {}
                Ok(other) => {
                    let text = question.as_ref().map(Question::whole).unwrap_or_default();
                    wrong.push(format!("`{}`: {other:?}\n{text}", rule.name));
                    break;
                }
                Err(what) => wrong.push(format!("`{}`: {what}", rule.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rule without one of its conditions.
fn without(rule: &Rule, at: usize) -> (Rule, String) {
    let mut when: Vec<When> = rule.when.to_vec();
    let dropped = when.remove(at);
    let when = Box::leak(when.into_boxed_slice());
    (Rule { when, ..*rule }, format!("without {dropped:?}"))
}

/// Bits of the numbers among which an example is looked for, a few more at a time: most are small.
const BITS: [u32; 4] = [10, 18, 34, NUMBER];

/// Whether a counterexample is found quickly.
fn guessed(questions: &[Question], solver: &mut Solver) -> bool {
    for kind in 0..3 {
        for (bits, question) in BITS.iter().flat_map(|b| questions.iter().map(|q| (*b, q))) {
            let variables = question.variables().into_iter().map(Some).chain([None]);
            for wide in variables {
                let parts = question.wrong[kind].iter();
                let mut parts = parts.map(|wrong| question.part(wrong, bits, wide));
                if parts.any(|part| solver.ask(&part, GUESS) == Answer::Sat) {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether a rule has a counterexample; what is thought to be sound is asked as a whole.
fn refuted(rule: &Rule, sound: bool, solver: &mut Solver) -> Result<bool, String> {
    let questions = questions(rule).map_err(|stop| format!("{stop:?}"))?;
    if questions.iter().any(|q| q.is_err()) {
        return Ok(true);
    }
    let questions: Vec<Question> = questions.into_iter().flatten().collect();
    // Worlds are alike for a condition on numbers.
    let (first, rest) = questions.split_at(questions.len().min(2));
    for some in [first, rest].into_iter().filter(|_| !sound) {
        if guessed(some, solver) {
            return Ok(true);
        }
    }
    for question in &questions {
        match solver.ask(&question.whole(), PROOF) {
            Answer::Sat => return Ok(true),
            Answer::Unsat => {}
            Answer::Other(text) => return Err(text),
        }
    }
    Ok(false)
}

#[test]
fn every_condition_is_missed() {
    let Some(mut solver) = Solver::start() else {
        return;
    };
    let mut wrong = Vec::new();
    let mut unmissed = BTreeSet::new();
    for (rule, _) in stated() {
        for at in 0..rule.when.len() {
            let (mutant, change) = without(&rule, at);
            let listed = |list: &[(&str, &str, &str)]| {
                list.iter().any(|(n, c, _)| *n == rule.name && *c == change)
            };
            let sound = listed(UNCAUGHT) || listed(UNMISSED);
            match refuted(&mutant, sound, &mut solver) {
                Ok(refuted) if refuted != sound => {}
                Ok(true) => wrong.push(format!(
                    "`{}` {change}: refuted, but said to be sound",
                    rule.name
                )),
                Ok(false) => wrong.push(format!("`{}` {change}: not missed", rule.name)),
                Err(text) => wrong.push(format!("`{}` {change}: {text}", rule.name)),
            }
            unmissed.insert((rule.name, change));
        }
    }
    for (name, change, reason) in UNMISSED {
        let known = unmissed.contains(&(*name, (*change).to_owned()));
        if !known || reason.is_empty() {
            wrong.push(format!("`{name}` {change}: listed for nothing"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
