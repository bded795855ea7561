//! The call tree as text.

use std::cmp::Reverse;
use std::io::{self, Write};

use super::text::{Look, Numbers, footnotes, heading, marks_open, row, short};
use super::{RunInfo, Sink, Summary};
use crate::profile::{Node, NodeId, Profile};
use crate::span_builder::{Change, What};

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

/// Maximum length of a tag's key or value that is printed in full.
const LONGEST_TAG: usize = 40;

/// Maximum depth of indentation, so that lines stay readable.
const DEEPEST_INDENT: usize = 40;

impl<W: Write> Tree<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W, look: Look) -> Self {
        Tree { out, look }
    }

    /// Writes the remarks after the function of a row.
    fn remarks(&mut self, node: &Node, marks_open: bool) -> io::Result<()> {
        let style = self.look.style();
        let (dim, red, reset) = (style.dim, style.red, style.reset);
        for (key, value) in &node.tags {
            write!(self.out, "  {dim}{}={}{reset}", short(key, LONGEST_TAG), short(value, LONGEST_TAG))?;
        }
        for (count, one, many) in [(node.logs, "log line", "log lines"), (node.metrics, "metric", "metrics")] {
            if count > 0 {
                write!(self.out, "  {dim}({count} {}){reset}", if count == 1 { one } else { many })?;
            }
        }
        for (is_so, color, remark) in [
            (node.forgotten > 0, red, "never closed"),
            (node.recursive, dim, "recursive"),
            (node.trapped, red, "trapped here"),
            (marks_open && node.cut_off > 0, red, "open at the end"),
        ] {
            if is_so {
                write!(self.out, "  {color}({remark}){reset}")?;
            }
        }
        writeln!(self.out)
    }
}

impl<W: Write> Sink for Tree<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let profile = summary.profile;
        let style = self.look.style();
        heading(&mut self.out, style, run_info, summary)?;
        let marks_open = marks_open(summary.ending);
        let whole = profile.total().max(1);
        let least = (whole as f64 * self.look.min_share) as u64;
        let mut hidden = Hidden::default();
        let sort = self.look.sort;
        let sorted = |node: &Node| {
            let mut children = node.children.clone();
            // Equal rows keep the order of their first calls.
            children.sort_by_key(|c| {
                let node = &profile[*c];
                Reverse(sort.key(node.total, node.self_time, node.calls))
            });
            children
        };
        // Depth first without recursion: a path may be as long as the program has functions.
        let mut todo: Vec<(NodeId, usize)> = profile.root().children.iter().rev().map(|id| (*id, 0)).collect();
        while let Some((id, depth)) = todo.pop() {
            let node = &profile[id];
            if node.is_empty() {
                // An empty node: its calls were moved elsewhere.
                todo.extend(node.children.iter().rev().map(|c| (*c, depth)));
                continue;
            }
            let what = node.what.as_ref().expect("only the root is nothing");
            let always = node.trapped || (marks_open && node.cut_off > 0) || matches!(what, What::Manual(_));
            if node.total < least && !always {
                hidden.add(profile, node);
                continue;
            }
            let children = sorted(node);
            let share = node.total as f64 / whole as f64;
            let Node { total, self_time, calls, estimated, .. } = *node;
            let numbers = Numbers { total, self_time, calls, estimated, share };
            row(&mut self.out, style, run_info, what, numbers, depth.min(DEEPEST_INDENT))?;
            self.remarks(node, marks_open)?;
            todo.extend(children.into_iter().rev().map(|c| (c, depth + 1)));
        }
        if hidden.paths > 0 {
            let share = hidden.self_time as f64 * 100.0 / whole as f64;
            writeln!(
                self.out,
                "{}not shown: {} calls on {} paths below {} % of the time each, {share:.1} % in all (--min-share 0 shows them){}",
                style.dim,
                hidden.calls,
                hidden.paths,
                self.look.min_share * 100.0,
                style.reset,
            )?;
        }
        footnotes(&mut self.out, style, run_info, summary)
    }
}

/// The rows below the minimum share.
#[derive(Default)]
struct Hidden {
    paths: u64,
    calls: u64,
    self_time: u64,
}

impl Hidden {
    fn add(&mut self, profile: &Profile, node: &Node) {
        let mut todo = vec![node];
        while let Some(node) = todo.pop() {
            self.paths += 1;
            self.calls += node.calls;
            self.self_time += node.self_time;
            todo.extend(node.children.iter().map(|c| &profile[*c]));
        }
    }
}
