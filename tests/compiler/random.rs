//! What holds for the corpus holds for random modules: oracles 1, 2, 3, 5, 6, 7, 11 and 15 of
//! `docs/oracles.md`. The theorems stand in `tests/theorems`, and those that need an engine in `testing::behaviour`.
//!
//! `smoke` and its like try what fits into a few seconds, with other modules each time; a failure names the seed, which
//! `.seed(…)` repeats. The long runs take `WASMTRACE_RANDOM` modules, those of the seeds 0, 1, 2 and so on, or of
//! a range of seeds such as `7..8`:
//!
//! ```text
//! WASMTRACE_RANDOM=200000 cargo test --test compiler random::long -- --ignored --nocapture
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::theorems::custom_sections::damaged_custom_sections_do_no_harm;
use crate::theorems::damaged::{Victims, nothing_panics_on_a_damaged_module};
use crate::theorems::hooked::{ONE, SEVERAL, a_random_module_is_hooked, hooked_with};
use crate::theorems::manifest::a_damaged_manifest_is_refused_or_means_something;
use crate::theorems::mutated::{Mutations, a_mutated_module_is_hooked};
use arbtest::arbitrary::{self, Unstructured};
use arbtest::arbtest;
use testing::behaviour::{Runs, assert_same_behaviour};
use testing::keep;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::{features, module};

use crate::needed_features::assert_least;
use crate::seeds::{for_many_seeds, quietly};

const BUDGET: Duration = Duration::from_secs(3);

/// Theorem: a module of any make comes out plus hooks (`tests/theorems/hooked.rs`), valid with the features that it needs itself,
/// and does what it did (`testing::behaviour`).
#[test]
fn smoke() {
    let seen = Seen::default();
    arbtest(|u| a_random_module_is_hooked_and_runs(u, &seen)).size_min(2 << 10).size_max(16 << 10).budget(BUDGET).run();
    println!("{seen}");
}

/// Theorem: whatever becomes of the bytes of a module, nothing that reads it panics or takes long.
#[test]
fn smoke_of_damage() {
    let victims = Victims::new(shapes());
    arbtest(|u| nothing_panics_on_a_damaged_module(u, &victims)).size_max(1 << 10).budget(BUDGET).run();
    println!("{victims}");
}

/// Theorem: the same of real programs.
#[test]
fn smoke_of_damaged_programs() {
    let victims = Victims::new(small_programs());
    arbtest(|u| nothing_panics_on_a_damaged_module(u, &victims)).size_max(1 << 10).budget(BUDGET).run();
    println!("{victims}");
}

/// Theorem: what another tool has changed is hooked like what it was made from.
#[test]
fn smoke_of_mutation() {
    let (modules, seen) = (mutable(), Mutations::default());
    quietly(|| {
        arbtest(|u| a_mutated_module_is_hooked(u, &modules, &seen)).size_max(1 << 10).budget(BUDGET).run();
    });
    println!("{seen}");
}

/// Theorem: a Manifest of any bytes is refused, or is written back as the same.
#[test]
fn smoke_of_manifests() {
    let (manifests, mut read) = (manifests(), 0);
    arbtest(|u| {
        read += u64::from(a_damaged_manifest_is_refused_or_means_something(u, &manifests)?);
        Ok(())
    })
    .size_max(1 << 10)
    .budget(BUDGET)
    .run();
    println!("{read} damaged Manifests mean something all the same");
}

/// Theorem: what custom sections say can do no harm.
#[test]
fn smoke_of_custom_sections() {
    let (modules, mut warned) = (with_custom_sections(), 0);
    arbtest(|u| {
        warned += damaged_custom_sections_do_no_harm(u, &modules)?;
        Ok(())
    })
    .size_max(1 << 10)
    .budget(BUDGET)
    .run();
    println!("{warned} warnings");
}

/// Theorem: the output does not depend on the number of threads, where there is work for several.
#[test]
fn large_programs_come_out_the_same_for_one_and_for_several_threads() {
    let programs = testing::programs().into_iter().filter(|case| case.wasm.len() > 512 << 10);
    testing::for_each(programs.collect(), |case| {
        let [one, several] =
            [&ONE, &SEVERAL].map(|threads| threads.install(|| hooked_with(&case.wasm, HookSet::Observe)));
        assert!(one.wasm == several.wasm);
        assert!(one.offsets == several.offsets);
    });
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run() {
    let seen = Seen::default();
    quietly(|| for_many_seeds(|u| a_random_module_is_hooked_and_runs(u, &seen)));
    println!("{seen}");
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_damage() {
    let victims = Victims::new(shapes().into_iter().chain(small_programs()));
    for_many_seeds(|u| nothing_panics_on_a_damaged_module(u, &victims));
    println!("{victims}");
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_mutation() {
    let (modules, seen) = (mutable(), Mutations::default());
    quietly(|| for_many_seeds(|u| a_mutated_module_is_hooked(u, &modules, &seen)));
    println!("{seen}");
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_custom_sections_and_manifests() {
    let (modules, manifests) = (with_custom_sections(), manifests());
    for_many_seeds(|u| {
        a_damaged_manifest_is_refused_or_means_something(u, &manifests)?;
        damaged_custom_sections_do_no_harm(u, &modules).map(drop)
    });
}

fn shapes() -> Vec<Vec<u8>> {
    testing::shapes().into_iter().map(|case| case.wasm).collect()
}

/// Programs that are tried in milliseconds.
fn small_programs() -> Vec<Vec<u8>> {
    testing::programs().into_iter().map(|case| case.wasm).filter(|wasm| wasm.len() < 96 << 10).collect()
}

/// Modules for wasm-mutate.
fn mutable() -> Vec<Vec<u8>> {
    shapes().into_iter().chain(small_programs()).collect()
}

fn with_custom_sections() -> Vec<Vec<u8>> {
    let hooked_whole = |wasm: &Vec<u8>| {
        let out = hooked_with(wasm, HookSet::Observe);
        let probes = out.manifest.as_ref().map_or(0, |manifest| manifest.probes.len());
        let parsed = module::parse(wasm).unwrap();
        probes == parsed.defined_funcs().len() && probes > 0 && parsed.sections().iter().any(|s| s.id == 0)
    };
    mutable().into_iter().filter(hooked_whole).collect()
}

/// What is decoded in a hurry: the Manifests of small modules, in every hook set.
fn manifests() -> Vec<Vec<u8>> {
    let all = shapes().into_iter().flat_map(|wasm| HOOK_SETS.map(|set| hooked_with(&wasm, set).manifest));
    all.flatten().map(|manifest| manifest.encode()).collect()
}

/// What was tried: a test that skips everything proves nothing.
#[derive(Default)]
struct Seen {
    modules: AtomicU64,
    functions: AtomicU64,
    features: AtomicU64,
    runs: Runs,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Seen { modules, functions, features, runs } = self;
        let [modules, functions, features] = [modules, functions, features].map(of);
        write!(f, "{modules} modules of {functions} functions; the features of {features} compared; {runs}")
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn a_random_module_is_hooked_and_runs(u: &mut Unstructured<'_>, seen: &Seen) -> arbitrary::Result<()> {
    let (compare_features, second) = (u.ratio(1, 50)?, u.ratio(1, 4)?);
    let (module, hooked) = a_random_module_is_hooked(u)?;
    count(&seen.modules, 1);
    count(&seen.functions, hooked.functions as u64);
    keep::if_it_fails(&module.wasm, || {
        if compare_features {
            count(&seen.features, 1);
            let added =
                features::added(&module::parse(&module.wasm).unwrap(), &module::parse(&hooked.out.wasm).unwrap());
            assert!(added.is_empty(), "{added:?}");
            assert_least(&module.wasm);
        }
        if module.ends {
            assert_same_behaviour(&module.wasm, &hooked.out, second, &seen.runs);
        }
    });
    Ok(())
}
