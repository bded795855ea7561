//! Theorem: README and docs do not lie. Each line of their ```` ```sh ```` blocks is run from the root of the repository and
//! has to succeed; in ```` ```console ```` blocks the lines after a `$ command` have to be what it prints. Links lead to files.
//!
//! - `# exit code N` behind a command, or on the line after it, says that it is to fail in that way.
//! - `wasmtrace` and `cargo run … --` are the binary under test; other `cargo` commands are left out.
//! - Durations and shares are not compared, nor is how columns are filled up; a line `…` stands for any number of lines.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex_lite::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One command with what is said of it.
#[derive(Debug, PartialEq)]
struct Step {
    /// The line of the document.
    line: usize,
    command: String,
    exit: i32,
    /// What it prints, if that is shown.
    shown: Option<Vec<String>>,
}

/// The commands in a document's blocks, in order.
fn steps(readme: &str) -> Vec<Step> {
    let exit = Regex::new(r"\s*# exit code (\d+)\s*$").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let add = |line: usize, text: &str, steps: &mut Vec<Step>, shown: Option<Vec<String>>| {
        let code = exit.captures(text).map(|c| c[1].parse().unwrap());
        let command = exit.replace(text, "").into_owned();
        match code {
            // A comment on a line of its own is about the command before.
            Some(code) if command.is_empty() => steps.last_mut().expect("a command stands before").exit = code,
            _ => steps.push(Step { line, command, exit: code.unwrap_or(0), shown }),
        }
    };
    let mut block = "";
    let mut lines = readme.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            block = if block.is_empty() { if info.is_empty() { "text" } else { info } } else { "" };
            continue;
        }
        let mut whole = line.to_owned();
        while matches!(block, "sh" | "console") && whole.ends_with('\\') {
            whole.pop();
            whole.push_str(lines.next().map_or("", |(_, l)| l));
        }
        let is_comment = whole.trim_start().starts_with('#') && !whole.trim_start().starts_with("# exit code");
        let is_command = !whole.trim().is_empty() && !is_comment;
        match (block, whole.strip_prefix("$ ")) {
            ("sh", _) if is_command => add(number + 1, &whole, &mut steps, None),
            ("console", Some(command)) => add(number + 1, command, &mut steps, Some(Vec::new())),
            ("console", None) => {
                let shown = steps.last_mut().and_then(|s| s.shown.as_mut()).expect("output stands behind a command");
                shown.push(whole);
            }
            _ => {}
        }
    }
    steps
}

/// The command with our binary in it; nothing if it is not to be run.
fn runnable(command: &str) -> Option<String> {
    let cargo_run = Regex::new(r"\bcargo run( --?[a-z-]+)* -- ").unwrap();
    let command = cargo_run.replace_all(command, "wasmtrace ").into_owned();
    let assignments = Regex::new(r#"^(\w+=("[^"]*"|'[^']*'|\S*)\s+)*"#).unwrap();
    (!assignments.replace(&command, "").starts_with("cargo ")).then_some(command)
}

/// What of a line is compared.
fn comparable(line: &str) -> String {
    let duration = Regex::new(r"\b\d+(\.\d+)? (ns|µs|ms|s)\b").unwrap();
    let share = Regex::new(r"\b\d+(\.\d+)? ?%").unwrap();
    let line = duration.replace_all(line, "TIME");
    let line = share.replace_all(&line, "SHARE");
    // What differs from run to run: which rows are estimates and which are on the hot path, and whether there are samples
    // enough to say more.
    let line = line.replace(['≈', '→'], "").replace(" (TIME without hooks)", "");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the lines shown stand for the lines printed.
fn matches(shown: &[String], printed: &[String]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "…" => {
            (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..]))
        }
        (Some((first, rest)), Some((line, others))) => first == line && matches(rest, others),
        _ => false,
    }
}

/// Lines to compare, without empty ones at the end.
fn lines<'t>(text: impl Iterator<Item = &'t str>) -> Vec<String> {
    let mut lines: Vec<String> = text.map(comparable).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Runs what is to be run; gives how many commands that were, or what is wrong with the first that is.
fn check(readme: &str) -> Result<usize, String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_wasmtrace")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    // Commands may write there, wherever cargo builds.
    std::fs::create_dir_all(Path::new(ROOT).join("target")).unwrap();
    let mut ran = 0;
    for step in steps(readme) {
        let Some(command) = runnable(&step.command) else { continue };
        // Both streams into one pipe, as on a terminal.
        let output = Command::new("sh")
            .args(["-c", &format!("exec 2>&1\n{command}")])
            .current_dir(ROOT)
            .env("PATH", &path)
            .env("NO_COLOR", "1")
            .env_remove("WASMTRACE_SELECT")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| e.to_string())?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let wrong = |what: String| Err(format!("line {}: `{}` {what}\n{printed}", step.line, step.command));
        if output.status.code() != Some(step.exit) {
            return wrong(format!("ends with {}, not with exit code {}", output.status, step.exit));
        }
        if let Some(shown) = &step.shown
            && !matches(&lines(shown.iter().map(String::as_str)), &lines(printed.lines()))
        {
            return wrong(format!("does not print\n{}\nbut", shown.join("\n")));
        }
        ran += 1;
    }
    Ok(ran)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(ROOT).join(file)).unwrap()
}

/// The documents that show commands.
const SHOWN: [&str; 7] = [
    "README.md",
    "docs/bacalhau.md",
    "docs/diff.md",
    "docs/json.md",
    "docs/pipelines.md",
    "docs/running.md",
    "docs/selecting.md",
];

#[test]
fn the_readme_is_true() {
    for file in SHOWN {
        match check(&read(file)) {
            Ok(ran) => assert!(ran > 0, "{file} shows no command"),
            Err(wrong) => panic!("{file}: {wrong}"),
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#\s]+)[^)]*\)").unwrap();
    let docs = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let documents: Vec<PathBuf> = docs.chain([Path::new(ROOT).join("README.md")]).collect();
    let mut missing = Vec::new();
    for document in &documents {
        let text = std::fs::read_to_string(document).unwrap();
        let targets = link.captures_iter(&text).filter(|c| !c[1].contains("://"));
        let places = targets.map(|c| document.parent().unwrap().join(&c[1]));
        missing.extend(places.filter(|place| !place.exists()));
    }
    assert!(documents.len() > 10 && missing.is_empty(), "{missing:?}");
}

/// The reader of READMEs, on one that is right and on others that are not.
mod the_reader {
    use super::*;

    const SAMPLE: &str = r#"
Text, and a block that is none of ours:

```rust
let not = "a command";
```

```sh
# a comment
cargo run --release -- run --sink none tests/cli/modules/app.wat
wasmtrace info tests/cli/modules/app.wat > /dev/null && \
    true
wasmtrace run --sink none --invoke exit tests/cli/modules/ends.wat 3   # exit code 3
false
# exit code 1
RUNNER="wasmtrace run" cargo test
```

```console
$ wasmtrace run --min-share 0 tests/cli/modules/app.wat
…
 total self total % calls function (→ hot path)
  1.0 s   2 µs   100.0%   1 → app::main
…
 7 ns 7 ns  3 % 2   core::id

app.wat: 4 calls of 3 functions in 12.3 ms, exit code 0
…
$ echo one; echo two >&2
one
two
```
"#;

    #[test]
    fn finds_commands_and_what_they_print() {
        let steps = steps(SAMPLE);
        let commands: Vec<(usize, &str, i32)> = steps.iter().map(|s| (s.line, s.command.as_str(), s.exit)).collect();
        assert_eq!(
            commands,
            [
                (10, "cargo run --release -- run --sink none tests/cli/modules/app.wat", 0),
                (11, "wasmtrace info tests/cli/modules/app.wat > /dev/null &&     true", 0),
                (13, "wasmtrace run --sink none --invoke exit tests/cli/modules/ends.wat 3", 3),
                (14, "false", 1),
                (16, "RUNNER=\"wasmtrace run\" cargo test", 0),
                (20, "wasmtrace run --min-share 0 tests/cli/modules/app.wat", 0),
                (29, "echo one; echo two >&2", 0),
            ]
        );
        assert_eq!(runnable(commands[0].1).unwrap(), "wasmtrace run --sink none tests/cli/modules/app.wat");
        assert_eq!(runnable(commands[4].1), None);
        assert_eq!(runnable("cargo install --locked --path ."), None);
        assert_eq!(check(SAMPLE), Ok(6));
    }

    #[test]
    fn finds_what_is_not_true() {
        for (right, wrong) in [
            ("# exit code 3", "# exit code 4"),
            ("# exit code 1", ""),
            ("app.wat: 4 calls", "app.wat: 5 calls"),
            ("100.0%   1 → app::main", "100.0%   1 → app::mian"),
            ("one\ntwo", "one"),
            ("one\ntwo", "two\none"),
            ("…\n 7 ns", " 7 ns"),
            ("--sink none tests", "--sink nosuch tests"),
        ] {
            assert!(SAMPLE.contains(right));
            check(&SAMPLE.replacen(right, wrong, 1)).expect_err(wrong);
        }
    }

    #[test]
    fn dots_stand_for_any_number_of_lines() {
        let text = |t: &str| t.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(matches(&text("a … d"), &text("a b c d")) && matches(&text("a … b"), &text("a b")));
        assert!(matches(&text("…"), &[]) && matches(&text("… b … d …"), &text("a b c d")));
        assert!(!matches(&text("a … d"), &text("a b c")) && !matches(&text("a"), &text("a b")));
    }
}
