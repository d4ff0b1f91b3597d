//! Choices that were measured: kept as data, chosen again by those whom they are for, and right whichever they are.

use lowbit::check::{Random, compare};
use lowbit::compiler::pipeline::{Candidate, Pick};
use lowbit::compiler::target::Target;
use lowbit::measure::Effort;
use lowbit::tune::{Record, Tuning};
use lowbit::{Alternative, Engine, Error, Kernel, Options};
use std::time::Duration;

const TEXT: &str = "language 1; import \"std/ints\";
    kernel layer(weight a: uint4_32[N, K], weight b: uint4_32[N, K], input x: q8_32[M, K]) -> output y: f32[M, N] {
        let t[m, n] = sum(k) a[n, k] * x[m, k];
        y[m, n] = max(0, t[m, n]) + sum(k) b[n, k] * x[m, k];
    }";
const DIMS: [(&str, u64); 2] = [("N", 40), ("K", 96)];
const BATCHES: [u64; 3] = [1, 8, 64];

fn quick() -> Effort {
    Effort {
        repeats: 1,
        run: Duration::from_micros(1),
        budget: Duration::ZERO,
        cached: true,
        streamed: 0,
    }
}

fn compiled(engine: &Engine) -> Kernel {
    engine.compile(TEXT, &DIMS).expect("it compiles")
}

fn tuned(engine: &Engine, batches: &[u64]) -> Tuning {
    let tuning = engine.tune(&compiled(engine), batches, &quick(), &mut |_, _| {});
    tuning.expect("it is measured")
}

/// What a kernel runs for calls with so many rows: the candidate of each step.
fn chosen(kernel: &Kernel, batch: u64) -> Vec<Pick> {
    let variants = kernel.variants(batch, 1).expect("they compile");
    let chosen = variants.iter().filter(|v| v.candidate.chosen);
    let mut chosen: Vec<Pick> = chosen.map(|v| v.candidate.pick(v.step)).collect();
    chosen.dedup_by_key(|p| p.step);
    chosen
}

/// The kernel, asked for the lowering that one has in its steps anyway.
fn forced(engine: &Engine, like: &Kernel) -> Kernel {
    let variants = like.variants(1, 1).expect("they compile");
    let Candidate { lanes, name, .. } = &variants[0].candidate;
    let options = Options {
        force: Some(format!("{lanes} {name}")),
        ..Options::default()
    };
    let forced = engine.compile_with(TEXT, &DIMS, &options);
    forced.expect("it compiles")
}

fn is_right(kernel: &Kernel) {
    for batch in [1, 7, 8, 67] {
        let found = compare(kernel, &[batch], &mut Random::new(batch)).expect("it runs");
        assert!(found.differences.is_empty(), "{batch} rows: {found:?}");
    }
}

#[test]
fn each_step_and_class_has_a_record_that_is_chosen_again() {
    let engine = Engine::host().expect("an engine");
    let tuning = tuned(&engine, &BATCHES);
    let text = tuning.to_json().expect("text");
    let read = Tuning::from_json(&text).expect("the text is a file");
    assert_eq!(read.records().len(), 2 * BATCHES.len());
    for record in read.records() {
        assert!(record.cycles > 0.0 && record.before > 0.0);
    }
    let kernel = compiled(&engine.with_tuning(read));
    for batch in BATCHES {
        let of_batch = tuning.records().iter().filter(|r| r.batch == batch);
        let picks: Vec<Pick> = of_batch.map(|r| r.pick.clone()).collect();
        assert_eq!(chosen(&kernel, batch), picks, "{batch} rows");
    }
    is_right(&kernel);
}

#[test]
fn whatever_is_recorded_is_chosen_and_right() {
    let engine = Engine::host().expect("an engine");
    let plain = compiled(&engine);
    let first = tuned(&engine, &[1]).into_iter().next().expect("a record");
    for batch in [1, 8] {
        let variants = plain.variants(batch, 3).expect("they compile");
        assert!(variants.len() > 6, "{} variants", variants.len());
        let tiles = variants.iter().map(|v| v.candidate.tile);
        let tiles: Vec<_> = tiles.filter(|t| *t != variants[0].candidate.tile).collect();
        assert!(!tiles.is_empty(), "all have one tile");
        for Alternative {
            step, candidate, ..
        } in variants
        {
            let pick = candidate.pick(step);
            let record = Record {
                batch,
                pick: pick.clone(),
                ..first.clone()
            };
            let kernel = compiled(&engine.with_tuning([record].into_iter().collect()));
            assert_eq!(chosen(&kernel, batch)[step], pick, "{batch} rows");
            is_right(&kernel);
        }
    }
}

#[test]
fn records_of_others_change_nothing() {
    let engine = Engine::host().expect("an engine");
    let plain = compiled(&engine);
    let other = plain.variants(1, 3).expect("they compile").into_iter();
    let other = other.filter(|v| v.step == 0 && !v.candidate.chosen).last();
    let pick = other.expect("a variant").candidate.pick(0);
    let first = tuned(&engine, &[1]).into_iter().next().expect("a record");
    let record = Record { pick, ..first };
    let with = |record: Record| compiled(&engine.with_tuning([record].into_iter().collect()));
    assert_ne!(chosen(&with(record.clone()), 1), chosen(&plain, 1));
    let strange = |mut record: Record, what: &str| {
        match what {
            "kernel" => record.kernel.push('0'),
            "target" => record.target.push('0'),
            "version" => record.version.push('0'),
            "batch" => record.batch = 3,
            "step" => record.pick.step = 7,
            "tile" => record.pick.tile.rows = 5,
            "lanes" => record.pick.lanes.push('0'),
            _ => record.pick.term ^= 1,
        }
        record
    };
    for what in [
        "kernel", "target", "version", "batch", "step", "tile", "lanes", "term",
    ] {
        let kernel = with(strange(record.clone(), what));
        assert_eq!(chosen(&kernel, 1), chosen(&plain, 1), "{what}");
        is_right(&kernel);
    }
    let engine = engine.with_tuning([record].into_iter().collect());
    assert_eq!(chosen(&forced(&engine, &plain), 1), chosen(&plain, 1));
}

#[test]
fn a_later_record_replaces_the_earlier_one_for_the_same_choice() {
    let engine = Engine::host().expect("an engine");
    let mut tuning = tuned(&engine, &[1]);
    let count = tuning.records().len();
    let mut again = tuning.records()[0].clone();
    again.cycles = 1.0;
    tuning.extend([again.clone()]);
    assert_eq!(tuning.records().len(), count);
    assert_eq!(tuning.records().last(), Some(&again));
    again.kernel.push('0');
    tuning.extend([again.clone()]);
    assert_eq!(tuning.records().len(), count + 1);
    // Where weights lie otherwise, the candidates of the other records are not considered.
    let mut moved = tuning.records()[0].clone();
    moved.layouts[0].push('0');
    tuning.extend([moved.clone()]);
    assert_eq!(tuning.records(), [again, moved]);
}

#[test]
fn files_with_hostile_figures_are_refused_or_harmless() {
    let engine = Engine::host().expect("an engine");
    let tuning = tuned(&engine, &[1]);
    let with = |change: &dyn Fn(&mut Record)| {
        let mut record = tuning.records()[0].clone();
        change(&mut record);
        [record].into_iter().collect::<Tuning>()
    };
    for cycles in [f64::INFINITY, f64::NAN, 0.0, -1.0] {
        let endless = with(&|r| r.cycles = cycles);
        assert!(matches!(endless.to_json(), Err(Error::Tuning(_))));
    }
    let text = tuning.to_json().expect("text");
    let without = text.replacen("\"before\": ", "\"before\": -", 1);
    assert!(matches!(Tuning::from_json(&without), Err(Error::Tuning(_))));
    let large = with(&|r| (r.pick.tile.woven, r.pick.tile.rows) = (u64::MAX, 2));
    let read = Tuning::from_json(&large.to_json().expect("text")).expect("a file");
    assert!(read.to_string().contains(" × "));
    let plain = compiled(&engine);
    assert_eq!(
        chosen(&compiled(&engine.with_tuning(read)), 1),
        chosen(&plain, 1)
    );
}

#[test]
fn what_cannot_be_tuned_is_refused() {
    let engine = Engine::host().expect("an engine");
    let tune = |kernel: &Kernel| engine.tune(kernel, &[1], &quick(), &mut |_, _| {});
    let free = engine.compile(TEXT, &DIMS[1..]).expect("it compiles");
    assert!(matches!(tune(&free), Err(Error::Argument { .. })));
    let forced = forced(&engine, &compiled(&engine));
    assert!(matches!(tune(&forced), Err(Error::Argument { .. })));
    let another = Engine::host().expect("an engine");
    assert!(matches!(
        tune(&compiled(&another)),
        Err(Error::Argument { .. })
    ));
    let nothing = Effort {
        cached: false,
        ..quick()
    };
    let untimed = engine.tune(&compiled(&engine), &[1], &nothing, &mut |_, _| {});
    assert!(matches!(untimed, Err(Error::Argument { .. })));
    let other = match cfg!(target_arch = "aarch64") {
        true => "x86-64-v3",
        false => "aarch64",
    };
    let target = Target::named(other).expect("a target");
    let engine = Engine::new(target).expect("an engine");
    let elsewhere = engine.tune(&compiled(&engine), &[1], &quick(), &mut |_, _| {});
    assert!(matches!(elsewhere, Err(Error::Elsewhere { .. })));
    for text in [
        "",
        "[]",
        "{\"records\": [{}]}",
        "{\"records\": [], \"more\": 1}",
    ] {
        assert!(
            matches!(Tuning::from_json(text), Err(Error::Tuning(_))),
            "{text}"
        );
    }
}
