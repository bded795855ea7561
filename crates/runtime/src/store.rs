//! The producer in a store's data.

use wasmtime::{Caller, StoreContextMut};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

use crate::producer::{Producer, ReadBeforeDrop};

/// What a store of ours holds.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) trace: TraceSlot,
}

/// What lies in a store's data: nothing, unless something is recorded in that store.
#[derive(Debug, Default)]
pub struct TraceSlot {
    /// With the address of the data of its store.
    producer: Option<(usize, Producer)>,
}

impl TraceSlot {
    /// The producer, for hooks that are called in the store whose data lies at `store`.
    ///
    /// A host may move this elsewhere: to another store, or behind the end of the recording, where the memory that the
    /// producer knows is gone. There it is none.
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
    /// The producer of a store that nobody else has to do with.
    pub(super) fn producer_of_run(&mut self) -> Option<&mut Producer> {
        self.producer.as_mut().map(|(_, producer)| producer)
    }
}

/// Where the data of a store lies: as long as a store is there, no other has its data there.
fn address<T>(data: &T) -> usize {
    const { assert!(size_of::<T>() > 0, "a store without data has no place for a `TraceSlot`") };
    std::ptr::from_ref(data).addr()
}

/// The producer of the store that calls, while something is recorded there.
#[inline]
pub(super) fn producer<'c, T>(
    caller: &'c mut Caller<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
) -> wasmtime::Result<Option<&'c mut Producer>> {
    let data = caller.data_mut();
    let store = address(data);
    trace(data).producer(store)
}

/// From here on, until what is returned is dropped, hooks in that store are heard by `producer`.
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

/// What the guest has written and not handed over is handed over.
pub(super) fn end<T>(store: &mut StoreContextMut<'_, T>, trace: impl Fn(&mut T) -> &mut TraceSlot) {
    let data = store.data_mut();
    let at = address(data);
    let trace = trace(data);
    if let Ok(Some(producer)) = trace.producer(at) {
        producer.drain();
    }
    trace.producer = None;
}
