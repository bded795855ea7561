//! The blocks of a guest's buffer: where the guest writes, and when it calls `flush`.
//!
//! # Rate of flushes
//! A flush costs about as much as 20 events. Each flush sets the number of events until the next one, such that it
//! comes after about [`FLUSH_EVERY`]. If calls are rare, each event causes a flush and has an exact time; in call-heavy
//! code a whole block passes. Then two successive events flush, so that the step between them is measured exactly. From
//! such pairs the consumer learns to distribute the time between distant flushes (see [`wasmtrace_trace::time_model`]).
//!
//! A sampled guest flushes less often after 100 ms or a million events, because the average steps are known by then. If
//! each event needs a time, it flushes every [`FLUSH_LATER`]. Otherwise it flushes when a block is full, and four times
//! a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::buffer::Buffer;
use super::super::clock::Ticker;
use super::super::random;
use wasmtrace_abi::buffer::{BLOCK, CURSOR, HALF_EVENT, LIMIT};
use wasmtrace_abi::component::END;
use wasmtrace_trace::batch::Stamp;

/// Approximate nanoseconds between two flushes. In a profile of a call-heavy program, flushes at this rate took about
/// 10 % of the guest thread's time.
pub(super) const FLUSH_EVERY: u64 = 5_000;

/// Approximate nanoseconds between two flushes of a sampled guest after the first 100 ms or million events.
pub(super) const FLUSH_LATER: u64 = 20_000;

/// The blocks of one buffer.
#[derive(Debug)]
pub(super) struct Area {
    pub(super) buffer: Buffer,
    /// Offset of the first block, and the number of blocks.
    pub(super) first: u32,
    pub(super) count: u32,
    /// Number of blocks that were begun.
    pub(super) begun: u64,
    /// Offset of the first event that was not handed over.
    pub(super) from: u32,
    /// Number of blocks that the consumer has read completely.
    pub(super) blocks_read: Arc<AtomicU64>,
    /// Whether it is the buffer of a hook module (see [`wasmtrace_abi::component`]).
    pub(super) is_of_component: bool,
}

impl Area {
    /// The blocks of a buffer, from the offset `first` to `end`.
    pub(super) fn new(buffer: Buffer, (first, end): (u32, u32), is_of_component: bool) -> Self {
        let blocks_read = Arc::default();
        Area { buffer, first, count: (end - first) / BLOCK, begun: 1, from: first, blocks_read, is_of_component }
    }

    /// The end of the current block.
    pub(super) fn end(&self) -> u32 {
        self.first + ((self.begun - 1) % u64::from(self.count)) as u32 * BLOCK + BLOCK
    }

    /// Number of blocks that were begun and not read.
    pub(super) fn unread(&self) -> u64 {
        self.begun.saturating_sub(self.blocks_read.load(Ordering::Acquire))
    }

    /// Begins the next block and returns its offset.
    pub(super) fn next_block(&mut self) -> u32 {
        self.begun += 1;
        let block = self.end() - BLOCK;
        // These cache lines are owned by the consumer's core. If the guest's own stores requested them one by one, each
        // would cause a stall (measured: 5 ns for each event). Requested together, they overlap.
        for line in (block..block + BLOCK).step_by(64) {
            self.buffer.store(line, 0);
        }
        if self.is_of_component {
            self.buffer.store(END, self.end());
        }
        block
    }
}

/// The state of the guest's buffer.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The buffer that the guest writes to.
    pub(super) area: Area,
    /// The other buffers of a component.
    pub(super) parked: Vec<Area>,
    pub(super) ticker: Arc<Ticker>,
    /// Size of an event in bytes.
    pub(super) size: u32,
    /// The cursor at the last flush, and the number of events until the next one.
    pub(super) flushed: u32,
    pub(super) allowed: u32,
    /// Whether the consumer gets the time of each flush to estimate event times. Not needed if the clock word is up to
    /// date.
    pub(super) stamps: bool,
    /// Whether flushes are frequent enough for useful times.
    pub(super) paced: bool,
    /// Approximate nanoseconds between two flushes.
    pub(super) every: u64,
    /// The stamp of the last flush, until it is sent.
    pub(super) stamp: Option<(u64, Stamp)>,
    /// Whether the last flush was the first of a pair.
    pub(super) pairing: bool,
    pub(super) last_pair: u64,
    /// Random state that varies the flushes: see [`Blocks::stamp`].
    pub(super) random: u32,
    pub(super) last_flush: u64,
    pub(super) last_handover: u64,
    /// Number of functions with a counter.
    pub(super) counters: u32,
    /// Ticks below which calls are only counted; 0 if all calls are recorded.
    pub(super) threshold: u32,
}

impl Blocks {
    /// The position of the guest's next event. It is not trusted to be within the block.
    pub(super) fn cursor(&self) -> u32 {
        let cursor = self.area.buffer.load(CURSOR) & !(self.size - 1);
        cursor.clamp(self.area.from, self.end())
    }

    /// The end of the current block.
    pub(super) fn end(&self) -> u32 {
        self.area.end()
    }

    /// Sets the number of events until the next flush, based on the time since the last one.
    pub(super) fn pace(&mut self, since: u64) {
        if std::mem::take(&mut self.pairing) {
            return; // the second of a pair says nothing of that
        }
        if !self.paced {
            self.allowed = BLOCK / self.size;
        } else if since < self.every / 2 {
            self.allowed = (self.allowed * 2).min(BLOCK / self.size);
        } else if since > self.every * 2 {
            self.allowed = (self.allowed / 4).max(1);
        }
    }

    /// Writes the time and the limit for the next flush: the next event, if this is to be the first of a pair;
    /// otherwise a random number from half to one and a half of the allowed events. With a constant number, a loop of
    /// that many events would always be measured at the same event.
    pub(super) fn stamp(&mut self, words: u64, (called, over): (u64, u64), new_block: bool) {
        let at = self.cursor();
        self.random = random::after(self.random);
        let due = self.stamps && self.paced && self.allowed > 1 && called.saturating_sub(self.last_pair) > self.every;
        // The first stores to a new block are slow, so a pair is measured within a block.
        self.pairing = due && !new_block;
        let allowed = match self.allowed {
            1 => 1,
            allowed if !self.paced => allowed,
            _ if self.pairing => 1,
            allowed if due => allowed.min(1 + self.random % (BLOCK / self.size)),
            allowed => allowed / 2 + self.random % (allowed + 1),
        };
        self.flushed = at;
        // Half an event less, so that the exit of a leaf function, which does not move the cursor, can flush too.
        let half = if self.stamps && (allowed == 1 || self.random >> 16 & 1 == 1) { HALF_EVENT } else { 0 };
        self.area.buffer.store(LIMIT, (at + allowed * self.size - half).min(self.end() - self.size + 1));
        let returned = self.ticker.write();
        self.last_flush = returned;
        self.ticker.last_flush.store(returned, Ordering::Relaxed);
        if self.pairing {
            self.last_pair = returned;
        }
        if self.stamps {
            // The thread that watches for idle time reads another clock a moment later.
            let over = over.min(called);
            self.stamp = Some((words, Stamp { over, called, returned, host: 0, before_event: true }));
        }
    }
}
