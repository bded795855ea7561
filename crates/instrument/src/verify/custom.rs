//! Checks the Manifest and the sections `name` and `producers` against computed contents.

use std::iter::Peekable;

use super::Expected;
use super::pair::Pair;
use crate::links::{DEBUG_FILE, SOURCE_MAP};
use crate::module::names::function_names;
use crate::module::{FuncIdx, Section};
use crate::relocate::names::{self, Naming};
use crate::relocate::{encoded, producers};
use crate::restore::SectionChange;
use crate::verify::failure::fail;
use wasmtrace_abi::demangle::demangle;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::label::{Label, Source};
use wasmtrace_abi::manifest::{MANIFEST_SECTION, Manifest, Probe};

pub(super) const NAME: &str = "name";
pub(super) const PRODUCERS: &str = "producers";

/// The custom sections that every instrumented module has, in the order in which they are created.
pub(super) const CREATED: [&str; 2] = [NAME, PRODUCERS];

impl Pair<'_, '_> {
    /// Checks the sections after those of the original. These are sections that the original lacks, in this order:
    /// links, names, producers, the Manifest.
    ///
    /// `created` is the number of created sections found so far. `before` has the names of those that precede a
    /// section of the original. If the Manifest records the number of created sections, the numbers must match.
    pub(super) fn behind<'s>(
        &self,
        mut sections: Peekable<impl Iterator<Item = &'s Section<'s>>>,
        mut created: usize,
        before: &[&str],
        expected: &Expected<'_>,
    ) -> Result<()> {
        for name in [SOURCE_MAP, DEBUG_FILE] {
            let lacks = self.old.custom(name).is_none();
            created += sections.next_if(|s| lacks && s.name == Some(name)).is_some() as usize;
        }
        for name in CREATED.into_iter().filter(|name| self.old.custom(name).is_none() && !before.contains(name)) {
            self.created(name, &mut sections, expected)?;
            created += 1;
        }
        sections.next_if(|s| s.name == Some(MANIFEST_SECTION));
        if let Some(extra) = sections.next() {
            return Err(fail(extra.whole.start, "a section was added"));
        }
        match expected
            .restore
            .map(|restore| restore.changes.iter().filter(|change| **change == SectionChange::Created).count())
        {
            Some(noted) if noted != created => {
                Err(fail(8, "the Manifest records a different number of added sections"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the next section is the one called `name`, which the original lacks.
    pub(super) fn created<'s>(
        &self,
        name: &str,
        sections: &mut Peekable<impl Iterator<Item = &'s Section<'s>>>,
        expected: &Expected<'_>,
    ) -> Result<()> {
        let Some(section) = sections.next_if(|s| s.name == Some(name)) else {
            let at = sections.peek().map_or(self.new.bytes().len(), |s| s.whole.start);
            return Err(fail(at, format!("the section {name} is missing or misplaced")));
        };
        match name {
            NAME => self.hold_names(section, expected.naming, None),
            _ => self.holds(section, &producers::only_us(self.version(section))),
        }
    }

    /// Checks that a `name` section follows from the original's: its names as they are, or all of them demangled.
    pub(super) fn hold_names(&self, b: &Section<'_>, naming: &Naming<'_>, a: Option<&Section<'_>>) -> Result<()> {
        let relocated = |demangle| names::relocate(self.old, &Naming { demangle, ..*naming }, a);
        self.holds(b, &relocated(false)).or_else(|e| self.holds(b, &relocated(true)).map_err(|_| e))
    }

    /// Checks that the section has the contents `data` after its name.
    pub(super) fn holds(&self, section: &Section<'_>, data: &[u8]) -> Result<()> {
        let name = section.name.unwrap_or_default();
        match self.new.bytes()[section.contents.clone()] == [&encoded(name.as_bytes()), data].concat() {
            true => Ok(()),
            false => Err(fail(section.whole.start, format!("the section {name} does not have the expected contents"))),
        }
    }

    /// Checks that `producers` lists the original's producers and wasmtrace, in any version.
    pub(super) fn producers(&self, a: &Section<'_>, b: &Section<'_>) -> Result<()> {
        match producers::with_us(self.old, a, self.version(b)) {
            Some(data) => self.holds(b, &data),
            None if self.old.bytes()[a.contents.clone()] == self.new.bytes()[b.contents.clone()] => Ok(()),
            None => Err(fail(b.whole.start, "a section changed that hooks do not affect")),
        }
    }

    fn version(&self, section: &Section<'_>) -> &str {
        producers::version_in(self.new, section).unwrap_or(producers::VERSION)
    }

    /// Checks that the Manifest has the original's names. Names from DWARF are not checked: they depend on the
    /// features with which the compiler was built.
    pub(super) fn labels(&self, manifest: &Manifest) -> Result<()> {
        let labels = crate::label::names(self.old);
        for probe in &manifest.probes {
            // Trampolines are the last functions, in the order of their imports.
            let func = match self.trampolines.binary_search_by_key(&probe.id.0, |(_, trampoline)| *trampoline) {
                Ok(found) => FuncIdx(self.trampolines[found].0),
                Err(_) => FuncIdx(probe.id.0 - self.by),
            };
            let source = labels[func].source;
            let certain = matches!(source, Source::Import | Source::NameSection | Source::Export);
            // If a function has no name of its own, its name may come from a debug file. Such a name takes precedence
            // over that of an export.
            let from_elsewhere = source == Source::Export && probe.label.source == Source::NameSection;
            if certain && !from_elsewhere && labels[func].name != probe.label.name {
                return Err(fail(8, format!("the Manifest gives function {} a different name", func.0)));
            }
        }
        Ok(())
    }

    /// Checks that every function kept its name, and that every hooked function has a name.
    pub(super) fn names(&self, hooked: &[ProbeId]) -> Result<()> {
        let old = function_names(self.old, self.old.func_count(), &mut Vec::new());
        let new = function_names(self.new, self.new.func_count(), &mut Vec::new());
        let at = self.new.custom("name").map_or(self.new.bytes().len(), |s| s.whole.start);
        let name = |func: u32| new.get(func as usize).copied().flatten();
        for (func, old) in (0..).zip(old) {
            let Some(old) = old.filter(|name| !name.is_empty()) else { continue };
            if name(self.place(func)).is_none_or(|name| name != old && name != demangle(old)) {
                return Err(fail(at, format!("function {func} lost its name")));
            }
        }
        match hooked.iter().find(|id| name(id.0).is_none()) {
            Some(id) => Err(fail(at, format!("function {} is hooked and has no name", id.0))),
            None => Ok(()),
        }
    }

    /// The hooked functions with their names in the instrumented module.
    pub(super) fn named(&self, hooked: &[ProbeId]) -> Vec<Probe> {
        let names = function_names(self.new, self.new.func_count(), &mut Vec::new());
        let label = |id: &ProbeId| {
            let name = names.get(id.0 as usize).copied().flatten().unwrap_or_default().into();
            Label { name, file: None, line: None, source: Source::NameSection, index: None, language: None }
        };
        hooked.iter().map(|id| Probe { id: *id, label: label(id) }).collect()
    }
}
