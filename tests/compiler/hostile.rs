//! Theorem: what is optional in a module (names, debug information, our own Manifest) cannot do harm. However damaged or
//! ill-meant it is, the module is hooked, the hooks can be proved and taken out again, and at most a warning says what was
//! not read; nothing panics, and nothing takes long.

use std::time::Instant;

use crate::theorems::custom_sections::{LONG, assert_harmless, custom, data_of, with_data};

use testing::instrument;
use wasmtrace::hook::{BufferPlace, HookSet, MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::runtime::{self, Config, Invoke};
use wasmtrace::trace::calltree::CallTree;
use wasmtrace::trace::{EventKind, Manual, Misuse};
use wasmtrace::{ErrorKind, Options, label, module, select, strip, verify};

fn app() -> Vec<u8> {
    wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/modules/app.wat")).unwrap()
}

fn program(name: &str) -> Vec<u8> {
    std::fs::read(testing::corpus().join("real").join(name)).unwrap()
}

/// Every way to damage `data` that is tried: cut short, a byte changed, a byte too many.
fn damaged(data: &[u8]) -> Vec<Vec<u8>> {
    let step = data.len().div_ceil(200).max(1);
    let mut all: Vec<Vec<u8>> = (0..data.len()).step_by(step).map(|len| data[..len].to_vec()).collect();
    for at in (0..data.len()).step_by(step) {
        for value in [0x00, 0x7f, 0x80, 0xff, data[at] ^ 1, data[at].wrapping_add(1)] {
            let mut data = data.to_vec();
            data[at] = value;
            all.push(data);
        }
    }
    all.push([data, &[0]].concat());
    all.push([data, data].concat());
    // Lengths and counts that are not there.
    all.push([&data[..data.len().min(1)], &[0xff; 4], &[0x0f], data].concat());
    all
}

#[test]
fn a_damaged_name_section_costs_names_and_one_warning() {
    let wasm = app();
    let names = wasm[data_of(&wasm, "name")].to_vec();
    let mut warned = 0;
    for data in damaged(&names) {
        let warnings = assert_harmless(&with_data(&wasm, "name", &data));
        assert!(warnings.len() <= 1, "{warnings:?}");
        assert!(warnings.iter().all(|w| w.message.contains("name section is damaged at offset 0x")), "{warnings:?}");
        warned += warnings.len();
    }
    assert!(warned > 50, "{warned} warnings");
}

/// A strict reader stops at the first subsection that is damaged inside: such a one is not copied, or it would hide the names
/// that hosts look up behind it. One of a kind that nobody knows is as long as it says, and stays.
#[test]
fn a_damaged_subsection_hides_no_names() {
    let wasm = app();
    let names = &wasm[data_of(&wasm, "name")];
    for id in 0..=12u8 {
        // A name or a count that goes on past the end; a name or an empty map, and more behind it.
        for inside in [&[5][..], &[0x80], &[1, b'a', 0], &[0, 0], &[]] {
            let subsection = [&[id, inside.len() as u8], inside].concat();
            let _ = assert_harmless(&with_data(&wasm, "name", &[&subsection, names].concat()));
        }
    }
}

#[test]
fn damaged_debug_information_costs_files_and_lines() {
    for file in ["c_exit.wasm", "rust_calls.wasm"] {
        let wasm = program(file);
        let module = module::parse(&wasm).unwrap();
        let sections: Vec<&str> =
            module.sections().iter().filter_map(|s| s.name).filter(|n| n.starts_with(".debug_")).collect();
        assert!(sections.len() >= 5);
        for name in sections {
            let data = &wasm[data_of(&wasm, name)];
            let middle = data.len() / 2;
            let mut noise = data.to_vec();
            noise.iter_mut().zip((0u8..=255).cycle().map(|b| b.wrapping_mul(167))).for_each(|(b, n)| *b ^= n);
            for data in [
                &[][..],
                &data[..middle],
                &data[middle..],
                &[data, data].concat(),
                &vec![0; data.len()],
                &vec![0xff; data.len()],
                &vec![0x80; data.len()],
                &noise,
            ] {
                let warnings = assert_harmless(&with_data(&wasm, name, data));
                let about =
                    warnings.iter().filter(|w| w.message.contains("debug information") || w.message.contains("DWARF"));
                assert!(about.count() == warnings.len() && warnings.len() <= 2, "{name}: {warnings:#?}");
            }
        }
    }
}

/// A Manifest is read from a file that anybody may have written. What it claims of the original is held against the hash.
#[test]
fn a_crafted_manifest_is_refused_or_does_no_harm() {
    let wasm = app();
    let hooked = instrument(&wasm, &Options::default()).unwrap().wasm;
    let manifest = hooked[data_of(&hooked, MANIFEST_SECTION)].to_vec();
    assert!(Manifest::decode(&manifest, 0).is_ok());
    let began = Instant::now();
    let mut refused = 0;
    for data in damaged(&manifest) {
        let crafted = with_data(&hooked, MANIFEST_SECTION, &data);
        match strip(&crafted) {
            Ok(original) => assert!(original == wasm, "strip gives something that is not the original"),
            Err(e) => {
                assert_eq!(e.kind(), ErrorKind::Restore, "{e}");
                refused += 1;
            }
        }
        let module = module::parse(&crafted).unwrap();
        let labels = label::label(&module);
        assert!(labels.warnings.len() <= 1 && labels.iter().len() == module.func_count() as usize);
        let _ = label::probes(&module);
        let _ = select::select(&module, &labels, &Default::default());
        let _ = verify::verify(&wasm, &crafted);
        assert_eq!(instrument(&crafted, &Options::default()).unwrap_err().kind(), ErrorKind::AlreadyHooked);
    }
    assert!(refused > 100, "{refused} were refused");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
}

/// Everybody who asks for the Manifest hears of damage at its very end, not only who needs the end.
#[test]
fn a_manifest_is_damaged_where_its_restoring_data_is() {
    let hooked = testing::hooked_with(&app(), HookSet::Buffer).unwrap().wasm;
    let manifest = hooked[data_of(&hooked, MANIFEST_SECTION)].to_vec();
    for data in [&manifest[..manifest.len() - 1], &[&manifest[..], &[0]].concat()] {
        let crafted = with_data(&hooked, MANIFEST_SECTION, data);
        let module = module::parse(&crafted).unwrap();
        let error = module.manifest().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore, "{error}");
        assert!(error.offset().is_some_and(|offset| offset <= crafted.len()), "{error}");
        assert_eq!(error.to_string(), strip(&crafted).unwrap_err().to_string());
        assert_eq!(label::label(&module).warnings.len(), 1);
        let run = runtime::run(&crafted, &Default::default(), |_| ());
        assert_eq!(run.unwrap_err().to_string(), error.to_string());
    }
}

/// A count costs nobody anything to write down; memory is for what is really there.
#[test]
fn counts_in_a_manifest_are_not_believed() {
    let hooked = instrument(&app(), &Options::default()).unwrap().wasm;
    let hash = [0xaa; 32];
    let empty = Manifest {
        hooks: Default::default(),
        buffer: None,
        input_sha256: hash,
        build_id: Vec::new(),
        probes: Vec::new(),
        restore: None,
    }
    .encode();
    let counts = empty.windows(32).position(|w| w == hash).unwrap() + 32;
    // Behind the hash stand counts, all of them 0. (And what says whether there is more: it is not believed either.)
    for at in counts..empty.len() {
        let data = [&empty[..at], &[0xff, 0xff, 0xff, 0xff, 0x0f], &empty[at + 1..]].concat();
        let error = strip(&with_data(&hooked, MANIFEST_SECTION, &data)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Restore);
        assert!(error.offset().is_some(), "{error}");
    }
}

/// Ids out of range, of imports, and names that a terminal would obey.
#[test]
fn a_manifest_of_another_module_does_no_harm() {
    let hooked = instrument(&app(), &Options::default()).unwrap().wasm;
    let other = instrument(&program("c_exit.wasm"), &Options::default()).unwrap().wasm;
    let theirs = other[data_of(&other, MANIFEST_SECTION)].to_vec();
    let crafted = with_data(&hooked, MANIFEST_SECTION, &theirs);
    assert_eq!(strip(&crafted).unwrap_err().kind(), ErrorKind::Restore);
    let module = module::parse(&crafted).unwrap();
    let labels = label::label(&module);
    assert_eq!(labels.iter().len(), module.func_count() as usize);
    // It is not proved either: the proof asks that the Manifest tells the truth.
    assert_eq!(verify::verify(&app(), &crafted).unwrap_err().kind(), ErrorKind::Verify);
}

#[test]
fn a_name_of_ten_megabytes_is_a_name() {
    let name = "n".repeat(10 << 20);
    let wasm = wat::parse_str(format!(r#"(module (func (@name "{name}") (export "_start")) (func $after))"#)).unwrap();
    assert_eq!(assert_harmless(&wasm), []);
    let hooked = instrument(&wasm, &Options::default()).unwrap().wasm;
    let module = module::parse(&hooked).unwrap();
    let labels = label::probes(&module).labels;
    assert!(labels.values().any(|label| *label.name == *name), "the Manifest holds it");
    // In a custom section of our own making, and as a section's name.
    let wasm = wat::parse_str(format!(r#"(module (func) (@custom "unknown" "{name}"))"#)).unwrap();
    assert_eq!(assert_harmless(&wasm), []);
}

/// The longest names that a module may have, as every kind of name, and mangled ones that stand for far more.
#[test]
fn long_names_are_carried_and_never_demangled_at_length() {
    let long = "x".repeat(99_999);
    let wasm = wat::parse_str(format!(
        r#"(module (import "{long}" "{long}" (func)) (func (@name "{long}") (export "{long}")) (memory 1))"#
    ))
    .unwrap();
    assert_eq!(assert_harmless(&wasm), []);
    // Each argument is a pair of the one before: 350 bytes for 2³⁵ names.
    let pairs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars().map(|n| format!("S_IS{n}_S{n}_E"));
    let bomb = format!("_Z1f1aIiiE{}", pairs.collect::<String>());
    let nested = format!("_Z{}1fE{}", "N".repeat(5_000), "v".repeat(5_000));
    let rust = format!("_R{}C1a", "NvB_".repeat(3_000));
    for name in [bomb, nested, rust] {
        let wasm = wat::parse_str(format!(r#"(module (func (@name "{name}")))"#)).unwrap();
        let mut options = Options::default();
        options.select.push("-nosuch::**").unwrap();
        let began = Instant::now();
        let out = instrument(&wasm, &options).unwrap();
        assert_eq!(out.manifest.unwrap().probes.len(), 1);
        let module = module::parse(&wasm).unwrap();
        let labels = label::label(&module);
        assert!(labels[module::FuncIdx(0)].demangled().len() <= 20_000);
        assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    }
}

/// Deep nesting is valid, so nothing may recurse over it.
#[test]
fn a_hundred_thousand_nested_blocks_do_not_end_the_stack() {
    let depth = 100_000;
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth)); // block
    body.push(0x0f); // return
    body.extend([0x0b].repeat(depth + 1));
    let mut code = wasm_encoder::CodeSection::new();
    code.raw(&body);
    let mut wasm = wasm_encoder::Module::new();
    let mut types = wasm_encoder::TypeSection::new();
    types.ty().function([], []);
    let mut functions = wasm_encoder::FunctionSection::new();
    functions.function(0);
    wasm.section(&types).section(&functions).section(&code);
    let wasm = wasm.finish();
    assert_harmless(&wasm);
}

/// A module that records as it pleases: its function does `body`, its buffer (memory 0) has `pages`, and its Manifest says
/// that blocks begin at `first_block`.
fn forged(set: HookSet, pages: &str, first_block: u32, body: &str) -> Vec<u8> {
    let flush = if set == HookSet::Threshold { "flush-counted" } else { "flush-words" };
    let text = format!(
        r#"(module (import "wasmtrace:recorder" "{flush}" (func $flush)) (memory (export "wasmtrace:buffer") {pages})
             (func (export "run") call $flush {body}))"#
    );
    let manifest = Manifest {
        hooks: set,
        buffer: Some(BufferPlace { export: "wasmtrace:buffer".to_owned(), first_block }),
        input_sha256: [0; 32],
        build_id: Vec::new(),
        probes: Vec::new(),
        restore: None,
    };
    let custom = custom(MANIFEST_SECTION, &manifest.encode());
    [wat::parse_str(text).unwrap(), custom].concat()
}

fn run_forged(wasm: &[u8]) -> Result<Vec<EventKind>, wasmtrace::Error> {
    let invoke = Some(Invoke { function: "run".to_owned(), args: Vec::new() });
    let mut seen = Vec::new();
    let config = Config { invoke, ..Default::default() };
    runtime::run(wasm, &config, |events| seen.extend(events.iter().map(|event| event.kind.clone())))?;
    Ok(seen)
}

/// Theorem: a module whose buffer is not what hooks make of it is run or refused; what no hook wrote is reported, and
/// nothing outside of the buffer is read.
#[test]
fn a_forged_buffer_is_reported_or_refused() {
    let foreign = EventKind::Manual(Box::new(Manual::Misuse(Misuse::ForeignEvent)));
    let set = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    // The cursor is moved into the header, backwards, between events, past the block, past the memory; a call that there is not goes on.
    for body in [
        set(0, 0),
        set(0, 8),
        set(0, 8192 + 2),
        set(0, 5 << 16),
        set(0, u32::MAX),
        set(8192, 2) + &set(0, 8200),
        set(0, 0) + " call $flush " + &set(0, 8192),
    ] {
        for hooks in [HookSet::Buffer, HookSet::Threshold] {
            let seen = run_forged(&forged(hooks, "17 17", 8192, &body)).unwrap();
            assert!(seen.contains(&foreign), "{body}: {seen:?}");
        }
    }
    // The same while the guest is interrupted: where its cursor is by then says nothing of where in the events that was.
    for cursor in [0, 8192 + 4096, 8192 * 3, 5 << 16, u32::MAX] {
        let body = format!(
            "(loop $l (i32.store (i32.const 16384) (i32.add (i32.load (i32.const 16384)) (i32.const 1))) {} \
             (br_if $l (i32.lt_u (i32.load (i32.const 16384)) (i32.const 4000000)))) call $flush {}",
            set(0, cursor),
            set(0, cursor / 2)
        );
        let invoke = Some(Invoke { function: "run".to_owned(), args: Vec::new() });
        let config = Config { invoke, sample: true, ..Default::default() };
        let mut tree = CallTree::new();
        runtime::run_batches(&forged(HookSet::Buffer, "17 17", 8192, &body), &config, |batch| {
            assert!(batch.marks.is_sorted_by_key(|mark| mark.at), "{cursor}");
            tree.batch(batch);
        })
        .unwrap();
    }
    // One that a hook could have written is an event.
    let event = set(8192, 4) + &set(0, 8196);
    assert_eq!(run_forged(&forged(HookSet::Buffer, "17 17", 8192, &event)).unwrap(), [EventKind::Enter(ProbeId(1))]);
    // A buffer that may move, is too small, begins in the header, or between blocks.
    for (pages, first_block) in
        [("17", 8192), ("17 18", 8192), ("0 0", 0), ("1 1", 57344), ("17 17", 0), ("17 17", 8200)]
    {
        for hooks in [HookSet::Buffer, HookSet::Threshold] {
            let seen = run_forged(&forged(hooks, pages, first_block, ""));
            assert!(seen.as_ref().map_or(true, Vec::is_empty), "{pages} {first_block}: {seen:?}");
        }
    }
    // The counters of five thousand functions do not fit in front of the first block.
    let mut many = String::from(
        r#"(module (import "wasmtrace:recorder" "flush-counted" (func)) (memory (export "wasmtrace:buffer") 2 2)"#,
    );
    many += &"(func)".repeat(5000);
    many += r#"(func (export "run") call 0))"#;
    let with_manifest = forged(HookSet::Threshold, "17 17", 8192, "");
    let manifest = data_of(&with_manifest, MANIFEST_SECTION);
    let many = [wat::parse_str(many).unwrap(), custom(MANIFEST_SECTION, &with_manifest[manifest])].concat();
    assert!(run_forged(&many).is_ok_and(|seen| seen.is_empty()));
}

/// A buffer is written by other threads, so it must be nothing that anybody else writes to: not the memory that WASI's calls are
/// given, by whatever name, and no other instance's.
#[test]
fn a_buffer_that_is_also_something_else_is_refused() {
    let manifest = |export: &str| {
        let buffer = Some(BufferPlace { export: export.to_owned(), first_block: 8192 });
        let (hooks, input_sha256) = (HookSet::Buffer, [0; 32]);
        let manifest =
            Manifest { hooks, buffer, input_sha256, build_id: Vec::new(), probes: Vec::new(), restore: None };
        custom(MANIFEST_SECTION, &manifest.encode())
    };
    let own = r#"(memory (export "wasmtrace:buffer+") 17 17)"#;
    for (memory, export, is_its_own) in [
        (own, "wasmtrace:buffer+", true),
        (r#"(memory 1) (memory (export "wasmtrace:buffer") 17 17)"#, "wasmtrace:buffer", true),
        (own, "wasmtrace:buffer", false),
        (r#"(memory (export "memory") 17 17)"#, "memory", false),
        (r#"(memory (export "memory") (export "wasmtrace:buffer") 17 17)"#, "wasmtrace:buffer", false),
        (r#"(import "other" "m" (memory 17 17)) (export "wasmtrace:buffer" (memory 0))"#, "wasmtrace:buffer", false),
    ] {
        let text = format!(
            r#"(module (import "wasmtrace:recorder" "flush-words" (func $flush)) {memory} (func (export "run") call $flush))"#
        );
        let wasm = [wat::parse_str(text).unwrap(), manifest(export)].concat();
        let ran = run_forged(&wasm);
        match is_its_own {
            true => assert!(ran.is_ok(), "{memory}: {ran:?}"),
            false => {
                let error = ran.unwrap_err().to_string();
                // Missing imports are reported before anything else.
                let missing = memory.contains("import") && error.contains("imports `m` from `other`");
                assert!(missing || error.contains("not used by the hooks alone"), "{memory}: {error}");
            }
        }
    }
}

/// Bodies that are decoded alone: what a later step would follow is looked at, what cannot be decoded is an error with its place,
/// and the rest is hooked as it is.
#[test]
fn bodies_that_nobody_validated_do_no_harm() {
    let trusting = Options { no_validate: true, ..Options::default() };
    let module = |body: &[u8]| {
        use wasm_encoder::{CodeSection, Function, FunctionSection, Module, TypeSection};
        let (mut types, mut funcs, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        funcs.function(0);
        let mut function = Function::new([]);
        function.raw(body.iter().copied());
        code.function(&function);
        let mut module = Module::new();
        module.section(&types).section(&funcs).section(&code);
        module.finish()
    };
    // try_table with a clause that names a label far outside; call, ref.func of nobody.
    let astray = module(&[0x1f, 0x40, 1, 0x02, 9, 0x0b, 0x0b]);
    let nobody = module(&[0x10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0b]);
    let next = module(&[0xd2, 1, 0x1a, 0x0b]);
    let unknown = module(&[0x27, 0x0b]);
    let unclosed = module(&[0x02, 0x40, 0x0b]);
    let behind = module(&[0x0b, 0x01]);
    for wasm in [&astray, &nobody, &next, &unknown, &unclosed, &behind] {
        let e = instrument(wasm, &trusting).unwrap_err();
        assert!(e.kind() == ErrorKind::Malformed && e.offset().is_some(), "{e}");
    }
    // Nothing on the stack to add, a branch to nowhere: not valid, and nobody's business here.
    for body in [&[0x6a, 0x0b][..], &[0x0c, 50, 0x0f, 0x0b], &[0x0d, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x0b]] {
        let wasm = module(body);
        assert!(module::parse(&wasm).is_err());
        let hooked = instrument(&wasm, &trusting).unwrap();
        assert!(module::parse(&hooked.wasm).is_err());
    }
}
