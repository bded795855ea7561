//! Comparison of runs before and after a change: per function and per call path.
//!
//! ```text
//!  Profile, RunInfo ─Run::of→ Run ┐
//!  …                              ├─compare→ Diff { functions, rows, nodes, … }
//!  Profile, RunInfo ─Run::of→ Run ┘
//! ```
//!
//! A side is one recording or several of the same program. Functions are matched by their names, nodes of the call tree by
//! the names on their paths: numbers of functions and places in files differ between two builds.
//!
//! # When a difference counts
//! Numbers of calls have no noise. If they differ within a side, the ranges of both sides must not overlap.
//!
//! A difference of times counts if all of this holds (`noise`):
//!
//! - The ranges of both sides do not overlap.
//! - It is larger than the sampling error: twice the standard error of so many samples.
//! - It is larger than a floor, which depends on the number of recordings: how much the machine itself varies cannot be
//!   told from one run.

mod compare;
mod noise;
mod page;
mod run;
mod values;

pub use compare::{Diff, Function, Node, Row, compare};
pub use page::write_diff_page;
pub use run::{Amounts, Run, Time};
pub use values::{Change, Presence, Spread, Values};

#[cfg(test)]
mod tests;
