//! Patches: sparse changes in large data, and the script that reverts them.
//!
//! Fields of fixed width are patched in place. Variable numbers may become longer, and bytes may be inserted. The
//! script is small, about two bytes per field, since neighbouring addresses move by nearly the same distance.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Write};

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::leb;
use wasmtrace_abi::error::Result;

mod number;
mod restore;
mod size_delta;

pub(crate) use restore::restore;
pub(crate) use size_delta::SizeDelta;

use number::{field, unzigzag, zigzag};

/// A patch of a section, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patch {
    /// Offset in the old data.
    at: u32,
    /// Number of old bytes that it replaces.
    old: u8,
    /// Number of bytes that it writes.
    new: u8,
    kind: Kind,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A little-endian number of fixed width.
    Fixed,
    /// An unsigned LEB128, padded to its width.
    Leb,
    /// A byte and an unsigned LEB128: an instruction with one operand.
    Instruction(u8),
    /// Other data, which is rare: the index of a blob.
    Blob,
}

/// The patches of a section. There are as many as addresses, and they are kept until all sections can be written, so
/// each takes about four bytes.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    /// For each patch: its distance from the previous one, its kind, and the difference of its value from the previous
    /// one.
    bytes: Vec<u8>,
    /// Offset and value of the last patch.
    last: (u32, u32),
    /// Old length and new bytes.
    blobs: Vec<(u32, Vec<u8>)>,
    sorted: bool,
}

/// Kinds in the encoding. A field of four bytes is by far the most frequent.
const FIXED_4: u8 = 0;
const FIXED: u8 = 1;
const LEB: u8 = 2;
const INSTRUCTION: u8 = 3;
const BLOB: u8 = 4;

/// Decodes patches.
struct Iter<'p> {
    reader: BinaryReader<'p>,
    last: (u32, u32),
}

impl<'p> Iter<'p> {
    fn new(bytes: &'p [u8]) -> Self {
        Iter { reader: BinaryReader::new(bytes, 0), last: (0, 0) }
    }

    fn read(&mut self) -> wasmparser::Result<Patch> {
        let r = &mut self.reader;
        let at = self.last.0.wrapping_add(unzigzag(r.read_var_u64()?) as u32);
        let (kind, old, new) = match r.read_u8()? {
            FIXED_4 => (Kind::Fixed, 4, 4),
            FIXED => {
                let width = r.read_u8()?;
                (Kind::Fixed, width, width)
            }
            LEB => (Kind::Leb, r.read_u8()?, r.read_u8()?),
            INSTRUCTION => (Kind::Instruction(r.read_u8()?), 0, r.read_u8()?),
            _ => (Kind::Blob, 0, 0),
        };
        let value = self.last.1.wrapping_add(unzigzag(r.read_var_u64()?) as u32);
        self.last = (at, value);
        Ok(Patch { at, old, new, kind, value })
    }
}

impl Iterator for Iter<'_> {
    type Item = Patch;

    fn next(&mut self) -> Option<Patch> {
        (!self.reader.eof()).then(|| self.read().expect("it was written here"))
    }
}

impl Patch {
    fn old_len(&self, blobs: &[(u32, Vec<u8>)]) -> usize {
        if self.kind == Kind::Blob { blobs[self.value as usize].0 as usize } else { self.old as usize }
    }

    fn new_len(&self, blobs: &[(u32, Vec<u8>)]) -> usize {
        if self.kind == Kind::Blob { blobs[self.value as usize].1.len() } else { self.new as usize }
    }
}

impl Patches {
    /// Patches a number of fixed width.
    pub(crate) fn fixed(&mut self, at: usize, width: u8, value: u64) {
        match u32::try_from(value) {
            Ok(value) => self.push(Patch { at: at as u32, old: width, new: width, kind: Kind::Fixed, value }),
            Err(_) => self.replace(at, usize::from(width), value.to_le_bytes()[..usize::from(width)].to_vec()),
        }
    }

    /// Patches an unsigned LEB128 of `width` bytes. The new one has the same width if it fits.
    pub(crate) fn leb(&mut self, at: usize, width: usize, value: u64) {
        // Only malicious input pads numbers to more than ten bytes.
        let old = width.min(255) as u8;
        let new = old.max(leb::minimal_width(value));
        match u32::try_from(value) {
            Ok(value) => self.push(Patch { at: at as u32, old, new, kind: Kind::Leb, value }),
            Err(_) => {
                let mut bytes = Vec::new();
                leb::write(&mut bytes, value, new);
                self.replace(at, usize::from(old), bytes);
            }
        }
    }

    /// Inserts an instruction of one byte with an unsigned LEB128 operand.
    pub(crate) fn instruction(&mut self, at: usize, opcode: u8, operand: u64) {
        let new = 1 + leb::minimal_width(operand);
        let kind = Kind::Instruction(opcode);
        match u32::try_from(operand) {
            Ok(value) => self.push(Patch { at: at as u32, old: 0, new, kind, value }),
            Err(_) => {
                let mut bytes = vec![opcode];
                leb::write(&mut bytes, operand, new - 1);
                self.replace(at, 0, bytes);
            }
        }
    }

    /// Replaces the `old` bytes at `at` by `bytes`.
    pub(crate) fn replace(&mut self, at: usize, old: usize, bytes: Vec<u8>) {
        let value = self.blobs.len() as u32;
        self.blobs.push((old as u32, bytes));
        self.push(Patch { at: at as u32, old: 0, new: 0, kind: Kind::Blob, value });
    }

    fn push(&mut self, patch: Patch) {
        let (at, value) = self.last;
        let out = &mut self.bytes;
        zigzag(i64::from(patch.at) - i64::from(at)).encode(out);
        match patch.kind {
            Kind::Fixed if patch.old == 4 => out.push(FIXED_4),
            Kind::Fixed => out.extend([FIXED, patch.old]),
            Kind::Leb => out.extend([LEB, patch.old, patch.new]),
            Kind::Instruction(opcode) => out.extend([INSTRUCTION, opcode, patch.new]),
            Kind::Blob => out.push(BLOB),
        }
        // Neighbouring patches have neighbouring addresses.
        zigzag(i64::from(patch.value) - i64::from(value)).encode(out);
        self.last = (patch.at, patch.value);
        self.sorted = false;
    }

    fn iter(&self) -> Iter<'_> {
        Iter::new(&self.bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reserves exactly the memory for the patches of others: growing in steps would need twice the memory.
    pub(crate) fn reserve<'p>(&mut self, others: impl Iterator<Item = &'p Patches>) {
        const FIRST: usize = 16; // the first of each is written anew
        self.bytes.reserve_exact(others.map(|other| other.bytes.len() + FIRST).sum());
    }

    /// Frees unused memory.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds the patches of another section part.
    pub(crate) fn append(&mut self, other: Patches) {
        let more = self.blobs.len() as u32;
        let mut patches = other.iter();
        let renumbered = |patch: Patch| match patch.kind {
            Kind::Blob => Patch { value: patch.value + more, ..patch },
            _ => patch,
        };
        if other.blobs.is_empty() {
            // All but the first are encoded relative to the previous one.
            if let Some(first) = patches.next() {
                self.push(first);
                self.bytes.extend_from_slice(&other.bytes[patches.reader.original_position()..]);
                self.last = other.last;
            }
        } else {
            patches.for_each(|patch| self.push(renumbered(patch)));
        }
        self.blobs.extend(other.blobs);
        self.sorted = false;
    }

    /// Sorts the patches. Equal patches are merged. Returns the offset of two different patches of the same bytes as an
    /// error.
    pub(crate) fn settle(&mut self) -> Result<(), usize> {
        if self.sorted {
            return Ok(());
        }
        let twice = |a: &Patch, b: &Patch| a == b && a.old > 0;
        let in_order = |a: &Patch, b: &Patch| self.place(a) <= self.place(b) && !twice(a, b);
        if !self.iter().is_sorted_by(in_order) {
            let bytes = self.in_few_runs();
            self.bytes.reserve_exact(bytes.len());
            self.last = (0, 0);
            let mut before = None;
            self.in_order(&bytes, |own, patch| {
                if !before.is_some_and(|before| twice(&before, &patch)) {
                    own.push(patch);
                }
                before = Some(patch);
            });
        }
        let mut end = 0;
        for patch in self.iter() {
            if end > patch.at as usize {
                return Err(patch.at as usize);
            }
            end = patch.at as usize + patch.old_len(&self.blobs);
        }
        self.sorted = true;
        Ok(())
    }

    /// The sort key: insertions come before other patches at the same offset, in the order in which they were made.
    fn place(&self, patch: &Patch) -> (u32, bool) {
        (patch.at, patch.old_len(&self.blobs) > 0)
    }

    /// Takes the patches as a few sorted runs. Usually they are such already. Otherwise parts are sorted at a time,
    /// since unpacking all at once would take three times the memory.
    fn in_few_runs(&mut self) -> Vec<u8> {
        const MOST_RUNS: usize = 1024;
        const AT_A_TIME: usize = 64 * 1024;
        let bytes = std::mem::take(&mut self.bytes);
        if self.runs(&bytes).len() <= MOST_RUNS {
            return bytes;
        }
        let mut longer = Patches::default();
        longer.bytes.reserve_exact(bytes.len());
        let mut all = Iter::new(&bytes);
        loop {
            let mut run: Vec<Patch> = all.by_ref().take(AT_A_TIME).collect();
            if run.is_empty() {
                return longer.bytes;
            }
            run.sort_by_key(|patch| self.place(patch));
            run.into_iter().for_each(|patch| longer.push(patch));
        }
    }

    /// Calls `see` for the patches in `bytes` in order, by merging its runs.
    fn in_order(&mut self, bytes: &[u8], mut see: impl FnMut(&mut Self, Patch)) {
        let mut runs = self.runs(bytes);
        let mut heads: Vec<Option<Patch>> = runs.iter_mut().map(Iter::next).collect();
        let mut next: BinaryHeap<_> = heads
            .iter()
            .enumerate()
            .filter_map(|(run, head)| Some(Reverse((self.place(head.as_ref()?), run))))
            .collect();
        while let Some(Reverse((_, run))) = next.pop() {
            let head = std::mem::replace(&mut heads[run], runs[run].next());
            next.extend(heads[run].as_ref().map(|head| Reverse((self.place(head), run))));
            see(self, head.expect("it has been seen to be there"));
        }
    }

    /// The sorted runs of `bytes`.
    fn runs<'p>(&self, bytes: &'p [u8]) -> Vec<Iter<'p>> {
        let mut runs = Vec::new();
        let mut all = Iter::new(bytes);
        let (mut start, mut first, mut before) = (0, (0, 0), None);
        loop {
            let (at, last) = (all.reader.original_position(), all.last);
            let place = all.next().map(|patch| self.place(&patch));
            if place.is_none() || before > place {
                runs.push(Iter { reader: BinaryReader::new(&bytes[start..at], 0), last: first });
                (start, first) = (at, last);
            }
            if place.is_none() {
                return runs;
            }
            before = place;
        }
    }

    /// The size changes of the data: offsets after each change of length, with the cumulative size.
    pub(crate) fn growth(&self) -> SizeDelta {
        debug_assert!(self.sorted);
        let mut sum = 0i64;
        let mut steps = Vec::new();
        for patch in self.iter() {
            let by = patch.new_len(&self.blobs) as i64 - patch.old_len(&self.blobs) as i64;
            if by != 0 {
                sum += by;
                steps.push((patch.at, sum));
            }
        }
        SizeDelta { steps }
    }

    /// Applies the patches to the data.
    pub(crate) fn apply(&self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.new_length(data.len()));
        self.write(data, &mut out).expect("memory takes what is written to it");
        out
    }

    /// The length of data of that length after the patches.
    pub(crate) fn new_length(&self, length: usize) -> usize {
        let grown = |p: &Patch| p.new_len(&self.blobs) as i64 - p.old_len(&self.blobs) as i64;
        (length as i64 + self.iter().map(|p| grown(&p)).sum::<i64>()) as usize
    }

    /// Writes the patched data in small pieces: `out` should be buffered.
    pub(crate) fn write(&self, data: &[u8], out: &mut impl Write) -> io::Result<()> {
        debug_assert!(self.sorted);
        let mut field = [0; u8::MAX as usize]; // the widest
        let mut copied = 0;
        for patch in self.iter() {
            out.write_all(&data[copied..patch.at as usize])?;
            copied = patch.at as usize + patch.old_len(&self.blobs);
            let new = patch.new as usize;
            match patch.kind {
                Kind::Fixed => out.write_all(&u64::from(patch.value).to_le_bytes()[..new])?,
                Kind::Leb => {
                    leb::put(&mut field[..new], u64::from(patch.value));
                    out.write_all(&field[..new])?;
                }
                Kind::Instruction(opcode) => {
                    field[0] = opcode;
                    leb::put(&mut field[1..new], u64::from(patch.value));
                    out.write_all(&field[..new])?;
                }
                Kind::Blob => out.write_all(&self.blobs[patch.value as usize].1)?,
            }
        }
        out.write_all(&data[copied..])
    }

    /// What takes the changes back.
    ///
    /// ```text
    /// step: (unchanged bytes · 4 + kind):leb, then
    ///   0, 1  a field of 4 or 8 bytes: how much more than the last such field it moved, as zigzag leb
    ///   2     new length, old length, old bytes
    ///   3     a leb that is as wide as it was: how much more than the last such one it moved, as zigzag leb
    /// ```
    pub(crate) fn script(&self, data: &[u8]) -> Vec<u8> {
        debug_assert!(self.sorted);
        let (mut out, mut copied, mut last, mut last_leb) = (Vec::new(), 0, 0i64, 0i64);
        for patch in self.iter() {
            let gap = (patch.at as usize - copied) as u64;
            let end = patch.at as usize + patch.old_len(&self.blobs);
            let old = &data[patch.at as usize..end];
            copied = end;
            if patch.kind == Kind::Fixed && matches!(patch.old, 4 | 8) {
                (gap * 4 + (patch.old == 8) as u64).encode(&mut out);
                let moved = u64::from(patch.value).wrapping_sub(field(old)) as i64;
                zigzag(moved.wrapping_sub(last)).encode(&mut out);
                last = moved;
            } else if patch.kind == Kind::Leb && patch.old == patch.new {
                (gap * 4 + 3).encode(&mut out);
                let moved = u64::from(patch.value).wrapping_sub(leb::value(old)) as i64;
                zigzag(moved.wrapping_sub(last_leb)).encode(&mut out);
                last_leb = moved;
            } else {
                (gap * 4 + 2).encode(&mut out);
                patch.new_len(&self.blobs).encode(&mut out);
                old.encode(&mut out);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_out_in_order_however_they_were_made() {
        // Few runs are merged, many are joined first, and equal patches count once.
        for (count, step) in [(5000, 1), (5000, 7), (5000, 4999), (200_000, 199_999)] {
            let mut patches = Patches::default();
            let places: Vec<usize> = (0..count).map(|n| n * step % count).collect();
            for at in &places {
                match at % 5 {
                    0 => patches.fixed(8 * at, 4, *at as u64),
                    1 => patches.leb(8 * at, 2, 300 * *at as u64),
                    2 => patches.instruction(8 * at, 2, *at as u64),
                    3 => patches.replace(8 * at, 3, vec![7; at % 11]),
                    _ => patches.fixed(8 * at, 8, u64::MAX - *at as u64),
                }
            }
            patches.fixed(0, 4, 0);
            let mut others = Patches::default();
            others.instruction(0, 9, 1);
            others.instruction(0, 9, 2);
            patches.append(others);
            patches.settle().unwrap();
            assert!(patches.iter().is_sorted_by_key(|patch| patch.at) && patches.iter().count() == count + 2);

            let data: Vec<u8> =
                (0..8 * count as u32).map(|n| if n % 8 == 0 { 0x80 } else { (n % 128) as u8 }).collect();
            let new = patches.apply(&data);
            assert_eq!(new.len(), patches.new_length(data.len()));
            assert_eq!(new[..8], [9, 1, 9, 2, 0, 0, 0, 0]);
            assert_eq!(restore(&new, &patches.script(&data)).unwrap(), data);
        }
    }

    #[test]
    fn two_changes_of_the_same_bytes_are_an_error() {
        let mut patches = Patches::default();
        patches.fixed(8, 4, 1);
        patches.fixed(4, 8, 1);
        assert_eq!(patches.settle(), Err(8));
    }
}
