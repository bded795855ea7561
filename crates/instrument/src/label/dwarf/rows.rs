//! Files and lines from DWARF's line tables.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{AttributeValue, constants as dw};

use super::units::{Dwarf, Unit, Units, dwarf, file_path, headers, is_alive, load};
use crate::module::Module;

/// The file and line (from 1) of each address, as far as line tables have them. Addresses must ascend.
pub(crate) fn lines(symbols: &Module<'_>, wanted: &[u64]) -> Vec<Option<(Arc<str>, u32)>> {
    let mut found = vec![None; wanted.len()];
    if symbols.custom(".debug_info").is_none() || wanted.is_empty() {
        return found;
    }
    for (at, line) in in_each_unit(symbols, |dwarf, unit| unit_lines(dwarf, unit, wanted)) {
        found[at] = found[at].take().or(Some(line));
    }
    found
}

/// The positions in `wanted` that a unit's line table covers, with their lines.
fn unit_lines<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, wanted: &[u64]) -> Vec<(usize, (Arc<str>, u32))> {
    let mut found = Vec::new();
    let Some(program) = unit.line_program.clone() else { return found };
    let mut files: HashMap<u64, Option<Arc<str>>> = HashMap::new();
    let mut rows = program.rows();
    // The start of the sequence, and the previous row: address, file, line.
    let (mut start, mut before) = (None, None);
    while let Ok(Some((_, row))) = rows.next_row() {
        let address = row.address();
        let start_of_this = *start.get_or_insert(address);
        if let Some((from, file, line)) = before.replace((address, row.file_index(), row.line()))
            && let Some(line) = line.and_then(|line| u32::try_from(line.get()).ok())
            && is_alive(start_of_this)
            && from < address
        {
            let first = wanted.partition_point(|wanted| *wanted < from);
            let count = wanted[first..].partition_point(|wanted| *wanted < address);
            for at in first..first + count {
                if let Some(path) = files.entry(file).or_insert_with(|| file_path(dwarf, unit, file)) {
                    found.push((at, (path.clone(), line)));
                }
            }
        }
        if row.end_sequence() {
            (start, before) = (None, None);
        }
    }
    found
}

/// The file and line (from 1) of the first row in each range of addresses. Ranges must ascend and not overlap.
///
/// Compilers write such a row for the place where a function begins. With line tables only, it is the one thing that tells
/// the function's file.
pub(crate) fn first_lines(symbols: &Module<'_>, ranges: &[Range<u64>]) -> Vec<Option<(Arc<str>, u32)>> {
    let mut found: Vec<Option<FirstRow>> = vec![None; ranges.len()];
    if symbols.custom(".debug_info").is_none() || ranges.is_empty() {
        return vec![None; ranges.len()];
    }
    for (at, row) in in_each_unit(symbols, |dwarf, unit| unit_first_rows(dwarf, unit, ranges)) {
        if found[at].as_ref().is_none_or(|first| row.address < first.address) {
            found[at] = Some(row);
        }
    }
    found.into_iter().map(|row| row.map(|row| (row.file, row.line))).collect()
}

#[derive(Debug, Clone)]
struct FirstRow {
    address: u64,
    file: Arc<str>,
    line: u32,
}

fn unit_first_rows<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>, ranges: &[Range<u64>]) -> Vec<(usize, FirstRow)> {
    let Some(program) = unit.line_program.clone() else { return Vec::new() };
    let mut files: HashMap<u64, Option<Arc<str>>> = HashMap::new();
    // By range: the address, the index of the file and the line.
    let mut found: HashMap<usize, (u64, u64, u32)> = HashMap::new();
    let mut rows = program.rows();
    let mut start = None;
    while let Ok(Some((_, row))) = rows.next_row() {
        let address = row.address();
        let start_of_this = *start.get_or_insert(address);
        if row.end_sequence() {
            start = None;
            continue;
        }
        let at = ranges.partition_point(|range| range.end <= address);
        let is_first = ranges.get(at).is_some_and(|range| range.contains(&address))
            && found.get(&at).is_none_or(|(first, ..)| address < *first);
        let line = row.line().and_then(|line| u32::try_from(line.get()).ok());
        let (true, true, Some(line)) = (is_first, is_alive(start_of_this), line) else { continue };
        found.insert(at, (address, row.file_index(), line));
    }
    if found.is_empty() {
        return Vec::new();
    }
    let inlined = inlined(dwarf, unit);
    let rows = found.into_iter().filter_map(|(at, (address, file, line))| {
        // Inlined code belongs to another function; the place of the call belongs to this one.
        let before = inlined.partition_point(|call| call.range.begin <= address);
        let call = before.checked_sub(1).map(|last| &inlined[last]).filter(|call| address < call.range.end);
        let (file, line) = call.map_or((file, line), |call| (call.file, call.line));
        let file = files.entry(file).or_insert_with(|| file_path(dwarf, unit, file)).clone()?;
        Some((at, FirstRow { address, file, line }))
    });
    rows.collect()
}

/// A call that the compiler inlined into a function, and not into an inlined one.
struct InlinedCall {
    range: gimli::Range,
    file: u64,
    line: u32,
}

/// The inlined calls in a unit, by ascending address.
fn inlined<'a>(dwarf: &Dwarf<'a>, unit: &Unit<'a>) -> Vec<InlinedCall> {
    let mut calls: Vec<InlinedCall> = Vec::new();
    // Lists of ranges can be shared; compilers do not share them.
    let most = unit.header.length_including_self();
    // The depth of the inlined call that the cursor is in.
    let mut within: Option<isize> = None;
    let mut cursor = unit.entries();
    while let Ok(Some(die)) = cursor.next_dfs() {
        within = within.filter(|depth| die.depth() > *depth);
        if within.is_some() || die.tag() != dw::DW_TAG_inlined_subroutine {
            continue;
        }
        within = Some(die.depth());
        let number = |name| match die.attr_value(name)? {
            AttributeValue::FileIndex(index) => Some(index),
            other => other.udata_value(),
        };
        let line = number(dw::DW_AT_call_line).and_then(|line| u32::try_from(line).ok());
        let (Some(file), Some(line)) = (number(dw::DW_AT_call_file), line) else { continue };
        let Ok(mut ranges) = dwarf.die_ranges(unit, die) else { continue };
        while let Ok(Some(range)) = ranges.next() {
            calls.push(InlinedCall { range, file, line });
            if calls.len() > most {
                return Vec::new();
            }
        }
    }
    calls.sort_unstable_by_key(|call| call.range.begin);
    calls
}

/// What `read` finds in all units, in parallel.
fn in_each_unit<'a, T: Send>(
    symbols: &Module<'a>,
    read: impl for<'d> Fn(&Dwarf<'d>, &Unit<'d>) -> Vec<T> + Sync + Send,
) -> impl Iterator<Item = T> {
    let sections = load(symbols);
    let dwarf = dwarf(&sections);
    let (headers, _) = headers(&dwarf);
    let units = Units::new(&sections, &headers);
    let headers: Vec<_> = headers.into_iter().enumerate().collect();
    let read = |(place, header)| match units.unit(place, header) {
        Ok(unit) => read(&dwarf, &unit),
        Err(_) => Vec::new(),
    };
    crate::parallel::map(headers, read).into_iter().flatten()
}
