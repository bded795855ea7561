//! Source lines of instructions.

use std::sync::Arc;

use crate::mapping::OffsetMap;
use crate::module::{Module, id};
use crate::sidecar::Sidecars;
use wasmtrace_abi::hook::ProbeId;

/// A module with its debug information, to look up source lines of instructions of its instrumented form.
#[derive(Debug)]
pub struct Described<'m> {
    /// The module that the debug information describes.
    pub module: &'m Module<'m>,
    /// Its sidecar files.
    pub sidecars: &'m Sidecars<'m>,
    /// The map from its code to the code that ran, and the offset of the code section's contents there. `None` if the
    /// module ran unchanged.
    pub moved: Option<(&'m OffsetMap, usize)>,
}

/// An instruction with its source line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// The probe of its function.
    pub id: ProbeId,
    /// Its offset in the module that ran, in bytes.
    pub offset: u32,
    /// The path of the source file, as the compiler recorded it.
    pub file: Arc<str>,
    /// The line, starting at 1.
    pub line: u32,
}

/// The source lines of instructions, each given by its function's probe and its offset in the module that ran. From
/// DWARF, otherwise from the source map.
pub fn source_lines(described: &Described<'_>, wanted: impl Iterator<Item = (ProbeId, u32)>) -> Vec<SourceLine> {
    let Described { module, sidecars, moved } = *described;
    let Some(code) = module.section(id::CODE) else { return Vec::new() };
    let start = code.contents.start;
    let address = |offset: u32| match moved {
        Some((offsets, new_start)) => offsets.original((offset as usize).checked_sub(new_start)? as u32).map(u64::from),
        None => Some((offset as usize).checked_sub(start)? as u64),
    };
    let mut wanted: Vec<(u64, ProbeId, u32)> =
        wanted.filter_map(|(id, offset)| Some((address(offset)?, id, offset))).collect();
    wanted.sort_unstable();
    let mut addresses: Vec<u64> = wanted.iter().map(|(address, ..)| *address).collect();
    let symbols = sidecars.debug_file.as_ref().unwrap_or(module);
    let by_dwarf = dwarf_lines(module, symbols, &addresses);
    addresses.iter_mut().for_each(|address| *address += start as u64);
    let by_map = sidecars.source_map.as_ref().map(|map| map.lines(&addresses));
    let rows = wanted.into_iter().zip(by_dwarf).enumerate();
    let rows = rows.filter_map(|(i, ((_, id, offset), by_dwarf))| {
        let (file, line) = by_dwarf.or_else(|| by_map.as_ref()?[i].clone())?;
        Some(SourceLine { id, offset, file, line })
    });
    rows.collect()
}

/// Lines from DWARF, unless its addresses are those of other code.
fn dwarf_lines(module: &Module<'_>, symbols: &Module<'_>, addresses: &[u64]) -> Vec<Option<(Arc<str>, u32)>> {
    #[cfg(feature = "dwarf-labels")]
    {
        let names = crate::module::names::function_names(module, module.func_count(), &mut Vec::new());
        match super::dwarf::subprograms(module, symbols, &names, &mut Vec::new()).stale {
            None => super::dwarf::lines(symbols, addresses),
            Some(_) => vec![None; addresses.len()],
        }
    }
    #[cfg(not(feature = "dwarf-labels"))]
    {
        let _ = (module, symbols);
        vec![None; addresses.len()]
    }
}
