//! Samples are functions that keep the rules of the vector IR and can be compiled, and every operation of a target has one or
//! a reason why not.

use super::{CHAINS, DERIVED, Peak, Sample, access, chase, clock, issue, operation, peak};
use crate::codegen::{Features, listing};
use crate::target::{LOADS, Target, names};
use crate::vector::verify::verify;
use std::collections::BTreeSet;

fn holds(sample: &Sample) {
    let errors = verify(&sample.function);
    assert!(errors.is_empty(), "{}: {errors:?}", sample.function.name);
    assert!(sample.times > 0.0 && sample.bytes > 0);
    let features = Features::x86_64_vnni();
    let text = listing(&sample.function, &features).expect("it compiles");
    if std::env::var("SHOW").is_ok_and(|v| v == sample.function.name) {
        println!("{text}");
    }
}

#[test]
fn every_operation_of_every_target_has_a_sample_or_a_reason() {
    let mut missing = BTreeSet::new();
    for name in names() {
        let target = Target::named(name).expect("a target");
        for op in target.costs.keys() {
            let derived = DERIVED.iter().any(|(o, why)| o == op && !why.is_empty());
            match operation(*op, CHAINS) {
                Some(_) if derived => panic!("`{}` is measured and derived", op.name()),
                None if !derived => drop(missing.insert(op.name())),
                _ => {}
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no sample in `lower/sample.rs` of {missing:?}"
    );
}

#[test]
fn samples_can_be_compiled() {
    let target = Target::named("x86-64-vnni").expect("a target");
    for op in target.costs.keys() {
        for chains in [1, CHAINS] {
            operation(*op, chains).iter().for_each(holds);
        }
    }
    for kind in LOADS {
        holds(&access(kind, 16 << 10).expect("a kind"));
    }
    [chase(), clock(), issue()].iter().for_each(holds);
    assert!(access("elsewhere", 1024).is_none());
}

#[test]
fn peaks_are_sampled_where_a_target_has_them() {
    let of = |name: &str, which| peak(which, &Target::named(name).expect("a target"));
    for which in Peak::ALL {
        let samples = of("x86-64-vnni", which);
        assert!(!samples.is_empty(), "{}", which.name());
        samples.iter().for_each(holds);
    }
    let dots = of("x86-64-vnni", Peak::Dots);
    assert_eq!(dots[0].times / dots[0].links, 32.0 * f64::from(CHAINS / 2));
    assert!(of("x86-64-v3", Peak::Dots).is_empty());
    assert!(of("x86-64", Peak::LookUps).is_empty());
}
