//! Instruments and verifies each module once for each set of options. All theorems of a test binary share the output.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use wasmtrace::error::Result;
use wasmtrace::hook::{HOOK_SETS, HookSet};
use wasmtrace::rewrite::{self, CloseOnExit, Rewritten};
use wasmtrace::{ErrorKind, Options, strip, verify};

/// A module, by length and hash, and the options as text.
type Way = (usize, u64, String);
/// An output, once it was made. Who asks for it meanwhile waits.
type Output = Arc<Mutex<Option<Rewritten>>>;

static OUTPUTS: LazyLock<Mutex<HashMap<Way, Output>>> = LazyLock::new(Mutex::default);

/// The output of `wasmtrace::instrument` for a module, kept from the first call on.
///
/// # Panics
/// If the output is not the original plus hooks.
pub fn instrument(wasm: &[u8], options: &Options) -> Result<Rewritten> {
    // Sidecar files are as large as modules, and few.
    if options.sidecar.source_map.is_some() || options.sidecar.debug_file.is_some() {
        return verified(wasm, options);
    }
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(wasm);
    let way = (wasm.len(), hash, format!("{options:?}"));
    // A theorem that fails says nothing about what is remembered here.
    let output = OUTPUTS.lock().unwrap_or_else(PoisonError::into_inner).entry(way).or_default().clone();
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    if output.is_none() {
        *output = Some(verified(wasm, options)?);
    }
    Ok(output.clone().expect("it was just made"))
}

/// Instruments and verifies a module (oracle 2 of `docs/oracles.md`) without keeping the output.
///
/// # Panics
/// If the output is not the original plus hooks.
pub fn verified(wasm: &[u8], options: &Options) -> Result<Rewritten> {
    let out = wasmtrace::instrument(wasm, options)?;
    // Bodies that are not validated may be anything, and so may what comes out.
    if !options.no_validate {
        let original = match options.force {
            true => strip(wasm).map_or(Cow::Borrowed(wasm), Cow::Owned),
            false => Cow::Borrowed(wasm),
        };
        if let Err(e) = verify::verify(&original, &out.wasm) {
            panic!("the output fails its own check: {e}");
        }
    }
    Ok(out)
}

/// The module with every function hooked.
pub fn hooked_with(wasm: &[u8], hooks: HookSet) -> Result<Rewritten> {
    let rewrite = rewrite::Options { hooks, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() })
}

/// Instruments a module with the Observe set and an exit guard.
pub fn balanced(wasm: &[u8]) -> Rewritten {
    let rewrite = rewrite::Options { close_on_exit: CloseOnExit::Always, ..Default::default() };
    instrument(wasm, &Options { rewrite, ..Default::default() }).unwrap()
}

/// Instruments a module with the Observe set, then with each other hook set that fits the module.
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
