//! What the tests have in common: the corpus, a host, and what is compared.

use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::rewrite::{CloseOnExit, Rewritten};
use wasmtrace::{ErrorKind, Options, instrument, module, rewrite};

#[cfg(feature = "host")]
pub mod balance;
#[cfg(feature = "host")]
pub mod behaviour;
#[cfg(feature = "collector")]
pub mod collector;
pub mod corpus;
#[cfg(feature = "golden")]
pub mod golden;
#[cfg(feature = "host")]
pub mod host;
#[cfg(feature = "host")]
pub mod node;
pub mod opinion;
pub mod process;
#[cfg(feature = "host")]
pub mod programs;
#[cfg(feature = "readers")]
pub mod readers;
#[cfg(feature = "host")]
pub mod same;

pub use corpus::{Case, corpus, dwarf_kinds, files, modules, programs, refused_shapes, shapes};

/// The module with every function hooked.
pub fn hooked_with(wasm: &[u8], hooks: HookSet) -> wasmtrace::error::Result<Rewritten> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() })
}

/// With the Observe set, exiting what is open before it leaves.
pub fn balanced(wasm: &[u8]) -> Rewritten {
    let rewrite = rewrite::Options { close_on_exit: CloseOnExit::Always, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap()
}

/// With the Observe set first, and with each other that fits the module.
pub fn hooked_with_each(wasm: &[u8]) -> Vec<Rewritten> {
    let mut outs = vec![hooked_with(wasm, HookSet::Observe).unwrap(), balanced(wasm)];
    for set in HOOK_SETS.into_iter().filter(|set| set.has_buffer()) {
        match hooked_with(wasm, set) {
            Ok(out) => outs.push(out),
            Err(e) => assert!(matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit), "{e}"),
        }
    }
    outs
}

/// The exports of a shape that are to be called.
pub fn functions_to_run(wasm: &[u8]) -> Vec<String> {
    let module = module::parse(wasm).unwrap();
    module.exports().iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("run")).collect()
}

/// Runs a test for each case, and fails with the names of all that failed.
pub fn for_each(cases: Vec<Case>, test: impl Fn(&Case)) {
    for_each_named(&cases, |case| &case.name, test);
}

/// The same for anything that has a name.
pub fn for_each_named<C>(cases: &[C], name: impl Fn(&C) -> &str, test: impl Fn(&C)) {
    let failed: Vec<&str> = cases
        .iter()
        .filter(|case| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(case))).is_err())
        .map(name)
        .collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}
