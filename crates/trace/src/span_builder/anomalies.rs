//! What is wrong with a stream of events.

/// Counts of anomalies in an event stream: events that do not fit together, and spans beyond a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Anomalies {
    /// Number of exits of functions that were not open.
    pub stray_exits: u64,
    /// Number of calls that were closed because an outer call ended.
    pub unwound: u64,
    /// Number of times that a manual span was closed although none was open.
    pub stray_span_exits: u64,
    /// Number of manual spans that were never closed.
    pub forgotten: u64,
    /// Number of manual spans that were not opened because too many were open.
    pub refused: u64,
    /// Number of calls that were not tracked because too many were open.
    pub refused_calls: u64,
    /// Number of tags that were dropped because a span had too many.
    pub tags_left_out: u64,
    /// Other violations of the manual API, each with its count.
    pub misuse: Vec<(&'static str, u64)>,
}
