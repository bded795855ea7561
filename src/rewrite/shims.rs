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

use wasm_encoder::Encode;

use super::Layout;
use super::body::END;
use crate::hook::{HookCode, ProbeId};
use crate::module::{FuncIdx, Module};

/// The shim's body, with its size field.
pub(super) fn body(module: &Module<'_>, import: FuncIdx, layout: &Layout) -> Vec<u8> {
    let id = ProbeId(layout.shift.reference(import.0));
    let mut out = Vec::new();
    operators(module.func_type(import).params().len() as u32, import, id, &layout.code).as_slice().encode(&mut out);
    out
}

/// What stands in a shim's body, its locals included. The check holds the output against it.
pub(super) fn operators(params: u32, import: FuncIdx, id: ProbeId, code: &HookCode) -> Vec<u8> {
    let mut body = match code.locals() {
        0 => vec![0],
        locals => vec![1, locals as u8, 0x7f],
    };
    body.extend(code.enter(id, params));
    for param in 0..params {
        body.push(0x20); // local.get
        param.encode(&mut body);
    }
    body.push(0x10); // call
    import.0.encode(&mut body);
    body.extend(code.exit(id, params));
    body.push(END);
    body
}
