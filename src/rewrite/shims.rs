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
//! An import may throw: around the call stands what stands around bodies for that, if there is more than a block.

use wasm_encoder::Encode;

use super::Layout;
use super::body::END;
use super::wrapper::Wrapper;
use crate::hook::{Frame, HookCode, ProbeId};
use crate::module::{FuncIdx, Module};

/// The shim's body, with its size field.
pub(super) fn body(module: &Module<'_>, import: FuncIdx, layout: &Layout) -> Vec<u8> {
    let id = ProbeId(layout.shift.reference(import.0));
    let block_type = layout.block_types.get(&module.type_index(import)).map_or(&[][..], Vec::as_slice);
    let params = module.func_type(import).params().len() as u32;
    let mut out = Vec::new();
    operators(params, import, id, &layout.code, (layout.wrapper, block_type)).as_slice().encode(&mut out);
    out
}

/// What stands in a shim's body, its locals included. The check holds the output against it.
pub(super) fn operators(
    params: u32,
    import: FuncIdx,
    id: ProbeId,
    code: &HookCode,
    (wrapper, block_type): (Wrapper, &[u8]),
) -> Vec<u8> {
    let frame = Frame { id: Some(id), local: params, catches: false };
    let mut body = match code.locals(frame.catches) {
        0 => vec![0],
        locals => vec![1, locals as u8, 0x7f],
    };
    let exit = code.exit(frame);
    let (open, close) = match wrapper {
        // Nothing in it branches.
        Wrapper::Block => (Vec::new(), exit),
        catching => (catching.open(block_type), catching.close(&exit)),
    };
    body.extend(code.enter(frame));
    body.extend(open);
    for param in 0..params {
        body.push(0x20); // local.get
        param.encode(&mut body);
    }
    body.push(0x10); // call
    import.0.encode(&mut body);
    body.extend(close);
    body.push(END);
    body
}
