//! The call tree, as text for a person.

use std::io::{self, Write};

use super::{Sink, Subject, Summary};
use crate::label::demangle::without_arguments;
use crate::label::printable;
use crate::trace::fold::{Change, What};
use crate::trace::profile::{Node, NodeId, Profile};

/// Writes the call tree.
pub struct Tree<W: Write> {
    out: W,
    /// Calls on whose path less than this share of the time was spent are summed up in one line.
    min_share: f64,
    color: bool,
}

impl<W: Write> std::fmt::Debug for Tree<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").finish_non_exhaustive()
    }
}

/// The longest name that is shown whole.
const LONGEST_NAME: usize = 100;

/// The longest key or value of a tag that is shown whole.
const LONGEST_TAG: usize = 40;

/// Deeper than this the tree is not indented further, so that lines stay readable.
const DEEPEST_INDENT: usize = 40;

impl<W: Write> Tree<W> {
    /// Writes to `out` at the end of the run. `min_share` is a fraction of the total; 0 shows everything.
    pub fn new(out: W, min_share: f64, color: bool) -> Self {
        Tree { out, min_share, color }
    }
}

/// A duration in three significant digits or so: `12.3 ms`.
pub fn duration(nanos: u64) -> String {
    let n = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", n / 1e6),
        _ => format!("{:.2} s", n / 1e9),
    }
}

impl<W: Write> Sink for Tree<W> {
    fn change(&mut self, _: &Subject, _: &Change<'_>) -> io::Result<()> {
        Ok(()) // the call tree of the summary has it all
    }

    fn finish(&mut self, subject: &Subject, summary: &Summary<'_>) -> io::Result<()> {
        let profile = summary.profile;
        let (bold, dim, red, reset) =
            if self.color { ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m") } else { ("", "", "", "") };
        writeln!(
            self.out,
            "\n{bold}{}{reset}: {} calls of {} functions in {}, {}",
            printable(&subject.program),
            profile.calls(),
            profile.functions(),
            duration(summary.duration),
            printable(&summary.ending.describe()),
        )?;
        if profile.nodes().next().is_some() {
            writeln!(
                self.out,
                "\n{dim}{:>10} {:>10} {:>6} {:>10}  function{reset}",
                "total", "self", "share", "calls"
            )?;
            let whole = profile.total().max(1);
            let least = (whole as f64 * self.min_share) as u64;
            let mut hidden = Hidden::default();
            // Depth first, without recursion: a path may be as long as the program has functions.
            let mut todo: Vec<(NodeId, usize)> = profile.root().children.iter().rev().map(|id| (*id, 0)).collect();
            while let Some((id, depth)) = todo.pop() {
                let node = &profile[id];
                if node.calls == 0 {
                    // Its calls turned out to belong elsewhere.
                    todo.extend(node.children.iter().rev().map(|c| (*c, depth)));
                    continue;
                }
                let manual = matches!(node.what, Some(What::Manual(_)));
                if node.total < least && !node.trapped && !manual {
                    hidden.add(profile, node);
                    continue;
                }
                self.line(subject, node, depth, whole)?;
                let mut children = node.children.clone();
                // The longest first; among equals in the order of their first call.
                children.sort_by_key(|c| std::cmp::Reverse(profile[*c].total));
                todo.extend(children.into_iter().rev().map(|c| (c, depth + 1)));
            }
            if hidden.paths > 0 {
                let share = hidden.own as f64 * 100.0 / whole as f64;
                writeln!(
                    self.out,
                    "{dim}not shown: {} calls on {} paths below {} % of the time each, {share:.1} % in all (--min-share 0 shows them){reset}",
                    hidden.calls,
                    hidden.paths,
                    self.min_share * 100.0,
                )?;
            }
        }
        let (grows, pages) = profile.memory_grows();
        if grows > 0 {
            writeln!(self.out, "{dim}memory.grow: {grows} times, {pages} pages asked for{reset}")?;
        }
        if profile.merged() > 0 {
            writeln!(
                self.out,
                "{red}too many different paths: {} calls are counted in their callers{reset}",
                profile.merged()
            )?;
        }
        let irregular = summary.irregular;
        if irregular.stray_exits > 0 {
            writeln!(self.out, "{red}{} exits of functions that were not entered{reset}", irregular.stray_exits)?;
        }
        for (count, what) in [
            (irregular.stray_span_exits, "manual spans closed that were not open"),
            (irregular.forgotten, "manual spans never closed"),
            (irregular.refused, "manual spans not opened: too many were open"),
            (irregular.refused_calls, "calls not followed: too many were open"),
            (irregular.tags_left_out, "tags left out: too many on one span"),
        ] {
            if count > 0 {
                writeln!(self.out, "{red}{count} {what}{reset}")?;
            }
        }
        for (what, count) in &irregular.misuse {
            writeln!(self.out, "{red}manual API: {what} ({count} times){reset}")?;
        }
        if irregular.unwound > 0 {
            writeln!(self.out, "{dim}{} calls did not return: an exception crossed them{reset}", irregular.unwound)?;
        }
        self.out.flush()
    }
}

impl<W: Write> Tree<W> {
    fn line(&mut self, subject: &Subject, node: &Node, depth: usize, whole: u64) -> io::Result<()> {
        let (dim, red, reset) = if self.color { ("\x1b[2m", "\x1b[31m", "\x1b[0m") } else { ("", "", "") };
        let what = node.what.as_ref().expect("only the root is nothing");
        let name = subject.name(what);
        let name = match what {
            What::Call(_) => short(without_arguments(&name), LONGEST_NAME),
            What::Manual(_) => format!("«{}»", short(&name, LONGEST_NAME)),
        };
        write!(
            self.out,
            "{:>10} {:>10} {:>5.1}% {:>10}  {}{name}",
            duration(node.total),
            duration(node.own),
            node.total as f64 * 100.0 / whole as f64,
            node.calls,
            "  ".repeat(depth.min(DEEPEST_INDENT)),
        )?;
        if let Some(label) = subject.label(what)
            && let Some(file) = &label.file
        {
            let line = label.line.map(|l| format!(":{l}")).unwrap_or_default();
            write!(self.out, "  {dim}{}{line}{reset}", printable(file))?;
        }
        for (key, value) in &node.tags {
            write!(self.out, "  {dim}{}={}{reset}", short(key, LONGEST_TAG), short(value, LONGEST_TAG))?;
        }
        for (count, one, many) in [(node.logs, "log line", "log lines"), (node.metrics, "metric", "metrics")] {
            if count > 0 {
                write!(self.out, "  {dim}({count} {}){reset}", if count == 1 { one } else { many })?;
            }
        }
        if node.forgotten > 0 {
            write!(self.out, "  {red}(never closed){reset}")?;
        }
        if node.recursive {
            write!(self.out, "  {dim}(recursive){reset}")?;
        }
        if node.trapped {
            write!(self.out, "  {red}(trapped here){reset}")?;
        }
        writeln!(self.out)
    }
}

/// Safe for a terminal, and no longer than this.
fn short(text: &str, longest: usize) -> String {
    let text = printable(text);
    match text.chars().count() > longest {
        true => text.chars().take(longest - 1).chain(['…']).collect(),
        false => text.into_owned(),
    }
}

/// What falls below the share that is shown.
#[derive(Default)]
struct Hidden {
    paths: u64,
    calls: u64,
    own: u64,
}

impl Hidden {
    fn add(&mut self, profile: &Profile, node: &Node) {
        let mut todo = vec![node];
        while let Some(node) = todo.pop() {
            self.paths += 1;
            self.calls += node.calls;
            self.own += node.own;
            todo.extend(node.children.iter().map(|c| &profile[*c]));
        }
    }
}
