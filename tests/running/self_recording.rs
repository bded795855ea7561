//! Components that record themselves: what they do on a host that knows nothing of hooks, and what is in its log.

use std::collections::BTreeMap;

use testing::stock::{PROGRAM, Ran, ran};
use wasmtime::component::Val;
use wasmtrace::hook::buffer::{Kind, meaning};
use wasmtrace::hook::{HookSet, ProbeId};
use wasmtrace::runtime::{Config, Invoke, Stdio, run};
use wasmtrace::trace::batch::{Batch, MarkKind};
use wasmtrace::trace::log::{Damage, Instance, MARKER, Part, parts};
use wasmtrace::trace::{EventKind, Manual, Misuse, RunOutcome};
use wasmtrace::{Options, component, rewrite};

fn file(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(testing::corpus::corpus().join("components").join(name)).unwrap();
    if name.ends_with(".wat") { wat::parse_bytes(&bytes).unwrap().into_owned() } else { bytes }
}

fn hooked(wasm: &[u8], hooks: HookSet) -> Vec<u8> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    let hooked = component::instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap();
    component::verify(wasm, &hooked.wasm).unwrap();
    assert_eq!(component::strip(&hooked.wasm).unwrap(), wasm);
    hooked.wasm
}

/// The text without the lines of a recorder, and the parts in these.
fn apart(text: &[u8]) -> (Vec<u8>, Vec<Part>) {
    let (mut rest, mut found) = (Vec::new(), Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match parts(line).pop() {
            Some(part) => {
                let at = line.windows(MARKER.len()).position(|bytes| bytes == MARKER.as_bytes()).unwrap();
                rest.extend_from_slice(&line[..at]);
                found.push(part.unwrap());
            }
            None => rest.extend_from_slice(line),
        }
    }
    (rest, found)
}

/// What an instance recorded: entries (`>name`) and exits (`<name`), and how it ended.
fn recorded(wasm: &[u8], parts: &[Part]) -> (Vec<String>, RunOutcome) {
    let labels = component::probes(wasm).unwrap().unwrap().1.labels;
    let name = |id: ProbeId| labels[&id].demangled().into_owned();
    let build = component::build(wasm).unwrap();
    let (mut instance, mut events, mut last) = (Instance::new(), Vec::new(), 0);
    for part in parts {
        let mut batch = Batch::default();
        instance.push(part, build, &mut batch).unwrap();
        events.extend(batch.words.iter().map(|word| match meaning(*word) {
            (id, Kind::Enter) => format!(">{}", name(id)),
            (id, Kind::Exit) => format!("<{}", name(id)),
            other => panic!("{other:?}"),
        }));
        for mark in batch.marks {
            let MarkKind::Stamp(stamp) = mark.kind else { panic!("{mark:?}") };
            assert!(last <= stamp.over && stamp.over <= stamp.called && stamp.called <= stamp.returned, "{stamp:?}");
            last = stamp.returned;
        }
    }
    (events, instance.end().0)
}

/// The events that our own host records of the same component.
fn own_events(wasm: &[u8], config: &Config) -> Vec<String> {
    let hooked = hooked(wasm, HookSet::Buffer);
    let labels = component::probes(&hooked).unwrap().unwrap().1.labels;
    let mut events = Vec::new();
    let result = run(&hooked, config, |some| {
        events.extend(some.iter().filter_map(|event| match &event.kind {
            EventKind::Enter(id) => Some(format!(">{}", labels[id].demangled())),
            EventKind::Exit(id) => Some(format!("<{}", labels[id].demangled())),
            _ => None,
        }));
    });
    result.unwrap();
    events
}

/// How often each event occurs. Quiet calls may be handed over earlier or later.
fn counts(events: &[String]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    events.iter().for_each(|event| *counts.entry(event.as_str()).or_default() += 1);
    counts
}

fn config(args: &[&str]) -> Config {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Config { program: PROGRAM.to_owned(), args, stdio: Stdio::Capture { stdin: Vec::new() }, ..Default::default() }
}

/// Theorem: a component that records itself does what it did, on a host that knows nothing of hooks. Its log has the events
/// that our own host records, and its standard error is otherwise unchanged.
#[test]
fn programs_record_themselves() {
    let words: &[&str] = &["pear", "apple", "fig"];
    let rust: &[&[&str]] = &[words, &["recurse", "6"], &["work", "300"], &["exit"], &["panic"]];
    let c: &[&[&str]] = &[words, &["work", "300"], &["exit"]];
    let composed: &[&[&str]] = &[&["pear", "apple", "pear", "", "fig", "work=20"], &["pear", "trap", "fig"]];
    let trap = &composed[1..];
    let all = [("rust_p2.wasm", rust), ("c_p2.wasm", c), ("composed.wasm", composed), ("composed_trap.wasm", trap)];
    for (name, all_args) in all {
        let wasm = file(name);
        let hooked = hooked(&wasm, HookSet::Wasi);
        for args in all_args {
            let (plain, ran) = (ran(&wasm, args, &[]), ran(&hooked, args, &[]));
            assert_eq!((&plain.end, &plain.stdout), (&ran.end, &ran.stdout), "{name} {args:?}");
            let (stderr, parts) = apart(&ran.stderr);
            assert_eq!(plain.stderr, stderr, "{name} {args:?}");
            let (events, end) = recorded(&hooked, &parts);
            let own = own_events(&wasm, &config(args));
            assert_eq!(counts(&events), counts(&own), "{name} {args:?}");
            let end = match end {
                RunOutcome::Returned => "Ok(())".to_owned(),
                RunOutcome::Exited(code) => format!("exit {code}"),
                RunOutcome::Trapped(trap) => format!("trap wasm trap: {}", trap.message),
                other => panic!("{name} {args:?}: {other:?}"),
            };
            assert_eq!(plain.end, end, "{name} {args:?}");
        }
    }
}

/// Calls of exports are complete when they return, through two components too, and in order. The exception is `post-return`.
#[test]
fn each_call_of_an_export_is_complete() {
    for name in ["two.wat", "twotrap.wat", "twice.wat", "resource.wat", "start.wat"] {
        let wasm = file(name);
        let hooked = hooked(&wasm, HookSet::Wasi);
        // `twotrap` traps in the second call, if the number is odd.
        let calls: &[u32] = if name == "twotrap.wat" { &[2, 3] } else { &[2, 3, 2] };
        let numbers: Vec<Val> = calls.iter().map(|call| Val::U32(*call)).collect();
        let (plain, ran) = (ran(&wasm, &[], &numbers), ran(&hooked, &[], &numbers));
        assert_eq!((plain.end, plain.stdout), (ran.end, ran.stdout), "{name}");
        let (mut events, _) = recorded(&hooked, &apart(&ran.stderr).1);
        let mut own = Vec::new();
        let mut one = Vec::new();
        for call in calls {
            let invoke = Some(Invoke { function: format!("go({call})"), args: Vec::new() });
            one = own_events(&wasm, &Config { invoke, ..config(&[]) });
            own.extend(one.clone());
        }
        // A `post-return` is handed over with the next event, if there is one.
        for events in [&mut events, &mut own, &mut one] {
            events.retain(|event| !event.ends_with("post"));
        }
        match name {
            // Each instance has a start function.
            "start.wat" => assert!(events.ends_with(&one[one.len() - 2..]), "{events:?}"),
            "resource.wat" => assert_eq!(counts(&events), counts(&own)),
            _ => assert_eq!(events, own, "{name}"),
        }
    }
}

/// A log with text around the lines, and lines of two instances. What is damaged or missing is said.
#[test]
fn logs_have_other_text() {
    let hooked = hooked(&file("two.wat"), HookSet::Wasi);
    let build = component::build(&hooked).unwrap();
    let [one, other] = [3, 4].map(|calls| ran(&hooked, &[], &[Val::U32(calls), Val::U32(calls)]).stderr);
    let [one, other] = [one, other].map(|text| {
        let lines: Vec<String> = String::from_utf8(text).unwrap().lines().map(str::to_owned).collect();
        assert!(lines.len() > 1, "{lines:?}");
        lines
    });
    let mixed = format!("stderr [0] :: {}\nanything\nno newline{}\r\n", one[0], other[0]);
    let found: Vec<Part> = mixed.lines().flat_map(|line| parts(line.as_bytes())).map(Result::unwrap).collect();
    assert_eq!(found.len(), 2);
    assert_ne!(found[0].instance, found[1].instance);
    // A line that was cut, with the next one behind it, and text that looks like a line.
    let glued = format!("{}{}", &one[0][..60], one[1]);
    assert_eq!(parts(glued.as_bytes()), [Ok(parts(one[1].as_bytes()).remove(0).unwrap())]);
    let said = format!("I write {MARKER}{}", one[0]);
    assert_eq!(parts(said.as_bytes()).len(), 1);
    // Damage: each byte behind the marker counts, and so does each line.
    let line = one[1].as_bytes();
    let part = |line: &[u8]| parts(line).pop();
    let whole = part(line).unwrap().unwrap();
    for at in MARKER.len()..line.len() {
        let changed = [&line[..at], &[line[at] ^ 1], &line[at + 1..]].concat();
        assert!(part(&changed).unwrap().is_err() || part(&changed).unwrap().unwrap() != whole, "byte {at}");
        assert_eq!(part(&line[..at]).unwrap(), Err(Damage::Line), "cut at {at}");
    }
    let pushed = |lines: &[&String]| {
        let (mut instance, mut batch) = (Instance::new(), Batch::default());
        lines.iter().try_for_each(|line| instance.push(&part(line.as_bytes()).unwrap().unwrap(), build, &mut batch))
    };
    assert_eq!(pushed(&[&one[0], &one[1]]), Ok(()));
    assert_eq!(pushed(&[&one[1]]), Err(Damage::Missing { number: 0 }));
    assert_eq!(pushed(&[&one[0], &one[0]]), Err(Damage::Missing { number: 1 }));
    let first = part(one[0].as_bytes()).unwrap().unwrap();
    assert_eq!(Instance::new().push(&first, build + 1, &mut Batch::default()), Err(Damage::OtherBuild));
}

/// More calls than the spill area has room for, while the instance must not be left: their number is told.
#[test]
fn lost_calls_are_told() {
    let text = std::fs::read_to_string(testing::corpus::corpus().join("components/quiet.wat")).unwrap();
    assert!(text.contains("const 3000"));
    let wasm = wat::parse_str(text.replace("const 3000", "const 400000")).unwrap();
    let hooked = hooked(&wasm, HookSet::Wasi);
    let Ran { stderr, .. } = ran(&hooked, &[], &[Val::String("abc".to_owned())]);
    let build = component::build(&hooked).unwrap();
    let (mut instance, mut batch) = (Instance::new(), Batch::default());
    for part in apart(&stderr).1 {
        instance.push(&part, build, &mut batch).unwrap();
    }
    let lost = batch.marks.iter().filter(|mark| match &mark.kind {
        MarkKind::Event(event) => event.kind == EventKind::Manual(Box::new(Manual::Misuse(Misuse::LostEvents))),
        _ => false,
    });
    assert_eq!(lost.count(), 1);
    assert!(batch.words.len() > 270_000, "{}", batch.words.len());
}

/// A host that links the recorder without reading the buffer by itself has all events of a call when it returns.
#[test]
fn a_host_gets_all_events_by_flush() {
    use std::sync::{Arc, Mutex};
    use wasmtime::component::{Component, Linker};
    for (name, calls) in [("two.wat", 3), ("two.wat", 4000), ("start.wat", 2), ("twice.wat", 2)] {
        let wasm = file(name);
        let hooked = hooked(&wasm, HookSet::Buffer);
        let engine = wasmtime::Engine::default();
        let component = Component::from_binary(&engine, &hooked).unwrap();
        let mut linker: Linker<()> = Linker::new(&engine);
        let words = Arc::new(Mutex::new(Vec::new()));
        let mut recorder = linker.instance("wasmtrace:recorder/buffer@0.1.0").unwrap();
        recorder.func_wrap("attach", |_, (_,): (Vec<u8>,)| Ok(())).unwrap();
        let taken = words.clone();
        let flush = move |_: wasmtime::StoreContextMut<'_, ()>, (events, _cause): (Vec<u8>, u32)| {
            let some = events.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap()));
            taken.lock().unwrap().extend(some);
            Ok(())
        };
        recorder.func_wrap("flush", flush).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &component).unwrap();
        let go = instance.get_func(&mut store, "go").unwrap();
        go.call(&mut store, &[Val::U32(calls)], &mut [Val::Bool(false)]).unwrap();
        let labels = component::probes(&hooked).unwrap().unwrap().1.labels;
        let name_of = |id: &ProbeId| labels[id].demangled().into_owned();
        let mut events: Vec<String> = words
            .lock()
            .unwrap()
            .iter()
            .map(|word| match meaning(*word) {
                (id, Kind::Enter) => format!(">{}", name_of(&id)),
                (id, Kind::Exit) => format!("<{}", name_of(&id)),
                other => panic!("{other:?}"),
            })
            .collect();
        let invoke = Some(Invoke { function: format!("go({calls})"), args: Vec::new() });
        let mut own = own_events(&wasm, &Config { invoke, ..config(&[]) });
        for events in [&mut events, &mut own] {
            events.retain(|event| !event.ends_with("post"));
        }
        assert_eq!(events, own, "{name}");
    }
}

/// If an exported function ends in a tail call, the next call hands over the events of the callee, and the end is not taken
/// for that of the call.
#[test]
fn a_tail_call_is_not_the_end() {
    let wasm = wat::parse_str(
        r#"(component
            (core module $m
                (func $impl (param i32) (result i32) local.get 0 call $inner)
                (func $inner (param i32) (result i32) local.get 0)
                (func (export "go") (param i32) (result i32) local.get 0 return_call $impl))
            (core instance $i (instantiate $m))
            (func (export "go") (param "n" u32) (result u32) (canon lift (core func $i "go"))))"#,
    );
    let hooked = hooked(&wasm.unwrap(), HookSet::Wasi);
    let Ran { stderr, .. } = ran(&hooked, &[], &[Val::U32(1), Val::U32(2)]);
    let (events, end) = recorded(&hooked, &apart(&stderr).1);
    assert_eq!(events[..6], [">go", "<go", ">impl", ">inner", "<inner", "<impl"]);
    assert!(matches!(end, RunOutcome::Unknown), "{end:?}");
}
