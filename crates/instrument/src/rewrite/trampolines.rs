//! Trampolines: hooks around an imported function.
//!
//! An imported function has no body to write hooks into, so it gets a function of its own that calls it, and every
//! reference to the import (calls, elements, exports, `ref.func`) goes to that instead:
//!
//! ```wat
//! (func $trampoline (param …) (result R)
//!   ENTER id
//!   local.get 0  local.get 1  …
//!   call $import
//!   EXIT id
//! )
//! ```
//!
//! One that leaves the module for good (`proc_exit`), or opens or closes a span, may have other lines around its call: see
//! [`crate::hooks::exit_guard`]. Then it has a trampoline even if it is not hooked, without ENTER and EXIT.
//!
//! An import may throw: around the call stands what stands around bodies for that, if there is more than a block.

use wasm_encoder::{BlockType, Encode};

use crate::hooks::roles;
use crate::hooks::trampoline::Trampoline;
use crate::hooks::wrapper::Wrapper;
use crate::module::{FuncIdx, Module};
use crate::rewrite::layout::Layout;
use wasmtrace_abi::hook::ProbeId;

/// The trampoline's body, with its size field. `hooked`: it has ENTER and EXIT.
pub(super) fn body(module: &Module<'_>, import: FuncIdx, hooked: bool, layout: &Layout) -> Vec<u8> {
    let id = hooked.then(|| ProbeId(layout.func_map.reference(import.0)));
    let block_type = layout.block_types.get(&module.type_index(import)).copied().unwrap_or(BlockType::Empty);
    let params = module.func_type(import).params().len() as u32;
    let role = roles::role_of(&layout.roles, import);
    let trampoline =
        Trampoline { params, import, id, role, wrapper: if hooked { layout.wrapper } else { Wrapper::Block } };
    let mut out = Vec::new();
    trampoline.operators(&layout.code, block_type).as_slice().encode(&mut out);
    out
}
