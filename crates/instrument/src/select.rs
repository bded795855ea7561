//! The third stage of the compiler: applies rules to labels. The result is a [`Plan`]: which functions are hooked, and by
//! which rule.
//!
//! A rule is `[+|-][kind:]pattern`; without a sign it is `+`. For each function, the last matching rule wins. If the first
//! rule is `+`, no function is selected initially; otherwise all functions with a body are, except bindings to the manual
//! API.
//!
//! | kind | matched text |
//! |---|---|
//! | `fn` (default) | the demangled name, with and without its arguments; of a thunk, also the name of its function |
//! | `raw` | the name in the module, possibly mangled |
//! | `file` | the path of the source file, or a suffix of it that begins after a `/` |
//! | `crate` | the first segment of a Rust or C++ path, the package of a Go name |
//! | `export` | the names that the function is exported under |
//! | `import` | `module.name` or `name` of an imported function (only with [`Rules::imports`]) |
//! | `module` | the name of the module; in a component, of the core module |
//! | `idx` | its index in the input: `12`, `30..40` (without 40), `30..=40` |
//! | `lang` | `rust`, `c`, `c++`, `go`, `zig`, `assemblyscript` |
//! | `group` | `@app`, `@user`, `@std`, `@alloc`, `@exports`, `@imports`, `@tiny`, `@leaf` (the kind is optional) |
//!
//! In a pattern, `*` matches anything without `::`, `.` and `/`, and `**` matches everything. All other characters are
//! literal, since names contain `{`, `[` and `?`. `=name` is an exact name, `/re/` a regular expression that may match
//! anywhere.

use crate::warning::{Warning, WarningKind};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;

use crate::label::{Labels, is_manual_api};
use crate::module::{FuncIdx, Module, names};
use wasmtrace_abi::demangle::{qualified, without_arguments};
use wasmtrace_abi::hook::is_hook_import;
use wasmtrace_abi::label::Label;

mod groups;
mod libraries;
mod origin;
mod package;
mod recorded;
mod rules;
mod size;

pub use groups::Group;
pub use recorded::{categories, select_recorded};
pub use rules::{Preset, Rule, Rules};
pub use size::{Size, sizes};

use origin::Origins;
use rules::Test;

/// The selection: which functions are hooked, and the reason for each.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    hooked: Vec<FuncIdx>,
    imports: Vec<FuncIdx>,
    first_defined: u32,
    reasons: Vec<Reason>,
    import_reasons: BTreeMap<FuncIdx, Reason>,
    /// The positions of the rules that match no function, counted from 0.
    pub(crate) unmatched: Vec<usize>,
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

impl Summary {
    /// The sum of several summaries, for the modules of a component.
    pub fn of_all<'s>(summaries: impl Iterator<Item = &'s Summary>) -> Summary {
        let mut all = Summary::default();
        for Summary { functions, selected, left_out } in summaries {
            all.functions += functions;
            all.selected += selected;
            left_out.iter().for_each(|(reason, count)| *all.left_out.entry(*reason).or_default() += count);
        }
        all
    }
}

/// The reason why a function is hooked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No rule matches the function.
    Default,
    /// The rule at this position, counted from 0, is the last that matches the function.
    Rule(usize),
    /// The function is smaller than the minimum size.
    TooSmall,
    /// The function is part of a binding to the manual API, and no rule selects it.
    Helper,
    /// The function is imported, and imported functions are not hooked.
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

    /// How many functions are hooked, and how many each rule excludes.
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

/// A function with the properties that rules match, computed once for all rules.
struct Candidate<'s> {
    func: FuncIdx,
    label: &'s Label,
    demangled: OnceCell<Cow<'s, str>>,
    exports: &'s [&'s str],
    /// The field name of an imported function.
    import: Option<&'s str>,
    size: Option<Size>,
    origins: &'s Origins,
    /// The name of the module.
    module: &'s str,
}

impl Candidate<'_> {
    /// Computed on demand: demangling costs more than matching.
    fn demangled(&self) -> &str {
        self.demangled.get_or_init(|| self.label.demangled())
    }

    fn passes(&self, test: &Test) -> bool {
        match test {
            Test::Name(p) => {
                let name = self.demangled();
                p.matches(name) || p.matches(without_arguments(name)) || p.matches(qualified(name))
            }
            Test::Raw(p) => p.matches(&self.label.name),
            Test::File(p) => self.label.file.as_deref().is_some_and(|f| p.matches(f)),
            Test::Crate(p) => package::package(self.demangled()).is_some_and(|c| p.matches(c)),
            Test::Import(p) => self.import.is_some_and(|name| p.matches(name) || p.matches(&self.label.name)),
            Test::Export(p) => self.exports.iter().any(|e| p.matches(e)),
            Test::Module(p) => p.matches(self.module),
            Test::Index(range) => range.contains(&self.func.0),
            Test::Lang(p) => origin::language(self.label).is_some_and(|l| p.matches(l)),
            Test::Group(Group::Exports) => !self.exports.is_empty(),
            Test::Group(Group::Imports) => self.import.is_some(),
            Test::Group(group) => group.contains(self.label, self.demangled(), self.origins, self.size),
        }
    }
}

/// Applies the rules to every function that has a body in this module.
pub fn select(module: &Module<'_>, labels: &Labels, rules: &Rules) -> Plan {
    select_in(module, labels, rules, names::module_name(module).unwrap_or_default())
}

/// The warning that the rule at this position matches no function. Rules of presets may match nothing.
pub(crate) fn unmatched_rule(rules: &Rules, place: usize) -> Option<Warning> {
    let rule = rules.rules.get(place).filter(|rule| !rule.may_miss)?;
    let message = format!("the selection rule `{}` matches no function", rule.text);
    Some(Warning::new(WarningKind::Rule, message))
}

/// Applies the rules like [`select`], to a module of that name.
pub(crate) fn select_in(module: &Module<'_>, labels: &Labels, rules: &Rules, name: &str) -> Plan {
    let mut exports: Vec<Vec<&str>> = vec![Vec::new(); module.func_count() as usize];
    for (name, func) in module.exports() {
        exports[func.0 as usize].push(name);
    }
    let needs_size = rules.min_size.is_some()
        || rules.rules.iter().any(|r| matches!(r.test, Test::Group(Group::Tiny | Group::Leaf)));
    let sizes = if needs_size { sizes(module) } else { Vec::new() };
    let needs_origins = |rule: &Rule| matches!(rule.test, Test::Group(group) if group.needs_origins());
    let origins = match rules.rules.iter().any(needs_origins) {
        true => Origins::of(module, labels),
        false => Origins::default(),
    };
    let start = rules.selects_initially();

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
        let candidate = Candidate {
            func,
            label,
            demangled: OnceCell::new(),
            exports: &exports[func.0 as usize],
            import: import.map(|import| import.name),
            size: (func.0 as usize).checked_sub(first).and_then(|position| sizes.get(position).copied()),
            origins: &origins,
            module: name,
        };
        let begin = match is_manual_api(label) {
            true => (false, Reason::Helper),
            false => (start, Reason::Default),
        };
        let (hooked, reason) = decide(&candidate, rules, begin, &mut matched);
        match import {
            None => plan.reasons.push(reason),
            Some(_) => drop(plan.import_reasons.insert(func, reason)),
        }
        if hooked {
            if import.is_some() { &mut plan.imports } else { &mut plan.hooked }.push(func);
        }
    }
    plan.unmatched = (0..matched.len()).filter(|place| !matched[*place]).collect();
    plan.warnings = plan.unmatched.iter().filter_map(|place| unmatched_rule(rules, *place)).collect();
    plan
}

/// Decides whether a function is selected, and why. `begin` is the decision before the first rule; `matched` collects the
/// rules that match.
fn decide(candidate: &Candidate<'_>, rules: &Rules, begin: (bool, Reason), matched: &mut [bool]) -> (bool, Reason) {
    let (mut hooked, mut reason) = begin;
    for (place, rule) in rules.rules.iter().enumerate() {
        if candidate.passes(&rule.test) {
            matched[place] = true;
            (hooked, reason) = (rule.include, Reason::Rule(place));
        }
    }
    match (rules.min_size, candidate.size) {
        (Some(min), Some(size)) if hooked && size.operators < min && !size.has_loop => (false, Reason::TooSmall),
        _ => (hooked, reason),
    }
}
