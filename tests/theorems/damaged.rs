//! Theorem: whatever becomes of the bytes of a module, nothing that reads it panics or takes long; and what is valid all
//! the same is hooked like any other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbtest::arbitrary::{self, Unstructured};
use testing::keep;
use wasmtrace::hook::{HOOK_SETS, HookSet, MANIFEST_SECTION, Manifest};
use wasmtrace::{Options, instrument, label, module, rewrite, strip, verify};

use super::hooked::hooked_with;

/// Modules to damage, with and without hooks.
pub struct Victims {
    modules: Vec<Vec<u8>>,
    damaged: AtomicU64,
    valid: AtomicU64,
    hooked: AtomicU64,
    stripped: AtomicU64,
}

impl Victims {
    pub fn new(modules: impl IntoIterator<Item = Vec<u8>>) -> Victims {
        let with_hooks = |wasm: Vec<u8>| {
            let mut all = HOOK_SETS.map(|set| hooked_with(&wasm, set).wasm).to_vec();
            all.push(wasm);
            all
        };
        let zero = || AtomicU64::new(0);
        Victims {
            modules: modules.into_iter().flat_map(with_hooks).collect(),
            damaged: zero(),
            valid: zero(),
            hooked: zero(),
            stripped: zero(),
        }
    }
}

impl std::fmt::Display for Victims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [damaged, valid, hooked, stripped] =
            [&self.damaged, &self.valid, &self.hooked, &self.stripped].map(|n| n.load(Ordering::Relaxed));
        write!(f, "{damaged} damaged modules: {valid} valid all the same, {hooked} hooked, {stripped} stripped")
    }
}

pub fn nothing_panics_on_a_damaged_module(u: &mut Unstructured<'_>, victims: &Victims) -> arbitrary::Result<()> {
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
    let parsed = module::parse(original).unwrap();
    for _ in 0..u.int_in_range(0..=4)? {
        damage_module(u, &mut wasm, &parsed)?;
    }
    let (valid, hooked, stripped) = nothing_panics_on(&wasm, original);
    let manifest = parsed.custom(MANIFEST_SECTION).map(|section| original[section.data.clone()].to_vec());
    if let Some(mut manifest) = manifest {
        damage(u, &mut manifest)?;
        let _ = never_panics("decode", &manifest, || Manifest::decode(&manifest, 0));
    }
    let count = |counter: &AtomicU64, so: bool| counter.fetch_add(so.into(), Ordering::Relaxed);
    count(&victims.damaged, true);
    count(&victims.valid, valid);
    count(&victims.hooked, hooked);
    count(&victims.stripped, stripped);
    Ok(())
}

/// The theorem, of these bytes, which may have been made from `original`. Says whether they are valid, were hooked, and
/// were stripped.
pub fn nothing_panics_on(wasm: &[u8], original: &[u8]) -> (bool, bool, bool) {
    keep::if_it_fails(wasm, || nothing_panics(wasm, original))
}

fn nothing_panics(wasm: &[u8], original: &[u8]) -> (bool, bool, bool) {
    let labels = never_panics("label", wasm, || module::parse(wasm).map(|module| label::label(&module)));
    let hooked = never_panics("instrument", wasm, || instrument(wasm, &Options::default()));
    let _ = never_panics("force", wasm, || instrument(wasm, &Options { force: true, ..Options::default() }));
    for hooks in HOOK_SETS {
        let rewrite = rewrite::Options { hooks, ..Default::default() };
        let trusting = Options { no_validate: true, rewrite, ..Default::default() };
        let unseen = never_panics("instrument without validation", wasm, || instrument(wasm, &trusting));
        // What is valid is hooked the same.
        if hooks == HookSet::Observe
            && let Ok(seen) = &hooked
        {
            assert!(unseen.is_ok_and(|unseen| unseen.wasm == seen.wasm), "another output");
        }
    }
    let stripped = never_panics("strip", wasm, || strip(wasm));
    let _ = never_panics("check of the hooked one", wasm, || verify::verify(original, wasm));
    let _ = never_panics("check of the original", wasm, || verify::verify(wasm, original));
    if let Ok(out) = &hooked {
        never_panics("check of the output", wasm, || verify::verify(wasm, &out.wasm))
            .unwrap_or_else(|e| panic!("the output fails its own check: {e}"));
    }
    if let Ok(out) = &hooked
        && out.manifest.is_some()
    {
        assert!(strip(&out.wasm).expect("it was just hooked") == wasm, "strip gives something else");
    }
    (labels.is_ok(), hooked.is_ok(), stripped.is_ok())
}

/// One more thing wrong. Half of it hits custom sections, since they are read even of a module that is otherwise whole.
fn damage_module(u: &mut Unstructured<'_>, wasm: &mut Vec<u8>, original: &module::Module<'_>) -> arbitrary::Result<()> {
    let customs = original.sections().iter().filter(|s| s.id == 0 && s.contents.end <= wasm.len());
    let customs: Vec<_> = customs.map(|s| s.contents.clone()).collect();
    let range = match customs.is_empty() || u.arbitrary()? {
        true => 0..wasm.len(),
        false => customs[u.choose_index(customs.len())?].clone(),
    };
    damage_within(u, wasm, range)
}

/// One more thing wrong with these bytes, anywhere.
pub fn damage(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> arbitrary::Result<()> {
    let whole = 0..bytes.len();
    damage_within(u, bytes, whole)
}

fn damage_within(
    u: &mut Unstructured<'_>,
    bytes: &mut Vec<u8>,
    range: std::ops::Range<usize>,
) -> arbitrary::Result<()> {
    if range.is_empty() {
        return Ok(());
    }
    let at = u.int_in_range(range.start..=range.end - 1)?;
    match u.int_in_range(0..=9)? {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..(at + u.int_in_range(1..=16)?).min(bytes.len()))),
        2 => {
            let more = u.bytes(u.len().min(4))?.to_vec();
            drop(bytes.splice(at..at, more));
        }
        3 => {
            // A piece of it once more, somewhere else.
            let piece = bytes[at..(at + u.int_in_range(1..=64)?).min(bytes.len())].to_vec();
            let to = u.int_in_range(0..=bytes.len())?;
            drop(bytes.splice(to..to, piece));
        }
        4 => bytes[at] = *u.choose(&[0x00, 0x7f, 0x80, 0xff])?,
        _ => bytes[at] ^= 1 << u.int_in_range(0..=7)?,
    }
    Ok(())
}

/// In the dev profile, for inputs of a few hundred kilobytes: a hundred times what it takes.
const LONGEST: Duration = Duration::from_secs(10);

pub fn never_panics<R>(what: &str, input: &[u8], test: impl FnOnce() -> R) -> R {
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
