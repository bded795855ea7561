//! The effect of imported functions on open calls and spans.

use wasmtrace_abi::hook::{OBSERVE_API, OBSERVE_OLD};

use crate::module::{FuncIdx, FuncImport, Module};

/// The effect of an imported function on open calls and spans. A function with a role has a trampoline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The function leaves the module for good.
    Leaves,
    /// The same in a component; the argument is the exit code.
    Exits,
    /// The function leaves the component's instance, and returns.
    Calls,
    /// The function opens a span.
    Opens,
    /// The function closes the innermost open span.
    Closes,
}

/// The imported functions that have a role, ascending. Shared functions have none: a shared caller could not call
/// their trampoline, which is not shared.
pub(crate) fn roles(module: &Module<'_>) -> Vec<(u32, Role)> {
    let mut roles = all_roles(module);
    // If the module cannot close spans, the exit guard does not track them.
    if !(has(&roles, Role::Opens) && has(&roles, Role::Closes)) {
        roles.retain(|(_, role)| *role == Role::Leaves);
    }
    roles
}

/// Whether the module opens spans, but imports no function that closes them.
pub(crate) fn never_closes(module: &Module<'_>) -> bool {
    let roles = all_roles(module);
    has(&roles, Role::Opens) && !has(&roles, Role::Closes)
}

/// The role of an imported function of a core module of a component, if it leaves the instance. Shared functions have none.
pub(crate) fn in_component(module: &Module<'_>, func: FuncIdx) -> Option<Role> {
    let import = module.imported_funcs().get(func.0 as usize).filter(|_| !module.is_shared(func))?;
    let takes_code = matches!(module.func_type(func).params(), [wasmparser::ValType::I32]);
    let exits = match (import.module, import.name) {
        ("wasi_snapshot_preview1", "proc_exit") => true,
        (interface, "exit" | "exit-with-code") => interface.starts_with("wasi:cli/exit@"),
        _ => false,
    };
    Some(if exits && takes_code { Role::Exits } else { Role::Calls })
}

fn all_roles(module: &Module<'_>) -> Vec<(u32, Role)> {
    let roles = module.imported_funcs().iter().zip(0..).filter(|(_, func)| !module.is_shared(FuncIdx(*func)));
    roles.filter_map(|(import, func)| Some((func, role(module, import, func)?))).collect()
}

fn has(roles: &[(u32, Role)], wanted: Role) -> bool {
    roles.iter().any(|(_, role)| *role == wanted)
}

/// The role of an imported function, if it has one. `roles` is the result of [`roles()`].
pub(crate) fn role_of(roles: &[(u32, Role)], import: FuncIdx) -> Option<Role> {
    roles.binary_search_by_key(&import.0, |(func, _)| *func).ok().map(|found| roles[found].1)
}

fn role(module: &Module<'_>, import: &FuncImport<'_>, func: u32) -> Option<Role> {
    use wasmparser::ValType::{I32, I64};
    match (import.module, import.name) {
        ("wasi_snapshot_preview1" | "wasi_unstable", "proc_exit") => return Some(Role::Leaves),
        (OBSERVE_API, "span-enter" | "span-exit") | (OBSERVE_OLD, "span_enter" | "span_exit") => {}
        _ => return None,
    }
    // A function of another type does not belong to the manual API.
    let ty = module.func_type(FuncIdx(func));
    match (ty.params(), ty.results(), import.name.ends_with("enter")) {
        ([I32 | I64, I32 | I64], [], true) => Some(Role::Opens),
        ([], [], false) => Some(Role::Closes),
        _ => None,
    }
}
