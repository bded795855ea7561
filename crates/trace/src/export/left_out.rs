//! What a file does not show as single spans, in sentences.

use super::footnotes::{counted_only, times};
use super::text::duration;
use super::{RunInfo, Summary};
use crate::budget::LeftOut;

/// Says what was merged and what was left out: one sentence for each kind, none if the file has everything.
pub fn left_out_text(left_out: &LeftOut) -> Vec<String> {
    let LeftOut { shorter_than, merged, merged_calls, short, short_nanos, not_selected, notes } = *left_out;
    let many = |count: u64, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let mut sentences = Vec::new();
    // Single calls among the merged ones are shown as they are.
    if merged_calls > merged {
        let (calls, spans) = (many(merged_calls, "call", "calls"), many(merged, "span", "spans"));
        sentences.push(format!("{calls} shorter than {} are merged into {spans}", duration(shorter_than)));
    }
    if short > 0 {
        let calls = many(short, "call or span is", "calls and spans are");
        // The time model gives most calls no time if its clock is coarser than they are.
        let time = if short_nanos > 0 { format!(" ({} in all)", duration(short_nanos)) } else { String::new() };
        sentences.push(format!("{calls} too short to be shown{time}"));
    }
    if not_selected > 0 {
        let calls = many(not_selected, "call is", "calls are");
        sentences.push(format!("{calls} left out by --select or --max-depth"));
    }
    if notes > 0 {
        let notes = many(notes, "log line, metric or memory growth is", "log lines, metrics and memory growths are");
        sentences.push(format!("{notes} left out"));
    }
    sentences
}

/// What to say beside the numbers of a run: how exact its times are, and what the output does not show.
pub(super) fn sentences(run_info: &RunInfo, summary: &Summary<'_>) -> Vec<String> {
    let mut sentences = vec![times(run_info, summary)];
    sentences.extend(counted_only(run_info, summary.profile));
    let refused = summary.anomalies.refused_calls;
    if refused > 0 {
        sentences.push(format!("{refused} calls were not tracked: too many were open"));
    }
    sentences.extend(left_out_text(&summary.left_out));
    sentences
}
