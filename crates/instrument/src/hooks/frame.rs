//! Describes a body that has hooks.

use wasm_encoder::InstructionSink;
use wasmtrace_abi::buffer::NOBODY;
use wasmtrace_abi::hook::ProbeId;

/// The pair of hooks that a body calls. Only [`HookSet::Component`] has more than one.
///
/// [`HookSet::Component`]: wasmtrace_abi::hook::HookSet::Component
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u32)]
pub(crate) enum HookPair {
    /// `enter` and `exit`
    #[default]
    Plain = 0,
    /// `quiet-enter` and `quiet-exit`: the host must not be called until the function's exit.
    Quiet = 1,
    /// `lifted-enter` and `lifted-exit`: others call the instance by this function.
    Lifted = 2,
}

/// The number of functions of a pair.
const FUNCTIONS: u32 = 2;

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
    /// The pair of hooks. All pairs but the plain one are called even if the function is not hooked.
    pub(crate) pair: HookPair,
}

impl Frame {
    /// Appends a call of a hook: `i32.const id; call func`. `func` is the function of the plain pair. Without an id, the
    /// plain pair is not called.
    pub(super) fn call(&self, func: u32, out: &mut Vec<u8>) {
        let func = func + self.pair as u32 * FUNCTIONS;
        let id = self.id.or((self.pair != HookPair::Plain).then_some(NOBODY));
        if let Some(id) = id {
            InstructionSink::new(out).i32_const(id.0 as i32).call(func);
        }
    }
}
