//! Compares the core modules of both files, and the functions in them that must not call the host.

use std::collections::BTreeSet;

use super::pairs::Pairs;
use crate::component::definitions::definitions;
use crate::component::named::parse_module;
use crate::component::scan::{CoreInstance, Scanned, Scope};
use crate::injected::is_hooked;
use crate::module::{FuncIdx, Module};
use crate::verify::failure::fail;
use crate::verify::{Verified, verify_modules};
use wasmtrace_abi::error::{Error, Result};
use wasmtrace_abi::hook::HookSet;

/// A core module of the original, and how its counterpart is different.
pub(super) struct ComparedModule<'a> {
    pub(super) old: Module<'a>,
    /// `None` if the counterpart has the same bytes.
    pub(super) change: Option<Change>,
}

/// A core module with hooks.
pub(super) struct Change {
    pub(super) verified: Verified,
    /// The number of functions with the hooks: all ids are lower.
    pub(super) functions: u32,
    /// The position among the modules with hooks.
    pub(super) position: u32,
    /// Whether a function is hooked, so that there are events.
    reports: bool,
}

/// The core modules of a component that did not change.
///
/// # Errors
/// Those of parsing.
pub(super) fn unchanged<'a>(scanned: &Scanned<'a>) -> Result<Vec<ComparedModule<'a>>> {
    let module = |at| Ok(ComparedModule { old: parse_module(scanned, at, false)?, change: None });
    (0..scanned.modules.len()).map(module).collect()
}

/// Compares each core module with its counterpart.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) if a module is neither equal nor the original with
/// hooks of the set `component`.
pub(super) fn compare<'a>(pairs: &Pairs<'_, 'a>) -> Result<Vec<ComparedModule<'a>>> {
    let mut position = 0;
    let mut compared = Vec::with_capacity(pairs.modules.len());
    for (at, counterpart) in pairs.modules.iter().enumerate() {
        let changed = pairs.old.module_bytes(at) != pairs.new.module_bytes(*counterpart);
        let old = parse_module(pairs.old, at, changed)?;
        if !changed {
            position += u32::from(old.manifest().is_some() && is_hooked(&old));
            compared.push(ComparedModule { old, change: None });
            continue;
        }
        let start = pairs.new.modules[*counterpart].range.start;
        let new = parse_module(pairs.new, *counterpart, true)?;
        let verified = verify_modules(&old, &new).map_err(|e| {
            let offset = start + e.offset().unwrap_or_default();
            Error::at(e.kind(), offset, e.message()).caused_by(e)
        })?;
        let manifest = new.manifest().transpose()?.filter(|manifest| manifest.hooks == HookSet::Component);
        let Some(manifest) = manifest else {
            return Err(fail(start, "this module is different, and has no Manifest of the hook set of components"));
        };
        let (functions, reports) = (new.func_count(), !manifest.probes.is_empty());
        compared.push(ComparedModule { old, change: Some(Change { verified, functions, position, reports }) });
        position += 1;
    }
    Ok(compared)
}

/// The core instances of hooked modules, and the positions of the modules.
pub(super) fn hooked_instances<'m>(
    scope: &'m Scope<'_>,
    modules: &'m [ComparedModule<'_>],
) -> impl Iterator<Item = (u32, &'m Change)> {
    (0..).zip(&scope.core_instances).filter_map(|(instance, core)| {
        let CoreInstance::Of { module, .. } = core else { return None };
        Some((instance, modules[scope.modules[*module as usize]?].change.as_ref()?))
    })
}

/// Checks that the functions are quiet which are called while an instance must not be left, and no others.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) otherwise.
pub(super) fn quiet(pairs: &Pairs<'_, '_>, modules: &[ComparedModule<'_>]) -> Result<()> {
    let originals: Vec<&Module<'_>> = modules.iter().map(|module| &module.old).collect();
    // Without events, the hook module never calls the host. Then a function may be quiet, and need not be.
    let (mut required, mut allowed) = (BTreeSet::new(), BTreeSet::new());
    for pair in &pairs.scopes {
        let mut hooked = hooked_instances(pair.old, modules).peekable();
        if hooked.peek().is_some() {
            let quiet: Vec<(usize, FuncIdx)> = definitions(pair.old, &originals, &pair.old.quiet);
            if hooked.any(|(_, change)| change.reports) {
                required.extend(quiet.iter().copied());
            }
            allowed.extend(quiet);
        }
    }
    let of_module = |(at, module): (usize, &ComparedModule<'_>)| {
        let quiet = module.change.iter().flat_map(|change| &change.verified.quiet);
        quiet.map(move |func| (at, *func)).collect::<Vec<_>>()
    };
    let found: BTreeSet<(usize, FuncIdx)> = modules.iter().enumerate().flat_map(of_module).collect();
    let start = |module: usize| pairs.new.modules[pairs.modules[module]].range.start;
    if let Some((module, func)) = required.difference(&found).next() {
        let message = "the host could be called while the instance must not be left: this function is not quiet";
        return Err(fail(start(*module), format!("{message}: {}", func.0)));
    }
    if let Some((module, func)) = found.difference(&allowed).next() {
        let message = format!("function {} is quiet, but the instance may be left during its calls", func.0);
        return Err(fail(start(*module), message));
    }
    Ok(())
}
