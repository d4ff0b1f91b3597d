//! A region: pieces of work that threads of a team do together. It lies on the stack of whoever calls for it.

use super::Piece;
use super::runs::{Cut, Runs};
use super::sync::{AtomicBool, Mutex, Ordering, held};
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a thread panicked with.
type Payload = Box<dyn Any + Send>;

/// Pieces of work, and what became of them.
pub(super) struct Region<'a> {
    work: &'a (dyn Fn(Piece) + Sync),
    /// The index of the first piece.
    first: usize,
    cut: Cut,
    runs: &'a Runs,
    /// A piece panicked: the others need not be done.
    failed: AtomicBool,
    panics: Mutex<Vec<Payload>>,
}

impl<'a> Region<'a> {
    /// The pieces of a range, for so many threads. Only one region uses the runs at a time.
    pub(super) fn new(
        work: &'a (dyn Fn(Piece) + Sync),
        range: Range<usize>,
        runs: &'a Runs,
        team: usize,
    ) -> Region<'a> {
        runs.clear(team);
        Region {
            work,
            first: range.start,
            cut: Cut {
                pieces: range.len(),
                team,
            },
            runs,
            failed: AtomicBool::new(false),
            panics: Mutex::new(Vec::new()),
        }
    }

    /// Does pieces until all are taken. A panic ends it, and is kept.
    pub(super) fn attend(&self, thread: usize) {
        let done = catch_unwind(AssertUnwindSafe(|| self.pieces(thread)));
        if let Err(payload) = done {
            self.failed.store(true, Ordering::Relaxed);
            held(self.panics.lock()).push(payload);
        }
    }

    fn pieces(&self, thread: usize) {
        for piece in self.runs.share(self.cut, thread) {
            if self.failed.load(Ordering::Relaxed) {
                return;
            }
            (self.work)(Piece {
                index: self.first + piece,
                thread,
            });
        }
    }

    /// Goes on with the first panic, if there was one. After the region was closed.
    pub(super) fn finish(self) {
        let mut panics = held(self.panics.into_inner());
        if panics.is_empty() {
            return;
        }
        let payload = panics.swap_remove(0);
        // Before the first one is resumed: one whose drop panics then would end the process.
        drop(panics);
        resume_unwind(payload);
    }
}
