//! Oracles 5, 6 and 7 of `docs/oracles.md`, for generated modules.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtrace::rewrite::Rewritten;
use wasmtrace::trace::RunOutcome;
use wasmtrace::{WarningKind, module};

use crate::balance::{assert_balanced, probes};
use crate::host::{Compiled, Host, Session};
use crate::opinion::{entered, hooked_by_walrus, without_shift};
use crate::same::assert_same_call;

static PLAIN: LazyLock<Host> = LazyLock::new(Host::plain);
static HOOKED: LazyLock<Host> = LazyLock::new(Host::hooked);

/// Counts of what was run: a test that skips everything proves nothing.
#[derive(Default)]
pub struct Runs {
    /// Modules that were instantiated, or whose start function ran and failed.
    pub instantiated: AtomicU64,
    /// Instantiated modules of which a function ran.
    pub executed: AtomicU64,
    pub calls: AtomicU64,
    pub traps: AtomicU64,
    pub events: AtomicU64,
    pub out_of_stack: AtomicU64,
    /// Modules on which the engine fails an assertion of its own.
    pub engine_failed: AtomicU64,
    /// Calls for which walrus's hooks reported the same entries.
    pub second: AtomicU64,
    /// Modules that walrus cannot read, or cannot write correctly.
    pub not_second: AtomicU64,
}

impl std::fmt::Display for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Runs { instantiated, executed, calls, traps, events, out_of_stack, engine_failed, second, not_second } =
            self;
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        write!(
            f,
            "{} instantiated, {} executed: {} calls, of which {} trapped, with {} events; {} ran out of stack, {} broke the engine; walrus's \
             hooks saw the same in {} calls, and cannot be written into {} modules",
            of(instantiated),
            of(executed),
            of(calls),
            of(traps),
            of(events),
            of(out_of_stack),
            of(engine_failed),
            of(second),
            of(not_second),
        )
    }
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Theorem: a module whose calls end by themselves does the same with hooks: instantiating it and each of a few calls, in
/// instances of their own, come to the same end and leave the same behind; what the hooks see nests; and, where `second`
/// asks for it and walrus takes the module, the functions that are entered are those that walrus's hooks see.
pub fn assert_same_behaviour(wasm: &[u8], out: &Rewritten, second: bool, seen: &Runs) {
    if engine_holds(|| compare(wasm, out, second, seen)).is_none() {
        count(&seen.engine_failed, 1);
    }
}

fn compare(wasm: &[u8], out: &Rewritten, second: bool, seen: &Runs) {
    // What wasmtime cannot run at all is none of our business.
    let Ok(plain) = PLAIN.compile(wasm) else { return };
    let Ok(mut before) = PLAIN.open_with_defaults(&plain) else { return };
    let hooked = HOOKED.compile(&out.wasm).expect("the engine takes it without hooks");
    let mut after = HOOKED.open_with_defaults(&hooked).expect("it can be instantiated without hooks");
    count(&seen.instantiated, 1);
    let mut executed = !after.events().is_empty();
    if !before.start.out_of_stack() {
        let [start, hooked_start] = [before.start.clone(), after.start.clone()];
        assert_same_call("start", wasm, out, (&mut before, &start), (&mut after, &hooked_start));
        assert_balanced(&out.wasm, after.events(), &hooked_start);
    }
    let walrus = second.then(|| by_walrus(wasm)).flatten();
    count(&seen.not_second, (second && walrus.is_none()).into());

    let parsed = module::parse(wasm).unwrap();
    for (export, _) in parsed.exports().iter().take(4) {
        let mut plain = PLAIN.open_with_defaults(&plain).unwrap();
        let mut hooked = HOOKED.open_with_defaults(&hooked).expect("it can be instantiated without hooks");
        let (Some(before), Some(after)) = (plain.call(export), hooked.call(export)) else { continue };
        count(&seen.calls, 1);
        count(&seen.traps, u64::from(after.ending != RunOutcome::Returned));
        count(&seen.events, hooked.events().len() as u64);
        executed |= !hooked.events().is_empty();
        if before.out_of_stack() {
            count(&seen.out_of_stack, 1);
            continue; // where that happens is the engine's own affair
        }
        assert_same_call(export, wasm, out, (&mut plain, &before), (&mut hooked, &after));
        assert_balanced(&out.wasm, hooked.events(), &after);
        if let Some(walrus) = &walrus {
            let mut theirs = HOOKED.open_with_defaults(walrus).expect("it was tried");
            theirs.call(export);
            assert_same_entries(export, wasm, out, &hooked, &theirs);
            count(&seen.second, 1);
        }
    }
    count(&seen.executed, executed.into());
}

/// `None` if the engine fails an assertion of its own: wasmtime 48 does where a shared memory is accessed out of bounds that a host
/// gives twice, with and without hooks (seed 30049230). No hook names a memory of the module's.
fn engine_holds<R>(run: impl FnOnce() -> R) -> Option<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_or_else(
        |panic| match panic.downcast_ref::<&str>() {
            Some(&"assertion failed: fault.is_none()") => None,
            _ => std::panic::resume_unwind(panic),
        },
        Some,
    )
}

/// The module with walrus's hooks, if that can be instantiated.
fn by_walrus(wasm: &[u8]) -> Option<Compiled> {
    let theirs = HOOKED.compile(&hooked_by_walrus(wasm).ok()?).ok()?;
    HOOKED.open_with_defaults(&theirs).ok()?;
    Some(theirs)
}

fn assert_same_entries(export: &str, wasm: &[u8], out: &Rewritten, ours: &Session, theirs: &Session) {
    let hooked: Vec<u32> = probes(&out.wasm).iter().map(|probe| probe.0).collect();
    let hooked = without_shift(wasm, &out.wasm, &hooked);
    let ours = without_shift(wasm, &out.wasm, &entered(ours.events()));
    // A shared function cannot call a hook, and a warning says so; walrus tries.
    let defined = module::parse(wasm).unwrap().defined_funcs().len();
    assert!(
        hooked.len() == defined || out.warnings.iter().any(|w| w.kind == WarningKind::NotHooked),
        "functions are left out"
    );
    let theirs: Vec<u32> =
        entered(theirs.events()).into_iter().filter(|func| hooked.binary_search(func).is_ok()).collect();
    assert!(ours == theirs, "the calls of `{export}`: {ours:?}, and by walrus {theirs:?}");
}
