//! Theorem: what a run is written as can be read by those for whom it is written, and the formats agree. From one run:
//!
//! - Chrome's begin and end events are balanced, nested and monotone;
//! - the folded stacks are those that come out of Chrome's events by a second, simpler computation, nanosecond for
//!   nanosecond, so they add up to the time spent in hooked functions;
//! - OTLP JSON is understood by `opentelemetry-proto` without the loss of a field, is one tree, and has the same spans.

#![cfg(unix)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Command, Stdio};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as AnyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::Value;

/// The files that one run has left.
struct Run {
    chrome: String,
    folded: String,
    otlp: String,
}

fn run(program: &str, args: &[&str], code: i32) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_wasmtrace"))
        .current_dir(folder.path())
        .args([
            "run",
            "--no-sample",
            "--sink",
            "chrome:c.json",
            "--sink",
            "folded:f.txt",
            "--sink",
            "otlp-json:o.jsonl",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(code), "{program} {args:?}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Run { chrome: read("c.json"), folded: read("f.txt"), otlp: read("o.jsonl") }
}

/// A span as a format tells it. Times are nanoseconds since the run began.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    start: u64,
    end: u64,
    name: String,
    /// The function's index; a manual span has none.
    index: Option<u64>,
    /// How many spans it is in.
    depth: usize,
}

impl Call {
    /// What is the same in all formats, to the nanosecond but for times.
    fn identity(&self) -> (&str, Option<u64>, usize) {
        (&self.name, self.index, self.depth)
    }
}

/// Microseconds with three decimals.
fn nanos(ts: &Value) -> u64 {
    (ts.as_f64().expect("a number") * 1000.0).round() as u64
}

/// Chrome's events: checked, and as spans in the order in which they began.
fn chrome(text: &str) -> Vec<Call> {
    let events: Vec<Value> = serde_json::from_str(text).expect("one JSON array");
    let (mut calls, mut now, mut named): (Vec<Call>, u64, bool) = Default::default();
    // Each with the id of an asynchronous event, if it is one: a manual span may outlive the call that opened it.
    let mut open: Vec<(usize, Option<&Value>)> = Vec::new();
    for event in &events {
        assert_eq!((&event["pid"], &event["tid"]), (&1.into(), &1.into()));
        let ts = event.get("ts").map(nanos);
        if let Some(ts) = ts {
            assert!(ts >= now, "times go back from {now} to {event}");
            now = ts;
        }
        match event["ph"].as_str().unwrap() {
            "B" | "b" => {
                calls.push(Call {
                    start: ts.unwrap(),
                    end: 0,
                    name: event["name"].as_str().unwrap().to_owned(),
                    index: event["args"]["index"].as_u64(),
                    depth: open.len(),
                });
                open.push((calls.len() - 1, event.get("id")));
            }
            "E" | "e" => {
                let innermost = open.iter().rposition(|(_, id)| *id == event.get("id"));
                let (call, _) = open.remove(innermost.expect("an end has a beginning"));
                calls[call].end = ts.unwrap();
            }
            "i" => assert!(event["name"].is_string() && ts.is_some(), "{event}"),
            "M" => named |= event["name"] == "process_name" && event["args"]["name"].is_string(),
            other => panic!("an event of the kind {other}"),
        }
    }
    assert!(open.is_empty(), "{} spans have no end", open.len());
    assert_read_by_name(&events);
    assert!(named, "the process has a name");
    calls
}

/// Asserts that a reader that sorts beginnings and ends apart, and matches them by name and arguments, finds the same calls.
/// speedscope is such a reader: of equal times it takes the end first, unless it is that of the next beginning.
fn assert_read_by_name(events: &[Value]) {
    let of_kind = |kind: &str| {
        let mut events: Vec<&Value> = events.iter().filter(|event| event["ph"] == kind).collect();
        events.sort_by_key(|event| nanos(&event["ts"]));
        events.into_iter().peekable()
    };
    let (mut begins, mut ends) = (of_kind("B"), of_kind("E"));
    let id = |event: &Value| (event["name"].clone(), event["args"].clone());
    let mut open = Vec::new();
    while let Some(end) = ends.peek() {
        let is_next = |begin: &&&Value| {
            let (at, until) = (nanos(&begin["ts"]), nanos(&end["ts"]));
            at < until || at == until && id(begin) == id(end)
        };
        match begins.peek().filter(is_next) {
            Some(_) => open.push(id(begins.next().unwrap())),
            None => assert_eq!(open.pop(), Some(id(ends.next().unwrap())), "an end is that of the innermost call"),
        }
    }
    assert!(begins.next().is_none() && open.is_empty());
    let has_null = |event: &Value| event["args"].as_object().is_some_and(|args| args.values().any(Value::is_null));
    assert!(!events.iter().any(has_null), "an argument is null");
}

/// Self time by path, out of the spans alone: a path is cut back where a function is in it already.
fn self_times(calls: &[Call]) -> BTreeMap<String, u64> {
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    let mut paths: Vec<Vec<(Option<u64>, &str)>> = Vec::new();
    for call in calls {
        let path = |path: &[(Option<u64>, &str)]| {
            path.iter().map(|(_, name)| name.replace(';', ":")).collect::<Vec<_>>().join(";")
        };
        paths.truncate(call.depth);
        let duration = call.end - call.start;
        let mut own = Vec::new();
        if let Some(outer) = paths.last() {
            // What is spent here is not spent in the caller. The caller has begun before, so its time stands there.
            *times.get_mut(&path(outer)).unwrap() -= duration;
            own = outer.clone();
        }
        match own.iter().position(|(index, name)| (*index, *name) == (call.index, call.name.as_str())) {
            Some(again) => own.truncate(again + 1),
            None => own.push((call.index, &call.name)),
        }
        *times.entry(path(&own)).or_default() += duration;
        paths.push(own);
    }
    times.retain(|_, nanos| *nanos > 0);
    times
}

fn folded(text: &str) -> BTreeMap<String, u64> {
    let mut times = BTreeMap::new();
    for line in text.lines() {
        let (path, nanos) = line.rsplit_once(' ').expect("a path and a number");
        *times.entry(path.to_owned()).or_default() += nanos.parse::<u64>().expect("a number");
    }
    times
}

/// Asserts that everything in `ours` is in `theirs`, the same: nothing was lost on the way through the reader. (What is
/// missing in ours, the reader writes as its default.)
fn assert_kept(ours: &Value, theirs: &Value, at: &str) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                let at = format!("{at}.{key}");
                assert_kept(value, b.get(key).unwrap_or_else(|| panic!("the reader does not know {at}")), &at);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            a.iter().zip(b).enumerate().for_each(|(i, (a, b))| assert_kept(a, b, &format!("{at}[{i}]")));
        }
        _ => assert_eq!(ours, theirs, "{at}"),
    }
}

/// Ids are hex of lower case and this many digits, not all of them 0 (which means that there is none).
fn assert_id(id: &Value, digits: usize) {
    let id = id.as_str().unwrap();
    assert_eq!(id.len(), digits, "{id}");
    assert!(id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) && id.bytes().any(|b| b != b'0'), "{id}");
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a AnyValue> {
    attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()
}

fn text(value: Option<&AnyValue>) -> &str {
    match value {
        Some(AnyValue::StringValue(text)) => text,
        other => panic!("{other:?} is no text"),
    }
}

fn number(value: Option<&AnyValue>) -> i64 {
    match value {
        Some(AnyValue::IntValue(number)) => *number,
        other => panic!("{other:?} is no number"),
    }
}

/// All spans, the run's own first. The shape is checked here, what it says is for the caller.
fn otlp(file: &str) -> Vec<Span> {
    assert!(file.ends_with('\n'));
    let mut spans: Vec<Span> = Vec::new();
    for line in file.lines() {
        let ours: Value = serde_json::from_str(line).expect("each line is JSON");
        let request: ExportTraceServiceRequest = serde_json::from_str(line).expect("each line is a request");
        assert_kept(&ours, &serde_json::to_value(&request).unwrap(), "");
        for span in ours["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap() {
            assert_id(&span["traceId"], 32);
            assert_id(&span["spanId"], 16);
            span.get("parentSpanId").iter().for_each(|id| assert_id(id, 16));
            for time in ["startTimeUnixNano", "endTimeUnixNano"] {
                assert!(span[time].as_str().unwrap().parse::<u64>().is_ok(), "64-bit integers are strings: {span}");
            }
        }
        let [resource] = &request.resource_spans[..] else { panic!("one resource a line") };
        let about = &resource.resource.as_ref().unwrap().attributes;
        assert!(!text(attribute(about, "service.name")).is_empty());
        let [scope] = &resource.scope_spans[..] else { panic!("one scope a line") };
        assert_eq!(scope.scope.as_ref().unwrap().name, "wasmtrace");
        assert!((1..=512).contains(&scope.spans.len()), "{} spans on a line", scope.spans.len());
        spans.extend(scope.spans.iter().cloned());
    }
    let run = spans.iter().position(|s| s.parent_span_id.is_empty()).expect("the run has a span");
    spans.swap(0, run);

    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|s| (&s.span_id[..], s)).collect();
    assert_eq!(by_id.len(), spans.len(), "span ids are unique");
    for (at, span) in spans.iter().enumerate() {
        assert_eq!(span.trace_id, spans[0].trace_id, "there is one trace");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        if at > 0 {
            let parent = by_id.get(&span.parent_span_id[..]).expect("the parent is there");
            let (outer, inner) = (
                parent.start_time_unix_nano..=parent.end_time_unix_nano,
                [span.start_time_unix_nano, span.end_time_unix_nano],
            );
            assert!(inner.iter().all(|t| outer.contains(t)), "{} is outside of {}", span.name, parent.name);
        }
    }
    spans
}

/// OTLP's spans without the run's, as the other formats tell them.
fn calls_of(spans: &[Span]) -> Vec<Call> {
    let began = spans[0].start_time_unix_nano;
    let parents: HashMap<&[u8], &[u8]> = spans.iter().map(|s| (&s.span_id[..], &s.parent_span_id[..])).collect();
    spans[1..]
        .iter()
        .map(|span| Call {
            start: span.start_time_unix_nano - began,
            end: span.end_time_unix_nano - began,
            name: span.name.clone(),
            index: attribute(&span.attributes, "wasm.function.index").map(|i| number(Some(i)) as u64),
            // The way up ends at the run's span, which is not counted.
            depth: std::iter::successors(parents.get(&span.parent_span_id[..]), |p| parents.get(*p)).count() - 1,
        })
        .collect()
}

/// Checks all three formats of a run against each other; gives OTLP's spans.
fn assert_formats_agree(run: &Run) -> Vec<Span> {
    let calls = chrome(&run.chrome);
    let by_path = folded(&run.folded);
    assert!(!calls.is_empty());
    // Chrome's beginnings and ends are at least a nanosecond apart.
    let bumps = 2 * calls.len() as u64;
    let by_calls = self_times(&calls);
    for path in by_path.keys().chain(by_calls.keys()) {
        let [a, b] = [&by_path, &by_calls].map(|times| times.get(path).copied().unwrap_or(0));
        assert!(a.abs_diff(b) <= bumps, "{path}: folded stacks are not what the calls add up to: {a}, {b}");
    }
    let whole: u64 = calls.iter().filter(|c| c.depth == 0).map(|c| c.end - c.start).sum();
    assert!(
        by_path.values().sum::<u64>().abs_diff(whole) <= bumps,
        "self times add up to the time in hooked functions"
    );

    let spans = otlp(&run.otlp);
    let (mut ours, mut theirs) = (calls, calls_of(&spans));
    let key = |call: &Call| (call.name.clone(), call.index, call.depth, call.start, call.end);
    ours.sort_by_key(key);
    theirs.sort_by_key(key);
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(&theirs) {
        assert_eq!(a.identity(), b.identity(), "OTLP's spans are not Chrome's");
        assert!(a.start.abs_diff(b.start) <= bumps && a.end.abs_diff(b.end) <= bumps, "{a:?} {b:?}");
    }
    spans
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |s| s.code())
}

#[test]
fn formats_agree_on_programs_of_every_language() {
    for program in ["c_exit", "zig_demo", "as_sieve", "cpp_classes", "cpp_eh_exnref", "rust_panic"] {
        let run = run(&format!("corpus/real/{program}.wasm"), &[], 0);
        let spans = assert_formats_agree(&run);
        assert_eq!(status(&spans[0]), StatusCode::Unset);
        assert_eq!(number(attribute(&spans[0].attributes, "wasm.call.count")), spans.len() as i64 - 1);
        // The calls that an exception crossed have failed; there are such in one of these programs.
        let failed = spans.iter().filter(|s| status(s) == StatusCode::Error).count();
        assert_eq!(failed, if program == "cpp_eh_exnref" { 406 } else { 0 }, "{program}");
    }
}

#[test]
fn an_exit_code_is_the_status_of_the_run() {
    for (args, code) in [(["exit", "7"], 7), (["exit", "0"], 0), (["main", "3"], 3)] {
        let spans = assert_formats_agree(&run("corpus/real/c_exit.wasm", &args, code));
        assert_eq!(number(attribute(&spans[0].attributes, "process.exit.code")), i64::from(code));
        assert_eq!(status(&spans[0]) == StatusCode::Error, code != 0);
        assert!(spans[1..].iter().all(|s| status(s) == StatusCode::Unset), "to exit is no failure of a function");
    }
}

#[test]
fn a_trap_is_the_status_of_every_span_that_it_left_open() {
    for (verb, kind) in
        [("trap", "unreachable_code_reached"), ("oob", "memory_out_of_bounds"), ("div0", "integer_division_by_zero")]
    {
        let spans = assert_formats_agree(&run("corpus/real/c_exit.wasm", &[verb], 134));
        assert_eq!(status(&spans[0]), StatusCode::Error);
        assert_eq!(text(attribute(&spans[0].attributes, "error.type")), kind);
        let [exception] = &spans[0].events[..] else { panic!("one exception: {:?}", spans[0].events) };
        assert_eq!(exception.name, "exception");
        assert_eq!(text(attribute(&exception.attributes, "exception.type")), kind);
        let frames: Vec<&str> = text(attribute(&exception.attributes, "exception.stacktrace")).lines().collect();
        // Innermost first, and the spans that failed are those frames.
        assert_eq!(frames[0], "level0");
        let mut failed: Vec<&Span> = spans[1..].iter().filter(|s| status(s) == StatusCode::Error).collect();
        failed.sort_by_key(|s| std::cmp::Reverse(s.start_time_unix_nano));
        assert_eq!(failed.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), frames);
        let origins = failed.iter().filter(|s| s.status.as_ref().unwrap().message == "the program trapped here");
        assert_eq!(origins.map(|s| s.name.as_str()).collect::<Vec<_>>(), ["level0"]);
    }
}

#[test]
fn what_the_guest_says_itself_is_on_the_span_that_it_is_said_in() {
    let run = run("tests/cli/modules/manual.wat", &[], 0);
    let spans = assert_formats_agree(&run);
    let span = |name: &str| spans.iter().find(|s| s.name == name).unwrap();
    let request = span("request");
    assert_eq!(request.parent_span_id, span("main").span_id);
    assert_eq!(span("work").parent_span_id, request.span_id);
    let tags: Vec<(&str, &str)> =
        request.attributes.iter().map(|a| (a.key.as_str(), text(attribute(&request.attributes, &a.key)))).collect();
    assert_eq!(tags, [("user", "jo"), ("path", "/\"a\""), ("flag", "")]);
    let events: Vec<&str> = span("work").events.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(events, ["memory.grow", "metric", "log"]);
    assert_eq!(text(attribute(&span("work").events[2].attributes, "log.message")), "hello");
}

/// OpenTelemetry's default limit: what is beyond it is counted.
#[test]
fn a_span_has_a_hundred_and_twenty_eight_events_and_says_how_many_more_there_were() {
    let run = run("tests/cli/modules/chatty.wat", &[], 0);
    let spans = assert_formats_agree(&run);
    let span = |name: &str| spans.iter().find(|s| s.name == name).unwrap();
    assert_eq!((span("chatty").events.len(), span("chatty").dropped_events_count), (128, 72));
    assert_eq!((span("terse").events.len(), span("terse").dropped_events_count), (1, 0));
}

/// A run of many spans comes in many lines, and none of them is written twice.
#[test]
fn recursion_five_thousand_calls_deep_is_written_and_read() {
    let run = run("corpus/real/c_exit.wasm", &["recurse", "5000"], 0);
    assert!(run.otlp.lines().count() > 5_000 / 512);
    assert_formats_agree(&run);
}
