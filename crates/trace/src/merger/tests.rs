use std::collections::BTreeSet;

use super::*;
use crate::event::{Event, EventKind, Manual, RunOutcome};
use crate::span_builder::SpanBuilder;
use crate::thresholds::thresholds;
use wasmtrace_abi::hook::ProbeId;

/// The changes of a run with these events.
fn replay(events: &[Event], tell: &mut dyn FnMut(&Change<'_>)) {
    let mut builder = SpanBuilder::new();
    events.iter().for_each(|event| builder.event(event, &mut |change| tell(change)));
    let end = builder.last() + 1;
    builder.finish(end, &RunOutcome::Returned, &mut |change| tell(change));
}

fn call(id: u32, from: u64, to: u64, inner: Vec<Event>) -> Vec<Event> {
    let event = |at, kind| Event { at, kind };
    let id = ProbeId(id);
    [event(from, EventKind::Enter(id))].into_iter().chain(inner).chain([event(to, EventKind::Exit(id))]).collect()
}

/// One line for each span of the output, in the order of their ends.
fn merged(budget: &Budget, thresholds: Thresholds, events: &[Event]) -> (Vec<String>, LeftOut) {
    let mut lines = Vec::new();
    let mut merger = Merger::new(budget.clone(), thresholds);
    let mut tell = |change: &Change<'_>| {
        if let Change::Closed { span, depth } = change {
            let Span { start, end, calls, self_time, .. } = *span;
            let What::Call(id) = span.what else { panic!("a call") };
            lines.push(format!("{depth} f{} {start}-{end} self {self_time} ×{calls}", id.0));
        }
    };
    replay(events, &mut |change| merger.change(change, &mut tell));
    merger.finish(&mut tell);
    (lines, merger.left_out())
}

#[test]
fn short_calls_become_one_span_for_each_path_between_long_ones() {
    let short = |id, at| call(id, at, at + 2, Vec::new());
    let nested = call(2, 20, 26, [short(3, 21), short(3, 23)].concat());
    let inner = [short(2, 10), short(3, 13), nested, call(4, 30, 80, Vec::new()), short(3, 90)].concat();
    let budget = Budget { min_duration: 10, ..Budget::default() };
    let at = Thresholds { alone: 10, merged: 3, ..Thresholds::default() };
    let (lines, left_out) = merged(&budget, at, &call(1, 0, 100, inner));
    assert_eq!(
        lines,
        [
            "2 f3 10-14 self 4 ×2",
            "1 f2 10-18 self 4 ×2",
            "1 f4 30-80 self 50 ×1",
            // The calls of f3 outside of f2 took 2 ns on either side, which is too short.
            "0 f1 0-100 self 42 ×1",
        ]
    );
    let LeftOut { merged, merged_calls, short, short_nanos, .. } = left_out;
    assert_eq!((merged, merged_calls, short, short_nanos), (2, 4, 2, 4));
}

#[test]
fn functions_that_are_not_selected_and_deep_calls_are_left_out_and_their_callees_move_up() {
    let events = call(1, 0, 100, call(2, 10, 90, call(3, 20, 80, call(4, 30, 70, Vec::new()))));
    let selected = BTreeSet::from([1, 3, 4].map(ProbeId));
    let budget = Budget { selected: Some(selected), ..Budget::default() };
    let (lines, left_out) = merged(&budget, Thresholds::default(), &events);
    assert_eq!(lines, ["2 f4 30-70 self 40 ×1", "1 f3 20-80 self 20 ×1", "0 f1 0-100 self 40 ×1"]);
    assert_eq!(left_out.not_selected, 1);
    let (lines, left_out) = merged(&Budget { max_depth: Some(2), ..Budget::default() }, Thresholds::default(), &events);
    assert_eq!(lines, ["1 f2 10-90 self 80 ×1", "0 f1 0-100 self 20 ×1"]);
    assert_eq!(left_out.not_selected, 2);
}

/// Events of a random run with manual spans, which may outlive calls, notes, and exceptions.
fn random_events(u: &mut arbtest::arbitrary::Unstructured<'_>) -> arbtest::arbitrary::Result<Vec<Event>> {
    let (mut events, mut at, mut open) = (Vec::new(), 0, Vec::new());
    for _ in 0..u.int_in_range(1..=200)? {
        at += u64::from(u.int_in_range(0..=20_u8)?) * if u.ratio(1, 20)? { 50 } else { 1 };
        let manual = |manual| EventKind::Manual(Box::new(manual));
        let kind = match u.int_in_range(0..=19_u8)? {
            0 => manual(Manual::SpanEnter("span".to_owned())),
            1 => manual(Manual::SpanExit),
            2 => manual(Manual::Log(Level::Info, "text".to_owned())),
            3 => EventKind::MemoryGrow(1),
            4 if open.len() > 1 => {
                open.truncate(u.int_in_range(1..=open.len() - 1)?);
                EventKind::Exit(ProbeId(open.pop().expect("it has at least one")))
            }
            5..=12 => {
                let id = u.int_in_range(0..=5)?;
                open.push(id);
                EventKind::Enter(ProbeId(id))
            }
            _ => match open.pop() {
                Some(id) => EventKind::Exit(ProbeId(id)),
                None => EventKind::MemoryGrow(2),
            },
        };
        events.push(Event { at, kind });
    }
    Ok(events)
}

#[test]
fn any_output_nests_goes_forward_and_counts_every_call() {
    arbtest::arbtest(|u| {
        let events = random_events(u)?;
        let budget = Budget {
            min_duration: u.int_in_range(0..=30)?,
            max_depth: u.arbitrary::<bool>()?.then(|| u.int_in_range(0..=5)).transpose()?,
            max_spans: u.arbitrary::<bool>()?.then(|| u.int_in_range(1..=40)).transpose()?,
            selected: u.arbitrary::<bool>()?.then(|| BTreeSet::from([0, 1, 2, 3].map(ProbeId))),
        };
        let thresholds = thresholds(&budget, |tell| {
            replay(&events, tell);
            Ok::<(), ()>(())
        })
        .unwrap()
        .thresholds;
        let mut all = 0;
        replay(&events, &mut |change| all += u64::from(matches!(change, Change::Closed { .. })));

        let mut merger = Merger::new(budget.clone(), thresholds);
        let (mut open, mut calls, mut spans, mut notes): (Vec<(u64, u64)>, _, _, u64) = (Vec::new(), 0, 0, 0);
        let mut last = 0;
        let mut check = |change: &Change<'_>| match change {
            Change::Opened { number, at, .. } => {
                assert!(*at >= last, "time goes back");
                last = *at;
                open.push((*number, *at));
            }
            Change::Closed { span, depth } => {
                assert!(span.end >= last && span.end >= span.start, "time goes back");
                last = span.end;
                let (number, start) = open.remove(*depth);
                assert_eq!((number, start), (span.number, span.start));
                assert_eq!(span.parent, depth.checked_sub(1).map(|outer| open[outer].0));
                assert!(span.self_time <= span.end - span.start);
                calls += span.calls;
                spans += 1;
            }
            Change::Noted { note, .. } => notes += u64::from(matches!(note, Note::MemoryGrow(_) | Note::Log(..))),
        };
        replay(&events, &mut |change| merger.change(change, &mut check));
        merger.finish(&mut check);
        assert!(open.is_empty());
        let left_out = merger.left_out();
        assert_eq!(calls + left_out.short + left_out.not_selected, all, "{left_out:?}");
        let had = events.iter().filter(|event| match &event.kind {
            EventKind::MemoryGrow(_) => true,
            EventKind::Manual(manual) => matches!(**manual, Manual::Log(..)),
            _ => false,
        });
        assert_eq!(notes + left_out.notes, had.count() as u64);
        if let Some(most) = budget.max_spans
            && !events.iter().any(|event| matches!(event.kind, EventKind::Manual(_)))
        {
            assert!(spans <= most, "{spans} of {most}, {thresholds:?}");
        }
        Ok(())
    });
}

#[test]
fn deep_recursion_of_short_calls_is_merged_without_recursion() {
    let (mut events, depth) = (Vec::new(), 200_000);
    let event = |at, kind| Event { at, kind };
    for round in 0..3 {
        let at = round * 10;
        events.extend((0..depth).map(|_| event(at, EventKind::Enter(ProbeId(1)))));
        events.extend((0..depth).map(|_| event(at + 5, EventKind::Exit(ProbeId(1)))));
    }
    let budget = Budget { min_duration: 100, ..Budget::default() };
    let thresholds = Thresholds { alone: 100, merged: 15, ..Thresholds::default() };
    let (lines, left_out) = merged(&budget, thresholds, &call(0, 0, 1_000, events));
    assert_eq!((lines.len(), left_out.merged_calls), (depth + 1, 3 * depth as u64));
}

#[test]
fn of_calls_that_last_as_long_the_outermost_are_written() {
    let (depth, at) = (10_000, |at, kind| Event { at, kind });
    let enters = (0..depth).map(|id| at(0, EventKind::Enter(ProbeId(id))));
    let exits = (0..depth).rev().map(|id| at(1_000, EventKind::Exit(ProbeId(id))));
    let events: Vec<Event> = enters.chain(exits).collect();
    let budget = Budget { max_spans: Some(1_000), ..Budget::default() };
    let fitted = thresholds(&budget, |tell| {
        replay(&events, tell);
        Ok::<(), ()>(())
    });
    let (lines, _) = merged(&budget, fitted.unwrap().thresholds, &events);
    assert!(lines.len() >= 750 && lines.len() <= 1_000, "{}", lines.len());
    assert_eq!(lines.last().unwrap(), "0 f0 0-1000 self 0 ×1");
}
