//! The team under every interleaving: loom runs each model again and again, with the threads in every order that atomics,
//! locks and sleeps permit, and every value that a load may see. `scripts/loom.sh` runs it. The code is that of the team,
//! with atomics, locks and threads of loom; nobody looks before sleeping, since a second look finds nothing that a first one
//! in another order does not.
//!
//! Pieces leave notes that only the end of the call makes visible, and the address of a region is in a cell whose accesses
//! loom records until a worker is done with it. So an access that nothing orders, a region used after its end, a piece done
//! twice or not at all, a call that nobody hears and a sleep without end all fail. Each model also says which ways there are
//! for it to end, so that the interleavings that matter are known to be among those that ran.
//!
//! The models of one call of two threads and of the gate are complete. The others leave out orders in which threads are
//! interrupted more often than they say.

use super::gate::{Gate, Seen};
use super::spin::Patience;
use super::sync::{Arc, AtomicU64, Ordering, thread};
use super::{Piece, Pool};
use loom::model::Builder;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

/// How often threads are interrupted in models that are too large otherwise.
const INTERRUPTIONS: usize = 2;

/// What happened in at least one interleaving.
struct Happened<T>(std::sync::Arc<Mutex<BTreeSet<T>>>);

impl<T: Ord + Debug + Send + 'static> Happened<T> {
    /// In a model: `run` says what happened in an interleaving.
    fn in_model(
        interruptions: Option<usize>,
        run: impl Fn() -> T + Send + Sync + 'static,
    ) -> Happened<T> {
        let happened = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
        let sink = happened.clone();
        let mut builder = Builder::new();
        builder.preemption_bound = interruptions;
        builder.check(move || {
            let what = run();
            sink.lock().expect("no panic").insert(what);
        });
        Happened(happened)
    }

    /// These things happened, and no others.
    fn are(&self, expected: impl IntoIterator<Item = T>) {
        let happened = self.0.lock().expect("no panic");
        assert_eq!(*happened, expected.into_iter().collect());
    }

    /// These things happened, maybe beside others.
    fn include(&self, expected: impl IntoIterator<Item = T>) {
        let happened = self.0.lock().expect("no panic");
        let missing: Vec<T> = expected
            .into_iter()
            .filter(|e| !happened.contains(e))
            .collect();
        assert!(missing.is_empty(), "missing {missing:?} in {happened:?}");
    }
}

fn pool(threads: usize) -> Pool {
    Pool::start(threads, Patience::NONE).expect("threads start")
}

/// A call whose pieces each note which thread does them. The notes are relaxed: nothing but the end of the call makes them
/// visible.
fn call(pool: &Pool, pieces: usize) -> Vec<u64> {
    let notes: Vec<_> = (0..pieces).map(|_| AtomicU64::new(NOBODY)).collect();
    pool.run(pieces, &|piece| note(&notes, piece));
    notes.iter().map(noted).collect()
}

/// Of a piece that nobody has done.
const NOBODY: u64 = u64::MAX;

fn note(notes: &[AtomicU64], piece: Piece) {
    let before = notes[piece.index].swap(piece.thread as u64, Ordering::Relaxed);
    assert_eq!(before, NOBODY, "{piece:?} is done twice");
}

fn noted(note: &AtomicU64) -> u64 {
    let thread = note.load(Ordering::Relaxed);
    assert_ne!(thread, NOBODY, "a piece is not done, or not seen to be");
    thread
}

#[test]
fn two_threads_share_a_call_in_every_way() {
    // The caller does all, or each its own, or the worker helps. That they do each other's is impossible: both would have
    // to finish their own before.
    let ways = Happened::in_model(None, || call(&pool(2), 2));
    ways.are([vec![0, 0], vec![0, 1], vec![1, 1]]);
}

#[test]
fn a_worker_comes_to_any_of_two_calls_or_to_none() {
    let came = |thread: &[u64]| thread.contains(&1);
    let ways = Happened::in_model(Some(3), move || {
        let pool = pool(2);
        let first = call(&pool, 2);
        (came(&first), came(&call(&pool, 2)))
    });
    ways.are([(false, false), (false, true), (true, false), (true, true)]);
}

#[test]
fn a_call_is_always_heard() {
    let ways = Happened::in_model(Some(INTERRUPTIONS), || {
        let (pool, here) = (pool(2), AtomicU64::new(0));
        pool.run(2, &|_| {
            // Ends only if both threads come; loom gives up on a loop that does not end.
            here.fetch_add(1, Ordering::Relaxed);
            while here.load(Ordering::Relaxed) < 2 {
                thread::yield_now();
            }
        });
    });
    ways.are([()]);
}

#[test]
fn three_threads_share_a_call() {
    let ways = Happened::in_model(Some(INTERRUPTIONS), || call(&pool(3), 3));
    ways.include([
        vec![0, 0, 0],
        vec![0, 1, 2],
        vec![0, 1, 0],
        vec![0, 1, 1],
        vec![1, 1, 1],
    ]);
}

#[test]
fn of_two_callers_one_may_find_the_team_busy() {
    let ways = Happened::in_model(Some(INTERRUPTIONS), || {
        let pool = Arc::new(pool(2));
        let same = pool.clone();
        let other = thread::spawn(move || call(&same, 2));
        let own = call(&pool, 2);
        let other = other.join().expect("no panic");
        (own, other)
    });
    let (alone, shared) = (vec![0, 0], vec![0, 1]);
    ways.include([
        (alone.clone(), alone.clone()),
        (shared.clone(), alone.clone()),
        (alone, shared.clone()),
        (shared.clone(), shared),
    ]);
}

#[test]
fn calls_inside_of_a_call_run_alone() {
    let ways = Happened::in_model(Some(INTERRUPTIONS), || {
        let pool = pool(2);
        let notes = [AtomicU64::new(NOBODY), AtomicU64::new(NOBODY)];
        pool.run(2, &|piece| {
            assert_eq!(call(&pool, 2), [0, 0]);
            note(&notes, piece);
        });
        notes.iter().map(noted).collect()
    });
    ways.are([vec![0, 0], vec![0, 1], vec![1, 1]]);
}

#[test]
fn a_panic_leaves_the_team_as_it_was() {
    let ways = Happened::in_model(Some(INTERRUPTIONS), || {
        let pool = pool(2);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            pool.run(2, &|piece| {
                if piece.index == 1 {
                    // A panic without the message of each.
                    resume_unwind(Box::new(piece.thread));
                }
            });
        }));
        let payload = panicked.expect_err("a piece panics");
        let thread = *payload.downcast_ref::<usize>().expect("a number");
        (thread, call(&pool, 2))
    });
    ways.include([(0, vec![0, 1]), (1, vec![0, 1])]);
}

/// How a region went, seen from its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Passage {
    /// The worker slept, or was about to, when the gate was opened.
    woken: bool,
    entered: bool,
    /// The caller slept until the worker left.
    waited_for: bool,
}

/// What the models cover: all ways in which a worker and a caller can meet at the gate, but for one that cannot be: that the
/// caller waits for a worker that has not entered.
#[test]
fn a_gate_is_passed_in_every_way() {
    let ways = Happened::in_model(None, || {
        let gate = Arc::new(Gate::new());
        let same = gate.clone();
        let worker = thread::spawn(move || {
            let mut seen = Seen::default();
            let mut entered = false;
            while let Some(_inside) = same.enter(1, &mut seen, Patience::NONE, &thread::park) {
                entered = true;
            }
            entered
        });
        let woken = gate.open(2);
        if woken {
            worker.thread().unpark();
        }
        gate.close(Patience::NONE);
        let waited_for = gate.waited_for();
        gate.stop();
        worker.thread().unpark();
        let entered = worker.join().expect("no panic");
        Passage {
            woken,
            entered,
            waited_for,
        }
    });
    let way = |woken, entered, waited_for| Passage {
        woken,
        entered,
        waited_for,
    };
    ways.are([
        way(false, false, false),
        way(false, true, false),
        way(false, true, true),
        way(true, false, false),
        way(true, true, false),
        way(true, true, true),
    ]);
}
