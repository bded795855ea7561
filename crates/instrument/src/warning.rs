//! Warnings about an output that is valid.

use std::fmt;

/// A warning about one result that a user may not expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The subject of the warning.
    pub kind: WarningKind,
    /// A sentence without a full stop. It can quote names from the module;
    /// [`printable`](wasmtrace_abi::text::printable) makes it safe for a terminal.
    pub message: String,
}

/// The subject of a [`Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// Names, files or lines of functions could not be read.
    Label,
    /// A selection rule matches no function.
    Rule,
    /// A function or a place in a function has no hooks although it was selected.
    NotHooked,
    /// A host that reads the hooks cannot get a complete trace.
    Trace,
    /// A sidecar file cannot be used.
    Sidecar,
    /// The output does not name a sidecar file that the input names.
    Link,
    /// A custom section is left out of the output.
    Section,
    /// Debug information is left out of the output.
    DebugInfo,
    /// Debug information is copied although it describes the input.
    StaleDebugInfo,
}

impl Warning {
    pub(crate) fn new(kind: WarningKind, message: impl Into<String>) -> Self {
        Warning { kind, message: message.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A value together with warnings about it.
#[derive(Debug)]
pub(crate) struct Warned<T> {
    pub(crate) value: T,
    pub(crate) warnings: Vec<Warning>,
}

impl<T> Warned<T> {
    /// Returns the value and appends its warnings to `all`.
    pub(crate) fn tell(mut self, all: &mut Vec<Warning>) -> T {
        all.append(&mut self.warnings);
        self.value
    }
}

impl<T> From<T> for Warned<T> {
    fn from(value: T) -> Self {
        Warned { value, warnings: Vec::new() }
    }
}
