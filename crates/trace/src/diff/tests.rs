//! Theorem: what has one name is one row, whatever its ids; a path is matched as a whole; every recording counts.

use super::*;
use crate::calltree::Accuracy;
use crate::event::{Event, EventKind, Manual, RunOutcome};
use crate::export::{RunInfo, SAMPLES};
use crate::profile::Profile;
use crate::span_builder::SpanBuilder;
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::label::{Label, Source};

/// A run of a program: a list of calls `outer/inner`, each with its own time in nanoseconds. `first` is the id of the first
/// function; `!f` is a second function named `f`, and `«f»` a manual span.
fn run_from(first: u32, calls: &[(&str, u64)]) -> Run {
    let mut names: Vec<&str> = calls.iter().flat_map(|(path, _)| path.split('/')).collect();
    names.sort_unstable();
    names.dedup();
    let id = |name: &str| ProbeId(first + names.iter().position(|known| *known == name).unwrap() as u32);
    let label = |name: &str| Label {
        name: name.trim_start_matches('!').to_owned().into(),
        file: Some(format!("{first}.c").into()),
        line: Some(first),
        source: Source::NameSection,
        index: None,
        language: None,
    };
    let labels = names.iter().map(|name| (id(name), label(name))).collect();
    let (mut builder, mut profile, mut at) = (SpanBuilder::new(), Profile::new(), 0);
    let mut event = |at, kind| builder.event(&Event { at, kind }, &mut |change| profile.change(change));
    let span = |name: &str| name.strip_prefix('«').map(|name| name.trim_end_matches('»').to_owned());
    for (path, nanos) in calls {
        let path: Vec<&str> = path.split('/').collect();
        for name in &path {
            event(
                at,
                span(name)
                    .map_or(EventKind::Enter(id(name)), |name| EventKind::Manual(Box::new(Manual::SpanEnter(name)))),
            );
        }
        at += nanos;
        for name in path.iter().rev() {
            let exit = || EventKind::Manual(Box::new(Manual::SpanExit));
            event(at, span(name).map_or(EventKind::Exit(id(name)), |_| exit()));
        }
    }
    builder.finish(at, &RunOutcome::Returned, &mut |change| profile.change(change));
    let run_info = RunInfo { program: "app".to_owned(), labels, ..RunInfo::default() };
    let mut run = Run::of(&run_info, &profile, Accuracy::default(), at);
    let selected = id(names[0]);
    run.add_sum(&profile, |probe| probe == selected);
    run.add_sum(&profile, |_| true);
    run
}

fn run(calls: &[(&str, u64)]) -> Run {
    run_from(7, calls)
}

fn row<'d>(diff: &'d Diff, name: &str) -> (&'d Function, &'d Values) {
    let at = diff.functions.iter().position(|function| function.name == name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(diff.rows[at].function, at as u32);
    (&diff.functions[at], &diff.rows[at].values)
}

/// Each node as its path, with the calls before and after.
fn paths(diff: &Diff) -> Vec<(String, u64, u64)> {
    let mut paths: Vec<String> = Vec::new();
    for node in &diff.nodes {
        let name = &diff.functions[node.function as usize].name;
        paths.push(node.parent.map_or(name.clone(), |parent| format!("{}/{name}", paths[parent as usize])));
    }
    let calls = diff.nodes.iter().map(|node| (node.values.calls.before.median, node.values.calls.after.median));
    paths.into_iter().zip(calls).map(|(path, (before, after))| (path, before, after)).collect()
}

#[test]
fn functions_are_matched_by_name_and_not_by_id() {
    let before = run_from(3, &[("main/a", 100), ("main/b", 100)]);
    let after = run_from(40, &[("main/0", 5), ("main/a", 300), ("main/a", 300), ("main/b", 100)]);
    let diff = compare(&[before], &[after]);
    let (function, a) = row(&diff, "a");
    assert_eq!((a.calls.before.median, a.calls.after.median, a.calls.is_significant), (1, 2, true));
    assert_eq!((a.self_time.difference(), a.self_time.relative()), (500, Some(5.0)));
    assert!(a.self_time.is_significant && a.presence == Presence::Both);
    // The source is that of the program after the change.
    assert_eq!((function.file.as_deref(), function.line), (Some("40.c"), Some(40)));
    assert_eq!(function.probes, [Some(ProbeId(3)), Some(ProbeId(41))]);
    let (_, b) = row(&diff, "b");
    assert!(!b.is_significant() && b.self_time.difference() == 0);
}

#[test]
fn what_is_on_one_side_only_is_new_or_gone() {
    let diff = compare(&[run(&[("main/old", 100)])], &[run(&[("main/young", 100)])]);
    let (_, gone) = row(&diff, "old");
    let (function, new) = row(&diff, "young");
    assert_eq!(
        (gone.presence, new.presence, row(&diff, "main").1.presence),
        (Presence::Gone, Presence::New, Presence::Both)
    );
    assert_eq!((new.self_time.relative(), gone.self_time.relative()), (None, Some(-1.0)));
    assert_eq!(function.functions, [0, 1]);
    // Of several recordings, one is enough to know a function.
    let seldom = [run(&[("main", 100)]), run(&[("main/young", 100)])];
    assert_eq!(row(&compare(&seldom, &[run(&[("main/young", 100)])]), "young").1.presence, Presence::Both);
}

#[test]
fn functions_of_one_name_are_one_row() {
    let diff = compare(&[run(&[("main/f", 100), ("main/!f", 50)])], &[run(&[("main/f", 200)])]);
    let (function, f) = row(&diff, "f");
    assert_eq!(function.functions, [2, 1]);
    assert_eq!((f.calls.before.median, f.self_time.before.median, f.self_time.after.median), (2, 150, 200));
    assert_eq!(paths(&diff), [("main".to_owned(), 2, 1), ("main/f".to_owned(), 2, 1)]);
    // One inside the other: the outer one's total contains that of the inner one.
    let diff = compare(&[run(&[("f/!f", 100)])], &[run(&[("f", 100)])]);
    assert_eq!(row(&diff, "f").1.total.before.median, 100);
}

#[test]
fn a_span_is_no_function() {
    let one = || run(&[("main/«load»/load", 100)]);
    let diff = compare(&[one()], &[one()]);
    let named: Vec<(bool, [u32; 2])> =
        diff.functions.iter().filter(|f| f.name == "load").map(|f| (f.is_manual, f.functions)).collect();
    assert_eq!(named, [(true, [0, 0]), (false, [1, 1])]);
}

#[test]
fn paths_are_matched_as_a_whole() {
    let before = run_from(3, &[("main/a/f", 100), ("main/b/f", 100)]);
    let after = run_from(9, &[("main/b/f", 100), ("main/b/f", 100), ("main/c/f", 1)]);
    let expected = [("main", 2, 3), ("main/a", 1, 0), ("main/a/f", 1, 0), ("main/b", 1, 2), ("main/b/f", 1, 2)];
    let expected = expected.into_iter().chain([("main/c", 0, 1), ("main/c/f", 0, 1)]);
    let diff = compare(&[before], &[after]);
    assert_eq!(
        paths(&diff),
        expected.map(|(path, before, after)| (path.to_owned(), before, after)).collect::<Vec<_>>()
    );
    for node in &diff.nodes {
        let has = [node.values.calls.before.median, node.values.calls.after.median].map(|calls| calls > 0);
        assert_eq!(has, [node.values.presence != Presence::New, node.values.presence != Presence::Gone]);
    }
    assert_eq!(row(&diff, "f").1.calls.after.median, 3);
}

#[test]
fn a_side_is_the_median_of_its_recordings() {
    let side = |times: &[u64]| times.iter().map(|time| run(&[("main/f", *time)])).collect::<Vec<_>>();
    let diff = compare(&side(&[500, 100, 300]), &side(&[900, 700]));
    let f = row(&diff, "f").1.self_time;
    assert_eq!(
        (f.before, f.after),
        (Spread { min: 100, median: 300, max: 500 }, Spread { min: 700, median: 800, max: 900 })
    );
    assert_eq!((diff.duration.before.median, diff.recordings), (300, [3, 2]));
    assert!(f.is_significant);
    // One recording of the other range makes it noise.
    let f = row(&compare(&side(&[500, 100, 300]), &side(&[900, 500])), "f").1.self_time;
    assert!(!f.is_significant && f.is_within_the_spread());
}

#[test]
fn numbers_of_calls_have_no_noise_unless_they_vary() {
    let side = |counts: &[usize]| counts.iter().map(|count| run(&vec![("main/f", 10); *count])).collect::<Vec<_>>();
    let is_significant =
        |before: &[usize], after: &[usize]| row(&compare(&side(before), &side(after)), "f").1.calls.is_significant;
    assert!(is_significant(&[100], &[101]) && is_significant(&[100, 100], &[99]));
    assert!(!is_significant(&[100], &[100]) && !is_significant(&[100, 102], &[101]));
    assert!(is_significant(&[100, 102], &[103, 104]));
}

#[test]
fn a_sum_counts_nested_functions_once() {
    let one = || run(&[("a/b/a/c", 100), ("b", 30)]);
    let diff = compare(&[one()], &[one()]);
    let [a, all] = &diff.sums[..] else { panic!("two sums") };
    assert_eq!((a.calls.before.median, a.total.before.median, a.self_time.before.median), (2, 100, 0));
    assert_eq!((all.calls.before.median, all.total.before.median, all.self_time.before.median), (5, 130, 130));
    assert_eq!(all.self_time, diff.all.self_time);
}

/// Whether a function is among the samples is chance, so it is new only if it takes time.
#[test]
fn recordings_without_calls_compare_times_only() {
    let side = |calls: &[(&str, u64)]| {
        let mut run = run(calls);
        run.run_info.recording.clock = SAMPLES.to_owned();
        [run]
    };
    let diff = compare(&side(&[("main", 10_000)]), &side(&[("main", 10_000), ("main/rare", 10), ("main/slow", 5_000)]));
    assert!(!diff.has_calls);
    assert_eq!(row(&diff, "main").1.calls, Change::default());
    assert_eq!((row(&diff, "rare").1.presence, row(&diff, "slow").1.presence), (Presence::Both, Presence::New));
}
