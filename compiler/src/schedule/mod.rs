//! Schedules: which index becomes lanes, which is unrolled, which is a loop, in what order; and where bits are placed.
//!
//! In: a typed kernel with its statements brought to one form (`normal.rs`). Out: for each statement a few plans
//! (`plan.rs`, `cuts.rs`, `groups.rs`), and under a plan the statement as terms over loads with quasi-affine addresses (`place.rs`).

pub mod amounts;
mod cuts;
pub mod fill;
pub mod fit;
pub mod groups;
mod in_place;
pub mod index;
pub mod layout;
mod leftover;
pub mod normal;
mod order;
pub mod place;
pub mod plan;
pub mod print;
pub mod sums;
pub mod term;
pub mod views;

use thiserror::Error;

/// Why a statement cannot be scheduled.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// The construct is in the language but not (yet) compiled.
    #[error("not supported yet: {0}")]
    Unsupported(String),
    /// A defect of the compiler.
    #[error("internal error in the schedule: {0}")]
    Internal(&'static str),
}
