//! What is recorded is what happened, whoever records it and whatever becomes of the process.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testing::instrument;
use testing::process::taken;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::runtime::{self, ClockMode, Config, Invoke, Preload};
use wasmtrace::trace::profile::Profile;
use wasmtrace::trace::span_builder::{SpanBuilder, What};
use wasmtrace::trace::{Event, EventKind, RunOutcome};
use wasmtrace::{Options, module, rewrite};

const WASMTRACE: &str = env!("CARGO_BIN_EXE_wasmtrace");
const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/modules");
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/real");

fn hooked(wasm: &[u8], hooks: HookSet) -> wasmtrace::error::Result<rewrite::Rewritten> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() })
}

/// What a run's events say, without times and without the shift of indices; `None` if the runner cannot run the module.
fn seen(out: &rewrite::Rewritten, config: &Config) -> Option<(Vec<String>, RunOutcome)> {
    let probes = &out.manifest.as_ref()?.probes;
    let (mut lines, mut open) = (Vec::new(), Vec::new());
    let mut last = 0;
    let outcome = runtime::run(&out.wasm, config, |events: &[Event]| {
        for event in events {
            assert!(event.at >= last, "a time steps back");
            last = event.at;
            let rank = |id| probes.binary_search_by_key(&id, |probe| probe.id).expect("only hooked functions are seen");
            lines.extend(match &event.kind {
                EventKind::Enter(id) => {
                    open.push(rank(*id));
                    Some(format!("enter {}", rank(*id)))
                }
                EventKind::Exit(id) | EventKind::Unwound(id) => {
                    assert_eq!(open.pop(), Some(rank(*id)), "what ends is not what is innermost");
                    Some(format!("exit {}", rank(*id)))
                }
                EventKind::ClockGap(_) => None,
                other => Some(format!("{other:?}")),
            });
        }
    });
    let outcome = outcome.ok()?;
    assert!(last <= outcome.duration, "an event after the end");
    // What nobody catches is open at the end, but in the Observe set, where each call that it crosses is left.
    if matches!(&outcome.ending, RunOutcome::Trapped(trap) if trap.code == "uncaught_exception") {
        lines.extend(open.iter().rev().map(|rank| format!("exit {rank}")));
    }
    Some((lines, outcome.ending))
}

/// Theorem: the runner sees the same, event for event, in every hook set and with every clock; `memory.grow` and the manual
/// API stand where they happened.
#[test]
fn the_runner_sees_the_same_in_every_hook_set() {
    let compared = std::sync::atomic::AtomicUsize::new(0);
    testing::for_each(testing::shapes(), |case| {
        let exports = module::parse(&case.wasm).unwrap();
        let runs = exports.exports().iter().filter(|(name, _)| name.starts_with("run"));
        for (export, _) in runs {
            let invoke = Some(Invoke { function: (*export).to_owned(), args: Vec::new() });
            let coarse = Config { invoke, ..Default::default() };
            let spin = Config { clock: ClockMode::Spin, ..coarse.clone() };
            let sets = HOOK_SETS.into_iter().filter_map(|set| hooked(&case.wasm, set).ok());
            let all: Vec<_> = sets.flat_map(|out| [seen(&out, &coarse), seen(&out, &spin)]).flatten().collect();
            let Some((first, rest)) = all.split_first() else { continue };
            for other in rest {
                assert_eq!(other.0, first.0, "`{export}`");
                assert_eq!(other.1.exit_code(), first.1.exit_code(), "`{export}`");
                compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    assert!(compared.into_inner() > 400, "few runs were compared");
}

/// A guest whose memory moves while it grows, that speaks through the manual API, and whose entry function is called behind
/// its start function and `_initialize`: three calls into one instance.
const BUSY: &str = r#"(module
  (import "dylibso:observe/api" "span-enter" (func $span_enter (param i32 i32)))
  (import "dylibso:observe/api" "span-exit" (func $span_exit))
  (import "dylibso:observe/api" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 8) "span")
  (func $leaf (result i32) (i32.load (i32.const 8)))
  (func $setup (drop (call $leaf)))
  (start $setup)
  (func (export "_initialize") (drop (call $leaf)))
  (func $grow (drop (memory.grow (i32.const 7))))
  (func (export "work") (local $n i32)
    (loop $again
      (call $span_enter (i32.const 8) (i32.const 4))
      (drop (call $leaf))
      (call $grow)
      (call $log (i32.const 3) (i32.const 8) (i32.const 4))
      (call $span_exit)
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200))))))"#;

/// Theorem: events of all sources come in the order in which they happened.
#[test]
fn what_the_guest_says_stands_between_its_calls() {
    let wasm = wat::parse_str(BUSY).unwrap();
    let config =
        Config { invoke: Some(Invoke { function: "work".to_owned(), args: Vec::new() }), ..Default::default() };
    let all: Vec<_> = HOOK_SETS.into_iter().map(|set| seen(&hooked(&wasm, set).unwrap(), &config).unwrap()).collect();
    assert!(all.iter().all(|one| *one == all[0]));
    let lines = &all[0].0;
    // start and `_initialize`: 4 events each; then 200 rounds.
    assert_eq!(lines.len(), 8 + 2 + 200 * 8, "{lines:#?}");
    let round: Vec<&str> = lines[9..17].iter().map(String::as_str).collect();
    let [open, enter, exit, grow_in, grow, grow_out, log, close] = round[..] else { panic!("{round:?}") };
    assert!(open.contains("SpanEnter(\"span\")") && close.contains("SpanExit") && log.contains("Log(Info, \"span\")"));
    assert_eq!((enter, exit, grow), ("enter 0", "exit 0", "MemoryGrow(7)"));
    assert!(grow_in.starts_with("enter") && grow_out.starts_with("exit"));
}

/// Theorem: another module can import what a hooked one exports, but not the memory that it records into.
#[test]
fn no_other_module_can_import_the_buffer() {
    let library = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "f")))"#).unwrap();
    let out = hooked(&library, HookSet::Buffer).unwrap();
    let buffer = out.manifest.unwrap().buffer.unwrap().export;
    let run = |memory: &str, size: &str| {
        let main =
            format!(r#"(module (import "lib" "{memory}" (memory {size})) (import "lib" "f" (func $f)) (start $f))"#);
        let preload = Preload { name: "lib".to_owned(), wasm: out.wasm.clone(), first_probe: 0 };
        let config = Config { preloads: vec![preload], ..Default::default() };
        let mut calls = 0;
        let entered = |event: &Event| matches!(event.kind, EventKind::Enter(_));
        let run = runtime::run(&wat::parse_str(main).unwrap(), &config, |events| {
            calls += events.iter().filter(|event| entered(event)).count();
        });
        run.map(|_| calls)
    };
    assert_eq!(run("memory", "1").unwrap(), 1);
    let refused = run(&buffer, "0").unwrap_err().to_string();
    assert!(refused.contains(&buffer) && refused.contains("does not have"), "{refused}");
}

/// Theorem: two runs at the same time in one process do not know of each other.
#[test]
fn two_runs_at_once_do_not_meet() {
    let wasm = testing::programs::program("c_reactor").wasm;
    let out = hooked(&wasm, HookSet::Buffer).unwrap();
    let run = |n: u32| {
        let invoke = Invoke { function: "fib".to_owned(), args: vec![n.to_string()] };
        seen(&out, &Config { invoke: Some(invoke), ..Default::default() }).unwrap().0
    };
    let alone = [run(15), run(16)];
    let together = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(15));
        let one = run(16);
        [other.join().unwrap(), one]
    });
    assert!(alone[0].len() > 1000 && alone == together);
}

/// Functions that are called as often, one of which takes nearly all of the time.
const UNEVEN: &str = r#"(module
  (func $long (param $n i32) (result i32) (local $x i32)
    (loop $again
      (local.set $x (i32.add (i32.rotl (local.get $x) (i32.const 5)) (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $x))
  (func $short (param i32) (result i32) (local.get 0))
  (func (export "run") (local $times i32) (local $sum i32)
    (local.set $times (i32.const 100000))
    (loop $again
      (local.set $sum (call $short (call $short (call $short (i32.add (local.get $sum) (call $long (i32.const 2000)))))))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))))"#;

/// Theorem: where calls are so dense that a thousand of them pass between two readings of the clock, time still goes to what
/// took it. (Shared out by the number of calls, the long function would get a quarter.)
#[test]
fn time_goes_to_the_function_that_took_it() {
    let out = hooked(&wat::parse_str(UNEVEN).unwrap(), HookSet::Buffer).unwrap();
    let invoke = Some(Invoke { function: "run".to_owned(), args: Vec::new() });
    let (mut fold, mut profile) = (SpanBuilder::new(), Profile::new());
    let outcome = runtime::run(&out.wasm, &Config { invoke, ..Default::default() }, |events: &[Event]| {
        for event in events {
            fold.event(event, &mut |change| profile.change(change));
        }
    })
    .unwrap();
    fold.finish(outcome.duration, &outcome.ending, &mut |change| profile.change(change));
    let probes = out.manifest.unwrap().probes;
    let own = |rank: usize| {
        let all = profile.by_function();
        all.iter().find(|totals| totals.what == What::Call(probes[rank].id)).unwrap().self_time as f64
    };
    let (long, short, total) = (own(0), own(1), profile.total() as f64);
    // 1 µs and 3 times 2 ns; but a call of the host takes half a microsecond where nothing is optimized.
    assert!(long / total > 0.5 && long > 2.0 * short, "long {long}, short {short} of {total}");
}

fn wasmtrace(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(WASMTRACE);
    command.current_dir(folder).args(args).stdin(Stdio::null());
    command
}

fn output(folder: &Path, args: &[&str]) -> Output {
    wasmtrace(folder, args).output().unwrap()
}

fn report(folder: &Path, trace: &str) -> Value {
    let output = output(folder, &["report", "--json", trace]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["schema"], "wasmtrace.report/1");
    value
}

/// The functions of a report, each with how often it was called.
fn calls(report: &Value) -> Vec<(String, u64)> {
    let functions = report["functions"].as_array().unwrap().iter();
    let mut calls: Vec<_> =
        functions.map(|f| (f["name"].as_str().unwrap().to_owned(), f["calls"].as_u64().unwrap())).collect();
    calls.sort();
    calls
}

/// Theorem: a recording holds all of a run, whichever hooks made it; what `--min-duration` and `--max-depth` leave out is
/// counted, to the last call; and the report and the formats say the same.
#[test]
fn a_recording_holds_all_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for program in ["c_lua", "zig_demo", "cpp_eh_exnref", "rust_serde"] {
        let wasm = format!("{PROGRAMS}/{program}.wasm");
        let record = |name: &str, options: &[&str]| {
            let trace = format!("{name}.wtrace");
            let mut args = vec!["record", "-o", &trace];
            args.extend(options);
            args.push(&wasm);
            let run = output(here, &args);
            assert!(run.status.success(), "{program}: {}", String::from_utf8_lossy(&run.stderr));
            report(here, &trace)
        };
        let buffer = record("buffer", &[]);
        let observe = record("observe", &["--hooks", "observe"]);
        assert_eq!(calls(&buffer), calls(&observe), "{program}");
        assert_eq!((&buffer["recording"]["clock"], &observe["recording"]["clock"]), (&"coarse".into(), &"hook".into()));
        assert_eq!(buffer["module_sha256"], observe["module_sha256"]);
        let tree = |report: &Value| -> Vec<(String, Value, u64)> {
            let nodes = report["tree"].as_array().unwrap().iter();
            nodes.map(|n| (n["name"].to_string(), n["parent"].clone(), n["calls"].as_u64().unwrap())).collect()
        };
        assert_eq!(tree(&buffer), tree(&observe), "{program}");

        for options in [&["--min-duration", "10ms"][..], &["--min-duration", "2us"], &["--max-depth", "3"]] {
            for hooks in [&[][..], &["--hooks", "observe"]] {
                let less = record("less", &[options, hooks].concat());
                assert_eq!(calls(&less), calls(&buffer), "{program} {options:?} {hooks:?}");
                let folded = less["calls_counted_only"].as_u64().unwrap();
                assert!(folded > 0 && folded <= less["calls"].as_u64().unwrap(), "{program} {options:?}: {folded}");
            }
        }

        // The report's self times are the folded stacks' sum.
        let folded = output(here, &["convert", "buffer.wtrace", "-f", "folded"]).stdout;
        let folded = String::from_utf8(folded).unwrap();
        let sum: u64 = folded.lines().map(|l| l.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
        let functions = buffer["functions"].as_array().unwrap();
        assert_eq!(sum, functions.iter().map(|f| f["self_nanos"].as_u64().unwrap()).sum::<u64>());
        let chrome = output(here, &["convert", "buffer.wtrace", "-f", "chrome", "--max-spans", "0"]).stdout;
        let chrome: Vec<Value> = serde_json::from_slice(&chrome).unwrap();
        let begun = chrome.iter().filter(|event| event["ph"] == "B").count() as u64;
        assert_eq!(begun, buffer["calls"].as_u64().unwrap());
    }
}

/// Starts a guest that never ends, and waits until it says that it runs.
fn endless(folder: &Path, function: &str) -> Child {
    let wasm = format!("{MODULES}/endless.wat");
    let args = ["record", "-o", "killed.wtrace", "--invoke", function, &wasm];
    let mut child = wasmtrace(folder, &args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    child
}

/// Theorem: of a process that is killed, what happened until a second before is in the recording, and calls that were open
/// are marked; even of a guest that makes no more calls.
#[test]
fn a_killed_run_leaves_its_recording() {
    for function in ["calls", "spins"] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = endless(folder.path(), function);
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(2500));
        child.kill().unwrap(); // with SIGKILL
        let ran = began.elapsed();
        child.wait().unwrap();

        let told = report(folder.path(), "killed.wtrace");
        assert_eq!(told["ending"]["kind"], "unknown");
        let outermost = &told["tree"][0];
        assert_eq!((&outermost["name"], &outermost["open_at_the_end"]), (&function.into(), &1.into()), "{told}");
        if function == "calls" {
            let recorded = Duration::from_nanos(told["duration_nanos"].as_u64().unwrap());
            // Where the guest waits for its consumer no time passes in it; a debug build makes it wait.
            assert!(recorded + Duration::from_secs(1) > ran / 10, "{recorded:?} of {ran:?}");
            assert!(told["calls"].as_u64().unwrap() > 1000);
        }
        let shown = output(folder.path(), &["report", "killed.wtrace"]);
        let (text, warning) = (String::from_utf8(shown.stdout).unwrap(), String::from_utf8(shown.stderr).unwrap());
        assert!(shown.status.success() && warning.contains("killed"), "{warning}");
        assert!(text.contains("ends before the run") && text.contains("(open at the end)"), "{text}");
    }
}

/// Theorem: a damaged recording gives all that is sound, and one clear error.
#[test]
fn a_damaged_recording_gives_what_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let recorded =
        output(here, &["record", "-o", "whole.wtrace", "--invoke", "fib", &format!("{PROGRAMS}/c_reactor.wasm"), "25"]);
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let whole = std::fs::read(here.join("whole.wtrace")).unwrap();
    let all = report(here, "whole.wtrace")["calls"].as_u64().unwrap();

    let mut damaged = whole.clone();
    let at = whole.len() - 100; // in the last block of events, or in the end
    damaged[at] ^= 1;
    std::fs::write(here.join("damaged.wtrace"), &damaged).unwrap();
    let output = output(here, &["report", "--json", "damaged.wtrace"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("damaged.wtrace: the recording is damaged") && error.contains("(at offset 0x"), "{error}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sound = told["calls"].as_u64().unwrap();
    assert!(0 < sound && sound < all, "{sound} of {all}");
}

/// Theorem: memory does not grow with the run. A billion events, and what is made of them, pass in less than 200 MB:
/// `cargo test --release --test running recording::a_billion -- --ignored --nocapture`.
#[test]
#[ignore = "a minute, and a gigabyte on disk"]
fn a_billion_events_pass_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let reactor = format!("{PROGRAMS}/c_reactor.wasm");
    let convert = |format| ["convert", "a.wtrace", "-f", format, "-o", "/dev/null"];
    for args in [
        &["record", "-o", "a.wtrace", "--invoke", "fib", &reactor, "43"][..],
        &["report", "a.wtrace"],
        &["report", "--json", "a.wtrace"],
        &convert("folded"),
        &["run", "--invoke", "fib", &reactor, "43"],
    ] {
        let taken = taken(wasmtrace(folder.path(), args).stdout(Stdio::null()).stderr(Stdio::null()));
        let most = taken.most;
        println!("{}: {:.1?}, {} MB at most", args[0], taken.time, most >> 10);
        assert!(taken.status.success(), "{args:?}");
        assert!((1 << 10..200 << 10).contains(&most), "{args:?}: {most} KiB");
    }
    let told = report(folder.path(), "a.wtrace");
    assert!(told["calls"].as_u64().unwrap() * 2 > 1_000_000_000);
}
