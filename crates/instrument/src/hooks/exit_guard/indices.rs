//! The functions, globals and tables of an exit guard.

use wasmtrace_abi::hook::ProbeId;

use crate::hooks::roles::Role;

/// How many functions are neither thunks nor for spans.
pub(super) const OWN_FUNCTIONS: u32 = 3;

/// The indices that are used, and the calls that are kept.
#[derive(Debug, Clone)]
pub(crate) struct ExitGuard {
    /// `$enter`; `$exit`, `$exit_guard`, those for spans and the thunks follow.
    pub(crate) first: u32,
    /// The host's `enter`; its `exit` follows.
    pub(crate) host: u32,
    /// `$thunks`; `$stack` follows.
    pub(crate) table: u32,
    pub(crate) global: u32,
    /// The type `() -> ()`.
    pub(crate) plain: u32,
    /// The functions that have a thunk, ascending.
    pub(crate) ids: Vec<ProbeId>,
    /// If the module opens spans itself.
    pub(crate) spans: Option<Spans>,
}

/// How many functions there are for spans.
pub(super) const SPAN_FUNCTIONS: u32 = NAMES.len() as u32;
/// What they are called.
pub(super) const NAMES: [&str; 7] = ["leave", "opening", "closing", "settle", "tell", "close", "gone"];

/// Where they stand, behind `$enter`.
pub(crate) const LEAVE: u32 = OWN_FUNCTIONS;
pub(crate) const OPENING: u32 = LEAVE + 1;
pub(crate) const CLOSING: u32 = LEAVE + 2;
pub(crate) const SETTLE: u32 = LEAVE + 3;
pub(super) const TELL: u32 = LEAVE + 4;
pub(crate) const CLOSE: u32 = LEAVE + 5;
pub(super) const GONE: u32 = LEAVE + 6;

/// Globals behind the depth's.
pub(super) const GLOBALS: u32 = 3;
pub(super) const CALLS: u32 = 1;
pub(super) const OPEN: u32 = 2;
pub(super) const CLOSED: u32 = 3;

/// The indices that are used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spans {
    /// The import that closes a span.
    pub(crate) close: u32,
    /// The type `() -> i32`.
    pub(crate) answers: u32,
}

impl Spans {
    /// Which import closes spans, if the module opens any.
    pub(crate) fn closed_by(roles: &[(u32, Role)]) -> Option<u32> {
        roles.iter().find(|(_, role)| *role == Role::Closes).map(|(import, _)| *import)
    }
}
