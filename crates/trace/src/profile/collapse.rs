//! A call tree without some of its functions.

use super::node::{NodeId, ROOT};
use super::{Node, Profile};
use crate::span_builder::What;

/// The name of the node with the time of functions that are not kept and have no caller that is.
const LEFT_OUT: &str = "[left out]";

impl Profile {
    /// The tree without the functions that `keeps` refuses, and without calls nested in `max_depth` others or more. Their
    /// calls are counted ([`Profile::elided`]), and their self time is added to their callers, as if they had not been
    /// hooked. Without such a caller, it is added to a node `[left out]`. Times have to be settled already.
    #[must_use]
    pub fn collapsed(&self, keeps: impl Fn(&What) -> bool, max_depth: Option<u32>) -> Profile {
        let mut kept = Profile {
            grows: self.grows,
            elided: self.elided.clone(),
            clock_gaps: self.clock_gaps,
            merged: self.merged,
            ..Profile::default()
        };
        // The node that each node has become, or that of its caller.
        let mut to: Vec<NodeId> = vec![ROOT];
        for node in self.nodes() {
            let around = node.parent.map_or(ROOT, |parent| to[parent.index()]);
            let what = node.what.as_ref().expect("only the root is nothing");
            let is_deep = max_depth.is_some_and(|most| kept[around].depth >= most);
            to.push(match what {
                What::Call(_) if is_deep || !keeps(what) => {
                    match around {
                        ROOT if node.self_time > 0 => {
                            let left_out = kept.left_out_node();
                            kept.take_in(left_out, node);
                            kept.nodes[left_out.index()].total += node.self_time;
                        }
                        _ => kept.take_in(around, node),
                    }
                    around
                }
                _ => {
                    let own = kept.step(around, what);
                    kept.absorb(own, node);
                    own
                }
            });
        }
        for ((node, offset), samples) in &self.sampled {
            let own = to[node.index()];
            if kept[own].what == self[*node].what {
                *kept.sampled.entry((own, *offset)).or_default() += samples;
            }
        }
        kept
    }

    /// Adds a node that is not kept to its caller.
    fn take_in(&mut self, around: NodeId, node: &Node) {
        if let Some(What::Call(function)) = node.what {
            *self.elided.entry(function).or_default() += node.calls;
        }
        let caller = &mut self.nodes[around.index()];
        caller.self_time += node.self_time;
        caller.host.0 += node.host.0;
        caller.samples.0 += node.samples.0;
        caller.logs += node.logs;
        caller.metrics += node.metrics;
        caller.trapped |= node.trapped;
    }

    /// The node for the time of functions that are not kept and have no caller that is.
    fn left_out_node(&mut self) -> NodeId {
        self.step(ROOT, &What::Manual(LEFT_OUT.into()))
    }

    /// Adds a node to one that stands for it.
    fn absorb(&mut self, own: NodeId, node: &Node) {
        let own = &mut self.nodes[own.index()];
        // An estimate is a node of which more than half is one.
        let estimated = [&*own, node].iter().filter(|node| node.estimated).map(|node| node.total).sum::<u64>();
        own.calls += node.calls;
        own.total += node.total;
        own.self_time += node.self_time;
        own.host.0 += node.host.0;
        own.host.1 += node.host.1;
        own.estimated = estimated * 2 > own.total;
        own.samples.0 += node.samples.0;
        own.samples.1 += node.samples.1;
        own.recursive |= node.recursive;
        own.trapped |= node.trapped;
        own.unwound += node.unwound;
        own.cut_off += node.cut_off;
        own.forgotten += node.forgotten;
        own.logs += node.logs;
        own.metrics += node.metrics;
        for tag in &node.tags {
            if own.tags.len() < super::MAX_TAGS && !own.tags.contains(tag) {
                own.tags.push(tag.clone());
            }
        }
    }
}
