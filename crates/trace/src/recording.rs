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

use super::context::Context;
use crate::event::RunOutcome;
use wasmtrace_abi::manifest::Manifest;
use wasmtrace_abi::resumption::Resumption;

mod growing;
mod read;
mod write;

pub use growing::Growing;
pub use read::{Block, Reader};
pub use write::Writer;

/// The first bytes of a recording. The first byte is not text, and the last one detects converted line breaks.
pub const MAGIC: [u8; 8] = *b"\x89WTRACE\n";

/// Version of the format that is written. Version 3 has no function indices. Version 2 has no stamps, samples and lines.
/// In version 1, the header ends after the Manifest.
const VERSION: u32 = 4;
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
    pub(super) const ELIDED: u8 = 0x08;
    pub(super) const CLOCK_GAP: u8 = 0x09;
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
    pub(super) const IN_HOOK_MODULE: u8 = 6;
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
    /// Whether a call in the source may be several calls here.
    pub resumption: Option<Resumption>,
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
