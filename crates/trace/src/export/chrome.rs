//! Chrome Trace Event Format, JSON array form ("Trace Event Format", Google, 2016): read by chrome://tracing, Perfetto's
//! UI and others.
//!
//! Begin and end events stream as they happen; times are microseconds with three decimals, so nanoseconds. Calls are
//! duration events (`B`, `E`), which nest. An end has the name and the arguments of its beginning, because speedscope and
//! the Firefox Profiler match them by both. speedscope also sorts beginnings and ends by time, each alone. So
//! a beginning and an end are at least 1 ns apart. Tags, the number of calls that were merged into a span, and ends other than returns, are instant events (`i`) before the end.
//! Manual spans need not nest with calls (one that a helper opens outlives it),
//! so they are asynchronous events (`b`, `e`) with an id, which viewers show in a row of their own.

use std::io::{self, Write};

use serde_json::json;

use super::json::{Encoded, json_line, string};
use super::left_out::sentences;
use super::{RunInfo, Sink, Summary};
use crate::span_builder::{Change, Note, SpanEnd, What};

/// Writes Chrome Trace Event JSON.
pub struct Chrome<W: Write> {
    out: W,
    begun: bool,
    now: u64,
    /// Whether the last event of a call was its beginning.
    last_begins: Option<bool>,
    /// `"name":…,"args":{…}` of each function.
    encoded: Encoded,
}

impl<W: Write> std::fmt::Debug for Chrome<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chrome").finish_non_exhaustive()
    }
}

impl<W: Write> Chrome<W> {
    /// Creates a sink that writes to `out` in small pieces: wrap a file in a `BufWriter`.
    pub fn new(out: W) -> Self {
        Chrome { out, begun: false, now: 0, last_begins: None, encoded: Encoded::default() }
    }

    /// The time at which an event is written: times never go back.
    fn later(&mut self, at: u64) -> u64 {
        self.now = self.now.max(at);
        self.now
    }

    /// The time at which the beginning or the end of a call is written.
    fn next(&mut self, at: u64, begins: bool) -> u64 {
        let is_other = self.last_begins.replace(begins).is_some_and(|last| last != begins);
        self.now = at.max(self.now + u64::from(is_other));
        self.now
    }

    fn separator(&mut self) -> io::Result<()> {
        let first = !std::mem::replace(&mut self.begun, true);
        self.out.write_all(if first { b"[\n" } else { b",\n" })
    }

    /// Writes one event, without its separator.
    fn event(&mut self, event: serde_json::Value) -> io::Result<()> {
        self.separator()?;
        self.out.write_all(json_line(&event).as_bytes())
    }
}

/// `"name":…,"args":{…}` of a function.
fn encode(run_info: &RunInfo, what: &What) -> String {
    let mut args = serde_json::Map::new();
    match what {
        What::Call(probe) => {
            args.insert("index".to_owned(), run_info.index(*probe).into());
            args.extend(run_info.file(what).map(|file| ("file".to_owned(), file.into())));
            let line = run_info.label(what).and_then(|label| label.line);
            args.extend(line.map(|line| ("line".to_owned(), line.into())));
        }
        What::Manual(_) => _ = args.insert("manual".to_owned(), true.into()),
    }
    format!("\"name\":{},\"args\":{}", string(&run_info.name(what)), json_line(&args.into()))
}

/// Nanoseconds, displayed as microseconds.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

impl<W: Write> Sink for Chrome<W> {
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        match change {
            Change::Opened { number, what, at } => {
                self.separator()?;
                match what {
                    What::Call(probe) => {
                        let at = Micros(self.next(*at, true));
                        let name = self.encoded.of(*probe, || encode(run_info, what));
                        write!(self.out, "{{\"ph\":\"B\",\"pid\":1,\"tid\":1,\"ts\":{at},{name}}}")
                    }
                    What::Manual(_) => {
                        let name = encode(run_info, what);
                        write!(self.out, "{{\"ph\":\"b\",\"cat\":\"manual\",\"id\":{number},")?;
                        let at = Micros(self.later(*at));
                        write!(self.out, "\"pid\":1,\"tid\":1,\"ts\":{at},{name}}}")
                    }
                }
            }
            Change::Closed { span, .. } => {
                let at = match span.what {
                    What::Call(_) => Micros(self.next(span.end, false)),
                    What::Manual(_) => Micros(self.later(span.end)),
                };
                let ended = match span.how {
                    SpanEnd::Returned => None,
                    SpanEnd::Unwound => Some("unwound"),
                    SpanEnd::Forgotten => Some("forgotten"),
                    SpanEnd::Exited => Some("exit"),
                    SpanEnd::Trapped { .. } => Some("trap"),
                    SpanEnd::Interrupted => Some("interrupted"),
                    SpanEnd::Unfinished => Some("unfinished"),
                };
                let mut more = serde_json::Map::new();
                more.extend(ended.map(|ended| ("ended".to_owned(), ended.into())));
                if span.calls > 1 {
                    more.insert("calls".to_owned(), span.calls.into());
                }
                if !span.tags.is_empty() {
                    let tags = span.tags.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
                    more.insert("tags".to_owned(), serde_json::Value::Object(tags.collect()));
                }
                match &span.what {
                    What::Call(probe) => {
                        if !more.is_empty() {
                            let args = json_line(&more.into());
                            self.separator()?;
                            let name = match (ended, span.calls) {
                                (Some(ended), _) => string(ended),
                                (None, 1) => string("tags"),
                                (None, _) => string("merged calls"),
                            };
                            write!(self.out, "{{\"ph\":\"i\",\"s\":\"t\",\"pid\":1,\"tid\":1,\"ts\":{at},")?;
                            write!(self.out, "\"name\":{name},\"args\":{args}}}")?;
                        }
                        self.separator()?;
                        let name = self.encoded.of(*probe, || encode(run_info, span.what));
                        write!(self.out, "{{\"ph\":\"E\",\"pid\":1,\"tid\":1,\"ts\":{at},{name}}}")
                    }
                    // Viewers match the end of an asynchronous event by name, category and id.
                    What::Manual(name) => {
                        let name = string(&run_info.name(&What::Manual(name.clone())));
                        let number = span.number;
                        self.separator()?;
                        write!(self.out, "{{\"ph\":\"e\",\"cat\":\"manual\",\"id\":{number},\"name\":{name},")?;
                        write!(self.out, "\"pid\":1,\"tid\":1,\"ts\":{at}")?;
                        if !more.is_empty() {
                            write!(self.out, ",\"args\":{}", json_line(&more.into()))?;
                        }
                        self.out.write_all(b"}")
                    }
                }
            }
            Change::Noted { at, note, .. } => {
                let (name, args) = match note {
                    Note::MemoryGrow(pages) => ("memory.grow", json!({ "pages": pages })),
                    Note::Metric(line) => ("metric", json!({ "statsd": line })),
                    Note::Log(level, message) => ("log", json!({ "level": level.as_str(), "message": message })),
                    Note::Tags(_) => return Ok(()), // they are written with their span
                    Note::Elided(..) | Note::ClockGap(_) => return Ok(()), // they have no place on a time line
                };
                let ts = self.later(*at) as f64 / 1000.0;
                self.event(json!({ "ph": "i", "s": "t", "pid": 1, "tid": 1, "ts": ts, "name": name, "args": args }))
            }
        }
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        self.event(json!({
            "ph": "M", "pid": 1, "tid": 1, "name": "process_name", "args": { "name": run_info.program },
        }))?;
        self.event(json!({
            "ph": "i", "s": "p", "pid": 1, "tid": 1, "ts": summary.duration.max(self.now) as f64 / 1000.0,
            "name": summary.ending.describe(),
            "args": { "exit_code": summary.ending.exit_code(), "accuracy": sentences(run_info, summary).join("; ") },
        }))?;
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}
