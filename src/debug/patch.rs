//! Few changes in much data: what is written anew in a section that else stays as it is, and the script that takes it back.
//!
//! Fields of fixed width are patched where they stand; variable numbers may become longer, and bytes may be inserted. The
//! script is small, since neighbouring addresses move by nearly the same: about two bytes a field.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::error::{Error, ErrorKind, Result};

/// One place of a section, by what becomes of it. Small, as there are as many as addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Where it begins in the old data.
    pub(crate) at: u32,
    /// How many bytes of the old data it replaces.
    old: u8,
    /// How many bytes it writes.
    new: u8,
    kind: Kind,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Little-endian, of fixed width.
    Fixed,
    /// Unsigned LEB128, padded to its width.
    Leb,
    /// A byte, then an unsigned LEB128: an instruction with one operand.
    Instruction(u8),
    /// Longer things that happen seldom: the number of a blob, which says what is replaced too.
    Blob,
}

/// The changes of one section.
#[derive(Debug, Default)]
pub(crate) struct Patches {
    patches: Vec<Patch>,
    /// Old length, new bytes.
    blobs: Vec<(u32, Vec<u8>)>,
    sorted: bool,
}

impl Patch {
    fn old_len(&self, blobs: &[(u32, Vec<u8>)]) -> usize {
        if self.kind == Kind::Blob { blobs[self.value as usize].0 as usize } else { self.old as usize }
    }

    fn new_len(&self, blobs: &[(u32, Vec<u8>)]) -> usize {
        if self.kind == Kind::Blob { blobs[self.value as usize].1.len() } else { self.new as usize }
    }
}

/// How wide an unsigned LEB128 is at least.
fn leb_width(value: u64) -> u8 {
    (64 - (value | 1).leading_zeros()).div_ceil(7) as u8
}

fn write_leb(out: &mut Vec<u8>, value: u64, width: u8) {
    let begin = out.len();
    out.resize(begin + usize::from(width), 0);
    put_leb(&mut out[begin..], value);
}

/// Writes an unsigned LEB128 over all of `out`.
fn put_leb(out: &mut [u8], mut value: u64) {
    if let Some((last, others)) = out.split_last_mut() {
        for byte in others {
            *byte = (value & 0x7f) as u8 | 0x80;
            value >>= 7;
        }
        *last = value as u8;
    }
}

/// The next bytes of what is still to be written.
fn next<'o>(out: &mut &'o mut [u8], len: usize) -> &'o mut [u8] {
    let (next, rest) = std::mem::take(out).split_at_mut(len);
    *out = rest;
    next
}

fn put(out: &mut &mut [u8], bytes: &[u8]) {
    next(out, bytes.len()).copy_from_slice(bytes);
}

impl Patches {
    /// Writes a number of fixed width.
    pub(crate) fn fixed(&mut self, at: usize, width: u8, value: u64) {
        match u32::try_from(value) {
            Ok(value) => self.push(Patch { at: at as u32, old: width, new: width, kind: Kind::Fixed, value }),
            Err(_) => self.replace(at, usize::from(width), value.to_le_bytes()[..usize::from(width)].to_vec()),
        }
    }

    /// Writes an unsigned LEB128 for one of `width` bytes, as wide as that if it has room.
    pub(crate) fn leb(&mut self, at: usize, width: usize, value: u64) {
        // Nobody pads numbers to more than ten bytes but to do harm.
        let old = width.min(255) as u8;
        let new = old.max(leb_width(value));
        match u32::try_from(value) {
            Ok(value) => self.push(Patch { at: at as u32, old, new, kind: Kind::Leb, value }),
            Err(_) => {
                let mut bytes = Vec::new();
                write_leb(&mut bytes, value, new);
                self.replace(at, usize::from(old), bytes);
            }
        }
    }

    /// Inserts an instruction of one byte with an unsigned LEB128 for its operand.
    pub(crate) fn instruction(&mut self, at: usize, opcode: u8, operand: u64) {
        let new = 1 + leb_width(operand);
        let kind = Kind::Instruction(opcode);
        match u32::try_from(operand) {
            Ok(value) => self.push(Patch { at: at as u32, old: 0, new, kind, value }),
            Err(_) => {
                let mut bytes = vec![opcode];
                write_leb(&mut bytes, operand, new - 1);
                self.replace(at, 0, bytes);
            }
        }
    }

    /// Writes `bytes` for the `old` bytes at `at`.
    pub(crate) fn replace(&mut self, at: usize, old: usize, bytes: Vec<u8>) {
        let value = self.blobs.len() as u32;
        self.blobs.push((old as u32, bytes));
        self.push(Patch { at: at as u32, old: 0, new: 0, kind: Kind::Blob, value });
    }

    fn push(&mut self, patch: Patch) {
        self.patches.push(patch);
        self.sorted = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.patches.is_empty()
    }

    /// Makes room for so many more changes, and no others: there may be millions, and growing by steps would take the memory twice.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.patches.reserve_exact(more);
    }

    /// How many changes there are.
    pub(crate) fn len(&self) -> usize {
        self.patches.len()
    }

    /// Takes over the changes of others.
    pub(crate) fn append(&mut self, other: Patches) {
        let more = self.blobs.len() as u32;
        self.blobs.extend(other.blobs);
        self.patches.extend(other.patches.into_iter().map(|mut patch| {
            if patch.kind == Kind::Blob {
                patch.value += more;
            }
            patch
        }));
        self.sorted = false;
    }

    /// Puts the changes in order. The same change may have been made twice; two different ones of the same bytes are an
    /// error, whose place comes back.
    pub(crate) fn settle(&mut self) -> Result<(), usize> {
        if self.sorted {
            return Ok(());
        }
        let blobs = &self.blobs;
        let place = |p: &Patch| (p.at, p.old_len(blobs) > 0);
        // Insertions are made in order, and come before what they stand before.
        if !self.patches.is_sorted_by_key(place) {
            self.patches.sort_unstable_by_key(place);
        }
        self.patches.dedup_by(|a, b| a == b && a.old > 0);
        for pair in self.patches.windows(2) {
            if pair[0].at as usize + pair[0].old_len(&self.blobs) > pair[1].at as usize {
                return Err(pair[1].at as usize);
            }
        }
        self.sorted = true;
        Ok(())
    }

    /// How much longer the data gets before each place where it changes its length: places behind, with the sum.
    pub(crate) fn growth(&self) -> Growth {
        debug_assert!(self.sorted);
        let mut sum = 0i64;
        let mut steps = Vec::new();
        for patch in &self.patches {
            let by = patch.new_len(&self.blobs) as i64 - patch.old_len(&self.blobs) as i64;
            if by != 0 {
                sum += by;
                steps.push((patch.at, sum));
            }
        }
        Growth { steps }
    }

    /// The data as it is with the changes.
    pub(crate) fn apply(&self, data: &[u8]) -> Vec<u8> {
        let mut out = vec![0; self.new_length(data.len())];
        self.apply_to(data, &mut out);
        out
    }

    /// How long data of that length is with the changes.
    pub(crate) fn new_length(&self, length: usize) -> usize {
        let grown = |p: &Patch| p.new_len(&self.blobs) as i64 - p.old_len(&self.blobs) as i64;
        (length as i64 + self.patches.iter().map(grown).sum::<i64>()) as usize
    }

    /// Writes the data as it is with the changes over all of `out`.
    pub(crate) fn apply_to(&self, data: &[u8], mut out: &mut [u8]) {
        debug_assert!(self.sorted);
        let mut copied = 0;
        for patch in &self.patches {
            put(&mut out, &data[copied..patch.at as usize]);
            copied = patch.at as usize + patch.old_len(&self.blobs);
            let new = patch.new as usize;
            match patch.kind {
                Kind::Fixed => put(&mut out, &u64::from(patch.value).to_le_bytes()[..new]),
                Kind::Leb => put_leb(next(&mut out, new), u64::from(patch.value)),
                Kind::Instruction(opcode) => {
                    put(&mut out, &[opcode]);
                    put_leb(next(&mut out, new - 1), u64::from(patch.value));
                }
                Kind::Blob => put(&mut out, &self.blobs[patch.value as usize].1),
            }
        }
        put(&mut out, &data[copied..]);
        debug_assert!(out.is_empty());
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
        for patch in &self.patches {
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
                let moved = u64::from(patch.value).wrapping_sub(leb(old)) as i64;
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

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The value of an unsigned LEB128, of which only 64 bits count.
fn leb(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f))
}

fn field(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// The old data, by the new and the script of [`Patches::script`].
///
/// # Errors
/// [`ErrorKind::Restore`] where the script does not fit the data.
pub(crate) fn restore(new: &[u8], script: &[u8]) -> Result<Vec<u8>> {
    let misfit = || Error::new(ErrorKind::Restore, "a section is not the one that the Manifest speaks of;");
    let mut reader = BinaryReader::new(script, 0);
    let (mut out, mut at, mut last, mut last_leb) = (Vec::with_capacity(new.len()), 0usize, 0i64, 0i64);
    let take = |at: &mut usize, len: usize| -> Option<&[u8]> {
        let bytes = new.get(*at..at.checked_add(len)?)?;
        *at += len;
        Some(bytes)
    };
    while !reader.eof() {
        let step = reader.read_var_u64()?;
        out.extend_from_slice(take(&mut at, (step / 4) as usize).ok_or_else(misfit)?);
        match step % 4 {
            kind @ (0 | 1) => {
                let width = if kind == 0 { 4 } else { 8 };
                last = last.wrapping_add(unzigzag(reader.read_var_u64()?));
                let value = field(take(&mut at, width).ok_or_else(misfit)?).wrapping_sub(last as u64);
                out.extend_from_slice(&value.to_le_bytes()[..width]);
            }
            2 => {
                let len = reader.read_var_u32()? as usize;
                take(&mut at, len).ok_or_else(misfit)?;
                let old = reader.read_var_u32()? as usize;
                out.extend_from_slice(reader.read_bytes(old)?);
            }
            _ => {
                last_leb = last_leb.wrapping_add(unzigzag(reader.read_var_u64()?));
                let rest = &new[at..];
                let width = rest.iter().position(|byte| byte & 0x80 == 0).ok_or_else(misfit)? + 1;
                let bytes = take(&mut at, width).ok_or_else(misfit)?;
                // One that was carried has ten bytes at most.
                let width = u8::try_from(width).map_err(|_| misfit())?;
                write_leb(&mut out, leb(bytes).wrapping_sub(last_leb as u64), width);
            }
        }
    }
    out.extend_from_slice(&new[at..]);
    Ok(out)
}

/// Where offsets into a section went.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    steps: Vec<(u32, i64)>,
}

impl Growth {
    /// Where what began at `old` begins now.
    pub(crate) fn of(&self, old: u64) -> u64 {
        let before = self.steps.partition_point(|(at, _)| u64::from(*at) < old);
        let by = self.steps[..before].last().map_or(0, |(_, sum)| *sum);
        (old as i64 + by) as u64
    }

    /// How much longer the data is.
    pub(crate) fn total(&self) -> i64 {
        self.steps.last().map_or(0, |(_, sum)| *sum)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
