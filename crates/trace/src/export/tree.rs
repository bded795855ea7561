//! The call tree as text. What matters most comes last, next to the prompt: the functions with the most self time, the
//! totals and the footnotes.

use std::io::{self, Write};

use super::footnotes::footnotes;
use super::functions::write_top;
use super::table::{Remark, Subject, Table, count, percent, tag, time};
use super::text::{Look, TimeSource, marks_open};
use super::visible::{Visible, visible};
use super::{RunInfo, Sink, Summary};
use crate::profile::Node;
use crate::span_builder::Change;

/// Writes the call tree.
pub struct Tree<W: Write> {
    out: W,
    look: Look,
}

impl<W: Write> std::fmt::Debug for Tree<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

/// A tree of more rows is followed by a list of functions; a smaller one is such a list itself.
const SMALL: usize = 10;

/// Minimum number of rows of the tree, in windows of any height.
const LEAST_ROWS: usize = 12;

/// Lines of the window that are neither rows of the tree nor below it: the empty line and the head above, the line on
/// indentation, that on hidden rows, and the prompt.
const OTHER_LINES: usize = 5;

impl<W: Write> Tree<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W, look: Look) -> Self {
        Tree { out, look }
    }

    /// Writes the rows.
    fn write_rows(&mut self, run_info: &RunInfo, summary: &Summary<'_>, below: usize) -> io::Result<()> {
        let Tree { out, look } = self;
        let profile = summary.profile;
        let marks_open = marks_open(summary.ending);
        let most = look.height.map(|height| height.saturating_sub(below + OTHER_LINES).max(LEAST_ROWS));
        let Visible { rows, hidden } = visible(profile, look, marks_open, most);
        let whole = profile.total().max(1) as f64;
        let source = TimeSource::of(run_info, summary);
        let numbers = |node: &Node| {
            let [own, total] = [(node.self_time, node.host.0), (node.total, node.host.1)]
                .map(|(nanos, host)| time(nanos, source.is_estimate(node.estimated, nanos, host)));
            [total, own, percent(node.total as f64 / whole), count(node.calls)]
        };
        let mut table = Table::new(look, ["total", "self", "total %", "calls"]);
        for row in &rows {
            table.measure(&numbers(&profile[row.id]));
            table.deepest = row.depth.max(table.deepest);
        }
        writeln!(out)?;
        table.write_head(out, if rows.iter().any(|row| row.hot) { "function (→ hot path)" } else { "function" })?;
        let mut is_too_deep = false;
        for row in &rows {
            let node = &profile[row.id];
            let what = node.what.as_ref().expect("only the root is nothing");
            let mut subject = Subject::of(look, run_info, what);
            (subject.depth, subject.hot, subject.remarks) = (row.depth, row.hot, remarks(node, marks_open));
            is_too_deep |= table.write_row(out, &numbers(node), &subject)?;
        }
        let mut notes = Vec::new();
        if is_too_deep {
            notes.push("+N: a call N levels deeper than it is indented".to_owned());
        }
        if hidden.paths > 0 {
            let share = percent(hidden.self_time as f64 / whole);
            let paths = if hidden.paths == 1 { "path" } else { "paths" };
            let below = match most {
                Some(_) => String::new(),
                None => format!(" below {} %", look.min_share * 100.0),
            };
            notes.push(format!(
                "not shown: {} {paths}{below}, {} calls, {share} of the time (--min-share 0 shows all)",
                hidden.paths, hidden.calls
            ));
        }
        let dim = look.style().dim;
        notes.iter().try_for_each(|note| look.write_text(out, dim, note))
    }
}

/// The remarks on a node.
fn remarks(node: &Node, marks_open: bool) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = Vec::new();
    let mut add = |text: String, important: bool| remarks.push(Remark { text, important });
    for (is_so, important, remark) in [
        (node.trapped, true, "(trapped here)"),
        (marks_open && node.cut_off > 0, true, "(open at the end)"),
        (node.forgotten > 0, true, "(never closed)"),
        (node.recursive, false, "(recursive)"),
    ] {
        if is_so {
            add(remark.to_owned(), important);
        }
    }
    for (key, value) in &node.tags {
        add(tag(key, value), false);
    }
    for (count, one, many) in [(node.logs, "log line", "log lines"), (node.metrics, "metric", "metrics")] {
        if count > 0 {
            add(format!("({count} {})", if count == 1 { one } else { many }), false);
        }
    }
    remarks
}

impl<W: Write> Sink for Tree<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let rows = summary.profile.nodes().filter(|node| !node.is_empty()).count();
        // The rest of the window is for the tree.
        let mut below = Vec::new();
        if rows > SMALL {
            write_top(&mut below, &self.look, run_info, summary)?;
        }
        writeln!(below)?;
        self.look.write_totals(&mut below, run_info, summary)?;
        footnotes(&mut below, &self.look, run_info, summary)?;
        if rows > 0 {
            self.write_rows(run_info, summary, below.iter().filter(|byte| **byte == b'\n').count())?;
        }
        self.out.write_all(&below)?;
        self.out.flush()
    }
}
