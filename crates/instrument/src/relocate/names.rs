//! The `name` section: function indices are relocated, hooked functions without a name get their label, and labels make
//! room for the wrapper block.
//!
//! Hosts of the Observe ABI look up probe ids in this section. Instrumented modules therefore always have one, with
//! every hooked function in it.

use std::borrow::Cow;
use std::collections::HashMap;

use wasm_encoder::Encode;
use wasmparser::BinaryReader;

use crate::mapping::FuncMap;
use crate::module::{Module, Section};
use wasmtrace_abi::demangle::demangle;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::label::Source;
use wasmtrace_abi::manifest::Probe;

/// Subsection ids (core specification, appendix "Name Section"; labels from the extended-name-section proposal).
const MODULE: u8 = 0;
const FUNCTIONS: u8 = 1;
const LOCALS: u8 = 2;
const LABELS: u8 = 3;
const FIELDS: u8 = 10;

/// The information that names depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming<'c> {
    /// Number of functions of the module.
    pub(crate) func_count: u32,
    pub(crate) func_map: &'c FuncMap,
    /// Number of labels around the body of a hooked function.
    pub(crate) outer_labels: u32,
    /// Labels opened by hooks further inside, by function. Each is given by the number of original labels before it.
    pub(crate) inner_labels: &'c HashMap<u32, Vec<u32>>,
    /// The hooked functions, by ascending id.
    pub(crate) probes: &'c [Probe],
    /// Names of the functions that the instrumentation added.
    pub(crate) hook_names: &'c [(u32, String)],
    /// Whether names are demangled.
    pub(crate) demangle: bool,
}

/// Creates the data of the new `name` section. `section` is the module's own, if it has one.
pub(crate) fn relocate(module: &Module<'_>, naming: &Naming<'_>, section: Option<&Section<'_>>) -> Vec<u8> {
    // Names in a damaged or second section count too: labels were read in the same way.
    let old = crate::module::names::function_names(module, naming.func_count, &mut Vec::new());
    let last_own = naming.func_map.place(naming.func_count);
    let last = naming.hook_names.iter().map(|(func, _)| *func).chain(naming.probes.last().map(|p| p.id.0));
    let mut functions = vec![None; last.fold(last_own, u32::max) as usize + 1];
    let shown = |name| if naming.demangle { demangle(name) } else { Cow::Borrowed(name) };
    for (func, name) in (0..).zip(old) {
        functions[naming.func_map.place(func) as usize] = name.map(shown);
    }
    for (func, name) in naming.hook_names {
        functions[*func as usize] = Some(Cow::Borrowed(&**name));
    }
    for probe in naming.probes {
        let name = &mut functions[probe.id.0 as usize];
        if name.as_ref().is_none_or(|name| name.is_empty()) {
            *name = Some(shown(&probe.label.name));
        }
    }
    let functions = (0..).zip(functions).filter_map(|(func, name)| Some((func, name?))).collect::<Vec<_>>();
    let data = section.map_or(&[][..], |s| &module.bytes()[s.data.clone()]);
    let label_shift = |func: u32| naming.probes.binary_search_by_key(&naming.func_map.place(func), |p| p.id.0).is_ok();
    let mut out = Vec::new();
    let mut written = false;
    // Subsections are in ascending order. That of functions keeps its position, or gets the one that the order
    // requires.
    for (id, contents) in subsections(data) {
        if id >= FUNCTIONS && !written {
            write_functions(&functions, &mut out);
            written = true;
        }
        match id {
            FUNCTIONS => {}
            LOCALS | LABELS => {
                let func_map = |func| naming.func_map.place(func);
                let by = |func, label| match id == LABELS {
                    true => {
                        let outer = if label_shift(func) { naming.outer_labels } else { 0 };
                        let inner = naming.inner_labels.get(&func);
                        let inner = inner.map_or(0, |before| before.partition_point(|b| *b <= label));
                        i64::from(outer) + inner as i64
                    }
                    false => 0,
                };
                // A damaged subsection is dropped; the label stage has warned of it.
                if let Ok(moved) = indirect(contents, func_map, by) {
                    write_subsection(id, &moved, &mut out);
                }
            }
            // A damaged subsection would hide the functions after it from a strict reader.
            _ if is_whole(id, contents) => write_subsection(id, contents, &mut out),
            _ => {}
        }
    }
    if !written {
        write_functions(&functions, &mut out);
    }
    out
}

/// The inverse of [`relocate`] for a `name` section in canonical form. Returns the original if that was in canonical
/// form too.
pub(crate) fn restore(data: &[u8], func_map: &FuncMap, outer_labels: u32, probes: &[Probe]) -> Result<Vec<u8>> {
    let hooks = func_map.imported..func_map.imported + func_map.hooks;
    let probe = |func: u32| probes.binary_search_by_key(&func, |p| p.id.0).ok().map(|i| &probes[i]);
    let mut out = Vec::new();
    for (id, contents) in subsections(data) {
        match id {
            FUNCTIONS => {
                let names = name_map(contents)?;
                let mut kept: Vec<(u32, &str)> = names
                    .into_iter()
                    .filter(|(func, _)| {
                        let ours = hooks.contains(func) || *func >= func_map.first_trampoline && probe(*func).is_none();
                        !ours && probe(*func).is_none_or(|p| p.label.source == Source::NameSection)
                    })
                    .map(|(func, name)| (func_map.back(func), name))
                    .collect();
                kept.sort_by_key(|(func, _)| *func);
                write_functions(&kept, &mut out);
            }
            LOCALS | LABELS => {
                let by = |func, _| if id == LABELS && probe(func).is_some() { -i64::from(outer_labels) } else { 0 };
                write_subsection(id, &indirect(contents, |func| func_map.back(func), by)?, &mut out);
            }
            _ => write_subsection(id, contents, &mut out),
        }
    }
    Ok(out)
}

/// The subsections up to the first invalid one.
fn subsections(data: &[u8]) -> Vec<(u8, &[u8])> {
    let mut reader = BinaryReader::new(data, 0);
    let mut found = Vec::new();
    while !reader.eof() {
        let next = (|| -> wasmparser::Result<_> {
            let id = reader.read_u8()?;
            let len = reader.read_var_u32()? as usize;
            Ok((id, reader.read_bytes(len)?))
        })();
        match next {
            Ok(subsection) => found.push(subsection),
            Err(_) => break,
        }
    }
    found
}

/// Whether a copied subsection can be read to its end. One of an unknown kind is valid if its length is.
fn is_whole(id: u8, contents: &[u8]) -> bool {
    let mut reader = BinaryReader::new(contents, 0);
    match id {
        MODULE => reader.read_string().is_ok() && reader.eof(),
        FIELDS => indirect(contents, |index| index, |_, _| 0).is_ok(),
        4..=11 => name_map(contents).is_ok(),
        _ => true,
    }
}

/// Parses `vec(index, name)`. Names may have any length here, unlike those of imports and exports.
pub(crate) fn name_map(contents: &[u8]) -> Result<Vec<(u32, &str)>> {
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32()?;
    let mut names = Vec::new();
    for _ in 0..count {
        names.push((reader.read_var_u32()?, reader.read_unlimited_string()?));
    }
    at_end(&reader)?;
    Ok(names)
}

/// Relocates `vec(function, vec(index, name))`: functions and inner indices.
fn indirect(contents: &[u8], func: impl Fn(u32) -> u32, by: impl Fn(u32, u32) -> i64) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(contents, 0);
    let count = reader.read_var_u32()?;
    let mut out = Vec::new();
    count.encode(&mut out);
    for _ in 0..count {
        let old = reader.read_var_u32()?;
        func(old).encode(&mut out);
        let names = reader.read_var_u32()?;
        names.encode(&mut out);
        for _ in 0..names {
            let index = reader.read_var_u32()?;
            let index = i64::from(index) + by(old, index);
            (index.clamp(0, u32::MAX as i64) as u32).encode(&mut out);
            reader.read_unlimited_string()?.encode(&mut out);
        }
    }
    at_end(&reader)?;
    Ok(out)
}

fn at_end(reader: &BinaryReader<'_>) -> Result<()> {
    if reader.eof() {
        return Ok(());
    }
    let message = "bytes past the end of a name map";
    Err(wasmtrace_abi::error::Error::at(
        wasmtrace_abi::error::ErrorKind::Malformed,
        reader.original_position(),
        message,
    ))
}

fn write_functions(functions: &[(u32, impl AsRef<str>)], out: &mut Vec<u8>) {
    let mut contents = Vec::new();
    functions.len().encode(&mut contents);
    for (func, name) in functions {
        func.encode(&mut contents);
        name.as_ref().encode(&mut contents);
    }
    write_subsection(FUNCTIONS, &contents, out);
}

fn write_subsection(id: u8, contents: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    contents.encode(out);
}
