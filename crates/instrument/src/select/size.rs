//! Sizes of functions in operators.

use crate::module::Module;
pub use crate::module::Size;

/// The size of every function with a body in this module, in order.
pub fn sizes(module: &Module<'_>) -> Vec<Size> {
    module.defined_funcs().map(|func| module.size(func)).collect()
}
