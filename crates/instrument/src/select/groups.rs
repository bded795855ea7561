//! Predefined groups of functions.

use super::origin::{Origin, Origins, is_alloc};
use crate::module::Size;
use wasmtrace_abi::label::Label;

/// A group of functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The program's own functions: not of a library or of another package.
    App,
    /// Neither `@std` nor `@alloc`.
    User,
    /// The language's standard library and runtime, and the C library.
    Std,
    /// The memory allocator.
    Alloc,
    /// Exported functions.
    Exports,
    /// Imported functions.
    Imports,
    /// Functions of at most 12 operators without a loop.
    Tiny,
    /// Functions that call nothing.
    Leaf,
}

/// Maximum number of operators of `@tiny`: fits a getter with its bounds check, but not an allocation or a loop.
const TINY: u32 = 12;

impl Group {
    /// The names of all groups in rules.
    pub const NAMES: [&str; 8] = ["@app", "@user", "@std", "@alloc", "@exports", "@imports", "@tiny", "@leaf"];

    pub(super) fn from_name(name: &str) -> Option<Group> {
        Some(match name.strip_prefix('@').unwrap_or(name) {
            "app" => Group::App,
            "user" => Group::User,
            "std" => Group::Std,
            "alloc" => Group::Alloc,
            "exports" => Group::Exports,
            "imports" => Group::Imports,
            "tiny" => Group::Tiny,
            "leaf" => Group::Leaf,
            _ => return None,
        })
    }

    /// Whether membership depends on where functions come from.
    pub(super) fn needs_origins(self) -> bool {
        matches!(self, Group::App | Group::User | Group::Std)
    }

    /// Whether a function is in the group, for groups that depend on its label, origin and size. `@exports` and
    /// `@imports` depend on the module.
    pub(super) fn contains(self, label: &Label, demangled: &str, origins: &Origins, size: Option<Size>) -> bool {
        let origin = || origins.origin(label, demangled);
        match self {
            Group::App => !is_alloc(demangled) && origin() == Origin::App,
            Group::User => !is_alloc(demangled) && origin() != Origin::Std,
            Group::Std => origin() == Origin::Std,
            Group::Alloc => is_alloc(demangled),
            Group::Exports | Group::Imports => false,
            Group::Tiny => size.is_some_and(|s| s.operators <= TINY && !s.has_loop),
            Group::Leaf => size.is_some_and(|s| !s.has_call),
        }
    }
}
