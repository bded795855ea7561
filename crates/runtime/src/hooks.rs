//! The hooks as host functions.
//!
//! Hooks of the set `observe` push one event each into the ring, without allocation, lock or name. Hooks of the other
//! sets make room in the buffer.

use std::collections::{HashMap, HashSet};
use std::ptr::NonNull;
use std::sync::Arc;

use wasmtime::{Caller, Extern, ExternType, Linker, Module, WasmBacktrace};

use super::buffer::Buffer;
use super::producer::Producer;
use super::store::{TraceSlot, producer};
use wasmtrace_abi::buffer::{BLOCK, CURSOR, EXPORT, LIMIT, first_block};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{FLUSH_OF_OLD, HookSet, ProbeId, RECORDER, is_hook_import};
use wasmtrace_abi::manifest::{BufferPlace, MANIFEST_SECTION};
use wasmtrace_trace::event::EventKind;

/// The information that the hooks of a module need.
#[derive(Debug, Clone, Default)]
pub(super) struct Needs {
    /// Offset that is added to the ids of its probes.
    pub(super) first_probe: u32,
    /// The location of its buffer and its number of functions.
    pub(super) buffer: Option<(BufferPlace, u32)>,
    /// Whether the module has only one instance, so that no other can call.
    pub(super) once: bool,
    /// The callees announced by hooks of the first generation (see [`announced_callees`]).
    pub(super) callees: Arc<HashMap<usize, u32>>,
}

impl Needs {
    /// Collects the information from a module.
    ///
    /// # Errors
    /// Those of [`buffer_place`].
    pub(super) fn of(wasm: &wasmtrace_instrument::module::Module<'_>, first_probe: u32) -> Result<Self> {
        Ok(Needs { first_probe, buffer: buffer_place(wasm)?, once: false, callees: announced_callees(wasm).into() })
    }
}

/// Defines the hooks in the linker, with the names and types that the module imports: with an id or, in the first
/// generation, without.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    needs: &Needs,
    trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let first = needs.first_probe;
    let mut defined = HashSet::new();
    for import in module.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let (from, name) = (import.module(), import.name());
        // A module may import the same function twice.
        if !is_hook_import(from, name) || !defined.insert((from, name)) {
            continue;
        }
        let name_of_hook = name.trim_start_matches("instrument_").replace('_', "-");
        if from == RECORDER {
            add_buffer_hook(linker, needs, name, trace)?;
            continue;
        }
        match (name_of_hook.as_str(), ty.params().len()) {
            ("enter", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, id: u32| {
                push(&mut caller, trace, EventKind::Enter(ProbeId(first.wrapping_add(id))))
            })?,
            ("exit", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, id: u32| {
                push(&mut caller, trace, EventKind::Exit(ProbeId(first.wrapping_add(id))))
            })?,
            ("memory-grow", 1) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>, pages: u32| {
                push(&mut caller, trace, EventKind::MemoryGrow(pages))
            })?,
            ("enter", 0) => {
                let callees = needs.callees.clone();
                linker.func_wrap(from, name, move |mut caller: Caller<'_, T>| {
                    let backtrace = WasmBacktrace::force_capture(&caller);
                    let frame = backtrace.frames().first();
                    let callee = frame.and_then(|f| callees.get(&f.module_offset()?).copied());
                    let func = callee.or(frame.map(|f| f.func_index())).unwrap_or(u32::MAX);
                    push(&mut caller, trace, EventKind::Enter(ProbeId(first.wrapping_add(func))))
                })?
            }
            ("exit", 0) => linker.func_wrap(from, name, move |mut caller: Caller<'_, T>| {
                push(&mut caller, trace, EventKind::ExitInnermost)
            })?,
            _ => continue, // not the ABI's: the linker will say that there is no such import
        };
    }
    Ok(())
}

/// Pushes an event of the set `observe`.
#[inline]
fn push<T>(
    caller: &mut Caller<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
    kind: EventKind,
) -> wasmtime::Result<()> {
    producer(caller, trace)?.map_or(Ok(()), |producer| producer.push(kind))
}

/// Defines one of the functions that serve the guest's buffer.
fn add_buffer_hook<T: 'static>(
    linker: &mut Linker<T>,
    needs: &Needs,
    name: &str,
    trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    if name == "memory-grow" {
        linker.func_wrap(RECORDER, name, move |mut caller: Caller<'_, T>, pages: u32| {
            let heard = producer(&mut caller, trace)?;
            heard.map_or(Ok(()), |producer| producer.push_after_buffer(EventKind::MemoryGrow(pages), 0))
        })?;
        return Ok(());
    }
    let Some((place, functions)) = needs.buffer.clone() else { return Ok(()) };
    let once = needs.once;
    let threshold = name == "flush-counted";
    linker.func_wrap(RECORDER, name, move |mut caller: Caller<'_, T>| -> wasmtime::Result<()> {
        let Some(heard) = producer(&mut caller, trace)? else { return unheard(&mut caller, &place) };
        match heard.buffer().copied() {
            None if !heard.takes_buffers() => return Err(wasmtime::Error::msg(NO_BUFFERS)),
            None => begin(&mut caller, trace, (&place, functions, threshold))?,
            Some(_) if once => {}
            Some(buffer) => is_of_caller(&buffer, &mut caller, &place)?,
        }
        producer(&mut caller, trace)?.map_or(Ok(()), Producer::flush)
    })?;
    Ok(())
}

/// Handles the first `flush` of an instance during a recording.
#[cold]
fn begin<T>(
    caller: &mut Caller<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
    (place, functions, threshold): (&BufferPlace, u32, bool),
) -> wasmtime::Result<()> {
    let set = if threshold { HookSet::Threshold } else { HookSet::Buffer };
    let room = place.first_block >= first_block(set, functions);
    let Some((buffer, end)) = buffer_of(caller, place).filter(|_| room) else {
        return Err(wasmtime::Error::msg("the module does not export the buffer that its Manifest names"));
    };
    let Some(producer) = producer(caller, trace)? else { return Ok(()) };
    Ok(producer.begin_buffer(buffer, (place.first_block, end), functions, threshold)?)
}

/// Whether the call comes from the instance of this buffer: events of two buffers have no order.
fn is_of_caller<T>(buffer: &Buffer, caller: &mut Caller<'_, T>, place: &BufferPlace) -> wasmtime::Result<()> {
    match caller.get_export(&place.export) {
        Some(Extern::Memory(memory)) if buffer.is_at(memory.data_ptr(&*caller)) => Ok(()),
        _ => Err(wasmtime::Error::msg(
            "a second instance records into a buffer in the same recording, and the order of events in two buffers is unknown: \
             record each instance by itself, or use the hook set observe",
        )),
    }
}

/// Handles a `flush` outside of a recording: the guest overwrites the same event.
#[cold]
fn unheard<T>(caller: &mut Caller<'_, T>, place: &BufferPlace) -> wasmtime::Result<()> {
    if let Some(Extern::Memory(memory)) = caller.get_export(&place.export) {
        memory.write(&mut *caller, CURSOR as usize, &place.first_block.to_le_bytes())?;
        memory.write(&mut *caller, LIMIT as usize, &[0; 4])?;
    }
    Ok(())
}

/// The error for a buffer where it cannot be recorded.
pub(super) const NO_BUFFERS: &str = "a module that records into a buffer cannot be recorded across awaits: other threads read \
    the buffer, and a future that is forgotten would leave them behind; hook it with the hook set observe";

/// The buffer of the calling instance, and the end of its last block.
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
    // SAFETY: the memory cannot grow, so it does not move. Its store is the recorded one (`Trace::producer` refuses
    // others). The store stays borrowed until all users of the buffer are done (`ReadBeforeDrop`).
    let buffer = unsafe { Buffer::new(base, bytes) };
    (blocks >= 2).then_some((buffer, place.first_block + blocks * BLOCK))
}

/// The location of the module's buffer and its number of functions; `None` without a buffer.
///
/// # Errors
/// [`ErrorKind::Run`] if the module imports functions of a buffer but its Manifest does not name one.
fn buffer_place(wasm: &wasmtrace_instrument::module::Module<'_>) -> Result<Option<(BufferPlace, u32)>> {
    let imports = |name: Option<&str>| {
        let mut all = wasm.imported_funcs().iter();
        all.any(|import| import.module == RECORDER && name.is_none_or(|name| import.name == name))
    };
    if !imports(None) {
        return Ok(None);
    }
    if imports(Some(FLUSH_OF_OLD)) {
        return Err(Error::new(
            ErrorKind::Run,
            "the module was hooked by an earlier version with another event format: instrument the original again",
        ));
    }
    let Some(place) = wasm.manifest().transpose()?.and_then(|manifest| manifest.buffer) else {
        return Err(Error::new(
            ErrorKind::Run,
            format!(
                "the module records into a buffer, but its Manifest (`{MANIFEST_SECTION}`) is missing: instrument the original again"
            ),
        ));
    };
    if !is_its_own(&place, wasm) {
        return Err(Error::new(
            ErrorKind::Run,
            "the Manifest names a buffer that is not used by the hooks alone: instrument the original again",
        ));
    }
    Ok(Some((place, wasm.func_count())))
}

/// Whether only the hooks and the host access the buffer's memory. Other threads write to it while the guest runs, and
/// WASI calls, which use a memory named `memory`, rely on exclusive access.
fn is_its_own(place: &BufferPlace, wasm: &wasmtrace_instrument::module::Module<'_>) -> bool {
    let exports = wasm.all_exports();
    let memories = || exports.iter().filter(|export| export.kind == wasmparser::ExternalKind::Memory);
    let Some(named) = memories().find(|export| export.name == place.export) else { return false };
    place.export.starts_with(EXPORT)
        && named.index >= wasm.imported_memories()
        && memories().filter(|export| export.index == named.index).count() == 1
}

/// Hooks of the first generation surround direct calls and name no function: `call $enter; call $f; call $exit`. The
/// backtrace gives the position of the hook; this table gives the function called next. Empty for later generations.
fn announced_callees(wasm: &wasmtrace_instrument::module::Module<'_>) -> HashMap<usize, u32> {
    let nameless = |func: u32| wasm.func_type(wasmtrace_instrument::module::FuncIdx(func)).params().is_empty();
    let imports = wasm.imported_funcs();
    let is_hook = |i: usize| imports[i].module != RECORDER && is_hook_import(imports[i].module, imports[i].name);
    if !(0..imports.len()).any(|i| is_hook(i) && nameless(i as u32)) {
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
