//! Theorem: software that is not ours takes what we send, and what it gives back is the recording, span for span.
//!
//! Datadog's test agent (`pip install ddapm-test-agent`) speaks OTLP by gRPC and HTTP, by implementations of its own. Where it
//! is not on the path, and `DDAPM_TEST_AGENT` names none, it is left out, and that is said. So is Zipkin's server, where
//! `ZIPKIN_JAR` names none: it is `io.zipkin:zipkin-server` with the classifier `exec`, and wants Java 17:
//!
//! ```text
//! mvn dependency:copy -Dartifact=io.zipkin:zipkin-server:3.4.2:jar:exec -DoutputDirectory=target
//! ZIPKIN_JAR=target/zipkin-server-3.4.2-exec.jar cargo test --test sending backends::
//! ```

#![cfg(unix)]

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Trace, id, parent, name, start and end.
type Span = [String; 6];

fn wasmtrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_") || name.starts_with("TRACE")) {
        command.env_remove(name);
    }
    command.args(args).env("NO_PROXY", "*").stdin(Stdio::null());
    command
}

/// A field, as protobuf's JSON has it, or as Python has it.
fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    let snake: String =
        name.chars().flat_map(|c| if c.is_uppercase() { vec!['_', c.to_ascii_lowercase()] } else { vec![c] }).collect();
    value.get(name).unwrap_or(&value[snake.as_str()])
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    field(value, name).as_array().into_iter().flatten()
}

/// An id in hex: it is hex already, or base64.
fn id(value: &Value, digits: usize) -> String {
    let text = value.as_str().unwrap_or_default();
    if text.len() == digits || text.is_empty() {
        return text.to_owned();
    }
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bits: String = text.chars().filter_map(|c| alphabet.find(c)).map(|value| format!("{value:06b}")).collect();
    let hex = |four: &[u8]| u8::from_str_radix(std::str::from_utf8(four).unwrap(), 2).unwrap();
    bits.as_bytes().chunks_exact(4).take(digits).map(|four| format!("{:x}", hex(four))).collect()
}

fn spans<'v>(requests: impl Iterator<Item = &'v Value>) -> BTreeSet<Span> {
    let mut all = BTreeSet::new();
    for request in requests {
        let scopes = list(request, "resourceSpans").flat_map(|resource| list(resource, "scopeSpans"));
        for span in scopes.flat_map(|scope| list(scope, "spans")) {
            let text = |name| field(span, name).as_str().unwrap_or_default().to_owned();
            let ids = [("traceId", 32), ("spanId", 16), ("parentSpanId", 16)].map(|(name, n)| id(field(span, name), n));
            let [trace, own, parent] = ids;
            all.insert([trace, own, parent, text("name"), text("startTimeUnixNano"), text("endTimeUnixNano")]);
        }
    }
    all
}

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn get(url: &str) -> Option<Value> {
    let mut response = ureq::get(url).call().ok()?;
    serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
}

/// A recording of a program, and its spans.
struct RecordedCalls {
    folder: tempfile::TempDir,
    spans: BTreeSet<Span>,
}

impl RecordedCalls {
    fn new(program: &[&str], code: i32) -> RecordedCalls {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("app.wtrace");
        let recording = recording.to_str().unwrap();
        let mut record = wasmtrace(&["record", "-q", "-o", recording, "--traceparent", TRACEPARENT]);
        record.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(program[0])).args(&program[1..]);
        assert_eq!(record.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code(), Some(code));
        let lines = wasmtrace(&["convert", recording, "-f", "otlp-json"]).output().unwrap().stdout;
        let lines = String::from_utf8(lines).unwrap();
        let requests: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        RecordedCalls { spans: spans(requests.iter()), folder }
    }

    fn path(&self) -> String {
        self.folder.path().join("app.wtrace").to_str().unwrap().to_owned()
    }
}

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn zipkins_server_gives_back_what_it_was_sent() {
    let Ok(jar) = std::env::var("ZIPKIN_JAR") else {
        eprintln!("ZIPKIN_JAR names no server: left out");
        return;
    };
    let port = free_port();
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-jar", &jar]).env("QUERY_PORT", port.to_string());
    let child = java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = Server(child);
    let url = format!("http://127.0.0.1:{port}");
    while get(&format!("{url}/health")).is_none_or(|health| health["status"] != "UP") {
        assert!(server.0.try_wait().unwrap().is_none(), "the server has ended");
        std::thread::sleep(Duration::from_millis(200));
    }
    let recorded = RecordedCalls::new(&["corpus/real/c_exit.wasm", "trap"], 134);
    let push = wasmtrace(&["push", &recorded.path(), "--sink", &format!("zipkin:{url}")]).output().unwrap();
    assert!(push.status.success(), "{}", String::from_utf8_lossy(&push.stderr));

    // It stores later than it answers, keeps names in lower case, and times in microseconds.
    let micros = |nanos: &str| nanos.parse::<u64>().unwrap() / 1_000;
    let expected: BTreeSet<_> = recorded
        .spans
        .iter()
        .map(|[trace, id, parent, name, start, end]| {
            let duration = (micros(end) - micros(start)).max(1);
            (trace.clone(), id.clone(), parent.clone(), name.to_lowercase(), micros(start), duration)
        })
        .collect();
    let trace = format!("{url}/api/v2/trace/4bf92f3577b34da6a3ce929d0e0e4736");
    loop {
        let given_back = get(&trace).unwrap_or_default();
        let given_back = given_back.as_array().cloned().unwrap_or_default();
        if given_back.len() < expected.len() {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let text = |span: &Value, name: &str| span[name].as_str().unwrap_or_default().to_owned();
        let number = |span: &Value, name: &str| span[name].as_u64().unwrap_or_default();
        let spans: BTreeSet<_> = given_back
            .iter()
            .map(|s| {
                let [trace, id, parent, name] = ["traceId", "id", "parentId", "name"].map(|name| text(s, name));
                (trace, id, parent, name, number(s, "timestamp"), number(s, "duration"))
            })
            .collect();
        assert_eq!(spans, expected);
        assert!(given_back.iter().any(|span| span["tags"]["error"] == "the program trapped here"));
        return;
    }
}

#[test]
fn datadogs_test_agent_gives_back_what_it_was_sent() {
    let agent = std::env::var("DDAPM_TEST_AGENT").unwrap_or("ddapm-test-agent".to_owned());
    let [own, http, grpc] = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let mut command = Command::new(&agent);
    command.args(["--port", &own, "--otlp-http-port", &http, "--otlp-grpc-port", &grpc]);
    let Ok(child) = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        eprintln!("{agent} is not installed: left out");
        return;
    };
    let mut server = Server(child);
    let read_back = format!("http://127.0.0.1:{http}/test/session/traces");
    while get(&read_back).is_none() {
        assert!(server.0.try_wait().unwrap().is_none(), "{agent} has ended");
        std::thread::sleep(Duration::from_millis(50));
    }

    let recorded = RecordedCalls::new(&["corpus/real/zig_demo.wasm"], 0);
    let (recording, expected) = (recorded.path(), &recorded.spans);
    assert!(expected.len() > 3_000);

    for (protocol, port) in [("http/protobuf", &http), ("http/json", &http), ("grpc", &grpc)] {
        get(&format!("http://127.0.0.1:{http}/test/session/clear"));
        assert_eq!(spans(get(&read_back).unwrap().as_array().unwrap().iter()), BTreeSet::new());
        let sink = format!("otlp:http://127.0.0.1:{port}");
        let mut push = wasmtrace(&["push", &recording, "--sink", &sink]);
        let pushed = push.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).output().unwrap();
        assert!(pushed.status.success(), "{protocol}: {}", String::from_utf8_lossy(&pushed.stderr));
        let given_back = spans(get(&read_back).unwrap().as_array().unwrap().iter());
        assert!(&given_back == expected, "{protocol}: {} spans of {}", given_back.len(), expected.len());
    }
}
