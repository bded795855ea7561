//! Decides which indices move and what is appended, before any body is written.

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Encode};
use wasmtrace_abi::buffer;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::manifest::BufferPlace;

use super::options::Options;
use super::splice::SectionEdit;
use super::types::Types;
use crate::hooks::HookCode;
use crate::hooks::catch_sites::CatchSites;
use crate::hooks::exit_guard::Spans;
use crate::hooks::exit_guard::{self, ExitGuard};
use crate::hooks::frame::HookPair;
use crate::hooks::roles::{self, Role};
use crate::hooks::wrapper::Wrapper;
use crate::limits::{
    MAX_ELEMENTS, MAX_EXPORTS, MAX_FUNCTIONS, MAX_GLOBALS, MAX_IMPORTS, MAX_MEMORIES, MAX_TABLES, MAX_TYPES,
};
use crate::mapping::FuncMap;
use crate::module::{FuncIdx, Module, id};
use crate::select::Plan;

/// All decisions of a rewriting that precede the bodies: which indices move, and what is appended.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) func_map: FuncMap,
    pub(super) code: HookCode,
    pub(super) wrapper: Wrapper,
    /// The functions that report caught exceptions, hooked or not. Empty if the hook set has no event for them.
    pub(super) catch_sites: BTreeMap<FuncIdx, CatchSites>,
    /// The functions whose hooks are not the plain pair. They have these hooks even if they are not selected.
    pub(super) pairs: BTreeMap<FuncIdx, HookPair>,
    /// Whether `memory.grow` is hooked. This requires a memory 0 with 32-bit addresses.
    pub(super) memory_grow: bool,
    /// The block type for the results of each hooked function, by the function's type index.
    pub(super) block_types: BTreeMap<u32, BlockType>,
    /// The entries appended to sections, by section id.
    pub(super) appended: BTreeMap<u8, SectionEdit>,
    /// The place of the buffer, if the hook set has one.
    pub(super) buffer: Option<BufferPlace>,
    /// The exit guard, if the module has one.
    pub(super) exit_guard: Option<ExitGuard>,
    /// The imported functions that need a trampoline for their role, ascending.
    pub(super) roles: Vec<(u32, Role)>,
}

/// Returns an error if `has + more` would exceed the limit `most`.
fn limit(what: &str, has: usize, more: usize, most: usize) -> Result<()> {
    if has + more <= most {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Limit,
        format!("the module has {has} {what}; with the hooks' {more} it would exceed the engines' limit of {most}"),
    ))
}

impl Layout {
    pub(super) fn new(module: &Module<'_>, plan: &Plan, options: &Options, guards_exits: bool) -> Result<Self> {
        let hooks = options.hooks;
        let imports = hooks.imports();
        let in_component = |func: &FuncIdx| Some((func.0, roles::in_component(module, *func)?));
        let roles = match (guards_exits, hooks) {
            (true, _) => roles::roles(module),
            (false, HookSet::Component) => options.crossings.calls.iter().filter_map(in_component).collect(),
            (false, _) => Vec::new(),
        };
        let closed_by = Spans::closed_by(&roles);
        let mut trampolines: Vec<u32> =
            plan.imports().map(|func| func.0).chain(roles.iter().map(|(func, _)| *func)).collect();
        trampolines.sort_unstable();
        trampolines.dedup();
        let guarding = if guards_exits { ExitGuard::functions(plan.len(), closed_by.is_some()) } else { 0 };
        let functions = imports.len() + trampolines.len() + guarding;
        limit("functions", module.func_count() as usize, functions, MAX_FUNCTIONS)?;
        limit("imports", module.import_count(), imports.len(), MAX_IMPORTS)?;

        let first = module.imported_funcs().len() as u32;
        let hook_count = imports.len() as u32;
        let first_trampoline = module.func_count() + hook_count;
        let first_behind = first_trampoline + trampolines.len() as u32;
        let func_map = FuncMap { imported: first, hooks: hook_count, trampolines, first_trampoline };
        let mut types = Types::of(module);
        let mut appended = BTreeMap::new();
        let mut new_imports = Vec::new();
        for import in imports {
            import.module.encode(&mut new_imports);
            import.name.encode(&mut new_imports);
            new_imports.push(0x00); // a function
            types.import(import.takes_i32).encode(&mut new_imports);
        }
        appended.insert(id::IMPORT, SectionEdit { entries: i64::from(hook_count), bytes: new_imports });
        let mut new_functions = Vec::new();
        for import in &func_map.trampolines {
            module.type_index(FuncIdx(*import)).encode(&mut new_functions);
        }

        let mut code = HookCode::new(hooks, first, module.memories().len() as u32);
        let exit_guard = guards_exits.then(|| ExitGuard {
            first: first_behind,
            host: first,
            table: module.table_count(),
            global: module.global_count(),
            plain: types.import(false),
            ids: probes(&func_map, plan),
            spans: closed_by.map(|close| Spans { close, answers: types.answer() }),
        });
        if let Some(exit_guard) = &exit_guard {
            code = code.guarded(exit_guard.first, exit_guard.spans.is_some());
            let (segments, elements) = exit_guard.elements();
            limit("tables", module.table_count() as usize, exit_guard::TABLES as usize, MAX_TABLES)?;
            limit(
                "globals",
                module.global_count() as usize,
                exit_guard::globals(exit_guard.spans.is_some()) as usize,
                MAX_GLOBALS,
            )?;
            limit("element segments", module.element_count() as usize, segments as usize, MAX_ELEMENTS)?;
            new_functions.extend(exit_guard.types(types.import(true)));
            appended.insert(id::TABLE, SectionEdit { entries: exit_guard::TABLES.into(), bytes: exit_guard.tables() });
            appended.insert(
                id::GLOBAL,
                SectionEdit {
                    entries: exit_guard::globals(exit_guard.spans.is_some()).into(),
                    bytes: exit_guard.globals(),
                },
            );
            appended.insert(id::ELEMENT, SectionEdit { entries: segments.into(), bytes: elements });
        }
        let functions = functions - imports.len();
        appended.insert(id::FUNCTION, SectionEdit { entries: functions as i64, bytes: new_functions });

        let buffer = match hooks.has_buffer() {
            true => {
                limit("memories", module.memories().len(), 1, MAX_MEMORIES)?;
                limit("exports", module.all_exports().len(), 1, MAX_EXPORTS)?;
                let place = buffer_place(module, hooks, first_behind)?;
                appended.insert(id::MEMORY, SectionEdit { entries: 1, bytes: buffer_memory(place.first_block) });
                let export = buffer_export(&place.export, module.memories().len() as u32);
                appended.insert(id::EXPORT, SectionEdit { entries: 1, bytes: export });
                Some(place)
            }
            false => None,
        };

        let (wrapper, catch_sites) = match code.reports_catches() {
            true => (Wrapper::Block, catch_sites(module)),
            false => match Wrapper::of(module) {
                Wrapper::Block if options.foreign_exceptions => (Wrapper::TryTable, BTreeMap::new()),
                own => (own, BTreeMap::new()),
            },
        };
        let of_pair = |pair: HookPair, funcs: &[FuncIdx]| -> Vec<(FuncIdx, HookPair)> {
            let has_pair = code.pairs().contains(&pair);
            funcs.iter().filter(|func| has_pair && module.is_defined(**func)).map(|func| (*func, pair)).collect()
        };
        let mut pairs: BTreeMap<FuncIdx, HookPair> =
            of_pair(HookPair::Lifted, &options.crossings.lifted).into_iter().collect();
        pairs.extend(of_pair(HookPair::Quiet, &options.crossings.quiet));
        let mut block_types = BTreeMap::new();
        let throwing_imports = plan.imports().filter(|_| wrapper != Wrapper::Block);
        let with_blocks = plan.iter().chain(catch_sites.keys().copied()).chain(pairs.keys().copied());
        for func in with_blocks.chain(throwing_imports) {
            block_types.entry(module.type_index(func)).or_insert_with(|| types.block(module.func_type(func).results()));
        }
        limit("types", types.before, types.new.len(), MAX_TYPES)?;
        appended.insert(id::TYPE, SectionEdit { entries: types.new.len() as i64, bytes: types.new.concat() });
        appended.retain(|_, growth| growth.entries != 0);
        Ok(Layout {
            func_map,
            code,
            wrapper,
            catch_sites,
            pairs,
            memory_grow: code.reports_growth() && module.memories().first().is_some_and(|m| !m.memory64),
            block_types,
            appended,
            buffer,
            exit_guard,
            roles,
        })
    }

    /// The sections that are created because the module does not have them: their ids and contents.
    pub(super) fn created(&self, module: &Module<'_>) -> Vec<(u8, Vec<u8>)> {
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

/// The catch sites of each function that catches exceptions. Shared functions cannot report catches.
fn catch_sites(module: &Module<'_>) -> BTreeMap<FuncIdx, CatchSites> {
    let funcs = module.with_exceptions().map(|(func, _)| func).filter(|func| !module.is_shared(*func));
    funcs.filter_map(|func| Some((func, CatchSites::of(module, func)?))).collect()
}

/// The place of the buffer in a module that will have `functions` functions.
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

/// A memory of fixed size for the buffer, as an entry of the memory section.
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

/// The probes of a plan, ascending. A hooked import has the index of its trampoline.
fn probes(func_map: &FuncMap, plan: &Plan) -> Vec<ProbeId> {
    let own = plan.iter().map(|func| func_map.place(func.0));
    own.chain(plan.imports().map(|import| func_map.reference(import.0))).map(ProbeId).collect()
}
