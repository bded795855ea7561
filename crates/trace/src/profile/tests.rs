//! A call tree of events.

use super::super::span_builder::SpanBuilder;
use super::*;
use crate::event::{Event, EventKind, Manual, RunOutcome};

fn profile(kinds: Vec<EventKind>) -> Profile {
    let mut fold = SpanBuilder::new();
    let mut profile = Profile::new();
    let end = kinds.len() as u64 - 1;
    for (at, kind) in kinds.into_iter().enumerate() {
        fold.event(&Event { at: at as u64, kind }, &mut |c| profile.change(c));
    }
    fold.finish(end, &RunOutcome::Returned, &mut |c| profile.change(c));
    profile
}

fn shown(profile: &Profile) -> Vec<(String, u64)> {
    let name = |what: &What| match what {
        What::Call(probe) => probe.0.to_string(),
        What::Manual(name) => name.to_string(),
    };
    let nodes = profile.nodes().filter(|n| n.calls > 0);
    nodes.map(|n| (profile.path_to(n).into_iter().map(name).collect::<Vec<_>>().join("/"), n.calls)).collect()
}

#[test]
fn recursion_folds_and_self_times_add_up() {
    let (f, g) = (ProbeId(1), ProbeId(2));
    // f → g → f → g, each 1 ns to enter and to leave
    let kinds = [f, g, f, g].map(EventKind::Enter).into_iter().chain([g, f, g, f].map(EventKind::Exit));
    let profile = profile(kinds.collect());
    let nodes: Vec<_> = profile.nodes().map(|n| (n.what.clone().unwrap(), n.calls, n.total, n.recursive)).collect();
    assert_eq!(nodes, [(What::Call(f), 2, 7, true), (What::Call(g), 2, 5, true)]);
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
}

#[test]
fn a_span_that_a_helper_opens_stands_beside_the_helper() {
    let (main, open, work, close, inner) = (ProbeId(1), ProbeId(2), ProbeId(3), ProbeId(4), ProbeId(5));
    let manual = |m| EventKind::Manual(Box::new(m));
    let profile = profile(vec![
        EventKind::Enter(main),
        EventKind::Enter(open),
        manual(Manual::SpanEnter("m".into())),
        EventKind::Enter(inner),
        EventKind::Exit(inner),
        EventKind::Exit(open),
        EventKind::Enter(work),
        EventKind::Exit(work),
        EventKind::Enter(close),
        EventKind::Enter(inner),
        EventKind::Exit(inner),
        manual(Manual::SpanExit),
        EventKind::Exit(close),
        EventKind::Exit(main),
    ]);
    let expected = [("1", 1), ("1/2", 1), ("1/m", 1), ("1/m/5", 1), ("1/m/3", 1), ("1/4", 1), ("1/4/5", 1)];
    assert_eq!(shown(&profile), expected.map(|(path, calls)| (path.to_owned(), calls)));
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
}
