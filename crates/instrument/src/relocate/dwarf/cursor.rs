//! Reading debug information: numbers of fixed and of variable width, little-endian as everything in a module is.

/// Why a part of the debug information cannot be relocated: where in its section, and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unsupported {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

pub(super) type Result<T, E = Unsupported> = std::result::Result<T, E>;

/// A place in a section.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    data: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `data` from `at` on; offsets are those in `data`, so that its end is where reading ends.
    pub(super) fn new(data: &'a [u8], at: usize) -> Self {
        Cursor { data, at }
    }

    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T> {
        Err(Unsupported { at: self.at, what })
    }

    /// That there are not more units or programs than a compiler would make of so much data: what is kept of each takes more than
    /// the shortest do.
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

    /// An unsigned number of that many bytes, eight at most.
    pub(super) fn number(&mut self, width: u8) -> Result<u64> {
        let bytes = self.bytes(u64::from(width))?;
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Ok(u64::from_le_bytes(wide))
    }

    /// An unsigned LEB128, padded or not.
    pub(super) fn uleb(&mut self) -> Result<u64> {
        let (mut value, mut shift) = (0u64, 0);
        loop {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            match shift {
                0..63 => value |= bits << shift,
                63 if bits <= 1 => value |= bits << shift,
                _ if bits == 0 => {}
                _ => return self.fail("a number of more than 64 bits"),
            }
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift = (shift + 7).min(64);
        }
    }

    /// Steps over a LEB128 of either kind.
    pub(super) fn skip_leb(&mut self) -> Result<()> {
        while self.u8()? & 0x80 != 0 {}
        Ok(())
    }

    /// Bytes up to a zero, which is stepped over.
    pub(super) fn text(&mut self) -> Result<&'a [u8]> {
        let rest = self.data.get(self.at..).unwrap_or_default();
        match rest.iter().position(|b| *b == 0) {
            Some(len) => {
                self.at += len + 1;
                Ok(&rest[..len])
            }
            None => self.fail("a text without an end"),
        }
    }

    /// The length that units and tables begin with: it, and the width of offsets in what follows. Reads to where the length
    /// counts from.
    pub(super) fn unit_length(&mut self) -> Result<(u64, u8)> {
        match self.number(4)? {
            0xffff_ffff => Ok((self.number(8)?, 8)),
            length @ ..0xffff_fff0 => Ok((length, 4)),
            _ => self.fail("a length of an unknown kind"),
        }
    }

    /// The end of a unit of that length that begins here.
    pub(super) fn end_of(&self, length: u64) -> Result<usize> {
        let room = self.data.len().saturating_sub(self.at);
        match usize::try_from(length) {
            Ok(length) if length <= room => Ok(self.at + length),
            _ => self.fail("a unit is longer than its section"),
        }
    }
}
