//! A hooked module does what it did, and its hooks see all of it: oracles 5 and 6 of `docs/oracles.md`.

mod common;

use std::collections::BTreeSet;

use common::balance::{assert_balanced, assert_nested, fold, probes};
use common::host::{Host, Session};
use common::programs::{self, Program};
use common::same::{assert_same_call, moved_function};
use wasmtrace::hook::ProbeId;
use wasmtrace::rewrite::Rewritten;
use wasmtrace::runtime::{Config, Invoke, Outcome, Stdio};
use wasmtrace::trace::fold::{End, Fold, Span, What};
use wasmtrace::trace::profile::{Node, Profile};
use wasmtrace::trace::{Ending, Event, EventKind, Trap};
use wasmtrace::{Options, instrument, module};

/// Theorem: every exported function of a hooked module comes to the same end as without hooks (values returned, kind of
/// trap, exit code), at the same instructions of the same functions, with the same globals, memories and tables. What
/// its hooks see is balanced, and begins with the function that was called.
#[test]
fn every_shape_does_what_it_did() {
    let (plain_host, hooked_host) = (Host::plain(), Host::hooked());
    common::for_each(runnable_shapes(), |case| {
        let out = hooked(&case.wasm);
        let (plain, hooked) =
            (plain_host.compile(&case.wasm).unwrap(), hooked_host.compile(&out.wasm).expect("valid with hooks too"));
        let exports = functions_to_run(&case.wasm);
        assert!(!exports.is_empty(), "nothing to run, and nothing said of it");
        for export in exports {
            let mut plain = plain_host.open(&plain).unwrap();
            let mut hooked = hooked_host.open(&hooked).unwrap();
            let before = plain.call(&export).expect("it takes no parameters");
            let after = hooked.call(&export).expect("it takes no parameters");
            assert_same_call(&export, &case.wasm, &out, (&mut plain, &before), (&mut hooked, &after));
            assert_balanced(&out.wasm, hooked.events(), &after);
            assert_was_entered(&export, &out.wasm, &hooked);
        }
    });
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
                Ending::Trapped(trap) => trap.code,
                Ending::Exited(_) => "exit".to_owned(),
                _ => "return".to_owned(),
            });
        }
    }
    for expected in ["return", "exit", "exception", "UnreachableCodeReached", "MemoryOutOfBounds", "BadSignature"] {
        assert!(endings.contains(expected), "none ends in {expected}: {endings:?}");
    }
}

fn runnable_shapes() -> Vec<common::Case> {
    common::shapes().into_iter().filter(|case| case.not_run.is_none()).collect()
}

fn hooked(wasm: &[u8]) -> Rewritten {
    instrument(wasm, &Options::default()).unwrap()
}

fn functions_to_run(wasm: &[u8]) -> Vec<String> {
    let module = module::parse(wasm).unwrap();
    module.exports().iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("run")).collect()
}

/// The hooked function that was called from outside is among those that were entered.
fn assert_was_entered(export: &str, wasm: &[u8], session: &Session) {
    let module = module::parse(wasm).unwrap();
    let (_, func) = module.exports().iter().find(|(name, _)| *name == export).unwrap();
    let started = session.start.ending == Ending::Returned;
    if started && probes(wasm).contains(&ProbeId(func.0)) {
        let enter = EventKind::Enter(ProbeId(func.0));
        assert!(session.events().iter().any(|e| e.kind == enter), "`{export}` was not seen");
    }
}

/// Theorem: a real program writes the same, reads the same and ends the same without hooks, with hooks made in memory
/// and with hooks that were written to a file without what restoring needs; and two hooked runs make the same calls.
#[test]
fn every_program_does_what_it_did() {
    for_each_program(|program| {
        let original = &program.case.wasm;
        let out = hooked(original);
        let written = written(original);
        for run in &program.runs {
            let (plain, nothing) = run.of(original);
            assert!(nothing.iter().all(|e| matches!(e.kind, EventKind::Manual(_))), "{nothing:?}");
            let seen = [run.of(&out.wasm), run.of(&written)];
            for (hooked, events) in &seen {
                assert_same_outcome(original, &plain, hooked, &run.args);
                assert_whole(&out.wasm, events, hooked);
            }
            if run.deterministic {
                let [first, second] = seen.map(|(outcome, events)| call_tree(&out, &events, &outcome));
                assert!(first == second, "two runs of {:?} make other calls", run.args);
                assert!(first.lines().count() > 1, "no call was seen:\n{first}");
            }
        }
    });
}

/// Theorem: what a reactor's exports return and write is the same; `_initialize` has run before.
#[test]
fn every_reactor_does_what_it_did() {
    for_each_program(|program| {
        let hooked = hooked(&program.case.wasm);
        for (invoke, result) in &program.calls {
            let config = invoking(invoke);
            let (plain, _) = programs::run(&program.case.wasm, &config);
            let (traced, events) = programs::run(&hooked.wasm, &config);
            assert_same_outcome(&program.case.wasm, &plain, &traced, std::slice::from_ref(&invoke.function));
            assert_eq!(traced.results.first(), result.as_ref(), "{invoke:?}");
            assert_whole(&hooked.wasm, &events, &traced);
            let tree = call_tree(&hooked, &events, &traced);
            assert!(tree.contains("_initialize") && tree.contains(&invoke.function), "{tree}");
        }
    });
}

fn for_each_program(test: impl Fn(&Program)) {
    common::for_each_named(&programs::runnable(), |program| &program.case.name, test);
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

fn assert_same_outcome(original: &[u8], plain: &Outcome, hooked: &Outcome, what: &[String]) {
    assert_eq!(String::from_utf8_lossy(&hooked.stdout), String::from_utf8_lossy(&plain.stdout), "stdout of {what:?}");
    assert_eq!(String::from_utf8_lossy(&hooked.stderr), String::from_utf8_lossy(&plain.stderr), "stderr of {what:?}");
    assert_eq!(hooked.results, plain.results, "results of {what:?}");
    let expected = match &plain.ending {
        Ending::Trapped(trap) => {
            let original = module::parse(original).unwrap();
            let frames = trap.frames.iter().map(|f| moved_function(&original, *f)).collect();
            Ending::Trapped(Trap { frames, ..trap.clone() })
        }
        other => other.clone(),
    };
    assert_eq!(hooked.ending, expected, "{what:?} ends otherwise");
}

/// Balance, as far as an outcome has what it takes: of a trap the innermost frames, of an exit none.
fn assert_whole(wasm: &[u8], events: &[Event], outcome: &Outcome) {
    let open = assert_nested(wasm, events, &outcome.ending);
    if let Ending::Trapped(trap) = &outcome.ending {
        // The stack may run out before the innermost function's first operator, which is its ENTER.
        let unseen = usize::from(trap.code == "stack_overflow" && open.first() != trap.frames.first());
        assert!(open.starts_with(&trap.frames[unseen..]), "{:?} are not open, but {open:?}", trap.frames);
    }
}

/// Names and numbers of calls, without times.
fn call_tree(out: &Rewritten, events: &[Event], outcome: &Outcome) -> String {
    let mut profile = Profile::new();
    let mut fold = Fold::new();
    for event in events {
        fold.event(event, &mut |change| profile.change(change));
    }
    fold.finish(outcome.duration, &outcome.ending, &mut |change| profile.change(change));
    let mut text = String::new();
    write_tree(&mut text, out, &profile, profile.root(), 0);
    text
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
    let out = hooked(&programs::program("c_exit").wasm);
    let ends = [
        (["exit", "3"], 3, End::Exited),
        (["exit", "200"], 200, End::Exited),
        (["trap", "0"], 134, End::Trapped { origin: true }),
        (["oob", "0"], 134, End::Trapped { origin: true }),
        (["abort", "0"], 134, End::Trapped { origin: false }), // it is `abort` that traps
    ];
    for (args, code, how) in ends {
        let (outcome, events) = programs::run(&out.wasm, &given(&args));
        assert_eq!(outcome.ending.exit_code(), code, "{args:?}");
        let (spans, _) = fold(&events, &outcome.ending);
        let opened = events.iter().filter(|e| matches!(e.kind, EventKind::Enter(_))).count();
        assert_eq!(spans.len(), opened, "{args:?}: spans that were opened and not closed");
        let levels: Vec<(&str, End)> = spans
            .iter()
            .filter(|span| span.how != End::Returned)
            .map(|span| (span_name(&out, span), span.how))
            .filter(|(name, _)| name.starts_with("level"))
            .collect();
        let cut_off = if how == End::Exited { End::Exited } else { End::Trapped { origin: false } };
        let expected: Vec<_> = ["level0", "level1", "level2", "level3", "level4", "level5"]
            .into_iter()
            .map(|level| (level, if level == "level0" { how } else { cut_off }))
            .collect();
        assert_eq!(levels, expected, "{args:?}");
        let origins = spans.iter().filter(|span| span.how == (End::Trapped { origin: true })).count();
        assert_eq!(origins, usize::from(how != End::Exited), "{args:?}: one call is where it trapped");
    }
}

/// Theorem: a program recurses as deep with hooks as it does without.
#[test]
fn hooked_recursion_goes_as_deep() {
    let plain = programs::program("c_exit").wasm;
    let recurses = |wasm: &[u8], depth: u32| {
        let (outcome, events) = programs::run(wasm, &given(&["recurse", &depth.to_string()]));
        assert!(outcome.ending == Ending::Returned || outcome.ending.exit_code() == 134, "{:?}", outcome.ending);
        (outcome.ending == Ending::Returned, events)
    };
    let (mut works, mut fails) = (500, 1_000_000);
    while fails - works > 1 {
        let depth = works + (fails - works) / 2;
        if recurses(&plain, depth).0 {
            works = depth;
        } else {
            fails = depth;
        }
    }
    let out = hooked(&plain);
    let (returned, events) = recurses(&out.wasm, works);
    assert!(returned, "{works} calls fit the stack without hooks, and do not with them");
    let deepest = events.iter().scan(0u32, |depth, event| {
        *depth = if matches!(event.kind, EventKind::Enter(_)) { *depth + 1 } else { *depth - 1 };
        Some(*depth)
    });
    assert!(deepest.max() > Some(works), "the calls were not all seen");
}

fn given(args: &[&str]) -> Config {
    let args = args.iter().map(|a| (*a).to_owned()).collect();
    Config { program: "c_exit".to_owned(), args, stdio: Stdio::Capture { stdin: Vec::new() }, ..Config::default() }
}

fn span_name<'o>(out: &'o Rewritten, span: &Span) -> &'o str {
    match &span.what {
        What::Call(probe) => name(out, *probe),
        What::Manual(_) => unreachable!("the program opens no spans"),
    }
}
