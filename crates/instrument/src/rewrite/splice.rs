//! Copies bytes, and encodes only those LEB128 numbers again whose value changes.
//!
//! A padded number keeps its width if the new value fits. A number of minimal width gets the minimal width of its new
//! value. This rule can be inverted, unless a padded number had no room for its new value. Such widths are recorded in
//! the Manifest, by *ordinal*: the position among all edited numbers of the section or body. Both directions walk over
//! a section with the same code.

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

/// Appends an unsigned LEB128 of exactly `width` bytes.
pub(crate) fn write_leb(out: &mut Vec<u8>, value: u32, width: u8) {
    leb::write(out, value.into(), width);
}

/// Writes an unsigned LEB128 of exactly `width` bytes to the start of `out`.
pub(crate) fn put_leb(out: &mut [u8], value: u32, width: u8) {
    leb::put(&mut out[..width as usize], value.into());
}

/// Widths that the rule does not compute back. Rewriting notes them, and restoring recalls them.
#[derive(Debug)]
pub(crate) enum Widths<'w> {
    Note(Vec<(u32, u8)>),
    Recall(&'w [(u32, u8)]),
}

impl Widths<'_> {
    /// The new width of a number that was `old`, `width` bytes wide, and becomes `new`.
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

/// Copies a range of a file with edits.
#[derive(Debug)]
pub(crate) struct Splice<'a, 'w> {
    file: &'a [u8],
    start: usize,
    copied: usize,
    /// Whether bytes are only counted, and not written.
    pub(crate) counts: bool,
    /// The number of bytes written or counted.
    pub(crate) len: usize,
    pub(crate) out: Vec<u8>,
    pub(crate) edits: Vec<mapping::Insertion>,
    pub(crate) widths: Widths<'w>,
    ordinal: u32,
}

impl<'a, 'w> Splice<'a, 'w> {
    /// Starts at the file offset `start`. The first edited number has the ordinal `first_ordinal`.
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

    /// Copies the bytes up to the file offset `to`.
    pub(crate) fn copy_to(&mut self, to: usize) {
        self.write(&self.file[self.copied..to]);
        self.copied = to;
    }

    /// Appends `bytes` to the output.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if !self.counts {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Inserts `bytes` before the file offset `at`.
    pub(crate) fn insert(&mut self, at: usize, bytes: &[u8]) {
        self.copy_to(at);
        self.write(bytes);
        self.edits.push(mapping::Insertion { at: (at - self.start) as u32, by: bytes.len() as u32, inserted: true });
    }

    /// Replaces the range `old` with `bytes`, which must not be shorter. Restoring uses [`Splice::remove`] to shorten.
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

    /// Removes the range `old`.
    pub(crate) fn remove(&mut self, old: Range<usize>) {
        self.copy_to(old.start);
        self.copied = old.end;
    }

    /// Counts a number that keeps its width, without reading it.
    pub(crate) fn skip_number(&mut self) {
        self.ordinal += 1;
    }

    /// Replaces the number `old` in the range `leb` with `new`.
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

/// Changes to the count and the end of a section, apart from the indices in it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SectionEdit {
    /// The change of the section's count. If negative, that many entries are removed from the end.
    pub(crate) entries: i64,
    /// The bytes appended to the section.
    pub(crate) bytes: Vec<u8>,
}

/// Whether sections with this id can hold function indices outside of bodies.
pub(crate) fn holds_indices(section_id: u8) -> bool {
    matches!(section_id, id::TABLE | id::GLOBAL | id::EXPORT | id::START | id::ELEMENT | id::DATA)
}

/// The contents of a section with moved function indices. If `growth` says so, entries are appended or removed from
/// the end.
pub(crate) fn section<'w>(
    file: &[u8],
    section: &Section<'_>,
    moved: &dyn Fn(u32) -> u32,
    growth: &SectionEdit,
    widths: Widths<'w>,
) -> Result<(Vec<u8>, Widths<'w>)> {
    let contents = section.contents.clone();
    // Ordinal 0 is the size of the section, which only the caller knows.
    let mut splice = Splice::new(file, contents.start, widths, 1);
    let mut reader = BinaryReader::new_features(&file[contents.clone()], contents.start, crate::module::all_features());
    let mut end = contents.end;
    // Readers of whole sections read the count themselves.
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
            // If the count changes, it has been read above. Removed entries are skipped.
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
            // Removed entries are skipped.
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

/// Moves the function indices of `ref.func` in a constant expression.
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

/// The file offset of the entry `number` in a section whose entries are removed from the end.
fn start_of_entry(section: &Section<'_>, reader: BinaryReader<'_>, number: u32) -> Result<usize> {
    let mut reader = reader;
    for _ in 0..number {
        // Only the end of the entry matters.
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
