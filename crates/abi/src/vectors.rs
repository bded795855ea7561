//! Reading vectors of the binary format: a count in unsigned LEB128, then the items.

use wasmparser::BinaryReader;

use crate::error::Result;

/// Reads `vec(byte)`.
///
/// # Errors
/// [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed) if the input ends within the vector.
pub fn read_bytes(r: &mut BinaryReader<'_>) -> Result<Vec<u8>> {
    let len = r.read_var_u32()? as usize;
    Ok(r.read_bytes(len)?.to_vec())
}

/// Reads a count and that number of items. The count is not trusted: memory grows with the items that are present.
///
/// # Errors
/// Those of `item`, and [`ErrorKind::Malformed`](crate::error::ErrorKind::Malformed) if the count cannot be read.
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
