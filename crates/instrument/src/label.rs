//! The second stage of the compiler: finds the name and the source location of each function.
//!
//! The first of these sources that has a name for the function gives it:
//!
//! 1. for an imported function, its import (`wasi_snapshot_preview1.fd_write`)
//! 2. the `name` section
//! 3. an export
//! 4. DWARF (`DW_AT_linkage_name`, else `DW_AT_name` with its namespaces)
//! 5. its index: `func[17]`
//!
//! File and line come from DWARF, independently of the name's source: from the function's entry if its name does not
//! contradict the function's, otherwise from the first row of the line table in its body. Without DWARF they come from the
//! source map: those of the function's first segment. Rows and segments are near the declaration unless they belong to an
//! inlined function. A debug file
//! ([`crate::sidecar`]) provides names and DWARF that the module lacks. In a module with a [`Manifest`], names, files and
//! lines of hooked functions come from the Manifest: they were read when the module was instrumented.

use crate::warning::{Warning, WarningKind};
use std::collections::HashMap;
use std::sync::Arc;

use crate::module::names::function_names;
use crate::module::{FuncIdx, Module};
use crate::sidecar::Sidecars;
use wasmtrace_abi::hook::{OBSERVE_API, OBSERVE_OLD, ProbeId};
use wasmtrace_abi::label::{Label, Source};
use wasmtrace_abi::manifest::{Manifest, Probe, Probes};

#[cfg(feature = "dwarf-labels")]
mod claims;
#[cfg(feature = "dwarf-labels")]
mod dwarf;
pub mod lines;
mod subprogram;

use subprogram::Subprogram;

/// Labels of all functions of a module, imported functions first, with warnings about their sources.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    labels: Vec<Label>,
    /// One warning for each source that could not be read completely.
    pub warnings: Vec<Warning>,
}

impl std::ops::Index<FuncIdx> for Labels {
    type Output = Label;
    fn index(&self, func: FuncIdx) -> &Label {
        &self.labels[func.0 as usize]
    }
}

impl Labels {
    /// All functions with their labels.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FuncIdx, &Label)> {
        self.labels.iter().enumerate().map(|(i, l)| (FuncIdx(i as u32), l))
    }
}

/// Finds the label of every function. Never fails: a damaged source gives what is intact, and a warning.
pub fn label(module: &Module<'_>) -> Labels {
    label_with(module, &Sidecars::default())
}

/// Finds the label of every function like [`label`], using the module's sidecar files too.
pub fn label_with(module: &Module<'_>, sidecars: &Sidecars<'_>) -> Labels {
    label_from(module, sidecars, true)
}

/// Finds the names of functions like [`label`], without debug information.
pub(crate) fn names(module: &Module<'_>) -> Labels {
    label_from(module, &Sidecars::default(), false)
}

fn label_from(module: &Module<'_>, sidecars: &Sidecars<'_>, debug_info: bool) -> Labels {
    let mut warnings = Vec::new();
    let mut names = function_names(module, module.func_count(), &mut warnings);
    if let Some(file) = &sidecars.debug_file {
        let others = function_names(file, module.func_count(), &mut warnings);
        names.resize(names.len().max(others.len()), None);
        for (name, other) in names.iter_mut().zip(others) {
            *name = name.filter(|name| !name.is_empty()).or(other);
        }
    }
    let mut exports: HashMap<FuncIdx, &str> = HashMap::new();
    for (name, func) in module.exports() {
        exports.entry(*func).or_insert(name);
    }
    // What others call such a function tells more than its own name, which is often `_start`.
    let of_interfaces: HashMap<FuncIdx, &str> =
        module.exports().iter().filter(|(name, _)| is_of_interface(name)).map(|(name, func)| (*func, *name)).collect();
    let manifest = read_manifest(module, &mut warnings);
    #[cfg(not(feature = "dwarf-labels"))]
    let _ = debug_info;
    let mut debug: HashMap<FuncIdx, Subprogram> = HashMap::new();
    #[cfg(feature = "dwarf-labels")]
    if manifest.is_none() && debug_info {
        let all = [Some(module), sidecars.debug_file.as_ref()].into_iter().flatten();
        let mut tables = Vec::new();
        for symbols in all {
            let found = dwarf::subprograms(module, symbols, &names, &mut warnings);
            for (func, subprogram) in found.subprograms {
                debug.entry(func).or_insert(subprogram);
            }
            tables.extend(found.stale.is_none().then_some(symbols));
        }
        for symbols in tables {
            add_first_lines(module, symbols, &mut debug);
        }
    }
    let mut places = HashMap::new();
    if manifest.is_none()
        && let Some(map) = &sidecars.source_map
    {
        places = map.functions(module);
    }

    let original = crate::injected::original_index(module);
    let labels = (0..module.func_count())
        .map(FuncIdx)
        .map(|func| {
            let Subprogram { name: dwarf_name, file, line, language, .. } = debug.remove(&func).unwrap_or_default();
            // An empty name is useless, so the next source is used.
            let from_names = names.get(func.0 as usize).copied().flatten().filter(|n| !n.is_empty());
            let from_export = exports.get(&func).copied().filter(|n| !n.is_empty());
            let (name, source): (Arc<str>, Source) = if let Some(import) = module.imported_funcs().get(func.0 as usize)
            {
                (format!("{}.{}", import.module, import.name).into(), Source::Import)
            } else if let Some(name) = of_interfaces.get(&func) {
                ((*name).into(), Source::Export)
            } else if let Some(name) = from_names {
                (name.into(), Source::NameSection)
            } else if let Some(name) = from_export {
                (name.into(), Source::Export)
            } else if let Some(name) = dwarf_name.filter(|n| !n.is_empty()) {
                (name, Source::Dwarf)
            } else {
                (format!("func[{}]", func.0).into(), Source::Index)
            };
            let line = line.filter(|_| file.is_some());
            let (file, line) = match (file, places.remove(&func)) {
                (None, Some((file, line))) => (Some(file), Some(line)),
                (file, _) => (file, line),
            };
            Label { name, file, line, source, index: original(func), language }
        })
        .collect();
    let mut labels = Labels { labels, warnings };
    for probe in manifest.iter().flat_map(|m| &m.probes) {
        if let Some(label) = labels.labels.get_mut(probe.id.0 as usize) {
            *label = Label { index: label.index, ..probe.label.clone() };
        }
    }
    labels
}

/// Whether the name of an export is that of a function in an interface, as core modules of components have them:
/// `namespace:package/interface@version#function`.
fn is_of_interface(name: &str) -> bool {
    name.split_once('#').is_some_and(|(interface, _)| interface.contains(':') && interface.contains('/'))
}

/// Gives each function without a file that of the first row of the line table in its body.
#[cfg(feature = "dwarf-labels")]
fn add_first_lines(module: &Module<'_>, symbols: &Module<'_>, debug: &mut HashMap<FuncIdx, Subprogram>) {
    let Some(start) = module.code_start() else { return };
    let has_file = |func: &FuncIdx| debug.get(func).is_some_and(|subprogram| subprogram.file.is_some());
    let funcs: Vec<FuncIdx> = module.defined_funcs().filter(|func| !has_file(func)).collect();
    let range = |func: &FuncIdx| {
        let body = module.body(*func);
        (body.start - start) as u64..(body.end - start) as u64
    };
    let ranges: Vec<_> = funcs.iter().map(range).collect();
    for (func, line) in funcs.into_iter().zip(dwarf::first_lines(symbols, &ranges)) {
        let Some((file, line)) = line else { continue };
        let subprogram = debug.entry(func).or_default();
        // A call that the compiler made has no line.
        (subprogram.file, subprogram.line) = (Some(file), Some(line).filter(|line| *line > 0));
    }
}

/// The functions that the hooks of a module may report, for a host that runs it.
pub fn probes(module: &Module<'_>) -> Probes {
    match read_manifest(module, &mut Vec::new()) {
        Some(manifest) => {
            let original = crate::injected::original_index(module);
            let label = |probe: Probe| Label { index: original(FuncIdx(probe.id.0)), ..probe.label };
            Probes {
                input_sha256: Some(manifest.input_sha256),
                labels: manifest.probes.into_iter().map(|probe| (probe.id, label(probe))).collect(),
            }
        }
        None => {
            let labels = label(module).labels.into_iter();
            Probes { input_sha256: None, labels: (0..).map(ProbeId).zip(labels).collect() }
        }
    }
}

/// Whether a function belongs to the manual API or to one of its bindings, ours (`bindings/`) or the Observe SDK's.
/// Such functions are only hooked if a rule selects them: a helper that opens a span is not useful in the trace. Hosts
/// ignore hooks of other compilers in them.
#[doc(hidden)]
pub fn is_manual_api(label: &Label) -> bool {
    if label.source == Source::Import {
        return [OBSERVE_API, OBSERVE_OLD]
            .iter()
            .any(|m| label.name.strip_prefix(m).is_some_and(|n| n.starts_with('.')));
    }
    // Mangled names contain the words unchanged, and demangling all names would take longer than hooking them.
    if !["wasmtrace", "observe_api"].iter().any(|word| label.name.contains(word)) {
        return false;
    }
    let name = label.demangled();
    let name = name.trim_start_matches(['<', '&']);
    let bindings = ["wasmtrace_", "wasmtrace::", "wasmtrace_guest::", "wasmtrace.", "observe_api_", "observe_api::"];
    bindings.iter().any(|b| name.starts_with(b))
}

/// The DWARF versions of a module's units, ascending. Empty without the feature `dwarf-labels`.
#[doc(hidden)]
pub fn dwarf_versions(module: &Module<'_>) -> Vec<u16> {
    #[cfg(feature = "dwarf-labels")]
    return dwarf::versions(module);
    #[cfg(not(feature = "dwarf-labels"))]
    {
        let _ = module;
        Vec::new()
    }
}

fn read_manifest(module: &Module<'_>, warnings: &mut Vec<Warning>) -> Option<Manifest> {
    match module.manifest()? {
        Ok(manifest) => Some(manifest),
        Err(e) => {
            warnings.push(Warning::new(WarningKind::Label, e.to_string()));
            None
        }
    }
}
