//! Walks over the operators, labels and locals of one body.

use wasmparser::{Catch, Operator, OperatorsReader};

use crate::module::{FuncIdx, Module};
use wasmtrace_abi::error::Result;

/// An open label of a body.
#[derive(Default)]
pub(super) struct Label {
    /// For the label of a loop, whether the function reports a catch at its head. Whether it must is only known later.
    told: Option<bool>,
    /// Whether a clause of a `try_table` names the label.
    pub(super) named: bool,
}

/// Updates `labels` for one operator. Returns whether CAUGHT must follow the operator. `tells` says whether a catch
/// report follows it in the instrumented body; `None` if the function reports no catches.
pub(super) fn catches_behind(
    operator: &Operator<'_>,
    labels: &mut Vec<Label>,
    tells: Option<bool>,
) -> std::result::Result<bool, &'static str> {
    match operator {
        Operator::Loop { .. } => {
            labels.push(Label { told: tells, named: false });
            return Ok(tells == Some(true));
        }
        Operator::Block { .. } | Operator::If { .. } | Operator::Try { .. } => labels.push(Label::default()),
        Operator::TryTable { try_table } => {
            for clause in &try_table.catches {
                // A clause counts labels from outside of its block.
                let named = labels.len() - 1 - label_of(clause) as usize;
                if labels[named].told == Some(false) {
                    return Err("the function does not report an exception caught at the head of a loop");
                }
                labels[named].named = true;
            }
            labels.push(Label::default());
        }
        Operator::Catch { .. } | Operator::CatchAll => return Ok(true),
        Operator::End | Operator::Delegate { .. } => {
            let closed = labels.pop().expect("validated: blocks are balanced");
            if closed.told == Some(true) && !closed.named {
                return Err("the function reports an exception at the head of a loop where none is caught");
            }
            return Ok(closed.named && closed.told.is_none());
        }
        _ => {}
    }
    Ok(false)
}

fn label_of(clause: &Catch) -> u32 {
    match *clause {
        Catch::One { label, .. } | Catch::OneRef { label, .. } | Catch::All { label } | Catch::AllRef { label } => {
            label
        }
    }
}

/// Whether a function catches exceptions.
pub(super) fn catches(module: &Module<'_>, func: FuncIdx) -> Result<bool> {
    if !module.exceptions(func).any {
        return Ok(false);
    }
    for operator in module.body_reader(func).get_operators_reader()? {
        match operator? {
            Operator::TryTable { try_table } if !try_table.catches.is_empty() => return Ok(true),
            Operator::Catch { .. } | Operator::CatchAll => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether another function or the host can run while the function runs.
pub(super) fn calls(module: &Module<'_>, func: FuncIdx) -> Result<bool> {
    for operator in module.body_reader(func).get_operators_reader()? {
        match operator? {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => return Ok(true),
            Operator::Resume { .. } | Operator::ResumeThrow { .. } | Operator::ResumeThrowRef { .. } => {
                return Ok(true);
            }
            Operator::Suspend { .. } | Operator::Switch { .. } | Operator::MemoryGrow { mem: 0 } => return Ok(true),
            // An epoch callback can run there.
            Operator::Loop { .. } => return Ok(true),
            operator if is_tail_call(&operator) => return Ok(true),
            _ => {}
        }
    }
    Ok(false)
}

/// Whether an operator with that first byte opens and closes no label, calls nothing, refers to no function and leaves the
/// function only by a branch (core specification, binary format, "Instructions"). No hook belongs to such an operator.
pub(super) fn is_plain(opcode: u8) -> bool {
    matches!(opcode, 0x01 | 0x0c..=0x0e | 0x1a..=0x1c | 0x20..=0x3f | 0x41..=0xd1 | 0xfb..=0xfe)
}

pub(super) fn opens_a_label(operator: &Operator<'_>) -> bool {
    use Operator::{Block, If, Loop, Try, TryTable};
    matches!(operator, Block { .. } | Loop { .. } | If { .. } | Try { .. } | TryTable { .. })
}

pub(super) fn is_tail_call(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. }
    )
}

/// The locals as runs of one type: a body of a few bytes may declare 50,000 locals.
pub(super) fn locals_of(module: &Module<'_>, func: FuncIdx) -> Result<Vec<(u32, wasmparser::ValType)>> {
    let mut runs = Vec::new();
    for group in module.body_reader(func).get_locals_reader()? {
        let (count, ty) = group?;
        add_locals(&mut runs, count, ty);
    }
    Ok(runs)
}

pub(super) fn add_locals(runs: &mut Vec<(u32, wasmparser::ValType)>, count: u32, ty: wasmparser::ValType) {
    match runs.last_mut() {
        Some((before, last)) if *last == ty => *before += count,
        _ if count > 0 => runs.push((count, ty)),
        _ => {}
    }
}

/// A walk over the operators of one body.
pub(super) struct Walk<'a> {
    file: &'a [u8],
    operators: OperatorsReader<'a>,
    pub(super) locals: u32,
    /// The file offset of the first operator.
    pub(super) first: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(module: &Module<'a>, func: FuncIdx) -> Result<Self> {
        let body = module.body_reader(func);
        let mut locals = 0u32;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(group?.0);
        }
        let operators = body.get_operators_reader()?;
        let first = operators.original_position();
        Ok(Walk { file: module.bytes(), operators, locals, first })
    }

    pub(super) fn at(&self) -> usize {
        self.operators.original_position()
    }

    pub(super) fn eof(&self) -> bool {
        self.operators.eof()
    }

    pub(super) fn next(&mut self) -> Result<(Operator<'a>, usize)> {
        let operator = self.operators.read()?;
        Ok((operator, self.at()))
    }

    pub(super) fn starts_with(&self, hook: &[u8]) -> bool {
        self.file[self.at()..].starts_with(hook)
    }
}
