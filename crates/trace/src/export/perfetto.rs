//! Perfetto's trace format: a `perfetto.protos.Trace` of `TrackEvent`s
//! (`https://perfetto.dev/docs/reference/trace-packet-proto`), read by `https://ui.perfetto.dev` and its trace processor.
//!
//! Packets stream as events happen. Names, categories and source locations are interned: they are written once, in the
//! packet that needs them first. Calls are slices on a thread's track. Manual spans need not nest with calls, so they have a
//! track of their own. Timestamps are nanoseconds since the start of the run.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};

use super::left_out::sentences;
use super::otlp::wire::{Field, Proto, Wire};
use super::{RunInfo, Sink, Summary};
use crate::span_builder::{Change, Note, Span, SpanEnd, What};
use wasmtrace_abi::label::Category;

/// Writes Perfetto traces.
pub struct Perfetto<W: Write> {
    out: W,
    begun: bool,
    now: u64,
    names: Interned<What>,
    places: Interned<What>,
    categories: Interned<&'static str>,
}

impl<W: Write> std::fmt::Debug for Perfetto<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Perfetto").finish_non_exhaustive()
    }
}

/// The numbers of things that were written already, from 1 on.
struct Interned<T>(HashMap<T, u64>);

impl<T: Eq + Hash> Interned<T> {
    /// The number of a thing, and whether it is new.
    fn number(&mut self, thing: T) -> (u64, bool) {
        let next = self.0.len() as u64 + 1;
        let number = *self.0.entry(thing).or_insert(next);
        (number, number == next)
    }
}

/// Numbers of the tracks.
const PROCESS: i64 = 1;
const THREAD: i64 = 2;
const MANUAL: i64 = 3;

/// `TrackEvent.Type`.
const SLICE_BEGIN: u32 = 1;
const SLICE_END: u32 = 2;
const INSTANT: u32 = 3;

/// The only sequence of packets.
const SEQUENCE: u32 = 1;

// Fields of `TracePacket`.
const TIMESTAMP: Field = Field(8, "timestamp");
const TRACK_EVENT: Field = Field(11, "track_event");
const INTERNED_DATA: Field = Field(12, "interned_data");
const SEQUENCE_FLAGS: Field = Field(13, "sequence_flags");
const SEQUENCE_ID: Field = Field(10, "trusted_packet_sequence_id");
const DEFAULTS: Field = Field(59, "trace_packet_defaults");
const TRACK_DESCRIPTOR: Field = Field(60, "track_descriptor");

/// A value of a debug annotation.
enum Value<'v> {
    Text(&'v str),
    Number(u64),
}

/// Writes a text. Noncharacters such as U+FFFF are escaped, since the viewer of version 52 crashes on them.
fn text(message: &mut Proto, field: Field, text: &str) {
    let is_noncharacter = |c: char| c as u32 & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c);
    if !text.contains(is_noncharacter) {
        return message.string(field, text);
    }
    let escape = |c: char| if is_noncharacter(c) { c.escape_unicode().to_string() } else { c.to_string() };
    message.string(field, &text.chars().map(escape).collect::<String>());
}

fn annotation(event: &mut Proto, name: &str, value: &Value<'_>) {
    event.message(Field(4, "debug_annotations"), |annotation| {
        text(annotation, Field(10, "name"), name);
        match value {
            Value::Text(value) => text(annotation, Field(6, "string_value"), value),
            Value::Number(number) => annotation.int64(Field(3, "uint_value"), *number as i64),
        }
    });
}

fn track(what: &What) -> Option<i64> {
    // The thread's track is the default.
    matches!(what, What::Manual(_)).then_some(MANUAL)
}

impl<W: Write> Perfetto<W> {
    /// Creates a sink that writes to `out` in small pieces: wrap a file in a `BufWriter`.
    pub fn new(out: W) -> Self {
        let (names, places, categories) =
            (Interned(HashMap::new()), Interned(HashMap::new()), Interned(HashMap::new()));
        Perfetto { out, begun: false, now: 0, names, places, categories }
    }

    fn packet(&mut self, fill: impl FnOnce(&mut Proto)) -> io::Result<()> {
        let mut trace = Proto::empty();
        trace.message(Field(1, "packet"), |packet| {
            packet.int32(SEQUENCE_ID, SEQUENCE);
            fill(packet);
        });
        self.out.write_all(trace.bytes())
    }

    /// Writes the descriptions of the tracks.
    fn begin(&mut self, run_info: &RunInfo) -> io::Result<()> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let program = run_info.program.as_str();
        self.packet(|packet| {
            packet.int32(SEQUENCE_FLAGS, 1); // the state of this sequence begins here
            packet.message(DEFAULTS, |defaults| {
                defaults
                    .message(Field(11, "track_event_defaults"), |event| event.int64(Field(11, "track_uuid"), THREAD));
            });
            packet.message(TRACK_DESCRIPTOR, |track| {
                track.int64(Field(1, "uuid"), PROCESS);
                track.message(Field(3, "process"), |process| {
                    process.int32(Field(1, "pid"), 1);
                    text(process, Field(6, "process_name"), program);
                });
            });
        })?;
        self.packet(|packet| {
            packet.message(TRACK_DESCRIPTOR, |track| {
                track.int64(Field(1, "uuid"), THREAD);
                track.int64(Field(5, "parent_uuid"), PROCESS);
                track.message(Field(4, "thread"), |thread| {
                    thread.int32(Field(1, "pid"), 1);
                    thread.int32(Field(2, "tid"), 1);
                    thread.string(Field(5, "thread_name"), "calls");
                });
            });
        })?;
        self.packet(|packet| {
            packet.message(TRACK_DESCRIPTOR, |track| {
                track.int64(Field(1, "uuid"), MANUAL);
                track.int64(Field(5, "parent_uuid"), PROCESS);
                track.string(Field(2, "name"), "manual spans");
            });
        })
    }

    /// Writes an event at `at`, or at the time of the last one if that is later.
    fn event(&mut self, at: u64, interned: impl FnOnce(&mut Proto), fill: impl FnOnce(&mut Proto)) -> io::Result<()> {
        self.now = self.now.max(at);
        let now = self.now;
        self.packet(|packet| {
            packet.int64(TIMESTAMP, now as i64);
            packet.int32(SEQUENCE_FLAGS, 2); // needs the state of this sequence
            interned(packet);
            packet.message(TRACK_EVENT, fill);
        })
    }

    fn opened(&mut self, run_info: &RunInfo, what: &What, at: u64) -> io::Result<()> {
        let category = run_info.category(what).map_or("manual", Category::as_str);
        let (name, is_new_name) = self.names.number(what.clone());
        let (kind, is_new_kind) = self.categories.number(category);
        let file = run_info.file(what);
        let (place, is_new_place) = if file.is_some() { self.places.number(what.clone()) } else { (0, false) };
        let interned = |packet: &mut Proto| {
            if !(is_new_name || is_new_kind || is_new_place) {
                return;
            }
            packet.message(INTERNED_DATA, |data| {
                let mut entry = |field: u32, number: u64, name: &str| {
                    data.message(Field(field, "entry"), |entry| {
                        entry.int64(Field(1, "iid"), number as i64);
                        text(entry, Field(2, "name"), name);
                    });
                };
                if is_new_kind {
                    entry(1, kind, category);
                }
                if is_new_name {
                    entry(2, name, &run_info.name(what));
                }
                if is_new_place {
                    data.message(Field(4, "source_locations"), |location| {
                        location.int64(Field(1, "iid"), place as i64);
                        text(location, Field(2, "file_name"), file.as_deref().unwrap_or_default());
                        text(location, Field(3, "function_name"), &run_info.name(what));
                        location.int32(Field(4, "line_number"), run_info.line(what).unwrap_or(0));
                    });
                }
            });
        };
        self.event(at, interned, |event| {
            event.int32(Field(9, "type"), SLICE_BEGIN);
            event.int64(Field(10, "name_iid"), name as i64);
            event.int64(Field(3, "category_iids"), kind as i64);
            if place > 0 {
                event.int64(Field(34, "source_location_iid"), place as i64);
            }
            if let Some(track) = track(what) {
                event.int64(Field(11, "track_uuid"), track);
            }
        })
    }

    fn closed(&mut self, span: &Span<'_>) -> io::Result<()> {
        let ended = match span.how {
            SpanEnd::Returned => None,
            SpanEnd::Unwound => Some("unwound by an exception"),
            SpanEnd::Forgotten => Some("never closed"),
            SpanEnd::Exited => Some("open at the exit"),
            SpanEnd::Trapped { origin: true } => Some("trapped here"),
            SpanEnd::Trapped { origin: false } => Some("open at the trap"),
            SpanEnd::Interrupted => Some("open when the run was interrupted"),
            SpanEnd::Unfinished => Some("open at the end of the recording"),
        };
        self.event(
            span.end,
            |_| {},
            |event| {
                event.int32(Field(9, "type"), SLICE_END);
                if let Some(track) = track(span.what) {
                    event.int64(Field(11, "track_uuid"), track);
                }
                if span.calls > 1 {
                    annotation(event, "merged calls", &Value::Number(span.calls));
                }
                if let Some(ended) = ended {
                    annotation(event, "ended", &Value::Text(ended));
                }
                for (key, value) in span.tags {
                    annotation(event, key, &Value::Text(value));
                }
            },
        )
    }

    fn instant(&mut self, at: u64, name: &str, annotations: &[(&str, Value<'_>)]) -> io::Result<()> {
        self.event(
            at,
            |_| {},
            |event| {
                event.int32(Field(9, "type"), INSTANT);
                text(event, Field(23, "name"), name);
                annotations.iter().for_each(|(name, value)| annotation(event, name, value));
            },
        )
    }
}

impl<W: Write> Sink for Perfetto<W> {
    fn change(&mut self, run_info: &RunInfo, change: &Change<'_>) -> io::Result<()> {
        self.begin(run_info)?;
        match change {
            Change::Opened { what, at, .. } => self.opened(run_info, what, *at),
            Change::Closed { span, .. } => self.closed(span),
            Change::Noted { at, note, .. } => match note {
                Note::MemoryGrow(pages) => {
                    self.instant(*at, "memory.grow", &[("pages", Value::Number(u64::from(*pages)))])
                }
                Note::Metric(line) => self.instant(*at, "metric", &[("statsd", Value::Text(line))]),
                Note::Log(level, message) => self.instant(
                    *at,
                    "log",
                    &[("level", Value::Text(level.as_str())), ("message", Value::Text(message))],
                ),
                // Tags are with their span; the others have no place on a time line.
                Note::Tags(_) | Note::Elided(..) | Note::ClockGap(_) => Ok(()),
            },
        }
    }

    fn finish(&mut self, run_info: &RunInfo, summary: &Summary<'_>) -> io::Result<()> {
        self.begin(run_info)?;
        let remarks = sentences(run_info, summary).join("; ");
        let ending = summary.ending.describe();
        let code = u64::from(summary.ending.exit_code());
        let annotations = [("exit code", Value::Number(code)), ("accuracy", Value::Text(&remarks))];
        self.instant(summary.duration, &ending, &annotations)?;
        self.out.flush()
    }
}
