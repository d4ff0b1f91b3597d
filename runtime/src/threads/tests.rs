//! The team on real threads: each piece once, under every size of team and of call, with calls inside of calls, calls at
//! once, panics, and teams that end.

use super::spin::Patience;
use super::{Piece, Pool, regions};
use crate::Error;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

fn pool(threads: usize) -> Pool {
    Pool::new(NonZeroUsize::new(threads).expect("not 0")).expect("threads start")
}

/// Teams that look before they sleep, and ones that sleep at once.
fn pools(threads: usize) -> [Pool; 2] {
    let hasty = Pool::start(threads, Patience::NONE).expect("threads start");
    [pool(threads), hasty]
}

/// How often each piece of a call was done.
fn counts(pool: &Pool, pieces: usize) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..pieces).map(|_| AtomicUsize::new(0)).collect();
    pool.run(pieces, &|piece| {
        assert!(piece.thread < pool.threads());
        counts[piece.index].fetch_add(1, Ordering::Relaxed);
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn each_piece_is_done_once() {
    for threads in [1, 2, 3, 8] {
        for pool in pools(threads) {
            assert_eq!(pool.threads(), threads);
            for pieces in [0, 1, 2, 3, 7, 64, 1000] {
                for round in 0..50 {
                    let counts = counts(&pool, pieces);
                    assert_eq!(counts, vec![1; pieces], "{threads} {pieces} {round}");
                }
            }
        }
    }
}

#[test]
fn the_machine_has_a_team() {
    let pool = Pool::host().expect("threads start");
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    assert_eq!(pool.threads(), cores);
    assert_eq!(counts(&pool, 10), [1; 10]);
}

#[test]
fn the_threads_of_a_team_work_at_once_under_numbers_of_their_own() {
    let (pool, barrier, seen) = (pool(4), Barrier::new(4), Mutex::new(Vec::new()));
    pool.run(4, &|piece| {
        // Nobody passes before all four are here: four threads have a piece each.
        barrier.wait();
        seen.lock().expect("no panic").push(piece);
    });
    let mut seen = seen.into_inner().expect("no panic");
    seen.sort_by_key(|piece| piece.index);
    let own = |index| Piece {
        index,
        thread: index,
    };
    assert_eq!(seen, [own(0), own(1), own(2), own(3)]);
}

#[test]
fn a_thread_that_is_held_up_holds_up_its_own_piece_only() {
    let (pool, others, done) = (pool(2), Barrier::new(2), AtomicUsize::new(0));
    pool.run(100, &|piece| {
        if piece.index == 50 {
            // The first piece of the worker ends after all others: the caller does those of the worker's run, too.
            others.wait();
        } else if done.fetch_add(1, Ordering::Relaxed) == 98 {
            others.wait();
        }
    });
    assert_eq!(done.into_inner(), 99);
}

#[test]
fn writes_of_pieces_are_seen_after_the_call() {
    for pool in pools(3) {
        for round in 0..2000 {
            let cells: Vec<Mutex<usize>> = (0..5).map(|_| Mutex::new(0)).collect();
            pool.run(5, &|piece| {
                *cells[piece.index].lock().expect("no panic") = round + piece.index;
            });
            for (index, cell) in cells.into_iter().enumerate() {
                assert_eq!(cell.into_inner().expect("no panic"), round + index);
            }
        }
    }
}

#[test]
fn calls_inside_of_calls_run_where_they_are_made() {
    for pool in pools(3) {
        let inner = AtomicUsize::new(0);
        for _ in 0..200 {
            pool.run(6, &|outer| {
                let caller = thread::current().id();
                pool.run(5, &|piece| {
                    let same = thread::current().id() == caller && piece.thread == 0;
                    assert!(same, "{outer:?} {piece:?}");
                    inner.fetch_add(1, Ordering::Relaxed);
                });
            });
        }
        assert_eq!(inner.into_inner(), 200 * 30);
    }
}

#[test]
fn eight_threads_call_one_team_at_once() {
    for pool in pools(3) {
        let total = AtomicUsize::new(0);
        let rounds = &|caller: usize| {
            for round in 0..2000 {
                let own = AtomicUsize::new(0);
                let pieces = 1 + (round + caller) % 7;
                pool.run(pieces, &|piece| {
                    own.fetch_add(piece.index + 1, Ordering::Relaxed);
                });
                assert_eq!(own.into_inner(), pieces * (pieces + 1) / 2);
                total.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let callers =
                [0, 1, 2, 3, 4, 5, 6, 7].map(|caller| scope.spawn(move || rounds(caller)));
            for caller in callers {
                caller.join().expect("no panic");
            }
        });
        assert_eq!(total.into_inner(), 8 * 2000);
    }
}

#[test]
fn a_panic_goes_on_at_the_caller_and_the_team_survives() {
    for pool in pools(3) {
        for guilty in [0, 1, 5, 8] {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                pool.run(9, &|piece| {
                    if piece.index == guilty {
                        panic!("piece {}", piece.index);
                    }
                });
            }));
            let payload = panicked.expect_err("a piece panics");
            let text = payload.downcast_ref::<String>().expect("a text");
            assert_eq!(*text, format!("piece {guilty}"));
            assert_eq!(counts(&pool, 20), [1; 20]);
        }
        let all = AssertUnwindSafe(|| pool.run(9, &|_| panic!("each")));
        catch_unwind(all).expect_err("all pieces panic");
        assert_eq!(counts(&pool, 20), [1; 20]);
    }
}

#[test]
fn a_team_ends_while_it_looks_while_it_sleeps_and_right_after_a_call() {
    for round in 0..200 {
        for pool in pools(3) {
            if round % 2 == 0 {
                assert_eq!(counts(&pool, 3), [1; 3]);
            }
            if round % 20 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn sleeping_workers_are_woken() {
    let (pool, barrier) = (pool(2), Barrier::new(2));
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(1));
        // Returns only if the worker comes.
        pool.run(2, &|_| {
            barrier.wait();
        });
    }
}

#[test]
fn a_team_is_far_larger_than_the_machine() {
    for pool in pools(40) {
        for _ in 0..50 {
            assert_eq!(counts(&pool, 100), [1; 100]);
        }
    }
}

#[test]
fn a_team_that_is_too_large_is_refused() {
    let refused = Pool::new(NonZeroUsize::MAX).err().expect("too large");
    assert!(matches!(refused, Error::Threads { .. }));
    assert!(refused.to_string().contains("at most 4095"), "{refused}");
}

#[test]
fn calls_of_very_many_pieces_are_several_regions() {
    let parts = |pieces, most| regions(pieces, most).collect::<Vec<_>>();
    assert_eq!(parts(7, 3), [0..3, 3..6, 6..7]);
    assert_eq!(parts(6, 3), [0..3, 3..6]);
    assert_eq!(parts(0, 3), []);
    let largest = parts(usize::MAX, usize::MAX - 1);
    assert_eq!(largest, [0..usize::MAX - 1, usize::MAX - 1..usize::MAX]);
}
