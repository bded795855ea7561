//! The headers of units.

use super::abbrev::Encoding;
use super::cursor::{Cursor, Result};
use super::sections::Name;

/// The header of a unit.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// `.debug_info`, or `.debug_types` of DWARF 4.
    pub(super) section: Name,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) offset_size: u8,
    pub(super) rest: Result<Rest>,
}

/// The part of the header that depends on the version.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    pub(super) encoding: Encoding,
    pub(super) abbrevs: u64,
    /// Position of the id that a skeleton shares with its split unit.
    pub(super) dwo_id: Option<usize>,
    /// Offset of the entries.
    pub(super) entries: usize,
}

/// The units of a section. Returns an error if their lengths do not add up.
pub(super) fn headers(data: &[u8], section: Name) -> Result<Vec<Header>> {
    let mut cursor = Cursor::new(data, 0);
    let mut headers = Vec::new();
    while !cursor.eof() {
        let start = cursor.at;
        let (length, offset_size) = cursor.unit_length()?;
        let end = cursor.end_of(length)?;
        let rest = Rest::read(&mut Cursor::new(&data[..end], cursor.at), section, offset_size);
        headers.push(Header { section, start, end, offset_size, rest });
        cursor.at = end;
        cursor.expect_few(headers.len())?;
    }
    Ok(headers)
}

impl Rest {
    fn read(cursor: &mut Cursor<'_>, section: Name, offset_size: u8) -> Result<Rest> {
        let version = cursor.u16()?;
        let (kind, address_size, abbrevs) = match version {
            2..=4 => {
                let abbrevs = cursor.number(offset_size)?;
                (if section == Name::Types { 2 } else { 1 }, cursor.u8()?, abbrevs)
            }
            5 => (cursor.u8()?, cursor.u8()?, cursor.number(offset_size)?),
            _ => return cursor.fail("an unknown version"),
        };
        if !matches!(address_size, 4 | 8) {
            return cursor.fail("an unsupported address size");
        }
        let at = cursor.at;
        match kind {
            1 | 3 => {}
            2 | 6 => cursor.skip(8 + u64::from(offset_size))?, // signature, offset of the type
            4 | 5 => cursor.skip(8)?,
            _ => return cursor.fail("a unit of an unknown kind"),
        }
        let dwo_id = (kind == 4).then_some(at);
        let encoding = Encoding { version, address_size, offset_size };
        Ok(Rest { encoding, abbrevs, dwo_id, entries: cursor.at })
    }
}
