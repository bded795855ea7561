//! Reading units of debug information in time proportional to their size.
//!
//! Units refer to tables by offset. Thousands of tiny units may refer to one huge table, or to overlapping tables, and
//! each would be read again. A one-byte entry may have any number of attributes. Compilers do none of this, so tables
//! end where the next one begins. Abbreviations are read once and have a limited number of attributes. Line tables that
//! are shared too often are ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::module::Module;
use gimli::{
    Abbreviations, AttributeValue, DebugAbbrev, DebugLine, DwarfSections, EndianSlice, Error, LittleEndian, Reader,
    Section, constants as dw,
};

pub(super) type Slice<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Dwarf<'a> = gimli::Dwarf<Slice<'a>>;
pub(super) type Unit<'a> = gimli::Unit<Slice<'a>>;

pub(super) type Header<'a> = gimli::UnitHeader<Slice<'a>>;

/// Maximum length of a path in bytes.
const LONGEST_PATH: usize = 4 << 10;

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

/// Whether an address is not a tombstone. Linkers write 0 or the highest addresses for removed code (tool-conventions,
/// "DWARF for WebAssembly"; LLVM writes -1 and -2).
pub(super) fn is_alive(address: u64) -> bool {
    address != 0 && address < 0xffff_fffe
}

pub(super) fn load<'a>(module: &Module<'a>) -> DwarfSections<Slice<'a>> {
    DwarfSections::load(|section| -> Result<_, gimli::Error> {
        let data = module.custom(section.name()).map_or(&[][..], |s| &module.bytes()[s.data.clone()]);
        Ok(Slice::new(data, LittleEndian))
    })
    .expect("loading a slice cannot fail")
}

pub(super) fn dwarf<'a>(sections: &'a DwarfSections<Slice<'a>>) -> Dwarf<'a> {
    sections.borrow(|section| *section)
}

/// The unit headers up to the first damaged one, after which the next cannot be found.
pub(super) fn headers<'a>(dwarf: &Dwarf<'a>) -> (Vec<gimli::UnitHeader<Slice<'a>>>, Option<String>) {
    let mut headers = Vec::new();
    let mut units = dwarf.units();
    loop {
        match units.next() {
            Ok(Some(header)) => headers.push(header),
            Ok(None) => return (headers, None),
            Err(e) => return (headers, Some(e.to_string())),
        }
    }
}

/// The path of a file in the unit's line program: its directory, unless that is the compilation directory, and its
/// name.
pub(super) fn file_path<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, index: u64) -> Option<Arc<str>> {
    let header = unit.line_program.as_ref()?.header();
    let file = header.file(index)?;
    let text = |value| dwarf.attr_string(unit, value).ok().filter(|text| text.len() <= LONGEST_PATH);
    let name = text(file.path_name())?.to_string_lossy();
    let name = name.trim_start_matches("./");
    let directory = (file.directory_index() != 0).then(|| file.directory(header)).flatten();
    let directory = directory.and_then(text);
    Some(match directory {
        Some(directory) if !name.starts_with('/') => {
            format!("{}/{name}", directory.to_string_lossy().trim_end_matches('/')).trim_start_matches("./").into()
        }
        _ => name.into(),
    })
}
