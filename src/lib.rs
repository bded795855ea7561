//! Automatic instrumentation for WebAssembly. wasmtrace inserts hooks at the entry and at every exit of each function
//! in a module. It runs the module and shows where the time went.
//!
//! The input is a core module in the binary format; [`component`] has the same functions for components. The pipeline is:
//!
//! ```text
//!  &[u8] ─parse→ Module ─label→ Labels ─select→ Plan ─rewrite→ Rewritten { wasm, offsets, manifest }
//!                                                                    │
//!                    wasm ─runtime→ Events ─trace→ Spans, Profile ─export→ io::Write
//! ```
//!
//! # The compiler
//! [`instrument`] runs four stages, each a function that borrows the results of the earlier ones: [`module::parse`],
//! [`label::label`], [`select::select`], [`rewrite::rewrite`]. [`verify::verify`] proves that an output is its input plus
//! hooks. [`strip()`] restores the input, byte for byte. [`hook`] is the interface between such a module and its host.
//!
//! # The runtime
//! These modules are behind the features `trace`, `runtime` and `otlp`:
//!
//! - [`runtime::run`] runs an instrumented module under wasmtime and passes on its events.
//! - [`runtime::embed`] records events in hosts that use wasmtime themselves.
//! - [`trace`] builds spans and call trees from events, and reads and writes recordings.
//! - [`export`] writes traces in the formats of other tools.
//! - [`otlp`] sends recordings to tracing backends.
//!
//! # Example
//!
//! ```
//! use wasmtrace::{Options, instrument, strip, verify};
//!
//! let wasm = wat::parse_str(r#"(module (func (export "double") (param i32) (result i32) local.get 0 i32.const 2 i32.mul))"#)?;
//! let hooked = instrument(&wasm, &Options::default())?;
//! assert_eq!(verify::verify(&wasm, &hooked.wasm)?.hooked, 1);
//! assert_eq!(strip(&hooked.wasm)?, wasm);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use wasmparser;
pub use wasmtrace_abi::error::{self, Error, ErrorKind, Result};
pub use wasmtrace_instrument::{
    Options, Warning, WarningKind, component, describes_original, features, injected, inserted, instrument,
    instrument_with, links, mapping, module, resumption, rewrite, select, sha256, sidecar, strip, verify,
};
#[cfg(feature = "otlp")]
pub use wasmtrace_otlp as otlp;
#[cfg(feature = "runtime")]
pub use wasmtrace_runtime as runtime;
#[cfg(feature = "trace")]
pub use wasmtrace_trace::export;

/// The interface between an instrumented module and its host: imports, the buffer, and the Manifest.
pub mod hook {
    pub use wasmtrace_abi::hook::*;
    pub use wasmtrace_abi::manifest::*;
    pub use wasmtrace_abi::{buffer, component};
}

/// Names of functions and their source locations.
pub mod label {
    pub use wasmtrace_abi::demangle;
    pub use wasmtrace_abi::label::{Category, Label, Source};
    pub use wasmtrace_abi::resumption::Resumption;
    pub use wasmtrace_abi::text::{hex, printable};
    pub use wasmtrace_instrument::label::*;
}

/// Events from hooks and the manual API, and their processing into spans, call trees and recordings.
#[cfg(feature = "trace")]
pub mod trace {
    pub use wasmtrace_trace::event::*;
    pub use wasmtrace_trace::{
        batch, budget, calltree, context, diff, filter, lines, log, merger, profile, recording, span_builder,
        thresholds, time_model,
    };
}
