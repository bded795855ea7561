//! Names that a linker or a post-processor has demangled halfway.
//!
//! `wasm-ld` reads legacy Rust names as C++, so hashes and escapes stay: `_$LT$a..B$u20$as$u20$c..D$GT$::f::h<16 hex>`.
//! wasm-bindgen decodes the escapes and keeps the hash.

use std::borrow::Cow;

use super::cpp;
use super::mangled::{PROMOTED, rust_text};

/// The name of a Rust function without hashes and escapes, if `name` has any.
pub(super) fn rust(name: &str) -> Option<Cow<'_, str>> {
    let (path, suffix) = suffix(name);
    let is_cut = path.len() < name.len();
    let text = match (decoded(path), without_hash(path), without_disambiguators(path)) {
        (Some(decoded), ..) => Cow::Owned(decoded),
        (None, Some(plain), _) => Cow::Borrowed(plain),
        (None, None, Some(plain)) => Cow::Owned(plain),
        // A v0 name is whole but for its suffix.
        (None, None, None) if is_cut && name.ends_with(')') && path.contains("::") && !cpp::is_function(name) => {
            Cow::Borrowed(path)
        }
        (None, None, None) => return None,
    };
    Some(match suffix.is_empty() || suffix.starts_with(PROMOTED) {
        true => text,
        false => format!("{text}{suffix}").into(),
    })
}

/// Splits off the suffix of a copy or of a part of a function: `.cold`, which LLVM writes as ` (.cold)`, or `.126`.
fn suffix(name: &str) -> (&str, &str) {
    const LONGEST: usize = 256;
    let begin = (name.len().saturating_sub(LONGEST)..).find(|at| name.is_char_boundary(*at)).unwrap_or_default();
    let tail = &name[begin..];
    if let Some((path, suffix)) = tail.rsplit_once(" (").filter(|(path, _)| !path.ends_with(')'))
        && let Some(suffix) = suffix.strip_suffix(')').filter(|suffix| suffix.starts_with('.'))
    {
        return (&name[..begin + path.len()], suffix);
    }
    match tail.rsplit_once("::h") {
        Some((_, rest)) if rest.get(..16).is_some_and(is_hash) && rest[16..].starts_with(['.', '_']) => {
            name.split_at(name.len() - (rest.len() - 16))
        }
        _ => (name, ""),
    }
}

/// Whether `digits` can be the hash at the end of a legacy name, behind its `h`.
fn is_hash(digits: &str) -> bool {
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit))
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
            Some(behind) if is_crate && (FEWEST..=16).contains(&digits) && behind.starts_with("::") => {
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
    (out.len() < path.len()).then(|| without_types(&out))
}

/// The path without the types of numbers that the long form of a v0 name has: `[u8; 4usize]`.
fn without_types(path: &str) -> String {
    const TYPES: [&str; 12] = ["usize", "isize", "u128", "i128", "u16", "i16", "u32", "i32", "u64", "i64", "u8", "i8"];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(path.len());
    for word in path.split_inclusive(|c: char| !is_word(c)) {
        let (word, end) = word.split_at(word.trim_end_matches(|c| !is_word(c)).len());
        let number = TYPES.iter().find_map(|ty| word.strip_suffix(ty)).unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        out.extend([if is_number { number } else { word }, end]);
    }
    out
}

/// The path before `::h` and 16 hexadecimal digits.
fn without_hash(path: &str) -> Option<&str> {
    let (path, hash) = path.split_at_checked(path.len().checked_sub("::h".len() + 16)?)?;
    (hash.strip_prefix("::h").is_some_and(is_hash) && !path.is_empty()).then_some(path)
}

/// The path without escapes such as `$LT$` and `$u20$`, if it has any. It is mangled again, so that the crate that knows
/// the escapes decodes them.
fn decoded(path: &str) -> Option<String> {
    // Others may be parts of names in Java: `Outer$C$Inner`.
    const ESCAPES: [&str; 5] = ["$BP$", "$RF$", "$LT$", "$GT$", "$u"];
    let is_hex = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let is_escape = |escape: &&str| match *escape {
        "$u" => path.split("$u").skip(1).any(|rest| rest.split_once('$').is_some_and(|(digits, _)| is_hex(digits))),
        escape => path.contains(escape),
    };
    if !path.contains('$') || !path.contains("::") || !ESCAPES.iter().any(is_escape) {
        return None;
    }
    let parts: String = path.split("::").map(|part| format!("{}{part}", part.len())).collect();
    let mangled = format!("_ZN{parts}E");
    rust_text(&rustc_demangle::try_demangle(&mangled).ok()?)
}

/// LLVM's suffix ` (.part.0.cold)` as cpp_demangle writes it: ` [clone .part.0] [clone .cold]`.
pub(super) fn clones(llvm: &str) -> String {
    let suffix = llvm.trim_start_matches(" (").trim_end_matches(')');
    let suffix = suffix.split_once(PROMOTED).map_or(suffix, |(front, _)| front);
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
    lambdas_in(text, 0)
}

/// Maximum number of lambdas that are in each other's parameters. More are left as they are.
const MOST_NESTED: u32 = 32;

/// Maximum number of quotes that begin no lambda and no unnamed type. The search for each is linear in the text.
const MOST_TRIES: usize = 64;

fn lambdas_in(text: &str, nested: u32) -> Cow<'_, str> {
    const MARKS: [&str; 2] = ["'lambda", "'unnamed"];
    if nested > MOST_NESTED || !MARKS.iter().any(|mark| text.contains(mark)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut tries = 0;
    while let Some(at) = rest.find('\'').filter(|_| tries < MOST_TRIES) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some((read, written)) = lambda(rest, nested) else {
            out.push('\'');
            rest = &rest[1..];
            tries += 1;
            continue;
        };
        out.push_str(&written);
        rest = &rest[read..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// One lambda or unnamed type at the beginning of the text: how many bytes it takes, and how it is written.
fn lambda(text: &str, nested: u32) -> Option<(usize, String)> {
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
    for (i, part) in lambdas_in(parameters, nested + 1).split("auto").enumerate() {
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
        assert_eq!(right(&format!("kinds::gr$uf6$$udf$e::{hash}")), "kinds::größe");
        assert_eq!(right(&format!("app::f::{hash}.126")), "app::f.126");
        assert_eq!(right("<app::T>::f::{closure#0} (.llvm.123)"), "<app::T>::f::{closure#0}");
        let v0 = "<automerge[3b5bd8e0c1d2aabb]::X<[u8; 4usize]> as core[46817f741e54dfd]::fmt::Debug>::fmt";
        assert_eq!(right(v0), "<automerge::X<[u8; 4]> as core::fmt::Debug>::fmt");
        let behind =
            "core[46817f741e54dfd]::hash::sort_by::<app[3b5bd8e0c1d2aabb]::hydrate::Map_<app[3b5bd8e0c1d2aabb]::A>>";
        assert_eq!(right(behind), "core::hash::sort_by::<app::hydrate::Map_<app::A>>");
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
