//! Rules for the functions of a recording, which has their labels but not their module.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use super::groups::Group;
use super::origin::{Origin, Origins, is_alloc};
use super::rules::{Rules, Test};
use super::{Candidate, Reason, decide, unmatched_rule};
use crate::module::FuncIdx;
use crate::warning::Warning;
use wasmtrace_abi::demangle::core_module;
use wasmtrace_abi::error::{Error, ErrorKind, Result};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::label::{Category, Label, Source};

/// Applies rules to the functions of a recording. Returns the selected ones, and a warning for each rule that matches no
/// function.
///
/// # Errors
/// [`ErrorKind::Rule`] if a rule needs the module: kind `export`, the groups `@exports`, `@tiny` and `@leaf`, a minimum
/// size.
pub fn select_recorded(labels: &BTreeMap<ProbeId, Label>, rules: &Rules) -> Result<(BTreeSet<ProbeId>, Vec<Warning>)> {
    for (place, rule) in rules.rules.iter().enumerate() {
        if matches!(rule.test, Test::Export(_) | Test::Group(Group::Exports | Group::Tiny | Group::Leaf)) {
            let rule = rules.text(place).unwrap_or_default();
            let message = format!("the rule `{rule}` needs the module: a recording has names and source files only");
            return Err(Error::new(ErrorKind::Rule, message));
        }
    }
    if rules.min_size.is_some() {
        let message = "a minimum size needs the module: a recording has names and source files only";
        return Err(Error::new(ErrorKind::Rule, message));
    }
    let functions: Vec<Function> = labels.iter().map(|(id, label)| Function::of(*id, label)).collect();
    let origins = Origins::of_labels(functions.iter().map(|function| &function.label));
    let begin = (rules.selects_initially(), Reason::Default);
    let mut matched = vec![false; rules.rules.len()];
    let mut selected = BTreeSet::new();
    for function in &functions {
        if decide(&function.candidate(&origins), rules, begin, &mut matched).0 {
            selected.insert(function.id);
        }
    }
    let unmatched = (0..matched.len()).filter(|place| !matched[*place]);
    Ok((selected, unmatched.filter_map(|place| unmatched_rule(rules, place)).collect()))
}

/// The category of each function, by conventions of toolchains for names and source files. A wrong guess gives a function
/// another colour.
pub fn categories(labels: &BTreeMap<ProbeId, Label>) -> BTreeMap<ProbeId, Category> {
    let functions: Vec<Function> = labels.iter().map(|(id, label)| Function::of(*id, label)).collect();
    let origins = Origins::of_labels(functions.iter().map(|function| &function.label));
    let category = |Function { label, .. }: &Function| {
        let name = label.demangled();
        if label.source == Source::Import {
            return Category::Host;
        }
        if is_alloc(&name) {
            return Category::Alloc;
        }
        match origins.origin(label, &name) {
            Origin::Std => Category::Std,
            Origin::Dependency => Category::Dependency,
            Origin::App => Category::Program,
        }
    };
    functions.iter().map(|function| (function.id, category(function))).collect()
}

/// A function of a recording.
struct Function {
    id: ProbeId,
    /// Its label in its core module.
    label: Label,
    /// The name of the core module, in a component.
    module: String,
}

impl Function {
    fn of(id: ProbeId, label: &Label) -> Function {
        let (module, name) = match core_module(&label.name) {
            Some((module, name)) => (module.to_owned(), name.into()),
            None => (String::new(), label.name.clone()),
        };
        Function { id, label: Label { name, ..label.clone() }, module }
    }

    fn candidate<'s>(&'s self, origins: &'s Origins) -> Candidate<'s> {
        // The label of an import is `module.name`.
        let import = self.label.name.rsplit_once('.').map_or(&*self.label.name, |(_, name)| name);
        Candidate {
            func: FuncIdx(self.label.index.unwrap_or(self.id.0)),
            label: &self.label,
            demangled: OnceCell::new(),
            exports: &[],
            import: Some(import).filter(|_| self.label.source == Source::Import),
            size: None,
            origins,
            module: &self.module,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> BTreeMap<ProbeId, Label> {
        let label = |name: &str, file: Option<&str>, source| Label {
            name: name.into(),
            file: file.map(Into::into),
            line: None,
            source,
            index: None,
            language: None,
        };
        let all = [
            label("app::run", Some("src/main.rs"), Source::NameSection),
            label("core::fmt::write", None, Source::NameSection),
            label("malloc", None, Source::NameSection),
            label("serde::de", Some("/x/registry/src/index-1/serde-1.0.0/src/de.rs"), Source::NameSection),
            label("wasi_snapshot_preview1.fd_write", None, Source::Import),
            label("lib!_ZN3geo4areaEi", None, Source::NameSection),
        ];
        (0..).map(ProbeId).zip(all).collect()
    }

    fn selected(rules: &[&str]) -> Vec<u32> {
        let mut parsed = Rules::default();
        rules.iter().for_each(|rule| parsed.push(rule).unwrap());
        select_recorded(&labels(), &parsed).unwrap().0.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn rules_select_what_they_select_in_a_module() {
        assert_eq!(selected(&["-@std"]), [0, 3, 4, 5]);
        assert_eq!(selected(&["app::**", "import:fd_write"]), [0, 4]);
        assert_eq!(selected(&["module:lib", "crate:serde"]), [3, 5]);
        assert_eq!(selected(&["geo::area", "idx:0"]), [0, 5]);
        assert_eq!(selected(&["file:src/main.rs"]), [0]);
        assert_eq!(selected(&["@imports", "@alloc"]), [2, 4]);
    }

    #[test]
    fn rules_that_need_the_module_are_refused() {
        for rule in ["export:f", "-@tiny", "@leaf", "@exports"] {
            let mut rules = Rules::default();
            rules.push(rule).unwrap();
            let refused = select_recorded(&labels(), &rules).unwrap_err();
            assert!(refused.to_string().contains("needs the module"), "{refused}");
        }
    }

    #[test]
    fn a_rule_that_matches_nothing_is_a_warning() {
        let mut rules = Rules::default();
        rules.push("nobody").unwrap();
        assert_eq!(select_recorded(&labels(), &rules).unwrap().1.len(), 1);
    }

    #[test]
    fn each_function_has_a_category() {
        use Category::*;
        let all: Vec<Category> = categories(&labels()).into_values().collect();
        assert_eq!(all, [Program, Std, Alloc, Dependency, Host, Program]);
    }
}
