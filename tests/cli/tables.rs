//! Theorem: tables fit the terminal. At every width from 60 columns on, a row is one line and no line is wider. In a window,
//! what matters is in its last lines. Estimates are marked as such.
//!
//! Widths are counted by `unicode-width` on whole lines here, and by characters in the product.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use unicode_width::UnicodeWidthStr;

use crate::cli::on_a_terminal;

const WASMTRACE: &str = env!("CARGO_BIN_EXE_wasmtrace");
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/real");

fn program(name: &str) -> PathBuf {
    Path::new(PROGRAMS).join(name)
}

/// What a command prints on standard output.
fn print(args: &[&str]) -> String {
    let output = Command::new(WASMTRACE)
        .args(args)
        .env("COLUMNS", "60") // is for terminals only
        .env_remove("WASMTRACE_SELECT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // A recording that is cut fails, after its table.
    assert!(!output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn record(module: &Path, to: &Path, options: &[&str]) -> String {
    record_with(module, to, options, &[])
}

fn record_with(module: &Path, to: &Path, options: &[&str], args: &[&str]) -> String {
    let to = to.to_str().unwrap().to_owned();
    let output = Command::new(WASMTRACE)
        .args(["record", "-q", "-o", &to])
        .args(options)
        .arg(module)
        .args(args)
        .env_remove("WASMTRACE_SELECT")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(Path::new(&to).exists(), "{module:?}: {}", String::from_utf8_lossy(&output.stderr));
    to
}

/// Sixty functions that call each other in a row, with long, wide and hostile names.
fn hostile() -> String {
    let name = |index: usize| match index % 5 {
        0 => format!("{}{index}", "函数".repeat(80)),
        1 => format!("app::f{index}<{}>::call(int, char*)", "std::map<a, b>, ".repeat(20)),
        2 => format!(r"\1b[31m\e2\80\ae{}{index}", "x".repeat(300)),
        3 => format!("{}e\u{301}❤\u{fe0f}{index}", "<>->".repeat(40)),
        _ => format!("f{index}"),
    };
    let functions: String = (0..60)
        .map(|index| {
            let call = if index < 59 { format!("(call {})", index + 1) } else { String::new() };
            format!("(func $\"{}\" {call})\n", name(index))
        })
        .collect();
    format!("(module (memory (export \"memory\") 1)\n{functions}(export \"_start\" (func 0)))")
}

/// Recordings of programs in several languages, of hostile names, of a deep trap, and of calls open at the end.
fn recordings(folder: &Path) -> Vec<String> {
    let mut go = Vec::new();
    let gz = std::fs::File::open(program("go_hello.wasm.gz")).unwrap();
    flate2::read::GzDecoder::new(gz).read_to_end(&mut go).unwrap();
    std::fs::write(folder.join("go_hello.wasm"), go).unwrap();
    std::fs::write(folder.join("hostile.wat"), hostile()).unwrap();
    let programs = ["cpp_classes.wasm", "rust_serde.wasm", "zig_demo.wasm", "c_lua.wasm"].map(program);
    let own = ["go_hello.wasm", "hostile.wat"].map(|name| folder.join(name));
    let modules = programs.into_iter().chain(own);
    let mut traces: Vec<String> = modules
        .map(|module| record(&module, &folder.join(module.with_extension("wtrace").file_name().unwrap()), &[]))
        .collect();
    let trap = record_with(&program("rust_panic.wasm"), &folder.join("trap.wtrace"), &[], &["panic"]);
    let cut = std::fs::read(&trap).unwrap();
    std::fs::write(folder.join("cut.wtrace"), &cut[..cut.len() - 60]).unwrap();
    traces.extend([trap, folder.join("cut.wtrace").to_str().unwrap().to_owned()]);
    traces
}

#[test]
fn no_line_is_wider_than_the_width_and_each_row_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    for trace in recordings(folder.path()) {
        for table in [&["--tree"][..], &["--flat"], &["--flat", "--sort", "calls"], &["--lines"]] {
            let print = |options: &[&str]| print(&[&["report", "--min-share", "0", &trace], table, options].concat());
            let rows = |text: &str| text.lines().filter(|line| line.contains('%') && !line.contains(" % ")).count();
            let whole = print(&[]);
            let all = rows(&whole);
            if table != ["--lines"] {
                assert!(all > 5 && whole.lines().any(|line| line.width() > 60), "{whole}");
            }
            for width in [60, 80, 120, 200] {
                let text = print(&["--width", &width.to_string()]);
                let wide = text.lines().find(|line| line.width() > width);
                assert_eq!(wide, None, "{trace} {table:?} at {width}");
                assert_eq!(rows(&text), all, "{trace} {table:?} at {width}: other rows\n{text}");
            }
            if table == ["--tree"] {
                let narrow = print(&["--width", "60"]);
                // What went wrong is said at any width.
                for remark in ["(trapped here)", "(open at the end)"] {
                    assert_eq!(narrow.matches(remark).count(), whole.matches(remark).count(), "{narrow}");
                }
                assert!(!trace.ends_with("trap.wtrace") || whole.contains("(trapped here)"), "{whole}");
                assert!(!trace.ends_with("cut.wtrace") || whole.contains("(open at the end)"), "{whole}");
                if trace.contains("zig") {
                    continue;
                }
                assert!(narrow.contains("…") && narrow.contains(" +1 "), "nothing was cut\n{narrow}");
            }
        }
    }
}

#[test]
fn full_names_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let trace = record(&program("cpp_classes.wasm"), &folder.path().join("a.wtrace"), &[]);
    let short = print(&["report", "--flat", "--min-share", "0", &trace]);
    let full = print(&["report", "--flat", "--min-share", "0", "--full-names", &trace]);
    assert!(short.contains("  geo::Square::~Square  ") && !short.contains("geo::Square::~Square()"), "{short}");
    assert!(full.contains("  geo::Square::~Square()  ") && !full.contains('…'), "{full}");
    assert!(short.contains("  libcxxabi/src/") && full.contains("  /build/") && !short.contains("  /build/"), "{full}");
}

/// The last lines of a window, without what makes colours.
fn last(shown: &str, lines: usize) -> String {
    let plain = regex_lite::Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(shown, "").into_owned();
    let from = plain.lines().count().saturating_sub(lines);
    plain.lines().skip(from).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_window_shows_what_matters_in_its_last_lines() {
    let folder = tempfile::tempdir().unwrap();
    let trace = record(&program("c_lua.wasm"), &folder.path().join("lua.wtrace"), &[]);
    let report = |size: &str, options: &str| on_a_terminal(&format!("stty {size}; wasmtrace report {options} {trace}"));
    let Some((shown, 0)) = report("cols 60 rows 24", "") else {
        eprintln!("skipped: there is no `script` to make a terminal with");
        return;
    };
    let window = last(&shown, 23);
    assert!(window.contains("top by self time") && window.contains("c_lua.wasm: "), "{window}");
    let lines = |shown: &str| shown.lines().count();
    // The whole output fits into a window of usual height.
    let (shown, _) = report("cols 100 rows 45", "").unwrap();
    assert!((35..45).contains(&lines(&shown)) && shown.contains("not shown: "), "{shown}");
    assert!(shown.contains("\x1b[33m→"), "the hot path has a colour: {shown:?}");
    assert!(last(&shown, 100).lines().all(|line| line.width() <= 100), "{shown}");
    let (shown, _) = report("cols 100 rows 30", "--flat").unwrap();
    assert!((20..30).contains(&lines(&shown)) && shown.contains("not shown: "), "{shown}");
    // What is asked for is shown whole.
    let (shown, _) = report("cols 100 rows 30", "--min-share 0").unwrap();
    assert!(lines(&shown) > 1_000 && !shown.contains("not shown: "), "{}", lines(&shown));
    // Variables take precedence over the terminal's own size.
    let (shown, _) = on_a_terminal(&format!("stty cols 150 rows 24; COLUMNS=70 wasmtrace report {trace}")).unwrap();
    let widest = last(&shown, 100).lines().map(UnicodeWidthStr::width).max().unwrap();
    assert!((60..=70).contains(&widest), "{widest}: {shown}");
}

/// The numbers of the rows of a function in a table.
fn numbers<'t>(text: &'t str, function: &str) -> Vec<&'t str> {
    let named = text.lines().filter(|line| line.contains(&format!(" {function} ")));
    let numbers: Vec<&str> = named.map(|line| line.split(function).next().unwrap()).collect();
    assert!(!numbers.is_empty(), "{function}: {text}");
    numbers
}

#[test]
fn estimates_look_like_estimates() {
    let folder = tempfile::tempdir().unwrap();
    let trace = record(&program("zig_demo.wasm"), &folder.path().join("a.wtrace"), &["--no-sample"]);
    let read = record(&program("zig_demo.wasm"), &folder.path().join("b.wtrace"), &["--hooks", "observe"]);
    for table in ["--tree", "--flat"] {
        let text = print(&["report", "--min-share", "0", table, &trace]);
        let fib = numbers(&text, "zig_demo.fib");
        assert!(fib.iter().all(|row| row.matches('≈').count() == 2), "{text}");
        assert_eq!(fib.len(), if table == "--tree" { 2 } else { 1 }, "in the tree and in the list below it");
        // Only the time in the host is measured.
        let measured = numbers(&text, "zig_demo.line").into_iter().filter(|row| !row.contains('≈'));
        assert!(measured.count() <= 2 && text.contains("times: estimates, without samples (--no-sample)"), "{text}");
        let text = print(&["report", "--min-share", "0", table, &read]);
        assert!(!text.contains('≈') && text.contains("resolution about 100 ns"), "{text}");
    }
}

#[test]
fn a_summary_of_any_module_fits_a_window() {
    let mut count = 0;
    for entry in std::fs::read_dir(PROGRAMS).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let (short, long) =
                (print(&["info", path.to_str().unwrap()]), print(&["info", "-v", path.to_str().unwrap()]));
            assert!(short.lines().count() < 24 && !short.contains("\nsection    "), "{short}");
            assert!(long.contains("\nsection    ") && long.lines().count() > short.lines().count(), "{long}");
            count += 1;
        }
    }
    assert!(count > 20);
}
