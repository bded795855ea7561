//! The hooks as functions of the host.
//!
//! Those of the Observe set are `func_wrap`ped over the store's data: an event into the ring each, no allocation, no lock, no
//! name. Those of the buffer make room in it.

use std::collections::HashMap;
use std::ptr::NonNull;

use wasmtime::{Caller, Extern, ExternType, Linker, WasmBacktrace};

use super::Unit;
use super::buffer::Buffer;
use super::recorder::Recorder;
use crate::error::{Error, ErrorKind, Result};
use crate::hook::buffer::{BLOCK, first_block};
use crate::hook::{BufferPlace, HookSet, MANIFEST_SECTION, Manifest, ProbeId, RECORDER, is_hook_import};
use crate::trace::EventKind;

/// Gives the linker the hooks, in the spelling and of the types that the module imports: with an id, or, in the first
/// generation, without.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    unit: &Unit,
    recorder: impl Fn(&mut T) -> &mut Recorder + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let first = unit.first_probe;
    linker.allow_shadowing(true); // a module may import the same function twice, and several modules do
    for import in unit.module.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let (from, name) = (import.module(), import.name());
        if !is_hook_import(from, name) {
            continue;
        }
        let name_of_hook = name.trim_start_matches("instrument_").replace('_', "-");
        if from == RECORDER {
            add_buffer_hook(linker, unit, name, recorder)?;
            continue;
        }
        match (name_of_hook.as_str(), ty.params().len()) {
            ("enter", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, id: u32| {
                recorder(caller.data_mut()).push(EventKind::Enter(ProbeId(first.wrapping_add(id))))
            })?,
            ("exit", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, id: u32| {
                recorder(caller.data_mut()).push(EventKind::Exit(ProbeId(first.wrapping_add(id))))
            })?,
            ("memory-grow", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, pages: u32| {
                recorder(caller.data_mut()).push(EventKind::MemoryGrow(pages))
            })?,
            ("enter", 0) => {
                let callees = unit.callees.clone();
                linker.func_wrap(from, name, move |mut caller: Caller<'_, T>| {
                    let backtrace = WasmBacktrace::force_capture(&caller);
                    let frame = backtrace.frames().first();
                    let callee = frame.and_then(|f| callees.get(&f.module_offset()?).copied());
                    let func = callee.or(frame.map(|f| f.func_index())).unwrap_or(u32::MAX);
                    recorder(caller.data_mut()).push(EventKind::Enter(ProbeId(first.wrapping_add(func))))
                })?
            }
            ("exit", 0) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>| {
                recorder(caller.data_mut()).push(EventKind::ExitInnermost)
            })?,
            _ => continue, // not the ABI's: the linker will say that there is no such import
        };
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// One of the functions that fill and empty the guest's buffer.
fn add_buffer_hook<T: 'static>(
    linker: &mut Linker<T>,
    unit: &Unit,
    name: &str,
    recorder: impl Fn(&mut T) -> &mut Recorder + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    if name == "memory-grow" {
        linker.func_wrap(RECORDER, name, move |mut caller: Caller<'_, T>, pages: u32| {
            recorder(caller.data_mut()).push_after_buffer(EventKind::MemoryGrow(pages), 0)
        })?;
        return Ok(());
    }
    let Some((place, functions)) = unit.buffer.clone() else { return Ok(()) };
    let threshold = name == "flush-counted";
    linker.func_wrap(RECORDER, name, move |mut caller: Caller<'_, T>| -> wasmtime::Result<()> {
        if !recorder(caller.data_mut()).has_buffer() {
            let set = if threshold { HookSet::Threshold } else { HookSet::Buffer };
            let room = place.first_block >= first_block(set, functions);
            let Some((buffer, end)) = buffer_of(&mut caller, &place).filter(|_| room) else {
                return Err(wasmtime::Error::msg("the module has no buffer where its Manifest says that there is one"));
            };
            recorder(caller.data_mut()).begin_buffer(buffer, (place.first_block, end), functions, threshold)?;
        }
        recorder(caller.data_mut()).flush()
    })?;
    Ok(())
}

/// The buffer of the instance that calls, and where its last block ends.
#[expect(unsafe_code, reason = "the promise of `Buffer::new`")]
fn buffer_of<T>(caller: &mut Caller<'_, T>, place: &BufferPlace) -> Option<(Buffer, u32)> {
    let Some(Extern::Memory(memory)) = caller.get_export(&place.export) else { return None };
    let ty = memory.ty(&*caller);
    let bytes = u32::try_from(memory.data_size(&*caller)).ok()?;
    if ty.maximum() != Some(ty.minimum())
        || ty.is_64()
        || !place.first_block.is_multiple_of(BLOCK)
        || !bytes.is_multiple_of(8)
    {
        return None;
    }
    let blocks = bytes.checked_sub(place.first_block)? / BLOCK;
    let base = NonNull::new(memory.data_ptr(&*caller)).filter(|base| base.addr().get().is_multiple_of(8))?;
    // SAFETY: the memory does not grow, so it does not move; the guest's thread keeps the store until everything that was
    // given this is done with it (`ReadBeforeDrop`).
    let buffer = unsafe { Buffer::new(base, bytes) };
    (blocks >= 2).then_some((buffer, place.first_block + blocks * BLOCK))
}

/// What a module says of its buffer, with how many functions it has, if it has a buffer.
///
/// # Errors
/// [`ErrorKind::Run`] if it imports what belongs to a buffer, and its Manifest knows of none.
pub(super) fn buffer_place(wasm: &crate::module::Module<'_>) -> Result<Option<(BufferPlace, u32)>> {
    if !wasm.imported_funcs().iter().any(|import| import.module == RECORDER) {
        return Ok(None);
    }
    let manifest = match wasm.custom(MANIFEST_SECTION) {
        Some(section) => Manifest::decode(&wasm.bytes()[section.data.clone()], section.data.start)?.buffer,
        None => None,
    };
    let Some(place) = manifest else {
        return Err(Error::new(
            ErrorKind::Run,
            format!(
                "the module records into a buffer, and the Manifest (`{MANIFEST_SECTION}`) that says where is gone"
            ),
        ));
    };
    Ok(Some((place, wasm.func_count())))
}

/// The first generation of hooks stands around direct calls and names nothing: `call $enter; call $f; call $exit`. Where
/// the hook was called from, the backtrace says; which function is called next there, this table. Empty for later generations.
pub(super) fn announced_callees(wasm: &crate::module::Module<'_>) -> HashMap<usize, u32> {
    let nameless = |func: u32| wasm.func_type(crate::module::FuncIdx(func)).params().is_empty();
    let imports = wasm.imported_funcs();
    if !(0..imports.len()).any(|i| is_hook_import(imports[i].module, imports[i].name) && nameless(i as u32)) {
        return HashMap::new();
    }
    let hook = |func: u32| wasm.imported_funcs().get(func as usize).is_some_and(|i| is_hook_import(i.module, i.name));
    let mut callees = HashMap::new();
    for func in wasm.defined_funcs() {
        let mut operators = wasm.body_reader(func).get_operators_reader().expect("validated: locals can be read");
        let mut announced = None;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset().expect("validated: operators can be read");
            if let wasmparser::Operator::Call { function_index } = operator {
                if hook(function_index) {
                    announced = Some(at);
                } else if let Some(hook) = announced.take() {
                    callees.insert(hook, function_index);
                }
            }
        }
    }
    callees
}
