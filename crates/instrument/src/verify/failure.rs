//! The error of a failed check.

use wasmtrace_abi::error::{Error, ErrorKind};

pub(crate) fn fail(offset: usize, what: impl Into<String>) -> Error {
    Error::at(ErrorKind::Verify, offset, what)
}
