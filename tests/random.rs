//! What holds for the corpus holds for modules that nobody wrote: oracles 1, 2, 3, 5, 6, 11 and 15 of `docs/oracles.md`.
//!
//! `smoke` and its like try what fits into a few seconds, with other modules each time; a failure names the seed, which
//! `.seed(…)` repeats. The long runs take `WASMTRACE_RANDOM` modules, those of the seeds 0, 1, 2 and so on, or of
//! a range of seeds such as `7..8`:
//!
//! ```text
//! WASMTRACE_RANDOM=200000 cargo test --test random long -- --ignored --nocapture
//! ```

mod common;

use std::fmt::Display;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbtest::arbitrary::{self, Unstructured};
use arbtest::arbtest;
use common::balance::assert_balanced;
use common::host::Host;
use common::same::assert_same_call;
use rayon::{ThreadPool, ThreadPoolBuilder};
use wasm_smith::Config;
use wasmtrace::hook::{HOOK_SETS, HookSet, MANIFEST_SECTION, Manifest};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::trace::Ending;
use wasmtrace::{ErrorKind, Options, check, features, instrument, label, module, strip};

const BUDGET: Duration = Duration::from_secs(3);

/// Theorem: a module of any make comes out as it went in where nothing is hooked, and plus hooks where all is: valid with
/// the features that it needs itself, erasable by the check and byte for byte by `strip`, the same for one and for
/// several threads, and doing what it did.
#[test]
fn smoke() {
    let seen = Seen::default();
    arbtest(|u| a_random_module_is_hooked(u, &seen)).size_min(2 << 10).size_max(16 << 10).budget(BUDGET).run();
    println!("{seen}");
}

/// Theorem: whatever becomes of the bytes of a module, nothing that reads it panics or takes long.
#[test]
fn smoke_of_damage() {
    let victims = Victims::new();
    arbtest(|u| nothing_panics_on_a_damaged_module(u, &victims)).size_max(1 << 10).budget(BUDGET).run();
    println!("{victims}");
}

/// Theorem: the output does not depend on the number of threads, where there is work for several.
#[test]
fn large_programs_come_out_the_same_for_one_and_for_several_threads() {
    let programs = common::programs().into_iter().filter(|case| case.wasm.len() > 512 << 10);
    common::for_each(programs.collect(), |case| {
        let [one, several] = [&ONE, &SEVERAL].map(|threads| threads.install(|| hooked(&case.wasm)));
        assert!(one.wasm == several.wasm);
        assert!(one.offsets == several.offsets);
    });
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run() {
    let seen = Seen::default();
    for_many_seeds(|u| a_random_module_is_hooked(u, &seen));
    println!("{seen}");
}

#[test]
#[ignore = "takes as long as it is told to"]
fn long_run_of_damage() {
    let victims = Victims::new();
    for_many_seeds(|u| nothing_panics_on_a_damaged_module(u, &victims));
    println!("{victims}");
}

static ONE: LazyLock<ThreadPool> = LazyLock::new(|| pool(1));
static SEVERAL: LazyLock<ThreadPool> = LazyLock::new(|| pool(3));
static PLAIN: LazyLock<Host> = LazyLock::new(Host::plain);
static HOOKED: LazyLock<Host> = LazyLock::new(Host::hooked);

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn hooked(wasm: &[u8]) -> Rewritten {
    hooked_with(wasm, HookSet::Observe)
}

/// With this hook set, or with the one that fits every module where this one does not.
fn hooked_with(wasm: &[u8], hooks: HookSet) -> Rewritten {
    let options = |hooks| {
        let rewrite = wasmtrace::rewrite::Options { hooks, ..Default::default() };
        Options { rewrite, ..Default::default() }
    };
    match instrument(wasm, &options(hooks)) {
        Err(e) if hooks.has_buffer() && matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit) => {
            instrument(wasm, &options(HookSet::Observe)).unwrap()
        }
        out => out.unwrap(),
    }
}

/// What was tried: a test that skips everything proves nothing.
#[derive(Default)]
struct Seen {
    modules: AtomicU64,
    functions: AtomicU64,
    features: AtomicU64,
    instantiated: AtomicU64,
    calls: AtomicU64,
    traps: AtomicU64,
    events: AtomicU64,
    out_of_stack: AtomicU64,
}

impl Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        write!(
            f,
            "{} modules of {} functions; the features of {} compared; {} instantiated: {} calls, of which {} trapped, with \
             {} events; {} ran out of stack",
            of(&self.modules),
            of(&self.functions),
            of(&self.features),
            of(&self.instantiated),
            of(&self.calls),
            of(&self.traps),
            of(&self.events),
            of(&self.out_of_stack),
        )
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn a_random_module_is_hooked(u: &mut Unstructured<'_>, seen: &Seen) -> arbitrary::Result<()> {
    let compare_features = u.ratio(1, 50)?;
    let mut module = wasm_smith::Module::new(config(u)?, u)?;
    let ends = module.ensure_termination(FUEL).is_ok();
    let wasm = module.to_bytes();
    count(&seen.modules, 1);

    let mut nothing = Options::default();
    nothing.select.push("-**").unwrap();
    assert!(instrument(&wasm, &nothing).unwrap().wasm == wasm, "an empty plan changes something");

    let set = *u.choose(&HOOK_SETS)?;
    let [out, again] = [&ONE, &SEVERAL].map(|threads| threads.install(|| hooked_with(&wasm, set)));
    assert!(out.wasm == again.wasm, "the number of threads makes a difference");
    let checked = check::check(&wasm, &out.wasm).unwrap();
    count(&seen.functions, checked.functions as u64);
    if out.manifest.is_some() {
        assert!(strip(&out.wasm).unwrap() == wasm, "strip gives something else");
    }
    if compare_features {
        count(&seen.features, 1);
        let added = features::added(&wasm, &out.wasm);
        assert!(added.is_empty(), "{added:?}");
    }
    if ends {
        assert_same_behaviour(&wasm, &out, seen);
    }
    Ok(())
}

/// How many loops and calls a random module may run through.
const FUEL: u32 = 1000;

/// Half of the modules have every kind of instruction, half wasm-smith's own choice of features and sizes (padded numbers and start functions among them), but for what would
/// take memory, for what would leave no random bytes for functions, and for what it leaves off.
fn config(u: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    let base = if u.arbitrary()? { Config::default() } else { u.arbitrary()? };
    // Now and then so many that function indices cross 127.
    let min_funcs = if u.ratio(1, 16)? { u.int_in_range(115..=130)? } else { u.int_in_range(0..=8)? };
    Ok(Config {
        custom_page_sizes_enabled: u.arbitrary()?,
        wide_arithmetic_enabled: u.arbitrary()?,
        shared_everything_threads_enabled: u.ratio(1, 16)?,
        custom_descriptors_enabled: u.ratio(1, 16)?,
        generate_custom_sections: u.arbitrary()?,
        export_everything: u.arbitrary()?,
        min_funcs,
        min_types: u.int_in_range(0..=8)?,
        max_funcs: 150,
        max_types: u.int_in_range(8..=20)?,
        max_imports: u.int_in_range(0..=10)?,
        max_tags: u.int_in_range(0..=5)?,
        max_globals: u.int_in_range(0..=10)?,
        max_element_segments: u.int_in_range(0..=10)?,
        max_elements: u.int_in_range(0..=20)?,
        max_data_segments: u.int_in_range(0..=5)?,
        max_tables: u.int_in_range(0..=4)?,
        max_memories: u.int_in_range(0..=3)?,
        max_memory32_bytes: 4 << 20,
        max_memory64_bytes: 4 << 20,
        memory_max_size_required: true,
        max_table_elements: 1000,
        table_max_size_required: true,
        ..base
    })
}

/// Calls a few exports of both, each in a fresh instance.
fn assert_same_behaviour(wasm: &[u8], out: &Rewritten, seen: &Seen) {
    // What wasmtime cannot run at all is none of our business.
    let Ok(plain) = PLAIN.compile(wasm) else { return };
    if PLAIN.open_with_defaults(&plain).is_err() {
        return;
    }
    let hooked = HOOKED.compile(&out.wasm).expect("the engine takes it without hooks");
    count(&seen.instantiated, 1);
    let parsed = module::parse(wasm).unwrap();
    for (export, _) in parsed.exports().iter().take(8) {
        let mut plain = PLAIN.open_with_defaults(&plain).unwrap();
        let mut hooked = HOOKED.open_with_defaults(&hooked).expect("it can be instantiated without hooks");
        let (Some(before), Some(after)) = (plain.call(export), hooked.call(export)) else { continue };
        count(&seen.calls, 1);
        count(&seen.traps, u64::from(after.ending != Ending::Returned));
        count(&seen.events, hooked.events().len() as u64);
        if before.out_of_stack() {
            count(&seen.out_of_stack, 1);
            continue; // where that happens is the engine's own affair
        }
        assert_same_call(export, wasm, out, (&mut plain, &before), (&mut hooked, &after));
        assert_balanced(&out.wasm, hooked.events(), &after);
    }
}

/// Modules to damage: every shape, with and without hooks.
struct Victims {
    modules: Vec<Vec<u8>>,
    damaged: AtomicU64,
    valid: AtomicU64,
    hooked: AtomicU64,
    stripped: AtomicU64,
}

impl Victims {
    fn new() -> Victims {
        let shapes = common::shapes().into_iter().map(|case| case.wasm);
        let modules = shapes
            .flat_map(|wasm| {
                let mut all = HOOK_SETS.map(|set| hooked_with(&wasm, set).wasm).to_vec();
                all.push(wasm);
                all
            })
            .collect();
        let zero = || AtomicU64::new(0);
        Victims { modules, damaged: zero(), valid: zero(), hooked: zero(), stripped: zero() }
    }
}

impl Display for Victims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [damaged, valid, hooked, stripped] =
            [&self.damaged, &self.valid, &self.hooked, &self.stripped].map(|n| n.load(Ordering::Relaxed));
        write!(f, "{damaged} damaged modules: {valid} valid all the same, {hooked} hooked, {stripped} stripped")
    }
}

fn nothing_panics_on_a_damaged_module(u: &mut Unstructured<'_>, victims: &Victims) -> arbitrary::Result<()> {
    let original = &victims.modules[u.choose_index(victims.modules.len())?];
    let mut wasm = original.clone();
    if u.ratio(1, 4)? {
        // A custom section that is meant for another module.
        let other = &victims.modules[u.choose_index(victims.modules.len())?];
        let module = module::parse(other).unwrap();
        let customs: Vec<_> = module.sections().iter().filter(|s| s.id == 0).collect();
        if !customs.is_empty() {
            wasm.extend_from_slice(&other[customs[u.choose_index(customs.len())?].whole.clone()]);
        }
    }
    for _ in 0..u.int_in_range(0..=4)? {
        damage(u, &mut wasm, original)?;
    }
    let manifest = manifest(original).map(|manifest| {
        let mut manifest = manifest.to_vec();
        damage(u, &mut manifest, original)?;
        Ok(manifest)
    });
    let manifest = manifest.transpose()?.unwrap_or_default();

    let labels = never_panics("label", &wasm, || module::parse(&wasm).map(|module| label::label(&module)));
    let hooked = never_panics("instrument", &wasm, || instrument(&wasm, &Options::default()));
    let _ = never_panics("force", &wasm, || instrument(&wasm, &Options { force: true, ..Options::default() }));
    let stripped = never_panics("strip", &wasm, || strip(&wasm));
    let _ = never_panics("check of the hooked one", &wasm, || check::check(original, &wasm));
    let _ = never_panics("check of the original", &wasm, || check::check(&wasm, original));
    let _ = never_panics("decode", &manifest, || Manifest::decode(&manifest, 0));
    if let Ok(out) = &hooked
        && out.manifest.is_some()
    {
        assert!(strip(&out.wasm).expect("it was just hooked") == wasm, "strip gives something else");
    }
    count(&victims.damaged, 1);
    count(&victims.valid, labels.is_ok().into());
    count(&victims.hooked, hooked.is_ok().into());
    count(&victims.stripped, stripped.is_ok().into());
    Ok(())
}

fn manifest(wasm: &[u8]) -> Option<&[u8]> {
    let module = module::parse(wasm).unwrap();
    module.custom(MANIFEST_SECTION).map(|section| &wasm[section.data.clone()])
}

/// One more thing wrong. Half of it hits custom sections, since they are read even of a module that is otherwise whole.
fn damage(u: &mut Unstructured<'_>, wasm: &mut Vec<u8>, original: &[u8]) -> arbitrary::Result<()> {
    let module = module::parse(original).unwrap();
    let customs: Vec<_> = module.sections().iter().filter(|s| s.id == 0 && s.contents.end <= wasm.len()).collect();
    let range = match customs.is_empty() || u.arbitrary()? {
        true => 0..wasm.len(),
        false => customs[u.choose_index(customs.len())?].contents.clone(),
    };
    if range.is_empty() {
        return Ok(());
    }
    let at = u.int_in_range(range.start..=range.end - 1)?;
    match u.int_in_range(0..=9)? {
        0 => wasm.truncate(at),
        1 => drop(wasm.drain(at..(at + u.int_in_range(1..=16)?).min(wasm.len()))),
        2 => {
            let bytes = u.bytes(u.len().min(4))?.to_vec();
            drop(wasm.splice(at..at, bytes));
        }
        3 => {
            // A piece of it once more, somewhere else.
            let piece = wasm[at..(at + u.int_in_range(1..=64)?).min(wasm.len())].to_vec();
            let to = u.int_in_range(0..=wasm.len())?;
            drop(wasm.splice(to..to, piece));
        }
        4 => wasm[at] = *u.choose(&[0x00, 0x7f, 0x80, 0xff])?,
        _ => wasm[at] ^= 1 << u.int_in_range(0..=7)?,
    }
    Ok(())
}

/// In the dev profile, for inputs of a few kilobytes: a thousand times what it takes.
const LONGEST: Duration = Duration::from_secs(5);

fn never_panics<R>(what: &str, input: &[u8], test: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(test));
    match result {
        Ok(result) if begin.elapsed() < LONGEST => result,
        _ => {
            let path = std::env::temp_dir().join("wasmtrace-damaged.wasm");
            std::fs::write(&path, input).unwrap();
            panic!("{what} {} on {}", if result.is_err() { "panics" } else { "takes too long" }, path.display());
        }
    }
}

/// Tries the seeds that `WASMTRACE_RANDOM` says, on every core.
fn for_many_seeds(test: impl Fn(&mut Unstructured<'_>) -> arbitrary::Result<()> + Sync) {
    let seeds = seeds(&std::env::var("WASMTRACE_RANDOM").unwrap_or_else(|_| "1000".to_owned()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
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
                    if catch_unwind(AssertUnwindSafe(|| test(&mut Unstructured::new(&bytes)))).is_err() {
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
