//! How large a function is, in operators.

use crate::module::Module;
pub use crate::module::Size;

/// The size of every function that has a body here, in order.
pub fn sizes(module: &Module<'_>) -> Vec<Size> {
    module.defined_funcs().map(|func| module.size(func)).collect()
}
