//! The host's side of the Observe hooks.
//!
//! Each is `func_wrap`ped over the store's data: a push onto a block of events, no allocation, no lock, no name. A full
//! block goes to the consumer on another thread; the guest waits when that falls behind, so nothing is dropped and
//! memory is bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use wasmtime::{Caller, Linker};

use crate::hook::{OBSERVE, OBSERVE_OLD, ProbeId};
use crate::trace::EventKind;

/// What a hook writes down: the clock's reading, and what happened.
pub(super) type Reading = (u64, EventKind);

/// Events a block holds: 24 bytes each, so that a block fits the second-level cache.
const BLOCK: usize = 8 * 1024;

/// How many full blocks may wait for the consumer.
pub(super) const WAITING: usize = 8;

/// Collects what the hooks see.
#[derive(Debug)]
pub(super) struct Recorder {
    clock: quanta::Clock,
    block: Vec<Reading>,
    full: SyncSender<Vec<Reading>>,
    empty: Receiver<Vec<Reading>>,
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
        full: SyncSender<Vec<Reading>>,
        empty: Receiver<Vec<Reading>>,
        interrupt: Arc<AtomicI32>,
    ) -> Self {
        Recorder { clock, block: Vec::with_capacity(BLOCK), full, empty, interrupt }
    }

    #[inline]
    fn push(&mut self, kind: EventKind) -> Result<(), Interrupted> {
        self.block.push((self.clock.raw(), kind));
        if self.block.len() == BLOCK {
            self.flush();
        }
        match self.interrupt.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Interrupted(signal)),
        }
    }

    /// Hands over what there is. Waits while the consumer is behind.
    pub(super) fn flush(&mut self) {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        let full = std::mem::replace(&mut self.block, next);
        // The consumer outlives the guest; if it is gone all the same, the guest goes on.
        let _ = self.full.send(full);
    }
}

/// Gives the linker the hooks that carry an id, in the present and in the older spelling.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    recorder: impl Fn(&mut T) -> Option<&mut Recorder> + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    let record = move |mut caller: Caller<'_, T>, kind: EventKind| -> wasmtime::Result<()> {
        match recorder(caller.data_mut()) {
            Some(recorder) => recorder.push(kind).map_err(wasmtime::Error::new),
            None => Ok(()),
        }
    };
    for (module, enter, exit, memory_grow) in [
        (OBSERVE, "enter", "exit", "memory-grow"),
        (OBSERVE_OLD, "instrument_enter", "instrument_exit", "instrument_memory_grow"),
    ] {
        linker.func_wrap(module, enter, move |caller: Caller<'_, T>, id: u32| {
            record(caller, EventKind::Enter(ProbeId(id)))
        })?;
        linker.func_wrap(module, exit, move |caller: Caller<'_, T>, id: u32| {
            record(caller, EventKind::Exit(ProbeId(id)))
        })?;
        linker.func_wrap(module, memory_grow, move |caller: Caller<'_, T>, pages: u32| {
            record(caller, EventKind::MemoryGrow(pages))
        })?;
    }
    Ok(())
}
