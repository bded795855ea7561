//! What is noted of a body during a walk.

use super::sites::{NEAR, Opened, Site};

/// What can be counted in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Operators, the last `end` included.
    pub operators: u32,
    /// Whether there is a loop.
    pub has_loop: bool,
    /// Whether there is a call, a tail call or a switch to another stack.
    pub has_call: bool,
}

/// What a body has to do with exceptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exceptions {
    /// It throws or may catch, in either flavour.
    pub(crate) any: bool,
    /// It has `try_table` or `throw_ref`.
    pub(crate) new: bool,
    /// It has `try`.
    pub(crate) legacy: bool,
}

/// What is noted during one walk.
#[derive(Debug)]
pub(super) struct Notes<'n> {
    pub(super) sites: &'n mut Vec<u8>,
    /// The place before.
    pub(super) last: usize,
    /// Labels that are open inside of the body, and that have been opened.
    pub(super) depth: u32,
    pub(super) opened: Opened,
    pub(super) size: Size,
    pub(super) exceptions: Exceptions,
}

impl Notes<'_> {
    #[inline]
    pub(super) fn site(&mut self, at: usize, site: Site) {
        site.write(at - self.last, self.sites);
        self.last = at;
    }

    #[inline]
    pub(super) fn reference(&mut self, at: usize, func: u32) {
        // Only a number that comes to have more bits can come to need more bytes.
        let may_widen = func.leading_zeros() != func.saturating_add(NEAR).leading_zeros();
        self.site(at, Site::Reference { may_widen });
    }

    #[inline]
    pub(super) fn open(&mut self) {
        self.depth += 1;
        self.opened += 1;
    }

    /// The function's own `end` closes nothing that is counted.
    #[inline]
    pub(super) fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
