//! Events → spans: which call each exit ends, and what becomes of spans that are never closed.
//!
//! # Calls
//! An exit ends the innermost open call if that is of the same function. If it is of another one, an exception crossed
//! the calls in between (hooks of this set do not see that): the innermost open call of the same function is looked
//! for, and the calls above it are closed as [`SpanEnd::Unwound`]. If there is none, the exit is counted as stray and closes
//! nothing.
//!
//! # Manual spans
//! A manual span encloses what happens until it is closed, whatever function closes it. So one that is opened in a
//! helper which returns is *hoisted*: the helper's call ends, the span stays, now a child of the helper's caller. And a
//! call that is open when the span around it closes (the helper that closes it) becomes a child of what is around the
//! span. One that nobody closes lives to the end of the run, and is then closed as [`SpanEnd::Forgotten`].
//!
//! The *own time* of a span is its duration without that of the spans in it; where a helper and the span that it opened
//! overlap, the time counts as the span's. Own times add up to the time spent in hooked functions, to the nanosecond.
//!
//! At the end of the run what is still open is closed with the run's ending.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Event, EventKind, Level, Manual, RunOutcome};
use wasmtrace_abi::hook::ProbeId;

mod elsewhere;

/// What a span is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// A call of a function.
    Call(ProbeId),
    /// A span that the guest's own code opened under this name.
    Manual(Arc<str>),
}

/// A span that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<'s> {
    /// Its number: spans are counted from 1 in the order in which they were opened.
    pub number: u64,
    /// The number of the span that it is in.
    pub parent: Option<u64>,
    /// What it is of.
    pub what: &'s What,
    /// When it was opened, in nanoseconds since the run began.
    pub start: u64,
    /// When it was closed.
    pub end: u64,
    /// Of its duration, the part that was not spent in spans inside of it.
    pub own: u64,
    /// How it ended.
    pub how: SpanEnd,
    /// The tags that the guest's own code put on it, in order.
    pub tags: &'s [(String, String)],
}

/// How a span ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanEnd {
    /// The call returned, or the manual span was closed.
    Returned,
    /// An exception crossed the call.
    Unwound,
    /// The manual span was never closed, and the run has ended.
    Forgotten,
    /// The program exited while it was open.
    Exited,
    /// The program trapped while it was open. In the innermost such call, `origin` is set: it is the one that trapped.
    Trapped {
        /// Whether this is the call in which the trap happened.
        origin: bool,
    },
    /// The run was ended from outside while it was open.
    Interrupted,
    /// The recording stops while it was open.
    Unfinished,
}

/// What an event did.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<'c> {
    /// A span was opened, inside of the innermost one.
    Opened {
        /// Its number.
        number: u64,
        /// What it is of.
        what: &'c What,
        /// When, in nanoseconds since the run began.
        at: u64,
    },
    /// The open span at this depth (0 is the outermost) was closed; those above it, if any, are now in what it was in.
    Closed {
        /// The span.
        span: Span<'c>,
        /// How many open spans it was in.
        depth: usize,
    },
    /// Something happened at a moment, in the innermost open span.
    Noted {
        /// When, in nanoseconds since the run began.
        at: u64,
        /// The number of that span; `None` outside of all.
        span: Option<u64>,
        /// What happened.
        note: Note<'c>,
    },
}

/// Something that has a moment and no duration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Note<'c> {
    /// `memory.grow` was called, with these pages.
    MemoryGrow(u32),
    /// A metric, as one line of statsd.
    Metric(&'c str),
    /// A log line.
    Log(Level, &'c str),
    /// Tags were put on the span.
    Tags(&'c [(String, String)]),
    /// That many calls of the function were counted only. Where they were made is not known.
    Folded(ProbeId, u32),
    /// The clock had stood still for that many nanoseconds.
    Drift(u64),
}

/// What was not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Anomalies {
    /// Exits of functions that were not open.
    pub stray_exits: u64,
    /// Calls that were closed because one below them exited.
    pub unwound: u64,
    /// Closings of a manual span when none was open.
    pub stray_span_exits: u64,
    /// Manual spans that were never closed.
    pub forgotten: u64,
    /// Manual spans that were not opened, since too many were open.
    pub refused: u64,
    /// Calls that were not followed, since too many were open.
    pub refused_calls: u64,
    /// Tags that were left out, since a span had too many.
    pub tags_left_out: u64,
    /// What else the guest's own code did wrong, with how often.
    pub misuse: Vec<(&'static str, u64)>,
}

/// At most this many manual spans are open at a time; a guest that forgets to close them would fill our memory.
const MAX_MANUAL: usize = 1_000;

/// At most this many calls are open at a time; no guest comes near with its own stack, but one may call the hooks itself.
pub(super) const MAX_CALLS: usize = 1 << 20;

/// OpenTelemetry's default limit of attributes per span.
const MAX_TAGS: usize = 128;

/// Numbers alone, for what nearly all are: they are written straight to where they stay.
#[derive(Debug)]
struct Open {
    number: u64,
    /// The function, if this is a call.
    call: Option<ProbeId>,
    start: u64,
    /// Nanoseconds of it that were spent in spans inside of it.
    inside: u64,
    /// What few have.
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

/// The spans that are open, fed with events in order.
#[derive(Debug, Default)]
pub struct SpanBuilder {
    stack: Vec<Open>,
    last: u64,
    opened: u64,
    calls: u64,
    /// Manual spans on the stack.
    manual: usize,
    /// Manual spans that were refused and not closed yet.
    refused_open: u64,
    irregular: Anomalies,
    /// How often each function is open; counted from the first irregular exit on, so that a stray one costs no search.
    open: Option<HashMap<ProbeId, u32>>,
}

impl SpanBuilder {
    /// With nothing open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event, and tells `tell` of what it changes: nothing, one thing, or several.
    #[inline]
    pub fn event(&mut self, event: &Event, tell: &mut impl FnMut(&Change<'_>)) {
        self.last = self.last.max(event.at);
        // Nearly all events are these two, of a program that does nothing unusual.
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

    /// Without a type of its own for each `tell`, so that the two cases above are the ones it is built into.
    #[cold]
    fn unusual(&mut self, event: &Event, mut tell: &mut dyn FnMut(&Change<'_>)) {
        let tell = &mut tell;
        match &event.kind {
            // Its exit will be a stray one.
            EventKind::Enter(_) if self.stack.len() >= MAX_CALLS => self.irregular.refused_calls += 1,
            EventKind::Enter(probe) => {
                self.calls += 1;
                if let Some(open) = &mut self.open {
                    *open.entry(*probe).or_default() += 1;
                }
                self.open(Some(*probe), None, tell);
            }
            EventKind::Exit(probe) => self.left(*probe, SpanEnd::Returned, tell),
            EventKind::Unwound(probe) => {
                self.irregular.unwound += 1;
                self.left(*probe, SpanEnd::Unwound, tell);
            }
            EventKind::ExitInnermost => match self.innermost_call() {
                Some(at) => self.close(at, SpanEnd::Returned, tell),
                None => self.irregular.stray_exits += 1,
            },
            EventKind::MemoryGrow(pages) => self.note(Note::MemoryGrow(*pages), tell),
            EventKind::Elided(probe, calls) => {
                self.calls += u64::from(*calls);
                self.note(Note::Folded(*probe, *calls), tell);
            }
            EventKind::ClockGap(nanos) => self.note(Note::Drift(*nanos), tell),
            EventKind::Manual(manual) => self.manual(manual, tell),
        }
    }

    /// The innermost open call of `probe` ends; those above it, if any, were crossed by an exception.
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
                self.irregular.refused += 1;
                self.refused_open += 1;
            }
            Manual::SpanEnter(name) => {
                self.manual += 1;
                let more = More { name: name.as_str().into(), tags: Vec::new() };
                self.open(None, Some(Box::new(more)), tell);
            }
            Manual::SpanExit if self.refused_open > 0 => self.refused_open -= 1,
            Manual::SpanExit if self.manual == 0 => self.irregular.stray_span_exits += 1,
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
                        self.irregular.tags_left_out += pairs.len().saturating_sub(room) as u64;
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
        match self.irregular.misuse.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => self.irregular.misuse.push((what, 1)),
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

    /// Where the innermost call is: the top, but for manual spans that it opened.
    fn innermost_call(&self) -> Option<usize> {
        self.stack.iter().rposition(|o| o.call.is_some())
    }

    /// Closes the calls above the innermost open call of `probe`, if there is one, and says where that is.
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
            self.irregular.stray_exits += 1;
            return None;
        }
        loop {
            let at = self.innermost_call()?;
            if self.stack[at].call == Some(probe) {
                return Some(at);
            }
            self.irregular.unwound += 1;
            self.close(at, SpanEnd::Unwound, tell);
        }
    }

    /// Closes the open span at `at`, wherever in the stack it is.
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
        // What is above stays open, so its time since it was opened is inside of this span and is counted again, as
        // its own or as that of the span around, from here on: only what lies before it is this span's in the one around.
        let outlived = self.stack.get(at).map_or(0, |child| self.last - child.start);
        closed(&open, &mut self.stack[..at], outlived, (self.last, how), tell);
    }

    /// Whether something was left that was not open.
    pub(super) fn has_anomalies(&self) -> bool {
        self.open.is_some()
    }

    /// Closes what is open at the end of the run, which is at `at` nanoseconds.
    pub fn finish(&mut self, at: u64, ending: &RunOutcome, tell: &mut impl FnMut(&Change<'_>)) {
        self.last = self.last.max(at);
        let mut innermost = true;
        while let Some(open) = self.stack.last() {
            let is_call = open.call.is_some();
            let how = match ending {
                // Nothing is open after a return, unless exits were lost.
                RunOutcome::Returned if is_call => {
                    self.irregular.unwound += 1;
                    SpanEnd::Unwound
                }
                RunOutcome::Returned => {
                    self.irregular.forgotten += 1;
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

    /// How many calls were entered.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The time of the last event, in nanoseconds since the run began.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// What was not as it should be.
    pub fn irregular(&self) -> &Anomalies {
        &self.irregular
    }
}

/// A span ends, of which `outlived` nanoseconds are those of spans that do not.
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
    let own = duration.saturating_sub(open.inside + outlived);
    let parent = around.last_mut().map(|parent| {
        parent.inside += duration - outlived;
        parent.number
    });
    let Open { number, start, .. } = *open;
    let what = &open.what();
    tell(&Change::Closed { span: Span { number, parent, what, start, end, own, how, tags: open.tags() }, depth });
}

/// `key:value`; a tag without a colon is a key alone.
fn tag(pair: &str) -> (String, String) {
    let (key, value) = pair.split_once(':').unwrap_or((pair, ""));
    (key.trim().to_owned(), value.trim().to_owned())
}

#[cfg(test)]
mod tests;
