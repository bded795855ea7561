//! Recognizes modules whose functions are entered again in the middle.

use crate::module::Module;
use wasmtrace_abi::resumption::Resumption;

/// How functions of the module wait, if they do that by returning. The events of such a module are true, but a call in the
/// source is a call for each time that it goes on.
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
