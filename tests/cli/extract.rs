//! `extract`: what it makes of logs, and what it says.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use testing::stock::ran;
use wasmtime::component::Val;

fn wasmtrace(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An instrumented component in a folder, and the logs of runs with these numbers of calls.
fn logs(calls: &[u32]) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let two = testing::corpus::corpus().join("components/two.wat");
    let out = wasmtrace(folder.path(), &["instrument", "--hooks", "wasi", two.to_str().unwrap(), "-o", "two.wasm"]);
    assert!(out.status.success(), "{}", said(&out));
    let hooked = std::fs::read(folder.path().join("two.wasm")).unwrap();
    let log = |calls: &u32| String::from_utf8(ran(&hooked, &[], &[Val::U32(*calls)]).stderr).unwrap();
    let logs = calls.iter().map(log).collect();
    (folder, logs)
}

fn calls_in(folder: &Path, recording: &str) -> u64 {
    let report = wasmtrace(folder, &["report", "--json", recording]);
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    report["calls"].as_u64().unwrap()
}

/// Each instance gets a recording, whatever is between the lines.
#[test]
fn each_instance_gets_a_recording() {
    let (folder, logs) = logs(&[3, 5]);
    let folder = folder.path();
    let mut lines: Vec<String> = Vec::new();
    let [mut one, mut other] = [logs[0].lines(), logs[1].lines()];
    loop {
        let (first, second) = (one.next(), other.next());
        lines.extend(first.map(|line| format!("stderr [0] :: {line}")));
        lines.extend(second.map(|line| format!("text without an end{line}")));
        lines.push("other text".to_owned());
        if first.or(second).is_none() {
            break;
        }
    }
    std::fs::write(folder.join("mixed.log"), lines.join("\n")).unwrap();
    let out = wasmtrace(folder, &["extract", "two.wasm", "mixed.log"]);
    assert!(out.status.success(), "{}", said(&out));
    // `go` calls `each` so many times, which calls `len` and with it `alloc` and `count`.
    assert_eq!((calls_in(folder, "two.wtrace"), calls_in(folder, "two.2.wtrace")), (1 + 4 * 3 + 2, 1 + 4 * 5 + 4));
    assert_eq!(said(&out).lines().count(), 2, "{}", said(&out));
}

/// What is wrong is said, and what could be read is written.
#[test]
fn faults_are_said() {
    let (folder, logs) = logs(&[4000]);
    let folder = folder.path();
    let lines: Vec<&str> = logs[0].lines().collect();
    assert!(lines.len() > 10);
    let extract = |log: &str| {
        std::fs::write(folder.join("run.log"), log).unwrap();
        let out = wasmtrace(folder, &["extract", "two.wasm", "run.log", "-o", "run.wtrace"]);
        (out.status.code(), said(&out))
    };
    let (code, text) = extract("nothing\n");
    assert_eq!(code, Some(1));
    assert!(text.contains("run.log: there is no line of a recorder in this text (`wasmtrace:1:…`)"), "{text}");
    let last = lines.len() - 2;
    let without = [&lines[..last], &lines[last + 1..]].concat().join("\n");
    let (code, text) = extract(&without);
    assert_eq!(code, Some(1));
    assert!(text.contains(&format!("events: lines are missing from number {last} on")), "{text}");
    assert!(calls_in(folder, "run.wtrace") > 500);
    let (code, text) = extract(&logs[0][..logs[0].len() - 20]);
    assert_eq!(code, Some(1));
    assert!(text.contains("1 line of a recorder is cut or was changed"), "{text}");
    let (code, text) = extract(&lines.join("\n"));
    assert_eq!((code, text.lines().count()), (Some(0), 1), "{text}");

    // Another build, no hooks, other hooks, a module.
    let two = testing::corpus::corpus().join("components/two.wat");
    let two = two.to_str().unwrap();
    let options = ["instrument", "--hooks", "wasi", "--select", "module:m", two, "-o", "other.wasm"];
    assert!(wasmtrace(folder, &options).status.success());
    assert!(wasmtrace(folder, &["instrument", two, "-o", "observe.wasm"]).status.success());
    for (component, expected) in [
        ("other.wasm", "the recordings belong to another build of the component, or to another component"),
        (two, "this component has no hooks"),
        ("observe.wasm", "this component has --hooks observe and does not record itself"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/real/zig_demo.wasm"), "this is not a component"),
    ] {
        let out = wasmtrace(folder, &["extract", component, "run.log", "-o", "none.wtrace"]);
        assert_eq!(out.status.code(), Some(1));
        assert!(said(&out).contains(expected), "{}", said(&out));
    }
    // It runs on other hosts.
    let out = wasmtrace(folder, &["run", "--invoke", "go(1)", "two.wasm"]);
    assert_eq!(out.status.code(), Some(125));
    assert!(said(&out).contains("this component records itself"), "{}", said(&out));
}

/// Lines may come twice and in any order, from hundreds of instances at once, and from other builds of the component.
#[test]
fn lines_come_in_any_order() {
    let (folder, logs) = logs(&[40]);
    let folder = folder.path();
    let lines: Vec<&str> = logs[0].lines().collect();
    let number = lines[0].split(':').nth(2).unwrap();
    let twice: Vec<&str> = lines.iter().rev().chain(&lines).copied().collect();
    std::fs::write(folder.join("twice.log"), twice.join("\n")).unwrap();
    let out = wasmtrace(folder, &["extract", "two.wasm", "twice.log", "-o", "twice.wtrace"]);
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(calls_in(folder, "twice.wtrace"), 1 + 4 * 40 + 39);

    // The lines of 300 instances in turn, behind those of another build.
    let two = testing::corpus::corpus().join("components/two.wat");
    let options = ["instrument", "--hooks", "wasi", "--select", "module:m", two.to_str().unwrap(), "-o", "other.wasm"];
    assert!(wasmtrace(folder, &options).status.success());
    let other = ran(&std::fs::read(folder.join("other.wasm")).unwrap(), &[], &[Val::U32(3)]).stderr;
    let mut mixed = String::from_utf8(other).unwrap();
    for line in &lines {
        mixed.extend((0..300).map(|instance| format!("{}\n", line.replace(number, &format!("{instance:016x}")))));
    }
    std::fs::write(folder.join("mixed.log"), mixed).unwrap();
    let out = wasmtrace(folder, &["extract", "two.wasm", "mixed.log", "-o", "mixed.wtrace"]);
    assert!(out.status.success(), "{}", said(&out));
    assert!(said(&out).contains("1 instance of another component or build is left out"), "{}", said(&out));
    assert!(said(&out).contains("and 280 more recordings"), "{}", said(&out));
    for recording in ["mixed.wtrace", "mixed.300.wtrace"] {
        assert_eq!(calls_in(folder, recording), 1 + 4 * 40 + 39);
    }

    // The same number with other contents: two instances began at the same time.
    let hooked = std::fs::read(folder.join("two.wasm")).unwrap();
    let second = String::from_utf8(ran(&hooked, &[], &[Val::U32(7)]).stderr).unwrap();
    let of_second = second.split(':').nth(2).unwrap().to_owned();
    std::fs::write(folder.join("same.log"), format!("{}{}", logs[0], second.replace(&of_second, number))).unwrap();
    let out = wasmtrace(folder, &["extract", "two.wasm", "same.log", "-o", "same.wtrace"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(said(&out).contains("two instances have the same number"), "{}", said(&out));
}
