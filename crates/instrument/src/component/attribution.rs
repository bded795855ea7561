//! To whom a profiler attributes the machine code of each core module of a component.

use std::collections::{BTreeMap, BTreeSet};

use super::injected;
use super::named::{added_modules, parse_module};
use super::scan::scan;
use crate::module::Module;
use wasmtrace_abi::component::{ComponentManifest, HookedInstance};
use wasmtrace_abi::error::Result;

/// To whom the code of a module belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribution {
    /// To its functions. This number is added to their indices.
    Probes(u32),
    /// To the hooks of other modules.
    Hooks,
    /// To the hooked function that called it. The module is not hooked, or has instances with different numbers: the code
    /// of all instances is the same, so the innermost recorded call tells more than the code.
    Caller,
}

/// A core module of a component that runs.
#[derive(Debug)]
pub struct AttributedModule<'a> {
    /// The offset of the module in the component, in bytes.
    pub offset: usize,
    /// The module. Offsets in it count from its own start.
    pub module: Module<'a>,
    /// To whom its code belongs.
    pub attribution: Attribution,
}

/// The core modules of a component, in the order of the file. In a component without hooks, the functions of all modules
/// are numbered consecutively.
///
/// # Errors
/// [`ErrorKind::Malformed`](wasmtrace_abi::error::ErrorKind::Malformed) if the component is not valid.
/// [`ErrorKind::Restore`](wasmtrace_abi::error::ErrorKind::Restore) if a Manifest is damaged.
pub fn attribute(bytes: &[u8]) -> Result<Vec<AttributedModule<'_>>> {
    let scanned = scan(bytes)?;
    let modules = (0..scanned.modules.len()).map(|at| parse_module(&scanned, at, false)).collect::<Result<Vec<_>>>()?;
    let attributions = match scanned.manifest()? {
        Some(manifest) => of_hooked(&added_modules(&scanned)?, &manifest, &modules),
        None => of_unhooked(&modules),
    };
    let modules = modules.into_iter().zip(attributions).zip(&scanned.modules);
    let modules = modules.map(|((module, attribution), core)| {
        let offset = core.range.start;
        AttributedModule { offset, module, attribution }
    });
    Ok(modules.collect())
}

fn of_unhooked(modules: &[Module<'_>]) -> Vec<Attribution> {
    let mut next = Some(0u32);
    let attributions = modules.iter().map(|module| {
        let first = next;
        next = first.and_then(|first| first.checked_add(module.func_count()));
        next.and(first).map_or(Attribution::Caller, Attribution::Probes)
    });
    attributions.collect()
}

fn of_hooked(added: &BTreeSet<usize>, manifest: &ComponentManifest, modules: &[Module<'_>]) -> Vec<Attribution> {
    // The number of each hooked module, unless its instances have several.
    let mut first_probes: BTreeMap<u32, Option<u32>> = BTreeMap::new();
    for HookedInstance { module, first_probe, .. } in &manifest.instances {
        let first = first_probes.entry(*module).or_insert(Some(*first_probe));
        *first = first.filter(|first| first == first_probe);
    }
    let mut hooked = 0..;
    let attributions = modules.iter().enumerate().map(|(at, module)| {
        if added.contains(&at) {
            return Attribution::Hooks;
        }
        let is_hooked = module.manifest().is_some() && injected::is_hooked(module);
        let position = is_hooked.then(|| hooked.next()).flatten();
        let first = position.and_then(|position| *first_probes.get(&position)?);
        first.map_or(Attribution::Caller, Attribution::Probes)
    });
    attributions.collect()
}
