//! Theorem: the command line keeps its small promises to pipelines, to people who type one command, and to `cargo test`.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/real");

fn wasmtrace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command.current_dir(folder).args(args).stdin(Stdio::null());
    command.env_remove("WASMTRACE_SELECT").env_remove("WASMTRACE_CACHE").env_remove("CARGO_MANIFEST_DIR");
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    wasmtrace(folder, args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn program(name: &str) -> String {
    format!("{PROGRAMS}/{name}.wasm")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn write_wat(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), wat::parse_str(text).unwrap()).unwrap();
}

/// A warning is an error if that is asked for, and then no file is written.
#[test]
fn strict_makes_warnings_errors() {
    let folder = tempfile::tempdir().unwrap();
    let (here, module) = (folder.path(), program("c_names"));
    for (rule, code) in [("-no::such", 1), ("-@std", 0)] {
        let hooked = output(here, &["instrument", "--strict", "--select", rule, &module, "-o", "out.wasm"]);
        assert_eq!(hooked.status.code(), Some(code), "{}", stderr(&hooked));
        assert_eq!(here.join("out.wasm").exists(), code == 0);
        assert_eq!(output(here, &["ls", "--strict", "--select", rule, &module]).status.code(), Some(code));
    }
    assert!(output(here, &["instrument", "--select", "-no::such", &module, "-o", "out.wasm"]).status.success());
}

#[test]
fn growth_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let (here, module) = (folder.path(), program("c_names"));
    for (most, code) in [("1%", 1), ("1", 1), ("1000%", 0)] {
        let hooked = output(here, &["instrument", "--max-growth", most, &module, "-o", "out.wasm"]);
        assert_eq!(hooked.status.code(), Some(code), "{}", stderr(&hooked));
        assert_eq!(here.join("out.wasm").exists(), code == 0);
    }
    for most in ["-1%", "nan", "x", "1%%"] {
        assert_eq!(output(here, &["instrument", &format!("--max-growth={most}"), &module]).status.code(), Some(2));
    }
}

/// A report never replaces what the command reads or writes.
#[test]
fn a_report_says_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::copy(program("c_names"), here.join("in.wasm")).unwrap();
    let args =
        ["instrument", "--select", "-@std", "in.wasm", "-o", "out.wasm", "--report", "r.json", "--names", "n.json"];
    let hooked = output(here, &args);
    assert!(hooked.status.success(), "{}", stderr(&hooked));
    let report = &json(&here.join("r.json"))["modules"][0];
    let hash =
        |name: &str| Value::from(wasmtrace::label::hex(&wasmtrace::sha256(&std::fs::read(here.join(name)).unwrap())));
    assert_eq!([&report["input_sha256"], &report["output_sha256"]], [&hash("in.wasm"), &hash("out.wasm")]);
    assert_eq!((&report["output"], &report["rules"]["list"][0]["rule"]), (&"out.wasm".into(), &"-@std".into()));
    let names = json(&here.join("n.json"));
    let functions = names["functions"].as_array().unwrap();
    assert_eq!(functions.len() as u64, report["hooked"].as_u64().unwrap());
    // Hooks report the index in the hooked module, `ls` lists that of the original.
    assert!(functions.iter().all(|f| f["id"].as_u64() > f["index"].as_u64()), "{names}");
    let lost = output(here, &["instrument", "in.wasm", "-o", "new.wasm", "--names", "nosuch/n.json"]);
    assert!(lost.status.code() == Some(1) && !here.join("new.wasm").exists());
    for taken in ["in.wasm", "out.wasm", "./out.wasm"] {
        let refused = output(here, &["instrument", "in.wasm", "-o", "out.wasm", "--report", taken]);
        assert_eq!(refused.status.code(), Some(1));
    }
}

const MANGLED: &str = r#"(module
    (func $_ZN3app2Op5applyIiEEvT_ (export "a"))
    (func $"app::run::h0123456789abcdef" (export "b"))
    (func $plain (export "c")))"#;

/// Demangled names are for hosts. `verify` and `strip` know the original's.
#[test]
fn demangled_names_are_verified_and_stripped() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_wat(here, "in.wasm", MANGLED);
    for hooks in ["observe", "buffer"] {
        let hooked =
            output(here, &["instrument", "--demangle", "--hooks", hooks, "in.wasm", "-o", "out.wasm", "--verify"]);
        assert!(hooked.status.success(), "{}", stderr(&hooked));
        assert!(output(here, &["verify", "in.wasm", "out.wasm"]).status.success());
        let wasm = std::fs::read(here.join("out.wasm")).unwrap();
        let named = wasmparser::Parser::new(0).parse_all(&wasm).find_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(section) if section.name() == "name" => Some(section.data().to_vec()),
            _ => None,
        });
        let has = |name: &str| named.as_ref().unwrap().windows(name.len()).any(|window| window == name.as_bytes());
        assert!(has("app::Op::apply<int>(int)") && has("app::run") && has("plain") && !has("_ZN") && !has("h0123"));
        assert!(output(here, &["strip", "out.wasm", "-o", "back.wasm"]).status.success());
        assert!(std::fs::read(here.join("back.wasm")).unwrap() == std::fs::read(here.join("in.wasm")).unwrap());
    }
}

/// All that is missing is named, before anything is compiled.
#[test]
fn missing_imports_are_named_together() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let imports: String = (0..12).map(|i| format!(r#"(import "env" "f{i}" (func))"#)).collect();
    write_wat(here, "in.wasm", &format!(r#"(module {imports} (func (export "_start")))"#));
    let run = output(here, &["run", "in.wasm"]);
    assert_eq!(run.status.code(), Some(125));
    let said = stderr(&run);
    assert!(said.contains("`f0` from `env`, `f1` from `env`") && said.contains("and 2 more"), "{said}");
    write_wat(
        here,
        "env.wasm",
        &format!("(module {})", imports.replace("(import \"env\" ", "(func (export ").replace(" (func))", "))")),
    );
    assert_eq!(output(here, &["run", "--preload", "env=env.wasm", "in.wasm"]).status.code(), Some(0));
}

/// The version before preview 1: its exit code passes, and hooks see the exit.
#[test]
fn modules_for_wasi_unstable_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let text = r#"(module (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func $_start (export "_start") i32.const 7 call $exit))"#;
    write_wat(here, "in.wasm", text);
    let run = output(here, &["run", "in.wasm"]);
    assert_eq!(run.status.code(), Some(7), "{}", stderr(&run));
    assert!(stderr(&run).contains("exit code 7"));
}

fn kept(cache: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cache.join("hooked")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A hooked module is kept for the next run with the same options. A damaged one is made anew, and files of others stay.
#[test]
fn hooked_modules_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let cache = here.join("cache");
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join("thesis.txt"), "mine").unwrap();
    let module = program("c_lua");
    let run = |select: &[&str]| {
        let args = [&["run", "--cache", "cache", "--sink", "folded:f.txt"], select, &[&module, "1"]].concat();
        let run = output(here, &args);
        assert!(run.status.success(), "{}", stderr(&run));
        run.stdout
    };
    let first = run(&[]);
    let [entry] = &kept(&cache)[..] else { panic!("there is one entry") };
    assert_eq!(run(&[]), first);
    assert_eq!(kept(&cache).len(), 1);
    // Other options, another module.
    assert_eq!(run(&["--select", "-@std"]), first);
    assert_eq!(kept(&cache).len(), 2);
    let whole = std::fs::read(entry).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    std::fs::write(entry, damaged).unwrap();
    assert_eq!(run(&[]), first);
    assert!(std::fs::read(entry).unwrap() == whole);
    assert_eq!(std::fs::read_to_string(cache.join("thesis.txt")).unwrap(), "mine");
}

/// `cargo test` runs files in `deps`, and its own output is not buried.
#[test]
fn under_cargo_test_a_run_is_one_line_and_a_recording() {
    let folder = tempfile::tempdir().unwrap();
    let deps = folder.path().join("deps");
    std::fs::create_dir(&deps).unwrap();
    std::fs::copy(program("c_names"), deps.join("t.wasm")).unwrap();
    let run = |args: &[&str], folder: &Path| {
        let run = wasmtrace(folder, args).env("CARGO_MANIFEST_DIR", "/nowhere").output().unwrap();
        assert!(run.status.success(), "{}", stderr(&run));
        stderr(&run)
    };
    for (path, folder) in [("deps/t.wasm", folder.path()), ("t.wasm", &deps)] {
        let said = run(&["run", path], folder);
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains("calls of") && said.contains("wasmtrace report "), "{said}");
        assert!(output(&deps, &["report", "t.wtrace"]).status.success());
    }
    assert!(run(&["run", "--sink", "tree", "deps/t.wasm"], folder.path()).lines().count() > 10);
    assert!(run(&["run", "-v", "deps/t.wasm"], folder.path()).lines().count() > 10);
    // Elsewhere, a run is a run.
    let plain = wasmtrace(folder.path(), &["run", "deps/t.wasm"]).output().unwrap();
    assert!(stderr(&plain).lines().count() > 10);
}

/// A link to a file that is not there is said; a file of that name beside the module is taken.
#[test]
fn links_that_lead_elsewhere_are_said_or_found_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/beside");
    let module = std::fs::read(format!("{beside}/emcc_map.wasm")).unwrap();
    let map = std::fs::read(format!("{beside}/emcc_map.wasm.map")).unwrap();
    // The same module, linked to a server.
    let (old, new) = ("emcc_map.wasm.map", "http://localhost/x/y.map?v=1");
    let at = module.windows(old.len()).rposition(|window| window == old.as_bytes()).unwrap();
    let name = "sourceMappingURL";
    let mut wasm = module[..at - 1 - name.len() - 1 - 2].to_vec();
    let contents = [&[name.len() as u8], name.as_bytes(), &[new.len() as u8], new.as_bytes()].concat();
    wasm.extend([&[0, contents.len() as u8][..], &contents].concat());
    std::fs::write(here.join("in.wasm"), wasm).unwrap();
    for verb in ["ls", "run"] {
        let said = stderr(&output(here, &[verb, "in.wasm"]));
        assert!(said.contains("the source map http://localhost/x/y.map?v=1 is not available"), "{verb}: {said}");
    }
    std::fs::write(here.join("y.map"), map).unwrap();
    let listed = output(here, &["ls", "in.wasm"]);
    assert!(!stderr(&listed).contains("not available"), "{}", stderr(&listed));
    assert!(String::from_utf8(listed.stdout).unwrap().contains("program.c:"));
}

/// A function that returns to wait counts again when it goes on: the report says so.
#[test]
fn functions_that_return_to_wait_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let asyncify = r#"(func (export "asyncify_start_unwind")) (func (export "asyncify_start_rewind"))"#;
    for (more, said) in [(asyncify, true), ("(@custom \"go:buildid\" \"x\")", true), ("", false)] {
        write_wat(here, "in.wasm", &format!(r#"(module (func $_start (export "_start")) {more})"#));
        assert!(output(here, &["record", "-o", "t.wtrace", "in.wasm"]).status.success());
        let report = output(here, &["report", "t.wtrace"]);
        let report = String::from_utf8(report.stdout).unwrap();
        assert_eq!(report.contains("a function that waits counts again"), said, "{report}");
    }
}
