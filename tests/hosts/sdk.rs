//! On the hosts of the first users: `tests/hosts/go`, the Observe SDK for Go with its OpenTelemetry adapter, on wazero; and
//! `tests/hosts/bacalhau`, the executor of a stock compute node of Bacalhau. Where Go, or their modules, cannot be had, what needs
//! them is left out, and says so.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testing::instrument;
use testing::programs;
use wasmtrace::Options;
use wasmtrace::hook::{HookSet, ProbeId};
use wasmtrace::rewrite::{self, CloseOnExit, Rewritten};
use wasmtrace::runtime::{Config, Stdio};
use wasmtrace::trace::{EventKind, Manual, RunOutcome};

/// Builds a host.
fn host(name: &str) -> Option<PathBuf> {
    let go = std::env::var("GO").unwrap_or_else(|_| "go".to_owned());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hosts").join(name);
    let host = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("host-{name}"));
    let built = Command::new(&go).current_dir(folder).args(["build", "-trimpath", "-o"]).arg(&host).arg(".").output();
    match built {
        Ok(built) if built.status.success() => Some(host),
        Ok(built) => {
            eprintln!("left out: {go} does not build {name}: {}", String::from_utf8_lossy(&built.stderr));
            None
        }
        Err(e) => {
            eprintln!("left out: there is no Go ({go}: {e})");
            None
        }
    }
}

/// What a host prints of a run.
fn printed(host: &Path, wasm: &[u8], args: &[String]) -> Value {
    let module = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(module.path(), wasm).unwrap();
    let out = Command::new(host).arg(module.path()).args(args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What the host has received of a run.
struct Seen {
    exit_code: u64,
    /// What the engine says of a trap.
    error: String,
    /// How deep each span stands, and its name, in the order of the calls.
    calls: Vec<(usize, String)>,
    /// What the SDK found wrong with what it was told.
    complaints: Vec<Value>,
}

fn there(host: &Path, wasm: &[u8], args: &[String]) -> Seen {
    let seen = printed(host, wasm, args);
    let mut depths = HashMap::new();
    let mut calls = Vec::new();
    for span in seen["spans"].as_array().unwrap() {
        // A parent comes before its children.
        let depth = match text(&span["parent"]) {
            "" => 0,
            parent => 1 + depths[parent],
        };
        depths.insert(text(&span["id"]).to_owned(), depth);
        calls.push((depth, text(&span["name"]).to_owned()));
    }
    Seen {
        exit_code: seen["exit_code"].as_u64().unwrap(),
        error: text(&seen["error"]).to_owned(),
        calls,
        complaints: seen["complaints"].as_array().unwrap().clone(),
    }
}

/// The calls that our own runtime sees.
fn here(out: &Rewritten, args: &[String]) -> (Vec<(usize, String)>, RunOutcome) {
    let stdio = Stdio::Capture { stdin: Vec::new() };
    let config = Config { program: "program".to_owned(), args: args.to_vec(), stdio, ..Config::default() };
    let (outcome, events) = programs::run(&out.wasm, &config);
    let probes = &out.manifest.as_ref().unwrap().probes;
    let name = |id: &ProbeId| probes[probes.binary_search_by_key(id, |probe| probe.id).unwrap()].label.name.to_string();
    let mut depth = 0;
    let mut calls = Vec::new();
    for event in &events {
        match &event.kind {
            EventKind::Enter(id) => {
                calls.push((depth, name(id)));
                depth += 1;
            }
            EventKind::Exit(_) | EventKind::Unwound(_) => depth -= 1,
            _ => {}
        }
    }
    (calls, outcome.ending)
}

fn hooked(wasm: &[u8], hooks: HookSet, close_on_exit: CloseOnExit) -> Rewritten {
    let rewrite = rewrite::Options { hooks, close_on_exit, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap()
}

/// The names of the calls and spans that our own runtime sees, as they are entered.
fn entered(out: &Rewritten) -> Vec<String> {
    let config = Config { stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() };
    let (_, events) = programs::run(&out.wasm, &config);
    let probes = &out.manifest.as_ref().unwrap().probes;
    let names = events.into_iter().filter_map(|event| match event.kind {
        EventKind::Enter(id) => {
            let found = probes.binary_search_by_key(&id, |probe| probe.id).unwrap();
            Some(probes[found].label.name.to_string())
        }
        EventKind::Manual(said) => match *said {
            Manual::SpanEnter(name) => Some(name),
            _ => None,
        },
        _ => None,
    });
    names.filter(|name| !is_of_writing(name)).collect()
}

/// How much one call of `fd_write` writes is the host's affair, and so is how many there are.
fn is_of_writing(name: &str) -> bool {
    name == "writev" || name.ends_with("fd_write")
}

/// Names that the host shows as they are; it has a way of its own with those that are mangled.
fn is_plain(name: &str) -> bool {
    !name.starts_with("_Z") && !name.starts_with("_R")
}

/// Theorem: on the SDK's own host a hooked module gives the trace that it gives under our runtime, call for call, however it ends:
/// with an exit code, with a panic, by returning; and the SDK has nothing to complain of. Without what balances it, a trace that
/// ends in any other way than by returning is lost: that is what the SDK does.
#[test]
fn the_sdks_host_sees_every_call_of_a_program_however_it_ends() {
    let Some(host) = host("go") else { return };
    let given = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    for (name, args, code, trap) in [
        ("c_exit", given(&["exit", "3"]), 3, ""),
        ("c_exit", given(&["trap", "0"]), 0, "unreachable"),
        ("c_exit", given(&["recurse", "2000"]), 0, ""),
        ("rust_panic", given(&["panic"]), 0, "unreachable"),
        ("go_hello", given(&[]), 0, ""),
        ("cpp_classes", given(&[]), 0, ""),
        ("as_sieve", given(&[]), 0, ""),
    ] {
        let wasm = programs::program(name).wasm;
        let (expected, ending) = here(&hooked(&wasm, HookSet::Buffer, CloseOnExit::Never), &args);
        let seen = there(&host, &hooked(&wasm, HookSet::Observe, CloseOnExit::WhereItExits).wasm, &args);
        assert_eq!((seen.exit_code, seen.complaints), (code, Vec::new()), "{name} {args:?}");
        assert!(seen.error.contains(trap) && (trap.is_empty() == seen.error.is_empty()), "{}", seen.error);
        assert!(seen.calls.len() > 1, "{name} {args:?}: no trace");
        assert_eq!(seen.calls[0].0, 0);
        if name == "go_hello" {
            // What its scheduler and collector do is not the same in any two runs.
            assert!(seen.calls.len() > 1000, "{name}: {} calls", seen.calls.len());
        } else {
            let written = |call: &&(usize, String)| !is_of_writing(&call.1);
            let [there, expected] =
                [&seen.calls, &expected].map(|calls| calls.iter().filter(written).collect::<Vec<_>>());
            let alike = |((depth, name), (here, expected)): (&(usize, String), &(usize, String))| {
                depth == here && (name == expected || !is_plain(expected))
            };
            let same = there.iter().zip(&expected).take_while(|(there, here)| alike((there, here))).count();
            let differs = (there.get(same), expected.get(same));
            assert_eq!(differs, (None, None), "{name} {args:?}: behind {same} calls");
        }
        if ending != RunOutcome::Returned {
            let lost = there(&host, &hooked(&wasm, HookSet::Observe, CloseOnExit::Never).wasm, &args);
            assert_eq!(lost.calls, [], "{name} {args:?}");
        }
    }
}

/// Theorem: the SDK's own host has the spans that a program opens itself between its functions, all of them in the order in which
/// they were entered: where a helper opens one and another closes it, and where one is open when the program exits or panics. It
/// complains of nothing but what it complains of without hooks; and without what balances the module it loses the trace.
#[test]
fn the_sdks_host_sees_the_spans_of_a_programs_own() {
    let Some(host) = host("go") else { return };
    let api = r#"
      (import "dylibso:observe/api" "span-enter" (func $open (param i32 i32)))
      (import "dylibso:observe/api" "span-exit" (func $close))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (data (i32.const 7) "a span")
      (func $opens (call $open (i32.const 7) (i32.const 6)))
      (func $closes (call $close))
      (func $works)"#;
    let program = |rest: &str| wat::parse_str(format!("(module {api} {rest})")).unwrap();
    let corpus = ["bind_c", "bind_cpp", "bind_rust", "bind_zig"].map(|name| (name, programs::program(name).wasm, true));
    let own = [
        ("exits", r#"(func (export "_start") (call $opens) (call $works) (call $exit (i32.const 3)))"#),
        ("panics", r#"(func $panics unreachable) (func (export "_start") (call $opens) (call $panics))"#),
        ("returns", r#"(func (export "_start") (call $opens) (call $works))"#),
        (
            "helpers",
            r#"(func (export "_start") (call $opens) (call $opens) (call $works) (call $closes) (call $closes))"#,
        ),
        (
            "phases",
            r#"(func $next (call $close) (call $open (i32.const 7) (i32.const 6)))
               (func (export "_start") (call $next) (call $works) (call $next) (call $works) (call $opens))"#,
        ),
        ("closes twice", r#"(func (export "_start") (call $opens) (call $closes) (call $closes) (call $works))"#),
    ];
    for (name, wasm, is_real) in corpus.into_iter().chain(own.map(|(name, rest)| (name, program(rest), false))) {
        let expected = entered(&hooked(&wasm, HookSet::Buffer, CloseOnExit::Never));
        let seen = there(&host, &hooked(&wasm, HookSet::Observe, CloseOnExit::WhereItExits).wasm, &[]);
        let names = seen.calls.into_iter().map(|(_, name)| name).filter(|name| !is_of_writing(name));
        let names: Vec<String> = names.collect();
        let alike = |(there, expected): (&String, &String)| there == expected || !is_plain(expected);
        let same = names.iter().zip(&expected).take_while(|pair| alike(*pair)).count();
        assert_eq!((names.get(same), expected.get(same)), (None, None), "{name}: behind {same}");
        assert!(same > 3, "{name}: {names:?}");
        if is_real {
            assert_eq!(seen.complaints, there(&host, &wasm, &[]).complaints, "{name}");
        } else {
            assert_eq!(seen.complaints, [Value::Null; 0], "{name}");
        }
        let lost = there(&host, &hooked(&wasm, HookSet::Observe, CloseOnExit::Never).wasm, &[]);
        assert!(lost.calls.is_empty() || name == "closes twice", "{name}: {:?}", lost.calls);
    }
}

/// Theorem: on a stock compute node of Bacalhau the functions of a hooked module are in the trace of the host's own span, from its
/// entry function down to where it exits with a code; without what balances it there are none of them.
#[test]
fn a_node_of_bacalhau_has_the_functions_in_its_own_trace() {
    let Some(host) = host("bacalhau") else { return };
    let wasm = programs::program("c_exit").wasm;
    let args = ["exit", "3"].map(str::to_owned);
    let (mut paths, mut open) = (HashSet::new(), Vec::new());
    for (depth, name) in here(&hooked(&wasm, HookSet::Buffer, CloseOnExit::Never), &args).0 {
        open.truncate(depth);
        open.push(name);
        paths.insert(open.clone());
    }
    for balance in [CloseOnExit::WhereItExits, CloseOnExit::Never] {
        let wasm = hooked(&wasm, HookSet::Observe, balance).wasm;
        let mut seen = printed(&host, &wasm, &args);
        // The SDK loses a trace now and then: what it has to send and the word to stop come at once, and it takes either first.
        for _ in 0..5 {
            if balance == CloseOnExit::WhereItExits && seen["spans"].as_array().unwrap().len() < 6 {
                seen = printed(&host, &wasm, &args);
            }
        }
        assert_eq!((seen["exit_code"].as_i64(), text(&seen["stdout"])), (Some(3), "exit"), "{seen}");
        let spans = seen["spans"].as_array().unwrap();
        assert!(spans.iter().all(|span| span["service"] == "bacalhau" && span["trace"] == seen["trace"]), "{seen}");
        assert!(spans.iter().any(|span| span["name"] == "host"));
        let parent = |of: &Value| spans.iter().find(|span| span["id"] == of["parent"]);
        let is_ours = |name: &str| name == "host" || name.starts_with("pkg/executor/wasm.");
        let mut functions = spans.iter().filter(|span| !is_ours(text(&span["name"]))).peekable();
        let traced = functions.peek().is_some();
        assert_eq!(traced, balance == CloseOnExit::WhereItExits, "{seen}");
        // The SDK leaves out what takes less than 20 µs, with all below it, but for the entry function.
        for function in functions {
            let path =
                std::iter::successors(Some(function), |of| parent(of)).map(|span| text(&span["name"]).to_owned());
            let mut path: Vec<String> = path.collect();
            path.reverse();
            assert!(paths.contains(&path), "{path:?}");
        }
    }
}
