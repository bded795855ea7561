//! Removes the hooks from a module. Inverts the rewriting by its rules and by the restoring data in the Manifest.

use wasm_encoder::Encode;
use wasmparser::Operator;

use crate::erase::{Erasure, Hook, Hooked, Piece, block_type};
use crate::hooks::HookCode;
use crate::hooks::catch_sites::CatchSites;
use crate::hooks::exit_guard::Spans;
use crate::hooks::frame::{Frame, HookPair};
use crate::hooks::wrapper::Wrapper;
use crate::hooks::{exit_guard, roles};
use crate::mapping::FuncMap;
use crate::module::{FuncIdx, Module, Section, id, parse};
use crate::relocate::{names, patch};
use crate::restore::{BodyRestore, Restore, SectionChange};
use crate::rewrite::body::{LOCALS, OPERATORS, SIZE, size_width_of};
use crate::rewrite::splice::{self, SectionEdit, Splice, Widths, write_leb};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest, Probe};

/// Returns the original module, byte for byte. A module without hooks is returned as it is: it is the output for a
/// selection without functions.
///
/// The SHA-256 of the result is compared with the one in the Manifest. Then [`verify`](crate::verify::verify) checks the
/// result against `hooked`.
///
/// # Errors
/// [`ErrorKind::Restore`] if the module has hooks and no Manifest, if the Manifest has no restoring data, or if another tool
/// changed the module after instrumentation. The errors of [`parse`] if `hooked` is not a valid module.
pub fn strip(hooked: &[u8]) -> Result<Vec<u8>> {
    restore(&parse(hooked)?)
}

/// Returns the original of a module, like [`strip`].
///
/// # Errors
/// Those of [`strip`].
pub(crate) fn restore(module: &Module<'_>) -> Result<Vec<u8>> {
    let Some(manifest) = module.manifest().transpose()? else {
        if !crate::injected::is_hooked(module) {
            return Ok(module.bytes().to_vec());
        }
        return Err(Error::new(
            ErrorKind::Restore,
            format!(
                "nothing to strip: its hooks were not written by this tool (there is no `{MANIFEST_SECTION}` section)"
            ),
        ));
    };
    let Some(restore) = Restore::of(module, &manifest).transpose()? else {
        return Err(Error::new(
            ErrorKind::Restore,
            "the module was instrumented without restoring data (--no-restore)",
        ));
    };
    let original = restore_module(module, &manifest, &restore).map_err(|e| changed().caused_by(e))?;
    if crate::hash::sha256(&original) != manifest.input_sha256 {
        return Err(changed());
    }
    // The Manifest is untrusted input: a forged one could hold another program and the hash of that program.
    parse(&original)
        .and_then(|original| crate::verify::verify_modules(&original, module))
        .map_err(|e| Error::new(ErrorKind::Restore, "the Manifest does not belong to this module").caused_by(e))?;
    Ok(original)
}

fn changed() -> Error {
    let message = "the original cannot be restored: another tool has changed the module since it was instrumented";
    Error::new(ErrorKind::Restore, message)
}

fn unexpected(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Restore, what)
}

fn restore_module(module: &Module<'_>, manifest: &Manifest, restore: &Restore) -> Result<Vec<u8>> {
    let file = module.bytes();
    let hooks = manifest.hooks.imports();
    let own = module
        .imported_funcs()
        .len()
        .checked_sub(hooks.len())
        .ok_or_else(|| unexpected("the imports of the hooks are missing"))?;
    if !module.imported_funcs()[own..].iter().zip(hooks).all(|(i, h)| i.module == h.module && i.name == h.name) {
        return Err(unexpected("the imports of the hooks are not the last imported functions"));
    }
    let trampolines = restore.trampolines.clone();
    let (balance_functions, balance_elements) = restore.exit_guard.unwrap_or_default();
    let appended = (trampolines.len() as u32)
        .checked_add(balance_functions)
        .filter(|n| *n as usize <= module.defined_funcs().len());
    let Some(appended) = appended.filter(|_| trampolines.is_sorted()) else {
        return Err(unexpected("the trampolines are missing"));
    };
    let first_trampoline = module.func_count() - appended;
    let func_map = FuncMap { imported: own as u32, hooks: hooks.len() as u32, trampolines, first_trampoline };
    let buffers = manifest.hooks.has_buffer() as i64;
    let memory = (module.memories().len() as u32)
        .checked_sub(buffers as u32)
        .ok_or_else(|| unexpected("the memory of the buffer is missing"))?;
    let spans = Spans::closed_by(&roles::roles(module)).is_some();
    let mut hook_code = HookCode::new(manifest.hooks, func_map.imported, memory);
    if restore.exit_guard.is_some() {
        hook_code = hook_code.guarded(module.func_count() - balance_functions, spans);
    }
    let (tables, globals) =
        if restore.exit_guard.is_some() { (exit_guard::TABLES, exit_guard::globals(spans)) } else { (0, 0) };
    let mut out = Vec::with_capacity(file.len());
    out.extend_from_slice(&file[..8]);
    let mut sections = module.sections().iter().filter(|s| s.name != Some(MANIFEST_SECTION));
    for change in &restore.changes {
        if let SectionChange::Dropped(bytes) = change {
            out.extend_from_slice(bytes);
            continue;
        }
        let section = sections.next().ok_or_else(|| unexpected("a section is missing"))?;
        match change {
            SectionChange::Kept => out.extend_from_slice(&file[section.whole.clone()]),
            SectionChange::Created => {}
            SectionChange::Replaced(bytes) => out.extend_from_slice(bytes),
            SectionChange::Dropped(_) => unreachable!("handled above"),
            SectionChange::Patched(widths, script) => {
                let mut contents = file[section.contents.start..section.data.start].to_vec();
                contents.extend(patch::restore(&file[section.data.clone()], script)?);
                edited_back(section, &contents, widths, &mut out);
            }
            SectionChange::Edited(widths) => {
                let contents = match (section.id, section.name) {
                    (id::CUSTOM, Some("name")) => {
                        let mut contents = Vec::new();
                        "name".encode(&mut contents);
                        contents.extend(names::restore(
                            &file[section.data.clone()],
                            &func_map,
                            restore.wrapper.labels() + hook_code.labels().0,
                            &manifest.probes,
                        )?);
                        contents
                    }
                    (id::CODE, _) => code(module, section, manifest, restore, (&func_map, &hook_code), widths)?,
                    _ => {
                        let entries = match section.id {
                            id::TYPE => -(restore.types_appended as i64),
                            id::IMPORT => -(hooks.len() as i64),
                            id::FUNCTION => -i64::from(appended),
                            id::TABLE => -i64::from(tables),
                            id::GLOBAL => -i64::from(globals),
                            id::ELEMENT => -i64::from(balance_elements),
                            id::MEMORY | id::EXPORT => -buffers,
                            _ => 0,
                        };
                        let growth = SectionEdit { entries, bytes: Vec::new() };
                        splice::section(file, section, &|f| func_map.back(f), &growth, Widths::Recall(widths))?.0
                    }
                };
                edited_back(section, &contents, widths, &mut out);
            }
        }
    }
    if sections.next().is_some() {
        return Err(unexpected("a section was added"));
    }
    Ok(out)
}

/// Writes a section with its original `contents` and the original width of its size field.
fn edited_back(section: &Section<'_>, contents: &[u8], widths: &[(u32, u8)], out: &mut Vec<u8>) {
    let width = (section.contents.start - section.whole.start - 1) as u8;
    let width = Widths::Recall(widths).of(0, section.contents.len() as u32, width, contents.len() as u32);
    out.push(section.id);
    write_leb(out, contents.len() as u32, width);
    out.extend_from_slice(contents);
}

fn code(
    module: &Module<'_>,
    section: &Section<'_>,
    manifest: &Manifest,
    restore: &Restore,
    (func_map, code): (&FuncMap, &HookCode),
    widths: &[(u32, u8)],
) -> Result<Vec<u8>> {
    let mut reader = module.reader(section.contents.clone());
    let count = reader.read_var_u32()?;
    let width = (reader.original_position() - section.contents.start) as u8;
    let behind = func_map.trampolines.len() as u32 + restore.exit_guard.map_or(0, |(functions, _)| functions);
    let before = count - behind;
    let mut out = Vec::new();
    write_leb(
        &mut out,
        before,
        if before == count { width } else { Widths::Recall(widths).of(1, count, width, before) },
    );
    let first = module.imported_funcs().len();
    let runs = crate::parallel::runs(module.defined_funcs().take(before as usize).map(|func| module.body(func).len()));
    let none = BodyRestore::default();
    let bodies = crate::parallel::map(runs, |run| -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for position in run {
            let func = FuncIdx((first + position) as u32);
            let noted = restore.bodies.binary_search_by_key(&(position as u32), |(p, _)| *p);
            let noted = noted.map_or(&none, |found| &restore.bodies[found].1);
            let id = find(&manifest.probes, func);
            body(module, func, (id, restore.wrapper), code, func_map, noted, &mut out)?;
        }
        Ok(out)
    });
    for run in bodies {
        out.extend_from_slice(&run?);
    }
    Ok(out)
}

fn find(probes: &[Probe], func: FuncIdx) -> Option<ProbeId> {
    probes.binary_search_by_key(&func.0, |p| p.id.0).ok().map(|found| probes[found].id)
}

/// Writes the original body of `func`, with its size field.
fn body(
    module: &Module<'_>,
    func: FuncIdx,
    (id, wrapper): (Option<ProbeId>, Wrapper),
    code: &HookCode,
    func_map: &FuncMap,
    noted: &BodyRestore,
    out: &mut Vec<u8>,
) -> Result<()> {
    let file = module.bytes();
    let range = module.body(func);
    let mut locals_reader = module.body_reader(func).get_locals_reader()?;
    let groups = locals_reader.get_count();
    let groups_leb = range.start..locals_reader.original_position();
    let (mut locals, mut last_group) = (module.func_type(func).params().len() as u32, range.start);
    let mut last_count = 0;
    for _ in 0..groups {
        last_group = locals_reader.original_position();
        last_count = locals_reader.read()?.0;
        locals = locals.saturating_add(last_count);
    }
    let start = locals_reader.original_position();
    let hooked = hooked(module, func, (id, wrapper), code, locals.saturating_sub(last_count), start)?;
    let hook_locals = hooked.map_or(0, |hooked| code.locals(hooked.frame.catches));
    let mut had_scratch = false;
    let mut erased = Erasure::new(module, func, code, hooked, locals.saturating_sub(1))?;
    let mut splice = Splice::new(file, range.start, Widths::Recall(&noted.widths), OPERATORS);
    splice.copy_to(start);
    splice.out.clear();
    let mut to_wrapper = 0;
    while let Some(piece) = erased.next().map_err(|e| unexpected(format!("in function {}, {}", func.0, e.message())))? {
        let (operator, at) = match piece {
            Piece::Operator(operator, range) => (operator, range),
            Piece::Hook(hook, range) => {
                had_scratch |= hook == Hook::Grow;
                splice.remove(range);
                continue;
            }
        };
        match operator {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => {
                splice.number(at.start + 1..at.end, function_index, func_map.back(function_index));
            }
            Operator::Br { relative_depth } if hooked.is_some() && relative_depth == erased.depth() => {
                if noted.branches.binary_search(&to_wrapper).is_err() {
                    splice.replace(at, &[0x0f]);
                }
                to_wrapper += 1;
            }
            _ => {}
        }
    }
    splice.copy_to(range.end);

    let Splice { out: code, mut widths, .. } = splice;
    let mut head = Vec::new();
    if had_scratch || hook_locals > 0 {
        let groups_before = groups.checked_sub(1).ok_or_else(|| unexpected("the local of the hooks is missing"))?;
        let width = widths.of(LOCALS, groups, groups_leb.len() as u8, groups_before);
        write_leb(&mut head, groups_before, width);
        head.extend_from_slice(&file[groups_leb.end..last_group]);
    } else {
        head.extend_from_slice(&file[range.start..start]);
    }
    let size = (head.len() + code.len()) as u32;
    let width = widths.of(SIZE, range.len() as u32, size_width_of(module, func), size);
    write_leb(out, size, width);
    out.extend_from_slice(&head);
    out.extend_from_slice(&code);
    Ok(())
}

/// How `func` is instrumented; `None` if it has no entry and exit hooks.
///
/// `declared` is the index of the first local in the last group. If there are locals for hooks, this is the first of
/// them. `start` is the file offset of the first operator.
fn hooked(
    module: &Module<'_>,
    func: FuncIdx,
    (id, wrapper): (Option<ProbeId>, Wrapper),
    code: &HookCode,
    declared: u32,
    start: usize,
) -> Result<Option<Hooked>> {
    let body = &module.bytes()[start..module.body(func).end - 1];
    let catches = code.reports_catches() && CatchSites::of(module, func).is_some();
    let frame = Frame { id, local: declared, catches, is_leaf: false, pair: HookPair::Plain };
    let others = code.pairs()[1..].iter().map(|pair| Frame { pair: *pair, ..frame });
    let frame = others.into_iter().find(|other| body.starts_with(&code.enter(*other))).unwrap_or(frame);
    let enter = code.enter(frame);
    // A function without a probe has hooks too, if it catches exceptions or its pair is not the plain one.
    if id.is_none() && frame.pair == HookPair::Plain && !(catches && body.starts_with(&enter)) {
        return Ok(None);
    }
    // A leaf function has its own form of exit hook.
    let is_leaf = body.ends_with(&code.exit(Frame { is_leaf: true, ..frame }));
    let results = block_type(module, func, start + enter.len());
    let results = results.ok_or_else(|| unexpected(format!("the wrapper of function {} is missing", func.0)))?;
    Ok(Some(Hooked { frame: Frame { is_leaf, ..frame }, wrapper, results }))
}
