//! One body: enter, and exit on every way out.
//!
//! ```wat
//! (func $f (param …) (result R)          (func $f (param …) (result R)
//!   (local …)                              (local …)
//!                                          ENTER id
//!                                          block (result R)           ;; stands where the function's own label stood
//!   …                                        …                        ;; copied, byte for byte
//!   return                                   br d                     ;; d = labels open here: the new block
//!   …                                        …
//!   return_call $g                           EXIT id  return_call $g  ;; the arguments lie below, untouched
//!   …                                        …
//! )                                        end
//!                                          EXIT id
//!                                        )
//! ```
//!
//! Where a function catches exceptions there is more: see `wrapper` and `catch_sites`.
//!
//! Since the block takes the place of the function's label, every branch that named that label (`br`, `br_if`,
//! `br_table`, `br_on_*`, a catch clause, `delegate`) names the block as it stands. The road not taken is an exit before
//! each `return` and each branch to the function's label: it needs the operand types at each of them, and a conditional
//! branch there needs a block of its own.

use crate::hooks::catch_sites::CatchSites;
use crate::mapping::FuncMap;
use crate::mapping::Insertion;
use std::ops::Range;

use wasm_encoder::BlockType;

use super::splice::{Splice, Widths, minimal_width, put_leb};
use crate::hooks::HookCode;
use crate::hooks::frame::Frame;
use crate::hooks::wrapper::Wrapper;
use crate::leb;
use crate::limits::{MAX_BODY, MAX_LOCALS};
use crate::module::{FuncIdx, Module, NEAR, Site};
use crate::restore::BodyRestore;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::ProbeId;

/// Ordinals of the numbers that are edited in every body, before those in its operators.
pub(crate) const SIZE: u32 = 0;
pub(crate) const LOCALS: u32 = 1;
pub(crate) const OPERATORS: u32 = 2;

/// `br`, as a byte.
const BR: u8 = 0x0c;
const I32: u8 = 0x7f;

/// What is to be written into one body.
#[derive(Debug)]
pub(crate) struct BodyPlan<'p> {
    /// If there are hooks in it: the function's probe, if it has one, and its results as a block type.
    pub(crate) hooked: Option<(Option<ProbeId>, BlockType)>,
    /// Where the hooks tell that it has caught an exception.
    pub(crate) catch_sites: Option<&'p CatchSites>,
    /// What stands around a hooked body.
    pub(crate) wrapper: Wrapper,
    /// Whether `memory.grow` of memory 0 reports.
    pub(crate) memory_grow: bool,
    /// Whether all open calls are exited before `unreachable`, where the hooks can do that.
    pub(crate) exit_guard: bool,
}

/// Where bodies are written, one in the place of the other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Whether bodies are measured and not written.
    pub(crate) measures: bool,
    /// How long the body is, without its size field.
    pub(crate) size: usize,
    /// The body, if it was written, without its size field.
    pub(crate) bytes: Vec<u8>,
    /// Where bytes were added, by ascending place.
    pub(crate) growths: Vec<Insertion>,
    /// What stands at the beginning of a body, at each of its exits, and at its end.
    pub(crate) opening: Vec<u8>,
    pub(crate) exit: Vec<u8>,
    pub(crate) closing: Vec<u8>,
}

/// What else is known of a body that has been written.
#[derive(Debug)]
pub(crate) struct NewBody {
    /// The width of the size field.
    pub(crate) size_width: u8,
    /// Where the hook of the entry stands, if there is one: at the first operator, counted from the old body's start.
    pub(crate) enter: Option<u32>,
    pub(crate) restore: BodyRestore,
    /// Labels that hooks open inside of the body: for each, how many of the original's come before it.
    pub(crate) labels: Vec<u32>,
    /// The hooks did not fit: what that means for the user.
    pub(crate) left_out: Option<LeftOut>,
}

/// Why a body relocates fewer hooks than it was meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// The body would be larger than engines accept: not hooked.
    TooLarge,
    /// No room for the scratch local: the body's `memory.grow`s do not report.
    TooManyLocals,
    /// No room for the local that its hooks need: not hooked.
    NoLocal,
}

/// Writes a body.
pub(crate) fn rewrite(
    module: &Module<'_>,
    func: FuncIdx,
    plan: &BodyPlan<'_>,
    code: &HookCode,
    func_map: &FuncMap,
    scratch: &mut Scratch,
) -> Result<NewBody> {
    let new = write(module, func, plan, code, func_map, scratch)?;
    if scratch.size > MAX_BODY && (plan.hooked.is_some() || plan.memory_grow || plan.exit_guard) {
        let bare = BodyPlan {
            hooked: None,
            catch_sites: None,
            wrapper: Wrapper::Block,
            memory_grow: false,
            exit_guard: false,
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

    // Behind the function's own locals come those of its hooks, then that of `memory.grow`.
    let hook_local = locals as u32;
    let catches = plan.catch_sites.is_some();
    let is_leaf = !catches && is_leaf(module, func);
    let frame = plan.hooked.map(|(id, _)| Frame { id, local: hook_local, catches, is_leaf });
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
    let exit_guard = if plan.exit_guard { code.exit_guard() } else { Vec::new() };
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
            // The section `name` counts those around a body for functions with a probe alone.
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
                splice.insert(at, &frame.map_or_else(Vec::new, |frame| code.leave(frame)));
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
            (Site::Unreachable, _) if !exit_guard.is_empty() => splice.insert(at, &exit_guard),
            (Site::MemoryGrow, _) if has_room => splice.insert(at, &code.memory_grow(pages)),
            _ => {}
        }
        match site {
            // Most are as wide as they were, and need not be looked at to know how long the body becomes.
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
    /// How many there are, with the parameters.
    count: u64,
    groups: u32,
    /// Where the number of groups is.
    groups_leb: Range<usize>,
    /// Where the operators begin.
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

    /// Declares more of type `i32` behind them, in a group of their own.
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
        // Before every operator, so that even the first one's address moves.
        let by = (becomes - groups_width) as u32 + 2;
        splice.edits.push(Insertion { at: (self.start - body - 1) as u32, by, inserted: false });
    }
}

/// Writes a branch to the wrapper in place of the `return` at `at`.
fn branch_out(at: usize, depth: u32, splice: &mut Splice<'_, '_>) {
    let mut br = [BR, 0, 0, 0, 0, 0];
    let width = minimal_width(depth);
    put_leb(&mut br[1..], depth, width);
    splice.replace(at..at + 1, &br[..1 + width as usize]);
}

/// Whether it is a leaf function ([`wasmtrace_abi::buffer`]), but for exception handlers.
fn is_leaf(module: &Module<'_>, func: FuncIdx) -> bool {
    let size = module.size(func);
    !size.has_call && !size.has_loop && !module.sites(func).any(|(_, site)| site == Site::MemoryGrow)
}

/// The width of the size field in front of a body: from the previous body's end (or the section's count) to its start.
pub(crate) fn size_width_of(module: &Module<'_>, func: FuncIdx) -> u8 {
    let start = module.body(func).start;
    // The last byte of a LEB is the only one without its high bit, so walking back from the body finds the field's
    // first byte only with the previous end at hand.
    let previous_end = match func.0.checked_sub(1).map(FuncIdx).filter(|f| module.is_defined(*f)) {
        Some(previous) => module.body(previous).end,
        None => {
            let code = module.section(crate::module::id::CODE).expect("validated: a body stands in a code section");
            let mut reader = module.reader(code.contents.clone());
            reader.read_var_u32().expect("validated: the code section has a count");
            reader.original_position()
        }
    };
    (start - previous_end) as u8
}
