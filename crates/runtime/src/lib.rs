//! Runs instrumented modules under wasmtime and records their events. Only this crate depends on wasmtime.
//!
//! [`run`] executes a module: the guest runs on a thread of its own with a sufficient stack, and the calling thread
//! consumes events in blocks as they arrive. A module without hooks runs too, and records nothing. [`embed`] is for
//! hosts that use wasmtime themselves.

mod buffer;
mod cache;
mod call;
mod channel;
mod clock;
mod compiled;
mod component;
mod config;
mod consume;
mod consumer;
pub mod embed;
pub mod embed_component;
mod ending;
mod guest;
mod hooks;
mod host_calls;
mod manual;
mod places;
mod producer;
mod progress;
mod random;
mod recorder;
mod ring;
mod run;
mod sampler;
mod setup;
mod store;
mod unwinder;
mod wasi;

pub use cache::CodeCache;
pub use clock::ClockMode;
pub use config::{Config, DEFAULT_WASM_STACK, HOOKED_STACK, Invoke, OnCompiled, Preload, Stdio};
pub use embed::{RecordedCalls, TracedModule};
pub use embed_component::TracedComponent;
pub use guest::RunResult;
pub use run::{run, run_batches};
pub use store::TraceSlot;
