//! Shims: hooks around an imported function.
//!
//! An imported function has no body to write hooks into, so it gets a function of its own that calls it, and every
//! reference to the import (calls, elements, exports, `ref.func`) goes to that instead:
//!
//! ```wat
//! (func $shim (param …) (result R)
//!   ENTER id
//!   local.get 0  local.get 1  …
//!   call $import
//!   EXIT id
//! )
//! ```
//!
//! One that leaves the module for good (`proc_exit`), or opens or closes a span, may have other lines around its call: see
//! [`super::balance`]. Then it has a shim even if it is not hooked, without ENTER and EXIT.
//!
//! An import may throw: around the call stands what stands around bodies for that, if there is more than a block.

use wasm_encoder::Encode;

use super::Layout;
use super::balance::{self, Role};
use super::body::END;
use super::wrapper::Wrapper;
use crate::hooks::{Frame, HookCode};
use crate::module::{FuncIdx, Module};
use wasmtrace_abi::hook::ProbeId;

/// The shim's body, with its size field. `hooked`: it has ENTER and EXIT.
pub(super) fn body(module: &Module<'_>, import: FuncIdx, hooked: bool, layout: &Layout) -> Vec<u8> {
    let id = hooked.then(|| ProbeId(layout.shift.reference(import.0)));
    let block_type = layout.block_types.get(&module.type_index(import)).map_or(&[][..], Vec::as_slice);
    let params = module.func_type(import).params().len() as u32;
    let role = balance::role_of(&layout.roles, import);
    let shim = Shim { params, import, id, role, wrapper: if hooked { layout.wrapper } else { Wrapper::Block } };
    let mut out = Vec::new();
    shim.operators(&layout.code, block_type).as_slice().encode(&mut out);
    out
}

/// One shim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shim {
    /// How many parameters the import has.
    pub(super) params: u32,
    pub(super) import: FuncIdx,
    /// What its hooks say, if it has any.
    pub(super) id: Option<ProbeId>,
    /// What the import does to what is open, if the module keeps that.
    pub(super) role: Option<Role>,
    pub(super) wrapper: Wrapper,
}

impl Shim {
    /// What stands in its body, its locals included. The check holds the output against it.
    pub(super) fn operators(&self, code: &HookCode, block_type: &[u8]) -> Vec<u8> {
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
        for param in 0..self.params {
            body.push(0x20); // local.get
            param.encode(&mut body);
        }
        body.push(0x10); // call
        self.import.0.encode(&mut body);
        body.extend(behind);
        match self.wrapper {
            Wrapper::Block => body.extend(exit),
            catching => catching.close([&exit, &[]], &mut body),
        }
        body.push(END);
        body
    }
}
