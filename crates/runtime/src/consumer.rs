//! The consumer: takes events from the ring and from the guest's buffer, and samples from their own ring, and merges
//! them in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::buffer::Buffer;
use super::clock::{Clock, ticks};
use super::places::Places;
use super::producer::foreign;
use super::progress::{CLOSED, CLOSING, MOVING, OPEN, Shared, is_entry};
use super::ring::{Item, Written};
use super::sampler::{RawSample, Samples};
use super::unwinder::Unwinder;
use wasmtrace_abi::buffer::{BLOCK, CURSOR, FUNCTIONS, Kind, NOBODY, TICK, is_leaf, is_unusual, meaning, word};
use wasmtrace_trace::batch::{Batch, Mark, MarkKind, Stamp, apart, said};
use wasmtrace_trace::event::{Event, EventKind};

/// Ticks by which an event may appear to be later than one that is read after it: two threads write the clock.
const AHEAD: u32 = 10_000_000;

/// Nanoseconds after which an event in the buffer is read although it was not handed over: the guest may not call for a
/// long time.
const LONG_PAST: u64 = 1_000_000_000;

/// The consumer's end of the ring.
#[derive(Debug)]
pub(super) struct Consumer<'m> {
    clock: Arc<Clock>,
    ring: rtrb::Consumer<(u64, Item)>,
    shared: Arc<Shared>,
    /// Time of the last event that has one.
    last: u64,
    /// Stamps of words that are still to come, each with the number of words before it.
    stamps: VecDeque<(u64, Stamp)>,
    /// The source of samples, and the machine code that they refer to.
    samples: Option<Sampled<'m>>,
    /// Samples of words and events that are still to come.
    pending: VecDeque<RawSample>,
    /// Time of the last look at the guest's progress.
    looked: u64,
    /// Number of words and events taken.
    words_taken: u64,
    events_taken: u64,
    words: Vec<u32>,
    unwinder: Unwinder,
    /// Offset up to which the buffer was read before it was handed over.
    peeked: Option<(Buffer, u32)>,
    /// Nanoseconds after which an event is read before it is handed over.
    long_past: u64,
}

/// The source of samples.
#[derive(Debug)]
struct Sampled<'m> {
    /// Samples taken on the guest's thread. `None` if only this thread observes the guest ([`Consumer::looks`]).
    samples: Option<Arc<Samples>>,
    places: Places<'m>,
    /// Whether samples have call paths.
    walked: bool,
}

/// Maximum nanoseconds between two looks that count as time of the guest.
const MOST_BETWEEN_LOOKS: u64 = 1_000_000;

/// Maximum number of samples waiting for their position. An hour has about as many. Further samples stay in their ring;
/// when that is full, they are lost.
const MOST_PENDING: usize = 1 << 22;

impl<'m> Consumer<'m> {
    /// Creates the consumer for `ring`.
    pub(super) fn new(
        clock: Arc<Clock>,
        ring: rtrb::Consumer<(u64, Item)>,
        shared: Arc<Shared>,
        min_duration: u64,
    ) -> Self {
        Consumer {
            clock,
            ring,
            shared,
            last: 0,
            stamps: VecDeque::new(),
            samples: None,
            pending: VecDeque::new(),
            looked: 0,
            words_taken: 0,
            events_taken: 0,
            words: Vec::new(),
            unwinder: Unwinder::default(),
            peeked: None,
            // The guest no longer drops calls of that age.
            long_past: LONG_PAST.saturating_add(min_duration),
        }
    }

    /// Sets the source of samples; `walked` if they have call paths.
    pub(super) fn sampled_by(&mut self, samples: Arc<Samples>, places: Places<'m>, walked: bool) {
        self.samples = Some(Sampled { samples: Some(samples), places, walked });
    }

    /// Observes the guest's progress from this thread, without interrupting it.
    pub(super) fn looks(&mut self) {
        self.samples = Some(Sampled { samples: None, places: Places::new(std::iter::empty()), walked: false });
    }

    /// Appends available events to `batch`, up to about `most`; a block may exceed it.
    pub(super) fn take(&mut self, batch: &mut Batch, most: usize) {
        while batch.words.len() + batch.marks.len() < most {
            let Ok((now, item)) = self.ring.pop() else { break };
            match item {
                Item::Event(kind) => {
                    self.shared.text.fetch_sub(kind.text_len(), Ordering::AcqRel);
                    self.collect();
                    self.samples_until(self.words_taken, batch);
                    self.last = self.last.max(now);
                    batch.event(Event { at: self.last, kind });
                    self.events_taken += 1;
                }
                Item::Stamp(at, stamp) if at <= self.words_taken => batch.mark(MarkKind::Stamp(stamp)),
                Item::Stamp(at, stamp) => self.stamps.push_back((at, stamp)),
                Item::Host(sample) => batch.mark(MarkKind::Sample(sample)),
                Item::Written(written) => self.read(&written, now, None, batch),
                Item::Copied(words, written) => self.read(&written, now, Some(&words), batch),
            }
        }
        self.collect();
        self.samples_until(self.words_taken, batch);
    }

    /// Observes the guest's progress, if it is to be sampled and cannot be interrupted.
    pub(super) fn look(&mut self) {
        let Some(buffer) = self.shared.buffer.get() else { return };
        let looks = self.samples.as_ref().is_some_and(|of| of.samples.as_ref().is_none_or(|noted| noted.has_failed()));
        // A guest that has ended is in no function.
        let runs = self.shared.state.load(Ordering::Acquire) == OPEN;
        if !looks || !runs || self.pending.len() >= MOST_PENDING {
            return;
        }
        let from = self.shared.from.load(Ordering::Acquire);
        let words = self.shared.handed_over();
        let cursor = buffer.load(CURSOR);
        // In this order, otherwise the cursor could belong to another block. A guest that waits for the consumer is
        // handing over.
        if from == MOVING || self.shared.from.load(Ordering::Acquire) != from || cursor < from {
            return;
        }
        let now = self.clock.now();
        let weight = now.saturating_sub(std::mem::replace(&mut self.looked, now)).min(MOST_BETWEEN_LOOKS);
        let size = self.event_size();
        let words = words + u64::from((cursor - from) / size);
        let entered = cursor > from && cursor.is_multiple_of(4) && is_entry(&buffer, cursor - size);
        self.pending.push_back(RawSample { seen: true, words, entered, weight, ..Default::default() });
    }

    /// Collects samples from the guest's thread.
    fn collect(&mut self) {
        let Some(Sampled { samples: Some(samples), .. }) = &self.samples else { return };
        while self.pending.len() < MOST_PENDING
            && let Some(sample) = samples.take()
        {
            self.pending.push_back(sample);
        }
    }

    /// Appends the samples that precede the given number of words and the next event.
    fn samples_until(&mut self, words: u64, batch: &mut Batch) {
        let Some(Sampled { places, walked, .. }) = &mut self.samples else { return };
        while let Some(sample) = self.pending.front()
            && sample.words <= words
            && sample.events <= self.events_taken
        {
            batch.mark(MarkKind::Sample(places.sample(sample, *walked)));
            self.pending.pop_front();
        }
    }

    /// Reads events that were handed over at `now`; `copied` if the buffer does not hold them any more.
    fn read(&mut self, written: &Written, now: u64, copied: Option<&[u32]>, batch: &mut Batch) {
        // Samples of these events have been written by now.
        self.collect();
        let size = self.event_size();
        // Events that were read before they were handed over are skipped.
        let peeked = self.peeked.take_if(|(buffer, _)| copied.is_none() && buffer.is_same(&written.buffer));
        let from = peeked.map_or(written.from, |(_, peeked)| peeked.max(written.from)).min(written.to);
        let first = written.words + u64::from((from - written.from) / size);
        match size {
            4 => {
                let end = Stamp {
                    over: written.over.min(now),
                    called: now,
                    returned: now,
                    host: 0,
                    before_event: written.before_event,
                };
                match copied {
                    Some(words) => self.take_words(words, first, end, batch),
                    None => self.read_words(&written.buffer, (from, written.to), first, end, batch),
                }
            }
            _ => self.read_with_clock(&written.buffer, (from, written.to), first, now, batch),
        }
        if written.last {
            written.blocks_read.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn event_size(&self) -> u32 {
        self.shared.event_size.load(Ordering::Relaxed).max(4)
    }

    /// Reads words and the marks between them, up to the stamp `end`. `first` words came before.
    fn read_words(&mut self, buffer: &Buffer, (from, to): (u32, u32), first: u64, end: Stamp, batch: &mut Batch) {
        let mut words = std::mem::take(&mut self.words);
        words.clear();
        buffer.load_words(from, to, &mut words);
        self.take_words(&words, first, end, batch);
        self.words = words;
    }

    /// Takes words and the marks between them, up to the stamp `end`. `first` words came before.
    fn take_words(&mut self, words: &[u32], first: u64, end: Stamp, batch: &mut Batch) {
        // Words about exceptions are translated, and words that no hook writes are rejected. All others are copied.
        let plain = !self.unwinder.follow() && !words.iter().fold(false, |any, word| any | is_unusual(*word));
        let mut take = |some: &[u32], batch: &mut Batch| match plain {
            true => batch.words.extend_from_slice(some),
            false => some.iter().for_each(|word| append(*word, &mut self.unwinder, batch)),
        };
        let behind = first + words.len() as u64;
        let (mut taken, mut last) = (0, first);
        // The exit of a leaf call that was split because a sample was taken inside it.
        let mut owed = None;
        // Merges stamps and samples, both of which are in order.
        loop {
            let stamp = self.stamps.front().map(|(at, _)| *at).filter(|at| *at <= behind);
            let is_due = |sample: &&RawSample| sample.words <= behind && sample.events <= self.events_taken;
            let sample = self.pending.front().filter(is_due);
            let in_leaf = sample.is_some_and(|sample| {
                let before = sample.words.checked_sub(first + 1).and_then(|before| words.get(before as usize));
                sample.entered && before.is_some_and(|word| is_leaf(*word))
            });
            let is_stamp = match (stamp, sample.map(|sample| sample.words)) {
                (None, None) => break,
                // A leaf function does not call the host, so the stamp comes after it.
                (Some(stamp), Some(sample)) => stamp < sample || stamp == sample && !in_leaf,
                (stamp, _) => stamp.is_some(),
            };
            // Never decreasing, whatever the guest writes to its cursor.
            last =
                if is_stamp { stamp } else { sample.map(|sample| sample.words) }.unwrap_or(behind).clamp(last, behind);
            let to = (last - first) as usize;
            if to > taken || is_stamp || !in_leaf {
                batch.words.extend(owed.take());
            }
            take(&words[taken..to], batch);
            taken = to;
            if is_stamp {
                let (_, stamp) = self.stamps.pop_front().expect("there is one");
                batch.mark(MarkKind::Stamp(stamp));
            } else if let Some(Sampled { places, walked, .. }) = &mut self.samples {
                if in_leaf
                    && let Some(call) = batch.words.last_mut()
                    && let (entry, Some(exit)) = apart(*call)
                {
                    *call = entry;
                    owed = Some(exit);
                }
                let sample = self.pending.pop_front().expect("there is one");
                batch.mark(MarkKind::Sample(places.sample(&sample, *walked)));
            }
        }
        batch.words.extend(owed);
        take(&words[taken..], batch);
        self.words_taken = behind;
        batch.mark(MarkKind::Stamp(end));
        self.last = self.last.max(end.over);
    }

    /// Reads events with the timestamps of the clock word.
    fn read_with_clock(&mut self, buffer: &Buffer, (from, to): (u32, u32), first: u64, now: u64, batch: &mut Batch) {
        if from >= to {
            return;
        }
        let (now, now_word) = (now / TICK, ticks(now));
        let mut last_word = !buffer.load(from + 4);
        for (i, at) in (from..to & !7).step_by(8).enumerate() {
            self.samples_until(first + i as u64, batch);
            self.stamps_until(first + i as u64, batch);
            let (word, time) = (buffer.load(at), buffer.load(at + 4));
            if time != last_word {
                last_word = time;
                // They were written before `now`, and less than one wrap of the clock word ago.
                let ago = now_word.wrapping_sub(time);
                let ago = if ago > u32::MAX - AHEAD { 0 } else { u64::from(ago) };
                self.last = self.last.max(now.saturating_sub(ago) * TICK);
            }
            let before = batch.words.len();
            append(word, &mut self.unwinder, batch);
            // Words have a time here.
            if let Some(word) = batch.words.get(before).copied() {
                batch.words.truncate(before);
                let (first, second) = said(word);
                let at = self.last;
                [first].into_iter().chain(second).for_each(|kind| batch.event(Event { at, kind }));
            }
            for Mark { kind, .. } in batch.marks.iter_mut().rev() {
                match kind {
                    MarkKind::Event(event) if event.at < self.last => event.at = self.last,
                    _ => break,
                }
            }
        }
        self.words_taken = first + u64::from((to - from) / 8);
        self.stamps_until(self.words_taken, batch);
        // The guest has run until now.
        let now = now * TICK;
        batch.mark(MarkKind::Stamp(Stamp { over: now, called: now, returned: now, host: 0, before_event: false }));
    }

    /// Appends the stamps that precede the given number of words.
    fn stamps_until(&mut self, words: u64, batch: &mut Batch) {
        while let Some((_, stamp)) = self.stamps.pop_front_if(|(at, _)| *at <= words) {
            batch.mark(MarkKind::Stamp(stamp));
        }
    }

    /// Appends events that the guest has written but not handed over for a long time, because it is busy or waiting.
    /// With `all`, appends all remaining events at the end of the run.
    pub(super) fn peek(&mut self, batch: &mut Batch, all: bool) {
        let Some(buffer) = self.shared.buffer.get() else { return };
        if self.shared.state.load(Ordering::Acquire) != OPEN || !self.ring.is_empty() {
            return;
        }
        let size = self.event_size();
        let handed_over = self.shared.from.load(Ordering::Acquire);
        let words = self.shared.handed_over();
        let cursor = buffer.load(CURSOR) & !(size - 1);
        // In this order: if the guest has moved on in between, its cursor may belong to another block, or its events
        // are in the ring.
        if handed_over == MOVING || self.shared.from.load(Ordering::Acquire) != handed_over || !self.ring.is_empty() {
            return;
        }
        let peeked = self.peeked.filter(|(of, _)| of.is_same(&buffer));
        let from = peeked.map_or(handed_over, |(_, peeked)| peeked.max(handed_over));
        // All of it is in one block, unless the guest is moving on or its cursor is invalid.
        if cursor <= from || cursor > buffer.len() || from / BLOCK != (cursor - size) / BLOCK {
            return;
        }
        let now = self.clock.now();
        // The limit has been 0 since `silent_since`, so any later event would have flushed. In particular, if the last word is the entry
        // of a leaf function, its exit will flush and not replace that word.
        let written = match size {
            4 => self.shared.ticker.get().and_then(|ticker| ticker.silent_since()).unwrap_or(now),
            _ => now.saturating_sub(u64::from(ticks(now).wrapping_sub(buffer.load(cursor - size + 4))) * TICK),
        };
        if !all && now.saturating_sub(written) <= self.long_past {
            return;
        }
        let first = words + u64::from((from - handed_over) / size);
        match size {
            4 => {
                let end = Stamp { over: written.min(now), called: now, returned: now, host: 0, before_event: false };
                self.read_words(&buffer, (from, cursor), first, end, batch);
            }
            _ => self.read_with_clock(&buffer, (from, cursor), first, now, batch),
        }
        self.peeked = Some((buffer, cursor));
    }

    /// Appends the current time, as the end of the run.
    pub(super) fn stop(&self, batch: &mut Batch) {
        if self.samples.is_some() {
            let now = self.clock.now();
            batch.mark(MarkKind::Stamp(Stamp { over: now, called: now, returned: now, host: 0, before_event: false }));
        }
    }

    /// Time of the last event that has one, in nanoseconds.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Number of samples dropped because their ring was full.
    pub(super) fn lost(&self) -> u64 {
        self.samples.as_ref().and_then(|of| of.samples.as_ref()).map_or(0, |noted| noted.lost())
    }

    /// Whether nothing more will come: everything was taken, and the producer has ended or waits for the consumer to
    /// finish.
    pub(super) fn is_over(&mut self) -> bool {
        // In this order: everything pushed before the producer ended is visible once its end is.
        let gone = self.ring.is_abandoned();
        let closing = self.shared.state.load(Ordering::Acquire) == CLOSING;
        if (gone || closing) && self.ring.is_empty() {
            self.shared.state.store(CLOSED, Ordering::Release);
            return true;
        }
        false
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        if let Some(Sampled { samples: Some(samples), .. }) = &self.samples {
            samples.stop();
        }
        self.shared.state.store(CLOSED, Ordering::Release);
    }
}

/// Appends the event of a buffer word.
#[inline]
fn append(written: u32, unwinder: &mut Unwinder, batch: &mut Batch) {
    let (id, kind) = meaning(written);
    match kind {
        // No hook writes such a word.
        Kind::Enter | Kind::Exit | Kind::Catching if id.0 >= FUNCTIONS && id != NOBODY => {
            batch.event(Event { at: 0, kind: foreign() });
        }
        Kind::Enter => {
            unwinder.entered(id);
            batch.words.push(written);
        }
        Kind::Exit => {
            unwinder.exited(id);
            batch.words.push(written);
        }
        Kind::Leaf => batch.words.push(written),
        Kind::Catching => {
            unwinder.catching(id);
            if id != NOBODY {
                batch.words.push(word(id, Kind::Enter));
            }
        }
        // Its time follows from the events around it.
        Kind::Caught => {
            if !unwinder.caught(id.0, |id| batch.event(Event { at: 0, kind: EventKind::Unwound(id) })) {
                batch.event(Event { at: 0, kind: foreign() });
            }
        }
    }
}
