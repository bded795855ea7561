//! Theorem: a module of any make comes out as it went in where nothing is hooked, and plus hooks where all is: erasable by
//! the check and byte for byte by `strip`, and the same for one and for several threads.

use std::sync::LazyLock;

use arbtest::arbitrary::{self, Unstructured};
use rayon::{ThreadPool, ThreadPoolBuilder};
use testing::keep;
use wasm_smith::Config;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::rewrite::{CloseOnExit, Rewritten};
use wasmtrace::{ErrorKind, Options, instrument, strip, verify};

pub static ONE: LazyLock<ThreadPool> = LazyLock::new(|| pool(1));
pub static SEVERAL: LazyLock<ThreadPool> = LazyLock::new(|| pool(3));

fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

/// A module that nobody wrote.
pub struct Random {
    pub wasm: Vec<u8>,
    /// Whether every call of it ends by itself.
    pub ends: bool,
}

/// What became of a module.
pub struct Hooked {
    pub set: HookSet,
    pub out: Rewritten,
    /// How many functions have a body, hooked or not.
    pub functions: usize,
}

/// With this hook set, or with the one that fits every module where this one does not.
pub fn hooked_with(wasm: &[u8], hooks: HookSet) -> Rewritten {
    hooked_and_balanced(wasm, hooks, CloseOnExit::Never)
}

/// With that said of how it leaves, too.
fn hooked_and_balanced(wasm: &[u8], hooks: HookSet, close_on_exit: CloseOnExit) -> Rewritten {
    let options = |hooks| {
        let rewrite = wasmtrace::rewrite::Options { hooks, close_on_exit, ..Default::default() };
        Options { rewrite, ..Default::default() }
    };
    match instrument(wasm, &options(hooks)) {
        Err(e) if hooks.has_buffer() && matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::Limit) => {
            instrument(wasm, &options(HookSet::Observe)).unwrap()
        }
        out => out.unwrap(),
    }
}

/// Makes a module, and hooks it with one of the sets.
pub fn a_random_module_is_hooked(u: &mut Unstructured<'_>) -> arbitrary::Result<(Random, Hooked)> {
    let (set, balance) = (*u.choose(&HOOK_SETS)?, *u.choose(&BALANCES)?);
    let module = random(u)?;
    let hooked = a_module_is_hooked(&module.wasm, set, balance);
    Ok((module, hooked))
}

pub const BALANCES: [CloseOnExit; 2] = [CloseOnExit::Never, CloseOnExit::Always];

/// The theorem, of a valid module without hooks and with one hook set.
pub fn a_module_is_hooked(wasm: &[u8], set: HookSet, balance: CloseOnExit) -> Hooked {
    keep::if_it_fails(wasm, || is_hooked(wasm, set, balance))
}

fn is_hooked(wasm: &[u8], set: HookSet, balance: CloseOnExit) -> Hooked {
    let mut nothing = Options::default();
    nothing.select.push("-**").unwrap();
    assert!(instrument(wasm, &nothing).unwrap().wasm == wasm, "an empty plan changes something");

    let hooked = || hooked_and_balanced(wasm, set, balance);
    let [out, again] = [&ONE, &SEVERAL].map(|threads| threads.install(hooked));
    assert!(out.wasm == again.wasm, "the number of threads makes a difference");
    let checked = verify::verify(wasm, &out.wasm).unwrap_or_else(|e| panic!("the output fails its own check: {e}"));
    if out.manifest.is_some() {
        assert!(strip(&out.wasm).unwrap() == wasm, "strip gives something else");
    }
    Hooked { set, out, functions: checked.functions }
}

/// Bytes for eight types of twenty fields, and a few more: where there are none left before it has as many types as it must have,
/// wasm-smith may try for ever to clone a group that is too large.
const LEAST: usize = 1 << 10;

/// How many loops and calls a random module may run through.
const FUEL: u32 = 1000;

pub fn random(u: &mut Unstructured<'_>) -> arbitrary::Result<Random> {
    let config = config(u)?;
    if u.len() < LEAST {
        return Err(arbitrary::Error::NotEnoughData);
    }
    let mut module = wasm_smith::Module::new(config, u)?;
    let ends = module.ensure_termination(FUEL).is_ok();
    Ok(Random { wasm: module.to_bytes(), ends })
}

/// Half of the modules have every kind of instruction, half wasm-smith's own choice of features and sizes (padded numbers
/// and start functions among them), but for what would take memory, for what would leave no random bytes for functions,
/// and for what it leaves off. Most export something that can be called: a module that does nothing proves little.
fn config(u: &mut Unstructured<'_>) -> arbitrary::Result<Config> {
    let base = if u.arbitrary()? { Config::default() } else { u.arbitrary()? };
    // Now and then so many that function indices cross 127.
    let min_funcs = match u.int_in_range(0..=15)? {
        0 => u.int_in_range(115..=130)?,
        1 => 0,
        _ => u.int_in_range(1..=8)?,
    };
    let segments = u.arbitrary()?;
    Ok(Config {
        custom_page_sizes_enabled: u.arbitrary()?,
        wide_arithmetic_enabled: u.arbitrary()?,
        shared_everything_threads_enabled: u.ratio(1, 16)?,
        custom_descriptors_enabled: u.ratio(1, 16)?,
        generate_custom_sections: u.arbitrary()?,
        export_everything: u.ratio(7, 8)?,
        min_funcs,
        min_types: u.int_in_range(0..=8)?,
        max_funcs: 150,
        max_types: u.int_in_range(8..=20)?,
        max_imports: u.int_in_range(0..=10)?,
        max_tags: u.int_in_range(0..=5)?,
        max_globals: u.int_in_range(0..=10)?,
        // An active segment that does not fit ends a module before it begins.
        max_element_segments: if segments { u.int_in_range(0..=10)? } else { 0 },
        max_elements: u.int_in_range(0..=20)?,
        max_data_segments: if segments { u.int_in_range(0..=5)? } else { 0 },
        disallow_traps: u.ratio(1, 4)?,
        max_tables: u.int_in_range(0..=4)?,
        max_memories: u.int_in_range(0..=3)?,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        memory_max_size_required: true,
        max_table_elements: 1000,
        table_max_size_required: true,
        ..base
    })
}
