//! Copying bytes, and writing anew only the LEB128 numbers that change.
//!
//! A number keeps the width that it was padded to, as long as its new value fits; a number of minimal width gets the
//! minimal width of its new value. That rule has an inverse, except where a padded number had no room left: those
//! widths are noted by *ordinal*, the position among all numbers edited in that section or body, and end up in the
//! Manifest. The same walk over a section serves both directions.

use std::ops::Range;

use wasmparser::{BinaryReader, ConstExpr, Operator};

use crate::leb;
use crate::mapping;
use crate::module::{Section, id};
use wasmtrace_abi::error::Result;

/// The width in bytes of the minimal unsigned LEB128 encoding.
pub(crate) fn minimal_width(value: u32) -> u8 {
    leb::minimal_width(value.into())
}

/// Writes an unsigned LEB128 of exactly `width` bytes.
pub(crate) fn write_leb(out: &mut Vec<u8>, value: u32, width: u8) {
    leb::write(out, value.into(), width);
}

/// Writes an unsigned LEB128 of exactly `width` bytes to the beginning of `out`.
pub(crate) fn put_leb(out: &mut [u8], value: u32, width: u8) {
    leb::put(&mut out[..width as usize], value.into());
}

/// Widths that the rule does not compute back: noted on the way out, looked up on the way back.
#[derive(Debug)]
pub(crate) enum Widths<'w> {
    Note(Vec<(u32, u8)>),
    Recall(&'w [(u32, u8)]),
}

impl Widths<'_> {
    /// The width for a number that was `old` (`width` bytes) and becomes `new`.
    pub(crate) fn of(&mut self, ordinal: u32, old: u32, width: u8, new: u32) -> u8 {
        let becomes = if width > minimal_width(old) { width.max(minimal_width(new)) } else { minimal_width(new) };
        match self {
            Widths::Note(noted) => {
                let back = if becomes > minimal_width(new) { becomes } else { minimal_width(old) };
                if back != width {
                    noted.push((ordinal, width));
                }
                becomes
            }
            Widths::Recall(noted) => match noted.binary_search_by_key(&ordinal, |(o, _)| *o) {
                Ok(found) => noted[found].1.max(minimal_width(new)),
                Err(_) if width > minimal_width(old) => width,
                Err(_) => minimal_width(new),
            },
        }
    }

    pub(crate) fn into_noted(self) -> Vec<(u32, u8)> {
        match self {
            Widths::Note(noted) => noted,
            Widths::Recall(_) => Vec::new(),
        }
    }
}

/// Copies a range of a file, with edits in between.
#[derive(Debug)]
pub(crate) struct Splice<'a, 'w> {
    file: &'a [u8],
    start: usize,
    copied: usize,
    /// Whether bytes are counted and not written.
    pub(crate) counts: bool,
    /// How many bytes have been written, or counted.
    pub(crate) len: usize,
    pub(crate) out: Vec<u8>,
    pub(crate) edits: Vec<mapping::Insertion>,
    pub(crate) widths: Widths<'w>,
    ordinal: u32,
}

impl<'a, 'w> Splice<'a, 'w> {
    /// Begins at `start`; numbers edited are counted from `first_ordinal`.
    pub(crate) fn new(file: &'a [u8], start: usize, widths: Widths<'w>, first_ordinal: u32) -> Self {
        Splice {
            file,
            start,
            copied: start,
            counts: false,
            len: 0,
            out: Vec::new(),
            edits: Vec::new(),
            widths,
            ordinal: first_ordinal,
        }
    }

    /// Copies everything up to the offset `to` that has not been copied yet.
    pub(crate) fn copy_to(&mut self, to: usize) {
        self.write(&self.file[self.copied..to]);
        self.copied = to;
    }

    /// Writes `bytes` behind what has been written.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if !self.counts {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Writes `bytes` before what stands at the offset `at`.
    pub(crate) fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.copy_to(at);
        self.write(bytes);
        self.edits.push(mapping::Insertion { at: (at - self.start) as u32, by: bytes.len() as u32, inserted: true });
    }

    /// Writes `bytes` for what stands in `old`. Grows or keeps the length; [`Splice::remove`] is for the way back.
    pub(crate) fn replace(&mut self, old: Range<usize>, bytes: &[u8]) {
        self.copy_to(old.start);
        self.write(bytes);
        self.copied = old.end;
        if bytes.len() > old.len() {
            self.edits.push(mapping::Insertion {
                at: (old.start - self.start) as u32,
                by: (bytes.len() - old.len()) as u32,
                inserted: false,
            });
        }
    }

    /// Leaves out what stands in `old`.
    pub(crate) fn remove(&mut self, old: Range<usize>) {
        self.copy_to(old.start);
        self.copied = old.end;
    }

    /// Passes a number over that is counted, and stays as wide as it is.
    pub(crate) fn skip_number(&mut self) {
        self.ordinal += 1;
    }

    /// Writes the number at `leb`, which is `old`, as `new`.
    pub(crate) fn number(&mut self, leb: Range<usize>, old: u32, new: u32) {
        let width = leb.len() as u8;
        let becomes = self.widths.of(self.ordinal, old, width, new);
        self.ordinal += 1;
        if old == new && becomes == width {
            return;
        }
        self.copy_to(leb.start);
        let mut bytes = [0; 5];
        put_leb(&mut bytes, new, becomes);
        self.write(&bytes[..becomes as usize]);
        self.copied = leb.end;
        if becomes > width {
            self.edits.push(mapping::Insertion {
                at: leb.start.saturating_sub(self.start) as u32,
                by: (becomes - width) as u32,
                inserted: false,
            });
        }
    }
}

/// What happens to a section's count and end, besides the indices in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SectionEdit {
    /// Added to the section's count; negative on the way back, when that many entries go from the end.
    pub(crate) entries: i64,
    /// Appended to the section.
    pub(crate) bytes: Vec<u8>,
}

/// Whether function indices occur in a section of that id, outside of bodies.
pub(crate) fn holds_indices(section_id: u8) -> bool {
    matches!(section_id, id::TABLE | id::GLOBAL | id::EXPORT | id::START | id::ELEMENT | id::DATA)
}

/// The contents of a section with its function indices moved and, for a section that is counted, entries appended (or
/// taken off the end again).
pub(crate) fn section<'w>(
    file: &[u8],
    section: &Section<'_>,
    moved: &dyn Fn(u32) -> u32,
    growth: &SectionEdit,
    widths: Widths<'w>,
) -> Result<(Vec<u8>, Widths<'w>)> {
    let contents = section.contents.clone();
    // Ordinal 0 is the section's size, which only the caller knows.
    let mut splice = Splice::new(file, contents.start, widths, 1);
    let mut reader = BinaryReader::new_features(&file[contents.clone()], contents.start, crate::module::all_features());
    let mut end = contents.end;
    // Readers of whole sections read the count for themselves.
    let whole = reader.clone();
    if growth.entries != 0 {
        let count = reader.read_var_u32()?;
        splice.number(contents.start..reader.original_position(), count, (count as i64 + growth.entries) as u32);
        if growth.entries < 0 {
            end = start_of_entry(section, reader.clone(), (count as i64 + growth.entries) as u32)?;
        }
    }
    match section.id {
        id::START => {
            let func = reader.read_var_u32()?;
            splice.number(contents.start..reader.original_position(), func, moved(func));
        }
        id::EXPORT => {
            // The count has been read where it changes; what goes from the end is not looked at.
            let count = if growth.entries == 0 { reader.read_var_u32()? } else { u32::MAX };
            for _ in 0..count {
                if reader.original_position() >= end {
                    break;
                }
                reader.read_string()?;
                let kind = reader.read_u8()?;
                let at = reader.original_position();
                let index = reader.read_var_u32()?;
                if kind == 0 {
                    splice.number(at..reader.original_position(), index, moved(index));
                }
            }
        }
        id::ELEMENT => {
            // What goes from the end is not looked at.
            for element in wasmparser::ElementSectionReader::new(whole)? {
                let element = element?;
                if element.range.start >= end {
                    break;
                }
                if let wasmparser::ElementKind::Active { offset_expr, .. } = &element.kind {
                    expression(&mut splice, offset_expr, moved)?;
                }
                match element.items {
                    wasmparser::ElementItems::Functions(funcs) => {
                        let items_end = funcs.range().end;
                        let mut funcs = funcs.into_iter_with_offsets().peekable();
                        while let Some(item) = funcs.next() {
                            let (at, func) = item?;
                            let next = match funcs.peek() {
                                Some(Ok((next, _))) => *next,
                                _ => items_end,
                            };
                            splice.number(at..next, func, moved(func));
                        }
                    }
                    wasmparser::ElementItems::Expressions(_, expressions) => {
                        for e in expressions {
                            expression(&mut splice, &e?, moved)?;
                        }
                    }
                }
            }
        }
        id::GLOBAL => {
            for global in wasmparser::GlobalSectionReader::new(whole)? {
                expression(&mut splice, &global?.init_expr, moved)?;
            }
        }
        id::TABLE => {
            for table in wasmparser::TableSectionReader::new(whole)? {
                if let wasmparser::TableInit::Expr(e) = table?.init {
                    expression(&mut splice, &e, moved)?;
                }
            }
        }
        id::DATA => {
            for data in wasmparser::DataSectionReader::new(whole)? {
                if let wasmparser::DataKind::Active { offset_expr, .. } = data?.kind {
                    expression(&mut splice, &offset_expr, moved)?;
                }
            }
        }
        _ => {}
    }
    splice.copy_to(end);
    splice.out.extend_from_slice(&growth.bytes);
    Ok((splice.out, splice.widths))
}

/// `ref.func` in a constant expression.
fn expression(splice: &mut Splice<'_, '_>, expression: &ConstExpr<'_>, moved: &dyn Fn(u32) -> u32) -> Result<()> {
    let mut operators = expression.get_operators_reader();
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        if let Operator::RefFunc { function_index } = operator {
            splice.number(at + 1..operators.original_position(), function_index, moved(function_index));
        }
    }
    Ok(())
}

/// Where the entry of that number begins in a section that grows.
fn start_of_entry(section: &Section<'_>, reader: BinaryReader<'_>, number: u32) -> Result<usize> {
    let mut reader = reader;
    for _ in 0..number {
        // Only where it ends matters.
        match section.id {
            id::TYPE => _ = reader.read::<wasmparser::RecGroup>()?,
            id::FUNCTION => _ = reader.read_var_u32()?,
            id::TABLE => _ = reader.read::<wasmparser::Table<'_>>()?,
            id::MEMORY => _ = reader.read::<wasmparser::MemoryType>()?,
            id::GLOBAL => _ = reader.read::<wasmparser::Global<'_>>()?,
            id::ELEMENT => _ = reader.read::<wasmparser::Element<'_>>()?,
            id::EXPORT => _ = reader.read::<wasmparser::Export<'_>>()?,
            _ => _ = reader.read::<wasmparser::Imports<'_>>()?,
        }
    }
    Ok(reader.original_position())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_can_be_computed_back_or_is_noted() {
        for old in [0u32, 1, 124, 125, 127, 128, 16_380, 16_383, 16_384, 2_097_150] {
            for width in minimal_width(old)..=5 {
                let new = old + 3;
                let mut out = Widths::Note(Vec::new());
                let becomes = out.of(7, old, width, new);
                assert!(becomes >= minimal_width(new));
                let noted = out.into_noted();
                assert_eq!(Widths::Recall(&noted).of(7, new, becomes, old), width, "{old} in {width} bytes");
            }
        }
    }
}
