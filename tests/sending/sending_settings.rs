//! Theorem: what is sent goes where somebody said and nowhere else; what cannot be read in the environment costs the guest
//! nothing and is said once, in a line; and no line that we print has a secret in it.

#![cfg(unix)]

use testing::collector;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use collector::{Collector, takes_all};

/// Our binary, in an environment that says nothing of telemetry.
fn wasmtrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    let ours = |name: &str| name.starts_with("OTEL_") || name.starts_with("WASMTRACE_") || name.starts_with("TRACE");
    std::env::vars().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.args(args).env("NO_PROXY", "*").stdin(Stdio::null());
    command
}

/// A run of a program that exits with 7, whose recording is kept in `folder` if it is not sent.
fn run(folder: &Path, args: &[&str]) -> Command {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/real/c_exit.wasm");
    let mut command = wasmtrace(&[&["run"], args].concat());
    command.arg(program).args(["exit", "7"]).env("WASMTRACE_SPOOL_DIR", folder);
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs it, checks that the guest was not disturbed, and gives what was said.
fn runs(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(7), &b"exit\n"[..]), "{}", stderr(&output));
    stderr(&output)
}

/// The recordings that are in a folder.
fn kept(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_endpoint_that_is_none_does_not_become_another() {
    for endpoint in [&b"ftp://host"[..], b"https:/coll.example.com", b"http://h\xff:4318", b"http://host:port"] {
        for args in [&[][..], &["--sink", "otlp"]] {
            let folder = tempfile::tempdir().unwrap();
            let mut command = run(folder.path(), args);
            let said = runs(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", OsStr::from_bytes(endpoint)));
            let wrong = "the trace was not sent: OTEL_EXPORTER_OTLP_ENDPOINT is not a URL with http:// or https://; to send it: ";
            assert!(said.contains(wrong) && said.lines().count() == 1, "{said}");
            assert_eq!(kept(folder.path()), 1);
        }
    }
    // What is wrong with one signal's is nothing to the others.
    let (folder, collector) = (tempfile::tempdir().unwrap(), Collector::http(takes_all()));
    let mut command = run(folder.path(), &[]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)
        .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "nowhere:at all");
    runs(&mut command);
    assert!(collector.spans().len() > 40);
    let env = wasmtrace(&["env"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://host").output().unwrap();
    let wrong = "warning: OTEL_EXPORTER_OTLP_ENDPOINT is not a URL with http:// or https://\n";
    assert_eq!(String::from_utf8_lossy(&env.stdout).matches(wrong).count(), 1);
}

/// An empty variable is none, one that cannot be read is warned of: each of ours as each of OpenTelemetry's.
#[test]
fn a_variable_that_cannot_be_read_costs_a_line() {
    const OURS: [&str; 4] =
        ["WASMTRACE_MAX_SPANS", "WASMTRACE_FLUSH_TIMEOUT", "WASMTRACE_SEND_EVERY", "OTEL_EXPORTER_OTLP_TIMEOUT"];
    let folder = tempfile::tempdir().unwrap();
    for value in [&b""[..], b" ", b"soon", b"\xff"] {
        let collector = Collector::http(takes_all());
        let malformed = !value.trim_ascii().is_empty();
        let mut command = run(folder.path(), &[]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url).env("WASMTRACE_CACHE", "");
        let mut env = wasmtrace(&["env"]);
        for variable in OURS {
            command.env(variable, OsStr::from_bytes(value));
            env.env(variable, OsStr::from_bytes(value));
        }
        let said = runs(&mut command);
        let shown = String::from_utf8(env.output().unwrap().stdout).unwrap();
        assert_eq!(
            (said.lines().count(), collector.spans().len() > 40),
            (if malformed { 5 } else { 1 }, true),
            "{said}"
        );
        for variable in OURS {
            let warning = |text: &str| text.matches(&format!("warning: {variable} is ignored: it is not ")).count();
            assert_eq!((warning(&said), warning(&shown)), (malformed.into(), malformed.into()), "{said}{shown}");
        }
        let line = |setting: &str| shown.lines().find(|line| line.starts_with(setting)).unwrap();
        for (setting, default) in [("max-spans", "10000"), ("flush-timeout", "10s"), ("send-every", "5m")] {
            assert!(line(setting).contains(default) && line(setting).ends_with("default"), "{shown}");
        }
    }
    // Where the folder is the system's.
    let mut command = run(folder.path(), &["--sink=otlp:http://no-such-host.invalid"]);
    let said = runs(command.env("WASMTRACE_SPOOL_DIR", "").env("TMPDIR", folder.path()));
    assert!(said.contains("; to send it: ") && kept(folder.path()) == 1, "{said}");
}

/// In a URL there may be a password, or a key in the query: they go to the sink, and are not shown.
#[test]
fn no_secret_is_shown() {
    // A port that was free a moment ago.
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://user:hunter2@{nowhere}/base?api-key=hunter2");
    for protocol in ["http/protobuf", "grpc"] {
        for typed in [None, Some(format!("--sink=otlp:{url}")), Some(format!("--sink=zipkin:{url}"))] {
            let folder = tempfile::tempdir().unwrap();
            let mut command = run(folder.path(), &typed.as_deref().into_iter().collect::<Vec<_>>());
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
            let said = runs(&mut command);
            assert!(said.contains(&format!("http://***@{nowhere}/")) && !said.contains("hunter2"), "{said}");
            let hidden = said.contains("; to send it (replace ***): wasmtrace push ");
            assert_eq!((hidden, kept(folder.path())), (typed.is_some(), 1), "{said}");
        }
    }
    let env = wasmtrace(&["env"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &url).output().unwrap();
    let shown = String::from_utf8_lossy(&env.stdout).into_owned();
    assert!(!shown.contains("hunter2") && shown.contains("/base/v1/traces?api-key=***"), "{shown}");

    let (folder, collector) = (tempfile::tempdir().unwrap(), Collector::http(takes_all()));
    let sink = format!("{}/?api-key=hunter2", collector.url);
    let said = runs(&mut run(folder.path(), &["--sink", &format!("otlp:{sink}"), "--sink", &format!("zipkin:{sink}")]));
    assert!(said.contains("/v1/traces?api-key=***: trace ") && !said.contains("hunter2"), "{said}");
    let heads = collector.received().heads;
    let mut paths: Vec<&str> = heads.iter().map(|head| head[0].1.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/api/v2/spans?api-key=hunter2", "/v1/traces?api-key=hunter2"]);
}
