//! Lengths of entries, which grow with the code.

use super::abbrev::dw;
use super::cursor::{Cursor, Result, Unsupported};
use super::units::{Constant, OUTSIDE, Unit};
use crate::relocate::addresses::highest;

impl Unit<'_> {
    /// Reads a length, or an offset from the entry's first address.
    pub(super) fn length_of(&self, form: u64, cursor: &mut Cursor<'_>) -> Result<Constant> {
        let at = cursor.at;
        let value = match form {
            dw::FORM_DATA1 => cursor.number(1)?,
            dw::FORM_DATA2 => cursor.number(2)?,
            dw::FORM_DATA4 => cursor.number(4)?,
            dw::FORM_DATA8 => cursor.number(8)?,
            dw::FORM_UDATA => cursor.uleb()?,
            dw::FORM_SDATA if !is_negative(cursor)? => cursor.uleb()?,
            _ => return cursor.fail("a length whose form has no room to grow"),
        };
        match cursor.at - at {
            width @ ..=10 => Ok(Constant { at, form, width: width as u8, value }),
            _ => cursor.fail("a number of more than ten bytes"),
        }
    }

    /// Updates a length.
    pub(super) fn constant(&mut self, constant: &Constant, low: Option<u64>, tag: u64) -> Result<()> {
        let Constant { at, form, width, value } = *constant;
        let Some(low) = low else {
            return Err(Unsupported { at, what: "a length without an address" });
        };
        if self.is_tombstone(low) {
            return Ok(());
        }
        let Some(end) = low.checked_add(value).filter(|end| *end <= highest(self.encoding.address_size)) else {
            self.empty(at, OUTSIDE);
            self.write_constant(constant, 0);
            return Ok(());
        };
        if tag == dw::TAG_SUBPROGRAM || tag == dw::TAG_COMPILE_UNIT {
            self.note_code(low, end);
        }
        let longer = self.moved(end) - self.moved(low);
        let bits = match form {
            dw::FORM_UDATA => u32::from(width) * 7,
            dw::FORM_SDATA => u32::from(width) * 7 - 1,
            _ => u32::from(width) * 8,
        };
        if bits < 64 && longer >> bits != 0 {
            self.empty(at, "a length that has no room to grow");
            self.write_constant(constant, 0);
        } else if longer != value {
            self.write_constant(constant, longer);
        }
        Ok(())
    }

    fn write_constant(&mut self, constant: &Constant, value: u64) {
        let Constant { at, form, width, .. } = *constant;
        match form {
            dw::FORM_UDATA | dw::FORM_SDATA => self.out.entries.leb(at, usize::from(width), value),
            _ => self.out.entries.fixed(at, width, value),
        }
    }

    /// Notes that a range covers nothing now. Linkers leave ranges behind that are impossible, and readers skip an empty
    /// range. So the rest of the unit is kept.
    pub(super) fn empty(&mut self, at: usize, what: &'static str) {
        self.out.emptied.push(Unsupported { at, what });
    }
}

/// Whether the signed number at this position is negative.
fn is_negative(cursor: &Cursor<'_>) -> Result<bool> {
    let mut last = cursor.clone();
    last.skip_leb()?;
    Ok(cursor.clone().bytes((last.at - cursor.at) as u64)?.last().is_some_and(|byte| byte & 0x40 != 0))
}
