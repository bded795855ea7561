//! Folded stacks: one line a path, `outer;inner self-time`, as `flamegraph.pl`, inferno and speedscope read them. The
//! number is self time in nanoseconds, so that lines add up to the time spent in hooked functions.

use std::io::{self, Write};

use super::{Sink, Subject, Summary};
use crate::trace::fold::Change;

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
    /// Writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Folded { out }
    }
}

impl<W: Write> Sink for Folded<W> {
    fn change(&mut self, _: &Subject, _: &Change<'_>) -> io::Result<()> {
        Ok(()) // the call tree of the summary has it all
    }

    fn finish(&mut self, subject: &Subject, summary: &Summary<'_>) -> io::Result<()> {
        for node in summary.profile.nodes().filter(|n| n.own > 0) {
            let path: Vec<String> = summary
                .profile
                .path_to(node)
                .into_iter()
                // `;` and line ends are the format's own.
                .map(|what| crate::label::printable(&subject.name(what)).replace(';', ":"))
                .collect();
            writeln!(self.out, "{} {}", path.join(";"), node.own)?;
        }
        self.out.flush()
    }
}
