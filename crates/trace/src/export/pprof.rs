//! pprof's format: a gzipped `perftools.profiles.Profile`
//! (`https://github.com/google/pprof/blob/main/proto/profile.proto`), read by `go tool pprof` and many services.
//!
//! A sample is a path of the call tree. Its values are the calls of its innermost function and the nanoseconds in that
//! function itself. The time of a function is spread over its sampled source lines. Callers are at the lines of their
//! declarations, because the places of calls are not recorded.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::left_out::sentences;
use super::otlp::wire::{Field, Proto, Wire};
use super::{RunInfo, Sink, Summary};
use crate::profile::{NodeLine, Profile};
use crate::span_builder::{Change, What};

/// Maximum number of functions of a path. The outermost ones of a longer path are left out.
const LONGEST_PATH: usize = 1_000;

/// Writes pprof profiles.
pub struct Pprof<W: Write> {
    out: GzEncoder<W>,
}

impl<W: Write> std::fmt::Debug for Pprof<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pprof").finish_non_exhaustive()
    }
}

impl<W: Write> Pprof<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Pprof { out: GzEncoder::new(out, Compression::default()) }
    }
}

/// Numbers of things, from 1 on, in the order of their first use.
struct Numbers<T> {
    known: HashMap<T, u64>,
    all: Vec<T>,
}

impl<T: Clone + Eq + Hash> Numbers<T> {
    fn new() -> Self {
        Numbers { known: HashMap::new(), all: Vec::new() }
    }

    fn of(&mut self, thing: T) -> u64 {
        let next = self.all.len() as u64 + 1;
        let Numbers { known, all } = self;
        *known.entry(thing).or_insert_with_key(|thing| {
            all.push(thing.clone());
            next
        })
    }
}

/// A function as it appears in one source file: inlined code may be from another file than its function.
type Function = (What, Option<Arc<str>>);

/// The tables of a profile.
struct Tables {
    functions: Numbers<Function>,
    /// A function and a line in it; 0 if the line is not known.
    locations: Numbers<(u64, u32)>,
    /// Text, without the empty one, which has the number 0.
    strings: Numbers<String>,
}

impl Tables {
    /// The place of a function's declaration.
    fn declaration(&mut self, run_info: &RunInfo, what: &What) -> u64 {
        let file = run_info.label(what).and_then(|label| label.file.clone());
        let function = self.functions.of((what.clone(), file));
        self.locations.of((function, run_info.line(what).unwrap_or(0)))
    }

    fn line(&mut self, what: &What, line: &NodeLine) -> u64 {
        let function = self.functions.of((what.clone(), Some(line.file.clone())));
        self.locations.of((function, line.line))
    }
}

fn value_type(proto: &mut Proto, field: u32, kind: u64, unit: u64) {
    proto.message(Field(field, "value_type"), |proto| {
        proto.int64(Field(1, "type"), kind as i64);
        proto.int64(Field(2, "unit"), unit as i64);
    });
}

/// The parts of a node's self time: one for each sampled line.
pub(super) fn parts(self_time: u64, lines: &[NodeLine]) -> impl Iterator<Item = (&NodeLine, u64)> {
    let samples: u64 = lines.iter().map(|line| line.samples).sum();
    let (mut seen, mut given) = (0, 0);
    lines.iter().map(move |line| {
        seen += line.samples;
        // All parts together are the self time, whatever is rounded.
        let until = (u128::from(self_time) * u128::from(seen) / u128::from(samples.max(1))) as u64;
        let part = until - given;
        given = until;
        (line, part)
    })
}

impl<W: Write> Pprof<W> {
    fn write(&mut self, fill: impl FnOnce(&mut Proto)) -> io::Result<()> {
        let mut proto = Proto::empty();
        fill(&mut proto);
        self.out.write_all(proto.bytes())
    }

    fn samples(&mut self, run_info: &RunInfo, summary: &Summary<'_>, tables: &mut Tables) -> io::Result<()> {
        let profile: &Profile = summary.profile;
        let lines = profile.lines(summary.lines);
        for (id, node) in profile.nodes_with_ids().filter(|(_, node)| !node.is_empty()) {
            let what = node.what.as_ref().expect("only the root is nothing");
            let own = lines.get(&id).map_or(&[][..], Vec::as_slice);
            let mut path: Vec<u64> = profile
                .path_to(node)
                .into_iter()
                .rev()
                .take(LONGEST_PATH)
                .map(|what| tables.declaration(run_info, what))
                .collect();
            let mut calls = node.calls;
            let whole = [(None, node.self_time)];
            let parts = parts(node.self_time, own).map(|(line, part)| (Some(line), part));
            let parts: Vec<_> = if own.is_empty() { whole.to_vec() } else { parts.collect() };
            for (line, nanos) in parts {
                if let Some(line) = line {
                    path[0] = tables.line(what, line);
                }
                self.write(|proto| {
                    proto.message(Field(2, "sample"), |proto| {
                        path.iter().for_each(|location| proto.int64(Field(1, "location_id"), *location as i64));
                        proto.int64(Field(2, "value"), std::mem::take(&mut calls) as i64);
                        proto.int64(Field(2, "value"), nanos as i64);
                    });
                })?;
            }
        }
        Ok(())
    }

    fn tables(&mut self, run_info: &RunInfo, tables: &mut Tables) -> io::Result<()> {
        let file = tables.strings.of(run_info.program.clone());
        self.write(|proto| {
            proto.message(Field(3, "mapping"), |proto| {
                proto.int64(Field(1, "id"), 1);
                proto.int64(Field(5, "filename"), file as i64);
                for field in [7, 8, 9] {
                    proto.boolean(Field(field, "has"), true);
                }
            });
        })?;
        for (number, (function, line)) in (1..).zip(std::mem::take(&mut tables.locations.all)) {
            self.write(|proto| {
                proto.message(Field(4, "location"), |proto| {
                    proto.int64(Field(1, "id"), number);
                    proto.int64(Field(2, "mapping_id"), 1);
                    proto.message(Field(4, "line"), |proto| {
                        proto.int64(Field(1, "function_id"), function as i64);
                        proto.int64(Field(2, "line"), i64::from(line));
                    });
                });
            })?;
        }
        for (number, (what, file)) in (1..).zip(std::mem::take(&mut tables.functions.all)) {
            let name = tables.strings.of(run_info.name(&what));
            let raw = run_info
                .label(&what)
                .map_or(name, |label| tables.strings.of(super::json::cut((&*label.name).into(), super::LONGEST_NAME)));
            let file = file.map_or(0, |file| tables.strings.of(super::json::cut((&*file).into(), super::LONGEST_NAME)));
            let line = run_info.line(&what).unwrap_or(0);
            self.write(|proto| {
                proto.message(Field(5, "function"), |proto| {
                    proto.int64(Field(1, "id"), number);
                    for (field, text) in [(2, name), (3, raw), (4, file), (5, line.into())] {
                        proto.int64(Field(field, "text"), text as i64);
                    }
                });
            })?;
        }
        self.write(|proto| {
            proto.string(Field(6, "string_table"), "");
        })?;
        for text in std::mem::take(&mut tables.strings.all) {
            self.write(|proto| proto.string(Field(6, "string_table"), &text))?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Pprof<W> {
    fn wants_changes(&self) -> bool {
        false // the call tree of the summary has it all
    }

    fn change(&mut self, _: &RunInfo, _: &Change<'_>) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let mut tables = Tables { functions: Numbers::new(), locations: Numbers::new(), strings: Numbers::new() };
        let [calls, count, time, nanoseconds] =
            ["calls", "count", "time", "nanoseconds"].map(|text| tables.strings.of(text.to_owned()));
        let comments = sentences(run_info, summary).into_iter().map(|text| tables.strings.of(text)).collect::<Vec<_>>();
        self.write(|proto| {
            value_type(proto, 1, calls, count);
            value_type(proto, 1, time, nanoseconds);
            proto.int64(Field(9, "time_nanos"), run_info.began as i64);
            proto.int64(Field(10, "duration_nanos"), summary.duration as i64);
            value_type(proto, 11, time, nanoseconds);
            proto.int64(Field(12, "period"), 1);
            comments.iter().for_each(|text| proto.int64(Field(13, "comment"), *text as i64));
            proto.int64(Field(14, "default_sample_type"), time as i64);
        })?;
        self.samples(run_info, summary, &mut tables)?;
        self.tables(run_info, &mut tables)?;
        self.out.try_finish()?;
        self.out.get_mut().flush()
    }
}
