//! Warnings about an output that is valid nevertheless.

use std::fmt;

/// A warning about an output: something was not done as the user may expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The kind of the warning.
    pub kind: WarningKind,
    /// The message, without a full stop. It may quote names from the module: use
    /// [`printable`](wasmtrace_abi::text::printable) before writing it to a terminal.
    pub message: String,
}

/// The kind of a [`Warning`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WarningKind {
    /// Names, files or lines of functions could not be read.
    Label,
    /// A selection rule matches no function.
    Rule,
    /// A selected function, or a place in it, has no hooks.
    NotHooked,
    /// A host cannot get a complete trace from these hooks.
    Trace,
    /// A sidecar file cannot be used.
    Sidecar,
    /// The output does not link to a sidecar file that the input links to.
    Link,
    /// A custom section was dropped from the output.
    Section,
    /// Debug information was dropped from the output.
    DebugInfo,
    /// Debug information was copied unchanged although it describes the input.
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

/// A value, and what a user should know of it.
#[derive(Debug)]
pub(crate) struct Warned<T> {
    pub(crate) value: T,
    pub(crate) warnings: Vec<Warning>,
}

impl<T> Warned<T> {
    /// The value; its warnings are appended to `all`.
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
