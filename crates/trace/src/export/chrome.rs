//! Chrome Trace Event Format, JSON array form ("Trace Event Format", Google, 2016): read by chrome://tracing, Perfetto's
//! UI and others.
//!
//! Begin and end events stream as they happen; times are microseconds with three decimals, so nanoseconds. Calls are
//! duration events (`B`, `E`), which nest. Manual spans need not nest with calls (one that a helper opens outlives it),
//! so they are asynchronous events (`b`, `e`) with an id, which viewers show in a row of their own.

use std::io::{self, Write};

use serde_json::json;

use super::json::{Encoded, json_line, string};
use super::{RunInfo, Sink, Summary};
use crate::span_builder::{Change, Note, SpanEnd, What};

/// Writes Chrome Trace Event JSON.
pub struct Chrome<W: Write> {
    out: W,
    begun: bool,
    now: u64,
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
        Chrome { out, begun: false, now: 0, encoded: Encoded::default() }
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
    let label = run_info.label(what);
    let args = match what {
        What::Call(probe) => json!({
            "index": probe.0,
            "file": run_info.file(what),
            "line": label.and_then(|l| l.line),
        }),
        What::Manual(_) => json!({ "manual": true }),
    };
    format!("\"name\":{},\"args\":{}", string(&run_info.name(what)), json_line(&args))
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
                self.now = *at;
                self.separator()?;
                match what {
                    What::Call(probe) => {
                        let at = Micros(*at);
                        let name = self.encoded.of(*probe, || encode(run_info, what));
                        write!(self.out, "{{\"ph\":\"B\",\"pid\":1,\"tid\":1,\"ts\":{at},{name}}}")
                    }
                    What::Manual(_) => {
                        let name = encode(run_info, what);
                        write!(self.out, "{{\"ph\":\"b\",\"cat\":\"manual\",\"id\":{number},")?;
                        write!(self.out, "\"pid\":1,\"tid\":1,\"ts\":{},{name}}}", Micros(*at))
                    }
                }
            }
            Change::Closed { span, .. } => {
                self.now = span.end;
                self.separator()?;
                match &span.what {
                    What::Call(_) => self.out.write_all(b"{\"ph\":\"E\",")?,
                    // Viewers match the end of an asynchronous event by name, category and id.
                    What::Manual(name) => {
                        let name = string(&run_info.name(&What::Manual(name.clone())));
                        let number = span.number;
                        write!(self.out, "{{\"ph\":\"e\",\"cat\":\"manual\",\"id\":{number},\"name\":{name},")?;
                    }
                }
                write!(self.out, "\"pid\":1,\"tid\":1,\"ts\":{}", Micros(span.end))?;
                let ended = match span.how {
                    SpanEnd::Returned => None,
                    SpanEnd::Unwound => Some("unwound"),
                    SpanEnd::Forgotten => Some("forgotten"),
                    SpanEnd::Exited => Some("exit"),
                    SpanEnd::Trapped { .. } => Some("trap"),
                    SpanEnd::Interrupted => Some("interrupted"),
                    SpanEnd::Unfinished => Some("unfinished"),
                };
                if ended.is_some() || !span.tags.is_empty() {
                    let tags: serde_json::Map<_, _> =
                        span.tags.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
                    let args = json_line(&json!({ "ended": ended, "tags": tags }));
                    write!(self.out, ",\"args\":{args}")?;
                }
                self.out.write_all(b"}")
            }
            Change::Noted { at, note, .. } => {
                let (name, args) = match note {
                    Note::MemoryGrow(pages) => ("memory.grow", json!({ "pages": pages })),
                    Note::Metric(line) => ("metric", json!({ "statsd": line })),
                    Note::Log(level, message) => ("log", json!({ "level": level.as_str(), "message": message })),
                    Note::Tags(_) => return Ok(()), // they are written with their span
                    Note::Elided(..) | Note::ClockGap(_) => return Ok(()), // they have no place on a time line
                };
                let ts = *at as f64 / 1000.0;
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
            "name": summary.ending.describe(), "args": { "exit_code": summary.ending.exit_code() },
        }))?;
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}
