//! Theorem: a sink that fails loses nothing and disturbs nobody. Whatever it does, the guest's output and exit code are those
//! that it has without a sink; one line on standard error says what happened; what was not delivered stays as a recording, and
//! the command that the line ends with delivers all of it.
//!
//! No test depends on how fast the machine is: there is an hour for everything but a sink that stalls, and for that the second
//! that there is may pass before it is even reached.

#![cfg(unix)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use testing::collector::{self, Answer, Behaviour, Collector, takes_all};
use testing::process;
use wasmtrace::otlp::settings::{Settings, Target};
use wasmtrace::otlp::{ExportOptions, export};

const WASMTRACE: &str = env!("CARGO_BIN_EXE_wasmtrace");

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file).display().to_string()
}

/// A command, with our binary first on the search path, in an environment that says nothing of telemetry.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("OTEL_") || name.starts_with("WASMTRACE_") || name.starts_with("TRACE") {
            command.env_remove(name);
        }
    }
    let folder = Path::new(WASMTRACE).parent().unwrap().display();
    command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    command.env("NO_PROXY", "*").stdin(Stdio::null());
    command
}

/// `wasmtrace run` of a program that prints, and exits with 7.
fn run(folder: &Path, args: &[&str]) -> Command {
    let mut command = clean(Command::new(WASMTRACE));
    command.arg("run").args(args).arg(path("corpus/real/c_exit.wasm")).args(["exit", "7"]);
    command.env("WASMTRACE_SPOOL_DIR", folder);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// The recordings that are in a folder.
fn kept(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Asserts that the guest was not disturbed, that one line says `what`, and that its command delivers everything to
/// `healthy`; gives the spans.
fn assert_kept(folder: &Path, failed: &Output, what: &str, healthy: &Collector) -> Vec<Span> {
    let plain = output(&mut run(folder, &["--sink", "none"]));
    assert_eq!((failed.status, &failed.stdout), (plain.status, &plain.stdout), "{}", stderr(failed));
    let said = stderr(failed);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(what), "{said}");
    assert_eq!(kept(folder), 1, "{said}");

    let (_, command) = said.trim_end().split_once("; to send it: ").unwrap_or_else(|| panic!("{said}"));
    // Where to is the environment's.
    let mut push = clean(Command::new("sh"));
    push.args(["-c", command]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &healthy.url);
    let pushed = output(&mut push);
    assert!(pushed.status.success(), "{command}: {}", stderr(&pushed));
    let spans = healthy.spans();
    assert_eq!(spans.iter().filter(|span| span.parent_span_id.is_empty()).count(), 1);
    assert!(spans.len() > 40, "{} spans", spans.len());
    spans
}

/// With the collector's address in the environment, and so much time in all.
fn to(folder: &Path, url: &str, time: &str) -> Command {
    let mut command = run(folder, &["--flush-timeout", time]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    command
}

fn always(answer: Answer) -> Behaviour {
    Arc::new(move |_| answer.clone())
}

fn rejects(count: usize) -> Answer {
    Answer::Reject(count, "too old")
}

fn refuse(status: u16) -> Answer {
    Answer::Refuse(status, Vec::new(), Vec::new())
}

#[test]
fn a_sink_that_never_existed() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for protocol in ["http/protobuf", "grpc"] {
        let folder = folder.path().join(protocol.replace('/', "-"));
        std::fs::create_dir(&folder).unwrap();
        let failed =
            output(to(&folder, &format!("http://{nowhere}"), "1h").env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        assert_kept(&folder, &failed, "Connection refused", &Collector::http(takes_all()));
    }
    let folder = tempfile::tempdir().unwrap();
    let failed = output(&mut to(folder.path(), "http://no-such-host.invalid:4318", "1h"));
    assert_kept(folder.path(), &failed, "no-such-host.invalid", &Collector::http(takes_all()));
}

#[test]
fn a_sink_that_closes_every_connection() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(always(Answer::Die));
    let began = Instant::now();
    let failed = output(&mut to(folder.path(), &sink.url, "1h"));
    assert_eq!(sink.received().heads.len(), 4, "it was tried more than once");
    assert!(began.elapsed() >= Duration::from_millis(100 + 200 + 400), "and not at once");
    assert_kept(folder.path(), &failed, "the trace was not sent", &Collector::http(takes_all()));
}

#[test]
fn a_sink_that_stalls() {
    for grpc in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let behaviour = always(Answer::Stall);
        let sink = if grpc { Collector::grpc(behaviour) } else { Collector::http(behaviour) };
        let protocol = if grpc { "grpc" } else { "http/json" };
        let failed = output(to(folder.path(), &sink.url, "1s").env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        assert_kept(folder.path(), &failed, "the trace was not sent", &Collector::http(takes_all()));
    }
}

#[test]
fn a_sink_that_is_busy_is_asked_again_when_it_says() {
    for status in [429, 503] {
        let folder = tempfile::tempdir().unwrap();
        let busy = Answer::Refuse(status, vec![("retry-after", "1".to_owned())], Vec::new());
        let sink = Collector::http(Arc::new(move |n| if n < 2 { busy.clone() } else { Answer::Take }));
        let began = Instant::now();
        let sent = output(run(folder.path(), &[]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url));
        assert!(began.elapsed() >= Duration::from_secs(2), "a second was asked for, twice");
        assert_eq!((sent.status.code(), kept(folder.path())), (Some(7), 0), "{}", stderr(&sent));
        assert_eq!(sink.received().heads.len(), 3);
        assert!(sink.spans().len() > 40);
    }
}

#[test]
fn what_stands_before_a_sink_and_misses_it_is_asked_again() {
    for status in [429, 502, 503, 504] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Collector::http(Arc::new(move |n| if n == 0 { refuse(status) } else { Answer::Take }));
        let sent = output(&mut to(folder.path(), &sink.url, "1h"));
        assert_eq!((sink.received().heads.len(), kept(folder.path())), (2, 0), "{status}: {}", stderr(&sent));
    }
}

#[test]
fn a_request_has_its_time_and_the_next_is_another() {
    for protocol in ["http/protobuf", "grpc"] {
        let folder = tempfile::tempdir().unwrap();
        let behaviour: Behaviour = Arc::new(|n| if n == 0 { Answer::Stall } else { Answer::Take });
        let sink = if protocol == "grpc" { Collector::grpc(behaviour) } else { Collector::http(behaviour) };
        let mut command = to(folder.path(), &sink.url, "100s");
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
        let sent = output(&mut command);
        assert_eq!(kept(folder.path()), 0, "{protocol}: {}", stderr(&sent));
        assert!(sink.spans().len() > 40);
    }
}

/// However long a request may take by itself.
#[test]
fn when_the_time_is_over_a_request_is() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("app.wtrace");
    let mut record = clean(Command::new(WASMTRACE));
    record.args(["record", "-q", "-o"]).arg(&recording).arg(path("tests/cli/modules/manual.wat"));
    assert!(output(&mut record).status.success());
    for protocol in ["http/json", "grpc"] {
        let sink = if protocol == "grpc" {
            Collector::grpc(always(Answer::Stall))
        } else {
            Collector::http(always(Answer::Stall))
        };
        let settings = Settings::read(&Target::Otlp(Some(sink.url.clone())), &|name| match name {
            "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("3600000".to_owned()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            _ => None,
        });
        let (recording, (done, waiting)) = (recording.clone(), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let deadline = Some(Instant::now() + Duration::from_secs(1));
            let order = ExportOptions {
                settings: &settings,
                max_spans: 0,
                deadline,
                end: None,
                resource: Vec::new(),
                waits: None,
            };
            let _ = done.send(export(|| std::fs::File::open(&recording), &order));
        });
        assert!(waiting.recv_timeout(Duration::from_secs(30)).expect("it returns").is_err());
    }
}

/// Of two sinks the one that works gets all, and the command that is named sends to the other.
#[test]
fn a_sink_that_fails_is_nothing_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let (fails, works) = (Collector::http(always(refuse(400))), Collector::http(takes_all()));
    let sinks = [&fails, &works].map(|sink| format!("otlp:{}", sink.url));
    let failed = output(&mut run(folder.path(), &["--sink", &sinks[0], "--sink", &sinks[1]]));
    assert!(works.spans().len() > 40 && kept(folder.path()) == 1);
    assert!(stderr(&failed).contains(&sinks[0]) && !stderr(&failed).contains(&sinks[1]), "{}", stderr(&failed));
}

/// The time is for all of them together: those that stall do not take it from each other, nor from one that works.
#[test]
fn several_sinks_are_sent_to_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let sinks = [always(Answer::Stall), always(Answer::Stall), takes_all()].map(Collector::http);
    let [a, b, c] = sinks.each_ref().map(|sink| format!("--sink=otlp:{}", sink.url));
    let began = Instant::now();
    let failed = output(&mut run(folder.path(), &["--flush-timeout", "5s", &a, &b, &c]));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(sinks[2].spans().len() > 40 && kept(folder.path()) == 1);
    let said = stderr(&failed);
    let (_, push) = said.trim_end().split_once("; to send it: ").unwrap();
    let named = sinks.each_ref().map(|sink| push.contains(&sink.url));
    assert_eq!(named, [true, true, false], "{said}");
}

/// So with `push`, whose exit code says that one of them failed.
#[test]
fn a_sink_that_refuses_a_recording_is_nothing_to_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("app.wtrace");
    let mut record = clean(Command::new(WASMTRACE));
    record.args(["record", "-q", "-o"]).arg(&recording).arg(path("tests/cli/modules/manual.wat"));
    assert!(output(&mut record).status.success());
    let (refuses, works) = (Collector::http(always(refuse(400))), Collector::http(takes_all()));
    for sinks in [[&refuses, &works], [&works, &refuses]] {
        let mut push = clean(Command::new(WASMTRACE));
        push.arg("push").arg(&recording).args(sinks.map(|sink| format!("--sink=otlp:{}", sink.url)));
        let pushed = output(&mut push);
        assert_eq!((pushed.status.code(), works.spans().len()), (Some(1), 4), "{}", stderr(&pushed));
        assert!(stderr(&pushed).contains(&format!("app.wtrace: {}/v1/traces responds with 400", refuses.url)));
    }
    assert_eq!(works.received().traces.len(), 2);
}

/// A `push` has time without end: it says what it waits for.
#[test]
fn a_push_that_waits_for_a_busy_sink_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("app.wtrace");
    let mut record = clean(Command::new(WASMTRACE));
    record.args(["record", "-q", "-o"]).arg(&recording).arg(path("tests/cli/modules/manual.wat"));
    assert!(output(&mut record).status.success());
    for (time, most) in [
        (&["--flush-timeout", "1h"][..], "for at most 3"),
        (&[], "without a time limit (--flush-timeout limits the wait)\n"),
    ] {
        let busy = Answer::Refuse(503, vec![("retry-after", "1".to_owned())], Vec::new());
        let sink = Collector::http(Arc::new(move |n| if n < 2 { busy.clone() } else { Answer::Take }));
        let mut push = clean(Command::new(WASMTRACE));
        push.arg("push").args(time).arg(&recording).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
        let pushed = output(&mut push);
        let said = stderr(&pushed);
        let waits = format!("{}/v1/traces responds with 503 Service Unavailable; retrying in 1s, {most}", sink.url);
        assert!(pushed.status.success() && said.lines().count() == 2 && said.contains(&waits), "{said}");
    }
}

#[test]
fn a_sink_that_is_busy_for_longer_than_there_is_time_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let busy = Answer::Refuse(429, vec![("retry-after", "86400".to_owned())], Vec::new());
    let sink = Collector::http(always(busy));
    let failed = output(&mut to(folder.path(), &sink.url, "1h"));
    assert_eq!(sink.received().heads.len(), 1);
    assert_kept(folder.path(), &failed, "asks to wait 86400", &Collector::http(takes_all()));
}

#[test]
fn a_sink_that_refuses_for_good_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let no = Answer::Refuse(400, vec![("content-type", "text/plain".to_owned())], b"too\nold \x1b[31m".to_vec());
    let sink = Collector::http(always(no));
    let failed = output(&mut to(folder.path(), &sink.url, "1h"));
    assert_eq!(sink.received().heads.len(), 1);
    assert!(!stderr(&failed).contains('\x1b'), "what a sink says is safe for a terminal");
    assert_kept(folder.path(), &failed, "400 Bad Request: too old", &Collector::http(takes_all()));
}

#[test]
fn a_sink_that_sends_garbage() {
    const NO_COLLECTOR: &str = "does not respond like a collector";
    let garbage = b"\x00\xff\x13 this is no HTTP\r\n\r\n".to_vec();
    let page = |kind: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    };
    for (bytes, said) in [
        (garbage, "the trace was not sent"),
        (page("text/html", "<html>welcome</html>"), NO_COLLECTOR),
        (page("application/x-protobuf", "\u{7f}\u{7f}\u{7f}"), NO_COLLECTOR),
        (page("application/json", "[[["), NO_COLLECTOR),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Collector::http(always(Answer::Garbage(bytes)));
        let failed = output(&mut to(folder.path(), &sink.url, "1h"));
        assert_kept(folder.path(), &failed, said, &Collector::http(takes_all()));
    }
    // A server of HTTP/1.1 where gRPC was meant.
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::Write;
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let failed =
        output(to(folder.path(), &format!("http://{address}"), "1h").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"));
    assert_kept(folder.path(), &failed, "not sent", &Collector::http(takes_all()));
}

/// What had arrived arrives again, the same; the rest for the first time.
#[test]
fn a_sink_that_dies_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let recovered = Arc::new(AtomicBool::new(false));
    let healthy = recovered.clone();
    let sink =
        Collector::http(Arc::new(
            move |n| {
                if n < 2 || healthy.load(Ordering::Relaxed) { Answer::Take } else { Answer::Die }
            },
        ));
    let mut command = clean(Command::new(WASMTRACE));
    command.args(["run", "--flush-timeout", "1h"]).arg(path("corpus/real/zig_demo.wasm"));
    command.env("WASMTRACE_SPOOL_DIR", folder.path()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It is asked again and again, until somebody has had enough.
    while sink.received().heads.len() < 4 {
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, "TERM");
    let failed = child.wait_with_output().unwrap();
    assert_eq!((failed.status.code(), kept(folder.path())), (Some(0), 1), "{}", stderr(&failed));
    let before = sink.spans().len();
    assert_eq!(before, 2_000, "two requests of a thousand");
    recovered.store(true, Ordering::Relaxed);
    let said = stderr(&failed);
    let (_, push) = said.trim_end().split_once("; to send it: ").unwrap();
    let mut push_command = clean(Command::new("sh"));
    let pushed = output(push_command.args(["-c", push]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url));
    assert!(pushed.status.success(), "{}", stderr(&pushed));
    // `spans` asserts that those that came twice are the same.
    let spans = sink.spans();
    assert!(spans.len() > 3_600 && sink.received().spans().len() == spans.len() + before);
}

#[test]
fn grpc_says_by_its_status_whether_to_ask_again() {
    const RESOURCE_EXHAUSTED: u16 = 8;
    const UNAUTHENTICATED: u16 = 16;
    let grpc = |folder: &Path, sink: &Collector| {
        output(to(folder, &sink.url, "1h").args([""; 0]).env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"))
    };
    let folder = tempfile::tempdir().unwrap();
    // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss: as the specification of OTLP has them.
    for code in [1, 4, 10, 11, 14, 15] {
        let sink = Collector::grpc(Arc::new(move |n| if n == 0 { refuse(code) } else { Answer::Take }));
        let sent = grpc(folder.path(), &sink);
        assert_eq!((sink.received().heads.len(), kept(folder.path())), (2, 0), "{code}: {}", stderr(&sent));
    }

    for (code, said) in [(UNAUTHENTICATED, "unauthenticated"), (RESOURCE_EXHAUSTED, "resource exhausted")] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Collector::grpc(always(refuse(code)));
        let failed = grpc(folder.path(), &sink);
        assert_eq!(sink.received().heads.len(), 1, "without a time there is no sense in asking again");
        assert_kept(folder.path(), &failed, said, &Collector::http(takes_all()));
    }

    // Status { code: 8, details: [Any { RetryInfo { retry_delay: 3.5 s } }] }
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let info = [&[0x0a, 8, 0x08, 3, 0x10][..], &[0x80, 0xca, 0xb5, 0xee, 0x01]].concat();
    let any = [&[0x0a, url.len() as u8][..], url, &[0x12, info.len() as u8], &info].concat();
    let details = [&[0x08, 8, 0x1a, any.len() as u8][..], &any].concat();
    let folder = tempfile::tempdir().unwrap();
    let busy = Answer::Refuse(RESOURCE_EXHAUSTED, Vec::new(), details);
    let sink = Collector::grpc(Arc::new(move |n| if n == 0 { busy.clone() } else { Answer::Take }));
    let began = Instant::now();
    let sent = output(
        run(folder.path(), &[])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    );
    assert!(began.elapsed() >= Duration::from_millis(3_500));
    assert_eq!((sink.received().heads.len(), kept(folder.path())), (2, 0), "{}", stderr(&sent));
}

#[test]
fn what_a_sink_rejects_is_said_and_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(always(rejects(3)));
    let sent = output(&mut to(folder.path(), &sink.url, "1h"));
    assert_eq!((sent.status.code(), kept(folder.path())), (Some(7), 0), "{}", stderr(&sent));
    assert!(stderr(&sent).contains("the sink rejected 3 spans: too old"), "{}", stderr(&sent));
    let spans = sink.received().spans().len();
    assert!(stderr(&sent).contains(&format!(", {} spans", spans - 3)), "{spans}: {}", stderr(&sent));
    assert_eq!(sink.received().heads.len(), 1);
}

/// A sink that says the same of several requests: what it rejected is summed up, and a `push` of it has failed.
#[test]
fn what_a_sink_rejects_of_several_requests_is_one_number() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("app.wtrace");
    let mut record = clean(Command::new(WASMTRACE));
    record.args(["record", "-q", "-o"]).arg(&recording).arg(path("corpus/real/zig_demo.wasm"));
    assert!(output(&mut record).status.success());
    for grpc in [false, true] {
        let sink = if grpc { Collector::grpc(always(rejects(7))) } else { Collector::http(always(rejects(7))) };
        let mut push = clean(Command::new(WASMTRACE));
        push.arg("push").arg(&recording).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
        let pushed = output(push.env("OTEL_EXPORTER_OTLP_PROTOCOL", if grpc { "grpc" } else { "http/json" }));
        let (requests, spans) = (sink.received().heads.len(), sink.received().spans().len());
        let said = stderr(&pushed);
        assert!(pushed.status.code() == Some(1) && requests > 3, "{said}");
        assert!(said.contains(&format!("app.wtrace: the sink rejected {} spans: too old\n", 7 * requests)), "{said}");
        assert!(said.contains(&format!(", {} spans\n", spans - 7 * requests)), "{spans}: {said}");
    }
}

/// Backends that take spans alone are found out; what else they take has arrived then.
#[test]
fn a_sink_that_does_not_take_logs_or_metrics_gets_the_spans() {
    // The three requests of this program: spans, logs, metrics.
    for (refused, what, sent) in [
        (&[1][..], "logs: ", "; spans and metrics were sent;"),
        (&[2], "metrics: ", "; spans and logs were sent;"),
        (&[0], "/v1/traces", "; logs and metrics were sent;"),
        (&[1, 2], "; metrics: ", "; spans were sent;"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refuses = |n: usize| if refused.contains(&n) { refuse(404) } else { Answer::Take };
        let sink = Collector::http(Arc::new(refuses));
        let mut command = clean(Command::new(WASMTRACE));
        command.arg("run").arg(path("tests/cli/modules/manual.wat"));
        command.env("WASMTRACE_SPOOL_DIR", folder.path()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
        let failed = output(&mut command);
        let spans = if refused.contains(&0) { 0 } else { 4 };
        assert_eq!((failed.status.code(), kept(folder.path()), sink.spans().len()), (Some(0), 1, spans));
        let (said, received) = (stderr(&failed), sink.received());
        assert_eq!(received.heads.len(), 3, "{said}");
        assert_eq!(received.logs.len() + received.metrics.len() + spans / 4, 3 - refused.len());
        assert!(said.contains(what) && said.contains("404") && said.contains(sent), "{said}");
    }
}

#[test]
fn an_exit_code_changes_only_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(always(refuse(400)));
    let mut command = run(folder.path(), &["--require-export"]);
    assert_eq!(output(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url)).status.code(), Some(125));
    // A folder that is not there costs the trace, or, found out before anything is run, the run.
    for (args, code) in [(&[][..], 7), (&["--require-export"], 125)] {
        let gone = output(run(&folder.path().join("gone"), args).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url));
        assert_eq!((gone.status.code(), gone.stdout.is_empty()), (Some(code), code == 125), "{}", stderr(&gone));
        assert!(stderr(&gone).contains("gone"), "{}", stderr(&gone));
    }
}

/// A disk that is full: the guest goes on, what there is is sent, and it says that it is not all.
#[test]
fn a_full_disk_costs_the_rest_of_the_trace_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(takes_all());
    // No file may be longer than that many blocks; and it is an error, not a signal.
    let script = "trap '' XFSZ; ulimit -f 192; exec wasmtrace run --max-spans 0 --flush-timeout 1h \"$@\"";
    let mut command = clean(Command::new("sh"));
    command.args(["-c", script, "sh"]).arg(path("tests/cli/modules/many.wat"));
    command.env("WASMTRACE_SPOOL_DIR", folder.path()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
    let cut = output(&mut command);
    assert_eq!((cut.status.code(), &cut.stdout[..]), (Some(3), &b"done\n"[..]), "{}", stderr(&cut));
    assert!(stderr(&cut).contains("the trace is incomplete") && stderr(&cut).contains("File too large"));
    let spans = sink.received().spans();
    let run = spans.iter().find(|span| span.parent_span_id.is_empty()).expect("the run has a span");
    assert!(spans.len() > 10_000 && spans.len() < 120_000, "{} spans", spans.len());
    let number = |key: &str| format!("{:?}", collector::attribute(&run.attributes, key));
    assert!(run.attributes.iter().any(|a| a.key == "wasm.trace.incomplete"), "{run:?}");
    assert!(number("process.exit.code").contains("IntValue(3)"), "how it ended is known all the same");
    assert_eq!(kept(folder.path()), 0);
}

/// A guest that never ends, and our process, started with sinks.
fn endless(folder: &Path, sinks: &[&Collector], time: &str) -> std::process::Child {
    let mut command = clean(Command::new(WASMTRACE));
    command.args(["run", "--invoke", "calls", "--flush-timeout", time]);
    command.args(sinks.iter().map(|sink| format!("--sink=otlp:{}", sink.url)));
    command.arg(path("tests/cli/modules/endless.wat")).env("WASMTRACE_SPOOL_DIR", folder);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &std::process::Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits until something has been recorded: the guest runs.
fn wait_for_spool(folder: &Path) {
    let size = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
    while std::fs::read_dir(folder).unwrap().map(size).max().unwrap_or(0) < 1_000 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_guest_that_is_ended_by_a_signal_is_still_delivered() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let folder = tempfile::tempdir().unwrap();
        let sink = Collector::http(takes_all());
        let child = endless(folder.path(), &[&sink], "1h");
        wait_for_spool(folder.path());
        signal(&child, name);
        let ended = child.wait_with_output().unwrap();
        assert_eq!((ended.status.code(), kept(folder.path())), (Some(code), 0), "{}", stderr(&ended));
        assert!(sink.spans().len() > 1);
    }
}

#[test]
fn a_signal_while_sinks_stall_ends_the_waiting_for_all_and_keeps_the_trace() {
    let folder = tempfile::tempdir().unwrap();
    let sinks = [always(Answer::Stall), always(Answer::Stall)].map(Collector::http);
    let child = endless(folder.path(), &sinks.each_ref(), "100s");
    wait_for_spool(folder.path());
    signal(&child, "TERM");
    while sinks.iter().all(|sink| sink.received().heads.is_empty()) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let began = Instant::now();
    signal(&child, "TERM");
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), kept(folder.path())), (Some(143), 1), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("interrupted; to send it: wasmtrace push "), "{}", stderr(&ended));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

/// A hundred and twenty thousand spans, each request answered late: all of them arrive, in bounded memory.
#[test]
fn a_slow_sink_and_a_large_run_cost_no_memory() {
    let folder = tempfile::tempdir().unwrap();
    let sink = Collector::http(Arc::new(|_| {
        std::thread::sleep(Duration::from_millis(5));
        Answer::Take
    }));
    let mut command = clean(Command::new(WASMTRACE));
    command.args(["run", "--max-spans", "0", "--flush-timeout", "1h"]).arg(path("tests/cli/modules/many.wat"));
    command.env("WASMTRACE_SPOOL_DIR", folder.path()).env("OTEL_EXPORTER_OTLP_ENDPOINT", &sink.url);
    let taken = process::taken(command.stdout(Stdio::null()).stderr(Stdio::null()));
    assert_eq!((taken.status.code(), kept(folder.path())), (Some(3), 0));
    let spans: usize = sink.received().traces.iter().map(|t| t.resource_spans[0].scope_spans[0].spans.len()).sum();
    assert_eq!(spans, 120_002, "the calls, the one that makes them, and the run");
    // The spans are some 25 MB on their way, and more as values.
    assert!(taken.most < 100 << 10, "{} KiB", taken.most);
}
