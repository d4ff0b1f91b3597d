//! What is measured on a machine is a cost file for it: whole, of numbers that are costs, and one that kernels compile with.
//! How long anything took is not asked.

use lowbit::Engine;
use lowbit::calibrate::{Calibration, Effort, calibrate};
use lowbit::compiler::lower::sample::DERIVED;
use lowbit::compiler::target::{CostFile, LOADS, Target, TargetError};
use lowbit_tests::{examples, kernels};
use std::time::Duration;

const EXTENTS: [(&str, u64); 3] = [("N", 256), ("K", 1024), ("V", 64)];

/// As little as measures anything.
const QUICK: Effort = Effort {
    repeats: 1,
    run: Duration::from_micros(20),
    memory: 1 << 20,
};

fn measured() -> Calibration {
    let mut steps = Vec::new();
    let result = calibrate(&Target::host(), &QUICK, &mut |step| {
        assert!(step.done < step.total && !step.what.is_empty());
        steps.push((step.done, step.total));
    });
    let all = steps.first().expect("progress").1;
    let wanted: Vec<(usize, usize)> = (0..all).map(|done| (done, all)).collect();
    assert_eq!(steps, wanted);
    result.expect("it runs here")
}

#[test]
fn every_operation_is_measured_or_derived_with_a_reason() {
    let Calibration { costs, hertz } = measured();
    for op in Target::host().costs.keys() {
        let reason = DERIVED.iter().find(|(o, _)| o == op).map(|(_, why)| *why);
        let derived = costs.derived.get(op.name()).map(String::as_str);
        assert_eq!(derived, reason, "{}", op.name());
        let measured = costs.operations.contains_key(op.name());
        assert!(measured != derived.is_some(), "{}", op.name());
    }
    let accesses: Vec<&str> = costs.accesses.keys().map(String::as_str).collect();
    assert!(LOADS.iter().all(|kind| accesses.contains(kind)));
    let rates = costs.throughput.expect("rates");
    let costs_of = costs.operations.values().chain(costs.accesses.values());
    let numbers = costs_of.flat_map(|c| [c.uops, c.latency]);
    let numbers = numbers
        .chain(rates.units)
        .chain([rates.issue, rates.memory, hertz]);
    let mut numbers = numbers.chain(costs.levels.iter().map(|l| l.rate));
    assert!(numbers.all(|n| n.is_finite() && n > 0.0));
    assert_eq!(costs.levels.len(), 4);
}

#[test]
fn kernels_compile_with_what_was_measured() {
    let costs = measured().costs;
    let text = serde_json::to_string_pretty(&costs).expect("JSON");
    let read: CostFile = serde_json::from_str(&text).expect("a cost file");
    assert_eq!(read, costs);
    let engine = Engine::host().expect("an engine");
    let engine = engine.with_costs(&text).expect("costs");
    for (name, cost) in &costs.operations {
        let (_, known) = engine
            .target()
            .costs
            .iter()
            .find(|(op, _)| op.name() == name)
            .expect(name);
        assert_eq!(known, cost, "{name}");
    }
    for (name, cost) in &costs.accesses {
        assert_eq!(&engine.target().accesses[name.as_str()], cost, "{name}");
    }
    assert_eq!(engine.target().levels, costs.levels);
    for (name, text) in examples() {
        for kernel in kernels(&engine, &text, &EXTENTS).expect(&name) {
            kernel.program().expect(&name);
        }
    }
}

#[test]
fn what_is_no_cost_file_is_refused() {
    let refused = |text: &str| Target::host().apply(text).expect_err(text);
    let cost = |unit: &str, uops: &str| {
        format!(r#"{{ "unit": "{unit}", "uops": {uops}, "latency": 1.0 }}"#)
    };
    let add = |cost: &str| format!(r#"{{ "operations": {{ "v.fadd": {cost} }} }}"#);
    assert!(Target::host().apply(&add(&cost("vector", "1.0"))).is_ok());
    for text in [
        r#"{ "operation": {} }"#,
        r#"{ "levels": [{ "name": "L1", "bytes": 1, "rate": 1.0, "ways": 8 }] }"#,
        &add(&cost("divider", "1.0")),
        &add(&cost("vector", "\"one\"")),
        "[]",
    ] {
        assert!(matches!(refused(text), TargetError::File(_)), "{text}");
    }
    let negative = refused(&add(&cost("vector", "-1.0")));
    assert_eq!(
        negative.to_string(),
        "the cost file says -1 for `v.fadd`, which is no cost or rate"
    );
    let level = r#"{ "levels": [{ "name": "L1", "bytes": 1, "rate": 0.0 }] }"#;
    assert!(matches!(refused(level), TargetError::Number { .. }));
    let access = format!(
        r#"{{ "accesses": {{ "scatter": {} }} }}"#,
        cost("load", "1.0")
    );
    assert_eq!(refused(&access), TargetError::Access("scatter".to_owned()));
    let derived = r#"{ "derived": { "v.nothing": "it is not there" } }"#;
    assert_eq!(
        refused(derived),
        TargetError::Operation("v.nothing".to_owned())
    );
}
