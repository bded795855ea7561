//! A body that has hooks.

use wasm_encoder::InstructionSink;
use wasmtrace_abi::hook::ProbeId;

/// One body that has hooks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// What its hooks say of it. `None`: it is not hooked, but catches, and others that are have to know.
    pub(crate) id: Option<ProbeId>,
    /// The first of the locals that [`HookCode::locals`](super::HookCode::locals) asks for.
    pub(crate) local: u32,
    /// Whether it catches exceptions, and says so.
    pub(crate) catches: bool,
    /// Whether it is a leaf function, as [`wasmtrace_abi::buffer`] defines it.
    pub(crate) is_leaf: bool,
}

impl Frame {
    /// `i32.const id; call func`
    pub(super) fn call(&self, func: u32, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            InstructionSink::new(out).i32_const(id.0 as i32).call(func);
        }
    }
}
