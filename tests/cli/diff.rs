//! Theorem: `diff` says what changed between two builds and nothing about what did not; `--fail-on` ends with 1 for a breach,
//! with 2 if that cannot be decided, and otherwise with 0. `record --repeat` makes recordings that differ in nothing but time.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use wasmtrace::export::Recording;

use crate::written::Written;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/modules");

fn wasmtrace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasmtrace"));
    command
        .current_dir(folder)
        .args(args)
        .stdin(Stdio::null())
        .env_remove("WASMTRACE_SELECT")
        .env_remove("TRACEPARENT");
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    wasmtrace(folder, args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Runs a command that ends with an exit code; gives what it printed and what it said.
fn ends(folder: &Path, code: i32, args: &[&str]) -> (String, String) {
    let output = output(folder, args);
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{printed}{said}");
    (printed, said)
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const MS: u64 = 1_000_000;

/// Two recordings of one program: `before.wtrace` and `after.wtrace`.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let before: &[(&str, u64)] = &[
        ("app::main/app::parse", 40 * MS),
        ("app::main/app::parse", 20 * MS),
        ("app::main/core::fmt", 100 * MS),
        ("app::main/app::old", 30 * MS),
        ("app::main/tiny", 1_000),
    ];
    let after: &[(&str, u64)] = &[
        ("app::main/app::parse", 40 * MS),
        ("app::main/app::parse", 140 * MS),
        ("app::main/app::parse", 120 * MS),
        ("app::main/core::fmt", 104 * MS),
        ("app::main/«load»/app::new", 50 * MS),
        ("app::main/tiny", 1_000),
    ];
    Written::of(before).write(&folder.path().join("before.wtrace"));
    Written { hash: Some([8; 32]), ..Written::of(after) }.write(&folder.path().join("after.wtrace"));
    folder
}

#[test]
fn the_table_shows_what_changed_first() {
    let folder = written();
    let (table, said) = ends(folder.path(), 0, &["diff", "before.wtrace", "after.wtrace"]);
    let expected = "
before:  app.wasm: 190 ms, 10 calls
after:   app.wasm: 454 ms, 12 calls
change:  duration +264 ms (+138.9 %), time in functions +264 ms (+138.9 %), calls +2 (+20.0 %)

     self     after    change               calls      after      function
  60.0 ms    300 ms   +240 ms +400.0 %          2          3      app::parse
        -   50.0 ms  +50.0 ms                   -          1 new  app::new
  30.0 ms         -  -30.0 ms                   1          - gone app::old
     0 ns      0 ns                             5          6      app::main
        -      0 ns                             -          1 new  «load»
   100 ms    104 ms  +4.00 ms   +4.0 %          1          1 ~    core::fmt
not shown: 1 functions that differ by less than 0.5 % of the run each (--min-share 0 shows them)
~: within the spread, or below 50 % of the row or 1 % of the run, or within the error of sampling
few recordings do not show how much the machine varies: `record --repeat 5` judges times better
";
    assert_eq!(table, expected);
    assert_eq!(said, "");
}

#[test]
fn the_tree_shows_paths_with_their_callers() {
    let folder = written();
    let (table, _) = ends(folder.path(), 0, &["diff", "--tree", "before.wtrace", "after.wtrace"]);
    const NAME: usize = 66;
    let names: Vec<&str> = table.lines().filter_map(|line| line.get(NAME..)).map(str::trim_end).collect();
    let expected = ["app::main", "  app::parse", "  «load»", "    app::new", "  app::old", "  core::fmt"];
    assert_eq!(&names[names.iter().position(|name| *name == "app::main").unwrap()..][..6], expected, "{table}");
}

/// A caller whose own time is the same is shown above what changed below it.
#[test]
fn callers_of_a_difference_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    for (file, x, y) in [("before.wtrace", 100 * MS, 10 * MS), ("after.wtrace", 10 * MS, 100 * MS)] {
        Written::of(&[("main/a/x", x), ("main/a/y", y), ("main/b", MS)]).write(&folder.path().join(file));
    }
    let (table, _) = ends(folder.path(), 0, &["diff", "--tree", "before.wtrace", "after.wtrace"]);
    let names = table.lines().skip(6).take(4).map(|line| line.split(' ').next_back().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["main", "a", "x", "y"], "{table}");
    assert!(table.contains("not shown: 1 call paths"), "{table}");
}

/// No line is wider than the terminal, and in a narrow one the calls are left out.
#[test]
fn a_row_is_one_line_at_any_width() {
    let folder = written();
    for width in [60, 80, 85, 86, 120] {
        for tree in [&[][..], &["--tree"]] {
            let width_arg = width.to_string();
            let args =
                [&["diff", "--min-share", "0", "--width", &width_arg, "before.wtrace", "after.wtrace"], tree].concat();
            let (table, _) = ends(folder.path(), 0, &args);
            let wide: Vec<&str> = table.lines().filter(|line| line.chars().count() > width).collect();
            assert_eq!(wide, [""; 0], "{width}");
            assert_eq!(table.contains(" calls      after "), width >= 86, "{table}");
            assert_eq!(table.lines().filter(|line| line.ends_with("core::fmt")).count(), 1, "{table}");
        }
    }
}

/// On a terminal, the table fits the window, and each path is shown with its callers.
#[test]
fn the_largest_differences_fit_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("main/outer{number}/inner{number}")).collect();
    let side = |file: &str, factor: u64| {
        let calls: Vec<(&str, u64)> =
            (1..).zip(&names).map(|(number, name)| (name.as_str(), (number * factor + 1) * MS)).collect();
        Written::of(&calls).write(&folder.path().join(file));
    };
    side("before.wtrace", 1);
    side("after.wtrace", 9);
    for tree in ["", "--tree "] {
        let line = format!("{} diff {tree}before.wtrace after.wtrace", env!("CARGO_BIN_EXE_wasmtrace"));
        let mut command = Command::new("script");
        command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("COLUMNS", "100").env("LINES", "24");
        let Ok(output) = command.current_dir(folder.path()).stdin(Stdio::null()).output() else {
            return eprintln!("skipped: there is no `script` to make a terminal with");
        };
        let table = text(&output.stdout);
        assert!(table.lines().count() < 24 && table.contains("inner39") && !table.contains("inner0\r"), "{table}");
        assert!(table.contains("with smaller differences") && table.contains("\x1b[31m"), "{table}");
        assert_eq!(table.contains("main"), !tree.is_empty(), "{table}");
    }
}

#[test]
fn each_breach_is_named_and_ends_with_1() {
    let folder = written();
    let files = ["before.wtrace", "after.wtrace"];
    for (expression, breach) in [
        ("calls>+5%", "the number of calls rose by 2 (+20.0 %), from 10 to 12"),
        ("calls>11", "the number of calls is 12 after the change, more than 11"),
        ("calls:app::parse>+0", "the number of calls rose by 1 (+50.0 %), from 2 to 3"),
        ("self:app::**>+20%", "the self time rose by 260 ms (+288.9 %), from 90.0 ms to 350 ms"),
        ("self:crate:app>349ms", "the self time is 350 ms after the change, more than 349 ms"),
        ("total:app::main>+80ms", "the total time rose by 264 ms (+138.9 %), from 190 ms to 454 ms"),
        ("total:file:src/app.rs>+80ms", "the total time rose by 264 ms (+138.9 %), from 190 ms to 454 ms"),
        ("duration>+40%", "the duration rose by 264 ms (+138.9 %), from 190 ms to 454 ms"),
        ("calls:app::old<1", "the number of calls is 0 after the change, less than 1"),
        ("calls:app::new>+1000%", "the number of calls rose by 1 (new), from 0 to 1"),
    ] {
        let (_, said) = ends(folder.path(), 1, &["-q", "diff", "--fail-on", expression, files[0], files[1]]);
        assert_eq!(said, format!("wasmtrace: --fail-on {expression}: {breach}\n"));
    }
    for expression in
        ["calls>+20%", "calls>12", "calls:app::parse>+1", "self:app::**>+290%", "duration>+140%", "calls<10"]
    {
        let (_, said) = ends(folder.path(), 0, &["diff", "--fail-on", expression, files[0], files[1]]);
        assert_eq!(said, "", "{expression}");
    }
    // Each breach has its line, and one is enough.
    let both = ["diff", "--fail-on", "calls>+1", "--fail-on", "calls>+9", "--fail-on", "calls>1", files[0], files[1]];
    assert_eq!(ends(folder.path(), 1, &both).1.lines().count(), 2);
    let (table, said) = ends(folder.path(), 0, &["diff", "--fail-on", "self:core::fmt>+2%", files[0], files[1]]);
    assert!(
        said.contains("not breached, because noise explains the difference") && table.contains("core::fmt"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_decided_ends_with_2() {
    let folder = written();
    let here = folder.path();
    let files = ["before.wtrace", "after.wtrace"];
    for (args, part) in [
        (&["--fail-on", "calls:nosuch>5"][..], "the rule matches no function of any recording"),
        (&["--fail-on", "call>5"], "`call` is not a metric"),
        (&["--fail-on", "self>5"], "`5` has no unit"),
        (&["--fail-on", "self:@tiny>5ms"], "needs the module"),
        (&["nosuch.wtrace"], "more than two recordings"),
    ] {
        let (_, said) = ends(here, 2, &[&["diff"], args, &files].concat());
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let (_, said) = ends(here, 2, &["diff", "before.wtrace", "nosuch.wtrace"]);
    assert_eq!(said, "wasmtrace: error: nosuch.wtrace: No such file or directory (os error 2)\n");
    assert!(ends(here, 2, &["diff", "before.wtrace"]).1.contains("only one recording"));

    // What is there of a recording is compared, and nothing is concluded from what is missing.
    let whole = std::fs::read(here.join("after.wtrace")).unwrap();
    std::fs::write(here.join("cut.wtrace"), &whole[..whole.len() - 9]).unwrap();
    std::fs::write(here.join("damaged.wtrace"), [&whole[..whole.len() - 1], b"z"].concat()).unwrap();
    for (file, part) in [("cut.wtrace", "is incomplete"), ("damaged.wtrace", "is damaged")] {
        let (table, said) = ends(here, 0, &["diff", "before.wtrace", file]);
        assert!(table.contains("app::parse") && said.contains("warning") && said.contains(part), "{said}");
        let (_, said) = ends(here, 2, &["diff", "--fail-on", "calls>100", "before.wtrace", file]);
        assert!(said.contains("--fail-on cannot be decided"), "{said}");
        ends(here, 1, &["diff", "--fail-on", "calls>11", "before.wtrace", file]);
    }
    std::fs::write(here.join("bad.wtrace"), "no recording").unwrap();
    ends(here, 2, &["diff", "before.wtrace", "bad.wtrace"]);
}

#[test]
fn several_recordings_of_a_side_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let one = |name: &str, began, nanos| {
        Written { began, ..Written::of(&[("main/f", nanos), ("main/g", 100 * MS)]) }.write(&here.join(name));
    };
    for (number, nanos) in [(1, 100 * MS), (2, 90 * MS), (3, 110 * MS)] {
        one(&format!("before.{number}.wtrace"), number, nanos);
        one(&format!("after.{number}.wtrace"), number, nanos + 210 * MS);
    }
    // Left by an earlier command.
    one("after.4.wtrace", 2, 900 * MS);
    let (table, said) = ends(here, 0, &["diff", "before.wtrace", "after.wtrace"]);
    assert!(said.contains("after.4.wtrace is not read: it is older"), "{said}");
    assert!(table.contains("3 recordings, 200 ms (190 ms to 210 ms), 4 calls"), "{table}");
    assert!(table.contains("   100 ms    310 ms   +210 ms +210.0 %          1          1      f\n"), "{table}");
    let names = |side: &str| [1, 2, 3].map(|number| format!("{side}.{number}.wtrace"));
    let (before, after) = (names("before"), names("after"));
    let listed: Vec<&str> =
        before.iter().map(String::as_str).chain(["--to"]).chain(after.iter().map(String::as_str)).collect();
    assert_eq!(ends(here, 0, &[&["diff"], &listed[..]].concat()).0, table);
    // A value of the one side in the range of the other.
    let mixed = ["diff", "--json", "before.1.wtrace", "after.1.wtrace", "--to", "after.2.wtrace", "after.3.wtrace"];
    let json: Value = serde_json::from_str(&ends(here, 0, &mixed).0).unwrap();
    assert_eq!(
        (json["duration_nanos"]["difference"].as_i64(), &json["duration_nanos"]["significant"]),
        (Some(105 * MS as i64), &false.into())
    );
}

#[test]
fn recordings_that_were_made_in_another_way_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let calls = [("main/f", 100 * MS)];
    let recording =
        Recording { clock: "coarse".to_owned(), min_duration: MS, max_depth: Some(3), ..Recording::default() };
    Written::of(&calls).write(&here.join("a.wtrace"));
    Written { recording, ..Written::of(&calls) }.write(&here.join("b.wtrace"));
    Written::of(&[("main", 1)]).write(&here.join("c.wtrace"));
    let (_, said) = ends(here, 0, &["diff", "a.wtrace", "b.wtrace"]);
    let expected = "clock: hook and coarse; minimum duration: none and 1.00 ms; maximum depth: none and 3";
    assert_eq!(said, format!("wasmtrace: warning: a.wtrace and b.wtrace are hard to compare: {expected}\n"));
    let (_, said) = ends(here, 0, &["diff", "a.wtrace", "c.wtrace"]);
    assert!(said.contains("selection of the same module: 2 and 1 functions"), "{said}");
    Written { hash: None, ..Written::of(&calls) }.write(&here.join("d.wtrace"));
    let (_, said) = ends(here, 0, &["diff", "a.wtrace", "d.wtrace", "--to", "a.wtrace"]);
    assert!(said.contains("a.wtrace and d.wtrace are on one side, but of different modules"), "{said}");
}

/// Two optimisation levels of one program, and two builds of one component.
#[test]
fn two_builds_of_one_program_are_compared_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (before, after, options, args, same) in [
        ("dwarf/v5_O0.wasm", "dwarf/v5_O2.wasm", &["--invoke", "run"][..], &["5"][..], false),
        ("components/rust_p2.wasm", "components/rust_p2_small.wasm", &[], &["pear", "apple"], true),
    ] {
        for (name, module) in [("before", before), ("after", after)] {
            let module = format!("{CORPUS}/{module}");
            let file = format!("{name}.wtrace");
            let output = output(here, &[&["record", "-q", "-o", &file], options, &[&module], args].concat());
            assert!(file_exists(here, &file), "{}", text(&output.stderr));
        }
        let code = |expression: &str| {
            output(here, &["diff", "--fail-on", expression, "before.wtrace", "after.wtrace"]).status.code()
        };
        // With optimisation, functions are inlined and called no more.
        assert_eq!([code("calls<-0"), code("calls>+0")], [Some(i32::from(!same)), Some(0)]);
        let json = ends(here, 0, &["diff", "--json", "before.wtrace", "after.wtrace"]).0;
        let json: Value = serde_json::from_str(&json).unwrap();
        let gone = json["functions"].as_array().unwrap().iter().filter(|row| row["presence"] != "both").count();
        assert_eq!(gone == 0, same, "{json}");
    }
}

fn file_exists(folder: &Path, name: &str) -> bool {
    folder.join(name).exists()
}

/// A program whose calls depend on its input and arguments.
#[test]
fn every_repetition_has_the_same_input_and_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let module = format!("{CORPUS}/real/rust_lines.wasm");
    let mut child = wasmtrace(here, &["record", "--no-cache", "--repeat", "3", "-o", "lines.wtrace", &module])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"one two two\nthree\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(
        said.lines().next(),
        Some("wasmtrace: 3 runs: the output of the first is shown, that of the others is discarded")
    );
    assert_eq!(said.lines().count(), 4, "{said}");
    assert_eq!(names_in(here), ["lines.1.wtrace", "lines.2.wtrace", "lines.3.wtrace"]);
    // Shown once, and it is that of the input.
    let shown = text(&output.stdout);
    let mut alone = wasmtrace(here, &["run", "--sink", "none", &module]);
    let mut alone = alone.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    alone.stdin.take().unwrap().write_all(b"one two two\nthree\n").unwrap();
    assert_eq!(shown, text(&alone.wait_with_output().unwrap().stdout));
    let json = ends(here, 0, &["diff", "--json", "lines.1.wtrace", "lines.2.wtrace", "--to", "lines.3.wtrace"]).0;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["calls"]["difference"], 0);
    let began: Vec<u64> =
        json["before"].as_array().unwrap().iter().map(|one| one["began_unix_nanos"].as_u64().unwrap()).collect();
    assert!(began[0] < began[1], "{began:?}");
    assert!(json["calls"]["before"]["min"].as_u64() > Some(100), "{json}");
}

#[test]
fn the_exit_code_is_that_of_the_last_run_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::copy(format!("{MODULES}/ends.wat"), here.join("ends.wat")).unwrap();
    ends(here, 7, &["record", "-q", "--repeat", "2", "--invoke", "exit", "ends.wat", "7"]);
    assert!(file_exists(here, "ends.1.wtrace") && file_exists(here, "ends.2.wtrace"));
    let (printed, _) = ends(here, 0, &["record", "-q", "--repeat", "2", "--invoke", "divide", "ends.wat", "6", "2"]);
    assert_eq!(printed, "3\n", "results are printed once");
    ends(here, 2, &["record", "--repeat", "0", "ends.wat"]);
    // Each is a run of its own in a trace.
    let spans = |name: &str| ends(here, 0, &["convert", name, "-f", "otlp-json"]).0;
    assert_ne!(spans("ends.1.wtrace"), spans("ends.2.wtrace"));
}

#[test]
fn a_signal_ends_all_repetitions() {
    let folder = tempfile::tempdir().unwrap();
    let module = format!("{MODULES}/endless.wat");
    let mut child =
        wasmtrace(folder.path(), &["record", "--repeat", "3", "-o", "e.wtrace", "--invoke", "calls", &module])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut line = String::new();
    let mut guest = BufReader::new(child.stdout.take().unwrap());
    guest.read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said}");
    assert!(said.contains("interrupted: 1 of 3 runs were recorded"), "{said}");
    assert_eq!(names_in(folder.path()), ["e.1.wtrace"]);
}

/// Recordings of one program differ by noise only. Counts the comparisons that say otherwise: of all pairs of neighbours among
/// 40 single recordings, and of all neighbours among sides of five.
///
/// `cargo test --release --test cli noise -- --ignored --nocapture` takes some minutes and prints the figures.
#[test]
#[ignore = "takes minutes, and measures the machine"]
fn noise_does_not_fire() {
    for program in ["c_lua", "rust_serde"] {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path();
        let module = format!("{CORPUS}/real/{program}.wasm");
        ends(here, 0, &["record", "-q", "--repeat", "40", "-o", "a.wtrace", &module]);
        for size in [1, 5] {
            let sides: Vec<Vec<String>> = (1..=40)
                .map(|number| format!("a.{number}.wtrace"))
                .collect::<Vec<_>>()
                .chunks(size)
                .map(<[String]>::to_vec)
                .collect();
            let (mut alarms, mut comparisons, mut rows, mut significant) = (0, 0, 0, 0);
            for pair in sides.windows(2) {
                let files = pair[0].iter().chain([&"--to".to_owned()]).chain(&pair[1]).cloned().collect::<Vec<_>>();
                let files: Vec<&str> = files.iter().map(String::as_str).collect();
                let output = output(here, &[&["-q", "diff", "--json", "--fail-on", "self>+5%"], &files[..]].concat());
                comparisons += 1;
                alarms += u64::from(output.status.code() != Some(0));
                let json: Value = serde_json::from_slice(&output.stdout).unwrap();
                for row in json["functions"].as_array().unwrap() {
                    assert_eq!(row["calls"]["difference"], 0, "{row}");
                    rows += 1;
                    significant += u64::from(row["self_nanos"]["significant"] == true);
                }
            }
            println!(
                "{program}, {size} a side: {alarms} of {comparisons} comparisons fire, {significant} of {rows} rows are significant"
            );
            // One recording does not show how much the machine varies.
            let most = if size == 1 { 25 } else { 3 };
            assert!(alarms * 100 <= comparisons * most && significant * 100 <= rows, "{program}, {size} a side");
        }
    }
}
