//! State shared by all units.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::abbrev::{Abbrevs, Encoding};
use super::cursor::{Result, Unsupported};
use super::lines::Lines;
use super::sections::{Name, Sections};
use super::tables::Table;
use crate::relocate::addresses::Addresses;

/// The state shared by all units of a module.
pub(super) struct Context<'c> {
    pub(super) sections: &'c Sections<'c>,
    pub(super) addresses: &'c Addresses<'c>,
    pub(super) lines: &'c Lines,
    pub(super) abbrevs: HashMap<(u64, Encoding), Result<Abbrevs>>,
    pub(super) tables: [Result<Vec<Table>>; 2],
    /// Number of bytes of lists that were read: overlapping lists could make it far larger than the section.
    pub(super) spent: AtomicU64,
    pub(super) most: u64,
    /// Whether the code ranges of units are needed.
    pub(super) wants_code: bool,
}

impl Context<'_> {
    pub(super) fn abbrevs(&self, at: u64, encoding: Encoding) -> Result<&Abbrevs> {
        self.abbrevs[&(at, encoding)].as_ref().map_err(Unsupported::clone)
    }

    pub(super) fn tables(&self, name: Name) -> Result<&[Table]> {
        let tables = &self.tables[(name == Name::Loclists) as usize];
        tables.as_ref().map(Vec::as_slice).map_err(Unsupported::clone)
    }

    /// The new offset of the line table that began at that offset.
    pub(super) fn line_table(&self, offset: u64) -> Option<u64> {
        self.lines.starts.binary_search(&offset).is_ok().then(|| self.lines.growth.of(offset))
    }

    pub(super) fn spend(&self, bytes: u64) -> Result<()> {
        let spent = self.spent.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if spent <= self.most { Ok(()) } else { Err(OVERLAP) }
    }
}

pub(super) const OVERLAP: Unsupported = Unsupported { at: 0, what: "lists overlap" };
