//! Footnotes of the text tables: what applies to the whole trace. The last one says where the times come from, and how
//! good they are.

use std::io::{self, Write};

use super::text::{Look, TimeSource, duration};
use super::{Recording, RunInfo, SAMPLES, Summary};
use crate::calltree::Accuracy;
use crate::profile::Profile;
use crate::span_builder::What;
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::resumption::Resumption;
use wasmtrace_abi::text::printable;

/// Maximum number of functions named in the footnote on counted-only calls, and the width of a name there.
const NAMED: usize = 3;
const LONGEST_NAME: usize = 40;

/// Writes the footnotes.
pub(super) fn footnotes(
    out: &mut impl Write,
    look: &Look,
    run_info: &RunInfo,
    summary: &Summary<'_>,
) -> io::Result<()> {
    let (dim, red) = (look.style().dim, look.style().red);
    let profile = summary.profile;
    let mut note = |color: &str, text: &str| look.write_text(out, color, text);
    if let Some(text) = counted_only(run_info, profile) {
        note(dim, &text)?;
    }
    if let Some(resumption) = run_info.recording.resumption {
        let by = match resumption {
            Resumption::Go => "Go",
            Resumption::Asyncify => "Asyncify",
        };
        note(dim, &format!("calls: a function that waits counts again each time it goes on ({by})"))?;
    }
    let (grows, pages) = profile.memory_grows();
    if grows > 0 {
        note(dim, &format!("memory.grow: {grows} times, {pages} pages requested"))?;
    }
    if profile.merged() > 0 {
        note(red, &format!("too many different paths: {} calls are counted in their callers", profile.merged()))?;
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
            note(red, &format!("{count} {what}"))?;
        }
    }
    for (what, count) in &anomalies.misuse {
        note(red, &format!("misuse: {what} ({count} times)"))?;
    }
    if anomalies.unwound > 0 {
        note(dim, &format!("{} calls did not return: an exception unwound them", anomalies.unwound))?;
    }
    let (clock_gaps, sum, most) = profile.clock_gaps();
    if clock_gaps > 0 {
        let (sum, most) = (duration(sum), duration(most));
        let imprecise = "times of events in a gap are imprecise";
        note(dim, &format!("clock gaps: {clock_gaps}, {sum} in total, {most} at most; {imprecise}"))?;
    }
    if summary.accuracy.lost > 0 {
        note(red, &format!("{} samples were lost", summary.accuracy.lost))?;
    }
    if profile.nodes().next().is_some() {
        note(dim, &times(run_info, summary))?;
    }
    Ok(())
}

/// The footnote on the source and the precision of the times.
pub(super) fn times(run_info: &RunInfo, summary: &Summary<'_>) -> String {
    let accuracy = summary.accuracy;
    let Accuracy { samples, seen, in_hooks, host, .. } = accuracy;
    let Recording { clock, resolution, not_sampled, stamped, .. } = &run_info.recording;
    let host = if host > 0 { format!("; {} in host calls, measured", duration(host)) } else { String::new() };
    let source = TimeSource::of(run_info, summary);
    if source == TimeSource::Samples {
        let error = accuracy.error(0.1) * 100.0;
        let left_out = if in_hooks > 0 { format!(", {in_hooks} more in hook code") } else { String::new() };
        let estimated = summary.profile.nodes().any(|node| node.estimated && !node.is_empty());
        let mark = if estimated { "; ≈ is an estimate from few samples" } else { "" };
        return format!("times: {samples} samples{left_out}; a share of 10 % is ±{error:.1} points{host}{mark}");
    }
    if source == TimeSource::EachEvent {
        let resolution = duration(*resolution);
        return format!("times: include the time to read the clock at each event; resolution about {resolution}");
    }
    if seen > 0 {
        let why = not_sampled.as_deref().unwrap_or("the program could not be interrupted");
        return format!("times: estimates, from {seen} progress readings and the times of events ({})", printable(why));
    }
    if samples + in_hooks > 0 || ((*stamped || clock == SAMPLES) && not_sampled.is_none()) {
        let estimates = if summary.profile.total() > 0 { "estimates" } else { "not known" };
        return format!("times: {estimates}, since there are too few samples ({samples}){host}");
    }
    let why = not_sampled.as_deref().unwrap_or("no samples were taken");
    let (clock, lag) = (printable(clock), duration(*resolution));
    format!("times: estimates, without samples ({}); clock: {clock}, a time may lag by {lag}{host}", printable(why))
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
    let named = elided.iter().take(NAMED).map(|(calls, probe)| {
        let name = run_info.name(&What::Call(*probe));
        let name = printable(without_arguments(&name)).into_owned();
        format!("{} {calls}", super::fit::cut_name(&name, LONGEST_NAME))
    });
    let mut named: Vec<String> = named.collect();
    if elided.len() > NAMED {
        named.push("…".to_owned());
    }
    let why = if why.is_empty() { String::new() } else { format!(" {}", why.join(" or ")) };
    Some(format!("counted only, in their callers' self time: {calls} calls{why}: {}", named.join(", ")))
}
