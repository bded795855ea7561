//! Abbreviation tables: attributes and forms of entries. Each table is read once, and everything that relocation does
//! not need is merged into steps over it.

use super::cursor::{Cursor, Result};

/// The properties of a unit that determine sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Encoding {
    pub(super) version: u16,
    pub(super) address_size: u8,
    pub(super) offset_size: u8,
}

/// Numbers of attributes, tags and forms (DWARF 5, chapter 7.5; GNU's for DWARF 4).
pub(super) mod dw {
    pub(crate) const TAG_COMPILE_UNIT: u64 = 0x11;
    pub(crate) const TAG_TYPE_UNIT: u64 = 0x41;
    pub(crate) const TAG_SUBPROGRAM: u64 = 0x2e;
    pub(crate) const TAG_VARIABLE: u64 = 0x34;
    pub(crate) const TAG_TEMPLATE_VALUE: u64 = 0x30;
    pub(crate) const TAG_SUBROUTINE_TYPE: u64 = 0x15;
    /// Tags of types that lead from a variable's type to what it points to.
    pub(crate) const TAGS_OF_TYPES: [u64; 9] = [0x0f, 0x10, 0x16, 0x1f, 0x26, 0x35, 0x37, 0x42, 0x47];

    pub(crate) const AT_NAME: u64 = 0x03;
    pub(crate) const AT_PRODUCER: u64 = 0x25;
    pub(crate) const AT_STMT_LIST: u64 = 0x10;
    pub(crate) const AT_LOW_PC: u64 = 0x11;
    pub(crate) const AT_HIGH_PC: u64 = 0x12;
    pub(crate) const AT_START_SCOPE: u64 = 0x2c;
    pub(crate) const AT_LOCATION: u64 = 0x02;
    pub(crate) const AT_MACRO_INFO: u64 = 0x43;
    pub(crate) const AT_TYPE: u64 = 0x49;
    pub(crate) const AT_ENTRY_PC: u64 = 0x52;
    pub(crate) const AT_RANGES: u64 = 0x55;
    pub(crate) const AT_STR_OFFSETS_BASE: u64 = 0x72;
    pub(crate) const AT_ADDR_BASE: u64 = 0x73;
    pub(crate) const AT_RNGLISTS_BASE: u64 = 0x74;
    pub(crate) const AT_DWO_NAME: u64 = 0x76;
    pub(crate) const AT_MACROS: u64 = 0x79;
    pub(crate) const AT_LOCLISTS_BASE: u64 = 0x8c;
    pub(crate) const AT_GNU_MACROS: u64 = 0x2119;
    pub(crate) const AT_GNU_DWO_NAME: u64 = 0x2130;
    pub(crate) const AT_GNU_DWO_ID: u64 = 0x2131;
    pub(crate) const AT_GNU_RANGES_BASE: u64 = 0x2132;
    pub(crate) const AT_GNU_ADDR_BASE: u64 = 0x2133;

    pub(crate) const FORM_ADDR: u64 = 0x01;
    pub(crate) const FORM_BLOCK2: u64 = 0x03;
    pub(crate) const FORM_BLOCK4: u64 = 0x04;
    pub(crate) const FORM_DATA2: u64 = 0x05;
    pub(crate) const FORM_DATA4: u64 = 0x06;
    pub(crate) const FORM_DATA8: u64 = 0x07;
    pub(crate) const FORM_STRING: u64 = 0x08;
    pub(crate) const FORM_BLOCK: u64 = 0x09;
    pub(crate) const FORM_BLOCK1: u64 = 0x0a;
    pub(crate) const FORM_DATA1: u64 = 0x0b;
    pub(crate) const FORM_SDATA: u64 = 0x0d;
    pub(crate) const FORM_STRP: u64 = 0x0e;
    pub(crate) const FORM_UDATA: u64 = 0x0f;
    pub(crate) const FORM_REF1: u64 = 0x11;
    pub(crate) const FORM_REF2: u64 = 0x12;
    pub(crate) const FORM_REF4: u64 = 0x13;
    pub(crate) const FORM_REF8: u64 = 0x14;
    pub(crate) const FORM_REF_UDATA: u64 = 0x15;
    pub(crate) const FORM_INDIRECT: u64 = 0x16;
    pub(crate) const FORM_SEC_OFFSET: u64 = 0x17;
    pub(crate) const FORM_EXPRLOC: u64 = 0x18;
    pub(crate) const FORM_STRX: u64 = 0x1a;
    pub(crate) const FORM_ADDRX: u64 = 0x1b;
    pub(crate) const FORM_LINE_STRP: u64 = 0x1f;
    pub(crate) const FORM_IMPLICIT_CONST: u64 = 0x21;
    pub(crate) const FORM_LOCLISTX: u64 = 0x22;
    pub(crate) const FORM_RNGLISTX: u64 = 0x23;
    pub(crate) const FORM_STRX1: u64 = 0x25;
    pub(crate) const FORM_STRX4: u64 = 0x28;
    pub(crate) const FORM_ADDRX1: u64 = 0x29;
    pub(crate) const FORM_ADDRX4: u64 = 0x2c;
    pub(crate) const FORM_GNU_ADDR_INDEX: u64 = 0x1f01;
    pub(crate) const FORM_GNU_STR_INDEX: u64 = 0x1f02;
}

/// A step through the data of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Over that many bytes.
    Over(u32),
    /// Over an attribute of variable size.
    Skip { form: u64 },
    /// An attribute that relocation needs.
    Look { attribute: u64, form: u64 },
}

impl Step {
    /// Resolves an indirect form, which is read from the entry.
    pub(super) fn resolved(self, tag: u64, cursor: &mut Cursor<'_>) -> Result<Step> {
        let Step::Look { attribute, form: dw::FORM_INDIRECT } = self else { return Ok(self) };
        match cursor.uleb()? {
            // A chain of indirect forms would be unbounded, and the value of an implicit constant is in the
            // abbreviation.
            dw::FORM_INDIRECT | dw::FORM_IMPLICIT_CONST => cursor.fail("a form that is not valid here"),
            form if is_looked_at(tag, attribute, form) => Ok(Step::Look { attribute, form }),
            form => Ok(Step::Skip { form }),
        }
    }

    /// The attribute and its form, if relocation needs it.
    pub(super) fn attribute(self) -> Option<(u64, u64)> {
        match self {
            Step::Look { attribute, form } => Some((attribute, form)),
            _ => None,
        }
    }

    /// Skips the data of the step.
    pub(super) fn skip(self, cursor: &mut Cursor<'_>, encoding: Encoding) -> Result<()> {
        match self {
            Step::Over(size) => cursor.skip(u64::from(size)),
            Step::Skip { form } | Step::Look { form, .. } => skip(cursor, form, encoding),
        }
    }
}

/// An abbreviation.
#[derive(Debug)]
pub(super) struct Abbrev {
    code: u64,
    pub(super) tag: u64,
    pub(super) steps: Vec<Step>,
}

/// The abbreviations of a unit.
#[derive(Debug)]
pub(super) struct Abbrevs {
    /// By ascending code.
    list: Vec<Abbrev>,
}

impl Abbrevs {
    /// Reads the table at `at`, and returns its length too.
    pub(super) fn read(section: &[u8], at: usize, encoding: Encoding) -> (Result<Abbrevs>, usize) {
        let mut cursor = Cursor::new(section, at);
        let table = Self::read_table(&mut cursor, encoding);
        (table, cursor.at - at.min(cursor.at))
    }

    fn read_table(cursor: &mut Cursor<'_>, encoding: Encoding) -> Result<Abbrevs> {
        let mut list = Vec::new();
        loop {
            let code = cursor.uleb()?;
            if code == 0 {
                break;
            }
            let tag = cursor.uleb()?;
            cursor.skip(1)?; // whether it has children
            let mut steps = Vec::new();
            loop {
                let (attribute, form) = (cursor.uleb()?, cursor.uleb()?);
                if form == dw::FORM_IMPLICIT_CONST {
                    cursor.skip_leb()?;
                }
                match (attribute, form) {
                    (0, 0) => break,
                    _ if is_looked_at(tag, attribute, form) => steps.push(Step::Look { attribute, form }),
                    _ => match (fixed_size(form, encoding), steps.last_mut()) {
                        (Some(size), Some(Step::Over(over))) => *over = over.saturating_add(size),
                        (Some(size), _) => steps.push(Step::Over(size)),
                        (None, _) => steps.push(Step::Skip { form }),
                    },
                }
            }
            list.push(Abbrev { code, tag, steps });
        }
        list.sort_by_key(|a| a.code);
        if list.windows(2).any(|pair| pair[0].code == pair[1].code) {
            return cursor.fail("two abbreviations with the same code");
        }
        Ok(Abbrevs { list })
    }

    pub(super) fn get(&self, code: u64) -> Option<&Abbrev> {
        // Codes are usually 1, 2, 3, … but need not be.
        let index = usize::try_from(code.wrapping_sub(1)).ok()?;
        if let Some(abbrev) = self.list.get(index).filter(|a| a.code == code) {
            return Some(abbrev);
        }
        self.list.binary_search_by_key(&code, |a| a.code).ok().map(|found| &self.list[found])
    }
}

fn is_looked_at(tag: u64, attribute: u64, form: u64) -> bool {
    match form {
        // Every attribute of the class address is a code address.
        dw::FORM_ADDR | dw::FORM_ADDRX | dw::FORM_ADDRX1..=dw::FORM_ADDRX4 | dw::FORM_GNU_ADDR_INDEX => return true,
        // Lists, and offsets of other kinds.
        dw::FORM_SEC_OFFSET | dw::FORM_LOCLISTX | dw::FORM_RNGLISTX | dw::FORM_INDIRECT => return true,
        _ => {}
    }
    match attribute {
        dw::AT_HIGH_PC
        | dw::AT_ENTRY_PC
        | dw::AT_RANGES
        | dw::AT_STMT_LIST
        | dw::AT_START_SCOPE
        | dw::AT_MACRO_INFO
        | dw::AT_MACROS
        | dw::AT_GNU_MACROS
        | dw::AT_DWO_NAME
        | dw::AT_GNU_DWO_NAME
        | dw::AT_GNU_DWO_ID => true,
        // In DWARF 2 and 3, location lists are numbers of 4 or 8 bytes.
        _ if takes_location(attribute) && matches!(form, dw::FORM_DATA4 | dw::FORM_DATA8) => true,
        dw::AT_LOCATION | dw::AT_TYPE if matches!(tag, dw::TAG_VARIABLE | dw::TAG_TEMPLATE_VALUE) => true,
        dw::AT_TYPE => dw::TAGS_OF_TYPES.contains(&tag),
        dw::AT_NAME | dw::AT_PRODUCER => matches!(tag, dw::TAG_COMPILE_UNIT | 0x3c | 0x4a),
        _ => false,
    }
}

/// Attributes of the class loclist (DWARF 5, table 7.5).
pub(super) fn takes_location(attribute: u64) -> bool {
    // location, string_length, return_addr, data_member_location, frame_base, segment, static_link, use_location,
    // vtable_elem_location
    matches!(attribute, 0x02 | 0x19 | 0x2a | 0x38 | 0x40 | 0x46 | 0x48 | 0x4a | 0x4d)
}

/// The size of a form in bytes, if it is fixed.
fn fixed_size(form: u64, encoding: Encoding) -> Option<u32> {
    let offset = u32::from(encoding.offset_size);
    Some(match form {
        dw::FORM_ADDR => u32::from(encoding.address_size),
        dw::FORM_DATA1 | 0x0c /* flag */ | dw::FORM_REF1 | dw::FORM_STRX1 | dw::FORM_ADDRX1 => 1,
        dw::FORM_DATA2 | dw::FORM_REF2 | 0x26 /* strx2 */ | 0x2a /* addrx2 */ => 2,
        0x27 /* strx3 */ | 0x2b /* addrx3 */ => 3,
        dw::FORM_DATA4 | dw::FORM_REF4 | dw::FORM_STRX4 | dw::FORM_ADDRX4 | 0x1c /* ref_sup4 */ => 4,
        dw::FORM_DATA8 | dw::FORM_REF8 | 0x20 /* ref_sig8 */ | 0x24 /* ref_sup8 */ => 8,
        0x1e /* data16 */ => 16,
        0x19 /* flag_present */ | dw::FORM_IMPLICIT_CONST => 0,
        // An address in DWARF 2, an offset from version 3 on.
        0x10 /* ref_addr */ if encoding.version == 2 => u32::from(encoding.address_size),
        dw::FORM_STRP | 0x10 | dw::FORM_SEC_OFFSET | 0x1d /* strp_sup */ | dw::FORM_LINE_STRP => offset,
        0x1f20 /* GNU_ref_alt */ | 0x1f21 /* GNU_strp_alt */ => offset,
        _ => return None,
    })
}

/// Skips an attribute of any form.
fn skip(cursor: &mut Cursor<'_>, form: u64, encoding: Encoding) -> Result<()> {
    if let Some(size) = fixed_size(form, encoding) {
        return cursor.skip(u64::from(size));
    }
    match form {
        dw::FORM_STRING => cursor.text().map(|_| ()),
        dw::FORM_BLOCK | dw::FORM_BLOCK1 | dw::FORM_BLOCK2 | dw::FORM_BLOCK4 | dw::FORM_EXPRLOC => {
            block(cursor, form).map(|_| ())
        }
        dw::FORM_SDATA | dw::FORM_UDATA | dw::FORM_REF_UDATA | dw::FORM_STRX | dw::FORM_ADDRX => cursor.skip_leb(),
        dw::FORM_LOCLISTX | dw::FORM_RNGLISTX | dw::FORM_GNU_ADDR_INDEX | dw::FORM_GNU_STR_INDEX => cursor.skip_leb(),
        _ => cursor.fail("an attribute of an unknown form"),
    }
}

/// The bytes of a block or an expression.
pub(super) fn block<'a>(cursor: &mut Cursor<'a>, form: u64) -> Result<&'a [u8]> {
    let len = match form {
        dw::FORM_BLOCK1 => cursor.number(1)?,
        dw::FORM_BLOCK2 => cursor.number(2)?,
        dw::FORM_BLOCK4 => cursor.number(4)?,
        _ => cursor.uleb()?,
    };
    cursor.bytes(len)
}
