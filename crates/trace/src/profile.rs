//! Calls → a call tree: how often, how long, from where.
//!
//! Recursion is folded: a function that is called while it is open on the same path adds to the node that is open, so
//! the tree is no deeper than the program has functions, however deep it recurses. A node's *total* counts the outermost
//! of such calls only; its *self time* counts all of them. So the self times of the tree add up to the time spent in
//! hooked functions, to the nanosecond; totals of the callees of a recursive function may overlap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::span_builder::{Change, Note, Span, SpanEnd, What};
use wasmtrace_abi::hook::ProbeId;

mod callees;
mod hoist;
mod measured;
mod node;
mod totals;
mod words;

use callees::Callees;
pub(crate) use node::{Measured, Times};
use node::{NO_FUNCTION, ROOT};
pub use node::{Node, NodeId};
pub use totals::Totals;

/// A call tree.
#[derive(Debug, Clone)]
pub struct Profile {
    nodes: Vec<Node>,
    /// From a node, by a function, to a node: one lookup a call, so with a cheap hash, and the last ones are found without.
    calls: HashMap<(NodeId, ProbeId), NodeId, FxBuildHasher>,
    recent: Callees,
    /// The same by a manual span's name.
    manual: HashMap<(NodeId, Arc<str>), NodeId>,
    /// What has a node at all.
    known: HashSet<What>,
    /// The nodes of the open spans.
    path: Vec<NodeId>,
    /// What each node took by samples and by calls of the host; as many as it takes.
    measured: Vec<Measured>,
    /// `memory.grow`s, and the pages that they asked for.
    grows: (u64, u64),
    /// Calls that were counted only.
    folded: HashMap<ProbeId, u64>,
    /// How often the clock stood still, and for how many nanoseconds in all and at most.
    drifts: (u64, u64, u64),
    merged: u64,
}

/// More paths than this are not told apart: a call on a new path is then added to its caller's node. Keeps memory
/// bounded (about 130 MB) for programs whose paths multiply.
const MAX_NODES: usize = 1 << 18;

/// Paths of more different functions than this are not followed further: their calls are added to the node at the end.
const MAX_DEPTH: u32 = 2_000;

/// How many different tags of a node are kept.
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
            grows: (0, 0),
            folded: HashMap::new(),
            drifts: (0, 0, 0),
            merged: 0,
        }
    }
}

impl Profile {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what an event changed.
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

    /// A call or a span is open in that node.
    #[inline(always)]
    fn activate(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.0 as usize];
        if node.active > 0 {
            node.recursive = true;
        }
        node.active += 1;
    }

    /// It is so no more. Whether it is not open at all.
    #[inline(always)]
    fn deactivate(&mut self, id: NodeId) -> bool {
        let node = &mut self.nodes[id.0 as usize];
        node.active -= 1;
        node.active == 0
    }

    /// Where a call from `from` goes.
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
            Note::Folded(probe, calls) => *self.folded.entry(*probe).or_default() += u64::from(*calls),
            Note::Drift(nanos) => {
                let (times, sum, most) = self.drifts;
                self.drifts = (times + 1, sum.saturating_add(*nanos), most.max(*nanos));
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

    /// The node of `what` when it is opened in `from`: one that `from` is in, else a child.
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
                // What the host calls directly then goes to the last node that was made.
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

    /// The node of `what` among `from` and what it is in.
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
        node.own += span.own;
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

    /// The root, which stands for the run: its children are the functions that the host called.
    pub fn root(&self) -> &Node {
        &self[ROOT]
    }

    /// Nanoseconds spent in hooked functions.
    pub fn total(&self) -> u64 {
        self.root().children.iter().map(|c| self[*c].total).sum()
    }

    /// How many calls there were, those that were counted only among them; manual spans are not calls.
    pub fn calls(&self) -> u64 {
        let kept = self.nodes.iter().filter(|n| matches!(n.what, Some(What::Call(_)))).map(|n| n.calls);
        kept.sum::<u64>() + self.folded.values().sum::<u64>()
    }

    /// How many manual spans there were.
    pub fn manual_spans(&self) -> u64 {
        self.nodes.iter().filter(|n| matches!(n.what, Some(What::Manual(_)))).map(|n| n.calls).sum()
    }

    /// How many different functions were called.
    pub fn functions(&self) -> usize {
        let called = self.nodes.iter().filter(|n| !n.is_empty());
        let kept = called.filter_map(|n| match n.what {
            Some(What::Call(probe)) => Some(probe),
            _ => None,
        });
        kept.chain(self.folded.keys().copied()).collect::<HashSet<_>>().len()
    }

    /// Calls that were counted only, since they were too short or too deep to be kept: of each function.
    pub fn folded(&self) -> &HashMap<ProbeId, u64> {
        &self.folded
    }

    /// How often the clock stood still while events were recorded, for how many nanoseconds in all, and at most.
    pub fn drifts(&self) -> (u64, u64, u64) {
        self.drifts
    }

    /// How often `memory.grow` was called, and how many pages were asked for in sum.
    pub fn memory_grows(&self) -> (u64, u64) {
        self.grows
    }

    /// How many calls were added to their caller's node because there were too many paths.
    pub fn merged(&self) -> u64 {
        self.merged
    }

    /// Every node but the root, parents before children.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes[1..].iter()
    }

    /// What is open from the root to this node.
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
