//! Module + Plan → the hooked module.
//!
//! A splice, not a decompilation: whole sections are copied, bodies are copied with edits in between, and every byte
//! that has no reason to change does not. See `body` for what happens inside of a function, `splice` for numbers,
//! `assemble` for sections, and [`crate::check`] for the proof that only hooks were added.

use std::collections::BTreeMap;

use wasm_encoder::Encode;

use crate::companions::{self, Beside};
use crate::debug::names::Naming;
use crate::debug::{Carrying, Link, external, target_features};
use crate::hooks::HookCode;
use crate::label::Labels;
use crate::module::{FuncIdx, Module, ParseOptions, Site, parse_with};
use crate::restore::Restore;
use crate::select::{self, Plan};
use wasmtrace_abi::buffer;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{HookSet, ProbeId, is_hook_import};
use wasmtrace_abi::manifest::{BufferPlace, Manifest, Probe};
use wasmtrace_abi::text::printable;

mod assemble;
pub(crate) mod balance;
pub(crate) mod body;
pub mod check;
mod code;
mod inserted;
mod landings;
mod of_hooks;
pub mod offsets;
mod output;
mod shims;
pub(crate) mod splice;
pub mod strip;
mod types;
pub(crate) mod wrapper;

pub use crate::debug::describes_original;
pub use inserted::Inserted;
pub use of_hooks::{hooked, of_hooks};
pub use output::Unwritten;

use balance::spans::Spans;
use balance::{Balance, Role};
use body::LeftOut;
use code::Code;
use landings::Landings;
use offsets::OffsetMap;
use output::Output;
use splice::{Growth, Shift};
use types::Types;
use wrapper::Wrapper;

/// What is to be written, besides which functions are hooked.
#[derive(Debug, Clone)]
pub struct Options {
    /// The hook set.
    pub hooks: HookSet,
    /// Whether the Manifest holds what [`crate::strip`] needs. Costs a few bytes, unless sections that no rule inverts are large.
    pub restore: bool,
    /// When the module itself exits the calls that are open, before it is left for good.
    pub balance_exit: BalanceExit,
    /// Whether exceptions cross this module that another one catches, so that each function has to be left by them even if nothing
    /// here catches any. In the Observe set; it takes the feature, so the engine has to have it. For modules that are run together.
    pub crossed: bool,
}

/// When a module exits all calls that are open before it is left through `proc_exit` or `unreachable`, so that a host which knows
/// nothing of those gets a complete trace; and its spans, if it opens any, which then end in an order that such a host takes. In
/// the Observe set alone: the runtime here closes what is open. Each call costs some more, and each hooked function a dozen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalanceExit {
    /// Not at all.
    #[default]
    Never,
    /// If it imports `proc_exit` or opens spans itself; and if engines' limits leave no room, a warning says so.
    WhereItExits,
    /// Also if it may leave through `unreachable` alone.
    Always,
}

impl Default for Options {
    fn default() -> Self {
        Options { hooks: HookSet::Observe, restore: true, balance_exit: BalanceExit::Never, crossed: false }
    }
}

impl Options {
    fn balances(&self, module: &Module<'_>) -> bool {
        let wanted = match self.balance_exit {
            BalanceExit::Never => false,
            BalanceExit::WhereItExits => !balance::roles(module).is_empty(),
            BalanceExit::Always => true,
        };
        wanted && !self.hooks.has_buffer()
    }
}

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
    pub warnings: Vec<String>,
}

/// Limits of the JavaScript interface's "implementation-defined limits", which wasmparser and all engines keep.
const MAX_FUNCTIONS: usize = 1_000_000;
const MAX_IMPORTS: usize = 1_000_000;
const MAX_TYPE_SIZE: usize = 1_000_000;
const MAX_TYPES: usize = 1_000_000;
const MAX_EXPORTS: usize = 1_000_000;
const MAX_MEMORIES: usize = 100;
const MAX_TABLES: usize = 100;
const MAX_GLOBALS: usize = 1_000_000;
const MAX_ELEMENTS: usize = 100_000;

/// Everything about a rewriting that is decided before the first body: which indices move where, which types are added.
#[derive(Debug)]
struct Layout {
    shift: Shift,
    code: HookCode,
    wrapper: Wrapper,
    /// The functions that tell where they have caught an exception, hooked or not, if the hook set has an event for that.
    landings: BTreeMap<FuncIdx, Landings>,
    /// Whether `memory.grow` is hooked: memory 0 exists and is addressed by i32.
    memory_grow: bool,
    /// The block type of each hooked function's results, encoded, by the function's type.
    block_types: BTreeMap<u32, Vec<u8>>,
    /// What is appended to sections, by their id.
    appended: BTreeMap<u8, Growth>,
    /// Where the buffer is, if the hook set has one.
    buffer: Option<BufferPlace>,
    /// What balances the module, if it does that.
    balance: Option<Balance>,
    /// The imported functions that have a shim for that, ascending.
    roles: Vec<(u32, Role)>,
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
    rewrite_with(module, &Beside::default(), labels, plan, options, |module| Ok(module.to_vec()))
}

/// The same, with the files beside the module, and written by `write`: to where it belongs, without being in memory meanwhile.
/// What can be wrong with it is known before.
///
/// # Errors
/// Those of [`rewrite`], and those of `write`.
pub fn rewrite_with<W, E: From<Error>>(
    module: &Module<'_>,
    beside: &Beside<'_>,
    labels: &Labels,
    plan: &Plan,
    options: &Options,
    write: impl FnOnce(&Unwritten<'_>) -> Result<W, E>,
) -> Result<Rewritten<W>, E> {
    let (mut write, mut written) = (Some(write), None);
    let mut once = |module: &Unwritten<'_>| written = write.take().map(|write| write(module));
    let Rewritten { wasm: (), offsets, manifest, source_map, debug_file, selection, warnings } =
        compile(module, beside, labels, plan, options, &mut once)?;
    let wasm = written.expect("what is right is written")?;
    Ok(Rewritten { wasm, offsets, manifest, source_map, debug_file, selection, warnings })
}

/// Writes the module last, once.
fn compile(
    module: &Module<'_>,
    beside: &Beside<'_>,
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
        warnings.push(format!("{} shared function(s) are not hooked: they cannot call the host's hooks", shared.len()));
    }
    let plan = &plan.without(&shared);
    if plan.is_empty() {
        return Ok(Rewritten { warnings, ..unchanged(module, selection, write) });
    }
    let layout = match Layout::new(module, plan, options, options.balances(module)) {
        Err(e) if options.balance_exit == BalanceExit::WhereItExits && options.balances(module) => {
            warnings.push(format!("calls that are open when it exits are not exited: {}", e.message()));
            Layout::new(module, plan, options, false)?
        }
        layout => layout?,
    };
    if options.balance_exit != BalanceExit::Never && !options.hooks.has_buffer() && balance::never_closes(module) {
        let what = "the module opens spans and closes none: a host that keeps calls and spans on one stack loses the trace (import \
                    span-exit too, and call it)";
        warnings.push(what.to_owned());
    }
    if let Some(memory) = module.memories().first().filter(|_| !layout.memory_grow && uses_memory_grow(module)) {
        let width = if memory.memory64 { "64-bit" } else { "other" };
        warnings.push(format!("memory.grow of a {width} memory is not reported: the hook set has no event for it"));
    }

    let shims = layout.shift.shims.iter().map(|import| FuncIdx(*import));
    let mut appended: Vec<Vec<u8>> =
        shims.map(|import| shims::body(module, import, plan.contains(import), &layout)).collect();
    appended.extend(layout.balance.iter().flat_map(Balance::bodies));
    // A hash has one long chain of steps, which no second core shortens.
    let (code, input_sha256) =
        crate::parallel::both(|| Code::measure(module, plan, &layout, appended), || sha256(module.bytes()));
    let code = code?;

    let mut probes = Vec::new();
    for func in module.defined_funcs() {
        let name = || printable(&labels[func].name).into_owned();
        // Then calls that the exception crossed stay open until its caller is left.
        let lost = match (plan.contains(func), layout.landings.contains_key(&func)) {
            (true, false) => "is not hooked",
            (true, true) => "is not hooked, and does not tell when it has caught an exception",
            (false, _) => "does not tell when it has caught an exception",
        };
        match code.left_out.get(&func) {
            Some(LeftOut::TooLarge) => {
                let name = name();
                let exits_all = layout.balance.is_some()
                    && !module.is_shared(func)
                    && module.sites(func).any(|(_, site)| site == Site::Unreachable);
                let lost = match (plan.contains(func) || layout.landings.contains_key(&func), exits_all) {
                    (true, false) => format!("{name} {lost}"),
                    (true, true) => format!("{name} {lost}, nor exits what is open before it is `unreachable`"),
                    (false, true) => format!("{name} does not exit what is open before it is `unreachable`"),
                    (false, false) => format!("memory.grow in {name} is not reported"),
                };
                warnings.push(format!("{lost}: its body would pass the size that engines accept"));
                continue;
            }
            Some(LeftOut::NoLocal) => {
                warnings.push(format!("{} {lost}: it has no room for the local of its hooks", name()));
                continue;
            }
            Some(LeftOut::TooManyLocals) => {
                warnings.push(format!("memory.grow in {} is not reported: it has no room for another local", name()));
            }
            None => {}
        }
        if plan.contains(func) {
            probes.push(Probe { id: ProbeId(layout.shift.place(func.0)), label: labels[func].clone() });
        }
    }

    probes.extend(
        plan.imports()
            .map(|import| Probe { id: ProbeId(layout.shift.reference(import.0)), label: labels[import].clone() }),
    );

    let hook_names = hook_names(options.hooks, layout.shift.imported, layout.balance.as_ref());
    let offsets = &code.offsets;
    let mut dwarf = crate::debug::dwarf::carry(module, offsets);
    warnings.append(&mut dwarf.warnings);
    let naming = Naming {
        func_count: module.func_count(),
        shift: &layout.shift,
        outer_labels: layout.code.labels().0 + layout.wrapper.labels(),
        inner_labels: &code.labels,
        probes: &probes,
        hook_names: &hook_names,
    };
    let mut carrying = Carrying {
        module,
        naming,
        offsets,
        dwarf,
        links: beside.links(module, &mut warnings),
        source_map: beside.source_map.as_ref(),
        code_start: None,
        build_id: companions::build_id(module).map(|id| crate::debug::build_id(id, |see| code.show(see))),
        features: &target_features::of_hooks(
            layout.balance.is_some(),
            layout.wrapper == Wrapper::TryTable && !probes.is_empty(),
            layout.buffer.is_some() && !module.memories().is_empty(),
        ),
    };
    let (mut output, restore) = assemble::assemble(&layout, &mut carrying, &code, options, &mut warnings)?;
    let mut manifest = Manifest {
        hooks: options.hooks,
        buffer: layout.buffer.clone(),
        input_sha256,
        build_id: companions::build_id(module).unwrap_or_default().to_vec(),
        probes: Vec::new(), // they are still borrowed
        restore: restore.as_ref().map(Restore::encode),
    };
    assemble::add_manifest(manifest.encode_with(&probes), &mut output);
    // It is in the module now, and may be large.
    manifest.restore = None;
    let unwritten = Unwritten::new(module.bytes(), Some(&code), &output);
    let source_map = match (&carrying.links.source_map, &beside.source_map, carrying.code_start) {
        (Link::Named(_), Some(map), Some(new)) => {
            let old = module.section(crate::module::id::CODE).map_or(0, |code| code.contents.start);
            Some(map.carry(offsets, (old, new)))
        }
        _ => None,
    };
    let debug_file = match (&carrying.links.debug_file, &beside.debug_file) {
        (Link::Named(_), Some(file)) => crate::module::code_of(&unwritten.to_vec())
            .map(|code| external::carry(file, code, &carrying, (labels, plan, options), &mut warnings)),
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

    #[cfg(debug_assertions)]
    if module.is_validated()
        && let Err(e) = check::check(module.bytes(), &unwritten.to_vec())
    {
        panic!("the output fails its own check: {e}");
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

/// Whether a module imports hooks of any generation, or says by its Manifest that it is hooked.
pub fn is_hooked(module: &Module<'_>) -> bool {
    module.custom(wasmtrace_abi::manifest::MANIFEST_SECTION).is_some()
        || module.imported_funcs().iter().any(|i| is_hook_import(i.module, i.name))
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

/// Refuses what would pass a limit.
fn limit(what: &str, has: usize, more: usize, most: usize) -> Result<()> {
    if has + more <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!(
            "the module has {has} {what}; with the hooks' {more} it would pass the limit of {most} that engines set"
        ),
    ))
}

impl Layout {
    fn new(module: &Module<'_>, plan: &Plan, options: &Options, balances: bool) -> Result<Self> {
        use crate::module::id;
        let hooks = options.hooks;
        let imports = hooks.imports();
        let roles = if balances { balance::roles(module) } else { Vec::new() };
        let closed_by = Spans::closed_by(&roles);
        let mut shims: Vec<u32> =
            plan.imports().map(|func| func.0).chain(roles.iter().map(|(func, _)| *func)).collect();
        shims.sort_unstable();
        shims.dedup();
        let balancing = if balances { Balance::functions(plan.len(), closed_by.is_some()) } else { 0 };
        let functions = imports.len() + shims.len() + balancing;
        limit("functions", module.func_count() as usize, functions, MAX_FUNCTIONS)?;
        limit("imports", module.import_count(), imports.len(), MAX_IMPORTS)?;

        let first = module.imported_funcs().len() as u32;
        let hook_count = imports.len() as u32;
        let first_shim = module.func_count() + hook_count;
        let first_behind = first_shim + shims.len() as u32;
        let shift = Shift { imported: first, hooks: hook_count, shims, first_shim };
        let mut types = Types::of(module);
        let mut appended = BTreeMap::new();
        let mut new_imports = Vec::new();
        for import in imports {
            import.module.encode(&mut new_imports);
            import.name.encode(&mut new_imports);
            new_imports.push(0x00); // a function
            types.import(import.takes_i32).encode(&mut new_imports);
        }
        appended.insert(id::IMPORT, Growth { entries: i64::from(hook_count), bytes: new_imports });
        let mut new_functions = Vec::new();
        for import in &shift.shims {
            module.type_index(FuncIdx(*import)).encode(&mut new_functions);
        }

        let mut code = HookCode::new(hooks, first, module.memories().len() as u32);
        let balance = balances.then(|| Balance {
            first: first_behind,
            host: first,
            table: module.table_count(),
            global: module.global_count(),
            plain: types.import(false),
            ids: shift.ids(plan),
            spans: closed_by.map(|close| Spans { close, answers: types.answer() }),
        });
        if let Some(balance) = &balance {
            code = code.balanced(balance.first, balance.spans.is_some());
            let (segments, elements) = balance.elements();
            limit("tables", module.table_count() as usize, balance::TABLES as usize, MAX_TABLES)?;
            limit(
                "globals",
                module.global_count() as usize,
                balance::globals(balance.spans.is_some()) as usize,
                MAX_GLOBALS,
            )?;
            limit("element segments", module.element_count() as usize, segments as usize, MAX_ELEMENTS)?;
            new_functions.extend(balance.types(types.import(true)));
            appended.insert(id::TABLE, Growth { entries: balance::TABLES.into(), bytes: balance.tables() });
            appended.insert(
                id::GLOBAL,
                Growth { entries: balance::globals(balance.spans.is_some()).into(), bytes: balance.globals() },
            );
            appended.insert(id::ELEMENT, Growth { entries: segments.into(), bytes: elements });
        }
        let functions = functions - imports.len();
        appended.insert(id::FUNCTION, Growth { entries: functions as i64, bytes: new_functions });

        let buffer = match hooks.has_buffer() {
            true => {
                limit("memories", module.memories().len(), 1, MAX_MEMORIES)?;
                limit("exports", module.all_exports().len(), 1, MAX_EXPORTS)?;
                let place = buffer_place(module, hooks, first_behind)?;
                appended.insert(id::MEMORY, Growth { entries: 1, bytes: buffer_memory(place.first_block) });
                let export = buffer_export(&place.export, module.memories().len() as u32);
                appended.insert(id::EXPORT, Growth { entries: 1, bytes: export });
                Some(place)
            }
            false => None,
        };

        let (wrapper, landings) = match code.tells_landings() {
            true => (Wrapper::Block, landings(module)),
            false => match Wrapper::of(module) {
                Wrapper::Block if options.crossed => (Wrapper::TryTable, BTreeMap::new()),
                own => (own, BTreeMap::new()),
            },
        };
        let mut block_types = BTreeMap::new();
        let throwing_imports = plan.imports().filter(|_| wrapper != Wrapper::Block);
        for func in plan.iter().chain(landings.keys().copied()).chain(throwing_imports) {
            block_types.entry(module.type_index(func)).or_insert_with(|| types.block(module.func_type(func).results()));
        }
        limit("types", types.before, types.new.len(), MAX_TYPES)?;
        appended.insert(id::TYPE, Growth { entries: types.new.len() as i64, bytes: types.new.concat() });
        appended.retain(|_, growth| growth.entries != 0);
        Ok(Layout {
            shift,
            code,
            wrapper,
            landings,
            memory_grow: module.memories().first().is_some_and(|m| !m.memory64),
            block_types,
            appended,
            buffer,
            balance,
            roles,
        })
    }

    /// Sections that the module lacks and that come into being: id, and contents.
    fn created(&self, module: &Module<'_>) -> Vec<(u8, Vec<u8>)> {
        let missing = self.appended.iter().filter(|(id, _)| module.section(**id).is_none());
        let contents = missing.map(|(id, growth)| {
            let mut contents = Vec::new();
            (growth.entries as u32).encode(&mut contents);
            contents.extend_from_slice(&growth.bytes);
            (*id, contents)
        });
        contents.collect()
    }
}

/// What the functions are called that are there for the hooks. (Not those that are many.)
fn hook_names(hooks: HookSet, imported: u32, balance: Option<&Balance>) -> Vec<(u32, String)> {
    let imports = hooks.imports().iter().map(|i| format!("{}.{}", i.module, i.name));
    let own = balance.into_iter().flat_map(Balance::names);
    (imported..).zip(imports).chain(own).collect()
}

/// Where which functions may have caught an exception. A shared one cannot tell.
fn landings(module: &Module<'_>) -> BTreeMap<FuncIdx, Landings> {
    let funcs = module.with_exceptions().map(|(func, _)| func).filter(|func| !module.is_shared(*func));
    funcs.filter_map(|func| Some((func, Landings::of(module, func)?))).collect()
}

/// Where the buffer is in a module that will have so many functions.
fn buffer_place(module: &Module<'_>, hooks: HookSet, functions: u32) -> Result<BufferPlace> {
    if module.memories().iter().any(|m| m.shared) {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the module has a shared memory: its threads would all record into one buffer; use the hook set observe",
        ));
    }
    let exports = module.all_exports();
    let mut export = buffer::EXPORT.to_owned();
    while exports.iter().any(|e| e.name == export) {
        export.push('+');
    }
    Ok(BufferPlace { export, first_block: buffer::first_block(hooks, functions) })
}

/// A memory that does not grow, as large as the buffer needs it, as an entry of its section.
fn buffer_memory(first_block: u32) -> Vec<u8> {
    let pages = buffer::pages(first_block);
    let mut memory = vec![0x01]; // with a maximum
    pages.encode(&mut memory);
    pages.encode(&mut memory);
    memory
}

fn buffer_export(name: &str, memory: u32) -> Vec<u8> {
    let mut export = Vec::new();
    name.encode(&mut export);
    export.push(0x02); // a memory
    memory.encode(&mut export);
    export
}

/// Whether any body grows memory 0.
fn uses_memory_grow(module: &Module<'_>) -> bool {
    module.defined_funcs().any(|func| module.sites(func).any(|(_, site)| site == Site::MemoryGrow))
}
