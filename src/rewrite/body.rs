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
//! Where a function catches exceptions there is more: see `wrapper` and `landings`.
//!
//! Since the block takes the place of the function's label, every branch that named that label (`br`, `br_if`,
//! `br_table`, `br_on_*`, a catch clause, `delegate`) names the block as it stands. The road not taken is an exit before
//! each `return` and each branch to the function's label: it needs the operand types at each of them, and a conditional
//! branch there needs a block of its own.

use wasmparser::{Operator, OperatorsReader};

use super::landings::Landings;
use super::offsets::{self, Edit};
use super::splice::{Shift, Splice, Widths, minimal_width, write_leb};
use super::wrapper::Wrapper;
use crate::error::Result;
use crate::hook::{BodyRestore, Frame, HookCode, ProbeId};
use crate::module::{FuncIdx, Module};

/// Ordinals of the numbers that are edited in every body, before those in its operators.
pub(crate) const SIZE: u32 = 0;
pub(crate) const LOCALS: u32 = 1;
pub(crate) const OPERATORS: u32 = 2;

/// `br` and `end`, as bytes.
pub(crate) const BR: u8 = 0x0c;
pub(crate) const END: u8 = 0x0b;
const I32: u8 = 0x7f;

/// What is to be written into one body.
#[derive(Debug)]
pub(crate) struct BodyPlan<'p> {
    /// If there are hooks in it: the function's probe, if it has one, and its results as a block type, encoded.
    pub(crate) hooked: Option<(Option<ProbeId>, &'p [u8])>,
    /// Where the hooks tell that it has caught an exception.
    pub(crate) landings: Option<&'p Landings>,
    /// What stands around a hooked body.
    pub(crate) wrapper: Wrapper,
    /// Whether `memory.grow` of memory 0 reports.
    pub(crate) memory_grow: bool,
    /// Whether all open calls are exited before `unreachable`, where the hooks can do that.
    pub(crate) balance: bool,
}

/// A body as it is written: `bytes` begin with the size field.
#[derive(Debug)]
pub(crate) struct NewBody {
    pub(crate) bytes: Vec<u8>,
    /// The width of the size field.
    pub(crate) size_width: u8,
    pub(crate) edits: Vec<Edit>,
    /// Where the hook of the entry stands, if there is one: at the first operator, counted from the old body's start.
    pub(crate) enter: Option<u32>,
    pub(crate) restore: BodyRestore,
    /// Labels that hooks open inside of the body: for each, how many of the original's come before it.
    pub(crate) labels: Vec<u32>,
    /// The hooks did not fit: what that means for the user.
    pub(crate) left_out: Option<LeftOut>,
}

/// Why a body carries fewer hooks than it was meant to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// The body would be larger than engines accept: not hooked.
    TooLarge,
    /// No room for the scratch local: the body's `memory.grow`s do not report.
    TooManyLocals,
    /// No room for the local that its hooks need: not hooked.
    NoLocal,
}

/// Limits of the JavaScript interface's "implementation-defined limits", which wasmparser and all engines keep.
const MAX_BODY: usize = 7_654_321;
const MAX_LOCALS: u64 = 50_000;

pub(crate) fn rewrite(
    module: &Module<'_>,
    func: FuncIdx,
    plan: &BodyPlan<'_>,
    code: &HookCode,
    shift: &Shift,
) -> Result<NewBody> {
    let new = write(module, func, plan, code, shift)?;
    if new.bytes.len() - new.size_width as usize > MAX_BODY
        && (plan.hooked.is_some() || plan.memory_grow || plan.balance)
    {
        let bare =
            BodyPlan { hooked: None, landings: None, wrapper: Wrapper::Block, memory_grow: false, balance: false };
        return Ok(NewBody { left_out: Some(LeftOut::TooLarge), ..write(module, func, &bare, code, shift)? });
    }
    Ok(new)
}

fn write(module: &Module<'_>, func: FuncIdx, plan: &BodyPlan<'_>, code: &HookCode, shift: &Shift) -> Result<NewBody> {
    let range = module.body(func);
    let body = module.body_reader(func);
    let mut locals_reader = body.get_locals_reader()?;
    let groups = locals_reader.get_count();
    let groups_leb = range.start..locals_reader.original_position();
    let mut locals = module.func_type(func).params().len() as u64;
    for _ in 0..groups {
        locals += locals_reader.read()?.0 as u64;
    }
    let start = locals_reader.original_position();
    let mut operators = OperatorsReader::new(locals_reader.get_binary_reader());

    // Behind the function's own locals come those of its hooks, then that of `memory.grow`.
    let hook_local = locals as u32;
    let frame = plan.hooked.map(|(id, _)| Frame { id, local: hook_local, catches: plan.landings.is_some() });
    let hook_locals = frame.map_or(0, |frame| code.locals(frame.catches));
    let room_for_scratch = locals + u64::from(hook_locals) < MAX_LOCALS;
    let scratch = hook_local + hook_locals;
    if locals + u64::from(hook_locals) > MAX_LOCALS {
        let bare = BodyPlan { hooked: None, landings: None, ..*plan };
        return Ok(NewBody { left_out: Some(LeftOut::NoLocal), ..write(module, func, &bare, code, shift)? });
    }
    let mut labels_opened = 0;
    let mut labels = Vec::new();
    let mut uses_scratch = false;
    let mut left_out = None;
    let mut branches = Vec::new();
    let mut to_wrapper = 0; // branches to the wrapper so far
    let mut depth = 0u32; // labels open inside the body
    let exit = frame.map(|frame| code.exit(frame));
    let landed = frame.map_or_else(Vec::new, |frame| code.landed(frame));
    let balance = if plan.balance { code.balance() } else { Vec::new() };
    let (landed_labels, exit_labels) = (code.labels().0 as usize, code.labels().1 as usize);

    let mut splice = Splice::new(module.bytes(), range.start, Widths::Note(Vec::new()), OPERATORS);
    splice.copy_to(start);
    splice.out.clear(); // the locals are written at the end, when it is known whether there is one more
    if let (Some(frame), Some((id, block_type))) = (frame, plan.hooked) {
        let mut opening = code.enter(frame);
        opening.extend(plan.wrapper.open(block_type));
        if id.is_none() {
            // The section `name` counts those around a body for functions with a probe alone.
            labels.extend(std::iter::repeat_n(0, landed_labels + plan.wrapper.labels() as usize));
        }
        splice.insert(start, &opening);
    }
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        let next = operators.original_position();
        if plan.landings.is_some_and(|landings| landings.is_at(at)) {
            splice.insert(at, &landed);
            labels.extend(std::iter::repeat_n(labels_opened, landed_labels));
        }
        if let Some(exit) = exit.as_ref().filter(|exit| !exit.is_empty() && is_tail_call(&operator)) {
            splice.insert(at, exit);
            labels.extend(std::iter::repeat_n(labels_opened, exit_labels));
        }
        match operator {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => {
                splice.number(at + 1..next, function_index, shift.reference(function_index));
            }
            Operator::Return if exit.is_some() => {
                let mut br = vec![BR];
                write_leb(&mut br, depth, minimal_width(depth));
                splice.replace(at..next, &br);
                to_wrapper += 1;
            }
            Operator::Br { relative_depth } if relative_depth == depth && exit.is_some() => {
                branches.push(to_wrapper);
                to_wrapper += 1;
            }
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => {
                depth += 1;
                labels_opened += 1;
            }
            Operator::Delegate { .. } => depth -= 1,
            Operator::End if depth > 0 => depth -= 1,
            Operator::End => {
                if let Some(exit) = &exit {
                    let lands_here = plan.landings.is_some_and(|landings| landings.at_exit);
                    let landed: &[u8] = if lands_here { &landed } else { &[] };
                    splice.insert(at, &plan.wrapper.close(&[landed, exit].concat()));
                }
            }
            Operator::Unreachable if !balance.is_empty() => splice.insert(at, &balance),
            Operator::MemoryGrow { mem: 0 } if plan.memory_grow => {
                if room_for_scratch {
                    splice.insert(at, &code.memory_grow(scratch));
                    uses_scratch = true;
                } else {
                    left_out = Some(LeftOut::TooManyLocals);
                }
            }
            _ => {}
        }
    }
    splice.copy_to(range.end);

    let Splice { out, mut edits, mut widths, .. } = splice;
    let mut head = Vec::new();
    let groups_width = groups_leb.len() as u8;
    let more = hook_locals + uses_scratch as u32;
    if more > 0 {
        let becomes = widths.of(LOCALS, groups, groups_width, groups + 1);
        write_leb(&mut head, groups + 1, becomes);
        head.extend_from_slice(&module.bytes()[groups_leb.end..start]);
        head.extend_from_slice(&[more as u8, I32]);
        let grown = (becomes - groups_width) as u32 + 2;
        // Before every operator, so that even the first one's address moves.
        edits.insert(0, offsets::Growth { at: (start - range.start - 1) as u32, by: grown, inserted: false });
    } else {
        head.extend_from_slice(&module.bytes()[range.start..start]);
    }

    let size = (head.len() + out.len()) as u32;
    let size_width = widths.of(SIZE, range.len() as u32, size_width_of(module, func), size);
    let mut bytes = Vec::with_capacity(head.len() + out.len() + size_width as usize);
    write_leb(&mut bytes, size, size_width);
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&out);
    let mut widths = widths.into_noted();
    widths.sort_unstable();
    Ok(NewBody {
        bytes,
        size_width,
        edits: offsets::summed(edits),
        enter: plan.hooked.map(|_| (start - range.start) as u32),
        restore: BodyRestore { widths, branches },
        labels,
        left_out,
    })
}

/// Whether an operator leaves the frame by a call.
pub(super) fn is_tail_call(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. }
    )
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
