//! Totals of each function, over all of its callers.

use std::collections::HashMap;

use super::super::span_builder::What;
use super::Profile;
use wasmtrace_abi::hook::ProbeId;

/// Totals of a function or a manual span, over all call paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// The function or span.
    pub what: What,
    /// Number of calls or openings, including calls that were only counted.
    pub calls: u64,
    /// Number of calls that were only counted.
    pub elided: u64,
    /// Total time in nanoseconds, from entry to exit. Recursive calls are not counted twice.
    pub total: u64,
    /// Self time in nanoseconds, without callees.
    pub self_time: u64,
    /// Number of samples in the function itself, and in it and its callees.
    pub samples: (u64, u64),
    /// Measured nanoseconds in the host, of the self time and of the total.
    pub host: (u64, u64),
    /// Whether more than half of the self time is an estimate ([`Node::estimated`](super::Node::estimated)).
    pub estimated: bool,
}

impl Profile {
    /// The totals of each function, in the order of their first calls.
    pub fn by_function(&self) -> Vec<Totals> {
        let mut all: Vec<Totals> = Vec::new();
        let mut known: HashMap<&What, usize> = HashMap::new();
        let nothing = |what: What| Totals {
            what,
            calls: 0,
            elided: 0,
            total: 0,
            self_time: 0,
            samples: (0, 0),
            host: (0, 0),
            estimated: false,
        };
        let mut estimated: Vec<u64> = Vec::new();
        for node in self.nodes().filter(|n| !n.is_empty()) {
            let what = node.what.as_ref().expect("only the root is nothing");
            let at = *known.entry(what).or_insert_with(|| {
                all.push(nothing(what.clone()));
                estimated.push(0);
                all.len() - 1
            });
            estimated[at] += if node.estimated { node.self_time } else { 0 };
            all[at].samples.0 += node.samples.0;
            all[at].samples.1 += node.samples.1;
            all[at].host.0 += node.host.0;
            all[at].host.1 += node.host.1;
            // No node is below a node of the same function, so nothing is counted twice.
            all[at].calls += node.calls;
            all[at].total += node.total;
            all[at].self_time += node.self_time;
        }
        for (totals, estimated) in all.iter_mut().zip(estimated) {
            totals.estimated = estimated * 2 > totals.self_time;
        }
        let mut elided: Vec<(ProbeId, u64)> = self.elided.iter().map(|(probe, calls)| (*probe, *calls)).collect();
        elided.sort_unstable();
        for (probe, calls) in elided {
            let what = What::Call(probe);
            let at = known.get(&what).copied().unwrap_or_else(|| {
                all.push(nothing(what));
                all.len() - 1
            });
            all[at].calls += calls;
            all[at].elided += calls;
        }
        all
    }
}
