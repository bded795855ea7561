//! The erasure check: a hooked module is the original plus hooks, and nothing else.
//!
//! Theorem: walk the original and the hooked module side by side. Sections are the same, in the same order, except that
//! function indices of defined functions moved by the number of hook imports, types were appended, the hooks are
//! imported, imported functions may be called through trampolines, a buffer of the hooks' own may have been added (a memory of
//! fixed size behind the others, exported under a new name: an instruction of the original cannot name it, since it could
//! not before, and stands there unchanged), and the sections `metadata.code.*` and `.debug_*` say what they said before of the
//! moved functions and instructions. `name` and `producers` hold what follows from those of the original, byte for byte: hooked
//! functions without a name are called what the Manifest calls them (if there is none, anything), and we are a producer, in any
//! version. Types are appended that hooks use, and no others. Links to files sidecars the module (`sourceMappingURL`,
//! `external_debug_info`) may name others, be left out, or come into being if the Manifest knows of it: of what stands in those
//! files nothing is said here. A tool that comes behind us and adds or changes any section is found out too.
//!
//! A body is either the same but for function indices, or it is
//! `ENTER id, block, the original, end, EXIT id, end`, where in the original each `return` is a branch to that block, each
//! `return_call*` has `EXIT id` before it, and each `memory.grow` of memory 0 may have its hook before it. In the buffer's
//! sets a function that catches exceptions tells so wherever one may have brought it: behind `catch` and `catch_all`, and at
//! each label that a clause of a `try_table` names. (One that is not hooked may do so too: then it has neither exit nor id.)
//!
//! A module that exits its open calls before it is left for good has functions of its own behind its trampolines for that, two tables,
//! a global and segments, which nothing else names; hooks call those in place of the host's, and one of them stands before each
//! `unreachable`, hooked or not, and in a trampoline of `proc_exit`, so that each of these ways out of the module is guarded. (But for
//! functions that cannot call it, being shared, or that engines would not accept with it: those have none.)
//!
//! Every way out of such a body passes its exit: falling through reaches it behind the block; a branch to what was the
//! function's label (in whatever instruction) lands on the block; a `return` has become such a branch; a tail call has
//! its own. So the check needs no second list of ways out.
//!
//! It shares no code with the rewriting but the bytes of the hooks and how debug information is relocated (across a map of
//! offsets that it draws for itself; what that gives is tested by a reader of another make), and does not read the Manifest to learn what was
//! done; it only compares what the Manifest claims. Not wasmtime, no running: 0.1 s for 10 MB.

use std::collections::{BTreeSet, HashMap};

use wasm_encoder::BlockType;

use crate::erase::{Erasure, Hooked, block_type};
use crate::hooks::HookCode;
use crate::hooks::exit_guard::Spans;
use crate::hooks::frame::Frame;
use crate::hooks::roles;
use crate::hooks::wrapper::{self, Wrapper};
use crate::limits::MAX_LOCALS;
use crate::links::build_id;
use crate::mapping::FuncMap;
use crate::mapping::{Insertion, OffsetMap, Place};
use crate::module::{FuncIdx, Module, id, parse};
use crate::relocate::dwarf::{self, Dwarf};
use crate::relocate::names::Naming;
use crate::restore::Restore;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::{HOOK_SETS, HookSet, ProbeId};
use wasmtrace_abi::manifest::{BufferPlace, Manifest};

mod appended;
mod custom;
mod failure;
mod links;
mod matched;
mod notes;
mod operators;
mod pair;
mod sections;

use failure::fail;
use matched::Matched;
use operators::{Walk, add_locals, calls, catches, locals_of};
use pair::Pair;

/// What the check found to be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many functions have a body.
    pub functions: usize,
    /// How many of them are hooked.
    pub hooked: usize,
    /// How many `memory.grow`s report.
    pub memory_grows: usize,
}

/// Proves that `hooked` is `original` plus hooks.
///
/// # Errors
/// [`ErrorKind::Verify`](wasmtrace_abi::error::ErrorKind::Verify) with the offset in the hooked module where the two part; the errors of [`parse`] if one of them
/// is no module.
pub fn verify(original: &[u8], hooked: &[u8]) -> Result<Verified> {
    let old = parse(original)?;
    let mut verified = Verified { functions: old.defined_funcs().len(), hooked: 0, memory_grows: 0 };
    if original == hooked {
        return Ok(verified);
    }
    let new = parse(hooked)?;
    let mut pair = recognize(&old, &new)?;
    pair.imports()?;
    let buffer = pair.buffer()?;
    pair.find_exit_guard()?;
    let mut shown = Shown::default();
    let hooked_trampolines = pair.find_trampolines(&mut shown)?;
    let mut hooked_funcs = Vec::new();
    let length = |module: &Module<'_>| module.section(id::CODE).map_or(0, |code| code.contents.len() as u32);
    let mut offsets = OffsetMap::new((length(&old), length(&new)));
    for (func, body) in old.defined_funcs().zip(pair.bodies()) {
        let body = body?;
        verified.hooked += body.hooked as usize;
        verified.memory_grows += body.memory_grows;
        hooked_funcs.extend(body.hooked.then_some(ProbeId(func.0 + pair.by)));
        offsets.push(body.place.clone(), &body.growths);
        shown.add(func, body)?;
    }
    hooked_funcs.extend(hooked_trampolines);
    pair.exits_of(&hooked_funcs)?;
    let manifest = new.manifest().transpose()?;
    if let Some(manifest) = &manifest {
        pair.manifest(manifest, original, &buffer, &hooked_funcs)?;
    }
    pair.types(&shown)?;
    pair.names(&hooked_funcs)?;
    pair.links(&offsets)?;
    let probes = match manifest.as_ref() {
        Some(manifest) => &manifest.probes,
        // Then nothing says what the nameless were to be called.
        None => &pair.named(&hooked_funcs),
    };
    let naming = Naming {
        func_count: old.func_count(),
        func_map: &pair.func_map(),
        outer_labels: pair.code.labels().0 + shown.wrapper.map_or(0, Wrapper::labels),
        inner_labels: &shown.labels,
        probes,
        hook_names: &crate::hooks::hook_names(pair.set, pair.from, pair.exit_guard.as_ref()),
    };
    pair.sections(&Expected {
        places: &shown.places,
        dwarf: &dwarf::relocate(&old, &offsets).value,
        naming: &naming,
        restore: manifest.as_ref().and_then(|manifest| Restore::of(&new, manifest)).transpose()?.as_ref(),
        rethrows: shown.wrapper == Some(Wrapper::TryTable),
    })?;
    Ok(verified)
}

/// Which hooks the hooked module has, by its imports.
fn recognize<'p, 'a>(old: &'p Module<'a>, new: &'p Module<'a>) -> Result<Pair<'p, 'a>> {
    let from = old.imported_funcs().len() as u32;
    let Some(set) = HOOK_SETS.into_iter().find(|set| imports_hooks(new, from as usize, *set)) else {
        let at = new.section(id::IMPORT).map_or(8, |s| s.contents.start);
        return Err(fail(at, "the hooks of no known set are imported behind the original's functions"));
    };
    let by = set.imports().len() as u32;
    if new.func_count() < old.func_count() + by {
        return Err(fail(8, "functions were lost"));
    }
    let code = HookCode::new(set, from, old.memories().len() as u32);
    Ok(Pair { old, new, from, by, trampolines: Vec::new(), code, set, exit_guard: None, roles: Vec::new() })
}

/// Whether the functions imported from `from` on are the hooks of that set.
fn imports_hooks(module: &Module<'_>, from: usize, set: HookSet) -> bool {
    let imports = module.imported_funcs().get(from..).unwrap_or_default();
    imports.len() == set.imports().len()
        && imports
            .iter()
            .zip(set.imports())
            .all(|(import, hook)| (import.module, import.name) == (hook.module, hook.name))
}

/// What is known of one pair of bodies that match.
struct Body {
    hooked: bool,
    memory_grows: usize,
    /// For each original operator: its offset from the body's start, before and after.
    places: Vec<(u32, u32)>,
    /// Where it was and is, and where bytes were added, as found here.
    place: Place,
    growths: Vec<Insertion>,
    /// What stands around it, and the index of the type that this gives, if it has one.
    wrapper: Option<Wrapper>,
    block_type: Option<u32>,
    /// Labels that hooks open inside of it: for each, how many of the original's come before it.
    labels: Vec<u32>,
    /// Whether it may have hooks that engines would not accept with it.
    may_lack: bool,
}

/// What the bodies show, which other sections depend on.
#[derive(Default)]
struct Shown {
    /// The places of each body.
    places: Vec<Vec<(u32, u32)>>,
    /// What stands around those that have hooks: the same around all.
    wrapper: Option<Wrapper>,
    /// The types that this gives, and what stands in trampolines.
    block_types: BTreeSet<u32>,
    /// Labels that hooks open inside, by function.
    labels: HashMap<u32, Vec<u32>>,
    /// The functions that may have no hooks only since engines would not accept them with those.
    may_lack: Vec<FuncIdx>,
}

impl Shown {
    fn add(&mut self, func: FuncIdx, body: Body) -> Result<()> {
        self.around(func, body.wrapper)?;
        self.block_types.extend(body.block_type);
        self.places.push(body.places);
        if !body.labels.is_empty() {
            self.labels.insert(func.0, body.labels);
        }
        if body.may_lack {
            self.may_lack.push(func);
        }
        Ok(())
    }

    fn around(&mut self, func: FuncIdx, wrapper: Option<Wrapper>) -> Result<()> {
        if wrapper.is_some() && self.wrapper.is_some() && wrapper != self.wrapper {
            return Err(fail(8, format!("what stands around function {} is not what stands around others", func.0)));
        }
        self.wrapper = self.wrapper.or(wrapper);
        Ok(())
    }
}

/// What sections are held against.
struct Expected<'e> {
    places: &'e [Vec<(u32, u32)>],
    dwarf: &'e Dwarf,
    naming: &'e Naming<'e>,
    restore: Option<&'e Restore>,
    /// Whether hooks hold what they catch.
    rethrows: bool,
}

impl Pair<'_, '_> {
    /// The last functions may be those of an exit guard.
    fn find_exit_guard(&mut self) -> Result<()> {
        self.exit_guard = self.guarding()?;
        if let Some(exit_guard) = &self.exit_guard {
            self.roles = roles::roles(self.old);
            self.code = self.code.guarded(exit_guard.first, Spans::closed_by(&self.roles).is_some());
        }
        Ok(())
    }

    /// The functions before those, and behind the original's, are trampolines. Returns the probes of those that are hooked.
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

    /// Compares all bodies, on all cores.
    fn bodies(&self) -> Vec<Result<Body>> {
        let first = self.old.imported_funcs().len();
        let lengths = self.old.defined_funcs().map(|func| self.old.body(func).len());
        crate::parallel::map_each(lengths, |position| self.body(FuncIdx((first + position) as u32)))
    }

    /// Each hooked function can be exited by the exit guard, if there is one.
    fn exits_of(&self, hooked: &[ProbeId]) -> Result<()> {
        let Some(exit_guard) = &self.exit_guard else { return Ok(()) };
        match hooked.iter().all(|id| exit_guard.ids.binary_search(id).is_ok()) {
            true => Ok(()),
            false => Err(fail(8, "a function is hooked, and could not be exited when the module is left")),
        }
    }

    /// The Manifest says what has been found.
    fn manifest(
        &self,
        manifest: &Manifest,
        original: &[u8],
        buffer: &Option<BufferPlace>,
        hooked: &[ProbeId],
    ) -> Result<()> {
        if !manifest.probes.iter().map(|p| p.id).eq(hooked.iter().copied()) {
            return Err(fail(8, "the Manifest names other functions than those that are hooked"));
        }
        if manifest.hooks != self.set || manifest.buffer != *buffer {
            return Err(fail(8, "the Manifest names other hooks, or another buffer, than there are"));
        }
        if manifest.input_sha256 != crate::hash::sha256(original) {
            return Err(fail(8, "the Manifest names another input"));
        }
        if manifest.build_id != build_id(self.old).unwrap_or_default() {
            return Err(fail(8, "the Manifest names another build_id"));
        }
        self.labels(manifest)
    }

    /// Where functions went.
    fn func_map(&self) -> FuncMap {
        FuncMap {
            imported: self.from,
            hooks: self.by,
            trampolines: self.trampolines.iter().map(|(import, _)| *import).collect(),
            first_trampoline: self.old.func_count() + self.by,
        }
    }

    /// What may stand around bodies: where functions tell that they have caught an exception, no other catches it.
    fn wrappers(&self) -> impl Iterator<Item = Wrapper> + use<> {
        let all = if self.code.reports_catches() { &wrapper::ALL[..1] } else { &wrapper::ALL };
        all.iter().copied()
    }

    /// Walks one body in both modules. A hooked one has one of the wrappers; each of them passes its exit on every way
    /// out, so it does not matter which, as long as the rest fits.
    fn body(&self, func: FuncIdx) -> Result<Body> {
        let new_func = FuncIdx(self.place(func.0));
        let walk = Walk::new(self.new, new_func)?;
        let declared: u32 = locals_of(self.old, func)?.iter().map(|(count, _)| count).sum();
        let local = self.old.func_type(func).params().len() as u32 + declared;
        let catches = self.code.reports_catches() && catches(self.old, func)?;
        // One that is not hooked, but catches, may have told its number.
        let ids = [Some(ProbeId(new_func.0))].into_iter().chain(catches.then_some(None));
        let is_leaf = !catches && !calls(self.old, func)?;
        let frames = ids.map(|id| Frame { id, local, catches, is_leaf });
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
        // What a plain block encloses may itself begin like another wrapper, so every one that fits is tried.
        let mut found = Err(fail(walk.at(), "no wrapper with the function's results behind ENTER"));
        for wrapper in self.wrappers().filter(opens) {
            found = self.body_in(func, Some(Hooked { frame, wrapper, results: block_type }));
            if found.is_ok() {
                break;
            }
        }
        found.map(|body| Body { block_type: index, ..body })
    }

    /// The type of the block at `at`, which must be `[] -> ` the results of the function, and its index if it has one.
    fn block_type(&self, func: FuncIdx, at: usize) -> Result<(BlockType, Option<u32>)> {
        let ty = block_type(self.new, func, at).filter(|ty| self.gives(*ty, func));
        let ty = ty.ok_or_else(|| fail(at, "no wrapper with the function's results behind ENTER"))?;
        let index = match ty {
            BlockType::FunctionType(index) => Some(index),
            _ => None,
        };
        Ok((ty, index))
    }

    /// Compares one body with what is left of it without hooks. `hooked`: the hooks that it may have around it.
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
            body.follow(behind.as_ref(), &hooks)?;
            body.belong(&operator, &hooks)?;
            body.same(&operator, old_at..old_end, &hooks)?;
            behind = Some(operator);
        }
        if erased.next()?.is_some() {
            return Err(fail(erased.at(), "operators past the end of a body"));
        }
        let mut locals = locals_of(self.old, func)?;
        let more = hook_locals + (body.memory_grows > 0) as u32; // the hooks' own, and their scratch
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
