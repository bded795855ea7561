//! Theorem: what wasmtrace writes is what the real reader of each format understands, without a warning, and its numbers are
//! those of the report.
//!
//! The readers are programs of others: speedscope, the Firefox Profiler, Perfetto, pprof, callgrind_annotate, and Chromium for
//! the HTML page. `tests/viewers/install.sh` installs them. Where they are missing, a test says so and is left out, unless
//! `WASMTRACE_VIEWERS=required`.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const WASMTRACE: &str = env!("CARGO_BIN_EXE_wasmtrace");

/// The folder of the readers; `None` if they are not installed.
fn readers() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let folder =
            std::env::var_os("VIEWERS_DIR").map_or_else(|| Path::new(ROOT).join("target/readers"), PathBuf::from);
        if folder.join("bin/node").exists() && folder.join("node_modules").exists() {
            return Some(folder);
        }
        let required = std::env::var("WASMTRACE_VIEWERS").is_ok_and(|value| value == "required");
        assert!(!required, "the readers are not installed: run tests/viewers/install.sh");
        eprintln!("the readers are not installed, so this test is left out: tests/viewers/install.sh installs them");
        None
    };
    FOLDER.get_or_init(find).as_deref()
}

/// The recordings that all formats are written from.
struct Recordings {
    folder: tempfile::TempDir,
    /// Of each recording: its name, and its report as JSON.
    reports: BTreeMap<&'static str, Value>,
}

/// Names that try to be markup, script, separators, what terminals obey, and what is no character.
const HOSTILE: &str = r#"(module
  (func $a (export "</script><img src=x onerror=alert(1)>"))
  (func $b (export "a;b c (1) \"q\" \\ '\1b[31m\u{202e}\0a\u{2028}\u{ffff}\u{10ffff}")
    call $a call $a)
  (func (export "_start") (local i32)
    (loop
      call $b
      (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 500))))
    unreachable))"#;

const NOTHING: &str = r#"(module (func (export "_start")))"#;

fn run(args: &[&str]) -> std::process::Output {
    Command::new(WASMTRACE).args(args).stdin(Stdio::null()).env_remove("WASMTRACE_SELECT").output().unwrap()
}

fn recordings() -> &'static Recordings {
    static ALL: OnceLock<Recordings> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("hostile.wat"), HOSTILE).unwrap();
        std::fs::write(path("nothing.wat"), NOTHING).unwrap();
        let corpus = |name: &str| format!("{ROOT}/corpus/real/{name}.wasm");
        let programs = [
            ("lua", corpus("c_lua")),
            ("serde", corpus("rust_serde")),
            ("spans", corpus("bind_cpp")),
            ("hostile", path("hostile.wat")),
            ("nothing", path("nothing.wat")),
        ];
        let mut reports = BTreeMap::new();
        for (name, program) in &programs {
            run(&["record", "-q", "-o", &path(&format!("{name}.wtrace")), program]);
        }
        run(&["record", "-q", "--hooks", "none", "--sample", "-o", &path("sampled.wtrace"), &corpus("c_lua")]);
        let whole = std::fs::read(path("lua.wtrace")).unwrap();
        std::fs::write(path("cut.wtrace"), &whole[..whole.len() / 2]).unwrap();
        for name in programs.map(|(name, _)| name).into_iter().chain(["sampled", "cut"]) {
            let report = run(&["report", "-q", "--json", &path(&format!("{name}.wtrace"))]);
            reports.insert(name, serde_json::from_slice(&report.stdout).unwrap());
        }
        Recordings { folder, reports }
    })
}

/// Writes recordings in a format, and returns what a script says of each file.
fn read(script: &str, format: &str, ending: &str, names: &[&'static str]) -> Option<Vec<(&'static str, Value)>> {
    let readers = readers()?;
    let Recordings { folder, .. } = recordings();
    let files: Vec<PathBuf> =
        names.iter().map(|name| folder.path().join(format!("{name}.{script}.{ending}"))).collect();
    for (name, file) in names.iter().zip(&files) {
        let trace = folder.path().join(format!("{name}.wtrace"));
        let output = run(&["convert", trace.to_str().unwrap(), "-f", format, "-o", file.to_str().unwrap()]);
        assert!(output.status.success(), "{name} as {format}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let program = if script.ends_with(".py") { "bin/python3" } else { "bin/node" };
    let output = Command::new(readers.join(program))
        .arg(format!("{ROOT}/tests/viewers/{script}"))
        .args(&files)
        .env("VIEWERS_DIR", readers)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} of {format}: {said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |report: &Value| {
        for list in ["warnings", "errors"] {
            assert_eq!(report[list].as_array().map(Vec::len), Some(0), "{script} of {format}: {report:#}");
        }
        report.clone()
    };
    Some(names.iter().copied().zip(report["files"].as_array().unwrap().iter().map(of)).collect())
}

/// A number of the report.
fn report(name: &str, member: &str) -> u64 {
    recordings().reports[name][member].as_u64().unwrap()
}

/// Nanoseconds in hooked functions.
fn self_time(name: &str) -> u64 {
    sum(&recordings().reports[name]["functions"], "self_nanos")
}

/// Number of calls and manual spans.
fn openings(name: &str) -> u64 {
    report(name, "calls") + report(name, "manual_spans")
}

/// Number of moments: log lines, metrics, `memory.grow`, and the end of the run.
fn moments(name: &str) -> u64 {
    let report = &recordings().reports[name];
    let tree = &report["tree"];
    sum(tree, "logs") + sum(tree, "metrics") + report["memory_grow"]["count"].as_u64().unwrap() + 1
}

fn sum(list: &Value, member: &str) -> u64 {
    list.as_array().unwrap().iter().map(|row| row[member].as_f64().unwrap_or_default()).sum::<f64>().round() as u64
}

const ALL: [&str; 6] = ["lua", "serde", "spans", "hostile", "nothing", "cut"];

/// Recordings whose calls are all written, each as a span.
const WHOLE: [&str; 3] = ["serde", "spans", "hostile"];

#[test]
fn speedscope_reads_its_own_format() {
    let names: Vec<_> = ALL.into_iter().chain(["sampled"]).collect();
    let Some(files) = read("speedscope.mjs", "speedscope", "speedscope.json", &names) else { return };
    for (name, file) in files {
        let profiles = file["profiles"].as_array().unwrap();
        assert_eq!(profiles.len(), if name == "spans" { 2 } else { 1 }, "{name}");
        if name == "sampled" {
            assert_eq!(profiles[0]["totalWeight"].as_u64(), Some(self_time(name)));
        }
    }
}

#[test]
fn speedscope_reads_chrome_with_every_call_and_nests_as_in_its_own_format() {
    // The reader needs a minute for the file of a longer run, which is four times as large as in its own format.
    let Some(chrome) = read("speedscope.mjs", "chrome", "trace.json", &WHOLE) else { return };
    let own = read("speedscope.mjs", "speedscope", "speedscope.json", &WHOLE).unwrap();
    for ((name, chrome), (_, own)) in chrome.iter().zip(&own) {
        assert_eq!(chrome["profiles"][0]["maxDepth"], own["profiles"][0]["maxDepth"], "{name}");
        assert_eq!(sum(&chrome["profiles"][0]["functions"], "calls"), report(name, "calls"), "{name}");
    }
}

#[test]
fn speedscope_reads_folded_stacks_with_the_reports_times() {
    let names = ["lua", "serde", "spans", "hostile", "sampled", "cut"];
    let Some(files) = read("speedscope.mjs", "folded", "folded", &names) else { return };
    for (name, file) in files {
        assert_eq!(file["profiles"][0]["totalWeight"].as_u64(), Some(self_time(name)), "{name}");
    }
}

#[test]
fn the_firefox_profiler_reads_its_format() {
    let names: Vec<_> = ALL.into_iter().chain(["sampled"]).collect();
    let Some(files) = read("firefox.mjs", "firefox", "json", &names) else { return };
    for (name, file) in files {
        let thread = &file["threads"][0];
        assert_eq!(thread["weightType"], "tracing-ms", "{name}");
        if name == "sampled" {
            let nanos = thread["totalWeight"].as_f64().unwrap() * 1e6;
            assert!((nanos - self_time(name) as f64).abs() < 1_000.0, "{nanos}");
        }
        if name == "spans" {
            let markers = thread["markers"].as_array().unwrap();
            let orders = markers.iter().find(|marker| marker["name"] == "order").unwrap();
            assert_eq!(orders["count"], 5);
        }
    }
}

#[test]
fn the_firefox_profiler_reads_chrome() {
    let Some(files) = read("firefox.mjs", "chrome", "json", &["serde", "spans", "hostile"]) else { return };
    assert_eq!(files.len(), 3);
}

#[test]
fn perfetto_reads_its_format_and_counts_every_call() {
    let Some(files) = read("perfetto.mjs", "perfetto", "pftrace", &ALL) else { return };
    for (name, file) in files {
        assert_eq!(file["slices"]["unfinished"].as_u64(), Some(0), "{name}");
        if WHOLE.contains(&name) {
            assert_eq!(file["slices"]["count"].as_u64(), Some(openings(name) + moments(name)), "{name}");
        }
    }
    let decoded = read("perfetto_decode.py", "perfetto", "pftrace", &ALL).unwrap();
    for (name, file) in decoded {
        assert_eq!(file["unknownFields"].as_object().map(serde_json::Map::len), Some(0), "{name}");
    }
}

#[test]
fn perfetto_reads_chrome() {
    let Some(files) = read("perfetto.mjs", "chrome", "json", &["serde", "hostile"]) else { return };
    for (name, file) in files {
        // Calls, and the end of the run with what else happened at one moment.
        assert!(file["slices"]["count"].as_u64() > Some(report(name, "calls")), "{name}");
    }
}

#[test]
fn pprof_reads_its_format_with_the_reports_numbers() {
    let names: Vec<_> = ALL.into_iter().chain(["sampled"]).collect();
    let Some(files) = read("pprof.mjs", "pprof", "pb.gz", &names) else { return };
    for (name, file) in files {
        let types = file["sampleTypes"].as_array().unwrap();
        let total = |kind: &str| types.iter().find(|one| one["type"] == kind).unwrap()["total"].as_u64().unwrap();
        assert_eq!((total("calls"), total("time")), (openings(name), self_time(name)), "{name}");
        if name == "lua" {
            let lines = types.iter().find(|one| one["type"] == "time").unwrap()["lines"].as_array().unwrap();
            let of_execute = lines.iter().filter(|line| line["name"] == "luaV_execute" && line["file"] == "lua/lvm.c");
            assert!(of_execute.count() > 3, "the time of a function is at its sampled lines");
        }
    }
}

#[test]
fn callgrind_annotate_reads_its_format_with_the_reports_numbers() {
    let names = ["lua", "serde", "spans", "hostile", "cut", "sampled"];
    let Some(files) = read("callgrind.mjs", "callgrind", "callgrind", &names) else { return };
    for (name, file) in files {
        assert_eq!(file["totals"]["Nanoseconds"].as_u64(), Some(self_time(name)), "{name}");
    }
}

/// What `page.mjs` prints about a page.
fn page(readers: &Path, command: &str, file: &Path) -> Value {
    let output = Command::new(readers.join("bin/node"))
        .args([&format!("{ROOT}/tests/viewers/page.mjs"), command])
        .arg(file)
        .env("VIEWERS_DIR", readers)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command} {}: {said}", file.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_browser_shows_the_page_with_the_reports_numbers() {
    let Some(readers) = readers() else { return };
    let Recordings { folder, reports } = recordings();
    for name in ALL.into_iter().chain(["sampled"]) {
        let (trace, file) = (folder.path().join(format!("{name}.wtrace")), folder.path().join(format!("{name}.html")));
        let output = run(&["report", trace.to_str().unwrap(), "--html", file.to_str().unwrap()]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // The script fails if the page logs an error or asks for anything.
        let shown = page(readers, "check", &file);
        assert_eq!(shown["selfSums"][0].as_u64(), Some(self_time(name)), "{name}");
        assert_eq!(shown["callSums"][0].as_u64(), Some(openings(name)), "{name}");
        let functions = reports[name]["functions"].as_array().unwrap().len();
        assert_eq!(shown["functions"].as_u64(), Some(functions as u64), "{name}");
        // No name of a module is an element.
        assert_eq!((shown["images"].as_u64(), shown["scripts"].as_u64()), (Some(0), Some(1)), "{name}");
    }
}

#[test]
fn every_control_of_the_page_works() {
    let Some(readers) = readers() else { return };
    let Recordings { folder, .. } = recordings();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    run(&["report", "-q", &path("lua.wtrace"), "--html", &path("driven.html")]);
    run(&["diff", "-q", &path("cut.wtrace"), &path("lua.wtrace"), "--html", &path("diff.html")]);
    for name in ["driven.html", "diff.html"] {
        page(readers, "drive", &folder.path().join(name));
    }
}
