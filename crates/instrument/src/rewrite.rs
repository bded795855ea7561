//! Writes the instrumented module, from the input module and a [`Plan`].
//!
//! The input is spliced and not decompiled. Unaffected sections are copied, and bodies are copied with edits in
//! between. A byte changes only if hooks require it.
//!
//! `body` rewrites functions, `splice` rewrites numbers, and `sections` rewrites sections. [`crate::verify`] proves
//! that only hooks were added.

use crate::hash::sha256;
use crate::hooks::exit_guard::ExitGuard;
use crate::hooks::frame::HookPair;
use crate::hooks::wrapper::Wrapper;
use crate::hooks::{hook_names, roles};
use crate::label::Labels;
use crate::limits::MAX_TYPE_SIZE;
use crate::links::{Link, build_id};
use crate::mapping::OffsetMap;
use crate::module::{FuncIdx, Module, ParseOptions, Site, code_of, id, parse_with};
use crate::relocate::names::Naming;
use crate::relocate::{self, Relocation, target_features};
use crate::select::{self, Plan};
use crate::sidecar::Sidecars;
use crate::warning::{Warned, Warning, WarningKind};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::manifest::Manifest;

pub(crate) mod body;
mod code;
mod debug_file;
mod layout;
mod options;
mod output;
mod probes;
mod sections;
pub(crate) mod splice;
mod trampolines;
mod types;

pub use options::{CloseOnExit, Crossings, Options};
pub use output::Unwritten;

use code::Code;
use layout::Layout;
use output::Output;
use probes::probes;
use sections::Assembled;

/// An instrumented module, with its sidecar files and facts about the rewriting.
#[derive(Debug, Clone)]
pub struct Rewritten<W = Vec<u8>> {
    /// The bytes of the module, or the result of the writer that was passed to [`rewrite_with`].
    pub wasm: W,
    /// The mapping from old to new code offsets.
    pub offsets: OffsetMap,
    /// The Manifest that the module contains; `None` if nothing was hooked and the output equals the input. The
    /// restoring data is only in the module.
    pub manifest: Option<Manifest>,
    /// The source map of the output, if it is a separate file.
    pub source_map: Option<Vec<u8>>,
    /// The debug file of the output, if it has one.
    pub debug_file: Option<Vec<u8>>,
    /// A summary of the selected functions.
    pub selection: select::Summary,
    /// Warnings: a function without hooks, dropped debug information, a dropped link.
    pub warnings: Vec<Warning>,
}

/// Instruments `module` with the hooks that `plan` selects.
///
/// If the plan is empty, the output equals the input, byte for byte.
///
/// # Errors
/// [`ErrorKind::Limit`] if the hooks would take the module past a limit of engines. [`ErrorKind::Unsupported`] if the
/// hook set has a buffer and the module has a shared memory: several threads would write into one buffer.
pub fn rewrite(module: &Module<'_>, labels: &Labels, plan: &Plan, options: &Options) -> Result<Rewritten> {
    rewrite_with(module, &Sidecars::default(), labels, plan, options, |module| Ok(module.to_vec()))
}

/// Instruments `module` together with its sidecar files, and passes the output to `write`.
///
/// `write` can stream the output, which is then never in memory as a whole. `write` is called once, after all checks
/// of the output.
///
/// # Errors
/// Those of [`rewrite`], and those of `write`.
pub fn rewrite_with<W, E: From<Error>>(
    module: &Module<'_>,
    sidecars: &Sidecars<'_>,
    labels: &Labels,
    plan: &Plan,
    options: &Options,
    write: impl FnOnce(&Unwritten<'_>) -> Result<W, E>,
) -> Result<Rewritten<W>, E> {
    let (mut write, mut written) = (Some(write), None);
    let mut once = |module: &Unwritten<'_>| written = write.take().map(|write| write(module));
    let Rewritten { wasm: (), offsets, manifest, source_map, debug_file, selection, warnings } =
        compile(module, sidecars, labels, plan, options, &mut once)?;
    let wasm = written.expect("a checked output is written")?;
    Ok(Rewritten { wasm, offsets, manifest, source_map, debug_file, selection, warnings })
}

/// Runs the stages after selection: plan, layout, measured bodies, Manifest, relocated sections, output. The output is
/// written once, as the last step.
fn compile(
    module: &Module<'_>,
    sidecars: &Sidecars<'_>,
    labels: &Labels,
    plan: &Plan,
    options: &Options,
    write: &mut dyn FnMut(&Unwritten<'_>),
) -> Result<Rewritten<()>> {
    let (selection, mut warnings) = (plan.summary(), Vec::new());
    let plan = &without_shared(module, plan).tell(&mut warnings);
    if plan.is_empty() && options.crossings.is_empty() {
        return Ok(Rewritten { warnings, ..unchanged(module, selection, write) });
    }
    let layout = &lay_out(module, plan, options)?.tell(&mut warnings);
    let Measured { code, input_sha256 } = measure(module, plan, layout)?;
    let mut quiet = layout.pairs.iter().filter(|(_, pair)| **pair == HookPair::Quiet);
    if let Some((func, _)) = quiet.find(|(func, _)| code.left_out.contains_key(func)) {
        let message = format!("function {} must report to the hooks, but has no room for them", func.0);
        return Err(Error::new(ErrorKind::Limit, message));
    }
    let manifest = Manifest {
        hooks: options.hooks,
        buffer: layout.buffer.clone(),
        input_sha256,
        build_id: build_id(module).unwrap_or_default().to_vec(),
        probes: probes(module, labels, plan, layout, &code).tell(&mut warnings),
        restore: None,
    };
    let hook_names = hook_names(options.hooks, layout.func_map.imported, layout.exit_guard.as_ref());
    let features = used_features(module, layout, &manifest);
    let mut relocation = Relocation {
        module,
        naming: Naming {
            func_count: module.func_count(),
            func_map: &layout.func_map,
            outer_labels: layout.code.labels().0 + layout.wrapper.labels(),
            inner_labels: &code.labels,
            probes: &manifest.probes,
            hook_names: &hook_names,
            demangle: options.demangle,
        },
        offsets: &code.offsets,
        dwarf: match options.debug_info {
            true => relocate::dwarf::relocate(module, &code.offsets).tell(&mut warnings),
            false => relocate::dwarf::dropped(module),
        },
        links: sidecars.links(module).tell(&mut warnings),
        source_map: sidecars.source_map.as_ref(),
        build_id: build_id(module).map(|id| relocate::build_id(id, |see| code.show(see))),
        features: &features,
    };
    let Assembled { mut output, restore } =
        sections::assemble(layout, &mut relocation, &code, options.restore)?.tell(&mut warnings);
    let restore = options.restore.then(|| restore.encode());
    sections::add_manifest(manifest.encode_with(restore.as_ref()), &mut output);
    drop(restore); // it may be large
    let unwritten = Unwritten::new(module.bytes(), Some(&code), &output);
    let source_map = source_map(sidecars, &relocation, output.code_start());
    let hook = |file: &Module<'_>| {
        rewrite(file, labels, plan, options).map(|hooked| Warned { value: hooked.wasm, warnings: hooked.warnings })
    };
    let debug_file = match (&relocation.links.debug_file, &sidecars.debug_file) {
        (Link::Named(_), Some(file)) => code_of(&unwritten.to_vec())
            .map(|code| debug_file::relocate(file, code, &relocation, hook).tell(&mut warnings)),
        _ => None,
    };
    refuse_what_engines_refuse(module, &unwritten)?;
    write(&unwritten);
    let (offsets, manifest) = (code.offsets, Some(manifest));
    Ok(Rewritten { wasm: (), offsets, manifest, source_map, debug_file, selection, warnings })
}

/// Removes shared functions from the plan. A shared function can only call shared functions, and the imports of the
/// hooks are not shared.
fn without_shared(module: &Module<'_>, plan: &Plan) -> Warned<Plan> {
    let shared: Vec<FuncIdx> = plan.iter().filter(|func| module.is_shared(*func)).collect();
    let message = || format!("{} shared function(s) are not hooked: they cannot call the host's hooks", shared.len());
    let warnings = if shared.is_empty() { vec![] } else { vec![Warning::new(WarningKind::NotHooked, message())] };
    Warned { value: plan.without(&shared), warnings }
}

/// Decides what is appended and how indices move.
fn lay_out(module: &Module<'_>, plan: &Plan, options: &Options) -> Result<Warned<Layout>> {
    let mut warnings = Vec::new();
    let layout = match Layout::new(module, plan, options, options.guards_exits(module)) {
        Err(e) if options.close_on_exit == CloseOnExit::WhereItExits && options.guards_exits(module) => {
            let message = format!("there is no exit guard, so calls that are open at exit stay open: {}", e.message());
            warnings.push(Warning::new(WarningKind::Trace, message));
            Layout::new(module, plan, options, false)?
        }
        layout => layout?,
    };
    if options.close_on_exit != CloseOnExit::Never && !options.hooks.has_buffer() && roles::never_closes(module) {
        let message = "the module opens spans and closes none: a host that keeps calls and spans on one stack loses the trace (import \
                       span-exit too, and call it)";
        warnings.push(Warning::new(WarningKind::Trace, message));
    }
    if let Some(memory) = module
        .memories()
        .first()
        .filter(|_| layout.code.reports_growth() && !layout.memory_grow && uses_memory_grow(module))
    {
        let width = if memory.memory64 { "64-bit" } else { "other" };
        let message = format!("memory.grow of a {width} memory is not reported: the hook set has no event for it");
        warnings.push(Warning::new(WarningKind::NotHooked, message));
    }
    Ok(Warned { value: layout, warnings })
}

/// All bodies of the output, measured, and the SHA-256 of the input.
struct Measured<'c, 'a> {
    code: Code<'c, 'a>,
    input_sha256: [u8; 32],
}

fn measure<'c, 'a>(module: &'c Module<'a>, plan: &'c Plan, layout: &'c Layout) -> Result<Measured<'c, 'a>> {
    let trampolines = layout.func_map.trampolines.iter().map(|import| FuncIdx(*import));
    let trampolines = trampolines.map(|import| trampolines::body(module, import, plan.contains(import), layout));
    let appended = trampolines.chain(layout.exit_guard.iter().flat_map(ExitGuard::bodies)).collect();
    // SHA-256 is sequential, so one thread computes it while the others measure.
    let (code, input_sha256) =
        crate::parallel::both(|| Code::measure(module, plan, layout, appended), || sha256(module.bytes()));
    Ok(Measured { code: code?, input_sha256 })
}

/// The WebAssembly features beyond version 1.0 that the hooks use.
fn used_features(module: &Module<'_>, layout: &Layout, manifest: &Manifest) -> Vec<&'static str> {
    target_features::used_by_hooks(
        layout.exit_guard.is_some(),
        layout.wrapper == Wrapper::TryTable && !manifest.probes.is_empty(),
        layout.buffer.is_some() && !module.memories().is_empty(),
    )
}

/// The source map of the output, if it is a separate file.
fn source_map(sidecars: &Sidecars<'_>, relocation: &Relocation<'_, '_>, code_start: Option<usize>) -> Option<Vec<u8>> {
    let (Link::Named(_), Some(map)) = (&relocation.links.source_map, &sidecars.source_map) else { return None };
    let old = relocation.module.section(id::CODE).map_or(0, |code| code.contents.start);
    Some(map.relocate(relocation.offsets, (old, code_start?)))
}

/// Validates the structure of the output if the module is close to a limit that no other code here checks.
fn refuse_what_engines_refuse(module: &Module<'_>, output: &Unwritten<'_>) -> Result<()> {
    if !is_near_the_limit_of_types(module) {
        return Ok(());
    }
    let sections = ParseOptions { validate: false, ..Default::default() };
    match parse_with(&output.to_vec(), &sections) {
        Ok(_) => Ok(()),
        Err(e) => {
            let message = format!("with the hooks the module would be too large: {}", e.message());
            Err(Error::new(ErrorKind::Limit, message))
        }
    }
}

/// Whether the module is close to the engines' limit on the total type size of all imports and exports.
///
/// A function counts its parameters and results plus two. A tag counts like the function of its type. Every other item
/// counts as one.
fn is_near_the_limit_of_types(module: &Module<'_>) -> bool {
    const MOST_OF_A_TAG: usize = 1000 + 1000 + 2; // parameters, results
    let size = |func: FuncIdx| 2 + module.func_type(func).params().len() + module.func_type(func).results().len();
    let imports = module.imported_funcs().len() as u32;
    let funcs = (0..imports).map(FuncIdx).chain(module.exports().iter().map(|(_, func)| *func)).map(size);
    let exports = module.all_exports();
    let exported_tags = exports.iter().filter(|export| export.kind == wasmparser::ExternalKind::Tag).count();
    let tags = (module.imported_tags() as usize + exported_tags) * MOST_OF_A_TAG;
    funcs.sum::<usize>() + tags + module.import_count() + exports.len() > MAX_TYPE_SIZE - 1000
}

fn unchanged(module: &Module<'_>, selection: select::Summary, write: &mut dyn FnMut(&Unwritten<'_>)) -> Rewritten<()> {
    let mut output = Output::default();
    output.input(0..module.bytes().len());
    write(&Unwritten::new(module.bytes(), None, &output));
    Rewritten {
        wasm: (),
        offsets: OffsetMap::default(),
        manifest: None,
        source_map: None,
        debug_file: None,
        selection,
        warnings: Vec::new(),
    }
}

/// Whether any body grows memory 0.
fn uses_memory_grow(module: &Module<'_>) -> bool {
    module.defined_funcs().any(|func| module.sites(func).any(|(_, site)| site == Site::MemoryGrow))
}
