//! Demangles names, by the crates that know the schemes.

use std::fmt::{self, Write};

use super::cpp;

/// Suffix of a local symbol that link-time optimization has made global. A number follows, which identifies the
/// compilation unit. Labels omit both.
pub(super) const PROMOTED: &str = ".llvm.";

/// Maximum length of a demangled name in bytes. Mangled names compress repetition, so a short one can expand to a huge one;
/// real names are far shorter.
pub(super) const LONGEST: usize = 16 * 1024;

/// The text of a Rust name without its hash. `None` if it is too long, or if an identifier decodes to characters that no
/// identifier contains.
pub(super) fn rust_text(name: &rustc_demangle::Demangle<'_>) -> Option<String> {
    let mut text = Bounded(String::new());
    write!(text, "{name:#}").ok()?; // `#` leaves the hash out
    Some(text.0).filter(|text| !text.chars().any(crate::text::is_hostile))
}

pub(super) fn cpp_text(name: &str) -> Option<String> {
    let text = itanium(name)?;
    let Some(thunk) = text.strip_prefix("{virtual override thunk(").and_then(|rest| rest.strip_suffix(")}")) else {
        return Some(match cpp::split(&text) {
            Some(function) if cpp::is_template_constructor(function.path) => constructor(name, &text, &function)?,
            _ => text,
        });
    };
    // A thunk is `{virtual override thunk({offset(-8)}, app::A::g())}`; all other demanglers describe it in words.
    let mut target = thunk;
    while let Some((_, rest)) = target.strip_prefix('{').and_then(|offset| offset.split_once("}, ")) {
        target = rest;
    }
    let kind = match name.as_bytes().get(3) {
        Some(b'h') => "non-virtual thunk to ",
        Some(b'v') => "virtual thunk to ",
        _ => "covariant return thunk to ",
    };
    Some(format!("{kind}{target}"))
}

/// What cpp_demangle reads, without a return type.
fn itanium(name: &str) -> Option<String> {
    let symbol = cpp_demangle::Symbol::new(name).ok()?;
    let options = cpp_demangle::DemangleOptions::default().no_return_type();
    let mut text = Bounded(String::new());
    symbol.structured_demangle(&mut text, &options).ok()?;
    // As LLVM writes it, so that a label is the same whether or not the linker has demangled it. cpp_demangle also leaves
    // the commas of empty parameter packs: `f<int, >(int, )`.
    let text = text.0.replace(", >", ">").replace(", )", ")").replace("> >", ">>");
    Some(match text.rsplit_once(&format!(" [clone {PROMOTED}")) {
        Some((front, _)) => front.to_owned(),
        None => text,
    })
}

/// The text for a constructor that is a template. Of all templates, constructors alone have no return type in their mangled
/// name, but cpp_demangle 0.5.1 takes their first parameter for one and leaves it out. So a return type is put into the name,
/// after the `E` behind which it brings the missing parameter back.
fn constructor(name: &str, text: &str, function: &cpp::Function<'_>) -> Option<String> {
    const MOST_TRIES: usize = 64;
    let rest = function.parameters.strip_prefix('(')?;
    let ends = name.match_indices('E').map(|(at, _)| at + 1).take(MOST_TRIES);
    let whole = ends.filter_map(|end| itanium(&format!("{}v{}", &name[..end], &name[end..])));
    let mut right = whole.filter(|whole| {
        let parameters = whole.strip_prefix(function.path).unwrap_or_default();
        whole.len() > text.len() && parameters.starts_with('(') && parameters.ends_with(rest)
    });
    // Without parameters there is nothing to bring back: `A::A<int>(void)` and `A::A<int>()` are one.
    right.next().or_else(|| rest.starts_with(')').then(|| text.to_owned()))
}

/// A text buffer with the maximum length [`LONGEST`]. Each substitution in a C++ name may double the text: 300 bytes can
/// expand to gigabytes, so the length is checked during writing.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}
