//! Debug information of a function.

use std::sync::Arc;

/// The debug information of one function.
#[derive(Debug, Clone, Default)]
#[cfg_attr(not(feature = "dwarf-labels"), allow(dead_code, reason = "DWARF alone sets and compares the rest"))]
pub(crate) struct Subprogram {
    /// `DW_AT_linkage_name`, or the name with its namespaces.
    pub(crate) name: Option<Arc<str>>,
    /// `DW_AT_name`: the name as in the source, without namespaces.
    pub(crate) short_name: Option<Arc<str>>,
    pub(crate) file: Option<Arc<str>>,
    pub(crate) line: Option<u32>,
    /// The number of bytes of code after its first address, if it says that.
    pub(crate) length: u64,
    pub(crate) language: Option<&'static str>,
}
