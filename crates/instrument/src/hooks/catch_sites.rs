//! Where an exception may bring a body back to itself.
//!
//! That is behind each `catch` and `catch_all` of the legacy proposal, and at each label that a clause of a `try_table` names:
//! behind the `end` of a block, at the head of a loop, or, for the function's own label, where the body is left. There the
//! buffer's hook sets write CAUGHT. Ordinary branches reach such labels too.
//!
//! The road not taken is a block of our own around each `try_table`, that only its exceptions reach: every branch inside of it
//! would have to be renumbered, and it would need a type for each clause.

use wasmparser::{Catch, Operator};

use crate::module::{FuncIdx, Module};

/// The places in one body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CatchSites {
    /// Ascending: the offset in the file of each operator in front of which CAUGHT stands, and how many labels the body has opened
    /// before it.
    pub(crate) before: Vec<(usize, u32)>,
    /// Whether a clause names the function's label.
    pub(crate) at_exit: bool,
}

/// One open label: where CAUGHT stands if it is a loop's, and whether a clause names it.
struct Open {
    head: Option<(usize, u32)>,
    named: bool,
}

impl CatchSites {
    /// Those of a function; `None` if it catches nothing.
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
                        // Counted outside of the `try_table` itself.
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
                    let closed = open.pop().expect("validated: blocks are guarded");
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
