//! What the proofs are worth: the erasure check refuses whatever is not the original plus hooks, and `strip` gives the
//! original or nothing. It is oracle 2 of `docs/oracles.md` from its other side: `tests/compiler/rewriting.rs` shows that what is
//! right passes.

use std::ops::Range;

use testing::{Case, hooked_with, instrument};
use wasm_encoder::{CodeSection, Encode, Function, FunctionSection, Module, TypeSection, ValType};
use wasmtrace::hook::{BufferPlace, HOOK_SETS, HookSet, MANIFEST_SECTION, Manifest, ProbeId};
use wasmtrace::{ErrorKind, Options, module, rewrite, strip, verify};

/// The version that hooks were written by, as `producers` says it: any may have.
const VERSION: &str = concat!("\x09wasmtrace\x05", env!("CARGO_PKG_VERSION"));

/// Shapes in which a byte can change and nothing that it says.
const SLACK: [(&str, &str); 2] = [
    ("padded_lebs_in_sizes_and_counts", "declares no locals, of a type"),
    ("code_metadata_of_other_kinds", "has notes on places where no instruction begins"),
];

/// Longer outputs are repetition.
const LONGEST: usize = 1_000;

/// Where bytes stand that all have to be what they are. (The Manifest is left to `strip`, which has a hash.)
fn exact(wasm: &[u8]) -> Vec<Range<usize>> {
    let module = module::parse(wasm).unwrap();
    let exact = module.sections().iter().filter(|section| section.name != Some(MANIFEST_SECTION));
    let without_version = exact.map(|section| match section.name {
        Some("producers") if wasm[section.whole.clone()].ends_with(VERSION.as_bytes()) => {
            section.whole.start..section.whole.end - env!("CARGO_PKG_VERSION").len()
        }
        _ => section.whole.clone(),
    });
    without_version.collect()
}

/// Theorem: no byte of the output can be another one, if that is a module at all, without the check saying so: not in a
/// type, an import, a hook, a body, a buffer, nor in what is copied.
#[test]
fn no_byte_changes_unnoticed() {
    let mut refused = 0;
    let mut cases = testing::shapes();
    cases.retain(|case| SLACK.iter().all(|(name, _)| *name != case.name));
    cases.push(Case { name: "entries".into(), wasm: wat::parse_str(ENTRIES).unwrap(), not_run: None });
    cases.push(Case { name: "spans".into(), wasm: wat::parse_str(SPANS).unwrap(), not_run: None });
    for case in &cases {
        let keeps = case.name == "spans";
        for set in HOOK_SETS.into_iter().filter(|set| !keeps || *set == HookSet::Observe) {
            let hooked = if keeps { Ok(testing::balanced(&case.wasm)) } else { hooked_with(&case.wasm, set) };
            let Ok(out) = hooked else { continue };
            if (out.wasm.len() > LONGEST && !keeps) || out.manifest.is_none() {
                continue;
            }
            // The sets with a buffer differ from each other in hooks alone.
            let step = if set == HookSet::Observe { 1 } else { 3 };
            for at in exact(&out.wasm).into_iter().flatten().step_by(step) {
                let by = [1, 2, 0x0c, 0x40, 3];
                // 0x40 as the type of a block may be written as 0 too: it is made 0x7f.
                let by = if out.wasm[at] == 0x40 {
                    &[0x3f]
                } else if case.name == "entries" {
                    &by[..]
                } else {
                    &by[at % 5..][..1]
                };
                for by in by {
                    let mut changed = out.wasm.clone();
                    changed[at] ^= by;
                    if module::parse(&changed).is_err() {
                        continue;
                    }
                    let (is, was) = (changed[at], out.wasm[at]);
                    let found = verify::verify(&case.wasm, &changed);
                    assert!(found.is_err(), "{}, {set:?}: {was:#x} at {at:#x} may be {is:#x}", case.name);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

/// A module that opens spans, and is hooked so that it keeps them.
const SPANS: &str = r#"(module
    (import "dylibso:observe/api" "span-enter" (func $open (param i32 i32)))
    (import "dylibso:observe/api" "span-exit" (func $close))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (func (export "_start") (call $open (i32.const 7) (i32.const 6)) (call $close) unreachable))"#;

/// A module of every kind of entry that can hold the index of a function, or an expression that does.
const ENTRIES: &str = r#"(module
    (type $t (func))
    (import "env" "f" (func $f))
    (import "env" "t" (table $imported 1 funcref))
    (table $t 3 funcref (ref.func $g))
    (table $u 3 funcref (ref.func $g))
    (memory 1)
    (memory $n 1)
    (global $r funcref (ref.func $h))
    (global $i i32 (i32.const 5))
    (export "g" (func $g))
    (export "m" (memory 0))
    (start $h)
    (elem (table $t) (i32.const 0) func $g $h)
    (elem (table $imported) (i32.const 0) funcref (ref.func $f) (ref.null func))
    (elem funcref (ref.func $h) (ref.func $g))
    (elem declare func $f $g)
    (data (i32.const 0) "active")
    (data (memory $n) (i32.const 0) "elsewhere")
    (data "passive")
    (func $g (drop (ref.func $f)) (call_ref $t (ref.func $g)))
    (func $h (call $f) (return_call $g)))"#;

/// A module of everything that a hooked one can be wrong in.
const ORIGINAL: &str = r#"(module $module
    (import "env" "first" (func $first (param i32)))
    (import "env" "second" (func $second (param i32)))
    (@custom "before" (before global) "kept")
    (table 2 funcref)
    (memory 1)
    (global $g i32 (i32.const 5))
    (export "run" (func $run))
    (export "again" (func $again))
    (elem (i32.const 0) $run $again)
    (func $run (param $local i32) (call $first (local.get 0)) (call $second (local.get 0)))
    (func $again (param i32) (return_call $run (local.get 0)))
    (func (export "anon"))
    (data (i32.const 0) "kept")
    (@producers (language "C" "11"))
    (@custom "behind" (after data) "kept"))"#;

/// A module in pieces: sections with their ids, as contents.
struct Pieces(Vec<(u8, Vec<u8>)>);

impl Pieces {
    fn of(wasm: &[u8]) -> Pieces {
        let module = module::parse(wasm).unwrap();
        Pieces(module.sections().iter().map(|s| (s.id, wasm[s.contents.clone()].to_vec())).collect())
    }

    fn whole(&self) -> Vec<u8> {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for (id, contents) in &self.0 {
            wasm.push(*id);
            contents.encode(&mut wasm);
        }
        wasm
    }

    fn custom(name: &str, data: &[u8]) -> (u8, Vec<u8>) {
        let mut contents = Vec::new();
        name.encode(&mut contents);
        contents.extend_from_slice(data);
        (0, contents)
    }

    /// Where the section of this name stands.
    fn named(&self, name: &str) -> usize {
        let begins = Pieces::custom(name, &[]).1;
        self.0.iter().position(|(id, contents)| *id == 0 && contents.starts_with(&begins)).unwrap()
    }

    /// Changes the data of the section of this name: one string in it becomes another, as long, wherever it stands.
    fn says(&mut self, name: &str, old: &str, new: &str) {
        let at = self.named(name);
        let (bytes, mut said) = (&mut self.0[at].1, 0);
        for from in 1 + name.len()..=bytes.len() - old.len() {
            if bytes[from..].starts_with(old.as_bytes()) {
                bytes[from..from + old.len()].copy_from_slice(new.as_bytes());
                said += 1;
            }
        }
        assert!(said > 0, "{name} does not say {old}");
    }

    fn section(&mut self, id: u8) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(of, _)| *of == id).unwrap().1
    }

    /// Adds an entry to a section of fewer than 127.
    fn entry(&mut self, id: u8, entry: &[u8]) {
        self.section(id)[0] += 1;
        self.section(id).extend_from_slice(entry);
    }

    /// Changes what the Manifest says.
    fn manifest(&mut self, change: impl FnOnce(&mut Manifest)) {
        let at = self.named(MANIFEST_SECTION);
        let mut manifest = Manifest::decode(&self.0[at].1[1 + MANIFEST_SECTION.len()..], 0).unwrap();
        change(&mut manifest);
        self.0[at] = Pieces::custom(MANIFEST_SECTION, &manifest.encode());
    }

    /// Writes names of functions, and no others.
    fn names(&mut self, names: &[(u32, &str)]) {
        let mut section = wasm_encoder::NameSection::new();
        let mut map = wasm_encoder::NameMap::new();
        names.iter().for_each(|(func, name)| map.append(*func, name));
        section.functions(&map);
        let mut encoded = Vec::new();
        section.encode(&mut encoded);
        let at = self.named("name");
        // Its size is a byte.
        self.0[at] = (0, encoded[1..].to_vec());
    }
}

type Forgery = (&'static str, fn(&mut Pieces));

/// What makes a hooked module one that is not the original plus hooks, in any hook set.
const FORGERIES: [Forgery; 35] = [
    ("a section more", |m| m.0.push(Pieces::custom("evil", b""))),
    ("a section less", |m| drop(m.0.remove(m.named("before")))),
    ("a section elsewhere", |m| {
        let section = m.0.remove(m.named("before"));
        m.0.push(section);
    }),
    ("two sections of each other's data", |m| {
        let (a, b) = (m.named("before"), m.named("behind"));
        m.0.swap(a, b);
    }),
    ("no notes on any instruction, and a section in their place", |m| {
        let at = m.named("before");
        m.0.insert(at, Pieces::custom("metadata.code.evil", &[0]));
    }),
    ("a type more, which nothing needs, and a function of it", |m| {
        m.entry(1, &[0x60, 0, 0]);
        let last = m.section(1)[0] - 1;
        m.entry(3, &[last]);
        m.entry(10, &[2, 0, 0x0b]);
    }),
    ("a type more, which nothing needs", |m| m.entry(1, &[0x60, 0, 0])),
    ("a type more, of a structure", |m| m.entry(1, &[0x5f, 0])),
    ("a type that others may extend", |m| {
        let types = m.section(1);
        let last = types.iter().rposition(|byte| *byte == 0x60).unwrap();
        types.splice(last..last, [0x50, 0]);
    }),
    ("a table more", |m| m.entry(4, &[0x70, 0, 1])),
    ("a memory more", |m| m.entry(5, &[0, 1])),
    ("a global more", |m| m.entry(6, &[0x7f, 0, 0x41, 0, 0x0b])),
    ("an export more", |m| m.entry(7, &[4, b'e', b'v', b'i', b'l', 3, 0])),
    ("an element segment more", |m| m.entry(9, &[1, 0, 0])),
    ("a data segment more", |m| m.entry(11, &[1, 1, 0])),
    ("a second Manifest", |m| m.0.push(m.0[m.named(MANIFEST_SECTION)].clone())),
    ("a second name section", |m| m.0.push(m.0[m.named("name")].clone())),
    ("another name for what has none of its own", |m| m.says("name", "anon", "evil")),
    ("another name for what hooks call", |m| m.says("name", ":", ";")),
    ("another name of the module", |m| m.says("name", "module", "evil..")),
    ("another name of a local", |m| m.says("name", "local", "evil.")),
    ("names, and what is none", |m| {
        let at = m.named("name");
        m.0[at].1.extend(b"\x63\x04evil");
    }),
    ("names before all else", |m| {
        let names = m.0.remove(m.named("name"));
        m.0.insert(0, names);
    }),
    ("another producer", |m| m.says("producers", "11", "12")),
    ("a producer who is not us", |m| m.says("producers", "wasmtrace", "wasmtrick")),
    ("no producers", |m| drop(m.0.remove(m.named("producers")))),
    ("producers twice", |m| m.0.push(m.0[m.named("producers")].clone())),
    ("a source map where there was none", |m| {
        let at = m.named(MANIFEST_SECTION);
        m.0.insert(at, Pieces::custom("sourceMappingURL", b"\x04evil"));
    }),
    ("a debug file where there was none", |m| m.0.push(Pieces::custom("external_debug_info", b"\x04evil"))),
    ("a Manifest of fewer functions", |m| m.manifest(|m| drop(m.probes.pop()))),
    ("a Manifest of other functions", |m| m.manifest(|m| m.probes.last_mut().unwrap().id = ProbeId(99))),
    ("a Manifest of another name", |m| m.manifest(|m| m.probes[0].label.name = "evil".into())),
    ("a Manifest of another input", |m| m.manifest(|m| m.input_sha256[31] ^= 1)),
    ("a Manifest of another build", |m| m.manifest(|m| m.build_id.push(7))),
    ("an import more, before those of the hooks", |m| {
        let imports = m.section(2);
        let hook = HOOK_SETS.iter().flat_map(|set| set.imports()).find_map(|hook| {
            let mut name = Vec::new();
            hook.module.encode(&mut name);
            imports.windows(name.len()).position(|bytes| *bytes == name)
        });
        let hook = hook.unwrap();
        imports.splice(hook..hook, *b"\x04evil\x01g\x03\x7f\0");
        imports[0] += 1;
    }),
];

/// Theorem: a hooked module to which something is added, or from which something is taken, is refused by the check and by
/// `strip`; with and without trampolines around imported functions.
#[test]
fn what_is_added_or_taken_is_found_out() {
    let original = wat::parse_str(ORIGINAL).unwrap();
    for set in HOOK_SETS {
        for imports in [false, true] {
            let mut options =
                Options { rewrite: rewrite::Options { hooks: set, ..Default::default() }, ..Default::default() };
            options.select.imports = imports;
            let hooked = instrument(&original, &options).unwrap().wasm;
            assert!(Pieces::of(&hooked).whole() == hooked);
            for (what, forge) in FORGERIES {
                let mut pieces = Pieces::of(&hooked);
                forge(&mut pieces);
                let forged = pieces.whole();
                module::parse(&forged).unwrap_or_else(|e| panic!("{what}: {e}"));
                let refused = verify::verify(&original, &forged).expect_err(what);
                assert_eq!(refused.kind(), ErrorKind::Verify, "{what}: {refused}");
                let refused = strip(&forged).expect_err(what);
                assert_eq!(refused.kind(), ErrorKind::Restore, "{what}: {refused}");
            }
        }
    }
}

/// Theorem: the Manifest speaks of the hooks and of the buffer that there are.
#[test]
fn a_manifest_of_other_hooks_is_found_out() {
    let original = wat::parse_str(ORIGINAL).unwrap();
    let hooked = hooked_with(&original, HookSet::Buffer).unwrap().wasm;
    let refused = |change: fn(&mut Manifest)| {
        let mut pieces = Pieces::of(&hooked);
        pieces.manifest(change);
        verify::verify(&original, &pieces.whole()).unwrap_err().to_string()
    };
    let other = "the Manifest names a hook set or buffer that the module does not have";
    assert!(refused(|m| m.hooks = HookSet::Threshold).contains(other));
    assert!(refused(|m| m.buffer.as_mut().unwrap().first_block += 4).contains(other));
    let elsewhere = |m: &mut Manifest| {
        let first_block = m.buffer.as_ref().unwrap().first_block;
        m.buffer = Some(BufferPlace { export: "run".into(), first_block });
    };
    assert!(refused(elsewhere).contains(other));
}

/// Theorem: every function that had a name has it still, and every hooked one has a name: hosts look probes up there.
#[test]
fn names_that_are_lost_are_found_out() {
    let original = wat::parse_str(ORIGINAL).unwrap();
    let nameless = wat::parse_str("(module (func) (func (nop)))").unwrap();
    let check = |original: &[u8], names: &[(u32, &str)]| {
        let hooked = hooked_with(original, HookSet::Observe).unwrap().wasm;
        let mut pieces = Pieces::of(&hooked);
        pieces.names(names);
        verify::verify(original, &pieces.whole()).map_err(|e| e.to_string())
    };
    let all = [(0, "first"), (1, "evil"), (5, "run"), (6, "again"), (7, "anon")];
    assert!(check(&original, &all).unwrap_err().contains("function 1"));
    assert!(check(&original, &[(0, "first"), (1, "second"), (5, "run")]).unwrap_err().contains("function 3"));
    assert!(check(&nameless, &[(3, "a")]).unwrap_err().contains("function 4 is hooked and has no name"));
}

/// Theorem: what is proved is all that is asked: that there is a Manifest is not. Without one nothing says what a function that had
/// no name is to be called.
#[test]
fn a_module_without_a_manifest_is_the_original_plus_hooks_too() {
    let original = wat::parse_str(ORIGINAL).unwrap();
    let mut pieces = Pieces::of(&hooked_with(&original, HookSet::Observe).unwrap().wasm);
    let with = verify::verify(&original, &pieces.whole()).unwrap();
    let at = pieces.named(MANIFEST_SECTION);
    pieces.0.remove(at);
    assert_eq!(verify::verify(&original, &pieces.whole()).unwrap(), with);
    assert_eq!((with.functions, with.hooked, with.memory_grows), (3, 3, 0));
    pieces.says("name", "anon", "what");
    assert_eq!(verify::verify(&original, &pieces.whole()).unwrap(), with);
    pieces.says("name", "again", "never");
    assert_eq!(verify::verify(&original, &pieces.whole()).unwrap_err().kind(), ErrorKind::Verify);
    assert!(strip(&pieces.whole()).unwrap_err().to_string().contains("not written by this tool"));
}

/// Theorem: as many types as the wrapper blocks need are appended, and taken back: also where their number is longer than a
/// byte.
#[test]
fn several_hundred_types_are_appended_and_taken_back() {
    let kinds = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
    for functions in [127_usize, 128, 300] {
        let (mut types, mut funcs, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
        for i in 0..functions {
            // A parameter, so that no type of the original is one of a block; other results in each.
            let results: Vec<ValType> = (0..5).map(|digit| kinds[i / 4_usize.pow(digit) % 4]).collect();
            types.ty().function([ValType::I32], results);
            funcs.function(i as u32);
            let mut body = Function::new([]);
            body.instructions().unreachable().end();
            code.function(&body);
        }
        let mut module = Module::new();
        module.section(&types).section(&funcs).section(&code);
        let original = module.finish();
        for set in HOOK_SETS {
            let hooked = hooked_with(&original, set).unwrap().wasm;
            let types = |wasm: &[u8]| Pieces::of(wasm).section(1).len();
            assert!(types(&hooked) - types(&original) > 8 * functions, "a type for each");
            assert!(strip(&hooked).unwrap() == original, "strip gives something else");
        }
    }
}

/// Theorem: with a trampoline for each import there are more functions than the original has, and their number may be a byte longer;
/// it is taken back.
#[test]
fn trampolines_are_taken_back_where_their_number_is_a_byte_longer() {
    let import = |i: usize| format!("(import \"env\" \"f{i}\" (func))");
    for functions in [125, 126, 127, 128, 16_382, 16_383] {
        let imports: String = (0..2).map(import).collect();
        let original = wat::parse_str(format!("(module {imports} {})", "(func)".repeat(functions))).unwrap();
        let mut options = Options::default();
        options.select.imports = true;
        let hooked = instrument(&original, &options).unwrap();
        assert_eq!(hooked.manifest.unwrap().probes.len(), functions + 2);
        assert!(strip(&hooked.wasm).unwrap() == original, "{functions} functions");
    }
}

/// Theorem: what is proved is counted: functions, how many of them are hooked, and the `memory.grow`s that report.
#[test]
fn what_is_proved_is_counted() {
    let grow = "(drop (memory.grow (i32.const 0)))";
    let original = wat::parse_str(format!(
        "(module (memory 1) (memory 1) (func $a {grow} {grow}) (func $b {grow} (drop (memory.grow 1 (i32.const 0)))) (func $c))"
    ))
    .unwrap();
    for (rule, hooked, memory_grows) in [("**", 3, 3), ("b", 1, 3), ("-**", 0, 0)] {
        let mut options = Options::default();
        options.select.push(rule).unwrap();
        let out = instrument(&original, &options).unwrap().wasm;
        let verified = verify::verify(&original, &out).unwrap();
        assert_eq!((verified.functions, verified.hooked, verified.memory_grows), (3, hooked, memory_grows), "{rule}");
    }
}

/// Theorem: functions that are hooked stand beside functions that are not, of which only the indices are others.
#[test]
fn modules_are_hooked_in_part() {
    testing::for_each(testing::shapes(), |case| {
        let functions = module::parse(&case.wasm).unwrap().func_count();
        for (set, odd) in HOOK_SETS.into_iter().flat_map(|set| [(set, 0), (set, 1)]) {
            let mut options =
                Options { rewrite: rewrite::Options { hooks: set, ..Default::default() }, ..Default::default() };
            let unwanted = (0..functions.min(100)).filter(|func| func % 2 == odd);
            unwanted.for_each(|func| options.select.push(&format!("-idx:{func}")).unwrap());
            let out = match instrument(&case.wasm, &options) {
                Err(e) if e.kind() == ErrorKind::Unsupported && set.has_buffer() => continue,
                out => out.unwrap(),
            };
            let Some(manifest) = &out.manifest else { continue };
            assert!(manifest.probes.iter().all(|p| p.id.0 > 100 || (p.id.0 - set.imports().len() as u32) % 2 != odd));
            assert_eq!(verify::verify(&case.wasm, &out.wasm).unwrap().hooked, manifest.probes.len());
            assert!(strip(&out.wasm).unwrap() == case.wasm, "strip gives something else");
        }
    });
}

/// Theorem: a number that was padded keeps its width where that has room, so that what is behind it stays where it was.
#[test]
fn padded_numbers_keep_their_width() {
    // A function without results, which calls itself with five bytes, and returns with one.
    let code = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x0a\x01\x08\0\x10\x80\x80\x80\x80\0\x0b";
    let hooked = hooked_with(code, HookSet::Observe).unwrap().wasm;
    let call = b"\x10\x83\x80\x80\x80\0";
    assert!(hooked.windows(call.len()).any(|bytes| bytes == call));
}

/// Theorem: of sections of notes on instructions those that fit the code are kept and the others are left out, also where both
/// have the same name, and `strip` gives all of them back.
#[test]
fn notes_that_fit_are_kept_and_the_others_left_out() {
    let fits = [1, 0, 1, 3, 1, 1];
    let bad: [(&str, &[u8]); 6] = [
        ("cut short", &[1, 0, 2, 3, 1, 1]),
        ("on an offset behind the body", &[1, 0, 1, 100, 1, 1]),
        ("on a function without a body", &[1, 9, 1, 3, 1, 1]),
        ("bytes past the end", &[1, 0, 1, 3, 1, 1, 0]),
        ("a number that does not end", &[1, 0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        ("a target without a frequency", &[1, 0, 1, 3, 1, 0]),
    ];
    let text = |data: &[u8]| data.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    for (what, data) in bad {
        let name = format!("metadata.code.{}", if what.contains("target") { "call_targets" } else { "branch_hint" });
        let good: &[u8] = if what.contains("target") { &[1, 0, 1, 3, 2, 0, 1] } else { &fits };
        for sections in [[data, good], [good, data], [data, data], [good, good]] {
            let [first, second] = sections.map(|data| format!("(@custom {name:?} (before code) \"{}\")", text(data)));
            let wasm = wat::parse_str(format!(
                "(module (func $f (export \"f\") (param i32) (local.get 0) (if (then (call $f (i32.const 0))))) {first} {second})"
            ))
            .unwrap();
            let kept = sections.into_iter().filter(|section| *section == good).count();
            for set in HOOK_SETS {
                let out = hooked_with(&wasm, set).unwrap();
                verify::verify(&wasm, &out.wasm).unwrap_or_else(|e| panic!("{what}, {set:?}: {e}"));
                assert_eq!(strip(&out.wasm).unwrap(), wasm);
                let parsed = module::parse(&out.wasm).unwrap();
                let notes = parsed.sections().iter().filter(|section| section.name == Some(&name));
                let notes: Vec<_> = notes.map(|section| section.whole.clone()).collect();
                assert_eq!((notes.len(), out.warnings.len()), (kept, 2 - kept), "{what}, {set:?}: {:?}", out.warnings);
                for whole in notes {
                    let without = [&out.wasm[..whole.start], &out.wasm[whole.end..]].concat();
                    assert!(verify::verify(&wasm, &without).is_err(), "{what}, {set:?}");
                    // The bytes behind the name.
                    for at in whole.end - good.len()..whole.end {
                        let mut changed = out.wasm.clone();
                        changed[at] ^= 1;
                        assert!(verify::verify(&wasm, &changed).is_err(), "{what}, {set:?}: a byte at {at:#x}");
                    }
                }
            }
        }
    }
}
