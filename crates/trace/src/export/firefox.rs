//! The Firefox Profiler's processed profile format, version 55 (`docs-developer/processed-profile-format.md` of
//! `https://github.com/firefox-devtools/profiler`), read by `https://profiler.firefox.com`.
//!
//! The profiler shows samples. Each piece of time between two events is one, with its duration as its weight, so totals
//! are those of the calls. Functions have categories and source places; manual spans, log lines, metrics and
//! `memory.grow` are markers.
//!
//! The samples of the run give each function's source lines. A piece of time in a function gets one of them, so that the
//! lines of the function have the shares that its samples have. The line of a single piece is not measured.
//!
//! The crate `fxprof-processed-profile` writes this format too. It has neither source files nor lines of functions, and its
//! weights are whole numbers.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use rustc_hash::FxBuildHasher;
use serde_json::{Value, json};

use super::json::{cut, json_line};
use super::left_out::sentences;
use super::manual::ManualSpans;
use super::{LONGEST_NAME, RunInfo, SAMPLES, Sink, Summary};
use crate::profile::Profile;
use crate::span_builder::{Change, Note, What};
use wasmtrace_abi::label::Category;

mod tables;

use tables::{Columns, Frame, NO_STACK, Tables};

/// Writes profiles for the Firefox Profiler. It keeps 16 bytes for each event until the end of the run.
pub struct Firefox<W: Write> {
    out: W,
    tables: Tables,
    /// The stacks of the open calls.
    open: Vec<u32>,
    samples: Vec<Sample>,
    manual: ManualSpans,
    markers: Vec<Marker>,
    now: u64,
}

impl<W: Write> std::fmt::Debug for Firefox<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Firefox").finish_non_exhaustive()
    }
}

/// A piece of time in one call.
struct Sample {
    /// Nanoseconds since the start of the run.
    start: u64,
    /// Its stack, or [`NO_STACK`].
    stack: u32,
}

/// A moment.
struct Marker {
    at: u64,
    name: &'static str,
    text: String,
}

impl<W: Write> Firefox<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Firefox {
            out,
            tables: Tables::default(),
            open: Vec::new(),
            samples: Vec::new(),
            manual: ManualSpans::default(),
            markers: Vec::new(),
            now: 0,
        }
    }

    /// The stack changes at `at`.
    fn moved(&mut self, at: u64) {
        self.now = self.now.max(at);
        let stack = self.open.last().copied().unwrap_or(NO_STACK);
        match self.samples.last_mut() {
            // Nothing lasted between the two.
            Some(last) if last.start == self.now => last.stack = stack,
            Some(last) if last.stack == stack => {}
            _ => self.samples.push(Sample { start: self.now, stack }),
        }
    }

    /// The samples of a run without calls: its call tree, one node after the other.
    fn samples_of(&mut self, profile: &Profile) {
        let mut stacks: Vec<u32> = vec![NO_STACK];
        for node in profile.nodes() {
            let prefix = stacks[node.parent.map_or(0, |parent| parent.index())];
            let what = node.what.clone().expect("only the root is nothing");
            let stack = self.tables.stack(prefix, Frame { what, place: None });
            stacks.push(stack);
            if node.self_time > 0 {
                self.samples.push(Sample { start: self.now, stack });
                self.now += node.self_time;
            }
        }
    }

    /// Gives each piece of time a source line of its function, so that each line has its share of the function's samples.
    fn place_lines(&mut self, summary: &Summary<'_>, end: u64) {
        let mut of_functions: HashMap<&What, Shares> = HashMap::new();
        for (id, lines) in summary.profile.lines(summary.lines) {
            let what = summary.profile[id].what.as_ref().expect("only the root is nothing");
            let shares = of_functions.entry(what).or_default();
            lines.into_iter().for_each(|line| shares.add((line.file, line.line), line.samples));
        }
        of_functions.values_mut().for_each(Shares::sort);
        for at in 0..self.samples.len() {
            let nanos = self.samples.get(at + 1).map_or(end, |next| next.start) - self.samples[at].start;
            let stack = self.samples[at].stack;
            if stack == NO_STACK {
                continue;
            }
            let (prefix, what) = self.tables.innermost(stack);
            let Some(place) = of_functions.get_mut(&what).and_then(|shares| shares.next(nanos)) else { continue };
            self.samples[at].stack = self.tables.stack(prefix, Frame { what, place: Some(place) });
        }
    }

    fn samples_table(&self, end: u64) -> Columns {
        let mut columns = Columns::new(&["stack", "timeDeltas", "weight", "threadCPUDelta"]);
        let (mut before, mut cpu) = (0, 0);
        for (at, sample) in self.samples.iter().enumerate() {
            let until = self.samples.get(at + 1).map_or(end, |next| next.start);
            let nanos = if sample.stack == NO_STACK { 0 } else { until - sample.start };
            let stack = if sample.stack == NO_STACK { "null".to_owned() } else { sample.stack.to_string() };
            columns.push(&[stack, millis(sample.start - before), millis(nanos), cpu.to_string()]);
            // The time since the previous sample in which the program ran.
            (before, cpu) = (sample.start, nanos);
        }
        columns
    }

    fn markers_table(&mut self) -> Columns {
        let mut columns = Columns::new(&["category", "data", "endTime", "name", "phase", "startTime"]);
        let mut all: Vec<(u64, Option<u64>, String, Value)> = Vec::new();
        for span in self.manual.all() {
            let mut tags: Vec<String> = span.tags.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            if span.calls > 1 {
                tags.push(format!("{} short spans, merged", span.calls));
            }
            let name = cut((&*span.name).into(), LONGEST_NAME);
            let data = json!({ "type": "span", "text": tags.join(", ") });
            all.push((span.start, Some(span.end), name, data));
        }
        for Marker { at, name, text } in std::mem::take(&mut self.markers) {
            all.push((at, None, name.to_owned(), json!({ "type": "moment", "text": text })));
        }
        all.sort_by_key(|(start, ..)| *start);
        for (start, end, name, data) in all {
            let name = self.tables.string(&name).to_string();
            let (end, phase) = end.map_or(("null".to_owned(), "0"), |end| (millis(end), "1"));
            columns.push(&["0".to_owned(), json_line(&data), end, name, phase.to_owned(), millis(start)]);
        }
        columns
    }
}

/// Milliseconds as a JSON number.
fn millis(nanos: u64) -> String {
    match nanos % 1_000_000 {
        0 => (nanos / 1_000_000).to_string(),
        rest => format!("{}.{rest:06}", nanos / 1_000_000).trim_end_matches('0').to_owned(),
    }
}

/// A file and a line.
type Place = (Arc<str>, u32);

/// The shares that the source lines of a function have of its time.
#[derive(Default)]
struct Shares {
    /// Each line with its samples, and the nanoseconds that it has got.
    lines: Vec<(Place, u64, u64)>,
    known: HashMap<Place, usize, FxBuildHasher>,
    samples: u64,
    nanos: u64,
}

/// Maximum number of lines of a function; the others have few samples.
const MOST_LINES: usize = 32;

impl Shares {
    fn add(&mut self, place: Place, samples: u64) {
        let at = *self.known.entry(place).or_insert_with_key(|place| {
            self.lines.push((place.clone(), 0, 0));
            self.lines.len() - 1
        });
        self.lines[at].1 += samples;
    }

    fn sort(&mut self) {
        self.lines.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        self.lines.truncate(MOST_LINES);
        self.samples = self.lines.iter().map(|(_, samples, _)| samples).sum();
    }

    /// The line that lacks most of its share, for the next so many nanoseconds.
    fn next(&mut self, nanos: u64) -> Option<Place> {
        self.nanos += nanos;
        let lacks = |(_, samples, got): &(Place, u64, u64)| {
            i128::from(self.nanos) * i128::from(*samples) / i128::from(self.samples.max(1)) - i128::from(*got)
        };
        let line = self.lines.iter_mut().max_by_key(|line| lacks(line))?;
        line.2 += nanos;
        Some(line.0.clone())
    }
}

impl<W: Write> Sink for Firefox<W> {
    fn change(&mut self, _: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        if self.manual.change(change) {
            return Ok(());
        }
        match change {
            Change::Opened { what, at, .. } => {
                let prefix = self.open.last().copied().unwrap_or(NO_STACK);
                let stack = self.tables.stack(prefix, Frame { what: (*what).clone(), place: None });
                self.open.push(stack);
                self.moved(*at);
            }
            Change::Closed { span, .. } => {
                // Calls nest, whatever manual spans are around them.
                self.open.pop();
                self.moved(span.end);
            }
            Change::Noted { at, note, .. } => {
                let (name, text) = match note {
                    Note::MemoryGrow(pages) => ("memory.grow", format!("{pages} pages")),
                    Note::Metric(line) => ("metric", (*line).to_owned()),
                    Note::Log(level, message) => ("log", format!("{}: {message}", level.as_str())),
                    Note::Tags(_) | Note::Elided(..) | Note::ClockGap(_) => return Ok(()),
                };
                self.markers.push(Marker { at: *at, name, text });
            }
        }
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let is_sampled = run_info.recording.clock == SAMPLES;
        if is_sampled {
            self.samples_of(summary.profile);
        }
        let end = self.now.max(summary.duration);
        if is_sampled || self.samples.last().is_some_and(|last| last.stack != NO_STACK) {
            // The last piece of time ends here.
            self.samples.push(Sample { start: self.now, stack: NO_STACK });
        }
        self.place_lines(summary, self.now);
        self.markers.push(Marker { at: end, name: "end of the run", text: summary.ending.describe() });
        let markers = self.markers_table();
        let samples = self.samples_table(end);
        let Firefox { out, tables, .. } = self;
        let meta = meta(run_info, summary);
        write!(
            out,
            "{{\"meta\":{},\n\"libs\":[],\"pages\":[],\"profilerOverhead\":[],\"counters\":[],",
            json_line(&meta)
        )?;
        let name = super::json::string(&run_info.program);
        write!(
            out,
            "\n\"threads\":[{{\"name\":{name},\"processName\":{name},\"processType\":\"default\",\"isMainThread\":true,\
             \"pid\":\"1\",\"tid\":1,\"processStartupTime\":0,\"processShutdownTime\":{end},\"registerTime\":0,\
             \"unregisterTime\":null,\"pausedRanges\":[],\"showMarkersInTimeline\":true,\n\"samples\":{{\"weightType\":\"tracing-ms\",",
            end = millis(end),
        )?;
        samples.write(out)?;
        out.write_all(b"},\n\"markers\":{")?;
        markers.write(out)?;
        out.write_all(b"},")?;
        tables.write(out, run_info)?;
        out.write_all(b"}]}\n")?;
        out.flush()
    }
}

fn meta(run_info: &RunInfo, summary: &Summary<'_>) -> Value {
    let of = |name: &str, color: &str| json!({ "name": name, "color": color, "subcategories": ["Other"] });
    let mut categories = vec![of("Other", "grey")];
    for category in Category::ALL {
        let color = match category {
            Category::Program => "blue",
            Category::Dependency => "purple",
            Category::Std => "yellow",
            Category::Alloc => "orange",
            Category::Host => "green",
        };
        categories.push(of(category.as_str(), color));
    }
    let schema = |name: &str, display: &[&str]| {
        json!({
            "name": name, "display": display, "chartLabel": "{marker.name}", "tableLabel": "{marker.data.text}",
            "tooltipLabel": "{marker.name}",
            "fields": [{ "key": "text", "label": "Details", "format": "string" }],
        })
    };
    let fields: Vec<Value> = sentences(run_info, summary)
        .into_iter()
        .enumerate()
        .map(|(i, text)| json!({ "label": format!("Note {}", i + 1), "format": "string", "value": text }))
        .collect();
    json!({
        "categories": categories,
        "debug": false,
        "extensions": { "length": 0, "baseURL": [], "id": [], "name": [] },
        "interval": 0.001,
        "preprocessedProfileVersion": 55,
        "processType": 0,
        "product": run_info.program,
        "sampleUnits": { "time": "ms", "eventDelay": "ms", "threadCPUDelta": "ns" },
        "startTime": run_info.began / 1_000_000,
        "symbolicated": true,
        "pausedRanges": [],
        "version": 24,
        "usesOnlyOneStackType": true,
        "sourceCodeIsNotOnSearchfox": true,
        "importedFrom": "wasmtrace",
        "markerSchema": [
            schema("span", &["marker-chart", "marker-table", "timeline-overview"]),
            schema("moment", &["marker-chart", "marker-table", "timeline-overview"]),
        ],
        "extra": [{ "label": "Accuracy", "entries": fields }],
    })
}
