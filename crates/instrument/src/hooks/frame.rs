//! Describes a body that has hooks.

use wasm_encoder::InstructionSink;
use wasmtrace_abi::hook::ProbeId;

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
}

impl Frame {
    /// Appends a call of a hook: `i32.const id; call func`. Appends nothing without an id.
    pub(super) fn call(&self, func: u32, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            InstructionSink::new(out).i32_const(id.0 as i32).call(func);
        }
    }
}
