//! The data that `strip` needs beyond rules: the change of each section, and the parts of a body that no rule computes
//! back.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest, RestoreData};
use wasmtrace_abi::vectors::{read_bytes, read_vec};

use crate::hooks::wrapper::Wrapper;
use crate::module::Module;

/// The data with which [`strip`](crate::strip()) inverts a rewriting where rules are not sufficient.
/// [`crate::rewrite`] writes it into the Manifest.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Restore {
    /// The number of types appended to the type section.
    pub(crate) types_appended: u32,
    /// The wrapper around instrumented bodies.
    pub(crate) wrapper: Wrapper,
    /// The imported functions that have a trampoline, ascending. The trampolines are in the same order. Only the
    /// functions of the exit guard follow them.
    pub(crate) trampolines: Vec<u32>,
    /// The numbers of functions and element segments that were appended for the exit guard
    /// ([`crate::hooks::exit_guard`]), if the module has one.
    pub(crate) exit_guard: Option<(u32, u32)>,
    /// The change of each input section, in the order of the output. The Manifest itself is not listed.
    pub(crate) changes: Vec<SectionChange>,
    /// Bodies in which a width or a branch cannot be computed back, by ascending position in the code section.
    pub(crate) bodies: Vec<(u32, BodyRestore)>,
}

/// The first version of the Manifest that records the exit guard.
const EXIT_GUARD_SINCE: u32 = 4;

/// The change of one section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SectionChange {
    /// The section was copied.
    Kept,
    /// The section was changed by rules. The list has the widths of LEB128 numbers that no rule computes back, by
    /// ordinal; the size of the section has ordinal 0.
    Edited(Vec<(u32, u8)>),
    /// The section is not in the input.
    Created,
    /// The section was changed in another way. Holds the whole original section.
    Replaced(Vec<u8>),
    /// The section is not in the output. Holds the whole original section.
    Dropped(Vec<u8>),
    /// The section was patched. Holds the widths, as in [`SectionChange::Edited`], and the script that reverts the
    /// patches (see [`crate::relocate::patch`]).
    Patched(Vec<(u32, u8)>, Vec<u8>),
}

/// The parts of one body that cannot be computed back.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BodyRestore {
    /// Original widths of LEB128 numbers, by ordinal (see [`crate::rewrite::splice`]).
    pub(crate) widths: Vec<(u32, u8)>,
    /// Ordinals among the branches to the wrapper block. A listed branch was a branch to the label of the function;
    /// every other one was a `return`.
    pub(crate) branches: Vec<u32>,
}

impl Module<'_> {
    /// The Manifest of an instrumented module; `None` if it has none.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] if the Manifest or its restoring data is damaged, or if its version is unknown.
    pub fn manifest(&self) -> Option<Result<Manifest>> {
        let section = self.custom(MANIFEST_SECTION)?;
        let manifest = Manifest::decode(&self.bytes()[section.data.clone()], section.data.start);
        Some(manifest.and_then(|manifest| {
            Restore::of(self, &manifest).transpose()?;
            Ok(manifest)
        }))
    }
}

impl BodyRestore {
    pub(crate) fn is_empty(&self) -> bool {
        self.widths.is_empty() && self.branches.is_empty()
    }
}

impl Restore {
    /// Encodes the last part of a Manifest:
    ///
    /// ```text
    /// types_appended wrapper:byte trampolines:vec(import) exit_guard changes:vec(change) bodies:vec(position, widths, vec(branch))
    /// exit_guard: 0 | 1 functions elements   (since version 4)
    /// change: 0 kept | 1 edited widths | 2 created | 3 replaced bytes | 4 dropped bytes | 5 patched widths script
    /// widths: vec(ordinal, width);   script: reverts the patches (`relocate/patch.rs`)
    /// ```
    pub(crate) fn encode(&self) -> RestoreData {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        RestoreData::new(out)
    }

    /// Reads the restoring data of `module`, whose Manifest is `manifest`; `None` if there is none.
    ///
    /// # Errors
    /// Those of [`Restore::decode`].
    pub(crate) fn of(module: &Module<'_>, manifest: &Manifest) -> Option<Result<Self>> {
        let (data, section) = (manifest.restore.as_ref()?, module.custom(MANIFEST_SECTION)?);
        Some(Restore::decode(data, section.data.end.saturating_sub(data.bytes.len())))
    }

    /// Reads the output of [`Restore::encode`]. `offset` is its position in the file, for errors.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] if the data is damaged.
    pub(crate) fn decode(data: &RestoreData, offset: usize) -> Result<Self> {
        let mut r = BinaryReader::new(&data.bytes, offset);
        read_restore(&mut r, data.version)
            .and_then(
                |restore| if r.eof() { Ok(restore) } else { Err(damaged("bytes past the end", r.original_position())) },
            )
            .map_err(|e| damaged(format!("the Manifest is damaged: {}", e.message()), e.offset().unwrap_or(offset)))
    }

    fn encode_to(&self, out: &mut Vec<u8>) {
        self.types_appended.encode(out);
        out.push(self.wrapper as u8);
        self.trampolines.len().encode(out);
        self.trampolines.iter().for_each(|s| s.encode(out));
        out.push(self.exit_guard.is_some() as u8);
        if let Some((functions, elements)) = self.exit_guard {
            functions.encode(out);
            elements.encode(out);
        }
        self.changes.len().encode(out);
        for change in &self.changes {
            match change {
                SectionChange::Kept => out.push(0),
                SectionChange::Edited(widths) => {
                    out.push(1);
                    encode_widths(widths, out);
                }
                SectionChange::Created => out.push(2),
                SectionChange::Replaced(bytes) => {
                    out.push(3);
                    bytes.as_slice().encode(out);
                }
                SectionChange::Dropped(bytes) => {
                    out.push(4);
                    bytes.as_slice().encode(out);
                }
                SectionChange::Patched(widths, script) => {
                    out.push(5);
                    encode_widths(widths, out);
                    script.as_slice().encode(out);
                }
            }
        }
        self.bodies.len().encode(out);
        for (position, body) in &self.bodies {
            position.encode(out);
            encode_widths(&body.widths, out);
            body.branches.len().encode(out);
            body.branches.iter().for_each(|b| b.encode(out));
        }
    }
}

fn encode_widths(widths: &[(u32, u8)], out: &mut Vec<u8>) {
    widths.len().encode(out);
    for (ordinal, width) in widths {
        ordinal.encode(out);
        out.push(*width);
    }
}

fn damaged(message: impl Into<String>, offset: usize) -> Error {
    Error::at(ErrorKind::Restore, offset, message)
}

fn read_restore(r: &mut BinaryReader<'_>, version: u32) -> Result<Restore> {
    Ok(Restore {
        types_appended: r.read_var_u32()?,
        wrapper: Wrapper::from_byte(r.read_u8()?)
            .ok_or_else(|| damaged("unknown wrapper", r.original_position() - 1))?,
        trampolines: read_vec(r, |r| Ok(r.read_var_u32()?))?,
        exit_guard: match if version < EXIT_GUARD_SINCE { 0 } else { r.read_u8()? } {
            0 => None,
            1 => Some((r.read_var_u32()?, r.read_var_u32()?)),
            _ => return Err(damaged("unknown flag of the exit guard", r.original_position() - 1)),
        },
        changes: read_vec(r, |r| {
            Ok(match r.read_u8()? {
                0 => SectionChange::Kept,
                1 => SectionChange::Edited(read_widths(r)?),
                2 => SectionChange::Created,
                3 => SectionChange::Replaced(read_bytes(r)?),
                4 => SectionChange::Dropped(read_bytes(r)?),
                5 => SectionChange::Patched(read_widths(r)?, read_bytes(r)?),
                _ => return Err(damaged("unknown change of a section", r.original_position() - 1)),
            })
        })?,
        bodies: read_vec(r, |r| {
            Ok((
                r.read_var_u32()?,
                BodyRestore { widths: read_widths(r)?, branches: read_vec(r, |r| Ok(r.read_var_u32()?))? },
            ))
        })?,
    })
}

fn read_widths(r: &mut BinaryReader<'_>) -> Result<Vec<(u32, u8)>> {
    read_vec(r, |r| {
        let ordinal = r.read_var_u32()?;
        let at = r.original_position();
        match r.read_u8()? {
            width @ 1..=5 => Ok((ordinal, width)),
            _ => Err(damaged("a LEB128 of 32 bits is 1 to 5 bytes wide", at)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_is_one_to_five_bytes() {
        let widths = |width| read_widths(&mut BinaryReader::new(&[1, 7, width], 0)).map_err(|e| e.kind());
        assert_eq!(widths(5), Ok(vec![(7, 5)]));
        assert_eq!([widths(0), widths(6)], [Err(ErrorKind::Restore), Err(ErrorKind::Restore)]);
    }
}
