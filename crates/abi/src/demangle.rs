//! Names of functions as people read them.

use std::borrow::Cow;
use std::fmt::{self, Write};

mod cpp;
mod half;

/// Maximum length of a demangled name in bytes. Mangled names compress repetition, so a short one can expand to a huge one;
/// real names are far shorter.
const LONGEST: usize = 16 * 1024;

/// The name of a function for people: demangled, without the hash that compilers append and without a return type.
///
/// A mangled name is tried as Rust (v0 and legacy), then as C++ (Itanium). Rust comes first because a legacy Rust name is
/// also a valid C++ name, which would keep its hash and its `$LT$`. A name that a linker has demangled already, entirely
/// or halfway, gets the form that its mangled name would have. Any other name is returned unchanged.
pub fn demangle(name: &str) -> Cow<'_, str> {
    let is_long = name.len() > LONGEST;
    // A leading `_` or `R` that starts no mangled name falls through.
    if !is_long && let Ok(rust) = rustc_demangle::try_demangle(name) {
        return rust_text(&rust).map_or(Cow::Borrowed(name), Cow::Owned);
    }
    // Emscripten's first compiler put another `_` in front of all names.
    let itanium = name.strip_prefix('_').filter(|rest| rest.starts_with("_Z")).unwrap_or(name);
    if itanium.starts_with("_Z") {
        let text = if is_long { None } else { cpp_text(itanium) };
        return text.map_or(Cow::Borrowed(name), Cow::Owned);
    }
    if let Some(half) = half::rust(name) {
        return half;
    }
    let unwrapped = cpp::unwrapped(name);
    let text = unwrapped.as_deref().unwrap_or(name);
    let Some(function) = cpp::split(text) else { return Cow::Borrowed(name) };
    let cpp::Function { purpose, path, parameters, clone } = function;
    let is_whole = unwrapped.is_none() && purpose.len() + path.len() + parameters.len() + clone.len() == name.len();
    if is_whole && !name.contains('\'') && !clone.starts_with(" (.") {
        return Cow::Borrowed(name);
    }
    let clone = match clone {
        llvm if llvm.starts_with(" (.") => half::clones(llvm),
        gnu => gnu.to_owned(),
    };
    let signature = half::lambdas(&format!("{path}{parameters}")).into_owned();
    Cow::Owned(format!("{purpose}{signature}{clone}"))
}

/// The text of a Rust name without its hash. `None` if it is too long, or if an identifier decodes to characters that no
/// identifier contains.
fn rust_text(name: &rustc_demangle::Demangle<'_>) -> Option<String> {
    let mut text = Bounded(String::new());
    write!(text, "{name:#}").ok()?; // `#` leaves the hash out
    Some(text.0).filter(|text| !text.chars().any(crate::text::is_hostile))
}

fn cpp_text(name: &str) -> Option<String> {
    let text = itanium(name)?;
    let Some(thunk) = text.strip_prefix("{virtual override thunk(").and_then(|rest| rest.strip_suffix(")}")) else {
        return Some(match cpp::split(&text) {
            Some(function) if cpp::is_template_constructor(function.path) => constructor(name, &text, &function)?,
            _ => text,
        });
    };
    // A thunk is `{virtual override thunk({offset(-8)}, app::A::g())}`; everybody else calls it in words.
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
    // As LLVM writes it, so that both linkers that demangle and those that do not give one label. cpp_demangle also leaves
    // the commas of empty parameter packs: `f<int, >(int, )`.
    Some(text.0.replace(", >", ">").replace(", )", ")").replace("> >", ">>"))
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

/// Whether a name is mangled by one of Rust's two schemes, legacy or v0, or was before a linker demangled it halfway.
#[doc(hidden)]
pub fn is_rust(name: &str) -> bool {
    rustc_demangle::try_demangle(name).is_ok() || half::rust(name).is_some()
}

/// Whether a name is that of a C++ function, mangled or demangled.
#[doc(hidden)]
pub fn is_cpp(name: &str) -> bool {
    name.starts_with("_Z")
        || name.starts_with("__Z")
        || cpp::split(name).is_some_and(|function| function.path.contains("::"))
}

/// Removes the C++ argument list from a [demangled](demangle) name: `a::f(int) const` → `a::f`. A Go receiver as in
/// `main.(*T).M` is kept.
pub fn without_arguments(name: &str) -> &str {
    match cpp::split(name) {
        Some(function) => &name[..function.purpose.len() + function.path.len()],
        None => name,
    }
}

/// The qualified name of the function in a [demangled](demangle) name: without arguments, and without what a thunk or a
/// guard is called: `non-virtual thunk to a::f(int)` → `a::f`.
pub fn qualified(name: &str) -> &str {
    cpp::split(name).map_or(name, |function| function.path)
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
    fn a_constructor_that_is_a_template_keeps_its_first_parameter() {
        assert_eq!(demangle("_ZN3app1AC1IiEET_"), "app::A::A<int>(int)");
        assert_eq!(demangle("_ZN3app1AC2IiEET_PS0_"), "app::A::A<int>(int, app::A*)");
        assert_eq!(demangle("_ZN3app1AIcEC2IJEEEDpT_"), "app::A<char>::A<>()");
        assert_eq!(
            demangle(
                "_ZN7ErrorOrIN5lexer5TokenENS0_8LexErrorEEC2IS2_EET_PNSt9enable_ifIXsr3std10is_base_ofIS2_NSt5decayIS5_E4typeEEE5valueEvE4typeE"
            ),
            "ErrorOr<lexer::Token, lexer::LexError>::ErrorOr<lexer::LexError>(lexer::LexError, \
             std::enable_if<std::is_base_of<lexer::LexError, std::decay<lexer::LexError>::type>::value, void>::type*)"
        );
    }

    /// Theorem: of a name that LLVM has demangled, the own path is found. The table has a row for each kind of name that clang
    /// and g++ give to the functions of a test program, with the path that LLVM's own parser finds.
    #[test]
    fn demangled_names_give_the_path_and_the_label_of_mangled_ones() {
        let rows = include_str!("demangle/names.tsv").lines().skip(1);
        let mut same = 0;
        for row in rows {
            let [mangled, demangled, path, is_same] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
            let label = demangle(demangled);
            assert_eq!(super::qualified(&label), path, "{demangled}");
            if is_same == "=" {
                assert_eq!(demangle(mangled), label, "{mangled}");
                same += 1;
            }
        }
        assert!(same > 200);
    }

    #[test]
    fn deep_and_long_texts_end() {
        for text in ["'lambda'(", "virtual thunk to ", "(*", "f<", "a::", "operator ", "void ", ") (", "::friend "] {
            let long = text.repeat(100_000);
            assert!(demangle(&long).len() <= 2 * long.len());
            assert!(demangle(&format!("{long}(int)")).len() <= 2 * long.len() + 10);
        }
    }

    #[test]
    fn names_that_cannot_be_read_stay() {
        // C++20's constraints, and an identifier that decodes to control characters.
        for name in ["_Z5twiceIiQsr3stdE8integralIT_EES0_S0_", "_RNvCs7qp2U7fqm6G_7mycrateu12_0_ssenfe_a7a"] {
            assert_eq!(demangle(name), name);
        }
        assert_eq!(demangle("__ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangle("_ZThn8_N3app1B1fEv"), "non-virtual thunk to app::B::f()");
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
