//! Sites: places in bodies that the rewriter may have to change, encoded in two or three bytes each.

use wasm_encoder::Encode;

use crate::leb;

/// A place that the rewriter may have to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    /// `call` or `ref.func`: the opcode byte is followed by a function index.
    Reference {
        /// Whether the index may need more bytes if it grows by up to [`NEAR`].
        may_widen: bool,
    },
    /// `return_call`, which contains a function index too.
    TailCall(Opened),
    /// `return_call_indirect` or `return_call_ref`.
    IndirectTailCall(Opened),
    /// `return`, with the number of labels open within the body.
    Return(u32),
    /// `br` to the function's own label.
    BranchOut,
    Unreachable,
    /// `memory.grow` of memory 0.
    MemoryGrow,
}

/// Number of labels opened in the body before a place.
pub(crate) type Opened = u32;

/// Maximum distance that function indices move, except those of imports with trampolines.
pub(crate) const NEAR: u32 = 16;

/// Number of bits for the kind in a site's first number; the others are the distance from the previous site.
const KIND_BITS: u32 = 3;

impl Site {
    /// Appends a site at that distance from the previous one, in bytes.
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
        push_number(sites, (distance as u64) << KIND_BITS | kind);
        if let Some(more) = more {
            push_number(sites, u64::from(more));
        }
    }
}

#[inline]
fn push_number(out: &mut Vec<u8>, value: u64) {
    // Most numbers take one byte.
    if value < 0x80 { out.push(value as u8) } else { value.encode(out) }
}

/// The sites of one body in order, with their offsets in the file.
#[derive(Debug, Clone)]
pub(crate) struct Sites<'s> {
    bytes: &'s [u8],
    at: usize,
}

impl<'s> Sites<'s> {
    /// Decodes the sites of a body that begins at offset `start`.
    pub(crate) fn new(bytes: &'s [u8], start: usize) -> Self {
        Sites { bytes, at: start }
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        // Nearly all numbers take one byte or two.
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
