//! A call tree with counts and times.
//!
//! Recursion is merged: a call of a function that is open on the same path is added to the open node. The tree is never
//! deeper than the number of functions in the program. A node's *total* counts only the outermost of such calls; its
//! *self time* counts all of them. The self times of the tree add up exactly to the time spent in hooked functions.
//! Totals of the callees of a recursive function may overlap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::span_builder::{Change, Note, Span, SpanEnd, What};
use wasmtrace_abi::hook::ProbeId;

mod callees;
mod collapse;
mod hoist;
mod lines;
mod measured;
mod node;
mod totals;
mod words;

use callees::Callees;
pub use lines::NodeLine;
pub(crate) use node::{Measured, Times};
use node::{NO_FUNCTION, ROOT};
pub use node::{Node, NodeId};
pub use totals::Totals;

/// A call tree with counts and times.
#[derive(Debug, Clone)]
pub struct Profile {
    nodes: Vec<Node>,
    /// From a node and a function to the callee's node: one lookup for each call, with a cheap hash and a cache before
    /// it.
    calls: HashMap<(NodeId, ProbeId), NodeId, FxBuildHasher>,
    recent: Callees,
    /// From a node and the name of a manual span to the span's node.
    manual: HashMap<(NodeId, Arc<str>), NodeId>,
    /// All functions and manual spans that have a node.
    known: HashSet<What>,
    /// The nodes of the open spans, outermost first.
    path: Vec<NodeId>,
    /// Samples and host calls of each node; may be shorter than the list of nodes.
    measured: Vec<Measured>,
    /// Number of samples at each instruction of a node.
    sampled: HashMap<(NodeId, u32), u64, FxBuildHasher>,
    /// Number of `memory.grow` calls, and of pages requested.
    grows: (u64, u64),
    /// Number of calls that were only counted, by function.
    elided: HashMap<ProbeId, u64>,
    /// Number of clock gaps, their total and their maximum in nanoseconds.
    clock_gaps: (u64, u64, u64),
    merged: u64,
}

/// Maximum number of nodes. A call on a further path is added to its caller's node. Limits memory to about 130 MB for
/// programs with very many paths.
const MAX_NODES: usize = 1 << 18;

/// Maximum number of different functions on a path. Deeper calls are added to the last node.
const MAX_DEPTH: u32 = 2_000;

/// Maximum number of different tags kept for a node.
const MAX_TAGS: usize = 8;

impl Default for Profile {
    fn default() -> Self {
        Profile {
            nodes: vec![Node::default()],
            calls: HashMap::default(),
            recent: Callees::default(),
            manual: HashMap::new(),
            known: HashSet::new(),
            path: Vec::new(),
            measured: Vec::new(),
            sampled: HashMap::default(),
            grows: (0, 0),
            elided: HashMap::new(),
            clock_gaps: (0, 0, 0),
            merged: 0,
        }
    }
}

impl Profile {
    /// Creates an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies a change.
    #[inline(always)] // so that a change is never put together in memory
    pub fn change(&mut self, change: &Change<'_>) {
        match change {
            Change::Opened { what, .. } => self.open(what),
            Change::Closed { span, depth } => self.close(*span, *depth),
            Change::Noted { note, .. } => self.note(note),
        }
    }

    #[inline(always)]
    fn open(&mut self, what: &What) {
        let from = self.path.last().copied().unwrap_or(ROOT);
        let to = match what {
            What::Call(probe) => self.callee(from, *probe),
            What::Manual(_) => self.other_step(from, what),
        };
        self.path.push(to);
        self.nodes[to.0 as usize].calls += 1;
        self.activate(to);
    }

    /// Counts one more open call in that node.
    #[inline(always)]
    fn activate(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0 as usize];
        if node.active > 0 {
            node.recursive = true;
        }
        node.active += 1;
    }

    /// Counts one open call less in that node. Returns whether none is open.
    #[inline(always)]
    fn deactivate(&mut self, id: NodeId) -> bool {
        let node = &mut self.nodes[id.0 as usize];
        node.active -= 1;
        node.active == 0
    }

    /// The node of a call of `function` from `from`.
    #[inline(always)]
    fn callee(&mut self, from: NodeId, function: ProbeId) -> NodeId {
        match self.recent.get(from, function) {
            Some(to) => to,
            None => self.other_step(from, &What::Call(function)),
        }
    }

    #[cold]
    #[inline(never)]
    fn note(&mut self, note: &Note<'_>) {
        let node = &mut self.nodes[self.path.last().unwrap_or(&ROOT).0 as usize];
        match note {
            Note::MemoryGrow(pages) => {
                self.grows.0 += 1;
                self.grows.1 += u64::from(*pages);
            }
            Note::Elided(probe, calls) => *self.elided.entry(*probe).or_default() += u64::from(*calls),
            Note::ClockGap(nanos) => {
                let (times, sum, most) = self.clock_gaps;
                self.clock_gaps = (times + 1, sum.saturating_add(*nanos), most.max(*nanos));
            }
            Note::Log(..) => node.logs += 1,
            Note::Metric(_) => node.metrics += 1,
            Note::Tags(tags) => {
                for tag in *tags {
                    if node.tags.len() < MAX_TAGS && !node.tags.contains(tag) {
                        node.tags.push(tag.clone());
                    }
                }
            }
        }
    }

    #[inline(never)]
    fn other_step(&mut self, from: NodeId, what: &What) -> NodeId {
        self.step(from, what)
    }

    /// The node of `what` when it is opened in `from`: an ancestor of `from` if the call recurses, otherwise a child.
    fn step(&mut self, from: NodeId, what: &What) -> NodeId {
        let known = match what {
            What::Call(probe) => self.calls.get(&(from, *probe)),
            What::Manual(name) => self.manual.get(&(from, name.clone())),
        };
        let to = match known {
            Some(to) => *to,
            None => self.first_step(from, what),
        };
        if let What::Call(probe) = what {
            self.recent.set(from, *probe, to);
        }
        to
    }

    #[cold]
    fn first_step(&mut self, from: NodeId, what: &What) -> NodeId {
        let to = match self.node_above(from, what) {
            Some(above) => above,
            None if self.nodes.len() >= MAX_NODES || self[from].depth >= MAX_DEPTH => {
                self.merged += 1;
                // At the limit, calls from the host go to the last node.
                return if from == ROOT { NodeId(self.nodes.len() as u32 - 1) } else { from };
            }
            None => {
                let id = NodeId(self.nodes.len() as u32);
                let depth = self[from].depth + 1;
                let function = match what {
                    What::Call(probe) => probe.0.into(),
                    What::Manual(_) => NO_FUNCTION,
                };
                let what = Some(what.clone());
                self.nodes.push(Node { what, parent: Some(from), function, depth, ..Default::default() });
                self.nodes[from.0 as usize].children.push(id);
                self.known.extend(self[id].what.clone());
                id
            }
        };
        match what {
            What::Call(probe) => self.calls.insert((from, *probe), to),
            What::Manual(name) => self.manual.insert((from, name.clone()), to),
        };
        to
    }

    /// The node of `what` among `from` and its ancestors.
    fn node_above(&self, from: NodeId, what: &What) -> Option<NodeId> {
        if !self.known.contains(what) {
            return None;
        }
        let mut above = Some(from);
        while let Some(id) = above {
            if self[id].what.as_ref() == Some(what) {
                return Some(id);
            }
            above = self[id].parent;
        }
        None
    }

    #[inline(always)]
    fn close(&mut self, span: Span<'_>, depth: usize) {
        let id = match self.path.len().checked_sub(depth + 1) {
            Some(0) => self.path.pop().expect("it is not empty"),
            Some(_) => self.path.remove(depth),
            None => return,
        };
        let is_over = self.deactivate(id);
        let node = &mut self.nodes[id.0 as usize];
        node.self_time += span.self_time;
        if is_over {
            node.total += span.end - span.start;
        }
        if span.how != SpanEnd::Returned {
            node.ended(span.how);
        }
        if depth < self.path.len() {
            self.hoist_from(depth);
        }
    }

    /// The root, which stands for the run. Its children are the functions that the host called.
    pub fn root(&self) -> &Node {
        &self[ROOT]
    }

    /// Nanoseconds spent in hooked functions.
    pub fn total(&self) -> u64 {
        self.root().children.iter().map(|c| self[*c].total).sum()
    }

    /// Number of calls, including those that were only counted. Manual spans are not calls.
    pub fn calls(&self) -> u64 {
        let kept = self.nodes.iter().filter(|n| matches!(n.what, Some(What::Call(_)))).map(|n| n.calls);
        kept.sum::<u64>() + self.elided.values().sum::<u64>()
    }

    /// Number of manual spans.
    pub fn manual_spans(&self) -> u64 {
        self.nodes.iter().filter(|n| matches!(n.what, Some(What::Manual(_)))).map(|n| n.calls).sum()
    }

    /// Number of different functions that were called.
    pub fn functions(&self) -> usize {
        let called = self.nodes.iter().filter(|n| !n.is_empty());
        let kept = called.filter_map(|n| match n.what {
            Some(What::Call(probe)) => Some(probe),
            _ => None,
        });
        kept.chain(self.elided.keys().copied()).collect::<HashSet<_>>().len()
    }

    /// Number of calls that were only counted because they were too short or too deep, by function.
    pub fn elided(&self) -> &HashMap<ProbeId, u64> {
        &self.elided
    }

    /// Clock gaps during recording: their number, their total and their maximum in nanoseconds.
    pub fn clock_gaps(&self) -> (u64, u64, u64) {
        self.clock_gaps
    }

    /// Number of `memory.grow` calls, and the sum of pages requested.
    pub fn memory_grows(&self) -> (u64, u64) {
        self.grows
    }

    /// Number of calls that were added to their caller's node because there were too many paths.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// All nodes except the root, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes[1..].iter()
    }

    /// All nodes except the root with their ids, parents before children.
    pub fn nodes_with_ids(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (1..).map(NodeId).zip(&self.nodes[1..])
    }

    /// The functions and spans on the path from the root to this node.
    pub fn path_to<'p>(&'p self, node: &'p Node) -> Vec<&'p What> {
        let mut path: Vec<&What> = Vec::new();
        let mut node = Some(node);
        while let Some(here) = node {
            path.extend(&here.what);
            node = here.parent.map(|id| &self[id]);
        }
        path.reverse();
        path
    }
}

impl Node {
    #[cold]
    fn ended(&mut self, how: SpanEnd) {
        match how {
            SpanEnd::Returned => {}
            SpanEnd::Unwound => self.unwound += 1,
            SpanEnd::Forgotten => self.forgotten += 1,
            SpanEnd::Exited | SpanEnd::Interrupted | SpanEnd::Unfinished => self.cut_off += 1,
            SpanEnd::Trapped { origin } => {
                self.cut_off += 1;
                self.trapped |= origin;
            }
        }
    }
}

impl std::ops::Index<NodeId> for Profile {
    type Output = Node;
    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

#[cfg(test)]
mod tests;
