//! Automatic instrumentation for WebAssembly: hooks the entry and every way out of every function of any `.wasm`, runs
//! the result, and shows where the work went.
//!
//! ```text
//!  &[u8] ─parse→ Module ─label→ Labels ─select→ Plan ─rewrite→ Rewritten { wasm, offsets, manifest }
//!                                                                    │
//!                    wasm ─runtime→ Events ─trace→ Spans, Profile ─export→ io::Write
//! ```
//!
//! The stages of the compiler are functions that borrow what the earlier ones returned: [`module::parse`], [`label::label`],
//! [`select::select`], [`rewrite::rewrite`]; [`instrument`] is all of them. [`verify::verify`] proves of an output that it
//! is its input plus hooks, and [`strip()`] gives the input back, byte for byte. [`hook`] is the contract that the compiler
//! and a host share. The features `trace`, `runtime` and `otlp` add the other half: [`runtime::run`], which runs a
//! module under wasmtime, [`runtime::embed`] for hosts that do so themselves, [`export`], which writes what was seen, and
//! [`otlp`], which sends it.
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
    Options, Warning, WarningKind, describes_original, features, injected, inserted, instrument, instrument_with,
    links, mapping, module, rewrite, select, sidecar, strip, verify,
};
#[cfg(feature = "otlp")]
pub use wasmtrace_otlp as otlp;
#[cfg(feature = "runtime")]
pub use wasmtrace_runtime as runtime;
#[cfg(feature = "trace")]
pub use wasmtrace_trace::export;

/// What a hooked module and its host agree on.
pub mod hook {
    pub use wasmtrace_abi::buffer;
    pub use wasmtrace_abi::hook::*;
    pub use wasmtrace_abi::manifest::*;
}

/// What functions are called, and where their source stands.
pub mod label {
    pub use wasmtrace_abi::demangle;
    pub use wasmtrace_abi::label::{Label, Source};
    pub use wasmtrace_abi::text::{hex, printable};
    pub use wasmtrace_instrument::label::*;
}

/// What hooks and the manual API see, and what is made of it.
#[cfg(feature = "trace")]
pub mod trace {
    pub use wasmtrace_trace::event::*;
    pub use wasmtrace_trace::{batch, calltree, context, filter, lines, profile, recording, span_builder, time_model};
}
