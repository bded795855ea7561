//! The tables of lists in DWARF 5.

use super::cursor::{Cursor, Result};
use crate::relocate::patch::{Patches, SizeDelta};

/// A table of lists in DWARF 5: a header, offsets of lists, and the lists.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) offset_size: u8,
    /// Start of the offsets, which they count from.
    pub(super) base: usize,
    pub(super) count: usize,
}

impl Table {
    pub(super) fn lists(&self) -> usize {
        self.base + self.count * usize::from(self.offset_size)
    }
}

/// The tables of `.debug_rnglists` or `.debug_loclists`.
pub(super) fn tables(data: &[u8]) -> Result<Vec<Table>> {
    let mut cursor = Cursor::new(data, 0);
    let mut tables = Vec::new();
    while !cursor.eof() {
        let start = cursor.at;
        let (length, offset_size) = cursor.unit_length()?;
        let end = cursor.end_of(length)?;
        let version = cursor.u16()?;
        let address_size = cursor.u8()?;
        let segment_size = cursor.u8()?;
        let count = cursor.number(4)? as usize;
        if version != 5 || !matches!(address_size, 4 | 8) || segment_size != 0 {
            return cursor.fail("a table of an unknown kind");
        }
        let table = Table { start, end, offset_size, base: cursor.at, count };
        if table.lists() > end {
            return cursor.fail("a table is shorter than its offsets");
        }
        tables.push(table);
        cursor.at = end;
    }
    Ok(tables)
}

/// Updates the lengths of tables and their offsets if lists have grown.
pub(super) fn settle_tables(data: &[u8], tables: &[Table], growth: &SizeDelta, patches: &mut Patches) -> Result<()> {
    for table in tables {
        let length_field = if table.offset_size == 8 { 12 } else { 4 };
        let length = (table.end - table.start - length_field) as u64;
        let longer = growth.of(table.end as u64) - growth.of(table.start as u64) - length_field as u64;
        if longer == length {
            continue;
        }
        let at = table.start + length_field - usize::from(table.offset_size);
        patches.fixed(at, table.offset_size, longer);
        let mut cursor = Cursor::new(data, table.base);
        for _ in 0..table.count {
            let at = cursor.at;
            let offset = cursor.number(table.offset_size)?;
            // An unused offset may have any value.
            if offset < (table.end - table.base) as u64 {
                let base = table.base as u64;
                let moved = growth.of(base + offset) - growth.of(base);
                if moved != offset {
                    patches.fixed(at, table.offset_size, moved);
                }
            }
        }
    }
    Ok(())
}
