//! Indices of the functions, globals and tables of an exit guard.

use wasmtrace_abi::hook::ProbeId;

use crate::hooks::roles::Role;

/// The number of functions that every exit guard has besides the thunks.
pub(super) const OWN_FUNCTIONS: u32 = 3;

/// The indices that an exit guard uses, and the functions that have a thunk.
#[derive(Debug, Clone)]
pub(crate) struct ExitGuard {
    /// The index of `$enter`. `$exit`, `$exit_guard`, the functions for spans and the thunks follow.
    pub(crate) first: u32,
    /// The index of the host's `enter`. The host's `exit` follows.
    pub(crate) host: u32,
    /// The index of `$thunks`. `$stack` follows.
    pub(crate) table: u32,
    pub(crate) global: u32,
    /// The index of the type `() -> ()`.
    pub(crate) plain: u32,
    /// The functions that have a thunk, ascending.
    pub(crate) ids: Vec<ProbeId>,
    /// The indices for spans, if the module opens spans itself.
    pub(crate) spans: Option<Spans>,
}

/// The number of functions for spans.
pub(super) const SPAN_FUNCTIONS: u32 = NAMES.len() as u32;
/// The names of the functions for spans.
pub(super) const NAMES: [&str; 7] = ["leave", "opening", "closing", "settle", "tell", "close", "gone"];

/// Offsets of the functions for spans from `$enter`.
pub(crate) const LEAVE: u32 = OWN_FUNCTIONS;
pub(crate) const OPENING: u32 = LEAVE + 1;
pub(crate) const CLOSING: u32 = LEAVE + 2;
pub(crate) const SETTLE: u32 = LEAVE + 3;
pub(super) const TELL: u32 = LEAVE + 4;
pub(crate) const CLOSE: u32 = LEAVE + 5;
pub(super) const GONE: u32 = LEAVE + 6;

/// The number of globals for spans, and their offsets from the global of the depth.
pub(super) const GLOBALS: u32 = 3;
pub(super) const CALLS: u32 = 1;
pub(super) const OPEN: u32 = 2;
pub(super) const CLOSED: u32 = 3;

/// The indices that the functions for spans use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// The index of the import that closes a span.
    pub(crate) close: u32,
    /// The index of a type `() -> i32`.
    pub(crate) answers: u32,
}

impl Spans {
    /// The import that closes spans, if the module opens spans.
    pub(crate) fn closed_by(roles: &[(u32, Role)]) -> Option<u32> {
        roles.iter().find(|(_, role)| *role == Role::Closes).map(|(import, _)| *import)
    }
}
