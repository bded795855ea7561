//! The output before it is written: a list of pieces with known lengths.
//!
//! The output does not have to be in memory as a whole. Copied pieces go directly from the input to the writer. Bodies
//! are written in batches.

use std::io::{self, BufWriter, Write};
use std::ops::Range;

use super::code::Code;
use crate::relocate::patch::Patches;

/// A contiguous part of the output.
#[derive(Debug)]
enum Piece {
    /// Bytes of the input.
    Input(Range<usize>),
    Bytes(Vec<u8>),
    /// Bytes of the input with patches.
    Patched(Range<usize>, Patches),
    /// All bodies.
    Code,
}

/// The pieces of the output, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: Vec<(usize, Piece)>,
    length: usize,
    code_start: Option<usize>,
}

impl Output {
    /// The length so far, in bytes.
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

    /// Appends bytes of the input with patches. `length` is their length after patching.
    pub(super) fn patched(&mut self, range: Range<usize>, patches: Patches, length: usize) {
        self.push(length, Piece::Patched(range, patches));
    }

    /// Appends the code section: its id and size, its count, and all bodies. `length` is the total length of the
    /// bodies.
    pub(super) fn code(&mut self, header: Vec<u8>, count: Vec<u8>, length: usize) {
        self.bytes(header);
        self.code_start = Some(self.length);
        self.bytes(count);
        self.push(length, Piece::Code);
    }

    /// The offset of the code section's contents in the output, if the section has been appended.
    pub(super) fn code_start(&self) -> Option<usize> {
        self.code_start
    }

    fn push(&mut self, length: usize, piece: Piece) {
        self.pieces.push((length, piece));
        self.length += length;
    }

    fn write(&self, input: &[u8], code: Option<&Code<'_, '_>>, out: &mut impl Write) -> io::Result<()> {
        for (_, piece) in &self.pieces {
            match piece {
                Piece::Input(range) => out.write_all(&input[range.clone()])?,
                Piece::Bytes(bytes) => out.write_all(bytes)?,
                Piece::Patched(range, patches) => patches.write(&input[range.clone()], out)?,
                Piece::Code => code.map_or(Ok(()), |code| code.each(|bodies| out.write_all(bodies)))?,
            }
        }
        Ok(())
    }
}

/// An instrumented module that is complete but not written yet. [`rewrite_with`](crate::rewrite::rewrite_with) passes
/// it to its writer.
#[derive(Debug)]
pub struct Unwritten<'w> {
    input: &'w [u8],
    code: Option<&'w Code<'w, 'w>>,
    output: &'w Output,
}

impl<'w> Unwritten<'w> {
    pub(super) fn new(input: &'w [u8], code: Option<&'w Code<'w, 'w>>, output: &'w Output) -> Self {
        Unwritten { input, code, output }
    }

    /// The length of the module in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a module has a header at least")]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Writes the module to `out`, in pieces of at least 64 KiB where possible. All cores encode the bodies meanwhile.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        const GATHERED: usize = 64 * 1024;
        let mut out = BufWriter::with_capacity(GATHERED, out);
        self.output.write(self.input, self.code, &mut out)?;
        out.flush()
    }

    /// Returns the whole module in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        self.write_to(&mut whole).expect("writing to memory cannot fail");
        whole
    }
}
