//! Who takes which piece. The pieces of a region are cut into one run of neighbours for each thread; a thread takes those of
//! its own run in order, and then helps the others from the ends of theirs. A piece is taken by one addition to the counters
//! of its run, which never waits.

use super::sync::{AtomicU64, Line, Ordering};
use std::ops::Range;

/// Pieces of a region at most: a counter has 32 bits, and is counted past the end a few times.
pub(super) const MOST_PIECES: usize = 1 << 31;

/// What was taken of a run: pieces from its beginning in the lower half, from its end in the upper one.
struct Run {
    taken: AtomicU64,
}

/// The runs of a team, each on lines of its own.
pub(super) struct Runs(Box<[Line<Run>]>);

/// How pieces are cut into runs.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Pieces, at most [`MOST_PIECES`].
    pub(super) pieces: usize,
    /// Threads that they are for.
    pub(super) team: usize,
}

/// The pieces that one thread takes: an iterator that ends when all of the region are taken.
pub(super) struct Share<'r> {
    runs: &'r Runs,
    cut: Cut,
    thread: usize,
    /// How many runs are exhausted, from its own on.
    passed: usize,
    /// The pieces of the run that it takes from.
    run: Range<u64>,
}

impl Run {
    /// The next piece from the beginning of a run of `length`. Only its own thread takes from there.
    fn first(&self, length: u64) -> Option<u64> {
        let (first, last) = halves(self.taken.fetch_add(1, Ordering::Relaxed));
        (first + last < length).then_some(first)
    }

    /// The next piece from its end.
    fn last(&self, length: u64) -> Option<u64> {
        // To look first leaves the line where it is, if nothing is left.
        let (first, last) = halves(self.taken.load(Ordering::Relaxed));
        if first + last >= length {
            return None;
        }
        let (first, last) = halves(self.taken.fetch_add(1 << 32, Ordering::Relaxed));
        (first + last < length).then(|| length - 1 - last)
    }
}

fn halves(taken: u64) -> (u64, u64) {
    (taken & u64::from(u32::MAX), taken >> 32)
}

impl Runs {
    /// For so many threads.
    pub(super) fn new(threads: usize) -> Runs {
        let run = || Run {
            taken: AtomicU64::new(0),
        };
        Runs((0..threads).map(|_| Line(run())).collect())
    }

    /// Nothing is taken. Only while nobody takes.
    pub(super) fn clear(&self, team: usize) {
        for run in self.0.iter().take(team) {
            run.taken.store(0, Ordering::Relaxed);
        }
    }

    /// The pieces for a thread of the team.
    pub(super) fn share(&self, cut: Cut, thread: usize) -> Share<'_> {
        Share {
            runs: self,
            cut,
            thread,
            passed: 0,
            run: cut.run(thread),
        }
    }
}

impl Cut {
    /// The pieces of a run. Where they cannot be as many for each, the first threads have more: the caller, which is there at
    /// once, is the first.
    fn run(self, thread: usize) -> Range<u64> {
        let (pieces, team) = (self.pieces as u64, self.team.max(1) as u64);
        let start = |thread: u64| (pieces * thread).div_ceil(team);
        start(thread as u64)..start(thread as u64 + 1)
    }
}

impl Iterator for Share<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.passed < self.cut.team {
            let of = (self.thread + self.passed) % self.cut.team;
            let (run, length) = (self.runs.0.get(of)?, self.run.end - self.run.start);
            let taken = match self.passed {
                0 => run.first(length),
                _ => run.last(length),
            };
            if let Some(piece) = taken {
                return Some((self.run.start + piece) as usize);
            }
            self.passed += 1;
            self.run = self.cut.run((of + 1) % self.cut.team);
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn runs_cover_all_pieces_and_the_caller_has_the_first() {
        for team in 1..9 {
            for pieces in [1, 2, 3, 7, 64, 1000, MOST_PIECES] {
                let cut = Cut { pieces, team };
                let ends: Vec<_> = (0..team).map(|t| cut.run(t)).collect();
                assert!(ends[0].start == 0 && !ends[0].is_empty());
                assert!(ends.windows(2).all(|w| w[0].end == w[1].start));
                assert_eq!(ends[team - 1].end, pieces as u64);
            }
        }
    }

    #[test]
    fn a_thread_takes_its_own_run_in_order_and_then_the_ends_of_the_others() {
        let (runs, cut) = (Runs::new(3), Cut { pieces: 7, team: 3 });
        let mut others = runs.share(cut, 2);
        assert_eq!(others.next(), Some(5));
        let all: Vec<usize> = runs.share(cut, 1).collect();
        assert_eq!(all, [3, 4, 6, 2, 1, 0]);
        assert_eq!(others.next(), None);
        runs.clear(3);
        assert_eq!(runs.share(cut, 0).count(), 7);
    }
}
