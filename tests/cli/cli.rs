//! Theorem: the command line does what its help says. Exit codes, output and refusals are as written down in
//! `tests/cli/*.trycmd`: commands, each with what it prints. What cannot be written down there stands here: pipes that
//! break, terminals, signals, what is left on the disk, and that no control character of a module comes through.
//!
//! `BLESS=1 cargo test --test cli cli::` writes down what is printed now; read the difference before you keep it.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const WASMTRACE: &str = env!("CARGO_BIN_EXE_wasmtrace");
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/modules");
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/real");

/// The folder of our binary in front of the search path, so that `sh -c '… | wasmtrace …'` finds it.
fn search_path() -> String {
    let folder = Path::new(WASMTRACE).parent().unwrap().display();
    format!("{folder}:{}", std::env::var("PATH").unwrap_or_default())
}

#[test]
fn commands_print_what_is_written_down() {
    testing::golden::tell_the_libraries();
    trycmd::TestCases::new()
        .register_bin("wasmtrace", Path::new(WASMTRACE))
        .register_bin("sh", Path::new("/bin/sh"))
        .register_bin("test", Path::new("/usr/bin/test"))
        .env("PATH", search_path())
        .env("CORPUS", PROGRAMS)
        // Help is wrapped to this width.
        .env("COLUMNS", "100")
        .insert_var("[CORPUS]", PROGRAMS)
        .unwrap()
        .case("tests/cli/*.trycmd");
}

/// A command that runs in `folder`, where what is in `tests/cli/modules` is not.
fn wasmtrace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(WASMTRACE);
    command.current_dir(folder).args(args).env_remove("WASMTRACE_SELECT").stdin(Stdio::null());
    command
}

fn module(name: &str) -> String {
    format!("{MODULES}/{name}")
}

fn program(name: &str) -> String {
    format!("{PROGRAMS}/{name}")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn assert_works(output: &Output) {
    assert!(output.status.success(), "{:?}: {}", output.status, text(&output.stderr));
}

/// Whoever closes our output has seen enough: that is no error, and nothing is said of it.
#[test]
fn a_broken_pipe_ends_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let large = program("c_lua.wasm");
    for args in [
        &["ls", &large][..],
        &["ls", "--json", &large],
        &["info", "--json", &large],
        &["info", &large],
        &["-q", "instrument", &large],
        &["-q", "instrument", "-t", &large],
        &["man"],
        &["completions", "bash"],
        &["verify", &large, &large],
    ] {
        let mut child = wasmtrace(folder.path(), args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{args:?}");
    }
}

/// What can be read once only is asked for by another way, and not waited for.
#[test]
fn a_pipe_by_name_is_no_file_to_push() {
    let folder = tempfile::tempdir().unwrap();
    assert_works(&Command::new("mkfifo").arg(folder.path().join("fifo")).output().unwrap());
    let output =
        wasmtrace(folder.path(), &["push", "fifo", "--sink", "otlp:http://no-such-host.invalid"]).output().unwrap();
    let said = "wasmtrace: error: fifo is not a regular file and cannot be read twice: pipe it to `wasmtrace push -`\n";
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), said));
}

/// Runs a command line on a terminal of its own; gives what the terminal showed, and the exit code.
pub(crate) fn on_a_terminal(line: &str) -> Option<(String, i32)> {
    let output = Command::new("script")
        .args(["-qec", line, "/dev/null"])
        .env("PATH", search_path())
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .current_dir(MODULES)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    Some((text(&output.stdout).replace('\r', ""), output.status.code().unwrap()))
}

#[test]
fn a_terminal_gets_no_binary_and_is_not_waited_for() {
    let Some((shown, code)) = on_a_terminal("wasmtrace instrument app.wat") else {
        eprintln!("skipped: there is no `script` to make a terminal with");
        return;
    };
    assert_eq!(code, 1);
    assert!(shown.contains("refusing to write binary data to a terminal") && !shown.contains("\0asm"), "{shown}");
    assert!(shown.contains("\x1b["), "an error is coloured on a terminal: {shown:?}");

    let (shown, code) = on_a_terminal("wasmtrace instrument -t app.wat").unwrap();
    assert!(code == 0 && shown.starts_with("(module"), "{shown}");
    let (shown, code) = on_a_terminal("NO_COLOR=1 wasmtrace strip app.wat").unwrap();
    assert!(code == 1 && !shown.contains('\x1b'), "{shown:?}");
    for command in ["instrument", "ls", "info", "strip"] {
        // `script` gives the command a terminal to read from; nobody types anything.
        let (shown, code) = on_a_terminal(&format!("wasmtrace {command}")).unwrap();
        assert!(code == 1 && shown.contains("no input"), "{command}: {shown}");
    }
}

#[test]
fn colours_go_to_terminals_only_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let plain = wasmtrace(folder.path(), &["run", &module("app.wat")]).output().unwrap();
    let error = wasmtrace(folder.path(), &["info", "nosuch"]).output().unwrap();
    assert!(!plain.stderr.contains(&0x1b) && !error.stderr.contains(&0x1b));
    let plain = wasmtrace(folder.path(), &["run", "--color", "always", &module("app.wat")]).output().unwrap();
    let error = wasmtrace(folder.path(), &["info", "nosuch", "--color", "always"]).output().unwrap();
    assert!(plain.stderr.contains(&0x1b) && error.stderr.contains(&0x1b));
    let never = on_a_terminal("wasmtrace --color never run app.wat");
    assert!(never.is_none_or(|(shown, _)| shown.contains("app::main") && !shown.contains('\x1b')));
}

/// What is in a folder, by name.
fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// An output appears whole or not at all: what stood there before stays until then, and nothing else is left behind.
#[test]
fn a_failure_leaves_the_old_output_alone() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("out.wasm"), "what was there before").unwrap();
    std::fs::set_permissions(here.join("out.wasm"), PermissionsExt::from_mode(0o640)).unwrap();
    for bad in ["broken.wat", "nosuch.wat", "hooked_by_others.wat"] {
        let output = wasmtrace(here, &["instrument", &module(bad), "-o", "out.wasm"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(text(&output.stderr).lines().count(), 1);
    }
    assert_eq!(std::fs::read(here.join("out.wasm")).unwrap(), b"what was there before");
    assert_eq!(names_in(here), ["out.wasm"]);

    // The new output takes the place of the old one, with its permissions; a new file is for everybody to read.
    assert_works(&wasmtrace(here, &["instrument", &module("app.wat"), "-o", "out.wasm"]).output().unwrap());
    assert_works(&wasmtrace(here, &["instrument", &module("app.wat"), "-o", "new.wasm"]).output().unwrap());
    let mode = |name: &str| here.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out.wasm"), mode("new.wasm") & 0o444), (0o640, 0o444));
    assert_eq!(std::fs::read(here.join("out.wasm")).unwrap(), std::fs::read(here.join("new.wasm")).unwrap());
    assert_eq!(names_in(here), ["new.wasm", "out.wasm"]);
}

#[test]
fn a_module_can_be_hooked_in_its_own_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let original = wat::parse_file(module("app.wat")).unwrap();
    std::fs::write(here.join("app.wasm"), &original).unwrap();
    assert_works(&wasmtrace(here, &["instrument", "app.wasm", "-o", "app.wasm"]).output().unwrap());
    assert_ne!(std::fs::read(here.join("app.wasm")).unwrap(), original);
    assert_works(&wasmtrace(here, &["strip", "app.wasm", "-o", "app.wasm"]).output().unwrap());
    assert_eq!(std::fs::read(here.join("app.wasm")).unwrap(), original);
}

#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    std::fs::write(here.join("target"), "").unwrap();
    std::os::unix::fs::symlink("target", here.join("link")).unwrap();
    assert_works(&wasmtrace(here, &["instrument", &module("app.wat"), "-o", "link"]).output().unwrap());
    assert!(here.join("link").symlink_metadata().unwrap().is_symlink());
    assert!(std::fs::read(here.join("target")).unwrap().starts_with(b"\0asm"));
}

/// A guest that never ends, once it says that it runs, and the rest of what it says.
fn endless(folder: &Path, args: &[&str]) -> (Child, impl Sized) {
    let mut command = wasmtrace(folder, args);
    command.arg(module("endless.wat")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut guest = BufReader::new(child.stdout.take().unwrap());
    guest.read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    (child, guest)
}

/// A signal ends the guest at its next event, or after a second, and what was recorded is shown.
#[test]
fn signals_end_the_guest_and_the_trace_is_still_shown() {
    for (signal, function, code) in [("INT", "calls", 130), ("TERM", "calls", 143), ("INT", "spins", 130)] {
        let folder = tempfile::tempdir().unwrap();
        let args = ["run", "--min-share", "0", "--sink", "tree", "--sink", "chrome:trace.json", "--invoke", function];
        let (mut child, _guest) = endless(folder.path(), &args);
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let mut shown = String::new();
        child.stderr.take().unwrap().read_to_string(&mut shown).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{shown}");
        assert!(shown.contains("ended by signal"), "{shown}");
        // Nothing is missing, even of a guest that enters nothing more and is left running.
        let stops = function == "calls";
        assert!(shown.contains(&format!(" {function}  (open at the end)")), "{shown}");
        assert_eq!(shown.contains("  say"), stops, "{shown}");
        assert_eq!(shown.contains("it is abandoned"), !stops, "{shown}");
        let trace = std::fs::read(folder.path().join("trace.json")).unwrap();
        serde_json::from_slice::<serde_json::Value>(&trace).expect("the trace is whole");
    }
}

/// Asked twice, a guest that does not stop is not waited for, and its recording is whole all the same.
#[test]
fn a_second_signal_is_not_made_to_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _guest) = endless(folder.path(), &["record", "-o", "app.wtrace", "--invoke", "spins"]);
    for _ in 0..2 {
        Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
        // Two that come together are one.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let mut shown = String::new();
    child.stderr.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{shown}");
    let report = wasmtrace(folder.path(), &["report", "--min-share", "0", "app.wtrace"]).output().unwrap();
    let report = String::from_utf8(report.stdout).unwrap();
    assert!(report.contains("ended by signal 2") && report.contains(" spins  (open at the end)"), "{report}");
}

/// A module is foreign data. Whatever its names are, nothing in our output moves a cursor, changes a colour or turns text
/// around; a file's name is no better.
#[test]
fn control_characters_of_a_module_never_come_through() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let shape =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/shapes/names_with_control_characters.wat")).unwrap();
    std::fs::write(here.join("shape.wat"), shape).unwrap();
    let hostile = std::fs::read(module("hostile.wat")).unwrap();
    std::fs::write(here.join("hostile.wat"), &hostile).unwrap();
    let escape = "\x1b]0;title\x07\u{202e}.wat";
    std::fs::write(here.join(escape), &hostile).unwrap();
    std::fs::write(here.join("\x1b[31mbroken.wat"), "(module").unwrap();
    std::fs::copy(module("missing_import.wat"), here.join("missing.wat")).unwrap();
    // A selection rule may have been copied from a module.
    std::fs::write(here.join("rules"), "-\x1b[31mnosuch\n").unwrap();
    std::fs::write(here.join("bad_rules"), "-\x1b[31mkind:x\nb\x07d:x\n").unwrap();

    for args in [
        &["info", "-v", "hostile.wat"][..],
        &["info", "--json", "hostile.wat"],
        &["info", "-v", escape],
        &["info", "--json", escape],
        &["ls", "hostile.wat"],
        &["ls", "--json", "hostile.wat"],
        &["ls", "--json", "shape.wat"],
        &["ls", "shape.wat"],
        &["ls", "--select-file", "rules", "shape.wat"],
        &["ls", "--select-file", "bad_rules", "shape.wat"],
        &["ls", "--select=-\x1b[31m**", "shape.wat"],
        &["ls", "\x1b[31mnosuch"],
        &["instrument", "-v", "--verify", "hostile.wat", "-o", "hooked.wasm"],
        &["instrument", "-t", "hostile.wat"],
        &["instrument", "-t", "shape.wat"],
        &["instrument", "--report", "-", escape, "-o", "\x1b[1m.wasm"],
        &["instrument", escape, "shape.wat", "--out-dir", "\x1b[out"],
        &["instrument", "\x1b[31mbroken.wat"],
        &["instrument", "shape.wat", "-o", "/nosuch/\x1b[31m"],
        &["info", "hooked.wasm"],
        &["ls", "hooked.wasm"],
        &["verify", "hostile.wat", "hooked.wasm"],
        &["verify", escape, "shape.wat"],
        &["strip", escape, "-o", "stripped.wasm"],
        &["strip", "-v", "hooked.wasm", "-o", "\x1b[1m.wasm"],
        &["run", "hostile.wat"],
        &["run", escape],
        &["run", "missing.wat"],
        &["run", "--min-share", "0", "--invoke", "run", "shape.wat"],
        &["run", "--sink", "chrome:/nosuch/\x1b[1m", "--invoke", "run", "shape.wat"],
        &["run", "--invoke", "\x1b[31mnosuch", "shape.wat"],
        &["run", "--argv0", "\x1b[31m", "--dir", "\x1b[nosuch", "shape.wat"],
        &["run", "--env", "\x1b[nosuch", "shape.wat"],
        &["run", "-S", "\x1b[nosuch", "shape.wat"],
        &["run", "-W", "\x1b[nosuch", "shape.wat"],
        &["run", "--sink", "folded:folded.txt", "--invoke", "run", "shape.wat"],
    ] {
        let output = wasmtrace(here, args).output().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        let raw =
            |c: char| c != '\n' && matches!(wasmtrace::label::printable(&c.to_string()), std::borrow::Cow::Owned(_));
        assert!(!shown.contains(raw), "{args:?}: {shown:?}");
        assert!(output.status.code().is_some(), "{args:?}: {:?}", output.status);
    }
    let folded = std::fs::read_to_string(here.join("folded.txt")).unwrap();
    assert!(!folded.contains(|c: char| c != '\n' && c.is_control()), "{folded:?}");
}

/// A module that is cut short is refused in one line that says where; there is no panic and no output.
#[test]
fn a_file_cut_short_anywhere_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let whole = wat::parse_file(module("app.wat")).unwrap();
    let cut: PathBuf = here.join("cut.wasm");
    for len in (0..whole.len()).step_by(7) {
        std::fs::write(&cut, &whole[..len]).unwrap();
        let output = wasmtrace(here, &["instrument", "cut.wasm", "-o", "out.wasm"]).output().unwrap();
        if output.status.success() {
            // The end of a section may be the end of a module.
            std::fs::remove_file(here.join("out.wasm")).unwrap();
            continue;
        }
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{len}: {message}");
        assert!(message.starts_with("wasmtrace: error: cut.wasm: ") && message.contains("at offset 0x"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
        assert_eq!(names_in(here), ["cut.wasm"]);
    }
}

/// A module may bring about a warning for each of its sections.
#[test]
fn many_warnings_are_shown_in_part_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut wasm = wat::parse_str("(module (func))").unwrap();
    (0..50).for_each(|_| wasm.extend_from_slice(b"\0\x05\x04name"));
    std::fs::write(folder.path().join("many.wasm"), wasm).unwrap();
    let warned = |args: &[&str]| {
        let output = wasmtrace(folder.path(), args).output().unwrap();
        assert_works(&output);
        text(&output.stderr).lines().filter(|line| line.contains("warning")).map(str::to_owned).collect::<Vec<_>>()
    };
    let few = warned(&["instrument", "many.wasm", "-o", "out.wasm"]);
    assert_eq!((few.len(), few[20].contains("29 more warnings")), (21, true), "{few:?}");
    assert_eq!(warned(&["instrument", "-v", "many.wasm", "-o", "out.wasm"]).len(), 49);
}

/// Theorem: `verify` with arguments runs both modules, and says which of their outputs differs. Here each run writes other
/// bytes.
#[test]
fn outputs_that_differ_are_said_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (fd, what) in [(1, "output"), (2, "error output")] {
        let program = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (memory (export "memory") 1)
                (data (i32.const 0) "\10\00\00\00\10\00\00\00")
                (func (export "_start")
                    (drop (call $random (i32.const 16) (i32.const 16)))
                    (drop (call $write (i32.const {fd}) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
        );
        std::fs::write(folder.path().join("app.wat"), program).unwrap();
        assert_works(&wasmtrace(folder.path(), &["instrument", "app.wat", "-o", "hooked.wasm"]).output().unwrap());
        assert_works(&wasmtrace(folder.path(), &["verify", "app.wat", "hooked.wasm"]).output().unwrap());
        let differs = wasmtrace(folder.path(), &["verify", "app.wat", "hooked.wasm", "--"]).output().unwrap();
        assert_eq!(differs.status.code(), Some(1));
        let said = text(&differs.stderr);
        assert!(said.contains(&format!("the standard {what} differs from byte ")), "{said}");
    }
}
