//! The producer within a store's data.

use wasmtime::{Caller, StoreContextMut};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

use crate::producer::{Producer, ReadBeforeDrop};

/// The data of a store that this crate creates.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) trace: TraceSlot,
}

/// A slot in a store's data for the recording. Empty unless a recording is on.
#[derive(Debug, Default)]
pub struct TraceSlot {
    /// The producer, with the address of its store's data.
    producer: Option<(usize, Producer)>,
}

impl TraceSlot {
    /// The producer, for hooks called in the store whose data is at address `store`.
    ///
    /// A host may move the slot to another store, or keep it after the recording, when the buffer's memory is gone.
    /// Then this returns no producer.
    #[inline]
    fn producer(&mut self, store: usize) -> wasmtime::Result<Option<&mut Producer>> {
        match &mut self.producer {
            Some((of, producer)) if *of == store => match producer.is_heard() {
                true => Ok(Some(producer)),
                false => producer.check().map(|()| None),
            },
            _ => Ok(None),
        }
    }
}

impl TraceSlot {
    /// The producer of a store that only this crate uses.
    pub(super) fn producer_of_run(&mut self) -> Option<&mut Producer> {
        self.producer.as_mut().map(|(_, producer)| producer)
    }
}

/// The address of a store's data, which is unique while the store exists.
fn address<T>(data: &T) -> usize {
    const { assert!(size_of::<T>() > 0, "a store without data has no place for a `TraceSlot`") };
    std::ptr::from_ref(data).addr()
}

/// The producer of the calling store, if a recording is on.
#[inline]
pub(super) fn producer<'c, T>(
    caller: &'c mut Caller<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
) -> wasmtime::Result<Option<&'c mut Producer>> {
    producer_of(caller.data_mut(), trace)
}

/// The producer of the store with this data, if a recording is on.
#[inline]
pub(super) fn producer_of<T>(
    data: &mut T,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
) -> wasmtime::Result<Option<&mut Producer>> {
    let store = address(data);
    trace(data).producer(store)
}

/// Starts recording in that store with `producer`, until the returned guard is dropped.
pub(super) fn begin<T>(
    store: &mut StoreContextMut<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
    producer: Producer,
) -> Result<ReadBeforeDrop> {
    let data = store.data_mut();
    let at = address(data);
    let trace = trace(data);
    if trace.producer.as_ref().is_some_and(|(of, producer)| *of == at && producer.is_heard()) {
        return Err(Error::new(ErrorKind::Run, "this store is already being recorded"));
    }
    let until_read = producer.read_before_drop();
    trace.producer = Some((at, producer));
    Ok(until_read)
}

/// Hands over the events that the guest has written so far.
pub(super) fn end<T>(store: &mut StoreContextMut<'_, T>, trace: impl Fn(&mut T) -> &mut TraceSlot) {
    let data = store.data_mut();
    let at = address(data);
    let trace = trace(data);
    if let Ok(Some(producer)) = trace.producer(at) {
        producer.drain_all();
    }
    trace.producer = None;
}
