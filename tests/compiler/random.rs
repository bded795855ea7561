//! What holds for the corpus holds for modules that nobody wrote: oracles 1, 2, 3, 5, 6, 7, 11 and 15 of
//! `docs/oracles.md`. The theorems stand in `tests/theorems`, and those that need an engine in `testing::behaviour`.
//!
//! `smoke` and its like try what fits into a few seconds, with other modules each time; a failure names the seed, which
//! `.seed(…)` repeats. The long runs take `WASMTRACE_RANDOM` modules, those of the seeds 0, 1, 2 and so on, or of
//! a range of seeds such as `7..8`:
//!
//! ```text
//! WASMTRACE_RANDOM=200000 cargo test --test compiler random::long -- --ignored --nocapture
//! ```

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    without_the_words_of_others(|| {
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
    without_the_words_of_others(|| for_many_seeds(|u| a_random_module_is_hooked_and_runs(u, &seen)));
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
    without_the_words_of_others(|| for_many_seeds(|u| a_mutated_module_is_hooked(u, &modules, &seen)));
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

/// Runs a test that lets other tools try what they can, without what they say when they panic. The hook stays, and is that of
/// the whole process: panics in our own code are printed as before, so it does not disturb the other tests of this binary.
fn without_the_words_of_others(test: impl FnOnce()) {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let of_others = ["walrus", "wasm-mutate", "egg-"];
            let place = info.location().map_or("", |place| place.file());
            if !of_others.iter().any(|name| place.contains(name)) {
                tell(info);
            }
        }));
    });
    test();
}

/// Tries the seeds that `WASMTRACE_RANDOM` says, on every core, or on as many as `WASMTRACE_RANDOM_THREADS` says.
fn for_many_seeds(test: impl Fn(&mut Unstructured<'_>) -> arbitrary::Result<()> + Sync) {
    let seeds = seeds(&std::env::var("WASMTRACE_RANDOM").unwrap_or_else(|_| "1000".to_owned()));
    let threads = std::env::var("WASMTRACE_RANDOM_THREADS").ok().map(|n| n.parse().expect("a number of threads"));
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let bytes = bytes_of(seed);
                    // Bytes that make no module are no failure.
                    let try_it = || keep::named(&format!("seed_{seed}"), || test(&mut Unstructured::new(&bytes)));
                    if catch_unwind(AssertUnwindSafe(try_it)).is_err() {
                        println!("seed {seed} fails");
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!("the seeds {seeds:?} took {:.0?} on {threads} threads", begin.elapsed());
    assert_eq!(failed.into_inner(), 0, "failed seeds; the first lines of each failure are above");
}

/// A number of seeds, or a range of them: `10758..10759` is one that has failed before.
fn seeds(text: &str) -> Range<u64> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"));
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(text),
    }
}

/// 256 bytes to 64 kilobytes, by splitmix64.
fn bytes_of(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let words = 32 << (next() % 9);
    (0..words).flat_map(|_| next().to_le_bytes()).collect()
}
