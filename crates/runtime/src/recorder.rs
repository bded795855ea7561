//! The interfaces that an instrumented component imports, as host functions (see [`wasmtrace_abi::component`]).

#![expect(unsafe_code, reason = "the address of a buffer, as in `buffer.rs`")]

use std::ptr::NonNull;

use wasmtime::component::{Linker, WasmList};
use wasmtime::{AsContext, StoreContextMut};

use super::buffer::Buffer;
use super::producer::component::discard_next;
use super::store::{TraceSlot, producer_of};
use wasmtrace_abi::component::{OBSERVE_INTERFACE, OWNED, RECORDER_INTERFACE, SIZE};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_trace::event::EventKind;

/// Defines the interface of a hook set in the linker.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    hooks: HookSet,
    trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
) -> wasmtime::Result<()> {
    if hooks == HookSet::Observe {
        let mut interface = linker.instance(OBSERVE_INTERFACE)?;
        interface.func_wrap("enter", move |store: StoreContextMut<'_, T>, (id,): (u32,)| {
            push(store, trace, EventKind::Enter(ProbeId(id)))
        })?;
        return interface.func_wrap("exit", move |store: StoreContextMut<'_, T>, (id,): (u32,)| {
            push(store, trace, EventKind::Exit(ProbeId(id)))
        });
    }
    let mut interface = linker.instance(RECORDER_INTERFACE)?;
    interface.func_wrap("attach", move |mut store: StoreContextMut<'_, T>, (buffer,): (WasmList<u8>,)| {
        if let Ok(Some(producer)) = producer_of(store.data_mut(), trace) {
            producer.is_own_call();
        }
        if buffer.len() == SIZE as usize
            && let Some(buffer) = at(&store, &buffer)
        {
            buffer.store(OWNED, 1);
        }
        Ok(())
    })?;
    interface.func_wrap("flush", move |mut store: StoreContextMut<'_, T>, (events, _cause): (WasmList<u8>, u32)| {
        let Some(buffer) = at(&store, &events) else { return Ok(()) };
        match producer_of(store.data_mut(), trace)? {
            Some(producer) => producer.flush_component(buffer),
            None => {
                discard_next(&buffer);
                Ok(())
            }
        }
    })
}

fn push<T>(
    mut store: StoreContextMut<'_, T>,
    trace: impl Fn(&mut T) -> &mut TraceSlot,
    kind: EventKind,
) -> wasmtime::Result<()> {
    producer_of(store.data_mut(), trace)?.map_or(Ok(()), |producer| producer.push(kind))
}

/// The buffer that begins where a list begins.
fn at<T: 'static>(store: &StoreContextMut<'_, T>, list: &WasmList<u8>) -> Option<Buffer> {
    let address = list.as_le_slice(store.as_context()).as_ptr().addr();
    // The engine has exposed the provenance of its memories.
    let base = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(address))?;
    // SAFETY: `component::check_hooks` has made sure that only hook modules call these functions, with the start of a memory
    // of `SIZE` bytes that cannot grow, so it does not move. Its store is the one of the call, and stays borrowed until all
    // users of the buffer are done (`ReadBeforeDrop`).
    base.addr().get().is_multiple_of(8).then(|| unsafe { Buffer::new(base, SIZE) })
}
