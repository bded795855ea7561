//! The erasure check: proves that an instrumented module is the original plus hooks, and nothing else.
//!
//! The check walks the original and the instrumented module side by side, without running either. It takes about 0.1 s
//! for 10 MB.
//!
//! # Sections
//!
//! Sections are the same, in the same order, with these exceptions:
//!
//! - The hooks are imported after the original's imports. The indices of defined functions increase by the number of
//!   these imports.
//! - References to an imported function may go to its trampoline. Trampolines follow the original's functions.
//! - Types that hooks use are appended, and no others.
//! - A module with a buffer has one more memory of fixed size, after the others, and exports it under a new name. The
//!   original's instructions could not name this memory before, and they are unchanged.
//! - `metadata.code.*` and `.debug_*` describe the moved functions and instructions as they described the original
//!   ones.
//! - `name` and `producers` follow from the original's sections, byte for byte. A hooked function without a name has
//!   the name that the Manifest gives it, or any name if there is no Manifest. wasmtrace is listed as a producer, in
//!   any version.
//! - Links to sidecar files (`sourceMappingURL`, `external_debug_info`) may name other files or be left out. They may
//!   be added if the Manifest records them. The check does not read sidecar files.
//!
//! The check also rejects a module in which another tool later added or changed a section.
//!
//! # Bodies
//!
//! A body without hooks is the same except for function indices. A hooked body has this form:
//!
//! ```text
//! ENTER id, block, the original, end, EXIT id, end
//! ```
//!
//! The original in it has these edits:
//!
//! - Each `return` is a branch to that block.
//! - Each `return_call*` has `EXIT id` before it.
//! - Each `memory.grow` of memory 0 may have its hook before it.
//! - In the hook sets with a buffer, a function that catches exceptions reports each possible catch. The report
//!   follows each `catch` and `catch_all`, and each label that a clause of a `try_table` names. A function that is not
//!   hooked may also report; it then has no exit hook and no id.
//!
//! Every exit from a hooked body passes the exit hook. Falling through reaches it after the block. A branch to the
//! function's label, in any instruction, targets the block. A `return` is such a branch. A tail call has its own exit
//! hook. So the check needs no separate list of exits.
//!
//! # Exit guard
//!
//! A module with an exit guard exits its open calls before it is left for good. The functions of the guard follow the
//! trampolines. The guard also has two tables, globals and element segments, which no other code names. Hooks call the
//! guard's functions instead of the host's. The guard is called before each `unreachable`, hooked or not, and in a
//! trampoline of `proc_exit`. Two kinds of functions are exempt: shared functions, which cannot call the guard, and
//! functions that would be too large with the call.
//!
//! # Independence
//!
//! The check shares two parts with the rewriting: the bytes of the hooks, and the relocation of custom sections (names,
//! producers, debug information). It relocates across an offset map that it computes itself. Tests compare relocated
//! debug information with what an independent DWARF reader finds. The check does not use the Manifest to learn what
//! was changed. It only compares the claims of the Manifest with its own findings.

use wasm_encoder::BlockType;

use crate::erase::{Erasure, Hooked, block_type};
use crate::hooks::HookCode;
use crate::hooks::exit_guard::Spans;
use crate::hooks::frame::{Frame, HookPair};
use crate::hooks::roles;
use crate::hooks::wrapper::{self, Wrapper};
use crate::limits::MAX_LOCALS;
use crate::links::build_id;
use crate::mapping::FuncMap;
use crate::mapping::{OffsetMap, Place};
use crate::module::{FuncIdx, Module, id, parse};
use crate::relocate::dwarf::{self, Dwarf};
use crate::relocate::names::Naming;
use crate::restore::Restore;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::manifest::{BufferPlace, Manifest};

mod appended;
mod custom;
pub(crate) mod failure;
mod links;
mod matched;
mod notes;
mod operators;
mod pair;
mod sections;
mod shown;

use failure::fail;
use matched::Matched;
use operators::{Walk, add_locals, calls, catches, is_plain, locals_of};
use pair::Pair;
use shown::{Body, Shown};

/// The facts that the check established about an instrumented module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The number of functions with a body.
    pub functions: usize,
    /// The number of hooked functions with a body.
    pub hooked: usize,
    /// The number of `memory.grow` instructions that have a hook.
    pub memory_grows: usize,
    /// The functions of the original whose hooks are the `quiet` pair.
    pub(crate) quiet: Vec<FuncIdx>,
}

/// Proves that `hooked` is `original` plus hooks, and nothing else.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) at the first difference, with an offset in `hooked`.
/// The errors of [`parse`] if one of the two is not a valid module.
pub fn verify(original: &[u8], hooked: &[u8]) -> Result<Verified> {
    verify_modules(&parse(original)?, &parse(hooked)?)
}

/// Like [`verify`], for modules that were parsed and validated.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) at the first difference, with an offset in `new`.
pub fn verify_modules(old: &Module<'_>, new: &Module<'_>) -> Result<Verified> {
    let mut verified = Verified { functions: old.defined_funcs().len(), hooked: 0, memory_grows: 0, quiet: Vec::new() };
    if old.bytes() == new.bytes() {
        return Ok(verified);
    }
    let mut pair = recognize(old, new)?;
    pair.imports()?;
    let buffer = pair.buffer()?;
    pair.find_exit_guard()?;
    let mut shown = Shown::default();
    let hooked_trampolines = pair.find_trampolines(&mut shown)?;
    let mut hooked_funcs = Vec::new();
    let length = |module: &Module<'_>| module.section(id::CODE).map_or(0, |code| code.contents.len() as u32);
    let mut offsets = OffsetMap::new((length(old), length(new)));
    for (func, body) in old.defined_funcs().zip(pair.bodies()) {
        let body = body?;
        verified.hooked += body.hooked as usize;
        verified.memory_grows += body.memory_grows;
        verified.quiet.extend((body.pair == HookPair::Quiet).then_some(func));
        hooked_funcs.extend(body.hooked.then_some(ProbeId(func.0 + pair.by)));
        offsets.push(body.place.clone(), &body.growths);
        shown.add(func, body)?;
    }
    hooked_funcs.extend(hooked_trampolines);
    pair.exits_of(&hooked_funcs)?;
    let manifest = new.manifest().transpose()?;
    if let Some(manifest) = &manifest {
        pair.manifest(manifest, &buffer, &hooked_funcs)?;
    }
    pair.types(&shown)?;
    pair.names(&hooked_funcs)?;
    pair.links(&offsets)?;
    let probes = match manifest.as_ref() {
        Some(manifest) => &manifest.probes,
        // Without a Manifest, functions that had no name can have any name.
        None => &pair.named(&hooked_funcs),
    };
    let naming = Naming {
        func_count: old.func_count(),
        func_map: &pair.func_map(),
        outer_labels: pair.code.labels().0 + shown.wrapper.map_or(0, Wrapper::labels),
        inner_labels: &shown.labels,
        probes,
        demangle: false,
        hook_names: &crate::hooks::hook_names(pair.set, pair.from, pair.exit_guard.as_ref()),
    };
    pair.sections(&Expected {
        places: &shown.places,
        dwarf: &dwarf::relocate(old, &offsets).value,
        naming: &naming,
        restore: manifest.as_ref().and_then(|manifest| Restore::of(new, manifest)).transpose()?.as_ref(),
        rethrows: shown.wrapper == Some(Wrapper::TryTable),
    })?;
    Ok(verified)
}

/// Finds the hook set of the instrumented module by its imports.
fn recognize<'p, 'a>(old: &'p Module<'a>, new: &'p Module<'a>) -> Result<Pair<'p, 'a>> {
    let from = old.imported_funcs().len() as u32;
    let Some(set) = HookSet::of_modules().find(|set| imports_hooks(new, from as usize, *set)) else {
        let at = new.section(id::IMPORT).map_or(8, |s| s.contents.start);
        return Err(fail(at, "the last imported functions are not the hooks of a known hook set"));
    };
    let by = set.imports().len() as u32;
    if new.func_count() < old.func_count() + by {
        return Err(fail(8, "functions were lost"));
    }
    let code = HookCode::new(set, from, old.memories().len() as u32);
    let has_notes = old.sections().iter().any(notes::is_notes);
    Ok(Pair { old, new, from, by, trampolines: Vec::new(), code, set, exit_guard: None, roles: Vec::new(), has_notes })
}

/// Whether the functions imported from index `from` on are the hooks of `set`.
fn imports_hooks(module: &Module<'_>, from: usize, set: HookSet) -> bool {
    let imports = module.imported_funcs().get(from..).unwrap_or_default();
    imports.len() == set.imports().len()
        && imports
            .iter()
            .zip(set.imports())
            .all(|(import, hook)| (import.module, import.name) == (hook.module, hook.name))
}

/// The values with which sections are compared.
struct Expected<'e> {
    places: &'e [Vec<(u32, u32)>],
    dwarf: &'e Dwarf,
    naming: &'e Naming<'e>,
    restore: Option<&'e Restore>,
    /// Whether hooks hold a caught exception in order to rethrow it.
    rethrows: bool,
}

impl Pair<'_, '_> {
    /// Finds the functions of the exit guard, which are the last functions if the module has one.
    fn find_exit_guard(&mut self) -> Result<()> {
        self.exit_guard = self.guarding()?;
        if let Some(exit_guard) = &self.exit_guard {
            self.roles = roles::roles(self.old);
            self.code = self.code.guarded(exit_guard.first, Spans::closed_by(&self.roles).is_some());
        }
        Ok(())
    }

    /// Finds the trampolines, between the original's functions and those of the exit guard. Returns the probes of the
    /// hooked ones.
    fn find_trampolines(&mut self, shown: &mut Shown) -> Result<Vec<ProbeId>> {
        let behind = self.exit_guard.as_ref().map_or(self.new.func_count(), |exit_guard| exit_guard.first);
        let mut hooked = Vec::new();
        for trampoline in self.old.func_count() + self.by..behind {
            let (found, block_type) = self.trampoline(FuncIdx(trampoline))?;
            hooked.extend(found.id);
            self.trampolines.push((found.import.0, trampoline));
            shown.block_types.extend(block_type);
            shown.around(found.import, found.id.map(|_| found.wrapper))?;
        }
        if !self.trampolines.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(fail(8, "the trampolines are not in the order of their imports"));
        }
        let has_trampoline = |import: u32| self.trampolines.binary_search_by_key(&import, |(of, _)| *of).is_ok();
        match self.roles.iter().all(|(import, _)| has_trampoline(*import)) {
            true => Ok(hooked),
            false => Err(fail(8, "an exit from the module or a manual span bypasses the open-call stack")),
        }
    }

    /// Compares all bodies, in parallel.
    fn bodies(&self) -> Vec<Result<Body>> {
        let first = self.old.imported_funcs().len();
        let lengths = self.old.defined_funcs().map(|func| self.old.body(func).len());
        crate::parallel::map_each(lengths, |position| self.body(FuncIdx((first + position) as u32)))
    }

    /// Checks that the exit guard, if there is one, has a thunk for each hooked function.
    fn exits_of(&self, hooked: &[ProbeId]) -> Result<()> {
        let Some(exit_guard) = &self.exit_guard else { return Ok(()) };
        match hooked.iter().all(|id| exit_guard.ids.binary_search(id).is_ok()) {
            true => Ok(()),
            false => Err(fail(8, "a hooked function is missing from the exit guard")),
        }
    }

    /// Compares the Manifest with the findings.
    fn manifest(&self, manifest: &Manifest, buffer: &Option<BufferPlace>, hooked: &[ProbeId]) -> Result<()> {
        if !manifest.probes.iter().map(|p| p.id).eq(hooked.iter().copied()) {
            return Err(fail(8, "the Manifest lists functions other than the hooked ones"));
        }
        if manifest.hooks != self.set || manifest.buffer != *buffer {
            return Err(fail(8, "the Manifest names a hook set or buffer that the module does not have"));
        }
        if manifest.input_sha256 != crate::hash::sha256(self.old.bytes()) {
            return Err(fail(8, "the Manifest names a different input"));
        }
        if manifest.build_id != build_id(self.old).unwrap_or_default() {
            return Err(fail(8, "the Manifest names a different build_id"));
        }
        self.labels(manifest)
    }

    /// The mapping of function indices.
    fn func_map(&self) -> FuncMap {
        FuncMap {
            imported: self.from,
            hooks: self.by,
            trampolines: self.trampolines.iter().map(|(import, _)| *import).collect(),
            first_trampoline: self.old.func_count() + self.by,
        }
    }

    /// The wrappers that bodies may have. If functions report their catches, the only wrapper is the plain block,
    /// which catches nothing.
    fn wrappers(&self) -> impl Iterator<Item = Wrapper> + use<> {
        let all = if self.code.reports_catches() { &wrapper::ALL[..1] } else { &wrapper::ALL };
        all.iter().copied()
    }

    /// Compares one body in both modules. Every wrapper passes the exit hook on each exit from the body. So any
    /// wrapper is valid if the rest of the body matches.
    fn body(&self, func: FuncIdx) -> Result<Body> {
        let new_func = FuncIdx(self.place(func.0));
        let walk = Walk::new(self.new, new_func)?;
        let declared: u32 = locals_of(self.old, func)?.iter().map(|(count, _)| count).sum();
        let local = self.old.func_type(func).params().len() as u32 + declared;
        let catches = self.code.reports_catches() && catches(self.old, func)?;
        // A function that is not hooked, but catches exceptions, may report its catches.
        // So may one with another pair.
        let id = Some(ProbeId(new_func.0));
        let plain = [(id, HookPair::Plain)].into_iter().chain(catches.then_some((None, HookPair::Plain)));
        let others = self.code.pairs()[1..].iter().flat_map(|pair| [(id, *pair), (None, *pair)]);
        let is_leaf = !catches && !calls(self.old, func)?;
        let frames = plain.chain(others).map(|(id, pair)| Frame { id, local, catches, is_leaf, pair });
        let Some(frame) = frames.into_iter().find(|frame| walk.starts_with(&self.code.enter(*frame))) else {
            return self.body_in(func, None);
        };
        let opening = walk.at() + self.code.enter(frame).len();
        let (block_type, index) = self.block_type(new_func, opening)?;
        let opens = |w: &Wrapper| {
            let mut open = Vec::new();
            w.open(block_type, &mut open);
            self.new.bytes()[opening..].starts_with(&open)
        };
        // The body inside of a plain block can start like another wrapper, so every wrapper that fits is tried.
        let mut found = Err(fail(walk.at(), "no wrapper with the function's results follows the entry hook"));
        for wrapper in self.wrappers().filter(opens) {
            found = self.body_in(func, Some(Hooked { frame, wrapper, results: block_type }));
            if found.is_ok() {
                break;
            }
        }
        found.map(|body| Body { block_type: index, ..body })
    }

    /// The type of the block at `at`, with the type's index if it has one. The type must be `[] -> ` the results of
    /// the function.
    fn block_type(&self, func: FuncIdx, at: usize) -> Result<(BlockType, Option<u32>)> {
        let ty = block_type(self.new, func, at).filter(|ty| self.gives(*ty, func));
        let ty = ty.ok_or_else(|| fail(at, "no wrapper with the function's results follows the entry hook"))?;
        let index = match ty {
            BlockType::FunctionType(index) => Some(index),
            _ => None,
        };
        Ok((ty, index))
    }

    /// Compares one body with the original after removing the hooks. `hooked` says which hooks it may have at its
    /// start and end.
    fn body_in(&self, func: FuncIdx, hooked: Option<Hooked>) -> Result<Body> {
        let new_func = FuncIdx(self.place(func.0));
        let (old_range, new_range) = (self.old.body(func), self.new.body(new_func));
        let frame = hooked.map(|hooked| hooked.frame);
        let mut old = Walk::new(self.old, func)?;
        let local = self.old.func_type(func).params().len() as u32 + old.locals;
        let hook_locals = frame.map_or(0, |frame| self.code.locals(frame.catches));
        let mut erased = Erasure::new(self.new, new_func, &self.code, hooked, local + hook_locals)?;
        let mut body = Matched::new(self, func, hooked, old_range.start..new_range.start)?;
        let more_locals = (erased.at() - new_range.start).saturating_sub(old.at() - old_range.start);
        body.grown(old.at() - 1, more_locals, false);
        let mut behind = None;
        while !old.eof() {
            let old_at = old.at();
            let (operator, old_end) = old.next()?;
            let hooks = body.hooks_before(&mut erased, old_at)?;
            if body.is_plainly_same(behind.as_ref(), old_at..old_end, &hooks) {
                continue;
            }
            body.follow(behind.as_ref(), &hooks)?;
            body.belong(&operator, &hooks)?;
            body.same(&operator, old_at..old_end, &hooks)?;
            // A plain operator has no effect on what follows it.
            behind = Some(operator).filter(|_| !is_plain(self.old.bytes()[old_at]));
        }
        if erased.next()?.is_some() {
            return Err(fail(erased.at(), "a body has more operators than the original"));
        }
        let mut locals = locals_of(self.old, func)?;
        let more = hook_locals + (body.memory_grows > 0) as u32; // for the hooks, and for `memory.grow`
        add_locals(&mut locals, more, wasmparser::ValType::I32);
        if locals != locals_of(self.new, new_func)? {
            return Err(fail(new_range.start, format!("the locals of function {} changed", func.0)));
        }
        let base = |module: &Module<'_>| module.section(id::CODE).map_or(0, |code| code.contents.start);
        let place = Place {
            old: (old_range.start - base(self.old)) as u32..(old_range.end - base(self.old)) as u32,
            new_start: (new_range.start - base(self.new)) as u32,
            enter: hooked.is_some().then_some((old.first - old_range.start) as u32),
        };
        let too_many_locals = hooked.is_none() && u64::from(local + self.code.locals(true)) > MAX_LOCALS;
        Ok(Body {
            hooked: frame.is_some_and(|frame| frame.id.is_some()),
            pair: frame.map_or(HookPair::Plain, |frame| frame.pair),
            memory_grows: body.memory_grows,
            places: body.places,
            place,
            growths: body.growths,
            wrapper: hooked.map(|hooked| hooked.wrapper),
            block_type: None,
            labels: body.hook_labels,
            may_lack: body.may_lack || too_many_locals,
        })
    }

    /// Whether a block type is `[] -> ` the results of the function.
    fn gives(&self, ty: BlockType, func: FuncIdx) -> bool {
        let results = self.new.func_type(func).results();
        match ty {
            BlockType::Empty => results.is_empty(),
            BlockType::Result(ty) => match results {
                [one] => wasm_encoder::ValType::try_from(*one).is_ok_and(|one| one == ty),
                _ => false,
            },
            BlockType::FunctionType(index) => {
                let ty = self.new.types().nth(index as usize).map(|(t, _)| t.clone());
                ty.is_some_and(|t| matches!(&t.composite_type.inner, wasmparser::CompositeInnerType::Func(f) if f.params().is_empty() && f.results() == results))
            }
        }
    }
}
