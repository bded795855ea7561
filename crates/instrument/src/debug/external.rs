//! Debug information in a file of its own: a module with the same code, or with sections for debuggers alone.

use wasm_encoder::Encode;

use super::{Carried, Carrying, Link, Links, dwarf};
use crate::companions::build_id;
use crate::label::Labels;
use crate::module::{Module, id};
use crate::rewrite::{Options, rewrite};
use crate::select::Plan;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// An error about a file that is another module's, or none.
pub(crate) fn foreign(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Companion, format!("the debug file does not belong to the module: {why}"))
}

/// Whether `file` speaks of the code of `module`: addresses are offsets in that code, so to take another build's would be
/// to say something wrong of every function.
///
/// # Errors
/// [`ErrorKind::Companion`] if it does not, or if nothing shows that it does.
pub(crate) fn belongs(module: &Module<'_>, file: &Module<'_>) -> Result<()> {
    let ids = (build_id(module), build_id(file));
    if let (Some(id), Some(other)) = ids
        && id != other
    {
        return Err(foreign(format!("its build_id is {}, not {}", hex(other), hex(id))));
    }
    let bodies = |module: &Module<'_>| {
        let start = module.section(id::CODE).map_or(0, |code| code.contents.start);
        module
            .defined_funcs()
            .map(|func| (module.body(func).start - start, module.body(func).len()))
            .collect::<Vec<_>>()
    };
    match (module.section(id::CODE), file.section(id::CODE)) {
        (_, None) if matches!(ids, (Some(_), Some(_))) => Ok(()),
        (_, None) => Err(foreign("it has no code, and they have no build_id in common that would show it")),
        (Some(_), Some(_)) => {
            let (own, other) = (bodies(module), bodies(file));
            if own.len() != other.len() {
                return Err(foreign(format!("it has {} functions, not {}", other.len(), own.len())));
            }
            if let Some(first) = own.iter().zip(&other).position(|(own, other)| own != other) {
                return Err(foreign(format!("function {first} of its code has another place or size")));
            }
            // Another build may have all functions where this one has them.
            let mut funcs = module.defined_funcs().zip(file.defined_funcs());
            let same = |own, other| module.bytes()[module.body(own)] == file.bytes()[file.body(other)];
            match funcs.position(|(own, other)| !same(own, other)) {
                Some(first) => Err(foreign(format!("function {first} of its code does something else"))),
                None => Ok(()),
            }
        }
        (None, Some(_)) => Err(foreign("the module has no code")),
    }
}

/// An id as people write it.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The debug file of the output, whose code section's contents are `code`.
pub(crate) fn carry(
    file: &Module<'_>,
    code: &[u8],
    carrying: &Carrying<'_, '_>,
    (labels, plan, options): (&Labels, &Plan, &Options),
    warnings: &mut Vec<String>,
) -> Vec<u8> {
    // What has the same code is hooked the same way, and belongs to the output as it belonged to the input.
    let same_functions = file.func_count() == carrying.naming.func_count
        && file.imported_funcs().len() as u32 == carrying.naming.shift.imported
        && file.section(id::CODE).is_some();
    if same_functions && let Ok(hooked) = rewrite(file, labels, plan, options) {
        let new = crate::module::code_of(&hooked.wasm);
        if new == Some(code) {
            let new = hooked.warnings.into_iter().filter(|w| w.contains("debug information"));
            warnings.extend(new.map(|w| format!("in the debug file, {w}")));
            return hooked.wasm;
        }
    }
    let mut dwarf = dwarf::carry(file, carrying.offsets);
    warnings.extend(dwarf.warnings.drain(..).map(|w| format!("in the debug file, {w}")));
    let mut of_file = Carrying {
        module: file,
        dwarf,
        links: Links { source_map: Link::Gone, debug_file: Link::Gone },
        build_id: carrying.build_id.clone(),
        ..*carrying
    };
    let mut out = file.bytes()[..8].to_vec();
    let mut seen_names = false;
    for section in file.sections().iter() {
        let Some(name) = section.name else { continue };
        let data = match of_file.carry(section, seen_names, warnings) {
            Carried::Raw => file.bytes()[section.data.clone()].to_vec(),
            Carried::Names(data) | Carried::Data(data) => data,
            Carried::Patched(patches) => patches.apply(&file.bytes()[section.data.clone()]),
            Carried::Dropped => continue,
        };
        seen_names |= name == "name";
        let mut contents = Vec::with_capacity(name.len() + data.len() + 2);
        name.encode(&mut contents);
        contents.extend_from_slice(&data);
        out.push(id::CUSTOM);
        contents.encode(&mut out);
    }
    out
}
