//! Relocates source maps (ECMA-426, version 3) across an [`OffsetMap`]: each segment is kept for the new offset of its
//! instruction.
//!
//! The map of a module has one line, whose columns are offsets in the file. `mappings` is a list of segments of up to
//! five numbers, each encoded as the difference to that of the previous segment:
//!
//! ```text
//! "mappings": "wB + A + I + E,  E + A + A + C,  …"      a segment: column, source, line, column there, name
//!              ↑ written anew   ↑                       all else is copied, so the other differences stay right
//! ```
//!
//! The text stays unchanged, byte for byte, except the first number of each segment and, in an indexed map, the start of
//! each section. The crate `sourcemap` would parse the map into a tree and write a new one: unknown members, sections and the
//! order would be lost. It also needs serde, which the compiler does not use otherwise.
//!
//! Offsets follow the rule of [`super::addresses`]: an offset maps to the start of the code inserted there. The exit hook and
//! all inner hooks belong to the segment of the instruction after them. The entry hook belongs to the opening of the
//! function, if a segment precedes the first operator; otherwise it belongs to the first operator's segment.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use super::addresses::Addresses;
use super::patch::Patches;
use crate::mapping::OffsetMap;

mod json;
mod places;
pub(crate) mod url;

use json::{Json, text_of};

/// The result of reading a map, with the reason if it cannot be read.
pub(crate) type Result<T, E = &'static str> = std::result::Result<T, E>;

/// A parsed source map.
#[derive(Debug)]
pub(crate) struct SourceMap<'m> {
    text: Cow<'m, [u8]>,
    /// One part, or the sections of an indexed map.
    parts: Vec<Part>,
}

/// A map that is not indexed.
#[derive(Debug, Default)]
struct Part {
    /// In an indexed map: the position of the number with its offset in the module, and that offset.
    offset: Option<(Range<usize>, u64)>,
    /// The range of its `mappings`, including quotes.
    mappings: Range<usize>,
    /// The range of each source's name, if it is known.
    sources: Vec<Option<Range<usize>>>,
    root: Option<Range<usize>>,
    /// Indices of sources that are not part of the program, such as `__ignore__`, which a compiler adds.
    ignored: HashSet<u64>,
}

/// A segment of `mappings`.
struct Segment<'t> {
    /// An offset in the module.
    column: u64,
    /// The text after the column.
    rest: &'t [u8],
    /// The source and its line, from 0.
    place: Option<(u64, u64)>,
}

/// The segments of the only line, in text order.
struct Segments<'t> {
    /// The rest of the line.
    line: Option<&'t [u8]>,
    /// Running sums: column, source, line, column in the source, name.
    sums: [i64; 5],
    begins_at: u64,
}

impl<'m> SourceMap<'m> {
    /// Parses a map of a module that is `length` bytes long.
    pub(crate) fn read(text: Cow<'m, [u8]>, length: usize) -> Result<Self> {
        let start = if text.starts_with(b")]}'") {
            // A line that prevents browsers from running it (ECMA-426, "JSON over HTTP transport").
            text.iter().position(|byte| *byte == b'\n').ok_or("it is not a JSON source map")?
        } else if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        let mut parts = Vec::new();
        let mut json = Json::new(&text, start);
        read_map(&text, &mut json, &mut parts, None)?;
        json.end()?;
        let map = SourceMap { text, parts };
        for part in &map.parts {
            let mappings = map.mappings(part)?;
            for segment in part.segments(&mappings) {
                if segment?.column >= length as u64 {
                    return Err("it refers to offsets outside of the module");
                }
            }
        }
        Ok(map)
    }

    /// Parses a map in a `data:` URL.
    pub(crate) fn read_data(url: &str, length: usize) -> Result<Self> {
        let text = url::read_data(url).ok_or("its data is damaged")?;
        Self::read(Cow::Owned(text), length)
    }

    fn mappings(&self, part: &Part) -> Result<Cow<'_, str>> {
        text_of(&self.text, part.mappings.clone())
    }

    /// Relocates the map. The contents of the code section begin at these offsets of the modules, before and after.
    pub(crate) fn relocate(&self, offsets: &OffsetMap, (old, new): (usize, usize)) -> Vec<u8> {
        const READ: &str = "read before";
        let mut addresses = Addresses::new(offsets);
        let mut near = 0;
        let mappings: Vec<Cow<'_, str>> = self.parts.iter().map(|part| self.mappings(part).expect(READ)).collect();
        for (part, mappings) in self.parts.iter().zip(&mappings) {
            for segment in part.segments(mappings).map(|segment| segment.expect(READ)) {
                let Some(address) = segment.column.checked_sub(old as u64).filter(|_| segment.place.is_some()) else {
                    continue;
                };
                if let Some(body) = addresses.opening(address, &mut near) {
                    addresses.open(body);
                }
            }
        }
        let mut moved = |column: u64| match column.checked_sub(old as u64) {
            Some(address) => new as u64 + addresses.map(address, &mut near),
            None => (new as u64).saturating_sub(old as u64 - column),
        };
        let mut patches = Patches::default();
        for (part, mappings) in self.parts.iter().zip(&mappings) {
            let mut last = 0;
            if let Some((place, offset)) = &part.offset {
                last = moved(*offset) as i64;
                patches.replace(place.start, place.len(), last.to_string().into_bytes());
            }
            let mut out = vec![b'"'];
            for segment in part.segments(mappings).map(|segment| segment.expect(READ)) {
                if out.len() > 1 {
                    out.push(b',');
                }
                let column = moved(segment.column) as i64;
                write_vlq(column - last, &mut out);
                last = column;
                out.extend_from_slice(segment.rest);
            }
            // Only the first line is meaningful in a module; other lines are copied.
            let line = mappings.find(';').unwrap_or(mappings.len());
            out.extend_from_slice(&mappings.as_bytes()[line..]);
            out.push(b'"');
            patches.replace(part.mappings.start, part.mappings.len(), out);
        }
        patches.settle().expect("members of an object do not overlap");
        patches.apply(&self.text)
    }

    /// Relocates the map into the `data:` URL that replaces this one.
    pub(crate) fn relocate_data(&self, url: &str, offsets: &OffsetMap, starts: (usize, usize)) -> String {
        url::write_data(url, &self.relocate(offsets, starts)).expect("it was read as such a URL")
    }
}

/// Parses a map, or a section of an indexed one if `offset` is given.
fn read_map(
    text: &[u8],
    json: &mut Json<'_>,
    parts: &mut Vec<Part>,
    offset: Option<(Range<usize>, u64)>,
) -> Result<()> {
    let (mut version, mut mappings, mut sections) = (None, None, false);
    let is_section = offset.is_some();
    let mut part = Part { offset, ..Default::default() };
    json.object(|key, value| {
        match key {
            "version" => version = Some(value.natural()?.1),
            "mappings" if mappings.is_some() => return Err("it has two members `mappings`"),
            "mappings" => mappings = Some(value.string()?),
            "sources" => {
                part.sources.clear();
                value.array(|source| {
                    part.sources.push(source.string_if_any()?);
                    Ok(())
                })?;
            }
            // The second name is the one that the member had before it became part of the standard.
            "ignoreList" | "x_google_ignoreList" => {
                let mut list = value.clone();
                let read = list.array(|source| {
                    part.ignored.insert(source.natural()?.1);
                    Ok(())
                });
                if read.is_err() {
                    part.ignored.clear();
                }
                value.skip()?;
            }
            "sourceRoot" => part.root = value.string_if_any()?,
            "sections" if is_section || sections => return Err("its sections contain sections"),
            "sections" => {
                sections = true;
                value.array(|section| read_section(text, section, parts))?;
            }
            _ => value.skip()?,
        }
        Ok(())
    })?;
    if version != Some(3) {
        return Err("its version is not 3");
    }
    match mappings {
        Some(mappings) if !sections => {
            parts.push(Part { mappings, ..part });
            Ok(())
        }
        None if sections => Ok(()),
        _ => Err("it has no `mappings`"),
    }
}

fn read_section(text: &[u8], json: &mut Json<'_>, parts: &mut Vec<Part>) -> Result<()> {
    let (mut line, mut column, mut map) = (None, None, None);
    json.object(|key, value| match key {
        "offset" => value.object(|key, value| {
            match key {
                "line" => line = Some(value.natural()?.1),
                "column" => column = Some(value.natural()?),
                _ => value.skip()?,
            }
            Ok(())
        }),
        "map" => {
            map = Some(value.clone());
            value.skip()
        }
        _ => value.skip(),
    })?;
    match (line, column, map) {
        (Some(0), Some(column), Some(mut map)) => read_map(text, &mut map, parts, Some(column)),
        (_, _, None) => Err("one of its sections is in another file"),
        _ => Err("one of its sections is not on line 0"),
    }
}

impl Part {
    fn segments<'t>(&self, mappings: &'t str) -> Segments<'t> {
        let line = mappings.split(';').next().unwrap_or_default();
        let begins_at = self.offset.as_ref().map_or(0, |(_, at)| *at);
        Segments { line: (!line.is_empty()).then_some(line.as_bytes()), sums: [0; 5], begins_at }
    }
}

impl<'t> Iterator for Segments<'t> {
    type Item = Result<Segment<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.line.take()?;
        let end = line.iter().position(|byte| *byte == b',');
        self.line = end.map(|end| &line[end + 1..]);
        Some(self.segment(&line[..end.unwrap_or(line.len())]))
    }
}

impl<'t> Segments<'t> {
    fn segment(&mut self, text: &'t [u8]) -> Result<Segment<'t>> {
        let (mut at, mut fields, mut rest) = (0, 0, text);
        while at < text.len() {
            let sum = self.sums.get_mut(fields).ok_or("one of its segments has too many numbers")?;
            *sum = sum
                .checked_add(read_vlq(text, &mut at)?)
                .filter(|sum| *sum >= 0)
                .ok_or("it contains a negative number")?;
            if fields == 0 {
                rest = &text[at..];
            }
            fields += 1;
        }
        if !matches!(fields, 1 | 4 | 5) {
            return Err("one of its segments does not have 1, 4 or 5 numbers");
        }
        let [column, source, line, ..] = self.sums.map(|sum| sum as u64);
        let column = column.checked_add(self.begins_at).ok_or("it contains a number that is too large")?;
        Ok(Segment { column, rest, place: (fields > 1).then_some((source, line)) })
    }
}

/// Reads a base64 VLQ: five bits per digit, lowest first, of which the first is the sign; at most 32 bits.
fn read_vlq(text: &[u8], at: &mut usize) -> Result<i64> {
    let (mut value, mut func_map) = (0i64, 0);
    loop {
        let digit = text.get(*at).copied().and_then(url::digit).ok_or("its `mappings` contain an invalid character")?;
        *at += 1;
        value |= i64::from(digit & 0x1f) << func_map;
        func_map += 5;
        if digit & 0x20 == 0 {
            break;
        }
        if func_map > 35 {
            return Err("it contains a number that is too large");
        }
    }
    Ok(if value & 1 == 0 { value >> 1 } else { -(value >> 1) })
}

fn write_vlq(value: i64, out: &mut Vec<u8>) {
    let mut rest = value.unsigned_abs() << 1 | u64::from(value < 0);
    loop {
        let digit = (rest & 0x1f) as u32;
        rest >>= 5;
        out.push(url::as_digit(if rest > 0 { digit | 0x20 } else { digit }));
        if rest == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, -1, 15, 16, -16, 511, 512, 1 << 20, -(1 << 31), (1 << 32) - 1] {
            let mut out = Vec::new();
            write_vlq(value, &mut out);
            let mut at = 0;
            assert_eq!((read_vlq(&out, &mut at), at), (Ok(value), out.len()));
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let read = |text: &str| SourceMap::read(Cow::Borrowed(text.as_bytes()), 100).map(|map| map.parts.len());
        assert_eq!(read(r#"{"version":3,"mappings":""}"#), Ok(1));
        assert_eq!(read(")]}'\n{\"mappings\":\"AAAA,C,mBAAA\",\"version\":3}\n"), Ok(1));
        assert_eq!(
            read(r#"{"version":3,"sections":[{"offset":{"line":0,"column":9},"map":{"version":3,"mappings":"AA"}}]}"#),
            Err("one of its segments does not have 1, 4 or 5 numbers")
        );
        for damaged in [
            "",
            "[]",
            r#"{"version":3}"#,
            r#"{"version":2,"mappings":""}"#,
            r#"{"version":3,"mappings":"","mappings":""}"#,
            r#"{"version":3,"mappings":"A,"}"#,
            r#"{"version":3,"mappings":"AAAAAA"}"#,
            r#"{"version":3,"mappings":"D"}"#,
            r#"{"version":3,"mappings":"g"}"#,
            r#"{"version":3,"mappings":"ggggggggggA"}"#,
            r#"{"version":3,"mappings":"oG"}"#,
            r#"{"version":3,"mappings":"A","sections":[]}"#,
            r#"{"version":3,"sections":[{"offset":{"line":1,"column":0},"map":{"version":3,"mappings":""}}]}"#,
            r#"{"version":3,"sections":[{"offset":{"line":0,"column":0},"url":"x"}]}"#,
        ] {
            assert!(read(damaged).is_err(), "{damaged}");
        }
    }
}
