//! Theorem: of a run that lives long, what has closed arrives while it goes on, and when it is over the collector has what it
//! would have had otherwise: one tree, no span twice, each as a later `push` of the recording tells it, and never more than the
//! budget. A collector that fails on the way costs nothing but time, and the guest not even that.

#![cfg(unix)]

use testing::collector;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use collector::{Answer, Collector, attribute, number, takes_all};
use opentelemetry_proto::tonic::trace::v1::Span;

fn wasmtrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    for (name, _) in std::env::vars() {
        if name.starts_with("OTEL_") || name.starts_with("WASMTRACE_") || name.starts_with("TRACE") {
            command.env_remove(name);
        }
    }
    command.args(args).env("NO_PROXY", "*").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that goes on until it is ended, with windows of a fifth of a second.
fn run(folder: &Path, max_spans: &str, sinks: &[&Collector]) -> Guest {
    let mut command = wasmtrace(&["run", "--send-every", "200ms", "--flush-timeout", "1h", "--max-spans", max_spans]);
    for sink in sinks {
        command.arg("--sink").arg(format!("otlp:{}", sink.url));
    }
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/modules/hours.wat"));
    Guest::start(command.env("WASMTRACE_SPOOL_DIR", folder))
}

/// A run that is ended at the latest when the test is: also if that fails.
struct Guest(Option<Child>);

impl Guest {
    fn start(command: &mut Command) -> Guest {
        Guest(Some(command.spawn().unwrap()))
    }

    fn terminate(mut self) -> Output {
        let child = self.0.take().unwrap();
        let sent = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

/// One that takes nothing, so that the recording is kept.
fn refuses() -> Collector {
    Collector::http(Arc::new(|_| Answer::Refuse(400, Vec::new(), Vec::new())))
}

fn wait_until(what: impl Fn() -> bool) {
    let began = Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(120), "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The recordings that are in a folder.
fn kept(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// All that a recording says, by a later `push`.
fn pushed(folder: &Path) -> Vec<Span> {
    let [recording] = &kept(folder)[..] else { panic!("one is kept") };
    let all = Collector::http(takes_all());
    let sink = format!("otlp:{}", all.url);
    let output =
        wasmtrace(&["push", recording.to_str().unwrap(), "--sink", &sink, "--max-spans", "0"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    all.received().spans()
}

/// By id; none comes twice.
fn by_id(spans: &[Span]) -> HashMap<Vec<u8>, Span> {
    let by_id: HashMap<_, _> = spans.iter().map(|span| (span.span_id.clone(), span.clone())).collect();
    assert_eq!(by_id.len(), spans.len(), "a span came twice");
    by_id
}

/// Checks that they are one tree, and gives its root.
fn assert_tree(spans: &[Span]) -> Span {
    let by_id = by_id(spans);
    let roots: Vec<&Span> = spans.iter().filter(|span| !by_id.contains_key(&span.parent_span_id)).collect();
    let [root] = roots[..] else { panic!("{} roots", roots.len()) };
    assert!(root.parent_span_id.is_empty());
    for span in spans.iter().filter(|span| *span != root) {
        let parent = &by_id[&span.parent_span_id];
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
    }
    root.clone()
}

fn events(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.events.len()).sum()
}

#[test]
fn all_arrives_once_and_much_of_it_on_the_way() {
    for grpc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let sink = if grpc { Collector::grpc(takes_all()) } else { Collector::http(takes_all()) };
        let refuses = refuses();
        // The second speaks what the first does.
        let mut command = wasmtrace(&["run", "--send-every", "200ms", "--flush-timeout", "1h", "--max-spans", "0"]);
        command.args(["--sink", &format!("otlp:{}", sink.url), "--sink", &format!("zipkin:{}", refuses.url)]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/modules/hours.wat"));
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", if grpc { "grpc" } else { "http/protobuf" });
        let child = Guest::start(command.env("WASMTRACE_SPOOL_DIR", folder.path()));
        // In several windows.
        wait_until(|| sink.received().traces.len() >= 4);
        let before = sink.received();
        let output = child.terminate();
        let after = sink.received();
        let all = pushed(folder.path());
        assert!(before.spans().len() > 100 && before.spans().iter().all(|span| !span.parent_span_id.is_empty()));
        // Attributes and status, times, parents, events: span for span the same.
        assert!(by_id(&after.spans()) == by_id(&all), "{} and {} spans", after.spans().len(), all.len());
        assert_tree(&after.spans());
        assert!(events(&all) > 20);
        after.resource();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(" of them during the run") && said.contains("; to send it: wasmtrace push "), "{said}");
        // Log lines come at the end, in the spans that they were said in.
        assert!(before.logs.is_empty());
        let ids: HashSet<&[u8]> = all.iter().map(|span| &span.span_id[..]).collect();
        let records = || after.logs.iter().flat_map(|l| &l.resource_logs[0].scope_logs[0].log_records);
        assert!(records().count() > 20 && records().all(|record| ids.contains(&record.span_id[..])));
    }
}

#[test]
fn a_budget_holds_for_all_windows_together_and_what_is_chosen_on_the_way_is_part_of_the_tree() {
    const MOST: usize = 80;
    let folder = tempfile::tempdir().unwrap();
    let (sink, refuses) = (Collector::http(takes_all()), refuses());
    let child = run(folder.path(), &MOST.to_string(), &[&sink, &refuses]);
    wait_until(|| sink.received().traces.len() >= 3);
    let before = sink.received().spans();
    child.terminate();
    let (after, all) = (sink.received().spans(), pushed(folder.path()));
    assert!(!before.is_empty() && before.len() <= MOST / 2);
    assert!(after.len() <= MOST + 1 && all.len() > 2 * MOST, "{} of {}", after.len(), all.len());
    let root = assert_tree(&after);

    let (sums, alone): (Vec<&Span>, Vec<&Span>) = after
        .iter()
        .filter(|span| **span != root)
        .partition(|span| attribute(&span.attributes, "wasm.call.count").is_some());
    let merged: i64 = sums.iter().map(|span| number(&span.attributes, "wasm.call.count")).sum();
    let left_out = number(&root.attributes, "wasm.spans.left_out");
    assert_eq!(number(&root.attributes, "wasm.spans.merged"), merged);
    assert_eq!(alone.len() as i64 + merged + left_out, all.len() as i64 - 1, "each in exactly one");
    // What is there as itself is as it is; but for what happened in spans that are not there.
    let whole = by_id(&all);
    for span in alone {
        let bare = |span: &Span| Span { events: Vec::new(), dropped_events_count: 0, ..span.clone() };
        assert_eq!(bare(span), bare(&whole[&span.span_id]));
    }
    let dropped: u32 = after.iter().map(|span| span.dropped_events_count).sum();
    assert_eq!(events(&after) + dropped as usize, events(&all), "each event is told of once");
}

#[test]
fn a_collector_that_is_down_at_first_gets_the_rest_on_the_way_and_all_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let down = Arc::new(AtomicBool::new(true));
    let is_down = down.clone();
    let sink = Collector::http(Arc::new(move |_| match is_down.load(Ordering::Relaxed) {
        // For good: so each window fails, and the next one tries again.
        true => Answer::Refuse(400, Vec::new(), Vec::new()),
        false => Answer::Take,
    }));
    let refuses = refuses();
    let child = run(folder.path(), "0", &[&sink, &refuses]);
    // It was asked in more than one window.
    wait_until(|| refuses.received().heads.len() >= 3 && sink.received().heads.len() >= 3);
    assert!(sink.spans().is_empty());
    down.store(false, Ordering::Relaxed);
    wait_until(|| sink.received().traces.len() >= 2);
    let before = sink.received().spans();
    child.terminate();
    let (after, all) = (sink.received().spans(), pushed(folder.path()));
    assert!(by_id(&after) == by_id(&all), "{} and {} spans", after.len(), all.len());
    assert!(!before.is_empty() && before.len() < all.len());
}

#[test]
fn a_collector_that_stalls_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(Arc::new(|_| Answer::Stall));
    let mut command = wasmtrace(&["run", "--send-every", "200ms", "--flush-timeout", "2s", "--max-spans", "0"]);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/modules/hours.wat"));
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url).env("WASMTRACE_SPOOL_DIR", folder.path());
    let child = Guest::start(&mut command);
    // The guest goes on meanwhile: there is more to be sent each time.
    wait_until(|| sink.received().heads.len() >= 4);
    let size = || kept(folder.path())[0].metadata().unwrap().len();
    let now = size();
    wait_until(|| size() > now);
    let began = Instant::now();
    let output = child.terminate();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.lines().count() == 1 && said.contains("; to send it: wasmtrace push "), "{said}");
    assert_tree(&pushed(folder.path()));
}

/// What it rejects on the way is said at the end, in one number with the rest, and has not been sent.
#[test]
fn what_a_collector_rejects_on_the_way_is_said_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(Arc::new(|_| Answer::Reject(2, "too many")));
    let child = run(folder.path(), "0", &[&sink]);
    wait_until(|| sink.received().traces.len() >= 3);
    let output = child.terminate();
    let (received, said) = (sink.received(), String::from_utf8_lossy(&output.stderr).into_owned());
    let rejected = 2 * received.traces.len();
    assert!(said.contains(&format!("the sink rejected {rejected} spans: too many\n")), "{said}");
    assert!(said.contains(&format!(", {} spans, ", received.spans().len() - rejected)), "{said}");
    assert!(kept(folder.path()).is_empty());
}

/// A collector that refuses all while the flag is set.
fn one_that_may_be_down() -> (Collector, Arc<AtomicBool>) {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = down.clone();
    let sink = Collector::http(Arc::new(move |_| match is_down.load(Ordering::Relaxed) {
        true => Answer::Refuse(400, Vec::new(), Vec::new()),
        false => Answer::Take,
    }));
    (sink, down)
}

/// A span that the sink took while it ran is not sent again, also if the end fails: the recording has all, for a later time.
#[test]
fn what_fails_at_the_end_is_kept_whole() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, down) = one_that_may_be_down();
    let child = run(folder.path(), "0", &[&sink]);
    wait_until(|| sink.received().traces.len() >= 2);
    down.store(true, Ordering::Relaxed);
    child.terminate();
    let (some, all) = (by_id(&sink.received().spans()), by_id(&pushed(folder.path())));
    assert!(some.len() < all.len() && some.iter().all(|(id, span)| all[id] == *span));
}

/// With a budget a later `push` chooses anew; but an id that comes again says the same as before.
#[test]
fn no_id_means_two_things() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, down) = one_that_may_be_down();
    let child = run(folder.path(), "80", &[&sink]);
    wait_until(|| sink.received().traces.len() >= 5);
    down.store(true, Ordering::Relaxed);
    let said = String::from_utf8(child.terminate().stderr).unwrap();
    let before = sink.received().spans();
    assert!(said.contains(&format!("; {} spans were sent during the run;", before.len())), "{said}");
    down.store(false, Ordering::Relaxed);
    let target = format!("otlp:{}", sink.url);
    let meanings = |spans: &[Span]| -> HashMap<Vec<u8>, _> {
        let sums = |span: &Span| attribute(&span.attributes, "wasm.call.count").cloned();
        let meaning = |s: &Span| (s.name.clone(), s.start_time_unix_nano, s.end_time_unix_nano, sums(s));
        spans.iter().map(|span| (span.span_id.clone(), meaning(span))).collect()
    };
    let mut known = meanings(&before);
    for most in ["80", "40", "20", "0"] {
        let recording = kept(folder.path())[0].display().to_string();
        let (seen, push) =
            (sink.received().spans().len(), ["push", &recording, "--sink", &target, "--max-spans", most]);
        assert!(wasmtrace(&push).output().unwrap().status.success());
        for (id, meaning) in meanings(&sink.received().spans()[seen..]) {
            assert_eq!(known.entry(id).or_insert_with(|| meaning.clone()), &meaning, "{most}");
        }
    }
}

#[test]
fn with_windows_of_no_length_all_is_sent_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(takes_all());
    let mut command = wasmtrace(&["run", "--send-every", "0s", "--flush-timeout", "1h", "--max-spans", "0"]);
    command.arg("--sink").arg(format!("otlp:{}", sink.url));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/modules/hours.wat"));
    let child = Guest::start(command.env("WASMTRACE_SPOOL_DIR", folder.path()));
    wait_until(|| kept(folder.path()).first().is_some_and(|file| file.metadata().unwrap().len() > 1_500));
    std::thread::sleep(Duration::from_millis(500));
    assert!(sink.received().heads.is_empty());
    child.terminate();
    assert_tree(&sink.received().spans());
    assert!(kept(folder.path()).is_empty());
}
