//! The original and the hooked module, and how they belong together.

use wasmparser::Operator;

use super::operators::is_tail_call;
use crate::hooks::HookCode;
use crate::hooks::exit_guard::ExitGuard;
use crate::hooks::roles::Role;
use crate::limits::MAX_BODY;
use crate::module::{FuncIdx, Module};
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::HookSet;

/// Both modules.
pub(super) struct Pair<'p, 'a> {
    pub(super) old: &'p Module<'a>,
    pub(super) new: &'p Module<'a>,
    pub(super) from: u32,
    pub(super) by: u32,
    /// Imported functions that have a trampoline, and the trampolines.
    pub(super) trampolines: Vec<(u32, u32)>,
    pub(super) code: HookCode,
    pub(super) set: HookSet,
    /// What exits all open calls before the module is left, if there is that.
    pub(super) exit_guard: Option<ExitGuard>,
    /// The imported functions that have a trampoline for that.
    pub(super) roles: Vec<(u32, Role)>,
}

impl Pair<'_, '_> {
    /// Where a function went.
    pub(super) fn place(&self, func: u32) -> u32 {
        if func < self.from { func } else { func + self.by }
    }

    /// What a reference to a function became.
    pub(super) fn moved(&self, func: u32) -> u32 {
        match self.trampolines.binary_search_by_key(&func, |(import, _)| *import) {
            Ok(found) => self.trampolines[found].1,
            Err(_) => self.place(func),
        }
    }

    /// Whether a body that has no hooks may pass the size that engines accept, if it had them.
    pub(super) fn may_be_too_large(&self, func: FuncIdx) -> Result<bool> {
        // More than hooks take in one place, and at both ends of a body.
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
