//! A run of hours: what has closed is sent while it goes on.
//!
//! The recording grows, and is read as far as it goes, in windows. Spans that have closed since the last window are sent with the
//! parents that they have, though these may still be open: their ids are known, and they come later. So the trace is one tree
//! when the run is over, and what is sent then is the rest ([`super::export_rest`]): no span is sent twice that a sink has
//! taken, and what a sink refuses on the way is left to the end.
//!
//! Of a budget, half at most is spent on the way, and in each window a thirty-second of what is left of that half: who
//! survives is known at the end only, so the most of it is for then, however long the run. It is spent by the rule of the
//! budget: on the longest, of equally long ones the shallowest. A span that is open counts as long as it has been until now:
//! so what is chosen is a tree from the root down in each window, and no span has a parent that is never sent.
//!
//! What is not a span, the sums, and the run's own span are sent at the end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::budget::{Rank, rank};
use super::error::ExportError;
use super::request::{Batch, is_full, subject};
use super::sender::Sender;
use super::sent_spans::SentSpans;
use super::settings::Settings;
use wasmtrace_trace::event::Event;
use wasmtrace_trace::export::spans::Spans;
use wasmtrace_trace::export::{RunInfo, Signal};
use wasmtrace_trace::recording::{Block, Growing, Reader};
use wasmtrace_trace::span_builder::{Change, Note, Span, SpanBuilder, SpanEnd, What};

/// What is known of it while it is sent: for another thread.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    already: SentSpans,
    /// No further request is to begin.
    ending: bool,
    /// What was sent has been asked for: what is taken now comes too late.
    ended: bool,
}

impl Progress {
    /// Lets no further request begin, nor further reading.
    pub fn end(&self) {
        self.lock().ending = true;
    }

    /// Says what was sent, after [`Progress::end`]. A request that is still on its way counts as not sent.
    pub fn ended(&self) -> SentSpans {
        let mut state = self.lock();
        (state.ending, state.ended) = (true, true);
        state.already.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A recording that grows, and is sent as it does.
pub struct IncrementalExport {
    file: File,
    reader: Reader<BufReader<Growing<File>>>,
    fold: SpanBuilder,
    events: Vec<Event>,
    sending: Sending,
}

impl std::fmt::Debug for IncrementalExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IncrementalExport")
            .field("sent", &self.sending.progress.lock().already.spans())
            .finish_non_exhaustive()
    }
}

impl IncrementalExport {
    /// Of the recording at `path`, which has its header; with the budget of [`super::ExportOptions`].
    ///
    /// # Errors
    /// In a sentence, why it cannot be read.
    pub fn new(
        path: &Path,
        settings: &Settings,
        max_spans: usize,
        progress: Progress,
    ) -> Result<IncrementalExport, ExportError> {
        let open = || File::open(path);
        let reader = Reader::open(BufReader::with_capacity(1 << 16, Growing::new(open()?)))?;
        let sending = Sending {
            settings: settings.clone(),
            subject: subject(reader.header(), settings, &[]),
            spans: Spans::new(settings.limits)?,
            batch: Batch::new(settings.traces.protocol.value, settings.limits),
            progress,
            most: (max_spans > 0).then_some(max_spans / 2),
            room: 0,
            chosen: HashSet::new(),
            open: Vec::new(),
            closed: 0,
            best: BinaryHeap::new(),
            candidates: HashMap::new(),
            on_its_way: Vec::new(),
            sender: None,
            within: Duration::ZERO,
            failed: None,
        };
        Ok(IncrementalExport { file: open()?, reader, fold: SpanBuilder::new(), events: Vec::new(), sending })
    }

    /// Reads what was recorded until now, and sends what has closed in it: each request `within` that time.
    ///
    /// # Errors
    /// In a sentence, why not all of that was taken; the next window is sent all the same.
    pub fn window(&mut self, within: Duration) -> Result<(), ExportError> {
        let IncrementalExport { file, reader, fold, events, sending } = self;
        // No further: a guest may write faster than a sink takes.
        let until = file.metadata()?.len();
        sending.begin(within);
        while (reader.offset() as u64) < until && !sending.is_ending() {
            match reader.block(events)? {
                Block::Events => {
                    events.iter().for_each(|event| fold.event(event, &mut |change| sending.change(change)))
                }
                Block::Stops | Block::Footer(_) => break,
            }
        }
        sending.choose(fold.last());
        sending.send();
        sending.sender = None;
        sending.failed.take().map_or(Ok(()), |why| Err(ExportError::Sink(why)))
    }
}

/// Of the half of a budget that is for spans on the way, what is left is for so many windows.
const WINDOWS: usize = 32;

/// What becomes of what closes.
struct Sending {
    settings: Settings,
    subject: RunInfo,
    spans: Spans,
    batch: Batch,
    progress: Progress,
    /// How many may be chosen in all; nothing: all are sent.
    most: Option<usize>,
    /// How many in this window.
    room: usize,
    chosen: HashSet<u64>,
    /// The numbers of what is open, and since when it is.
    open: Vec<(u64, u64)>,
    /// How many have closed.
    closed: u64,
    /// The first in the order of survival, of those that closed in this window; the last on top.
    best: BinaryHeap<Reverse<Rank>>,
    candidates: HashMap<u64, Candidate>,
    /// Of the spans in the batch: the number, and the place in the order in which they closed.
    on_its_way: Vec<(u64, u64)>,
    sender: Option<Sender>,
    /// How long a request may take, with all its tries.
    within: Duration,
    /// Why this window's requests are not taken.
    failed: Option<String>,
}

/// A span that has closed and may be chosen.
struct Candidate {
    parent: Option<u64>,
    what: What,
    start: u64,
    end: u64,
    how: SpanEnd,
    tags: Vec<(String, String)>,
    closed: u64,
}

impl Sending {
    fn is_ending(&self) -> bool {
        self.progress.lock().ending
    }

    fn begin(&mut self, within: Duration) {
        self.within = within;
        match Sender::new(&self.settings.traces, Signal::Traces, None) {
            Ok(sender) => self.sender = Some(sender),
            Err(e) => self.failed = Some(e),
        }
        let left = self.most.unwrap_or(0).saturating_sub(self.chosen.len());
        self.room = left.div_ceil(WINDOWS);
    }

    fn change(&mut self, change: &Change<'_>) {
        match change {
            Change::Opened { number, at, .. } => self.open.push((*number, *at)),
            Change::Closed { span, depth } => {
                self.open.remove(*depth);
                self.closed += 1;
                if self.most.is_none() {
                    self.tell(span, span.parent, self.closed);
                } else if self.chosen.contains(&span.number) {
                    // What it was in may have closed before it, and what that was in is not chosen.
                    let around = self.open[..*depth].iter().rev().map(|(number, _)| *number);
                    let parent = around.into_iter().find(|number| self.chosen.contains(number));
                    self.tell(span, parent, self.closed);
                } else {
                    self.closed(span, *depth);
                }
            }
            Change::Noted { at, span: Some(number), note } => {
                let elsewhere = match note {
                    Note::Log(..) => self.settings.logs.enabled.value,
                    Note::Metric(_) => self.settings.metrics.enabled.value,
                    _ => false,
                };
                if !elsewhere {
                    self.spans.noted(&self.subject, *at, *number, note);
                }
            }
            Change::Noted { span: None, .. } => {}
        }
    }

    /// A span has closed that is not chosen.
    fn closed(&mut self, span: &Span<'_>, depth: usize) {
        let Span { number, parent, start, end, how, .. } = *span;
        if !self.ranks(rank(end - start, depth, number)) {
            self.spans.forget(number);
            return;
        }
        let (what, tags, closed) = (span.what.clone(), span.tags.to_vec(), self.closed);
        self.candidates.insert(number, Candidate { parent, what, start, end, how, tags, closed });
    }

    /// Takes it among the first of this window, if it is one; the last of them gives way.
    fn ranks(&mut self, rank: Rank) -> bool {
        if self.best.len() < self.room {
            self.best.push(Reverse(rank));
            return true;
        }
        let Some(mut last) = self.best.peek_mut().filter(|last| rank > last.0) else { return false };
        let (_, _, Reverse(number)) = std::mem::replace(&mut *last, Reverse(rank)).0;
        drop(last);
        if self.candidates.remove(&number).is_some() {
            self.spans.forget(number);
        }
        true
    }

    /// The window ends: chooses among what has closed in it and what is open.
    fn choose(&mut self, now: u64) {
        for (depth, (number, start)) in self.open.clone().into_iter().enumerate() {
            if !self.chosen.contains(&number) {
                self.ranks(rank(now - start, depth, number));
            }
        }
        let depth_of_open: HashMap<u64, usize> =
            self.open.iter().enumerate().map(|(depth, (number, _))| (*number, depth)).collect();
        let mut told = Vec::new();
        for Reverse((_, _, Reverse(number))) in std::mem::take(&mut self.best).into_sorted_vec() {
            let candidate = self.candidates.remove(&number);
            let parent = match (&candidate, depth_of_open.get(&number)) {
                (Some(candidate), _) => candidate.parent,
                (None, Some(depth)) => depth.checked_sub(1).map(|around| self.open[around].0),
                (None, None) => continue,
            };
            // What it was in is before it in this order, but where spans have come loose: that is left to the end.
            if parent.is_none_or(|parent| self.chosen.contains(&parent)) {
                self.chosen.insert(number);
                told.extend(candidate.map(|candidate| (number, candidate)));
            } else if candidate.is_some() {
                self.spans.forget(number);
            }
        }
        // Before the first of them can arrive.
        self.progress.lock().already.chosen.clone_from(&self.chosen);
        for (number, Candidate { parent, what, start, end, how, tags, closed }) in told {
            let span = Span { number, parent, what: &what, start, end, own: 0, how, tags: &tags };
            self.tell(&span, parent, closed);
        }
    }

    fn tell(&mut self, span: &Span<'_>, parent: Option<u64>, closed: u64) {
        if self.failed.is_some() {
            return self.spans.forget(span.number);
        }
        let Sending { spans, batch, subject, .. } = self;
        spans.closed(subject, span, parent, Vec::new(), |span| batch.span(subject, &span));
        self.on_its_way.push((span.number, closed));
        if is_full(self.batch.size()) {
            self.send();
        }
    }

    /// Sends the batch.
    fn send(&mut self) {
        let on_its_way = std::mem::take(&mut self.on_its_way);
        if on_its_way.is_empty() {
            return;
        }
        let body = self.batch.take(&self.subject);
        if self.is_ending() {
            self.failed = Some("the run is over".to_owned());
        }
        let Some(sender) = self.sender.as_mut().filter(|_| self.failed.is_none()) else { return };
        sender.deadline = Instant::now().checked_add(self.within);
        if let Err(e) = sender.send(&body) {
            self.failed = Some(e);
            return;
        }
        let mut state = self.progress.lock();
        if state.ended {
            return;
        }
        let SentSpans { sent, closed, said, .. } = &mut state.already;
        said.add(std::mem::take(&mut sender.said));
        for (number, place) in on_its_way {
            match closed.last_mut() {
                _ if self.most.is_some() => {
                    sent.insert(number);
                }
                Some(range) if range.end == place => range.end += 1,
                _ => closed.push(place..place + 1),
            }
        }
    }
}
