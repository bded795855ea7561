//! One error type for the whole library: what kind of thing went wrong, where in the input, and why.

use std::fmt;

/// What a caller can do about an [`Error`]; the message says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes are not a valid WebAssembly module: give another file.
    Malformed,
    /// The input is valid, but of a form that is not handled (a component, an object file, threads).
    Unsupported,
    /// The module carries hooks already: run it as it is, strip it, or force.
    AlreadyHooked,
    /// Hooking would pass an implementation limit of WebAssembly engines: select fewer functions.
    Limit,
    /// A file beside the module (a source map, a debug file) is not that module's: give the right one, or none.
    Sidecar,
    /// A selection rule cannot be read: mend the rule.
    Rule,
    /// The hooks cannot be taken out again: the Manifest is missing, damaged, or was written without what that needs.
    Restore,
    /// The hooked module does not do what the original does: its check failed.
    Verify,
    /// The module could not be set up to run (missing imports, a missing export, an engine that refuses it).
    Run,
    /// The recording is damaged, or of a version that is not known: what stands before the offset is sound.
    Recording,
    /// Reading or writing failed.
    Io,
}

/// An error with its [`ErrorKind`] and, where one byte of the input is to blame, that byte's offset.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    offset: Option<usize>,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The library's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// One without an offset.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, offset: None, message: message.into(), source: None }
    }

    /// One about the byte at `offset` of the input.
    pub fn at(kind: ErrorKind, offset: usize, message: impl Into<String>) -> Self {
        Error { kind, offset: Some(offset), message: message.into(), source: None }
    }

    /// The same error, with what caused it.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The message alone, without the offset.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The offset in bytes from the start of the input that the failure is about, where there is one.
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
