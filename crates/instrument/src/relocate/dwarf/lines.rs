//! `.debug_line`, versions 2 to 5: programs that produce a table of rows, each with an address and a line.
//!
//! The opcodes stay unchanged. Code is only added, so the distance of two rows can only grow. If it grows, an
//! `advance_pc` is inserted before the opcode that emits the second row. No row is added or removed. Operands that set
//! an address are patched in place.

use super::cursor::{Cursor, Result, Unsupported};
use crate::relocate::addresses::{Addresses, highest, is_tombstone};
use crate::relocate::patch::{Patches, SizeDelta};

const ADVANCE_PC: u8 = 2;
const SET_ADDRESS: u8 = 2; // of the extended opcodes

/// A line program with its header.
#[derive(Debug)]
pub(super) struct Program<'a> {
    data: &'a [u8],
    pub(super) start: usize,
    end: usize,
    offset_size: u8,
    header: Result<Header<'a>>,
}

#[derive(Debug)]
struct Header<'a> {
    /// Offset of the opcodes.
    opcodes: usize,
    opcode_base: u8,
    line_range: u8,
    /// Number of operands of each standard opcode.
    operands: &'a [u8],
}

/// The effect of an opcode on the address.
enum Op {
    Advance(u64),
    /// Sets the address; the operand is at `at`.
    Set {
        at: usize,
        width: u8,
        address: u64,
    },
    /// Emits a row; the opcode at `at` first advances the address. The last row of a sequence ends it.
    Row {
        at: usize,
        advance: u64,
        last: bool,
    },
}

/// The relocated section.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) patches: Patches,
    /// Old and new offsets of the programs.
    pub(super) starts: Vec<u64>,
    pub(super) growth: SizeDelta,
    /// Programs that could not be relocated, by offset, with the reason.
    pub(super) left_out: Vec<(usize, Unsupported)>,
}

/// The programs of the section. Returns an error if their lengths do not add up.
pub(super) fn programs(data: &[u8]) -> Result<Vec<Program<'_>>> {
    let mut cursor = Cursor::new(data, 0);
    let mut programs = Vec::new();
    while !cursor.eof() {
        let start = cursor.at;
        let (length, offset_size) = cursor.unit_length()?;
        let end = cursor.end_of(length)?;
        let header = Header::read(&data[..end], cursor.at, offset_size);
        programs.push(Program { data, start, end, offset_size, header });
        cursor.at = end;
        cursor.expect_few(programs.len())?;
    }
    Ok(programs)
}

impl<'a> Header<'a> {
    fn read(data: &'a [u8], at: usize, offset_size: u8) -> Result<Self> {
        let mut cursor = Cursor::new(data, at);
        let version = cursor.u16()?;
        if !matches!(version, 2..=5) {
            return cursor.fail("an unknown version");
        }
        if version >= 5 {
            cursor.skip(2)?; // sizes of addresses and of segments
        }
        let length = cursor.number(offset_size)?;
        let opcodes = cursor.end_of(length)?;
        let shortest = cursor.u8()?;
        let most = if version >= 4 { cursor.u8()? } else { 1 };
        cursor.skip(2)?; // default_is_stmt, line_base
        let (line_range, opcode_base) = (cursor.u8()?, cursor.u8()?);
        if shortest != 1 || most > 1 || line_range == 0 {
            return cursor.fail("a minimum instruction length other than 1");
        }
        let operands = cursor.bytes(u64::from(opcode_base.saturating_sub(1)))?;
        if operands.get(usize::from(ADVANCE_PC) - 1) != Some(&1) || cursor.at > opcodes {
            return cursor.fail("non-standard lengths of the standard opcodes");
        }
        Ok(Header { opcodes, opcode_base, line_range, operands })
    }
}

impl Program<'_> {
    /// Executes the opcodes.
    fn walk(&self, header: &Header<'_>, mut act: impl FnMut(Op) -> Result<()>) -> Result<()> {
        let mut cursor = Cursor::new(&self.data[..self.end], header.opcodes);
        while !cursor.eof() {
            let at = cursor.at;
            let opcode = cursor.u8()?;
            let advance = |opcode: u8| u64::from((opcode - header.opcode_base) / header.line_range);
            if opcode >= header.opcode_base {
                act(Op::Row { at, advance: advance(opcode), last: false })?;
                continue;
            }
            match opcode {
                0 => {
                    let length = cursor.uleb()?;
                    let end = cursor.end_of(length)?;
                    if length > 0 {
                        match cursor.u8()? {
                            1 => act(Op::Row { at, advance: 0, last: true })?,
                            SET_ADDRESS => {
                                let (at, width) = (cursor.at, (end - cursor.at) as u64);
                                if !matches!(width, 4 | 8) {
                                    return cursor.fail("an unsupported address size");
                                }
                                let address = cursor.number(width as u8)?;
                                act(Op::Set { at, width: width as u8, address })?;
                            }
                            _ => {}
                        }
                    }
                    cursor.at = end;
                }
                1 => act(Op::Row { at, advance: 0, last: false })?,
                ADVANCE_PC => act(Op::Advance(cursor.uleb()?))?,
                3..=5 | 12 => cursor.skip_leb()?,
                6 | 7 | 10 | 11 => {}
                8 => act(Op::Advance(advance(255)))?,
                9 => act(Op::Advance(cursor.number(2)?))?,
                other => {
                    for _ in 0..header.operands[usize::from(other) - 1] {
                        cursor.skip_leb()?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The bodies that have a row before their first operator.
    fn openings(&self, addresses: &Addresses<'_>) -> Vec<usize> {
        let Ok(header) = &self.header else { return Vec::new() };
        let (mut address, mut alive, mut near) = (0u64, true, 0);
        let mut found = Vec::new();
        // A program that cannot be read to its end is dropped, so this result does not matter.
        let _ = self.walk(header, |op| {
            match op {
                Op::Advance(by) => address = address.wrapping_add(by),
                Op::Set { width, address: set, .. } => {
                    alive = !is_tombstone(set, width);
                    address = set;
                }
                Op::Row { advance, last, .. } => {
                    address = address.wrapping_add(advance);
                    if alive && !last {
                        found.extend(addresses.opening(address, &mut near));
                    }
                    if last {
                        (address, alive) = (0, true);
                    }
                }
            }
            Ok(())
        });
        found.dedup();
        found
    }

    /// The patches by which every row gets its relocated address.
    fn relocate(&self, addresses: &Addresses<'_>) -> Result<Patches> {
        let header = self.header.as_ref().map_err(Unsupported::clone)?;
        let mut patches = Patches::default();
        // The address of the program before and after relocation.
        let (mut old, mut new, mut alive, mut width, mut near) = (0u64, 0u64, true, 4, 0);
        self.walk(header, |op| {
            match op {
                Op::Advance(by) => (old, new) = (old.wrapping_add(by), new.wrapping_add(by)),
                Op::Set { at, width: size, address } => {
                    width = size;
                    alive = !is_tombstone(address, size);
                    let moved = if alive { addresses.map(address, &mut near) } else { address };
                    if moved > highest(size) {
                        return Err(Unsupported { at, what: "no room to relocate an address" });
                    }
                    if moved != address {
                        patches.fixed(at, size, moved);
                    }
                    (old, new) = (address, moved);
                }
                Op::Row { at, advance, last } => {
                    old = old.wrapping_add(advance) & highest(width);
                    new = new.wrapping_add(advance) & highest(width);
                    if alive && old != 0 {
                        let moved = addresses.map(old, &mut near);
                        match moved.checked_sub(new) {
                            Some(0) => {}
                            Some(more) => patches.instruction(at, ADVANCE_PC, more),
                            // The address decreased, which wraps.
                            None => {
                                let set = moved.wrapping_sub(advance) & highest(width);
                                let mut bytes = vec![0, width + 1, SET_ADDRESS];
                                bytes.extend_from_slice(&set.to_le_bytes()[..usize::from(width)]);
                                patches.replace(at, 0, bytes);
                            }
                        }
                        if moved > highest(width) {
                            return Err(Unsupported { at, what: "no room to relocate an address" });
                        }
                        new = moved;
                    }
                    if last {
                        (old, new, alive) = (0, 0, true);
                    }
                }
            }
            Ok(())
        })?;
        Ok(patches)
    }

    /// Patches that remove all rows, if none can be relocated. The files stay if they can be read.
    fn emptied(&self) -> Patches {
        let mut patches = Patches::default();
        match &self.header {
            Ok(header) => patches.replace(header.opcodes, self.end - header.opcodes, Vec::new()),
            Err(_) => {
                // Version 4, without files.
                let body = [
                    1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, // as LLVM begins it
                ];
                let mut bytes = vec![4, 0];
                bytes.extend_from_slice(&(body.len() as u64).to_le_bytes()[..usize::from(self.offset_size)]);
                bytes.extend_from_slice(&body);
                let header = self.start + self.length_field();
                patches.replace(header, self.end - header, bytes);
            }
        }
        patches
    }

    /// Size of the field with the program's length.
    fn length_field(&self) -> usize {
        if self.offset_size == 8 { 12 } else { 4 }
    }
}

/// Finds the bodies that have a row before their first operator.
pub(super) fn open(programs: &[Program<'_>], addresses: &mut Addresses<'_>) {
    let lengths = programs.iter().map(|p| p.end - p.start);
    let found = crate::parallel::map_each(lengths, |program| programs[program].openings(addresses));
    found.into_iter().flatten().for_each(|body| addresses.open(body));
}

/// Relocates all programs.
pub(super) fn relocate(programs: &[Program<'_>], addresses: &Addresses<'_>) -> Lines {
    let mut lines = Lines::default();
    let lengths = programs.iter().map(|p| p.end - p.start);
    let relocated = crate::parallel::map_each(lengths, |program| programs[program].relocate(addresses));
    for (program, result) in programs.iter().zip(relocated) {
        let mut patches = result.unwrap_or_else(|e| {
            lines.left_out.push((program.start, e));
            program.emptied()
        });
        patches.settle().expect("the changes of a program come one after the other");
        let length = (program.end - program.start - program.length_field()) as u64;
        let longer = length.wrapping_add_signed(patches.growth().total());
        if longer != length {
            patches.fixed(
                program.start + program.length_field() - usize::from(program.offset_size),
                program.offset_size,
                longer,
            );
        }
        lines.starts.push(program.start as u64);
        lines.patches.append(patches);
    }
    lines.patches.settle().expect("programs do not overlap");
    lines.growth = lines.patches.growth();
    lines
}
