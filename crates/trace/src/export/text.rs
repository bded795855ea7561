//! What the tables for a person have in common: the line above, the rows, and what stands below.

use std::io::{self, Write};

use super::{Recording, RunInfo, SAMPLES, Summary};
use crate::calltree::Accuracy;
use crate::event::RunOutcome;
use crate::profile::Profile;
use crate::span_builder::What;
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::text::printable;

/// How a table looks.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// What took less than this fraction of the time is summed up in one line; 0 shows everything.
    pub min_share: f64,
    /// What stands first.
    pub sort: Sort,
    /// Whether there are colours.
    pub color: bool,
}

/// What the rows are sorted by, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sort {
    /// The time from entry to exit.
    #[default]
    Total,
    /// The time that was not spent in callees.
    Own,
    /// How often it was called.
    Calls,
}

impl Sort {
    /// What of a row is compared.
    pub(super) fn key(self, total: u64, own: u64, calls: u64) -> u64 {
        match self {
            Sort::Total => total,
            Sort::Own => own,
            Sort::Calls => calls,
        }
    }
}

/// The longest name that is shown whole.
const LONGEST_NAME: usize = 100;

/// So many of the functions that were counted only are named.
const NAMED: usize = 3;

/// Escapes for a terminal, or nothing.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) bold: &'static str,
    pub(super) dim: &'static str,
    pub(super) red: &'static str,
    pub(super) reset: &'static str,
}

impl Look {
    pub(super) fn style(&self) -> Style {
        match self.color {
            true => Style { bold: "\x1b[1m", dim: "\x1b[2m", red: "\x1b[31m", reset: "\x1b[0m" },
            false => Style { bold: "", dim: "", red: "", reset: "" },
        }
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

/// Safe for a terminal, and no longer than this.
pub(super) fn short(text: &str, longest: usize) -> String {
    let text = printable(text);
    match text.chars().count() > longest {
        true => text.chars().take(longest - 1).chain(['…']).collect(),
        false => text.into_owned(),
    }
}

/// The name of a row.
pub(super) fn name(subject: &RunInfo, what: &What) -> String {
    let name = subject.name(what);
    match what {
        What::Call(_) => short(without_arguments(&name), LONGEST_NAME),
        What::Manual(_) => format!("«{}»", short(&name, LONGEST_NAME)),
    }
}

/// What was run, and how it ended.
pub(super) fn heading(out: &mut impl Write, style: Style, subject: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
    let Style { bold, dim, reset, .. } = style;
    let (calls, functions) = (summary.profile.calls(), summary.profile.functions());
    let accuracy = summary.accuracy;
    let what = match subject.recording.clock.as_str() {
        SAMPLES => format!("{} samples in {functions} functions", accuracy.samples),
        _ => format!("{calls} calls of {functions} functions"),
    };
    let without_hooks = accuracy.without_hooks.filter(|_| accuracy.in_hooks > 0);
    let without_hooks =
        without_hooks.map_or_else(String::new, |nanos| format!(" (about {} without hooks)", duration(nanos)));
    writeln!(
        out,
        "\n{bold}{}{reset}: {what} in {}{without_hooks}, {}",
        printable(&subject.program),
        duration(summary.duration),
        printable(&summary.ending.describe()),
    )?;
    if summary.profile.nodes().next().is_some() {
        writeln!(out, "\n{dim}{:>10} {:>10} {:>6} {:>10}  function{reset}", "total", "self", "share", "calls")?;
    }
    Ok(())
}

/// The numbers of a row.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    /// Nanoseconds.
    pub(super) total: u64,
    pub(super) own: u64,
    pub(super) calls: u64,
    /// Whether the times are estimates.
    pub(super) estimated: bool,
    /// Of the time of the whole.
    pub(super) share: f64,
}

/// The numbers of a row, and where its function stands. What else is said of it comes behind, before the end of the line.
pub(super) fn row(
    out: &mut impl Write,
    style: Style,
    subject: &RunInfo,
    what: &What,
    numbers: Numbers,
    indent: usize,
) -> io::Result<()> {
    let Style { dim, reset, .. } = style;
    let Numbers { total, own, calls, estimated, share } = numbers;
    let about = if estimated { "≈" } else { "" };
    let [total, own] = [total, own].map(|nanos| format!("{about}{}", duration(nanos)));
    let percent = share * 100.0;
    // Without hooks, calls are not counted.
    let calls = if calls == 0 { "-".to_owned() } else { calls.to_string() };
    let name = name(subject, what);
    write!(out, "{total:>10} {own:>10} {percent:>5.1}% {calls:>10}  {}{name}", "  ".repeat(indent))?;
    if let Some(label) = subject.label(what)
        && let Some(file) = subject.file(what)
    {
        let line = label.line.map(|l| format!(":{l}")).unwrap_or_default();
        write!(out, "  {dim}{}{line}{reset}", printable(&file))?;
    }
    Ok(())
}

/// Whether calls that were open at the end are marked: a program that exits leaves all of them open, always.
pub(super) fn marks_open(ending: &RunOutcome) -> bool {
    matches!(ending, RunOutcome::Interrupted(_) | RunOutcome::Unknown)
}

/// What is to be known of the trace as a whole.
pub(super) fn footnotes(
    out: &mut impl Write,
    style: Style,
    subject: &RunInfo,
    summary: &Summary<'_>,
) -> io::Result<()> {
    let Style { dim, red, reset, .. } = style;
    let profile = summary.profile;
    if let Some(text) = counted_only(subject, profile) {
        writeln!(out, "{dim}{text}{reset}")?;
    }
    let (grows, pages) = profile.memory_grows();
    if grows > 0 {
        writeln!(out, "{dim}memory.grow: {grows} times, {pages} pages asked for{reset}")?;
    }
    if profile.merged() > 0 {
        writeln!(out, "{red}too many different paths: {} calls are counted in their callers{reset}", profile.merged())?;
    }
    let irregular = summary.irregular;
    for (count, what) in [
        (irregular.stray_exits, "exits of functions that were not entered"),
        (irregular.stray_span_exits, "manual spans closed that were not open"),
        (irregular.forgotten, "manual spans never closed"),
        (irregular.refused, "manual spans not opened: too many were open"),
        (irregular.refused_calls, "calls not followed: too many were open"),
        (irregular.tags_left_out, "tags left out: too many on one span"),
    ] {
        if count > 0 {
            writeln!(out, "{red}{count} {what}{reset}")?;
        }
    }
    for (what, count) in &irregular.misuse {
        writeln!(out, "{red}misuse: {what} ({count} times){reset}")?;
    }
    if irregular.unwound > 0 {
        writeln!(out, "{dim}{} calls did not return: an exception crossed them{reset}", irregular.unwound)?;
    }
    let (drifts, sum, most) = profile.drifts();
    if drifts > 0 {
        let (sum, most) = (duration(sum), duration(most));
        writeln!(
            out,
            "{dim}gaps of the clock: {drifts}, {sum} in all, {most} at most; times of events in a gap are imprecise{reset}"
        )?;
    }
    if profile.nodes().next().is_some() {
        writeln!(out, "{dim}{}{reset}", times(subject, summary))?;
    }
    if summary.accuracy.lost > 0 {
        writeln!(out, "{red}{} samples were lost{reset}", summary.accuracy.lost)?;
    }
    out.flush()
}

/// Fewer samples than this say nothing of a row.
const FEW: u64 = 30;

/// Where the times come from, and what they are worth.
fn times(subject: &RunInfo, summary: &Summary<'_>) -> String {
    let Accuracy { samples, seen, in_hooks, host, .. } = summary.accuracy;
    let Recording { clock, resolution, not_sampled, stamped, .. } = &subject.recording;
    let host = if host > 0 { format!("; {} in host calls, exact", duration(host)) } else { String::new() };
    if seen > 0 {
        let why = not_sampled.as_deref().unwrap_or("the program could not be interrupted");
        return format!(
            "times: estimates, from {seen} progress readings and the times of events ({})",
            printable(why)
        );
    }
    if samples >= FEW {
        let error = summary.accuracy.error(0.1) * 100.0;
        let left_out = if in_hooks > 0 { format!(" ({in_hooks} in hook code excluded)") } else { String::new() };
        let estimated = summary.profile.nodes().any(|node| node.estimated && !node.is_empty());
        let mark = if estimated { "; ≈ marks estimates, where there are few samples" } else { "" };
        return format!("times: {samples} samples{left_out}{host}; error of a 10 % row: ±{error:.1} points{mark}");
    }
    if samples + in_hooks > 0 || ((*stamped || clock == SAMPLES) && not_sampled.is_none()) {
        let estimates = if summary.profile.total() > 0 { "estimates" } else { "not known" };
        return format!("times: {estimates}, since there are too few samples ({samples}){host}");
    }
    let lag = duration(*resolution);
    let clock = match clock.as_str() {
        "hook" => return "times: include the time to read the clock at each event".to_owned(),
        clock => printable(clock).into_owned(),
    };
    let why = not_sampled.as_deref().unwrap_or("no samples were taken");
    format!("times: estimates, without samples ({}); clock: {clock}, a time may lag by {lag}", printable(why))
}

/// What --min-duration and --max-depth left out.
fn counted_only(subject: &RunInfo, profile: &Profile) -> Option<String> {
    let mut folded: Vec<_> = profile.folded().iter().map(|(probe, calls)| (*calls, *probe)).collect();
    if folded.is_empty() {
        return None;
    }
    folded.sort_unstable_by_key(|(calls, probe)| (std::cmp::Reverse(*calls), *probe));
    let calls: u64 = folded.iter().map(|(calls, _)| calls).sum();
    let recording = &subject.recording;
    let short = (recording.min_duration > 0).then(|| format!("shorter than {}", duration(recording.min_duration)));
    let deep = recording.max_depth.map(|depth| format!("in {depth} others or more"));
    let why: Vec<String> = short.into_iter().chain(deep).collect();
    let mut named: Vec<String> = folded
        .iter()
        .take(NAMED)
        .map(|(calls, probe)| format!("{} {calls}", name(subject, &What::Call(*probe))))
        .collect();
    if folded.len() > NAMED {
        named.push("…".to_owned());
    }
    let why = if why.is_empty() { String::new() } else { format!(" {}", why.join(" or ")) };
    Some(format!("counted only, in their callers' self time: {calls} calls{why}: {}", named.join(", ")))
}
