//! Encodes the body of a trampoline around an imported function.

use wasm_encoder::{BlockType, InstructionSink};
use wasmtrace_abi::hook::ProbeId;

use super::HookCode;
use super::frame::{Frame, HookPair};
use super::roles::Role;
use super::wrapper::Wrapper;
use crate::module::FuncIdx;

/// A trampoline around an imported function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trampoline {
    /// The number of parameters of the import.
    pub(crate) params: u32,
    pub(crate) import: FuncIdx,
    /// The id that the hooks report, if the trampoline has hooks.
    pub(crate) id: Option<ProbeId>,
    /// The effect of the import, if the hooks consider it.
    pub(crate) role: Option<Role>,
    pub(crate) wrapper: Wrapper,
}

impl Trampoline {
    /// The contents of the body, locals included. The check compares the output with these bytes.
    pub(crate) fn operators(&self, code: &HookCode, block_type: BlockType) -> Vec<u8> {
        let frame = Frame { id: self.id, local: self.params, catches: false, is_leaf: false, pair: HookPair::Plain };
        let mut body = match code.locals(frame.catches) {
            0 => vec![0],
            locals => vec![1, locals as u8, 0x7f],
        };
        let exit = code.exit(frame);
        body.extend(code.enter(frame));
        // A plain block is left out, because nothing in a trampoline branches.
        if self.wrapper != Wrapper::Block {
            self.wrapper.open(block_type, &mut body);
        }
        let (before, behind) = self.role.map_or_else(Default::default, |role| code.around(role));
        body.extend(before);
        let mut code = InstructionSink::new(&mut body);
        for param in 0..self.params {
            code.local_get(param);
        }
        code.call(self.import.0);
        body.extend(behind);
        match self.wrapper {
            Wrapper::Block => body.extend(exit),
            catching => catching.close([&exit, &[]], &mut body),
        }
        InstructionSink::new(&mut body).end();
        body
    }
}
