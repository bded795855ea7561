//! A cache of recent steps from caller to callee, so that most calls need no lookup in a hash map.

use super::node::NodeId;
use wasmtrace_abi::hook::ProbeId;

/// Number of cached steps of 16 bytes each: they fit into the L1 cache.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 11;

/// From a node and a function to a node. Each pair has one slot, which it shares with others.
#[derive(Debug, Clone)]
pub(super) struct Callees(Box<[(u64, NodeId); SLOTS]>);

/// An invalid pair: no function has that number.
const NONE: u64 = u64::MAX;

impl Default for Callees {
    fn default() -> Self {
        Callees(Box::new([(NONE, NodeId(0)); SLOTS]))
    }
}

impl Callees {
    #[inline(always)]
    pub(super) fn get(&self, from: NodeId, function: ProbeId) -> Option<NodeId> {
        let key = key(from, function);
        let (known, to) = self.0[slot(key)];
        (known == key).then_some(to)
    }

    pub(super) fn set(&mut self, from: NodeId, function: ProbeId, to: NodeId) {
        let key = key(from, function);
        self.0[slot(key)] = (key, to);
    }
}

#[inline(always)]
fn key(from: NodeId, function: ProbeId) -> u64 {
    u64::from(from.0) << 32 | u64::from(function.0)
}

/// The slot of a key: the high bits of a product (Knuth's multiplicative hash with 2^64 divided by the golden ratio).
#[inline(always)]
fn slot(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT_BITS)) as usize
}
