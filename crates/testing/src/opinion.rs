//! An independent instrumentation: walrus writes the same hooks. It decodes a module into a graph and encodes it again,
//! so it shares neither code nor method with the splice.

use std::panic::{AssertUnwindSafe, catch_unwind};

use walrus::ir::{Call, Const, Value};
use walrus::{FunctionId, ModuleConfig, ValType};
use wasmtrace::hook::OBSERVE;
use wasmtrace::module;
use wasmtrace::trace::{Event, EventKind};

/// The functions that were entered, by the ids of the hooks.
pub fn entered(events: &[Event]) -> Vec<u32> {
    let id = |event: &Event| match event.kind {
        EventKind::Enter(probe) => Some(probe.0),
        _ => None,
    };
    events.iter().filter_map(id).collect()
}

/// Translates ids of hooks, which are indices in the instrumented module, to indices in the original.
pub fn without_shift(original: &[u8], hooked: &[u8], ids: &[u32]) -> Vec<u32> {
    let [before, after] =
        [original, hooked].map(|wasm| module::parse(wasm).expect("valid").imported_funcs().len() as u32);
    ids.iter().map(|id| if *id < before { *id } else { id - (after - before) }).collect()
}

/// The module with a hook at the entry of each function. The error says why walrus cannot write it.
pub fn hooked_by_walrus(wasm: &[u8]) -> Result<Vec<u8>, String> {
    let write = || {
        let mut config = ModuleConfig::new();
        config.only_stable_features(false).generate_dwarf(false);
        let mut module = config.parse(wasm).map_err(|e| format!("does not read it: {e:?}"))?;
        let hook_type = module.types.add(&[ValType::I32], &[]);
        let (enter, _) = module.add_import_func(OBSERVE, "enter", hook_type);
        // Ids count functions as they come: those of the original have their indices for ids.
        let locals: Vec<FunctionId> = module.funcs.iter_local().map(|(id, _)| id).collect();
        for id in locals {
            let body = module.funcs.get_mut(id).kind.unwrap_local_mut().builder_mut();
            let mut body = body.func_body();
            body.instr_at(0, Const { value: Value::I32(id.index() as i32) });
            body.instr_at(1, Call { func: enter });
        }
        Ok(module.emit_wasm())
    };
    catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_| Err("panics".to_owned()))
}
