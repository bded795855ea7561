//! From the guest to the consumer: what hooks, buffer and manual API see, through a wait-free ring.
//!
//! The guest's end is the [`Recorder`] in the store: hooks of the Observe set push their events one by one; a buffer's
//! events stay where the guest wrote them, and what is pushed is from where to where. The consumer's end, [`Taker`], reads
//! all the time, so that what happened is seen even if the guest never comes back. When there is no room the guest waits:
//! nothing is dropped, and memory is bounded.
//!
//! # How often the guest calls
//! A call costs about as much as twenty events. How many events may pass until the next is decided at each: so many that it
//! takes some [`FLUSH_EVERY`]. Where calls are rare each event has its call and its exact time; where they are dense a whole
//! block passes.

use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use super::buffer::Buffer;
use super::clock::{Clock, ClockMode, ClockThread, HANDOVER, Ticker, ticks};
use crate::hook::ProbeId;
use crate::hook::buffer::{BLOCK, COUNTERS, CURSOR, EVENT, Kind, LIMIT, THRESHOLD, TICK, meaning};
use crate::trace::{Event, EventKind, Manual, Misuse};

/// Entries of the ring.
const RING: usize = 64 * 1024;

/// Bytes of text that may wait in the ring; text comes with few events, but may be long.
const TEXT: usize = 16 << 20;

/// Nanoseconds between two flushes, about: a flush is then one part in a hundred of the guest's time.
const FLUSH_EVERY: u64 = 5_000;

/// A clock that has not been written for so many nanoseconds has stood still.
const DRIFT: u64 = 2_000_000;

/// Ticks by which an event's time may be ahead of one that was read later: two threads write the clock.
const AHEAD: u32 = 10_000_000;

/// Nanoseconds after which an event that lies in the buffer is read there, though the guest has not handed it over: it has
/// not called since, and nobody knows when it will.
const LONG_PAST: u64 = 1_000_000_000;

/// How long the guest sleeps when there is no room: a small part of what the consumer takes for all of it.
const FULL: Duration = Duration::from_micros(50);

/// The same for blocks: the consumer has as many left as were read while the guest slept.
const FULL_BLOCKS: Duration = Duration::from_micros(300);

/// What goes through the ring, with its time in nanoseconds.
#[derive(Debug)]
enum Item {
    Event(EventKind),
    /// Events of the buffer, from one offset to another.
    Written(u32, u32),
    /// The same, and nothing more comes from that block.
    WrittenLast(u32, u32),
}

/// What becomes of the guest's memory.
const OPEN: u8 = 0;
/// The guest is done: the consumer has to read what is left.
const CLOSING: u8 = 1;
/// The consumer does not look at it any more.
const CLOSED: u8 = 2;

/// What both ends know.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes of text in the ring.
    text: AtomicUsize,
    /// How many blocks the consumer has read to their end.
    blocks_read: AtomicU64,
    /// From where on the buffer's events have not been handed over.
    from: AtomicU32,
    /// One of the three above.
    state: AtomicU8,
    buffer: OnceLock<Buffer>,
    clock: Mutex<Option<ClockThread>>,
}

/// The guest's end.
#[derive(Debug)]
pub(super) struct Recorder {
    clock: Arc<Clock>,
    ring: rtrb::Producer<(u64, Item)>,
    shared: Arc<Shared>,
    /// The number of a signal that asks the guest to end.
    interrupt: Arc<AtomicI32>,
    settings: Settings,
    blocks: Option<Blocks>,
}

/// How the guest's buffer is to be used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) mode: ClockMode,
    /// Nanoseconds; for a buffer with a threshold.
    pub(super) min_duration: u64,
}

/// What is known of the guest's buffer.
#[derive(Debug)]
struct Blocks {
    buffer: Buffer,
    ticker: Arc<Ticker>,
    /// Where the first block begins, and where the last ends.
    first: u32,
    count: u32,
    /// How many blocks were begun.
    begun: u64,
    /// From where on events have not been handed over.
    from: u32,
    /// Where the cursor stood at the last flush, and after how many events the next is to be.
    flushed: u32,
    allowed: u32,
    /// Scatters the flushes: see [`Blocks::stamp`].
    random: u32,
    last_flush: u64,
    last_handover: u64,
    /// How many functions have a counter.
    counters: u32,
}

/// The error that ends the guest after a signal of this number.
#[derive(Debug)]
pub(super) struct Interrupted(pub(super) i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Both ends of a new ring.
pub(super) fn recorder(clock: Arc<Clock>, interrupt: Arc<AtomicI32>, settings: Settings) -> (Recorder, Taker) {
    let (ring, taken) = rtrb::RingBuffer::new(RING);
    let shared = Arc::new(Shared::default());
    let taker = Taker {
        clock: clock.clone(),
        ring: taken,
        shared: shared.clone(),
        last: 0,
        rest: None,
        peeked: None,
        // A call that is that old will be written down: the guest does not take it back.
        long_past: LONG_PAST + settings.min_duration,
    };
    (Recorder { clock, ring, shared, interrupt, settings, blocks: None }, taker)
}

impl Recorder {
    /// Writes down what happened, now.
    #[inline]
    pub(super) fn push(&mut self, kind: EventKind) -> wasmtime::Result<()> {
        let now = self.clock.now();
        self.send(now, Item::Event(kind));
        self.check()
    }

    /// The same for what does not come through the buffer: what is in that goes first.
    pub(super) fn push_after_buffer(&mut self, kind: EventKind, text: usize) -> wasmtime::Result<()> {
        self.drain();
        let shared = self.shared.clone();
        if shared.text.load(Ordering::Acquire) > TEXT {
            let _wait = self.clock.wait();
            while shared.text.load(Ordering::Acquire) > TEXT && !self.ring.is_abandoned() {
                std::thread::sleep(FULL);
            }
        }
        shared.text.fetch_add(text, Ordering::AcqRel);
        self.push(kind)
    }

    /// Whether the guest is to go on.
    #[inline]
    fn check(&self) -> wasmtime::Result<()> {
        match self.interrupt.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(wasmtime::Error::new(Interrupted(signal))),
        }
    }

    #[inline]
    fn send(&mut self, now: u64, item: Item) {
        if let Err(rtrb::PushError::Full(item)) = self.ring.push((now, item)) {
            self.wait_for_room(item);
        }
    }

    /// Waits for the consumer to make room. If it is gone, the guest goes on, and nobody wants its events.
    #[cold]
    fn wait_for_room(&mut self, mut item: (u64, Item)) {
        let clock = self.clock.clone();
        let _wait = clock.wait();
        while let Err(rtrb::PushError::Full(again)) = self.ring.push(item) {
            if self.ring.is_abandoned() {
                return;
            }
            item = again;
            std::thread::sleep(FULL);
        }
    }

    /// The guest has a buffer: its first `flush`. `threshold` says whether it has counters, one for each of `functions`.
    pub(super) fn begin_buffer(
        &mut self,
        buffer: Buffer,
        (first, end): (u32, u32),
        counters: u32,
        threshold: bool,
    ) -> std::io::Result<()> {
        let Settings { mode, min_duration } = self.settings;
        let thread = ClockThread::start(self.clock.clone(), buffer, mode, threshold, self.interrupt.clone())?;
        buffer.store(THRESHOLD, ticks_of(min_duration));
        buffer.store(CURSOR, first);
        let ticker = thread.ticker.clone();
        let now = ticker.write();
        *self.shared.clock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(thread);
        self.shared.from.store(first, Ordering::Release);
        self.shared.buffer.get_or_init(|| buffer);
        self.blocks = Some(Blocks {
            buffer,
            ticker,
            first,
            count: (end - first) / BLOCK,
            begun: 1,
            from: first,
            flushed: first,
            allowed: 1,
            random: 0x9e37_79b9,
            last_flush: now,
            last_handover: now,
            counters: if threshold { counters } else { 0 },
        });
        Ok(())
    }

    /// Whether [`Recorder::begin_buffer`] was called.
    pub(super) fn has_buffer(&self) -> bool {
        self.blocks.is_some()
    }

    /// Makes room for at least one event at the cursor, and writes the time.
    pub(super) fn flush(&mut self) -> wasmtime::Result<()> {
        self.check()?;
        self.mend_cursor();
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let now = self.clock.now();
        let cursor = blocks.cursor();
        let since = now.saturating_sub(blocks.last_flush);
        let lag = if cursor > blocks.flushed { blocks.ticker.lag(blocks.last_flush, now) } else { 0 };
        if cursor + EVENT > blocks.end() || lag > DRIFT || now.saturating_sub(blocks.last_handover) > HANDOVER {
            self.hand_over(now);
            if lag > DRIFT {
                self.send(now, Item::Event(EventKind::Drift(lag)));
            }
        }
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        if since < FLUSH_EVERY / 2 {
            blocks.allowed = (blocks.allowed * 2).min(BLOCK / EVENT);
        } else if since > FLUSH_EVERY * 2 {
            blocks.allowed = (blocks.allowed / 4).max(1);
        }
        blocks.stamp();
        Ok(())
    }

    /// Hands over what is in the buffer. After each return of the guest to the host, and before what the host sees itself.
    pub(super) fn drain(&mut self) {
        self.mend_cursor();
        let now = self.clock.now();
        self.hand_over(now);
        if let Some(blocks) = &mut self.blocks {
            // The next event calls for its time, however long the host takes until then.
            blocks.buffer.store(LIMIT, 0);
        }
    }

    /// If the cursor stands where no hook leaves it, says so: what was written since is not known. The guest gets room all
    /// the same.
    #[inline]
    fn mend_cursor(&mut self) {
        let Some(blocks) = &self.blocks else { return };
        let cursor = blocks.cursor();
        if blocks.buffer.load(CURSOR) != cursor {
            blocks.buffer.store(CURSOR, cursor);
            let now = self.clock.now();
            self.send(now, Item::Event(foreign()));
        }
    }

    fn hand_over(&mut self, now: u64) {
        let Some(blocks) = &mut self.blocks else { return };
        let (from, cursor, end) = (blocks.from, blocks.cursor(), blocks.end());
        blocks.last_handover = now;
        // The cursor never stands right behind an event that was handed over: the guest could take it back.
        let gap = if cursor > from { EVENT } else { 0 };
        let full = cursor + gap + EVENT > end;
        let counters = blocks.counters;
        let buffer = blocks.buffer;
        match full {
            true => self.send(now, Item::WrittenLast(from, cursor)),
            false if cursor > from => self.send(now, Item::Written(from, cursor)),
            false => {}
        }
        for id in 0..counters {
            let calls = buffer.load(COUNTERS + 4 * id);
            if calls > 0 {
                buffer.store(COUNTERS + 4 * id, 0);
                self.send(now, Item::Event(EventKind::Folded(ProbeId(id), calls)));
            }
        }
        if full {
            self.wait_for_block();
        }
        let Some(blocks) = &mut self.blocks else { return };
        blocks.from = if full { blocks.next_block() } else { cursor + gap };
        blocks.flushed = blocks.from;
        buffer.store(CURSOR, blocks.from);
        self.shared.from.store(blocks.from, Ordering::Release);
    }

    /// Waits until the next block has been read, and then some more, so that the guest does not wait again at once.
    fn wait_for_block(&mut self) {
        let Some(blocks) = &self.blocks else { return };
        let unread = |shared: &Shared| blocks.begun.saturating_sub(shared.blocks_read.load(Ordering::Acquire));
        if unread(&self.shared) < u64::from(blocks.count) {
            return;
        }
        let _wait = self.clock.wait();
        while unread(&self.shared) > u64::from(blocks.count / 2) && !self.ring.is_abandoned() {
            std::thread::sleep(FULL_BLOCKS);
        }
    }
}

/// Something else than hooks wrote into the buffer: the module was tampered with.
fn foreign() -> EventKind {
    EventKind::Manual(Box::new(Manual::Misuse(Misuse::ForeignEvent)))
}

fn ticks_of(nanos: u64) -> u32 {
    // Half of the range at most: a clock that steps back a little must not look like an eternity.
    nanos.div_ceil(TICK).min(u64::from(u32::MAX / 2)) as u32
}

impl Blocks {
    /// Where the guest is to write next. It is not trusted to be inside of the block.
    fn cursor(&self) -> u32 {
        let cursor = self.buffer.load(CURSOR) & !(EVENT - 1);
        cursor.clamp(self.from, self.end())
    }

    /// Where the current block ends.
    fn end(&self) -> u32 {
        self.first + ((self.begun - 1) % u64::from(self.count)) as u32 * BLOCK + BLOCK
    }

    /// Begins the next block, and says where.
    fn next_block(&mut self) -> u32 {
        self.begun += 1;
        let block = self.end() - BLOCK;
        // The consumer's core has these cache lines. Asked for one after the other by the guest's own stores, each line would
        // be waited for (measured: 5 ns an event); asked for at once, they come together.
        for line in (block..block + BLOCK).step_by(64) {
            self.buffer.store(line, 0);
        }
        block
    }

    /// Writes the time, and how far the guest may go until it asks for it again: half of what is allowed to one and a half,
    /// at random. Were it always as many, a loop with as many events would have all its time between the same two of them.
    fn stamp(&mut self) {
        let cursor = self.cursor();
        // xorshift32 (Marsaglia 2003)
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let allowed = match self.allowed {
            1 => 1,
            allowed => allowed / 2 + self.random % (allowed + 1),
        };
        self.flushed = cursor;
        self.last_flush = self.ticker.write();
        self.ticker.last_flush.store(self.last_flush, Ordering::Relaxed);
        self.buffer.store(LIMIT, (cursor + allowed * EVENT).min(self.end() - EVENT + 1));
    }
}

/// Keeps the guest's memory until all that was handed over has been read and nobody writes the time: made on the guest's
/// thread after the store, so dropped before it, however the thread ends.
#[derive(Debug)]
pub(super) struct ReadBeforeDrop(Arc<Shared>);

impl Recorder {
    /// To be kept beside the store.
    pub(super) fn read_before_drop(&self) -> ReadBeforeDrop {
        ReadBeforeDrop(self.shared.clone())
    }
}

impl Drop for ReadBeforeDrop {
    fn drop(&mut self) {
        drop(self.0.clock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
        let _ = self.0.state.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Acquire);
        while self.0.state.load(Ordering::Acquire) != CLOSED {
            std::thread::sleep(FULL);
        }
    }
}

/// The consumer's end.
#[derive(Debug)]
pub(super) struct Taker {
    clock: Arc<Clock>,
    ring: rtrb::Consumer<(u64, Item)>,
    shared: Arc<Shared>,
    /// The time of the last event.
    last: u64,
    /// What is being read of the buffer.
    rest: Option<Rest>,
    /// Up to where the buffer was read though it was not handed over.
    peeked: Option<u32>,
    /// Nanoseconds for which an event has to lie in the buffer until it is read without being handed over.
    long_past: u64,
}

/// Events of the buffer that have been handed over and not been read.
#[derive(Debug, Clone, Copy)]
struct Rest {
    at: u32,
    to: u32,
    /// When they had been written.
    now: u64,
    /// Whether the block ends with them.
    last: bool,
}

impl Taker {
    /// Appends what there is to `events`, up to `most` of them. Whether there may be more.
    pub(super) fn take(&mut self, events: &mut Vec<Event>, most: usize) -> bool {
        while events.len() < most {
            if let Some(rest) = self.rest {
                self.read(rest, events, most);
                continue;
            }
            let Ok((now, item)) = self.ring.pop() else { return false };
            match item {
                Item::Event(kind) => {
                    self.shared.text.fetch_sub(kind.text_len(), Ordering::AcqRel);
                    self.last = self.last.max(now);
                    events.push(Event { at: self.last, kind });
                }
                Item::Written(from, to) | Item::WrittenLast(from, to) => {
                    // What was read before it was handed over is not read again.
                    let at = self.peeked.take().map_or(from, |peeked| peeked.max(from));
                    self.rest = Some(Rest { at: at.min(to), to, now, last: matches!(item, Item::WrittenLast(..)) });
                }
            }
        }
        true
    }

    fn read(&mut self, rest: Rest, events: &mut Vec<Event>, most: usize) {
        let Some(buffer) = self.shared.buffer.get() else {
            self.rest = None;
            return;
        };
        let room = (most - events.len()).min((BLOCK / EVENT) as usize) as u32;
        let to = rest.to.min(rest.at + room * EVENT);
        let (now, now_word) = (rest.now / TICK, ticks(rest.now));
        let (mut last, mut last_word) = (self.last, !buffer.load(rest.at.min(buffer.len() - EVENT) + 4));
        for at in (rest.at..to).step_by(EVENT as usize) {
            let (word, time) = (buffer.load(at), buffer.load(at + 4));
            if time != last_word {
                last_word = time;
                // They were written before `now`, and not so long before that the word has come round again.
                let ago = now_word.wrapping_sub(time);
                let ago = if ago > u32::MAX - AHEAD { 0 } else { u64::from(ago) };
                last = last.max(now.saturating_sub(ago) * TICK);
            }
            let kind = match meaning(word) {
                Some((id, Kind::Enter)) => EventKind::Enter(id),
                Some((id, Kind::Exit)) => EventKind::Exit(id),
                Some((id, Kind::Unwound)) => EventKind::Unwound(id),
                None => foreign(),
            };
            events.push(Event { at: last, kind });
        }
        self.last = last;
        self.rest = Some(Rest { at: to, ..rest });
        if to >= rest.to {
            self.rest = None;
            if rest.last {
                self.shared.blocks_read.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Appends what the guest has written and not handed over, if it lies there for long: the guest is busy, or waits, and
    /// does not call. With `all`, everything that is there: nothing will come any more.
    pub(super) fn peek(&mut self, events: &mut Vec<Event>, all: bool) {
        let Some(buffer) = self.shared.buffer.get().copied() else { return };
        if self.shared.state.load(Ordering::Acquire) != OPEN || self.rest.is_some() || !self.ring.is_empty() {
            return;
        }
        let from = self.shared.from.load(Ordering::Acquire);
        let cursor = buffer.load(CURSOR) & !(EVENT - 1);
        let from = self.peeked.map_or(from, |peeked| peeked.max(from));
        // All of it lies in one block, unless the guest is just moving on, or its cursor is none.
        if cursor <= from || cursor > buffer.len() || from / BLOCK != (cursor - EVENT) / BLOCK {
            return;
        }
        let now = self.clock.now();
        let age = u64::from(ticks(now).wrapping_sub(buffer.load(cursor - EVENT + 4))) * TICK;
        if all || age > self.long_past {
            self.read(Rest { at: from, to: cursor, now, last: false }, events, usize::MAX);
            self.peeked = Some(cursor);
        }
    }

    /// Whether nothing more will come: everything was taken and the guest's end is gone or waits for just that.
    pub(super) fn is_over(&mut self) -> bool {
        // In this order: what was pushed before the guest was done is there when that is known.
        let gone = self.ring.is_abandoned();
        let closing = self.shared.state.load(Ordering::Acquire) == CLOSING;
        if (gone || closing) && self.rest.is_none() && self.ring.is_empty() {
            self.shared.state.store(CLOSED, Ordering::Release);
            return true;
        }
        false
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.shared.state.store(CLOSED, Ordering::Release);
    }
}
