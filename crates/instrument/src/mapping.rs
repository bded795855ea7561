//! Where functions and bytes went.

mod funcs;
mod offsets;

pub(crate) use funcs::FuncMap;
pub use offsets::OffsetMap;
pub(crate) use offsets::{BodyMap, Insertion, Place};
