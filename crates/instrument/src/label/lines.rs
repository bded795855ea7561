//! Which lines of the source instructions come from.

use std::sync::Arc;

use crate::mapping::OffsetMap;
use crate::module::{Module, id};
use crate::sidecar::Sidecars;
use wasmtrace_abi::hook::ProbeId;

/// The module that debug information speaks of, with the files sidecars it.
#[derive(Debug)]
pub struct Described<'m> {
    /// The module.
    pub module: &'m Module<'m>,
    /// What is sidecars it.
    pub sidecars: &'m Sidecars<'m>,
    /// What became of its code, with where the code section's contents begin in what was run; `None` if it was run as it is.
    pub moved: Option<(&'m OffsetMap, usize)>,
}

/// An instruction, and the line that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// Its function.
    pub id: ProbeId,
    /// Its offset in the binary that was run.
    pub offset: u32,
    /// The source file, as the compiler wrote it down.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// The lines of instructions: of each the function's probe, and its offset in the binary that was run. By DWARF, else by the
/// source map.
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
    let by_dwarf = dwarf_lines(sidecars.debug_file.as_ref().unwrap_or(module), &addresses);
    addresses.iter_mut().for_each(|address| *address += start as u64);
    let by_map = sidecars.source_map.as_ref().map(|map| map.lines(&addresses));
    let rows = wanted.into_iter().zip(by_dwarf).enumerate();
    let rows = rows.filter_map(|(i, ((_, id, offset), by_dwarf))| {
        let (file, line) = by_dwarf.or_else(|| by_map.as_ref()?[i].clone())?;
        Some(SourceLine { id, offset, file, line })
    });
    rows.collect()
}

fn dwarf_lines(symbols: &Module<'_>, addresses: &[u64]) -> Vec<Option<(Arc<str>, u32)>> {
    #[cfg(feature = "dwarf-labels")]
    return super::dwarf::lines(symbols, addresses);
    #[cfg(not(feature = "dwarf-labels"))]
    {
        let _ = symbols;
        vec![None; addresses.len()]
    }
}
