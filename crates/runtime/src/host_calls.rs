//! Measuring the time that the host works for the guest, and attributing it to calls.
//!
//! The engine reports each transition between guest and host. With hooks, the number of preceding events identifies the
//! guest's call. Without hooks, a backtrace does; it takes microseconds, so only a random part of the short calls get
//! one and represent the others.

use wasmtime::{AsContextMut, CallHook, Store, WasmBacktrace};

use super::random;
use super::store::TraceSlot;
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_trace::batch::{Place, Sample};

/// Calls of at least so many nanoseconds all get a backtrace; of shorter calls, one per so many nanoseconds.
const EACH: u64 = 100_000;

/// Measures the host calls of a run. `trace` returns the slot with its recording. Without hooks, `firsts` holds the start of
/// each module's machine code and the offset of its function indices.
pub(super) fn measure<T>(
    store: &mut Store<T>,
    trace: fn(&mut T) -> &mut TraceSlot,
    firsts: Vec<(usize, u32)>,
    hooked: bool,
) {
    // Nesting depth of guest calls by the host.
    let mut depth = 0u32;
    let mut random_number = 0x9e37_79b9;
    store.call_hook(move |mut store, hook| {
        match hook {
            CallHook::CallingWasm => depth += 1,
            CallHook::ReturningFromWasm => depth = depth.saturating_sub(1),
            CallHook::CallingHost | CallHook::ReturningFromHost => {}
        }
        let Some(producer) = trace(store.data_mut()).producer_of_run() else { return Ok(()) };
        match hook {
            CallHook::CallingHost => producer.enters_host(true),
            CallHook::ReturningFromWasm => {
                producer.enters_host(depth > 0);
                if depth == 0 {
                    producer.begins_or_ends();
                }
            }
            CallHook::CallingWasm | CallHook::ReturningFromHost => {
                if depth == 1 && matches!(hook, CallHook::CallingWasm) {
                    producer.begins_or_ends();
                }
                // With hooks, the clock is not read once more within the measured time.
                let took = if hooked { 0 } else { producer.in_host().unwrap_or(0) };
                random_number = random::after(random_number);
                let weight = if took < EACH { EACH } else { took };
                let at_random = (u64::from(random_number) * weight) >> 32;
                if took > 0 && at_random < took {
                    let path = path(store.as_context_mut(), &firsts);
                    if let Some(producer) = trace(store.data_mut()).producer_of_run() {
                        producer.host_call(Sample { weight, cost: 0, place: Place::Host, path: Some(path) });
                    }
                }
                if let Some(producer) = trace(store.data_mut()).producer_of_run() {
                    producer.leaves_host();
                }
            }
        }
        Ok(())
    });
}

/// The open calls, outermost first.
fn path(store: impl AsContextMut, firsts: &[(usize, u32)]) -> Box<[ProbeId]> {
    let backtrace = WasmBacktrace::force_capture(&store);
    let frames = backtrace.frames().iter().rev().filter_map(|frame| {
        let text = frame.module().text().as_ptr().addr();
        let (_, first) = firsts.iter().find(|(start, _)| *start == text)?;
        Some(ProbeId(first + frame.func_index()))
    });
    frames.collect()
}
