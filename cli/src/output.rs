//! Results on the standard output. A reader that has gone away (`lowbit show … | head`) ends a command without noise.

use crate::Failure;
use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};

/// A line, or several: what ends in a line break gets no other.
pub(crate) fn say(text: impl Display) -> Result<(), Failure> {
    let text = text.to_string();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let mut out = stdout().lock();
    let written = write!(out, "{text}{end}").and_then(|()| out.flush());
    written.map_err(|e| match e.kind() {
        ErrorKind::BrokenPipe => Failure::NobodyReads,
        _ => Failure::Input(format!("the standard output: {e}")),
    })
}
