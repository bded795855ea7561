//! Theorem: what a collector gets is the recording, span for span, by whichever transport it was sent and whenever: in the
//! host's trace, each span in its parent and within its parent's times, with its attributes and status; what the guest says
//! itself comes as logs and metrics. Of a run that is larger than the budget, each span comes as itself, in a sum, or is
//! counted as left out.
//!
//! The collector is a small server here, and `opentelemetry-proto` and tonic read what it gets.

#![cfg(unix)]

use testing::collector;
#[path = "../../examples/embed.rs"]
#[allow(dead_code, reason = "its `main` is not called here")]
mod embed;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use collector::{Collector, attribute, number, takes_all, text};
use opentelemetry::trace::{TraceContextExt, Tracer, TracerProvider};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value as Number};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_sdk::trace::SdkTracerProvider;
use wasmtrace::otlp::settings::{Settings, Target};
use wasmtrace::trace::RunOutcome;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Our binary, in an environment that says nothing of telemetry.
fn wasmtrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    let ours = |name: &str| name.starts_with("OTEL_") || name.starts_with("WASMTRACE_") || name.starts_with("TRACE");
    std::env::vars().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(args).env_remove("BAGGAGE").env("NO_PROXY", "*").stdin(Stdio::null());
    command
}

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display().to_string()
}

fn program(name: &str) -> String {
    path(&format!("corpus/real/{name}.wasm"))
}

fn module(name: &str) -> String {
    path(&format!("tests/cli/modules/{name}.wat"))
}

/// Runs a command that has to end with this code.
fn ends(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A recording of a program in the host's trace.
fn recorded(folder: &Path, module: &str, args: &[&str], code: i32) -> PathBuf {
    let file = folder.join("app.wtrace");
    let mut command = wasmtrace(&["record", "-q", "-o", file.to_str().unwrap(), module]);
    ends(command.args(args).env("TRACEPARENT", TRACEPARENT).env("TRACESTATE", "vendor=1"), code);
    file
}

/// The spans of a file of OTLP JSON.
fn converted(recording: &Path) -> Vec<Span> {
    let output = ends(&mut wasmtrace(&["convert", "-f", "otlp-json", recording.to_str().unwrap()]), 0);
    let lines = String::from_utf8(output.stdout).unwrap();
    let requests = lines.lines().map(|line| serde_json::from_str::<ExportTraceServiceRequest>(line).unwrap());
    let resources = requests.flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn sorted(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.span_id.cmp(&b.span_id));
    spans
}

/// Checks that they are one tree below the host's span; gives the run's own span.
fn assert_tree(spans: &[Span]) -> Span {
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (&span.span_id[..], span)).collect();
    assert_eq!(by_id.len(), spans.len(), "no id comes twice");
    let mut run = None;
    for span in spans {
        assert_eq!(span.trace_id, spans[0].trace_id, "there is one trace");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano && span.span_id.iter().any(|byte| *byte != 0));
        let Some(parent) = by_id.get(&span.parent_span_id[..]) else {
            assert!(run.replace(span.clone()).is_none(), "two spans have no parent here");
            continue;
        };
        let outer = parent.start_time_unix_nano..=parent.end_time_unix_nano;
        assert!(outer.contains(&span.start_time_unix_nano) && outer.contains(&span.end_time_unix_nano));
    }
    run.expect("the run has a span")
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn status(span: &Span) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, |status| status.code())
}

#[test]
fn every_transport_delivers_the_recording_span_for_span() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(folder.path(), &program("zig_demo"), &[], 0);
    let expected = sorted(converted(&recording));
    assert!(expected.len() > 3_000);
    for protocol in ["http/protobuf", "http/json", "grpc"] {
        for compression in ["none", "gzip"] {
            let collector = match protocol {
                "grpc" => Collector::grpc(takes_all()),
                _ => Collector::http(takes_all()),
            };
            let mut push = wasmtrace(&["push", recording.to_str().unwrap()]);
            push.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
                .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
                .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b");
            let output = ends(&mut push, 0);
            let received = collector.received();
            assert!(sorted(received.spans()) == expected, "{protocol} {compression}");
            let run = assert_tree(&received.spans());
            assert_eq!(
                (hex(&run.trace_id), hex(&run.parent_span_id)),
                ("4bf92f3577b34da6a3ce929d0e0e4736".to_owned(), "00f067aa0ba902b7".to_owned())
            );
            // The host's span is another process's, and that is said (bits 8 and 9 of the flags).
            let remote = |span: &Span| span.flags & 0x300 == if span.span_id == run.span_id { 0x300 } else { 0x100 };
            assert!(received.spans().iter().all(remote));
            assert!(run.name == "zig_demo.wasm" && received.spans().iter().all(|span| span.trace_state == "vendor=1"));
            assert!(stderr(&output).contains("trace 4bf92f3577b34da6a3ce929d0e0e4736, "), "{}", stderr(&output));
            // Of several requests each has the headers.
            assert!(received.heads.len() > 3);
            for head in &received.heads {
                let of = |wanted: &str| head.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
                assert_eq!(of("x-key"), Some("a b"));
                let encoding = of(if protocol == "grpc" { "grpc-encoding" } else { "content-encoding" });
                assert_eq!(encoding, (compression == "gzip").then_some("gzip"));
            }
        }
    }
}

#[test]
fn a_run_sends_where_the_environment_says_and_is_otherwise_as_it_was() {
    let collector = Collector::http(takes_all());
    let args = ["run", &program("c_exit"), "exit", "7"];
    let plain = ends(&mut wasmtrace(&args), 7);
    assert!(stderr(&plain).contains("calls of"), "without an endpoint there is the tree");
    let mut run = wasmtrace(&args);
    run.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("TRACEPARENT", TRACEPARENT)
        .env("OTEL_SERVICE_NAME", "shop")
        .env("OTEL_RESOURCE_ATTRIBUTES", "job.id=17,service.name=other,team=a%2Cb");
    let sent = ends(&mut run, 7);
    assert_eq!(sent.stdout, plain.stdout);
    assert!(!stderr(&sent).contains("calls of") && stderr(&sent).lines().count() == 1, "{}", stderr(&sent));

    let received = collector.received();
    let resource = received.resource().attributes;
    assert_eq!((text(&resource, "service.name"), text(&resource, "job.id")), ("shop".to_owned(), "17".to_owned()));
    assert_eq!((text(&resource, "team"), text(&resource, "process.runtime.name")), ("a,b".into(), "wasmtime".into()));
    let spans = received.spans();
    let run = assert_tree(&spans);
    assert_eq!((number(&run.attributes, "process.exit.code"), status(&run)), (7, StatusCode::Error));
    assert_eq!(number(&run.attributes, "wasm.call.count"), spans.len() as i64 - 1);
    let level = spans.iter().find(|span| span.name == "main").unwrap();
    assert_eq!(text(&level.attributes, "code.function.name"), "main");
    assert!(number(&level.attributes, "code.line.number") > 0);
    assert!(text(&level.attributes, "code.file.path").ends_with("c_exit.c"));
}

#[test]
fn a_trap_is_the_status_of_every_span_that_it_left_open() {
    let collector = Collector::grpc(takes_all());
    let sink = format!("otlp:{}", collector.url);
    let mut run = wasmtrace(&["run", "--sink", &sink, &program("c_exit"), "trap"]);
    ends(run.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), 134);
    let spans = collector.spans();
    let run = assert_tree(&spans);
    assert_eq!(
        (status(&run), text(&run.attributes, "error.type")),
        (StatusCode::Error, "unreachable_code_reached".into())
    );
    assert_eq!(run.events[0].name, "exception");
    let origin = spans.iter().find(|s| s.status.as_ref().is_some_and(|s| s.message == "the program trapped here"));
    assert_eq!(origin.unwrap().name, "level0");
}

#[test]
fn what_the_guest_says_itself_comes_as_logs_and_metrics_of_the_span_that_it_was_said_in() {
    for grpc in [false, true] {
        let collector = if grpc { Collector::grpc(takes_all()) } else { Collector::http(takes_all()) };
        let protocol = if grpc { "grpc" } else { "http/json" };
        let mut run = wasmtrace(&["run", "--sink", &format!("otlp:{}", collector.url), &module("manual")]);
        ends(run.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), 0);
        let received = collector.received();
        let spans = received.spans();
        let work = spans.iter().find(|span| span.name == "work").unwrap();
        let request = spans.iter().find(|span| span.name == "request").unwrap();
        assert_eq!((&work.parent_span_id, text(&request.attributes, "user")), (&request.span_id, "jo".to_owned()));
        assert_eq!(work.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["memory.grow"]);

        let [logs] = &received.logs[..] else { panic!("one request with logs") };
        let [record] = &logs.resource_logs[0].scope_logs[0].log_records[..] else { panic!("one record") };
        assert_eq!((&record.trace_id, &record.span_id), (&work.trace_id, &work.span_id));
        assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
        let body = record.body.clone().unwrap().value.unwrap();
        assert_eq!(format!("{body:?}"), "StringValue(\"hello\")");
        assert!((work.start_time_unix_nano..=work.end_time_unix_nano).contains(&record.time_unix_nano));
        assert_eq!(logs.resource_logs[0].resource, Some(received.resource()));

        let [metrics] = &received.metrics[..] else { panic!("one request with metrics") };
        let [metric] = &metrics.resource_metrics[0].scope_metrics[0].metrics[..] else { panic!("one metric") };
        let Some(Data::Sum(sum)) = &metric.data else { panic!("a counter is a sum") };
        assert_eq!((metric.name.as_str(), sum.is_monotonic, sum.aggregation_temporality), ("vowels.count", true, 2));
        assert_eq!(sum.data_points[0].value, Some(Number::AsDouble(1.0)));
    }
}

/// A backend that takes spans alone is told of by the specification's variables; then nothing is lost either.
#[test]
fn logs_and_metrics_that_are_not_wanted_stay_on_their_spans() {
    let collector = Collector::http(takes_all());
    let mut run = wasmtrace(&["run", "--sink", &format!("otlp:{}", collector.url), &module("manual")]);
    ends(run.env("OTEL_LOGS_EXPORTER", "none").env("OTEL_METRICS_EXPORTER", "none"), 0);
    let received = collector.received();
    assert!(received.logs.is_empty() && received.metrics.is_empty());
    let work = received.spans().into_iter().find(|span| span.name == "work").unwrap();
    assert_eq!(work.events.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(), ["memory.grow", "metric", "log"]);
}

/// The variables that a guest sees which prints them.
fn environment(output: &Output) -> BTreeMap<String, String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    let pairs: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "no variable comes twice: {pairs:?}");
    map
}

#[test]
fn the_guest_is_told_of_the_runs_span() {
    let collector = Collector::http(takes_all());
    let sink = format!("otlp:{}", collector.url);
    let run = |args: &[&str]| {
        let mut command = wasmtrace(&["run"]);
        command.args(args).arg(module("environ"));
        command.env("TRACEPARENT", TRACEPARENT).env("TRACESTATE", "vendor=1").env("BAGGAGE", "user=jo");
        environment(&ends(&mut command, 0))
    };
    let seen = run(&["--sink", &sink, "-S", "inherit-env"]);
    let own = assert_tree(&collector.spans());
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&own.span_id));
    assert_eq!(
        (&seen["TRACEPARENT"], &seen["TRACESTATE"][..], &seen["BAGGAGE"][..]),
        (&expected, "vendor=1", "user=jo")
    );
    // What was typed stands above.
    assert_eq!(run(&["--sink", &sink, "--env", "TRACEPARENT=mine"])["TRACEPARENT"], "mine");
    // Where nobody is told of the run's span, the host's is the parent.
    assert_eq!(run(&["--sink", "none"])["TRACEPARENT"], TRACEPARENT);
    // Baggage is not about a span.
    let mut alone = wasmtrace(&["run", "--sink", "none", &module("environ")]);
    let seen = environment(&ends(alone.env("BAGGAGE", "user=jo"), 0));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [("BAGGAGE".to_owned(), "user=jo".to_owned())]);
    // A run that belongs to nothing and goes nowhere changes nothing.
    let alone = ends(&mut wasmtrace(&["run", "--sink", "none", &module("environ")]), 0);
    assert!(environment(&alone).is_empty());
}

#[test]
fn what_is_not_to_be_propagated_is_not() {
    let collector = Collector::http(takes_all());
    let sink = format!("otlp:{}", collector.url);
    for (propagators, variables) in
        [("none", &[][..]), ("baggage", &["BAGGAGE"]), ("b3,tracecontext", &["TRACEPARENT"])]
    {
        let mut run = wasmtrace(&["run", "--sink", &sink, &module("environ")]);
        run.env("OTEL_PROPAGATORS", propagators).env("BAGGAGE", "user=jo");
        let seen = environment(&ends(&mut run, 0));
        assert_eq!(seen.keys().collect::<Vec<_>>(), variables, "{propagators}");
    }
}

/// A guest that inherits our environment has no state that belongs to another span than its parent.
#[test]
fn a_state_that_is_not_passed_on_is_not_inherited() {
    let collector = Collector::http(takes_all());
    let sink = format!("otlp:{}", collector.url);
    for (traceparent, tracestate) in [(TRACEPARENT, "no list"), ("00-zz", "vendor=1")] {
        let mut run = wasmtrace(&["run", "-S", "inherit-env", "--sink", &sink, &module("environ")]);
        let seen = environment(&ends(run.env("TRACEPARENT", traceparent).env("TRACESTATE", tracestate), 0));
        assert!(seen["TRACESTATE"].is_empty() && seen["TRACEPARENT"] != traceparent, "{seen:?}");
    }
}

#[test]
fn a_malformed_context_is_warned_of_and_a_trace_begun() {
    let collector = Collector::http(takes_all());
    let sink = format!("otlp:{}", collector.url);
    let mut run = wasmtrace(&["run", "--sink", &sink, "--traceparent", "00-zz", &module("manual")]);
    let output = ends(run.env("TRACESTATE", "vendor=1"), 0);
    assert!(stderr(&output).contains("--traceparent is ignored"), "{}", stderr(&output));
    let run = assert_tree(&collector.spans());
    assert!(run.parent_span_id.is_empty() && run.trace_state.is_empty());
}

#[test]
fn what_is_not_sampled_or_disabled_is_not_sent() {
    let collector = Collector::http(takes_all());
    let unsampled = TRACEPARENT.replace("-01", "-00");
    for variables in [
        &[("TRACEPARENT", unsampled.as_str())][..],
        &[("OTEL_TRACES_SAMPLER", "always_off"), ("TRACEPARENT", TRACEPARENT)],
        &[("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")],
        &[("OTEL_SDK_DISABLED", "true")],
    ] {
        let mut run = wasmtrace(&["run", &module("manual")]);
        run.envs(variables.iter().copied()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
        ends(&mut run, 0);
        assert!(collector.received().heads.is_empty(), "{variables:?}");
    }
    // The host's decision is the guest's.
    let mut run = wasmtrace(&["run", &module("environ")]);
    run.env("TRACEPARENT", &unsampled).env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url);
    assert!(environment(&ends(&mut run, 0))["TRACEPARENT"].ends_with("-00"));
    let mut run = wasmtrace(&["run", &module("manual")]);
    run.env("TRACEPARENT", &unsampled).env("OTEL_TRACES_SAMPLER", "always_on");
    ends(run.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url), 0);
    assert!(!collector.spans().is_empty());
}

/// Nothing is dialled that nobody named.
#[test]
fn a_run_dials_nobody_unasked() {
    let collector = Collector::http(takes_all());
    for variables in
        [&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url.as_str())][..], &[]]
    {
        let output = ends(wasmtrace(&["run", &module("manual")]).envs(variables.iter().copied()), 0);
        assert!(stderr(&output).contains("calls of"), "{}", stderr(&output));
    }
    let output = ends(&mut wasmtrace(&["push", "nowhere.wtrace"]), 1);
    assert!(stderr(&output).contains("no sink: give --sink"), "{}", stderr(&output));
    assert!(collector.received().heads.is_empty());
}

/// How often each function is in the spans, those that stand for several counted so.
fn calls(spans: &[Span]) -> HashMap<String, i64> {
    let mut calls: HashMap<String, i64> = HashMap::new();
    for span in spans {
        let several =
            attribute(&span.attributes, "wasm.call.count").map(|_| number(&span.attributes, "wasm.call.count"));
        *calls.entry(span.name.clone()).or_default() += several.unwrap_or(1);
    }
    calls
}

#[test]
fn in_a_budget_each_span_comes_as_itself_in_a_sum_or_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(folder.path(), &program("rust_serde"), &[], 0);
    let all = converted(&recording);
    let run_of = |spans: &[Span]| spans.iter().position(|span| span.name == "rust_serde.wasm").unwrap();
    let mut everything = all.clone();
    everything.remove(run_of(&all));
    let duration = |span: &Span| span.end_time_unix_nano - span.start_time_unix_nano;
    for most in [1, 10, 200, 5_000] {
        let collector = Collector::http(takes_all());
        let (sink, most_text) = (format!("otlp:{}", collector.url), most.to_string());
        let args = ["push", recording.to_str().unwrap(), "--sink", &sink, "--max-spans", &most_text];
        ends(&mut wasmtrace(&args), 0);
        let mut spans = collector.received().spans();
        assert!(spans.len() <= most + 1, "{} spans", spans.len());
        let run = assert_tree(&spans);
        spans.remove(run_of(&spans));

        let sums: Vec<&Span> = spans.iter().filter(|s| attribute(&s.attributes, "wasm.call.count").is_some()).collect();
        let merged: i64 = sums.iter().map(|span| number(&span.attributes, "wasm.call.count")).sum();
        assert_eq!(number(&run.attributes, "wasm.spans.merged"), merged);
        let left_out = number(&run.attributes, "wasm.spans.left_out");
        let alone = (spans.len() - sums.len()) as i64;
        assert_eq!(alone + merged + left_out, everything.len() as i64, "each in exactly one");
        assert_eq!(number(&run.attributes, "wasm.call.count"), everything.len() as i64);

        // The longest are there, as they are.
        let mut longest = everything.clone();
        longest.sort_by_key(|span| std::cmp::Reverse(duration(span)));
        let least = duration(&longest[most - most / 4 - 1]);
        for span in longest.iter().filter(|span| duration(span) > least) {
            let there =
                spans.iter().find(|s| s.span_id == span.span_id).unwrap_or_else(|| panic!("{} is missing", span.name));
            // What happened in a span that is not there itself is on the one around.
            assert!(span.events.iter().all(|event| there.events.contains(event)));
            assert_eq!(Span { events: Vec::new(), ..there.clone() }, Span { events: Vec::new(), ..span.clone() });
        }
        // No sum says more than there was, and with its time it is not longer than what it is in.
        let whole = calls(&everything);
        assert!(calls(&spans).iter().all(|(name, count)| *count <= whole[name]));
        let original: HashMap<&[u8], &Span> = all.iter().map(|span| (&span.span_id[..], span)).collect();
        let sent: HashMap<&[u8], &Span> = spans.iter().chain([&run]).map(|span| (&span.span_id[..], span)).collect();
        for sum in sums {
            // It is none of them, and has an id of its own.
            assert!(!original.contains_key(&sum.span_id[..]));
            // It stands for calls in the span, or in the sum of calls of the function, that the first of them was in.
            let start = sum.start_time_unix_nano;
            let mut firsts = all.iter().filter(|span| span.name == sum.name && span.start_time_unix_nano == start);
            let around = &sent[&sum.parent_span_id[..]].name;
            assert!(firsts.any(|first| original[&first.parent_span_id[..]].name == *around));
            assert!(number(&sum.attributes, "wasm.call.total_ns") <= duration(sum) as i64);
        }
    }
    // Within the budget, and without one, all come.
    for most in ["0", "1000000"] {
        let collector = Collector::http(takes_all());
        let sink = format!("otlp:{}", collector.url);
        ends(&mut wasmtrace(&["push", recording.to_str().unwrap(), "--sink", &sink, "--max-spans", most]), 0);
        assert!(sorted(collector.received().spans()) == sorted(all.clone()));
    }
}

#[test]
fn zipkin_gets_the_same_spans_in_its_own_form() {
    let folder = tempfile::tempdir().unwrap();
    let recording = recorded(folder.path(), &program("c_exit"), &["trap"], 134);
    let expected = converted(&recording);
    let collector = Collector::http(takes_all());
    let sink = format!("zipkin:{}", collector.url);
    ends(&mut wasmtrace(&["push", recording.to_str().unwrap(), "--sink", &sink]), 0);
    let received = collector.received().zipkin;
    assert_eq!(received.len(), expected.len());
    for span in &expected {
        let id = hex(&span.span_id);
        let zipkin = received.iter().find(|zipkin| zipkin["id"] == id.as_str()).expect("each is there");
        assert_eq!(zipkin["traceId"], hex(&span.trace_id).as_str());
        assert_eq!(zipkin["parentId"], hex(&span.parent_span_id).as_str());
        assert_eq!(zipkin["name"], span.name.as_str());
        assert_eq!(zipkin["timestamp"].as_u64().unwrap(), span.start_time_unix_nano / 1_000);
        assert!(zipkin["duration"].as_u64().unwrap() >= 1);
        assert_eq!(zipkin["tags"].get("error").is_some(), status(span) == StatusCode::Error);
        assert_eq!(zipkin["localEndpoint"]["serviceName"], "c_exit.wasm");
    }
    // By the environment alone.
    let mut run = wasmtrace(&["run", &module("manual")]);
    run.env("OTEL_TRACES_EXPORTER", "zipkin");
    run.env("OTEL_EXPORTER_ZIPKIN_ENDPOINT", format!("{}/api/v2/spans", collector.url));
    ends(&mut run, 0);
    let work = collector.received().zipkin.into_iter().find(|span| span["name"] == "work").unwrap();
    assert_eq!(work["annotations"].as_array().unwrap().len(), 3, "{work}");
}

/// A recording of before there were contexts has no ids: it is sent with new ones.
#[test]
fn an_old_recording_is_sent_in_a_trace_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.wtrace");
    // Events of this set have a time each, as all had then.
    let hooks = ["record", "-q", "--hooks", "observe", "-o", file.to_str().unwrap(), &module("manual")];
    ends(&mut wasmtrace(&hooks), 0);
    let mut bytes = std::fs::read(&file).unwrap();
    // Magic, then the header's block: kind, length, checksum; in version 1 it ends before ids, flags, two empty lists, and what
    // says of samples.
    let end = 17 + u32::from_le_bytes(bytes[9..13].try_into().unwrap()) as usize;
    // Then how functions wait, and an index for each function, of one byte each.
    let functions = wasmtrace::trace::recording::Reader::open(&bytes[..]).unwrap().header().manifest.probes.len();
    let more = 16 + 8 + 8 + 1 + 1 + 1 + 1 + 1 + 1 + functions;
    bytes.drain(end - more..end);
    let length = (end - more - 17) as u32;
    bytes[9..13].copy_from_slice(&length.to_le_bytes());
    assert_eq!(std::mem::replace(&mut bytes[17], 1), 4);
    let checked = [&bytes[8..13], &bytes[17..end - more]].concat();
    bytes[13..17].copy_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    std::fs::write(&file, bytes).unwrap();

    let collector = Collector::http(takes_all());
    let sink = format!("otlp:{}", collector.url);
    ends(&mut wasmtrace(&["push", file.to_str().unwrap(), "--sink", &sink]), 0);
    let run = assert_tree(&collector.spans());
    assert!(run.parent_span_id.is_empty() && collector.spans().len() == 4);
}

/// What a host that embeds the library gets: the run below its own span, twice from one module, with a function of its own.
#[test]
fn an_embedding_host_has_the_run_in_its_span() {
    let ask = wat::parse_str(
        r#"(module
            (import "host" "ask" (func $ask (param i32) (result i32)))
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func $deep (param i32) (result i32) local.get 0 call $ask)
            (func (export "_start") i32.const 4 call $deep call $exit))"#,
    )
    .unwrap();
    let tracer = SdkTracerProvider::builder().build().tracer("host");
    for (name, wasm, ending, asked) in [
        ("zig_demo", std::fs::read(program("zig_demo")).unwrap(), RunOutcome::Exited(0), vec![]),
        ("ask", ask, RunOutcome::Exited(8), vec![4]),
    ] {
        let job = embed::Job::new(name, &wasm).unwrap();
        for _ in 0..2 {
            let collector = Collector::http(takes_all());
            let settings = Settings::read(&Target::Otlp(Some(collector.url.clone())), &|_| None);
            let (host, done) = tracer.in_span("job", |context| {
                let done = job.run_in_span(&settings).unwrap();
                (context.span().span_context().clone(), done)
            });
            let run = assert_tree(&collector.spans());
            assert_eq!((&done.ending, &done.asked), (&ending, &asked));
            assert_eq!(number(&run.attributes, "process.exit.code"), i64::from(ending.exit_code()));
            assert_eq!(hex(&run.parent_span_id), host.span_id().to_string());
            assert_eq!(
                (&hex(&run.trace_id), &done.delivered.trace),
                (&host.trace_id().to_string(), &done.delivered.trace)
            );
            assert_eq!(collector.spans().len() as u64, done.delivered.spans);
            assert!(collector.spans().len() > 2);
        }
    }
}
