//! The gate of a team: through it workers enter a region, and its caller knows when all of them have left. One word says
//! everything, so that there is one order of what happens:
//!
//! | bits | what |
//! |---|---|
//! | 0–11 | how many workers are inside |
//! | 12–23 | how many workers sleep, or are about to |
//! | 24–35 | how many threads the open region is for: worker `t` is called if `t` is less |
//! | 36 | open: a region takes workers |
//! | 37 | the caller sleeps until the last worker leaves |
//! | 38 | stopped: the team ends |
//! | 40–63 | the number of the region, so that nobody enters one twice |
//!
//! What is relied on:
//!
//! 1. A worker is inside only by an exchange of a word that is open, so **nobody enters a closed gate**, however late it wakes
//!    and however old the word is that it read. Should the number have come round meanwhile, it enters the region of now; a
//!    worker that takes a region for one that it has been in leaves it to the others.
//! 2. [`Gate::close`] returns when nobody is inside, and **waits for nobody else**: a worker that never ran is not missed.
//! 3. Every change of the word is a read-modify-write. So entering (acquire) sees all that was written before the gate was
//!    opened (release), and closing (acquire) sees all that was written before anybody left (release), whatever changes lie
//!    between.
//! 4. **No call is lost**: a worker counts itself as asleep by an exchange of a word that does not call it. Either that comes
//!    before the gate is opened, then whoever opens it learns that somebody sleeps, and wakes; or it comes after, then the
//!    exchange fails. A wake before the sleep is kept by `park`.

use super::spin::Patience;
use super::sync::{AtomicU64, Condvar, Mutex, Ordering, held};

const INSIDE: u64 = 1;
const ASLEEP: u64 = 1 << 12;
const TEAM: u64 = 1 << 24;
const OPEN: u64 = 1 << 36;
const WAITED_FOR: u64 = 1 << 37;
const STOPPED: u64 = 1 << 38;
const NUMBER: u64 = 1 << 40;

/// The largest of a count.
const COUNT: u64 = 0xfff;

/// Threads that a team has at most, its caller included.
pub(super) const MOST_THREADS: usize = COUNT as usize;

/// The gate of a team.
pub(super) struct Gate {
    word: AtomicU64,
    /// The caller's sleep.
    lock: Mutex<()>,
    empty: Condvar,
}

/// What a worker remembers: the last region that it was in.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen(u64);

/// A worker inside; it leaves when this is dropped.
pub(super) struct Inside<'g>(&'g Gate);

/// The word, as it was read.
#[derive(Clone, Copy)]
struct Word(u64);

impl Word {
    fn inside(self) -> u64 {
        self.0 & COUNT
    }

    fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    fn number(self) -> u64 {
        self.0 / NUMBER
    }

    /// Whether worker `thread` is to enter, or to end.
    fn calls(self, thread: usize, seen: Seen) -> bool {
        let wanted = (thread as u64) < (self.0 / TEAM) & COUNT;
        self.has(STOPPED) || (self.has(OPEN) && wanted && self.number() != seen.0)
    }

    /// With the next region open to so many threads. Who sleeps still does.
    fn opened(self, team: usize) -> Word {
        let number = (self.0 & !(NUMBER - 1)).wrapping_add(NUMBER);
        let team = (team as u64 & COUNT) * TEAM;
        let asleep = self.0 & (COUNT * ASLEEP);
        Word(number | OPEN | team | asleep)
    }
}

impl Gate {
    pub(super) fn new() -> Gate {
        Gate {
            word: AtomicU64::new(0),
            lock: Mutex::new(()),
            empty: Condvar::new(),
        }
    }

    /// Opens the next region, to `team` threads with the caller; says whether workers sleep, and may have to be woken. Only
    /// when the last region was closed, and by one thread at a time.
    pub(super) fn open(&self, team: usize) -> bool {
        let mut word = self.read(Ordering::Relaxed);
        loop {
            match self.exchange(word, word.opened(team), Ordering::Release) {
                Ok(()) => return word.has(COUNT * ASLEEP),
                Err(now) => word = now,
            }
        }
    }

    /// Lets nobody in any more, and returns when all have left.
    pub(super) fn close(&self, patience: Patience) {
        let mut word = Word(self.word.fetch_and(!OPEN, Ordering::Acquire));
        let mut spin = patience.begin();
        while word.inside() != 0 {
            if !spin.again(true) {
                return self.sleep_until_empty();
            }
            word = self.read(Ordering::Acquire);
        }
    }

    /// Ends the team: every worker that waits, or will wait, is told so. Those that sleep have to be woken.
    pub(super) fn stop(&self) {
        self.word.fetch_or(STOPPED, Ordering::Relaxed);
    }

    /// Waits until worker `thread` is called, and goes in; `None` if the team ends. To sleep it calls `park`, which returns
    /// after it was unparked, and may do so before.
    pub(super) fn enter(
        &self,
        thread: usize,
        seen: &mut Seen,
        patience: Patience,
        park: &dyn Fn(),
    ) -> Option<Inside<'_>> {
        loop {
            let word = self.called(thread, *seen, patience, park);
            if word.has(STOPPED) {
                return None;
            }
            let entered = Word(word.0 + INSIDE);
            if self.exchange(word, entered, Ordering::Acquire).is_ok() {
                *seen = Seen(word.number());
                return Some(Inside(self));
            }
        }
    }

    /// The word, when it calls.
    fn called(&self, thread: usize, seen: Seen, patience: Patience, park: &dyn Fn()) -> Word {
        loop {
            let mut spin = patience.begin();
            let mut word = self.read(Ordering::Relaxed);
            while !word.calls(thread, seen) && spin.again(word.has(OPEN)) {
                word = self.read(Ordering::Relaxed);
            }
            if word.calls(thread, seen) {
                return word;
            }
            // Who was woken looks for a while again, even if it came too late: calls rarely come alone.
            self.sleep(word, thread, seen, park);
        }
    }

    /// Sleeps until it is woken, if the word, last read as `word`, does not call.
    fn sleep(&self, mut word: Word, thread: usize, seen: Seen, park: &dyn Fn()) {
        while !word.calls(thread, seen) {
            match self.exchange(word, Word(word.0 + ASLEEP), Ordering::Relaxed) {
                Ok(()) => {
                    park();
                    self.word.fetch_sub(ASLEEP, Ordering::Relaxed);
                    return;
                }
                Err(now) => word = now,
            }
        }
    }

    fn sleep_until_empty(&self) {
        let mut guard = held(self.lock.lock());
        let mut word = Word(self.word.fetch_or(WAITED_FOR, Ordering::AcqRel));
        while word.inside() != 0 {
            guard = held(self.empty.wait(guard));
            word = self.read(Ordering::Acquire);
        }
    }

    fn leave(&self) {
        let word = Word(self.word.fetch_sub(INSIDE, Ordering::AcqRel));
        // From here on the region may be over, and the next one open: what follows touches nothing but the gate. To wake a
        // caller of another region is harmless, it looks and sleeps again.
        if word.inside() == 1 && word.has(WAITED_FOR) {
            // The caller has the lock from before it says that it sleeps until it does.
            drop(held(self.lock.lock()));
            self.empty.notify_one();
        }
    }

    /// Whether the caller slept when the gate was closed last.
    #[cfg(all(test, loom))]
    pub(super) fn waited_for(&self) -> bool {
        self.read(Ordering::Relaxed).has(WAITED_FOR)
    }

    fn read(&self, order: Ordering) -> Word {
        Word(self.word.load(order))
    }

    /// Exchanges one word for another; the word that there is now, if that is not the one expected.
    fn exchange(&self, from: Word, to: Word, order: Ordering) -> Result<(), Word> {
        let done = self
            .word
            .compare_exchange(from.0, to.0, order, Ordering::Relaxed);
        done.map(drop).map_err(Word)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}
