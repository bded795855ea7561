//! Finds where a core function of a component is defined, through aliases, exports and imports of core instances.

use wasmparser::ExternalKind;

use super::scan::{CoreFunc, CoreInstance, Scope};
use crate::module::{FuncIdx, Module};

/// Where a core function of a component is defined.
pub(super) enum Definition {
    /// In this module, by position, with this index.
    Here(usize, FuncIdx),
    /// It is a lowered function, or one of the component model; whether a call of it may leave the instance.
    Host { leaves: bool },
    /// In a module that is not in this file.
    Unknown,
}

/// The module that defines a core function of a component, and the function in it.
pub(super) fn defined(scope: &Scope<'_>, modules: &[&Module<'_>], core_func: u32) -> Definition {
    match scope.core_funcs.get(core_func as usize) {
        Some(CoreFunc::Export { instance, name }) => defined_in(scope, modules, (*instance, name)),
        Some(CoreFunc::Canonical { leaves }) => Definition::Host { leaves: *leaves },
        None => Definition::Unknown,
    }
}

/// The module that defines an exported function of a core instance, and the function in it.
pub(super) fn defined_in(
    scope: &Scope<'_>,
    modules: &[&Module<'_>],
    (mut instance, mut name): (u32, &str),
) -> Definition {
    // Each step goes to an earlier definition, so this ends.
    loop {
        match &scope.core_instances[instance as usize] {
            CoreInstance::Exports(exports) => {
                let is_func =
                    |(export, kind, _): &&(&str, ExternalKind, u32)| *export == name && *kind == ExternalKind::Func;
                let Some((_, _, index)) = exports.iter().find(is_func) else { return Definition::Unknown };
                match scope.core_funcs.get(*index as usize) {
                    Some(CoreFunc::Export { instance: next, name: next_name }) => (instance, name) = (*next, next_name),
                    Some(CoreFunc::Canonical { leaves }) => return Definition::Host { leaves: *leaves },
                    None => return Definition::Unknown,
                }
            }
            CoreInstance::Of { module, args } => {
                let Some(at) = scope.modules[*module as usize] else { return Definition::Unknown };
                let module = modules[at];
                let exported = module.exports().iter().find(|(export, _)| *export == name);
                let Some((_, func)) = exported else { return Definition::Unknown };
                let Some(import) = module.imported_funcs().get(func.0 as usize) else {
                    return Definition::Here(at, *func);
                };
                let argument = args.iter().find(|(arg, _)| *arg == import.module);
                let Some((_, next)) = argument else { return Definition::Unknown };
                (instance, name) = (*next, import.name);
            }
        }
    }
}

/// The core functions of a component that are defined in this file: their module, by position, and their index.
pub(super) fn definitions(scope: &Scope<'_>, modules: &[&Module<'_>], funcs: &[u32]) -> Vec<(usize, FuncIdx)> {
    let defined = |func: &u32| match defined(scope, modules, *func) {
        Definition::Here(module, func) => Some((module, func)),
        Definition::Host { .. } | Definition::Unknown => None,
    };
    funcs.iter().filter_map(defined).collect()
}
