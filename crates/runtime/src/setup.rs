//! Errors of setting up a run.

use wasmtime::{AsContextMut, Linker};
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::{OBSERVE, OBSERVE_API, OBSERVE_OLD, RECORDER};
use wasmtrace_abi::text::printable;
use wasmtrace_instrument::module::Module;

/// The error for an import that cannot be satisfied.
pub(crate) fn not_linked(e: wasmtime::Error) -> Error {
    let Some(missing) = e.downcast_ref::<wasmtime::UnknownImportError>() else {
        return setup("an import has the wrong type", e);
    };
    let (name, from) = (printable(missing.name()), printable(missing.module()));
    Error::new(ErrorKind::Run, format!("the module imports `{name}` from `{from}`, which this host does not have"))
}

/// Maximum number of missing imports that a message names.
const MOST_NAMED: usize = 10;

/// Checks that each import is available: from the host, or from one of the preloaded modules, given with its name. This
/// is done before compilation, which may take minutes.
///
/// # Errors
/// [`ErrorKind::Run`] with the names of imports that are not available.
pub(crate) fn all_given<T: 'static>(
    linker: &Linker<T>,
    mut store: impl AsContextMut<Data = T>,
    preloads: &[(&str, &Module<'_>)],
    module: &Module<'_>,
) -> Result<()> {
    let is_given = |from: &str, name: &str| {
        // Functions for hooks and for the manual API are defined after compilation.
        [OBSERVE, OBSERVE_API, OBSERVE_OLD, RECORDER].contains(&from)
            || preloads
                .iter()
                .any(|(as_name, preload)| *as_name == from && preload.all_exports().iter().any(|e| e.name == name))
    };
    let mut missing = Vec::new();
    for import in module.all_imports() {
        if linker.get(&mut store, import.module, import.name).is_err() && !is_given(import.module, import.name) {
            missing.push(format!("`{}` from `{}`", printable(import.name), printable(import.module)));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let more = match missing.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    missing.truncate(MOST_NAMED);
    let message = format!("the module imports {}{more}, which this host does not have", missing.join(", "));
    Err(Error::new(ErrorKind::Run, message))
}

pub(crate) fn no_host_functions(e: wasmtime::Error) -> Error {
    setup("the host functions cannot be defined", e)
}

pub(crate) fn setup(what: &str, e: wasmtime::Error) -> Error {
    // The causes are more specific than the outermost message: joined in one line.
    let causes: Vec<String> = e.chain().map(|c| c.to_string()).collect();
    Error::new(ErrorKind::Run, format!("{what}: {}", printable(&causes.join(": "))))
}
