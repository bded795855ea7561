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
use wasmparser::{Operator, OperatorsReader};

use crate::hooks::HookCode;
use crate::hooks::exit_guard::ExitGuard;
use crate::hooks::exit_guard::Spans;
use crate::hooks::frame::Frame;
use crate::hooks::roles;
use crate::hooks::roles::Role;
use crate::hooks::wrapper::{self, Wrapper};
use crate::limits::{MAX_BODY, MAX_LOCALS};
use crate::links::build_id;
use crate::mapping::FuncMap;
use crate::mapping::{Insertion, OffsetMap, Place};
use crate::module::{FuncIdx, Module, id, parse};
use crate::relocate::dwarf::{self, Dwarf};
use crate::relocate::names::Naming;
use crate::restore::Restore;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::{HOOK_SETS, HookSet, ProbeId};

mod appended;
mod custom;
mod failure;
mod links;
mod notes;
mod operators;
mod sections;

use failure::fail;
use operators::{Label, Walk, add_locals, calls, catches, catches_behind, is_tail_call, locals_of, opens_a_label};

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
/// [`ErrorKind::Verify`] with the offset in the hooked module where the two part; the errors of [`parse`] if one of them
/// is no module.
pub fn verify(original: &[u8], hooked: &[u8]) -> Result<Verified> {
    if original == hooked {
        return Ok(Verified { functions: parse(original)?.defined_funcs().len(), hooked: 0, memory_grows: 0 });
    }
    let old = parse(original)?;
    let new = parse(hooked)?;
    let from = old.imported_funcs().len() as u32;
    let Some(set) = HOOK_SETS.into_iter().find(|set| imports_hooks(&new, from as usize, *set)) else {
        let at = new.section(id::IMPORT).map_or(8, |s| s.contents.start);
        return Err(fail(at, "the hooks of no known set are imported behind the original's functions"));
    };
    let by = set.imports().len() as u32;
    if new.func_count() < old.func_count() + by {
        return Err(fail(8, "functions were lost"));
    }
    let code = HookCode::new(set, from, old.memories().len() as u32);
    let mut pair = Pair {
        old: &old,
        new: &new,
        from,
        by,
        trampolines: Vec::new(),
        code,
        set,
        exit_guard: None,
        roles: Vec::new(),
    };
    pair.imports()?;
    let buffer = pair.buffer()?;
    pair.exit_guard = pair.guarding()?;
    let behind = pair.exit_guard.as_ref().map_or(new.func_count(), |exit_guard| exit_guard.first);
    if pair.exit_guard.is_some() {
        pair.roles = roles::roles(&old);
        pair.code = code.guarded(behind, Spans::closed_by(&pair.roles).is_some());
    }
    let (mut shown, mut hooked_trampolines) = (Shown::default(), Vec::new());
    for trampoline in old.func_count() + by..behind {
        let (found, block_type) = pair.trampoline(FuncIdx(trampoline))?;
        hooked_trampolines.extend(found.id);
        pair.trampolines.push((found.import.0, trampoline));
        shown.block_types.extend(block_type);
        shown.around(found.import, found.id.map(|_| found.wrapper))?;
    }
    if !pair.trampolines.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(fail(8, "the trampolines are not in the order of their imports"));
    }
    if !pair.roles.iter().all(|(import, _)| pair.trampolines.binary_search_by_key(import, |(of, _)| *of).is_ok()) {
        return Err(fail(8, "a way out of the module, or a span of its own, passes what keeps calls"));
    }

    let manifest = new.manifest().transpose()?;
    let restore = manifest.as_ref().and_then(|manifest| Restore::of(&new, manifest)).transpose()?;
    let mut checked = Verified { functions: old.defined_funcs().len(), hooked: 0, memory_grows: 0 };
    let mut hooked_funcs = Vec::new();
    let first = old.imported_funcs().len();
    let lengths = old.defined_funcs().map(|func| old.body(func).len());
    let bodies = crate::parallel::map_each(lengths, |position| pair.body(FuncIdx((first + position) as u32)));
    let length = |module: &Module<'_>| module.section(id::CODE).map_or(0, |code| code.contents.len() as u32);
    let mut offsets = OffsetMap::new((length(&old), length(&new)));
    for (func, body) in old.defined_funcs().zip(bodies) {
        let body = body?;
        checked.hooked += body.hooked as usize;
        checked.memory_grows += body.memory_grows;
        if body.hooked {
            hooked_funcs.push(ProbeId(func.0 + by));
        }
        offsets.push(body.place.clone(), &body.growths);
        shown.add(func, body)?;
    }
    hooked_funcs.extend(hooked_trampolines);
    if let Some(exit_guard) = &pair.exit_guard
        && !hooked_funcs.iter().all(|id| exit_guard.ids.binary_search(id).is_ok())
    {
        return Err(fail(8, "a function is hooked, and could not be exited when the module is left"));
    }
    if let Some(manifest) = &manifest {
        if !manifest.probes.iter().map(|p| p.id).eq(hooked_funcs.iter().copied()) {
            return Err(fail(8, "the Manifest names other functions than those that are hooked"));
        }
        if manifest.hooks != set || manifest.buffer != buffer {
            return Err(fail(8, "the Manifest names other hooks, or another buffer, than there are"));
        }
        if manifest.input_sha256 != crate::hash::sha256(original) {
            return Err(fail(8, "the Manifest names another input"));
        }
        if manifest.build_id != build_id(&old).unwrap_or_default() {
            return Err(fail(8, "the Manifest names another build_id"));
        }
        pair.labels(manifest)?;
    }
    pair.types(&shown)?;
    pair.names(&hooked_funcs)?;
    let probes = match manifest.as_ref() {
        Some(manifest) => &manifest.probes,
        // Then nothing says what the nameless were to be called.
        None => &pair.named(&hooked_funcs),
    };
    let naming = Naming {
        func_count: old.func_count(),
        func_map: &FuncMap {
            imported: from,
            hooks: by,
            trampolines: pair.trampolines.iter().map(|(import, _)| *import).collect(),
            first_trampoline: old.func_count() + by,
        },
        outer_labels: pair.code.labels().0 + shown.wrapper.map_or(0, Wrapper::labels),
        inner_labels: &shown.labels,
        probes,
        hook_names: &crate::hooks::hook_names(set, from, pair.exit_guard.as_ref()),
    };
    pair.links(&offsets)?;
    let dwarf = dwarf::relocate(&old, &offsets).value;
    pair.sections(&Expected {
        places: &shown.places,
        dwarf: &dwarf,
        naming: &naming,
        restore: restore.as_ref(),
        rethrows: shown.wrapper == Some(Wrapper::TryTable),
    })?;
    Ok(checked)
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

struct Pair<'p, 'a> {
    old: &'p Module<'a>,
    new: &'p Module<'a>,
    from: u32,
    by: u32,
    /// Imported functions that have a trampoline, and the trampolines.
    trampolines: Vec<(u32, u32)>,
    code: HookCode,
    set: HookSet,
    /// What exits all open calls before the module is left, if there is that.
    exit_guard: Option<ExitGuard>,
    /// The imported functions that have a trampoline for that.
    roles: Vec<(u32, Role)>,
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
    /// Where a function went.
    fn place(&self, func: u32) -> u32 {
        if func < self.from { func } else { func + self.by }
    }

    /// What a reference to a function became.
    fn moved(&self, func: u32) -> u32 {
        match self.trampolines.binary_search_by_key(&func, |(import, _)| *import) {
            Ok(found) => self.trampolines[found].1,
            Err(_) => self.place(func),
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
            found = self.body_in(func, Some((frame, wrapper, block_type)));
            if found.is_ok() {
                break;
            }
        }
        found.map(|body| Body { block_type: index, ..body })
    }

    /// The type of the block at `at`, which must be `[] -> ` the results of the function, and its index if it has one.
    fn block_type(&self, func: FuncIdx, at: usize) -> Result<(BlockType, Option<u32>)> {
        let no_wrapper = || fail(at, "no wrapper with the function's results behind ENTER");
        let end = self.new.body(func).end;
        let mut operators = OperatorsReader::new(self.new.reader(at.min(end)..end));
        match operators.read()? {
            Operator::Block { blockty } | Operator::Try { blockty } if self.gives(blockty, func) => match blockty {
                wasmparser::BlockType::Empty => Ok((BlockType::Empty, None)),
                wasmparser::BlockType::Type(ty) => {
                    let ty = wasm_encoder::ValType::try_from(ty).map_err(|_| no_wrapper())?;
                    Ok((BlockType::Result(ty), None))
                }
                wasmparser::BlockType::FuncType(index) => Ok((BlockType::FunctionType(index), Some(index))),
            },
            _ => Err(no_wrapper()),
        }
    }

    /// Walks one body in both modules, unhooked or with this wrapper.
    fn body_in(&self, func: FuncIdx, hooks: Option<(Frame, Wrapper, BlockType)>) -> Result<Body> {
        let new_func = FuncIdx(self.place(func.0));
        let (old_range, new_range) = (self.old.body(func), self.new.body(new_func));
        let new_bytes = self.new.bytes();
        let mut old = Walk::new(self.old, func)?;
        let mut new = Walk::new(self.new, new_func)?;
        let has_hooks = hooks.is_some();
        let local = self.old.func_type(func).params().len() as u32 + old.locals;
        let hook_locals = hooks.map_or(0, |(frame, ..)| self.code.locals(frame.catches));
        let grow = self.code.memory_grow(local + hook_locals);
        let exit_guard = self.code.exit_guard();
        let exit = hooks.map_or_else(Vec::new, |(frame, ..)| self.code.exit(frame));
        let caught =
            hooks.filter(|(frame, ..)| frame.catches).map_or_else(Vec::new, |(frame, ..)| self.code.caught(frame));
        let mut labels = vec![Label::default()];
        let may_lack = !has_hooks && (self.old.is_shared(func) || self.may_be_too_large(new_func)?);
        let (mut opened, mut hook_labels) = (0, Vec::new());
        if let Some((Frame { id: None, .. }, wrapper, _)) = hooks {
            hook_labels.extend(std::iter::repeat_n(opened, (self.code.labels().0 + wrapper.labels()) as usize));
        }
        let mut memory_grows = 0;
        let mut places = Vec::new();
        let mut growths = Vec::new();
        let mut grown = |at: usize, by: usize, inserted: bool| {
            if by > 0 {
                growths.push(Insertion { at: (at - old_range.start) as u32, by: by as u32, inserted });
            }
        };
        let first = old.at();
        let more_locals = (new.at() - new_range.start).saturating_sub(first - old_range.start);
        grown(first - 1, more_locals, false);
        if let Some((frame, wrapper, block_type)) = hooks {
            let mut opening = self.code.enter(frame);
            wrapper.open(block_type, &mut opening);
            new.skip(&opening)?;
            grown(first, opening.len(), true);
        }
        loop {
            let old_at = old.at();
            let (a, a_end) = old.next()?;
            let depth = labels.len() as u32 - 1;
            if has_hooks && is_tail_call(&a) {
                let leave = hooks.map_or_else(Vec::new, |(frame, ..)| self.code.leave(frame));
                if !new.starts_with(&leave) {
                    return Err(fail(new.at(), "a tail call without an exit before it"));
                }
                new.skip(&leave)?;
                grown(old_at, leave.len(), true);
                let labels = if leave.is_empty() { 0 } else { self.code.labels().1 };
                hook_labels.extend(std::iter::repeat_n(opened, labels as usize));
            } else if matches!(a, Operator::Unreachable) && (!may_lack || new.starts_with(&exit_guard)) {
                new.skip(&exit_guard)?;
                grown(old_at, exit_guard.len(), true);
            } else if matches!(a, Operator::MemoryGrow { mem: 0 }) && new.starts_with(&grow) {
                new.skip(&grow)?;
                grown(old_at, grow.len(), true);
                memory_grows += 1;
            }
            if let Some((_, wrapper, _)) = hooks
                && depth == 0
                && matches!(a, Operator::End)
            {
                let caught = if labels[0].named { &caught[..] } else { &[] };
                let mut close = Vec::new();
                wrapper.close([caught, &exit], &mut close);
                new.skip(&close)?;
                grown(old_at, close.len(), true);
                places.push(((old_at - old_range.start) as u32, (new.at() - new_range.start) as u32));
                let (last, _) = new.next()?;
                if !matches!(last, Operator::End) {
                    return Err(fail(new.at(), "something stands between EXIT and the end of a body"));
                }
                break;
            }
            let new_at = new.at();
            places.push(((old_at - old_range.start) as u32, (new_at - new_range.start) as u32));
            let (b, b_end) = new.next()?;
            // A number that became longer stands behind the operator's first byte; what was a `return` is longer as a whole.
            let longer = (b_end - new_at).saturating_sub(a_end - old_at);
            grown(if matches!(a, Operator::Return) { old_at } else { old_at + 1 }, longer, false);
            match (&a, &b) {
                (Operator::Return, Operator::Br { relative_depth }) if has_hooks && *relative_depth == depth => {}
                (Operator::Return, _) if has_hooks => return Err(fail(new_at, "a return that does not pass the exit")),
                (Operator::Call { function_index: x }, Operator::Call { function_index: y })
                | (Operator::ReturnCall { function_index: x }, Operator::ReturnCall { function_index: y })
                | (Operator::RefFunc { function_index: x }, Operator::RefFunc { function_index: y })
                    if self.moved(*x) == *y => {}
                _ if self.old.bytes()[old_at..a_end] == new_bytes[new_at..b_end]
                    && !matches!(a, Operator::Call { .. } | Operator::ReturnCall { .. } | Operator::RefFunc { .. }) => {
                }
                _ => return Err(fail(new_at, format!("{a:?} became {b:?} in function {}", func.0))),
            }
            if depth == 0 && matches!(a, Operator::End) {
                break;
            }
            opened += opens_a_label(&a) as u32;
            // Wherever an exception may have brought the function, it tells.
            let tells = new.starts_with(&caught);
            if catches_behind(&a, &mut labels, tells).map_err(|what| fail(new.at(), what))? {
                new.skip(&caught)?;
                grown(a_end, caught.len(), true);
                let labels = if caught.is_empty() { 0 } else { self.code.labels().0 };
                hook_labels.extend(std::iter::repeat_n(opened, labels as usize));
            }
        }
        if !new.eof() || !old.eof() {
            return Err(fail(new.at(), "operators past the end of a body"));
        }
        let mut locals = locals_of(self.old, func)?;
        let more = hook_locals + (memory_grows > 0) as u32; // the hooks' own, and their scratch
        add_locals(&mut locals, more, wasmparser::ValType::I32);
        if locals != locals_of(self.new, new_func)? {
            return Err(fail(new_range.start, format!("the locals of function {} changed", func.0)));
        }
        let base = |module: &Module<'_>| module.section(id::CODE).map_or(0, |code| code.contents.start);
        let place = Place {
            old: (old_range.start - base(self.old)) as u32..(old_range.end - base(self.old)) as u32,
            new_start: (new_range.start - base(self.new)) as u32,
            enter: has_hooks.then_some((first - old_range.start) as u32),
        };
        Ok(Body {
            hooked: hooks.is_some_and(|(frame, ..)| frame.id.is_some()),
            memory_grows,
            places,
            place,
            growths,
            wrapper: hooks.map(|(_, wrapper, _)| wrapper),
            block_type: None,
            labels: hook_labels,
            may_lack: may_lack || !has_hooks && u64::from(local + self.code.locals(true)) > MAX_LOCALS,
        })
    }

    /// Whether a body that has no hooks may pass the size that engines accept, if it had them.
    fn may_be_too_large(&self, func: FuncIdx) -> Result<bool> {
        // More than hooks take in one place, and at both ends of a body.
        let with = |places: usize| self.new.body(func).len() + 24 * places + 160;
        if with(self.new.body(func).len()) <= MAX_BODY {
            return Ok(false);
        }
        let mut places = 0;
        for operator in self.new.body_reader(func).get_operators_reader()? {
            let operator = operator?;
            let one = matches!(operator, Operator::Unreachable | Operator::Return | Operator::MemoryGrow { .. });
            places += usize::from(one || is_tail_call(&operator));
        }
        Ok(with(places) > MAX_BODY)
    }

    /// Whether a block type is `[] -> ` the results of the function.
    fn gives(&self, ty: wasmparser::BlockType, func: FuncIdx) -> bool {
        let results = self.new.func_type(func).results();
        match ty {
            wasmparser::BlockType::Empty => results.is_empty(),
            wasmparser::BlockType::Type(one) => results == [one],
            wasmparser::BlockType::FuncType(index) => {
                let ty = self.new.types().nth(index as usize).map(|(t, _)| t.clone());
                ty.is_some_and(|t| matches!(&t.composite_type.inner, wasmparser::CompositeInnerType::Func(f) if f.params().is_empty() && f.results() == results))
            }
        }
    }
}
