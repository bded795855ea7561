//! Trampolines: hooks around an imported function.
//!
//! An imported function has no body for hooks. So a trampoline is added that calls the import. Every reference to the
//! import (calls, elements, exports, `ref.func`) goes to the trampoline instead:
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
//! Some imports leave the module for good (`proc_exit`), or open or close a span. If the module has an exit guard,
//! their trampolines have other operators around the call: see [`crate::hooks::exit_guard`]. Such an import has a
//! trampoline even if it is not hooked; then the trampoline has no ENTER and EXIT.
//!
//! An import may throw. So the call has the same wrapper as bodies, unless that wrapper is a plain block.

use wasm_encoder::{BlockType, Encode};

use crate::hooks::roles;
use crate::hooks::trampoline::Trampoline;
use crate::hooks::wrapper::Wrapper;
use crate::module::{FuncIdx, Module};
use crate::rewrite::layout::Layout;
use wasmtrace_abi::hook::ProbeId;

/// The body of the trampoline, with its size field. `hooked` says whether it has ENTER and EXIT.
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
