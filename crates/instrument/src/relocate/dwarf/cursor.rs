//! A cursor for debug information: little-endian numbers of fixed and of variable width.

use crate::leb;

/// The reason why a part of the debug information cannot be relocated, with its offset in the section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsupported {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

pub(super) type Result<T, E = Unsupported> = std::result::Result<T, E>;

/// A position in a section.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at offset `at`. Offsets are those in `data`, whose end limits reading.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Cursor { data, at }
    }

    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(Unsupported { at: self.at, what })
    }

    /// Fails if there are more units or programs than a compiler would write into so much data: each needs more memory
    /// than its shortest encoding.
    pub(super) fn expect_few(&self, units: usize) -> Result<()> {
        const ALWAYS: usize = 10_000;
        const BYTES_OF_EACH: usize = 64;
        if units <= ALWAYS + self.data.len() / BYTES_OF_EACH { Ok(()) } else { self.fail("there are too many units") }
    }

    pub(super) fn eof(&self) -> bool {
        self.at >= self.data.len()
    }

    pub(super) fn bytes(&mut self, len: u64) -> Result<&'a [u8]> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => self.fail("the data ends too early"),
        }
    }

    pub(super) fn skip(&mut self, len: u64) -> Result<()> {
        self.bytes(len).map(|_| ())
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(self.number(2)? as u16)
    }

    /// Reads an unsigned number of that many bytes, at most eight.
    pub(super) fn number(&mut self, width: u8) -> Result<u64> {
        let bytes = self.bytes(u64::from(width))?;
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(wide))
    }

    /// Reads an unsigned LEB128, padded or not.
    pub(super) fn uleb(&mut self) -> Result<u64> {
        let bytes = self.leb()?;
        if leb::fits(bytes) { Ok(leb::value(bytes)) } else { self.fail("a number of more than 64 bits") }
    }

    /// The bytes of a LEB128, signed or unsigned.
    fn leb(&mut self) -> Result<&'a [u8]> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        match rest.iter().position(|byte| *byte < 0x80) {
            Some(last) => self.bytes(last as u64 + 1),
            None => {
                self.at = self.data.len().max(self.at);
                self.fail("the data ends too early")
            }
        }
    }

    /// Skips a LEB128, signed or unsigned.
    pub(super) fn skip_leb(&mut self) -> Result<()> {
        self.leb().map(|_| ())
    }

    /// Reads bytes up to a zero, which is skipped.
    pub(super) fn text(&mut self) -> Result<&'a [u8]> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        match rest.iter().position(|b| *b == 0) {
            Some(len) => {
                self.at += len + 1;
                Ok(&rest[..len])
            }
            None => self.fail("an unterminated string"),
        }
    }

    /// Reads the initial length of a unit or table. Returns it with the size of offsets that follow. Ends where the
    /// length counts from.
    pub(super) fn unit_length(&mut self) -> Result<(u64, u8)> {
        match self.number(4)? {
            0xffff_ffff => Ok((self.number(8)?, 8)),
            length @ ..0xffff_fff0 => Ok((length, 4)),
            _ => self.fail("a length of an unknown kind"),
        }
    }

    /// The end of a unit with that length that begins here.
    pub(super) fn end_of(&self, length: u64) -> Result<usize> {
        let room = self.data.len().saturating_sub(self.at);
        match usize::try_from(length) {
            Ok(length) if length <= room => Ok(self.at + length),
            _ => self.fail("a unit is longer than its section"),
        }
    }
}
