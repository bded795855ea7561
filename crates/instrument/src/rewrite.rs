//! Module + Plan → the hooked module.
//!
//! A splice, not a decompilation: whole sections are copied, bodies are copied with edits in between, and every byte
//! that has no reason to change does not. See `body` for what happens inside of a function, `splice` for numbers,
//! `assemble` for sections, and [`crate::check`] for the proof that only hooks were added.

use crate::hooks::exit_guard::ExitGuard;
use crate::hooks::roles;
use crate::hooks::wrapper::Wrapper;
use crate::label::Labels;
use crate::limits::MAX_TYPE_SIZE;
use crate::links::{Link, build_id};
use crate::mapping::OffsetMap;
use crate::module::{FuncIdx, Module, ParseOptions, Site, parse_with};
use crate::relocate::names::Naming;
use crate::relocate::{Relocation, target_features};
use crate::restore::Restore;
use crate::select::{self, Plan};
use crate::sidecar::Sidecars;
use crate::warning::{Warning, WarningKind};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::{Manifest, Probe};
use wasmtrace_abi::text::printable;

pub(crate) mod body;
mod code;
mod debug_file;
mod layout;
mod options;
mod output;
mod sections;
pub(crate) mod splice;
mod trampolines;
mod types;

pub use options::{CloseOnExit, Options};
pub use output::Unwritten;

use body::LeftOut;
use code::Code;
use layout::Layout;
use output::Output;

/// A hooked module, and what is known of how it came to be.
#[derive(Debug, Clone)]
pub struct Rewritten<W = Vec<u8>> {
    /// The module, or what [`rewrite_with`] was told to make of it.
    pub wasm: W,
    /// Where the code went.
    pub offsets: OffsetMap,
    /// What the module says of itself; `None` where nothing was hooked and the output is the input. What restoring needs is in the
    /// module alone.
    pub manifest: Option<Manifest>,
    /// The module's source map, if it is to be in a file.
    pub source_map: Option<Vec<u8>>,
    /// The module's debug file, if it is to have one.
    pub debug_file: Option<Vec<u8>>,
    /// What the plan was.
    pub selection: select::Summary,
    /// One sentence for everything that was not done as one might expect.
    pub warnings: Vec<Warning>,
}

/// Writes the hooks that `plan` selects.
///
/// An empty plan yields the input, byte for byte.
///
/// # Errors
/// [`ErrorKind::Limit`] if the hooks' imports or their memory would push the module past what engines accept;
/// [`ErrorKind::Unsupported`] if the hook set has a buffer and the module a shared memory: several threads would write into
/// the one buffer.
pub fn rewrite(module: &Module<'_>, labels: &Labels, plan: &Plan, options: &Options) -> Result<Rewritten> {
    rewrite_with(module, &Sidecars::default(), labels, plan, options, |module| Ok(module.to_vec()))
}

/// The same, with the files sidecars the module, and written by `write`: to where it belongs, without being in memory meanwhile.
/// What can be wrong with it is known before.
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
    let wasm = written.expect("what is right is written")?;
    Ok(Rewritten { wasm, offsets, manifest, source_map, debug_file, selection, warnings })
}

/// Writes the module last, once.
fn compile(
    module: &Module<'_>,
    sidecars: &Sidecars<'_>,
    labels: &Labels,
    plan: &Plan,
    options: &Options,
    write: &mut dyn FnMut(&Unwritten<'_>),
) -> Result<Rewritten<()>> {
    let selection = plan.summary();
    if plan.is_empty() {
        return Ok(unchanged(module, selection, write));
    }
    let mut warnings = Vec::new();
    // A shared function may call shared functions only, and the hooks' imports are not.
    let shared: Vec<FuncIdx> = plan.iter().filter(|func| module.is_shared(*func)).collect();
    if !shared.is_empty() {
        warnings.push(Warning::new(
            WarningKind::NotHooked,
            format!("{} shared function(s) are not hooked: they cannot call the host's hooks", shared.len()),
        ));
    }
    let plan = &plan.without(&shared);
    if plan.is_empty() {
        return Ok(Rewritten { warnings, ..unchanged(module, selection, write) });
    }
    let layout = match Layout::new(module, plan, options, options.guards_exits(module)) {
        Err(e) if options.close_on_exit == CloseOnExit::WhereItExits && options.guards_exits(module) => {
            warnings.push(Warning::new(
                WarningKind::Trace,
                format!("calls that are open when it exits are not exited: {}", e.message()),
            ));
            Layout::new(module, plan, options, false)?
        }
        layout => layout?,
    };
    if options.close_on_exit != CloseOnExit::Never && !options.hooks.has_buffer() && roles::never_closes(module) {
        let what = "the module opens spans and closes none: a host that keeps calls and spans on one stack loses the trace (import \
                    span-exit too, and call it)";
        warnings.push(Warning::new(WarningKind::Trace, what.to_owned()));
    }
    if let Some(memory) = module.memories().first().filter(|_| !layout.memory_grow && uses_memory_grow(module)) {
        let width = if memory.memory64 { "64-bit" } else { "other" };
        warnings.push(Warning::new(
            WarningKind::NotHooked,
            format!("memory.grow of a {width} memory is not reported: the hook set has no event for it"),
        ));
    }

    let trampolines = layout.func_map.trampolines.iter().map(|import| FuncIdx(*import));
    let mut appended: Vec<Vec<u8>> =
        trampolines.map(|import| trampolines::body(module, import, plan.contains(import), &layout)).collect();
    appended.extend(layout.exit_guard.iter().flat_map(ExitGuard::bodies));
    // A hash has one long chain of steps, which no second core shortens.
    let (code, input_sha256) = crate::parallel::both(
        || Code::measure(module, plan, &layout, appended),
        || crate::hash::sha256(module.bytes()),
    );
    let code = code?;

    let mut probes = Vec::new();
    for func in module.defined_funcs() {
        let name = || printable(&labels[func].name).into_owned();
        // Then calls that the exception crossed stay open until its caller is left.
        let lost = match (plan.contains(func), layout.catch_sites.contains_key(&func)) {
            (true, false) => "is not hooked",
            (true, true) => "is not hooked, and does not tell when it has caught an exception",
            (false, _) => "does not tell when it has caught an exception",
        };
        match code.left_out.get(&func) {
            Some(LeftOut::TooLarge) => {
                let name = name();
                let exits_all = layout.exit_guard.is_some()
                    && !module.is_shared(func)
                    && module.sites(func).any(|(_, site)| site == Site::Unreachable);
                let lost = match (plan.contains(func) || layout.catch_sites.contains_key(&func), exits_all) {
                    (true, false) => format!("{name} {lost}"),
                    (true, true) => format!("{name} {lost}, nor exits what is open before it is `unreachable`"),
                    (false, true) => format!("{name} does not exit what is open before it is `unreachable`"),
                    (false, false) => format!("memory.grow in {name} is not reported"),
                };
                warnings.push(Warning::new(
                    WarningKind::NotHooked,
                    format!("{lost}: its body would pass the size that engines accept"),
                ));
                continue;
            }
            Some(LeftOut::NoLocal) => {
                warnings.push(Warning::new(
                    WarningKind::NotHooked,
                    format!("{} {lost}: it has no room for the local of its hooks", name()),
                ));
                continue;
            }
            Some(LeftOut::TooManyLocals) => {
                warnings.push(Warning::new(
                    WarningKind::NotHooked,
                    format!("memory.grow in {} is not reported: it has no room for another local", name()),
                ));
            }
            None => {}
        }
        if plan.contains(func) {
            probes.push(Probe { id: ProbeId(layout.func_map.place(func.0)), label: labels[func].clone() });
        }
    }

    probes.extend(
        plan.imports()
            .map(|import| Probe { id: ProbeId(layout.func_map.reference(import.0)), label: labels[import].clone() }),
    );

    let hook_names = crate::hooks::hook_names(options.hooks, layout.func_map.imported, layout.exit_guard.as_ref());
    let offsets = &code.offsets;
    let mut dwarf = crate::relocate::dwarf::relocate(module, offsets);
    warnings.append(&mut dwarf.warnings);
    let naming = Naming {
        func_count: module.func_count(),
        func_map: &layout.func_map,
        outer_labels: layout.code.labels().0 + layout.wrapper.labels(),
        inner_labels: &code.labels,
        probes: &probes,
        hook_names: &hook_names,
    };
    let mut relocation = Relocation {
        module,
        naming,
        offsets,
        dwarf,
        links: sidecars.links(module, &mut warnings),
        source_map: sidecars.source_map.as_ref(),
        code_start: None,
        build_id: build_id(module).map(|id| crate::relocate::build_id(id, |see| code.show(see))),
        features: &target_features::used_by_hooks(
            layout.exit_guard.is_some(),
            layout.wrapper == Wrapper::TryTable && !probes.is_empty(),
            layout.buffer.is_some() && !module.memories().is_empty(),
        ),
    };
    let (mut output, restore) = sections::assemble(&layout, &mut relocation, &code, options, &mut warnings)?;
    let mut manifest = Manifest {
        hooks: options.hooks,
        buffer: layout.buffer.clone(),
        input_sha256,
        build_id: build_id(module).unwrap_or_default().to_vec(),
        probes: Vec::new(), // they are still borrowed
        restore: restore.as_ref().map(Restore::encode),
    };
    sections::add_manifest(manifest.encode_with(&probes), &mut output);
    // It is in the module now, and may be large.
    manifest.restore = None;
    let unwritten = Unwritten::new(module.bytes(), Some(&code), &output);
    let source_map = match (&relocation.links.source_map, &sidecars.source_map, relocation.code_start) {
        (Link::Named(_), Some(map), Some(new)) => {
            let old = module.section(crate::module::id::CODE).map_or(0, |code| code.contents.start);
            Some(map.relocate(offsets, (old, new)))
        }
        _ => None,
    };
    let debug_file = match (&relocation.links.debug_file, &sidecars.debug_file) {
        (Link::Named(_), Some(file)) => crate::module::code_of(&unwritten.to_vec())
            .map(|code| debug_file::relocate(file, code, &relocation, (labels, plan, options), &mut warnings)),
        _ => None,
    };
    let sections = ParseOptions { validate: false, ..Default::default() };
    if is_near_the_limit_of_types(module)
        && let Err(e) = parse_with(&unwritten.to_vec(), &sections)
    {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("with the hooks the module would be too large: {}", e.message()),
        ));
    }

    write(&unwritten);
    let (offsets, manifest) = (code.offsets, Some(Manifest { probes, ..manifest }));
    Ok(Rewritten { wasm: (), offsets, manifest, source_map, debug_file, selection, warnings })
}

/// Engines bound the sizes of the types of all imports and exports together: a function counts as its parameters and results
/// and two more, a tag as the function that is its type, anything else as one. Where that may be near, the output is validated.
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
