//! What the targets have in common: the theorems of the tests, and the modules that some of them start from.

#[path = "../../theorems/mod.rs"]
pub mod theorems;

pub use testing::corpus;

use std::sync::LazyLock;

use theorems::damaged::Victims;
use theorems::hooked::hooked_with;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::module;

/// Modules that are tried in milliseconds.
pub static SMALL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let programs = corpus::programs().into_iter().filter(|case| case.wasm.len() < 48 << 10);
    corpus::shapes().into_iter().chain(programs).map(|case| case.wasm).collect()
});

pub static VICTIMS: LazyLock<Victims> = LazyLock::new(|| Victims::new(SMALL.iter().cloned()));

/// Those of which every function is hooked, with something in a custom section.
pub static WITH_CUSTOM_SECTIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let whole = |wasm: &&Vec<u8>| {
        let probes = hooked_with(wasm, HookSet::Observe).manifest.map_or(0, |manifest| manifest.probes.len());
        let parsed = module::parse(wasm).unwrap();
        probes == parsed.defined_funcs().len() && probes > 0 && parsed.sections().iter().any(|s| s.id == 0)
    };
    SMALL.iter().filter(whole).cloned().collect()
});

pub static MANIFESTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let all = SMALL.iter().flat_map(|wasm| HOOK_SETS.map(|set| hooked_with(wasm, set).manifest));
    all.flatten().map(|manifest| manifest.encode()).collect()
});
