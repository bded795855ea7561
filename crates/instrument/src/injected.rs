//! The functions of a hooked module: which ones have hooks, and which ones the instrumentation added.

use wasmparser::Operator;

use wasmtrace_abi::hook::is_hook_import;
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest};

use crate::module::names;
use crate::module::{FuncIdx, Module};
use crate::restore::Restore;
use wasmtrace_abi::label::Source;

/// The Manifest, if it matches the module's functions. It does not if another tool changed the imports since.
fn manifest(module: &Module<'_>) -> Option<Manifest> {
    let manifest = module.manifest()?.ok()?;
    let (imports, hooks) = (module.imported_funcs(), manifest.hooks.imports());
    let last = &imports[imports.len().saturating_sub(hooks.len())..];
    let holds =
        last.len() == hooks.len() && last.iter().zip(hooks).all(|(i, h)| (i.module, i.name) == (h.module, h.name));
    holds.then_some(manifest)
}

/// The hooked functions by ascending index, from the Manifest. An imported function stands for its trampoline. `None`
/// without a Manifest, or if another tool changed the module since.
pub fn hooked(module: &Module<'_>) -> Option<Vec<FuncIdx>> {
    let manifest = manifest(module)?;
    let own = (module.imported_funcs().len() - manifest.hooks.imports().len()) as u32;
    // A trampoline calls one import that is not a hook: its target.
    let behind = |trampoline: FuncIdx| {
        let operators = module.body_reader(trampoline).get_operators_reader().ok()?;
        operators.into_iter().find_map(|operator| match operator {
            Ok(Operator::Call { function_index }) if function_index < own => Some(FuncIdx(function_index)),
            _ => None,
        })
    };
    let probes = manifest.probes.iter().map(|probe| (FuncIdx(probe.id.0), probe.label.source));
    let mut hooked: Vec<FuncIdx> = probes
        .filter(|(func, _)| module.is_defined(*func))
        .filter_map(|(func, source)| if source == Source::Import { behind(func) } else { Some(func) })
        .collect();
    hooked.sort_unstable();
    Some(hooked)
}

/// The defined functions that the instrumentation added, by ascending index: trampolines of imported functions, and
/// functions that exit open calls, including thunks. Empty without a Manifest, or if another tool changed the module
/// since.
///
/// If the module was hooked without data for restoring, trampolines are only known if they are hooked.
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

/// Whether a module imports hooks of any generation, or contains a Manifest.
pub fn is_hooked(module: &Module<'_>) -> bool {
    module.custom(MANIFEST_SECTION).is_some()
        || module.imported_funcs().iter().any(|i| is_hook_import(i.module, i.name))
}
