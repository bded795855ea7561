//! Describes a body that has hooks.

use wasm_encoder::InstructionSink;
use wasmtrace_abi::buffer::NOBODY;
use wasmtrace_abi::hook::ProbeId;

/// The distance from the imports `enter` and `exit` to `quiet-enter` and `quiet-exit`.
const QUIET: u32 = 2;

/// A body that has hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// The id that the hooks report. `None` if the function is not hooked, but catches exceptions. Its hooks report
    /// catches, so that the calls that an exception unwound can be ended.
    pub(crate) id: Option<ProbeId>,
    /// The index of the first local that [`HookCode::locals`](super::HookCode::locals) requires.
    pub(crate) local: u32,
    /// Whether the function catches exceptions and reports that.
    pub(crate) catches: bool,
    /// Whether the function is a leaf function, as defined in [`wasmtrace_abi::buffer`].
    pub(crate) is_leaf: bool,
    /// Whether the host must not be called until the function's exit (see [`HookSet::Component`]).
    ///
    /// [`HookSet::Component`]: wasmtrace_abi::hook::HookSet::Component
    pub(crate) quiet: bool,
}

impl Frame {
    /// Appends a call of a hook: `i32.const id; call func`. A quiet function calls `func + QUIET`, even if it is not
    /// hooked. Without an id, other functions call nothing.
    pub(super) fn call(&self, func: u32, out: &mut Vec<u8>) {
        let (func, id) = match self.quiet {
            true => (func + QUIET, self.id.or(Some(NOBODY))),
            false => (func, self.id),
        };
        if let Some(id) = id {
            InstructionSink::new(out).i32_const(id.0 as i32).call(func);
        }
    }
}
