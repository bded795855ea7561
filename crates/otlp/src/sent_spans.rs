//! The spans that a sink has accepted while the recording was written.

use std::collections::HashSet;
use std::ops::Range;

use crate::response::Said;

/// The spans of a recording that were sent during the run.
#[derive(Debug, Clone, Default)]
pub struct SentSpans {
    /// The numbers of the spans that are sent individually, now or when they close.
    pub(super) chosen: HashSet<u64>,
    /// The numbers of the spans that the sink has accepted.
    pub(super) sent: HashSet<u64>,
    /// Without a budget: the accepted spans, as ranges in the order of closing.
    pub(super) closed: Vec<Range<u64>>,
    /// The sink's messages about them. Rejected spans count as accepted, since a retry would be rejected too.
    pub(super) said: Said,
}

impl SentSpans {
    /// Whether the sink has accepted the span with this number and this position in the order of closing.
    pub(super) fn is_sent(&self, number: u64, closed: u64) -> bool {
        self.is_sent_alone(number) || self.closed.iter().any(|range| range.contains(&closed))
    }

    /// Whether the sink has accepted the span with this number, if there is a budget.
    pub(super) fn is_sent_alone(&self, number: u64) -> bool {
        self.sent.contains(&number)
    }

    /// Number of spans that the sink has accepted.
    pub fn spans(&self) -> u64 {
        self.sent.len() as u64 + self.closed.iter().map(|range| range.end - range.start).sum::<u64>()
    }
}
