//! What holds for the components of the corpus holds for random components: oracles 1, 2, 3, 5, 6 and 15 of
//! `docs/oracles.md`, as in `random.rs` for modules.
//!
//! Components come from `grown.rs` (random definitions that refer to each other), from wasm-smith, and from those of the
//! corpus; `mutated.rs` changes all of them.
//!
//! The smoke runs try what fits into a few seconds, with other components each time; a failure names the seed, which
//! `.seed(…)` repeats. The long runs take `WASMTRACE_RANDOM` components, or those of a range of seeds such as `7..8`:
//!
//! ```text
//! WASMTRACE_RANDOM=30000 cargo test --test compiler random_components::long -- --ignored --nocapture
//! ```
//!
//! `WASMTRACE_KEEP` names a folder for components that fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbtest::arbitrary::{self, Unstructured};
use arbtest::arbtest;
use testing::keep;
use wasmparser::{Validator, WasmFeatures};
use wasmtrace::hook::{COMPONENT_HOOK_SETS, HookSet};

mod behaviour;
mod damaged;
mod extremes;
mod found;
mod grown;
mod hooked;
mod mutated;
mod tree;

use behaviour::{Runs, behaves_the_same};
use damaged::{Victims, damage_does_no_harm};
use hooked::{Outcome, Seen, is_hooked};
use tree::Tree;

use crate::seeds::{for_many_seeds, quietly};

const BUDGET: Duration = Duration::from_secs(2);

/// The sets that our own host runs.
const SETS: [HookSet; 2] = [HookSet::Buffer, HookSet::Observe];

/// Theorem: a valid component is hooked or refused. What is hooked is valid, passes the check, and is stripped to the
/// original.
#[test]
fn smoke() {
    let (components, seen) = (Components::new(&small()), Seen::default());
    quietly(|| {
        arbtest(|u| a_random_component_is_hooked(u, &components, &seen).map(drop))
            .size_max(16 << 10)
            .budget(BUDGET)
            .run();
    });
    println!("{seen}");
}

/// Theorem: hooks change neither results nor traps, and entries and exits nest.
#[test]
fn smoke_of_behaviour() {
    let (components, seen, runs) = (Components::new(&small()), Seen::default(), Runs::default());
    quietly(|| {
        arbtest(|u| a_random_component_behaves_the_same(u, &components, &seen, &runs))
            .size_max(16 << 10)
            .budget(BUDGET)
            .run();
    });
    println!("{seen}\n{runs}");
}

/// Theorem: whatever happens to the bytes of a component, nothing that reads it panics or takes long, and `strip` gives
/// the original or an error.
#[test]
fn smoke_of_damage() {
    let victims = Victims::new(&small());
    arbtest(|u| damage_does_no_harm(u, &victims)).size_max(1 << 10).budget(BUDGET).run();
    println!("{victims}");
}

/// The theorem of `smoke`, for as many components as `WASMTRACE_RANDOM` says:
///
/// ```text
/// WASMTRACE_RANDOM=30000 cargo test --test compiler random_components::long_run -- --exact --ignored --nocapture
/// ```
#[test]
#[ignore = "takes as long as it is told to"]
fn long_run() {
    let (components, seen) = (Components::new(&all()), Seen::default());
    quietly(|| for_many_seeds(|u| a_random_component_is_hooked(u, &components, &seen).map(drop)));
    println!("{seen}");
}

/// The theorem of `smoke_of_behaviour`:
///
/// ```text
/// WASMTRACE_RANDOM=5000 cargo test --test compiler random_components::long_run_of_behaviour -- --ignored --nocapture
/// ```
#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_behaviour() {
    let (components, seen, runs) = (Components::new(&small()), Seen::default(), Runs::default());
    quietly(|| for_many_seeds(|u| a_random_component_behaves_the_same(u, &components, &seen, &runs)));
    println!("{seen}\n{runs}");
}

/// The theorem of `smoke_of_damage`:
///
/// ```text
/// WASMTRACE_RANDOM=100000 cargo test --test compiler random_components::long_run_of_damage -- --ignored --nocapture
/// ```
#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_damage() {
    let victims = Victims::new(&all());
    for_many_seeds(|u| damage_does_no_harm(u, &victims));
    println!("{victims}");
}

/// Components to change.
struct Components(Vec<Tree>);

impl Components {
    fn new(wasm: &[Vec<u8>]) -> Components {
        Components(wasm.iter().map(|wasm| Tree::parse(wasm).expect("the corpus is valid")).collect())
    }

    fn any(&self, u: &mut Unstructured<'_>) -> arbitrary::Result<&Tree> {
        // Large ones take long.
        let of = |large: bool| self.0.iter().filter(move |tree| (tree.size() > 20_000) == large);
        let large = u.ratio(1, 40)? && of(true).next().is_some();
        let fitting: Vec<&Tree> = of(large).collect();
        u.choose(&fitting).copied()
    }
}

/// The components of the corpus, without programs.
fn small() -> Vec<Vec<u8>> {
    let files = testing::corpus::files("components", &["wat"]);
    files.iter().map(|path| wat::parse_file(path).expect("the corpus is valid")).collect()
}

/// All components of the corpus.
fn all() -> Vec<Vec<u8>> {
    let programs = testing::corpus::files("components", &["wasm"]);
    let programs = programs.iter().map(|path| std::fs::read(path).expect("the file exists"));
    small().into_iter().chain(programs).collect()
}

/// Makes a component. Not all of them are valid.
fn random(u: &mut Unstructured<'_>, components: &Components) -> arbitrary::Result<Vec<u8>> {
    let what = u.int_in_range(0..=11)?;
    if what == 0
        && let Some(wasm) = mutated::by_smith_with_instances(u)?
    {
        return Ok(wasm);
    }
    let donor = components.any(u)?;
    let tree = if what < 9 {
        let text = grown::grown(u)?;
        let wasm = wat::parse_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        if u.ratio(1, 3)? {
            return Ok(wasm);
        }
        Tree::parse(&wasm)
    } else {
        Some(components.any(u)?.clone())
    };
    let times = u.int_in_range(1..=4)?;
    mutated::mutated(u, tree.expect("it is encoded well"), donor, times)
}

/// Whether a component is valid with all features.
fn is_valid(wasm: &[u8]) -> bool {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm).is_ok()
}

fn a_random_component_is_hooked(
    u: &mut Unstructured<'_>,
    components: &Components,
    seen: &Seen,
) -> arbitrary::Result<Option<Vec<u8>>> {
    let set = *u.choose(&COMPONENT_HOOK_SETS)?;
    let wasm = random(u, components)?;
    let outcome = keep::if_it_fails(&wasm, || is_hooked(&wasm, set, seen));
    Ok((outcome == Outcome::Hooked).then_some(wasm))
}

fn a_random_component_behaves_the_same(
    u: &mut Unstructured<'_>,
    components: &Components,
    seen: &Seen,
    runs: &Runs,
) -> arbitrary::Result<()> {
    if let Some(wasm) = a_random_component_is_hooked(u, components, seen)? {
        keep::if_it_fails(&wasm, || behaves_the_same(&wasm, runs));
    }
    Ok(())
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
