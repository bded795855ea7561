//! The host's side of the Observe hooks.
//!
//! Each is `func_wrap`ped over the store's data: a push into a wait-free ring, no allocation, no lock, no name. The other
//! end is read by the thread that called [`super::run`], all the time, so that what happened is seen even if the guest
//! never comes back. When the ring is full the guest waits: nothing is dropped, and memory is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use wasmtime::{Caller, ExternType, Linker, WasmBacktrace};

use super::Unit;
use crate::hook::{ProbeId, is_hook_import};
use crate::trace::EventKind;

/// What a hook writes down: the clock's reading, and what happened.
pub(super) type Reading = (u64, EventKind);

/// Events that the ring holds, 24 bytes each.
pub(super) const RING: usize = 64 * 1024;

/// Bytes of text that may wait in the ring; text comes with few events, but may be long.
const TEXT: usize = 16 << 20;

/// Collects what the hooks see.
#[derive(Debug)]
pub(super) struct Recorder {
    clock: quanta::Clock,
    ring: rtrb::Producer<Reading>,
    /// Bytes of text in the ring.
    text: Arc<AtomicUsize>,
    /// The number of a signal that asks the guest to end.
    interrupt: Arc<AtomicI32>,
}

/// The error that ends the guest after a signal of this number.
#[derive(Debug)]
pub(super) struct Interrupted(pub(super) i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

impl Recorder {
    pub(super) fn new(
        clock: quanta::Clock,
        ring: rtrb::Producer<Reading>,
        text: Arc<AtomicUsize>,
        interrupt: Arc<AtomicI32>,
    ) -> Self {
        Recorder { clock, ring, text, interrupt }
    }

    /// Writes down what happened, now.
    #[inline]
    pub(super) fn push(&mut self, kind: EventKind) -> wasmtime::Result<()> {
        let reading = (self.clock.raw(), kind);
        if let Err(rtrb::PushError::Full(reading)) = self.ring.push(reading) {
            self.wait(reading);
        }
        match self.interrupt.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(wasmtime::Error::new(Interrupted(signal))),
        }
    }

    /// The same for an event that carries this many bytes of text.
    pub(super) fn push_text(&mut self, kind: EventKind, bytes: usize) -> wasmtime::Result<()> {
        while self.text.load(Ordering::Acquire) > TEXT && !self.ring.is_abandoned() {
            std::thread::sleep(FULL);
        }
        self.text.fetch_add(bytes, Ordering::AcqRel);
        self.push(kind)
    }

    /// Waits for the reader to make room. If it is gone, the guest goes on, and nobody wants its events.
    #[cold]
    fn wait(&mut self, mut reading: Reading) {
        while let Err(rtrb::PushError::Full(again)) = self.ring.push(reading) {
            if self.ring.is_abandoned() {
                return;
            }
            reading = again;
            std::thread::sleep(FULL);
        }
    }
}

/// How long the guest sleeps when the ring is full: a small part of what the reader takes for all of it.
const FULL: std::time::Duration = std::time::Duration::from_micros(50);

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
