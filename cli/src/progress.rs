//! Progress on the standard error, only where it is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A counter of steps, which several threads may take.
pub(crate) struct Progress {
    what: &'static str,
    state: Mutex<State>,
    visible: bool,
}

#[derive(Default)]
struct State {
    done: u64,
    total: u64,
    shown: Option<Instant>,
}

impl Progress {
    /// Nothing is shown until the first step.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress {
            what,
            state: Mutex::new(State {
                total,
                ..State::default()
            }),
            visible: std::io::stderr().is_terminal(),
        }
    }

    /// There are so many steps, as it turns out.
    pub(crate) fn expect(&self, total: u64) {
        self.state().total = total;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts steps that are done, and shows them at most ten times a second.
    pub(crate) fn add(&self, steps: u64) {
        let mut state = self.state();
        state.done += steps;
        let (done, total) = (state.done, state.total);
        let last = state.shown.map(|t| t.elapsed());
        let due = last.is_none_or(|t| t > Duration::from_millis(100)) || done == total;
        if self.visible && due {
            eprint!("\r{} {done} of {total}", self.what);
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().flush();
            state.shown = Some(Instant::now());
        }
    }
}

impl Drop for Progress {
    /// What comes after begins a line of its own.
    fn drop(&mut self) {
        if self.state().shown.is_some() {
            eprintln!();
        }
    }
}
