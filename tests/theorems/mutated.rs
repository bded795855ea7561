//! Theorem: a module that was changed by another tool (wasm-mutate: other instructions with the same meaning, code moved,
//! items and sections removed or added) and is valid still comes out plus hooks; what is not valid is refused.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use arbtest::arbitrary::{self, Unstructured};
use wasm_mutate::WasmMutate;
use wasmtrace::hook::HOOK_SETS;
use wasmtrace::{ErrorKind, Options, injected, instrument, module};

use super::damaged::nothing_panics_on;
use super::hooked::{BALANCES, a_module_is_hooked};

/// What was tried.
#[derive(Default)]
pub struct Mutations {
    mutants: AtomicU64,
    hooked: AtomicU64,
    functions: AtomicU64,
    /// wasm-mutate's own failures: features that it does not know, and panics.
    none: AtomicU64,
    panics: AtomicU64,
}

impl std::fmt::Display for Mutations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mutations { mutants, hooked, functions, none, panics } = self;
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        write!(
            f,
            "{} mutants, {} valid and hooked, with {} functions; wasm-mutate made nothing of {} modules and panicked on {}",
            of(mutants),
            of(hooked),
            of(functions),
            of(none),
            of(panics),
        )
    }
}

/// How much work wasm-mutate may do for one mutant.
const FUEL: u64 = 300;

/// Changes one of `modules` a few times over.
pub fn a_mutated_module_is_hooked(
    u: &mut Unstructured<'_>,
    modules: &[Vec<u8>],
    seen: &Mutations,
) -> arbitrary::Result<()> {
    let original = &modules[u.choose_index(modules.len())?];
    let mut wasm = original.clone();
    for _ in 0..u.int_in_range(1..=6)? {
        let (seed, same) = (u.arbitrary()?, u.arbitrary()?);
        match catch_unwind(AssertUnwindSafe(|| mutant(&wasm, seed, same))) {
            Ok(Some(changed)) => wasm = changed,
            Ok(None) => count(&seen.none, 1),
            Err(_) => count(&seen.panics, 1),
        }
    }
    if wasm == *original {
        return Ok(());
    }
    count(&seen.mutants, 1);
    let (set, balance) = (*u.choose(&HOOK_SETS)?, *u.choose(&BALANCES)?);
    match module::parse(&wasm) {
        Ok(parsed) if !injected::is_hooked(&parsed) => {
            count(&seen.functions, a_module_is_hooked(&wasm, set, balance).functions as u64);
            count(&seen.hooked, 1);
        }
        Ok(_) => drop(nothing_panics_on(&wasm, original)),
        Err(_) => {
            let e = instrument(&wasm, &Options::default()).unwrap_err();
            assert!(matches!(e.kind(), ErrorKind::Malformed | ErrorKind::Unsupported), "{e}");
        }
    }
    Ok(())
}

/// What wasm-mutate makes of a module by that seed, `None` if it can do nothing with it.
fn mutant(wasm: &[u8], seed: u64, preserve_semantics: bool) -> Option<Vec<u8>> {
    let mut mutate = WasmMutate::default();
    mutate.seed(seed).preserve_semantics(preserve_semantics).fuel(FUEL);
    mutate.run(wasm).ok()?.next()?.ok()
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
