//! Recognizes modules whose functions return in order to wait, and are called again to continue.

use crate::module::Module;
use wasmtrace_abi::resumption::Resumption;

/// How functions of the module wait, if they do so by returning. The events of such a module are correct, but one call in
/// the source is several calls in the module: one for each time that it continues.
///
/// Go's linker writes a section `go:buildid` (formerly `go.buildid`). Asyncify exports the functions that change its state
/// (Binaryen, `src/passes/Asyncify.cpp`).
pub fn resumption(module: &Module<'_>) -> Option<Resumption> {
    let exports = |name| module.exports().iter().any(|(export, _)| *export == name);
    if ["go:buildid", "go.buildid"].iter().any(|name| module.custom(name).is_some()) {
        Some(Resumption::Go)
    } else if ["asyncify_start_unwind", "asyncify_start_rewind"].into_iter().all(exports) {
        Some(Resumption::Asyncify)
    } else {
        None
    }
}
