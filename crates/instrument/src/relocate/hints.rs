//! `metadata.code.*`: compiler annotations on single instructions, such as branch hints.
//!
//! All such sections have the same form (tool-conventions, "Code metadata framework"): `vec(function, vec(offset in the
//! body, vec(byte)))`, with ascending functions and offsets.

use wasm_encoder::Encode;

use crate::mapping::{FuncMap, OffsetMap};
use crate::module::{FuncIdx, Module, Section};
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// The only annotation that contains function indices itself (proposal "compilation-hints"): `vec` without a count of
/// `(function, frequency)`.
const CALL_TARGETS: &str = "metadata.code.call_targets";

fn call_targets(data: &[u8], at: usize, func_map: &FuncMap) -> Result<Vec<u8>> {
    let mut reader = wasmparser::BinaryReader::new(data, at);
    let mut out = Vec::new();
    while !reader.eof() {
        func_map.reference(reader.read_var_u32()?).encode(&mut out);
        reader.read_var_u32()?.encode(&mut out);
    }
    Ok(out)
}

/// Relocates the section's data: functions get their new indices, and annotations stay on their instructions.
pub(crate) fn relocate(
    module: &Module<'_>,
    section: &Section<'_>,
    func_map: &FuncMap,
    offsets: &OffsetMap,
) -> Result<Vec<u8>> {
    let mut reader = module.reader(section.data.clone());
    let functions = reader.read_var_u32()?;
    let mut out = Vec::new();
    functions.encode(&mut out);
    for _ in 0..functions {
        let at = reader.original_position();
        let func = FuncIdx(reader.read_var_u32()?);
        if !module.is_defined(func) {
            return Err(Error::at(ErrorKind::Malformed, at, format!("function {} has no body", func.0)));
        }
        func_map.place(func.0).encode(&mut out);
        let body = offsets.body(func.0 as usize - module.imported_funcs().len());
        let notes = reader.read_var_u32()?;
        notes.encode(&mut out);
        for _ in 0..notes {
            let at = reader.original_position();
            let offset = reader.read_var_u32()?;
            if offset >= body.old.len() as u32 {
                return Err(Error::at(
                    ErrorKind::Malformed,
                    at,
                    format!("offset {offset} is outside of function {}", func.0),
                ));
            }
            offsets.within(body, offset, true).encode(&mut out);
            let len = reader.read_var_u32()? as usize;
            let data = reader.read_bytes(len)?;
            if section.name == Some(CALL_TARGETS) {
                call_targets(data, at, func_map)?.encode(&mut out);
            } else {
                data.encode(&mut out);
            }
        }
    }
    if !reader.eof() {
        return Err(Error::at(ErrorKind::Malformed, reader.original_position(), "bytes past the end"));
    }
    Ok(out)
}
