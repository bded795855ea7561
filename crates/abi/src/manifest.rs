//! The [`Manifest`], in which an instrumented module describes itself, and its encoding.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::error::{Error, ErrorKind, Result};
use crate::hook::{HookSet, ProbeId};
use crate::label::{Label, Source};
use crate::vectors::{read_bytes, read_vec};

/// Name of the custom section that contains the [`Manifest`].
pub const MANIFEST_SECTION: &str = "wasmtrace.manifest";

/// Version of the Manifest's encoding that is written.
const MANIFEST_VERSION: u32 = 4;

/// Oldest version that is read, and only for the set `observe`: the event format of the other sets has changed since.
const OBSERVE_SINCE: u32 = 3;

/// The description that an instrumented module contains of itself, in the custom section [`MANIFEST_SECTION`].
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The hook set of the module.
    pub hooks: HookSet,
    /// The location of the buffer, if the hook set has one.
    pub buffer: Option<BufferPlace>,
    /// SHA-256 of the module before instrumentation.
    pub input_sha256: [u8; 32],
    /// The `build_id` of the module before instrumentation; empty if it has none.
    pub build_id: Vec<u8>,
    /// All hooked functions, by ascending id.
    pub probes: Vec<Probe>,
    /// The data that `strip` needs to restore the original; `None` if it was omitted.
    pub restore: Option<RestoreData>,
}

/// The location of an instrumented module's buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BufferPlace {
    /// The export name of the buffer's memory. The original module does not export this name.
    pub export: String,
    /// The offset of the first block, in bytes.
    pub first_block: u32,
}

/// A hooked function.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The id that its hooks report.
    pub id: ProbeId,
    /// The name of the function and its source location.
    pub label: Label,
}

/// The functions that the hooks of a module may report, as a host needs them. They come from the Manifest if there is
/// one, otherwise from the function indices.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Probes {
    /// SHA-256 of the module before instrumentation, if there is a Manifest.
    pub input_sha256: Option<[u8; 32]>,
    /// The label of each function that a hook may report.
    pub labels: BTreeMap<ProbeId, Label>,
}

/// The data that `strip` needs to restore the original. Its format is private to the compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreData {
    /// The Manifest version that the data was written in.
    pub version: u32,
    /// The data, up to the end of the Manifest.
    pub bytes: Vec<u8>,
}

impl RestoreData {
    /// Wraps restoring data that was written in the current Manifest version.
    pub fn new(bytes: Vec<u8>) -> Self {
        RestoreData { version: MANIFEST_VERSION, bytes }
    }
}

impl Manifest {
    /// Encodes the contents of the custom section, without its name.
    ///
    /// All integers are unsigned LEB128, all strings are a length in bytes and UTF-8, `vec` is a count and its items:
    /// ```text
    /// version=4  hooks:string  (export:string  first_block if the hooks have a buffer)  sha256:32 bytes  build_id:vec(byte)
    /// strings:vec(string)
    /// probes:vec(id-previous id, name, source:byte, file+1 or 0, line if there is a file)   -- name and file index strings
    /// restore: 0 | 1 and the data that `strip` needs, to the end of the Manifest; only the compiler knows its format
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        self.encode_with(self.restore.as_ref())
    }

    /// Like [`Manifest::encode`], with `restore` instead of `self.restore`.
    #[doc(hidden)]
    pub fn encode_with(&self, restore: Option<&RestoreData>) -> Vec<u8> {
        let mut out = Vec::new();
        // Restore data keeps the version in which it was read.
        let version = restore.map_or(MANIFEST_VERSION, |restore| restore.version);
        version.encode(&mut out);
        self.hooks.name().encode(&mut out);
        if let Some(buffer) = &self.buffer {
            buffer.export.encode(&mut out);
            buffer.first_block.encode(&mut out);
        }
        out.extend_from_slice(&self.input_sha256);
        if version > OBSERVE_SINCE {
            self.build_id.as_slice().encode(&mut out);
        }

        let mut strings: Vec<&str> = Vec::new();
        let mut interned: HashMap<&str, u32> = HashMap::with_capacity(self.probes.len());
        let mut intern = |s| {
            *interned.entry(s).or_insert_with(|| {
                strings.push(s);
                strings.len() as u32 - 1
            })
        };
        let mut probes = Vec::new();
        self.probes.len().encode(&mut probes);
        let mut previous = 0;
        for Probe { id, label } in &self.probes {
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

        match restore {
            None => out.push(0),
            Some(restore) => {
                out.push(1);
                out.extend_from_slice(&restore.bytes);
            }
        }
        out
    }

    /// Decodes a Manifest. `offset` is the position of `data` in the file, for error messages.
    ///
    /// # Errors
    /// [`ErrorKind::Restore`] if the data is damaged or has an unknown version.
    pub fn decode(data: &[u8], offset: usize) -> Result<Manifest> {
        let mut r = BinaryReader::new(data, offset);
        read_manifest(&mut r)
            .map_err(|e| damaged(format!("the Manifest is damaged: {}", e.message()), e.offset().unwrap_or(offset)))
    }
}

fn damaged(message: impl Into<String>, offset: usize) -> Error {
    Error::at(ErrorKind::Restore, offset, message)
}

/// Modules that run together have at most a million functions. Each function has a name and a file.
const MOST_PROBES: u32 = 1_000_000;
const MOST_STRINGS: u32 = 2 * MOST_PROBES;

fn read_manifest(r: &mut BinaryReader<'_>) -> Result<Manifest> {
    let at = r.original_position();
    let version = r.read_var_u32()?;
    let unknown = || damaged(format!("unknown version {version}"), at);
    if !(OBSERVE_SINCE..=MANIFEST_VERSION).contains(&version) {
        return Err(unknown());
    }
    let set_at = r.original_position();
    let hooks = r.read_string()?;
    let hooks = HookSet::from_name(hooks).ok_or_else(|| damaged("unknown hook set", set_at))?;
    if hooks.has_buffer() && version != MANIFEST_VERSION {
        return Err(unknown());
    }
    let buffer = match hooks.has_buffer() {
        true => Some(BufferPlace { export: r.read_string()?.to_owned(), first_block: r.read_var_u32()? }),
        false => None,
    };
    let input_sha256 = r.read_bytes(32)?.try_into().expect("read 32 bytes");
    let build_id = if version == OBSERVE_SINCE { Vec::new() } else { read_bytes(r)? };

    // wasmparser limits the length of import and export names, but not that of function names.
    let mut count = 0;
    let strings = read_vec(r, |r| {
        count += 1;
        match count {
            0..=MOST_STRINGS => Ok(Arc::<str>::from(r.read_unlimited_string()?)),
            _ => Err(damaged("too many strings", r.original_position())),
        }
    })?;
    let string = |r: &BinaryReader<'_>, index: u32| {
        strings.get(index as usize).cloned().ok_or_else(|| damaged("string index out of bounds", r.original_position()))
    };
    let (mut previous, mut count) = (0u32, 0);
    let probes = read_vec(r, |r| {
        count += 1;
        if count > MOST_PROBES {
            return Err(damaged("too many functions", r.original_position()));
        }
        let step = r.read_var_u32()?;
        previous = previous.checked_add(step).ok_or_else(|| damaged("probe id out of range", r.original_position()))?;
        let name = r.read_var_u32()?;
        let name = string(r, name)?;
        let source =
            Source::from_byte(r.read_u8()?).ok_or_else(|| damaged("unknown name source", r.original_position()))?;
        let (file, line) = match r.read_var_u32()? {
            0 => (None, None),
            file => {
                let line = r.read_var_u32()?;
                (Some(string(r, file - 1)?), (line != 0).then_some(line))
            }
        };
        Ok(Probe { id: ProbeId(previous), label: Label { name, file, line, source, index: None, language: None } })
    })?;
    let restore = match r.read_u8()? {
        0 => None,
        1 => {
            let rest = r.bytes_remaining();
            Some(RestoreData { version, bytes: r.read_bytes(rest)?.to_vec() })
        }
        _ => return Err(damaged("invalid value of the restore flag", r.original_position() - 1)),
    };
    if !r.eof() {
        return Err(damaged("trailing bytes", r.original_position()));
    }
    Ok(Manifest { hooks, buffer, input_sha256, build_id, probes, restore })
}
