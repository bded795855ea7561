//! The time of a node from samples and host calls.

use std::collections::HashSet;

use super::super::span_builder::What;
use super::Profile;
use super::node::{Measured, NO_FUNCTION, Node, NodeId, ROOT, Times};
use wasmtrace_abi::hook::ProbeId;

/// Maximum depth at which a sampled function is searched among the open calls.
const SEARCH: usize = 64;

impl Profile {
    /// The node of a sample in that function: the innermost open span. Between entering a function and recording the
    /// word, or between the exit word and leaving it, the function is a callee of that span.
    fn sampled_in(&self, function: Option<ProbeId>) -> NodeId {
        let top = self.path.last().copied().unwrap_or(ROOT);
        let Some(function) = function else { return top };
        let key = u64::from(function.0);
        let is_call = |id: &&NodeId| self.nodes[id.0 as usize].function != NO_FUNCTION;
        let innermost = self.path.iter().rev().find(is_call);
        if innermost.is_some_and(|id| self.nodes[id.0 as usize].function == key) {
            return top;
        }
        if let Some(callee) = self.calls.get(&(top, function)) {
            return *callee;
        }
        // An exception is unwinding and has not been recorded yet.
        let outer = self.path.iter().rev().take(SEARCH).find(|id| self.nodes[id.0 as usize].function == key);
        outer.copied().unwrap_or(top)
    }

    /// Adds to each open node the time it has taken so far, outermost first: self time and total.
    pub(crate) fn credit(&mut self, taken: &[(u64, u64)]) {
        let mut seen = HashSet::new();
        for (id, (own, duration)) in self.path.iter().zip(taken) {
            let node = &mut self.nodes[id.0 as usize];
            node.self_time += own;
            if seen.insert(*id) {
                node.total += duration;
            }
        }
    }

    /// Adds nanoseconds to the innermost open node, or to that of a function below it. Returns that node, or `None` if
    /// nothing is open.
    pub(crate) fn measure(
        &mut self,
        function: Option<ProbeId>,
        is_sample: bool,
        nanos: u64,
        part: impl Fn(&mut Measured) -> &mut Times,
    ) -> Option<NodeId> {
        let node = self.sampled_in(function);
        if node == ROOT {
            return None;
        }
        let mut open = self.open_nodes();
        if self.nodes[node.0 as usize].active == 0 {
            open.push(node);
        }
        self.add(node, open.into_iter(), is_sample, nanos, part);
        Some(node)
    }

    /// The open nodes, each once.
    fn open_nodes(&self) -> Vec<NodeId> {
        // Deep recursion has fewer nodes than calls.
        if self.path.len() > self.nodes.len() {
            let ids = (0..self.nodes.len() as u32).map(NodeId);
            return ids.filter(|id| self.nodes[id.0 as usize].active > 0).collect();
        }
        let mut open = self.path.clone();
        open.sort_unstable();
        open.dedup();
        open
    }

    fn add(
        &mut self,
        node: NodeId,
        open: impl Iterator<Item = NodeId>,
        is_sample: bool,
        nanos: u64,
        part: impl Fn(&mut Measured) -> &mut Times,
    ) {
        if self.measured.len() < self.nodes.len() {
            self.measured.resize(self.nodes.len(), Measured::default());
        }
        let own = &mut part(&mut self.measured[node.0 as usize]).self_time;
        *own = own.saturating_add(nanos);
        self.nodes[node.0 as usize].samples.0 += u64::from(is_sample);
        for id in open {
            let total = &mut part(&mut self.measured[id.0 as usize]).total;
            *total = total.saturating_add(nanos);
            self.nodes[id.0 as usize].samples.1 += u64::from(is_sample);
        }
    }

    /// Adds nanoseconds to the node at the end of a path, from the outermost call on. Creates missing nodes, without
    /// calls.
    pub(crate) fn measure_path(
        &mut self,
        path: impl Iterator<Item = ProbeId>,
        is_sample: bool,
        nanos: u64,
        part: impl Fn(&mut Measured) -> &mut Times,
    ) -> Option<NodeId> {
        let (mut node, mut open) = (ROOT, HashSet::new());
        for function in path {
            node = self.step(node, &What::Call(function));
            if !open.insert(node) {
                self.nodes[node.0 as usize].recursive = true;
            }
        }
        if node == ROOT {
            return None;
        }
        self.add(node, open.into_iter(), is_sample, nanos, part);
        Some(node)
    }

    /// Sets the times of all nodes except the root from their measurements.
    pub(crate) fn settle(&mut self, mut times: impl FnMut(&mut Node, &Measured)) {
        self.measured.resize(self.nodes.len(), Measured::default());
        self.nodes[1..].iter_mut().zip(&self.measured[1..]).for_each(|(node, measured)| times(node, measured));
    }

    /// All nodes, each with its measurements.
    pub(crate) fn with_measured(&self) -> impl Iterator<Item = (&Node, Measured)> {
        let measured = self.measured.iter().copied().chain(std::iter::repeat(Measured::default()));
        self.nodes.iter().zip(measured).skip(1)
    }
}
