//! Theorem: a valid component is hooked or refused. The output is valid, under the features that the input needs, passes
//! the check, and is stripped to the input. Without selected functions it is the input.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmparser::{Validator, WasmFeatures};
use wasmtrace::hook::HookSet;
use wasmtrace::{ErrorKind, Options, component, rewrite};

use super::{count, is_valid};

/// What happened to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Invalid,
    Refused,
    /// It has no functions that can be hooked.
    Same,
    Hooked,
}

/// What was tried.
#[derive(Debug, Default)]
pub(super) struct Seen {
    components: AtomicU64,
    valid: AtomicU64,
    hooked: AtomicU64,
    functions: AtomicU64,
    nested: AtomicU64,
    /// The reasons for refusal, and how often each was given.
    refused: Mutex<BTreeMap<String, u64>>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Seen { components, valid, hooked, functions, nested, refused } = self;
        write!(f, "{} components, {} valid, ", of(components), of(valid))?;
        write!(
            f,
            "{} hooked with {} functions, {} of them with nested components",
            of(hooked),
            of(functions),
            of(nested)
        )?;
        for (reason, times) in &*refused.lock().unwrap() {
            write!(f, "\n{times:8} refused: {reason}")?;
        }
        Ok(())
    }
}

pub(super) fn options(hooks: HookSet) -> Options {
    Options { rewrite: rewrite::Options { hooks, ..Default::default() }, ..Default::default() }
}

/// The theorem, of one component and one hook set.
pub(super) fn is_hooked(wasm: &[u8], set: HookSet, seen: &Seen) -> Outcome {
    count(&seen.components, 1);
    let out = component::instrument(wasm, &options(set));
    if !is_valid(wasm) {
        let kind = out.map(|_| "nothing").expect_err("it is not valid").kind();
        assert!(matches!(kind, ErrorKind::Malformed | ErrorKind::Unsupported | ErrorKind::Limit), "{kind:?}");
        return Outcome::Invalid;
    }
    count(&seen.valid, 1);
    let mut nothing = options(set);
    nothing.select.push("-**").unwrap();
    let out = match out {
        Ok(out) => out,
        Err(e) => {
            let kinds = [ErrorKind::Unsupported, ErrorKind::Limit, ErrorKind::AlreadyHooked];
            assert!(kinds.contains(&e.kind()), "{:?}: {e}", e.kind());
            let message = e.to_string();
            let reason = message.split(|c: char| c.is_ascii_digit()).next().unwrap_or_default().to_owned();
            *seen.refused.lock().unwrap().entry(format!("{:?}: {reason}", e.kind())).or_default() += 1;
            return Outcome::Refused;
        }
    };
    assert!(component::instrument(wasm, &nothing).unwrap().wasm == wasm, "an empty selection changes something");
    let contents = component::read(wasm, &options(set)).expect("it was just instrumented");
    assert_eq!(contents.modules.len(), out.modules.len());
    if out.manifest.is_none() {
        assert!(out.wasm == wasm, "nothing is hooked, and something is different");
        assert!(component::strip(wasm).unwrap() == wasm);
        return Outcome::Same;
    }
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(&out.wasm)
        .unwrap_or_else(|e| panic!("the output is not valid: {e}"));
    for features in [WasmFeatures::default(), WasmFeatures::WASM2 | WasmFeatures::COMPONENT_MODEL] {
        let is_valid = |wasm: &[u8]| Validator::new_with_features(features).validate_all(wasm);
        if is_valid(wasm).is_ok() {
            is_valid(&out.wasm).unwrap_or_else(|e| panic!("the output needs another feature: {e}"));
        }
    }
    let verified = component::verify(wasm, &out.wasm).unwrap_or_else(|e| panic!("the output fails its check: {e}"));
    assert_eq!(verified.modules, out.modules.len());
    assert!(component::strip(&out.wasm).unwrap() == wasm, "strip gives something else");
    match component::check_hooks(&out.wasm) {
        Ok(manifest) => assert_eq!(manifest.expect("it has a Manifest").hooks, set),
        Err(e) => assert_eq!((e.kind(), set), (ErrorKind::AlreadyHooked, HookSet::Wasi)),
    }
    let (_, probes) = component::probes(&out.wasm).unwrap().expect("it has a Manifest");
    let read = component::read(&out.wasm, &options(set)).unwrap();
    let names = |contents: &component::Contents<'_>| -> Vec<String> {
        contents.modules.iter().map(|module| module.name.clone()).collect()
    };
    assert_eq!(names(&read), names(&contents), "modules of the original");
    let again = component::instrument(&out.wasm, &Options { force: true, ..options(set) }).unwrap();
    assert!(again.wasm == out.wasm, "the second time gives something else");
    assert!(component::verify(wasm, wasm).is_ok_and(|same| same.hooked == 0));
    assert!(verified.hooked == 0 || !probes.labels.is_empty(), "the hooks have no names");
    if verified.hooked == 0 {
        // There are only functions that are quiet, or imports.
        return Outcome::Same;
    }
    count(&seen.hooked, 1);
    count(&seen.functions, verified.hooked as u64);
    count(&seen.nested, u64::from(contents.components > 1));
    Outcome::Hooked
}
