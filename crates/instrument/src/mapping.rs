//! Maps of function indices and code offsets, from the original to the output.

mod funcs;
mod offsets;

pub(crate) use funcs::FuncMap;
pub use offsets::OffsetMap;
pub(crate) use offsets::{BodyMap, Insertion, Place};
