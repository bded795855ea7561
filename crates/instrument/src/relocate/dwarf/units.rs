//! `.debug_info` and `.debug_types`: units of entries. Addresses and lengths are patched in place, so nothing that
//! refers to these sections moves.

use std::collections::HashSet;

use super::abbrev::{Abbrevs, Encoding, Step, block, dw, takes_location};
use super::context::Context;
use super::cursor::{Cursor, Result, Unsupported};
use super::headers::Header;
use super::sections::Name;
use crate::relocate::addresses::{Near, highest, is_tombstone};
use crate::relocate::patch::Patches;

/// The kind of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ranges,
    Locations,
}

/// An offset in a unit to a section that may move.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) at: usize,
    pub(super) width: u8,
    pub(super) into: Name,
    pub(super) offset: u64,
}

/// The result of relocating a unit.
#[derive(Debug, Default)]
pub(super) struct Relocated {
    /// Patches of the section with the unit.
    pub(super) entries: Patches,
    /// Patches of the four sections of lists (see [`Name::list`]).
    pub(super) lists: [Patches; 4],
    /// Positions in `.debug_addr` that hold a code address, with its size.
    pub(super) pooled: Vec<(u32, u8)>,
    pub(super) references: Vec<Reference>,
    /// Offsets into `.debug_macro`.
    pub(super) macros: Vec<u64>,
    /// The original code ranges of the unit.
    pub(super) code: Vec<(u64, u64)>,
    /// Whether the entries of this unit are in a separate file.
    pub(super) is_skeleton: bool,
    /// Ranges that cannot be relocated. They cover nothing now.
    pub(super) emptied: Vec<Unsupported>,
}

/// A unit being walked.
pub(super) struct Unit<'c> {
    pub(super) context: &'c Context<'c>,
    pub(super) header: &'c Header,
    pub(super) abbrevs: &'c Abbrevs,
    pub(super) encoding: Encoding,
    /// The initial base of offsets in lists: the unit's first address.
    pub(super) base: u64,
    addr_base: Option<u64>,
    /// Base offsets of range lists and of location lists.
    list_bases: [Option<u64>; 2],
    near: Near,
    /// Lists that were relocated already.
    pub(super) seen: HashSet<(Name, u64)>,
    pub(super) out: Relocated,
}

/// Information about an entry that its lengths depend on.
#[derive(Default)]
struct Entry<'a> {
    low: Option<u64>,
    lengths: Vec<Constant>,
    /// A location that is an address: its position, and the rest of the expression.
    address: Option<(usize, &'a [u8])>,
    ty: Option<u64>,
}

/// A number that is a length, or an offset from the entry's first address.
pub(super) struct Constant {
    pub(super) at: usize,
    pub(super) form: u64,
    pub(super) width: u8,
    pub(super) value: u64,
}

/// The reason for emptying a range.
pub(super) const OUTSIDE: &str = "a range that exceeds the address space";

/// Maximum number of attributes for each byte of a unit. (Compilers write about one, and some that take no bytes.)
const STEPS_PER_BYTE: usize = 64;
const TOO_MANY_STEPS: &str = "far more attributes than bytes";

/// Relocates a unit.
pub(super) fn relocate(context: &Context<'_>, header: &Header) -> Result<Relocated> {
    let rest = header.rest.as_ref().map_err(Unsupported::clone)?;
    let abbrevs = context.abbrevs(rest.abbrevs, rest.encoding)?;
    let mut unit = Unit {
        context,
        header,
        abbrevs,
        encoding: rest.encoding,
        base: 0,
        addr_base: None,
        list_bases: [None; 2],
        near: 0,
        seen: HashSet::new(),
        out: Relocated::default(),
    };
    let mut cursor = Cursor::new(&context.sections.get(header.section)[..header.end], rest.entries);
    unit.read_bases(&mut cursor.clone())?;
    let mut dwo_id = rest.dwo_id;
    // Attributes may take no bytes, so their number is limited by the size of the unit.
    let mut steps = STEPS_PER_BYTE * (header.end - header.start);
    while !cursor.eof() {
        let code = cursor.uleb()?;
        if code != 0 {
            let Some(abbrev) = abbrevs.get(code) else { return cursor.fail("a missing abbreviation") };
            let Some(left) = steps.checked_sub(abbrev.steps.len()) else { return cursor.fail(TOO_MANY_STEPS) };
            steps = left;
            unit.entry(abbrev.tag, &abbrev.steps, &mut cursor, &mut dwo_id)?;
        }
    }
    if let Some(at) = dwo_id {
        // The other file describes the original. With another id, no reader matches it with this unit.
        let id = Cursor::new(context.sections.get(header.section), at).number(8)?;
        unit.out.entries.fixed(at, 8, !id);
        unit.out.is_skeleton = true;
    }
    let mut out = unit.out;
    [&mut out.entries].into_iter().chain(&mut out.lists).for_each(Patches::shrink);
    Ok(out)
}

impl<'c> Unit<'c> {
    /// The relocated address.
    pub(super) fn moved(&mut self, address: u64) -> u64 {
        self.context.addresses.map(address, &mut self.near)
    }

    pub(super) fn is_tombstone(&self, address: u64) -> bool {
        is_tombstone(address, self.encoding.address_size)
    }

    /// Adds a code range.
    pub(super) fn note_code(&mut self, from: u64, to: u64) {
        if self.context.wants_code {
            self.out.code.push((from, to));
        }
    }

    /// Updates a field of a list if it changes.
    pub(super) fn write(
        &mut self,
        name: Name,
        at: usize,
        width: u8,
        old: u64,
        new: impl FnOnce(&mut Self) -> u64,
    ) -> Result<()> {
        let value = new(self);
        if value > highest(width) {
            return Err(Unsupported { at, what: "no room to relocate an address" });
        }
        if value != old {
            self.out.lists[name.list()].fixed(at, width, value);
        }
        Ok(())
    }

    /// The code address with that index in the pool, which is relocated there.
    pub(super) fn pooled_code(&mut self, index: u64) -> Result<u64> {
        let (at, address) = self.pooled(index)?;
        if !self.is_tombstone(address) {
            self.out.pooled.push((at as u32, self.encoding.address_size));
        }
        Ok(address)
    }

    pub(super) fn pooled(&self, index: u64) -> Result<(usize, u64)> {
        let size = self.encoding.address_size;
        let at = self.addr_base.and_then(|base| base.checked_add(index.checked_mul(u64::from(size))?));
        let at = at.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        match Cursor::new(self.context.sections.get(Name::Addr), at).number(size) {
            Ok(address) => Ok((at, address)),
            Err(_) => Err(Unsupported { at, what: "an address index outside of .debug_addr" }),
        }
    }

    /// Reads the attributes of the first entry that apply to the whole unit.
    fn read_bases(&mut self, cursor: &mut Cursor<'c>) -> Result<()> {
        let code = cursor.uleb()?;
        let Some(abbrev) = self.abbrevs.get(code) else { return Ok(()) };
        if abbrev.steps.len() > STEPS_PER_BYTE * (self.header.end - self.header.start) {
            return cursor.fail(TOO_MANY_STEPS);
        }
        let mut low = None;
        for step in &abbrev.steps {
            let step = step.resolved(abbrev.tag, cursor)?;
            match step.attribute() {
                Some((dw::AT_LOW_PC, form)) => low = Some((form, cursor.at)),
                Some((attribute, dw::FORM_SEC_OFFSET)) => {
                    let offset = Some(cursor.clone().number(self.encoding.offset_size)?);
                    match attribute {
                        dw::AT_ADDR_BASE | dw::AT_GNU_ADDR_BASE => self.addr_base = offset,
                        dw::AT_RNGLISTS_BASE => self.list_bases[0] = offset,
                        dw::AT_LOCLISTS_BASE => self.list_bases[1] = offset,
                        _ => {}
                    }
                }
                _ => {}
            }
            step.skip(cursor, self.encoding)?;
        }
        if let Some((form, at)) = low {
            let (_, address) = self.address(form, &mut Cursor::new(self.data(), at))?;
            self.base = address;
        }
        Ok(())
    }

    pub(super) fn data(&self) -> &'c [u8] {
        &self.context.sections.get(self.header.section)[..self.header.end]
    }

    fn entry(&mut self, tag: u64, steps: &[Step], cursor: &mut Cursor<'c>, dwo_id: &mut Option<usize>) -> Result<()> {
        let mut entry = Entry::default();
        for step in steps {
            let step = step.resolved(tag, cursor)?;
            if let Some((attribute, form)) = step.attribute() {
                self.look(attribute, form, &mut cursor.clone(), &mut entry)?;
                if attribute == dw::AT_GNU_DWO_ID && form == dw::FORM_DATA8 {
                    *dwo_id = Some(cursor.at);
                }
            }
            step.skip(cursor, self.encoding)?;
        }
        for constant in std::mem::take(&mut entry.lengths) {
            self.constant(&constant, entry.low, tag)?;
        }
        if let Some((at, expression)) = entry.address {
            self.address_of(at, expression, entry.ty)?;
        }
        Ok(())
    }

    /// Handles an attribute.
    fn look(&mut self, attribute: u64, form: u64, cursor: &mut Cursor<'c>, entry: &mut Entry<'c>) -> Result<()> {
        let at = cursor.at;
        match form {
            dw::FORM_ADDR | dw::FORM_ADDRX | dw::FORM_ADDRX1..=dw::FORM_ADDRX4 | dw::FORM_GNU_ADDR_INDEX => {
                let (fixed, address) = self.address(form, cursor)?;
                if !self.is_tombstone(address) {
                    match fixed {
                        Some(at) => self.patch(at, self.encoding.address_size, address, |unit| unit.moved(address))?,
                        None => _ = self.pooled_code(self.index(form, &mut Cursor::new(self.data(), at))?)?,
                    }
                }
                match attribute {
                    dw::AT_LOW_PC => entry.low = Some(address),
                    dw::AT_HIGH_PC => {
                        if let Some(low) = entry.low.filter(|low| !self.is_tombstone(*low)) {
                            self.note_code(low, address);
                        }
                    }
                    _ => {}
                }
                return Ok(());
            }
            dw::FORM_RNGLISTX | dw::FORM_LOCLISTX => {
                let kind = if form == dw::FORM_RNGLISTX { Kind::Ranges } else { Kind::Locations };
                let index = cursor.uleb()?;
                let size = u64::from(self.encoding.offset_size);
                let name = self.section_of(kind);
                let base = self.list_bases[kind as usize];
                let at = base.and_then(|base| base.checked_add(index.checked_mul(size)?));
                let at = at.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
                let offset = Cursor::new(self.context.sections.get(name), at).number(size as u8)?;
                return self.list(kind, base.unwrap_or(0).saturating_add(offset));
            }
            _ => {}
        }
        let offset = match form {
            dw::FORM_SEC_OFFSET => Some(self.encoding.offset_size),
            dw::FORM_DATA4 => Some(4),
            dw::FORM_DATA8 => Some(8),
            _ => None,
        };
        match (attribute, offset) {
            (dw::AT_HIGH_PC | dw::AT_ENTRY_PC, _) => entry.lengths.push(self.length_of(form, cursor)?),
            (dw::AT_STMT_LIST, Some(width)) => {
                let value = cursor.number(width)?;
                if !self.context.sections.get(Name::Line).is_empty() {
                    let Some(moved) = self.context.line_table(value) else {
                        return Err(Unsupported { at, what: "no line table begins at the offset" });
                    };
                    self.patch(at, width, value, |_| moved)?;
                }
            }
            (dw::AT_RANGES, Some(width)) => self.list_at(Kind::Ranges, cursor, width)?,
            (dw::AT_START_SCOPE, Some(width)) if form == dw::FORM_SEC_OFFSET => {
                self.list_at(Kind::Ranges, cursor, width)?;
            }
            // From the address of a scope, which may be any of those around it.
            (dw::AT_START_SCOPE, _) => return Err(Unsupported { at, what: "a scope that begins at a constant" }),
            (dw::AT_RNGLISTS_BASE | dw::AT_LOCLISTS_BASE, Some(width)) => {
                let into = if attribute == dw::AT_RNGLISTS_BASE { Name::Rnglists } else { Name::Loclists };
                let offset = cursor.number(width)?;
                self.out.references.push(Reference { at, width, into, offset });
            }
            (dw::AT_MACROS | dw::AT_GNU_MACROS, Some(width)) => {
                let offset = cursor.number(width)?;
                self.out.macros.push(offset);
            }
            // These sections do not move.
            (
                dw::AT_STR_OFFSETS_BASE
                | dw::AT_ADDR_BASE
                | dw::AT_MACRO_INFO
                | dw::AT_GNU_ADDR_BASE
                | dw::AT_GNU_RANGES_BASE,
                Some(_),
            ) => {}
            (_, Some(width)) if takes_location(attribute) => {
                let is_list = form == dw::FORM_SEC_OFFSET || self.encoding.version < 4;
                if is_list {
                    self.list_at(Kind::Locations, cursor, width)?;
                }
            }
            (dw::AT_LOCATION, None) => {
                if let dw::FORM_EXPRLOC | dw::FORM_BLOCK | dw::FORM_BLOCK1 | dw::FORM_BLOCK2 | dw::FORM_BLOCK4 = form {
                    let expression = block(cursor, form)?;
                    // DW_OP_addr or DW_OP_addrx, then DW_OP_stack_value: the value is a pointer, not a location.
                    if matches!(expression, [0x03 | 0xa1 | 0xfb, .., 0x9f]) {
                        entry.address = Some((cursor.at - expression.len(), expression));
                    }
                }
            }
            (dw::AT_TYPE, _) => entry.ty = self.reference(form, cursor)?,
            (_, Some(_)) if form == dw::FORM_SEC_OFFSET => {
                return Err(Unsupported { at, what: "an offset into an unknown section" });
            }
            _ => {}
        }
        Ok(())
    }

    /// Handles a list that the entry refers to by an offset, which may move.
    fn list_at(&mut self, kind: Kind, cursor: &mut Cursor<'_>, width: u8) -> Result<()> {
        let at = cursor.at;
        let offset = cursor.number(width)?;
        self.list(kind, offset)?;
        let into = self.section_of(kind);
        if self.encoding.version >= 5 {
            self.out.references.push(Reference { at, width, into, offset });
        }
        Ok(())
    }

    /// Reads an address of an entry, with its position if it is not in the pool.
    fn address(&self, form: u64, cursor: &mut Cursor<'_>) -> Result<(Option<usize>, u64)> {
        if form == dw::FORM_ADDR {
            let at = cursor.at;
            return Ok((Some(at), cursor.number(self.encoding.address_size)?));
        }
        let index = self.index(form, cursor)?;
        Ok((None, self.pooled(index)?.1))
    }

    fn index(&self, form: u64, cursor: &mut Cursor<'_>) -> Result<u64> {
        match form {
            dw::FORM_ADDRX1..=dw::FORM_ADDRX4 => cursor.number((form - dw::FORM_ADDRX1 + 1) as u8),
            _ => cursor.uleb(),
        }
    }

    /// Updates a field of the unit if it changes.
    pub(super) fn patch(&mut self, at: usize, width: u8, old: u64, new: impl FnOnce(&mut Self) -> u64) -> Result<()> {
        let value = new(self);
        if value > highest(width) {
            return Err(Unsupported { at, what: "no room to relocate an address" });
        }
        if value != old {
            self.out.entries.fixed(at, width, value);
        }
        Ok(())
    }
}
