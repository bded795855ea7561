//! What is written is the original plus hooks, and nothing else: oracles 1, 2, 3 and 11 of `docs/oracles.md`.

mod common;

use wasmtrace::{Options, check, instrument, strip};

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

/// Theorem: take the hooks out of the output and the input stands there; every way out passes its exit.
#[test]
fn erasing_the_hooks_leaves_the_input() {
    common::for_each(common::modules(), |case| {
        let out = instrument(&case.wasm, &Options::default()).unwrap();
        let checked = check::check(&case.wasm, &out.wasm).unwrap();
        assert_eq!(checked.hooked, out.manifest.map_or(0, |m| m.probes.len()));
        if checked.hooked > 0 {
            assert!(strip(&out.wasm).unwrap() == case.wasm, "strip gives something else");
        }
    });
}

fn with_imports() -> Options {
    let mut options = Options::default();
    options.select.imports = true;
    options
}

/// Theorem: the same holds with shims around imported functions.
#[test]
fn erasing_shims_leaves_the_input() {
    common::for_each(common::modules(), |case| {
        let out = instrument(&case.wasm, &with_imports()).unwrap();
        let checked = check::check(&case.wasm, &out.wasm).unwrap();
        if checked.hooked > 0 {
            assert!(strip(&out.wasm).unwrap() == case.wasm, "strip gives something else");
        }
    });
}
