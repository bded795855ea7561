//! Options of instrumentation.

use crate::{rewrite, select, sidecar};

/// Options of [`instrument`](crate::instrument).
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The selection rules. Without rules, all functions with a body are hooked.
    pub select: select::Rules,
    /// Options of the stage [`rewrite`].
    pub rewrite: rewrite::Options,
    /// The sidecar files of the module.
    pub sidecar: sidecar::SidecarFiles,
    /// Instrument a module that has hooks already. Hooks of wasmtrace are removed first, others stay.
    pub force: bool,
    /// Do not validate function bodies ([`ParseOptions::validate`](crate::module::ParseOptions::validate)).
    pub no_validate: bool,
}
