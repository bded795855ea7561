//! What becomes of calls and manual spans, however they overlap.

use super::EventKind::{Enter, Exit};
use super::*;
use crate::event::Trap;

/// What is kept of a span.
struct Kept {
    what: What,
    parent: Option<u64>,
    start: u64,
    end: u64,
    self_time: u64,
    how: SpanEnd,
    tags: Vec<(String, String)>,
}

fn fold(events: Vec<(u64, EventKind)>, ending: RunOutcome) -> (Vec<Kept>, Anomalies) {
    let mut fold = SpanBuilder::new();
    let mut spans = Vec::new();
    let mut tell = |change: &Change<'_>| {
        if let Change::Closed { span, .. } = change {
            let Span { parent, start, end, self_time, how, .. } = *span;
            spans.push(Kept { what: span.what.clone(), parent, start, end, self_time, how, tags: span.tags.to_vec() });
        }
    };
    for (at, kind) in events {
        fold.event(&Event { at, kind }, &mut tell);
    }
    fold.finish(100, &ending, &mut tell);
    let anomalies = fold.anomalies().clone();
    (spans, anomalies)
}
const A: ProbeId = ProbeId(1);
const B: ProbeId = ProbeId(2);
const C: ProbeId = ProbeId(3);

fn open(name: &str) -> EventKind {
    EventKind::Manual(Box::new(Manual::SpanEnter(name.to_owned())))
}
fn close() -> EventKind {
    EventKind::Manual(Box::new(Manual::SpanExit))
}
fn name(span: &Kept) -> String {
    match &span.what {
        What::Call(probe) => probe.0.to_string(),
        What::Manual(name) => name.to_string(),
    }
}

#[test]
fn own_time_is_what_callees_leave() {
    let (spans, anomalies) = fold(vec![(0, Enter(A)), (2, Enter(B)), (5, Exit(B)), (9, Exit(A))], RunOutcome::Returned);
    let seen: Vec<_> = spans.iter().map(|s| (name(s), s.self_time, s.parent)).collect();
    assert_eq!(seen, [("2".into(), 3, Some(1)), ("1".into(), 6, None)]);
    assert_eq!(anomalies, Anomalies::default());
}

#[test]
fn an_exit_closes_what_an_exception_left_open_above_it() {
    let events = vec![(0, Enter(A)), (1, Enter(B)), (2, Enter(B)), (3, Exit(A))];
    let (spans, anomalies) = fold(events, RunOutcome::Returned);
    assert_eq!(
        spans.iter().map(|s| s.how).collect::<Vec<_>>(),
        [SpanEnd::Unwound, SpanEnd::Unwound, SpanEnd::Returned]
    );
    assert_eq!((anomalies.stray_exits, anomalies.unwound), (0, 2));
}

#[test]
fn an_exit_too_many_closes_nothing() {
    let events = vec![(0, Exit(B)), (1, Enter(A)), (2, Exit(B)), (3, Exit(A)), (4, Exit(A)), (5, close())];
    let (spans, anomalies) = fold(events, RunOutcome::Returned);
    assert_eq!(spans.len(), 1);
    assert_eq!((anomalies.stray_exits, anomalies.stray_span_exits, anomalies.unwound), (3, 1, 0));
}

#[test]
fn a_trap_closes_everything_and_names_the_innermost_call() {
    let trap = Trap { code: String::new(), message: String::new(), frames: Vec::new() };
    let (spans, _) = fold(vec![(0, Enter(A)), (1, Enter(B)), (2, open("m"))], RunOutcome::Trapped(trap));
    let origins: Vec<_> = spans.iter().map(|s| s.how == SpanEnd::Trapped { origin: true }).collect();
    assert_eq!(origins, [false, true, false]);
}

#[test]
fn a_span_opened_and_closed_in_helpers_encloses_the_work_between() {
    let events = vec![
        (0, Enter(A)),
        (1, Enter(B)), // opens
        (2, open("m")),
        (4, Exit(B)),
        (5, Enter(C)), // the work
        (15, Exit(C)),
        (16, Enter(B)), // closes
        (18, close()),
        (19, Exit(B)),
        (20, Exit(A)),
    ];
    let (spans, anomalies) = fold(events, RunOutcome::Returned);
    let seen: Vec<_> = spans.iter().map(|s| (name(s), s.parent, s.end - s.start)).collect();
    assert_eq!(
        seen,
        [
            ("2".into(), Some(1), 3),
            ("3".into(), Some(3), 10), // the work is in the span
            ("m".into(), Some(1), 16), // the span is in the caller
            ("2".into(), Some(1), 3),
            ("1".into(), None, 20)
        ]
    );
    assert_eq!(spans.iter().map(|s| s.self_time).sum::<u64>(), 20);
    assert_eq!(anomalies, Anomalies::default());
}

#[test]
fn spans_that_are_never_closed_end_with_the_run_and_are_bounded() {
    let mut events = vec![(0, Enter(A))];
    events.extend((1..20_000).map(|at| (at, open("leak"))));
    events.push((30_000, Exit(A)));
    let (spans, anomalies) = fold(events, RunOutcome::Returned);
    assert_eq!(spans.len(), MAX_MANUAL + 1);
    assert_eq!((anomalies.forgotten, anomalies.refused), (MAX_MANUAL as u64, 19_999 - MAX_MANUAL as u64));
    assert!(spans.iter().skip(1).all(|s| s.how == SpanEnd::Forgotten && s.end == 30_000));
}

#[test]
fn tags_belong_to_the_innermost_open_span() {
    let tags = |t: &str| EventKind::Manual(Box::new(Manual::Tags(t.to_owned())));
    let (spans, _) = fold(
        vec![(0, Enter(A)), (1, open("m")), (2, tags("k:v,x")), (3, close()), (4, tags("a:b:c"))],
        RunOutcome::Returned,
    );
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(spans[0].tags, [pair("k", "v"), pair("x", "")]);
    assert_eq!(spans[1].tags, [pair("a", "b:c")]);
}
