//! The producer: passes events from hooks, buffer and manual API to the consumer through a wait-free ring.
//!
//! The [`Producer`] is in the store, on the guest's thread. Hooks of the set `observe` push events one by one. Events
//! of a buffer stay in the buffer, and only their range is pushed. The [`Consumer`] reads continuously, so that events
//! are seen even if the guest never returns. If there is no room, the guest waits: nothing is dropped, and memory is
//! bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use super::buffer::Buffer;
use super::clock::{Clock, ClockMode, ClockThread, HANDOVER};
use super::progress::{CLOSED, CLOSING, MOVING, OPEN, Shared};
use super::ring::{Item, Written};
use super::sampler::Samples;
use wasmtrace_abi::buffer::{BLOCK, COUNTERS, CURSOR, LIMIT, THRESHOLD, TICK, event_size};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_trace::batch::Stamp;
use wasmtrace_trace::calltree::{TIMED_EVENTS, TIMED_NANOS};
use wasmtrace_trace::event::{EventKind, Manual, Misuse};

mod blocks;
pub(super) mod component;
mod host;

use blocks::{Area, Blocks, FLUSH_EVERY, FLUSH_LATER};

/// Maximum bytes of text in the ring. Few events have text, but it may be long.
const TEXT: usize = 16 << 20;

/// Nanoseconds without an update after which the clock counts as stopped.
const DRIFT: u64 = 2_000_000;

/// Time for which the guest sleeps if the ring is full: a small part of what the consumer needs to empty it.
const FULL: Duration = Duration::from_micros(50);

/// Time for which the guest sleeps if all blocks are full.
const FULL_BLOCKS: Duration = Duration::from_micros(300);

/// The producer, on the guest's thread.
#[derive(Debug)]
pub(super) struct Producer {
    clock: Arc<Clock>,
    ring: rtrb::Producer<(u64, Item)>,
    shared: Arc<Shared>,
    /// Set to a signal number to end the guest (see [`super::Config`]).
    interrupt: Arc<AtomicI32>,
    settings: Settings,
    blocks: Option<Blocks>,
    /// The samples of the guest, if it is sampled; host calls are measured then.
    samples: Option<Arc<Samples>>,
    host: HostCalls,
}

/// Settings for the guest's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) mode: ClockMode,
    /// Minimum duration of calls in nanoseconds, for a buffer with a threshold.
    pub(super) min_duration: u64,
    /// Whether other threads may read the guest's memory: only if it cannot be dropped meanwhile (`ReadBeforeDrop`).
    pub(super) buffers: bool,
    /// Whether each event needs a time.
    pub(super) times: bool,
}

/// The error that ends the guest after a signal with this number.
#[derive(Debug)]
pub(super) struct Interrupted(pub(super) i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl std::error::Error for Interrupted {}

/// Measurement of host calls.
#[derive(Debug, Default)]
struct HostCalls {
    /// Begin of the current host call, if it is not one of our own.
    began: Option<u64>,
    /// Whether the current call is one of our own: a hook or the manual API.
    own: bool,
    /// The host calls after the same word, combined in one stamp.
    stamp: Option<(u64, Stamp)>,
}

impl Producer {
    pub(super) fn new(
        clock: Arc<Clock>,
        ring: rtrb::Producer<(u64, Item)>,
        shared: Arc<Shared>,
        interrupt: Arc<AtomicI32>,
        settings: Settings,
    ) -> Self {
        Producer { clock, ring, shared, interrupt, settings, blocks: None, samples: None, host: HostCalls::default() }
    }

    /// Pushes an event with the current time.
    #[inline]
    pub(super) fn push(&mut self, kind: EventKind) -> wasmtime::Result<()> {
        let now = self.clock.now();
        self.send(now, Item::Event(kind));
        self.host.own = true;
        self.check()
    }

    /// Pushes an event that does not come from the buffer. Events in the buffer are handed over first.
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

    /// Checks whether the guest may continue.
    #[inline]
    pub(super) fn check(&self) -> wasmtime::Result<()> {
        match self.interrupt.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(wasmtime::Error::new(Interrupted(signal.abs()))),
        }
    }

    #[inline]
    fn send(&mut self, now: u64, item: Item) {
        if matches!(item, Item::Event(_)) {
            self.shared.events.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(rtrb::PushError::Full(item)) = self.ring.push((now, item)) {
            self.wait_for_room(item);
        }
    }

    /// Waits for room in the ring. If the consumer is gone, the item is discarded and the guest continues.
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

    /// Initializes the buffer at the guest's first `flush`. `threshold` says whether it has counters, one for each of
    /// `functions`.
    pub(super) fn begin_buffer(
        &mut self,
        buffer: Buffer,
        (first, end): (u32, u32),
        counters: u32,
        threshold: bool,
    ) -> std::io::Result<()> {
        buffer.store(CURSOR, first);
        self.begin(Area::new(buffer, (first, end), false), counters, threshold)
    }

    fn begin(&mut self, area: Area, counters: u32, threshold: bool) -> std::io::Result<()> {
        let (buffer, first) = (area.buffer, area.first);
        let Settings { mode, min_duration, .. } = self.settings;
        self.shared.buffer.set(buffer);
        let active = self.shared.buffer.clone();
        let thread = ClockThread::start(self.clock.clone(), active, mode, threshold, self.interrupt.clone())?;
        let size = event_size(if threshold { HookSet::Threshold } else { HookSet::Buffer });
        if threshold {
            buffer.store(THRESHOLD, ticks_of(min_duration));
        }
        for id in 0..if threshold { counters } else { 0 } {
            buffer.store(COUNTERS + 4 * id, 0); // of calls before anybody listened
        }
        let ticker = thread.ticker.clone();
        let now = ticker.write();
        *self.shared.clock.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(thread);
        self.shared.end.store(first + BLOCK, Ordering::Relaxed);
        self.shared.from.store(first, Ordering::Release);
        self.shared.event_size.store(size, Ordering::Relaxed);
        self.shared.ticker.get_or_init(|| ticker.clone());
        self.blocks = Some(Blocks {
            area,
            parked: Vec::new(),
            ticker,
            size,
            flushed: first,
            allowed: 1,
            stamps: !threshold,
            paced: true,
            every: FLUSH_EVERY,
            stamp: None,
            pairing: false,
            last_pair: 0,
            random: 0x9e37_79b9,
            last_flush: now,
            last_handover: now,
            counters: if threshold { counters } else { 0 },
            threshold: if threshold { ticks_of(min_duration) } else { 0 },
        });
        Ok(())
    }

    /// The buffer given to [`Producer::begin_buffer`].
    pub(super) fn buffer(&self) -> Option<&Buffer> {
        self.blocks.as_ref().map(|blocks| &blocks.area.buffer)
    }

    /// Whether [`Producer::begin_buffer`] may be called.
    pub(super) fn takes_buffers(&self) -> bool {
        self.settings.buffers
    }

    /// Whether the recording is on. After its end, the buffer may be gone too.
    #[inline]
    pub(super) fn is_heard(&self) -> bool {
        self.shared.state.load(Ordering::Acquire) == OPEN
    }

    /// Makes room for at least one event at the cursor and writes the time. The time is read first and last, so that
    /// two flushes measure little more than the time between them.
    pub(super) fn flush(&mut self) -> wasmtime::Result<()> {
        let now = self.clock.now();
        self.host.own = true;
        self.check()?;
        self.mend_cursor();
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        let cursor = blocks.cursor();
        let since = now.saturating_sub(blocks.last_flush);
        let over = blocks.ticker.idle_since(blocks.last_flush).unwrap_or(now);
        if blocks.threshold != 0 && blocks.area.buffer.load(THRESHOLD) == 0 {
            blocks.area.buffer.store(THRESHOLD, blocks.threshold); // it was suspended
        }
        let is_late = cursor > blocks.flushed && (blocks.paced || !blocks.stamps);
        let lag = if is_late { blocks.ticker.lag(blocks.last_flush, now) } else { 0 };
        let new_block = cursor + blocks.size > blocks.end();
        if new_block || lag > DRIFT || now.saturating_sub(blocks.last_handover) > HANDOVER {
            self.hand_over(now, over, true);
            if lag > DRIFT {
                self.send(now, Item::Event(EventKind::ClockGap(lag)));
            }
        } else {
            self.send_stamp();
        }
        let words = self.shared.position().words;
        let is_later = now > 2 * TIMED_NANOS || words > 2 * TIMED_EVENTS;
        let Some(blocks) = &mut self.blocks else { return Ok(()) };
        if self.samples.is_some() && is_later && blocks.every == FLUSH_EVERY {
            blocks.every = FLUSH_LATER;
            if !self.settings.times {
                blocks.paced = false;
                blocks.ticker.rest();
            }
        }
        blocks.pace(since);
        blocks.stamp(words, (now, over), new_block);
        Ok(())
    }

    /// Sends the stamps of the last flush and of the last host call.
    fn send_stamp(&mut self) {
        let of_flush = self.blocks.as_mut().and_then(|blocks| blocks.stamp.take());
        let [first, second] = match (of_flush, self.host.stamp.take()) {
            (Some(flush), Some(host)) if host.1.called < flush.1.called => [Some(host), Some(flush)],
            (flush, host) => [flush, host],
        };
        for (words, stamp) in [first, second].into_iter().flatten() {
            self.send(stamp.returned, Item::Stamp(words, stamp));
        }
    }

    /// Hands over the events in the buffer. Called when the guest returns to the host, and before events that the host
    /// records.
    pub(super) fn drain(&mut self) {
        self.mend_cursor();
        let now = self.clock.now();
        let idle = self.blocks.as_ref().and_then(|blocks| blocks.ticker.idle_since(blocks.last_flush));
        self.hand_over(now, idle.unwrap_or(now), false);
        if let Some(blocks) = &mut self.blocks {
            // The next event will call for its time, no matter how long the host takes.
            blocks.area.buffer.store(LIMIT, 0);
        }
    }

    /// Records misuse if the cursor is where no hook leaves it: events since then are unknown. The guest gets room in
    /// any case.
    #[inline]
    fn mend_cursor(&mut self) {
        let Some(blocks) = &self.blocks else { return };
        let cursor = blocks.cursor();
        if blocks.area.buffer.load(CURSOR) != cursor {
            blocks.area.buffer.store(CURSOR, cursor);
            let now = self.clock.now();
            self.send(now, Item::Event(foreign()));
        }
    }

    /// Hands over the events in the buffer, all of which had happened at `over`. `before_event` if the guest writes the
    /// next event as soon as it continues.
    fn hand_over(&mut self, now: u64, over: u64, before_event: bool) {
        self.send_stamp();
        let Some(blocks) = &mut self.blocks else { return };
        let (from, cursor, end, size) = (blocks.area.from, blocks.cursor(), blocks.end(), blocks.size);
        // Until the cursor has moved, the consumer must not read the buffer itself: its events are being handed over.
        self.shared.from.store(MOVING, Ordering::Release);
        blocks.last_handover = now;
        // The cursor never stays directly after an event that was handed over: the guest could drop that event.
        let gap = if cursor > from && !blocks.stamps { size } else { 0 };
        let full = cursor + gap + size > end;
        let counters = blocks.counters;
        let (buffer, blocks_read) = (blocks.area.buffer, blocks.area.blocks_read.clone());
        if full || cursor > from {
            let words = self.shared.handed_over.load(Ordering::Relaxed);
            let written = Written { buffer, blocks_read, from, to: cursor, last: full, over, before_event, words };
            self.send(now, Item::Written(written));
            self.shared.handed_over.store(words + u64::from((cursor - from) / size), Ordering::Relaxed);
        }
        for id in 0..counters {
            let calls = buffer.load(COUNTERS + 4 * id);
            if calls > 0 {
                buffer.store(COUNTERS + 4 * id, 0);
                self.send(now, Item::Event(EventKind::Elided(ProbeId(id), calls)));
            }
        }
        if full {
            self.wait_for_block();
        }
        let Some(blocks) = &mut self.blocks else { return };
        let area = &mut blocks.area;
        area.from = if full { area.next_block() } else { cursor + gap };
        let (from, end) = (area.from, area.end());
        self.shared.end.store(end, Ordering::Relaxed);
        blocks.flushed = from;
        buffer.store(CURSOR, from);
        self.shared.from.store(from, Ordering::Release);
    }

    /// Waits until the next block was read, and a little longer, so that the guest does not wait again at once.
    fn wait_for_block(&mut self) {
        let Some(blocks) = &self.blocks else { return };
        let area = &blocks.area;
        if area.unread() < u64::from(area.count) {
            return;
        }
        let _wait = self.clock.wait();
        while area.unread() > u64::from(area.count / 2) && !self.ring.is_abandoned() {
            std::thread::sleep(FULL_BLOCKS);
        }
    }
}

/// The event for buffer contents that no hook writes: the module was tampered with.
pub(super) fn foreign() -> EventKind {
    EventKind::Manual(Box::new(Manual::Misuse(Misuse::ForeignEvent)))
}

fn ticks_of(nanos: u64) -> u32 {
    // At most half of the range: a clock that decreases slightly must not look like a long time.
    nanos.div_ceil(TICK).min(u64::from(u32::MAX / 2)) as u32
}

/// Keeps the guest's memory alive until all events were read and the clock's thread has ended. Created after the store
/// on the guest's thread, so it is dropped before the store.
#[derive(Debug)]
pub(super) struct ReadBeforeDrop(Arc<Shared>);

impl Producer {
    /// Returns a guard to keep next to the store.
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
