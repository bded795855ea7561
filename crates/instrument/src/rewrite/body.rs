//! One body: enter, and exit on every way out.
//!
//! ```wat
//! (func $f (param …) (result R)          (func $f (param …) (result R)
//!   (local …)                              (local …)
//!                                          ENTER id
//!                                          block (result R)           ;; replaces the function's own label
//!   …                                        …                        ;; copied, byte for byte
//!   return                                   br d                     ;; d = labels open here: the new block
//!   …                                        …
//!   return_call $g                           EXIT id  return_call $g  ;; the arguments stay on the stack
//!   …                                        …
//! )                                        end
//!                                          EXIT id
//!                                        )
//! ```
//!
//! A function that catches exceptions has further hooks: see `wrapper` and `catch_sites`.
//!
//! The block replaces the function's label. So every branch that named the label (`br`, `br_if`, `br_table`,
//! `br_on_*`, a catch clause, `delegate`) names the block without a change.
//!
//! The alternative is an exit hook before each `return` and before each branch to the function's label. It would need
//! the operand types at each of these places, and a separate block for each conditional branch.

use crate::hooks::catch_sites::CatchSites;
use crate::mapping::FuncMap;
use crate::mapping::Insertion;
use std::ops::Range;

use wasm_encoder::BlockType;

use super::splice::{Splice, Widths, minimal_width, put_leb};
use crate::hooks::HookCode;
use crate::hooks::frame::{Frame, HookPair};
use crate::hooks::wrapper::Wrapper;
use crate::leb;
use crate::limits::{MAX_BODY, MAX_LOCALS};
use crate::module::{FuncIdx, Module, NEAR, Site};
use crate::restore::BodyRestore;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::ProbeId;

/// Ordinals of the numbers that every body has. The ordinals of numbers in operators follow.
pub(crate) const SIZE: u32 = 0;
pub(crate) const LOCALS: u32 = 1;
pub(crate) const OPERATORS: u32 = 2;

/// The opcode of `br`.
const BR: u8 = 0x0c;
const I32: u8 = 0x7f;

/// The hooks to write into one body.
#[derive(Debug)]
pub(crate) struct BodyPlan<'p> {
    /// The probe of the function, if it has one, and its results as a block type; `None` if the body has no hooks.
    pub(crate) hooked: Option<(Option<ProbeId>, BlockType)>,
    /// The places where the function may have caught an exception, if the hooks report that.
    pub(crate) catch_sites: Option<&'p CatchSites>,
    /// The pair of hooks.
    pub(crate) pair: HookPair,
    /// The wrapper of a hooked body.
    pub(crate) wrapper: Wrapper,
    /// Whether `memory.grow` of memory 0 has a hook.
    pub(crate) memory_grow: bool,
    /// Whether `unreachable` has its hook, if the hook set has one.
    pub(crate) unreachable: bool,
}

/// Buffers that are reused from one body to the next.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Whether bodies are only measured, and not written.
    pub(crate) measures: bool,
    /// The length of the body without its size field, in bytes.
    pub(crate) size: usize,
    /// The body without its size field; empty if it was only measured.
    pub(crate) bytes: Vec<u8>,
    /// The places where bytes were added, sorted by place.
    pub(crate) growths: Vec<Insertion>,
    /// The bytes at the start of a body, at each of its exits, and at its end.
    pub(crate) opening: Vec<u8>,
    pub(crate) exit: Vec<u8>,
    pub(crate) closing: Vec<u8>,
}

/// The facts about a body that was written or measured.
#[derive(Debug)]
pub(crate) struct NewBody {
    /// The width of the size field, in bytes.
    pub(crate) size_width: u8,
    /// The offset of the entry hook, if there is one: the offset of the first operator from the old body's start.
    pub(crate) enter: Option<u32>,
    pub(crate) restore: BodyRestore,
    /// The labels that hooks open inside of the body. Each entry is the number of original labels that precede it.
    pub(crate) labels: Vec<u32>,
    /// Why hooks were left out, if they did not fit.
    pub(crate) left_out: Option<LeftOut>,
}

/// Why a body has fewer hooks than planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// The body would be larger than engines accept, so it has no hooks.
    TooLarge,
    /// There is no room for the scratch local, so the body's `memory.grow` instructions have no hooks.
    TooManyLocals,
    /// There is no room for the local of the hooks, so the function is not hooked.
    NoLocal,
}

/// Writes or measures a body with its hooks, or without them if it would be too large.
pub(crate) fn rewrite(
    module: &Module<'_>,
    func: FuncIdx,
    plan: &BodyPlan<'_>,
    code: &HookCode,
    func_map: &FuncMap,
    scratch: &mut Scratch,
) -> Result<NewBody> {
    let new = write(module, func, plan, code, func_map, scratch)?;
    if scratch.size > MAX_BODY && (plan.hooked.is_some() || plan.memory_grow || plan.unreachable) {
        let bare = BodyPlan {
            hooked: None,
            catch_sites: None,
            pair: HookPair::Plain,
            wrapper: Wrapper::Block,
            memory_grow: false,
            unreachable: false,
        };
        return Ok(NewBody {
            left_out: Some(LeftOut::TooLarge),
            ..write(module, func, &bare, code, func_map, scratch)?
        });
    }
    Ok(new)
}

fn write(
    module: &Module<'_>,
    func: FuncIdx,
    plan: &BodyPlan<'_>,
    code: &HookCode,
    func_map: &FuncMap,
    scratch: &mut Scratch,
) -> Result<NewBody> {
    let (file, range) = (module.bytes(), module.body(func));
    let declared = Locals::read(module, func)?;
    let Locals { count: locals, start, .. } = declared;

    // The locals of hooks follow the function's own locals. The local of `memory.grow` is the last one.
    let hook_local = locals as u32;
    let catches = plan.catch_sites.is_some();
    let is_leaf = !catches && is_leaf(module, func);
    let frame = plan.hooked.map(|(id, _)| Frame { id, local: hook_local, catches, is_leaf, pair: plan.pair });
    let hook_locals = frame.map_or(0, |frame| code.locals(frame.catches));
    if locals + u64::from(hook_locals) > MAX_LOCALS {
        let bare = BodyPlan { hooked: None, catch_sites: None, ..*plan };
        return Ok(NewBody {
            left_out: Some(LeftOut::NoLocal),
            ..write(module, func, &bare, code, func_map, scratch)?
        });
    }
    let reports_growth = plan.memory_grow && module.sites(func).any(|(_, site)| site == Site::MemoryGrow);
    let has_room = reports_growth && locals + u64::from(hook_locals) < MAX_LOCALS;
    let left_out = (reports_growth && !has_room).then_some(LeftOut::TooManyLocals);
    let pages = hook_local + hook_locals;

    let mut labels = Vec::new();
    let mut branches = Vec::new();
    let mut to_wrapper = 0; // branches to the wrapper so far
    scratch.exit.clear();
    if let Some(frame) = frame {
        code.exit_to(frame, &mut scratch.exit);
    }
    let exit = frame.map(|_| scratch.exit.as_slice());
    let caught = frame.map_or_else(Vec::new, |frame| code.caught(frame));
    let unreachable = if plan.unreachable { code.unreachable() } else { Vec::new() };
    let (caught_labels, exit_labels) = (code.labels().0 as usize, code.labels().1 as usize);

    let mut splice = Splice::new(file, range.start, Widths::Note(Vec::new()), OPERATORS);
    (splice.out, splice.edits) = (std::mem::take(&mut scratch.bytes), std::mem::take(&mut scratch.growths));
    splice.counts = scratch.measures;
    splice.out.clear();
    splice.edits.clear();
    declared.append(hook_locals + has_room as u32, file, range.start, &mut splice);
    if let (Some(frame), Some((id, block_type))) = (frame, plan.hooked) {
        scratch.opening.clear();
        code.enter_to(frame, &mut scratch.opening);
        plan.wrapper.open(block_type, &mut scratch.opening);
        if id.is_none() {
            // For functions with a probe, the section `name` already counts the labels at the start of a body.
            labels.extend(std::iter::repeat_n(0, caught_labels + plan.wrapper.labels() as usize));
        }
        splice.insert(start, &scratch.opening);
    }
    let skips = scratch.measures && func_map.trampolines.is_empty() && func_map.hooks <= NEAR;
    let mut catch_sites = plan.catch_sites.map_or(&[][..], |catch_sites| &catch_sites.before).iter().peekable();
    let mut report_catches = |up_to: usize, splice: &mut Splice<'_, '_>, labels: &mut Vec<u32>| {
        while let Some((at, opened)) = catch_sites.next_if(|(at, _)| *at <= up_to) {
            splice.insert(*at, &caught);
            labels.extend(std::iter::repeat_n(opened, caught_labels));
        }
    };
    for (at, site) in module.sites(func) {
        report_catches(at, &mut splice, &mut labels);
        match (site, exit) {
            (Site::TailCall(opened) | Site::IndirectTailCall(opened), Some(exit)) if !exit.is_empty() => {
                let leave = frame.map_or_else(Vec::new, |frame| code.leave(frame));
                // A lifted function that is not hooked reports nothing here.
                if !leave.is_empty() {
                    splice.insert(at, &leave);
                }
                labels.extend(std::iter::repeat_n(opened, exit_labels));
            }
            (Site::Return(depth), Some(_)) => {
                branch_out(at, depth, &mut splice);
                to_wrapper += 1;
            }
            (Site::BranchOut, Some(_)) => {
                branches.push(to_wrapper);
                to_wrapper += 1;
            }
            (Site::Unreachable, _) if !unreachable.is_empty() => splice.insert(at, &unreachable),
            (Site::MemoryGrow, _) if has_room => splice.insert(at, &code.memory_grow(pages)),
            _ => {}
        }
        match site {
            // Most references keep their width. To measure the body, their value is not needed.
            Site::Reference { may_widen: false } if skips => splice.skip_number(),
            Site::Reference { .. } | Site::TailCall(_) => {
                let (func, width) = leb::read(&file[at + 1..]).expect("decoded: a number ends");
                let func = func as u32;
                splice.number(at + 1..at + 1 + width, func, func_map.reference(func));
            }
            _ => {}
        }
    }
    let last = range.end - 1;
    report_catches(last, &mut splice, &mut labels);
    if let Some(exit) = exit {
        scratch.closing.clear();
        let catches_here = plan.catch_sites.is_some_and(|catch_sites| catch_sites.at_exit);
        plan.wrapper.close([if catches_here { &caught } else { &[] }, exit], &mut scratch.closing);
        splice.insert(last, &scratch.closing);
    }
    splice.copy_to(range.end);

    let Splice { out, edits, mut widths, len, .. } = splice;
    let size_width = widths.of(SIZE, range.len() as u32, size_width_of(module, func), len as u32);
    (scratch.size, scratch.bytes, scratch.growths) = (len, out, edits);
    let mut widths = widths.into_noted();
    widths.sort_unstable();
    Ok(NewBody {
        size_width,
        enter: plan.hooked.map(|_| (start - range.start) as u32),
        restore: BodyRestore { widths, branches },
        labels,
        left_out,
    })
}

/// The locals that a body declares.
struct Locals {
    /// The number of locals, parameters included.
    count: u64,
    groups: u32,
    /// The file range of the number of groups.
    groups_leb: Range<usize>,
    /// The file offset of the first operator.
    start: usize,
}

impl Locals {
    fn read(module: &Module<'_>, func: FuncIdx) -> Result<Self> {
        let mut reader = module.body_reader(func).get_locals_reader()?;
        let groups = reader.get_count();
        let groups_leb = module.body(func).start..reader.original_position();
        let mut count = module.func_type(func).params().len() as u64;
        for _ in 0..groups {
            count += u64::from(reader.read()?.0);
        }
        Ok(Locals { count, groups, groups_leb, start: reader.original_position() })
    }

    /// Declares `more` locals of type `i32` after the existing ones, in a group of their own.
    fn append(&self, more: u32, file: &[u8], body: usize, splice: &mut Splice<'_, '_>) {
        if more == 0 {
            return;
        }
        let groups_width = self.groups_leb.len() as u8;
        let becomes = splice.widths.of(LOCALS, self.groups, groups_width, self.groups + 1);
        let mut count = [0; 5];
        put_leb(&mut count, self.groups + 1, becomes);
        splice.write(&count[..becomes as usize]);
        splice.write(&file[self.groups_leb.end..self.start]);
        splice.write(&[more as u8, I32]);
        splice.remove(body..self.start);
        // The insertion precedes every operator, so the address of the first operator moves too.
        let by = (becomes - groups_width) as u32 + 2;
        splice.edits.push(Insertion { at: (self.start - body - 1) as u32, by, inserted: false });
    }
}

/// Replaces the `return` at `at` with a branch to the wrapper.
fn branch_out(at: usize, depth: u32, splice: &mut Splice<'_, '_>) {
    let mut br = [BR, 0, 0, 0, 0, 0];
    let width = minimal_width(depth);
    put_leb(&mut br[1..], depth, width);
    splice.replace(at..at + 1, &br[..1 + width as usize]);
}

/// Whether the function is a leaf function ([`wasmtrace_abi::buffer`]). Does not consider exception handlers.
fn is_leaf(module: &Module<'_>, func: FuncIdx) -> bool {
    let size = module.size(func);
    !size.has_call && !size.has_loop && !module.sites(func).any(|(_, site)| site == Site::MemoryGrow)
}

/// The width of the size field before a body: the distance from the previous body's end, or from the section's count.
pub(crate) fn size_width_of(module: &Module<'_>, func: FuncIdx) -> u8 {
    let start = module.body(func).start;
    // In a LEB128, only the last byte lacks the high bit. So the start of the field cannot be found by reading
    // backwards from the body.
    let previous_end = match func.0.checked_sub(1).map(FuncIdx).filter(|f| module.is_defined(*f)) {
        Some(previous) => module.body(previous).end,
        None => {
            let code = module.section(crate::module::id::CODE).expect("validated: bodies are in a code section");
            let mut reader = module.reader(code.contents.clone());
            reader.read_var_u32().expect("validated: the code section has a count");
            reader.original_position()
        }
    };
    (start - previous_end) as u8
}
