//! Options of a rewriting.

use wasmtrace_abi::hook::HookSet;

use crate::hooks::roles;
use crate::module::{FuncIdx, Module};

/// Options of a rewriting, apart from the selection of functions.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hook set.
    pub hooks: HookSet,
    /// Whether the Manifest includes the data that [`strip`](crate::strip()) needs. This usually costs a few bytes. It
    /// costs more if large sections are replaced or left out.
    pub restore: bool,
    /// Whether the module exits its open calls before it is left for good.
    pub close_on_exit: CloseOnExit,
    /// Whether other modules catch exceptions that cross this module. If so, each function reports its exit by an
    /// exception, even if nothing in this module catches exceptions.
    ///
    /// Only affects [`HookSet::Observe`]. The output then uses exception handling, so the engine must support it. Use
    /// it for modules that run together.
    pub foreign_exceptions: bool,
    /// Whether the `name` section holds demangled names, for hosts that show names as they are.
    pub demangle: bool,
    /// Whether debug information is relocated. If not, the output has none. For a module that only runs: nothing reads
    /// the debug information of the output then.
    pub debug_info: bool,
    /// How a core module of a component is entered and left. Only affects [`HookSet::Component`].
    pub crossings: Crossings,
}

/// How a core module of a component is entered and left: its functions with other hooks than `enter` and `exit`.
#[derive(Debug, Clone, Default)]
pub struct Crossings {
    /// The functions during which the host must not be called: `realloc` and `post-return`.
    pub quiet: Vec<FuncIdx>,
    /// The functions by which others call the instance: those that are lifted, and destructors.
    pub lifted: Vec<FuncIdx>,
    /// The imported functions that leave the instance.
    pub calls: Vec<FuncIdx>,
}

impl Crossings {
    /// Whether a function has hooks even if it is not selected.
    pub(super) fn is_empty(&self) -> bool {
        self.quiet.is_empty() && self.lifted.is_empty()
    }
}

/// Whether a module has an exit guard, which exits all open calls before `proc_exit` and `unreachable`.
///
/// Without an exit guard, a host that does not handle these exits gets an incomplete trace. If the module opens spans
/// itself, the exit guard also ends them, in an order that such hosts accept.
///
/// Only affects [`HookSet::Observe`]: with the other hook sets, the wasmtrace runtime closes open calls. The exit
/// guard adds a small cost to each call and about a dozen bytes to each hooked function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloseOnExit {
    /// The module has no exit guard.
    #[default]
    Never,
    /// The module has an exit guard if it imports `proc_exit` or opens spans itself. If engine limits leave no room
    /// for the guard, it is left out with a warning.
    WhereItExits,
    /// The module has an exit guard, even if it can only leave through `unreachable`.
    Always,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            hooks: HookSet::Observe,
            restore: true,
            close_on_exit: CloseOnExit::Never,
            foreign_exceptions: false,
            demangle: false,
            debug_info: true,
            crossings: Crossings::default(),
        }
    }
}

impl Options {
    pub(super) fn guards_exits(&self, module: &Module<'_>) -> bool {
        let wanted = match self.close_on_exit {
            CloseOnExit::Never => false,
            CloseOnExit::WhereItExits => !roles::roles(module).is_empty(),
            CloseOnExit::Always => true,
        };
        wanted && !self.hooks.has_buffer()
    }
}
