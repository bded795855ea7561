//! Theorem: whatever happens to the bytes of a component, with or without hooks, nothing that reads it panics or takes
//! long. `strip` gives the original or an error. What the check accepts means the same as the hooked component.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arbtest::arbitrary::{self, Unstructured};
use testing::keep;
use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasmparser::CustomSectionReader;
use wasmtrace::component;
use wasmtrace::hook::MANIFEST_SECTION;

use super::hooked::options;
use super::mutated::mutated;
use super::tree::Tree;
use super::{SETS, count, is_valid};
use crate::theorems::damaged::damage;

/// In the dev profile, for inputs of a few hundred kilobytes.
const LONGEST: Duration = Duration::from_secs(5);

/// Components to damage.
pub(super) struct Victims {
    victims: Vec<Victim>,
    damaged: AtomicU64,
    valid: AtomicU64,
    hooked: AtomicU64,
    /// Those that [`component::check_hooks`] accepts although the check does not.
    runnable: AtomicU64,
    stripped: AtomicU64,
    accepted: AtomicU64,
}

/// A component, and the same with hooks or without.
struct Victim {
    original: Vec<u8>,
    wasm: Vec<u8>,
}

impl Victims {
    pub(super) fn new(originals: &[Vec<u8>]) -> Victims {
        let with_hooks = |original: &Vec<u8>| {
            let hooked = SETS.map(|set| component::instrument(original, &options(set)).unwrap().wasm);
            let all = hooked.into_iter().chain([original.clone()]);
            all.map(|wasm| Victim { original: original.clone(), wasm }).collect::<Vec<_>>()
        };
        let zero = || AtomicU64::new(0);
        Victims {
            victims: originals.iter().flat_map(with_hooks).collect(),
            damaged: zero(),
            valid: zero(),
            hooked: zero(),
            runnable: zero(),
            stripped: zero(),
            accepted: zero(),
        }
    }

    fn any(&self, u: &mut Unstructured<'_>) -> arbitrary::Result<&Victim> {
        // Large ones take long.
        let of = |large: bool| self.victims.iter().filter(move |victim| (victim.wasm.len() > 40_000) == large);
        let large = u.ratio(1, 50)? && of(true).next().is_some();
        let fitting: Vec<&Victim> = of(large).collect();
        u.choose(&fitting).copied()
    }
}

impl std::fmt::Display for Victims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let Victims { damaged, valid, hooked, runnable, stripped, accepted, .. } = self;
        write!(
            f,
            "{} damaged components: {} valid all the same, {} hooked, {} stripped, {} accepted by the check, {} by a host alone",
            of(damaged),
            of(valid),
            of(hooked),
            of(stripped),
            of(accepted),
            of(runnable),
        )
    }
}

pub(super) fn damage_does_no_harm(u: &mut Unstructured<'_>, victims: &Victims) -> arbitrary::Result<()> {
    let victim = victims.any(u)?;
    let mut wasm = victim.wasm.clone();
    if u.ratio(1, 3)? {
        let donor = Tree::parse(&victims.any(u)?.wasm).expect("it is valid");
        let times = u.int_in_range(1..=2)?;
        wasm = mutated(u, Tree::parse(&wasm).expect("it is valid"), &donor, times)?;
    } else if u.ratio(1, 8)? {
        // The beginning of one and the end of another.
        let other = &victims.any(u)?.wasm;
        wasm.truncate(u.int_in_range(0..=wasm.len())?);
        wasm.extend_from_slice(&other[u.int_in_range(0..=other.len())?..]);
    } else {
        for _ in 0..u.int_in_range(1..=3)? {
            damage(u, &mut wasm)?;
        }
    }
    keep::if_it_fails(&wasm, || does_no_harm(&wasm, victim, victims));
    Ok(())
}

fn does_no_harm(wasm: &[u8], victim: &Victim, victims: &Victims) {
    count(&victims.damaged, 1);
    let is_valid = is_valid(wasm);
    count(&victims.valid, is_valid.into());
    for set in SETS {
        let hooked = never_panics("instrument", || component::instrument(wasm, &options(set)));
        count(&victims.hooked, hooked.is_ok().into());
        if let Ok(hooked) = hooked {
            assert!(is_valid, "it is not valid");
            component::verify(wasm, &hooked.wasm).unwrap_or_else(|e| panic!("the output fails its check: {e}"));
        }
    }
    let read = never_panics("read", || component::read(wasm, &options(SETS[0])).map(drop));
    let probes = never_panics("probes", || component::probes(wasm));
    let checked = never_panics("check_hooks", || component::check_hooks(wasm));
    let verified = never_panics("verify", || component::verify(&victim.original, wasm));
    let _ = never_panics("verify of the original", || component::verify(wasm, &victim.original));
    assert!(read.is_err() || is_valid, "it is not valid");
    let has_hooks = probes.is_ok_and(|probes| probes.is_some());
    count(&victims.runnable, u64::from(has_hooks && checked.is_ok() && verified.is_err()));
    if verified.is_ok() && wasm != victim.wasm {
        count(&victims.accepted, 1);
        // With another hook set too: a splice may have exchanged the whole file.
        let same = victims.victims.iter().filter(|other| other.original == victim.original);
        let found = meaning(wasm);
        if !same.into_iter().any(|other| meaning(&other.wasm) == found) {
            panic!("the check accepts another component:\n{}", difference(&victim.wasm, wasm));
        }
    }
    if let Ok(stripped) = never_panics("strip", || component::strip(wasm)) {
        count(&victims.stripped, 1);
        let is_original = victims.victims.iter().any(|victim| victim.original == stripped);
        assert!(is_original || (!has_hooks && stripped == wasm), "strip gives something else");
    }
}

/// Writes a component in the encoding of another tool, without what the check ignores: names of instances and restoring
/// data in Manifests, and the version of wasmtrace in the section `producers` of a module.
struct WithoutManifests;

impl Reencode for WithoutManifests {
    type Error = Infallible;

    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        match section.name() {
            MANIFEST_SECTION | "producers" => Ok(()),
            _ => reencode::utils::parse_custom_section(self, module, section),
        }
    }
}

impl ReencodeComponent for WithoutManifests {
    fn parse_component_custom_section(
        &mut self,
        component: &mut wasm_encoder::Component,
        section: CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        match section.name() {
            MANIFEST_SECTION => Ok(()),
            _ => reencode::component_utils::parse_component_custom_section(self, component, section),
        }
    }
}

fn meaning(wasm: &[u8]) -> Vec<u8> {
    let mut component = wasm_encoder::Component::new();
    let parser = wasmparser::Parser::new(0);
    WithoutManifests.parse_component(&mut component, parser, wasm).expect("it is valid");
    component.finish()
}

fn difference(old: &[u8], new: &[u8]) -> String {
    let [old, new] = [old, new].map(|wasm| wasmprinter::print_bytes(wasm).unwrap_or_default());
    let lines = old.lines().zip(new.lines()).filter(|(old, new)| old != new).take(5);
    lines.map(|(old, new)| format!("- {old}\n+ {new}\n")).collect()
}

fn never_panics<R>(what: &str, test: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = catch_unwind(AssertUnwindSafe(test)).unwrap_or_else(|_| panic!("{what} panics"));
    assert!(begin.elapsed() < LONGEST, "{what} takes {:?}", begin.elapsed());
    result
}
