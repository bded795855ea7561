//! Locations that are pointers: values of template parameters, as LLVM writes them. In WebAssembly, a pointer to data
//! is a memory address, which does not move; a pointer to a function is a code address, which does. They look the same
//! in the expression and in `.debug_addr`.

use super::abbrev::dw;
use super::cursor::{Cursor, Result, Unsupported};
use super::units::Unit;
use crate::relocate::addresses::highest;

impl Unit<'_> {
    /// Relocates a location that is a pointer (the value of a template parameter, as LLVM writes it). Addresses of data
    /// do not move, those of functions do, and only the type distinguishes them.
    pub(super) fn address_of(&mut self, at: usize, expression: &[u8], ty: Option<u64>) -> Result<()> {
        let size = self.encoding.address_size;
        let mut operand = Cursor::new(expression, 1);
        let in_place = expression[0] == 0x03;
        let (index, address) = if in_place {
            (0, operand.number(size)?)
        } else {
            let index = operand.uleb()?;
            (index, self.pooled(index)?.1)
        };
        if operand.at + 1 != expression.len() || self.is_tombstone(address) {
            return Ok(());
        }
        match self.points_to_code(ty) {
            Some(true) if in_place => self.patch(at + 1, size, address, |unit| unit.moved(address)),
            Some(true) => self.pooled_code(index).map(|_| ()),
            Some(false) => Ok(()),
            // If it is a function, it would point to another one. A tombstone points to nothing.
            None if self.context.addresses.begins_a_body(address) && in_place => {
                self.out.entries.fixed(at + 1, size, highest(size));
                Ok(())
            }
            None if self.context.addresses.begins_a_body(address) => {
                Err(Unsupported { at, what: "an address that may point to code or to data" })
            }
            None => Ok(()),
        }
    }

    /// Whether the type at that offset of the unit leads to a function type; `None` if it leads out of the unit.
    fn points_to_code(&self, ty: Option<u64>) -> Option<bool> {
        let mut next = ty?;
        for _ in 0..16 {
            let at = self.header.start.checked_add(usize::try_from(next).ok()?)?;
            let mut cursor = Cursor::new(self.data(), at);
            let abbrev = self.abbrevs.get(cursor.uleb().ok()?)?;
            if abbrev.tag == dw::TAG_SUBROUTINE_TYPE {
                return Some(true);
            }
            if !dw::TAGS_OF_TYPES.contains(&abbrev.tag) {
                return Some(false);
            }
            let mut found = None;
            for step in &abbrev.steps {
                let step = step.resolved(abbrev.tag, &mut cursor).ok()?;
                if let Some((dw::AT_TYPE, form)) = step.attribute() {
                    found = Some(self.reference(form, &mut cursor.clone()).ok()?);
                }
                step.skip(&mut cursor, self.encoding).ok()?;
            }
            match found {
                Some(further) => next = further?,
                // A pointer to void points to data.
                None => return Some(false),
            }
        }
        None
    }

    /// Reads a reference to an entry of the same unit.
    pub(super) fn reference(&self, form: u64, cursor: &mut Cursor<'_>) -> Result<Option<u64>> {
        Ok(match form {
            dw::FORM_REF1 => Some(cursor.number(1)?),
            dw::FORM_REF2 => Some(cursor.number(2)?),
            dw::FORM_REF4 => Some(cursor.number(4)?),
            dw::FORM_REF8 => Some(cursor.number(8)?),
            dw::FORM_REF_UDATA => Some(cursor.uleb()?),
            _ => None,
        })
    }
}
