//! What the check has found wrong.

use wasmtrace_abi::error::{Error, ErrorKind};

pub(super) fn fail(offset: usize, what: impl Into<String>) -> Error {
    Error::at(ErrorKind::Verify, offset, what)
}
