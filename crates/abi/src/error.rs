//! The error type of all crates: a kind, a message, and the byte offset in the input if there is one.

use std::fmt;

/// The kind of an [`Error`], by what a caller can do about it. The message has the details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not a valid WebAssembly module: give another file.
    Malformed,
    /// The input is valid but not supported: a component, a relocatable object file, or threads that share a buffer.
    Unsupported,
    /// The module already contains hooks: run it as it is, strip it, or force instrumentation.
    AlreadyHooked,
    /// The output would exceed an implementation limit of WebAssembly engines: select fewer functions.
    Limit,
    /// A sidecar file (a source map, a debug file) does not belong to the module: give the right file, or none.
    Sidecar,
    /// A selection rule is invalid: correct the rule.
    Rule,
    /// The original cannot be restored: the Manifest is missing, damaged, or was written without the data for it.
    Restore,
    /// The instrumented module is not the original plus hooks: its verification failed.
    Verify,
    /// The module could not be set up to run: a missing import or export, or a module that the engine rejects.
    Run,
    /// The recording is damaged or has an unknown version. Everything before the offset is intact.
    Recording,
    /// Reading or writing failed.
    Io,
}

/// An error with its [`ErrorKind`], a message, the offset of the byte that caused it if there is one, and its source.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    offset: Option<usize>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result type of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Creates an error without an offset.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, offset: None, message: message.into(), source: None }
    }

    /// Creates an error about the byte at `offset` of the input.
    pub fn at(kind: ErrorKind, offset: usize, message: impl Into<String>) -> Self {
        Error { kind, offset: Some(offset), message: message.into(), source: None }
    }

    /// Adds the error that caused this one.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The message without the offset.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The kind of this error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The offset of the byte that caused the error, from the start of the input. `None` if no single byte did.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.offset {
            Some(offset) => write!(f, " (at offset {offset:#x})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<wasmparser::Error> for Error {
    fn from(e: wasmparser::Error) -> Self {
        Error::at(ErrorKind::Malformed, e.offset(), e.message())
    }
}
