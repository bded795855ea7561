//! The hot loop of the profile for programs with many calls.

use super::super::span_builder::{MAX_CALLS, What};
use super::{Profile, ROOT};
use wasmtrace_abi::buffer::{Kind, is_leaf, meaning};
use wasmtrace_abi::hook::ProbeId;

impl Profile {
    /// Processes plain entries and exits without times, up to the first word that is not an exit of the innermost call,
    /// or that exceeds the number of open calls. Returns how many words were processed and how many of them began a
    /// call. Lowers `low` to the minimum number of open spans in between.
    ///
    /// This combines [`SpanBuilder`](super::super::span_builder::SpanBuilder) and [`Profile::change`] for nearly all
    /// events of a program.
    pub(crate) fn words(&mut self, words: &[u32], low: &mut usize) -> (usize, u64) {
        let mut at = self.path.last().copied().unwrap_or(ROOT);
        let (mut calls, mut least) = (0, *low);
        let mut taken = words.len();
        for (i, &word) in words.iter().enumerate() {
            if word & 3 == Kind::Enter as u32 {
                if self.path.len() >= MAX_CALLS {
                    taken = i;
                    break;
                }
                at = self.callee(at, ProbeId(word >> 2));
                calls += 1;
                self.nodes[at.0 as usize].calls += 1;
                self.activate(at);
                self.path.push(at);
            } else if word & 3 == Kind::Exit as u32 && self.nodes[at.0 as usize].function == u64::from(word >> 2) {
                self.deactivate(at);
                self.path.pop();
                least = least.min(self.path.len());
                at = self.path.last().copied().unwrap_or(ROOT);
            } else if is_leaf(word) && self.path.len() < MAX_CALLS {
                let callee = self.callee(at, meaning(word).0);
                calls += 1;
                let node = &mut self.nodes[callee.0 as usize];
                node.calls += 1;
                node.recursive |= node.active > 0;
            } else {
                taken = i;
                break;
            }
        }
        *low = least;
        (taken, calls)
    }

    /// The open functions and spans from that depth on.
    pub(crate) fn open_from(&self, depth: usize) -> impl Iterator<Item = &What> {
        self.path[depth..].iter().filter_map(|id| self.nodes[id.0 as usize].what.as_ref())
    }

    /// Number of open functions and spans.
    pub(crate) fn depth(&self) -> usize {
        self.path.len()
    }
}
