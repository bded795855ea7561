//! Common parts of the text tables: options, colours, durations, and the totals line.

use std::io::{self, Write};

use super::fit::wrapped;
use super::{RunInfo, SAMPLES, Summary};
use crate::calltree::Accuracy;
use wasmtrace_abi::text::printable;

/// Options of a text table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// Minimum share (0 to 1) for a row; smaller rows are summarized in one line. 0 shows all rows. Otherwise, rows that
    /// round to 0.0 % are not shown either.
    pub min_share: f64,
    /// The sort order of the rows.
    pub sort: Sort,
    /// Whether to use colours.
    pub color: bool,
    /// Width of the output in terminal columns. `None`: not limited. Widths below [`Look::MIN_WIDTH`] count as that.
    pub width: Option<usize>,
    /// Height of the window. Only the largest rows are shown, so that the output fits into it if that leaves enough
    /// rows. `None`: not limited.
    pub height: Option<usize>,
    /// Whether to show names with C++ arguments, and whole paths. Rows are then as wide as they need to be.
    pub full_names: bool,
}

/// The column that rows are sorted by, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// Time from entry to exit, callees included.
    #[default]
    Total,
    /// Time without callees.
    Own,
    /// Number of calls.
    Calls,
}

impl Sort {
    /// The sort key of a row.
    pub(super) fn key(self, total: u64, self_time: u64, calls: u64) -> u64 {
        match self {
            Sort::Total => total,
            Sort::Own => self_time,
            Sort::Calls => calls,
        }
    }
}

/// Terminal escapes, or empty strings.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) bold: &'static str,
    pub(super) dim: &'static str,
    pub(super) red: &'static str,
    pub(super) hot: &'static str,
    pub(super) reset: &'static str,
}

/// The share of a row that rounds to 0.0 %.
const ROUNDS_TO_NOTHING: f64 = 0.000_5;

impl Look {
    /// Minimum width of a table in terminal columns.
    pub const MIN_WIDTH: usize = 60;

    pub(super) fn style(&self) -> Style {
        match self.color {
            true => Style { bold: "\x1b[1m", dim: "\x1b[2m", red: "\x1b[31m", hot: "\x1b[33m", reset: "\x1b[0m" },
            false => Style { bold: "", dim: "", red: "", hot: "", reset: "" },
        }
    }

    /// The width that rows may have.
    #[doc(hidden)]
    pub fn widest(&self) -> Option<usize> {
        self.width.filter(|_| !self.full_names).map(|width| width.max(Look::MIN_WIDTH))
    }

    /// The part of `whole` that a row needs to be shown.
    #[doc(hidden)]
    pub fn least(&self, whole: u64) -> u64 {
        let share = if self.min_share > 0.0 { self.min_share.max(ROUNDS_TO_NOTHING) } else { 0.0 };
        (whole as f64 * share) as u64
    }

    /// Writes a text, broken between words into lines of the width.
    #[doc(hidden)]
    pub fn write_text(&self, out: &mut impl Write, color: &str, text: &str) -> io::Result<()> {
        let reset = if color.is_empty() { "" } else { self.style().reset };
        for line in wrapped(text, self.widest().unwrap_or(usize::MAX)) {
            writeln!(out, "{color}{line}{reset}")?;
        }
        Ok(())
    }

    /// Writes the totals of the run: the program, its calls, its duration and its outcome.
    pub(super) fn write_totals(
        &self,
        out: &mut impl Write,
        run_info: &RunInfo,
        summary: &Summary<'_>,
    ) -> io::Result<()> {
        let accuracy = summary.accuracy;
        let functions = summary.profile.functions();
        let what = match run_info.recording.clock.as_str() {
            SAMPLES => format!("{} samples in {functions} functions", accuracy.samples),
            _ => format!("{} calls of {functions} functions", summary.profile.calls()),
        };
        let without_hooks = accuracy.without_hooks.filter(|_| accuracy.in_hooks > 0);
        let without_hooks =
            without_hooks.map_or_else(String::new, |nanos| format!(" (≈{} without hooks)", duration(nanos)));
        let text = format!(
            "{}: {what} in {}{without_hooks}, {}",
            printable(&run_info.program),
            duration(summary.duration),
            printable(&summary.ending.describe()),
        );
        self.write_text(out, self.style().bold, &text)
    }
}

/// Formats a duration with three significant digits: `12.3 ms`.
pub fn duration(nanos: u64) -> String {
    const UNITS: [(f64, &str); 3] = [(1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    if nanos < 1_000 {
        return format!("{nanos} ns");
    }
    // 999.6 µs rounds to 1000, so it is a millisecond.
    let unit = UNITS.into_iter().find(|(unit, _)| nanos as f64 / unit < 999.5);
    let (unit, name) = unit.unwrap_or(UNITS[2]);
    let number = nanos as f64 / unit;
    let decimals = match number {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {name}")
}

/// Where the times of a table come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeSource {
    /// Each event read the clock.
    EachEvent,
    /// Samples. Rows of few samples are estimates.
    Samples,
    /// Few samples or none, so that all times but those in the host are estimates.
    Estimates,
}

/// Minimum number of samples for meaningful shares.
const FEW: u64 = 30;

impl TimeSource {
    pub(super) fn of(run_info: &RunInfo, summary: &Summary<'_>) -> TimeSource {
        let Accuracy { samples, seen, in_hooks, .. } = summary.accuracy;
        let is_sampled = samples + in_hooks > 0;
        match run_info.recording.clock.as_str() {
            _ if seen == 0 && samples >= FEW => TimeSource::Samples,
            "hook" if !is_sampled && !run_info.recording.stamped => TimeSource::EachEvent,
            _ => TimeSource::Estimates,
        }
    }

    /// Whether a time is marked as an estimate, of which `host` nanoseconds are measured. `estimated` says so for a row
    /// of few samples.
    pub(super) fn is_estimate(self, estimated: bool, nanos: u64, host: u64) -> bool {
        match self {
            TimeSource::EachEvent => false,
            TimeSource::Samples => estimated,
            TimeSource::Estimates => host.saturating_mul(2) <= nanos,
        }
    }
}

/// Whether to mark calls that were open at the end. Not after an exit, which leaves all of them open.
pub(super) fn marks_open(ending: &crate::event::RunOutcome) -> bool {
    use crate::event::RunOutcome::{Interrupted, Unknown};
    matches!(ending, Interrupted(_) | Unknown)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn a_duration_has_three_digits() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.00 µs"),
            (9_994, "9.99 µs"),
            (9_996, "10.0 µs"),
            (99_960, "100 µs"),
            (999_499, "999 µs"),
            (999_500, "1.00 ms"),
            (12_345_678, "12.3 ms"),
            (999_500_000, "1.00 s"),
            (3_600_000_000_000, "3600 s"),
        ] {
            assert_eq!(duration(nanos), text);
        }
    }
}
