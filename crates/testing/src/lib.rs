//! Support for tests: the corpus, hosts, a collector, third-party readers, and comparisons.
//!
//! These variables make a test write files or run longer. Other variables name tools: `NODE`, `GO`, `LLDB`.
//!
//! | variable | effect |
//! |---|---|
//! | `BLESS=1` | Golden files are written instead of compared: insta's snapshots, the `.trycmd` files, the generated tables of `corpus/README.md`, `docs/performance.md` and `docs/oracles.md`. `BLESS=1 cargo test --locked` writes all of them; without it, no test writes any (`golden`). Read the difference before you keep it. |
//! | `WASMTRACE_KEEP=DIR` | A module for which a theorem fails is written to `DIR`, with its text if it can be printed: `CASE.wasm` and `CASE.wat`, `seed_N.wasm` for a seed of a long run, `module_HASH.wasm` for another random module ([`keep`]). |
//! | `WASMTRACE_RANDOM=N` | The number of seeds of a long run, or a range of seeds (`tests/compiler/random.rs`). |

use wasmtrace::module;

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
pub mod keep;
#[cfg(feature = "host")]
pub mod node;
pub mod once;
pub mod opinion;
pub mod process;
#[cfg(feature = "host")]
pub mod programs;
#[cfg(feature = "readers")]
pub mod readers;
#[cfg(feature = "host")]
pub mod same;
#[cfg(feature = "host")]
pub mod stock;

pub use corpus::{Case, corpus, dwarf_kinds, files, modules, programs, refused_shapes, shapes};
pub use once::{balanced, hooked_with, hooked_with_each, instrument};

/// The exports of a shape that tests call.
pub fn functions_to_run(wasm: &[u8]) -> Vec<String> {
    let module = module::parse(wasm).unwrap();
    module.exports().iter().map(|(name, _)| (*name).to_owned()).filter(|name| name.starts_with("run")).collect()
}

/// Runs a test for each case, and fails with the names of all that failed.
pub fn for_each(cases: Vec<Case>, test: impl Fn(&Case)) {
    for_each_named(&cases, |case| (&case.name, &case.wasm), test);
}

/// Runs a test for each item that has a name and a module, and fails with the names of all that failed. Their modules
/// are kept ([`keep`]).
pub fn for_each_named<C>(cases: &[C], module: impl Fn(&C) -> (&str, &[u8]), test: impl Fn(&C)) {
    let fails = |case: &&C| {
        let (name, wasm) = module(case);
        let kept = || keep::named(name, || keep::if_it_fails(wasm, || test(case)));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(kept)).is_err()
    };
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| module(case).0).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), cases.len());
}
