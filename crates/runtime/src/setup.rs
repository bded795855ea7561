//! Errors of setting up a run.

use wasmtrace_abi::error::{Error, ErrorKind};
use wasmtrace_abi::text::printable;

/// The error for an import that cannot be satisfied.
pub(crate) fn not_linked(e: wasmtime::Error) -> Error {
    let Some(missing) = e.downcast_ref::<wasmtime::UnknownImportError>() else {
        return setup("an import has the wrong type", e);
    };
    let (name, from) = (printable(missing.name()), printable(missing.module()));
    Error::new(ErrorKind::Run, format!("the module imports `{name}` from `{from}`, which this host does not have"))
}

pub(crate) fn no_host_functions(e: wasmtime::Error) -> Error {
    setup("the host functions cannot be defined", e)
}

pub(crate) fn setup(what: &str, e: wasmtime::Error) -> Error {
    // The causes are more specific than the outermost message: joined in one line.
    let causes: Vec<String> = e.chain().map(|c| c.to_string()).collect();
    Error::new(ErrorKind::Run, format!("{what}: {}", printable(&causes.join(": "))))
}
