//! The core modules of a component, parsed, with the names by which people know them.

use std::collections::{BTreeMap, BTreeSet};

use super::group;
use super::scan::Scanned;
use crate::module::{Module, ParseOptions, names, parse_with};
use wasmtrace_abi::error::{Error, Result};

/// Parses each module and finds its name, without the modules that instrumentation added. The first value is the position
/// in the file.
///
/// # Errors
/// Those of [`parse_with`].
pub(super) fn named_modules<'a>(scanned: &Scanned<'a>, validate: bool) -> Result<Vec<(usize, String, Module<'a>)>> {
    let mut taken = BTreeMap::new();
    let added = added_modules(scanned)?;
    let mut all = Vec::with_capacity(scanned.modules.len());
    for (at, core) in scanned.modules.iter().enumerate() {
        let module = parse_module(scanned, at, validate)?;
        if added.contains(&at) {
            continue;
        }
        let name = names::module_name(&module).or(core.name).map(|name| name.strip_suffix(".wasm").unwrap_or(name));
        let name = name.filter(|name| !name.is_empty()).map_or_else(|| format!("module{}", all.len()), str::to_owned);
        all.push((at, unused(name, &mut taken), module));
    }
    Ok(all)
}

/// The positions of the modules that instrumentation added.
///
/// # Errors
/// Those of [`parse_with`].
pub(super) fn added_modules(scanned: &Scanned<'_>) -> Result<BTreeSet<usize>> {
    let mut added = BTreeSet::new();
    if scanned.manifest.is_some() {
        for (at, name) in scanned.scopes.iter().flat_map(group::modules) {
            if names::module_name(&parse_module(scanned, at, false)?) == Some(name) {
                added.insert(at);
            }
        }
    }
    Ok(added)
}

/// Parses a core module. Offsets in errors are those of the component.
pub(super) fn parse_module<'a>(scanned: &Scanned<'a>, module: usize, validate: bool) -> Result<Module<'a>> {
    let start = scanned.modules[module].range.start;
    parse_with(scanned.module_bytes(module), &ParseOptions { validate, ..Default::default() }).map_err(|e| {
        match e.offset() {
            Some(offset) => Error::at(e.kind(), start + offset, e.message()),
            None => e,
        }
    })
}

/// The name, or the name with a number if it is taken. `taken` has the last number of each name.
fn unused(name: String, taken: &mut BTreeMap<String, u32>) -> String {
    let mut free = name.clone();
    while taken.contains_key(&free) {
        let last = taken.entry(name.clone()).or_insert(1);
        *last += 1;
        free = format!("{name}#{last}");
    }
    taken.insert(free.clone(), 1);
    free
}
