//! A run as a tracing backend sees it: spans with ids, parents, attributes, events and a status. All span formats and
//! protocols share this (OTLP, Zipkin).
//!
//! All spans belong to one trace. The run's own span is the parent of the outermost function spans. Its end is known
//! last, so it comes last.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;

use super::RunInfo;
use crate::context::Context;
use crate::event::RunOutcome;
use crate::span_builder::{Change, Note, Span, SpanEnd, What};
use wasmtrace_abi::demangle::without_arguments;
use wasmtrace_abi::hook::ProbeId;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Value::Number(number.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// An attribute: a key and a value.
pub type Attribute = (Cow<'static, str>, Value);

pub fn attribute(key: &'static str, value: impl Into<Value>) -> Attribute {
    (Cow::Borrowed(key), value.into())
}

/// An event within a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    pub name: &'static str,
    pub attributes: Vec<Attribute>,
}

impl Event {
    /// Approximate memory size in bytes.
    fn size(&self) -> usize {
        let text = |value: &Value| if let Value::Text(text) = value { text.len() } else { 8 };
        128 + self.attributes.iter().map(|(_, value)| 64 + text(value)).sum::<usize>()
    }
}

/// A span in the form that backends expect.
#[derive(Debug)]
pub struct ExportSpan<'t> {
    pub context: &'t Context,
    pub id: u64,
    /// The id of the parent span. For the run's own span, that of the host's span.
    pub parent: Option<u64>,
    /// Whether the parent is a span of another process.
    pub parent_is_remote: bool,
    /// The subject of the span: [`about`] gives its name and attributes.
    pub what: &'t What,
    pub tags: &'t [(String, String)],
    /// Additional attributes.
    pub more: Vec<Attribute>,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
    pub events: Vec<Event>,
    /// Number of events that were dropped.
    pub dropped_events: u64,
    /// The error message of the span's status, if it failed.
    pub failure: Option<Cow<'static, str>>,
}

impl ExportSpan<'_> {
    /// The function, if name and attributes are the same for all of its calls and can be cached.
    pub fn plain(&self) -> Option<ProbeId> {
        match self.what {
            What::Call(probe) if self.tags.is_empty() && self.more.is_empty() => Some(*probe),
            _ => None,
        }
    }
}

/// The name and attributes that all spans of a function, or all manual spans of a name, share.
pub fn about(run_info: &RunInfo, what: &What) -> (String, Vec<Attribute>) {
    let name = run_info.name(what);
    let mut list = Vec::new();
    if let What::Call(probe) = what {
        list.push(attribute("code.function.name", without_arguments(&name)));
        list.push(attribute("wasm.function.index", run_info.index(*probe)));
    }
    if let Some(label) = run_info.label(what) {
        list.extend(run_info.file(what).map(|file| attribute("code.file.path", file)));
        list.extend(label.line.map(|line| attribute("code.line.number", line)));
    }
    (name, list)
}

/// The resource attributes of a run. Configured attributes take precedence over detected ones.
pub fn resource(run_info: &RunInfo) -> Vec<Attribute> {
    let mut list = vec![
        attribute("service.name", run_info.program.as_str()),
        attribute("process.executable.name", run_info.program.as_str()),
        attribute("process.runtime.name", "wasmtime"),
        attribute("wasm.module.hash", run_info.hash.map(|hash| super::hex(&hash)).unwrap_or_default()),
    ];
    for (key, value) in &run_info.resource {
        match list.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value.as_str().into(),
            None => list.push((Cow::Owned(key.clone()), value.as_str().into())),
        }
    }
    list
}

/// Size limits of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of attributes of a span.
    pub attributes: usize,
    /// Maximum number of events of a span.
    pub events: usize,
    /// Maximum number of characters of an attribute's value.
    pub value_length: usize,
}

impl Default for Limits {
    /// The default limits of OpenTelemetry.
    fn default() -> Self {
        Limits { attributes: 128, events: 128, value_length: usize::MAX }
    }
}

/// Total size limit for the events of open spans, in bytes. Further events are only counted.
const MOST_WAITING: usize = 64 << 20;

/// Maximum size of a stack trace in bytes.
const LONGEST_STACKTRACE: usize = 64 << 10;

/// Converts changes of a run into spans.
#[derive(Debug)]
pub struct Spans {
    /// The trace context if the run has none.
    fallback: Context,
    limits: Limits,
    /// The events of open spans, their total size in bytes, and the number of dropped ones.
    events: HashMap<u64, Vec<Event>>,
    waiting: usize,
    dropped: HashMap<u64, u64>,
}

impl Spans {
    /// Creates a converter with these limits.
    ///
    /// # Errors
    /// If the system cannot generate random numbers.
    pub fn new(limits: Limits) -> io::Result<Self> {
        let fallback = super::new_context(None, String::new())?;
        Ok(Spans { fallback, limits, events: HashMap::new(), waiting: 0, dropped: HashMap::new() })
    }

    pub fn context<'c>(&'c self, run_info: &'c RunInfo) -> &'c Context {
        run_info.context.as_ref().unwrap_or(&self.fallback)
    }

    /// Handles a change and calls `tell` with the span that it ended, if any.
    pub fn change<T>(
        &mut self,
        run_info: &RunInfo,
        change: &Change<'_>,
        tell: impl FnOnce(ExportSpan<'_>) -> T,
    ) -> Option<T> {
        match change {
            Change::Opened { .. } => None,
            Change::Closed { span, .. } => Some(self.closed(run_info, span, span.parent, Vec::new(), tell)),
            Change::Noted { at, span, note } => {
                self.noted(run_info, *at, span.unwrap_or(0), note);
                None
            }
        }
    }

    /// Handles the end of a span; `parent` is the number of its parent.
    pub fn closed<T>(
        &mut self,
        run_info: &RunInfo,
        span: &Span<'_>,
        parent: Option<u64>,
        more: Vec<Attribute>,
        tell: impl FnOnce(ExportSpan<'_>) -> T,
    ) -> T {
        let (events, dropped_events) = self.events(span.number, None);
        let context = self.context(run_info);
        let failure = match span.how {
            SpanEnd::Returned | SpanEnd::Forgotten | SpanEnd::Exited => None,
            SpanEnd::Unwound => Some("an exception unwound the call"),
            SpanEnd::Trapped { origin: true } => Some("the program trapped here"),
            SpanEnd::Trapped { origin: false } => Some("the program trapped in a callee"),
            SpanEnd::Interrupted => Some("the run was ended by a signal"),
            SpanEnd::Unfinished => Some("the recording ends while the span is open"),
        };
        tell(ExportSpan {
            context,
            id: context.span(span.number),
            parent: Some(context.span(parent.unwrap_or(0))),
            parent_is_remote: false,
            what: span.what,
            tags: span.tags,
            more,
            start: run_info.began.saturating_add(span.start),
            end: run_info.began.saturating_add(span.end),
            events,
            dropped_events,
            failure: failure.map(Cow::Borrowed),
        })
    }

    /// Adds a note to the span with that number.
    pub fn noted(&mut self, run_info: &RunInfo, at: u64, number: u64, note: &Note<'_>) {
        let (name, attributes) = match note {
            Note::MemoryGrow(pages) => ("memory.grow", vec![attribute("wasm.memory.grow.pages", *pages)]),
            Note::Metric(line) => ("metric", vec![attribute("metric.statsd", *line)]),
            Note::Log(level, message) => {
                ("log", vec![attribute("log.severity", level.as_str()), attribute("log.message", *message)])
            }
            Note::Tags(_) => return,                        // they are told with their span
            Note::Elided(..) | Note::ClockGap(_) => return, // they belong to no span
        };
        let known = self.events.get(&number).map_or(0, Vec::len);
        if known < self.limits.events && self.waiting < MOST_WAITING {
            let event = Event { at: run_info.began.saturating_add(at), name, attributes };
            self.waiting += event.size();
            self.events.entry(number).or_default().push(event);
        } else {
            *self.dropped.entry(number).or_default() += 1;
        }
    }

    /// Discards the events of the span with that number: it will not be reported.
    pub fn forget(&mut self, number: u64) {
        self.events(number, None);
    }

    /// Returns the events of a span and the number of dropped ones.
    fn events(&mut self, number: u64, last: Option<Event>) -> (Vec<Event>, u64) {
        let mut events = self.events.remove(&number).unwrap_or_default();
        self.waiting -= events.iter().map(Event::size).sum::<usize>();
        events.extend(last);
        (events, self.dropped.remove(&number).unwrap_or(0))
    }

    /// Handles the end of the run: reports its own span.
    pub fn finish<T>(
        &mut self,
        run_info: &RunInfo,
        ending: &RunOutcome,
        duration: u64,
        more: Vec<Attribute>,
        tell: impl FnOnce(ExportSpan<'_>) -> T,
    ) -> T {
        let end = run_info.began.saturating_add(duration);
        let code = ending.exit_code();
        let mut list = vec![
            attribute("wasm.module.name", run_info.program.as_str()),
            attribute("process.exit.code", u32::from(code)),
        ];
        let mut exception = None;
        if let RunOutcome::Trapped(trap) = ending {
            list.push(attribute("error.type", trap.code.as_str()));
            let attributes = vec![
                attribute("exception.type", trap.code.as_str()),
                attribute("exception.message", trap.message.as_str()),
                attribute("exception.stacktrace", stacktrace(run_info, &trap.frames)),
            ];
            exception = Some(Event { at: end, name: "exception", attributes });
        } else if code != 0 {
            list.push(attribute("error.type", code.to_string()));
        }
        list.extend(more);
        let (events, dropped_events) = self.events(0, exception);
        let context = self.context(run_info);
        tell(ExportSpan {
            context,
            id: context.run,
            parent: context.parent,
            parent_is_remote: true,
            what: &What::Manual(run_info.program.as_str().into()),
            tags: &[],
            more: list,
            start: run_info.began,
            end,
            events,
            dropped_events,
            failure: (code != 0).then(|| ending.describe().into()),
        })
    }
}

/// Formats a stack trace: one name per line, innermost first.
fn stacktrace(run_info: &RunInfo, frames: &[u32]) -> String {
    let mut text = String::new();
    for frame in frames {
        if !text.is_empty() {
            text.push('\n');
        }
        if text.len() > LONGEST_STACKTRACE {
            text.push('…');
            break;
        }
        text += &run_info.name(&What::Call(ProbeId(*frame)));
    }
    text
}
