//! The OTLP file format (OpenTelemetry specification, "OpenTelemetry Protocol File Exporter"): each line is one
//! `ExportTraceServiceRequest` in OTLP's JSON encoding: ids in lower-case hex, 64-bit integers as strings, enums as
//! numbers.
//!
//! All spans are of one trace. A run span, whose end is known last, stands above the functions; so it comes last.

use std::collections::HashMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::json::{Encoded, json_line, string};
use super::{Sink, Subject, Summary, hex};
use crate::hook::ProbeId;
use crate::label::demangle::without_arguments;
use crate::trace::Ending;
use crate::trace::fold::{Change, End, Note, Span, What};

/// Spans a line.
const BATCH: usize = 512;

/// A line of more bytes is ended too.
const LONGEST_LINE: usize = 4 << 20;

/// A backtrace is cut off behind so many bytes.
const LONGEST_STACKTRACE: usize = 64 << 10;

/// OpenTelemetry's default limit of events per span.
const MAX_EVENTS: usize = 128;

/// The events of open spans wait for their spans' ends; of more bytes than this in all they are counted only.
const MOST_WAITING: usize = 64 << 20;

const SPAN_KIND_INTERNAL: u8 = 1;
const STATUS_ERROR: u8 = 2;

/// Writes OTLP JSON lines.
pub struct OtlpJson<W: Write> {
    out: W,
    trace_id: u128,
    /// Span ids are this, mixed with the span's number; the run span has number 0.
    seed: u64,
    /// Everything of a line before the first span.
    head: Option<String>,
    line: Vec<u8>,
    spans: usize,
    /// `"name":…,"kind":1,"attributes":[…` of each function.
    encoded: Encoded,
    /// What happened in spans that are still open, as events, encoded; of how many bytes in all; and how much more than
    /// [`MAX_EVENTS`] and [`MOST_WAITING`].
    events: HashMap<u64, Vec<String>>,
    waiting: usize,
    dropped: HashMap<u64, u64>,
}

impl<W: Write> std::fmt::Debug for OtlpJson<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpJson").finish_non_exhaustive()
    }
}

impl<W: Write> OtlpJson<W> {
    /// Writes to `out`, a batch at a time, with a new random trace id.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn new(out: W) -> io::Result<Self> {
        let mut random = [0; 24];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
        let (trace, seed) = random.split_at(16);
        Ok(OtlpJson {
            out,
            // All zeros is the one invalid id.
            trace_id: u128::from_be_bytes(trace.try_into().expect("16 bytes")).max(1),
            seed: u64::from_be_bytes(seed.try_into().expect("8 bytes")),
            head: None,
            line: Vec::new(),
            spans: 0,
            encoded: Encoded::default(),
            events: HashMap::new(),
            waiting: 0,
            dropped: HashMap::new(),
        })
    }

    /// A bijection of the span's number, so ids are unique; 0 is invalid, and left to nobody by swapping it out.
    fn span_id(&self, number: u64) -> u64 {
        let mut z = number.wrapping_add(self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        if z == 0 { self.seed | 1 } else { z }
    }

    fn head(&mut self, subject: &Subject) -> &str {
        self.head.get_or_insert_with(|| {
            let resource = json!({ "attributes": attributes(&[
                ("service.name", subject.program.as_str().into()),
                ("process.executable.name", subject.program.as_str().into()),
                ("process.runtime.name", "wasmtime".into()),
                ("wasm.module.hash", subject.hash.map(|hash| hex(&hash)).unwrap_or_default().into()),
            ])});
            let resource = json_line(&resource);
            let scope = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
            format!("{{\"resourceSpans\":[{{\"resource\":{resource},\"scopeSpans\":[{{\"scope\":{scope},\"spans\":[")
        })
    }

    /// Starts the next span: everything up to its id.
    fn begin(&mut self, subject: &Subject, number: u64) {
        if self.spans == 0 {
            let head = self.head(subject).to_owned();
            self.line.extend_from_slice(head.as_bytes());
        } else {
            self.line.push(b',');
        }
        self.spans += 1;
        let (trace, span) = (self.trace_id, self.span_id(number));
        write!(self.line, "{{\"traceId\":\"{trace:032x}\",\"spanId\":\"{span:016x}\"").expect("writing to memory");
    }

    fn end(&mut self) -> io::Result<()> {
        self.line.push(b'}');
        if self.spans >= BATCH || self.line.len() >= LONGEST_LINE { self.write_line() } else { Ok(()) }
    }

    fn write_line(&mut self) -> io::Result<()> {
        if self.spans > 0 {
            self.line.extend_from_slice(b"]}]}]}\n");
            self.out.write_all(&self.line)?;
            self.line.clear();
            self.spans = 0;
        }
        Ok(())
    }

    /// Writes the events of a span, and how many more there were.
    fn write_events(&mut self, number: u64, more: Option<String>) -> io::Result<()> {
        let mut events = self.events.remove(&number).unwrap_or_default();
        self.waiting -= events.iter().map(String::len).sum::<usize>();
        events.extend(more);
        if !events.is_empty() {
            write!(self.line, ",\"events\":[{}]", events.join(","))?;
        }
        if let Some(dropped) = self.dropped.remove(&number) {
            write!(self.line, ",\"droppedEventsCount\":{dropped}")?;
        }
        Ok(())
    }

    fn span(&mut self, subject: &Subject, span: Span<'_>) -> io::Result<()> {
        self.begin(subject, span.number);
        let parent = self.span_id(span.parent.unwrap_or(0));
        let name = match (&span.what, span.tags.is_empty()) {
            (What::Call(probe), true) => self.encoded.of(*probe, || encode_name(subject, span)),
            _ => encode_name(subject, span).into(),
        };
        let [start, end] = [span.start, span.end].map(|at| subject.began.saturating_add(at));
        write!(
            self.line,
            ",\"parentSpanId\":\"{parent:016x}\",{name},\"startTimeUnixNano\":\"{start}\",\"endTimeUnixNano\":\"{end}\""
        )?;
        self.write_events(span.number, None)?;
        let status = match span.how {
            End::Returned | End::Forgotten | End::Exited => None,
            End::Unwound => Some("an exception crossed the call"),
            End::Trapped { origin: true } => Some("the program trapped here"),
            End::Trapped { origin: false } => Some("the program trapped in a callee"),
            End::Interrupted => Some("the run was ended from outside"),
            End::Unfinished => Some("the recording stops here"),
        };
        if let Some(message) = status {
            write!(self.line, ",\"status\":{}", json!({ "code": STATUS_ERROR, "message": message }))?;
        }
        self.end()
    }
}

/// `"name":…,"kind":1,"attributes":[…]`
/// One name a line, innermost first.
fn stacktrace(subject: &Subject, frames: &[u32]) -> String {
    let mut text = String::new();
    for frame in frames {
        if !text.is_empty() {
            text.push('\n');
        }
        if text.len() > LONGEST_STACKTRACE {
            text.push('…');
            break;
        }
        text += &subject.name(&What::Call(ProbeId(*frame)));
    }
    text
}

fn encode_name(subject: &Subject, span: Span<'_>) -> String {
    let name = subject.name(span.what);
    let mut list: Vec<(&str, Value)> = Vec::new();
    if let What::Call(probe) = &span.what {
        list.push(("code.function.name", without_arguments(&name).into()));
        list.push(("wasm.function.index", i64::from(probe.0).into()));
    }
    if let Some(label) = subject.label(span.what) {
        list.extend(subject.file(span.what).map(|f| ("code.file.path", f.into())));
        list.extend(label.line.map(|l| ("code.line.number", l.into())));
    }
    list.extend(span.tags.iter().map(|(key, value)| (key.as_str(), value.as_str().into())));
    let attributes = json_line(&attributes(&list));
    format!("\"name\":{},\"kind\":{SPAN_KIND_INTERNAL},\"attributes\":{attributes}", string(&name))
}

/// OTLP's `KeyValue`s: integers are strings in JSON.
fn attributes(list: &[(&str, Value)]) -> Value {
    list.iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Number(n) => json!({ "intValue": n.to_string() }),
                other => json!({ "stringValue": other }),
            };
            json!({ "key": key, "value": value })
        })
        .collect()
}

impl<W: Write> Sink for OtlpJson<W> {
    fn change(&mut self, subject: &Subject, change: &Change<'_>) -> io::Result<()> {
        match change {
            Change::Opened { .. } => Ok(()),
            Change::Closed { span, .. } => self.span(subject, *span),
            Change::Noted { at, span, note } => {
                let (name, list) = match note {
                    Note::MemoryGrow(pages) => ("memory.grow", vec![("wasm.memory.grow.pages", Value::from(*pages))]),
                    Note::Metric(line) => ("metric", vec![("metric.statsd", (*line).into())]),
                    Note::Log(level, message) => {
                        ("log", vec![("log.severity", level.as_str().into()), ("log.message", (*message).into())])
                    }
                    Note::Tags(_) => return Ok(()), // they are written with their span
                    Note::Folded(..) | Note::Drift(_) => return Ok(()), // they belong to no span
                };
                let number = span.unwrap_or(0);
                let known = self.events.get(&number).map_or(0, Vec::len);
                if known < MAX_EVENTS && self.waiting < MOST_WAITING {
                    let time = subject.began.saturating_add(*at).to_string();
                    let event =
                        json_line(&json!({ "timeUnixNano": time, "name": name, "attributes": attributes(&list) }));
                    self.waiting += event.len();
                    self.events.entry(number).or_default().push(event);
                } else {
                    *self.dropped.entry(number).or_default() += 1;
                }
                Ok(())
            }
        }
    }

    fn finish(&mut self, subject: &Subject, summary: &Summary<'_>) -> io::Result<()> {
        self.begin(subject, 0);
        let mut list = vec![
            ("wasm.module.name", Value::from(subject.program.as_str())),
            ("wasm.call.count", summary.profile.calls().into()),
            ("process.exit.code", i64::from(summary.ending.exit_code()).into()),
        ];
        let mut exception = None;
        let end = subject.began.saturating_add(summary.duration);
        if let Ending::Trapped(trap) = summary.ending {
            list.push(("error.type", trap.code.as_str().into()));
            exception = Some(json_line(&json!({
                "timeUnixNano": end.to_string(),
                "name": "exception",
                "attributes": attributes(&[
                    ("exception.type", trap.code.as_str().into()),
                    ("exception.message", trap.message.as_str().into()),
                    ("exception.stacktrace", stacktrace(subject, &trap.frames).into()),
                ]),
            })));
        } else if summary.ending.exit_code() != 0 {
            list.push(("error.type", summary.ending.exit_code().to_string().into()));
        }
        write!(
            self.line,
            ",\"name\":{},\"kind\":{SPAN_KIND_INTERNAL},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{end}\",\"attributes\":{}",
            string(&subject.program),
            subject.began,
            json_line(&attributes(&list)),
        )?;
        self.write_events(0, exception)?;
        if summary.ending.exit_code() != 0 {
            let status = json!({ "code": STATUS_ERROR, "message": summary.ending.describe() });
            write!(self.line, ",\"status\":{}", json_line(&status))?;
        }
        self.end()?;
        self.write_line()?;
        self.out.flush()
    }
}
