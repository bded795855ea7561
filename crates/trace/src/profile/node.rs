//! A node of a call tree.

use crate::span_builder::What;

/// Index of a node in its [`Profile`](super::Profile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The index among all nodes: 0 is the root, 1 is the first of [`Profile::nodes`](super::Profile::nodes).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node of a call tree: a function or a manual span on one call path.
#[derive(Debug, Clone)]
#[repr(C, align(64))] // What each event touches comes first, in one line of the cache.
pub struct Node {
    /// Number of calls of the function, or of openings of the span.
    pub calls: u64,
    /// The function's id, or `NO_FUNCTION`.
    pub(super) function: u64,
    /// Number of open calls.
    pub(super) active: u32,
    /// Whether the function was called recursively.
    pub recursive: bool,
    /// Whether the program trapped in this node.
    pub trapped: bool,
    /// Whether more than half of the total is an estimate from average step times, and neither measured nor sampled.
    pub estimated: bool,
    pub(super) depth: u32,
    /// Total time in nanoseconds, from entry to exit. Recursive calls are not counted twice.
    pub total: u64,
    /// Self time in nanoseconds, without callees.
    pub self_time: u64,
    /// Number of samples in the node itself, and in it and its callees.
    pub samples: (u64, u64),
    /// Measured nanoseconds in the host, of the self time and of the total.
    pub host: (u64, u64),
    /// The function or span; `None` for the root, which stands for the run.
    pub what: Option<What>,
    /// The caller's node.
    pub parent: Option<NodeId>,
    /// The callees' nodes, in the order of their first calls.
    pub children: Vec<NodeId>,
    /// Number of calls that an exception unwound.
    pub unwound: u64,
    /// Number of calls that were open when the program exited, trapped or was interrupted.
    pub cut_off: u64,
    /// Number of times that the manual span was never closed.
    pub forgotten: u64,
    /// Number of log lines written in this node by the guest's own code.
    pub logs: u64,
    /// Number of metrics reported in this node by the guest's own code.
    pub metrics: u64,
    /// The first few different tags of this node.
    pub tags: Vec<(String, String)>,
}

/// The function id of nodes that are not functions.
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
            self_time: 0,
            samples: (0, 0),
            host: (0, 0),
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
    /// Whether the node has nothing to show: its calls were moved elsewhere.
    pub fn is_empty(&self) -> bool {
        self.calls == 0 && self.total == 0
    }
}

/// The root node.
pub(super) const ROOT: NodeId = NodeId(0);

/// Nanoseconds in a node itself, and in it and its callees.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Times {
    pub(crate) self_time: u64,
    pub(crate) total: u64,
}

/// Measured time of a node, independent of its events.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    /// Time in the host.
    pub(crate) host: Times,
    /// The part of the host time that span durations contain too.
    pub(crate) host_in_spans: Times,
    /// Weight of samples while events had times, and after that.
    pub(crate) sampled: [Times; 2],
}

impl Measured {
    pub(super) fn absorb(&mut self, other: &Measured) {
        let Measured { host, host_in_spans, sampled: [before, since] } = other;
        let [own_before, own_since] = &mut self.sampled;
        for (times, more) in
            [(&mut self.host, host), (&mut self.host_in_spans, host_in_spans), (own_before, before), (own_since, since)]
        {
            times.self_time = times.self_time.saturating_add(more.self_time);
            times.total = times.total.saturating_add(more.total);
        }
    }
}
