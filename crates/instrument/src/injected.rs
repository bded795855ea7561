//! Finds the hooked functions and the injected functions of an instrumented module.

use std::collections::{HashMap, HashSet};

use wasmparser::Operator;

use wasmtrace_abi::hook::is_hook_import;
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest};

use crate::module::names;
use crate::module::{FuncIdx, Module};
use crate::restore::Restore;
use wasmtrace_abi::label::Source;

/// The Manifest of the module; `None` if the last imports are not its hooks, because another tool changed the imports
/// later.
fn manifest(module: &Module<'_>) -> Option<Manifest> {
    let manifest = module.manifest()?.ok()?;
    let (imports, hooks) = (module.imported_funcs(), manifest.hooks.imports());
    let last = &imports[imports.len().saturating_sub(hooks.len())..];
    let holds =
        last.len() == hooks.len() && last.iter().zip(hooks).all(|(i, h)| (i.module, i.name) == (h.module, h.name));
    holds.then_some(manifest)
}

/// The hooked functions, ascending, as listed in the module's Manifest. For a hooked import, the list has the imported
/// function and not its trampoline.
///
/// Returns `None` if the module has no Manifest, or if another tool changed the imports after instrumentation.
pub fn hooked(module: &Module<'_>) -> Option<Vec<FuncIdx>> {
    let manifest = manifest(module)?;
    let own = (module.imported_funcs().len() - manifest.hooks.imports().len()) as u32;
    let probes = manifest.probes.iter().map(|probe| (FuncIdx(probe.id.0), probe.label.source));
    let mut hooked: Vec<FuncIdx> = probes
        .filter(|(func, _)| module.is_defined(*func))
        .filter_map(|(func, source)| if source == Source::Import { wrapped(module, func, own) } else { Some(func) })
        .collect();
    hooked.sort_unstable();
    Some(hooked)
}

/// The index of each function in the module before instrumentation. Functions that instrumentation added have none, except
/// a trampoline, which has the index of its import.
///
/// The indices of a module without a Manifest are its own.
pub fn original_index(module: &Module<'_>) -> impl Fn(FuncIdx) -> Option<u32> + use<> {
    let mut trampolines = HashMap::new();
    let mut added = HashSet::new();
    let mut hooks = 0;
    let imported = module.imported_funcs().len() as u32;
    if let Some(manifest) = manifest(module) {
        hooks = manifest.hooks.imports().len() as u32;
        added.extend(injected_functions(module));
        let of_imports = manifest.probes.iter().filter(|probe| probe.label.source == Source::Import);
        for trampoline in of_imports.map(|probe| FuncIdx(probe.id.0)).filter(|func| module.is_defined(*func)) {
            trampolines.extend(wrapped(module, trampoline, imported - hooks).map(|import| (trampoline, import.0)));
        }
    }
    move |func| match func.0 {
        index if index < imported - hooks => Some(index),
        index if index < imported => None,
        _ if trampolines.contains_key(&func) => trampolines.get(&func).copied(),
        _ if added.contains(&func) => None,
        index => Some(index - hooks),
    }
}

/// The import that a trampoline wraps: it calls exactly one import that is not a hook.
fn wrapped(module: &Module<'_>, trampoline: FuncIdx, own: u32) -> Option<FuncIdx> {
    let operators = module.body_reader(trampoline).get_operators_reader().ok()?;
    operators.into_iter().find_map(|operator| match operator {
        Ok(Operator::Call { function_index }) if function_index < own => Some(FuncIdx(function_index)),
        _ => None,
    })
}

/// The functions with a body that instrumentation added, ascending: trampolines of imported functions, and the
/// functions of the exit guard.
///
/// The list is empty if the module has no Manifest, or if another tool changed the imports after instrumentation. If
/// the Manifest has no restoring data, a trampoline is only found if it is hooked. The exit guard is then only found by
/// the names of its functions.
pub fn injected_functions(module: &Module<'_>) -> Vec<FuncIdx> {
    let Some(manifest) = manifest(module) else { return Vec::new() };
    let (count, imported) = (module.func_count(), module.imported_funcs().len() as u32);
    let is_trampoline = |func: u32| {
        let probe = manifest.probes.binary_search_by_key(&func, |probe| probe.id.0);
        probe.is_ok_and(|found| manifest.probes[found].label.source == Source::Import)
    };
    let noted = Restore::of(module, &manifest).and_then(Result::ok).map(|restore| {
        let behind = restore.exit_guard.map_or(0, |(functions, _)| functions);
        count.saturating_sub(behind.saturating_add(restore.trampolines.len() as u32))
    });
    let named = || {
        let names = names::function_names(module, count, &mut Vec::new());
        (imported..count).rev().find(|func| names.get(*func as usize) == Some(&Some("wasmtrace.enter")))
    };
    let first = noted.or_else(named).unwrap_or(count);
    (imported..count).filter(|func| *func >= first || is_trampoline(*func)).map(FuncIdx).collect()
}

/// Whether the module imports hooks of any generation, or has a Manifest.
pub fn is_hooked(module: &Module<'_>) -> bool {
    module.custom(MANIFEST_SECTION).is_some()
        || module.imported_funcs().iter().any(|i| is_hook_import(i.module, i.name))
}
