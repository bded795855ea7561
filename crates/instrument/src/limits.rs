//! Implementation-defined limits of the WebAssembly JavaScript interface, which wasmparser and all engines apply.

pub(crate) const MAX_FUNCTIONS: usize = 1_000_000;
pub(crate) const MAX_IMPORTS: usize = 1_000_000;
pub(crate) const MAX_TYPES: usize = 1_000_000;
pub(crate) const MAX_EXPORTS: usize = 1_000_000;
pub(crate) const MAX_MEMORIES: usize = 100;
pub(crate) const MAX_TABLES: usize = 100;
pub(crate) const MAX_GLOBALS: usize = 1_000_000;
pub(crate) const MAX_ELEMENTS: usize = 100_000;
pub(crate) const MAX_BODY: usize = 7_654_321;
pub(crate) const MAX_LOCALS: u64 = 50_000;
pub(crate) const MAX_TYPE_SIZE: usize = 1_000_000;
