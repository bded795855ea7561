//! Demangles function names.

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Maximum length of a demangled name in bytes. Mangled names compress repetition, so a short one can expand to a huge one;
/// real names are far shorter.
const LONGEST: usize = 16 * 1024;

/// Demangles a name: first as Rust (v0 and legacy), then as C++ (Itanium). Any other name is returned unchanged. Rust comes
/// first because a legacy Rust name is also a valid C++ name, which would keep its hash and its `$LT$`.
pub fn demangle(name: &str) -> Cow<'_, str> {
    if name.len() > LONGEST {
        return Cow::Borrowed(name);
    }
    // wasm does not use Mach-O style or `__Z` prefixes. A leading `_` or `R` that starts no mangled name falls through.
    let mut text = Bounded(String::new());
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        let written = write!(text, "{rust:#}"); // `#` leaves the hash out
        return written.map_or(Cow::Borrowed(name), |()| Cow::Owned(text.0));
    }
    if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name)
    {
        let options = cpp_demangle::DemangleOptions::default().no_return_type();
        if symbol.structured_demangle(&mut text, &options).is_ok() {
            return Cow::Owned(text.0);
        }
    }
    Cow::Borrowed(name)
}

/// Whether a name is mangled by one of Rust's two schemes, legacy or v0.
#[doc(hidden)]
pub fn is_rust(name: &str) -> bool {
    rustc_demangle::try_demangle(name).is_ok()
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

/// Removes the C++ argument list from a name: `a::f(int) const` → `a::f`. A Go receiver as in `main.(*T).M` is kept.
pub fn without_arguments(name: &str) -> &str {
    let end = name.trim_end_matches(|c: char| c.is_ascii_lowercase() || matches!(c, ' ' | '&'));
    if !end.ends_with(')') || (end.len() < name.len() && !name[end.len()..].starts_with([' ', '&'])) {
        return name;
    }
    let mut depth = 0;
    for (at, byte) in end.bytes().enumerate().rev() {
        match byte {
            b')' => depth += 1,
            b'(' => {
                depth -= 1;
                if depth == 0 {
                    // A plain `operator()` and a Go method value keep their parentheses.
                    let front = &end[..at];
                    return if front.is_empty() || front.ends_with("operator") || front.ends_with('.') {
                        name
                    } else {
                        front
                    };
                }
            }
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{demangle, without_arguments};

    #[test]
    fn rust_is_tried_before_cpp_and_loses_its_hash() {
        assert_eq!(
            demangle(
                "_ZN71_$LT$Test$u20$$u2b$$u20$$u27$static$u20$as$u20$foo..Bar$LT$Test$GT$$GT$3bar17h930b740aa94f1d3aE"
            ),
            "<Test + 'static as foo::Bar<Test>>::bar"
        );
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
    }

    #[test]
    fn cpp_keeps_its_arguments_and_c_keeps_its_name() {
        assert_eq!(demangle("_ZN3geo5Shape4areaEi"), "geo::Shape::area(int)");
        assert_eq!(demangle("malloc"), "malloc");
        assert_eq!(demangle("_start"), "_start");
        assert_eq!(demangle("_Zbroken"), "_Zbroken");
    }

    #[test]
    fn a_short_name_that_stands_for_a_huge_one_is_left_alone() {
        // Each argument repeats the previous one twice.
        let pairs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ".chars().map(|n| format!("S_IS{n}_S{n}_E"));
        let bomb = format!("_Z1f1aIiiE{}", pairs.collect::<String>());
        assert_eq!(demangle(&bomb), bomb);
    }

    #[test]
    fn arguments_go_and_receivers_stay() {
        assert_eq!(without_arguments("geo::Shape::area(int, std::f<a(b)>) const"), "geo::Shape::area");
        assert_eq!(without_arguments("main.(*T).M"), "main.(*T).M");
        assert_eq!(without_arguments("Fn::operator()"), "Fn::operator()");
        assert_eq!(without_arguments("Fn::operator()(int) const"), "Fn::operator()");
        assert_eq!(without_arguments("plain"), "plain");
    }
}
