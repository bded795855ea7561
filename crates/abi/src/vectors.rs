//! Vectors of the binary format: a count, an unsigned LEB128, and the items.

use wasmparser::BinaryReader;

use crate::error::Result;

/// Reads `vec(byte)`.
///
/// # Errors
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed) where the bytes end before it does.
pub fn read_bytes(r: &mut BinaryReader<'_>) -> Result<Vec<u8>> {
    let len = r.read_var_u32()? as usize;
    Ok(r.read_bytes(len)?.to_vec())
}

/// Reads a count and its items. The count is not trusted: memory grows with what is really there.
///
/// # Errors
/// Those of `item`, and [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed) without a count.
pub fn read_vec<'a, T>(
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
