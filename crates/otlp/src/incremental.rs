//! Sending closed spans of a long run while it goes on.
//!
//! The growing recording is read in *windows*: at intervals, the part that is new.
//! Spans that closed since the last window are sent with their parents' ids,
//! even if those are still open and will be sent later. The trace is one tree when the run is over. The rest is sent
//! then ([`super::export_rest`]): no span that a sink has accepted is sent twice, and spans that it refused are sent
//! again.
//!
//! At most half of a budget is spent during the run, in each window a thirty-second of what is left of that half. The
//! longest spans are only known at the end, so most of the budget is for the end. Within a window, the longest spans
//! are chosen; of equally long ones, the outer ones. An open span counts with its duration so far. What is chosen in
//! each window is therefore a tree with the root, and no span lacks its parent.
//!
//! Logs, metrics, merged spans and the run's own span are sent at the end.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::budget::{Rank, rank};
use super::error::ExportError;
use super::request::{Batch, is_full, run_info};
use super::sender::Sender;
use super::sent_spans::SentSpans;
use super::settings::Settings;
use wasmtrace_trace::event::Event;
use wasmtrace_trace::export::spans::Spans;
use wasmtrace_trace::export::{RunInfo, Signal};
use wasmtrace_trace::recording::{Block, Growing, Reader};
use wasmtrace_trace::span_builder::{Change, Note, Span, SpanBuilder, SpanEnd, What};

/// The progress of an incremental export, shared with another thread.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    already: SentSpans,
    /// Whether no further request may begin.
    ending: bool,
    /// Whether the sent spans were reported: later responses are ignored.
    ended: bool,
}

impl Progress {
    /// Prevents further requests and further reading.
    pub fn end(&self) {
        self.lock().ending = true;
    }

    /// The spans that were sent, after [`Progress::end`]. A request in flight counts as not sent.
    pub fn ended(&self) -> SentSpans {
        let mut state = self.lock();
        (state.ending, state.ended) = (true, true);
        state.already.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A growing recording that is sent while it grows.
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
    /// Opens the recording at `path`, which must have its header; `max_spans` is the budget of
    /// [`super::ExportOptions`].
    ///
    /// # Errors
    /// A message that says why the recording cannot be read.
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
            run_info: run_info(reader.header(), settings, &[]),
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

    /// Reads the events recorded since the last window and sends the spans that have closed. Each request may take
    /// `within`.
    ///
    /// # Errors
    /// [`ExportError`] if not all spans were accepted. Later windows can still be sent.
    pub fn window(&mut self, within: Duration) -> Result<(), ExportError> {
        let IncrementalExport { file, reader, fold, events, sending } = self;
        // Only to the current end: a guest may write faster than the sink accepts.
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

/// The share of the remaining budget for a window is one divided by this.
const WINDOWS: usize = 32;

/// The state of sending closed spans.
struct Sending {
    settings: Settings,
    run_info: RunInfo,
    spans: Spans,
    batch: Batch,
    progress: Progress,
    /// Maximum number of spans to choose during the run; `None` sends all.
    most: Option<usize>,
    /// Maximum number of spans in this window.
    room: usize,
    chosen: HashSet<u64>,
    /// The open spans: their numbers and start times.
    open: Vec<(u64, u64)>,
    /// Number of closed spans.
    closed: u64,
    /// The best spans that closed in this window; the last of them is on top.
    best: BinaryHeap<Reverse<Rank>>,
    candidates: HashMap<u64, Candidate>,
    /// For each span in the batch, its number and its position in the order of closing.
    on_its_way: Vec<(u64, u64)>,
    sender: Option<Sender>,
    /// Time limit of a request, including retries.
    within: Duration,
    /// The reason why requests of this window fail.
    failed: Option<String>,
}

/// A closed span that may be chosen.
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
                    // Its parent may have closed before it, and then the parent's parent is not chosen.
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
                    self.spans.noted(&self.run_info, *at, *number, note);
                }
            }
            Change::Noted { span: None, .. } => {}
        }
    }

    /// A span has closed that is not chosen yet.
    fn closed(&mut self, span: &Span<'_>, depth: usize) {
        let Span { number, parent, start, end, how, .. } = *span;
        if !self.ranks(rank(end - start, depth, number)) {
            self.spans.forget(number);
            return;
        }
        let (what, tags, closed) = (span.what.clone(), span.tags.to_vec(), self.closed);
        self.candidates.insert(number, Candidate { parent, what, start, end, how, tags, closed });
    }

    /// Adds a span to the best of this window if it belongs there, replacing the last of them.
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

    /// Ends the window: chooses among its closed and open spans.
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
            // Its parent precedes it in this order, except for spans that were moved: those are left to the end.
            if parent.is_none_or(|parent| self.chosen.contains(&parent)) {
                self.chosen.insert(number);
                told.extend(candidate.map(|candidate| (number, candidate)));
            } else if candidate.is_some() {
                self.spans.forget(number);
            }
        }
        // Published before the first of them can arrive.
        self.progress.lock().already.chosen.clone_from(&self.chosen);
        for (number, Candidate { parent, what, start, end, how, tags, closed }) in told {
            let span = Span { number, parent, what: &what, start, end, self_time: 0, how, tags: &tags, calls: 1 };
            self.tell(&span, parent, closed);
        }
    }

    fn tell(&mut self, span: &Span<'_>, parent: Option<u64>, closed: u64) {
        if self.failed.is_some() {
            return self.spans.forget(span.number);
        }
        let Sending { spans, batch, run_info, .. } = self;
        spans.closed(run_info, span, parent, Vec::new(), |span| batch.span(run_info, &span));
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
        let body = self.batch.take(&self.run_info);
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
