//! The flat profile as text: one line for each function, over all of its callers.

use std::io::{self, Write};

use super::footnotes::footnotes;
use super::functions::{sorted, write_functions};
use super::text::{Look, Sort};
use super::{RunInfo, Sink, Summary};
use crate::profile::Totals;
use crate::span_builder::Change;

/// Writes a flat profile: one line for each function.
pub struct Flat<W: Write> {
    out: W,
    look: Look,
}

impl<W: Write> std::fmt::Debug for Flat<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flat").finish_non_exhaustive()
    }
}

/// Minimum number of rows, in windows of any height.
const LEAST_ROWS: usize = 10;

/// Lines of the window that are neither rows nor below them: the empty line and the head above, the line on hidden
/// functions, and the prompt.
const OTHER_LINES: usize = 4;

impl<W: Write> Flat<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W, look: Look) -> Self {
        Flat { out, look }
    }
}

impl<W: Write> Sink for Flat<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let Flat { out, look } = self;
        let mut below = Vec::new();
        writeln!(below)?;
        look.write_totals(&mut below, run_info, summary)?;
        footnotes(&mut below, look, run_info, summary)?;

        let functions = sorted(summary, look.sort);
        let key = |f: &Totals| look.sort.key(f.total, f.self_time, f.calls);
        let whole = match look.sort {
            Sort::Total | Sort::Own => summary.profile.total(),
            Sort::Calls => summary.profile.calls(),
        };
        let least = look.least(whole);
        let mut shown = functions.partition_point(|f| key(f) >= least);
        if let Some(height) = look.height {
            let lines = below.iter().filter(|byte| **byte == b'\n').count();
            shown = shown.min(height.saturating_sub(lines + OTHER_LINES).max(LEAST_ROWS));
        }
        let (shown, hidden) = functions.split_at(shown);
        if !functions.is_empty() {
            writeln!(out)?;
            write_functions(out, look, run_info, summary, shown, "function")?;
        }
        if !hidden.is_empty() {
            let calls: u64 = hidden.iter().map(|f| f.calls).sum();
            let functions = if hidden.len() == 1 { "function" } else { "functions" };
            let note = format!("not shown: {} {functions}, {calls} calls (--min-share 0 shows all)", hidden.len());
            look.write_text(out, look.style().dim, &note)?;
        }
        out.write_all(&below)?;
        out.flush()
    }
}
