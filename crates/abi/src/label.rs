//! What a function is called, and where its source stands.

use std::borrow::Cow;
use std::sync::Arc;

/// Who gave a function its name, by falling precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// The module and name that it is imported by.
    Import = 0,
    /// The `name` section.
    NameSection = 1,
    /// The first export of it.
    Export = 2,
    /// Debug information.
    Dwarf = 3,
    /// Nobody: `func[N]`.
    Index = 4,
}

impl Source {
    /// The inverse of `source as u8`.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Source::Import, Source::NameSection, Source::Export, Source::Dwarf, Source::Index]
            .into_iter()
            .find(|s| *s as u8 == byte)
    }

    /// One word for it, as `wasmtrace ls` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Import => "import",
            Source::NameSection => "name",
            Source::Export => "export",
            Source::Dwarf => "dwarf",
            Source::Index => "index",
        }
    }
}

/// What a function is called, and where its source stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The name as its source gives it: mangled where that is.
    pub name: Arc<str>,
    /// The source file, as the compiler wrote it down.
    pub file: Option<Arc<str>>,
    /// The line of its declaration, from 1.
    pub line: Option<u32>,
    /// Who gave the name.
    pub source: Source,
    /// The source language, where DWARF says it: `rust`, `c`, `c++`, `go`, `zig`, …
    pub language: Option<&'static str>,
}

impl Label {
    /// The name for a person: demangled, without the hash that compilers append. May hold any character; what goes to a
    /// terminal goes through [`crate::text::printable`].
    pub fn demangled(&self) -> Cow<'_, str> {
        crate::demangle::demangle(&self.name)
    }
}
