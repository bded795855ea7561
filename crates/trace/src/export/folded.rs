//! Folded stacks: one line for each path, `outer;inner self-time`, as read by `flamegraph.pl`, inferno and speedscope.
//! The number is the self time in nanoseconds, so lines add up to the time in hooked functions.

use std::io::{self, Write};

use super::{RunInfo, Sink, Summary};
use crate::profile::NodeId;
use crate::span_builder::Change;
use wasmtrace_abi::text::printable;

/// Maximum length of a path in bytes. Deeper calls count in the last frame of the path.
const LONGEST_PATH: usize = 64 << 10;

/// Writes folded stacks.
pub struct Folded<W: Write> {
    out: W,
}

impl<W: Write> std::fmt::Debug for Folded<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folded").finish_non_exhaustive()
    }
}

impl<W: Write> Folded<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Folded { out }
    }
}

impl<W: Write> Sink for Folded<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let profile = summary.profile;
        // Depth first, extending one path: building each path from its root would take quadratic time.
        let mut path = String::new();
        let mut todo: Vec<(NodeId, usize)> = profile.root().children.iter().rev().map(|id| (*id, 0)).collect();
        while let Some((id, outer)) = todo.pop() {
            let node = &profile[id];
            path.truncate(outer);
            if let Some(what) = node.what.as_ref().filter(|_| path.len() < LONGEST_PATH) {
                let separator = if path.is_empty() { "" } else { ";" };
                // `;` and line breaks are separators of the format.
                let name = printable(&run_info.name(what)).replace(';', ":");
                path.extend([separator, &name]);
            }
            if node.self_time > 0 {
                writeln!(self.out, "{path} {}", node.self_time)?;
            }
            todo.extend(node.children.iter().rev().map(|child| (*child, path.len())));
        }
        self.out.flush()
    }
}
