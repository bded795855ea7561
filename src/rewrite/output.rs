//! The output before it is written: stretches whose lengths are known.
//!
//! So it is allocated once, at its size, and each stretch is written to its place: what is copied from the input is in memory
//! twice and not three times, and so is the code.

use std::ops::Range;

use super::code::Code;
use crate::debug::patch::Patches;

/// A stretch of the output.
#[derive(Debug)]
enum Piece {
    /// Bytes of the input.
    Input(Range<usize>),
    Bytes(Vec<u8>),
    /// Bytes of the input with changes.
    Patched(Range<usize>, Patches),
    /// All bodies.
    Code,
}

/// The stretches, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: Vec<(usize, Piece)>,
    length: usize,
}

impl Output {
    /// How long it is so far.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Appends bytes of the input.
    pub(super) fn input(&mut self, range: Range<usize>) {
        match self.pieces.last_mut() {
            Some((length, Piece::Input(last))) if last.end == range.start => {
                *length += range.len();
                self.length += range.len();
                last.end = range.end;
            }
            _ => self.push(range.len(), Piece::Input(range)),
        }
    }

    pub(super) fn bytes(&mut self, bytes: Vec<u8>) {
        self.push(bytes.len(), Piece::Bytes(bytes));
    }

    /// Appends bytes of the input with changes. `length`: how long they are then.
    pub(super) fn patched(&mut self, range: Range<usize>, patches: Patches, length: usize) {
        self.push(length, Piece::Patched(range, patches));
    }

    /// Appends all bodies.
    pub(super) fn code(&mut self, length: usize) {
        self.push(length, Piece::Code);
    }

    fn push(&mut self, length: usize, piece: Piece) {
        self.pieces.push((length, piece));
        self.length += length;
    }

    /// Writes it down.
    pub(super) fn write(self, input: &[u8], code: &Code<'_, '_>) -> Vec<u8> {
        let mut whole = vec![0; self.length];
        let mut rest = whole.as_mut_slice();
        for (length, piece) in self.pieces {
            let (here, behind) = rest.split_at_mut(length);
            match piece {
                Piece::Input(range) => here.copy_from_slice(&input[range]),
                Piece::Bytes(bytes) => here.copy_from_slice(&bytes),
                Piece::Patched(range, patches) => patches.apply_to(&input[range], here),
                Piece::Code => code.write(here),
            }
            rest = behind;
        }
        whole
    }
}
