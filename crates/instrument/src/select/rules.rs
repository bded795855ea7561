//! Rules and presets, parsed from text. The head of [`super`] lists the kinds.

use regex_lite::Regex;

use super::groups::Group;
use wasmtrace_abi::error::{Error, ErrorKind, Result};

/// Selection rules in order.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    pub(super) rules: Vec<Rule>,
    /// Also hook imported functions, through trampolines; never the hooks and the manual API.
    pub imports: bool,
    /// Exclude functions with fewer operators, unless they contain a loop.
    pub min_size: Option<u32>,
}

/// Predefined sets of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// For hosts where each event is expensive (about 400 ns with the Observe SDK). Selects the program's own functions
    /// except tiny ones, and all exports. Excludes libraries, other packages and the allocator.
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
            Preset::Hosted => &["-**", "+@app", "-@tiny", "+@exports", "+@imports"],
        }
    }
}

/// A parsed rule.
#[derive(Debug, Clone)]
pub struct Rule {
    pub(super) text: String,
    pub(super) include: bool,
    pub(super) test: Test,
    /// Whether the rule may match nothing without a warning, because it is part of a preset.
    pub(super) may_miss: bool,
}

/// The kind of a rule with its pattern.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Name(Pattern),
    Raw(Pattern),
    File(Pattern),
    Crate(Pattern),
    Export(Pattern),
    Import(Pattern),
    Module(Pattern),
    Index(std::ops::Range<u32>),
    Lang(Pattern),
    Group(Group),
}

#[derive(Debug, Clone)]
pub(super) enum Pattern {
    Exact(String),
    Regex(Regex),
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
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

    /// Whether functions are selected before the first rule.
    pub(super) fn selects_initially(&self) -> bool {
        self.rules.first().is_none_or(|rule| !rule.include)
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
            "module" => Test::Module(Pattern::parse(pattern, false).map_err(|e| bad(&e))?),
            _ => {
                return Err(bad(&format!(
                    "unknown kind `{kind}`; the kinds are fn, raw, file, crate, export, import, module, idx, lang, group"
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
