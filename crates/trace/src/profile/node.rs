//! A node of a call tree, and what it took.

use crate::span_builder::What;

/// Index of a node in its [`Profile`](super::Profile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Its place among all nodes: 0 is the root, the first of [`Profile::nodes`](super::Profile::nodes) is 1.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A function or a manual span, on the path where its parent stands.
#[derive(Debug, Clone)]
#[repr(C, align(64))] // What each event touches comes first, in one line of the cache.
pub struct Node {
    /// How often it was called, or opened.
    pub calls: u64,
    /// The function's id; `NO_FUNCTION` if it is none.
    pub(super) function: u64,
    /// How many of its calls are open.
    pub(super) active: u32,
    /// Whether it was called while it was open.
    pub recursive: bool,
    /// Whether the program trapped in it.
    pub trapped: bool,
    /// Whether more than half of its total was neither measured nor sampled, but shared out by what steps take on average.
    pub estimated: bool,
    pub(super) depth: u32,
    /// Nanoseconds from entering it to leaving it; nested calls of the same function are not counted twice.
    pub total: u64,
    /// Nanoseconds spent in it, and not in what it called.
    pub own: u64,
    /// Of its self time, samples that say so; those of it and what it called.
    pub samples: (u64, u64),
    /// What it is; `None` for the root, which stands for the run.
    pub what: Option<What>,
    /// Where it was called from.
    pub parent: Option<NodeId>,
    /// What it called, in the order in which that was first called.
    pub children: Vec<NodeId>,
    /// How many of its calls were crossed by an exception.
    pub unwound: u64,
    /// How many of its calls were open when the program exited, trapped or was interrupted.
    pub cut_off: u64,
    /// How often it was a manual span that nobody closed.
    pub forgotten: u64,
    /// Log lines that the guest's own code wrote in it.
    pub logs: u64,
    /// Metrics that it reported in it.
    pub metrics: u64,
    /// Different tags that it put on it, the first few of them.
    pub tags: Vec<(String, String)>,
}

/// Stands for a function where there is none.
pub(super) const NO_FUNCTION: u64 = u64::MAX;

impl Default for Node {
    fn default() -> Self {
        Node {
            calls: 0,
            function: NO_FUNCTION,
            active: 0,
            recursive: false,
            trapped: false,
            estimated: false,
            depth: 0,
            total: 0,
            own: 0,
            samples: (0, 0),
            what: None,
            parent: None,
            children: Vec::new(),
            unwound: 0,
            cut_off: 0,
            forgotten: 0,
            logs: 0,
            metrics: 0,
            tags: Vec::new(),
        }
    }
}

impl Node {
    /// Whether there is nothing to show of it: its calls turned out to belong elsewhere.
    pub fn is_empty(&self) -> bool {
        self.calls == 0 && self.total == 0
    }
}

/// The node of the run.
pub(super) const ROOT: NodeId = NodeId(0);

/// Nanoseconds in a node itself, and in it and what it called.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) own: u64,
    pub(crate) total: u64,
}

/// What a node took, by what does not follow from its events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// In the host.
    pub(crate) host: Times,
    /// The part of that which is in the durations of its spans too.
    pub(crate) host_in_spans: Times,
    /// By samples that were taken while events had times, and by those that were taken since.
    pub(crate) sampled: [Times; 2],
}

impl Measured {
    pub(super) fn absorb(&mut self, other: &Measured) {
        let Measured { host, host_in_spans, sampled: [before, since] } = other;
        let [own_before, own_since] = &mut self.sampled;
        for (times, more) in
            [(&mut self.host, host), (&mut self.host_in_spans, host_in_spans), (own_before, before), (own_since, since)]
        {
            times.own = times.own.saturating_add(more.own);
            times.total = times.total.saturating_add(more.total);
        }
    }
}
