//! The interface between the compiler of wasmtrace and the hosts that run its output.
//!
//! - [`hook`]: the hook sets, and the functions that an instrumented module imports
//! - [`manifest`]: the custom section in which an instrumented module describes itself
//! - [`buffer`]: the memory that the guest records into, and the format of its events
//! - [`label`], [`demangle`], [`text`]: names of functions, and how they are shown
//! - [`vectors`]: bounded reading of vectors of the binary format
//! - [`error`]: the error type of all crates

pub mod buffer;
pub mod component;
pub mod demangle;
pub mod error;
pub mod hook;
pub mod label;
pub mod manifest;
pub mod resumption;
pub mod text;
pub mod vectors;
