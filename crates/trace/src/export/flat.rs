//! The flat profile as text: one line for each function, over all of its callers.

use std::cmp::Reverse;
use std::io::{self, Write};

use super::text::{Look, Numbers, Sort, footnotes, heading, row};
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
        let Look { min_share, sort, .. } = self.look;
        let style = self.look.style();
        heading(&mut self.out, style, run_info, summary)?;
        let mut functions = summary.profile.by_function();
        functions.sort_by_key(|f| Reverse(sort.key(f.total, f.self_time, f.calls)));
        let whole = summary.profile.total().max(1);
        let least = (whole as f64 * min_share) as u64;
        let (mut hidden, mut hidden_calls) = (0, 0);
        for f in &functions {
            if f.total < least {
                hidden += 1;
                hidden_calls += f.calls;
                continue;
            }
            let time = if sort == Sort::Own { f.self_time } else { f.total };
            let share = time as f64 / whole as f64;
            let Totals { total, self_time, calls, estimated, .. } = *f;
            row(&mut self.out, style, run_info, &f.what, Numbers { total, self_time, calls, estimated, share }, 0)?;
            writeln!(self.out)?;
        }
        if hidden > 0 {
            writeln!(
                self.out,
                "{}not shown: {hidden_calls} calls of {hidden} functions below {} % of the time each (--min-share 0 shows them){}",
                style.dim,
                min_share * 100.0,
                style.reset,
            )?;
        }
        footnotes(&mut self.out, style, run_info, summary)
    }
}
