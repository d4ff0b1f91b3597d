//! Progress on the standard error, only where it is a terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A counter of steps, which several threads may take.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    state: Mutex<State>,
    visible: bool,
}

#[derive(Default)]
struct State {
    done: u64,
    shown: Option<Instant>,
}

impl Progress {
    /// Nothing is shown until the first step.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress {
            what,
            total,
            state: Mutex::default(),
            visible: std::io::stderr().is_terminal(),
        }
    }

    /// Counts steps that are done, and shows them at most ten times a second.
    pub(crate) fn add(&self, steps: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += steps;
        let done = state.done;
        let last = state.shown.map(|t| t.elapsed());
        let due = last.is_none_or(|t| t > Duration::from_millis(100)) || done == self.total;
        if self.visible && due {
            eprint!("\r{} {done} of {}", self.what, self.total);
            if done == self.total {
                eprintln!();
            }
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().flush();
            state.shown = Some(Instant::now());
        }
    }
}
