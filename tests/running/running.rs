//! A hooked module does what it did, and its hooks see all of it: oracles 5 and 6 of `docs/oracles.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use testing::balance::{Closed, assert_balanced, assert_nested, fold, is_balanced, probes};
use testing::host::{Host, Session};
use testing::programs::{self, Program};
use testing::same::{assert_same_call, by_rank, moved_function};
use testing::{balanced, functions_to_run, hooked_with, hooked_with_each, instrument};
use wasmtrace::hook::{HOOK_SETS, HookSet, Probe, ProbeId};
use wasmtrace::rewrite::{self, Rewritten};
use wasmtrace::runtime::{Config, Invoke, RunResult, Stdio};
use wasmtrace::select::Rules;
use wasmtrace::trace::profile::{Node, Profile, Totals};
use wasmtrace::trace::span_builder::{SpanBuilder, SpanEnd, What};
use wasmtrace::trace::{Event, EventKind, Manual, RunOutcome, Trap};
use wasmtrace::{Options, module};

/// Theorem: every exported function of a hooked module comes to the same end as without hooks (values returned, kind of
/// trap, exit code), at the same instructions of the same functions, with the same globals, memories and tables. What
/// its hooks see is balanced, and begins with the function that was called; and every hook set sees the same.
#[test]
fn every_shape_does_what_it_did() {
    let (plain_host, hooked_host) = (Host::plain(), Host::hooked());
    let with_buffer = AtomicUsize::new(0);
    testing::for_each(runnable_shapes(), |case| {
        let outs = hooked_with_each(&case.wasm);
        with_buffer.fetch_add(outs.len() - 1, Ordering::Relaxed);
        let plain = plain_host.compile(&case.wasm).unwrap();
        let compiled: Vec<_> =
            outs.iter().map(|out| hooked_host.compile(&out.wasm).expect("valid with hooks too")).collect();
        let exports = functions_to_run(&case.wasm);
        assert!(!exports.is_empty(), "nothing to run, and nothing said of it");
        for export in exports {
            let mut seen = Vec::new();
            for (out, hooked) in outs.iter().zip(&compiled) {
                let mut plain = plain_host.open(&plain).unwrap();
                let mut hooked = hooked_host.open(hooked).unwrap();
                let before = plain.call(&export).expect("it takes no parameters");
                let after = hooked.call(&export).expect("it takes no parameters");
                assert_same_call(&export, &case.wasm, out, (&mut plain, &before), (&mut hooked, &after));
                assert_balanced(&out.wasm, hooked.events(), &after);
                assert_was_entered(&export, out, &hooked);
                seen.push(by_rank(out, hooked.events()));
            }
            for other in &seen[1..] {
                assert_eq!(other, &seen[0], "`{export}`: two hook sets see different things");
            }
        }
    });
    assert!(with_buffer.into_inner() > 150, "few shapes can have a buffer");
}

/// Theorem: where only some functions are hooked, what is seen is the same in every hook set, and nests: a function that is not
/// hooked may be the one that catches an exception.
#[test]
fn some_functions_are_seen_alike_by_every_hook_set() {
    let host = Host::hooked();
    let (compared, crossed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    testing::for_each(runnable_shapes(), |case| {
        let funcs = module::parse(&case.wasm).unwrap().func_count();
        for (step, first) in [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)] {
            let mut select = Rules::default();
            (first..funcs.min(100)).step_by(step).for_each(|func| select.push(&format!("+idx:{func}")).unwrap());
            let outs = HOOK_SETS.iter().filter_map(|&hooks| {
                let rewrite = rewrite::Options { hooks, ..Default::default() };
                instrument(&case.wasm, &Options { select: select.clone(), rewrite, ..Default::default() }).ok()
            });
            let outs: Vec<_> = outs.filter(|out| !probes(&out.wasm).is_empty()).collect();
            for export in functions_to_run(&case.wasm) {
                let mut seen = Vec::new();
                for out in &outs {
                    let mut session = host.open(&host.compile(&out.wasm).unwrap()).unwrap();
                    let call = session.call(&export).unwrap();
                    assert_balanced(&out.wasm, session.events(), &call);
                    seen.push(by_rank(out, session.events()));
                    let unwound = session.events().iter().filter(|e| matches!(e.kind, EventKind::Unwound(_)));
                    crossed.fetch_add(unwound.count(), Ordering::Relaxed);
                }
                for other in seen.iter().skip(1) {
                    assert_eq!(other, &seen[0], "`{export}` of {first}, {}, …: hook sets differ", first + step as u32);
                    compared.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    let [compared, crossed] = [compared, crossed].map(AtomicUsize::into_inner);
    assert!(compared > 800 && crossed > 100, "{compared} runs, {crossed} calls crossed");
}

/// Theorem: where short calls are counted only, all calls are seen or counted, function for function; what is seen nests.
#[test]
fn what_is_counted_and_what_is_seen_are_all_calls() {
    let (every, counting) = (Host::hooked(), Host::counting());
    let total = AtomicUsize::new(0);
    testing::for_each(runnable_shapes(), |case| {
        let Ok(out) = hooked_with(&case.wasm, HookSet::Threshold) else { return };
        let [all, some] = [&every, &counting].map(|host| (host, host.compile(&out.wasm).unwrap()));
        for export in functions_to_run(&case.wasm) {
            let [mut all, mut some] = [&all, &some].map(|(host, module)| host.open(module).unwrap());
            let ended = [&mut all, &mut some].map(|session| session.call(&export).unwrap().ending);
            assert_eq!(ended[0], ended[1]);
            assert_nested(&out.wasm, some.events(), &ended[1]);
            let entered = |session: &Session, id| {
                session.events().iter().filter(|event| event.kind == EventKind::Enter(id)).count() as u32
            };
            for id in probes(&out.wasm) {
                assert_eq!(some.counted(id) + entered(&some, id), entered(&all, id), "calls of {id:?} in `{export}`");
                total.fetch_add(some.counted(id) as usize, Ordering::Relaxed);
            }
        }
    });
    assert!(total.into_inner() > 200, "hardly a call was counted");
}

/// The shapes that end in each way are there: else the test above would prove less than it says.
#[test]
fn shapes_end_in_every_way() {
    let host = Host::plain();
    let mut endings = BTreeSet::new();
    for case in runnable_shapes() {
        let module = host.compile(&case.wasm).unwrap();
        for export in functions_to_run(&case.wasm) {
            let call = host.open(&module).unwrap().call(&export).unwrap();
            endings.insert(match call.ending {
                RunOutcome::Trapped(trap) => trap.code,
                RunOutcome::Exited(_) => "exit".to_owned(),
                _ => "return".to_owned(),
            });
        }
    }
    for expected in ["return", "exit", "exception", "UnreachableCodeReached", "MemoryOutOfBounds", "BadSignature"] {
        assert!(endings.contains(expected), "none ends in {expected}: {endings:?}");
    }
}

fn runnable_shapes() -> Vec<testing::Case> {
    testing::shapes().into_iter().filter(|case| case.not_run.is_none()).collect()
}

/// The hooked function that was called from outside is among those that were entered.
fn assert_was_entered(export: &str, out: &Rewritten, session: &Session) {
    let module = module::parse(&out.wasm).unwrap();
    let (_, func) = module.exports().iter().find(|(name, _)| *name == export).unwrap();
    let started = session.start.ending == RunOutcome::Returned;
    if started && probes(&out.wasm).contains(&ProbeId(func.0)) {
        let enter = EventKind::Enter(ProbeId(func.0));
        assert!(session.events().iter().any(|e| e.kind == enter), "`{export}` was not seen");
    }
}

/// Theorem: a real program writes the same, reads the same and ends the same without hooks, with those of every hook set
/// and with hooks that were written to a file without what restoring needs; and all hooked runs make the same calls, call
/// for call, whoever records them.
#[test]
fn every_program_does_what_it_did() {
    for_each_program(|program| {
        let original = &program.case.wasm;
        let mut outs = hooked_with_each(original);
        assert_eq!(outs.len(), HOOK_SETS.len() + 1, "a real program can have a buffer");
        outs.push(Rewritten { wasm: written(original), ..outs[0].clone() });
        for run in &program.runs {
            let (plain, nothing) = run.of(original);
            assert!(nothing.iter().all(|e| matches!(e.kind, EventKind::Manual(_))), "{nothing:?}");
            let (mut trees, mut entries) = (Vec::new(), Vec::new());
            // A module that tells of its own spans in an order for other hosts has them elsewhere in its tree.
            let opens_spans = nothing.iter().any(|event| entry(event, &[]).is_some());
            for out in &outs {
                let (hooked, events) = run.of(&out.wasm);
                assert_same_outcome((original, &plain), (&out.wasm, &hooked), &run.args);
                assert_whole(&out.wasm, &events, &hooked);
                if !(opens_spans && is_balanced(&out.wasm)) {
                    trees.push(call_tree(out, &events, &hooked));
                }
                if opens_spans {
                    let probes = &out.manifest.as_ref().unwrap().probes;
                    entries.push(events.iter().filter_map(|event| entry(event, probes)).collect::<Vec<_>>());
                }
            }
            if run.deterministic {
                let alike = entries.iter().all(|these| *these == entries[0] && these.len() > 1);
                assert!(alike, "two runs of {:?} do not make the same calls, or spans, in turn", run.args);
                assert!(trees.iter().all(|tree| *tree == trees[0]), "two runs of {:?} make other calls", run.args);
                assert!(trees[0].lines().count() > 1, "no call was seen:\n{}", trees[0]);
            }
        }
    });
}

/// What is entered: a function, by its place among those that are hooked, or a span.
fn entry(event: &Event, probes: &[Probe]) -> Option<Result<usize, String>> {
    match &event.kind {
        EventKind::Enter(id) => Some(Ok(probes.binary_search_by_key(id, |probe| probe.id).unwrap())),
        EventKind::Manual(said) => match &**said {
            Manual::SpanEnter(name) => Some(Err(name.clone())),
            _ => None,
        },
        _ => None,
    }
}

/// Theorem: what a reactor's exports return and write is the same; `_initialize` has run before.
#[test]
fn every_reactor_does_what_it_did() {
    for_each_program(|program| {
        for out in hooked_with_each(&program.case.wasm) {
            for (invoke, result) in &program.calls {
                let config = invoking(invoke);
                let (plain, _) = programs::run(&program.case.wasm, &config);
                let (traced, events) = programs::run(&out.wasm, &config);
                let what = std::slice::from_ref(&invoke.function);
                assert_same_outcome((&program.case.wasm, &plain), (&out.wasm, &traced), what);
                assert_eq!(traced.results.first(), result.as_ref(), "{invoke:?}");
                assert_whole(&out.wasm, &events, &traced);
                let tree = call_tree(&out, &events, &traced);
                assert!(tree.contains("_initialize") && tree.contains(&invoke.function), "{tree}");
            }
        }
    });
}

/// Theorem: with a least duration the guest leaves calls out, and none is lost: seen and counted, they are as many of each
/// function as without.
#[test]
fn short_calls_of_programs_are_counted() {
    let counted = AtomicU64::new(0);
    for_each_program(|program| {
        let out = hooked_with(&program.case.wasm, HookSet::Threshold).unwrap();
        for run in program.runs.iter().filter(|run| run.deterministic) {
            let [all, some] = [Duration::ZERO, Duration::from_millis(1)].map(|min_duration| {
                let (outcome, events) = run.of_with(&out.wasm, |config| config.min_duration = min_duration);
                assert_nested(&out.wasm, &events, &outcome.ending);
                profile(&events, &outcome)
            });
            assert_eq!(all.elided().len(), 0);
            let calls = |profile: &Profile| -> BTreeMap<ProbeId, u64> {
                let function = |totals: Totals| match totals.what {
                    What::Call(id) => Some((id, totals.calls)),
                    What::Manual(_) => None,
                };
                profile.by_function().into_iter().filter_map(function).collect()
            };
            assert_eq!(calls(&some), calls(&all), "{:?}", run.args);
            assert_eq!((some.calls(), some.functions()), (all.calls(), all.functions()));
            counted.fetch_add(some.elided().values().sum::<u64>(), Ordering::Relaxed);
        }
    });
    assert!(counted.into_inner() > 10_000, "hardly a call was counted");
}

fn for_each_program(test: impl Fn(&Program)) {
    testing::for_each_named(&programs::runnable(), |program| (&program.case.name, &program.case.wasm), test);
}

/// The hooked module, written to a file and read again, without what restoring needs.
fn written(original: &[u8]) -> Vec<u8> {
    let mut options = Options::default();
    options.rewrite.restore = false;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), instrument(original, &options).unwrap().wasm).unwrap();
    std::fs::read(file.path()).unwrap()
}

fn invoking(invoke: &Invoke) -> Config {
    Config { invoke: Some(invoke.clone()), stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() }
}

fn assert_same_outcome((original, plain): (&[u8], &RunResult), (wasm, hooked): (&[u8], &RunResult), what: &[String]) {
    assert_eq!(String::from_utf8_lossy(&hooked.stdout), String::from_utf8_lossy(&plain.stdout), "stdout of {what:?}");
    assert_eq!(String::from_utf8_lossy(&hooked.stderr), String::from_utf8_lossy(&plain.stderr), "stderr of {what:?}");
    assert_eq!(hooked.results, plain.results, "results of {what:?}");
    let expected = match &plain.ending {
        RunOutcome::Trapped(trap) => {
            let [original, after] = [original, wasm].map(|wasm| module::parse(wasm).unwrap());
            let frames = trap.frames.iter().map(|f| moved_function(&original, &after, *f)).collect();
            RunOutcome::Trapped(Trap { frames, ..trap.clone() })
        }
        other => other.clone(),
    };
    let mut ending = hooked.ending.clone();
    if let RunOutcome::Trapped(trap) = &mut ending {
        // The stack may run out in a function of the hooks' own; that frame is one that the engine shows less of the others.
        let functions = module::parse(original).unwrap().func_count() + 3;
        trap.frames.retain(|frame| *frame < functions);
    }
    match (ending, expected) {
        (RunOutcome::Trapped(trap), RunOutcome::Trapped(mut expected)) if is_balanced(wasm) => {
            expected.frames.truncate(trap.frames.len());
            assert_eq!(trap, expected, "{what:?} ends otherwise");
        }
        (ending, expected) => assert_eq!(ending, expected, "{what:?} ends otherwise"),
    }
}

/// Balance, as far as an outcome has what it takes: of a trap the innermost frames, of an exit none.
fn assert_whole(wasm: &[u8], events: &[Event], outcome: &RunResult) {
    let open = assert_nested(wasm, events, &outcome.ending);
    if let RunOutcome::Trapped(trap) = &outcome.ending {
        if trap.code == "unreachable_code_reached" && is_balanced(wasm) {
            assert_eq!(open, [0; 0], "what was open when it left is open");
            return;
        }
        // The stack may run out before the innermost function's first operator, which is its ENTER.
        let unseen = usize::from(trap.code == "stack_overflow" && open.first() != trap.frames.first());
        assert!(open.starts_with(&trap.frames[unseen..]), "{:?} are not open, but {open:?}", trap.frames);
    }
}

/// Names and numbers of calls, without times.
fn call_tree(out: &Rewritten, events: &[Event], outcome: &RunResult) -> String {
    let profile = profile(events, outcome);
    let mut text = String::new();
    write_tree(&mut text, out, &profile, profile.root(), 0);
    text
}

fn profile(events: &[Event], outcome: &RunResult) -> Profile {
    let mut profile = Profile::new();
    let mut fold = SpanBuilder::new();
    for event in events {
        fold.event(event, &mut |change| profile.change(change));
    }
    fold.finish(outcome.duration, &outcome.ending, &mut |change| profile.change(change));
    profile
}

fn write_tree(text: &mut String, out: &Rewritten, profile: &Profile, node: &Node, depth: usize) {
    if let Some(What::Call(probe)) = &node.what {
        *text += &format!("{:depth$}{} {}\n", "", name(out, *probe), node.calls);
    }
    for child in &node.children {
        write_tree(text, out, profile, &profile[*child], depth + 1);
    }
}

fn name(out: &Rewritten, probe: ProbeId) -> &str {
    let probes = &out.manifest.as_ref().unwrap().probes;
    &probes.iter().find(|p| p.id == probe).expect("only hooked functions are seen").label.name
}

/// Theorem: however a program ends, deep inside of its calls, its exit code is what it would be without hooks (its own,
/// whole; 134 for a trap), every span that was opened is closed, and those that were open say what cut them off.
#[test]
fn every_end_is_told_as_it_was() {
    let program = programs::program("c_exit").wasm;
    let outs = HOOK_SETS.map(|set| hooked_with(&program, set).unwrap());
    let ends = [
        (["exit", "3"], 3, SpanEnd::Exited),
        (["exit", "200"], 200, SpanEnd::Exited),
        (["trap", "0"], 134, SpanEnd::Trapped { origin: true }),
        (["oob", "0"], 134, SpanEnd::Trapped { origin: true }),
        (["abort", "0"], 134, SpanEnd::Trapped { origin: false }), // it is `abort` that traps
    ];
    for (out, (args, code, how)) in outs.iter().flat_map(|out| ends.map(|end| (out, end))) {
        let (outcome, events) = programs::run(&out.wasm, &given(&args));
        assert_eq!(outcome.ending.exit_code(), code, "{args:?}");
        let (spans, _) = fold(&events, &outcome.ending);
        let opened = events.iter().filter(|e| matches!(e.kind, EventKind::Enter(_))).count();
        assert_eq!(spans.len(), opened, "{args:?}: spans that were opened and not closed");
        let levels: Vec<(&str, SpanEnd)> = spans
            .iter()
            .filter(|span| span.how != SpanEnd::Returned)
            .map(|span| (span_name(out, span), span.how))
            .filter(|(name, _)| name.starts_with("level"))
            .collect();
        let cut_off = if how == SpanEnd::Exited { SpanEnd::Exited } else { SpanEnd::Trapped { origin: false } };
        let expected: Vec<_> = ["level0", "level1", "level2", "level3", "level4", "level5"]
            .into_iter()
            .map(|level| (level, if level == "level0" { how } else { cut_off }))
            .collect();
        assert_eq!(levels, expected, "{args:?}");
        let origins = spans.iter().filter(|span| span.how == (SpanEnd::Trapped { origin: true })).count();
        assert_eq!(origins, usize::from(how != SpanEnd::Exited), "{args:?}: one call is where it trapped");
    }
}

/// A program that is left in calls as deep as its first argument says: its code is 7; 0 traps.
const DEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $down (param $n i32) (param $code i32)
    (if (local.get $n)
      (then (call $down (i32.sub (local.get $n) (i32.const 1)) (local.get $code)))
      (else (if (local.get $code) (then (call $exit (local.get $code))) (else unreachable)))))
  (func (export "run") (param $n i32) (param $code i32) (call $down (local.get $n) (local.get $code))))"#;

/// Theorem: a module that exits what is open before it leaves gives a host that knows nothing of leaving a complete trace: after
/// an exit code and after a panic every call has been exited, the innermost first, however many there are.
#[test]
fn a_balanced_module_exits_what_is_open_before_it_leaves() {
    let deep = |depth: u32, code: u32| {
        let args = [depth, code].map(|n| n.to_string()).to_vec();
        Config { invoke: Some(Invoke { function: "run".to_owned(), args }), ..Config::default() }
    };
    let c_exit = balanced(&programs::program("c_exit").wasm);
    let deep_one = balanced(&wat::parse_str(DEEP).unwrap());
    for (out, config, code, least) in [
        (&c_exit, given(&["exit", "3"]), 3, 8),
        (&c_exit, given(&["trap", "0"]), 134, 8),
        (&c_exit, given(&["abort", "0"]), 134, 9),
        (&deep_one, deep(1000, 7), 7, 1000),
        // Deeper than there is room for at first.
        (&deep_one, deep(5000, 7), 7, 5000),
        (&deep_one, deep(5000, 0), 134, 5000),
    ] {
        let (outcome, events) = programs::run(&out.wasm, &config);
        assert_eq!(outcome.ending.exit_code(), code);
        let (spans, anomalies) = fold(&events, &outcome.ending);
        let cut_off = spans.iter().filter(|span| !matches!(span.how, SpanEnd::Returned)).count();
        assert_eq!(cut_off, 0, "calls that were not left");
        assert_eq!((anomalies.stray_exits, anomalies.unwound), (0, 0));
        assert!(spans.len() > least, "only {} spans", spans.len());
    }
    // What traps otherwise is left as it is.
    let (outcome, events) = programs::run(&c_exit.wasm, &given(&["oob", "0"]));
    let (spans, _) = fold(&events, &outcome.ending);
    assert!(spans.iter().filter(|span| matches!(span.how, SpanEnd::Trapped { .. })).count() > 6);
}

/// Eight vectors are live around each call: what spills most around a hook.
const VECTORS: &str = r#"(module
  (func $down (param v128 v128 v128 v128 v128 v128 v128 v128 i32)
    (if (local.get 8) (then
      (call $down (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
        (local.get 7) (i32.sub (local.get 8) (i32.const 1))))))
  (func (export "down") (param i32)
    (call $down (v128.const i64x2 1 2) (v128.const i64x2 1 2) (v128.const i64x2 1 2) (v128.const i64x2 1 2)
      (v128.const i64x2 1 2) (v128.const i64x2 1 2) (v128.const i64x2 1 2) (v128.const i64x2 1 2) (local.get 0))))"#;

/// Theorem: a program recurses as deep with hooks as it does without.
#[test]
fn hooked_recursion_goes_as_deep() {
    let down = |depth: u32| {
        let invoke = Invoke { function: "down".to_owned(), args: vec![depth.to_string()] };
        Config { invoke: Some(invoke), ..Config::default() }
    };
    let recurse = |depth: u32| given(&["recurse", &depth.to_string()]);
    assert_recurses_as_deep(&programs::program("c_exit").wasm, recurse);
    assert_recurses_as_deep(&wat::parse_str(VECTORS).unwrap(), down);
}

fn assert_recurses_as_deep(plain: &[u8], config: impl Fn(u32) -> Config) {
    let recurses = |wasm: &[u8], depth: u32| {
        let (outcome, events) = programs::run(wasm, &config(depth));
        assert!(outcome.ending == RunOutcome::Returned || outcome.ending.exit_code() == 134, "{:?}", outcome.ending);
        (outcome.ending == RunOutcome::Returned, events)
    };
    let (mut works, mut fails) = (500, 1_000_000);
    while fails - works > 1 {
        let depth = works + (fails - works) / 2;
        if recurses(plain, depth).0 {
            works = depth;
        } else {
            fails = depth;
        }
    }
    for out in hooked_with_each(plain) {
        let (returned, events) = recurses(&out.wasm, works);
        assert!(returned, "{works} calls fit the stack without hooks, and do not with them");
        let deepest = events.iter().scan(0u32, |depth, event| {
            *depth = match event.kind {
                EventKind::Enter(_) => *depth + 1,
                EventKind::Exit(_) => *depth - 1,
                _ => *depth,
            };
            Some(*depth)
        });
        assert!(deepest.max() > Some(works), "the calls were not all seen");
    }
}

fn given(args: &[&str]) -> Config {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    Config { program: "c_exit".to_owned(), args, stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() }
}

fn span_name<'o>(out: &'o Rewritten, span: &Closed) -> &'o str {
    match &span.what {
        What::Call(probe) => name(out, *probe),
        What::Manual(_) => unreachable!("the program opens no spans"),
    }
}
