//! Reverts patches.

use wasmparser::BinaryReader;

use super::number::{field, unzigzag};
use crate::leb;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// The old data, by the new and the script of [`super::Patches::script`].
///
/// # Errors
/// [`ErrorKind::Restore`] where the script does not fit the data.
pub(crate) fn restore(new: &[u8], script: &[u8]) -> Result<Vec<u8>> {
    let misfit = || Error::new(ErrorKind::Restore, "a section does not match the Manifest");
    let mut reader = BinaryReader::new(script, 0);
    let (mut out, mut at, mut last, mut last_leb) = (Vec::with_capacity(new.len()), 0usize, 0i64, 0i64);
    let take = |at: &mut usize, len: usize| -> Option<&[u8]> {
        let bytes = new.get(*at..at.checked_add(len)?)?;
        *at += len;
        Some(bytes)
    };
    while !reader.eof() {
        let step = reader.read_var_u64()?;
        out.extend_from_slice(take(&mut at, (step / 4) as usize).ok_or_else(misfit)?);
        match step % 4 {
            kind @ (0 | 1) => {
                let width = if kind == 0 { 4 } else { 8 };
                last = last.wrapping_add(unzigzag(reader.read_var_u64()?));
                let value = field(take(&mut at, width).ok_or_else(misfit)?).wrapping_sub(last as u64);
                out.extend_from_slice(&value.to_le_bytes()[..width]);
            }
            2 => {
                let len = reader.read_var_u32()? as usize;
                take(&mut at, len).ok_or_else(misfit)?;
                let old = reader.read_var_u32()? as usize;
                out.extend_from_slice(reader.read_bytes(old)?);
            }
            _ => {
                last_leb = last_leb.wrapping_add(unzigzag(reader.read_var_u64()?));
                let rest = &new[at..];
                let width = rest.iter().position(|byte| byte & 0x80 == 0).ok_or_else(misfit)? + 1;
                let bytes = take(&mut at, width).ok_or_else(misfit)?;
                // A relocated LEB128 has at most ten bytes.
                let width = u8::try_from(width).map_err(|_| misfit())?;
                leb::write(&mut out, leb::value(bytes).wrapping_sub(last_leb as u64), width);
            }
        }
    }
    out.extend_from_slice(&new[at..]);
    Ok(out)
}
