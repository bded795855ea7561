//! The second stage: what each function is called, and where its source stands.
//!
//! Sources are asked in this order, and the first that knows a name gives it:
//!
//! 1. for an imported function, its import (`wasi_snapshot_preview1.fd_write`)
//! 2. the `name` section
//! 3. an export
//! 4. DWARF (`DW_AT_linkage_name`, else `DW_AT_name` with its namespaces)
//! 5. its index: `func[17]`
//!
//! File and line come from DWARF whatever gives the name; where there is none, from the source map: those of the function's
//! first segment, which is near its declaration, unless that is of a function that was inlined. Names and DWARF of a debug
//! file ([`crate::sidecar`]) stand for those that the module has not. A module that relocates our [`Manifest`] takes
//! names, files and lines of hooked functions from there: all of that was read when it was hooked.

use crate::warning::{Warning, WarningKind};
use std::collections::HashMap;
use std::sync::Arc;

use crate::module::names::function_names;
use crate::module::{FuncIdx, Module};
use crate::sidecar::Sidecars;
use wasmtrace_abi::hook::{OBSERVE_API, OBSERVE_OLD, ProbeId};
use wasmtrace_abi::label::{Label, Source};
use wasmtrace_abi::manifest::{Manifest, Probes};

#[cfg(feature = "dwarf-labels")]
mod dwarf;
pub mod lines;
mod subprogram;

use subprogram::Subprogram;

/// Labels of all functions of a module, imported ones first; and what was wrong with their sources.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    labels: Vec<Label>,
    /// One sentence for each source that could not be read whole.
    pub warnings: Vec<Warning>,
}

impl std::ops::Index<FuncIdx> for Labels {
    type Output = Label;
    fn index(&self, func: FuncIdx) -> &Label {
        &self.labels[func.0 as usize]
    }
}

impl Labels {
    /// Every function with its label.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (FuncIdx, &Label)> {
        self.labels.iter().enumerate().map(|(i, l)| (FuncIdx(i as u32), l))
    }
}

/// Finds the label of every function. Never fails: a source that is damaged gives what it holds and a warning.
pub fn label(module: &Module<'_>) -> Labels {
    label_with(module, &Sidecars::default())
}

/// The same, with what the files sidecars the module say.
pub fn label_with(module: &Module<'_>, sidecars: &Sidecars<'_>) -> Labels {
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
    let manifest = read_manifest(module, &mut warnings);
    let mut debug: HashMap<FuncIdx, Subprogram> = HashMap::new();
    #[cfg(feature = "dwarf-labels")]
    if manifest.is_none() {
        debug = dwarf::subprograms(module, module, &mut warnings);
        if let Some(file) = &sidecars.debug_file {
            for (func, subprogram) in dwarf::subprograms(module, file, &mut warnings) {
                debug.entry(func).or_insert(subprogram);
            }
        }
    }
    let mut places = HashMap::new();
    if manifest.is_none()
        && let Some(map) = &sidecars.source_map
    {
        places = map.functions(module);
    }

    let labels = (0..module.func_count())
        .map(FuncIdx)
        .map(|func| {
            let Subprogram { name: dwarf_name, file, line, language } = debug.remove(&func).unwrap_or_default();
            // An empty name says nothing to anybody, so the next source is asked.
            let from_names = names.get(func.0 as usize).copied().flatten().filter(|n| !n.is_empty());
            let from_export = exports.get(&func).copied().filter(|n| !n.is_empty());
            let (name, source): (Arc<str>, Source) = if let Some(import) = module.imported_funcs().get(func.0 as usize)
            {
                (format!("{}.{}", import.module, import.name).into(), Source::Import)
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
            Label { name, file, line, source, language }
        })
        .collect();
    let mut labels = Labels { labels, warnings };
    for probe in manifest.iter().flat_map(|m| &m.probes) {
        if let Some(label) = labels.labels.get_mut(probe.id.0 as usize) {
            *label = probe.label.clone();
        }
    }
    labels
}

/// What the hooks of a module are about, for a host that runs it.
pub fn probes(module: &Module<'_>) -> Probes {
    match read_manifest(module, &mut Vec::new()) {
        Some(manifest) => Probes {
            input_sha256: Some(manifest.input_sha256),
            labels: manifest.probes.into_iter().map(|p| (p.id, p.label)).collect(),
        },
        None => {
            let labels = label(module).labels.into_iter();
            Probes { input_sha256: None, labels: (0..).map(ProbeId).zip(labels).collect() }
        }
    }
}

/// Whether a function belongs to the manual API or to a binding of it: one of ours (`bindings/`), or of the Observe SDK.
/// Such functions are not hooked unless a rule says so, since a helper that opens a span is not what a person wants to
/// see in it; and a host leaves out what another compiler's hooks say of them.
pub fn is_manual_api(label: &Label) -> bool {
    if label.source == Source::Import {
        return [OBSERVE_API, OBSERVE_OLD]
            .iter()
            .any(|m| label.name.strip_prefix(m).is_some_and(|n| n.starts_with('.')));
    }
    // A mangled name holds the words as they are, and to demangle all names takes longer than to hook them.
    if !["wasmtrace", "observe_api"].iter().any(|word| label.name.contains(word)) {
        return false;
    }
    let name = label.demangled();
    let name = name.trim_start_matches(['<', '&']);
    let bindings = ["wasmtrace_", "wasmtrace::", "wasmtrace_guest::", "wasmtrace.", "observe_api_", "observe_api::"];
    bindings.iter().any(|b| name.starts_with(b))
}

/// The versions of DWARF that a module's units have, ascending; empty without the feature `dwarf`.
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
