//! The properties of a body that are noted during a walk.

use super::sites::{NEAR, Opened, Site};
use crate::module::usage::Usage;

/// The size of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Number of operators, including the last `end`.
    pub operators: u32,
    /// Whether there is a loop.
    pub has_loop: bool,
    /// Whether there is a call, a tail call or a stack switch.
    pub has_call: bool,
}

/// How a body uses exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exceptions {
    /// It throws or may catch, with the legacy or the new instructions.
    pub(crate) any: bool,
    /// It contains `try_table` or `throw_ref`.
    pub(crate) new: bool,
    /// It contains `try`.
    pub(crate) legacy: bool,
}

/// The notes of one walk.
#[derive(Debug)]
pub(super) struct Notes<'n> {
    pub(super) sites: &'n mut Vec<u8>,
    /// The previous site.
    pub(super) last: usize,
    /// Number of labels open within the body, and number of labels opened so far.
    pub(super) depth: u32,
    pub(super) opened: Opened,
    pub(super) size: Size,
    pub(super) exceptions: Exceptions,
    pub(super) usage: &'n mut Usage,
    /// Whether the bytes of the last operator show more about features than its operands do.
    pub(super) has_more: bool,
}

impl Notes<'_> {
    #[inline]
    pub(super) fn site(&mut self, at: usize, site: Site) {
        site.write(at - self.last, self.sites);
        self.last = at;
    }

    #[inline]
    pub(super) fn reference(&mut self, at: usize, func: u32) {
        // Only a number that gets more bits can need more bytes.
        let may_widen = func.leading_zeros() != func.saturating_add(NEAR).leading_zeros();
        self.site(at, Site::Reference { may_widen });
    }

    #[inline]
    pub(super) fn open(&mut self) {
        self.depth += 1;
        self.opened += 1;
    }

    /// The function's own `end` closes no counted label.
    #[inline]
    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
