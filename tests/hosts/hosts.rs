//! The contract of `docs/abi.md` is spoken elsewhere: hooked modules run on a host that shares nothing with ours, in another
//! language and on another engine (`tests/hosts/node`: JavaScript and V8). There they do what they do without hooks, and are
//! seen to make the calls that our own runtime sees. V8 runs what wasmtime refuses: legacy exceptions.
//!
//! Where there is no Node, each test says so and passes.

use std::iter;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex_lite::Regex;
use testing::balance::{assert_balanced, assert_nested, probes};
use testing::host::Host;
use testing::node::{Node, Seen, tree_line};
use testing::programs::{self, Program};
use testing::same::{assert_same_end, by_rank};
use testing::{functions_to_run, hooked_with, hooked_with_each, instrument};
use wasmtrace::hook::{HOOK_SETS, HookSet, ProbeId};
use wasmtrace::rewrite::{self, Rewritten};
use wasmtrace::runtime::{Config, Invoke, Stdio};
use wasmtrace::trace::profile::{Node as Calls, Profile};
use wasmtrace::trace::span_builder::{SpanBuilder, What};
use wasmtrace::trace::{Event, EventKind, Manual, RunOutcome};
use wasmtrace::{Options, features, module};

/// Theorem: what V8 takes without hooks it takes with them, and every exported function comes to the same end, at the same
/// instructions, with the same state; what is seen is balanced, the same in every hook set, and the same as under wasmtime
/// where that runs the module.
#[test]
fn every_shape_does_what_it_did() {
    let Some(node) = Node::find() else { return };
    let host = Host::hooked();
    let [calls, buffers] = [const { AtomicUsize::new(0) }; 2];
    let refused = Mutex::new(Vec::new());
    testing::for_each(testing::shapes(), |case| {
        if functions_to_run(&case.wasm).is_empty() {
            return;
        }
        let outs = hooked_with_each(&case.wasm);
        let modules: Vec<&[u8]> = iter::once(&case.wasm[..]).chain(outs.iter().map(|out| &out.wasm[..])).collect();
        let [plain, hooked @ ..] = &node.each(&modules)[..] else { unreachable!("there is one for each module") };
        let plain = match plain {
            Ok(plain) => plain,
            Err(why) => {
                let legacy = case.name.starts_with("legacy_") && !case.name.contains("new_exceptions");
                assert!(!legacy || !node.legacy_exceptions, "V8 refuses what only V8 runs: {why}");
                refused.lock().unwrap().push(case.name.clone());
                return;
            }
        };
        for (out, hooked) in outs.iter().zip(hooked) {
            let hooked = match hooked {
                Ok(hooked) => hooked,
                Err(why) => {
                    assert_cannot_be(node, &case.wasm, out, why);
                    continue;
                }
            };
            for ((export, before), (_, after)) in plain.iter().zip(hooked) {
                match (before, after) {
                    (Ok(before), Ok(after)) => {
                        assert_same(export, &case.wasm, out, before, after);
                        if case.not_run.is_none() {
                            assert_seen_here_too(export, &host, out, after);
                        }
                        let runs = if has_buffer(out) { &buffers } else { &calls };
                        runs.fetch_add(1, Ordering::Relaxed);
                    }
                    (Ok(_), Err(why)) => assert_cannot_be(node, &case.wasm, out, why),
                    (Err(_), _) => {}
                }
            }
        }
    });
    let [calls, buffers] = [calls, buffers].map(AtomicUsize::into_inner);
    let refused = refused.into_inner().unwrap();
    eprintln!(
        "{calls} runs with calls of the host, {buffers} with a buffer; {} shapes refused: {refused:?}",
        refused.len()
    );
    assert!(calls > 100 && buffers > 100, "hardly a shape was run");
}

fn has_buffer(out: &Rewritten) -> bool {
    out.manifest.as_ref().is_some_and(|manifest| manifest.buffer.is_some())
}

fn assert_same(export: &str, original: &[u8], out: &Rewritten, before: &Seen, after: &Seen) {
    assert_same_end(export, original, out, &before.call, &after.call);
    assert_eq!(after.state, before.state, "`{export}` leaves something else behind");
    assert_balanced(&out.wasm, &after.events, &after.call);
    assert_eq!(after.anomalies, (0, 0), "`{export}`: by the host's own count");
    assert_eq!(after.events.is_empty(), probes(&out.wasm).is_empty(), "`{export}` was not seen");
}

fn assert_seen_here_too(export: &str, host: &Host, out: &Rewritten, seen: &Seen) {
    let mut session = host.open(&host.compile(&out.wasm).unwrap()).unwrap();
    session.call(export).unwrap();
    let [here, there] = [session.events(), &seen.events].map(|events| by_rank(out, events));
    assert_eq!(there, here, "`{export}`: two engines see different things");
}

/// There are two good reasons for V8 to refuse with a buffer what it takes without: it knows no second memory, or the start
/// function records, and JavaScript cannot reach the buffer before that has returned.
fn assert_cannot_be(node: &Node, original: &[u8], out: &Rewritten, why: &str) {
    let module = module::parse(original).unwrap();
    let second_memory =
        !node.several_memories && features::needed(&module::parse(&out.wasm).unwrap()).contains(&"MULTI_MEMORY");
    let starts = module.start().is_some() && why.contains("start function");
    assert!(has_buffer(out) && (second_memory || starts), "V8 takes it without hooks, and not with them: {why}");
}

/// Theorem: a program writes on Node what it writes without hooks, and ends the same; and its call tree is, path for path, the
/// one that our own runtime sees.
#[test]
fn every_program_makes_the_calls_that_it_makes_under_our_runtime() {
    let Some(node) = Node::find() else { return };
    let compared = AtomicUsize::new(0);
    testing::for_each_named(
        &programs::described(),
        |program| (&program.case.name, &program.case.wasm),
        |program| {
            if let Some(why) = ways(program).iter().find_map(|way| way.there(node, &program.case.wasm).err()) {
                eprintln!("{} is left out: {why}", program.case.name);
                return;
            }
            for set in HOOK_SETS {
                let out = hooked_with(&program.case.wasm, set).unwrap();
                for way in ways(program) {
                    let there = match way.there(node, &out.wasm) {
                        Ok(there) => there,
                        Err(why) => return assert_cannot_be(node, &program.case.wasm, &out, &why),
                    };
                    assert_eq!(there.anomalies, (0, 0));
                    if program.runs_here && way.deterministic() {
                        let here = way.here(&out);
                        assert_eq!(
                            first_difference(&there.tree, &here.tree),
                            None,
                            "{set:?}: two runtimes see different calls"
                        );
                        assert_eq!(there, here, "{set:?}: two runtimes see different things");
                        compared.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        },
    );
    assert!(compared.into_inner() > 30, "hardly a program was compared");
}

/// The first line that is not the same in two texts. Trees are too long to be shown.
fn first_difference(there: &str, here: &str) -> Option<(Option<String>, Option<String>)> {
    let (mut there, mut here) = (there.lines(), here.lines());
    loop {
        match (there.next(), here.next()) {
            (None, None) => return None,
            (a, b) if a != b => return Some((a.map(str::to_owned), b.map(str::to_owned))),
            _ => {}
        }
    }
}

/// One way to run a program.
enum Way<'p> {
    Command(&'p programs::Run),
    Reactor(&'p Invoke, &'p Option<String>),
}

fn ways(program: &Program) -> Vec<Way<'_>> {
    let commands = program.runs.iter().map(Way::Command);
    commands.chain(program.calls.iter().map(|(invoke, result)| Way::Reactor(invoke, result))).collect()
}

/// What two runtimes can have in common.
#[derive(Debug, PartialEq)]
struct Common {
    tree: String,
    open: Vec<u32>,
    anomalies: (u64, u64),
    grows: Vec<u32>,
    said: Vec<String>,
}

impl Way<'_> {
    fn deterministic(&self) -> bool {
        match self {
            Way::Command(run) => run.deterministic,
            Way::Reactor(..) => true,
        }
    }

    fn there(&self, node: &Node, wasm: &[u8]) -> Result<Common, String> {
        let seen = match self {
            Way::Command(run) => node.run(wasm, run)?,
            Way::Reactor(invoke, result) => {
                let seen = node.invoke(wasm, invoke)?;
                let returned = seen.call.returned.first().map(|value| value.trim_end_matches('n'));
                assert_eq!(returned, result.as_deref(), "{invoke:?}");
                seen
            }
        };
        let Seen { tree, open, anomalies, grows, said, .. } = seen;
        Ok(Common { tree, open, anomalies, grows, said })
    }

    fn here(&self, out: &Rewritten) -> Common {
        let (outcome, events) = match self {
            Way::Command(run) => run.of(&out.wasm),
            Way::Reactor(invoke, _) => {
                let stdio = Stdio::Capture { stdin: Vec::new() };
                programs::run(&out.wasm, &Config { invoke: Some((*invoke).clone()), stdio, ..Config::default() })
            }
        };
        // Manual spans would stand between a call and its caller.
        let (said, calls): (Vec<_>, Vec<_>) = events.into_iter().partition(|e| matches!(e.kind, EventKind::Manual(_)));
        Common {
            tree: tree(out, &profile(&calls, &outcome.ending)),
            open: assert_nested(&out.wasm, &calls, &outcome.ending),
            anomalies: (0, 0),
            grows: calls.iter().filter_map(grown).collect(),
            said: said.iter().map(spoken).collect(),
        }
    }
}

fn grown(event: &Event) -> Option<u32> {
    match event.kind {
        EventKind::MemoryGrow(pages) => Some(pages),
        _ => None,
    }
}

/// What the guest said, as the other host writes it down.
fn spoken(event: &Event) -> String {
    let EventKind::Manual(manual) = &event.kind else { unreachable!("only these are asked") };
    match &**manual {
        Manual::SpanEnter(name) => format!("span-enter {name}"),
        Manual::SpanExit => "span-exit".to_owned(),
        Manual::Tags(tags) => format!("span-tags {tags}"),
        Manual::Metric(line) => format!("metric {line}"),
        Manual::Log(level, line) => format!("log {} {line}", *level as u32),
        Manual::Misuse(misuse) => format!("misuse: {}", misuse.as_str()),
    }
}

fn profile(events: &[Event], ending: &RunOutcome) -> Profile {
    let (mut profile, mut fold) = (Profile::new(), SpanBuilder::new());
    for event in events {
        fold.event(event, &mut |change| profile.change(change));
    }
    fold.finish(fold.last(), ending, &mut |change| profile.change(change));
    profile
}

/// A line a node, as the other host's is written.
fn tree(out: &Rewritten, profile: &Profile) -> String {
    let mut text = String::new();
    let mut todo: Vec<(usize, &Calls)> = vec![(0, profile.root())];
    while let Some((depth, node)) = todo.pop() {
        if let Some(What::Call(id)) = node.what {
            text += &tree_line(depth - 1, node.calls, node.unwound, id.0, name(out, id));
        }
        todo.extend(node.children.iter().rev().map(|child| (depth + 1, &profile[*child])));
    }
    text
}

fn name(out: &Rewritten, id: ProbeId) -> &str {
    let probes = &out.manifest.as_ref().unwrap().probes;
    &probes.iter().find(|p| p.id == id).expect("only hooked functions are seen").label.name
}

/// Two builds of one program have other indices.
fn without_ids(tree: &str) -> String {
    Regex::new(r"(?m)^( *[0-9]+(?: \([0-9]+ thrown\))?) \[[0-9]+\]").unwrap().replace_all(tree, "$1").into_owned()
}

/// Theorem: a program in C++ whose exceptions cross ten frames, are caught, rethrown, replaced and kept has the call tree that a
/// person would write down who reads it (`corpus/src/cpp_eh.cpp`), in both flavours: with `try_table` under our runtime, and
/// with the legacy `try`, which only V8 runs; and where Node is new enough, with either on either's hooks.
#[test]
fn exceptions_in_cpp_leave_the_tree_that_a_person_would_write_down() {
    let own = |program: &str, hooks: HookSet| {
        let mut options = Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() };
        options.select.push("+file:**cpp_eh.cpp").unwrap();
        instrument(&programs::program(program).wasm, &options).unwrap()
    };
    let described = programs::described();
    let run = |name: &str| &described.iter().find(|program| program.case.name == name).unwrap().runs[0];
    for hooks in [HookSet::Observe, HookSet::Buffer] {
        let out = own("cpp_eh_exnref", hooks);
        let (outcome, events) = run("cpp_eh_exnref").of(&out.wasm);
        let here = without_ids(&tree(&out, &profile(&events, &outcome.ending)));
        testing::golden::snapshots("trees").bind(|| insta::assert_snapshot!(format!("cpp_eh_{}", hooks.name()), here));

        let Some(node) = Node::find() else { continue };
        for flavour in ["cpp_eh_legacy", "cpp_eh_exnref"] {
            let out = own(flavour, hooks);
            let original = programs::program(flavour).wasm;
            if let Err(why) = node.run(&original, run(flavour)) {
                eprintln!("{flavour} is left out: {why}");
                continue;
            }
            match node.run(&out.wasm, run(flavour)) {
                Ok(seen) => assert_eq!(without_ids(&seen.tree), here, "{flavour}, {hooks:?}"),
                Err(why) => assert_cannot_be(node, &original, &out, &why),
            }
        }
    }
}
