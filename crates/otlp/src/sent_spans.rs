//! Which spans a sink has taken while the recording was written.

use std::collections::HashSet;
use std::ops::Range;

use crate::response::Said;

/// What of a recording was sent while it was written.
#[derive(Debug, Clone, Default)]
pub struct SentSpans {
    /// The numbers of the spans that are sent as they are, now or when they close.
    pub(super) chosen: HashSet<u64>,
    /// Those of them that the sink has taken.
    pub(super) sent: HashSet<u64>,
    /// Without a budget: which ones the sink has taken, counted in the order in which they closed.
    pub(super) closed: Vec<Range<u64>>,
    /// What the sink said of them: those that it rejected are taken too, since it would do so again.
    pub(super) said: Said,
}

impl SentSpans {
    /// Whether the sink has taken the span of this number, which is the one of that place in the order in which they closed.
    pub(super) fn is_sent(&self, number: u64, closed: u64) -> bool {
        self.is_sent_alone(number) || self.closed.iter().any(|range| range.contains(&closed))
    }

    /// Whether the sink has taken the span of this number, where there is a budget.
    pub(super) fn is_sent_alone(&self, number: u64) -> bool {
        self.sent.contains(&number)
    }

    /// How many spans the sink has taken.
    pub fn spans(&self) -> u64 {
        self.sent.len() as u64 + self.closed.iter().map(|range| range.end - range.start).sum::<u64>()
    }
}
