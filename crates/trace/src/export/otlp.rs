//! OTLP messages: requests with spans, logs and metrics (opentelemetry-proto 1.x). Each message is described once and
//! written as protobuf or as JSON (`otlp/wire.rs`).
//!
//! The encoding is written by hand: parts that are the same for each call of a function are encoded once. A span then
//! costs tens of nanoseconds, instead of microseconds through the SDK's span data. `tests/running/exports.rs` and
//! `tests/sending/sending.rs` decode the output with `opentelemetry-proto`.

use std::collections::HashMap;

use super::RunInfo;
use super::metrics::{Kind, Point, Series};
use super::spans::{self, Attribute, Event, ExportSpan, Limits, Value};
use crate::context::Context;
use crate::event::Level;
use wasmtrace_abi::hook::ProbeId;

pub(super) mod wire;

use wire::{Field, Json, Proto, Wire};

/// The encoding of OTLP messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf.
    Proto,
    /// OTLP's JSON encoding.
    Json,
}

/// The signal that a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Metrics.
    Metrics,
}

const RESOURCE: Field = Field(1, "resource");
const SCOPE: Field = Field(1, "scope");
const ATTRIBUTES: Field = Field(1, "attributes");
const KIND_INTERNAL: u32 = 1;
const STATUS_ERROR: u32 = 2;

/// Flag bits of a span: whether the parent is remote is known, and it is.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

impl Signal {
    /// The fields of the message, from the outermost to the repeated items.
    fn fields(self) -> [Field; 3] {
        match self {
            Signal::Traces => [Field(1, "resourceSpans"), Field(2, "scopeSpans"), Field(2, "spans")],
            Signal::Logs => [Field(1, "resourceLogs"), Field(2, "scopeLogs"), Field(2, "logRecords")],
            Signal::Metrics => [Field(1, "resourceMetrics"), Field(2, "scopeMetrics"), Field(2, "metrics")],
        }
    }
}

/// Size limit of cached encodings in bytes; beyond it, functions are encoded each time.
const MOST_ENCODED: usize = 16 << 20;

/// An OTLP request under construction, in either encoding.
pub struct Request(Either);

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

enum Either {
    Proto(Written<Proto>),
    Json(Written<Json>),
}

macro_rules! either {
    ($self:expr, $written:ident => $what:expr) => {
        match &mut $self.0 {
            Either::Proto($written) => $what,
            Either::Json($written) => $what,
        }
    };
}

impl Request {
    pub fn new(signal: Signal, encoding: Encoding, limits: Limits) -> Self {
        Request(match encoding {
            Encoding::Proto => Either::Proto(Written::new(signal, limits)),
            Encoding::Json => Either::Json(Written::new(signal, limits)),
        })
    }

    pub fn span(&mut self, run_info: &RunInfo, span: &ExportSpan<'_>) {
        either!(self, written => written.span(run_info, span));
    }

    pub fn log(&mut self, context: &Context, span: u64, at: u64, level: Level, message: &str) {
        either!(self, written => written.log(context, span, at, level, message));
    }

    pub fn metric(&mut self, series: &[&Series], times: [u64; 2], delta: bool) {
        either!(self, written => written.metric(series, times, delta));
    }

    /// Number of items in the request, and its approximate size in bytes.
    pub fn size(&mut self) -> (usize, usize) {
        either!(self, written => (written.count, written.items.bytes().len()))
    }

    /// Returns the complete request and leaves an empty one.
    pub fn take(&mut self, run_info: &RunInfo) -> Vec<u8> {
        either!(self, written => written.take(run_info))
    }
}

struct Written<W> {
    signal: Signal,
    limits: Limits,
    /// The items, encoded as elements of the innermost repeated field.
    items: W,
    count: usize,
    /// Name, kind and attributes of each function, encoded.
    known: HashMap<ProbeId, Box<[u8]>>,
    known_bytes: usize,
}

impl<W: Wire> Written<W> {
    fn new(signal: Signal, limits: Limits) -> Self {
        Written { signal, limits, items: W::empty(), count: 0, known: HashMap::new(), known_bytes: 0 }
    }

    fn take(&mut self, run_info: &RunInfo) -> Vec<u8> {
        let [resources, scopes, items] = self.signal.fields();
        let mut w = W::empty();
        let inside = |w: &mut W| {
            w.message(RESOURCE, |w| attributes(w, ATTRIBUTES, &spans::resource(run_info), &self.limits));
            w.list(scopes, |w| {
                w.item(scopes, |w| {
                    w.message(SCOPE, |w| {
                        w.string(Field(1, "name"), "wasmtrace");
                        w.string(Field(2, "version"), env!("CARGO_PKG_VERSION"));
                    });
                    w.list(items, |w| w.embed(self.items.bytes()));
                });
            });
        };
        let whole = |w: &mut W| w.list(resources, |w| w.item(resources, inside));
        w.whole(whole);
        self.items.bytes_mut().clear();
        self.count = 0;
        std::mem::take(w.bytes_mut())
    }

    fn span(&mut self, run_info: &RunInfo, span: &ExportSpan<'_>) {
        self.count += 1;
        let limits = &self.limits;
        let describe = |w: &mut W| {
            let (name, mut list) = spans::about(run_info, span.what);
            list.extend(span.tags.iter().map(|(key, value)| (key.clone().into(), value.as_str().into())));
            list.extend(span.more.iter().cloned());
            w.string(Field(5, "name"), &name);
            w.int32(Field(6, "kind"), KIND_INTERNAL);
            attributes(w, Field(9, "attributes"), &list, limits);
            if list.len() > limits.attributes {
                w.int32(Field(10, "droppedAttributesCount"), (list.len() - limits.attributes) as u32);
            }
        };
        let (known, known_bytes) = (&mut self.known, &mut self.known_bytes);
        self.items.item(self.signal.fields()[2], |w| {
            w.id(Field(1, "traceId"), &span.context.trace.to_be_bytes());
            w.id(Field(2, "spanId"), &span.id.to_be_bytes());
            if !span.context.state.is_empty() {
                w.string(Field(3, "traceState"), &span.context.state);
            }
            if let Some(parent) = span.parent {
                w.id(Field(4, "parentSpanId"), &parent.to_be_bytes());
            }
            let remote = if span.parent.is_some() && span.parent_is_remote { IS_REMOTE } else { 0 };
            w.fixed32(Field(16, "flags"), u32::from(span.context.flags) | HAS_IS_REMOTE | remote);
            match span.plain() {
                Some(probe) if known.contains_key(&probe) => w.embed(&known[&probe]),
                Some(probe) if *known_bytes < MOST_ENCODED => {
                    let mut encoded = W::empty();
                    describe(&mut encoded);
                    *known_bytes += encoded.bytes().len();
                    w.embed(encoded.bytes());
                    known.insert(probe, std::mem::take(encoded.bytes_mut()).into());
                }
                _ => describe(w),
            }
            w.fixed64(Field(7, "startTimeUnixNano"), span.start);
            w.fixed64(Field(8, "endTimeUnixNano"), span.end);
            if !span.events.is_empty() {
                let events = Field(11, "events");
                w.list(events, |w| span.events.iter().for_each(|e| w.item(events, |w| event(w, e, limits))));
            }
            if span.dropped_events > 0 {
                w.int32(Field(12, "droppedEventsCount"), u32::try_from(span.dropped_events).unwrap_or(u32::MAX));
            }
            if let Some(message) = &span.failure {
                w.message(Field(15, "status"), |w| {
                    w.string(Field(2, "message"), message);
                    w.int32(Field(3, "code"), STATUS_ERROR);
                });
            }
        });
    }

    fn log(&mut self, context: &Context, span: u64, at: u64, level: Level, message: &str) {
        self.count += 1;
        let limits = &self.limits;
        self.items.item(self.signal.fields()[2], |w| {
            // Each level has four severity numbers; this is the first.
            let severity = match level {
                Level::Trace => 1,
                Level::Debug => 5,
                Level::Info => 9,
                Level::Warn => 13,
                Level::Error => 17,
            };
            w.fixed64(Field(1, "timeUnixNano"), at);
            w.int32(Field(2, "severityNumber"), severity);
            w.string(Field(3, "severityText"), &level.as_str().to_ascii_uppercase());
            w.message(Field(5, "body"), |w| any(w, &message.into(), limits));
            w.fixed32(Field(8, "flags"), context.flags.into());
            w.id(Field(9, "traceId"), &context.trace.to_be_bytes());
            w.id(Field(10, "spanId"), &span.to_be_bytes());
            w.fixed64(Field(11, "observedTimeUnixNano"), at);
        });
    }

    /// Adds one metric: all series with the same name and kind.
    fn metric(&mut self, series: &[&Series], times: [u64; 2], delta: bool) {
        let Some(first) = series.first() else { return };
        self.count += 1;
        let points = Field(1, "dataPoints");
        let limits = &self.limits;
        let temporality = if delta { 1 } else { 2 };
        self.items.item(self.signal.fields()[2], |w| {
            w.string(Field(1, "name"), &first.name);
            if !first.unit().is_empty() {
                w.string(Field(3, "unit"), first.unit());
            }
            let all = |w: &mut W| {
                w.list(points, |w| series.iter().for_each(|s| w.item(points, |w| point(w, s, times, limits))));
            };
            match first.kind {
                Kind::Counter => w.message(Field(7, "sum"), |w| {
                    all(w);
                    w.int32(Field(2, "aggregationTemporality"), temporality);
                    w.boolean(Field(3, "isMonotonic"), true);
                }),
                Kind::Gauge | Kind::Set => w.message(Field(5, "gauge"), all),
                Kind::Histogram | Kind::Timing => w.message(Field(9, "histogram"), |w| {
                    all(w);
                    w.int32(Field(2, "aggregationTemporality"), temporality);
                }),
            }
        });
    }
}

fn event<W: Wire>(w: &mut W, event: &Event, limits: &Limits) {
    w.fixed64(Field(1, "timeUnixNano"), event.at);
    w.string(Field(2, "name"), event.name);
    attributes(w, Field(3, "attributes"), &event.attributes, limits);
}

fn point<W: Wire>(w: &mut W, series: &Series, [start, end]: [u64; 2], limits: &Limits) {
    let list: Vec<Attribute> =
        series.tags.iter().map(|(key, value)| (key.clone().into(), value.as_str().into())).collect();
    match &series.point {
        Point::Number(number) => {
            if !list.is_empty() {
                attributes(w, Field(7, "attributes"), &list, limits);
            }
            w.fixed64(Field(2, "startTimeUnixNano"), start);
            w.fixed64(Field(3, "timeUnixNano"), end);
            w.double(Field(4, "asDouble"), *number);
        }
        Point::Histogram(histogram) => {
            if !list.is_empty() {
                attributes(w, Field(9, "attributes"), &list, limits);
            }
            w.fixed64(Field(2, "startTimeUnixNano"), start);
            w.fixed64(Field(3, "timeUnixNano"), end);
            w.fixed64(Field(4, "count"), histogram.count());
            w.double(Field(5, "sum"), histogram.sum);
            w.fixed64s(Field(6, "bucketCounts"), &histogram.counts);
            w.doubles(Field(7, "explicitBounds"), &super::metrics::BOUNDS);
            w.double(Field(11, "min"), histogram.min);
            w.double(Field(12, "max"), histogram.max);
        }
    }
}

fn attributes<W: Wire>(w: &mut W, field: Field, list: &[Attribute], limits: &Limits) {
    w.list(field, |w| {
        for (key, value) in list.iter().take(limits.attributes) {
            w.item(field, |w| {
                w.string(Field(1, "key"), key);
                w.message(Field(2, "value"), |w| any(w, value, limits));
            });
        }
    });
}

fn any<W: Wire>(w: &mut W, value: &Value, limits: &Limits) {
    match value {
        Value::Text(text) => {
            let end = text.char_indices().nth(limits.value_length).map_or(text.len(), |(at, _)| at);
            w.string(Field(1, "stringValue"), &text[..end]);
        }
        Value::Number(number) => w.int64(Field(3, "intValue"), *number),
    }
}
