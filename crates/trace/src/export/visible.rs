//! The nodes of a call tree that are shown, in the order of their rows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use super::text::Look;
use crate::profile::{Node, NodeId, Profile};
use crate::span_builder::What;

/// The rows of a tree, and what they leave out.
pub(super) struct Visible {
    pub(super) rows: Vec<VisibleRow>,
    pub(super) hidden: Hidden,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct VisibleRow {
    pub(super) id: NodeId,
    pub(super) depth: usize,
    /// Whether the node is on the path of the heaviest callees.
    pub(super) hot: bool,
}

/// Nodes that are not shown.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Hidden {
    pub(super) paths: u64,
    pub(super) calls: u64,
    pub(super) self_time: u64,
}

/// Chooses the nodes to show: those of at least the minimum share, and at most `most` if the number is limited, the
/// largest ones. A node is shown only with its callers. Traps are always shown. Without a limit, so are manual spans and
/// calls that were `open` at the end, if those are marked.
pub(super) fn visible(profile: &Profile, look: &Look, marks_open: bool, most: Option<usize>) -> Visible {
    let always = |node: &Node| {
        let is_manual = matches!(node.what, Some(What::Manual(_)));
        node.trapped || (most.is_none() && (is_manual || (marks_open && node.cut_off > 0)))
    };
    let important = with_callers(profile, always);
    let kept = keep(profile, &important, look.least(profile.total()), most);
    let hot = hot_path(profile);
    let mut rows = Vec::new();
    // Depth first without recursion: a path may be as long as the program has functions.
    let mut todo: Vec<(NodeId, usize)> = Vec::new();
    let add = |of: &Node, depth: usize, todo: &mut Vec<(NodeId, usize)>| {
        let mut callees = callees(profile, of);
        callees.retain(|id| kept[id.index()]);
        // Equal rows keep the order of their first calls.
        callees.sort_by_key(|id| {
            let node = &profile[*id];
            Reverse(look.sort.key(node.total, node.self_time, node.calls))
        });
        todo.extend(callees.into_iter().rev().map(|id| (id, depth)));
    };
    add(profile.root(), 0, &mut todo);
    while let Some((id, depth)) = todo.pop() {
        rows.push(VisibleRow { id, depth, hot: hot.contains(&id) });
        add(&profile[id], depth + 1, &mut todo);
    }
    let mut hidden = Hidden::default();
    for (node, _) in profile.nodes().zip(&kept[1..]).filter(|(node, kept)| !**kept && !node.is_empty()) {
        hidden.paths += 1;
        hidden.calls += node.calls;
        hidden.self_time += node.self_time;
    }
    Visible { rows, hidden }
}

/// For each node, by index, whether it or a node below it is in question.
fn with_callers(profile: &Profile, is_in_question: impl Fn(&Node) -> bool) -> Vec<bool> {
    let mut found = vec![false];
    found.extend(profile.nodes().map(is_in_question));
    // Parents come before children.
    let parents: Vec<Option<NodeId>> = profile.nodes().map(|node| node.parent).collect();
    for (at, parent) in parents.into_iter().enumerate().rev() {
        if let Some(parent) = parent.filter(|_| found[at + 1]) {
            found[parent.index()] = true;
        }
    }
    found
}

/// Chooses nodes from the root on, the largest first. Nodes that are empty are not counted.
fn keep(profile: &Profile, important: &[bool], least: u64, most: Option<usize>) -> Vec<bool> {
    let mut kept = vec![false; important.len()];
    let mut heap = BinaryHeap::new();
    let mut count = 0;
    let offer = |of: &Node, heap: &mut BinaryHeap<(bool, u64, Reverse<NodeId>)>| {
        for id in callees(profile, of) {
            let node = &profile[id];
            if important[id.index()] || node.total >= least {
                heap.push((important[id.index()], node.total, Reverse(id)));
            }
        }
    };
    offer(profile.root(), &mut heap);
    while let Some((important, _, Reverse(id))) = heap.pop() {
        if !important && most.is_some_and(|most| count >= most) {
            break;
        }
        count += 1;
        kept[id.index()] = true;
        offer(&profile[id], &mut heap);
    }
    kept
}

/// The callees of a node. Empty nodes, whose calls were moved elsewhere, are replaced by theirs.
fn callees(profile: &Profile, node: &Node) -> Vec<NodeId> {
    let mut found = Vec::new();
    let mut todo: Vec<NodeId> = node.children.iter().rev().copied().collect();
    while let Some(id) = todo.pop() {
        match profile[id].is_empty() {
            true => todo.extend(profile[id].children.iter().rev()),
            false => found.push(id),
        }
    }
    found
}

/// The path of the heaviest callees from the root on. It ends where a function's self time is more than the total of any
/// of its callees.
fn hot_path(profile: &Profile) -> HashSet<NodeId> {
    let mut path = HashSet::new();
    let mut here = profile.root();
    while let Some(id) = callees(profile, here).into_iter().max_by_key(|id| (profile[*id].total, Reverse(*id))) {
        let node = &profile[id];
        if node.total == 0 || here.self_time > node.total {
            break;
        }
        path.insert(id);
        here = node;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, EventKind, RunOutcome};
    use crate::span_builder::SpanBuilder;
    use wasmtrace_abi::hook::ProbeId;

    /// The call tree of a text in which each digit enters a function of that time in its own code, and `.` leaves one.
    fn profile(calls: &str, ending: &RunOutcome) -> Profile {
        let (mut spans, mut profile, mut now, mut open) = (SpanBuilder::new(), Profile::new(), 0, Vec::new());
        for c in calls.chars() {
            let kind = match c.to_digit(10) {
                Some(digit) => {
                    open.push(digit);
                    EventKind::Enter(ProbeId(digit))
                }
                None => EventKind::Exit(ProbeId(open.pop().unwrap())),
            };
            spans.event(&Event { at: now, kind }, &mut |change| profile.change(change));
            now += c.to_digit(10).map_or(0, |digit| u64::from(digit) * 100);
        }
        spans.finish(now, ending, &mut |change| profile.change(change));
        profile
    }

    /// The rows as `function@depth`, with a `→` for those on the hot path.
    fn rows(profile: &Profile, look: &Look, most: Option<usize>) -> (String, Hidden) {
        let Visible { rows, hidden } = visible(profile, look, true, most);
        let text = rows.iter().map(|row| {
            let Some(What::Call(ProbeId(function))) = profile[row.id].what else { panic!() };
            format!("{}{function}@{}", if row.hot { "→" } else { "" }, row.depth)
        });
        (text.collect::<Vec<_>>().join(" "), hidden)
    }

    const ALL: Look = Look {
        min_share: 0.0,
        sort: super::super::text::Sort::Total,
        color: false,
        width: None,
        height: None,
        full_names: false,
    };

    #[test]
    fn the_hot_path_follows_the_heaviest_callee() {
        let profile = profile("1243..5.67....", &RunOutcome::Returned);
        assert_eq!(rows(&profile, &ALL, None).0, "→1@0 →2@1 →6@2 →7@3 4@2 3@3 5@2");
        // It ends where the function itself is the heaviest.
        let profile = self::profile("192.3..", &RunOutcome::Returned);
        assert_eq!(rows(&profile, &ALL, None).0, "→1@0 →9@1 3@2 2@2");
    }

    #[test]
    fn the_largest_rows_are_kept_with_their_callers() {
        let profile = profile("1243..5.67....", &RunOutcome::Returned);
        let (text, hidden) = rows(&profile, &ALL, Some(4));
        // Of equal rows, that of the first call is kept.
        assert_eq!(text, "→1@0 →2@1 →6@2 4@2");
        assert_eq!(hidden, Hidden { paths: 3, calls: 3, self_time: 1_500 });
        // No limit, a limit that is not reached, and a share.
        assert_eq!(rows(&profile, &ALL, None), rows(&profile, &ALL, Some(7)));
        let look = Look { min_share: 0.2, ..ALL };
        assert_eq!(rows(&profile, &look, None).0, "→1@0 →2@1 →6@2 →7@3 4@2");
    }

    #[test]
    fn what_was_open_is_shown_with_its_callers() {
        let look = Look { min_share: 0.5, ..ALL };
        let profile = profile("9.123", &RunOutcome::Interrupted(2));
        assert_eq!(rows(&profile, &look, None).0, "→9@0 1@0 2@1 3@2");
        // In a window, only what is large.
        assert_eq!(rows(&profile, &look, Some(12)).0, "→9@0");
    }
}
