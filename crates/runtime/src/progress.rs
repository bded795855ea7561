//! State shared by the producer and the consumer: how many events the guest has written and handed over.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::buffer::{ActiveBuffer, Buffer};
use super::clock::{ClockThread, Ticker};
use wasmtrace_abi::buffer::{CURSOR, Kind, meaning};

/// State: the guest runs.
pub(crate) const OPEN: u8 = 0;
/// State: the guest is done, and the consumer must read the rest.
pub(crate) const CLOSING: u8 = 1;
/// State: the consumer no longer reads the guest's memory.
pub(crate) const CLOSED: u8 = 2;

/// Replaces an offset while the guest is handing over.
pub(crate) const MOVING: u32 = u32::MAX;

/// State shared by the producer and the consumer.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Bytes of text in the ring.
    pub(crate) text: AtomicUsize,
    /// Offset of the first event that was not handed over, and the number of words before it.
    pub(crate) from: AtomicU32,
    /// End of the block with that offset.
    pub(crate) end: AtomicU32,
    pub(crate) handed_over: AtomicU64,
    /// Size of an event in the buffer, in bytes.
    pub(crate) event_size: AtomicU32,
    /// Number of events that went through the ring one by one.
    pub(crate) events: AtomicU64,
    /// [`OPEN`], [`CLOSING`] or [`CLOSED`].
    pub(crate) state: AtomicU8,
    pub(crate) buffer: Arc<ActiveBuffer>,
    pub(crate) ticker: OnceLock<Arc<Ticker>>,
    pub(crate) clock: Mutex<Option<ClockThread>>,
}

/// The number of events a guest has written so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    /// Number of words in the buffer.
    pub(crate) words: u64,
    /// Number of events that went through the ring one by one.
    pub(crate) events: u64,
    /// Whether the last word is an entry. A leaf function may still replace it (see [`wasmtrace_abi::buffer`]).
    pub(crate) entered: bool,
}

/// Whether a word of the buffer is an entry.
pub(crate) fn is_entry(buffer: &Buffer, at: u32) -> bool {
    at < buffer.len() && meaning(buffer.load(at)).1 == Kind::Enter
}

impl Shared {
    /// Number of words handed over.
    pub(crate) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// How many events the guest has written so far. Call it on the guest's thread, while the guest is not in a host call.
    pub(crate) fn position(&self) -> Position {
        let (mut words, mut entered) = (self.handed_over.load(Ordering::Relaxed), false);
        if let Some(buffer) = self.buffer.get() {
            let (from, size) = (self.from.load(Ordering::Relaxed), self.event_size.load(Ordering::Relaxed).max(4));
            // The guest's cursor is not trusted to be within the block.
            let end = self.end.load(Ordering::Relaxed).max(from);
            let cursor = buffer.load(CURSOR).clamp(from, end) & !3;
            words += u64::from((cursor.max(from) - from) / size);
            entered = cursor > from && is_entry(&buffer, cursor - size);
        }
        Position { words, events: self.events.load(Ordering::Relaxed), entered }
    }
}
