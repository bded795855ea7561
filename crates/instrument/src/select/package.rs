//! The crate, namespace or package that a name says a function belongs to.

use wasmtrace_abi::demangle::qualified;

/// The crate, namespace or package of a demangled name: `serde_json` of `<serde_json::Value as core::fmt::Debug>::fmt`.
pub(super) fn package(name: &str) -> Option<&str> {
    let path = Path::of(qualified(name)).owner;
    if let Some(rest) = path.strip_prefix("(anonymous namespace)::") {
        return package(rest);
    }
    if let Some((first, _)) = path.split_once("::") {
        return Some(first);
    }
    // Go: everything up to the first dot after the last slash. TinyGo writes a method as `(*pkg.T).M`.
    let path = name.trim_start_matches(['(', '*']);
    let slash = path.find([')', '[']).map_or(path, |end| &path[..end]).rfind('/').map_or(0, |slash| slash + 1);
    let dot = path[slash..].find('.')?;
    Some(&path[..slash + dot]).filter(|package| !package.is_empty())
}

/// A path as a rule reads it.
pub(super) struct Path<'n> {
    /// The path whose first segment is the package that defines the function.
    pub(super) owner: &'n str,
}

impl<'n> Path<'n> {
    /// The owner of a Rust function in an implementation, `<Type as Trait>::f`: the type or the trait. By the orphan rule, one
    /// of them is in the same crate as the implementation. If the type belongs to the language, that is the trait.
    pub(super) fn of(name: &'n str) -> Self {
        let Some(inside) = name.strip_prefix('<').and_then(inside) else { return Path { owner: name } };
        let (ty, of_trait) = match split_at_word(inside, " as ") {
            Some((ty, of_trait)) => (ty, Some(of_trait)),
            None => match inside.strip_prefix("impl ").and_then(|inside| split_at_word(inside, " for ")) {
                Some((of_trait, ty)) => (ty, Some(of_trait)),
                None => (inside, None),
            },
        };
        let ty = referent(ty);
        let owner = match of_trait {
            Some(of_trait) if is_built_in(ty) || is_std(ty) && !is_std(of_trait) => of_trait,
            None if is_built_in(ty) => "core::",
            _ => ty,
        };
        if owner.starts_with('<') && owner.len() < name.len() { Path::of(owner) } else { Path { owner } }
    }
}

/// The text up to the `>` that closes the bracket before it.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 1;
    let bytes = text.as_bytes();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if at == 0 || bytes[at - 1] != b'-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

/// Splits at a word that is not in brackets.
fn split_at_word<'t>(text: &'t str, word: &str) -> Option<(&'t str, &'t str)> {
    let mut depth = 0;
    let bytes = text.as_bytes();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' | b')' | b']' => depth -= 1,
            b' ' if depth == 0 && text[at..].starts_with(word) => return Some((&text[..at], &text[at + word.len()..])),
            _ => {}
        }
    }
    None
}

/// The type that references and pointers refer to: `&mut dyn std::io::Write` → `std::io::Write`.
fn referent(ty: &str) -> &str {
    let mut ty = ty;
    while let Some(rest) =
        ["&", "*const ", "*mut ", "mut ", "dyn ", "'static "].iter().find_map(|mark| ty.strip_prefix(mark))
    {
        ty = rest;
    }
    ty
}

/// Whether a type belongs to the language: a number, `str`, a slice, a tuple, a function.
fn is_built_in(ty: &str) -> bool {
    ty.starts_with(['[', '(', '!'])
        || ["fn(", "unsafe ", "extern ", "for<"].iter().any(|start| ty.starts_with(start))
        || !ty.is_empty() && ty.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_std(path: &str) -> bool {
    ["std::", "core::", "alloc::"].iter().any(|library| path.starts_with(library))
}

#[cfg(test)]
mod tests {
    use super::package;

    #[test]
    fn a_package_is_what_a_path_begins_with() {
        for (name, expected) in [
            ("<serde_json::Value as core::fmt::Debug>::fmt", Some("serde_json")),
            ("<u64 as core::fmt::Display>::fmt", Some("core")),
            ("<u64 as app::Show>::show", Some("app")),
            ("<[app::T] as alloc::slice::Join<&str>>::join", Some("alloc")),
            ("<&app::T as core::fmt::Debug>::fmt", Some("app")),
            ("<alloc::vec::Vec<app::T> as app::Sum>::sum", Some("app")),
            ("<alloc::vec::Vec<app::T> as core::clone::Clone>::clone", Some("alloc")),
            ("<impl app::Show for u8>::show", Some("app")),
            ("<fn() -> i32 as core::ops::FnOnce<()>>::call_once", Some("core")),
            ("<<app::T as app::U>::V as core::fmt::Debug>::fmt", Some("app")),
            ("<str>::parse", Some("core")),
            ("<char>::is_alphabetic", Some("core")),
            ("non-virtual thunk to app::A::g()", Some("app")),
            ("(anonymous namespace)::app::g()", Some("app")),
            ("(anonymous namespace)::g()", None),
            ("encoding/json.(*Decoder).Decode", Some("encoding/json")),
            ("(*sync.Mutex).Lock", Some("sync")),
            ("(*github.com/x/y.T).M", Some("github.com/x/y")),
            ("slices.Sort[go.shape.struct { a/b.X }]", Some("slices")),
            ("main", None),
            ("<", None),
            ("<>", None),
        ] {
            assert_eq!(package(name), expected, "{name}");
        }
    }
}
