//! Theorem: what a module, a recording or a path is called stays text. Whatever names hold (what terminals obey, what turns
//! or hides text, ends of lines and frames, pieces of JSON, bytes that are no text), in every verb and every format:
//! nothing of it comes through as a control character, a line, a frame, a tag of JSON; and JSON is read back as it was.

#![cfg(unix)]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::theorems::shown::{HOSTILE, is_hostile};
use serde_json::Value;

/// Speaks through the manual API with each of the hostile texts, from functions that are named so.
fn program() -> Vec<u8> {
    let api = |name: &str, params: &str| {
        format!(r#"(import "dylibso:observe/api" "{name}" (func $api_{name} (param {params})))"#)
    };
    let mut text = format!("(module {}", literal(b"(@name ", HOSTILE[1].as_bytes()));
    text += &[api("span-enter", "i32 i32"), api("span-exit", ""), api("span-tags", "i32 i32")].concat();
    text += &[api("metric", "i32 i32 i32"), api("log", "i32 i32 i32")].concat();
    text += r#"(memory (export "memory") 1)"#;
    let mut main = r#"(func $main (export "_start")"#.to_owned();
    // No text at all: a lone surrogate, a cut sequence.
    let no_text: &[u8] = b"\xed\xa0\x80 \xf0\x9f\x98";
    let texts = HOSTILE.iter().map(|said| said.as_bytes()).chain([no_text]);
    for (i, said) in texts.enumerate() {
        let at = i * 128;
        let (span, tags) = (format!("{at}) (i32.const {}", said.len()), format!("tag{i}:"));
        let data = [said, tags.as_bytes(), said].concat();
        let rest = (at + said.len(), data.len() - said.len());
        text += &literal(format!("(data (i32.const {at}) ").as_bytes(), &data);
        if std::str::from_utf8(said).is_ok() {
            text += &format!(
                r#"(func $f{i} {} (call $api_span-enter (i32.const {span}))
              (call $api_span-tags (i32.const {}) (i32.const {})) (call $api_log (i32.const 3) (i32.const {span}))
              (call $api_metric (i32.const 1) (i32.const {span})) (call $api_span-exit))"#,
                literal(b"(@name ", said),
                rest.0,
                rest.1
            );
            main += &format!("(call $f{i})");
        } else {
            main += &format!(
                "(call $api_span-enter (i32.const {span})) (call $api_log (i32.const 3) (i32.const {span})) (call $api_span-exit)"
            );
        }
    }
    main += ")";
    for (i, said) in HOSTILE.iter().enumerate() {
        text += &literal(b"(@custom ", said.as_bytes()).replace(')', r#" "")"#);
        text += &format!("(func $e{i} {} unreachable)", literal(b"(export ", format!("{said}{i}").as_bytes()));
    }
    wat::parse_str(text + &main + ")").unwrap()
}

/// `(keyword "bytes")`
fn literal(keyword: &[u8], bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
    format!("{}\"{escaped}\")", String::from_utf8_lossy(keyword))
}

fn wasmtrace(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command.current_dir(folder).args(args).env_remove("WASMTRACE_SELECT").stdin(Stdio::null());
    command.output().unwrap()
}

fn assert_plain(what: &str, bytes: &[u8]) -> String {
    let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
    if let Some(c) = text.chars().find(|c| *c != '\n' && is_hostile(*c)) {
        panic!("{what}: {c:?} comes through: {text:?}");
    }
    text
}

/// Runs a command; gives what it says on both streams, which is plain. An error is one line.
fn says(folder: &Path, args: &[&str]) -> (String, String) {
    let output = wasmtrace(folder, args);
    let what = format!("{args:?}");
    let (out, err) = (assert_plain(&what, &output.stdout), assert_plain(&what, &output.stderr));
    assert!(output.status.code().is_some_and(|code| code != 101), "{args:?}: {:?} {err}", output.status);
    if output.status.code() == Some(1) {
        assert_eq!(err.lines().filter(|line| line.starts_with("wasmtrace: error: ")).count(), 1, "{args:?}: {err}");
    }
    (out, err)
}

/// Every file is called something that a terminal would obey.
const MODULE: &str = "\u{1b}]0;t\u{7}\u{202e};\"\n.wasm";
const HOOKED: &str = "\u{1b}[31mhooked\u{2028}\u{9b}.wasm";
const TRACE: &str = "\u{1b}[1m\u{2066}\r\n.wtrace";

#[test]
fn every_verb_and_every_format_says_names_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join(MODULE), program()).unwrap();

    for args in [
        &["ls", MODULE][..],
        &["info", MODULE],
        &["instrument", "-t", MODULE],
        &["instrument", "-v", MODULE, "-o", HOOKED],
        &["ls", HOOKED],
        &["info", HOOKED],
        &["verify", MODULE, HOOKED],
        &["verify", HOOKED, MODULE],
        &["strip", "-v", HOOKED, "-o", "\u{1b}back.wasm"],
        &["strip", MODULE, "-o", "\u{1b}same.wasm"],
        &["instrument", HOOKED],
        &["run", "--min-share", "0", MODULE],
        &["run", "--min-share", "0", "--hooks", "observe", MODULE],
        &["run", HOOKED],
        &["run", "--invoke", "\u{1b}]0;title\u{7}0", MODULE],
        &["run", "--invoke", "\u{1b}]0;title\u{7}", MODULE],
        &["run", "--preload", "\u{1b}x=\u{202e}", MODULE],
        &["record", "-o", TRACE, MODULE],
        &["report", TRACE],
        &["report", "--min-share", "0", TRACE],
        &["report", "--flat", "--min-share", "0", TRACE],
        &["report", MODULE],
        &["convert", TRACE, "-f", "\u{1b}[2J"],
        &["convert", TRACE, "-f", "chrome", "-o", "/nosuch/\u{1b}\u{202e}"],
        &["\u{1b}[2J"],
        &["ls", "--\u{1b}[2J"],
    ] {
        says(here, args);
    }
    for args in [
        &["ls", "--json", MODULE][..],
        &["ls", "--json", HOOKED],
        &["info", "--json", MODULE],
        &["info", "--json", HOOKED],
        &["verify", "--json", MODULE, HOOKED],
        &["report", "--json", TRACE],
        &["instrument", "--report", "-", MODULE, "-o", "again.wasm"],
    ] {
        let (out, err) = says(here, args);
        serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out} {err}"));
    }

    // What comes of names is read back as it was.
    let listed: Value = serde_json::from_str(&says(here, &["ls", "--json", MODULE]).0).unwrap();
    let names: Vec<&str> =
        listed["functions"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    for said in HOSTILE.iter().filter(|said| !said.is_empty()) {
        assert!(names.contains(said), "{said:?} is not in {names:?}");
    }
    let convert = |format: &str| says(here, &["convert", TRACE, "-f", format]).0;
    let chrome: Vec<Value> = serde_json::from_str(&convert("chrome")).unwrap();
    let spans: Vec<&str> = chrome.iter().filter(|e| e["ph"] == "b").map(|e| e["name"].as_str().unwrap()).collect();
    assert_eq!(spans.len(), HOSTILE.len() + 1);
    assert!(HOSTILE.iter().all(|said| spans.contains(said)), "{spans:?}");
    assert!(spans.iter().any(|said| said.contains('\u{fffd}')), "what is no text is shown as such: {spans:?}");
    for line in convert("otlp-json").lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    // `main`, what it calls, and the spans in that: no path is deeper, and nothing became a line of its own.
    let folded = convert("folded");
    for line in folded.lines() {
        let (path, nanos) = line.rsplit_once(' ').unwrap();
        assert!(nanos.parse::<u64>().is_ok() && path.starts_with("main"), "{line:?}");
        assert!(path.split(';').count() <= 3, "{line:?}");
    }
    assert!(folded.lines().count() <= 2 * HOSTILE.len() + 2, "{folded}");
}

/// The sinks of `run` write the same as `convert`.
#[test]
fn what_run_writes_into_files_is_text_too() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join(MODULE), program()).unwrap();
    let sinks = ["chrome:c.json", "otlp-json:o.jsonl", "folded:f.txt"].map(|sink| ["--sink", sink]).concat();
    says(here, &[&["run"][..], &sinks, &["--", MODULE, "\u{1b}argument"]].concat());
    for file in ["c.json", "o.jsonl", "f.txt"] {
        let text = assert_plain(file, &std::fs::read(here.join(file)).unwrap());
        assert!(text.len() > 100, "{file}: {text}");
        if file != "f.txt" {
            let lines = if file == "c.json" { vec![&text[..]] } else { text.lines().collect() };
            lines.into_iter().for_each(|json| drop(serde_json::from_str::<Value>(json).unwrap()));
        }
    }
}
