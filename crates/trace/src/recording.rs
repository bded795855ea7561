//! Recordings: events in a file, written as they arrive.
//!
//! `docs/recording-format.md` describes the format byte by byte. In short: a magic number, then blocks with kind,
//! length and checksum. The first block holds the [`Header`] with the labels as a [`Manifest`], the last one the
//! [`Footer`]. Blocks in between hold events of at most one to two bytes each. A function is named by its slot in a
//! small table of recent ones. A call without callees and duration takes one byte, and so do up to sixteen consecutive
//! exits. Times are written when they change; events without times of their own have stamps between them.
//!
//! Blocks that were flushed can be read even if the process is killed. A recording without a footer belongs to a
//! process that was killed or is still running.

use std::io::{self, Write};

use wasm_encoder::Encode;

use super::context::Context;
use crate::event::{Event, EventKind, Manual, RunOutcome, Trap};
use wasmtrace_abi::hook::ProbeId;
use wasmtrace_abi::manifest::Manifest;

mod batches;
mod growing;
mod read;

pub use growing::Growing;
pub use read::{Block, Reader};

/// The first bytes of a recording. The first byte is not text, and the last one detects converted line breaks.
pub const MAGIC: [u8; 8] = *b"\x89WTRACE\n";

/// Version of the format that is written. Version 2 has no stamps, samples and lines; version 1 ends its header after
/// the Manifest.
const VERSION: u32 = 3;
const OLDEST_VERSION: u32 = 1;

/// Block kinds.
const HEADER: u8 = 1;
const EVENTS: u8 = 2;
const END: u8 = 3;
const LINES: u8 = 4;

/// A block ends when it holds this many bytes; the text of one event may make it longer.
const FULL: usize = 64 << 10;

/// Maximum number of events in a block.
const MOST_EVENTS: u32 = 1 << 20;

/// Maximum size of a block of events in bytes; longer ones are damaged.
const MOST_BYTES: usize = 4 << 20;

/// Maximum number of lines in a block of lines. A recording may have several such blocks.
const MOST_LINES: usize = 1 << 16;

/// Maximum length of a text in bytes; longer texts are truncated. (The runner has lower limits.)
const MOST_TEXT: usize = 64 << 10;

/// Opcodes within a block of events.
mod op {
    pub(super) const TIME: u8 = 0x00;
    pub(super) const TIME_NANOS: u8 = 0x01;
    pub(super) const ENTER: u8 = 0x02;
    pub(super) const LEAF: u8 = 0x03;
    pub(super) const EXIT: u8 = 0x04;
    pub(super) const UNWOUND: u8 = 0x05;
    pub(super) const EXIT_INNERMOST: u8 = 0x06;
    pub(super) const MEMORY_GROW: u8 = 0x07;
    pub(super) const FOLDED: u8 = 0x08;
    pub(super) const DRIFT: u8 = 0x09;
    pub(super) const SPAN_ENTER: u8 = 0x0a;
    pub(super) const SPAN_EXIT: u8 = 0x0b;
    pub(super) const TAGS: u8 = 0x0c;
    pub(super) const METRIC: u8 = 0x0d;
    pub(super) const LOG: u8 = 0x0e;
    /// Followed by a byte: a misuse if below 16, otherwise one of the following.
    pub(super) const MISUSE: u8 = 0x0f;
    pub(super) const STAMP: u8 = 0x10;
    pub(super) const SAMPLE: u8 = 0x11;
    /// The place of a sample.
    pub(super) const IN_HOOK: u8 = 0;
    pub(super) const IN_FUNCTION: u8 = 1;
    pub(super) const AT_OFFSET: u8 = 2;
    pub(super) const IN_ENGINE: u8 = 3;
    pub(super) const IN_HOST: u8 = 4;
    pub(super) const SEEN: u8 = 5;
    /// Added to the place of a sample: a path follows.
    pub(super) const WITH_PATH: u8 = 16;
    /// 1 to 16 exits of the innermost call.
    pub(super) const EXITS: u8 = 0x10;
    pub(super) const MOST_EXITS: u8 = 16;
    /// 1 to 32 units of time.
    pub(super) const TIMES: u8 = 0x20;
    pub(super) const MOST_TIME: u64 = 32;
    /// ENTER of the function in a slot.
    pub(super) const ENTER_SLOT: u8 = 0x40;
    /// Entry and exit of the function in a slot.
    pub(super) const LEAF_SLOT: u8 = 0x80;
    /// 33 to 96 units of time.
    pub(super) const LONG_TIMES: u8 = 0xc0;
    pub(super) const MOST_LONG_TIME: u64 = 96;
}

/// The properties of a run that are known before its first event.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The program's name for display.
    pub program: String,
    /// When the run began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// The clock: `hook`, `coarse`, `spin` or `samples`.
    pub clock: String,
    /// Nanoseconds by which an event's time may lag.
    pub resolution: u64,
    /// Calls shorter than so many nanoseconds are only counted, unless they contain a longer call; 0 is no limit.
    pub min_duration: u64,
    /// Calls nested in at least so many others are only counted.
    pub max_depth: Option<u32>,
    /// The label of each function, and the hash of the module.
    pub manifest: Manifest,
    /// The place of the run in a distributed trace. `None` in older recordings.
    pub context: Option<Context>,
    /// Resource attributes as defined by OpenTelemetry, for example `service.name`.
    pub resource: Vec<(String, String)>,
    /// Whether function entries and exits have no times of their own, but stamps between them.
    pub stamped: bool,
    /// The reason why there are no samples, if there are none.
    pub not_sampled: Option<String>,
}

/// The results of a run that are known after its last event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The outcome of the run.
    pub ending: RunOutcome,
    /// Duration of the run in nanoseconds.
    pub duration: u64,
}

/// The state of writer and reader after each event: open calls and recently called functions.
#[derive(Debug, Clone)]
struct State {
    slots: [u32; SLOTS],
    open: Vec<u32>,
}

const SLOTS: usize = 64;

/// Maximum number of open calls that are tracked, so that a damaged recording cannot exhaust memory.
const MOST_OPEN: usize = 4 << 20;

/// Maximum depth at which the exit of an outer call is searched.
const SEARCH: usize = 64;

impl State {
    fn new() -> Self {
        State { slots: [u32::MAX; SLOTS], open: Vec::new() }
    }

    /// The slot of a function: neighbours get different ones.
    #[inline(always)]
    fn slot(id: u32) -> usize {
        (id.wrapping_mul(0x9e37_79b1) >> 26) as usize
    }

    #[inline]
    fn entered(&mut self, id: u32) {
        if self.open.len() < MOST_OPEN {
            self.open.push(id);
        }
    }

    /// Ends a call that may not be the innermost one, and with it the calls above it.
    fn left(&mut self, id: u32) {
        if let Some(up) = self.open.iter().rev().take(SEARCH).position(|open| *open == id) {
            self.open.truncate(self.open.len() - 1 - up);
        }
    }
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    state: State,
    /// The block under construction, and its number of events.
    block: Vec<u8>,
    events: u32,
    /// Begin of the block, and the last time written.
    began: u64,
    last: u64,
    /// The unit of times in nanoseconds.
    unit: u64,
    /// The call that was entered last, if it may turn out to be a leaf call.
    leaf: Option<u32>,
    /// Number of pending exits of the innermost call.
    exits: u8,
    /// Time at which the last stamp ended.
    stamped: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a recording and writes its header. Blocks are written as they fill: give a file without a buffer.
    ///
    /// # Errors
    /// Those of writing.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let mut block = Vec::new();
        VERSION.encode(&mut block);
        cut(&header.program).encode(&mut block);
        header.began.encode(&mut block);
        header.clock.as_str().encode(&mut block);
        header.resolution.encode(&mut block);
        header.min_duration.encode(&mut block);
        header.max_depth.map_or(0, |depth| u64::from(depth) + 1).encode(&mut block);
        // Recordings do not contain the data for restoring the module.
        Manifest { restore: None, ..header.manifest.clone() }.encode().as_slice().encode(&mut block);
        let none = Context { trace: 0, run: 0, parent: None, flags: 0, state: String::new() };
        let Context { trace, run, parent, flags, state } = header.context.as_ref().unwrap_or(&none);
        block.extend(trace.to_be_bytes());
        block.extend(run.to_be_bytes());
        block.extend(parent.unwrap_or(0).to_be_bytes());
        block.push(*flags);
        cut(state).encode(&mut block);
        header.resource.len().encode(&mut block);
        for (key, value) in &header.resource {
            cut(key).encode(&mut block);
            cut(value).encode(&mut block);
        }
        block.push(u8::from(header.stamped));
        cut(header.not_sampled.as_deref().unwrap_or_default()).encode(&mut block);
        out.write_all(&MAGIC)?;
        write_block(&mut out, HEADER, &block)?;
        out.flush()?;
        // The times of a buffer are whole ticks.
        let unit = if header.clock == "hook" { 1 } else { wasmtrace_abi::buffer::TICK };
        let block = Vec::with_capacity(FULL + 1024);
        let state = State::new();
        Ok(Writer { out, state, block, events: 0, began: 0, last: 0, unit, leaf: None, exits: 0, stamped: 0 })
    }

    /// Adds an event. Its time must not be earlier than that of the previous event.
    ///
    /// # Errors
    /// Those of writing.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        if event.at != self.last || self.events == 0 {
            self.time(event.at);
        }
        self.events += 1;
        match &event.kind {
            EventKind::Enter(probe) => self.enter(probe.0),
            EventKind::Exit(probe) => self.exit(probe.0),
            other => {
                self.settle();
                self.rare(other);
            }
        }
        if self.block.len() >= FULL || self.events >= MOST_EVENTS {
            self.end_block()?;
        }
        Ok(())
    }

    #[inline]
    fn enter(&mut self, id: u32) {
        self.settle();
        self.leaf = Some(id);
    }

    #[inline]
    fn exit(&mut self, id: u32) {
        match self.leaf {
            Some(leaf) if leaf == id => {
                self.leaf = None;
                self.called(leaf, op::LEAF, op::LEAF_SLOT);
            }
            _ => {
                self.settle_leaf();
                if self.state.open.last() == Some(&id) {
                    self.state.open.pop();
                    self.exits += 1;
                    if self.exits == op::MOST_EXITS {
                        self.settle_exits();
                    }
                } else {
                    self.settle_exits();
                    self.state.left(id);
                    self.number(op::EXIT, id.into());
                }
            }
        }
    }

    /// Ends and writes the current block, so that all events so far survive the end of the process.
    ///
    /// # Errors
    /// Those of writing.
    pub fn flush(&mut self) -> io::Result<()> {
        self.end_block()?;
        self.out.flush()
    }

    /// Writes the footer and returns the output.
    ///
    /// # Errors
    /// Those of writing.
    pub fn finish(mut self, end: &Footer) -> io::Result<W> {
        self.end_block()?;
        let mut block = Vec::new();
        end.duration.encode(&mut block);
        match &end.ending {
            RunOutcome::Returned => block.push(0),
            RunOutcome::Exited(code) => {
                block.push(1);
                (*code as u32).encode(&mut block);
            }
            RunOutcome::Trapped(Trap { code, message, frames }) => {
                block.push(2);
                cut(code).encode(&mut block);
                cut(message).encode(&mut block);
                frames.len().encode(&mut block);
                frames.iter().for_each(|frame| frame.encode(&mut block));
            }
            RunOutcome::Interrupted(signal) => {
                block.push(3);
                (*signal as u32).encode(&mut block);
            }
            RunOutcome::Unknown => block.push(4),
        }
        write_block(&mut self.out, END, &block)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Writes pending exits, which were held back to combine them.
    #[inline]
    fn settle(&mut self) {
        self.settle_leaf();
        self.settle_exits();
    }

    #[inline]
    fn settle_leaf(&mut self) {
        if let Some(id) = self.leaf.take() {
            self.called(id, op::ENTER, op::ENTER_SLOT);
            self.state.entered(id);
        }
    }

    #[inline]
    fn settle_exits(&mut self) {
        if self.exits > 0 {
            self.block.push(op::EXITS + self.exits - 1);
            self.exits = 0;
        }
    }

    #[inline]
    fn called(&mut self, id: u32, named: u8, in_slot: u8) {
        self.settle_exits();
        let slot = State::slot(id);
        if self.state.slots[slot] == id {
            self.block.push(in_slot + slot as u8);
        } else {
            self.state.slots[slot] = id;
            self.number(named, id.into());
        }
    }

    /// Writes the difference between the last time and this one.
    #[inline]
    fn time(&mut self, at: u64) {
        self.settle();
        let at = at.max(self.last);
        if self.events == 0 {
            self.began = at;
            self.last = at;
            return;
        }
        let passed = at - self.last;
        self.last = at;
        match passed / self.unit {
            0 if passed == 0 => {}
            _ if !passed.is_multiple_of(self.unit) => self.number(op::TIME_NANOS, passed),
            units @ 1..=op::MOST_TIME => self.block.push(op::TIMES + (units - 1) as u8),
            units @ 33..=op::MOST_LONG_TIME => self.block.push(op::LONG_TIMES + (units - 33) as u8),
            units => self.number(op::TIME, units),
        }
    }

    fn number(&mut self, op: u8, number: u64) {
        self.block.push(op);
        number.encode(&mut self.block);
    }

    fn text(&mut self, op: u8, text: &str) {
        self.block.push(op);
        cut(text).encode(&mut self.block);
    }

    #[cold]
    fn rare(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Enter(_) | EventKind::Exit(_) => unreachable!("these are not rare"),
            EventKind::ExitInnermost => {
                self.state.open.pop();
                self.block.push(op::EXIT_INNERMOST);
            }
            EventKind::Unwound(ProbeId(id)) => {
                self.state.left(*id);
                self.number(op::UNWOUND, (*id).into());
            }
            EventKind::MemoryGrow(pages) => self.number(op::MEMORY_GROW, (*pages).into()),
            EventKind::Elided(ProbeId(id), calls) => {
                self.number(op::FOLDED, (*id).into());
                calls.encode(&mut self.block);
            }
            EventKind::ClockGap(nanos) => self.number(op::DRIFT, *nanos),
            EventKind::Manual(manual) => match &**manual {
                Manual::SpanEnter(name) => self.text(op::SPAN_ENTER, name),
                Manual::SpanExit => self.block.push(op::SPAN_EXIT),
                Manual::Tags(tags) => self.text(op::TAGS, tags),
                Manual::Metric(line) => self.text(op::METRIC, line),
                Manual::Log(level, message) => {
                    self.block.extend([op::LOG, *level as u8]);
                    cut(message).encode(&mut self.block);
                }
                Manual::Misuse(misuse) => self.block.extend([op::MISUSE, *misuse as u8]),
            },
        }
    }

    fn end_block(&mut self) -> io::Result<()> {
        self.settle();
        if self.block.is_empty() {
            return Ok(());
        }
        if self.events == 0 {
            self.began = self.last;
        }
        let mut head = Vec::with_capacity(32);
        self.began.encode(&mut head);
        self.unit.encode(&mut head);
        self.events.encode(&mut head);
        // A single write, so that a killed process leaves complete blocks, except for the last.
        let ops = std::mem::take(&mut self.block);
        head.extend_from_slice(&ops);
        self.block = ops;
        self.block.clear();
        self.events = 0;
        write_block(&mut self.out, EVENTS, &head)
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MOST_TEXT)]
}

/// Writes a block: kind, length, checksum, contents.
fn write_block(out: &mut impl Write, kind: u8, contents: &[u8]) -> io::Result<()> {
    let length = u32::try_from(contents.len()).map_err(|_| io::Error::other("the labels exceed 4 GiB"))?;
    let mut block = Vec::with_capacity(contents.len() + 9);
    block.push(kind);
    block.extend(length.to_le_bytes());
    block.extend(checksum(kind, length, contents).to_le_bytes());
    block.extend_from_slice(contents);
    out.write_all(&block)
}

/// CRC-32 (IEEE 802.3) of kind, length and contents.
fn checksum(kind: u8, length: u32, contents: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(&length.to_le_bytes());
    crc.update(contents);
    crc.finalize()
}
