//! State shared by the recorder and the consumer: how many events the guest has written and handed over.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::super::buffer::Buffer;
use super::super::clock::{ClockThread, Ticker};
use crate::hook::buffer::{CURSOR, Kind, meaning};

/// What becomes of the guest's memory.
pub(in crate::runtime) const OPEN: u8 = 0;
/// The guest is done: the consumer has to read what is left.
pub(in crate::runtime) const CLOSING: u8 = 1;
/// The consumer does not look at it any more.
pub(in crate::runtime) const CLOSED: u8 = 2;

/// In the place of an offset: the guest is just handing over.
pub(in crate::runtime) const MOVING: u32 = u32::MAX;

/// What both ends know.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Shared {
    /// Bytes of text in the ring.
    pub(in crate::runtime) text: AtomicUsize,
    /// How many blocks the consumer has read to their end.
    pub(in crate::runtime) blocks_read: AtomicU64,
    /// From where on the buffer's events have not been handed over, and how many were before.
    pub(in crate::runtime) from: AtomicU32,
    /// Where the block ends in which that is.
    pub(in crate::runtime) end: AtomicU32,
    pub(in crate::runtime) handed_over: AtomicU64,
    /// Bytes of an event in the buffer.
    pub(in crate::runtime) event_size: AtomicU32,
    /// How many events went through the ring one by one.
    pub(in crate::runtime) events: AtomicU64,
    /// One of the three above.
    pub(in crate::runtime) state: AtomicU8,
    pub(in crate::runtime) buffer: OnceLock<Buffer>,
    pub(in crate::runtime) ticker: OnceLock<Arc<Ticker>>,
    pub(in crate::runtime) clock: Mutex<Option<ClockThread>>,
}

/// How many events a guest has written so far.
#[derive(Debug, Clone, Copy)]
pub(in crate::runtime) struct Position {
    /// Words of the buffer.
    pub(in crate::runtime) words: u64,
    /// Events that went through the ring one by one.
    pub(in crate::runtime) events: u64,
    /// Whether the last word is an entry. A leaf function may still replace it (see [`crate::hook::buffer`]).
    pub(in crate::runtime) entered: bool,
}

/// Whether a word of the buffer is an entry.
pub(in crate::runtime) fn is_entry(buffer: &Buffer, at: u32) -> bool {
    at < buffer.len() && meaning(buffer.load(at)).1 == Kind::Enter
}

impl Shared {
    /// How many words were handed over.
    pub(in crate::runtime) fn handed_over(&self) -> u64 {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// How many events the guest has written so far. Call it on the guest's thread, while the guest is not in a host call.
    pub(in crate::runtime) fn position(&self) -> Position {
        let (mut words, mut entered) = (self.handed_over.load(Ordering::Relaxed), false);
        if let Some(buffer) = self.buffer.get() {
            let (from, size) = (self.from.load(Ordering::Relaxed), self.event_size.load(Ordering::Relaxed).max(4));
            // The guest is not trusted to have its cursor inside of the block.
            let end = self.end.load(Ordering::Relaxed).max(from);
            let cursor = buffer.load(CURSOR).clamp(from, end) & !3;
            words += u64::from((cursor.max(from) - from) / size);
            entered = cursor > from && is_entry(buffer, cursor - size);
        }
        Position { words, events: self.events.load(Ordering::Relaxed), entered }
    }
}
