//! Relocates DWARF across an [`OffsetMap`]: everything it says about an instruction is kept for the instruction's new
//! offset.
//!
//! Addresses are offsets from the start of the code section's contents (tool-conventions, "DWARF for WebAssembly").
//! Code is only added. Fields of fixed width are patched in place, so offsets between sections stay valid. Lists and
//! line tables of variable width may grow, and the few offsets to them are patched. Nothing is decoded into a tree and
//! encoded again.
//!
//! Units that cannot be relocated are dropped with a warning; a wrong address is never written. The sections are parsed
//! here because a library returns the values of attributes, but not their positions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::addresses::{self, Addresses};
use super::patch::Patches;
use crate::mapping::OffsetMap;
use crate::module::Module;
use crate::warning::{Warned, Warning, WarningKind};

mod abbrev;
mod aranges;
mod context;
mod cursor;
mod dropped;
mod frames;
mod headers;
mod lengths;
mod lines;
mod lists;
mod pointers;
mod sections;
mod tables;
mod units;

use abbrev::{Abbrevs, Encoding};
use context::{Context, OVERLAP};
use cursor::{Cursor, Result, Unsupported};
use headers::Header;
use lines::Lines;
pub(crate) use sections::is_known;
use sections::{INDEXES, NAMES, Name, Sections};
use units::Reference;

/// The changes of the debug sections of a module.
#[derive(Debug, Default)]
pub(crate) struct Dwarf {
    /// By the offset of the section in the file.
    changes: HashMap<usize, Change>,
}

/// The change of one section.
#[derive(Debug)]
pub(crate) enum Change {
    /// Its data is patched.
    Patched(Patches),
    /// It is dropped.
    Dropped,
}

impl Dwarf {
    /// The change of the section at that offset; `None` if it stays unchanged.
    pub(crate) fn change(&self, section_start: usize) -> Option<&Change> {
        self.changes.get(&section_start)
    }

    /// Takes the change of the section at that offset, to free its memory: changes may be as large as the section.
    pub(crate) fn take(&mut self, section_start: usize) -> Option<Change> {
        self.changes.remove(&section_start)
    }
}

/// The changes that drop all debug sections of a module.
pub(crate) fn dropped(module: &Module<'_>) -> Dwarf {
    let debug = module.sections().iter().filter(|s| s.name.is_some_and(|name| name.starts_with(".debug_")));
    Dwarf { changes: debug.map(|section| (section.whole.start, Change::Dropped)).collect() }
}

/// Relocates the debug sections of a module.
pub(crate) fn relocate(module: &Module<'_>, offsets: &OffsetMap) -> Warned<Dwarf> {
    let mut dwarf = Dwarf::default();
    let mut report = Report::default();
    let mut places = [None; NAMES.len()];
    let mut data = [&[][..]; NAMES.len()];
    for section in module.sections() {
        let Some(name) = NAMES.iter().position(|(_, name)| section.name == Some(name)) else { continue };
        if places[name].is_some() {
            // Readers use either the first or the last one.
            report.left_out.push(|| format!("a second section {}", NAMES[name].1));
            dwarf.changes.insert(section.whole.start, Change::Dropped);
            continue;
        }
        places[name] = Some(section.whole.start);
        data[name] = &module.bytes()[section.data.clone()];
    }
    if places.iter().all(Option::is_none) {
        return dwarf.into();
    }
    match relocate_sections(&Sections { data }, offsets, &mut report) {
        Ok(changes) => {
            if report.units_are_left_out {
                let indexes = module.sections().iter().filter(|s| s.name.is_some_and(|name| INDEXES.contains(&name)));
                dwarf.changes.extend(indexes.map(|section| (section.whole.start, Change::Dropped)));
            }
            for ((place, change), data) in places.into_iter().zip(changes).zip(data) {
                match (place, change) {
                    (Some(place), Some(Change::Patched(patches))) if !patches.is_empty() => {
                        debug_assert!(!data.is_empty());
                        dwarf.changes.insert(place, Change::Patched(patches));
                    }
                    (Some(place), Some(Change::Dropped)) => _ = dwarf.changes.insert(place, Change::Dropped),
                    _ => {}
                }
            }
        }
        Err((name, e)) => {
            report = Report::default();
            report.left_out.push(|| format!("all of it: {} at {:#x} of {}", e.what, e.at, name.as_str()));
            let debug = module.sections().iter().filter(|s| s.name.is_some_and(|name| name.starts_with(".debug_")));
            dwarf.changes.extend(debug.map(|section| (section.whole.start, Change::Dropped)));
        }
    }
    Warned { value: dwarf, warnings: report.warnings() }
}

/// Messages about the relocation.
#[derive(Debug, Default)]
struct Report {
    /// Dropped debug information, with reasons.
    left_out: List,
    /// Whether units are among it. Readers compute the indexes of all units themselves then.
    units_are_left_out: bool,
    /// Units with ranges that cannot be relocated.
    emptied: List,
    /// Units whose entries are in a separate file.
    skeletons: List,
}

/// The first items of a list that may be long.
#[derive(Debug, Default)]
struct List {
    named: Vec<String>,
    more: usize,
}

impl List {
    fn push(&mut self, name: impl FnOnce() -> String) {
        if self.named.len() < 20 { self.named.push(name()) } else { self.more += 1 }
    }

    /// A warning about the items, if there are any.
    fn warning(&self, sentence: &str) -> Option<Warning> {
        let more = if self.more > 0 { format!("; and {} more", self.more) } else { String::new() };
        let message = || format!("{sentence}: {}{more}", self.named.join("; "));
        (!self.named.is_empty()).then(|| Warning::new(WarningKind::DebugInfo, message()))
    }
}

impl Report {
    fn warnings(&self) -> Vec<Warning> {
        let left_out = self.left_out.warning("debug information that cannot be relocated is dropped");
        let skeletons = "split DWARF describes the original, so the links to it are cut";
        let emptied = self.emptied.warning("ranges of debug information that cannot be relocated cover nothing now");
        left_out.into_iter().chain(emptied).chain(self.skeletons.warning(skeletons)).collect()
    }
}

type Changes = Vec<Option<Change>>;

/// Relocates the parsed sections. Returns an error if nothing can be kept.
fn relocate_sections(
    sections: &Sections<'_>,
    offsets: &OffsetMap,
    report: &mut Report,
) -> Result<Changes, (Name, Unsupported)> {
    let of = |name| move |e| (name, e);
    let mut patches: [Patches; NAMES.len()] = Default::default();
    let mut left_out = Vec::new();

    let mut addresses = Addresses::new(offsets);
    let programs = lines::programs(sections.get(Name::Line)).map_err(of(Name::Line))?;
    lines::open(&programs, &mut addresses);
    let mut lines = lines::relocate(&programs, &addresses);
    for (at, e) in &lines.left_out {
        report.left_out.push(|| format!("the line table at {at:#x} of .debug_line: {} at {:#x}", e.what, e.at));
    }
    patches[Name::Line as usize] = std::mem::take(&mut lines.patches);

    let mut headers = headers::headers(sections.get(Name::Info), Name::Info).map_err(of(Name::Info))?;
    headers.extend(headers::headers(sections.get(Name::Types), Name::Types).map_err(of(Name::Types))?);
    let lists = [Name::Ranges, Name::Rnglists, Name::Loc, Name::Loclists];
    let context = Context {
        sections,
        addresses: &addresses,
        lines: &lines,
        abbrevs: read_abbrevs(sections.get(Name::Abbrev), &headers).map_err(of(Name::Abbrev))?,
        tables: [tables::tables(sections.get(Name::Rnglists)), tables::tables(sections.get(Name::Loclists))],
        spent: AtomicU64::new(0),
        most: lists.iter().map(|name| 4 * sections.get(*name).len() as u64).sum::<u64>() + 4096,
        wants_code: !sections.get(Name::Aranges).is_empty(),
    };
    let lengths = headers.iter().map(|header| header.end - header.start);
    let relocated = crate::parallel::map_each(lengths, |unit| units::relocate(&context, &headers[unit]));
    if context.spent.load(Ordering::Relaxed) > context.most {
        return Err((Name::Info, OVERLAP));
    }

    let units = || headers.iter().zip(&relocated).filter_map(|(header, unit)| Some((header, unit.as_ref().ok()?)));
    for name in [Name::Info, Name::Types] {
        let own = units().filter(|(header, _)| header.section == name);
        patches[name as usize].reserve(own.map(|(_, unit)| &unit.entries));
    }
    for (at, name) in lists.iter().enumerate() {
        patches[*name as usize].reserve(units().map(|(_, unit)| &unit.lists[at]));
    }
    let mut pooled = Vec::new();
    let mut references = Vec::new();
    let mut macros = Vec::new();
    let mut code = HashMap::new();
    for (header, relocated) in headers.iter().zip(relocated) {
        match relocated {
            Ok(unit) => {
                if let Some(first) = unit.emptied.first() {
                    let more = unit.emptied.len() - 1;
                    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                    let unit = || dropped::name(sections, header);
                    report.emptied.push(|| format!("in the unit {}: {} at {:#x}{more}", unit(), first.what, first.at));
                }
                if unit.is_skeleton {
                    report.skeletons.push(|| dropped::name(sections, header));
                }
                patches[header.section as usize].append(unit.entries);
                for (name, list) in lists.iter().zip(unit.lists) {
                    patches[*name as usize].append(list);
                }
                pooled.extend(unit.pooled);
                references.extend(unit.references.into_iter().map(|reference| (header.section, reference)));
                macros.extend(unit.macros);
                if header.section == Name::Info {
                    code.insert(header.start as u64, aranges::Code::new(unit.code));
                }
            }
            Err(e) => left_out.push((header, e)),
        }
    }

    leave_out(sections, &left_out, &mut patches, report)?;
    settle_lists(&context, &references, &mut patches)?;
    patches[Name::Addr as usize] = carry_pool(sections.get(Name::Addr), pooled, &addresses).map_err(of(Name::Addr))?;

    let mut dropped = Vec::new();
    let mut section = |name: Name, relocated: Result<Patches>, patches: &mut Patches| match relocated {
        Ok(relocated) => *patches = relocated,
        Err(e) => {
            let name = name.as_str();
            report.left_out.push(|| format!("the section {name}: {} at {:#x}", e.what, e.at));
            dropped.push(name);
        }
    };
    let aranges = aranges::relocate(sections.get(Name::Aranges), &code, &addresses);
    section(Name::Aranges, aranges, &mut patches[Name::Aranges as usize]);
    let macros = carry_macros(sections.get(Name::Macro), macros, &lines);
    section(Name::Macro, macros, &mut patches[Name::Macro as usize]);
    let frames = frames::relocate(sections.get(Name::Frame), &addresses);
    section(Name::Frame, frames, &mut patches[Name::Frame as usize]);

    NAMES
        .iter()
        .zip(patches)
        .map(|((name, text), mut patches)| {
            if dropped.contains(text) {
                return Ok(Some(Change::Dropped));
            }
            patches.settle().map_err(conflict(*name))?;
            Ok(Some(Change::Patched(patches)))
        })
        .collect()
}

/// Empties the units that cannot be relocated, and names them.
fn leave_out(
    sections: &Sections<'_>,
    units: &[(&Header, Unsupported)],
    patches: &mut [Patches; NAMES.len()],
    report: &mut Report,
) -> Result<(), (Name, Unsupported)> {
    let abbrevs = sections.get(Name::Abbrev).len();
    for (header, e) in units {
        report.left_out.push(|| format!("the unit {}: {} at {:#x}", dropped::name(sections, header), e.what, e.at));
        let patches = &mut patches[header.section as usize];
        dropped::empty(sections, header, abbrevs as u64, patches)
            .filter(|()| abbrevs > 0)
            .ok_or((header.section, Unsupported { at: header.start, what: e.what }))?;
    }
    if !units.is_empty() {
        report.units_are_left_out = true;
        patches[Name::Abbrev as usize].replace(abbrevs, 0, dropped::ABBREVS.to_vec());
    }
    Ok(())
}

/// An error about bytes that would be patched twice.
fn conflict(name: Name) -> impl Fn(usize) -> (Name, Unsupported) {
    move |at| (name, Unsupported { at, what: "two units read the same bytes differently" })
}

/// Writes lists that have become longer, and the offsets to them.
fn settle_lists(
    context: &Context<'_>,
    references: &[(Name, Reference)],
    patches: &mut [Patches; NAMES.len()],
) -> Result<(), (Name, Unsupported)> {
    let mut growths: [_; 2] = Default::default();
    for (i, name) in [Name::Rnglists, Name::Loclists].into_iter().enumerate() {
        let lists = &mut patches[name as usize];
        lists.settle().map_err(conflict(name))?;
        growths[i] = lists.growth();
        if !growths[i].is_empty() {
            let of = |e| (name, e);
            let tables = context.tables(name).map_err(of)?;
            tables::settle_tables(context.sections.get(name), tables, &growths[i], lists).map_err(of)?;
        }
    }
    for (section, reference) in references {
        let moved = growths[(reference.into == Name::Loclists) as usize].of(reference.offset);
        if moved != reference.offset {
            patches[*section as usize].fixed(reference.at, reference.width, moved);
        }
    }
    Ok(())
}

/// `.debug_addr`: relocates its code addresses, each of which several units may refer to.
fn carry_pool(data: &[u8], mut pooled: Vec<(u32, u8)>, addresses: &Addresses<'_>) -> Result<Patches> {
    let mut patches = Patches::default();
    pooled.sort_unstable();
    pooled.dedup();
    let mut near = 0;
    for (at, size) in pooled {
        let address = Cursor::new(data, at as usize).number(size)?;
        let moved = addresses.map(address, &mut near);
        if moved > addresses::highest(size) {
            return Err(Unsupported { at: at as usize, what: "no room to relocate an address" });
        }
        if moved != address {
            patches.fixed(at as usize, size, moved);
        }
    }
    Ok(patches)
}

/// The abbreviation tables of units, each read once.
fn read_abbrevs(section: &[u8], headers: &[Header]) -> Result<HashMap<(u64, Encoding), Result<Abbrevs>>> {
    let mut tables = HashMap::new();
    let mut read = 0;
    for rest in headers.iter().filter_map(|header| header.rest.as_ref().ok()) {
        tables.entry((rest.abbrevs, rest.encoding)).or_insert_with(|| {
            let at = usize::try_from(rest.abbrevs).unwrap_or(usize::MAX);
            let (table, length) = Abbrevs::read(section, at, rest.encoding);
            read += length;
            table
        });
        // Tables may share their ends; reading all of them would then take quadratic time.
        if read > 8 * section.len() + 4096 {
            return Err(Unsupported { at: 0, what: "tables overlap" });
        }
    }
    Ok(tables)
}

/// `.debug_macro`: relocates the offsets of line tables, which each unit may contain.
fn carry_macros(data: &[u8], mut units: Vec<u64>, lines: &Lines) -> Result<Patches> {
    let mut patches = Patches::default();
    units.sort_unstable();
    units.dedup();
    for unit in units {
        let mut cursor = Cursor::new(data, usize::try_from(unit).unwrap_or(usize::MAX));
        cursor.skip(2)?; // version
        let flags = cursor.u8()?;
        if flags & 2 == 0 {
            continue;
        }
        let (at, width) = (cursor.at, if flags & 1 == 0 { 4 } else { 8 });
        let offset = cursor.number(width)?;
        let moved = lines.growth.of(offset);
        if moved != offset {
            patches.fixed(at, width, moved);
        }
    }
    Ok(patches)
}
