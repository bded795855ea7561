//! Places in bodies that the rewriter may have to change, encoded in two or three bytes each.

use crate::leb;

/// A place where a rewriting may have something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// `call` or `ref.func`: the index of a function stands behind the opcode's byte.
    Reference {
        /// Whether the number may need more bytes if it grows by up to [`NEAR`].
        may_widen: bool,
    },
    /// `return_call`: the same.
    TailCall(Opened),
    /// `return_call_indirect`, `return_call_ref`.
    IndirectTailCall(Opened),
    /// `return`, with the number of labels open inside of the body.
    Return(u32),
    /// `br` to the function's own label.
    BranchOut,
    Unreachable,
    /// `memory.grow` of memory 0.
    MemoryGrow,
}

/// How many labels have been opened in the body before a place.
pub(crate) type Opened = u32;

/// How far function indices move at most, but for those of imports with trampolines.
pub(crate) const NEAR: u32 = 16;

/// Bits of a place's first number that say what is there; the others are how far it is from the one before.
const KIND_BITS: u32 = 3;

impl Site {
    /// Appends a place, so many bytes behind the one before.
    #[inline]
    pub(super) fn write(self, distance: usize, sites: &mut Vec<u8>) {
        let (kind, more) = match self {
            Site::Reference { may_widen: false } => (0, None),
            Site::Reference { may_widen: true } => (7, None),
            Site::TailCall(opened) => (1, Some(opened)),
            Site::IndirectTailCall(opened) => (2, Some(opened)),
            Site::Return(depth) => (3, Some(depth)),
            Site::BranchOut => (4, None),
            Site::Unreachable => (5, None),
            Site::MemoryGrow => (6, None),
        };
        push_leb(sites, (distance as u64) << KIND_BITS | kind);
        if let Some(more) = more {
            push_leb(sites, u64::from(more));
        }
    }
}

#[inline]
fn push_leb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The places of one body, in order, with their offsets in the file.
#[derive(Debug, Clone)]
pub(crate) struct Sites<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl<'s> Sites<'s> {
    /// Those that `bytes` tell of, in a body that begins at the offset `start`.
    pub(crate) fn new(bytes: &'s [u8], start: usize) -> Self {
        Sites { bytes, at: start }
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        // Nearly all take one byte or two.
        match *self.bytes {
            [a, ref rest @ ..] if a < 0x80 => {
                self.bytes = rest;
                Some(u64::from(a))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.bytes = rest;
                Some(u64::from(a & 0x7f) | u64::from(b) << 7)
            }
            _ => self.long_number(),
        }
    }

    #[cold]
    fn long_number(&mut self) -> Option<u64> {
        let (value, width) = leb::read(self.bytes)?;
        self.bytes = &self.bytes[width..];
        Some(value)
    }
}

impl Iterator for Sites<'_> {
    type Item = (usize, Site);

    #[inline]
    fn next(&mut self) -> Option<(usize, Site)> {
        let first = self.number()?;
        self.at += (first >> KIND_BITS) as usize;
        let mut more = || self.number().map(|more| more as u32);
        let site = match first & ((1 << KIND_BITS) - 1) {
            0 => Site::Reference { may_widen: false },
            7 => Site::Reference { may_widen: true },
            1 => Site::TailCall(more()?),
            2 => Site::IndirectTailCall(more()?),
            3 => Site::Return(more()?),
            4 => Site::BranchOut,
            5 => Site::Unreachable,
            _ => Site::MemoryGrow,
        };
        Some((self.at, site))
    }
}
