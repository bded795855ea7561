//! What `strip` needs beyond rules: what became of each section, and what no rule computes back in a body.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest, RestoreData};
use wasmtrace_abi::vectors::{read_bytes, read_vec};

use crate::hooks::wrapper::Wrapper;
use crate::module::Module;

/// What the rules of the rewriting cannot invert by themselves. Written by [`crate::rewrite`], read by [`strip`](crate::strip()).
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Restore {
    /// How many types were appended to the type section.
    pub(crate) types_appended: u32,
    /// What stands around hooked bodies.
    pub(crate) wrapper: Wrapper,
    /// The imported functions that have a trampoline, ascending; the trampolines are the last functions, in that order, but for those of …
    pub(crate) trampolines: Vec<u32>,
    /// … [`crate::hooks::exit_guard`]: how many functions and element segments were appended for it, if it was asked for.
    pub(crate) exit_guard: Option<(u32, u32)>,
    /// What became of the input's sections, in the order of the output (the Manifest itself left out).
    pub(crate) changes: Vec<SectionChange>,
    /// Bodies in which a width or a branch cannot be computed back, by ascending position in the code section.
    pub(crate) bodies: Vec<(u32, BodyRestore)>,
}

/// The version of the Manifest in which the exit guard came to be noted.
const BALANCE_SINCE: u32 = 4;

/// What became of one section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SectionChange {
    /// Copied.
    Kept,
    /// Changed by rule; the widths are of LEBs that no rule computes back, by ordinal, the section's size first.
    Edited(Vec<(u32, u8)>),
    /// Not in the input.
    Created,
    /// Changed otherwise: the whole original section.
    Replaced(Vec<u8>),
    /// Not in the output: the whole original section.
    Dropped(Vec<u8>),
    /// Changed in places: widths as above, and the script that takes the changes back (see [`crate::relocate::patch`]).
    Patched(Vec<(u32, u8)>, Vec<u8>),
}

/// What cannot be computed back in one body.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct BodyRestore {
    /// Original widths of LEBs, by ordinal (see [`crate::rewrite::splice`]).
    pub(crate) widths: Vec<(u32, u8)>,
    /// Ordinals of those branches to the wrapper block that were branches to the function's label, and no `return`s.
    pub(crate) branches: Vec<u32>,
}

impl BodyRestore {
    pub(crate) fn is_empty(&self) -> bool {
        self.widths.is_empty() && self.branches.is_empty()
    }
}

impl Restore {
    /// The last part of a Manifest:
    /// ```text
    /// types_appended wrapper:byte trampolines:vec(import) exit_guard changes:vec(change) bodies:vec(position, widths, vec(branch))
    /// exit_guard: 0 | 1 functions elements   (since version 4)
    /// change: 0 kept | 1 edited widths | 2 created | 3 replaced bytes | 4 dropped bytes | 5 patched widths script
    /// widths: vec(ordinal, width);   script: what takes the changes back (`debug/patch.rs`)
    /// ```
    pub(crate) fn encode(&self) -> RestoreData {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        RestoreData::new(out)
    }

    /// What a module has of it, whose Manifest is `manifest`.
    ///
    /// # Errors
    /// Those of [`Restore::decode`].
    pub(crate) fn of(module: &Module<'_>, manifest: &Manifest) -> Option<Result<Self>> {
        let (data, section) = (manifest.restore.as_ref()?, module.custom(MANIFEST_SECTION)?);
        Some(Restore::decode(data, section.data.end.saturating_sub(data.bytes.len())))
    }

    /// Reads what [`Restore::encode`] wrote. `offset` is where it stands in the file, for errors.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] where it is damaged.
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
        exit_guard: match if version < BALANCE_SINCE { 0 } else { r.read_u8()? } {
            0 => None,
            1 => Some((r.read_var_u32()?, r.read_var_u32()?)),
            _ => return Err(damaged("neither guarded nor not", r.original_position() - 1)),
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
