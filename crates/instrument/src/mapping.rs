//! Maps function indices and code offsets of the original to those of the instrumented module.

mod funcs;
mod offsets;

pub(crate) use funcs::FuncMap;
pub use offsets::OffsetMap;
pub(crate) use offsets::{BodyMap, Insertion, Place};
