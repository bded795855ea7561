//! Instruments components: their core modules like modules, and around these the definitions that connect the hooks with
//! the host.
//!
//! ```text
//!  &[u8] ─scan→ Scanned ─plan→ ComponentPlan ─write→ InstrumentedComponent { wasm, manifest, … }
//!               nested components,  which modules,          each module by `rewrite`,
//!               modules, origins    which functions         the sections around them
//! ```
//!
//! Each hooked core module has the hook set [`HookSet::Component`] and a Manifest of its own: it is instrumented, checked
//! and stripped like a module that stands alone. Its hooks call the *hook module* of its component, which is inserted with
//! everything that it needs as one group of sections (see `group.rs`). Definitions behind the group move by a constant
//! number in each index space.
//!
//! A component imports one interface for its hooks: see [`wasmtrace_abi::component`].

use std::collections::BTreeMap;

use wasm_encoder::Encode;
use wasmtrace_abi::component::{ComponentManifest, HookedInstance, MANIFEST_SECTION, RECORDER_PACKAGE};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{COMPONENT_HOOK_SETS, HookSet, ProbeId};
use wasmtrace_abi::label::Label;
use wasmtrace_abi::manifest::{Manifest, Probes, RestoreData};
use wasmtrace_abi::text::printable;

use crate::injected;
use crate::label::{Labels, label};
use crate::module::Module;
use crate::options::Options;
use crate::rewrite::{self, CloseOnExit};
use crate::select::{Plan, Summary};
use crate::sidecar::Sidecars;
use crate::warning::Warning;

mod attribution;
mod definitions;
mod group;
mod hook_module;
mod named;
mod plan;
mod recorder;
mod restore;
mod scan;
mod scope;
mod spaces;
mod strip;
mod verify;
mod write;

use plan::{ComponentPlan, PlannedModule};
use scan::scan;

pub use attribution::{AttributedModule, Attribution, attribute};
pub use verify::{VerifiedComponent, verify};

/// An instrumented component, with facts about the rewriting.
#[derive(Debug, Clone)]
pub struct InstrumentedComponent {
    /// The bytes of the component.
    pub wasm: Vec<u8>,
    /// The Manifest that the component contains; `None` if nothing was hooked and the output equals the input. The restoring
    /// data is only in the component.
    pub manifest: Option<ComponentManifest>,
    /// The core modules, in the order of the file.
    pub modules: Vec<InstrumentedModule>,
    /// Warnings. Those about one module begin with its name.
    pub warnings: Vec<Warning>,
}

/// A core module of an [`InstrumentedComponent`].
#[derive(Debug, Clone)]
pub struct InstrumentedModule {
    /// The name of the module: from its `name` section, else from the component, else its number.
    pub name: String,
    /// A summary of the selected functions.
    pub selection: Summary,
    /// The Manifest of the module; `None` if it is not hooked.
    pub manifest: Option<Manifest>,
}

/// A core module of a component, with the labels and the selection of its functions.
#[derive(Debug)]
pub struct ComponentModule<'a> {
    /// The name of the module, like [`InstrumentedModule::name`].
    pub name: String,
    /// The offset of the module in the component, in bytes.
    pub offset: usize,
    /// The module. Offsets in it count from its own start.
    pub module: Module<'a>,
    /// The labels of its functions.
    pub labels: Labels,
    /// The functions that would be hooked.
    pub plan: Plan,
    /// The reason why the module gets no hooks although functions are selected.
    pub refused: Option<&'static str>,
}

/// The contents of a component, without instrumenting it.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The Manifest, if the component is instrumented.
    pub manifest: Option<ComponentManifest>,
    /// The core modules, in the order of the file. Those that instrumentation added are not included.
    pub modules: Vec<ComponentModule<'a>>,
    /// The number of components, with the root component.
    pub components: usize,
    /// Warnings of the selection.
    pub warnings: Vec<Warning>,
}

/// Whether the bytes begin like a component.
pub fn is_component(bytes: &[u8]) -> bool {
    scan::is_component(bytes)
}

/// Instruments a component.
///
/// Uses `options.select`, `options.force` and `options.no_validate`. Of `options.rewrite`, `hooks` is one of
/// [`COMPONENT_HOOK_SETS`], and `close_on_exit`, `foreign_exceptions` and `crossings` have no effect.
///
/// ```
/// use wasmtrace_instrument::{Options, component, rewrite};
/// use wasmtrace_abi::hook::HookSet;
///
/// let wasm = wat::parse_str(r#"(component
///     (core module $m (func (export "go") (result i32) i32.const 7))
///     (core instance $i (instantiate $m))
///     (func (export "go") (result u32) (canon lift (core func $i "go"))))"#)?;
/// let rewrite = rewrite::Options { hooks: HookSet::Buffer, ..Default::default() };
/// let hooked = component::instrument(&wasm, &Options { rewrite, ..Default::default() })?;
/// assert_eq!(component::verify(&wasm, &hooked.wasm)?.hooked, 1);
/// assert_eq!(component::strip(&hooked.wasm)?, wasm);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Malformed`] with the offset of the first invalid byte. [`ErrorKind::AlreadyHooked`] if the component has
/// hooks and `options.force` is not set. [`ErrorKind::Unsupported`] for asynchronous functions, if the component imports
/// something with the name of the recorder, or if `hooks` is another set. [`ErrorKind::Limit`] if a limit of engines
/// would be exceeded.
pub fn instrument(bytes: &[u8], options: &Options) -> Result<InstrumentedComponent> {
    let hooks = options.rewrite.hooks;
    if !COMPONENT_HOOK_SETS.contains(&hooks) {
        let message =
            format!("the hook set {} is not available for components: use buffer, observe or wasi", hooks.name());
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let is_wrapper = recorder::unwrapped(bytes)?.is_some();
    let scanned = scan(bytes)?;
    if is_wrapper || scanned.manifest()?.is_some() {
        if options.force {
            return instrument(&strip(bytes)?, options);
        }
        let message = "the component is hooked already: use it as it is, strip it, or instrument it again with --force";
        return Err(Error::new(ErrorKind::AlreadyHooked, message));
    }
    if let Some(at) = scanned.reserved {
        let message =
            format!("the component imports an interface of `{RECORDER_PACKAGE}` or of the Observe ABI itself");
        return Err(Error::at(ErrorKind::Unsupported, at, message));
    }
    let ComponentPlan { modules, scopes, mut warnings } = plan::plan(&scanned, options)?;
    let mut hooked = Vec::with_capacity(modules.len());
    let mut instrumented = Vec::with_capacity(modules.len());
    for planned in &modules {
        let output = planned.is_hooked.then(|| rewrite_module(planned, options)).transpose()?;
        let selection = planned.plan.summary();
        let (wasm, manifest) = match output {
            Some(output) => {
                let of_module = |warning: Warning| Warning {
                    message: format!("module `{}`: {}", printable(&planned.name), warning.message),
                    ..warning
                };
                warnings.extend(output.warnings.into_iter().map(of_module));
                (Some(output.wasm), output.manifest)
            }
            None => (None, None),
        };
        instrumented.push(InstrumentedModule { name: planned.name.clone(), selection, manifest });
        hooked.push(wasm);
    }
    let plan = ComponentPlan { modules, scopes, warnings: Vec::new() };
    if plan.scopes[0].insertion.is_none() {
        return Ok(InstrumentedComponent { wasm: bytes.to_vec(), manifest: None, modules: instrumented, warnings });
    }
    let written = write::write(&scanned, &plan, hooks, &hooked, 0, &[])?;
    let mut restore = Vec::new();
    restore::encode(&written.changes, &mut restore);
    let manifest = ComponentManifest {
        hooks,
        input_sha256: crate::hash::sha256(bytes),
        instances: instances(&plan),
        restore: options.rewrite.restore.then(|| RestoreData::new(restore)),
    };
    let mut wasm = written.bytes;
    append_manifest(&manifest, &mut wasm);
    refuse_what_engines_refuse(&wasm)?;
    if hooks == HookSet::Wasi {
        wasm = recorder::wrap(&wasm)?;
    }
    let manifest = Some(ComponentManifest { restore: None, ..manifest });
    Ok(InstrumentedComponent { wasm, manifest, modules: instrumented, warnings })
}

/// Instruments a core module with the hook set [`HookSet::Component`].
fn rewrite_module(planned: &PlannedModule<'_>, options: &Options) -> Result<rewrite::Rewritten> {
    let options = rewrite::Options {
        hooks: HookSet::Component,
        close_on_exit: CloseOnExit::Never,
        foreign_exceptions: planned.foreign_exceptions,
        crossings: planned.crossings.clone(),
        ..options.rewrite.clone()
    };
    let PlannedModule { module, labels, plan, .. } = planned;
    rewrite::rewrite_with(module, &Sidecars::default(), labels, plan, &options, |module| Ok(module.to_vec()))
}

/// The hooked instances, as the Manifest lists them.
fn instances(plan: &ComponentPlan<'_>) -> Vec<HookedInstance> {
    let sites: Vec<_> = plan.scopes.iter().flat_map(|scope| &scope.sites).collect();
    let position = |module: usize| plan.modules[..module].iter().filter(|planned| planned.is_hooked).count() as u32;
    let instance = sites.iter().map(|site| HookedInstance {
        module: position(site.module),
        first_probe: site.first_probe,
        name: site.name.clone(),
    });
    instance.collect()
}

fn append_manifest(manifest: &ComponentManifest, out: &mut Vec<u8>) {
    let mut contents = Vec::new();
    MANIFEST_SECTION.encode(&mut contents);
    contents.extend(manifest.encode());
    out.push(write::id::CUSTOM);
    contents.as_slice().encode(out);
}

/// Scans the output: with the hooks it may exceed a limit.
fn refuse_what_engines_refuse(output: &[u8]) -> Result<()> {
    scan(output)
        .map(drop)
        .map_err(|e| Error::new(ErrorKind::Limit, format!("with the hooks the component would not be valid: {e}")))
}

/// Returns the original component, byte for byte. A component without hooks is returned as it is.
///
/// # Errors
/// [`ErrorKind::Restore`] if the component has hooks but no Manifest, if the Manifest has no restoring data, or if another
/// tool changed the component after instrumentation. The errors of [`instrument`] if the component is not valid.
pub fn strip(hooked: &[u8]) -> Result<Vec<u8>> {
    strip::strip(recorder::unwrapped(hooked)?.unwrap_or(hooked))
}

/// Reads a component: its core modules with the labels of their functions, and the selection of `options`.
///
/// # Errors
/// Those of [`instrument`] about the input.
pub fn read<'a>(bytes: &'a [u8], options: &Options) -> Result<Contents<'a>> {
    let bytes = recorder::unwrapped(bytes)?.unwrap_or(bytes);
    let scanned = scan(bytes)?;
    let manifest = scanned.manifest()?;
    let components = scanned.scopes.len();
    if manifest.is_none() {
        let ComponentPlan { modules, warnings, .. } = plan::plan(&scanned, options)?;
        let modules = modules.into_iter().zip(&scanned.modules).map(|(planned, core)| ComponentModule {
            name: planned.name,
            offset: core.range.start,
            module: planned.module,
            labels: planned.labels,
            plan: planned.plan,
            refused: planned.refused,
        });
        return Ok(Contents { manifest, modules: modules.collect(), components, warnings });
    }
    let modules = named::named_modules(&scanned, !options.no_validate)?.into_iter();
    let modules = modules.map(|(at, name, module)| ComponentModule {
        name,
        offset: scanned.modules[at].range.start,
        labels: label(&module),
        plan: Plan::default(),
        module,
        refused: None,
    });
    Ok(Contents { manifest, modules: modules.collect(), components, warnings: Vec::new() })
}

/// The functions that the hooks of an instrumented component may report, for a host that runs it. The names begin with that
/// of the instance and `!`, if there are several. `None` for a component without hooks of this version.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the component is not valid. [`ErrorKind::Restore`] if a Manifest is damaged.
pub fn probes(bytes: &[u8]) -> Result<Option<(ComponentManifest, Probes)>> {
    let scanned = scan(recorder::unwrapped(bytes)?.unwrap_or(bytes))?;
    let Some(manifest) = scanned.manifest()? else { return Ok(None) };
    let mut hooked = Vec::new();
    for at in 0..scanned.modules.len() {
        let module = named::parse_module(&scanned, at, false)?;
        if module.manifest().is_some() && injected::is_hooked(&module) {
            hooked.push(crate::label::probes(&module));
        }
    }
    let mut labels = BTreeMap::new();
    for HookedInstance { module, first_probe, name } in &manifest.instances {
        let Some(probes) = hooked.get(*module as usize) else { continue };
        for (id, label) in &probes.labels {
            let Some(id) = id.0.checked_add(*first_probe) else { continue };
            let is_only = manifest.instances.len() == 1;
            let name = if is_only { label.name.clone() } else { format!("{name}!{}", label.name).into() };
            labels.insert(ProbeId(id), Label { name, ..label.clone() });
        }
    }
    let probes = Probes { input_sha256: Some(manifest.input_sha256), labels };
    Ok(Some((manifest, probes)))
}

/// Identifies the hooked modules of an instrumented component. A recording of [`HookSet::Wasi`] has the same number.
///
/// # Errors
/// Those of [`probes`].
pub fn build(bytes: &[u8]) -> Result<u64> {
    recorder::build(&scan(recorder::unwrapped(bytes)?.unwrap_or(bytes))?)
}

/// The Manifest of an instrumented component; `None` for a component without hooks.
///
/// A host that reads buffers by their address needs this check: it makes sure that only hook modules of this version call
/// the recorder.
///
/// # Errors
/// [`ErrorKind::Malformed`] if the component is not valid. [`ErrorKind::Restore`] if it calls the recorder in another way
/// than hook modules of this version do.
pub fn check_hooks(bytes: &[u8]) -> Result<Option<ComponentManifest>> {
    let scanned = scan(bytes)?;
    let manifest = scanned.manifest()?;
    let records_itself = manifest.as_ref().is_some_and(|manifest| manifest.hooks == HookSet::Wasi);
    if records_itself || recorder::unwrapped(bytes)?.is_some() {
        let message =
            "this component records itself: run it on any host and use `wasmtrace extract`, or run the original";
        return Err(Error::new(ErrorKind::AlreadyHooked, message));
    }
    let mut instances = manifest.as_ref().map_or(&[][..], |manifest| &manifest.instances);
    scanned.scopes.iter().try_for_each(|scope| group::check(&scanned, scope, &mut instances))?;
    Ok(manifest)
}
