//! Runs a random test for many seeds.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arbtest::arbitrary::{self, Unstructured};
use testing::keep;

/// Runs a test without the messages of other tools that panic. The panic hook stays, and belongs to the whole process.
/// Panics of our own code are printed as before, so it does not disturb the other tests of this binary.
pub(crate) fn quietly(test: impl FnOnce()) {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let of_others = ["walrus", "wasm-mutate", "wasm-smith", "wasm-encoder", "egg-"];
            let place = info.location().map_or("", |place| place.file());
            if !of_others.iter().any(|name| place.contains(name)) {
                tell(info);
            }
        }));
    });
    test();
}

/// Tries the seeds of `WASMTRACE_RANDOM` on every core, or on as many as `WASMTRACE_RANDOM_THREADS` says.
pub(crate) fn for_many_seeds(test: impl Fn(&mut Unstructured<'_>) -> arbitrary::Result<()> + Sync) {
    let seeds = seeds(&std::env::var("WASMTRACE_RANDOM").unwrap_or_else(|_| "1000".to_owned()));
    let threads = std::env::var("WASMTRACE_RANDOM_THREADS").ok().map(|n| n.parse().expect("a number of threads"));
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let (next, failed, begin) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Instant::now());
    let try_seeds = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let bytes = bytes_of(seed);
            // Bytes that make no input are no failure.
            let try_it = || keep::named(&format!("seed_{seed}"), || test(&mut Unstructured::new(&bytes)));
            if catch_unwind(AssertUnwindSafe(try_it)).is_err() {
                println!("seed {seed} fails");
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(try_seeds))));
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
