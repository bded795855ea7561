//! Calls → a call tree: how often, how long, from where.
//!
//! Recursion is folded: a function that is called while it is open on the same path adds to the node that is open, so
//! the tree is no deeper than the program has functions, however deep it recurses. A node's *total* counts the outermost
//! of such calls only; its *self time* counts all of them. So the self times of the tree add up to the time spent in
//! hooked functions, to the nanosecond; totals of the callees of a recursive function may overlap.

use std::collections::HashMap;

use super::fold::{Change, End, Span};
use crate::hook::ProbeId;

/// A call tree.
#[derive(Debug, Clone)]
pub struct Profile {
    nodes: Vec<Node>,
    edges: HashMap<(NodeId, ProbeId), NodeId>,
    /// The nodes of the open calls.
    path: Vec<NodeId>,
    /// `memory.grow`s, and the pages that they asked for.
    grows: (u64, u64),
    merged: u64,
}

/// Index of a node in its [`Profile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// A function, called from where its parent stands.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// The function; `None` for the root, which stands for the run.
    pub probe: Option<ProbeId>,
    /// Where it was called from.
    pub parent: Option<NodeId>,
    /// What it called, in the order in which that was first called.
    pub children: Vec<NodeId>,
    /// How often it was called.
    pub calls: u64,
    /// Nanoseconds from entering it to leaving it; nested calls of the same function are not counted twice.
    pub total: u64,
    /// Nanoseconds spent in it, and not in what it called.
    pub own: u64,
    /// Whether it was called while it was open.
    pub recursive: bool,
    /// How many of its calls were crossed by an exception.
    pub unwound: u64,
    /// How many of its calls were open when the program exited, trapped or was interrupted.
    pub cut_off: u64,
    /// Whether the program trapped in it.
    pub trapped: bool,
    active: u32,
}

/// More paths than this are not told apart: a call on a new path is then added to its caller's node. Keeps memory
/// bounded (about 150 MB) for programs whose paths multiply.
const MAX_NODES: usize = 1 << 20;

const ROOT: NodeId = NodeId(0);

impl Default for Profile {
    fn default() -> Self {
        Profile { nodes: vec![Node::default()], edges: HashMap::new(), path: Vec::new(), grows: (0, 0), merged: 0 }
    }
}

impl Profile {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what an event changed.
    pub fn change(&mut self, change: &Change) {
        match change {
            Change::Opened { probe, .. } => self.open(*probe),
            Change::Closed(span) => self.close(span),
            Change::MemoryGrow { pages, .. } => {
                self.grows.0 += 1;
                self.grows.1 += u64::from(*pages);
            }
        }
    }

    fn open(&mut self, probe: ProbeId) {
        let from = self.path.last().copied().unwrap_or(ROOT);
        let to = match self.edges.get(&(from, probe)) {
            Some(to) => *to,
            None => self.add_edge(from, probe),
        };
        self.path.push(to);
        let node = &mut self.nodes[to.0 as usize];
        node.calls += 1;
        node.active += 1;
    }

    fn add_edge(&mut self, from: NodeId, probe: ProbeId) -> NodeId {
        let mut above = Some(from);
        while let Some(id) = above {
            let node = &mut self.nodes[id.0 as usize];
            if node.probe == Some(probe) {
                node.recursive = true;
                self.edges.insert((from, probe), id);
                return id;
            }
            above = node.parent;
        }
        if self.nodes.len() >= MAX_NODES && from != ROOT {
            self.merged += 1;
            return from;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Node { probe: Some(probe), parent: Some(from), ..Default::default() });
        self.nodes[from.0 as usize].children.push(id);
        self.edges.insert((from, probe), id);
        id
    }

    fn close(&mut self, span: &Span) {
        let Some(id) = self.path.pop() else { return };
        let node = &mut self.nodes[id.0 as usize];
        node.own += span.own;
        node.active -= 1;
        if node.active == 0 {
            node.total += span.end - span.start;
        }
        match span.how {
            End::Returned => {}
            End::Unwound => node.unwound += 1,
            End::Exited | End::Interrupted => node.cut_off += 1,
            End::Trapped { origin } => {
                node.cut_off += 1;
                node.trapped |= origin;
            }
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

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.nodes.iter().map(|n| n.calls).sum()
    }

    /// How many different functions were called.
    pub fn functions(&self) -> usize {
        self.nodes.iter().filter_map(|n| n.probe).collect::<std::collections::HashSet<_>>().len()
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

    /// The functions from the root to this node.
    pub fn path_to(&self, node: &Node) -> Vec<ProbeId> {
        let mut path: Vec<ProbeId> = node.probe.into_iter().collect();
        let mut above = node.parent;
        while let Some(id) = above {
            path.extend(self[id].probe);
            above = self[id].parent;
        }
        path.reverse();
        path
    }
}

impl std::ops::Index<NodeId> for Profile {
    type Output = Node;
    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::super::fold::Fold;
    use super::super::{Ending, Event, EventKind};
    use super::*;

    #[test]
    fn recursion_folds_and_self_times_add_up() {
        let (f, g) = (ProbeId(1), ProbeId(2));
        let mut fold = Fold::new();
        let mut profile = Profile::new();
        // f → g → f → g, each 1 ns to enter and to leave
        let kinds = [EventKind::Enter(f), EventKind::Enter(g), EventKind::Enter(f), EventKind::Enter(g)];
        let kinds = kinds.into_iter().chain([g, f, g, f].map(EventKind::Exit));
        for (at, kind) in kinds.enumerate() {
            fold.event(Event { at: at as u64, kind }, &mut |c| profile.change(c));
        }
        fold.finish(7, &Ending::Returned, &mut |c| profile.change(c));
        let nodes: Vec<_> = profile.nodes().map(|n| (n.probe.unwrap(), n.calls, n.total, n.recursive)).collect();
        assert_eq!(nodes, [(f, 2, 7, true), (g, 2, 5, true)]);
        assert_eq!(profile.nodes().map(|n| n.own).sum::<u64>(), profile.total());
    }
}
