//! Which functions of a hooked module are not the original's.

use crate::hook::{MANIFEST_SECTION, Manifest};
use crate::label::{Source, names};
use crate::module::{FuncIdx, Module};

/// The functions with a body that are there for the hooks alone, ascending: shims around imported functions, and those that exit
/// what is open (thunks among them). None where there is no Manifest, or one of before another tool changed the module.
///
/// Of a module that was hooked without what restoring needs, a shim is known if it is hooked.
pub fn of_hooks(module: &Module<'_>) -> Vec<FuncIdx> {
    let Some(section) = module.custom(MANIFEST_SECTION) else { return Vec::new() };
    let Ok(manifest) = Manifest::decode(&module.bytes()[section.data.clone()], section.data.start) else {
        return Vec::new();
    };
    let (imports, hooks) = (module.imported_funcs(), manifest.hooks.imports());
    let last = &imports[imports.len().saturating_sub(hooks.len())..];
    if last.len() != hooks.len() || !last.iter().zip(hooks).all(|(i, h)| (i.module, i.name) == (h.module, h.name)) {
        return Vec::new();
    }
    let (count, imported) = (module.func_count(), imports.len() as u32);
    let is_shim = |func: u32| {
        let probe = manifest.probes.binary_search_by_key(&func, |probe| probe.id.0);
        probe.is_ok_and(|found| manifest.probes[found].label.source == Source::Import)
    };
    let noted = manifest.restore.as_ref().map(|restore| {
        let behind = restore.balance.map_or(0, |(functions, _)| functions);
        count.saturating_sub(behind.saturating_add(restore.shims.len() as u32))
    });
    let named = || {
        let names = names::function_names(module, count, &mut Vec::new());
        (imported..count).rev().find(|func| names[*func as usize] == Some("wasmtrace.enter"))
    };
    let first = noted.or_else(named).unwrap_or(count);
    (imported..count).filter(|func| *func >= first || is_shim(*func)).map(FuncIdx).collect()
}
