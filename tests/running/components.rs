//! Components: what they do with hooks, and what is recorded of them.

use std::collections::BTreeMap;

use wasmtrace::hook::{HookSet, ProbeId};
use wasmtrace::runtime::{Config, Invoke, RunResult, Stdio, TraceSlot, TracedComponent, run};
use wasmtrace::trace::{EventKind, RunOutcome};
use wasmtrace::{Options, component, rewrite};

const SETS: [HookSet; 2] = [HookSet::Buffer, HookSet::Observe];

fn file(name: &str) -> Vec<u8> {
    let path = testing::corpus::corpus().join("components").join(name);
    let bytes = std::fs::read(&path).unwrap();
    match name.ends_with(".wat") {
        true => wat::parse_bytes(&bytes).unwrap().into_owned(),
        false => bytes,
    }
}

fn hooked(wasm: &[u8], hooks: HookSet) -> Vec<u8> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    component::instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap().wasm
}

fn command(args: &[&str]) -> Config {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Config { program: "program".to_owned(), args, stdio: Stdio::Capture { stdin: Vec::new() }, ..Default::default() }
}

fn call(text: &str) -> Config {
    Config { invoke: Some(Invoke { function: text.to_owned(), args: Vec::new() }), ..command(&[]) }
}

/// A run, with its events as entries (`>name`), exits (`<name`), and others.
fn seen(wasm: &[u8], config: &Config) -> (RunResult, Vec<String>) {
    let labels = component::probes(wasm).unwrap().map(|(_, probes)| probes.labels).unwrap_or_default();
    let name = |id: &ProbeId| labels[id].demangled().into_owned();
    let mut events = Vec::new();
    let result = run(wasm, config, |some| {
        events.extend(some.iter().map(|event| match &event.kind {
            EventKind::Enter(id) => format!(">{}", name(id)),
            EventKind::Exit(id) => format!("<{}", name(id)),
            other => format!("{other:?}"),
        }));
        // On a machine under load a time may lag, which an event says.
        events.retain(|event| !event.starts_with("ClockGap"));
    });
    (result.unwrap(), events)
}

/// The calls that are open at the end. Each exit must be that of the innermost open call.
fn open_calls(events: &[String]) -> Vec<&str> {
    let mut open = Vec::new();
    for event in events {
        match event.split_at(1) {
            (">", name) => open.push(name),
            ("<", name) => assert_eq!(open.pop(), Some(name), "{events:?}"),
            _ => panic!("{event}"),
        }
    }
    open
}

/// The functions with the numbers of their calls.
fn counts(events: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    events.iter().filter_map(|event| event.strip_prefix('>')).for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

/// What a program does: the same without hooks, hooked on the fly, and hooked in a file.
fn does_the_same(name: &str, config: &Config) -> Vec<(RunResult, Vec<String>)> {
    let wasm = file(name);
    let plain = run(&wasm, config, |events| assert!(events.is_empty())).unwrap();
    let outs = SETS.map(|set| {
        let hooked = hooked(&wasm, set);
        component::verify(&wasm, &hooked).unwrap();
        assert_eq!(wasmtrace::strip(&hooked).unwrap(), wasm);
        let (result, events) = seen(&hooked, config);
        let text = |result: &RunResult| (result.ending.describe(), result.results.clone(), result.stdout.clone());
        assert_eq!(text(&result), text(&plain), "{name} {set:?}");
        assert_eq!(result.stderr, plain.stderr, "{name} {set:?}");
        assert!(!events.is_empty(), "{name} {set:?}");
        if !matches!(result.ending, RunOutcome::Trapped(_) | RunOutcome::Exited(_)) {
            assert!(open_calls(&events).is_empty(), "{name} {set:?}");
        }
        (result, events)
    });
    outs.into()
}

/// Theorem: hooks do not change what a real component does. All calls are recorded, in order.
#[test]
fn programs_do_what_they_did() {
    let rust: &[&[&str]] = &[&["pear", "apple", "fig"], &["recurse", "6"], &["work", "300"], &["exit"], &["panic"]];
    let c: &[&[&str]] = &[&["pear", "apple", "fig"], &["recurse", "6"], &["work", "300"], &["exit"], &["trap"]];
    let composed: &[&[&str]] = &[&["pear", "apple", "pear", "", "fig", "work=20"], &["pear", "trap", "fig"]];
    let all = [("rust_p2.wasm", rust), ("rust_p2_small.wasm", rust), ("c_p2.wasm", c), ("composed.wasm", composed)];
    for (name, all_args) in all.into_iter().chain([("composed_trap.wasm", &composed[1..])]) {
        for args in all_args {
            let [buffer, observe] = does_the_same(name, &command(args)).try_into().unwrap();
            // The set observe leaves out what happens in a `realloc` or `post-return`.
            let (buffer, observe) = (counts(&buffer.1), counts(&observe.1));
            for (function, count) in &observe {
                assert!(buffer[function] >= *count, "{name} {args:?}: {function}");
            }
            let own = |name: &&&str| name.contains("main") || name.contains("fib") || name.contains("walk");
            for function in observe.keys().filter(own) {
                assert_eq!(buffer[function], observe[function], "{name} {args:?}: {function}");
            }
        }
    }
}

/// Each structure does what it did, and each call of its functions is recorded once.
#[test]
fn structures_do_what_they_did() {
    let counts_of = |name: &str, text: &str| {
        let outs = does_the_same(name, &call(text));
        let counts = counts(&outs[0].1);
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        counts.join(", ")
    };
    assert_eq!(counts_of("two.wat", "go(5)"), "m!alloc 5, m!count 5, m!len 5, m!post 5, m#2!each 5, m#2!go 1");
    assert_eq!(counts_of("twice.wat", "go(3)"), "m!f 2, m!step 2, m#2!go 1, m@2!f 1, m@2!step 1");
    assert_eq!(counts_of("outer.wat", "f(3)"), "shared!f 1");
    assert_eq!(counts_of("outer.wat", "g2(3)"), "later!g 1");
    assert_eq!(counts_of("outer.wat", "g(3)"), "m!g 1");
    assert_eq!(counts_of("outer.wat", "gg(3)"), "deep!g 1");
    assert_eq!(counts_of("resource.wat", "go(3)"), "d!dtor 3, m!go 1");
    assert_eq!(counts_of("start.wat", "go(3)"), "go 1, start 1, tick 5001");
    // Thousands of calls where the host cannot be called.
    assert_eq!(counts_of("quiet.wat", r#"go("abc")"#), "go 1, post 1, realloc 1, tick 5000");
    assert_eq!(counts_of("exit.wat", "go(5)"), "go 1, inner 6");
    assert_eq!(counts_of("throws.wat", "go(5)"), "lib!raise 4, m!catches 2, m!go 1, m!middle 2");
}

/// Events of a composition are in order, although each component has a buffer of its own. `realloc` and `post-return` follow
/// later, as calls of the same caller.
#[test]
fn calls_across_components_are_in_order() {
    let outs = does_the_same("two.wat", &call("go(2)"));
    let one = [">m#2!each", ">m!alloc", "<m!alloc", ">m!len", ">m!count", "<m!count", "<m!len"];
    let post = [">m!post", "<m!post"];
    let mut expected = vec![">m#2!go"];
    expected.extend(one);
    expected.push("<m#2!each");
    // The first `post-return` is handed over with the next event of its component, or at the end.
    let events = &outs[0].1;
    let without_post: Vec<&str> = events.iter().map(String::as_str).filter(|event| !post.contains(event)).collect();
    let mut all = expected.clone();
    all.extend(one);
    all.extend(["<m#2!each", "<m#2!go"]);
    let without_alloc = |events: &[&str]| -> Vec<String> {
        events.iter().filter(|event| !event.ends_with("alloc")).map(|event| (*event).to_owned()).collect()
    };
    assert_eq!(without_alloc(&without_post), without_alloc(&all));
    assert_eq!(events.iter().filter(|event| event.ends_with("alloc")).count(), 4);
    // The set observe records the same without these.
    let plain: Vec<&str> = outs[1].1.iter().map(String::as_str).collect();
    assert_eq!(without_alloc(&plain), without_alloc(&all));
}

/// A trap closes the calls where it happened, through two components and their buffers.
#[test]
fn a_trap_leaves_the_calls_that_were_open() {
    let wasm = file("twotrap.wat");
    for set in SETS {
        let (result, events) = seen(&hooked(&wasm, set), &call("go(5)"));
        assert!(matches!(&result.ending, RunOutcome::Trapped(trap) if trap.code == "unreachable_code_reached"));
        assert_eq!(open_calls(&events), ["m#2!go", "m#2!each", "m!len", "m!count"], "{set:?}");
    }
    let wasm = file("composed_trap.wasm");
    let hooked = hooked(&wasm, HookSet::Buffer);
    let (result, events) = seen(&hooked, &command(&["pear", "trap", "fig"]));
    let open = open_calls(&events);
    assert!(open[0].starts_with("caller-") && open.last().unwrap().starts_with("callee!"), "{open:?}");
    let RunOutcome::Trapped(trap) = result.ending else { panic!("{:?}", result.ending) };
    // The frames of the trap are the innermost of those calls.
    let labels = component::probes(&hooked).unwrap().unwrap().1.labels;
    let frames: Vec<String> = trap.frames.iter().map(|id| labels[&ProbeId(*id)].demangled().into_owned()).collect();
    let frames: Vec<&str> = frames.iter().rev().map(String::as_str).collect();
    assert!(frames.len() > 10 && open.ends_with(&frames), "{frames:?}");
}

/// A selection hooks those functions, and the host is still not called during a `realloc` that is not selected.
#[test]
fn a_selection_hooks_those_functions() {
    let wasm = file("quiet.wat");
    // Functions that only run while the host cannot be called are seen at the end of the call.
    for (rule, expected) in [("tick", "tick 5000"), ("go", "go 1"), ("module:m", "go 1, post 1, realloc 1, tick 5000")]
    {
        let mut options = Options::default();
        options.rewrite.hooks = HookSet::Buffer;
        options.select.push(rule).unwrap();
        let hooked = component::instrument(&wasm, &options).unwrap();
        assert_eq!(hooked.warnings, []);
        component::verify(&wasm, &hooked.wasm).unwrap();
        let (result, events) = seen(&hooked.wasm, &call(r#"go("abc")"#));
        let counts: Vec<String> = counts(&events).iter().map(|(name, count)| format!("{name} {count}")).collect();
        assert_eq!(
            (result.ending.describe(), counts.join(", ")),
            (RunOutcome::Returned.describe(), expected.to_owned())
        );
    }
}

/// A host with its own store records in three lines, several times, and calls between recordings are not recorded.
#[test]
fn a_host_records_components() {
    use wasmtime::component::{Component, Linker};
    for set in SETS {
        let rewrite = rewrite::Options { hooks: set, ..Default::default() };
        let traced = TracedComponent::new(&file("two.wat"), &Options { rewrite, ..Default::default() }).unwrap();
        let engine = wasmtime::Engine::default();
        let component = Component::new(&engine, traced.wasm()).unwrap();
        let mut linker = Linker::new(&engine);
        traced.add_to_linker(&mut linker, |trace: &mut TraceSlot| trace).unwrap();
        let mut store = wasmtime::Store::new(&engine, TraceSlot::default());
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let go = instance.get_typed_func::<(u32,), (u32,)>(&mut store, "go").unwrap();
        for calls in [1, 3000, 2] {
            let mut events = Vec::new();
            let recorded = traced
                .record(
                    &mut store,
                    |trace| trace,
                    |some| events.extend_from_slice(some),
                    |store| go.call(store, (calls,)),
                )
                .unwrap();
            recorded.result.unwrap();
            let entered = events.iter().filter(|event| matches!(event.kind, EventKind::Enter(_))).count();
            // `alloc` and `post` are not seen by the set observe.
            let each = if set == HookSet::Buffer { 5 } else { 3 };
            let all = 1 + each * calls as usize;
            // Calls of `alloc` and `post` before the first event that calls the host may be from before the recording.
            let least = if calls == 1 || set == HookSet::Observe { all } else { all - 1 };
            assert!((least..=all).contains(&entered), "{set:?}: {entered} of {all}");
            go.call(&mut store, (700,)).unwrap();
        }
    }
}

/// A component that calls the recorder in another way than hook modules do is refused: the host would read its memory by an
/// address that the guest chose. Control: the hooked component itself runs.
#[test]
fn changed_hooks_are_refused() {
    // A component without a Manifest must not call the recorder.
    let plain = r#"(component
        (import "wasmtrace:recorder/buffer@0.1.0" (instance $r
            (export "attach" (func (param "buffer" (list u8)))) (export "flush" (func (param "events" (list u8))))))
        (core module $m (memory (export "m") 40))
        (core instance $i (instantiate $m))
        (core func $f (canon lower (func $r "flush") (memory (core memory $i "m"))))
        (core module $n (import "" "f" (func $f (param i32 i32))) (func (export "go") i32.const 8 i32.const 4 call $f))
        (core instance $j (instantiate $n (with "" (instance (export "f" (func $f))))))
        (func (export "go") (canon lift (core func $j "go"))))"#;
    let plain = wat::parse_str(plain).unwrap();
    let e = run(&plain, &call("go()"), |_| ()).unwrap_err();
    assert!(e.to_string().contains("the hooks of this component were changed"), "{e}");
    // The functions and the memory of the hooks are for hooked modules alone.
    let mut options = Options::default();
    options.rewrite.hooks = HookSet::Buffer;
    let hooked = component::instrument(&file("start.wat"), &options).unwrap().wasm;
    component::check_hooks(&hooked).unwrap();
    let text = wasmprinter::print_bytes(&hooked).unwrap();
    let last = text.rfind("(func (;").unwrap();
    for misuse in [
        "(alias core export 0 \"buffer\" (core memory $stolen))",
        "(alias core export 2 \"0:enter\" (core func $stolen))",
        "(core func $stolen (canon lower (func 1) (memory 0)))",
        "(core instance $stolen (export \"f\" (func 1)))",
    ] {
        let changed = format!("{}{misuse}\n{}", &text[..last], &text[last..]);
        let changed = wat::parse_str(&changed).unwrap_or_else(|e| panic!("{misuse}: {e}"));
        assert!(component::check_hooks(&changed).is_err(), "{misuse}");
    }
}

/// A guest whose result is not valid has trapped: its calls are recorded, and the run is complete.
#[test]
fn an_invalid_result_is_a_trap() {
    let wasm = wat::parse_str(
        r#"(component
            (core module $m (memory (export "m") 1) (data (i32.const 0) "\08\00\00\00\01\00\00\00\ff")
                (func (export "go") (result i32) i32.const 0))
            (core instance $i (instantiate $m))
            (func (export "go") (result string) (canon lift (core func $i "go") (memory (core memory $i "m")))))"#,
    )
    .unwrap();
    let (result, events) = seen(&hooked(&wasm, HookSet::Buffer), &call("go()"));
    assert!(
        matches!(&result.ending, RunOutcome::Trapped(trap) if trap.message.contains("utf-8")),
        "{:?}",
        result.ending
    );
    assert_eq!(events, [">go", "<go"]);
}

/// A file that is cut anywhere is refused, with the offset of its end or of the damage.
#[test]
fn cut_components_are_refused() {
    for name in ["two.wat", "outer.wat"] {
        for wasm in [file(name), hooked(&file(name), HookSet::Buffer)] {
            for end in 1..wasm.len() {
                let cut = &wasm[..end];
                // Between sections of the root component a shorter one may end.
                if wasmparser::Validator::new().validate_all(cut).is_ok() {
                    continue;
                }
                let e = component::read(cut, &Options::default()).map(drop).unwrap_err();
                assert!(e.offset().is_some_and(|at| at <= end), "{name} {end}: {e}");
            }
        }
    }
    let nested = |open: &[u8], count: usize| -> Vec<u8> {
        let mut types = vec![1];
        for _ in 0..count {
            types.extend_from_slice(open);
        }
        types.extend([0x42, 0x00]);
        let mut wasm = b"\0asm\x0d\0\x01\0\x07".to_vec();
        let mut length = types.len();
        while length > 127 {
            wasm.push(length as u8 | 128);
            length >>= 7;
        }
        wasm.push(length as u8);
        wasm.extend(types);
        wasm
    };
    for open in [&[0x41, 1, 1][..], &[0x42, 1, 1]] {
        component::read(&nested(open, 90), &Options::default()).unwrap();
        let e = component::read(&nested(open, 19_000), &Options::default()).map(drop).unwrap_err();
        assert!(e.to_string().contains("nested deeper than 100"), "{e}");
    }
}
