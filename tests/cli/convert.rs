//! Theorem: a file has at most as many spans as its budget, no call is left out without being said, and totals are those of
//! the report whatever is left out.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::read::GzDecoder;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn wasmtrace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).env_remove("WASMTRACE_SELECT");
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    wasmtrace(folder, args).output().unwrap()
}

fn good(folder: &Path, args: &[&str]) -> String {
    let output = output(folder, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

fn error(folder: &Path, args: &[&str]) -> String {
    let output = output(folder, args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A folder with a recording of this program, `app.wtrace`.
fn recorded(program: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    good(folder.path(), &["record", "-q", "-o", "app.wtrace", &format!("{ROOT}/corpus/real/{program}.wasm")]);
    folder
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Of a Chrome trace: the number of spans, and of the calls in them.
fn spans(trace: &Value) -> (u64, u64) {
    let events = trace.as_array().unwrap();
    let spans = events.iter().filter(|event| matches!(event["ph"].as_str(), Some("B" | "b"))).count() as u64;
    let merged = |event: &Value| event["args"]["calls"].as_u64().map(|calls| calls - 1);
    (spans, spans + events.iter().filter_map(merged).sum::<u64>())
}

/// The first number in the sentence with this part.
fn said(text: &str, part: &str) -> u64 {
    let Some(line) = text.lines().find(|line| line.contains(part)) else { return 0 };
    let words = line.rsplit_once(": ").map_or(line, |(_, sentence)| sentence);
    words.split_whitespace().next().unwrap().parse().unwrap()
}

fn report(folder: &Path) -> Value {
    let output = output(folder, &["report", "-q", "--json", "app.wtrace"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn self_time(folder: &Path) -> u64 {
    report(folder)["functions"].as_array().unwrap().iter().map(|row| row["self_nanos"].as_u64().unwrap()).sum()
}

/// Of folded stacks: the frames of each line, and its nanoseconds.
fn stacks(folded: &Path) -> BTreeMap<Vec<String>, u64> {
    let mut stacks: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for line in std::fs::read_to_string(folded).unwrap().lines() {
        let (path, nanos) = line.rsplit_once(' ').unwrap();
        // Several functions may have one name.
        *stacks.entry(path.split(';').map(str::to_owned).collect()).or_default() += nanos.parse::<u64>().unwrap();
    }
    stacks
}

#[test]
fn a_file_stays_within_its_budget_and_every_call_is_accounted_for() {
    let folder = recorded("c_lua");
    let folder = folder.path();
    let calls = report(folder)["calls"].as_u64().unwrap();
    for (options, most) in [
        (&["--max-spans", "1000"][..], 1_000),
        (&["--max-spans", "50"], 50),
        (&["--max-spans", "20000", "--max-depth", "12"], 20_000),
        (&["--min-duration", "1ms"], 250_000),
        (&["--select", "-luaV*", "--max-spans", "500", "--min-duration", "10us"], 500),
        (&["--max-spans", "0", "--max-depth", "3"], u64::MAX),
    ] {
        let convert = [&["convert", "app.wtrace", "-f", "chrome", "-o", "app.json"], options].concat();
        let text = good(folder, &convert);
        let (spans, shown) = spans(&json(&folder.join("app.json")));
        assert!(spans > 0 && spans <= most, "{options:?}: {spans}");
        let short = said(&text, "too short to be shown");
        let left_out = said(&text, "left out by --select or --max-depth");
        assert_eq!(shown + short + left_out, calls, "{options:?}: {text}");
    }
}

#[test]
fn without_a_limit_every_call_is_a_span() {
    let folder = recorded("rust_serde");
    let text = good(folder.path(), &["convert", "app.wtrace", "-f", "chrome", "-o", "app.json", "--max-spans", "0"]);
    assert_eq!(text, "");
    let calls = report(folder.path())["calls"].as_u64().unwrap();
    assert_eq!(spans(&json(&folder.path().join("app.json"))), (calls, calls));
}

#[test]
fn functions_that_are_not_selected_give_their_time_to_their_callers() {
    let folder = recorded("rust_serde");
    let folder = folder.path();
    good(folder, &["convert", "app.wtrace", "-o", "all.folded"]);
    good(folder, &["convert", "app.wtrace", "-o", "app.folded", "--select", "-@std", "--select", "-@alloc"]);
    let (all, app) = (stacks(&folder.join("all.folded")), stacks(&folder.join("app.folded")));
    assert_eq!(all.values().sum::<u64>(), self_time(folder));
    let in_std = |frame: &String| frame.starts_with("core::") || frame == "malloc";
    assert!(all.keys().flatten().any(in_std) && !app.keys().flatten().any(in_std));
    assert_eq!(app.values().sum::<u64>(), self_time(folder));
    // Without a caller, the time is in a row of its own.
    good(folder, &["convert", "app.wtrace", "-o", "none.folded", "--select", "-**"]);
    assert_eq!(stacks(&folder.join("none.folded")), [(vec!["[left out]".to_owned()], self_time(folder))].into());
    let depth = |stacks: &BTreeMap<Vec<String>, u64>| stacks.keys().map(Vec::len).max().unwrap();
    good(folder, &["convert", "app.wtrace", "-o", "flat.folded", "--max-depth", "4"]);
    let flat = stacks(&folder.join("flat.folded"));
    assert_eq!((depth(&flat), flat.values().sum::<u64>()), (4, self_time(folder)));
}

#[test]
fn a_name_with_gz_is_compressed_and_says_the_format() {
    let folder = recorded("zig_demo");
    let folder = folder.path();
    for name in ["app.speedscope.json", "app.pftrace", "app.callgrind", "app.folded"] {
        good(folder, &["convert", "app.wtrace", "-o", name]);
        good(folder, &["convert", "app.wtrace", "-o", &format!("{name}.gz")]);
        let mut text = Vec::new();
        let file = std::fs::File::open(folder.join(format!("{name}.gz"))).unwrap();
        GzDecoder::new(file).read_to_end(&mut text).unwrap();
        assert_eq!(text, std::fs::read(folder.join(name)).unwrap(), "{name}");
    }
    good(folder, &["convert", "app.wtrace", "-o", "APP.FOLDED.GZ"]);
    assert!(std::fs::read(folder.join("APP.FOLDED.GZ")).unwrap().starts_with(&[0x1f, 0x8b]));
    // A pprof profile is compressed once.
    good(folder, &["convert", "app.wtrace", "-o", "app.pb.gz"]);
    let profile = std::fs::read(folder.join("app.pb.gz")).unwrap();
    let mut bytes = Vec::new();
    GzDecoder::new(&profile[..]).read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes[0], 0x0a, "the first field is a sample type");
    let unknown = error(folder, &["convert", "app.wtrace", "-o", "app.json"]);
    assert!(unknown.contains("does not say which format") && unknown.contains("speedscope"), "{unknown}");
    assert!(error(folder, &["convert", "app.wtrace"]).contains("give a format to -f"));
}

#[test]
fn a_recording_from_a_pipe_is_read_as_often_as_needed() {
    let folder = recorded("c_lua");
    let folder = folder.path();
    let options = ["-f", "speedscope", "--max-spans", "3000"];
    good(folder, &[&["convert", "app.wtrace", "-o", "file.json"], &options[..]].concat());
    let mut child = wasmtrace(folder, &[&["convert", "-"], &options[..]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let recording = std::fs::read(folder.join("app.wtrace")).unwrap();
    child.stdin.take().unwrap().write_all(&recording).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert!(piped.status.success());
    assert_eq!(piped.stdout, std::fs::read(folder.join("file.json")).unwrap());
}

#[test]
fn a_run_writes_the_files_that_convert_writes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let module = format!("{ROOT}/corpus/real/rust_serde.wasm");
    let sinks = ["--sink", "html:app.html", "--sink", "pprof:app.pb.gz", "--sink", "chrome:app.json"];
    let output = output(folder, &[&["run", "-q"], &sinks[..], &[&module]].concat());
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let (spans, calls) = spans(&json(&folder.join("app.json")));
    assert!(spans > 1_000 && spans == calls);
    let page = std::fs::read_to_string(folder.join("app.html")).unwrap();
    assert!(page.contains("Content-Security-Policy") && page.contains("default-src 'none'"));
    assert!(folder.join("app.pb.gz").metadata().unwrap().len() > 500);
}

#[test]
fn an_output_that_fails_leaves_no_file_and_does_not_change_the_guest() {
    let folder = recorded("zig_demo");
    let folder = folder.path();
    let text = error(folder, &["convert", "app.wtrace", "-f", "html", "-o", "/dev/full"]);
    assert!(text.contains("/dev/full"), "{text}");
    assert!(error(folder, &["convert", "app.wtrace", "-f", "html", "-o", "."]).contains("error"));
    let missing = folder.join("missing/app.html");
    let output = output(folder, &["report", "app.wtrace", "--html", missing.to_str().unwrap()]);
    assert!(output.status.code() == Some(1) && !missing.exists());
    assert!(error(folder, &["report", "app.wtrace", "--html", "app.wtrace"]).contains("the recording itself"));
    let module = format!("{ROOT}/corpus/real/c_exit.wasm");
    let run = |sinks: &[&str]| self::output(folder, &[&["run"], sinks, &[&module, "exit_7"]].concat());
    let (plain, full) = (run(&["--sink", "none"]), run(&["--sink", "html:/dev/full"]));
    assert_eq!((plain.status.code(), plain.stdout), (full.status.code(), full.stdout));
    assert!(String::from_utf8_lossy(&full.stderr).contains("incomplete"), "{}", String::from_utf8_lossy(&full.stderr));
}

/// What is read is never written to.
#[test]
fn no_output_is_an_input() {
    let folder = recorded("zig_demo");
    let folder = folder.path();
    let recording = std::fs::read(folder.join("app.wtrace")).unwrap();
    std::os::unix::fs::symlink("app.wtrace", folder.join("link.wtrace")).unwrap();
    std::fs::copy(folder.join("app.wtrace"), folder.join("other.wtrace")).unwrap();
    let status = |args: &[&str], stdin: Stdio| {
        let output = wasmtrace(folder, args).stdin(stdin).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let from_stdin = || Stdio::from(std::fs::File::open(folder.join("app.wtrace")).unwrap());
    for (args, stdin, code) in [
        (&["convert", "app.wtrace", "-f", "html", "-o", "link.wtrace"][..], Stdio::null(), 1),
        (&["convert", "-", "-f", "html", "-o", "app.wtrace"], from_stdin(), 1),
        (&["report", "-", "--html", "app.wtrace"], from_stdin(), 1),
        (&["diff", "--html", "app.wtrace", "app.wtrace", "other.wtrace"], Stdio::null(), 2),
        (&["diff", "--html", "link.wtrace", "other.wtrace", "app.wtrace"], Stdio::null(), 2),
    ] {
        let (failed, text) = status(args, stdin);
        assert!(failed == code && text.contains("the recording itself"), "{args:?}: {text}");
        assert_eq!(std::fs::read(folder.join("app.wtrace")).unwrap(), recording, "{args:?}");
    }
    let module = std::fs::read(format!("{ROOT}/corpus/real/zig_demo.wasm")).unwrap();
    std::fs::write(folder.join("app.wasm"), &module).unwrap();
    for sinks in [&["--sink", "html:app.wasm"][..], &["--sink", "html:out", "--sink", "chrome:./out"]] {
        let (failed, text) = status(&[&["run"], sinks, &["app.wasm"]].concat(), Stdio::null());
        assert!(
            failed == 125 && (text.contains("the module itself") || text.contains("two sinks")),
            "{sinks:?}: {text}"
        );
        assert_eq!(std::fs::read(folder.join("app.wasm")).unwrap(), module);
        assert!(!folder.join("out").exists(), "the run did not begin");
    }
}

/// No text of a module becomes markup: the page has the elements that its template has.
#[test]
fn a_hostile_name_is_no_markup() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let module = r#"(module (func (export "</script><script>alert(1)</script>")) (func (export "_start") call 0))"#;
    std::fs::write(folder.join("<img src=x>.wat"), module).unwrap();
    good(folder, &["record", "-q", "-o", "app.wtrace", "<img src=x>.wat"]);
    good(folder, &["report", "--html", "app.html", "app.wtrace"]);
    let page = std::fs::read_to_string(folder.join("app.html")).unwrap();
    assert!(!page.contains("alert(1)") && !page.contains("<img"));
    assert_eq!(page.matches("</script>").count(), 2);
}
