//! The third stage: rules + labels → [`Plan`], which functions are hooked and which rule decided it.
//!
//! A rule is `[+|-][kind:]pattern`; without a sign it is `+`. Rules are read in order and the last that matches a
//! function wins. If the first rule is `+`, nothing is hooked to begin with; else everything that has a body here,
//! except bindings to the manual API.
//!
//! | kind | what the pattern is held against |
//! |---|---|
//! | `fn` (default) | the demangled name, with and without its arguments |
//! | `raw` | the name as it stands in the module |
//! | `file` | the source file, or any end of it that begins after a `/` |
//! | `crate` | the first segment of a Rust or C++ path, the package of a Go name |
//! | `export` | the names that the function is exported under |
//! | `import` | of an imported function, `module.name` or `name` (with [`Rules::imports`] only) |
//! | `idx` | its index in the input: `12`, `30..40` (without 40), `30..=40` |
//! | `lang` | `rust`, `c`, `c++`, `go`, `zig`, `assemblyscript` |
//! | `group` | `@user`, `@std`, `@alloc`, `@exports`, `@imports`, `@tiny`, `@leaf` (the kind can be left out) |
//!
//! In a pattern `*` stops at `::`, `.` and `/`, and `**` crosses them; every other character stands for itself, since
//! names contain `{`, `[` and `?`. `=name` is exact, `/re/` a regular expression that may match anywhere.

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

/// Which functions are hooked, and why.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    hooked: Vec<FuncIdx>,
    imports: Vec<FuncIdx>,
    first_defined: u32,
    reasons: Vec<Reason>,
    import_reasons: BTreeMap<FuncIdx, Reason>,
    /// One sentence for each rule that matched nothing.
    pub warnings: Vec<Warning>,
}

/// What rules came to, in numbers. Imported functions count where they can be hooked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many functions there are.
    pub functions: usize,
    /// How many of them are to be hooked.
    pub selected: usize,
    /// What decided about the others, with how many they are.
    pub left_out: BTreeMap<Reason, usize>,
}

/// What decided whether a function is hooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No rule matched it.
    Default,
    /// The rule at this place.
    Rule(usize),
    /// It is smaller than the minimum.
    TooSmall,
    /// It is part of a binding to the manual API, and no rule says otherwise.
    Helper,
    /// It has no body here, and imported functions are not hooked.
    Imported,
}

impl Plan {
    /// Every function that has a body here.
    pub fn all(module: &Module<'_>) -> Self {
        let hooked: Vec<FuncIdx> = module.defined_funcs().collect();
        let reasons = vec![Reason::Default; hooked.len()];
        Plan { hooked, first_defined: module.imported_funcs().len() as u32, reasons, ..Default::default() }
    }

    /// Whether nothing is hooked.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many functions are hooked, imported ones included.
    pub fn len(&self) -> usize {
        self.hooked.len() + self.imports.len()
    }

    /// Whether the function is hooked.
    pub fn contains(&self, func: FuncIdx) -> bool {
        // Mostly all are hooked, or all but some: then it stands where it would if there were no others.
        let guess = func.0.checked_sub(self.first_defined).and_then(|place| self.hooked.get(place as usize));
        guess == Some(&func) || self.hooked.binary_search(&func).is_ok() || self.imports.binary_search(&func).is_ok()
    }

    /// The imported functions that are hooked, through trampolines, by index.
    pub fn imports(&self) -> impl Iterator<Item = FuncIdx> + '_ {
        self.imports.iter().copied()
    }

    /// The hooked functions that have a body, by index.
    pub fn iter(&self) -> impl Iterator<Item = FuncIdx> + '_ {
        self.hooked.iter().copied()
    }

    /// The plan without some functions, given by ascending index.
    pub(crate) fn without(&self, funcs: &[FuncIdx]) -> Plan {
        let mut plan = self.clone();
        plan.hooked.retain(|func| funcs.binary_search(func).is_err());
        plan
    }

    /// What the rules came to.
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

    /// What decided about the function.
    pub fn reason(&self, func: FuncIdx) -> Reason {
        match func.0.checked_sub(self.first_defined) {
            Some(position) => self.reasons.get(position as usize).copied().unwrap_or(Reason::Default),
            None => self.import_reasons.get(&func).copied().unwrap_or(Reason::Imported),
        }
    }
}

/// Selection rules, in order.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Imported functions are hooked too, through trampolines; but never the hooks and the manual API.
    pub imports: bool,
    /// Functions of fewer operators are not hooked, unless they hold a loop.
    pub min_size: Option<u32>,
}

/// Rules that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// For a host that pays for each event, as those of the Observe SDK do (some 400 ns): what a person would want to see. The
    /// program's own functions, without those that do next to nothing; neither its language's library (formatting, collections)
    /// nor the allocator; but all that it exports.
    Hosted,
}

impl Preset {
    /// What the presets are called.
    pub const NAMES: [&str; 1] = ["hosted"];

    /// The preset of that name.
    pub fn from_name(name: &str) -> Option<Preset> {
        (name == "hosted").then_some(Preset::Hosted)
    }

    /// Its rules, in order.
    pub fn rules(self) -> &'static [&'static str] {
        match self {
            Preset::Hosted => &["-@std", "-@alloc", "-@tiny", "+@exports"],
        }
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    text: String,
    include: bool,
    test: Test,
    /// Whether it may match nothing: nobody wrote it for this module.
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
    /// Adds a rule behind the others.
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

    /// Reads rules, one a line; empty lines and lines that begin with `#` are passed over.
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

    /// The text of the rule at this place.
    pub fn text(&self, place: usize) -> Option<&str> {
        self.rules.get(place).map(|r| r.text.as_str())
    }

    /// Whether there is neither a rule nor a minimum.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.min_size.is_none() && !self.imports
    }
}

impl Rule {
    /// Reads `[+|-][kind:]pattern`.
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
        // `crate::f` is a name, `crate:f` is the crate f.
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

/// A kind is a word of lower-case letters. (`C:f` and `operator:x` are not: the first has a capital, the second is unknown.)
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase())
}

impl Pattern {
    /// `any_end`: the pattern may match a part of the text that begins after a `/` and goes to its end.
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

/// A glob as a regular expression over the whole text.
fn glob(text: &str, any_end: bool) -> String {
    let mut regex = String::from(if any_end { "(?s)^(?:|.*/)" } else { "(?s)^" });
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '*' {
            regex.push_str(&regex_lite::escape(c.encode_utf8(&mut [0; 4])));
        } else if chars.next_if_eq(&'*').is_some() {
            regex.push_str(".*");
        } else {
            // Anything without `.`, `/` and `::`; a single colon is neither.
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

/// What a rule can be held against, for one function; made once, whatever the number of rules.
struct RunInfo<'s> {
    func: FuncIdx,
    label: &'s Label,
    demangled: OnceCell<Cow<'s, str>>,
    exports: &'s [&'s str],
    import: Option<&'s FuncImport<'s>>,
    size: Option<Size>,
}

impl RunInfo<'_> {
    /// Made when a rule asks: it costs more than the rule.
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

/// Applies the rules to every function that has a body here.
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
    // Without a function of its own a module calls nothing, and has no place for trampolines.
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

/// Whether a function is hooked, and why; `matched` learns which rules had a say.
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
