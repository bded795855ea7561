//! The consumer's end of what a guest records: takes events out of the ring and out of the guest's buffer, and gives each its
//! time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::activations::Activations;
use super::clock::{Clock, ticks};
use super::recorder::{CLOSED, CLOSING, Item, MOVING, OPEN, Shared, Written, foreign};
use super::timeline::{Stamp, Stretch, Timeline, UNKNOWN};
use crate::hook::buffer::{BLOCK, CURSOR, EVENT, Kind, NOBODY, TICK, meaning};
use crate::trace::{Event, EventKind};

/// Ticks by which an event's time may be ahead of one that was read later: two threads write the clock.
const AHEAD: u32 = 10_000_000;

/// Nanoseconds after which an event that lies in the buffer is read there, though the guest has not handed it over: it has
/// not called since, and nobody knows when it will.
const LONG_PAST: u64 = 1_000_000_000;

/// The consumer's end.
#[derive(Debug)]
pub(super) struct Taker {
    clock: Arc<Clock>,
    ring: rtrb::Consumer<(u64, Item)>,
    shared: Arc<Shared>,
    /// The time of the last event.
    last: u64,
    /// Of events that have not been handed over yet, in order.
    stamps: Vec<Stamp>,
    timeline: Timeline,
    words: Vec<u32>,
    activations: Activations,
    /// Up to where the buffer was read though it was not handed over.
    peeked: Option<u32>,
    /// Nanoseconds for which an event has to lie in the buffer until it is read without being handed over.
    long_past: u64,
}

impl Taker {
    /// The other end of `ring`, for a guest with that threshold.
    pub(super) fn new(
        clock: Arc<Clock>,
        ring: rtrb::Consumer<(u64, Item)>,
        shared: Arc<Shared>,
        min_duration: u64,
    ) -> Self {
        Taker {
            clock,
            ring,
            shared,
            last: 0,
            stamps: Vec::new(),
            timeline: Timeline::new(),
            words: Vec::new(),
            activations: Activations::default(),
            peeked: None,
            // A call that is that old will be written down: the guest does not take it back.
            long_past: LONG_PAST.saturating_add(min_duration),
        }
    }

    /// Appends what there is to `events`, until they are `most` or a block more.
    pub(super) fn take(&mut self, events: &mut Vec<Event>, most: usize) {
        while events.len() < most {
            let Ok((now, item)) = self.ring.pop() else { return };
            match item {
                Item::Event(kind) => {
                    self.shared.text.fetch_sub(kind.text_len(), Ordering::AcqRel);
                    self.last = self.last.max(now);
                    events.push(Event { at: self.last, kind });
                }
                Item::Stamp(stamp) => self.stamps.push(stamp),
                Item::Written(written) => self.read(written, now, events),
            }
        }
    }

    /// Reads what was handed over at `now`.
    fn read(&mut self, written: Written, now: u64, events: &mut Vec<Event>) {
        let Some(buffer) = self.shared.buffer.get() else { return };
        // What was read before it was handed over is not read again.
        let from = self.peeked.take().map_or(written.from, |peeked| peeked.max(written.from)).min(written.to);
        self.stamps.retain(|stamp| (from..written.to).contains(&stamp.at));
        if self.stamps.is_empty() {
            self.read_with_clock(from, written.to, now, events);
        } else {
            self.words.clear();
            buffer.load_events(from, written.to, &mut self.words);
            let mut last = self.last;
            let activations = &mut self.activations;
            let mut tell = |word, at| {
                last = last.max(at);
                said(word, last, activations, events);
            };
            let place = |stamp: &Stamp| ((stamp.at - from) / EVENT) as usize;
            let first = &self.stamps[0];
            let (before, _) = self.words.split_at(place(first));
            let (begin, over, end) = (self.last, first.over, first.called);
            self.timeline.share_out(&Stretch { words: before, next: UNKNOWN, begin, over, end }, &mut tell);
            for (i, stamp) in self.stamps.iter().enumerate() {
                let (to, over, end) = match self.stamps.get(i + 1) {
                    Some(next) => (place(next), next.over, next.called),
                    None => (self.words.len(), written.over, now),
                };
                let words = &self.words[place(stamp)..to];
                let next = self.words.get(to).copied().unwrap_or(UNKNOWN);
                self.timeline.share_out(&Stretch { words, next, begin: stamp.returned, over, end }, &mut tell);
            }
            self.last = last;
            self.stamps.clear();
        }
        if written.last {
            self.shared.blocks_read.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Reads events with the times that the clock's word gave them.
    fn read_with_clock(&mut self, from: u32, to: u32, now: u64, events: &mut Vec<Event>) {
        let Some(buffer) = self.shared.buffer.get().filter(|_| from < to) else { return };
        let (now, now_word) = (now / TICK, ticks(now));
        let (mut last, mut last_word) = (self.last, !buffer.load(from + 4));
        for at in (from..to).step_by(EVENT as usize) {
            let (word, time) = (buffer.load(at), buffer.load(at + 4));
            if time != last_word {
                last_word = time;
                // They were written before `now`, and not so long before that the word has come round again.
                let ago = now_word.wrapping_sub(time);
                let ago = if ago > u32::MAX - AHEAD { 0 } else { u64::from(ago) };
                last = last.max(now.saturating_sub(ago) * TICK);
            }
            said(word, last, &mut self.activations, events);
        }
        self.last = last;
    }

    /// Appends what the guest has written and not handed over, if it lies there for long: the guest is busy, or waits, and
    /// does not call. With `all`, everything that is there: nothing will come any more.
    pub(super) fn peek(&mut self, events: &mut Vec<Event>, all: bool) {
        let Some(buffer) = self.shared.buffer.get().copied() else { return };
        if self.shared.state.load(Ordering::Acquire) != OPEN || !self.ring.is_empty() {
            return;
        }
        let handed_over = self.shared.from.load(Ordering::Acquire);
        let cursor = buffer.load(CURSOR) & !(EVENT - 1);
        // In this order: had the guest moved on in between, its cursor could be another block's, or its events in the ring.
        if handed_over == MOVING || self.shared.from.load(Ordering::Acquire) != handed_over || !self.ring.is_empty() {
            return;
        }
        let from = self.peeked.map_or(handed_over, |peeked| peeked.max(handed_over));
        // All of it lies in one block, unless the guest is just moving on, or its cursor is none.
        if cursor <= from || cursor > buffer.len() || from / BLOCK != (cursor - EVENT) / BLOCK {
            return;
        }
        let now = self.clock.now();
        let age = u64::from(ticks(now).wrapping_sub(buffer.load(cursor - EVENT + 4))) * TICK;
        if all || age > self.long_past {
            self.read_with_clock(from, cursor, now, events);
            self.peeked = Some(cursor);
        }
    }

    /// Whether nothing more will come: everything was taken and the guest's end is gone or waits for just that.
    pub(super) fn is_over(&mut self) -> bool {
        // In this order: what was pushed before the guest was done is there when that is known.
        let gone = self.ring.is_abandoned();
        let closing = self.shared.state.load(Ordering::Acquire) == CLOSING;
        if (gone || closing) && self.ring.is_empty() {
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

/// What an event says, by its first word.
#[inline]
fn said(word: u32, at: u64, activations: &mut Activations, events: &mut Vec<Event>) {
    let (id, kind) = meaning(word);
    match kind {
        Kind::Enter => {
            activations.entered(id);
            events.push(Event { at, kind: EventKind::Enter(id) });
        }
        Kind::Exit => {
            activations.exited(id);
            events.push(Event { at, kind: EventKind::Exit(id) });
        }
        Kind::Catching => {
            activations.catching(id);
            if id != NOBODY {
                events.push(Event { at, kind: EventKind::Enter(id) });
            }
        }
        Kind::Landed => {
            if !activations.landed(id.0, |id| events.push(Event { at, kind: EventKind::Unwound(id) })) {
                events.push(Event { at, kind: foreign() });
            }
        }
    }
}
