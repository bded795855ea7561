//! An HTML page: flame graphs, call tree, table of functions, source lines, and the facts of the run, in one file that needs
//! no network.
//!
//! The page is `html/page.html` with its style sheet, its script and its data. The data is binary (`html/columns.rs`),
//! gzipped and in Base64, so that no text of a module becomes markup. A content-security policy allows only this style sheet
//! and this script, and no requests.

use std::collections::HashMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::left_out::sentences;
use super::manual::ManualSpans;
use super::text::{TimeSource, duration};
use super::{RunInfo, Sink, Summary, json::json_line};
use crate::lines::Lines;
use crate::profile::Profile;
use crate::span_builder::{Change, Note, SpanEnd, What};
use wasmtrace_abi::label::Category;

mod columns;

pub(crate) use columns::Columns;

/// Writes an HTML page. It keeps 32 bytes for each span until the end of the run.
pub struct Html<W: Write> {
    out: W,
    functions: Functions,
    time: Time,
    manual: ManualSpans,
    marks: Vec<Value>,
}

impl<W: Write> std::fmt::Debug for Html<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Html").finish_non_exhaustive()
    }
}

/// Calls in the order of their beginnings.
#[derive(Default)]
struct Time {
    function: Vec<u32>,
    depth: Vec<u32>,
    start: Vec<f64>,
    duration: Vec<f64>,
    calls: Vec<u32>,
    flags: Vec<u8>,
    /// The places of the open calls in these lists.
    open: Vec<usize>,
}

/// The functions of a page, numbered in the order of their first use.
#[derive(Default)]
struct Functions {
    numbers: HashMap<What, u32>,
    all: Vec<What>,
}

impl Functions {
    fn number(&mut self, what: &What) -> u32 {
        if let Some(number) = self.numbers.get(what) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(what.clone(), number);
        self.all.push(what.clone());
        number
    }

    fn json(&self, run_info: &RunInfo, profile: &Profile, lines: &Lines) -> Vec<Value> {
        let mut of_functions: HashMap<&What, HashMap<(&str, u32), u64>> = HashMap::new();
        let by_node = profile.lines(lines);
        for (id, lines) in &by_node {
            let what = profile[*id].what.as_ref().expect("only the root is nothing");
            let own = of_functions.entry(what).or_default();
            lines.iter().for_each(|line| *own.entry((&line.file, line.line)).or_default() += line.samples);
        }
        let row = |what: &What| {
            let mut lines: Vec<((&str, u32), u64)> =
                of_functions.remove(what).unwrap_or_default().into_iter().collect();
            lines.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
            lines.truncate(MOST_LINES);
            let lines: Vec<Value> =
                lines.into_iter().map(|((file, line), samples)| json!([file, line, samples])).collect();
            let index = match what {
                What::Call(probe) => Some(run_info.index(*probe)),
                What::Manual(_) => None,
            };
            json!({
                "name": run_info.name(what), "file": run_info.file(what), "line": run_info.line(what), "index": index,
                "kind": kind(run_info, what), "lines": lines,
            })
        };
        self.all.iter().map(row).collect()
    }
}

/// Maximum number of source lines shown for a function.
const MOST_LINES: usize = 100;

/// Maximum number of moments on the time line.
const MOST_MARKS: usize = 5_000;

fn kind(run_info: &RunInfo, what: &What) -> &'static str {
    run_info.category(what).map_or("manual", Category::as_str)
}

impl<W: Write> Html<W> {
    /// Creates a sink that writes to `out` at the end of the run.
    pub fn new(out: W) -> Self {
        Html {
            out,
            functions: Functions::default(),
            time: Time::default(),
            manual: ManualSpans::default(),
            marks: Vec::new(),
        }
    }

    fn time(&mut self, columns: &mut Columns) {
        let Time { function, depth, start, duration, calls, flags, .. } = std::mem::take(&mut self.time);
        columns.u32("time.function", &function);
        columns.u32("time.depth", &depth);
        columns.f64("time.start", &start);
        columns.f64("time.duration", &duration);
        columns.u32("time.calls", &calls);
        columns.u8("time.flags", &flags);
    }

    /// The manual spans as columns; returns their texts.
    fn manual(&mut self, columns: &mut Columns) -> Vec<String> {
        let (mut function, mut text, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        let manual = std::mem::take(&mut self.manual);
        for span in manual.all() {
            function.push(self.functions.number(&What::Manual(span.name.clone())));
            let mut tags: Vec<String> = span.tags.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            if span.calls > 1 {
                tags.push(format!("{} short spans, merged", span.calls));
            }
            if !tags.is_empty() {
                texts.push(tags.join(", "));
            }
            text.push(if tags.is_empty() { 0 } else { texts.len() as u32 });
        }
        let all = manual.all();
        columns.u32("manual.function", &function);
        columns.u32("manual.depth", &all.iter().map(|span| span.depth).collect::<Vec<_>>());
        columns.f64("manual.start", &all.iter().map(|span| span.start as f64).collect::<Vec<_>>());
        columns.f64("manual.duration", &all.iter().map(|span| (span.end - span.start) as f64).collect::<Vec<_>>());
        columns.u32("manual.text", &text);
        texts
    }

    fn tree(&mut self, profile: &Profile, source: TimeSource, columns: &mut Columns) {
        let nodes: Vec<_> = profile.nodes().collect();
        // Nodes whose calls were moved elsewhere stay, since others refer to them by number.
        let parent = |parent: Option<crate::profile::NodeId>| match parent.map(|id| id.index()) {
            None | Some(0) => u32::MAX,
            Some(index) => index as u32 - 1,
        };
        let flags = |node: &crate::profile::Node| {
            u8::from(source.is_estimate(node.estimated, node.total, node.host.1))
                | u8::from(node.recursive) << 1
                | u8::from(node.trapped) << 2
                | u8::from(node.cut_off > 0) << 3
        };
        let what = |node: &crate::profile::Node| node.what.clone().expect("only the root is nothing");
        columns.u32("tree.parent", &nodes.iter().map(|node| parent(node.parent)).collect::<Vec<_>>());
        columns.u32("tree.function", &nodes.iter().map(|node| self.functions.number(&what(node))).collect::<Vec<_>>());
        columns.f64("tree.calls", &nodes.iter().map(|node| node.calls as f64).collect::<Vec<_>>());
        columns.f64("tree.total", &nodes.iter().map(|node| node.total as f64).collect::<Vec<_>>());
        columns.f64("tree.self", &nodes.iter().map(|node| node.self_time as f64).collect::<Vec<_>>());
        columns.u8("tree.flags", &nodes.iter().map(|node| flags(node)).collect::<Vec<_>>());
    }
}

impl<W: Write> Sink for Html<W> {
    fn change(&mut self, _: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        if self.manual.change(change) {
            return Ok(());
        }
        let time = &mut self.time;
        match change {
            Change::Opened { what, at, .. } => {
                time.depth.push(time.open.len() as u32);
                time.open.push(time.start.len());
                time.function.push(self.functions.number(what));
                time.start.push(*at as f64);
                time.duration.push(0.0);
                time.calls.push(1);
                time.flags.push(0);
            }
            Change::Closed { span, .. } => {
                // Calls nest, whatever manual spans are around them.
                let at = time.open.pop().expect("the span was opened");
                time.duration[at] = (span.end - span.start) as f64;
                time.calls[at] = u32::try_from(span.calls).unwrap_or(u32::MAX);
                time.flags[at] = u8::from(span.how != SpanEnd::Returned);
            }
            Change::Noted { at, note, .. } if self.marks.len() < MOST_MARKS => {
                let (name, text) = match note {
                    Note::MemoryGrow(pages) => ("memory.grow", format!("{pages} pages")),
                    Note::Metric(line) => ("metric", (*line).to_owned()),
                    Note::Log(level, message) => ("log", format!("{}: {message}", level.as_str())),
                    Note::Tags(_) | Note::Elided(..) | Note::ClockGap(_) => return Ok(()),
                };
                self.marks.push(json!([at, name, text]));
            }
            Change::Noted { .. } => {}
        }
        Ok(())
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        let mut columns = Columns::default();
        self.time(&mut columns);
        let texts = self.manual(&mut columns);
        self.tree(summary.profile, TimeSource::of(run_info, summary), &mut columns);
        let header = json!({
            "schema": "wasmtrace.page/1",
            "kind": "run",
            "program": run_info.program,
            "facts": facts(run_info, summary),
            "notes": sentences(run_info, summary),
            "duration": summary.duration,
            "functions": self.functions.json(run_info, summary.profile, summary.lines),
            "samples": summary.accuracy.samples,
            "marks": std::mem::take(&mut self.marks),
            "texts": texts,
        });
        write_page(&mut self.out, header, &columns)
    }
}

/// What the run was: labels and texts.
fn facts(run_info: &RunInfo, summary: &Summary<'_>) -> Vec<[String; 2]> {
    let profile = summary.profile;
    let mut facts = vec![
        ("Program", run_info.program.clone()),
        ("Ended", summary.ending.describe()),
        ("Duration", duration(summary.duration)),
        ("Calls", format!("{} of {} functions", profile.calls(), profile.functions())),
    ];
    if profile.manual_spans() > 0 {
        facts.push(("Manual spans", profile.manual_spans().to_string()));
    }
    let (grows, pages) = profile.memory_grows();
    if grows > 0 {
        facts.push(("Memory growth", format!("{grows} times, {pages} pages of 64 KiB requested")));
    }
    if let Some(nanos) = summary.accuracy.without_hooks.filter(|_| summary.accuracy.in_hooks > 0) {
        facts.push(("Without hooks", format!("about {}", duration(nanos))));
    }
    if summary.accuracy.host > 0 {
        facts.push(("In host calls", duration(summary.accuracy.host)));
    }
    facts.push(("Clock", run_info.recording.clock.clone()));
    if run_info.recording.min_duration > 0 {
        facts.push(("Recorded calls", format!("at least {}", duration(run_info.recording.min_duration))));
    }
    if let Some(depth) = run_info.recording.max_depth {
        facts.push(("Recorded depth", format!("at most {depth}")));
    }
    if let Some(hash) = run_info.hash {
        facts.push(("Module (SHA-256)", super::hex(&hash)));
    }
    facts.push(("Written by", format!("wasmtrace {}", env!("CARGO_PKG_VERSION"))));
    facts.into_iter().map(|(label, text)| [label.to_owned(), text]).collect()
}

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");

/// The parts of the script, in their order.
const SCRIPT: [&str; 11] = [
    include_str!("html/text.js"),
    include_str!("html/data.js"),
    include_str!("html/theme.js"),
    include_str!("html/layout.js"),
    include_str!("html/paint.js"),
    include_str!("html/flame.js"),
    include_str!("html/pointer.js"),
    include_str!("html/grid.js"),
    include_str!("html/tables.js"),
    include_str!("html/details.js"),
    include_str!("html/page.js"),
];

/// Writes a page with this header and these columns.
pub(crate) fn write_page(out: &mut impl Write, mut header: Value, columns: &Columns) -> io::Result<()> {
    let script = SCRIPT.concat();
    header["columns"] = columns.index();
    let mut data = json_line(&header).into_bytes();
    let length = data.len() as u32;
    // The columns begin at a multiple of 8.
    data.resize((4 + data.len()).next_multiple_of(8) - 4, 0);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&length.to_le_bytes())?;
    gzip.write_all(&data)?;
    gzip.write_all(columns.bytes())?;
    let data = STANDARD.encode(gzip.finish()?);
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    let policy = format!(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; base-uri 'none'; form-action 'none'; \
         style-src {}; script-src {}\">",
        hash(STYLE),
        hash(&script),
    );
    let data = format!("<script type=\"application/octet-stream\" id=\"data\">{data}</script>");
    let mut rest = PAGE;
    for (place, text) in [("<!--CSP-->", &*policy), ("/*CSS*/", STYLE), ("<!--DATA-->", &*data), ("/*JS*/", &*script)] {
        let (before, after) = rest.split_once(place).expect("the page has each place once, in this order");
        out.write_all(before.as_bytes())?;
        out.write_all(text.as_bytes())?;
        rest = after;
    }
    out.write_all(rest.as_bytes())?;
    out.flush()
}
