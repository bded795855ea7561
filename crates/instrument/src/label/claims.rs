//! Which subprogram of the debug information describes a function.
//!
//! DWARF claims a function by its address. The claim may be wrong: after `wasm-opt` and other tools, ranges of functions
//! that are gone lie over other code. It may also be one of several: a linker folds identical functions into one. So the
//! function's name decides, where it has one from the module:
//!
//! - Of several claims, one with the same name counts.
//! - If the names of all claims are others, no claim counts. No place is better than another function's.
//! - If most names contradict their claims, the debug information is stale: its addresses are those of other code. Then only
//!   names lead to subprograms.
//! - Some tools rename all functions, and then names prove nothing. So names only refute claims if debug information knows
//!   some of them.

use std::collections::{BTreeMap, HashMap};

use super::subprogram::Subprogram;
use crate::module::FuncIdx;
use wasmtrace_abi::demangle::{demangle, qualified};

/// The number of claims on one function that are read. Linkers fold few functions into one.
const MOST_CLAIMS: usize = 64;

/// Minimum length in bytes of a name for which it counts as a match if another name contains it.
const LEAST_TELLING: usize = 3;

/// The claims on each function.
pub(crate) struct Claims<'n> {
    names: &'n [Option<&'n str>],
    claims: BTreeMap<FuncIdx, Vec<Subprogram>>,
}

impl<'n> Claims<'n> {
    pub(crate) fn new(names: &'n [Option<&'n str>]) -> Self {
        Claims { names, claims: BTreeMap::new() }
    }

    /// Whether another claim on the function may change the result. The first one counts for a function without a name.
    pub(crate) fn wants(&self, func: FuncIdx) -> bool {
        let known = self.claims.get(&func).map_or(0, Vec::len);
        known < if self.name(func).is_some() { MOST_CLAIMS } else { 1 }
    }

    pub(crate) fn add(&mut self, func: FuncIdx, claim: Subprogram) {
        self.claims.entry(func).or_default().push(claim);
    }

    fn name(&self, func: FuncIdx) -> Option<&'n str> {
        self.names.get(func.0 as usize).copied().flatten().filter(|name| !name.is_empty())
    }

    /// The claim that counts, for each function that has one. `described` returns the subprograms by name; it is called only
    /// if most names differ.
    pub(crate) fn settle(self, described: impl FnOnce() -> Described) -> Settled {
        let mut settled = Settled::default();
        let mut differ = Vec::new();
        let mut unnamed = Vec::new();
        let mut agree = 0;
        let names = self.names;
        for (func, claims) in self.claims {
            let name = names.get(func.0 as usize).copied().flatten().filter(|name| !name.is_empty());
            let Some(name) = name else {
                unnamed.extend(claims.into_iter().next().map(|first| (func, first)));
                continue;
            };
            let name = Name::of(name);
            // Among equal claims, the one that covers the most code counts, then the first.
            let rank = |(at, claim): (usize, &Subprogram)| (name.agrees(claim), claim.length, usize::MAX - at, at);
            match claims.iter().enumerate().map(rank).max() {
                Some((Agreement::None, ..)) | None => differ.push((func, claims)),
                Some((.., best)) => {
                    agree += 1;
                    settled.subprograms.extend(claims.into_iter().nth(best).map(|claim| (func, claim)));
                }
            }
        }
        // Reading all names takes time. A few contradictions do not justify it.
        let described = if differ.len() <= agree { Described::default() } else { described() };
        let knows = |(func, _): &&(FuncIdx, Vec<Subprogram>)| {
            self.names[func.0 as usize].is_some_and(|name| described.knows(name))
        };
        if agree == 0 && !differ.iter().any(|claim| knows(&claim)) {
            // Some tools rename all functions, and then names prove nothing.
            unnamed.extend(differ.into_iter().filter_map(|(func, claims)| Some((func, claims.into_iter().next()?))));
        } else if differ.len() > agree {
            settled.stale = Some(Stale { differ: differ.len(), claimed: differ.len() + agree });
            for (func, name) in (0..).map(FuncIdx).zip(names) {
                let named = name.and_then(|name| described.of(name));
                if let (Some(named), false) = (named, settled.subprograms.contains_key(&func)) {
                    settled.subprograms.insert(func, named.clone());
                }
            }
            return settled;
        } else {
            // A claim without a name cannot contradict the function's name.
            let nameless = |(func, claims): (FuncIdx, Vec<Subprogram>)| {
                Some((func, claims.into_iter().find(|claim| claim.name.is_none())?))
            };
            unnamed.extend(differ.into_iter().filter_map(nameless));
        }
        settled.subprograms.extend(unnamed);
        settled
    }
}

/// What is known about functions from their claims.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    pub(crate) subprograms: HashMap<FuncIdx, Subprogram>,
    /// Whether most names contradict the claims. Then the addresses in the debug information are those of other code.
    pub(crate) stale: Option<Stale>,
}

/// The numbers of functions whose names contradict their claims, and of all claimed functions with names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stale {
    pub(crate) differ: usize,
    pub(crate) claimed: usize,
}

/// The subprograms of debug information by name. `None` for a name that several files have.
#[derive(Debug, Default)]
pub(crate) struct Described(HashMap<String, Option<Subprogram>>);

impl Described {
    /// Adds a subprogram under its name and its qualified name. Returns the number of bytes that this takes.
    pub(crate) fn add(&mut self, subprogram: &Subprogram) -> usize {
        let Some(name) = subprogram.name.as_deref() else { return 0 };
        let demangled = demangle(name);
        let mut taken = 0;
        for key in [name, qualified(&demangled)] {
            match self.0.get_mut(key) {
                None => {
                    taken += key.len();
                    self.0.insert(key.to_owned(), Some(subprogram.clone()));
                }
                Some(known) if known.as_ref().is_some_and(|known| known.file != subprogram.file) => *known = None,
                // A declaration and a definition; the order of entries must not matter.
                Some(Some(known)) if subprogram.line < known.line => *known = subprogram.clone(),
                Some(_) => {}
            }
        }
        taken
    }

    fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name) || self.0.contains_key(qualified(&demangle(name)))
    }

    fn of(&self, name: &str) -> Option<&Subprogram> {
        let found = self.0.get(name).or_else(|| self.0.get(qualified(&demangle(name))))?;
        found.as_ref()
    }
}

/// How well a name agrees with that of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Agreement {
    None,
    /// Only the last segment is the same, without template arguments. Demanglers differ in how they write the rest.
    LastSegment,
    Same,
}

/// A name of a function, in the forms that are compared.
struct Name<'n> {
    raw: &'n str,
    demangled: String,
}

impl<'n> Name<'n> {
    fn of(raw: &'n str) -> Self {
        Name { raw, demangled: demangle(raw).into_owned() }
    }

    fn agrees(&self, claim: &Subprogram) -> Agreement {
        let Some(name) = claim.name.as_deref() else { return Agreement::None };
        let short = claim.short_name.as_deref();
        if name == self.raw
            || short == Some(self.raw)
            || is_copy(self.raw, name)
            || is_main(self.raw, short.unwrap_or(name))
        {
            return Agreement::Same;
        }
        let demangled = demangle(name);
        if demangled == self.demangled || qualified(&demangled) == qualified(&self.demangled) {
            return Agreement::Same;
        }
        let own = last_segment(qualified(&self.demangled));
        let same = own == last_segment(qualified(&demangled)) || short.is_some_and(|short| own == last_segment(short));
        // Other schemes of mangling: `meth_jl_Object_wait` of Java.
        let contains = short.is_some_and(|short| {
            let short = short.split('<').next().unwrap_or_default();
            short.len() >= LEAST_TELLING && has_word(self.raw, short)
        });
        match same || contains {
            true => Agreement::LastSegment,
            false => Agreement::None,
        }
    }
}

/// Whether a name is another one with the suffix of a copy or of a part: `f.llvm.123`, `f.isra.0`, `f_1`.
fn is_copy(copy: &str, name: &str) -> bool {
    let Some(suffix) = copy.strip_prefix(name).filter(|_| !name.is_empty()) else { return false };
    suffix.starts_with('.') || suffix.strip_prefix('_').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a mangled name contains a word: between characters that are no letters, or behind its length.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| {
        let (before, after) = (&name[..at], &name[at + word.len()..]);
        let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        before.ends_with(&word.len().to_string())
            || is_apart(before.chars().next_back()) && is_apart(after.chars().next())
    })
}

/// Whether a name is one that compilers give to `main`.
fn is_main(name: &str, source: &str) -> bool {
    source == "main" && matches!(name, "__main_argc_argv" | "__main_void" | "__original_main" | "_main")
}

/// The last segment of a qualified name, without template arguments, white space and the marks of a closure.
fn last_segment(path: &str) -> String {
    let mut depth = 0i32;
    let mut start = 0;
    let mut end = path.len();
    let bytes = path.as_bytes();
    let is_operator = path.rfind("operator").filter(|at| !path[*at..].contains("::"));
    if let Some(at) = is_operator {
        let symbol: String = path[at..].chars().filter(|c| !c.is_whitespace()).collect();
        return symbol;
    }
    for (at, byte) in path.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => {
                if depth == 0 && byte == b'<' && at > start {
                    end = at;
                }
                depth += 1;
            }
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' | b')' | b']' | b'}' => depth -= 1,
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => (start, end) = (at + 2, path.len()),
            b'.' if depth == 0 && at + 1 < path.len() && !path.contains("::") => (start, end) = (at + 1, path.len()),
            _ => {}
        }
    }
    // `f::<T>`: the arguments of a Rust function are a segment.
    if path[start..end].is_empty() || path[start..].starts_with('<') {
        let front = path[..start].trim_end_matches("::");
        return if front.is_empty() { path.to_owned() } else { last_segment(front) };
    }
    path[start..end].split("[abi:").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(name: &str, short: &str, line: u32) -> Subprogram {
        Subprogram {
            name: Some(name.into()),
            short_name: Some(short.into()),
            file: Some("f".into()),
            line: Some(line),
            ..Default::default()
        }
    }

    fn settled(names: &[Option<&str>], claims: &[(u32, Subprogram)]) -> Vec<Option<u32>> {
        let mut all = Claims::new(names);
        for (func, claim) in claims {
            if all.wants(FuncIdx(*func)) {
                all.add(FuncIdx(*func), claim.clone());
            }
        }
        let described = || {
            let mut described = Described::default();
            claims.iter().for_each(|(_, claim)| _ = described.add(claim));
            described
        };
        let settled = all.settle(described).subprograms;
        (0..names.len() as u32).map(|func| settled.get(&FuncIdx(func))?.line).collect()
    }

    #[test]
    fn a_name_refutes_a_claim_if_names_confirm_others() {
        let names = [Some("work"), Some("dlmalloc"), None];
        let claims =
            [(0, claim("work", "work", 1)), (1, claim("increment", "increment", 2)), (2, claim("other", "other", 3))];
        assert_eq!(settled(&names, &claims), [Some(1), None, Some(3)]);
        assert_eq!(settled(&[Some("a"), Some("b"), None], &claims), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn of_stale_debug_information_only_names_count() {
        let names = [Some("a"), Some("b"), Some("c"), None];
        let claims =
            [(0, claim("b", "b", 1)), (1, claim("c", "c", 2)), (2, claim("d", "d", 3)), (3, claim("e", "e", 4))];
        assert_eq!(settled(&names, &claims), [None, Some(1), Some(2), None]);
    }

    #[test]
    fn of_several_claims_the_one_with_the_functions_name_counts() {
        let names = [Some("second")];
        let claims = [(0, claim("first", "first", 1)), (0, claim("second", "second", 2))];
        assert_eq!(settled(&names, &claims), [Some(2)]);
    }

    #[test]
    fn names_agree_however_they_are_written() {
        for (name, linkage, short) in [
            ("_ZN3app1fEi", "_ZN3app1fEi", "f"),
            ("app::f(int)", "_ZN3app1fEi", "f"),
            ("void app::Op::apply<int>(int)", "_ZN3app2Op5applyIiEEvT_", "apply<int>"),
            ("app::operator<<(int)", "app::operator<< ", "operator<<"),
            ("app::run::h0123456789abcdef", "_ZN3app3run17h0123456789abcdefE", "run"),
            ("app::gene::<u8>", "_RINvCs7qp2U7fqm6G_7mycrate4genehE", "gene<u8>"),
            ("app::run::{{closure}}", "_ZN3app3run28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "{closure#0}"),
            ("f.llvm.123", "f", "f"),
            ("f_1", "f", "f"),
            ("__main_argc_argv", "main", "main"),
            ("fmt.format__anon_7", "fmt.format__anon_7", "format__anon_7"),
            ("main.(*T).M", "main.(*T).M", "M"),
        ] {
            assert_ne!(Name::of(name).agrees(&claim(linkage, short, 1)), Agreement::None, "{name} {linkage}");
        }
        for (name, linkage, short) in [
            ("dlmalloc", "increment", "increment"),
            ("mainGtU", "main", "main"),
            ("f", "f2", "f2"),
            ("a::f()", "a::g()", "g"),
        ] {
            assert_eq!(Name::of(name).agrees(&claim(linkage, short, 1)), Agreement::None, "{name} {linkage}");
        }
    }
}
