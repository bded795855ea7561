//! The output before it is written: stretches whose lengths are known.
//!
//! So it need not be in memory at all: what is copied goes from the input to where it is written, and the code is made on the way,
//! some bodies at a time.

use std::io::{self, BufWriter, Write};
use std::ops::Range;

use super::code::Code;
use crate::relocate::patch::Patches;

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
    code_start: Option<usize>,
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

    /// Appends the code section: its id and size, its count, and all bodies, which are so long together.
    pub(super) fn code(&mut self, header: Vec<u8>, count: Vec<u8>, length: usize) {
        self.bytes(header);
        self.code_start = Some(self.length);
        self.bytes(count);
        self.push(length, Piece::Code);
    }

    /// Where the contents of the code section begin, if they have been appended.
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

/// A hooked module of which everything is known and nothing written.
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

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "a module has a header at least")]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Writes it, in pieces of many kilobytes. The bodies are made on all cores meanwhile.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        const GATHERED: usize = 64 * 1024;
        let mut out = BufWriter::with_capacity(GATHERED, out);
        self.output.write(self.input, self.code, &mut out)?;
        out.flush()
    }

    /// The whole of it in memory.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut whole = Vec::with_capacity(self.len());
        self.write_to(&mut whole).expect("memory takes what is written to it");
        whole
    }
}
