//! Relocates debug information in a separate file. The file is a module with the same code, or a module that only has
//! sections for debuggers.

use wasm_encoder::Encode;

use crate::links::{Link, Links};
use crate::module::{Module, code_of, id};
use crate::relocate::{Relocated, Relocation, dwarf};
use wasmtrace_abi::error::Result;

use crate::warning::{Warned, Warning, WarningKind};

/// The debug file of the output, whose code section has the contents `code`. `hook` instruments a module in the same
/// way as the module to which the file belongs.
pub(super) fn relocate(
    file: &Module<'_>,
    code: &[u8],
    relocation: &Relocation<'_, '_>,
    hook: impl FnOnce(&Module<'_>) -> Result<Warned<Vec<u8>>>,
) -> Warned<Vec<u8>> {
    // If the file has the same code, instrumenting it yields the debug file of the output.
    let same_functions = file.func_count() == relocation.naming.func_count
        && file.imported_funcs().len() as u32 == relocation.naming.func_map.imported
        && file.section(id::CODE).is_some();
    if same_functions
        && let Ok(Warned { value: hooked, warnings }) = hook(file)
        && code_of(&hooked) == Some(code)
    {
        let of_debug_info = |w: &Warning| matches!(w.kind, WarningKind::DebugInfo | WarningKind::StaleDebugInfo);
        let warnings = warnings.into_iter().filter(of_debug_info).map(in_debug_file).collect();
        return Warned { value: hooked, warnings };
    }
    let Warned { value: dwarf, warnings } = dwarf::relocate(file, relocation.offsets);
    let mut warnings: Vec<_> = warnings.into_iter().map(in_debug_file).collect();
    let mut of_file = Relocation {
        module: file,
        dwarf,
        links: Links { source_map: Link::Gone, debug_file: Link::Gone },
        build_id: relocation.build_id.clone(),
        ..*relocation
    };
    let mut out = file.bytes()[..8].to_vec();
    let mut seen_names = false;
    for section in file.sections().iter() {
        let Some(name) = section.name else { continue };
        let data = match of_file.relocate(section, seen_names, None).tell(&mut warnings) {
            Relocated::Raw => file.bytes()[section.data.clone()].to_vec(),
            Relocated::Names(data) | Relocated::Data(data) => data,
            Relocated::Patched(patches) => patches.apply(&file.bytes()[section.data.clone()]),
            Relocated::Dropped => continue,
        };
        seen_names |= name == "name";
        let mut contents = Vec::with_capacity(name.len() + data.len() + 2);
        name.encode(&mut contents);
        contents.extend_from_slice(&data);
        out.push(id::CUSTOM);
        contents.encode(&mut out);
    }
    Warned { value: out, warnings }
}

fn in_debug_file(warning: Warning) -> Warning {
    Warning { message: format!("in the debug file, {}", warning.message), ..warning }
}
