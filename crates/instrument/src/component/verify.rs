//! The check of an instrumented component: proves that it is the original component plus hooks, and nothing else.
//!
//! The check walks both files side by side, without running either. These differences are allowed:
//!
//! - The root component has a Manifest as its last section. It has the original's hash, and lists the instances of
//!   hooked modules that the check finds, with ids that do not overlap.
//! - A component that instantiates a hooked module, or a component with hooks, has one *group* of sections more. Its
//!   bytes follow from the hook set, the ids of the Manifest and the index spaces before it (`group.rs`).
//! - Definitions behind the group have other indices. The check pairs the sections of both files, and takes the new
//!   index of each definition from the index spaces before its section. Each reference of the original must lead to
//!   the same definition, in types, imports, exports, aliases, instances, canonical functions, `start` and
//!   `component-name`. So nothing of the original can refer to a definition of the group.
//! - An instantiation of a hooked module has one argument more, at the end: the instance of the group that was made for
//!   it. An instantiation of a component with a group has the recorder as one argument more.
//! - A core module has hooks of the set `component`, and passes the check of modules ([`crate::verify`]). In a
//!   component whose hooks report events, each function that a `realloc` or `post-return` leads to is quiet, and no
//!   others are.
//!
//! - A component that records itself is such a component, together with a recorder, in a root component around both. The
//!   wrapper must be the only one that is possible (`recorder.rs`).
//!
//! Everything else is equal: the order and number of sections and items, names, types, options, other custom sections.
//! Only the encoding may differ: the width of numbers, and the byte before the name of an import or export, for which
//! older encoders used another value.
//!
//! # Values
//!
//! A hooked module has more imports, and so has a component with a group. Neither may be visible as a value. The
//! types of imports are unchanged, and the scan validates both files. So a changed module or component cannot be an
//! argument: its type would not fit. An export needs no declared type, and nothing in the file has to fit it. That is
//! checked here (`groups::exports`).
//!
//! # Independence
//!
//! The check shares with the rewriting: the scan, the bytes of the group, and the search for quiet functions. It uses
//! neither the plan nor the restoring data of the Manifest. It re-encodes nothing: the indices of an item of the
//! original are changed, and the items are compared.
//!
//! # What is not checked
//!
//! The names of instances in the Manifest. The validity of bodies in modules that did not change. Names in a
//! `component-name` section that cannot be read: such a section keeps its bytes.

use super::recorder;
use super::scan::{Scanned, scan};
use crate::verify::failure::fail;
use wasmtrace_abi::component::ComponentManifest;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::HookSet;

mod groups;
mod modules;
mod moved;
mod pairs;
mod sections;

use modules::ComparedModule;
use pairs::pair;

/// The facts that the check established about an instrumented component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedComponent {
    /// The number of core modules in the original.
    pub modules: usize,
    /// The number of functions with a body in these modules.
    pub functions: usize,
    /// The number of hooked functions with a body.
    pub hooked: usize,
}

/// Proves that `hooked` is the component `original` plus hooks, and nothing else.
///
/// # Errors
/// [`Verify`](wasmtrace_abi::error::ErrorKind::Verify) at the first difference, with an offset in `hooked`.
/// [`Restore`](wasmtrace_abi::error::ErrorKind::Restore) if the Manifest of the component or of a module is damaged.
/// [`Malformed`](wasmtrace_abi::error::ErrorKind::Malformed) if one of the two is not a valid component.
pub fn verify(original: &[u8], hooked: &[u8]) -> Result<VerifiedComponent> {
    let within = recorder::unwrapped(hooked)?;
    let new = scan(within.unwrap_or(hooked))?;
    if within.is_none() && new.manifest()?.is_some_and(|manifest| manifest.hooks == HookSet::Wasi) {
        return Err(fail(8, "the component is to record itself, but has no recorder"));
    }
    compare(original, &new)
}

/// Proves the same of a component without a recorder, whatever its hook set is.
pub(super) fn compare(original: &[u8], new: &Scanned<'_>) -> Result<VerifiedComponent> {
    let old = scan(original)?;
    if original == new.bytes {
        return Ok(summary(&modules::unchanged(&old)?));
    }
    let manifest = manifest(&old, new)?;
    let pairs = pair(&old, new, manifest.hooks)?;
    let modules = modules::compare(&pairs)?;
    let groups = groups::compare(&pairs, &modules, &manifest)?;
    groups::exports(&pairs, &modules)?;
    modules::quiet(&pairs, &modules)?;
    sections::compare(&pairs, &groups)?;
    Ok(summary(&modules))
}

fn summary(modules: &[ComparedModule<'_>]) -> VerifiedComponent {
    VerifiedComponent {
        modules: modules.len(),
        functions: modules.iter().map(|module| module.old.defined_funcs().len()).sum(),
        hooked: modules.iter().filter_map(|module| module.change.as_ref()).map(|change| change.verified.hooked).sum(),
    }
}

/// The Manifest of the instrumented component. It must be the last section and name the original.
fn manifest(old: &Scanned<'_>, new: &Scanned<'_>) -> Result<ComponentManifest> {
    let last = new.scopes[0].sections.last().map(|section| section.contents.clone()).unwrap_or_default();
    let is_last = new.manifest.as_ref().is_some_and(|manifest| manifest.end == last.end);
    let Some(manifest) = new.manifest()?.filter(|_| is_last) else {
        return Err(fail(last.start, "the component is different, and its last section is not a Manifest"));
    };
    match manifest.input_sha256 == crate::hash::sha256(old.bytes) {
        true => Ok(manifest),
        false => Err(fail(last.start, "the Manifest names a different input")),
    }
}
