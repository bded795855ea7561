//! `.debug_aranges`: the address ranges of each unit's code, and of its data, which does not move but looks the same.
//! If data has the same addresses as code, as with a stack at the start of the memory, the unit's entries distinguish
//! them: code begins and ends at addresses in entries.

use std::collections::HashMap;

use super::cursor::{Cursor, Result, Unsupported};
use crate::relocate::addresses::{Addresses, highest, is_tombstone};
use crate::relocate::patch::Patches;

/// Relocates the section. `code` has the code ranges of each relocated unit, by the unit's offset.
pub(super) fn relocate(data: &[u8], code: &HashMap<u64, Code>, addresses: &Addresses<'_>) -> Result<Patches> {
    let mut patches = Patches::default();
    let mut cursor = Cursor::new(data, 0);
    let mut near = 0;
    while !cursor.eof() {
        let start = cursor.at;
        let (length, offset_size) = cursor.unit_length()?;
        let end = cursor.end_of(length)?;
        let version = cursor.u16()?;
        let unit = cursor.number(offset_size)?;
        let (size, segment_size) = (cursor.u8()?, cursor.u8()?);
        if version != 2 || !matches!(size, 4 | 8) || segment_size != 0 {
            return cursor.fail("a table of an unknown kind");
        }
        let pair = usize::from(size) * 2;
        cursor.at = start + (cursor.at - start).next_multiple_of(pair);
        if cursor.at > end {
            return cursor.fail("a table is shorter than its header");
        }
        let Some(code) = code.get(&unit) else {
            // For a dropped unit, code and data cannot be distinguished.
            patches.replace(cursor.at, end - cursor.at, vec![0; end - cursor.at]);
            cursor.at = end;
            continue;
        };
        while end - cursor.at >= pair {
            let at = cursor.at;
            let (from, length) = (cursor.number(size)?, cursor.number(size)?);
            let Some(to) = from.checked_add(length) else {
                return cursor.fail("a range that exceeds the address space");
            };
            if is_tombstone(from, size) || !code.holds(from, to) {
                continue;
            }
            let moved = addresses.map(from, &mut near);
            let longer = addresses.map(to, &mut near) - moved;
            if moved > highest(size) || longer > highest(size) {
                return Err(Unsupported { at, what: "no room to relocate an address" });
            }
            patches.fixed(at, size, moved);
            patches.fixed(at + usize::from(size), size, longer);
        }
        cursor.at = end;
    }
    Ok(patches)
}

/// The code ranges of a unit.
#[derive(Debug)]
pub(super) struct Code {
    /// Begin and end addresses from its entries, each in ascending order.
    begins: Vec<u64>,
    ends: Vec<u64>,
    /// The whole code, with adjacent ranges joined.
    joined: Vec<(u64, u64)>,
}

impl Code {
    pub(super) fn new(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.sort_unstable();
        let begins = ranges.iter().map(|(from, _)| *from).collect();
        let mut ends: Vec<u64> = ranges.iter().map(|(_, to)| *to).collect();
        ends.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (from, to) in ranges {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        Code { begins, ends, joined }
    }

    fn holds(&self, from: u64, to: u64) -> bool {
        let next = self.joined.partition_point(|(begin, _)| *begin <= from);
        let inside = next > 0 && to <= self.joined[next - 1].1;
        inside && self.begins.binary_search(&from).is_ok() && self.ends.binary_search(&to).is_ok()
    }
}
