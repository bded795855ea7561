//! Theorems: samples that are fed by hand give exact shares; a tree that is built from words alone has the nodes, calls and
//! remarks of one that is built from events, whatever the words; it is off by no more than its samples are.

use arbtest::arbitrary::Unstructured;
use arbtest::arbtest;

use super::*;
use crate::event::Manual;
use crate::profile::Node;
use crate::span_builder::What;
use wasmtrace_abi::buffer::{Kind, word};
use wasmtrace_abi::hook::ProbeId;

const A: ProbeId = ProbeId(1);
const B: ProbeId = ProbeId(2);
const C: ProbeId = ProbeId(3);

fn enter(id: ProbeId) -> u32 {
    word(id, Kind::Enter)
}

fn exit(id: ProbeId) -> u32 {
    word(id, Kind::Exit)
}

fn sample(id: ProbeId) -> MarkKind {
    let place = Place::Function { id, offset: Some(7) };
    MarkKind::Sample(Sample { weight: 1_000, cost: 0, place, path: None })
}

fn stamp(called: u64, host: u64) -> MarkKind {
    MarkKind::Stamp(Stamp { over: called, called, returned: called + host, host, before_event: false })
}

/// Of each node the functions that lead to it, and nanoseconds: self time, total.
fn times(tree: &CallTree) -> Vec<(Vec<u32>, u64, u64)> {
    let profile = tree.profile();
    let number = |what: &What| match what {
        What::Call(id) => id.0,
        What::Manual(_) => 0,
    };
    let row = |node: &Node| (profile.path_to(node).into_iter().map(number).collect(), node.self_time, node.total);
    profile.nodes().map(row).collect()
}

/// A calls B, B calls C: the guest runs for a second, and is in C for three quarters of it and in A for the rest; the host works for
/// 500 ms in B.
#[test]
fn samples_give_exact_shares_and_calls_of_the_host_are_exact() {
    let mut tree = CallTree::counting();
    let mut batch = Batch::default();
    batch.mark(stamp(0, 0));
    batch.words.push(enter(A));
    (0..25).for_each(|_| batch.mark(sample(A)));
    batch.words.push(enter(B));
    batch.mark(stamp(400_000_000, 500_000_000));
    batch.words.push(enter(C));
    (0..75).for_each(|_| batch.mark(sample(C)));
    // What the guest does in hooks is nobody's time.
    let hooks = Sample { weight: 10_000, cost: 0, place: Place::Hook, path: None };
    (0..100).for_each(|_| batch.mark(MarkKind::Sample(hooks.clone())));
    batch.words.extend([exit(C), exit(B), exit(A)]);
    batch.mark(stamp(1_500_000_000, 0));
    tree.batch(&batch);
    tree.finish(&RunOutcome::Returned, 1_500_000_000, |_| {});
    let rest = |nanos: u64| nanos / 10; // the rest is in hooks: ten times what samples say, so the most that is taken off
    assert_eq!(
        times(&tree),
        [
            (vec![1], rest(250_000_000), rest(1_000_000_000) + 500_000_000),
            (vec![1, 2], 500_000_000, rest(750_000_000) + 500_000_000),
            (vec![1, 2, 3], rest(750_000_000), rest(750_000_000)),
        ]
    );
    let accuracy = tree.accuracy();
    assert_eq!((accuracy.samples, accuracy.in_hooks, accuracy.host), (100, 100, 500_000_000));
}

/// A tenth of the samples is in hooks. Samples in a hook module tell more of what hooks take than samples in hooks do.
#[test]
fn what_hooks_take_depends_on_where_they_are() {
    let own_time = |place| {
        let mut tree = CallTree::counting();
        let mut batch = Batch::default();
        let sample = |place| MarkKind::Sample(Sample { weight: 10_000_000, cost: 0, place, path: None });
        batch.mark(stamp(0, 0));
        batch.words.push(enter(A));
        (0..90).for_each(|_| batch.mark(sample(Place::Function { id: ProbeId(1), offset: None })));
        (0..10).for_each(|_| batch.mark(sample(place)));
        batch.words.push(exit(A));
        batch.mark(stamp(1_000_000_000, 0));
        tree.batch(&batch);
        tree.finish(&RunOutcome::Returned, 1_000_000_000, |_| {});
        assert_eq!((tree.accuracy().samples, tree.accuracy().in_hooks), (90, 10));
        times(&tree)[0].1
    };
    assert_eq!((own_time(Place::Hook), own_time(Place::HookModule)), (730_000_000, 830_000_000));
}

/// Before a function's first word, and behind its last, the innermost open call is another: the sample is the function's all the
/// same. One in a function that is not hooked is its caller's.
#[test]
fn a_sample_before_the_word_of_an_entry_belongs_to_the_call_that_is_entered() {
    let mut tree = CallTree::counting();
    let mut batch = Batch::default();
    batch.mark(stamp(0, 0));
    batch.words.extend([enter(A), enter(B), exit(B)]);
    batch.mark(sample(B));
    batch.mark(sample(C));
    batch.words.extend([enter(B), exit(B), exit(A)]);
    batch.mark(stamp(2_000, 0));
    tree.batch(&batch);
    tree.finish(&RunOutcome::Returned, 2_000, |_| {});
    assert_eq!(times(&tree), [(vec![1], 1_000, 2_000), (vec![1, 2], 1_000, 1_000)]);
}

/// Calls that recurse: each function's total counts a sample once, however often the function is open.
#[test]
fn totals_of_recursive_functions_count_a_sample_once() {
    let mut tree = CallTree::counting();
    let mut batch = Batch::default();
    batch.mark(stamp(0, 0));
    batch.words.extend([enter(A), enter(B), enter(A), enter(B)]);
    batch.mark(sample(B));
    batch.words.extend([exit(B), exit(A), exit(B)]);
    batch.mark(sample(A));
    batch.words.push(exit(A));
    batch.mark(stamp(2_000, 0));
    tree.batch(&batch);
    tree.finish(&RunOutcome::Returned, 2_000, |_| {});
    assert_eq!(times(&tree), [(vec![1], 1_000, 2_000), (vec![1, 2], 1_000, 1_000)]);
}

#[test]
fn what_steps_take_on_average_counts_like_so_many_samples() {
    // Two functions that take the same by their events; all samples are in one.
    let tree = |samples: u64| {
        let mut tree = CallTree::new();
        let mut batch = Batch::default();
        batch.event(Event { at: 0, kind: EventKind::Enter(A) });
        batch.mark(stamp(0, 0));
        batch.event(Event { at: 0, kind: EventKind::Enter(B) });
        (0..samples).for_each(|_| batch.mark(sample(B)));
        batch.event(Event { at: 500_000, kind: EventKind::Exit(B) });
        batch.event(Event { at: 1_000_000, kind: EventKind::Exit(A) });
        batch.mark(stamp(1_000_000, 0));
        tree.batch(&batch);
        tree.finish(&RunOutcome::Returned, 1_000_000, |_| {});
        let estimated = tree.profile().nodes().map(|node| node.estimated).collect::<Vec<_>>();
        (times(&tree)[1].1, estimated)
    };
    assert_eq!(tree(0), (500_000, vec![false, false]), "nothing is marked where there is nothing else");
    assert_eq!(tree(100).0, 750_000);
    assert_eq!(tree(900).0, 950_000);
    assert_eq!((tree(20).1, tree(900).1), (vec![true, true], vec![false, false]));
}

#[test]
fn without_samples_every_event_has_a_time() {
    let mut tree = CallTree::new();
    let mut batch = Batch::default();
    for at in 0..TIMED_EVENTS + 10 {
        let kind = if at % 2 == 0 { EventKind::Enter(A) } else { EventKind::Exit(A) };
        batch.event(Event { at: at * 1_000, kind });
        if batch.events() == 1_000 {
            tree.batch(&batch);
            batch.clear();
        }
    }
    tree.batch(&batch);
    tree.finish(&RunOutcome::Returned, 0, |_| {});
    assert_eq!(tree.profile().total(), (TIMED_EVENTS + 10) / 2 * 1_000);
    assert_eq!(tree.accuracy(), Accuracy::default());
}

/// What was open when times ended keeps what it had taken until then: self times add up to the total, whatever comes after.
#[test]
fn what_is_open_when_times_end_keeps_its_time() {
    let mut tree = CallTree::new();
    let mut batch = Batch::default();
    batch.mark(stamp(0, 0));
    batch.event(Event { at: 1_000, kind: EventKind::Enter(A) });
    batch.event(Event { at: 11_000_000, kind: EventKind::Enter(B) });
    (0..LEAST_SAMPLES).for_each(|_| batch.mark(sample(B)));
    batch.mark(stamp(TIMED_NANOS + 1_000, 1_000_000));
    tree.batch(&batch);
    assert_eq!(tree.timing, Timing::None);
    let mut batch = Batch::default();
    (0..100).for_each(|_| batch.mark(sample(B)));
    batch.words.extend([exit(B), exit(A)]);
    batch.mark(stamp(2 * TIMED_NANOS, 0));
    tree.batch(&batch);
    tree.finish(&RunOutcome::Returned, 2 * TIMED_NANOS, |_| {});
    let rows = times(&tree);
    assert!(rows[0].1 > 5_000_000, "A ran for 11 ms before it called B: {rows:?}");
    assert!(rows.iter().map(|row| row.1).sum::<u64>().abs_diff(rows[0].2) < 10, "{rows:?}");
    assert!(rows[0].2.abs_diff(2 * TIMED_NANOS) < 1_000_000, "{rows:?}");
}

#[test]
fn the_error_of_a_share_is_twice_its_standard_error() {
    let accuracy = Accuracy { samples: 10_000, ..Default::default() };
    assert!((accuracy.error(0.5) - 0.01).abs() < 1e-9);
}

/// Everything of a node that does not depend on time.
type Shape = (Vec<String>, u64, bool, bool, [u64; 5], Vec<(String, String)>);

fn shape(tree: &CallTree) -> Vec<Shape> {
    let profile = tree.profile();
    let path = |node: &Node| profile.path_to(node).into_iter().map(|what| format!("{what:?}")).collect();
    let row = |node: &Node| {
        let counts = [node.unwound, node.cut_off, node.forgotten, node.logs, node.metrics];
        (path(node), node.calls, node.recursive, node.trapped, counts, node.tags.clone())
    };
    let mut rows: Vec<_> = profile.nodes().filter(|node| node.calls > 0).map(row).collect();
    rows.sort();
    rows
}

/// Words mostly as programs write them, and some that none does; events that are no words among them.
fn any_batch(u: &mut Unstructured<'_>) -> arbitrary::Result<Batch> {
    let mut batch = Batch::default();
    let mut open = Vec::new();
    for _ in 0..u.int_in_range(0..=60)? {
        let id = ProbeId(u.int_in_range(0..=4)?);
        match u.int_in_range(0..=17)? {
            16..=17 => batch.words.push(word(id, Kind::Leaf)),
            0..=6 => {
                open.push(id);
                batch.words.push(enter(id));
            }
            7..=12 => batch.words.push(exit(open.pop().unwrap_or(id))),
            13 => batch.words.push(exit(id)),
            14 => {
                let manual = match u.int_in_range(0..=4)? {
                    0 => Manual::SpanEnter("span".to_owned()),
                    1 => Manual::SpanExit,
                    2 => Manual::Tags("key:value".to_owned()),
                    3 => Manual::Metric("m:1|c".to_owned()),
                    _ => Manual::Log(crate::event::Level::Info, "line".to_owned()),
                };
                batch.event(Event { at: 0, kind: EventKind::Manual(Box::new(manual)) });
            }
            _ => {
                if let Some(id) = open.pop() {
                    batch.event(Event { at: 0, kind: EventKind::Unwound(id) });
                }
            }
        }
        if u.ratio(1, 8)? {
            batch.mark(sample(id));
        }
    }
    Ok(batch)
}

use arbtest::arbitrary;

/// The differential test of the loop over words: `cargo test --lib calltree`.
#[test]
fn words_alone_give_the_tree_that_events_give() {
    let ending = |number: u8| match number {
        0 => RunOutcome::Returned,
        1 => RunOutcome::Exited(1),
        _ => RunOutcome::Unknown,
    };
    arbtest(|u| {
        let (mut by_words, mut by_events) = (CallTree::counting(), CallTree::new());
        // More than one, so that what is open goes on from one to the next.
        for _ in 0..u.int_in_range(1..=4)? {
            let batch = any_batch(u)?;
            by_words.batch(&batch);
            by_events.spans(&batch, |_| {});
        }
        let ending = ending(u.int_in_range(0..=2)?);
        by_words.finish(&ending, 10, |_| {});
        by_events.finish(&ending, 10, |_| {});
        assert_eq!(shape(&by_words), shape(&by_events));
        assert_eq!(by_words.anomalies(), by_events.anomalies());
        assert_eq!(by_words.fold.calls(), by_events.fold.calls());
        let samples = |tree: &CallTree| {
            let mut rows: Vec<_> = tree.profile().nodes().map(|node| node.samples).filter(|s| s.1 > 0).collect();
            rows.sort();
            rows
        };
        assert_eq!(samples(&by_words), samples(&by_events));
        Ok(())
    })
    .budget_ms(2_000);
}
