//! Compares everything except bodies, entry by entry, as wasmparser reads it.

use wasmparser::{ConstExpr, Operator};

use super::Expected;
use super::custom::{CREATED, NAME, PRODUCERS};
use super::links::is_link;
use super::notes::{self, is_notes};
use super::pair::Pair;
use crate::links::BUILD_ID;
use crate::module::order::stands_before_created;
use crate::module::{Module, Section, id};
use crate::relocate::dwarf::Change;
use crate::relocate::target_features;
use crate::verify::failure::fail;
use wasmtrace_abi::error::Result;
use wasmtrace_abi::manifest::MANIFEST_SECTION;

impl Pair<'_, '_> {
    /// Compares everything except bodies.
    pub(super) fn sections(&self, expected: &Expected<'_>) -> Result<()> {
        let Expected { places, dwarf, .. } = expected;
        // A created section only holds appended entries, which `imports`, `buffer` and `guarding` check.
        let guards_exits = self.exit_guard.is_some();
        let grows = |id| match id {
            id::IMPORT => true,
            id::MEMORY | id::EXPORT => self.set.has_buffer(),
            id::TABLE | id::GLOBAL | id::ELEMENT => guards_exits,
            _ => false,
        };
        let created = |s: &&Section<'_>| grows(s.id) && self.old.section(s.id).is_none();
        let created_count = self.new.sections().iter().filter(created).count();
        let mut new = self.new.sections().iter().filter(|s| !created(s)).peekable();
        let mut names_before = 0;
        // Created sections that precede a section of the original.
        let mut before = Vec::new();
        for a in self.old.sections() {
            if is_link(a) {
                // Readers use the first link. It may name another file, which `links` checks, or be left out.
                let is_first = self.old.custom(a.name.unwrap_or_default()).is_some_and(|first| first.whole == a.whole);
                new.next_if(|b| is_first && b.name == a.name);
                continue;
            }
            if a.name == Some(NAME) {
                names_before += 1;
            }
            if a.name == Some(MANIFEST_SECTION) || a.name == Some(NAME) && names_before > 1 {
                continue; // hosts use one name section, and a Manifest describes one module
            }
            if is_notes(a) && !notes::fit(self.old, a) {
                continue; // left out
            }
            if matches!(dwarf.change(a.whole.start), Some(Change::Dropped)) {
                continue;
            }
            for name in CREATED.into_iter().filter(|name| stands_before_created(self.old, a, name)) {
                if !before.contains(&name) {
                    self.created(name, &mut new, expected)?;
                    before.push(name);
                }
            }
            let Some(b) = new.next() else { return Err(fail(self.new.bytes().len(), "a section is missing")) };
            if (a.id, a.name) != (b.id, b.name) {
                return Err(fail(b.whole.start, "the order of sections changed"));
            }
            if let Some(Change::Patched(patches)) = dwarf.change(a.whole.start) {
                if patches.apply(&self.old.bytes()[a.data.clone()]) != self.new.bytes()[b.data.clone()] {
                    return Err(fail(b.whole.start, "the debug information does not follow the code"));
                }
                continue;
            }
            let raw_same = self.old.bytes()[a.contents.clone()] == self.new.bytes()[b.contents.clone()];
            match a.id {
                id::CODE => {}
                id::TYPE | id::IMPORT | id::FUNCTION => self.grown(a, b)?,
                id::MEMORY if self.set.has_buffer() => self.grown(a, b)?,
                id::CUSTOM if is_notes(a) => self.notes(a, b, places)?,
                id::CUSTOM if a.name == Some(target_features::NAME) => self.features(a, b, expected.rethrows)?,
                id::CUSTOM if a.name == Some(BUILD_ID) => self.build_id(a, b)?,
                id::CUSTOM if a.name == Some(NAME) => {
                    self.hold_names(b, expected.naming, Some(a))?;
                }
                id::CUSTOM if a.name == Some(PRODUCERS) => self.producers(a, b)?,
                id::TABLE | id::GLOBAL | id::EXPORT | id::START | id::ELEMENT | id::DATA => self.entries(a, b)?,
                _ if raw_same => {}
                _ => return Err(fail(b.whole.start, "a section changed that hooks do not affect")),
            }
        }
        self.behind(new, created_count + before.len(), &before, expected)
    }

    /// Checks that `target_features` lists the features of the original and those that hooks add.
    fn features(&self, a: &Section<'_>, b: &Section<'_>, rethrows: bool) -> Result<()> {
        let second_memory = self.set.has_buffer() && !self.old.memories().is_empty();
        let hooks = target_features::used_by_hooks(self.exit_guard.is_some(), rethrows, second_memory);
        let (before, after) = (&self.old.bytes()[a.data.clone()], &self.new.bytes()[b.data.clone()]);
        match target_features::with(before, &hooks) {
            Some(named) if named != *after => {
                Err(fail(b.whole.start, "the target features are not those that the module uses"))
            }
            None if before != after => Err(fail(b.whole.start, "the target features changed")),
            _ => Ok(()),
        }
    }

    /// Checks that types, imports, functions or memories start with the original's entries, byte for byte.
    fn grown(&self, a: &Section<'_>, b: &Section<'_>) -> Result<()> {
        let items = |m: &Module<'_>, s: &Section<'_>| -> Result<(u32, usize)> {
            let mut r = m.reader(s.contents.clone());
            Ok((r.read_var_u32()?, r.original_position()))
        };
        let ((before, a_start), (after, b_start)) = (items(self.old, a)?, items(self.new, b)?);
        let old = &self.old.bytes()[a_start..a.contents.end];
        let same = self.new.bytes()[b_start..b.contents.end].starts_with(old);
        if after < before || !same {
            return Err(fail(b.whole.start, "entries of the original changed"));
        }
        Ok(())
    }

    /// Checks that the appended entries of a section equal `bytes`. The entries before them are checked by `entries`.
    pub(super) fn appended(&self, id: u8, entries: u32, bytes: &[u8]) -> Result<()> {
        let count = |module: &Module<'_>| match module.section(id) {
            Some(section) => module.reader(section.contents.clone()).read_var_u32().unwrap_or(0),
            None => 0,
        };
        let before = count(self.old);
        let section = self.new.section(id).filter(|_| count(self.new) == before + entries);
        let Some(section) = section else { return Err(fail(8, "the appended entries are not those that hooks need")) };
        let mut r = self.new.reader(section.contents.clone());
        r.read_var_u32()?;
        for _ in 0..before {
            match id {
                id::TABLE => _ = r.read::<wasmparser::Table<'_>>()?,
                id::GLOBAL => _ = r.read::<wasmparser::Global<'_>>()?,
                _ => _ = r.read::<wasmparser::Element<'_>>()?,
            }
        }
        match self.new.bytes()[r.original_position()..section.contents.end] == *bytes {
            true => Ok(()),
            false => Err(fail(r.original_position(), "the appended entries are not those that hooks need")),
        }
    }

    /// Checks that the list `y` starts with the items of `x`. Without an exit guard, both must have the same length.
    fn begins<'a, 'b, X: wasmparser::FromReader<'a>, Y: wasmparser::FromReader<'b>>(
        &self,
        x: wasmparser::SectionLimited<'a, X>,
        y: wasmparser::SectionLimited<'b, Y>,
        section: &Section<'_>,
        same: impl Fn(X, Y) -> Result<bool>,
    ) -> Result<()> {
        match self.exit_guard {
            None => zip(x, y, section, same),
            Some(_) => {
                let count = x.count() as usize;
                zip_first(x, y, section, count, same)
            }
        }
    }

    /// Compares sections that hold function indices, entry by entry.
    fn entries(&self, a: &Section<'_>, b: &Section<'_>) -> Result<()> {
        let differs = || fail(b.whole.start, "an entry changed in more than its function indices");
        let (ra, rb) = (self.old.reader(a.contents.clone()), self.new.reader(b.contents.clone()));
        match a.id {
            id::START => {
                let (mut ra, mut rb) = (ra, rb);
                if self.moved(ra.read_var_u32()?) != rb.read_var_u32()? {
                    return Err(differs());
                }
            }
            id::EXPORT => {
                let (x, y) = (wasmparser::ExportSectionReader::new(ra)?, wasmparser::ExportSectionReader::new(rb)?);
                // The entries after these are checked by `buffer`.
                zip_first(x, y, b, self.old.all_exports().len(), |mut x, y| {
                    if x.kind == wasmparser::ExternalKind::Func {
                        x.index = self.moved(x.index);
                    }
                    Ok(x == y)
                })?;
            }
            id::GLOBAL => {
                let (x, y) = (wasmparser::GlobalSectionReader::new(ra)?, wasmparser::GlobalSectionReader::new(rb)?);
                self.begins(x, y, b, |x, y| Ok(x.ty == y.ty && self.expressions(&x.init_expr, &y.init_expr)?))?;
            }
            id::TABLE => {
                let (x, y) = (wasmparser::TableSectionReader::new(ra)?, wasmparser::TableSectionReader::new(rb)?);
                self.begins(x, y, b, |x, y| {
                    use wasmparser::TableInit::{Expr, RefNull};
                    Ok(x.ty == y.ty
                        && match (&x.init, &y.init) {
                            (RefNull, RefNull) => true,
                            (Expr(x), Expr(y)) => self.expressions(x, y)?,
                            _ => false,
                        })
                })?;
            }
            id::DATA => {
                let (x, y) = (wasmparser::DataSectionReader::new(ra)?, wasmparser::DataSectionReader::new(rb)?);
                zip(x, y, b, |x, y| {
                    use wasmparser::DataKind::{Active, Passive};
                    Ok(x.data == y.data
                        && match (&x.kind, &y.kind) {
                            (Passive, Passive) => true,
                            (
                                Active { memory_index: m, offset_expr: x },
                                Active { memory_index: n, offset_expr: y },
                            ) => m == n && self.expressions(x, y)?,
                            _ => false,
                        })
                })?;
            }
            _ => {
                let (x, y) = (wasmparser::ElementSectionReader::new(ra)?, wasmparser::ElementSectionReader::new(rb)?);
                self.begins(x, y, b, |x, y| {
                    use wasmparser::{ElementItems, ElementKind};
                    let kinds = match (&x.kind, &y.kind) {
                        (ElementKind::Passive, ElementKind::Passive)
                        | (ElementKind::Declared, ElementKind::Declared) => true,
                        (
                            ElementKind::Active { table_index: t, offset_expr: x },
                            ElementKind::Active { table_index: u, offset_expr: y },
                        ) => t == u && self.expressions(x, y)?,
                        _ => false,
                    };
                    Ok(kinds
                        && match (x.items, y.items) {
                            (ElementItems::Functions(x), ElementItems::Functions(y)) => {
                                zip(x, y, b, |x, y| Ok(self.moved(x) == y)).is_ok()
                            }
                            (ElementItems::Expressions(t, x), ElementItems::Expressions(u, y)) => {
                                t == u && zip(x, y, b, |x, y| self.expressions(&x, &y)).is_ok()
                            }
                            _ => false,
                        })
                })?;
            }
        }
        Ok(())
    }

    fn expressions(&self, x: &ConstExpr<'_>, y: &ConstExpr<'_>) -> Result<bool> {
        let (mut x, mut y) = (x.get_operators_reader(), y.get_operators_reader());
        while !x.eof() && !y.eof() {
            let same = match (x.read()?, y.read()?) {
                (Operator::RefFunc { function_index: x }, Operator::RefFunc { function_index: y }) => {
                    self.moved(x) == y
                }
                (x, y) => x == y,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(x.eof() && y.eof())
    }
}

/// Compares two lists of the same kind, item by item.
fn zip<'a, 'b, X: wasmparser::FromReader<'a>, Y: wasmparser::FromReader<'b>>(
    x: wasmparser::SectionLimited<'a, X>,
    y: wasmparser::SectionLimited<'b, Y>,
    section: &Section<'_>,
    same: impl Fn(X, Y) -> Result<bool>,
) -> Result<()> {
    if x.count() != y.count() {
        return Err(fail(section.whole.start, "entries were added or lost"));
    }
    let count = x.count() as usize;
    zip_first(x, y, section, count, same)
}

/// Compares the first `count` items of two lists of the same kind.
fn zip_first<'a, 'b, X: wasmparser::FromReader<'a>, Y: wasmparser::FromReader<'b>>(
    x: wasmparser::SectionLimited<'a, X>,
    y: wasmparser::SectionLimited<'b, Y>,
    section: &Section<'_>,
    count: usize,
    same: impl Fn(X, Y) -> Result<bool>,
) -> Result<()> {
    for (i, (x, y)) in x.into_iter().zip(y).take(count).enumerate() {
        if !same(x?, y?)? {
            return Err(fail(section.whole.start, format!("entry {i} changed in more than its function indices")));
        }
    }
    Ok(())
}
