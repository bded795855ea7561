//! Debug information of a function.

use std::sync::Arc;

/// The debug information of one function.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subprogram {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
    pub(crate) language: Option<&'static str>,
}
