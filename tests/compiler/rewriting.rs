//! What is written is the original plus hooks, and nothing else: oracles 1, 2, 3 and 11 of `docs/oracles.md`.

use testing::{hooked_with, instrument};
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::module::{FuncIdx, parse};
use wasmtrace::rewrite::CloseOnExit;
use wasmtrace::{ErrorKind, Options, features, injected, rewrite, strip, verify};

fn nothing_selected() -> Options {
    let mut options = Options::default();
    options.select.push("-**").unwrap();
    options
}

/// Theorem: a plan that hooks nothing yields the input, byte for byte.
#[test]
fn an_empty_plan_yields_the_input() {
    testing::for_each(testing::modules(), |case| {
        let out = instrument(&case.wasm, &nothing_selected()).unwrap();
        assert!(out.wasm == case.wasm);
        assert!(out.manifest.is_none());
    });
}

/// Every hook set, without and with trampolines around imported functions; that of the host's calls also with what balances it.
fn every_way() -> impl Iterator<Item = Options> {
    let all = HOOK_SETS.into_iter().flat_map(|hooks| [false, true].map(|imports| with(hooks, imports)));
    let balanced = all.clone().filter(|way| !way.rewrite.hooks.has_buffer()).map(|mut way| {
        way.rewrite.close_on_exit = CloseOnExit::Always;
        way
    });
    all.chain(balanced)
}

fn with(hooks: HookSet, imports: bool) -> Options {
    let mut options = Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() };
    options.select.imports = imports;
    options
}

/// What the module becomes; `None` where the hook set is not for it: several threads cannot share a buffer.
fn hooked(wasm: &[u8], options: &Options) -> Option<rewrite::Rewritten> {
    match instrument(wasm, options) {
        Ok(out) => Some(out),
        Err(e) if e.kind() == ErrorKind::Unsupported && options.rewrite.hooks.has_buffer() => {
            assert!(e.to_string().contains("shared memory"), "{e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Theorem: take the hooks out of the output and the input stands there; every way out passes its exit.
#[test]
fn erasing_the_hooks_leaves_the_input() {
    testing::for_each(testing::modules(), |case| {
        for options in every_way() {
            let Some(out) = hooked(&case.wasm, &options) else { continue };
            let checked = verify::verify(&case.wasm, &out.wasm).unwrap();
            let imports = out.manifest.as_ref().map_or(0, |m| m.probes.len()) - checked.hooked;
            assert!(options.select.imports || imports == 0);
            if checked.hooked > 0 {
                assert!(strip(&out.wasm).unwrap() == case.wasm, "strip gives something else");
            }
        }
    });
}

/// Theorem: the output needs no feature that the input did not need, but that a buffer beside memories needs several, and what
/// balances a module tables of functions.
#[test]
fn hooks_need_no_new_feature() {
    testing::for_each(testing::modules(), |case| {
        for options in every_way() {
            let Some(out) = hooked(&case.wasm, &options) else { continue };
            let new = features::added(&parse(&case.wasm).unwrap(), &parse(&out.wasm).unwrap());
            assert!(new.is_empty(), "{new:?}");
        }
    });
}

/// Theorem: the output does not depend on the number of threads, nor on the run.
#[test]
fn the_output_is_the_same_for_one_and_for_many_threads() {
    let [one, seven] = [1, 7].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    testing::for_each(testing::modules(), |case| {
        for way in every_way() {
            // Made by another run.
            let Some(remembered) = hooked(&case.wasm, &way) else { continue };
            for pool in [&one, &seven] {
                let out = pool.install(|| wasmtrace::instrument(&case.wasm, &way)).unwrap();
                assert!(out.wasm == remembered.wasm);
            }
        }
    });
}

/// A module that is to be refused gets its reason, and an offset.
#[test]
fn what_cannot_be_hooked_is_refused_with_a_reason() {
    for (case, why) in testing::refused_shapes() {
        let e = instrument(&case.wasm, &Options::default())
            .err()
            .unwrap_or_else(|| panic!("{} is not refused ({why})", case.name));
        let hooked_already = e.kind() == wasmtrace::ErrorKind::AlreadyHooked;
        assert!(e.offset().is_some() || hooked_already, "{}: {e}", case.name);
    }
}

/// Hooking twice is refused; forced, it gives what hooking the original gives.
#[test]
fn a_hooked_module_is_hooked_again_only_by_force() {
    let case = testing::programs().into_iter().find(|c| c.name == "c_exit").unwrap();
    let once = instrument(&case.wasm, &Options::default()).unwrap().wasm;
    let e = instrument(&once, &Options::default()).unwrap_err();
    assert_eq!(e.kind(), wasmtrace::ErrorKind::AlreadyHooked);
    let forced = instrument(&once, &Options { force: true, ..Default::default() }).unwrap().wasm;
    assert!(forced == once);
}

/// Limits of engines are met with a warning or an error, never with an invalid module.
#[test]
fn at_the_limits_of_engines_hooks_are_left_out_or_refused() {
    use wasm_encoder::{
        CodeSection, Function, FunctionSection, MemorySection, MemoryType, Module, TypeSection, ValType,
    };
    let module = |functions: u32, body: &Function| {
        let mut module = Module::new();
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let (mut funcs, mut memories, mut code) = (FunctionSection::new(), MemorySection::new(), CodeSection::new());
        for _ in 0..functions {
            funcs.function(0);
            code.function(body);
        }
        memories.memory(MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None });
        module.section(&types).section(&funcs).section(&memories).section(&code);
        module.finish()
    };
    // No room for the scratch local of the memory.grow hook.
    let mut full = Function::new([(50_000, ValType::I64)]);
    full.instructions().i32_const(1).memory_grow(0).drop().end();
    let out = instrument(&module(1, &full), &Options::default()).unwrap();
    assert!(out.warnings.iter().any(|w| w.message.contains("no room for another local")), "{:?}", out.warnings);
    assert_eq!(verify::verify(&module(1, &full), &out.wasm).unwrap().memory_grows, 0);

    // Up to the last local, in each hook set.
    for (set, locals) in HOOK_SETS.into_iter().flat_map(|set| (49_996..=50_000).map(move |locals| (set, locals))) {
        let mut nearly = Function::new([(locals, ValType::I64)]);
        nearly.instructions().i32_const(1).memory_grow(0).drop().end();
        let wasm = module(1, &nearly);
        let out = hooked_with(&wasm, set).unwrap();
        wasmparser::validate(&out.wasm).unwrap_or_else(|e| panic!("{locals}, {set:?}: {e}"));
        assert!(strip(&out.wasm).unwrap() == wasm);
    }

    // A body of just the size that engines accept.
    let mut large = Function::new([]);
    for _ in 0..7_654_321 - 2 {
        large.instructions().nop();
    }
    large.instructions().end();
    let wasm = module(1, &large);
    let out = instrument(&wasm, &Options::default()).unwrap();
    assert!(out.warnings.iter().any(|w| w.message.contains("size that engines accept")), "{:?}", out.warnings);
    assert_eq!(out.manifest.unwrap().probes.len(), 0);

    // Around the largest body for which hooks have room: none is written that engines refuse.
    let mut hooked = 0;
    for room in 4..=24 {
        let mut body = Function::new([]);
        for _ in 0..7_654_321 - 2 - room {
            body.instructions().nop();
        }
        body.instructions().end();
        let wasm = module(1, &body);
        let out = instrument(&wasm, &Options { no_validate: true, ..Default::default() }).unwrap();
        wasmparser::validate(&out.wasm).unwrap_or_else(|e| panic!("{room}: {e}"));
        hooked += out.manifest.map_or(0, |manifest| manifest.probes.len());
    }
    assert!((1..20).contains(&hooked), "{hooked}");

    // The number of functions: indices of every width, and the last that fits.
    let mut small = Function::new([]);
    small.instructions().end();
    for functions in [127, 128, 16_383, 16_384] {
        let wasm = module(functions, &small);
        let out = instrument(&wasm, &Options::default()).unwrap();
        assert_eq!(verify::verify(&wasm, &out.wasm).unwrap().hooked as u32, functions);
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
    let e = instrument(&module(999_998, &small), &Options::default()).unwrap_err();
    assert_eq!(e.kind(), wasmtrace::ErrorKind::Limit);
}

/// Theorem: the buffer is exported beside whatever else has its name.
#[test]
fn a_buffer_has_a_name_that_nothing_else_has() {
    let wasm = wat::parse_str(r#"(module (memory (export "wasmtrace:buffer") 1) (func (export "wasmtrace:buffer+")))"#);
    for set in HOOK_SETS.into_iter().filter(|set| set.has_buffer()) {
        let out = hooked_with(wasm.as_ref().unwrap(), set).unwrap();
        wasmparser::validate(&out.wasm).unwrap();
        assert_eq!(out.manifest.unwrap().buffer.unwrap().export, "wasmtrace:buffer++");
    }
}

/// The check knows its hooks and nothing else: an import that is slipped in behind them would be counted before the
/// module's own globals, and everything that is copied would mean something else.
#[test]
fn an_import_behind_the_hooks_is_found_out() {
    let wasm =
        wat::parse_str("(module (global i32 (i32.const 5)) (func (export \"f\") (result i32) global.get 0))").unwrap();
    let mut hooked = instrument(&wasm, &Options::default()).unwrap().wasm;
    let imports =
        wasmtrace::module::parse(&hooked).unwrap().sections().iter().find(|s| s.id == 2).unwrap().contents.clone();
    let global = b"\x04evil\x01g\x03\x7f\x00";
    hooked.splice(imports.end..imports.end, global.iter().copied());
    hooked[imports.start] += 1;
    hooked[imports.start - 1] += global.len() as u8;
    wasmtrace::module::parse(&hooked).expect("it is a module");
    let e = verify::verify(&wasm, &hooked).unwrap_err();
    assert_eq!(e.kind(), wasmtrace::ErrorKind::Verify, "{e}");
    assert_eq!(strip(&hooked).unwrap_err().kind(), wasmtrace::ErrorKind::Restore);
}

/// A function of every kind that hooks have a way with: exits, a panic, a tail call, a handler, an import.
const OF_EVERY_KIND: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (tag $e (param i32))
  (memory 1)
  (table $t 4 funcref)
  (global $g (mut i32) (i32.const 7))
  (elem (i32.const 1) $tail $caught)
  (func $caught (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $e $h) (throw $e (i32.const 1)))))
  (func $tail (result i32) (return_call $caught))
  (func (export "run") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (memory.grow (i32.const 1)))))
    (if (i32.eq (local.get $n) (i32.const 1)) (then unreachable))
    (call $exit (global.get $g))
    (call_indirect $t (result i32) (local.get $n))))"#;

/// Theorem: the check finds out whatever changes in a hooked module: no bit of it (but of custom sections) can be another one.
#[test]
fn no_bit_of_a_hooked_module_changes_unseen() {
    let original = wat::parse_str(OF_EVERY_KIND).unwrap();
    let tried = std::sync::atomic::AtomicUsize::new(0);
    for options in every_way() {
        let out = hooked(&original, &options).unwrap().wasm;
        verify::verify(&original, &out).unwrap();
        let module = wasmtrace::module::parse(&out).unwrap();
        for section in module.sections().iter().filter(|section| section.name.is_none()) {
            for (at, bit) in section.whole.clone().flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut changed = out.clone();
                changed[at] ^= 1 << bit;
                let verdict = verify::verify(&original, &changed);
                assert!(verdict.is_err(), "bit {bit} of byte {at:#x} in section {} with {options:?}", section.id);
                tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
    assert!(tried.into_inner() > 40_000, "little was tried");
}

/// Theorem: a body's locals come back where one more group of them makes their number a byte longer, and where it does not.
#[test]
fn locals_come_back_however_many_groups_there_are() {
    for groups in [0, 1, 126, 127, 128, 16_383] {
        let locals: String = (0..groups).map(|group| if group % 2 == 0 { "i32 " } else { "i64 " }).collect();
        let wasm =
            wat::parse_str(format!("(module (memory 1) (func (local {locals}) (drop (memory.grow (i32.const 1)))))"));
        let wasm = wasm.unwrap();
        for options in every_way() {
            let out = hooked(&wasm, &options).unwrap().wasm;
            verify::verify(&wasm, &out).unwrap();
            assert!(strip(&out).unwrap() == wasm, "{groups} groups, {options:?}");
        }
    }
}

/// Theorem: a function that is appended is all that it should be, and not an end of it: `$enter` may end in what is a whole body,
/// and one that does nothing.
#[test]
fn what_is_appended_is_not_taken_for_less_than_it_is() {
    let wasm = wat::parse_str(r#"(module (func (export "run") unreachable))"#).unwrap();
    let mut options = Options::default();
    options.rewrite.close_on_exit = CloseOnExit::Always;
    let out = instrument(&wasm, &options).unwrap().wasm;
    verify::verify(&wasm, &out).unwrap();
    let module = wasmtrace::module::parse(&out).unwrap();
    let code = module.sections().iter().find(|section| section.id == 10).unwrap();
    let enter = module.body(wasmtrace::module::FuncIdx(4));
    assert_eq!(out[enter.end - 2..enter.end], [0x00, 0x0b], "`global.set 0`, `end`: so the end of it is a body");
    let mut emptied = out[..code.contents.start - 2].to_vec();
    let contents =
        [&out[code.contents.start..enter.start - 1], &[2, 0x00, 0x0b], &out[enter.end..code.contents.end]].concat();
    // The size of the section is a number of two bytes here.
    emptied.extend([contents.len() as u8 | 0x80, (contents.len() >> 7) as u8]);
    emptied.extend([&contents[..], &out[code.contents.end..]].concat());
    wasmtrace::module::parse(&emptied).expect("it is a module");
    assert_eq!(verify::verify(&wasm, &emptied).unwrap_err().kind(), ErrorKind::Verify);
}

/// A shared function can call nothing that is not shared: an import that it calls gets no shim.
#[test]
fn a_shared_proc_exit_is_left_alone() {
    let wasm = wat::parse_str(
        r#"(module
          (type $t (shared (func (param i32))))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (type $t)))
          (func $leaves (type $t) (call $exit (local.get 0)))
          (func (export "run")))"#,
    )
    .unwrap();
    for close_on_exit in [CloseOnExit::WhereItExits, CloseOnExit::Always] {
        let mut options = Options::default();
        options.rewrite.close_on_exit = close_on_exit;
        let out = instrument(&wasm, &options).unwrap().wasm;
        wasmtrace::module::parse(&out).expect("valid with hooks too");
        verify::verify(&wasm, &out).unwrap();
        assert!(strip(&out).unwrap() == wasm);
    }
}

fn always() -> Options {
    let mut options = Options::default();
    options.rewrite.close_on_exit = CloseOnExit::Always;
    options
}

/// Theorem: what stands before an `unreachable` comes out again if it is a hook, and stays if it is the guest's, even where its bytes
/// are those of the hook: `i32.const 16`, `drop` ends in what `call 26` is.
#[test]
fn what_looks_like_a_hook_stays() {
    let mut alike = 0;
    for functions in 0..30 {
        let before = "(func (type $own))".repeat(functions);
        // A shared function has no hooks, since it could not call them.
        let wasm = wat::parse_str(format!(
            "(module (type $t (shared (func))) (type $own (func)) {before}
               (func (type $t) (drop (i32.const 16)) unreachable)
               (func (type $own) (drop (i32.const 16)) unreachable))"
        ))
        .unwrap();
        let out = instrument(&wasm, &always()).unwrap().wasm;
        verify::verify(&wasm, &out).unwrap();
        assert!(strip(&out).unwrap() == wasm, "{functions} functions before");
        let module = wasmtrace::module::parse(&out).unwrap();
        let body = module.body(wasmtrace::module::FuncIdx(functions as u32 + 3));
        assert_eq!(out[body.start..body.end], [0, 0x41, 16, 0x1a, 0, 0x0b], "without hooks");
        // `$balance` is the last of three behind all others.
        alike += usize::from(functions + 3 + 2 + 2 == 0x1a);
    }
    assert_eq!(alike, 1);
}

/// Theorem: a function that is too large to exit what is open before it is `unreachable` is named, hooked or not, and nothing else is
/// lost for it.
#[test]
fn a_body_that_is_too_large_to_be_balanced_is_named() {
    let body = "unreachable ".repeat(3_000_000);
    let wasm = wat::parse_str(format!("(module (func $large {body}) (func $small unreachable))")).unwrap();
    for (rule, says) in [
        ("-large", "large does not exit open calls before `unreachable`: its body would exceed the size"),
        ("-small", "large is not hooked, and does not exit open calls before `unreachable`: its body would exceed"),
    ] {
        let mut options = always();
        options.select.push(rule).unwrap();
        let out = instrument(&wasm, &options).unwrap();
        assert!(out.warnings.iter().any(|warning| warning.message.starts_with(says)), "{:?}", out.warnings);
        verify::verify(&wasm, &out.wasm).unwrap();
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
}

/// Theorem: a function that is not hooked exits what is open before it is `unreachable` too, and the check sees if it does not.
#[test]
fn no_way_out_goes_without_what_balances_it() {
    let wasm = wat::parse_str("(module (func $hooked) (func $other nop unreachable))").unwrap();
    let mut options = always();
    options.select.push("hooked").unwrap();
    let out = instrument(&wasm, &options).unwrap().wasm;
    verify::verify(&wasm, &out).unwrap();
    let module = wasmtrace::module::parse(&out).unwrap();
    let code = module.sections().iter().find(|section| section.id == 10).unwrap();
    let other = module.body(wasmtrace::module::FuncIdx(4));
    assert_eq!(out[other.clone()], [0, 0x01, 0x10, 7, 0, 0x0b], "nop, call $balance, unreachable");
    let mut without = out[..code.contents.start - 2].to_vec();
    let size = code.contents.len() - 2;
    // The size of the section is a number of two bytes here.
    without.extend([size as u8 | 0x80, (size >> 7) as u8]);
    without.extend([&out[code.contents.start..other.start - 1], &[4, 0, 0x01, 0, 0x0b], &out[other.end..]].concat());
    wasmtrace::module::parse(&without).expect("it is a module");
    assert_eq!(verify::verify(&wasm, &without).unwrap_err().kind(), ErrorKind::Verify);
}

/// Theorem: where a module says what it uses of WebAssembly, it says so with its hooks too, and of them; where it does not say, they
/// alone would be a part of the truth.
#[test]
fn what_hooks_use_is_named_where_features_are() {
    let section = |named: &str| format!("(@custom \"target_features\" \"{named}\")");
    let module = |custom: &str| wat::parse_str(format!("(module (memory 1) (func unreachable) {custom})")).unwrap();
    let features = |wasm: &[u8]| {
        let module = wasmtrace::module::parse(wasm).unwrap();
        let data = module.custom("target_features").map(|section| section.data.clone());
        data.map(|data| String::from_utf8(wasm[data].to_vec()).unwrap())
    };
    let own = "\\01+\\08sign-ext";
    let catching = |named: &str| format!("(tag) (func (block (try_table (catch_all 0)))) {}", section(named));
    let buffer = with(HookSet::Buffer, false);
    for (custom, options, named) in [
        (section(own), always(), Some("\u{2}+\u{8}sign-ext+\u{f}reference-types")),
        (section(own), buffer, Some("\u{2}+\u{8}sign-ext+\u{b}multimemory")),
        (section(own), Options::default(), Some("\u{1}+\u{8}sign-ext")),
        (section("\\01+\\0freference-types"), always(), Some("\u{1}+\u{f}reference-types")),
        (String::new(), always(), None),
        // What a handler around each function holds.
        (
            catching("\\01+\\12exception-handling"),
            Options::default(),
            Some("\u{2}+\u{12}exception-handling+\u{f}reference-types"),
        ),
        (
            catching("\\01+\\12exception-handling"),
            with(HookSet::Buffer, false),
            Some("\u{2}+\u{12}exception-handling+\u{b}multimemory"),
        ),
        (
            catching("\\01+\\08sign-ext"),
            with(HookSet::Observe, true),
            Some("\u{3}+\u{8}sign-ext+\u{12}exception-handling+\u{f}reference-types"),
        ),
    ] {
        let wasm = module(&custom);
        let out = instrument(&wasm, &options).unwrap().wasm;
        assert_eq!(features(&out).as_deref(), named, "{custom}");
        verify::verify(&wasm, &out).unwrap();
        assert!(strip(&out).unwrap() == wasm);
        // Any other name is another claim.
        if let Some(at) = out.windows(4).position(|bytes| bytes == b"refe") {
            let mut other = out.clone();
            other[at] = b'p';
            let found = verify::verify(&wasm, &other).map_err(|e| e.kind());
            assert_eq!(found, Err(ErrorKind::Verify));
        }
    }
}

/// Theorem: a module that opens spans, and cannot close any, is one whose trace a host of one stack loses: that is said, where what
/// is open would be closed otherwise.
#[test]
fn spans_that_nothing_closes_are_warned_of() {
    let wasm = |closes: &str| {
        let open = "(import \"dylibso:observe/api\" \"span-enter\" (func (param i32 i32)))";
        wat::parse_str(format!("(module {open} {closes} (func (export \"run\")))")).unwrap()
    };
    let warned = |wasm: &[u8], hooks: HookSet, close_on_exit: CloseOnExit| {
        let rewrite = rewrite::Options { hooks, close_on_exit, ..Default::default() };
        let out = instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap();
        out.warnings.iter().any(|warning| warning.message.contains("opens spans and closes none"))
    };
    let (opens, closes) = (wasm(""), wasm("(import \"dylibso:observe/api\" \"span-exit\" (func))"));
    assert!(warned(&opens, HookSet::Observe, CloseOnExit::WhereItExits));
    assert!(warned(&opens, HookSet::Observe, CloseOnExit::Always));
    assert!(!warned(&opens, HookSet::Observe, CloseOnExit::Never));
    assert!(!warned(&opens, HookSet::Buffer, CloseOnExit::WhereItExits));
    assert!(!warned(&closes, HookSet::Observe, CloseOnExit::WhereItExits));
}

/// Theorem: what is hooked is known of the module itself, whatever was left out; of an imported function that is its own place, and
/// not its shim's.
#[test]
fn what_is_hooked_is_what_was_selected() {
    let wasm = wat::parse_str(
        r#"(module
          (import "env" "first" (func))
          (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
          (import "env" "twice" (func $a (param i32)))
          (import "env" "twice" (func $b (param i32)))
          (func $left) (func $hooked unreachable) (func $too))"#,
    )
    .unwrap();
    for hooks in HOOK_SETS {
        for restore in [false, true] {
            let mut options = with(hooks, true);
            options.rewrite =
                rewrite::Options { hooks, restore, close_on_exit: CloseOnExit::Always, ..options.rewrite };
            ["-left", "-idx:0", "-idx:2"].iter().for_each(|rule| options.select.push(rule).unwrap());
            let out = instrument(&wasm, &options).unwrap().wasm;
            let by = hooks.imports().len() as u32;
            let hooked = injected::hooked(&wasmtrace::module::parse(&out).unwrap());
            assert_eq!(hooked.unwrap(), [1, 3, 5 + by, 6 + by].map(FuncIdx), "{hooks:?}, {restore}");
        }
    }
    assert_eq!(injected::hooked(&wasmtrace::module::parse(&wasm).unwrap()), None);
}

/// Theorem: what is there for the hooks alone is known as that, with or without what restoring needs.
#[test]
fn functions_of_the_hooks_are_told_from_the_originals() {
    let wasm = wat::parse_str(
        r#"(module
          (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
          (import "env" "ping" (func $ping))
          (func (export "run") (call $ping)))"#,
    )
    .unwrap();
    let injected_functions = |imports: bool, restore: bool, close_on_exit: CloseOnExit| {
        let mut options = with(HookSet::Observe, imports);
        (options.rewrite.restore, options.rewrite.close_on_exit) = (restore, close_on_exit);
        let out = instrument(&wasm, &options).unwrap().wasm;
        let module = wasmtrace::module::parse(&out).unwrap();
        let found = injected::injected_functions(&module);
        assert!(found.iter().all(|func| func.0 > 5), "the one of the original's is 5: {found:?}");
        (found.len(), module.func_count() - 6)
    };
    assert_eq!(injected_functions(false, true, CloseOnExit::Never), (0, 0));
    assert_eq!(injected_functions(true, true, CloseOnExit::Never), (2, 2), "two trampolines");
    assert_eq!(injected_functions(true, false, CloseOnExit::Never), (2, 2));
    assert_eq!(
        injected_functions(false, true, CloseOnExit::Always),
        (5, 5),
        "a trampoline, three functions and a thunk"
    );
    assert_eq!(
        injected_functions(true, false, CloseOnExit::Always),
        (8, 8),
        "two trampolines, three functions and three thunks"
    );
    assert_eq!(injected::injected_functions(&wasmtrace::module::parse(&wasm).unwrap()), []);
    // Another tool may have moved all that the Manifest speaks of; if it added an import, the hooks are not the last any more.
    let out = wasmprinter::print_bytes(instrument(&wasm, &always()).unwrap().wasm).unwrap();
    let (before, behind) = out.split_once("\n  (table").unwrap();
    let moved = wat::parse_str(format!("{before}\n  (import \"env\" \"more\" (func))\n  (table{behind}")).unwrap();
    assert_eq!(injected::injected_functions(&wasmtrace::module::parse(&moved).unwrap()), []);
    assert_eq!(injected::hooked(&wasmtrace::module::parse(&moved).unwrap()), None);
}

/// Theorem: `name`, `producers` and `target_features` stand in the order that LLVM's readers want, if they did before; whichever of
/// them the input lacks.
#[test]
fn sections_that_come_into_being_stand_where_readers_want_them() {
    const ORDER: [&str; 3] = ["name", "producers", "target_features"];
    let order = |wasm: &[u8]| -> Vec<usize> {
        let module = wasmtrace::module::parse(wasm).unwrap();
        let names = module.sections().iter().filter_map(|section| section.name);
        names.filter_map(|name| ORDER.iter().position(|known| *known == name)).collect()
    };
    let mut with_features = 0;
    let ordered = |case: &testing::Case| order(&case.wasm).is_sorted() && order(&case.wasm).contains(&2);
    for case in testing::modules().into_iter().filter(ordered) {
        for lacks in [&[][..], &["name"], &["producers"], &ORDER[..2]] {
            let module = wasmtrace::module::parse(&case.wasm).unwrap();
            let kept = module.sections().iter().filter(|s| !s.name.is_some_and(|name| lacks.contains(&name)));
            let mut wasm = case.wasm[..8].to_vec();
            kept.for_each(|section| wasm.extend_from_slice(&case.wasm[section.whole.clone()]));
            let Ok(out) = instrument(&wasm, &Options::default()) else { continue };
            if out.manifest.is_some() {
                let order = order(&out.wasm);
                assert!(order.is_sorted() && order.starts_with(&[0, 1]), "{} without {lacks:?}: {order:?}", case.name);
                with_features += usize::from(order.len() > 2);
            }
            assert!(strip(&out.wasm).unwrap_or_else(|_| wasm.clone()) == wasm, "{}", case.name);
        }
    }
    assert!(with_features > 20, "{with_features}");
}
