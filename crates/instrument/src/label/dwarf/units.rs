//! Reading units of debug information in time proportional to their size.
//!
//! Units refer to tables by offset. Thousands of tiny units may refer to one huge table, or to overlapping tables, and
//! each would be read again. A one-byte entry may have any number of attributes. Compilers do none of this, so tables
//! end where the next one begins. Abbreviations are read once and have a limited number of attributes. Line tables that
//! are shared too often are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugLine, DwarfSections, EndianSlice, Error, LittleEndian, Reader,
    Section, constants as dw,
};

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Unit<'a> = gimli::Unit<Slice<'a>>;

type Header<'a> = gimli::UnitHeader<Slice<'a>>;

/// Maximum number of attributes of an abbreviation. Compilers write about 20.
const MOST_ATTRIBUTES: usize = 200;

/// Maximum number of times that all line tables together may be read.
const MOST_SHARED: usize = 8;

/// The tables that units need.
pub(super) struct Units<'a> {
    sections: &'a DwarfSections<Slice<'a>>,
    abbreviations: BTreeMap<usize, gimli::Result<Arc<Abbreviations>>>,
    /// For each unit, the line tables up to the end of its own; empty if it has none.
    lines: Vec<&'a [u8]>,
}

impl<'a> Units<'a> {
    pub(super) fn new(sections: &'a DwarfSections<Slice<'a>>, headers: &[Header<'a>]) -> Self {
        let section = sections.debug_abbrev.reader().slice();
        let tables: BTreeSet<usize> = headers.iter().map(|header| header.debug_abbrev_offset().0).collect();
        let read = crate::parallel::map(ends(&tables, section.len()), |(start, end)| {
            let read = match most_attributes(&section[start..end]) {
                Some(0..=MOST_ATTRIBUTES) => DebugAbbrev::new(&section[..end], LittleEndian)
                    .abbreviations(gimli::DebugAbbrevOffset(start))
                    .map(Arc::new),
                _ => Err(Error::InvalidAbbreviationChildren(dw::DwChildren(0))),
            };
            (start, read)
        });
        let abbreviations = read.into_iter().collect();
        let mut units = Units { sections, abbreviations, lines: Vec::new() };

        let section = sections.debug_line.reader().slice();
        let named: Vec<Option<usize>> = headers.iter().map(|header| units.line_table(header)).collect();
        let ends: BTreeMap<usize, usize> =
            ends(&named.iter().copied().flatten().collect(), section.len()).into_iter().collect();
        let mut left = MOST_SHARED * section.len();
        let mut lines = |table: usize| {
            let end = *ends.get(&table)?;
            left = left.checked_sub(end - table)?;
            Some(&section[..end])
        };
        units.lines = named.into_iter().map(|table| table.and_then(&mut lines).unwrap_or_default()).collect();
        units
    }

    fn abbreviations(&self, header: &Header<'a>) -> gimli::Result<Arc<Abbreviations>> {
        // Offsets outside of the section have no table.
        let known = self.abbreviations.get(&header.debug_abbrev_offset().0);
        known.cloned().unwrap_or(Err(Error::MissingUnitDie))
    }

    fn line_table(&self, header: &Header<'a>) -> Option<usize> {
        let abbreviations = self.abbreviations(header).ok()?;
        let mut entries = header.entries(&abbreviations);
        match entries.next_dfs().ok()??.attr_value(dw::DW_AT_stmt_list)? {
            AttributeValue::DebugLineRef(offset) => Some(offset.0),
            _ => None,
        }
    }

    /// The unit with that header, at that position among all units.
    pub(super) fn unit(&self, place: usize, header: Header<'a>) -> gimli::Result<Unit<'a>> {
        let mut tables = self.sections.borrow(|section| *section);
        tables.debug_line = DebugLine::new(self.lines[place], LittleEndian);
        let abbreviations = self.abbreviations(&header)?;
        Unit::new_with_abbreviations(&tables, header, abbreviations)
    }
}

/// The ranges of tables, each up to the start of the next. Tables outside of the section are omitted.
fn ends(tables: &BTreeSet<usize>, section: usize) -> Vec<(usize, usize)> {
    let inside = tables.range(..=section).copied();
    let next = tables.range(..=section).copied().skip(1).chain([section]);
    inside.zip(next).collect()
}

/// The maximum number of attributes of an abbreviation in the table; `None` if the table is truncated.
fn most_attributes(table: &[u8]) -> Option<usize> {
    let mut reader = Slice::new(table, LittleEndian);
    let mut most = 0;
    loop {
        if reader.read_uleb128().ok()? == 0 {
            return Some(most);
        }
        reader.read_uleb128().ok()?; // the tag
        reader.read_u8().ok()?; // whether it has children
        let mut count = 0;
        loop {
            let (name, form) = (reader.read_uleb128().ok()?, reader.read_uleb128().ok()?);
            if (name, form) == (0, 0) {
                break;
            }
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                reader.read_sleb128().ok()?;
            }
            count += 1;
        }
        most = most.max(count);
    }
}
