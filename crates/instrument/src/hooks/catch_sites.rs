//! Finds the places of a body that an exception can reach.
//!
//! These are: after each `catch` and `catch_all` of the legacy proposal, and at each label that a clause of a
//! `try_table` names. The label of a block is after its `end`. The label of a loop is at its head. The label of the
//! function is its exit. The hook sets with a buffer write CAUGHT at these places. Ordinary branches reach such
//! labels too.
//!
//! The alternative is an extra block around each `try_table` that only its exceptions reach. Every branch inside of it
//! would have to be renumbered, and each clause would need a type.

use wasmparser::{Catch, Operator};

use crate::module::{FuncIdx, Module};

/// The catch sites of one body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CatchSites {
    /// The operators that have CAUGHT before them, ascending: the file offset of the operator, and the number of
    /// labels that the body has opened before it.
    pub(crate) before: Vec<(usize, u32)>,
    /// Whether a clause names the label of the function.
    pub(crate) at_exit: bool,
}

/// An open label: the place of CAUGHT if the label belongs to a loop, and whether a clause names the label.
struct Open {
    head: Option<(usize, u32)>,
    named: bool,
}

impl CatchSites {
    /// The catch sites of a function; `None` if it catches nothing.
    pub(crate) fn of(module: &Module<'_>, func: FuncIdx) -> Option<CatchSites> {
        if !module.exceptions(func).any {
            return None;
        }
        let mut operators = module.body_reader(func).get_operators_reader().expect("validated: locals can be read");
        let mut before = Vec::new();
        let mut open = vec![Open { head: None, named: false }];
        let mut catches = false;
        let mut opened = 0;
        while !operators.eof() {
            let operator = operators.read().expect("validated: operators can be read");
            let behind = operators.original_position();
            if let Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } = operator
            {
                opened += 1;
            }
            match operator {
                Operator::Loop { .. } => open.push(Open { head: Some((behind, opened)), named: false }),
                Operator::Block { .. } | Operator::If { .. } | Operator::Try { .. } => {
                    open.push(Open { head: None, named: false });
                }
                Operator::TryTable { try_table } => {
                    for clause in &try_table.catches {
                        let (Catch::One { label, .. }
                        | Catch::OneRef { label, .. }
                        | Catch::All { label }
                        | Catch::AllRef { label }) = clause;
                        // A clause counts labels from outside of its `try_table`.
                        let named = open.len() - 1 - *label as usize;
                        open[named].named = true;
                        catches = true;
                    }
                    open.push(Open { head: None, named: false });
                }
                Operator::Catch { .. } | Operator::CatchAll => {
                    before.push((behind, opened));
                    catches = true;
                }
                Operator::End | Operator::Delegate { .. } => {
                    let closed = open.pop().expect("validated: blocks are balanced");
                    if open.is_empty() {
                        before.sort_unstable();
                        return catches.then_some(CatchSites { before, at_exit: closed.named });
                    }
                    if closed.named {
                        before.push(closed.head.unwrap_or((behind, opened)));
                    }
                }
                _ => {}
            }
        }
        unreachable!("validated: the function's own block is closed")
    }
}
