//! The data in a component's Manifest from which `strip` restores the original: what happened to each section.

use wasm_encoder::Encode;
use wasmparser::BinaryReader;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::vectors::{read_bytes, read_vec};

/// What happened to a section of the output, and how the original is restored from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The section is that of the original.
    Kept,
    /// The original has no such section.
    Added,
    /// Indices have moved. These are the bytes of the original section.
    Replaced(Vec<u8>),
    /// The core module was instrumented. The size field of the original section has this width in bytes.
    Module(u8),
    /// The nested component was instrumented: the width of the size field, and what happened to its sections.
    Component(u8, Vec<Change>),
}

/// Encodes the changes of the root component.
///
/// ```text
/// changes: vec(change)
/// change: 0 kept | 1 added | 2 replaced:vec(byte) | 3 module size_width:byte | 4 component size_width:byte changes
/// ```
pub(super) fn encode(changes: &[Change], out: &mut Vec<u8>) {
    changes.len().encode(out);
    for change in changes {
        match change {
            Change::Kept => out.push(0),
            Change::Added => out.push(1),
            Change::Replaced(bytes) => {
                out.push(2);
                bytes.as_slice().encode(out);
            }
            Change::Module(width) => out.extend([3, *width]),
            Change::Component(width, changes) => {
                out.extend([4, *width]);
                encode(changes, out);
            }
        }
    }
}

/// Decodes the changes of a component and its nested components, at most `depth` levels deep.
///
/// # Errors
/// [`ErrorKind::Restore`] or [`ErrorKind::Malformed`] if the data is damaged.
pub(super) fn decode(r: &mut BinaryReader<'_>, depth: usize) -> Result<Vec<Change>> {
    let damaged = |r: &BinaryReader<'_>| Error::at(ErrorKind::Restore, r.original_position(), "damaged restoring data");
    let depth = depth.checked_sub(1).ok_or_else(|| damaged(r))?;
    read_vec(r, |r| {
        Ok(match r.read_u8()? {
            0 => Change::Kept,
            1 => Change::Added,
            2 => Change::Replaced(read_bytes(r)?),
            3 => Change::Module(r.read_u8()?),
            4 => Change::Component(r.read_u8()?, decode(r, depth)?),
            _ => return Err(damaged(r)),
        })
    })
}
