//! Builds spans from events: matches exits with calls, and closes spans that were never closed.
//!
//! # Calls
//! An exit ends the innermost open call if both are of the same function. Otherwise an exception has unwound the calls
//! in between (which hooks of the set `observe` do not report). The innermost open call of the exit's function is
//! searched, and the calls above it are closed as [`SpanEnd::Unwound`]. If there is none, the exit is counted as stray
//! and closes nothing.
//!
//! # Manual spans
//! A manual span contains everything until it is closed, no matter which function closes it. If a helper opens a span
//! and returns, the span is *hoisted*: the helper's call ends, and the span becomes a child of the helper's caller. If
//! a call is open when the span around it closes (as in a helper that closes it), the call becomes a child of the
//! span's parent. A span that is never closed ends with the run, as [`SpanEnd::Forgotten`].
//!
//! The *self time* of a span is its duration without its children. If a helper and the span that it opened overlap, the
//! time counts for the span. Self times add up exactly to the time spent in hooked functions.
//!
//! At the end of the run, open spans are closed with the outcome of the run.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Event, EventKind, Level, Manual, RunOutcome};
use wasmtrace_abi::hook::ProbeId;

mod anomalies;
mod elsewhere;

pub use anomalies::Anomalies;

/// The subject of a span: a call or a manual span.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// A call of a function.
    Call(ProbeId),
    /// A manual span with this name.
    Manual(Arc<str>),
}

/// A closed span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'s> {
    /// The number of the span. Spans are numbered from 1 in the order in which they were opened.
    pub number: u64,
    /// The number of the parent span.
    pub parent: Option<u64>,
    /// What the span stands for.
    pub what: &'s What,
    /// The start time in nanoseconds since the start of the run.
    pub start: u64,
    /// The end time in nanoseconds since the start of the run.
    pub end: u64,
    /// Self time in nanoseconds: the duration without that of child spans.
    pub self_time: u64,
    /// How the span ended.
    pub how: SpanEnd,
    /// The tags set by the guest's own code, in order.
    pub tags: &'s [(String, String)],
    /// Number of calls: 1, or more if short calls were merged into this span ([`super::merger`]).
    pub calls: u64,
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// The call returned, or the manual span was closed.
    Returned,
    /// An exception unwound the call.
    Unwound,
    /// The manual span was never closed before the run ended.
    Forgotten,
    /// The program exited while the span was open.
    Exited,
    /// The program trapped while the span was open.
    Trapped {
        /// Whether the trap happened in this call, which is the innermost one.
        origin: bool,
    },
    /// The run was interrupted while the span was open.
    Interrupted,
    /// The recording ends while the span is open.
    Unfinished,
}

/// A change of the open spans, caused by an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<'c> {
    /// A span was opened within the innermost one.
    Opened {
        /// The number of the span.
        number: u64,
        /// What the span stands for.
        what: &'c What,
        /// The time in nanoseconds since the start of the run.
        at: u64,
    },
    /// The open span at this depth was closed (0 is the outermost). Spans above it, if any, move to its parent.
    Closed {
        /// The closed span.
        span: Span<'c>,
        /// Number of open spans around it.
        depth: usize,
    },
    /// Something happened at one moment in the innermost open span.
    Noted {
        /// The time in nanoseconds since the start of the run.
        at: u64,
        /// The number of that span; `None` outside of all spans.
        span: Option<u64>,
        /// What happened.
        note: Note<'c>,
    },
}

/// Something that happens at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Note<'c> {
    /// `memory.grow` was called with this number of pages.
    MemoryGrow(u32),
    /// A metric as one line of statsd.
    Metric(&'c str),
    /// A log line with its level.
    Log(Level, &'c str),
    /// Tags were added to the span.
    Tags(&'c [(String, String)]),
    /// So many calls of a function were only counted. Their callers are not known.
    Elided(ProbeId, u32),
    /// The clock was not updated for so many nanoseconds.
    ClockGap(u64),
}

/// Maximum number of open manual spans. Without it, a guest that never closes spans would exhaust memory.
const MAX_MANUAL: usize = 1_000;

/// Maximum number of open calls. No guest reaches it with its own stack, but a guest may call hooks itself.
pub(super) const MAX_CALLS: usize = 1 << 20;

/// OpenTelemetry's default limit of attributes per span.
const MAX_TAGS: usize = 128;

/// An open span. Only small numbers, since nearly all spans need no more.
#[derive(Debug)]
struct Open {
    number: u64,
    /// The function, if the span is a call.
    call: Option<ProbeId>,
    start: u64,
    /// Nanoseconds spent in child spans.
    inside: u64,
    /// Data that few spans have.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
struct More {
    /// The name of a manual span.
    name: Arc<str>,
    tags: Vec<(String, String)>,
}

impl Open {
    fn what(&self) -> What {
        match (self.call, &self.more) {
            (Some(probe), _) => What::Call(probe),
            (None, more) => What::Manual(more.as_ref().map_or_else(Default::default, |more| more.name.clone())),
        }
    }

    fn tags(&self) -> &[(String, String)] {
        self.more.as_ref().map_or(&[], |more| &more.tags)
    }
}

/// Builds spans from events in order.
#[derive(Debug, Default)]
pub struct SpanBuilder {
    stack: Vec<Open>,
    last: u64,
    opened: u64,
    calls: u64,
    /// Number of manual spans on the stack.
    manual: usize,
    /// Number of manual spans that were refused and not closed yet.
    refused_open: u64,
    anomalies: Anomalies,
    /// Number of open calls of each function. Counted from the first stray exit on, so that such exits need no search.
    open: Option<HashMap<ProbeId, u32>>,
}

impl SpanBuilder {
    /// Creates a builder without open spans.
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes an event, and calls `tell` for each change that it causes.
    #[inline]
    pub fn event(&mut self, event: &Event, tell: &mut impl FnMut(&Change<'_>)) {
        self.last = self.last.max(event.at);
        // Fast path for nearly all events of an ordinary program.
        match &event.kind {
            EventKind::Enter(probe) if self.stack.len() < MAX_CALLS && self.open.is_none() => {
                self.calls += 1;
                self.open(Some(*probe), None, tell);
            }
            EventKind::Exit(probe)
                if self.open.is_none() && self.stack.last().is_some_and(|open| open.call == Some(*probe)) =>
            {
                let at = self.stack.len() - 1;
                let (around, open) = self.stack.split_at_mut(at);
                closed(&open[0], around, 0, (self.last, SpanEnd::Returned), tell);
                self.stack.truncate(at);
            }
            _ => self.unusual(event, tell),
        }
    }

    /// Handles all other events. Not generic over `tell`, so that only the fast path is inlined.
    #[cold]
    fn unusual(&mut self, event: &Event, mut tell: &mut dyn FnMut(&Change<'_>)) {
        let tell = &mut tell;
        match &event.kind {
            // Its exit will be counted as stray.
            EventKind::Enter(_) if self.stack.len() >= MAX_CALLS => self.anomalies.refused_calls += 1,
            EventKind::Enter(probe) => {
                self.calls += 1;
                if let Some(open) = &mut self.open {
                    *open.entry(*probe).or_default() += 1;
                }
                self.open(Some(*probe), None, tell);
            }
            EventKind::Exit(probe) => self.left(*probe, SpanEnd::Returned, tell),
            EventKind::Unwound(probe) => {
                self.anomalies.unwound += 1;
                self.left(*probe, SpanEnd::Unwound, tell);
            }
            EventKind::ExitInnermost => match self.innermost_call() {
                Some(at) => self.close(at, SpanEnd::Returned, tell),
                None => self.anomalies.stray_exits += 1,
            },
            EventKind::MemoryGrow(pages) => self.note(Note::MemoryGrow(*pages), tell),
            EventKind::Elided(probe, calls) => {
                self.calls += u64::from(*calls);
                self.note(Note::Elided(*probe, *calls), tell);
            }
            EventKind::ClockGap(nanos) => self.note(Note::ClockGap(*nanos), tell),
            EventKind::Manual(manual) => self.manual(manual, tell),
        }
    }

    /// Ends the innermost open call of `probe`. Calls above it, if any, were unwound by an exception.
    fn left(&mut self, probe: ProbeId, how: SpanEnd, tell: &mut impl FnMut(&Change<'_>)) {
        match self.innermost_call() {
            Some(at) if self.stack[at].call == Some(probe) => self.close(at, how, tell),
            _ => {
                if let Some(at) = self.unwind_to(probe, tell) {
                    self.close(at, how, tell);
                }
            }
        }
    }

    fn manual(&mut self, manual: &Manual, tell: &mut impl FnMut(&Change<'_>)) {
        match manual {
            Manual::SpanEnter(_) if self.manual >= MAX_MANUAL => {
                self.anomalies.refused += 1;
                self.refused_open += 1;
            }
            Manual::SpanEnter(name) => {
                self.manual += 1;
                let more = More { name: name.as_str().into(), tags: Vec::new() };
                self.open(None, Some(Box::new(more)), tell);
            }
            Manual::SpanExit if self.refused_open > 0 => self.refused_open -= 1,
            Manual::SpanExit if self.manual == 0 => self.anomalies.stray_span_exits += 1,
            Manual::SpanExit => {
                let innermost = self.stack.iter().rposition(|o| o.call.is_none());
                self.close(innermost.expect("one is counted"), SpanEnd::Returned, tell);
            }
            Manual::Tags(text) => {
                let pairs: Vec<(String, String)> = text.split(',').filter(|p| !p.is_empty()).map(tag).collect();
                self.note(Note::Tags(&pairs), tell);
                match self.stack.last_mut() {
                    Some(open) => {
                        let tags = &mut open.more.get_or_insert_default().tags;
                        let room = MAX_TAGS.saturating_sub(tags.len());
                        self.anomalies.tags_left_out += pairs.len().saturating_sub(room) as u64;
                        tags.extend(pairs.into_iter().take(room));
                    }
                    None => self.misuse("tags outside of every span"),
                }
            }
            Manual::Metric(line) => self.note(Note::Metric(line), tell),
            Manual::Log(level, message) => self.note(Note::Log(*level, message), tell),
            Manual::Misuse(what) => self.misuse(what.as_str()),
        }
    }

    fn misuse(&mut self, what: &'static str) {
        match self.anomalies.misuse.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => self.anomalies.misuse.push((what, 1)),
        }
    }

    fn note(&self, note: Note<'_>, tell: &mut impl FnMut(&Change<'_>)) {
        tell(&Change::Noted { at: self.last, span: self.stack.last().map(|o| o.number), note });
    }

    #[inline(always)]
    fn open(&mut self, call: Option<ProbeId>, more: Option<Box<More>>, tell: &mut impl FnMut(&Change<'_>)) {
        self.opened += 1;
        let open = Open { number: self.opened, call, start: self.last, inside: 0, more };
        tell(&Change::Opened { number: open.number, what: &open.what(), at: open.start });
        self.stack.push(open);
    }

    /// The stack position of the innermost call, below the manual spans that it opened.
    fn innermost_call(&self) -> Option<usize> {
        self.stack.iter().rposition(|o| o.call.is_some())
    }

    /// Closes the calls above the innermost open call of `probe`, if there is one, and returns its position.
    fn unwind_to(&mut self, probe: ProbeId, tell: &mut impl FnMut(&Change<'_>)) -> Option<usize> {
        let stack = &self.stack;
        let open = self.open.get_or_insert_with(|| {
            let mut open = HashMap::new();
            for o in stack {
                if let Some(probe) = o.call {
                    *open.entry(probe).or_default() += 1;
                }
            }
            open
        });
        if open.get(&probe).is_none_or(|n| *n == 0) {
            self.anomalies.stray_exits += 1;
            return None;
        }
        loop {
            let at = self.innermost_call()?;
            if self.stack[at].call == Some(probe) {
                return Some(at);
            }
            self.anomalies.unwound += 1;
            self.close(at, SpanEnd::Unwound, tell);
        }
    }

    /// Closes the open span at position `at` of the stack.
    fn close(&mut self, at: usize, how: SpanEnd, tell: &mut impl FnMut(&Change<'_>)) {
        let open = self.stack.remove(at);
        match open.call {
            None => self.manual -= 1,
            Some(probe) => {
                if let Some(count) = self.open.as_mut().and_then(|o| o.get_mut(&probe)) {
                    *count -= 1;
                }
            }
        }
        // Spans above it stay open. Their time since they were opened counts here, and later again for the surrounding
        // span, so only the time before that is inside of this span for its parent.
        let outlived = self.stack.get(at).map_or(0, |child| self.last - child.start);
        closed(&open, &mut self.stack[..at], outlived, (self.last, how), tell);
    }

    /// Whether a span was left that was not open.
    pub(super) fn has_anomalies(&self) -> bool {
        self.open.is_some()
    }

    /// Closes the open spans at the end of the run, at `at` nanoseconds.
    pub fn finish(&mut self, at: u64, ending: &RunOutcome, tell: &mut impl FnMut(&Change<'_>)) {
        self.last = self.last.max(at);
        let mut innermost = true;
        while let Some(open) = self.stack.last() {
            let is_call = open.call.is_some();
            let how = match ending {
                // After a return nothing is open, unless exits were lost.
                RunOutcome::Returned if is_call => {
                    self.anomalies.unwound += 1;
                    SpanEnd::Unwound
                }
                RunOutcome::Returned => {
                    self.anomalies.forgotten += 1;
                    SpanEnd::Forgotten
                }
                RunOutcome::Exited(_) => SpanEnd::Exited,
                RunOutcome::Trapped(_) => SpanEnd::Trapped { origin: is_call && std::mem::take(&mut innermost) },
                RunOutcome::Interrupted(_) => SpanEnd::Interrupted,
                RunOutcome::Unknown => SpanEnd::Unfinished,
            };
            self.close(self.stack.len() - 1, how, tell);
        }
    }

    /// Number of calls that were entered.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The time of the last event, in nanoseconds since the start of the run.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The anomalies found so far.
    pub fn anomalies(&self) -> &Anomalies {
        &self.anomalies
    }
}

/// Closes a span, `outlived` nanoseconds of which belong to spans that stay open.
#[inline]
fn closed(
    open: &Open,
    around: &mut [Open],
    outlived: u64,
    (end, how): (u64, SpanEnd),
    tell: &mut impl FnMut(&Change<'_>),
) {
    let depth = around.len();
    let duration = end - open.start;
    let self_time = duration.saturating_sub(open.inside + outlived);
    let parent = around.last_mut().map(|parent| {
        parent.inside += duration - outlived;
        parent.number
    });
    let Open { number, start, .. } = *open;
    let what = &open.what();
    let span = Span { number, parent, what, start, end, self_time, how, tags: open.tags(), calls: 1 };
    tell(&Change::Closed { span, depth });
}

/// Splits `key:value`; a tag without a colon is a key.
fn tag(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
    (key.trim().to_owned(), value.trim().to_owned())
}

#[cfg(test)]
mod tests;
