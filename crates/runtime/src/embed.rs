//! Recording in hosts that embed wasmtime with their own engine, store, linker, WASI and functions.
//!
//! A [`TracedModule`] has hooks. The data of each store contains a [`TraceSlot`]. [`TracedModule::record`] records
//! the calls in its closure, of which there may be any number. Outside of `record` the hooks record nothing, but with the
//! hook set `observe` each event still calls the host.
//!
//! ```
//! use wasmtime::{Engine, Linker, Module, Store};
//! use wasmtrace_runtime::{TraceSlot, TracedModule};
//!
//! #[derive(Default)]
//! struct State {
//!     calls_of_host: u32,
//!     trace: TraceSlot,
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wasm = wat::parse_str(r#"(module (import "host" "ask" (func $ask)) (func (export "work") call $ask))"#)?;
//! let traced = TracedModule::new(&wasm, &wasmtrace_instrument::Options::default())?;
//! let engine = Engine::default();
//! let module = Module::new(&engine, traced.wasm())?;
//! let mut linker = Linker::new(&engine);
//! linker.func_wrap("host", "ask", |mut caller: wasmtime::Caller<'_, State>| caller.data_mut().calls_of_host += 1)?;
//! traced.add_to_linker(&mut linker, &module, |state: &mut State| &mut state.trace)?;
//!
//! let mut store = Store::new(&engine, State::default());
//! let mut events = Vec::new();
//! let recorded = traced.record(
//!     &mut store,
//!     |state| &mut state.trace,
//!     |some| events.extend_from_slice(some),
//!     |mut store| {
//!         let instance = linker.instantiate(&mut store, &module)?;
//!         instance.get_typed_func::<(), ()>(&mut store, "work")?.call(&mut store, ())
//!     },
//! )?;
//! recorded.result?;
//! assert_eq!((events.len(), store.data().calls_of_host), (2, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Why a scope
//! With the hook set `observe`, each event calls the host. With a buffer, two other threads read the guest's memory, so the
//! store must not be dropped meanwhile. `record` borrows the store for that time and passes a context of it to the closure,
//! which cannot be dropped or replaced. A leaked future would end this borrow while the threads are still running, so
//! [`TracedModule::record_async`] only accepts modules with the hook set `observe`.
//!
//! # Notes
//! - Hooked frames are larger: if the guest recurses deeply, give the engine [`HOOKED_STACK`](super::HOOKED_STACK) times the
//!   `max_wasm_stack`.
//! - Each recording is a separate run, whose times begin at 0. Several calls of an instance can be one recording or several.
//!   A recording can also contain several instances, but only one with a buffer.
//! - Stores are independent: any number of them can be recorded at the same time from one `TracedModule`, each on its thread.
//! - A module that records into a buffer has one more memory. The pooling allocator's `max_memories_per_module` and a limiter
//!   that counts memories (`StoreLimitsBuilder::memories`) must allow for it.
//! - The host must not access that memory (its export begins with `wasmtrace:buffer`). Other threads write to it during a
//!   recording, so an access would be a data race.
//! - A linker can serve one instrumented module ([`TracedModule::add_to_linker`]): use one linker for each module.
//! - `consume` is called on a thread of its own. The guest waits if `consume` is slow, and the end of the recording waits until
//!   all events are consumed. With [`TracedModule::record_async`] the waiting thread is one of the executor: a `consume` that
//!   waits for another task of a single-threaded executor waits forever.
//! - If an epoch callback (`Store::epoch_deadline_callback`) calls the guest, that call is recorded as a call of the interrupted
//!   function.
//! - A trap or an exit becomes the outcome of the recording; open spans are closed with it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use wasmtime::{AsContextMut, Linker, Module, StoreContextMut};

use super::channel::channel;
use super::clock::{Clock, ClockMode};
use super::consume::{consume_all, with_times};
use super::consumer::Consumer;
use super::producer::{Producer, Settings};
use super::setup::setup;
use super::store::{TraceSlot, begin, end};
use super::{ending, hooks, manual};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_instrument::Warning;
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::{Event, RunOutcome};
use wasmtrace_trace::recording::Footer;

/// Value of the interrupt flag if the consumer panicked. It is not a signal number.
const ABANDONED: i32 = i32::MAX;

/// An instrumented module for hosts that embed wasmtime.
#[derive(Debug, Clone)]
pub struct TracedModule {
    wasm: Vec<u8>,
    warnings: Vec<Warning>,
    needs: hooks::Needs,
    /// The clock that timestamps events of a module that records into a buffer.
    pub clock: ClockMode,
    /// In a module with the hook set `threshold`: calls shorter than this are only counted, unless they contain a
    /// longer call.
    pub min_duration: Duration,
}

/// The result of a recording.
#[derive(Debug)]
pub struct RecordedCalls<R> {
    /// The result of the calls.
    pub result: wasmtime::Result<R>,
    /// The outcome of the guest, derived from `result`. `proc_exit` of wasmtime's WASI gives an exit. An error of the
    /// host gives a trap with the code `host_error`.
    pub ending: RunOutcome,
    /// Duration in nanoseconds, without the time for which the guest waited for the consumer.
    pub duration: u64,
    /// Nanoseconds for which the guest waited for the consumer.
    pub waited: u64,
}

impl<R> RecordedCalls<R> {
    /// The footer for a recording of these calls.
    pub fn end(&self) -> Footer {
        Footer { ending: self.ending.clone(), duration: self.duration }
    }
}

impl TracedModule {
    /// Instruments a module. A module that already has hooks of the Observe ABI, by wasmtrace or another compiler,
    /// stays unchanged.
    ///
    /// # Errors
    /// Those of [`wasmtrace_instrument::instrument`]; [`ErrorKind::Run`] if the module records into a buffer but does
    /// not say where it is.
    pub fn new(wasm: &[u8], options: &wasmtrace_instrument::Options) -> Result<TracedModule> {
        let module = wasmtrace_instrument::module::parse(wasm)?;
        let (wasm, warnings) = if wasmtrace_instrument::injected::is_hooked(&module) && !options.force {
            (wasm.to_vec(), Vec::new())
        } else {
            let hooked = wasmtrace_instrument::instrument(wasm, options)?;
            (hooked.wasm, hooked.warnings)
        };
        let needs = hooks::Needs::of(&wasmtrace_instrument::module::parse(&wasm)?, 0)?;
        Ok(TracedModule { wasm, warnings, needs, clock: ClockMode::default(), min_duration: Duration::ZERO })
    }

    /// The instrumented module, to be compiled by the host's engine.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The warnings of the instrumentation.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Whether the module records into a buffer.
    pub fn has_buffer(&self) -> bool {
        self.needs.buffer.is_some()
    }

    /// Defines the imports of `module` in the linker: hooks and manual API. `module` must be [`TracedModule::wasm`],
    /// compiled. `trace` returns the [`TraceSlot`] in a store's data.
    ///
    /// Such modules import hooks by the same names and types, so a linker can only serve one of them. For another
    /// module, the linker reports a duplicate definition. If it allows shadowing, the new definitions replace the old
    /// ones.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the linker rejects a definition.
    pub fn add_to_linker<T: 'static>(
        &self,
        linker: &mut Linker<T>,
        module: &Module,
        trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
    ) -> Result<()> {
        hooks::add_to_linker(linker, module, &self.needs, trace)
            .and_then(|()| manual::add_to_linker(linker, module, trace))
            .map_err(|e| setup("the hooks cannot be defined (use one linker for each hooked module)", e))
    }

    /// Records the events in `store` during `calls`. `consume` gets the events in order, one block at a time, on a
    /// thread of its own. It is called at least four times a second, possibly without events. All events are consumed
    /// when this returns. If `consume` is slower than the guest, the guest waits: nothing is dropped, and memory is
    /// bounded.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the store is already being recorded or a thread cannot be started. The outcome of the
    /// guest is in [`RecordedCalls`].
    ///
    /// # Panics
    /// If `calls` or `consume` panics. If `consume` panics, the guest ends at its next event.
    pub fn record<S: AsContextMut, R>(
        &self,
        store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        consume: impl FnMut(&[Event]) + Send,
        calls: impl FnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>> {
        self.recording().record(store, trace, false, || with_times(consume), calls)
    }

    /// Records the events in `store` during `calls`, like [`TracedModule::record`]. `consume` gets batches, in which events have
    /// no times of their own; this has less overhead for each event. Use it for call trees
    /// ([`CallTree::batch`](wasmtrace_trace::calltree::CallTree::batch)) and recordings
    /// ([`Writer::batch`](wasmtrace_trace::recording::Writer::batch)).
    ///
    /// For a module with a buffer, the consuming thread also notes from time to time how many events the guest has written. A call
    /// tree uses these samples ([`Place::Seen`](wasmtrace_trace::batch::Place::Seen)) for its times. Unlike
    /// [`run_batches`](super::run_batches), this never interrupts the guest's thread.
    ///
    /// ```
    /// # use wasmtime::{Engine, Linker, Module, Store};
    /// # use wasmtrace_runtime::{TraceSlot, TracedModule};
    /// # use wasmtrace_trace::calltree::CallTree;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let wasm = wat::parse_str(r#"(module (func (export "work")))"#)?;
    /// let rewrite = wasmtrace_instrument::rewrite::Options { hooks: wasmtrace_abi::hook::HookSet::Buffer, ..Default::default() };
    /// let traced = TracedModule::new(&wasm, &wasmtrace_instrument::Options { rewrite, ..Default::default() })?;
    /// # let engine = Engine::default();
    /// # let module = Module::new(&engine, traced.wasm())?;
    /// # let mut linker = Linker::new(&engine);
    /// # traced.add_to_linker(&mut linker, &module, |trace| trace)?;
    /// # let mut store = Store::new(&engine, TraceSlot::default());
    /// let mut tree = CallTree::new();
    /// let recorded = traced.record_batches(
    ///     &mut store,
    ///     |trace| trace,
    ///     |batch| tree.batch(batch),
    ///     |mut store| {
    ///         let instance = linker.instantiate(&mut store, &module)?;
    ///         instance.get_typed_func::<(), ()>(&mut store, "work")?.call(&mut store, ())
    ///     },
    /// )?;
    /// tree.finish(&recorded.ending, recorded.duration, |_| {});
    /// assert_eq!(tree.profile().calls(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`TracedModule::record`].
    ///
    /// # Panics
    /// If `calls` or `consume` panics. If `consume` panics, the guest ends at its next event.
    pub fn record_batches<S: AsContextMut, R>(
        &self,
        store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        consume: impl FnMut(&Batch) + Send,
        calls: impl FnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>> {
        self.recording().record(store, trace, true, || consume, calls)
    }

    /// Like [`TracedModule::record`], for asynchronous calls. Only for modules with the hook set `observe`. If the
    /// future is dropped, the recording ends.
    ///
    /// # Errors
    /// Those of [`TracedModule::record`]; [`ErrorKind::Run`] if the module records into a buffer (see [above](self)).
    ///
    /// # Panics
    /// If `consume` panics.
    pub async fn record_async<S: AsContextMut, R>(
        &self,
        mut store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        consume: impl FnMut(&[Event]) + Send + 'static,
        calls: impl AsyncFnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>> {
        if self.has_buffer() {
            return Err(Error::new(ErrorKind::Run, hooks::NO_BUFFERS));
        }
        let mut store = store.as_context_mut();
        let (clock, producer, consumer, _) = self.recording().producer(false);
        let until_read = begin(&mut store, &trace, producer)?;
        let consumer = std::thread::Builder::new()
            .name("trace".into())
            .spawn(move || consume_all(consumer, with_times(consume)))
            .map_err(no_thread)?;
        let result = calls(store.as_context_mut()).await;
        end(&mut store, &trace);
        let duration = clock.now();
        drop(until_read);
        let last = consumer.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(recorded(result, duration.max(last), &clock))
    }

    fn recording(&self) -> RecordingSettings {
        RecordingSettings { clock: self.clock, min_duration: self.min_duration }
    }
}

/// The settings of a recording in a host's store.
pub(super) struct RecordingSettings {
    pub(super) clock: ClockMode,
    pub(super) min_duration: Duration,
}

impl RecordingSettings {
    /// Records the events in `store` during `calls`. With `looks`, the consuming thread observes the guest's progress.
    pub(super) fn record<S: AsContextMut, R, C: FnMut(&Batch)>(
        &self,
        mut store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        looks: bool,
        make_consume: impl FnOnce() -> C + Send,
        calls: impl FnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>> {
        let mut store = store.as_context_mut();
        let (clock, producer, mut consumer, interrupt) = self.producer(true);
        if looks {
            consumer.looks();
        }
        std::thread::scope(|scope| {
            let until_read = begin(&mut store, &trace, producer)?;
            let consumer = std::thread::Builder::new()
                .name("trace".into())
                .spawn_scoped(scope, move || {
                    // Without a consumer, the guest ends at its next event.
                    let consumed = catch_unwind(AssertUnwindSafe(|| consume_all(consumer, make_consume())));
                    consumed.unwrap_or_else(|panic| {
                        interrupt.store(ABANDONED, Ordering::Relaxed);
                        resume_unwind(panic)
                    })
                })
                .map_err(no_thread)?;
            // The buffer is handed over after a panic too. Otherwise the next recording would lose its first events.
            let result = catch_unwind(AssertUnwindSafe(|| calls(store.as_context_mut())));
            end(&mut store, &trace);
            let duration = clock.now();
            drop(until_read);
            let last = consumer.join().unwrap_or_else(|panic| resume_unwind(panic));
            let result = result.unwrap_or_else(|panic| resume_unwind(panic));
            Ok(recorded(result, duration.max(last), &clock))
        })
    }

    fn producer(&self, buffers: bool) -> (Arc<Clock>, Producer, Consumer<'static>, Arc<AtomicI32>) {
        let clock = Arc::new(Clock::new());
        let min_duration = u64::try_from(self.min_duration.as_nanos()).unwrap_or(u64::MAX);
        let settings = Settings { mode: self.clock, min_duration, buffers, times: true };
        let interrupt = Arc::new(AtomicI32::new(0));
        let (producer, consumer) = channel(clock.clone(), interrupt.clone(), settings);
        (clock, producer, consumer, interrupt)
    }
}

fn recorded<R>(result: wasmtime::Result<R>, duration: u64, clock: &Clock) -> RecordedCalls<R> {
    let ending = match &result {
        Ok(_) => RunOutcome::Returned,
        Err(e) => ending::of_error(e).unwrap_or_else(|| ending::of_host(e, Vec::new())),
    };
    RecordedCalls { result, ending, duration, waited: clock.waited() }
}

fn no_thread(e: std::io::Error) -> Error {
    Error::new(ErrorKind::Run, "cannot start the thread that consumes events").caused_by(e)
}
