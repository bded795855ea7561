//! Common parts of the text tables: the heading, the rows, and the footnotes.

use std::io::{self, Write};

use super::{Recording, RunInfo, SAMPLES, Summary};
use crate::calltree::Accuracy;
use crate::event::RunOutcome;
use crate::profile::Profile;
use crate::span_builder::What;
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::resumption::Resumption;
use wasmtrace_abi::text::printable;

/// Options of a text table.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// Minimum share of the time (0 to 1) for a row; smaller rows are summarized in one line. 0 shows all rows.
    pub min_share: f64,
    /// The sort order of the rows.
    pub sort: Sort,
    /// Whether to use colours.
    pub color: bool,
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

/// Maximum length of a name that is printed in full.
const LONGEST_NAME: usize = 100;

/// Maximum number of functions named in the footnote on counted-only calls.
const NAMED: usize = 3;

/// Terminal escapes, or empty strings.
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

/// Formats a duration with about three significant digits: `12.3 ms`.
pub fn duration(nanos: u64) -> String {
    let n = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{:.1} µs", n / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", n / 1e6),
        _ => format!("{:.2} s", n / 1e9),
    }
}

/// Makes a text safe for a terminal and truncates it.
pub(super) fn short(text: &str, longest: usize) -> String {
    let text = printable(text);
    match text.chars().count() > longest {
        true => text.chars().take(longest - 1).chain(['…']).collect(),
        false => text.into_owned(),
    }
}

/// The name of a row.
pub(super) fn name(run_info: &RunInfo, what: &What) -> String {
    let name = run_info.name(what);
    match what {
        What::Call(_) => short(without_arguments(&name), LONGEST_NAME),
        What::Manual(_) => format!("«{}»", short(&name, LONGEST_NAME)),
    }
}

/// Writes the heading: the program and its outcome.
pub(super) fn heading(out: &mut impl Write, style: Style, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
    let Style { bold, dim, reset, .. } = style;
    let (calls, functions) = (summary.profile.calls(), summary.profile.functions());
    let accuracy = summary.accuracy;
    let what = match run_info.recording.clock.as_str() {
        SAMPLES => format!("{} samples in {functions} functions", accuracy.samples),
        _ => format!("{calls} calls of {functions} functions"),
    };
    let without_hooks = accuracy.without_hooks.filter(|_| accuracy.in_hooks > 0);
    let without_hooks =
        without_hooks.map_or_else(String::new, |nanos| format!(" (about {} without hooks)", duration(nanos)));
    writeln!(
        out,
        "\n{bold}{}{reset}: {what} in {}{without_hooks}, {}",
        printable(&run_info.program),
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
    pub(super) self_time: u64,
    pub(super) calls: u64,
    /// Whether the times are estimates.
    pub(super) estimated: bool,
    /// Share of the total time, 0 to 1.
    pub(super) share: f64,
}

/// Writes the numbers of a row and its function with the source location. Remarks may follow on the same line.
pub(super) fn row(
    out: &mut impl Write,
    style: Style,
    run_info: &RunInfo,
    what: &What,
    numbers: Numbers,
    indent: usize,
) -> io::Result<()> {
    let Style { dim, reset, .. } = style;
    let Numbers { total, self_time, calls, estimated, share } = numbers;
    let about = if estimated { "≈" } else { "" };
    let [total, self_time] = [total, self_time].map(|nanos| format!("{about}{}", duration(nanos)));
    let percent = share * 100.0;
    // Without hooks, calls are not counted.
    let calls = if calls == 0 { "-".to_owned() } else { calls.to_string() };
    let name = name(run_info, what);
    write!(out, "{total:>10} {self_time:>10} {percent:>5.1}% {calls:>10}  {}{name}", "  ".repeat(indent))?;
    if let Some(label) = run_info.label(what)
        && let Some(file) = run_info.file(what)
    {
        let line = label.line.map(|l| format!(":{l}")).unwrap_or_default();
        write!(out, "  {dim}{}{line}{reset}", printable(&file))?;
    }
    Ok(())
}

/// Whether to mark calls that were open at the end. Not after an exit, which leaves all of them open.
pub(super) fn marks_open(ending: &RunOutcome) -> bool {
    matches!(ending, RunOutcome::Interrupted(_) | RunOutcome::Unknown)
}

/// Writes the footnotes, which apply to the whole trace.
pub(super) fn footnotes(
    out: &mut impl Write,
    style: Style,
    run_info: &RunInfo,
    summary: &Summary<'_>,
) -> io::Result<()> {
    let Style { dim, red, reset, .. } = style;
    let profile = summary.profile;
    if let Some(text) = counted_only(run_info, profile) {
        writeln!(out, "{dim}{text}{reset}")?;
    }
    if let Some(resumption) = run_info.recording.resumption {
        let by = match resumption {
            Resumption::Go => "Go",
            Resumption::Asyncify => "Asyncify",
        };
        writeln!(out, "{dim}calls: a function that waits counts again each time it goes on ({by}){reset}")?;
    }
    let (grows, pages) = profile.memory_grows();
    if grows > 0 {
        writeln!(out, "{dim}memory.grow: {grows} times, {pages} pages requested{reset}")?;
    }
    if profile.merged() > 0 {
        writeln!(out, "{red}too many different paths: {} calls are counted in their callers{reset}", profile.merged())?;
    }
    let anomalies = summary.anomalies;
    for (count, what) in [
        (anomalies.stray_exits, "exits of functions that were not entered"),
        (anomalies.stray_span_exits, "manual spans closed that were not open"),
        (anomalies.forgotten, "manual spans never closed"),
        (anomalies.refused, "manual spans not opened: too many were open"),
        (anomalies.refused_calls, "calls not tracked: too many were open"),
        (anomalies.tags_left_out, "tags dropped: too many on one span"),
    ] {
        if count > 0 {
            writeln!(out, "{red}{count} {what}{reset}")?;
        }
    }
    for (what, count) in &anomalies.misuse {
        writeln!(out, "{red}misuse: {what} ({count} times){reset}")?;
    }
    if anomalies.unwound > 0 {
        writeln!(out, "{dim}{} calls did not return: an exception unwound them{reset}", anomalies.unwound)?;
    }
    let (clock_gaps, sum, most) = profile.clock_gaps();
    if clock_gaps > 0 {
        let (sum, most) = (duration(sum), duration(most));
        writeln!(
            out,
            "{dim}clock gaps: {clock_gaps}, {sum} in total, {most} at most; times of events in a gap are imprecise{reset}"
        )?;
    }
    if profile.nodes().next().is_some() {
        writeln!(out, "{dim}{}{reset}", times(run_info, summary))?;
    }
    if summary.accuracy.lost > 0 {
        writeln!(out, "{red}{} samples were lost{reset}", summary.accuracy.lost)?;
    }
    out.flush()
}

/// Minimum number of samples for meaningful shares.
const FEW: u64 = 30;

/// The footnote on the source and precision of the times.
pub(super) fn times(run_info: &RunInfo, summary: &Summary<'_>) -> String {
    let Accuracy { samples, seen, in_hooks, host, .. } = summary.accuracy;
    let Recording { clock, resolution, not_sampled, stamped, .. } = &run_info.recording;
    let host = if host > 0 { format!("; {} in host calls, exact", duration(host)) } else { String::new() };
    if seen > 0 {
        let why = not_sampled.as_deref().unwrap_or("the program could not be interrupted");
        return format!("times: estimates, from {seen} progress readings and the times of events ({})", printable(why));
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

/// The footnote on calls dropped by `--min-duration` and `--max-depth`.
pub(super) fn counted_only(run_info: &RunInfo, profile: &Profile) -> Option<String> {
    let mut elided: Vec<_> = profile.elided().iter().map(|(probe, calls)| (*calls, *probe)).collect();
    if elided.is_empty() {
        return None;
    }
    elided.sort_unstable_by_key(|(calls, probe)| (std::cmp::Reverse(*calls), *probe));
    let calls: u64 = elided.iter().map(|(calls, _)| calls).sum();
    let recording = &run_info.recording;
    let short = (recording.min_duration > 0).then(|| format!("shorter than {}", duration(recording.min_duration)));
    let deep = recording.max_depth.map(|depth| format!("in {depth} others or more"));
    let why: Vec<String> = short.into_iter().chain(deep).collect();
    let mut named: Vec<String> = elided
        .iter()
        .take(NAMED)
        .map(|(calls, probe)| format!("{} {calls}", name(run_info, &What::Call(*probe))))
        .collect();
    if elided.len() > NAMED {
        named.push("…".to_owned());
    }
    let why = if why.is_empty() { String::new() } else { format!(" {}", why.join(" or ")) };
    Some(format!("counted only, in their callers' self time: {calls} calls{why}: {}", named.join(", ")))
}
