//! Source maps stay true: oracle 10 of `docs/oracles.md`.
//!
//! Theorem: what a source map said of an instruction, and of every place that it has a segment for, the map of the hooked
//! module says of where that is now: source, line, column, name. Hooks belong to the segment that they stand at: the one that
//! the function opens with, its closing one, or that of the instruction they are for. All else in the map, down to its text,
//! is as it was.
//!
//! The reader is one of its own, over `serde_json`; where Node is there, its reader is asked too. Control: with the map left
//! alone, the same comparison fails.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testing::instrument;
use testing::readers::{code_start, every_way, operators};
use wasmtrace::hook::HookSet;
use wasmtrace::links::{BUILD_ID, SOURCE_MAP, named_by};
use wasmtrace::module::{FuncIdx, Module, parse};
use wasmtrace::rewrite::Rewritten;
use wasmtrace::sidecar::{SidecarFile, SidecarFiles};
use wasmtrace::{Options, strip};

/// A module, and its map.
pub(super) struct Mapped {
    pub(super) name: String,
    pub(super) wasm: Vec<u8>,
    pub(super) map: Vec<u8>,
}

/// What compilers wrote.
pub(super) fn from_compilers() -> Vec<Mapped> {
    let read = |folder: &str, name: &str| {
        let path = testing::corpus().join(folder).join(format!("{name}.wasm"));
        let map = std::fs::read(path.with_added_extension("map")).unwrap();
        Mapped { name: name.to_owned(), wasm: std::fs::read(path).unwrap(), map }
    };
    vec![read("real", "as_sieve_map"), read("beside", "emcc_map"), read("beside", "wasm_opt_map")]
}

/// The same, and what those maps may look like elsewhere: cut into the sections of an indexed map, with members that nobody
/// knows, with escapes, behind the line that keeps a browser from running it.
pub(super) fn every_map() -> Vec<Mapped> {
    let mut maps = from_compilers();
    let more: Vec<Mapped> = maps
        .iter()
        .map(|mapped| {
            let map = indexed(&serde_json::from_slice(&mapped.map).unwrap(), mapped.wasm.len());
            let text = format!(")]}}'\r\n{}\n", serde_json::to_string_pretty(&map).unwrap().replace('/', "\\/"));
            Mapped { name: format!("{} (indexed)", mapped.name), wasm: mapped.wasm.clone(), map: text.into_bytes() }
        })
        .collect();
    maps.extend(more);
    maps
}

/// A segment: column, then source, line, column there, if there is a name: that.
type Segment = Vec<i64>;

fn digit(c: u8) -> i64 {
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|d| *d == c).unwrap() as i64
}

/// The segments of `mappings`, all of whose numbers are sums.
fn segments(mappings: &str) -> Vec<Segment> {
    let mut sums = [0; 5];
    let mut found = Vec::new();
    for segment in mappings.split(';').next().unwrap().split(',').filter(|segment| !segment.is_empty()) {
        let (mut fields, mut value, mut shift) = (0, 0, 0);
        for c in segment.bytes() {
            value |= (digit(c) & 31) << shift;
            shift += 5;
            if digit(c) < 32 {
                sums[fields] += if value & 1 == 0 { value / 2 } else { -(value / 2) };
                (fields, value, shift) = (fields + 1, 0, 0);
            }
        }
        found.push(sums[..fields].to_vec());
    }
    found
}

/// The inverse of [`segments`].
pub(super) fn mappings(segments: &[Segment]) -> String {
    let mut sums = [0; 5];
    let numbers = |segment: &Segment| {
        let mut text = String::new();
        for (sum, number) in sums.iter_mut().zip(segment) {
            let by = number - *sum;
            *sum = *number;
            let mut rest = by.unsigned_abs() * 2 + u64::from(by < 0);
            loop {
                let (low, more) = (rest & 31, rest > 31);
                rest >>= 5;
                let digit = (0..=255u8).find(|c| {
                    (c.is_ascii_alphanumeric() || b"+/".contains(c)) && digit(*c) as u64 == low + 32 * u64::from(more)
                });
                text.push(digit.unwrap() as char);
                if !more {
                    break;
                }
            }
        }
        text
    };
    segments.iter().map(numbers).collect::<Vec<_>>().join(",")
}

/// The map in three sections, with members of nobody's.
fn indexed(map: &Value, length: usize) -> Value {
    let all = segments(map["mappings"].as_str().unwrap());
    let cut = |from: i64, to: i64| {
        let part: Vec<Segment> = all
            .iter()
            .filter(|s| (from..to).contains(&s[0]))
            .map(|s| std::iter::once(s[0] - from).chain(s[1..].iter().copied()).collect())
            .collect();
        let mut section = map.clone();
        section["mappings"] = mappings(&part).into();
        section["x_unknown"] = json!({ "mappings": ["A"], "\u{b5}": null });
        json!({ "offset": { "line": 0, "column": from }, "map": section })
    };
    let (a, b) = (all[all.len() / 3][0], all[all.len() / 2][0] + 1);
    json!({ "version": 3, "x_first": [1.5e3, "}"], "sections": [cut(0, a), cut(a, b), cut(b, length as i64)] })
}

/// A map as its readers see it.
struct Reader {
    /// By where it begins: the parts of the map, each with its segments by column.
    parts: BTreeMap<u64, (Value, BTreeMap<u64, Segment>)>,
}

/// A source, a line, a column, perhaps a name.
type Place = (String, i64, i64, Option<String>);

impl Reader {
    fn new(text: &[u8]) -> Self {
        let text = std::str::from_utf8(text).unwrap();
        let map: Value = serde_json::from_str(text.strip_prefix(")]}'").unwrap_or(text)).unwrap();
        let mut parts = BTreeMap::new();
        let mut part = |map: &Value, at: u64| {
            let segments = segments(map["mappings"].as_str().unwrap());
            parts.insert(at, (map.clone(), segments.into_iter().map(|s| (at + s[0] as u64, s)).collect()));
        };
        match map["sections"].as_array() {
            Some(sections) => {
                sections.iter().for_each(|s| part(&s["map"], s["offset"]["column"].as_u64().unwrap()));
            }
            None => part(&map, 0),
        }
        Reader { parts }
    }

    /// What the map says of an offset in the file: the last segment of the last part that begins there or before.
    fn place(&self, at: u64) -> Option<Place> {
        let (map, segments) = self.parts.range(..=at).next_back()?.1;
        let segment = segments.range(..=at).next_back()?.1;
        let [_, source, line, column, name @ ..] = segment.as_slice() else { return None };
        let text = |list: &str, index: i64| map[list][index as usize].as_str().unwrap().to_owned();
        Some((text("sources", *source), *line, *column, name.first().map(|name| text("names", *name))))
    }

    /// Every column that there is a segment for.
    fn columns(&self) -> Vec<u64> {
        self.parts.values().flat_map(|(_, segments)| segments.keys().copied()).collect()
    }

    /// Whether there is a segment with a place from here to there.
    fn has_segment(&self, range: std::ops::Range<u64>) -> bool {
        let mut all = self.parts.values().flat_map(|(_, segments)| segments.range(range.clone()));
        all.any(|(_, segment)| segment.len() > 1)
    }
}

pub(super) fn with(options: &Options, map: &[u8]) -> Options {
    let source_map =
        Some(SidecarFile { bytes: map.to_vec(), new_url: Some("new.map".to_owned()), ..Default::default() });
    Options { sidecar: SidecarFiles { source_map, ..Default::default() }, ..options.clone() }
}

/// Runs a test on every map, in every way to hook its module.
fn for_each_output(maps: Vec<Mapped>, test: impl Fn(&Mapped, &Module<'_>, &Module<'_>, &Rewritten)) {
    testing::for_each_named(
        &maps,
        |mapped| (&mapped.name, &mapped.wasm),
        |mapped| {
            let original = parse(&mapped.wasm).unwrap();
            for options in every_way() {
                let out = instrument(&mapped.wasm, &with(&options, &mapped.map)).unwrap();
                test(mapped, &original, &parse(&out.wasm).unwrap(), &out);
            }
        },
    );
}

/// How many instructions a map says something of, and of how many the new map says something else.
pub(super) fn differences(
    original: &Module<'_>,
    hooked: &Module<'_>,
    out: &Rewritten,
    before: &[u8],
    after: &[u8],
) -> (usize, usize) {
    let (before, after) = (Reader::new(before), Reader::new(after));
    let (old_start, new_start) = (code_start(original) as u64, code_start(hooked) as u64);
    let (mut known, mut different) = (0, 0);
    for func in original.defined_funcs() {
        for old in operators(original, func) {
            let new = u64::from(out.offsets.instruction(old as u32).unwrap());
            let was = before.place(old_start + old);
            known += usize::from(was.is_some());
            different += usize::from(was != after.place(new_start + new));
        }
    }
    (known, different)
}

#[test]
fn every_instruction_has_the_place_that_it_had() {
    for_each_output(every_map(), |mapped, original, hooked, out| {
        let new = out.source_map.as_ref().expect("there is a map");
        let (known, different) = differences(original, hooked, out, &mapped.map, new);
        assert!(known > 500, "{known} instructions are known");
        assert_eq!(different, 0, "of {known}");
        assert_eq!(named_by(hooked, SOURCE_MAP), Some("new.map"));
        assert_eq!(out.warnings, []);
        assert!(strip(&out.wasm).unwrap() == mapped.wasm);
    });
}

/// The control: the comparison tells a stale map from a true one.
#[test]
fn left_alone_it_would_be_wrong() {
    for_each_output(every_map(), |mapped, original, hooked, out| {
        let (known, different) = differences(original, hooked, out, &mapped.map, &mapped.map);
        assert!(different > known / 2, "{different} of {known}");
    });
}

/// No segment comes, goes or moves to something else: each is where the place went that it was for, before what was inserted
/// there; that of a first operator is behind the hook if the function opens before it.
#[test]
fn segments_are_those_that_there_were() {
    for_each_output(every_map(), |mapped, original, hooked, out| {
        let (before, after) = (Reader::new(&mapped.map), Reader::new(out.source_map.as_ref().unwrap()));
        let (old, new) = (before.columns(), after.columns());
        assert_eq!(old.len(), new.len());
        let starts = (code_start(original) as u64, code_start(hooked) as u64);
        for (old, new) in old.iter().zip(&new) {
            let (at, now) = ((old - starts.0) as u32, (new - starts.1) as u32);
            assert_eq!(before.place(*old), after.place(*new), "the segment at {old:#x}");
            let (from, to) = (out.offsets.address(at).unwrap(), out.offsets.instruction(at).unwrap());
            // An empty body has both hooks at one place, and the segment between them.
            assert!((from..=to).contains(&now), "{at:#x} is now at {now:#x}, not from {from:#x} to {to:#x}");
        }
    });
}

/// A debugger that steps does not jump: a hook is of the place of the instruction that it stands before, and what a function
/// is entered by of the place that it opens with.
#[test]
fn hooks_belong_to_the_segment_that_they_stand_at() {
    for_each_output(every_map(), |mapped, original, hooked, out| {
        let (before, after) = (Reader::new(&mapped.map), Reader::new(out.source_map.as_ref().unwrap()));
        let (old_start, new_start) = (code_start(original) as u64, code_start(hooked) as u64);
        let moved = hooked.imported_funcs().len() as u32 - original.imported_funcs().len() as u32;
        let (mut entries, mut others) = (0, 0);
        let mut end_before = 0;
        for func in original.defined_funcs() {
            let old = operators(original, func);
            let map = |old: u64| u64::from(out.offsets.instruction(old as u32).unwrap());
            let mut originals = old.iter().map(|old| (*old, map(*old))).peekable();
            let opens =
                if before.has_segment(old_start + end_before..old_start + old[0]) { old[0] - 1 } else { old[0] };
            for address in operators(hooked, FuncIdx(func.0 + moved)) {
                while originals.next_if(|(_, new)| *new < address).is_some() {}
                let (next, at) = *originals.peek().expect("the last operator is the original's");
                if at == address {
                    continue;
                }
                let place = after.place(new_start + address);
                let closes = old.len() == 1 && place == before.place(old_start + next);
                let of = if next == old[0] && !closes { opens } else { next };
                entries += usize::from(next == old[0]);
                others += usize::from(next != old[0]);
                assert_eq!(place, before.place(old_start + of), "a hook at {address:#x}, before {next:#x}");
            }
            end_before = (original.body(func).end - code_start(original)) as u64;
        }
        assert!(entries > 20 && others > 20, "{entries}, {others}");
    });
}

/// Where a function opens with a segment of its own in front of the first operator, the hook of the entry is that one's.
#[test]
fn the_entry_belongs_to_a_segment_in_front_of_the_first_operator() {
    let wasm = wat::parse_str("(module (func (result i32) (i32.const 1)) (func (result i32) (i32.const 2)))").unwrap();
    let module = parse(&wasm).unwrap();
    let at = |func: u32| module.body(FuncIdx(func)).start as i64;
    // The first function opens at its locals, the second at its first operator; both close at `end`.
    let all =
        [[at(0), 0, 1, 0], [at(0) + 1, 0, 2, 0], [at(0) + 3, 0, 3, 0], [at(1) + 1, 0, 5, 0], [at(1) + 3, 0, 6, 0]];
    let all: Vec<Segment> = all.iter().map(|segment| segment.to_vec()).collect();
    let map = json!({ "version": 3, "sources": ["a"], "names": [], "mappings": mappings(&all) }).to_string();
    for options in every_way() {
        let out = instrument(&wasm, &with(&options, map.as_bytes())).unwrap();
        let hooked = parse(&out.wasm).unwrap();
        let reader = Reader::new(out.source_map.as_ref().unwrap());
        let first = hooked.imported_funcs().len() as u32;
        let lines = |func: u32| -> Vec<i64> {
            let operators = operators(&hooked, FuncIdx(first + func));
            let mut lines: Vec<i64> =
                operators.iter().map(|at| reader.place(code_start(&hooked) as u64 + at).unwrap().1).collect();
            lines.dedup();
            lines
        };
        assert_eq!(lines(0), [1, 2, 3]);
        assert_eq!(lines(1), [5, 6]);
    }
}

/// Byte for byte, but for `mappings` and where sections begin.
#[test]
fn all_else_in_the_map_is_as_it_was() {
    let without = |map: &[u8]| {
        let text = std::str::from_utf8(map).unwrap();
        let numbers = regex_lite::Regex::new(r#"("mappings": ?")[^"]*|("column": ?)\d+"#).unwrap();
        numbers.replace_all(text, "$1$2").into_owned()
    };
    for_each_output(every_map(), |mapped, _, _, out| {
        let new = out.source_map.as_ref().unwrap();
        assert!(*new != mapped.map);
        assert_eq!(without(new), without(&mapped.map));
    });
}

/// What a first line does not hold means nothing in a module, and stays.
#[test]
fn other_lines_are_left_alone() {
    let wasm = wat::parse_str("(module (func (result i32) (i32.const 1)))").unwrap();
    let at = parse(&wasm).unwrap().body(FuncIdx(0)).start as i64 + 1;
    let line = mappings(&[vec![at, 0, 1, 2]]);
    let map = format!(r#"{{"version":3,"sources":["a"],"mappings":"{line};;AAAA,C;E"}}"#);
    let out = instrument(&wasm, &with(&Options::default(), map.as_bytes())).unwrap();
    let new = String::from_utf8(out.source_map.unwrap()).unwrap();
    assert!(new.ends_with(";;AAAA,C;E\"}") && new != map, "{new}");
}

/// However damaged a map is, the module is hooked as it is without one; what comes of the map is a map, or a warning.
#[test]
fn a_damaged_map_does_no_harm() {
    let wasm = wat::parse_str(
        "(module (func (export \"a\") (result i32) (i32.const 1)) (func (param i32) (result i32) (local.get 0)))",
    )
    .unwrap();
    let starts: Vec<i64> = (0..2).map(|func| parse(&wasm).unwrap().body(FuncIdx(func)).start as i64).collect();
    let all: Vec<Segment> =
        starts.iter().flat_map(|at| [vec![*at, 0, 0, 1], vec![at + 1, 1, 2, 3, 0], vec![at + 3]]).collect();
    let map = json!({
        "version": 3, "file": "a.wasm", "sourceRoot": "r\u{b5}\"", "sources": ["a\\b", null], "sourcesContent": [null, "x"],
        "names": ["n"], "mappings": mappings(&all), "ignoreList": [0],
    });
    let (mut maps, mut refused) = (0, 0);
    for map in [map.clone(), indexed(&map, wasm.len())] {
        let text = map.to_string().into_bytes();
        for at in 0..text.len() {
            for value in [0, b'"', b'\\', b',', b'{', b']', b'9', b'g', text[at] ^ 1, text[at].wrapping_add(0x40)] {
                let mut damaged = text.clone();
                damaged[at] = value;
                let options = with(&Options::default(), &damaged);
                let out = instrument(&wasm, &options).expect("what is damaged is optional");
                match &out.source_map {
                    Some(new) => {
                        maps += 1;
                        // Whatever else it says, what was a map is one.
                        let was = serde_json::from_slice::<Value>(&damaged).is_ok();
                        assert!(!was || serde_json::from_slice::<Value>(new).is_ok());
                    }
                    None => {
                        refused += 1;
                        assert!(
                            out.warnings.iter().any(|w| w.message.contains("cannot be read")),
                            "{:?}",
                            out.warnings
                        );
                    }
                }
                assert!(strip(&out.wasm).unwrap() == wasm);
            }
        }
    }
    assert!(maps > 500 && refused > 500, "{maps}, {refused}");
}

/// The reader that Node brings says the same, where Node is there.
#[test]
fn nodes_reader_says_what_it_said() {
    let program = r#"
        const { SourceMap } = require("node:module");
        const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
        const of = (map, at) => { const e = map.findEntry(0, at); return [e.originalSource, e.originalLine, e.originalColumn, e.name]; };
        const [before, after] = [asked.before, asked.after].map((map) => new SourceMap(map));
        const different = asked.places.filter(([a, b]) => JSON.stringify(of(before, a)) !== JSON.stringify(of(after, b)));
        console.log(JSON.stringify({ different: different.length, known: asked.places.filter(([a]) => of(before, a)[0]).length }));
    "#;
    let node = std::env::var("NODE").unwrap_or_else(|_| "node".to_owned());
    if std::process::Command::new(&node).arg("--version").output().is_err() {
        eprintln!("skipped: there is no {node}");
        return;
    }
    for mapped in from_compilers() {
        let original = parse(&mapped.wasm).unwrap();
        let out = instrument(&mapped.wasm, &with(&Options::default(), &mapped.map)).unwrap();
        let hooked = parse(&out.wasm).unwrap();
        let (old_start, new_start) = (code_start(&original) as u64, code_start(&hooked) as u64);
        let all = original.defined_funcs().flat_map(|func| operators(&original, func));
        let places: Vec<(u64, u64)> = all
            .map(|old| (old_start + old, new_start + u64::from(out.offsets.instruction(old as u32).unwrap())))
            .collect();
        let ask = |after: &[u8]| {
            let map = |text| serde_json::from_slice::<Value>(text).unwrap();
            let asked = json!({ "before": map(&mapped.map), "after": map(after), "places": places }).to_string();
            let mut child = std::process::Command::new(&node)
                .args(["-e", program])
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), asked.as_bytes()).unwrap();
            let said: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
            (said["known"].as_u64().unwrap(), said["different"].as_u64().unwrap())
        };
        let (known, different) = ask(out.source_map.as_ref().unwrap());
        assert!(known > 500 && different == 0, "{different} of {known}");
        let (known, different) = ask(&mapped.map);
        assert!(different > known / 2, "the control: {different} of {known}");
    }
}

/// Links, maps and ids are of no hook set.
#[test]
fn outputs_are_the_same_however_often_they_are_made() {
    let mapped = &from_compilers()[1];
    let options = with(&Options::default(), &mapped.map);
    let (a, b) = (instrument(&mapped.wasm, &options).unwrap(), instrument(&mapped.wasm, &options).unwrap());
    assert!(a.wasm == b.wasm && a.source_map == b.source_map);
    assert_eq!(a.manifest.unwrap().hooks, HookSet::Observe);
    assert!(parse(&a.wasm).unwrap().custom(BUILD_ID).is_none());
}
