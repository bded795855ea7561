//! Samples of a node by source line.

use std::collections::HashMap;
use std::sync::Arc;

use super::{NodeId, Profile};
use crate::lines::Lines;
use crate::span_builder::What;
use wasmtrace_abi::hook::ProbeId;

/// A source line, and its number of samples in a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeLine {
    /// The path of the source file. An inlined line may be in another file than its function.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// Number of samples in the node itself.
    pub samples: u64,
}

/// Maximum number of instructions with samples, over all nodes. Limits memory to about 10 MB.
const MOST_PLACES: usize = 1 << 18;

impl Profile {
    /// Counts a sample at an instruction, if the node is one of its function.
    pub(crate) fn sampled_at(&mut self, node: NodeId, function: ProbeId, offset: u32) {
        let is_full = self.sampled.len() >= MOST_PLACES;
        if self[node].what != Some(What::Call(function)) {
            return;
        }
        match self.sampled.get_mut(&(node, offset)) {
            Some(count) => *count += 1,
            None if is_full => {}
            None => _ = self.sampled.insert((node, offset), 1),
        }
    }

    /// The sampled source lines of each node, those with the most samples first. Nodes without known lines are missing.
    pub fn lines(&self, lines: &Lines) -> HashMap<NodeId, Vec<NodeLine>> {
        let mut samples: HashMap<(NodeId, Arc<str>, u32), u64> = HashMap::new();
        for ((node, offset), count) in &self.sampled {
            if let Some(What::Call(function)) = self[*node].what
                && let Some((file, line)) = lines.get(function, *offset)
            {
                *samples.entry((*node, file.clone(), line)).or_default() += count;
            }
        }
        let mut by_node: HashMap<NodeId, Vec<NodeLine>> = HashMap::new();
        for ((node, file, line), samples) in samples {
            by_node.entry(node).or_default().push(NodeLine { file, line, samples });
        }
        for lines in by_node.values_mut() {
            lines.sort_unstable_by(|a, b| {
                b.samples.cmp(&a.samples).then_with(|| (&a.file, a.line).cmp(&(&b.file, b.line)))
            });
        }
        by_node
    }
}
