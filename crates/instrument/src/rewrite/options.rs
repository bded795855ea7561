//! What is to be written.

use wasmtrace_abi::hook::HookSet;

use crate::hooks::roles;
use crate::module::Module;

/// What is to be written, besides which functions are hooked.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hook set.
    pub hooks: HookSet,
    /// Whether the Manifest holds what [`strip`](crate::strip()) needs. Costs a few bytes, unless sections that no rule inverts are large.
    pub restore: bool,
    /// When the module itself exits the calls that are open, before it is left for good.
    pub close_on_exit: CloseOnExit,
    /// Whether exceptions cross this module that another one catches, so that each function has to be left by them even if nothing
    /// here catches any. In the Observe set; it takes the feature, so the engine has to have it. For modules that are run together.
    pub foreign_exceptions: bool,
}

/// When a module exits all calls that are open before it is left through `proc_exit` or `unreachable`, so that a host which knows
/// nothing of those gets a complete trace; and its spans, if it opens any, which then end in an order that such a host takes. In
/// the Observe set alone: the runtime here closes what is open. Each call costs some more, and each hooked function a dozen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CloseOnExit {
    /// Not at all.
    #[default]
    Never,
    /// If it imports `proc_exit` or opens spans itself; and if engines' limits leave no room, a warning says so.
    WhereItExits,
    /// Also if it may leave through `unreachable` alone.
    Always,
}

impl Default for Options {
    fn default() -> Self {
        Options { hooks: HookSet::Observe, restore: true, close_on_exit: CloseOnExit::Never, foreign_exceptions: false }
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
