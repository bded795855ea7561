//! Finds the parts of a demangled C++ function name.
//!
//! Linkers write demangled names into the `name` section: `wasm-ld` does by default. LLVM's demangler and GNU's put the
//! return type of a template in front of the name, and describe thunks and guards in words:
//!
//! ```text
//! void app::Op::apply<int>(int) const         path app::Op::apply<int>
//! void (*app::pick<int>(int))(int)            path app::pick<int>
//! non-virtual thunk to app::A::g()            path app::A::g
//! app::f(int) [clone .cold]                   path app::f
//! ```

use super::scan::{Scan, Token};

/// The parts of a demangled name of a C++ function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function<'t> {
    /// What the name says before the function's own name, unless it is a return type: `virtual thunk to `.
    pub(super) purpose: &'t str,
    /// The qualified name with template arguments, without return type and parameters: `app::f<int>`.
    pub(super) path: &'t str,
    /// The parameters and the qualifiers after them: `(int) const`. Empty for a variable.
    pub(super) parameters: &'t str,
    /// A suffix for a part or a copy of the function, as LLVM (` (.cold)`) or GNU (` [clone .cold]`) writes it.
    pub(super) clone: &'t str,
}

/// Prefix that Binaryen gives to the name of a function into which it has merged several similar ones.
pub(super) const MERGED: &str = "byn$mgfn-shared$";

/// Phrases that the demanglers of LLVM and GNU put in front of the name that a special symbol belongs to.
const PURPOSES: [&str; 17] = [
    MERGED,
    "reference temporary for ",
    "non-virtual thunk to ",
    "virtual thunk to ",
    "covariant return thunk to ",
    "guard variable for ",
    "thread-local wrapper routine for ",
    "thread-local initialization routine for ",
    "TLS wrapper function for ",
    "TLS init function for ",
    "initializer for module ",
    "vtable for ",
    "VTT for ",
    "typeinfo for ",
    "typeinfo name for ",
    "invocation function for block in ",
    "transaction clone for ",
];

/// Whether a text is a demangled name of a C++ function.
pub(super) fn is_function(text: &str) -> bool {
    split(text).is_some() || unwrapped(text).is_some()
}

/// Splits a demangled name. `None` if it has neither parameters nor a phrase in front: it is not a C++ function name, or
/// there is nothing to split.
pub(super) fn split(text: &str) -> Option<Function<'_>> {
    // With covariant return types, a thunk may call another thunk.
    let mut named = text;
    while let Some(rest) = PURPOSES.iter().find_map(|purpose| named.strip_prefix(purpose)) {
        named = rest;
    }
    let purpose = &text[..text.len() - named.len()];
    let function = function(named);
    if purpose.is_empty() {
        return function;
    }
    let variable = || Function { purpose: "", path: variable(named), parameters: "", clone: "" };
    Some(Function { purpose, ..function.unwrap_or_else(variable) })
}

/// Splits a demangled name without words in front.
fn function(text: &str) -> Option<Function<'_>> {
    let is_qualified = || text.contains(')') && text.contains(") ");
    if !text.ends_with([')', ']', '}', '&', '>']) && !is_qualified() && !ends_with_number(text) {
        return None; // the fast way out for most names
    }
    declarator(text)
}

/// A name without the type around it, if the function returns a pointer or a reference to a function or an array:
///
/// ```text
/// void (*app::pick<int>(int))(int)                     app::pick<int>(int)
/// int (&app::row<int>(int)) [3]::Local::m() const      app::row<int>(int)::Local::m() const
/// ```
pub(super) fn unwrapped(text: &str) -> Option<String> {
    // The group around a declarator, and what follows it.
    if !text.contains(')') || !text.contains(")(") && !text.contains(")[") && !text.contains(") [") {
        return None;
    }
    let mut whole: Option<String> = None;
    for _ in 0..MOST_NESTED {
        match unwrapped_once(whole.as_deref().unwrap_or(text)) {
            Some(inside) => whole = Some(inside),
            None => break,
        }
    }
    whole.filter(|whole| whole.contains('<'))
}

/// Maximum number of nested declarators, such as functions that return pointers to functions.
const MOST_NESTED: usize = 16;

fn unwrapped_once(text: &str) -> Option<String> {
    let mut scan = Scan { text, at: 0 };
    let mut start = 0;
    while let Some(token) = scan.token() {
        match token {
            Token::Operator { is_conversion: true } => return None,
            Token::Space => start = scan.at,
            Token::Group(b'(', from) if from == start => {
                let inside = text[from + 1..scan.at].strip_suffix(')').and_then(pointee);
                let Some(inside) =
                    inside.filter(|_| ["(", "[", " ["].iter().any(|next| text[scan.at..].starts_with(next)))
                else {
                    continue;
                };
                // The parameters or the sizes of what is returned.
                while let (before, Some(Token::Group(..) | Token::Space)) = (scan.at, scan.token()) {
                    let is_qualifier = text[before..].starts_with(' ') && !text[before..].starts_with(" [");
                    if is_qualifier || scan.at == text.len() || text[scan.at..].starts_with("::") {
                        let rest = if is_qualifier { &text[before..] } else { &text[scan.at..] };
                        return Some(format!("{inside}{rest}"));
                    }
                }
                return None;
            }
            _ => {}
        }
    }
    None
}

/// The path of a variable: what follows the type.
fn variable(text: &str) -> &str {
    let mut scan = Scan { text, at: 0 };
    let mut start = 0;
    while let Some(token) = scan.token() {
        let is_qualified = |at: usize| text[at..].starts_with("::");
        match token {
            Token::Space if !is_qualified(scan.at - 1 + qualifiers(&text[scan.at - 1..])) => start = scan.at,
            _ => {}
        }
    }
    &text[start..]
}

/// Whether a path is that of a constructor with template arguments: `app::A::A<int>`.
pub(super) fn is_template_constructor(path: &str) -> bool {
    let mut scan = Scan { text: path, at: 0 };
    // The names of the last two segments, without template arguments.
    let (mut class, mut last, mut start) = ("", "", 0);
    while let Some(token) = scan.token() {
        match token {
            Token::Scope => (class, last, start) = (last, "", scan.at),
            Token::Group(b'<', from) if last.is_empty() => last = &path[start..from],
            Token::Operator { .. } => return false,
            _ => {}
        }
        if last.is_empty() && path[scan.at..].starts_with("::") {
            last = &path[start..scan.at];
        }
    }
    path.ends_with('>') && class == last && !last.is_empty()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn ends_with_number(text: &str) -> bool {
    text.ends_with(|c: char| c.is_ascii_digit()) && text.contains(')')
}

/// Splits `type path(parameters) qualifiers clone`.
fn declarator(text: &str) -> Option<Function<'_>> {
    let mut scan = Scan { text, at: 0 };
    let mut start = 0;
    // The last group in parentheses since `start`, if nothing but qualifiers follows.
    let mut group: Option<(usize, usize)> = None;
    let mut is_conversion = false;
    let mut end = text.len();
    while let Some(token) = scan.token() {
        match token {
            Token::Operator { is_conversion: is } => (group, is_conversion) = (None, is),
            Token::Group(b'(', from) => {
                group = Some((from, scan.at));
            }
            Token::Group(..) => group = None,
            Token::Space => {
                if group.is_some() {
                    let qualifiers = qualifiers(&text[scan.at - 1..]);
                    let behind = &text[scan.at - 1 + qualifiers..];
                    if behind.is_empty() || behind.starts_with(" requires ") || is_suffix(behind) {
                        end = scan.at - 1 + qualifiers;
                        break;
                    }
                    if qualifiers > 0 && behind.starts_with("::") {
                        scan.at += qualifiers - 1; // of the function that a local name is in
                        continue;
                    }
                }
                if is_suffix(&text[scan.at - 1..]) {
                    end = scan.at - 1;
                    break;
                }
                if !is_conversion && !text[..scan.at].ends_with("::friend ") {
                    (start, group) = (scan.at, None);
                }
            }
            Token::Scope => (group, is_conversion) = (None, false),
            Token::Other => {
                // Binaryen tells functions of one name apart by a number at the end.
                if let Some((_, to)) = group
                    && text[to..].strip_prefix(['_', '.']).is_some_and(is_number)
                {
                    end = to;
                    break;
                }
                group = None;
            }
        }
    }
    let (from, _) = group?;
    let (path, parameters) = (&text[start..from], &text[from..end]);
    let is_name = |c: char| c.is_alphabetic() || matches!(c, '_' | '$' | '(' | '\'' | '{' | '~' | '<');
    // Go writes a method's receiver as `.(*T)`. Only a template has its return type in front.
    if !path.starts_with(is_name) || path.ends_with(['.', ':']) || start > 0 && !path.contains('<') {
        return None;
    }
    Some(Function { purpose: "", path, parameters, clone: text[end..].split(" requires ").next().unwrap_or("") })
}

/// What a pointer, a reference or a pointer to a member in a declarator refers to: `*const app::f(int)` → `app::f(int)`.
fn pointee(inside: &str) -> Option<&str> {
    let mut scan = Scan { text: inside, at: 0 };
    let mut is_pointer = false;
    let mut end = 0;
    while let Some(token) = scan.token() {
        match token {
            Token::Other if matches!(inside.as_bytes()[scan.at - 1], b'*' | b'&') => {
                (is_pointer, end) = (true, scan.at);
            }
            // The name begins with these only if they are its own parameters or scope.
            Token::Group(b'(', _) if is_pointer => break,
            _ => {}
        }
    }
    is_pointer.then(|| inside[end..].trim_start_matches(" const").trim_start())
}

/// The length of the qualifiers of a member function at the beginning of a text: ` const &`.
fn qualifiers(text: &str) -> usize {
    let mut rest = text;
    while let Some(more) =
        [" const", " volatile", " &&", " &", " restrict", " noexcept"].iter().find_map(|word| rest.strip_prefix(word))
    {
        if more.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            break;
        }
        rest = more;
    }
    text.len() - rest.len()
}

fn is_suffix(text: &str) -> bool {
    [" (.", " [clone ", " [enable_if:"].iter().any(|suffix| text.starts_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::{split, unwrapped};

    fn path(text: &str) -> &str {
        split(text).map_or("-", |function| function.path)
    }

    #[test]
    fn a_return_type_is_not_part_of_the_path() {
        for (text, expected) in [
            ("void app::Op::apply<int>(int)", "app::Op::apply<int>"),
            ("unsigned long app::f<int>()", "app::f<int>"),
            ("decltype(auto) app::visit<app::V>(app::V&&)", "app::visit<app::V>"),
            ("decltype(fp0 < 1 ? a : b) app::visit<app::V>(app::V&&)", "app::visit<app::V>"),
            ("std::__2::basic_ostream<char, A<B>>& std::__2::operator<<<char>(X&, char)", "std::__2::operator<<<char>"),
            ("char const* app::name<int>() const", "app::name<int>"),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn a_type_around_the_name_is_not_either() {
        for (text, expected) in [
            ("void (*app::pick<int>(int))(int)", "app::pick<int>(int)"),
            ("void (*(*app::twice<int>(int))(int))(long)", "app::twice<int>(int)"),
            ("int (&app::row<int>(int) const) [3]", "app::row<int>(int) const"),
            ("bool (&app::Q::c<bool>(bool)) [3] const volatile &&", "app::Q::c<bool>(bool) const volatile &&"),
            ("int (app::A::*app::member<int>(int))(long)", "app::member<int>(int)"),
            ("char (*app::O<int>::op<char>(char))(int)::L::m() const", "app::O<int>::op<char>(char)::L::m() const"),
        ] {
            assert_eq!(unwrapped(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["app::g(int, void (*)(int))", "app::A::operator void (*)(int)()", "int (anonymous namespace)::f<int>(int)"]
        {
            assert_eq!(unwrapped(text), None, "{text}");
        }
    }

    #[test]
    fn operators_scopes_and_qualifiers_are() {
        for (text, expected) in [
            ("app::A::operator bool() const", "app::A::operator bool"),
            ("app::A::operator unsigned long() const &", "app::A::operator unsigned long"),
            ("app::A::operator std::pair<int, long>()", "app::A::operator std::pair<int, long>"),
            ("bool app::operator< <int>(int)", "app::operator< <int>"),
            ("bool app::operator<<int, char>(int)", "app::operator<<int, char>"),
            ("bool app::operator><int>(app::B<(1 > 2)>)", "app::operator><int>"),
            ("app::A::operator()(int) const", "app::A::operator()"),
            ("app::A::operator new[](unsigned long)", "app::A::operator new[]"),
            ("operator new(unsigned long)", "operator new"),
            ("app::operator\"\" _km(long double)", "app::operator\"\" _km"),
            ("int (anonymous namespace)::f<int>(int)", "(anonymous namespace)::f<int>"),
            ("app::A::f(int) const::S::g()", "app::A::f(int) const::S::g"),
            ("auto app::lam::'lambda'(auto)::operator()<int>(int) const", "app::lam::'lambda'(auto)::operator()<int>"),
            (
                "void app::f<int>()::{lambda(int)#1}::operator()(int) const",
                "app::f<int>()::{lambda(int)#1}::operator()",
            ),
            ("app::f[abi:cxx11](int)", "app::f[abi:cxx11]"),
            ("void app::f<(app::E)1, (8 >> 2)>(int) requires sizeof(int) >= 4", "app::f<(app::E)1, (8 >> 2)>"),
            ("app::A::~A()", "app::A::~A"),
            ("app::f(int) (.cold)", "app::f"),
            ("app::f(int) [clone .part.0] [clone .cold]", "app::f"),
            ("app::f(int)_3", "app::f"),
            ("int üml::äffin<é>(ñ)", "üml::äffin<é>"),
            ("virtual thunk to app::B::h() const", "app::B::h"),
            ("guard variable for app::x", "app::x"),
        ] {
            assert_eq!(path(text), expected, "{text}");
        }
    }

    #[test]
    fn names_of_other_languages_are_not_split() {
        for text in [
            "malloc",
            "main.(*T).M",
            "type:.eq.struct { F uintptr; X int }",
            "<alloc::string::String as core::fmt::Write>::write_str",
            "core::ptr::drop_in_place::<[alloc::string::String]>",
            "~lib/map/Map<i32,~lib/string/String>#set",
            "Fn::operator()",
            "main (unchecked entry)",
            "",
            "(",
            "a b(",
            " ()",
            "operator",
            "x operator",
            "f<(>",
        ] {
            assert_eq!(split(text), None, "{text}");
        }
    }
}
