//! Recording components in hosts that embed wasmtime, like [`embed`](super::embed) for modules.
//!
//! ```
//! use wasmtime::component::{Component, Linker};
//! use wasmtime::{Engine, Store};
//! use wasmtrace_runtime::{TraceSlot, TracedComponent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let wasm = wat::parse_str(r#"(component
//!     (core module $m (func (export "work") (result i32) i32.const 7))
//!     (core instance $i (instantiate $m))
//!     (func (export "work") (result u32) (canon lift (core func $i "work"))))"#)?;
//! let traced = TracedComponent::new(&wasm, &wasmtrace_instrument::Options::default())?;
//! let engine = Engine::default();
//! let component = Component::new(&engine, traced.wasm())?;
//! let mut linker = Linker::new(&engine);
//! traced.add_to_linker(&mut linker, |trace: &mut TraceSlot| trace)?;
//!
//! let mut store = Store::new(&engine, TraceSlot::default());
//! let mut events = Vec::new();
//! let recorded = traced.record(
//!     &mut store,
//!     |trace| trace,
//!     |some| events.extend_from_slice(some),
//!     |mut store| {
//!         let instance = linker.instantiate(&mut store, &component)?;
//!         instance.get_typed_func::<(), (u32,)>(&mut store, "work")?.call(&mut store, ())
//!     },
//! )?;
//! assert_eq!((recorded.result?.0, events.len()), (7, 2));
//! # Ok(())
//! # }
//! ```
//!
//! The notes of [`embed`](super::embed) apply. In addition:
//!
//! - With the hook set `buffer`, each component of a composition has a memory of 2 MiB more, which cannot grow.
//! - Other threads read these memories by their address during a recording. So [`TracedComponent::new`] accepts only
//!   components whose hooks are those of this version.

use std::time::Duration;

use wasmtime::component::Linker;
use wasmtime::{AsContextMut, StoreContextMut};

use super::clock::ClockMode;
use super::consume::with_times;
use super::embed::{RecordedCalls, RecordingSettings};
use super::recorder;
use super::setup::setup;
use super::store::TraceSlot;
use wasmtrace_abi::component::ComponentManifest;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::HookSet;
use wasmtrace_abi::manifest::Probes;
use wasmtrace_instrument::{Options, Warning, component};
use wasmtrace_trace::batch::Batch;
use wasmtrace_trace::event::Event;

/// An instrumented component for hosts that embed wasmtime.
#[derive(Debug, Clone)]
pub struct TracedComponent {
    wasm: Vec<u8>,
    warnings: Vec<Warning>,
    hooks: Option<HookSet>,
    probes: Probes,
    /// The clock that timestamps events of the hook set `buffer`.
    pub clock: ClockMode,
}

impl TracedComponent {
    /// Instruments a component. A component with hooks of this version stays unchanged.
    ///
    /// # Errors
    /// Those of [`component::instrument`]; [`ErrorKind::Restore`] if the component has other hooks.
    pub fn new(wasm: &[u8], options: &Options) -> Result<TracedComponent> {
        let (wasm, warnings) = match component::instrument(wasm, options) {
            Err(e) if e.kind() == ErrorKind::AlreadyHooked => (wasm.to_vec(), Vec::new()),
            hooked => hooked.map(|hooked| (hooked.wasm, hooked.warnings))?,
        };
        let manifest = component::check_hooks(&wasm)?;
        let probes = component::probes(&wasm)?.map(|(_, probes)| probes).unwrap_or_default();
        let hooks = manifest.map(|ComponentManifest { hooks, .. }| hooks);
        Ok(TracedComponent { wasm, warnings, hooks, probes, clock: ClockMode::default() })
    }

    /// The instrumented component, to be compiled by the host's engine.
    pub fn wasm(&self) -> &[u8] {
        &self.wasm
    }

    /// The warnings of the instrumentation.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The functions that events name.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Defines the interface of the hooks in the linker. `trace` returns the [`TraceSlot`] in a store's data. A linker can
    /// serve any number of instrumented components with the same hook set.
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the linker has a definition of that name.
    pub fn add_to_linker<T: 'static>(
        &self,
        linker: &mut Linker<T>,
        trace: impl Fn(&mut T) -> &mut TraceSlot + Copy + Send + Sync + 'static,
    ) -> Result<()> {
        let Some(hooks) = self.hooks else { return Ok(()) };
        recorder::add_to_linker(linker, hooks, trace).map_err(|e| setup("the hooks cannot be defined", e))
    }

    /// Records the events in `store` during `calls`, like [`TracedModule::record`](super::TracedModule::record).
    ///
    /// # Errors
    /// [`ErrorKind::Run`] if the store is already being recorded or a thread cannot be started.
    ///
    /// # Panics
    /// If `calls` or `consume` panics. If `consume` panics, the guest ends at its next event.
    pub fn record<S: AsContextMut, R>(
        &self,
        store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        consume: impl FnMut(&[Event]) + Send,
        calls: impl FnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>, Error> {
        self.recording().record(store, trace, false, || with_times(consume), calls)
    }

    /// Records the events in `store` during `calls`, like
    /// [`TracedModule::record_batches`](super::TracedModule::record_batches).
    ///
    /// # Errors
    /// Those of [`TracedComponent::record`].
    ///
    /// # Panics
    /// Like [`TracedComponent::record`].
    pub fn record_batches<S: AsContextMut, R>(
        &self,
        store: S,
        trace: impl Fn(&mut S::Data) -> &mut TraceSlot,
        consume: impl FnMut(&Batch) + Send,
        calls: impl FnOnce(StoreContextMut<'_, S::Data>) -> wasmtime::Result<R>,
    ) -> Result<RecordedCalls<R>, Error> {
        self.recording().record(store, trace, true, || consume, calls)
    }

    fn recording(&self) -> RecordingSettings {
        RecordingSettings { clock: self.clock, min_duration: Duration::ZERO }
    }
}
