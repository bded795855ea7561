//! The original and the instrumented module, and the correspondence of their functions.

use wasmparser::Operator;

use super::operators::is_tail_call;
use crate::hooks::HookCode;
use crate::hooks::exit_guard::ExitGuard;
use crate::hooks::roles::Role;
use crate::limits::MAX_BODY;
use crate::module::{FuncIdx, Module};
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::HookSet;

/// The original and the instrumented module.
pub(super) struct Pair<'p, 'a> {
    pub(super) old: &'p Module<'a>,
    pub(super) new: &'p Module<'a>,
    pub(super) from: u32,
    pub(super) by: u32,
    /// The imported functions that have a trampoline, each with the index of its trampoline.
    pub(super) trampolines: Vec<(u32, u32)>,
    pub(super) code: HookCode,
    pub(super) set: HookSet,
    /// The exit guard, if the module has one.
    pub(super) exit_guard: Option<ExitGuard>,
    /// The imported functions that have a trampoline for the exit guard.
    pub(super) roles: Vec<(u32, Role)>,
    /// Whether a section refers to operators by their offsets.
    pub(super) has_notes: bool,
}

impl Pair<'_, '_> {
    /// The new index of a function of the original.
    pub(super) fn place(&self, func: u32) -> u32 {
        if func < self.from { func } else { func + self.by }
    }

    /// The new target of a reference to a function of the original.
    pub(super) fn moved(&self, func: u32) -> u32 {
        match self.trampolines.binary_search_by_key(&func, |(import, _)| *import) {
            Ok(found) => self.trampolines[found].1,
            Err(_) => self.place(func),
        }
    }

    /// Whether a body without hooks may be too large for engines if it had hooks.
    pub(super) fn may_be_too_large(&self, func: FuncIdx) -> Result<bool> {
        // These bounds exceed the size of the hooks at one place, and at both ends of a body.
        let with = |places: usize| self.new.body(func).len() + 24 * places + 160;
        if with(self.new.body(func).len()) <= MAX_BODY {
            return Ok(false);
        }
        let mut places = 0;
        for operator in self.new.body_reader(func).get_operators_reader()? {
            let operator = operator?;
            let one = matches!(operator, Operator::Unreachable | Operator::Return | Operator::MemoryGrow { .. });
            places += usize::from(one || is_tail_call(&operator));
        }
        Ok(with(places) > MAX_BODY)
    }
}
