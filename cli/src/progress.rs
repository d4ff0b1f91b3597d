//! Progress on the standard error, only where it is a terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A counter of steps.
pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    shown: Option<Instant>,
    visible: bool,
}

impl Progress {
    /// Nothing is shown until the first step.
    pub(crate) fn new(what: &'static str, total: u64) -> Progress {
        Progress {
            what,
            total,
            shown: None,
            visible: std::io::stderr().is_terminal(),
        }
    }

    /// Shows that `done` of all steps are done, at most ten times a second.
    pub(crate) fn step(&mut self, done: u64) {
        let due = self
            .shown
            .is_none_or(|t| t.elapsed() > Duration::from_millis(100))
            || done == self.total;
        if self.visible && due {
            eprint!("\r{} {done} of {}", self.what, self.total);
            if done == self.total {
                eprintln!();
            }
            // A terminal that is gone is no reason to stop.
            let _ = std::io::stderr().flush();
            self.shown = Some(Instant::now());
        }
    }
}
