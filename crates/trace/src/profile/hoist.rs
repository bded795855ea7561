//! Moving spans that outlive the span around them to their new place in the tree.

use super::{MAX_TAGS, Measured, Node, NodeId, Profile, ROOT};

impl Profile {
    /// Moves the spans that outlive the span at `depth` to its place.
    #[cold]
    #[inline(never)]
    pub(super) fn hoist_from(&mut self, depth: usize) {
        for above in depth..self.path.len() {
            self.hoist(above);
        }
    }

    /// Moves the open span at that depth to where its path now leads.
    fn hoist(&mut self, depth: usize) {
        let old = self.path[depth];
        let from = depth.checked_sub(1).map_or(ROOT, |below| self.path[below]);
        let Some(what) = self.nodes[old.0 as usize].what.clone() else { return };
        let new = self.step(from, &what);
        if new == old {
            return;
        }
        self.path[depth] = new;
        self.deactivate(old);
        let old_node = &mut self.nodes[old.0 as usize];
        old_node.calls -= 1;
        let empty = old_node.calls == 0;
        let recursive = self.nodes[new.0 as usize].recursive;
        self.activate(new);
        self.nodes[new.0 as usize].recursive = recursive;
        self.nodes[new.0 as usize].calls += 1;
        if empty {
            self.merge(old, new);
        }
    }

    /// Adds a node without open calls, and its descendants, to another node.
    fn merge(&mut self, from: NodeId, into: NodeId) {
        let mut todo = vec![(from, into)];
        while let Some((from, into)) = todo.pop() {
            if from == into {
                continue;
            }
            let source = &mut self.nodes[from.0 as usize];
            let kept = Node {
                what: source.what.clone(),
                function: source.function,
                parent: source.parent,
                children: source.children.clone(),
                active: source.active,
                depth: source.depth,
                ..Default::default()
            };
            let taken = std::mem::replace(source, kept);
            if let Some(measured) = self.measured.get_mut(from.0 as usize) {
                let measured = std::mem::take(measured);
                self.measured.resize(self.nodes.len(), Measured::default());
                self.measured[into.0 as usize].absorb(&measured);
            }
            let target = &mut self.nodes[into.0 as usize];
            target.calls += taken.calls;
            target.total += taken.total;
            target.self_time += taken.self_time;
            target.samples.0 += taken.samples.0;
            target.samples.1 += taken.samples.1;
            target.recursive |= taken.recursive;
            target.unwound += taken.unwound;
            target.cut_off += taken.cut_off;
            target.forgotten += taken.forgotten;
            target.trapped |= taken.trapped;
            target.logs += taken.logs;
            target.metrics += taken.metrics;
            for tag in taken.tags {
                if target.tags.len() < MAX_TAGS && !target.tags.contains(&tag) {
                    target.tags.push(tag);
                }
            }
            for child in taken.children {
                let node = &self.nodes[child.0 as usize];
                // Open nodes are hoisted separately; empty nodes have nothing to move.
                if node.active == 0 && (node.calls > 0 || !node.children.is_empty()) {
                    let what = node.what.clone().expect("only the root is nothing");
                    let to = self.step(into, &what);
                    todo.push((child, to));
                }
            }
        }
    }
}
