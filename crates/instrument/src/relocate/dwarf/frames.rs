//! `.debug_frame`: call frame information. No compiler writes it for WebAssembly today. Tools that do (a virtual
//! machine, an interpreter) give functions by address and length, and advance within them by distances.

use super::cursor::{Cursor, Result, Unsupported};
use crate::relocate::addresses::{Addresses, Near, highest, is_tombstone};
use crate::relocate::patch::Patches;

/// The common part of the entries of functions.
struct Common {
    start: usize,
    address_size: u8,
}

/// An entry, with the fields to update if others grow.
struct Entry {
    start: usize,
    end: usize,
    offset_size: u8,
    /// Position and value of the pointer to its common entry.
    pointer: Option<(usize, u64)>,
}

/// Relocates the section.
pub(super) fn relocate(data: &[u8], addresses: &Addresses<'_>) -> Result<Patches> {
    let mut patches = Patches::default();
    let mut cursor = Cursor::new(data, 0);
    let mut near = 0;
    let (mut common, mut entries) = (Vec::<Common>::new(), Vec::new());
    while !cursor.eof() {
        let start = cursor.at;
        let (length, offset_size) = cursor.unit_length()?;
        let end = cursor.end_of(length)?;
        let mut entry = Entry { start, end, offset_size, pointer: None };
        let mut inner = Cursor::new(&data[..end], cursor.at);
        let at = inner.at;
        let id = inner.number(offset_size)?;
        if id == highest(offset_size) {
            common.push(Common { start, address_size: read_common(&mut inner)? });
        } else {
            let Ok(of) = common.binary_search_by_key(&id, |c| c.start as u64) else {
                return inner.fail("an entry that precedes its common entry");
            };
            entry.pointer = Some((at, id));
            function(&mut inner, common[of].address_size, addresses, &mut near, &mut patches)?;
        }
        entries.push(entry);
        cursor.at = end;
    }
    settle(&entries, patches)
}

/// Reads a common entry. Fails unless distances are in bytes and everything is known. Returns the address size.
fn read_common(cursor: &mut Cursor<'_>) -> Result<u8> {
    let version = cursor.u8()?;
    if !matches!(version, 1 | 3 | 4) {
        return cursor.fail("an unknown version");
    }
    if !cursor.text()?.is_empty() {
        return cursor.fail("an unknown augmentation");
    }
    let (mut address_size, mut segment_size) = (4, 0);
    if version == 4 {
        (address_size, segment_size) = (cursor.u8()?, cursor.u8()?);
    }
    if !matches!(address_size, 4 | 8) || segment_size != 0 || cursor.uleb()? != 1 {
        return cursor.fail("an unsupported pointer encoding");
    }
    Ok(address_size)
}

/// Relocates the entry of a function.
fn function(
    cursor: &mut Cursor<'_>,
    size: u8,
    addresses: &Addresses<'_>,
    near: &mut Near,
    patches: &mut Patches,
) -> Result<()> {
    let at = cursor.at;
    let (from, length) = (cursor.number(size)?, cursor.number(size)?);
    if is_tombstone(from, size) {
        return Ok(());
    }
    let no_room = |at| Err(Unsupported { at, what: "no room to relocate an address" });
    let Some(to) = from.checked_add(length) else { return no_room(at) };
    let moved = addresses.map(from, near);
    let longer = addresses.map(to, near) - moved;
    if moved > highest(size) || longer > highest(size) {
        return no_room(at);
    }
    patches.fixed(at, size, moved);
    patches.fixed(at + usize::from(size), size, longer);

    let mut place = from;
    while !cursor.eof() {
        let at = cursor.at;
        let step = match cursor.u8()? {
            code @ 0x40..=0x7f => u64::from(code & 0x3f),
            0x02 => cursor.number(1)?,
            0x03 => cursor.number(2)?,
            0x04 => cursor.number(4)?,
            0x01 => {
                let at = cursor.at;
                place = cursor.number(size)?;
                let moved = addresses.map(place, near);
                if moved > highest(size) {
                    return no_room(at);
                }
                patches.fixed(at, size, moved);
                continue;
            }
            other => {
                operands(cursor, other)?;
                continue;
            }
        };
        let Some(next) = place.checked_add(step) else { return no_room(at) };
        let new_step = addresses.map(next, near) - addresses.map(place, near);
        place = next;
        if new_step != step {
            let code = match new_step {
                0..0x40 => vec![0x40 | new_step as u8],
                0x40..0x100 => vec![0x02, new_step as u8],
                0x100..0x1_0000 => [&[0x03], &(new_step as u16).to_le_bytes()[..]].concat(),
                _ if new_step > u64::from(u32::MAX) => return no_room(at),
                _ => [&[0x04], &(new_step as u32).to_le_bytes()[..]].concat(),
            };
            patches.replace(at, cursor.at - at, code);
        }
    }
    Ok(())
}

/// Skips the operands of an instruction that does not advance (DWARF 5, table 7.29).
fn operands(cursor: &mut Cursor<'_>, code: u8) -> Result<()> {
    let block = |cursor: &mut Cursor<'_>| {
        let length = cursor.uleb()?;
        cursor.skip(length)
    };
    match code {
        0x00 | 0x0a | 0x0b | 0xc0..=0xff => Ok(()),
        0x06..=0x08 | 0x0d | 0x0e | 0x13 | 0x80..=0xbf => cursor.skip_leb(),
        0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 => {
            cursor.skip_leb()?;
            cursor.skip_leb()
        }
        0x0f => block(cursor),
        0x10 | 0x16 => {
            cursor.skip_leb()?;
            block(cursor)
        }
        _ => cursor.fail("an unknown instruction"),
    }
}

/// Updates the lengths of entries that have grown, and the pointers to common entries.
fn settle(entries: &[Entry], mut patches: Patches) -> Result<Patches> {
    if let Err(at) = patches.settle() {
        return Err(Unsupported { at, what: "entries overlap" });
    }
    let growth = patches.growth();
    for entry in entries {
        let field = if entry.offset_size == 8 { 12 } else { 4 };
        let length = (entry.end - entry.start - field) as u64;
        let longer = growth.of(entry.end as u64) - growth.of(entry.start as u64) - field as u64;
        if longer != length {
            patches.fixed(entry.start + field - usize::from(entry.offset_size), entry.offset_size, longer);
        }
        if let Some((at, pointer)) = entry.pointer
            && growth.of(pointer) != pointer
        {
            patches.fixed(at, entry.offset_size, growth.of(pointer));
        }
    }
    Ok(patches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Insertion, OffsetMap, Place};

    #[test]
    fn steps_become_as_long_as_the_code_is_and_what_points_behind_them_follows() {
        // A body at 10 with 7 bytes before its first operator, and 60 more before its 30th byte.
        let growths = [(1, 7), (30, 60)].map(|(at, by)| Insertion { at, by, inserted: true });
        let mut map = OffsetMap::new((100, 177));
        map.push(Place { old: 10..100, new_start: 20, enter: None }, &growths);
        let common = |at: u8| [12, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 1, 0x7f, at, 0x0c, 1, 4];
        let function = |length: u8, pointer: u8, from: u8, to: u8, steps: &[u8]| {
            let fields = [length, 0, 0, 0, pointer, 0, 0, 0, from, 0, 0, 0, to, 0, 0, 0];
            [&fields[..], steps].concat()
        };
        // Steps to 20, 45 (over the sixty bytes), 50; def_cfa_offset between them, nops behind.
        let steps = [0x4a, 0x0e, 16, 0x59, 0x0e, 8, 0x02, 5, 0];
        let new_steps = [0x4a + 7, 0x0e, 16, 0x02, 25 + 60, 0x0e, 8, 0x02, 5, 0];
        let dead = function(12, 0, 0, 90, &[]);
        let old = [&common(0)[..], &function(21, 0, 10, 90, &steps), &dead, &common(1), &function(12, 57, 10, 90, &[])];
        let new =
            [&common(0)[..], &function(22, 0, 20, 157, &new_steps), &dead, &common(1), &function(12, 58, 20, 157, &[])];
        let (old, new) = (old.concat(), new.concat());
        let mut patches = relocate(&old, &Addresses::new(&map)).unwrap();
        patches.settle().unwrap();
        assert_eq!(patches.apply(&old), new);
        assert_eq!(crate::relocate::patch::restore(&new, &patches.script(&old)).unwrap(), old);
    }
}
