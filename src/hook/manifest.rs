//! What a hooked module says of itself: the [`Manifest`], as it is written and read.

use std::collections::HashMap;
use std::sync::Arc;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use super::{HookSet, ProbeId};
use crate::error::{Error, ErrorKind, Result};
use crate::label::{Label, Source};
use crate::rewrite::wrapper::Wrapper;

/// Name of the custom section that holds the [`Manifest`].
pub const MANIFEST_SECTION: &str = "wasmtrace.manifest";

/// Version of the Manifest's encoding; a reader refuses what it does not know.
const MANIFEST_VERSION: u32 = 4;

/// The version before: what the buffer's hooks write has changed since, and two things came to be noted.
const OBSERVE_SINCE: u32 = 3;

/// What a hooked module says of itself: the contents of the custom section [`MANIFEST_SECTION`].
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The hook set that was written.
    pub hooks: HookSet,
    /// Where the guest records, if the hook set has a buffer.
    pub buffer: Option<BufferPlace>,
    /// SHA-256 of the input.
    pub input_sha256: [u8; 32],
    /// The `build_id` of the input; empty if it has none.
    pub build_id: Vec<u8>,
    /// Every hooked function, by ascending id.
    pub probes: Vec<Probe>,
    /// What taking the hooks out again needs beyond rules; absent if that was not wanted.
    pub restore: Option<Restore>,
}

/// Where the buffer of a hooked module is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferPlace {
    /// The name that its memory is exported by: one that the module did not export.
    pub export: String,
    /// The offset of the first block.
    pub first_block: u32,
}

/// One hooked function.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What the hooks in it say.
    pub id: ProbeId,
    /// What it is called, and where its source stands.
    pub label: Label,
}

/// What the rules of the rewriting cannot invert by themselves. Written by [`crate::rewrite`], read by [`crate::strip`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Restore {
    /// How many types were appended to the type section.
    pub(crate) types_appended: u32,
    /// What stands around hooked bodies.
    pub(crate) wrapper: Wrapper,
    /// The imported functions that have a shim, ascending; the shims are the last functions, in that order, but for those of …
    pub(crate) shims: Vec<u32>,
    /// … [`crate::rewrite::balance`]: how many functions and element segments were appended for it, if it was asked for.
    pub(crate) balance: Option<(u32, u32)>,
    /// What became of the input's sections, in the order of the output (the Manifest itself left out).
    pub(crate) fates: Vec<Fate>,
    /// Bodies in which a width or a branch cannot be computed back, by ascending position in the code section.
    pub(crate) bodies: Vec<(u32, BodyRestore)>,
}

/// What became of one section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
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
    /// Changed in places: widths as above, and the script that takes the changes back (see [`crate::debug::patch`]).
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

impl Manifest {
    /// The contents of the custom section, without its name.
    ///
    /// All integers are unsigned LEB128, all strings are a length in bytes and UTF-8, `vec` is a count and its items:
    /// ```text
    /// version=4  hooks:string  (export:string  first_block if the hooks have a buffer)  sha256:32 bytes  build_id:vec(byte) (since version 4)
    /// strings:vec(string)
    /// probes:vec(id-previous id, name, source:byte, file+1 or 0, line if there is a file)   -- name and file index strings
    /// restore: 0 | 1 types_appended wrapper:byte shims:vec(import) balance fates:vec(fate) bodies:vec(position, widths, vec(branch))
    /// balance: 0 | 1 functions elements   (since version 4)
    /// fate: 0 kept | 1 edited widths | 2 created | 3 replaced bytes | 4 dropped bytes | 5 patched widths script
    /// widths: vec(ordinal, width);   script: what takes the changes back (`debug/patch.rs`)
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(&self.probes)
    }

    /// The same with other probes than its own.
    pub(crate) fn encode_with(&self, all: &[Probe]) -> Vec<u8> {
        let mut out = Vec::new();
        MANIFEST_VERSION.encode(&mut out);
        self.hooks.name().encode(&mut out);
        if let Some(buffer) = &self.buffer {
            buffer.export.encode(&mut out);
            buffer.first_block.encode(&mut out);
        }
        out.extend_from_slice(&self.input_sha256);
        self.build_id.as_slice().encode(&mut out);

        let mut strings: Vec<&str> = Vec::new();
        let mut interned: HashMap<&str, u32> = HashMap::with_capacity(all.len());
        let mut intern = |s| {
            *interned.entry(s).or_insert_with(|| {
                strings.push(s);
                strings.len() as u32 - 1
            })
        };
        let mut probes = Vec::new();
        all.len().encode(&mut probes);
        let mut previous = 0;
        for Probe { id, label } in all {
            (id.0 - previous).encode(&mut probes);
            previous = id.0;
            intern(&label.name).encode(&mut probes);
            probes.push(label.source as u8);
            match &label.file {
                Some(file) => {
                    (intern(file) + 1).encode(&mut probes);
                    label.line.unwrap_or(0).encode(&mut probes);
                }
                None => probes.push(0),
            }
        }
        strings.len().encode(&mut out);
        strings.iter().for_each(|s| s.encode(&mut out));
        out.extend_from_slice(&probes);

        match &self.restore {
            None => out.push(0),
            Some(restore) => {
                out.push(1);
                restore.encode(&mut out);
            }
        }
        out
    }

    /// Reads what [`Manifest::encode`] wrote. `offset` is where `data` stands in the file, for errors.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] where the data is damaged or of a version that is not known.
    pub fn decode(data: &[u8], offset: usize) -> Result<Manifest> {
        let mut r = BinaryReader::new(data, offset);
        read_manifest(&mut r)
            .map_err(|e| damaged(format!("the Manifest is damaged: {}", e.message()), e.offset().unwrap_or(offset)))
    }
}

impl Restore {
    fn encode(&self, out: &mut Vec<u8>) {
        self.types_appended.encode(out);
        out.push(self.wrapper as u8);
        self.shims.len().encode(out);
        self.shims.iter().for_each(|s| s.encode(out));
        out.push(self.balance.is_some() as u8);
        if let Some((functions, elements)) = self.balance {
            functions.encode(out);
            elements.encode(out);
        }
        self.fates.len().encode(out);
        for fate in &self.fates {
            match fate {
                Fate::Kept => out.push(0),
                Fate::Edited(widths) => {
                    out.push(1);
                    encode_widths(widths, out);
                }
                Fate::Created => out.push(2),
                Fate::Replaced(bytes) => {
                    out.push(3);
                    bytes.as_slice().encode(out);
                }
                Fate::Dropped(bytes) => {
                    out.push(4);
                    bytes.as_slice().encode(out);
                }
                Fate::Patched(widths, script) => {
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

/// A module has at most a million functions, and so have those that run together; a function has a name and a file.
const MOST_PROBES: u32 = 1_000_000;
const MOST_STRINGS: u32 = 2 * MOST_PROBES;

fn read_manifest(r: &mut BinaryReader<'_>) -> Result<Manifest> {
    let at = r.original_position();
    let version = r.read_var_u32()?;
    let unknown = || damaged(format!("version {version} is not known here"), at);
    if !(OBSERVE_SINCE..=MANIFEST_VERSION).contains(&version) {
        return Err(unknown());
    }
    let set_at = r.original_position();
    let hooks = r.read_string()?;
    let hooks = HookSet::from_name(hooks).ok_or_else(|| damaged("a hook set that is not known here", set_at))?;
    if hooks.has_buffer() && version != MANIFEST_VERSION {
        return Err(unknown());
    }
    let buffer = match hooks.has_buffer() {
        true => Some(BufferPlace { export: r.read_string()?.to_owned(), first_block: r.read_var_u32()? }),
        false => None,
    };
    let input_sha256 = r.read_bytes(32)?.try_into().expect("read 32 bytes");
    let build_id = if version == OBSERVE_SINCE { Vec::new() } else { read_bytes(r)? };

    // Names of functions may be longer than wasmparser's limit for those of imports and exports.
    let mut count = 0;
    let strings = read_vec(r, |r| {
        count += 1;
        match count {
            0..=MOST_STRINGS => Ok(Arc::<str>::from(r.read_unlimited_string()?)),
            _ => Err(damaged("more strings than functions can have", r.original_position())),
        }
    })?;
    let string = |r: &BinaryReader<'_>, index: u32| {
        strings.get(index as usize).cloned().ok_or_else(|| damaged("string index out of bounds", r.original_position()))
    };
    let (mut previous, mut count) = (0u32, 0);
    let probes = read_vec(r, |r| {
        count += 1;
        if count > MOST_PROBES {
            return Err(damaged("more functions than a module can have", r.original_position()));
        }
        let step = r.read_var_u32()?;
        previous = previous.checked_add(step).ok_or_else(|| damaged("probe id out of range", r.original_position()))?;
        let name = r.read_var_u32()?;
        let name = string(r, name)?;
        let source = Source::from_byte(r.read_u8()?)
            .ok_or_else(|| damaged("unknown source of a name", r.original_position()))?;
        let (file, line) = match r.read_var_u32()? {
            0 => (None, None),
            file => {
                let line = r.read_var_u32()?;
                (Some(string(r, file - 1)?), (line != 0).then_some(line))
            }
        };
        Ok(Probe { id: ProbeId(previous), label: Label { name, file, line, source, language: None } })
    })?;
    let restore = match r.read_u8()? {
        0 => None,
        1 => Some(read_restore(r, version)?),
        _ => return Err(damaged("neither with nor without what restoring needs", r.original_position() - 1)),
    };
    if !r.eof() {
        return Err(damaged("bytes past the end", r.original_position()));
    }
    Ok(Manifest { hooks, buffer, input_sha256, build_id, probes, restore })
}

fn read_restore(r: &mut BinaryReader<'_>, version: u32) -> Result<Restore> {
    Ok(Restore {
        types_appended: r.read_var_u32()?,
        wrapper: Wrapper::from_byte(r.read_u8()?)
            .ok_or_else(|| damaged("unknown wrapper", r.original_position() - 1))?,
        shims: read_vec(r, |r| Ok(r.read_var_u32()?))?,
        balance: match if version == OBSERVE_SINCE { 0 } else { r.read_u8()? } {
            0 => None,
            1 => Some((r.read_var_u32()?, r.read_var_u32()?)),
            _ => return Err(damaged("neither balanced nor not", r.original_position() - 1)),
        },
        fates: read_vec(r, |r| {
            Ok(match r.read_u8()? {
                0 => Fate::Kept,
                1 => Fate::Edited(read_widths(r)?),
                2 => Fate::Created,
                3 => Fate::Replaced(read_bytes(r)?),
                4 => Fate::Dropped(read_bytes(r)?),
                5 => Fate::Patched(read_widths(r)?, read_bytes(r)?),
                _ => return Err(damaged("unknown fate of a section", r.original_position() - 1)),
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

fn read_bytes(r: &mut BinaryReader<'_>) -> Result<Vec<u8>> {
    let len = r.read_var_u32()? as usize;
    Ok(r.read_bytes(len)?.to_vec())
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

/// Reads a count and its items. The count is not trusted: memory grows with what is really there.
fn read_vec<'a, T>(
    r: &mut BinaryReader<'a>,
    mut item: impl FnMut(&mut BinaryReader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = r.read_var_u32()?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(item(r)?);
    }
    Ok(items)
}
