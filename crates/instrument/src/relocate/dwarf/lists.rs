//! Range and location lists. Entries of `.debug_ranges` and `.debug_loc` (DWARF 2 to 4) have a fixed width and are
//! patched in place. In `.debug_rnglists` and `.debug_loclists` (DWARF 5), lengths and offsets may need more bytes. The
//! interpretation of a list depends on the unit that refers to it.

use super::cursor::{Cursor, Result, Unsupported};
use super::sections::Name;
use super::units::{Kind, OUTSIDE, Unit};
use crate::relocate::addresses::highest;

impl Unit<'_> {
    /// Relocates the list at offset `at`.
    pub(super) fn list(&mut self, kind: Kind, at: u64) -> Result<()> {
        let name = self.section_of(kind);
        if !self.seen.insert((name, at)) {
            return Ok(());
        }
        let end =
            if self.encoding.version >= 5 { self.list_of_5(kind, name, at)? } else { self.pairs(kind, name, at)? };
        self.context.spend(end as u64 - at)
    }

    /// The section of lists of that kind.
    pub(super) fn section_of(&self, kind: Kind) -> Name {
        match (self.encoding.version >= 5, kind) {
            (true, Kind::Ranges) => Name::Rnglists,
            (true, Kind::Locations) => Name::Loclists,
            (false, Kind::Ranges) => Name::Ranges,
            (false, Kind::Locations) => Name::Loc,
        }
    }

    /// Relocates a list of DWARF 2 to 4, and returns its end.
    fn pairs(&mut self, kind: Kind, name: Name, at: u64) -> Result<usize> {
        let (size, top) = (self.encoding.address_size, highest(self.encoding.address_size));
        let mut cursor = Cursor::new(self.context.sections.get(name), usize::try_from(at).unwrap_or(usize::MAX));
        let mut base = self.base;
        loop {
            let at = cursor.at;
            let (begin, end) = (cursor.number(size)?, cursor.number(size)?);
            if begin == 0 && end == 0 {
                return Ok(cursor.at);
            }
            if begin == top {
                base = end;
                if !self.is_tombstone(end) {
                    self.write(name, at + usize::from(size), size, end, |unit| unit.moved(end))?;
                }
                continue;
            }
            if kind == Kind::Locations {
                let length = cursor.number(2)?;
                cursor.skip(length)?;
            }
            // Code that the linker removed is marked in the entry itself.
            if begin == top - 1 {
                continue;
            }
            let Some((from, to)) = self.offsets(base, begin, end, kind) else { continue };
            self.write(name, at, size, begin, |_| from & top)?;
            self.write(name, at + usize::from(size), size, end, |_| to & top)?;
        }
    }

    /// Relocates offsets from a base; `None` if they are tombstones.
    fn offsets(&mut self, base: u64, begin: u64, end: u64, kind: Kind) -> Option<(u64, u64)> {
        let top = highest(self.encoding.address_size);
        let (from, to) = (base.wrapping_add(begin) & top, base.wrapping_add(end) & top);
        if self.is_tombstone(from) || base != 0 && self.is_tombstone(base) {
            return None;
        }
        if kind == Kind::Ranges {
            self.note_code(from, to);
        }
        let new_base = if base == 0 { 0 } else { self.moved(base) };
        Some((self.moved(from).wrapping_sub(new_base), self.moved(to).wrapping_sub(new_base)))
    }

    /// Relocates a list of DWARF 5, and returns its end.
    fn list_of_5(&mut self, kind: Kind, name: Name, at: u64) -> Result<usize> {
        let unfit = |at: usize| Unsupported { at, what: "a list outside of every table" };
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let tables = self.context.tables(name)?;
        let table = tables[..tables.partition_point(|t| t.start <= start)].last().ok_or_else(|| unfit(start))?;
        if start < table.lists() || start >= table.end {
            return Err(unfit(start));
        }
        let size = self.encoding.address_size;
        let mut cursor = Cursor::new(&self.context.sections.get(name)[..table.end], start);
        let mut base = self.base;
        loop {
            // Location lists have one more kind of entry in the middle of the numbering.
            let code = cursor.u8()?;
            let code = match kind {
                Kind::Ranges if code >= 5 => code.saturating_add(1),
                _ => code,
            };
            match code {
                0 => return Ok(cursor.at),
                1 => {
                    let index = cursor.uleb()?;
                    base = self.pooled_code(index)?;
                    continue;
                }
                2 => {
                    let (first, second) = (cursor.uleb()?, cursor.uleb()?);
                    let (from, to) = (self.pooled_code(first)?, self.pooled_code(second)?);
                    if kind == Kind::Ranges && !self.is_tombstone(from) {
                        self.note_code(from, to);
                    }
                }
                3 => {
                    let index = cursor.uleb()?;
                    let from = self.pooled_code(index)?;
                    self.length(kind, name, &mut cursor, from)?;
                }
                4 => {
                    let first = Leb::read(&mut cursor)?;
                    let second = Leb::read(&mut cursor)?;
                    let top = highest(size);
                    if base.checked_add(first.value.max(second.value)).is_none_or(|most| most > top) {
                        if base == 0 || !self.is_tombstone(base) {
                            self.empty(first.at, OUTSIDE);
                            self.write_leb(name, &first, 0);
                            self.write_leb(name, &second, 0);
                        }
                    } else if let Some((from, to)) = self.offsets(base, first.value, second.value, kind) {
                        // A range before its base would need a negative offset; nothing moves before it.
                        self.write_leb(name, &first, from);
                        self.write_leb(name, &second, to);
                    }
                }
                5 => {}
                6 => {
                    let at = cursor.at;
                    base = cursor.number(size)?;
                    if !self.is_tombstone(base) {
                        self.write(name, at, size, base, |unit| unit.moved(base))?;
                    }
                    continue;
                }
                7 => {
                    let at = cursor.at;
                    let (from, to) = (cursor.number(size)?, cursor.number(size)?);
                    if !self.is_tombstone(from) {
                        self.write(name, at, size, from, |unit| unit.moved(from))?;
                        self.write(name, at + usize::from(size), size, to, |unit| unit.moved(to))?;
                        if kind == Kind::Ranges {
                            self.note_code(from, to);
                        }
                    }
                }
                8 => {
                    let at = cursor.at;
                    let from = cursor.number(size)?;
                    if !self.is_tombstone(from) {
                        self.write(name, at, size, from, |unit| unit.moved(from))?;
                    }
                    self.length(kind, name, &mut cursor, from)?;
                }
                // GNU's view pairs are between entries.
                9 if kind == Kind::Locations => {
                    cursor.skip_leb()?;
                    cursor.skip_leb()?;
                    continue;
                }
                _ => return cursor.fail("an entry of an unknown kind in a list"),
            }
            if kind == Kind::Locations {
                let length = cursor.uleb()?;
                cursor.skip(length)?;
            }
        }
    }

    /// Relocates the length of a range that begins at `from`.
    fn length(&mut self, kind: Kind, name: Name, cursor: &mut Cursor<'_>, from: u64) -> Result<()> {
        let length = Leb::read(cursor)?;
        if self.is_tombstone(from) {
            return Ok(());
        }
        let Some(to) = from.checked_add(length.value).filter(|to| *to <= highest(self.encoding.address_size)) else {
            self.empty(length.at, OUTSIDE);
            self.write_leb(name, &length, 0);
            return Ok(());
        };
        if kind == Kind::Ranges {
            self.note_code(from, to);
        }
        let moved = self.moved(to) - self.moved(from);
        self.write_leb(name, &length, moved);
        Ok(())
    }

    fn write_leb(&mut self, name: Name, leb: &Leb, value: u64) {
        if value != leb.value {
            self.out.lists[name.list()].leb(leb.at, leb.width, value);
        }
    }
}

/// An unsigned LEB128 and its position.
#[derive(Debug)]
struct Leb {
    at: usize,
    width: usize,
    value: u64,
}

impl Leb {
    fn read(cursor: &mut Cursor<'_>) -> Result<Leb> {
        let at = cursor.at;
        let value = cursor.uleb()?;
        match cursor.at - at {
            width @ ..=10 => Ok(Leb { at, width, value }),
            _ => cursor.fail("a number of more than ten bytes"),
        }
    }
}
