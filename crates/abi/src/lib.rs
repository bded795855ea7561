//! What the compiler of wasmtrace and the hosts of its output agree on.
//!
//! - [`hook`]: the hook sets, and the functions that a hooked module imports;
//! - [`manifest`]: the custom section in which a hooked module describes itself;
//! - [`buffer`]: the memory that the guest records into, and its events;
//! - [`label`], [`demangle`], [`text`]: what functions are called, and how that is shown;
//! - [`vectors`]: vectors of the binary format, read in bounds;
//! - [`error`]: the one error type.

pub mod buffer;
pub mod demangle;
pub mod error;
pub mod hook;
pub mod label;
pub mod manifest;
pub mod text;
pub mod vectors;
