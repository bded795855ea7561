//! Automatic and manual spans nest as a person expects, in each language that has a binding.
//!
//! Theorem: the examples in `corpus/src/bindings` are one program in four languages, so they give one story: the same
//! manual spans in each other, with the same tags, log lines and metrics, around the functions that do the work.

use std::collections::BTreeMap;
use std::fmt::Write;

use testing::instrument;
use wasmtrace::export::RunInfo;
use wasmtrace::runtime::{Config, Stdio, run};
use wasmtrace::trace::span_builder::{Change, Note, SpanBuilder, What};
use wasmtrace::{Options, label, module};

/// The functions of the examples themselves, whatever the language makes of their names.
const OWN: &str = r"+/^(.*::|.*\.|<.*>::)?(main|order|take|quantity|sell|open_?[rR]eport|close_?[rR]eport)$/";

/// One thing of the story, told inside of a span.
enum Told {
    Span(u64),
    Note(String),
}

/// Runs an example and tells what happened, one line a thing, indented by what it was in. With `calls` or without.
fn story(name: &str, calls: bool) -> String {
    let case = testing::programs().into_iter().find(|c| c.name == name).unwrap();
    let mut options = Options::default();
    options.select.push(OWN).unwrap();
    let hooked = instrument(&case.wasm, &options).unwrap();
    let module = module::parse(&hooked.wasm).unwrap();
    let labels = label::probes(&module).labels;
    let run_info = RunInfo { program: name.to_owned(), labels, ..Default::default() };

    let mut names: BTreeMap<u64, (String, bool)> = BTreeMap::new();
    let mut told: BTreeMap<u64, Vec<(u64, Told)>> = BTreeMap::new();
    let mut order = 0; // of notes among spans: a note comes after the spans that are opened before it
    let mut fold = SpanBuilder::new();
    let mut tell = |change: &Change<'_>| match change {
        Change::Opened { .. } => order += 1,
        Change::Closed { span, .. } => {
            let tags: Vec<String> = span.tags.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            let manual = matches!(span.what, What::Manual(_));
            let name = run_info.name(span.what);
            let name = label::demangle::without_arguments(&name).rsplit(['.', ':']).next().unwrap().to_owned();
            let shown = if manual { format!("«{name}»{}", tags.concat()) } else { name };
            names.insert(span.number, (shown, manual));
            told.entry(span.parent.unwrap_or(0)).or_default().push((span.number * 2, Told::Span(span.number)));
        }
        Change::Noted { span, note, .. } => {
            let line = match note {
                Note::Log(level, message) => format!("{}: {message}", level.as_str()),
                Note::Metric(line) => format!("metric {line}"),
                Note::Tags(_) | Note::MemoryGrow(_) | Note::Elided(..) | Note::ClockGap(_) => return,
            };
            told.entry(span.unwrap_or(0)).or_default().push((order * 2 + 1, Told::Note(line)));
        }
    };
    let config = Config { program: name.to_owned(), stdio: Stdio::Capture { stdin: Vec::new() }, ..Default::default() };
    let outcome = run(&hooked.wasm, &config, |events| events.iter().for_each(|e| fold.event(e, &mut tell))).unwrap();
    fold.finish(outcome.duration, &outcome.ending, &mut tell);
    assert_eq!(*fold.anomalies(), Default::default());
    let expected = std::fs::read(testing::corpus().join("real").join(format!("{name}.stdout"))).unwrap();
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), String::from_utf8_lossy(&expected));

    for list in told.values_mut() {
        list.sort_by_key(|(order, _)| *order);
    }
    let mut text = String::new();
    write_story(0, 0, calls, &names, &told, &mut text);
    text
}

fn write_story(
    span: u64,
    depth: usize,
    calls: bool,
    names: &BTreeMap<u64, (String, bool)>,
    told: &BTreeMap<u64, Vec<(u64, Told)>>,
    out: &mut String,
) {
    for (_, what) in told.get(&span).into_iter().flatten() {
        match what {
            Told::Note(line) => writeln!(out, "{}{line}", "  ".repeat(depth)).unwrap(),
            Told::Span(number) => {
                let (name, manual) = &names[number];
                let shown = calls || *manual;
                if shown {
                    writeln!(out, "{}{name}", "  ".repeat(depth)).unwrap();
                }
                write_story(*number, depth + shown as usize, calls, names, told, out);
            }
        }
    }
}

/// Compares the story of a program with the snapshot of that name.
fn assert_story(name: &str, program: &str) {
    testing::golden::snapshots("bindings").bind(|| insta::assert_snapshot!(name, story(program, true)));
}

#[test]
fn spans_opened_in_c_enclose_the_work() {
    assert_story("c", "bind_c");
}

#[test]
fn spans_opened_in_cpp_enclose_the_work() {
    assert_story("cpp", "bind_cpp");
}

#[test]
fn spans_opened_in_rust_enclose_the_work() {
    assert_story("rust", "bind_rust");
}

#[test]
fn spans_opened_in_zig_enclose_the_work() {
    assert_story("zig", "bind_zig");
}

/// The four tell the same story, calls left out.
#[test]
fn all_bindings_tell_the_same_story() {
    let c = story("bind_c", false);
    for name in ["bind_cpp", "bind_rust", "bind_zig"] {
        assert_eq!(story(name, false), c, "{name}");
    }
}
