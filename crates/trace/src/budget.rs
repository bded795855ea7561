//! How much of a trace goes into a file.

use std::collections::BTreeSet;

use wasmtrace_abi::hook::ProbeId;

/// Which spans a file has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    /// Calls shorter than so many nanoseconds are merged.
    pub min_duration: u64,
    /// Calls nested in at least so many others are left out.
    pub max_depth: Option<u32>,
    /// Maximum number of spans; shorter ones are merged.
    pub max_spans: Option<u64>,
    /// The functions whose calls are written. The calls of others are left out: what they call is nested in their callers.
    pub selected: Option<BTreeSet<ProbeId>>,
}

/// Durations in nanoseconds from which spans are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// For a single call.
    pub alone: u64,
    /// For several calls that were merged into one span.
    pub merged: u64,
    /// Nanoseconds from which a single call may be written although it is shorter than `alone`: many calls last as long,
    /// more than there is room for.
    pub tie: u64,
    /// How many of those are written, the first ones.
    pub ties: u64,
}

impl Budget {
    /// Whether all spans are written.
    pub fn is_open(&self) -> bool {
        *self == Budget::default()
    }
}

/// What a file does not show as single spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Calls shorter than so many nanoseconds are merged.
    pub shorter_than: u64,
    /// Number of merged spans.
    pub merged: u64,
    /// Number of calls in merged spans.
    pub merged_calls: u64,
    /// Number of calls in no span, because they were too short even after merging.
    pub short: u64,
    /// Nanoseconds in such calls.
    pub short_nanos: u64,
    /// Number of calls in no span, because of their function or their depth.
    pub not_selected: u64,
    /// Number of log lines, metrics and other moments beyond the limit.
    pub notes: u64,
}
