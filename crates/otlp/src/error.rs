//! Why not everything was sent.

use std::{fmt, io};

use wasmtrace_abi::error::Error;

/// Why an export did not send everything.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// The recording cannot be opened or read, or the system has no random numbers.
    Io(io::Error),
    /// The recording is damaged.
    Recording(Error),
    /// A setting cannot be used.
    Setting(String),
    /// The sink did not accept everything. The text has its response, and what it accepted.
    Sink(String),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExportError::Io(e) => e.fmt(f),
            ExportError::Recording(e) => e.fmt(f),
            ExportError::Setting(sentence) | ExportError::Sink(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ExportError::Io(e) => e.source(),
            ExportError::Recording(e) => e.source(),
            ExportError::Setting(_) | ExportError::Sink(_) => None,
        }
    }
}

impl From<io::Error> for ExportError {
    fn from(e: io::Error) -> Self {
        ExportError::Io(e)
    }
}

impl From<Error> for ExportError {
    fn from(e: Error) -> Self {
        ExportError::Recording(e)
    }
}
