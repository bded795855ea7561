//! The recorder in a store's data.

use wasmtime::{Caller, StoreContextMut};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

use crate::recorder::{ReadBeforeDrop, Recorder};

/// What a store of ours holds.
pub(crate) struct Host {
    pub(crate) wasi: WasiP1Ctx,
    pub(crate) trace: Trace,
}

/// What lies in a store's data: nothing, unless something is recorded in that store.
#[derive(Debug, Default)]
pub struct Trace {
    /// With the address of the data of its store.
    recorder: Option<(usize, Recorder)>,
}

impl Trace {
    /// The recorder, for hooks that are called in the store whose data lies at `store`.
    ///
    /// A host may move this elsewhere: to another store, or behind the end of the recording, where the memory that the
    /// recorder knows is gone. There it is none.
    #[inline]
    fn recorder(&mut self, store: usize) -> wasmtime::Result<Option<&mut Recorder>> {
        match &mut self.recorder {
            Some((of, recorder)) if *of == store => match recorder.is_heard() {
                true => Ok(Some(recorder)),
                false => recorder.check().map(|()| None),
            },
            _ => Ok(None),
        }
    }
}

impl Trace {
    /// The recorder of a store that nobody else has to do with.
    pub(super) fn recorder_of_run(&mut self) -> Option<&mut Recorder> {
        self.recorder.as_mut().map(|(_, recorder)| recorder)
    }
}

/// Where the data of a store lies: as long as a store is there, no other has its data there.
fn address<T>(data: &T) -> usize {
    const { assert!(size_of::<T>() > 0, "a store without data has no place for a `Trace`") };
    std::ptr::from_ref(data).addr()
}

/// The recorder of the store that calls, while something is recorded there.
#[inline]
pub(super) fn recorder<'c, T>(
    caller: &'c mut Caller<'_, T>,
    trace: impl Fn(&mut T) -> &mut Trace,
) -> wasmtime::Result<Option<&'c mut Recorder>> {
    let data = caller.data_mut();
    let store = address(data);
    trace(data).recorder(store)
}

/// From here on, until what is returned is dropped, hooks in that store are heard by `recorder`.
pub(super) fn begin<T>(
    store: &mut StoreContextMut<'_, T>,
    trace: impl Fn(&mut T) -> &mut Trace,
    recorder: Recorder,
) -> Result<ReadBeforeDrop> {
    let data = store.data_mut();
    let at = address(data);
    let trace = trace(data);
    if trace.recorder.as_ref().is_some_and(|(of, recorder)| *of == at && recorder.is_heard()) {
        return Err(Error::new(ErrorKind::Run, "this store is being recorded already"));
    }
    let until_read = recorder.read_before_drop();
    trace.recorder = Some((at, recorder));
    Ok(until_read)
}

/// What the guest has written and not handed over is handed over.
pub(super) fn end<T>(store: &mut StoreContextMut<'_, T>, trace: impl Fn(&mut T) -> &mut Trace) {
    let data = store.data_mut();
    let at = address(data);
    let trace = trace(data);
    if let Ok(Some(recorder)) = trace.recorder(at) {
        recorder.drain();
    }
    trace.recorder = None;
}
