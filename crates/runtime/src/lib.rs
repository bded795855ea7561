//! Runs a module under wasmtime and records what its hooks see. The one place that names wasmtime.
//!
//! The guest runs on a thread of its own, with a stack sized for it; the thread that calls [`run`] consumes the events
//! as they come, in blocks. A module without hooks runs just the same, and records nothing.

mod buffer;
mod cache;
mod call;
mod channel;
mod clock;
mod config;
mod consume;
mod consumer;
pub mod embed;
mod ending;
mod hooks;
mod host_calls;
mod manual;
mod places;
mod producer;
mod progress;
mod random;
mod ring;
mod run;
mod sampler;
mod setup;
mod store;
mod unwinder;
mod wasi;

pub use cache::CodeCache;
pub use clock::ClockMode;
pub use config::{Config, DEFAULT_WASM_STACK, HOOKED_STACK, Invoke, Preload, Stdio};
pub use embed::{RecordedCalls, TracedModule};
pub use run::{RunResult, run, run_batches};
pub use store::TraceSlot;
