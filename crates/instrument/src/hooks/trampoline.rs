//! A function around an imported one.

use wasm_encoder::{BlockType, InstructionSink};
use wasmtrace_abi::hook::ProbeId;

use super::HookCode;
use super::frame::Frame;
use super::roles::Role;
use super::wrapper::Wrapper;
use crate::module::FuncIdx;

/// One trampoline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trampoline {
    /// How many parameters the import has.
    pub(crate) params: u32,
    pub(crate) import: FuncIdx,
    /// What its hooks say, if it has any.
    pub(crate) id: Option<ProbeId>,
    /// What the import does to what is open, if the module keeps that.
    pub(crate) role: Option<Role>,
    pub(crate) wrapper: Wrapper,
}

impl Trampoline {
    /// What stands in its body, its locals included. The check holds the output against it.
    pub(crate) fn operators(&self, code: &HookCode, block_type: BlockType) -> Vec<u8> {
        let frame = Frame { id: self.id, local: self.params, catches: false, is_leaf: false };
        let mut body = match code.locals(frame.catches) {
            0 => vec![0],
            locals => vec![1, locals as u8, 0x7f],
        };
        let exit = code.exit(frame);
        body.extend(code.enter(frame));
        // Where nothing is caught there is no block: nothing in it branches.
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
