//! How long a thread looks again and again for what it waits for, before it sleeps. To look costs the time of a core, to
//! sleep and to be woken some microseconds to some tens of them.

use std::time::{Duration, Instant};

/// How long threads of a team look before they sleep.
///
/// To wake a thread on an idle core was measured to take 20 to 30 µs (two cores of Zen 4, a virtual machine). Whoever looks
/// for about as long loses at most twice what the best choice would have cost, and calls that follow each other closely wake
/// nobody.
const LOOKING: Duration = Duration::from_micros(40);

/// Looks between two readings of the clock: about a microsecond.
const LOOKS: u32 = 32;

/// Looks until a thread that is held up lets others pass: some microseconds, after which whoever it waits for is probably not
/// running. Without this, a worker that was woken on the core of its caller kept it from going on for all of [`LOOKING`];
/// with it four times as often, workers hardly got to work beside other processes.
const LOOKS_HELD_UP: u32 = 128;

/// How long threads look before they sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience(Duration);

/// A wait that began.
pub(super) struct Spin {
    patience: Patience,
    looks: u32,
    since: Option<Instant>,
}

/// Whether there is a core for each of so many threads.
pub(super) fn core_for_each(threads: usize) -> bool {
    threads <= std::thread::available_parallelism().map_or(1, usize::from)
}

impl Patience {
    /// Threads sleep at once.
    pub(super) const NONE: Patience = Patience(Duration::ZERO);

    /// Of a team of so many threads. A team that has not a core for each of its threads does not wait at the cost of those
    /// that work.
    pub(super) fn of(threads: usize) -> Patience {
        match core_for_each(threads) {
            true => Patience(LOOKING),
            false => Patience::NONE,
        }
    }

    /// Begins a wait.
    pub(super) fn begin(self) -> Spin {
        Spin {
            patience: self,
            looks: 0,
            since: None,
        }
    }
}

impl Spin {
    /// Passes a moment; false when it is time to sleep. If it is another thread that holds this up, that one may wait for the
    /// core that this runs on, and is let pass now and then.
    pub(super) fn again(&mut self, held_up: bool) -> bool {
        if self.patience.0.is_zero() {
            return false;
        }
        self.looks = self.looks.wrapping_add(1);
        if self.looks.is_multiple_of(LOOKS) && self.expired() {
            return false;
        }
        if held_up && self.looks.is_multiple_of(LOOKS_HELD_UP) {
            std::thread::yield_now();
        }
        std::hint::spin_loop();
        true
    }

    fn expired(&mut self) -> bool {
        self.since.get_or_insert_with(Instant::now).elapsed() >= self.patience.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends() {
        assert!(!Patience::NONE.begin().again(false));
        let patience = Patience(Duration::from_micros(50));
        let start = Instant::now();
        let mut spin = patience.begin();
        while spin.again(true) {}
        assert!(start.elapsed() >= patience.0);
    }

    #[test]
    fn a_team_larger_than_the_machine_does_not_look() {
        assert!(!Patience::of(usize::MAX).begin().again(false));
        assert!(Patience::of(1).begin().again(false));
    }
}
