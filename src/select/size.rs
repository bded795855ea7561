//! How large a function is, in operators.

use wasmparser::Operator;

use crate::module::Module;

/// What can be counted in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Operators, the last `end` included.
    pub operators: u32,
    /// Whether there is a loop.
    pub has_loop: bool,
    /// Whether anything is called, tail calls included.
    pub has_call: bool,
}

/// The size of every function that has a body here, in order.
pub fn sizes(module: &Module<'_>) -> Vec<Size> {
    let runs = crate::parallel::runs_of(module.defined_funcs(), |func| module.body(*func).len());
    let sizes = crate::parallel::map(runs, |run| {
        run.into_iter()
            .map(|func| {
                let mut size = Size { operators: 0, has_loop: false, has_call: false };
                let mut operators =
                    module.body_reader(func).get_operators_reader().expect("validated: locals can be read");
                while !operators.eof() {
                    size.operators += 1;
                    match operators.read().expect("validated: operators can be read") {
                        Operator::Loop { .. } => size.has_loop = true,
                        Operator::Call { .. }
                        | Operator::CallIndirect { .. }
                        | Operator::CallRef { .. }
                        | Operator::ReturnCall { .. }
                        | Operator::ReturnCallIndirect { .. }
                        | Operator::ReturnCallRef { .. } => size.has_call = true,
                        _ => {}
                    }
                }
                size
            })
            .collect::<Vec<_>>()
    });
    sizes.into_iter().flatten().collect()
}
