//! What events become: spans, the call tree, and what the filter leaves of them. Theorems are held against a second, plain
//! telling of the same over the whole list of events, on random ones; limits and what the guest's own code says, by example.

use std::collections::{BTreeMap, BTreeSet};

use arbtest::arbitrary::{self, Unstructured};
use arbtest::arbtest;
use wasmtrace::hook::ProbeId;
use wasmtrace::trace::filter::Filter;
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::span_builder::{Anomalies, Change, Note, SpanBuilder, SpanEnd, What};
use wasmtrace::trace::{Event, EventKind, Level, Manual, Misuse, RunOutcome, Trap};

use EventKind::{Elided, Enter, Exit, MemoryGrow};

const A: ProbeId = ProbeId(1);
const B: ProbeId = ProbeId(2);
const C: ProbeId = ProbeId(3);

fn manual(manual: Manual) -> EventKind {
    EventKind::Manual(Box::new(manual))
}

/// Each a nanosecond after the one before.
fn ticking(kinds: impl IntoIterator<Item = EventKind>) -> Vec<Event> {
    kinds.into_iter().enumerate().map(|(at, kind)| Event { at: at as u64, kind }).collect()
}

fn folded(events: &[Event], ending: &RunOutcome) -> (Profile, SpanBuilder) {
    let (mut fold, mut profile) = (SpanBuilder::new(), Profile::new());
    events.iter().for_each(|event| fold.event(event, &mut |change| profile.change(change)));
    fold.finish(events.last().map_or(0, |event| event.at), ending, &mut |change| profile.change(change));
    (profile, fold)
}

/// Calls that nest, of a few functions, with `memory.grow` now and then.
fn calls(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<Event>> {
    let (mut events, mut open, mut at) = (Vec::new(), Vec::new(), 0);
    for _ in 0..u.int_in_range(0..=60)? {
        at += u.int_in_range(0..=9u64)?;
        let kind = match u.int_in_range(0..=8)? {
            0..=3 => {
                open.push(ProbeId(u.int_in_range(1..=4)?));
                Enter(open[open.len() - 1])
            }
            4 if u.ratio(1, 4)? => MemoryGrow(1),
            _ => match open.pop() {
                Some(probe) => Exit(probe),
                None => continue,
            },
        };
        events.push(Event { at, kind });
    }
    while let Some(probe) = open.pop() {
        at += u.int_in_range(0..=9u64)?;
        events.push(Event { at, kind: Exit(probe) });
    }
    Ok(events)
}

/// A call, as it stands in a list of events.
#[derive(Debug)]
struct Call {
    enter: usize,
    exit: usize,
    probe: ProbeId,
    parent: Option<usize>,
    depth: usize,
}

/// All calls, by their ENTER.
fn calls_of(events: &[Event]) -> Vec<Call> {
    let (mut calls, mut open): (Vec<Call>, Vec<usize>) = (Vec::new(), Vec::new());
    for (i, event) in events.iter().enumerate() {
        match event.kind {
            Enter(probe) => {
                calls.push(Call { enter: i, exit: 0, probe, parent: open.last().copied(), depth: open.len() });
                open.push(calls.len() - 1);
            }
            Exit(_) => calls[open.pop().unwrap()].exit = i,
            _ => {}
        }
    }
    calls
}

/// Theorem: a node of the tree is a path without repetitions (where a function is called again while it is open, the path goes
/// back to where it was first opened); it has as many calls as lead to it, their own time, and the time of the outermost of them.
#[test]
fn the_tree_is_what_the_calls_add_up_to() {
    arbtest(|u| {
        let events = calls(u)?;
        let all = calls_of(&events);
        let lasted = |call: &Call| events[call.exit].at - events[call.enter].at;
        let mut paths: Vec<Vec<ProbeId>> = Vec::new();
        let mut nodes: BTreeMap<Vec<ProbeId>, (u64, u64, u64, bool)> = BTreeMap::new();
        let mut own_in_all = 0;
        for (i, call) in all.iter().enumerate() {
            let mut path: Vec<ProbeId> = call.parent.map_or_else(Vec::new, |parent| paths[parent].clone());
            match path.iter().position(|probe| *probe == call.probe) {
                Some(at) => path.truncate(at + 1),
                None => path.push(call.probe),
            }
            let mut around = std::iter::successors(call.parent, |parent| all[*parent].parent);
            let again = around.any(|open| paths[open] == path);
            let inside: u64 = all.iter().filter(|c| c.parent == Some(i)).map(&lasted).sum();
            let node = nodes.entry(path.clone()).or_default();
            node.0 += 1;
            node.1 += if again { 0 } else { lasted(call) };
            node.2 += lasted(call) - inside;
            node.3 |= again;
            own_in_all += lasted(call) - inside;
            paths.push(path);
        }
        let grows = events.iter().filter(|event| matches!(event.kind, MemoryGrow(_))).count() as u64;

        let (profile, fold) = folded(&events, &RunOutcome::Returned);
        let mut seen = BTreeMap::new();
        for node in profile.nodes() {
            let path = profile.path_to(node).into_iter().map(|what| match what {
                What::Call(probe) => *probe,
                What::Manual(name) => panic!("{name}"),
            });
            seen.insert(path.collect::<Vec<_>>(), (node.calls, node.total, node.self_time, node.recursive));
        }
        assert_eq!(seen, nodes);
        assert_eq!((profile.calls(), fold.calls()), (all.len() as u64, all.len() as u64));
        assert_eq!(profile.functions(), all.iter().map(|call| call.probe).collect::<BTreeSet<_>>().len());
        assert_eq!(profile.total(), own_in_all);
        assert_eq!((profile.memory_grows(), profile.manual_spans(), profile.merged()), ((grows, grows), 0, 0));
        assert_eq!((fold.anomalies(), fold.last()), (&Anomalies::default(), events.last().map_or(0, |e| e.at)));
        for of in profile.by_function() {
            let What::Call(probe) = of.what else { panic!("there are no manual spans") };
            let mine = |sum: fn(&(u64, u64, u64, bool)) -> u64| -> u64 {
                nodes.iter().filter(|(path, _)| path.last() == Some(&probe)).map(|(_, node)| sum(node)).sum()
            };
            assert_eq!((of.calls, of.total, of.self_time, of.elided), (mine(|n| n.0), mine(|n| n.1), mine(|n| n.2), 0));
        }
        assert_eq!(profile.by_function().len(), profile.functions());
        Ok(())
    })
    .budget_ms(500);
}

/// Theorem: behind the filter stands every call that is not too deep and took long enough or in which something happened, with
/// its times and in order, and nothing else; what was left out is counted, function by function.
#[test]
fn the_sieve_keeps_what_is_long_or_eventful_and_counts_the_rest() {
    arbtest(|u| {
        let events = calls(u)?;
        let least = *u.choose(&[0, 1, 5, 20])?;
        let deepest = *u.choose(&[None, Some(0), Some(1), Some(3)])?;
        let all = calls_of(&events);
        let too_deep = |call: &Call| deepest.is_some_and(|most: u32| call.depth >= most as usize);
        let eventful =
            |call: &Call| events[call.enter..call.exit].iter().any(|event| matches!(event.kind, MemoryGrow(_)));
        let long = |call: &Call| events[call.exit].at - events[call.enter].at >= least;
        let mut kept: BTreeSet<usize> = BTreeSet::new();
        let mut counted: BTreeMap<ProbeId, u32> = BTreeMap::new();
        for call in &all {
            if !too_deep(call) && (long(call) || eventful(call)) {
                kept.extend([call.enter, call.exit]);
            } else {
                *counted.entry(call.probe).or_default() += 1;
            }
        }
        kept.extend((0..events.len()).filter(|i| matches!(events[*i].kind, MemoryGrow(_))));
        let expected: Vec<&Event> = kept.iter().map(|i| &events[*i]).collect();

        let (mut passed, mut left_out) = (Vec::new(), BTreeMap::new());
        let mut filter = Filter::new(least, deepest);
        assert_eq!(filter.is_open(), least == 0 && deepest.is_none());
        let mut pass = |event: &Event| match event.kind {
            Elided(probe, calls) => *left_out.entry(probe).or_default() += calls,
            _ => passed.push(event.clone()),
        };
        events.iter().for_each(|event| filter.event(event, &mut pass));
        filter.finish(&mut pass);
        assert_eq!(passed.iter().collect::<Vec<_>>(), expected, "{least} {deepest:?} of {events:#?}");
        assert_eq!(left_out, counted);
        Ok(())
    })
    .budget_ms(500);
}

fn sieved(mut filter: Filter, events: &[(u64, EventKind)]) -> Vec<(u64, EventKind)> {
    let mut passed = Vec::new();
    let mut pass = |event: &Event| passed.push((event.at, event.kind.clone()));
    events.iter().for_each(|(at, kind)| filter.event(&Event { at: *at, kind: kind.clone() }, &mut pass));
    filter.finish(&mut pass);
    passed
}

/// Theorem: what was left out is told about once a second, so that whoever looks on sees it.
#[test]
fn counts_are_told_every_second() {
    const SECOND: u64 = 1_000_000_000;
    let short = |at| [(at, Enter(A)), (at, Exit(A))];
    let events = [short(0), short(SECOND), short(SECOND + 1), short(SECOND + 2), short(2 * SECOND + 2)].concat();
    let told = [(SECOND + 1, Elided(A, 2)), (2 * SECOND + 2, Elided(A, 2)), (2 * SECOND + 2, Elided(A, 1))];
    assert_eq!(sieved(Filter::new(5, None), &events), told);
}

/// Theorem: an exception that crosses calls ends them for the filter too, whether hooks saw it or not: what is short below it is
/// kept, since something happened in it, and what comes after is at its own depth.
#[test]
fn exceptions_do_not_lead_the_sieve_astray() {
    let crossed = [(0, Enter(A)), (1, Enter(B)), (2, Enter(C)), (3, Exit(A)), (4, Enter(B)), (20, Exit(B))];
    assert_eq!(sieved(Filter::new(10, None), &crossed), crossed);
    let seen = [(0, Enter(A)), (1, Enter(B)), (2, EventKind::Unwound(B)), (3, Exit(A))];
    assert_eq!(sieved(Filter::new(10, None), &seen), seen);
    // C is too deep, and an exception crosses it and B, out to A.
    for end in [Exit(A), EventKind::Unwound(A)] {
        let deep = [(0, Enter(A)), (1, Enter(B)), (2, Enter(C)), (3, end), (4, Enter(B)), (5, Enter(A)), (6, Exit(A))];
        let mut kept = deep.to_vec();
        kept.remove(2);
        kept.push((6, Elided(C, 1)));
        assert_eq!(sieved(Filter::new(0, Some(2)), &deep), kept);
    }
    // A call below the maximum depth is left out, and so is the exception that unwinds it.
    let deep = [(0, Enter(A)), (1, Enter(B)), (2, EventKind::Unwound(B)), (3, Exit(A))];
    let kept = [deep[0].clone(), deep[3].clone(), (3, Elided(B, 1))];
    assert_eq!(sieved(Filter::new(0, Some(1)), &deep), kept);
    // Of calls that are too deep, the one that ends takes those above it along.
    let deep = [
        (0, Enter(A)),
        (1, Enter(B)),
        (2, Enter(C)),
        (3, Enter(A)),
        (4, Exit(B)),
        (5, Enter(C)),
        (6, Exit(C)),
        (7, Exit(A)),
    ];
    let counts = [(7, Elided(A, 1)), (7, Elided(B, 1)), (7, Elided(C, 2))];
    let kept = [&deep[..1], &deep[7..], &counts].concat();
    assert_eq!(sieved(Filter::new(0, Some(1)), &deep), kept);
    // The first generation of hooks does not say which function is left.
    let nameless = [(0, Enter(A)), (1, Enter(B)), (2, EventKind::ExitInnermost), (20, EventKind::ExitInnermost)];
    assert_eq!(
        sieved(Filter::new(10, None), &nameless),
        [(0, Enter(A)), (20, EventKind::ExitInnermost), (20, Elided(B, 1))]
    );
    let nameless = [
        (0, Enter(A)),
        (1, Enter(B)),
        (2, EventKind::ExitInnermost),
        (3, EventKind::ExitInnermost),
        (4, Enter(C)),
        (5, Exit(C)),
    ];
    let kept = [&nameless[..1], &nameless[3..], &[(5, Elided(B, 1))]].concat();
    assert_eq!(sieved(Filter::new(0, Some(1)), &nameless), kept);
}

/// Theorem: how a run ended is said of what was open, and of the trap's own function that it was there.
#[test]
fn what_is_open_at_the_end_ended_like_the_run() {
    let trap = Trap { code: "unreachable".into(), message: "it trapped".into(), frames: Vec::new() };
    let events = ticking([Enter(A), Enter(B), Enter(C), Exit(C)]);
    for (ending, code, words, cut_off, unwound, trapped) in [
        (RunOutcome::Returned, 0, "exit code 0", 0, 2, false),
        (RunOutcome::Exited(258), 2, "exit code 258", 2, 0, false),
        (RunOutcome::Trapped(trap), 134, "trap: it trapped", 2, 0, true),
        (RunOutcome::Interrupted(15), 143, "ended by signal 15", 2, 0, false),
        (RunOutcome::Unknown, 1, "the recording ends before the run", 2, 0, false),
    ] {
        assert_eq!((ending.exit_code(), &*ending.describe()), (code, words));
        let (profile, fold) = folded(&events, &ending);
        let nodes: Vec<_> = profile.nodes().map(|n| (n.cut_off, n.unwound, n.trapped)).collect();
        let open = |trapped| (cut_off / 2, unwound / 2, trapped);
        assert_eq!(nodes, [open(false), open(trapped), (0, 0, false)], "{ending:?}");
        assert_eq!(fold.anomalies().unwound, unwound);
    }
    assert_eq!(RunOutcome::Interrupted(300).exit_code(), 255);

    let leak = || manual(Manual::SpanEnter("leak".into()));
    let (profile, fold) = folded(&ticking([leak(), Enter(A), leak(), leak(), Exit(A)]), &RunOutcome::Returned);
    let forgotten: Vec<_> = profile.nodes().filter(|n| n.calls > 0).map(|n| (n.calls, n.forgotten)).collect();
    assert_eq!((forgotten, fold.anomalies().forgotten), (vec![(3, 3), (1, 0)], 3));
}

/// Theorem: calls past the limit are counted and not followed, and the exits of those that are take none for another.
#[test]
fn endless_recursion_is_followed_to_a_limit() {
    const MOST: usize = 1 << 20;
    let mut fold = SpanBuilder::new();
    let (mut opened, mut closed) = (0, 0);
    let mut tell = |change: &Change<'_>| match change {
        Change::Opened { .. } => opened += 1,
        Change::Closed { .. } => closed += 1,
        Change::Noted { .. } => {}
    };
    for _ in 0..MOST + 3 {
        fold.event(&Event { at: 1, kind: Enter(A) }, &mut tell);
    }
    for _ in 0..MOST + 3 {
        fold.event(&Event { at: 2, kind: Exit(A) }, &mut tell);
    }
    fold.event(&Event { at: 3, kind: Enter(B) }, &mut tell);
    fold.event(&Event { at: 4, kind: Exit(B) }, &mut tell);
    let Anomalies { refused_calls, stray_exits, unwound, .. } = *fold.anomalies();
    assert_eq!((opened, closed, fold.calls()), (MOST + 1, MOST + 1, MOST as u64 + 1));
    assert_eq!((refused_calls, stray_exits, unwound), (3, 3, 0));
}

/// Theorem: a tree has at most so many nodes and levels; calls on further paths are added to their caller's, and no call and no
/// time is lost.
#[test]
fn the_tree_grows_to_a_limit_and_loses_nothing() {
    // One path of ever more functions.
    let down = (1..=2_010).map(|i| Enter(ProbeId(i)));
    let deep = ticking(down.chain((1..=2_010).rev().map(|i| Exit(ProbeId(i)))));
    let (profile, _) = folded(&deep, &RunOutcome::Returned);
    assert_eq!((profile.nodes().count(), profile.merged(), profile.calls()), (2_000, 10, 2_010));
    let last = profile.nodes().last().unwrap();
    assert_eq!((last.calls, last.recursive, profile.path_to(last).len()), (11, true, 2_000));
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
    assert_eq!(profile.root().children[0].index(), 1);
    assert_eq!(profile[profile.root().children[0]].children[0].index(), 2);

    // Ever more functions that the host calls, each of which calls another.
    let most = (1 << 18) - 1;
    let wide = ticking((1..=most + 5).flat_map(|i| [Enter(ProbeId(i)), Exit(ProbeId(i))]));
    let (profile, _) = folded(&wide, &RunOutcome::Returned);
    assert_eq!((profile.nodes().count(), profile.merged()), (most as usize, 5));
    assert_eq!(profile.calls(), u64::from(most) + 5);
    let last = profile.nodes().last().unwrap();
    assert_eq!((&last.what, last.calls), (&Some(What::Call(ProbeId(most))), 6));
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
}

/// Theorem: what the guest says is counted at the node where it was said, and what is wrong with it by kind.
#[test]
fn what_the_guest_says_is_found_where_it_was_said() {
    let events = ticking([
        manual(Manual::Tags("nowhere:1".into())),
        manual(Manual::Tags("nowhere:2".into())),
        Enter(A),
        manual(Manual::Log(Level::Warn, "one".into())),
        manual(Manual::Log(Level::Warn, "two".into())),
        manual(Manual::Log(Level::Warn, "three".into())),
        Enter(B),
        manual(Manual::Metric("m:1|c".into())),
        manual(Manual::Metric("m:2|c".into())),
        manual(Manual::Tags("a:1,a:1,,b: 2 ".into())),
        manual(Manual::Tags("a:1,c".into())),
        Exit(B),
        manual(Manual::Misuse(Misuse::TooLong)),
        manual(Manual::Misuse(Misuse::NotUtf8)),
        manual(Manual::Misuse(Misuse::TooLong)),
        manual(Manual::Misuse(Misuse::TooLong)),
        EventKind::ClockGap(5),
        EventKind::ClockGap(9),
        EventKind::ClockGap(7),
        MemoryGrow(3),
        MemoryGrow(4),
        Elided(B, 4),
        Elided(C, 2),
        Elided(C, 3),
        Exit(A),
    ]);
    let (profile, fold) = folded(&events, &RunOutcome::Returned);
    let said: Vec<_> = profile.nodes().map(|n| (n.logs, n.metrics, n.tags.len())).collect();
    assert_eq!(said, [(3, 0, 0), (0, 2, 3)]);
    let tags = [("a", "1"), ("b", "2"), ("c", "")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(profile.nodes().nth(1).unwrap().tags, tags);
    assert_eq!(profile.clock_gaps(), (3, 21, 9));
    assert_eq!(profile.memory_grows(), (2, 7));
    assert_eq!((profile.calls(), fold.calls(), profile.functions()), (11, 11, 3));
    assert_eq!(profile.elided().iter().map(|(p, n)| (*p, *n)).collect::<BTreeMap<_, _>>(), [(B, 4), (C, 5)].into());
    let functions = profile.by_function();
    let counted: Vec<_> = functions.iter().map(|of| (of.what.clone(), of.calls, of.elided)).collect();
    assert_eq!(counted, [(What::Call(A), 1, 0), (What::Call(B), 5, 4), (What::Call(C), 5, 5)]);
    let misuse = [("tags outside of every span", 2), (Misuse::TooLong.as_str(), 3), (Misuse::NotUtf8.as_str(), 1)];
    assert_eq!(fold.anomalies().misuse, misuse);
    assert!(events.iter().map(|event| event.kind.text_len()).sum::<usize>() == 9 + 9 + 11 + 5 + 5 + 14 + 5);
}

/// Theorem: levels and misuse have numbers and words, each its own.
#[test]
fn levels_and_misuse_have_words() {
    let levels: Vec<_> = (0..=6).map(|number| Level::from_number(number).map(Level::as_str)).collect();
    assert_eq!(levels, [None, Some("error"), Some("warn"), Some("info"), Some("debug"), Some("trace"), None]);
    let misuse: BTreeSet<_> = (0..=9).filter_map(Misuse::from_number).map(Misuse::as_str).collect();
    assert_eq!(misuse.len(), 9);
    assert!(misuse.iter().all(|words| words.contains(' ')));
}

/// Theorem: a note is told with its time and the span that it is in; a tag has a limit, and what is past it is counted.
#[test]
fn notes_have_a_time_and_a_span() {
    let many: Vec<String> = (0..130).map(|i| format!("k{i}:v")).collect();
    let events = ticking([
        manual(Manual::Metric("m:1|c".into())),
        Enter(A),
        manual(Manual::SpanEnter("s".into())),
        MemoryGrow(7),
        manual(Manual::Tags(many.join(","))),
        manual(Manual::Tags("one:more".into())),
        manual(Manual::SpanExit),
        Exit(A),
    ]);
    let (mut fold, mut noted, mut tags, mut profile) = (SpanBuilder::new(), Vec::new(), 0, Profile::new());
    for event in &events {
        fold.event(event, &mut |change| {
            profile.change(change);
            match change {
                Change::Noted { at, span, note } => {
                    noted.push((*at, *span, format!("{note:?}").len() > 200, *note == Note::MemoryGrow(7)))
                }
                Change::Closed { span, .. } if span.number == 2 => tags = span.tags.len(),
                _ => {}
            }
        });
    }
    assert_eq!(
        noted,
        [(0, None, false, false), (3, Some(2), false, true), (4, Some(2), true, false), (5, Some(2), false, false)]
    );
    assert_eq!((tags, fold.anomalies().tags_left_out), (128, 3));
    // A node keeps the first few.
    assert_eq!(profile.nodes().nth(1).unwrap().tags.len(), 8);
}

/// Theorem: of manual spans as many are open as may be, and the closings of those that were refused close no other.
#[test]
fn refused_spans_close_nothing() {
    const MOST: usize = 1_000;
    let enter = || manual(Manual::SpanEnter("s".into()));
    let exit = || manual(Manual::SpanExit);
    let kinds = std::iter::repeat_with(enter).take(MOST + 2).chain(std::iter::repeat_with(exit).take(MOST + 5));
    let (profile, fold) = folded(&ticking(kinds), &RunOutcome::Returned);
    let Anomalies { refused, stray_span_exits, forgotten, .. } = *fold.anomalies();
    assert_eq!((refused, stray_span_exits, forgotten), (2, 3, 0));
    assert_eq!((profile.manual_spans(), profile.calls(), profile.functions()), (MOST as u64, 0, 0));
    assert_eq!(profile.by_function().len(), 1);

    // Once there is room again, they are opened.
    let kinds = std::iter::repeat_with(enter).take(MOST + 1).chain([exit(), exit(), enter(), exit()]);
    let (_, fold) = folded(&ticking(kinds), &RunOutcome::Returned);
    assert_eq!((fold.anomalies().refused, fold.anomalies().forgotten), (1, MOST as u64 - 1));
}

/// Theorem: after an exit that fits nothing, the fold follows calls as before.
#[test]
fn a_stray_exit_changes_nothing_that_comes_after() {
    let kinds = [
        Exit(C),
        Enter(A),
        Enter(B),
        Exit(C),
        Exit(B),
        Enter(B),
        Enter(C),
        EventKind::Unwound(C),
        Exit(A),
        Exit(B),
        Exit(C),
    ];
    let (profile, fold) = folded(&ticking(kinds), &RunOutcome::Returned);
    let nodes: Vec<_> = profile.nodes().map(|n| (n.what.clone().unwrap(), n.calls, n.unwound, n.self_time)).collect();
    assert_eq!(nodes, [(What::Call(A), 1, 0, 2), (What::Call(B), 2, 1, 4), (What::Call(C), 1, 1, 1)]);
    let Anomalies { stray_exits, unwound, .. } = *fold.anomalies();
    assert_eq!((stray_exits, unwound, fold.calls()), (4, 2, 4));

    let (mut fold, mut ends) = (SpanBuilder::new(), Vec::new());
    for event in
        ticking([EventKind::ExitInnermost, Enter(A), Enter(B), EventKind::ExitInnermost, EventKind::Unwound(A)])
    {
        fold.event(&event, &mut |change| {
            if let Change::Closed { span, depth } = change {
                ends.push((span.what.clone(), span.how, *depth));
            }
        });
    }
    assert_eq!(ends, [(What::Call(B), SpanEnd::Returned, 1), (What::Call(A), SpanEnd::Unwound, 0)]);
    assert_eq!((fold.anomalies().stray_exits, fold.anomalies().unwound), (1, 1));
}

/// Theorem: a span that outlives the helper that opened it takes along what was called in it, with all that was said there; the
/// tree does not depend on how often that happens, and its own times add up.
#[test]
fn what_was_called_in_a_hoisted_span_moves_with_it() {
    let (main, open, work, inner) = (ProbeId(1), ProbeId(2), ProbeId(3), ProbeId(4));
    let once = || {
        [
            Enter(open),
            manual(Manual::SpanEnter("s".into())),
            Enter(inner),
            manual(Manual::Log(Level::Info, "said".into())),
            manual(Manual::Metric("m:1|c".into())),
            manual(Manual::Tags("k:v".into())),
            Enter(work),
            Enter(inner),
            EventKind::Unwound(inner),
            Exit(work),
            Exit(inner),
            Exit(open),
            Enter(work),
            manual(Manual::SpanEnter("forgotten".into())),
            Exit(work),
            manual(Manual::SpanExit),
            manual(Manual::SpanExit),
        ]
    };
    let kinds = std::iter::once(Enter(main)).chain((0..3).flat_map(|_| once())).chain([Exit(main)]);
    let (profile, fold) = folded(&ticking(kinds), &RunOutcome::Returned);
    let mut nodes = BTreeMap::new();
    for node in profile.nodes().filter(|node| node.calls > 0) {
        let name = |what: &&What| match what {
            What::Call(probe) => probe.0.to_string(),
            What::Manual(name) => name.to_string(),
        };
        let path: Vec<String> = profile.path_to(node).iter().map(name).collect();
        let said = (node.logs, node.metrics, node.tags.len());
        nodes.insert(path.join("/"), (node.calls, node.total, node.self_time, node.recursive, node.unwound, said));
    }
    let quiet = (0, 0, 0);
    let expected = [
        ("1", (1, 52, 4, false, 0, quiet)),
        ("1/2", (3, 33, 3, false, 0, quiet)),
        ("1/s", (3, 45, 12, false, 0, quiet)),
        ("1/s/4", (6, 24, 18, true, 3, (3, 3, 1))),
        ("1/s/4/3", (3, 9, 6, false, 0, quiet)),
        ("1/s/3", (3, 6, 3, false, 0, quiet)),
        ("1/s/forgotten", (3, 6, 6, false, 0, quiet)),
    ];
    assert_eq!(nodes, expected.map(|(path, node)| (path.to_owned(), node)).into());
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
    assert_eq!((profile.manual_spans(), profile.functions(), fold.anomalies().unwound), (6, 4, 3));
}

/// Theorem: two spans that outlive their helper are moved both, with what was said in them, of which a node keeps the first few.
#[test]
fn spans_in_a_hoisted_span_are_hoisted_too() {
    let (main, open, inner) = (ProbeId(1), ProbeId(2), ProbeId(3));
    let tags: Vec<String> = (0..14).map(|i| format!("k{i}:v")).collect();
    let once = |tags: &str| {
        [
            Enter(open),
            manual(Manual::SpanEnter("s".into())),
            manual(Manual::Tags(tags.into())),
            manual(Manual::SpanEnter("t".into())),
            Enter(inner),
            Exit(inner),
            Exit(open),
            Enter(inner),
            Exit(inner),
            manual(Manual::SpanExit),
            manual(Manual::SpanExit),
        ]
    };
    let twice = once(&tags[..5].join(",")).into_iter().chain(once(&tags[5..].join(",")));
    let (profile, _) =
        folded(&ticking([Enter(main)].into_iter().chain(twice).chain([Exit(main)])), &RunOutcome::Returned);
    let nodes: Vec<_> = profile.nodes().filter(|n| n.calls > 0).collect();
    let counts: Vec<_> = nodes.iter().map(|n| (profile.path_to(n).len(), n.calls, n.self_time, n.tags.len())).collect();
    // main, the helper, s in main, t in s, and what was called in t.
    assert_eq!(counts, [(1, 1, 3, 0), (2, 2, 2, 0), (2, 2, 6, 8), (3, 2, 8, 0), (4, 4, 4, 0)]);
    assert_eq!(profile.nodes().map(|n| n.self_time).sum::<u64>(), profile.total());
}
