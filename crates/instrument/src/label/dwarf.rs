//! Names, files and lines from DWARF 4 and 5, read with gimli.
//!
//! DWARF addresses of a wasm module are offsets from the start of the code section's contents. A subprogram belongs to
//! the function whose body contains its first address. Its name is `DW_AT_linkage_name`, otherwise `DW_AT_name`
//! qualified by namespaces and types. `DW_AT_specification` and `DW_AT_abstract_origin` are followed.

use crate::warning::{Warning, WarningKind};
use std::collections::HashMap;
use std::sync::Arc;

use gimli::{AttributeValue, DebugInfoOffset, UnitOffset, constants as dw};

use crate::label::claims::{Claims, Described, Settled, Stale};
use crate::label::subprogram::Subprogram;
use crate::module::{FuncIdx, Module, id};

mod rows;
mod units;

pub(crate) use rows::{first_lines, lines};
use units::{Dwarf, Slice, Unit, Units, dwarf, file_path, headers, is_alive, load};

/// An entry with a name or an address: a subprogram or a scope around one.
struct Entry<'a> {
    parent: Option<DebugInfoOffset>,
    name: Option<Slice<'a>>,
    linkage_name: Option<Slice<'a>>,
    file: Option<Arc<str>>,
    line: Option<u32>,
    /// `DW_AT_specification` or `DW_AT_abstract_origin`.
    origin: Option<DebugInfoOffset>,
    /// The first address of a subprogram with code.
    address: Option<u64>,
    /// The number of bytes of code after it.
    length: u64,
    language: Option<&'static str>,
}

/// Maximum length of a chain of origins or scopes; damaged data may contain cycles.
const MAX_CHAIN: usize = 64;

/// Maximum length of a name in bytes. Longer names are damaged or malicious: many entries may share one.
const LONGEST_NAME: usize = 16 << 10;

/// Average minimum size in bytes of an entry with attributes.
const LEAST_ENTRY: usize = 4;

/// The subprogram that the debug information in `symbols` has for each function of `module`. Usually both are the same
/// module. `names` are the functions' names from other sources: if several subprograms claim a function, its name decides,
/// and if the name contradicts all of them, none does (see [`claims`](super::claims)).
pub(crate) fn subprograms(
    module: &Module<'_>,
    symbols: &Module<'_>,
    names: &[Option<&str>],
    warnings: &mut Vec<Warning>,
) -> Settled {
    let Some(code) = module.section(id::CODE) else { return Settled::default() };
    if symbols.custom(".debug_info").is_none() {
        return Settled::default();
    }
    let sections = load(symbols);
    let dwarf = dwarf(&sections);
    let (headers, mut damaged) = headers(&dwarf);
    let units = Units::new(&sections, &headers);
    let headers: Vec<_> = headers.into_iter().enumerate().collect();
    let mut entries: HashMap<DebugInfoOffset, Entry<'_>> = HashMap::new();
    let read = |(place, header)| read_unit(&dwarf, units.unit(place, header));
    for read in crate::parallel::map(headers, read) {
        entries.extend(read.entries);
        damaged = damaged.or(read.damaged);
    }
    if let Some(e) = damaged {
        warnings.push(Warning::new(
            WarningKind::Label,
            format!("the debug information is damaged ({e}); names and lines are read from the intact part"),
        ));
    }

    let starts: Vec<u64> = module.defined_funcs().map(|f| module.body(f).start as u64).collect();
    let mut claims = Claims::new(names);
    // Functions may share names too. All names together must not be longer than the module; otherwise the input is
    // malicious.
    let mut room = symbols.bytes().len() + (1 << 20);
    let mut left_out = 0;
    let mut interned: HashMap<String, Arc<str>> = HashMap::new();
    // By address, so that the first of two entries for a body wins, independently of the order of the map.
    let mut with_code: Vec<_> = entries.iter().filter_map(|(o, e)| Some((e.address?, *o))).collect();
    with_code.sort_unstable_by_key(|(address, offset)| (*address, offset.0));
    for (address, offset) in with_code {
        let at = code.contents.start as u64 + address;
        let Some(func) = body_at(module, &starts, at) else { continue };
        if !claims.wants(func) {
            continue;
        }
        let mut subprogram = resolve(&entries, offset, &mut interned);
        let name = subprogram.name.take_if(|name| name.len() > room);
        room -= subprogram.name.as_ref().map_or(0, |name| name.len());
        left_out += usize::from(name.is_some());
        claims.add(func, subprogram);
    }
    if left_out > 0 {
        warnings.push(Warning::new(
            WarningKind::Label,
            format!("{left_out} functions have no name: their names in the debug information are longer than the module in total"),
        ));
    }
    let settled = claims.settle(|| described(&entries, &mut interned, room));
    if let Some(Stale { differ, claimed }) = settled.stale {
        warnings.push(Warning::new(
            WarningKind::Label,
            format!(
                "the debug information is of other code: {differ} of the {claimed} functions at its addresses have other \
                 names. Files and lines are found by name"
            ),
        ));
    }
    settled
}

/// The DWARF versions of the units, ascending.
pub(crate) fn versions(module: &Module<'_>) -> Vec<u16> {
    let sections = load(module);
    let headers = headers(&dwarf(&sections)).0;
    let versions: std::collections::BTreeSet<u16> = headers.iter().map(|h| h.version()).collect();
    versions.into_iter().collect()
}

/// The function whose body contains the offset; the size field of at most 5 bytes counts as part of it.
fn body_at(module: &Module<'_>, starts: &[u64], at: u64) -> Option<FuncIdx> {
    let first = module.imported_funcs().len() as u32;
    let position = starts.partition_point(|start| *start <= at);
    let holds = |position: usize| {
        let func = FuncIdx(first + position as u32);
        (position < starts.len() && at < module.body(func).end as u64).then_some(func)
    };
    let inside = position.checked_sub(1).and_then(holds);
    inside.or_else(|| holds(position).filter(|f| module.body(*f).start as u64 - at <= 5))
}

struct ReadUnit<'a> {
    entries: Vec<(DebugInfoOffset, Entry<'a>)>,
    damaged: Option<String>,
}

fn read_unit<'a>(dwarf: &Dwarf<'a>, unit: gimli::Result<Unit<'a>>) -> ReadUnit<'a> {
    let mut entries = Vec::new();
    let unit = unit.map_err(|e| e.to_string());
    let damaged = unit.and_then(|unit| read_entries(dwarf, &unit, &mut entries)).err();
    ReadUnit { entries, damaged }
}

fn read_entries<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    out: &mut Vec<(DebugInfoOffset, Entry<'a>)>,
) -> Result<(), String> {
    let mut files: HashMap<u64, Option<Arc<str>>> = HashMap::new();
    let bytes = unit.header.length_including_self();
    let mut room_for_paths = 16 * bytes;
    let mut language = None;
    let global = |offset: UnitOffset| offset.to_debug_info_offset(&unit.header);
    // The entries around the current one, by depth.
    let mut scopes: Vec<Option<DebugInfoOffset>> = Vec::new();
    let mut cursor = unit.entries();
    while let Some(die) = cursor.next_dfs().map_err(|e| e.to_string())? {
        let depth = die.depth().max(0) as usize;
        scopes.truncate(depth);
        let parent = scopes.last().copied().flatten();
        let kept = matches!(
            die.tag(),
            dw::DW_TAG_subprogram
                | dw::DW_TAG_namespace
                | dw::DW_TAG_module
                | dw::DW_TAG_class_type
                | dw::DW_TAG_structure_type
                | dw::DW_TAG_union_type
                | dw::DW_TAG_enumeration_type
                | dw::DW_TAG_interface_type
        );
        // An entry without attributes, such as an anonymous namespace, is not kept.
        let kept = kept && !die.attrs().is_empty();
        let here = global(die.offset()).filter(|_| kept);
        // An entry that is not kept is represented by its parent, so the last element is always the scope.
        scopes.resize(depth, parent);
        scopes.push(here.or(parent));
        if die.tag() == dw::DW_TAG_compile_unit {
            if let Some(AttributeValue::Language(l)) = die.attr_value(dw::DW_AT_language) {
                language = language_name(l);
            }
            continue;
        }
        let Some(here) = here else { continue };
        let text = |name| {
            die.attr_value(name).and_then(|v| dwarf.attr_string(unit, v).ok()).filter(|n| n.len() <= LONGEST_NAME)
        };
        let mut entry = Entry {
            parent,
            name: text(dw::DW_AT_name),
            linkage_name: None,
            file: None,
            line: None,
            origin: None,
            address: None,
            length: 0,
            language,
        };
        if die.tag() == dw::DW_TAG_subprogram {
            entry.linkage_name = text(dw::DW_AT_linkage_name).or_else(|| text(dw::DW_AT_MIPS_linkage_name));
            entry.line =
                die.attr_value(dw::DW_AT_decl_line).and_then(|v| v.udata_value()).and_then(|l| l.try_into().ok());
            entry.file = die
                .attr_value(dw::DW_AT_decl_file)
                .and_then(|v| match v {
                    AttributeValue::FileIndex(index) => Some(index),
                    other => other.udata_value(),
                })
                .and_then(|index| {
                    let read = || {
                        let path = file_path(dwarf, unit, index).filter(|path| path.len() <= room_for_paths)?;
                        room_for_paths -= path.len();
                        Some(path)
                    };
                    files.entry(index).or_insert_with(read).clone()
                });
            let origin = die.attr_value(dw::DW_AT_specification).or_else(|| die.attr_value(dw::DW_AT_abstract_origin));
            entry.origin = match origin {
                Some(AttributeValue::UnitRef(offset)) => global(offset),
                Some(AttributeValue::DebugInfoRef(offset)) => Some(offset),
                _ => None,
            };
            entry.address = first_address(dwarf, unit, die);
            entry.length = match (die.attr_value(dw::DW_AT_high_pc), entry.address) {
                (Some(AttributeValue::Addr(end)), Some(start)) => end.saturating_sub(start),
                (Some(length), _) => length.udata_value().unwrap_or(0),
                (None, _) => 0,
            };
        }
        if out.len() > bytes / LEAST_ENTRY {
            return Err("it has more entries than its size allows".to_owned());
        }
        out.push((here, entry));
    }
    Ok(())
}

/// The lowest address of a subprogram's code, unless the linker has removed it.
fn first_address<'a>(
    dwarf: &Dwarf<'a>,
    unit: &Unit<'a>,
    die: &gimli::DebuggingInformationEntry<Slice<'a>>,
) -> Option<u64> {
    let low = die.attr_value(dw::DW_AT_low_pc).and_then(|v| dwarf.attr_address(unit, v).ok().flatten());
    if let Some(low) = low.filter(|a| is_alive(*a)) {
        return Some(low);
    }
    let mut ranges = dwarf.attr_ranges(unit, die.attr_value(dw::DW_AT_ranges)?).ok()??;
    for _ in 0..MAX_CHAIN {
        let Ok(Some(range)) = ranges.next() else { break };
        if is_alive(range.begin) {
            return Some(range.begin);
        }
    }
    None
}

/// The subprograms that have a file, by name. Their names take at most `room` bytes.
fn described(
    entries: &HashMap<DebugInfoOffset, Entry<'_>>,
    interned: &mut HashMap<String, Arc<str>>,
    room: usize,
) -> Described {
    let mut described = Described::default();
    let mut room = room;
    let mut offsets: Vec<DebugInfoOffset> = entries.keys().copied().collect();
    offsets.sort_unstable_by_key(|offset| offset.0);
    for offset in offsets {
        let entry = &entries[&offset];
        if entry.file.is_none() && entry.origin.is_none() {
            continue;
        }
        let subprogram = resolve(entries, offset, interned);
        if subprogram.file.is_some() {
            room = room.saturating_sub(described.add(&subprogram));
        }
        if room == 0 {
            break;
        }
    }
    described
}

fn resolve(
    entries: &HashMap<DebugInfoOffset, Entry<'_>>,
    offset: DebugInfoOffset,
    interned: &mut HashMap<String, Arc<str>>,
) -> Subprogram {
    let first = &entries[&offset];
    let mut subprogram = Subprogram { language: first.language, length: first.length, ..Default::default() };
    let mut plain = None;
    let mut next = Some(offset);
    for _ in 0..MAX_CHAIN {
        let Some((here, entry)) = next.and_then(|o| Some((o, entries.get(&o)?))) else { break };
        if subprogram.name.is_none() {
            subprogram.name = entry.linkage_name.map(|n| n.to_string_lossy().as_ref().into());
        }
        plain = plain.or_else(|| qualified_name(entries, here));
        if subprogram.short_name.is_none() {
            subprogram.short_name = entry.name.map(|name| shared(interned, &name.to_string_lossy()));
        }
        // File and line come from the same entry: the outermost that has them.
        if subprogram.file.is_none() && entry.file.is_some() {
            subprogram.file = entry.file.as_ref().map(|file| shared(interned, file));
            subprogram.line = entry.line;
        } else if subprogram.line.is_none() {
            subprogram.line = entry.line;
        }
        next = entry.origin;
    }
    subprogram.name = subprogram.name.or_else(|| plain.map(Into::into));
    subprogram
}

/// A shared text: many functions have the same file, and some the same name.
fn shared(interned: &mut HashMap<String, Arc<str>>, text: &str) -> Arc<str> {
    interned.get(text).cloned().unwrap_or_else(|| {
        let shared: Arc<str> = text.into();
        interned.insert(text.to_owned(), shared.clone());
        shared
    })
}

/// The qualified name: `namespace::Type::name`.
fn qualified_name(entries: &HashMap<DebugInfoOffset, Entry<'_>>, offset: DebugInfoOffset) -> Option<String> {
    let mut parts = Vec::new();
    let mut next = Some(offset);
    let mut len = 0;
    for _ in 0..MAX_CHAIN {
        let Some(entry) = next.and_then(|o| entries.get(&o)) else { break };
        len += entry.name.map_or(0, |n| n.len());
        if len > LONGEST_NAME {
            break;
        }
        match entry.name {
            Some(name) => parts.push(name.to_string_lossy()),
            None if parts.is_empty() => return None,
            None => {} // an anonymous namespace
        }
        next = entry.parent;
    }
    parts.reverse();
    Some(parts.join("::"))
}

/// The name of a language in selection rules (DWARF 5, table 7.17, and later registrations).
fn language_name(language: gimli::DwLang) -> Option<&'static str> {
    Some(match language {
        dw::DW_LANG_C | dw::DW_LANG_C89 | dw::DW_LANG_C99 | dw::DW_LANG_C11 | dw::DW_LANG_C17 => "c",
        dw::DW_LANG_C_plus_plus
        | dw::DW_LANG_C_plus_plus_03
        | dw::DW_LANG_C_plus_plus_11
        | dw::DW_LANG_C_plus_plus_14
        | dw::DW_LANG_C_plus_plus_17
        | dw::DW_LANG_C_plus_plus_20 => "c++",
        dw::DW_LANG_Rust => "rust",
        dw::DW_LANG_Go => "go",
        dw::DW_LANG_Zig => "zig",
        dw::DW_LANG_Swift => "swift",
        dw::DW_LANG_D => "d",
        _ => return None,
    })
}
