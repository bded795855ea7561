//! Labels of functions: name, source file and line.

use std::borrow::Cow;
use std::sync::Arc;

/// The source of a function's name. Earlier variants take precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// The module and field name of the import.
    Import = 0,
    /// The `name` section.
    NameSection = 1,
    /// The first export of the function.
    Export = 2,
    /// DWARF debug information.
    Dwarf = 3,
    /// No source: the name is `func[N]`.
    Index = 4,
}

impl Source {
    /// Decodes a source that was encoded by `source as u8`.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Source::Import, Source::NameSection, Source::Export, Source::Dwarf, Source::Index]
            .into_iter()
            .find(|s| *s as u8 == byte)
    }

    /// The source as one word, as `wasmtrace ls` prints it.
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

/// Where the code of a function comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Category {
    /// The program itself.
    #[default]
    Program,
    /// A package that the program depends on.
    Dependency,
    /// The language's standard library and runtime, and the C library.
    Std,
    /// The memory allocator.
    Alloc,
    /// An imported function: the host.
    Host,
}

impl Category {
    /// All categories, in the order of their numbers (`category as usize`).
    pub const ALL: [Category; 5] =
        [Category::Program, Category::Dependency, Category::Std, Category::Alloc, Category::Host];

    /// The category as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Program => "program",
            Category::Dependency => "dependency",
            Category::Std => "std",
            Category::Alloc => "alloc",
            Category::Host => "host",
        }
    }
}

/// The name of a function and its source location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The raw name, possibly mangled.
    pub name: Arc<str>,
    /// The path of the source file, as the compiler recorded it.
    pub file: Option<Arc<str>>,
    /// The line of the declaration, starting at 1.
    pub line: Option<u32>,
    /// The source of the name.
    pub source: Source,
    /// The index of the function in the module before instrumentation, if it is known.
    pub index: Option<u32>,
    /// The source language if DWARF names it: `rust`, `c`, `c++`, `go`, `zig`, …
    pub language: Option<&'static str>,
}

impl Label {
    /// The name for display: demangled, without the hash that compilers append. It may contain any character; use
    /// [`crate::text::printable`] before writing it to a terminal.
    pub fn demangled(&self) -> Cow<'_, str> {
        crate::demangle::demangle(&self.name)
    }
}
