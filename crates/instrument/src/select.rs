//! The third stage of the compiler: applies rules to labels. The result is a [`Plan`]: which functions are hooked, and by
//! which rule.
//!
//! A rule is `[+|-][kind:]pattern`; without a sign it is `+`. For each function, the last matching rule wins. If the first
//! rule is `+`, no function is selected initially; otherwise all functions with a body are, except bindings to the manual
//! API.
//!
//! | kind | matched text |
//! |---|---|
//! | `fn` (default) | the demangled name, with and without its arguments |
//! | `raw` | the name in the module, possibly mangled |
//! | `file` | the path of the source file, or a suffix of it that begins after a `/` |
//! | `crate` | the first segment of a Rust or C++ path, the package of a Go name |
//! | `export` | the names that the function is exported under |
//! | `import` | `module.name` or `name` of an imported function (only with [`Rules::imports`]) |
//! | `idx` | its index in the input: `12`, `30..40` (without 40), `30..=40` |
//! | `lang` | `rust`, `c`, `c++`, `go`, `zig`, `assemblyscript` |
//! | `group` | `@user`, `@std`, `@alloc`, `@exports`, `@imports`, `@tiny`, `@leaf` (the kind is optional) |
//!
//! In a pattern, `*` matches anything without `::`, `.` and `/`, and `**` matches everything. All other characters are
//! literal, since names contain `{`, `[` and `?`. `=name` is an exact name, `/re/` a regular expression that may match
//! anywhere.

use crate::warning::{Warning, WarningKind};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::label::{Labels, is_manual_api};
use crate::module::{FuncIdx, FuncImport, Module};
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::is_hook_import;
use wasmtrace_abi::label::Label;

mod groups;
mod size;

pub use groups::Group;
pub use size::{Size, sizes};

/// The selection: which functions are hooked, and the reason for each.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    hooked: Vec<FuncIdx>,
    imports: Vec<FuncIdx>,
    first_defined: u32,
    reasons: Vec<Reason>,
    import_reasons: BTreeMap<FuncIdx, Reason>,
    /// One warning for each rule that matches no function.
    pub warnings: Vec<Warning>,
}

/// The result of a selection in numbers. Imported functions count if they can be hooked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of functions.
    pub functions: usize,
    /// Number of functions to be hooked.
    pub selected: usize,
    /// Number of excluded functions for each reason.
    pub left_out: BTreeMap<Reason, usize>,
}

/// The reason why a function is hooked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No rule matches it.
    Default,
    /// The rule at this position matches it.
    Rule(usize),
    /// It is smaller than the minimum size.
    TooSmall,
    /// It is part of a binding to the manual API, and no rule selects it.
    Helper,
    /// It is imported, and imported functions are not hooked.
    Imported,
}

impl Plan {
    /// Selects every function that has a body in this module.
    pub fn all(module: &Module<'_>) -> Self {
        let hooked: Vec<FuncIdx> = module.defined_funcs().collect();
        let reasons = vec![Reason::Default; hooked.len()];
        Plan { hooked, first_defined: module.imported_funcs().len() as u32, reasons, ..Default::default() }
    }

    /// Whether no function is hooked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of hooked functions, including imported ones.
    pub fn len(&self) -> usize {
        self.hooked.len() + self.imports.len()
    }

    /// Whether the function is hooked.
    pub fn contains(&self, func: FuncIdx) -> bool {
        // Usually all or nearly all functions are hooked, so the position in a complete list is a good guess.
        let guess = func.0.checked_sub(self.first_defined).and_then(|place| self.hooked.get(place as usize));
        guess == Some(&func) || self.hooked.binary_search(&func).is_ok() || self.imports.binary_search(&func).is_ok()
    }

    /// The hooked imported functions, by ascending index. They get trampolines.
    pub fn imports(&self) -> impl Iterator<Item = FuncIdx> + '_ {
        self.imports.iter().copied()
    }

    /// The hooked functions with a body, by ascending index.
    pub fn iter(&self) -> impl Iterator<Item = FuncIdx> + '_ {
        self.hooked.iter().copied()
    }

    /// The plan without some functions, given by ascending index.
    pub(crate) fn without(&self, funcs: &[FuncIdx]) -> Plan {
        let mut plan = self.clone();
        plan.hooked.retain(|func| funcs.binary_search(func).is_err());
        plan
    }

    /// The numbers of this selection.
    pub fn summary(&self) -> Summary {
        let own = (self.first_defined..).map(FuncIdx).zip(self.reasons.iter().copied());
        let imported = self.import_reasons.iter().map(|(func, reason)| (*func, *reason));
        let mut summary = Summary { selected: self.len(), ..Default::default() };
        for (func, reason) in own.chain(imported) {
            summary.functions += 1;
            if !self.contains(func) {
                *summary.left_out.entry(reason).or_default() += 1;
            }
        }
        summary
    }

    /// The reason why the function is hooked or not.
    pub fn reason(&self, func: FuncIdx) -> Reason {
        match func.0.checked_sub(self.first_defined) {
            Some(position) => self.reasons.get(position as usize).copied().unwrap_or(Reason::Default),
            None => self.import_reasons.get(&func).copied().unwrap_or(Reason::Imported),
        }
    }
}

/// Selection rules in order.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Also hook imported functions, through trampolines; never the hooks and the manual API.
    pub imports: bool,
    /// Exclude functions with fewer operators, unless they contain a loop.
    pub min_size: Option<u32>,
}

/// Predefined sets of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// For hosts where each event is expensive (about 400 ns with the Observe SDK). Selects the program's own functions
    /// except tiny ones, and all exports. Excludes the language's standard library and the allocator.
    Hosted,
}

impl Preset {
    /// The names of all presets.
    pub const NAMES: [&str; 1] = ["hosted"];

    /// The preset with that name.
    pub fn from_name(name: &str) -> Option<Preset> {
        (name == "hosted").then_some(Preset::Hosted)
    }

    /// The rules of the preset, in order.
    pub fn rules(self) -> &'static [&'static str] {
        match self {
            Preset::Hosted => &["-@std", "-@alloc", "-@tiny", "+@exports"],
        }
    }
}

/// A parsed rule.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    include: bool,
    test: Test,
    /// Whether the rule may match nothing without a warning, because it is part of a preset.
    may_miss: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Name(Pattern),
    Raw(Pattern),
    File(Pattern),
    Crate(Pattern),
    Export(Pattern),
    Import(Pattern),
    Index(std::ops::Range<u32>),
    Lang(Pattern),
    Group(Group),
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Regex(Regex),
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        match self {
            Pattern::Exact(exact) => exact == text,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

impl Rules {
    /// Adds a rule after the others.
    ///
    /// # Errors
    /// [`ErrorKind::Rule`] if the text is not a rule.
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.rules.push(Rule::parse(text)?);
        Ok(())
    }

    /// Adds the rules of a preset.
    pub fn push_preset(&mut self, preset: Preset) {
        for text in preset.rules() {
            let rule = Rule::parse(text).expect("a preset's rules are rules");
            self.rules.push(Rule { may_miss: true, ..rule });
        }
    }

    /// Adds rules from a text with one rule per line. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    /// [`ErrorKind::Rule`] with the number of the line.
    pub fn push_lines(&mut self, text: &str) -> Result<()> {
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                self.push(line).map_err(|e| Error::new(ErrorKind::Rule, format!("line {}: {e}", i + 1)))?;
            }
        }
        Ok(())
    }

    /// The text of the rule at this position.
    pub fn text(&self, place: usize) -> Option<&str> {
        self.rules.get(place).map(|r| r.text.as_str())
    }

    /// Whether there are neither rules nor a minimum size.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.min_size.is_none() && !self.imports
    }
}

impl Rule {
    /// Parses `[+|-][kind:]pattern`.
    fn parse(text: &str) -> Result<Rule> {
        let bad = |why: &str| Error::new(ErrorKind::Rule, format!("invalid selection rule `{text}`: {why}"));
        let (include, rest) = match text.as_bytes().first() {
            Some(b'-') => (false, &text[1..]),
            Some(b'+') => (true, &text[1..]),
            _ => (true, text),
        };
        if rest.is_empty() {
            return Err(bad("the pattern is missing"));
        }
        // `crate::f` is a name; `crate:f` is the crate f.
        let (kind, pattern) = match rest.split_once(':') {
            Some((kind, pattern)) if !pattern.starts_with(':') && is_word(kind) => (kind, pattern),
            _ if rest.starts_with('@') => ("group", rest),
            _ => ("fn", rest),
        };
        let test = match kind {
            "fn" => Test::Name(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            "raw" => Test::Raw(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            "file" => Test::File(Pattern::parse(pattern, true).map_err(|e| bad(&e))?),
            "crate" => Test::Crate(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            "export" => Test::Export(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            "lang" => Test::Lang(Pattern::parse(&pattern.to_lowercase(), false).map_err(|e| bad(&e))?),
            "idx" => Test::Index(parse_range(pattern).ok_or_else(|| bad("expected an index or a range like 30..40"))?),
            "group" => {
                Test::Group(Group::from_name(pattern).ok_or_else(|| {
                    bad(&format!("unknown group {pattern}; the groups are {}", Group::NAMES.join(", ")))
                })?)
            }
            "import" => Test::Import(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            _ => {
                return Err(bad(&format!(
                    "unknown kind `{kind}`; the kinds are fn, raw, file, crate, export, import, idx, lang, group"
                )));
            }
        };
        Ok(Rule { text: text.to_owned(), include, test, may_miss: false })
    }
}

/// Whether a text may be a kind: lower-case letters only. (`C:f` is not one, because of its capital.)
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase())
}

impl Pattern {
    /// Parses a pattern. With `any_end`, it may match a suffix that begins after a `/`.
    fn parse(text: &str, any_end: bool) -> std::result::Result<Pattern, String> {
        if let Some(exact) = text.strip_prefix('=') {
            return Ok(Pattern::Exact(exact.to_owned()));
        }
        let regex = match text.strip_prefix('/').and_then(|t| t.strip_suffix('/')) {
            Some(regex) if !regex.is_empty() => regex.to_owned(),
            _ => glob(text, any_end),
        };
        Regex::new(&regex).map(Pattern::Regex).map_err(|e| e.to_string())
    }
}

/// Translates a glob into a regular expression over the whole text.
fn glob(text: &str, any_end: bool) -> String {
    let mut regex = String::from(if any_end { "(?s)^(?:|.*/)" } else { "(?s)^" });
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '*' {
            regex.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
        } else if chars.next_if_eq(&'*').is_some() {
            regex.push_str(".*");
        } else {
            // Anything without `.`, `/` and `::`. A single colon is allowed.
            regex.push_str("(?:[^:./]|:[^:./])*");
        }
    }
    regex.push('$');
    regex
}

fn parse_range(text: &str) -> Option<std::ops::Range<u32>> {
    let number = |t: &str| t.trim().parse::<u32>().ok();
    if let Some((from, to)) = text.split_once("..=") {
        return Some(number(from)?..number(to)?.checked_add(1)?);
    }
    if let Some((from, to)) = text.split_once("..") {
        return Some(number(from)?..number(to)?);
    }
    let one = number(text)?;
    Some(one..one.checked_add(1)?)
}

/// The properties of a function that rules match, computed once for all rules.
struct RunInfo<'s> {
    func: FuncIdx,
    label: &'s Label,
    demangled: OnceCell<Cow<'s, str>>,
    exports: &'s [&'s str],
    import: Option<&'s FuncImport<'s>>,
    size: Option<Size>,
}

impl RunInfo<'_> {
    /// Computed on demand: demangling costs more than matching.
    fn demangled(&self) -> &str {
        self.demangled.get_or_init(|| self.label.demangled())
    }

    fn passes(&self, test: &Test) -> bool {
        match test {
            Test::Name(p) => p.matches(self.demangled()) || p.matches(without_arguments(self.demangled())),
            Test::Raw(p) => p.matches(&self.label.name),
            Test::File(p) => self.label.file.as_deref().is_some_and(|f| p.matches(f)),
            Test::Crate(p) => groups::package(self.demangled()).is_some_and(|c| p.matches(c)),
            Test::Import(p) => self.import.is_some_and(|i| p.matches(i.name) || p.matches(&self.label.name)),
            Test::Export(p) => self.exports.iter().any(|e| p.matches(e)),
            Test::Index(range) => range.contains(&self.func.0),
            Test::Lang(p) => groups::language(self.label).is_some_and(|l| p.matches(l)),
            Test::Group(Group::Exports) => !self.exports.is_empty(),
            Test::Group(Group::Imports) => self.import.is_some(),
            Test::Group(group) => group.contains(self.label, || self.demangled(), self.size),
        }
    }
}

/// Applies the rules to every function that has a body in this module.
pub fn select(module: &Module<'_>, labels: &Labels, rules: &Rules) -> Plan {
    let mut exports: Vec<Vec<&str>> = vec![Vec::new(); module.func_count() as usize];
    for (name, func) in module.exports() {
        exports[func.0 as usize].push(name);
    }
    let needs_size = rules.min_size.is_some()
        || rules.rules.iter().any(|r| matches!(r.test, Test::Group(Group::Tiny | Group::Leaf)));
    let sizes = if needs_size { sizes(module) } else { Vec::new() };
    let start = rules.rules.first().is_none_or(|r| !r.include);

    let mut plan = Plan { first_defined: module.imported_funcs().len() as u32, ..Default::default() };
    let mut matched = vec![false; rules.rules.len()];
    let first = module.imported_funcs().len();
    // A module without functions of its own calls nothing and has no place for trampolines.
    let imports = rules.imports && first < module.func_count() as usize;
    for (func, label) in labels.iter() {
        let import = module.imported_funcs().get(func.0 as usize);
        let hookable = match import {
            Some(import) => imports && !is_hook_import(import.module, import.name) && !is_manual_api(label),
            None => true,
        };
        if !hookable {
            continue;
        }
        let subject = RunInfo {
            func,
            label,
            demangled: OnceCell::new(),
            exports: &exports[func.0 as usize],
            import,
            size: (func.0 as usize).checked_sub(first).and_then(|position| sizes.get(position).copied()),
        };
        let (hooked, reason) = decide(&subject, rules, start, &mut matched);
        match import {
            None => plan.reasons.push(reason),
            Some(_) => drop(plan.import_reasons.insert(func, reason)),
        }
        if hooked {
            if import.is_some() { &mut plan.imports } else { &mut plan.hooked }.push(func);
        }
    }
    for (rule, matched) in rules.rules.iter().zip(matched) {
        if !matched && !rule.may_miss {
            plan.warnings.push(Warning::new(
                WarningKind::Rule,
                format!("the selection rule `{}` matches no function", rule.text),
            ));
        }
    }
    plan
}

/// Decides whether a function is hooked, and why. `matched` collects the rules that match.
fn decide(subject: &RunInfo<'_>, rules: &Rules, start: bool, matched: &mut [bool]) -> (bool, Reason) {
    let (mut hooked, mut reason) = match is_manual_api(subject.label) {
        true => (false, Reason::Helper),
        false => (start, Reason::Default),
    };
    for (place, rule) in rules.rules.iter().enumerate() {
        if subject.passes(&rule.test) {
            matched[place] = true;
            (hooked, reason) = (rule.include, Reason::Rule(place));
        }
    }
    match (rules.min_size, subject.size) {
        (Some(min), Some(size)) if hooked && size.operators < min && !size.has_loop => (false, Reason::TooSmall),
        _ => (hooked, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::parse(pattern, false).unwrap().matches(text)
    }

    #[test]
    fn one_star_stops_at_separators_and_two_cross_them() {
        assert!(matches("app::*", "app::run"));
        assert!(!matches("app::*", "app::db::open"));
        assert!(matches("app::**", "app::db::open"));
        assert!(matches("main.*", "main.fib"));
        assert!(!matches("main.*", "main.(*T).M"));
        assert!(matches("**", ""));
    }

    #[test]
    fn characters_that_names_contain_stand_for_themselves() {
        assert!(matches("app::run::{{closure}}", "app::run::{{closure}}"));
        assert!(matches("*::operator[]", "Map::operator[]"));
        assert!(matches("<T as Trait>::f", "<T as Trait>::f"));
        assert!(matches("main.(*T).M", "main.(*T).M"));
        assert!(!matches("main.(*T).M", "main.(T).M.x"));
    }

    #[test]
    fn kinds_are_told_from_paths() {
        assert!(matches!(Rule::parse("crate:serde").unwrap().test, Test::Crate(_)));
        assert!(matches!(Rule::parse("crate::f").unwrap().test, Test::Name(_)));
        assert!(matches!(Rule::parse("-@std").unwrap().test, Test::Group(Group::Std)));
        assert!(Rule::parse("nokind:x").is_err() && Rule::parse("-").is_err() && Rule::parse("@nogroup").is_err());
        assert!(Rule::parse("/(/").is_err() && Rule::parse("idx:x").is_err());
    }

    #[test]
    fn a_file_matches_by_any_end_of_its_path() {
        let p = Pattern::parse("src/*.rs", true).unwrap();
        assert!(p.matches("./src/main.rs") && p.matches("src/main.rs") && p.matches("/home/x/src/main.rs"));
        assert!(!p.matches("src/db/open.rs") && !p.matches("xsrc/main.rs"));
    }
}
