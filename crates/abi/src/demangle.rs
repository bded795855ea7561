//! Names of functions as people read them.

use std::borrow::Cow;

mod cpp;
mod half;
mod mangled;
mod scan;

use mangled::{LONGEST, cpp_text, rust_text};

/// The name of a function for people: demangled, without the hash that compilers append and without a return type.
///
/// A mangled name is tried as Rust (v0 and legacy), then as C++ (Itanium). Rust comes first because a legacy Rust name is
/// also a valid C++ name, which would keep its hash and its `$LT$`. A name that a linker has demangled already, entirely
/// or halfway, gets the form that its mangled name would have. Any other name is returned unchanged.
///
/// In a component, the name of a core module and `!` may precede the name of its function.
pub fn demangle(name: &str) -> Cow<'_, str> {
    if let Some((module, function)) = core_module(name) {
        return match demangle(function) {
            Cow::Borrowed(_) => Cow::Borrowed(name),
            Cow::Owned(function) => Cow::Owned(format!("{module}!{function}")),
        };
    }
    if let Some(rest) = name.strip_prefix(cpp::MERGED) {
        return match demangle(rest) {
            Cow::Borrowed(_) => Cow::Borrowed(name),
            Cow::Owned(rest) => Cow::Owned(format!("{}{rest}", cpp::MERGED)),
        };
    }
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

/// Splits the name of a function in a component into the name of its core module and its name in that module.
#[doc(hidden)]
pub fn core_module(name: &str) -> Option<(&str, &str)> {
    let (module, function) = name.rsplit_once('!')?;
    // After the `!` of an operator or a type there is no name.
    let is_name = function.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '<'));
    (is_name && !module.is_empty()).then_some((module, function))
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
        // The path is a part of the name.
        Some(function) => &name[..function.path.as_ptr().addr() - name.as_ptr().addr() + function.path.len()],
        None => name,
    }
}

/// The qualified name of the function in a [demangled](demangle) name: without arguments, and without what a thunk or a
/// guard is called: `non-virtual thunk to a::f(int)` → `a::f`.
pub fn qualified(name: &str) -> &str {
    cpp::split(name).map_or(name, |function| function.path)
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
    fn the_module_of_a_function_stays_before_its_name() {
        assert_eq!(demangle("app!_RNvC6_123foo3bar"), "app!123foo::bar");
        assert_eq!(demangle("m#2!_ZN3geo5Shape4areaEi"), "m#2!geo::Shape::area(int)");
        assert_eq!(demangle("app!main"), "app!main");
        assert_eq!(demangle("a::operator!(int)"), "a::operator!(int)");
        assert_eq!(demangle("<a as b<!>>::f"), "<a as b<!>>::f");
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

    /// Theorem: the function's own path is found in each name that LLVM has demangled. The table has a row for each kind
    /// of name that clang and g++ give to the functions of a test program, with the path that LLVM's own parser finds.
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
