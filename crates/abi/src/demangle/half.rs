//! Names that a linker or a post-processor has demangled halfway.
//!
//! `wasm-ld` reads legacy Rust names as C++, so hashes and escapes stay: `_$LT$a..B$u20$as$u20$c..D$GT$::f::h<16 hex>`.
//! wasm-bindgen decodes the escapes and keeps the hash.

use std::borrow::Cow;

/// The name of a Rust function without hashes and escapes, if `name` has any.
pub(super) fn rust(name: &str) -> Option<Cow<'_, str>> {
    // LLVM writes a suffix as ` (.cold)`.
    let (path, clone) = match name.split_once(" (.") {
        Some((path, clone)) => (path, clone.strip_suffix(')')?),
        None => (name, ""),
    };
    let is_escaped = ["$LT$", "$u20$", "$u7b$", "$RF$", "$BP$"].iter().any(|escape| path.contains(escape));
    let text = match (is_escaped.then(|| decoded(path)).flatten(), without_hash(path), without_disambiguators(path)) {
        (Some(decoded), ..) => Cow::Owned(decoded),
        (None, Some(plain), _) => Cow::Borrowed(plain),
        (None, None, Some(plain)) => Cow::Owned(plain),
        (None, None, None) => return None,
    };
    // The number of the compilation unit that a local symbol was promoted from says nothing.
    Some(if clone.is_empty() || clone.starts_with("llvm.") { text } else { format!("{text}.{clone}").into() })
}

/// The path without the hashes of crates that the v0 scheme has: `core[846817f741e54dfd]::fmt::write`.
fn without_disambiguators(path: &str) -> Option<String> {
    const FEWEST: usize = 12; // leading zeros are not written
    let mut out = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('[') {
        let digits = after.bytes().take_while(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)).count();
        let is_crate = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match after[digits..].strip_prefix(']') {
            Some(behind) if is_crate && (FEWEST..=16).contains(&digits) => {
                out.push_str(before);
                rest = behind;
            }
            _ => {
                out.extend([before, "["]);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    (out.len() < path.len()).then_some(out)
}

/// The path before `::h` and 16 hexadecimal digits.
fn without_hash(path: &str) -> Option<&str> {
    let (path, hash) = path.rsplit_once("::h")?;
    let is_hash =
        hash.len() == 16 && hash.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit));
    (is_hash && !path.is_empty()).then_some(path)
}

/// Mangles the path again, so that the crate that knows the escapes decodes them.
fn decoded(path: &str) -> Option<String> {
    let parts: String = path.split("::").map(|part| format!("{}{part}", part.len())).collect();
    let mangled = format!("_ZN{parts}E");
    super::rust_text(&rustc_demangle::try_demangle(&mangled).ok()?)
}

/// LLVM's suffix ` (.part.0.cold)` as cpp_demangle writes it: ` [clone .part.0] [clone .cold]`.
pub(super) fn clones(llvm: &str) -> String {
    let suffix = llvm.trim_start_matches(" (").trim_end_matches(')');
    let mut text = String::new();
    for part in suffix.split('.').skip(1) {
        match part.bytes().all(|b| b.is_ascii_digit()) && text.ends_with(']') {
            true => text.insert_str(text.len() - 1, &format!(".{part}")),
            false => text.push_str(&format!(" [clone .{part}]")),
        }
    }
    text
}

/// LLVM's names of lambdas and unnamed types, `'lambda0'(auto)`, as cpp_demangle writes them: `{lambda(auto:1)#2}`.
pub(super) fn lambdas(text: &str) -> Cow<'_, str> {
    const MARKS: [&str; 2] = ["'lambda", "'unnamed"];
    if !MARKS.iter().any(|mark| text.contains(mark)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\'') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((read, written)) = lambda(rest) else {
            out.push('\'');
            rest = &rest[1..];
            continue;
        };
        out.push_str(&written);
        rest = &rest[read..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// One lambda or unnamed type at the beginning of the text: how many bytes it takes, and how it is written.
fn lambda(text: &str) -> Option<(usize, String)> {
    let (is_lambda, after) = match text.strip_prefix("'lambda") {
        Some(after) => (true, after),
        None => (false, text.strip_prefix("'unnamed")?),
    };
    let (count, after) = after.split_once('\'')?;
    // The first has no number, the second has 0.
    let number = if count.is_empty() { 1 } else { count.parse::<u32>().ok()?.checked_add(2)? };
    let read = text.len() - after.len();
    if !is_lambda {
        return Some((read, format!("{{unnamed type#{number}}}")));
    }
    let mut depth = 0;
    let end = after.bytes().position(|byte| {
        depth += i32::from(byte == b'(') - i32::from(byte == b')');
        depth <= 0
    })?;
    let parameters = after.strip_prefix('(')?.get(..end.checked_sub(1)?)?;
    let mut written = String::from("{lambda(");
    let mut generic = 0;
    for (i, part) in lambdas(parameters).split("auto").enumerate() {
        if i > 0 {
            generic += 1;
            written.push_str(&format!("auto:{generic}"));
        }
        written.push_str(part);
    }
    Some((read + end + 1, format!("{written})#{number}}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_and_escapes_go() {
        let right = |name: &str| rust(name).unwrap_or(Cow::Borrowed("-")).into_owned();
        let hash = "h0123456789abcdef";
        let escaped = format!("_$LT$alloc..string..String$u20$as$u20$core..fmt..Write$GT$::write_str::{hash}");
        assert_eq!(right(&escaped), "<alloc::string::String as core::fmt::Write>::write_str");
        assert_eq!(right(&format!("app::main::_$u7b$$u7b$closure$u7d$$u7d$::{hash}")), "app::main::{{closure}}");
        assert_eq!(right(&format!("<a::B as c::D>::f::{hash}")), "<a::B as c::D>::f");
        assert_eq!(right(&format!("app::f::{hash} (.llvm.123)")), "app::f");
        assert_eq!(right(&format!("app::f::{hash} (.cold)")), "app::f.cold");
        let v0 = "<automerge[3b5bd8e0c1d2aabb]::X<[u8; 4]> as core[46817f741e54dfd]::fmt::Debug>::fmt";
        assert_eq!(right(v0), "<automerge::X<[u8; 4]> as core::fmt::Debug>::fmt");
        for other in [
            "main.f[go.shape.int]",
            "f[abi:cxx11](int)",
            "main.f[abcdef]",
            "[0123456789abcdef]",
            "app::h0123",
            "java.util.Map$Entry.get",
            "::h0123456789abcdef",
            "app::H0123456789abcdef",
        ] {
            assert_eq!(right(other), "-", "{other}");
        }
    }

    #[test]
    fn lambdas_and_clones_are_written_one_way() {
        assert_eq!(
            lambdas("app::f()::'lambda0'(auto, auto)::operator()"),
            "app::f()::{lambda(auto:1, auto:2)#2}::operator()"
        );
        assert_eq!(lambdas("f('unnamed', 'lambda'(int))"), "f({unnamed type#1}, {lambda(int)#1})");
        assert_eq!(lambdas("f('lambda'<typename T>(T))"), "f('lambda'<typename T>(T))");
        assert_eq!(clones(" (.part.0.cold)"), " [clone .part.0] [clone .cold]");
    }
}
