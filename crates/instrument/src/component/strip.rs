//! Removes the hooks from a component, by the restoring data in its Manifest.

use super::named::parse_module;
use super::restore::{Change, decode};
use super::scan::{MAX_DEPTH, Nested, Scanned, scan};
use super::verify;
use super::write::id;
use crate::rewrite::splice::write_leb;
use wasmparser::BinaryReader;
use wasmtrace_abi::component::MANIFEST_SECTION;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// Returns the original component, byte for byte. A component without hooks is returned as it is.
///
/// # Errors
/// [`ErrorKind::Restore`] if the component has no Manifest but hooks, if the Manifest has no restoring data, or if another
/// tool changed the component after instrumentation. The errors of parsing if the component is not valid.
pub(super) fn strip(hooked: &[u8]) -> Result<Vec<u8>> {
    let scanned = scan(hooked)?;
    let Some(manifest) = scanned.manifest()? else {
        return match scanned.reserved {
            None => Ok(hooked.to_vec()),
            Some(at) => {
                let message = format!("nothing to strip: the component has no `{MANIFEST_SECTION}` section");
                Err(Error::at(ErrorKind::Restore, at, message))
            }
        };
    };
    let Some(restore) = &manifest.restore else {
        let message = "the component was instrumented without restoring data (--no-restore)";
        return Err(Error::new(ErrorKind::Restore, message));
    };
    let changes = decode(&mut BinaryReader::new(&restore.bytes, 0), MAX_DEPTH + 1)?;
    let original = restored(&scanned, 0, &changes).map_err(|e| changed().caused_by(e))?;
    if crate::hash::sha256(&original) != manifest.input_sha256 {
        return Err(changed());
    }
    // The Manifest is untrusted input: a forged one could hold another program and the hash of that program.
    verify::compare(&original, &scanned)
        .map_err(|e| Error::new(ErrorKind::Restore, "the Manifest does not belong to this component").caused_by(e))?;
    Ok(original)
}

fn changed() -> Error {
    let message = "the original cannot be restored: another tool has changed the component since it was instrumented";
    Error::new(ErrorKind::Restore, message)
}

/// The original of the component at position `scope`, without its size field.
fn restored(scanned: &Scanned<'_>, scope: usize, changes: &[Change]) -> Result<Vec<u8>> {
    let scope = &scanned.scopes[scope];
    let mut out = scanned.bytes[scope.range.start..scope.range.start + 8].to_vec();
    let is_manifest = |whole: &std::ops::Range<usize>| {
        scope.range.start == 0 && scanned.manifest.as_ref().is_some_and(|manifest| manifest.end == whole.end)
    };
    let sections: Vec<_> = scope.sections.iter().filter(|section| !is_manifest(&section.whole)).collect();
    if sections.len() != changes.len() {
        return Err(Error::at(ErrorKind::Restore, scope.range.start, "the number of sections is different"));
    }
    for (section, change) in sections.into_iter().zip(changes) {
        let other = || Error::at(ErrorKind::Restore, section.whole.start, "another kind of section is expected here");
        match (change, section.nested) {
            (Change::Kept, _) => out.extend_from_slice(&scanned.bytes[section.whole.clone()]),
            (Change::Added, _) => {}
            (Change::Replaced(bytes), _) => out.extend_from_slice(bytes),
            (Change::Module(width), Some(Nested::Module(module))) => {
                let module = parse_module(scanned, module, true)?;
                let original = crate::strip::restore(&module)?;
                header(id::CORE_MODULE, original.len(), *width, &mut out)?;
                out.extend(original);
            }
            (Change::Component(width, changes), Some(Nested::Component(component))) => {
                let original = restored(scanned, component, changes)?;
                header(id::COMPONENT, original.len(), *width, &mut out)?;
                out.extend(original);
            }
            _ => return Err(other()),
        }
    }
    Ok(out)
}

fn header(id: u8, size: usize, width: u8, out: &mut Vec<u8>) -> Result<()> {
    let least = (usize::BITS - size.leading_zeros()).div_ceil(7).max(1);
    if !(least..=5).contains(&u32::from(width)) {
        return Err(Error::new(ErrorKind::Restore, "the size of a section does not fit its field"));
    }
    out.push(id);
    write_leb(out, size as u32, width);
    Ok(())
}
