//! Overflow is impossible by construction: where the intervals of a kernel reach just up to the limit of a condition, every
//! lowering is exact on the most extreme codes and activations; a limit moved by one product or one code lets a lowering
//! in that is not.
//!
//! A number is often held by several conditions one behind the other: the rule that asks for words, the one that sums
//! them. Such a chain is relaxed as a whole; then each of its conditions alone, put back, must keep the wrong lowering out.

mod overflow {
    pub(crate) mod cases;
    pub(crate) mod unreached;
}

use lowbit::check::Random;
use lowbit::compiler::pipeline::CompileError;
use lowbit::compiler::rewrite::rule::{Rule, When};
use lowbit::compiler::rewrite::tabulate::CODE;
use lowbit::compiler::rewrite::{RewriteError, RuleSet, rules};
use lowbit::compiler::target::Target;
use lowbit::{Alternative, Engine, Error};
use lowbit_tests::data::{Call, extreme};
use lowbit_tests::on_two_threads;
use overflow::cases::{CASES, Case, Limit};
use overflow::unreached::UNREACHED;
use std::collections::BTreeSet;

/// All rules but some, with the ranges of some conditions wider, or narrower.
fn moved(without: &[&str], limits: &[Limit], by: i32) -> RuleSet {
    let kept = rules::all()
        .into_iter()
        .filter(|r| !without.contains(&r.name));
    let kept = kept.map(|rule| {
        let when = rule.when.iter().enumerate();
        let when = when.map(|(at, when)| match limits.contains(&(rule.name, at)) {
            true => When::Widened(when, by),
            false => *when,
        });
        // Rules are data that lives for ever.
        let when = Box::leak(when.collect());
        Rule { when, ..rule }
    });
    RuleSet::of(&kept.collect::<Vec<Rule>>(), &CODE).expect("the rules compile")
}

/// The lowerings that some rules admit; none where they have no lowering at all.
fn lowerings(case: &Case, code: i64, set: RuleSet) -> Result<Vec<Alternative>, Error> {
    let engine = Engine::with_rules(Target::named(case.target).expect("a target"), set);
    match engine.compile(&case.text(code), &case.dims(code)) {
        Err(Error::Compile(CompileError::Rewrite(RewriteError::NoLowering { .. }))) => {
            Ok(Vec::new())
        }
        kernel => kernel?.alternatives(1),
    }
}

/// What is wrong with the lowerings that some rules admit: results on extreme data, or code that is not valid.
fn wrong(case: &Case, code: i64, set: RuleSet) -> Vec<String> {
    let lowerings = match lowerings(case, code, set) {
        Ok(lowerings) => lowerings,
        Err(error) => return vec![error.to_string()],
    };
    let Some(first) = lowerings.first() else {
        return Vec::new();
    };
    let mut codes = extreme(Random::new(3));
    let call = Call::new(first.kernel.spec(), &[5], &mut codes);
    let mut wrong = Vec::new();
    for Alternative {
        candidate, kernel, ..
    } in &lowerings
    {
        let differences = call.differences(kernel).into_iter();
        wrong.extend(differences.map(|d| format!("{} {}: {d}", candidate.lanes, candidate.name)));
    }
    wrong
}

/// The lowerings that some rules admit, in words; and the rules that made something of them.
fn admitted(case: &Case, limits: &[Limit], by: i32) -> (Vec<String>, BTreeSet<String>) {
    let set = moved(case.without, limits, by);
    let all = lowerings(case, case.tight, set).expect("they compile");
    let mut applied = BTreeSet::new();
    let mut told = Vec::new();
    for other in &all {
        let stages = &other.kernel.program().expect("a program").stages;
        for (_, _, rewritten, _) in stages.iter().flat_map(|s| &s.parts) {
            applied.extend(rewritten.applied.keys().cloned());
        }
        told.push(format!(
            "{} {}",
            other.candidate.lanes, other.candidate.term
        ));
    }
    (told, applied)
}

/// What does not hold of a case.
fn failures(case: &Case) -> Vec<String> {
    let mut failures = Vec::new();
    let mut hold = |holds: bool, what: &str, found: &[String]| {
        if !holds {
            failures.push(format!("{}: {what}: {}", case.name, found.join("\n  ")));
        }
    };
    let exact = |code| wrong(case, code, moved(case.without, &[], 0));
    for code in [case.tight, case.over] {
        let found = exact(code);
        hold(found.is_empty(), "wrong by the rules as they are", &found);
    }
    let (within, applied) = admitted(case, &[], 0);
    for (rule, _) in case.chain {
        let applied = applied.contains(*rule);
        hold(
            applied,
            "not applied up to the limit",
            &[(*rule).to_owned()],
        );
    }
    let (narrow, _) = admitted(case, case.chain, -case.by);
    hold(narrow != within, "the limits are not tight", &within);
    let relaxed = wrong(case, case.over, moved(case.without, case.chain, case.by));
    hold(!relaxed.is_empty(), "right though relaxed", &[]);
    for kept in case.chain {
        let others: Vec<Limit> = case.chain.iter().copied().filter(|l| l != kept).collect();
        let found = wrong(case, case.over, moved(case.without, &others, case.by));
        let what = format!("wrong though {kept:?} is kept");
        hold(found.is_empty(), &what, &found);
    }
    // What is listed as harmless does no harm here, all of it together.
    let listed: Vec<Limit> = UNREACHED.iter().map(|(limit, _)| *limit).collect();
    let found = wrong(case, case.over, moved(case.without, &listed, case.by));
    hold(found.is_empty(), "wrong by limits that are listed", &found);
    failures
}

#[test]
fn limits_hold_up_to_the_last_code_and_no_further() {
    let found = on_two_threads(CASES, failures);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_limit_is_reached_or_listed() {
    let all = rules::all();
    let limits = all.iter().flat_map(|rule| {
        let limits = rule.when.iter().enumerate().filter(|(_, w)| w.has_limit());
        limits.map(|(at, _)| (rule.name, at))
    });
    let limits: BTreeSet<Limit> = limits.collect();
    let reached: BTreeSet<Limit> = CASES.iter().flat_map(|c| c.chain).copied().collect();
    let listed: BTreeSet<Limit> = UNREACHED.iter().map(|(limit, _)| *limit).collect();
    let both: Vec<_> = reached.intersection(&listed).collect();
    let known: BTreeSet<Limit> = reached.union(&listed).copied().collect();
    let missing: Vec<_> = limits.difference(&known).collect();
    let gone: Vec<_> = known.difference(&limits).collect();
    assert!(both.is_empty(), "reached, but listed: {both:?}");
    assert!(
        missing.is_empty(),
        "neither reached nor listed: {missing:?}"
    );
    assert!(gone.is_empty(), "no such limits: {gone:?}");
    assert!(UNREACHED.iter().all(|(_, reason)| !reason.is_empty()));
}
