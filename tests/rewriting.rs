//! What is written is the original plus hooks, and nothing else: oracles 1, 2, 3 and 11 of `docs/oracles.md`.

mod common;

use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::{ErrorKind, Options, check, features, instrument, rewrite, strip};

fn nothing_selected() -> Options {
    let mut options = Options::default();
    options.select.push("-**").unwrap();
    options
}

/// Theorem: a plan that hooks nothing yields the input, byte for byte.
#[test]
fn an_empty_plan_yields_the_input() {
    common::for_each(common::modules(), |case| {
        let out = instrument(&case.wasm, &nothing_selected()).unwrap();
        assert!(out.wasm == case.wasm);
        assert!(out.manifest.is_none());
    });
}

/// Every hook set, without and with shims around imported functions.
fn every_way() -> impl Iterator<Item = Options> {
    HOOK_SETS.into_iter().flat_map(|hooks| [false, true].map(|imports| with(hooks, imports)))
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
    common::for_each(common::modules(), |case| {
        for options in every_way() {
            let Some(out) = hooked(&case.wasm, &options) else { continue };
            let checked = check::check(&case.wasm, &out.wasm).unwrap();
            let imports = out.manifest.as_ref().map_or(0, |m| m.probes.len()) - checked.hooked;
            assert!(options.select.imports || imports == 0);
            if checked.hooked > 0 {
                assert!(strip(&out.wasm).unwrap() == case.wasm, "strip gives something else");
            }
        }
    });
}

/// Theorem: the output needs no feature that the input did not need, but that a buffer beside memories needs several.
#[test]
fn hooks_need_no_new_feature() {
    common::for_each(common::modules(), |case| {
        for options in every_way() {
            let Some(out) = hooked(&case.wasm, &options) else { continue };
            let new = features::added(&case.wasm, &out.wasm);
            assert!(new.is_empty(), "{new:?}");
        }
    });
}

/// Theorem: the output does not depend on the number of threads, nor on the run.
#[test]
fn the_output_is_the_same_for_one_and_for_many_threads() {
    let with_threads = |n, wasm: &[u8]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| every_way().filter_map(|way| hooked(wasm, &way)).map(|out| out.wasm).collect::<Vec<_>>())
    };
    common::for_each(common::modules(), |case| {
        let one = with_threads(1, &case.wasm);
        assert!(one == with_threads(7, &case.wasm));
        assert!(one == with_threads(1, &case.wasm));
    });
}

/// A module that is to be refused gets its reason, and an offset.
#[test]
fn what_cannot_be_hooked_is_refused_with_a_reason() {
    for (case, why) in common::refused_shapes() {
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
    let case = common::programs().into_iter().find(|c| c.name == "c_exit").unwrap();
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
    assert!(out.warnings.iter().any(|w| w.contains("no room for another local")), "{:?}", out.warnings);
    assert_eq!(check::check(&module(1, &full), &out.wasm).unwrap().memory_grows, 0);

    // A body of just the size that engines accept.
    let mut large = Function::new([]);
    for _ in 0..7_654_321 - 2 {
        large.instructions().nop();
    }
    large.instructions().end();
    let wasm = module(1, &large);
    let out = instrument(&wasm, &Options::default()).unwrap();
    assert!(out.warnings.iter().any(|w| w.contains("size that engines accept")), "{:?}", out.warnings);
    assert_eq!(out.manifest.unwrap().probes.len(), 0);

    // The number of functions: indices of every width, and the last that fits.
    let mut small = Function::new([]);
    small.instructions().end();
    for functions in [127, 128, 16_383, 16_384] {
        let wasm = module(functions, &small);
        let out = instrument(&wasm, &Options::default()).unwrap();
        assert_eq!(check::check(&wasm, &out.wasm).unwrap().hooked as u32, functions);
        assert!(strip(&out.wasm).unwrap() == wasm);
    }
    let e = instrument(&module(999_998, &small), &Options::default()).unwrap_err();
    assert_eq!(e.kind(), wasmtrace::ErrorKind::Limit);
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
    let e = check::check(&wasm, &hooked).unwrap_err();
    assert_eq!(e.kind(), wasmtrace::ErrorKind::Check, "{e}");
    assert_eq!(strip(&hooked).unwrap_err().kind(), wasmtrace::ErrorKind::Restore);
}
