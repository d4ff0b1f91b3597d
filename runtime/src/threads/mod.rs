//! A team of threads for regions of a few microseconds: what a kernel is split over.
//!
//! A call of [`Pool::run`] is a region. Its pieces are cut into a run for each thread of the team (`runs.rs`); the caller is
//! one of them, the others come through a gate (`gate.rs`), and may come late or not at all: who is there takes what others
//! have not. The region ends when all pieces are taken and those that entered have left. Threads that wait look for a while
//! before they sleep (`spin.rs`), and are woken on cores that no other of the team is on (`cores.rs`). `region.rs` is what the
//! threads share in a region, `job.rs` how it is lent to them: the only file with unsafe code. `sync.rs` names the atomics,
//! which are loom's when `model.rs` runs all interleavings.
//!
//! Kernels know nothing of it, and it knows nothing of kernels.
#![deny(unsafe_code)]

mod cores;
mod gate;
#[allow(
    unsafe_code,
    reason = "lending a borrowed region to threads that live longer is unsafe; the blocks say why it holds"
)]
mod job;
#[cfg(all(test, loom))]
mod model;
mod region;
mod runs;
mod spin;
mod sync;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::Error;
use cores::Cores;
use gate::{MOST_THREADS, Seen};
use job::Job;
use region::Region;
use runs::{MOST_PIECES, Runs};
use spin::Patience;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use sync::{Arc, thread};

/// A team of threads that does the pieces of a call together, its caller among them. Dropping it ends its threads.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// let pool = lowbit::Pool::host()?;
/// let sum = AtomicUsize::new(0);
/// pool.run(100, &|piece| {
///     sum.fetch_add(piece.index, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 4950);
/// # Ok::<(), lowbit::Error>(())
/// ```
pub struct Pool {
    team: Arc<Team>,
    workers: Vec<thread::JoinHandle<()>>,
}

/// A piece of a call, and who does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which piece.
    pub index: usize,
    /// Which thread of the team, below [`Pool::threads`]; 0 is the caller. No two pieces of one call run at once under the
    /// same number, so it may choose memory that the call has for each thread. Two calls at once both have a thread 0.
    pub thread: usize,
}

/// What all threads of a team share.
struct Team {
    job: Job,
    runs: Runs,
    patience: Patience,
    cores: Cores,
}

impl Pool {
    /// A team of so many threads, the caller of [`Pool::run`] included: one fewer are started. They cost nothing but memory
    /// while nothing runs.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] if the threads cannot be started, or there are more than 4095.
    pub fn new(threads: NonZeroUsize) -> Result<Pool, Error> {
        Pool::start(threads.get(), Patience::of(threads.get()))
    }

    /// A team as large as the machine, or as the part of it that this process may use.
    ///
    /// # Errors
    ///
    /// [`Error::Threads`] if the threads cannot be started.
    pub fn host() -> Result<Pool, Error> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Pool::start(threads.min(MOST_THREADS), Patience::of(threads))
    }

    fn start(threads: usize, patience: Patience) -> Result<Pool, Error> {
        let failed = |reason| Error::Threads { threads, reason };
        if threads > MOST_THREADS {
            let what = format!("a team has at most {MOST_THREADS}");
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        let mut pool = Pool {
            team: Arc::new(Team {
                job: Job::new(),
                runs: Runs::new(threads),
                patience,
                cores: Cores::of(threads),
            }),
            workers: Vec::new(),
        };
        for thread in 1..threads {
            let team = pool.team.clone();
            let builder = thread::Builder::new().name(format!("lowbit-{thread}"));
            let worker = builder.spawn(move || team.serve(thread)).map_err(failed)?;
            pool.workers.push(worker);
        }
        Ok(pool)
    }

    /// How many threads the team has, the caller of [`Pool::run`] included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Runs `work` for the pieces 0, 1, … `pieces - 1`, each once, and returns when all have ended.
    ///
    /// Each thread takes a run of neighbouring pieces in order, and then what others have left of theirs. Pieces must not wait
    /// for each other: one thread may have to do all of them. That is so where the team is busy, with a call from another
    /// thread or with the one that this call is made from: then the caller does all pieces itself, as thread 0.
    ///
    /// If a piece panics, pieces that have not begun are left out, and the panic goes on here when the others have ended.
    pub fn run(&self, pieces: usize, work: &(dyn Fn(Piece) + Sync)) {
        for range in regions(pieces, MOST_PIECES) {
            self.region(range, work);
        }
    }

    fn region(&self, range: Range<usize>, work: &(dyn Fn(Piece) + Sync)) {
        let size = range.len().min(self.threads());
        let turn = if size > 1 { self.team.job.turn() } else { None };
        let Some(mut turn) = turn else {
            return range.for_each(|index| work(Piece { index, thread: 0 }));
        };
        let region = Region::new(work, range, &self.team.runs, size);
        turn.lend(&region, size, self.team.patience, |asleep| {
            if asleep {
                self.wake(size);
            }
            region.attend(0);
        });
        drop(turn);
        region.finish();
    }

    /// Wakes the workers of a region for so many threads.
    fn wake(&self, size: usize) {
        self.team.cores.part(size - 1);
        for worker in self.workers.iter().take(size - 1) {
            worker.thread().unpark();
        }
    }
}

impl Team {
    /// What a worker does: attends regions until the team ends.
    fn serve(&self, thread: usize) {
        let mut seen = Seen::default();
        let park = || self.cores.asleep(thread - 1, thread::park);
        let attend = |region: &Region<'_>| region.attend(thread);
        while (self.job).visit(thread, &mut seen, self.patience, &park, attend) {}
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.team.job.stop();
        for worker in &self.workers {
            worker.thread().unpark();
        }
        for worker in self.workers.drain(..) {
            // Panics of pieces are caught, and there are no others.
            let _ = worker.join();
        }
    }
}

/// Pieces in as few regions of at most `most` as there can be.
fn regions(pieces: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    (0..pieces)
        .step_by(most)
        .map(move |start| start..pieces.min(start.saturating_add(most)))
}
