//! Merges short calls, so that a file has a bounded number of spans.
//!
//! A call of at least the threshold is passed on as it is. Shorter ones wait in the innermost call that is passed on,
//! until that call ends or another one in it is passed on. Then all calls of one function on the same path become one
//! span, with the sum of their durations. Merged spans follow each other from the first call on; they fit, since their
//! calls did not overlap:
//!
//! ```text
//! before  main ███████████████████████████████████████████████
//!               f█  g█  f█  f█    read ███████████████   g█
//! after   main ███████████████████████████████████████████████
//!               f███g█            read ███████████████   g█
//! ```
//!
//! So the time of each path stays the same within each of these gaps. Merged spans below their own threshold are left
//! out and counted. Totals of a run never come from here, but from its call tree.

use std::collections::VecDeque;

use super::budget::{Budget, LeftOut, Thresholds};
use super::event::Level;
use super::span_builder::{Change, Note, Span, SpanEnd, What};
use sums::{Gap, Sums};

mod sums;

/// A stage that merges short calls in a stream of changes.
#[derive(Debug)]
pub struct Merger {
    budget: Budget,
    thresholds: Thresholds,
    open: Vec<Open>,
    /// Number of open spans, from the outermost on, of which it is known whether they are passed on.
    decided: usize,
    /// The positions of those that are passed on.
    passed: Vec<usize>,
    /// Whether everything is passed on.
    is_open: bool,
    /// Number of open spans that count for the maximum depth.
    depth: u32,
    sums: Sums,
    /// Calls outside of every span that is passed on.
    outside: Gap,
    /// Number of spans that were passed on although they are shorter than the threshold.
    ties: u64,
    notes: VecDeque<Waiting>,
    /// Bytes of text in them.
    notes_text: usize,
    /// Number of notes so far that were not left out.
    noted: u64,
    left_out: LeftOut,
}

#[derive(Debug)]
struct Open {
    number: u64,
    what: What,
    start: u64,
    state: State,
    /// Nanoseconds in spans within it that were passed on.
    inside: u64,
    gap: Gap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may still be too short.
    Waiting,
    Passed,
    /// Its function is not selected, or it is too deep.
    LeftOut,
}

/// A moment that has not been passed on.
#[derive(Debug)]
struct Waiting {
    at: u64,
    note: Owned,
}

#[derive(Debug)]
enum Owned {
    MemoryGrow(u32),
    Metric(String),
    Log(Level, String),
}

/// A file has at most one of these moments for so many spans of its budget.
const SPANS_PER_NOTE: u64 = 8;

/// Maximum number of bytes of text that wait.
const MOST_WAITING: usize = 16 << 20;

/// Depth up to which a span is passed on whatever its duration because the program trapped in it.
const MOST_TRAPPED: usize = 1_000;

impl Merger {
    /// Creates a stage with these thresholds ([`super::thresholds::thresholds`]).
    pub fn new(budget: Budget, thresholds: Thresholds) -> Self {
        Merger {
            is_open: thresholds.alone == 0 && budget.max_depth.is_none() && budget.selected.is_none(),
            budget,
            thresholds,
            open: Vec::new(),
            decided: 0,
            passed: Vec::new(),
            depth: 0,
            sums: Sums::default(),
            outside: None,
            ties: 0,
            notes: VecDeque::new(),
            notes_text: 0,
            noted: 0,
            left_out: LeftOut { shorter_than: thresholds.alone, ..LeftOut::default() },
        }
    }

    /// What was not passed on so far. Complete when the run has ended and all spans are closed.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Number of spans that were passed on as one of the [`Thresholds::ties`].
    pub(crate) fn ties(&self) -> u64 {
        self.ties
    }

    /// Handles a change and calls `tell` with each change that is passed on.
    pub fn change(&mut self, change: &Change<'_>, tell: &mut impl FnMut(&Change<'_>)) {
        if self.is_open {
            return tell(change);
        }
        match change {
            Change::Opened { number, what, at } => self.opened(*number, what, *at, tell),
            Change::Closed { span, depth } => self.closed(span, *depth, tell),
            Change::Noted { at, span, note } => self.noted(*at, *span, note, tell),
        }
    }

    fn opened(&mut self, number: u64, what: &What, at: u64, tell: &mut impl FnMut(&Change<'_>)) {
        self.decide(at, tell);
        let is_selected = match what {
            What::Call(probe) => self.budget.selected.as_ref().is_none_or(|selected| selected.contains(probe)),
            What::Manual(_) => true,
        };
        let is_deep = self.budget.max_depth.is_some_and(|most| self.depth >= most) && matches!(what, What::Call(_));
        let state = if is_selected && !is_deep { State::Waiting } else { State::LeftOut };
        self.depth += u32::from(state == State::Waiting);
        self.open.push(Open { number, what: what.clone(), start: at, state, inside: 0, gap: None });
        if self.thresholds.alone == 0 {
            self.decide(at, tell);
        }
    }

    /// Passes on the waiting spans that have lasted long enough, outermost first.
    fn decide(&mut self, now: u64, tell: &mut impl FnMut(&Change<'_>)) {
        while let Some(open) = self.open.get(self.decided) {
            let lasted = now - open.start;
            if open.state == State::Waiting && lasted < self.thresholds.alone {
                let Thresholds { tie, ties, .. } = &mut self.thresholds;
                if lasted < *tie || *ties == 0 {
                    return;
                }
                *ties -= 1;
                self.ties += 1;
            }
            self.pass_next(tell);
        }
    }

    /// Passes on the outermost span that is not decided, unless it is left out.
    fn pass_next(&mut self, tell: &mut impl FnMut(&Change<'_>)) {
        let at = self.decided;
        self.decided += 1;
        if self.open[at].state != State::Waiting {
            return;
        }
        let start = self.open[at].start;
        self.flush(self.passed.len(), start, tell);
        self.passed.push(at);
        let open = &mut self.open[at];
        open.state = State::Passed;
        tell(&Change::Opened { number: open.number, what: &open.what, at: start });
    }

    /// Passes on everything that waits.
    fn pass_all(&mut self, now: u64, tell: &mut impl FnMut(&Change<'_>)) {
        while self.decided < self.open.len() {
            self.pass_next(tell);
        }
        self.flush(self.passed.len(), now, tell);
    }

    fn closed(&mut self, span: &Span<'_>, depth: usize, tell: &mut impl FnMut(&Change<'_>)) {
        self.decide(span.end, tell);
        let is_top = depth + 1 == self.open.len();
        let is_trap = matches!(span.how, SpanEnd::Trapped { origin: true }) && self.open.len() <= MOST_TRAPPED;
        // Spans above it go on without it, so their beginnings have to come before its end.
        if !is_top || is_trap {
            self.pass_all(span.end, tell);
        }
        let around = self.passed.partition_point(|at| *at < depth);
        if self.open[depth].state == State::Passed {
            self.flush(around + 1, span.end, tell);
            self.passed.remove(around);
        }
        if !is_top {
            self.passed[around..].iter_mut().for_each(|at| *at -= 1);
        }
        let open = self.open.remove(depth);
        if depth < self.decided {
            self.decided -= 1;
        }
        self.depth -= u32::from(open.state != State::LeftOut);
        match open.state {
            State::LeftOut => self.left_out.not_selected += span.calls,
            State::Waiting => {
                let outer = self.open[..depth].iter_mut().rev().find(|outer| outer.state != State::LeftOut);
                let gap = outer.map_or(&mut self.outside, |outer| &mut outer.gap);
                self.sums.add(gap, span, open.gap, &mut self.left_out);
            }
            State::Passed => {
                let nanos = span.end - span.start;
                let outer = around.checked_sub(1).map(|outer| &mut self.open[self.passed[outer]]);
                let parent = outer.map(|outer| {
                    outer.inside += nanos;
                    outer.number
                });
                let self_time = nanos.saturating_sub(open.inside);
                tell(&Change::Closed { span: Span { parent, self_time, ..*span }, depth: around });
            }
        }
    }

    /// Passes on what waits in the innermost of the first `count` passed spans: merged calls, then notes.
    fn flush(&mut self, count: usize, now: u64, tell: &mut impl FnMut(&Change<'_>)) {
        let Merger { open, passed, outside, sums, thresholds, left_out, notes, notes_text, .. } = self;
        let mut outer = count.checked_sub(1).map(|outer| &mut open[passed[outer]]);
        let parent = outer.as_ref().map(|outer| outer.number);
        let gap = outer.as_mut().map_or(outside, |outer| &mut outer.gap);
        let nanos = sums.emit(gap.take(), thresholds.merged, parent, count, left_out, tell);
        if let Some(outer) = outer {
            outer.inside += nanos;
        }
        while let Some(waiting) = notes.pop_front_if(|waiting| waiting.at <= now) {
            *notes_text -= waiting.note.text_len();
            let note = match &waiting.note {
                Owned::MemoryGrow(pages) => Note::MemoryGrow(*pages),
                Owned::Metric(line) => Note::Metric(line),
                Owned::Log(level, message) => Note::Log(*level, message),
            };
            tell(&Change::Noted { at: waiting.at, span: parent, note });
        }
    }

    /// Ends the stream: passes on what still waits.
    pub fn finish(&mut self, tell: &mut impl FnMut(&Change<'_>)) {
        self.flush(0, u64::MAX, tell);
    }

    fn noted(&mut self, at: u64, span: Option<u64>, note: &Note<'_>, tell: &mut impl FnMut(&Change<'_>)) {
        let note = match note {
            Note::MemoryGrow(pages) => Owned::MemoryGrow(*pages),
            Note::Metric(line) => Owned::Metric((*line).to_owned()),
            Note::Log(level, message) => Owned::Log(*level, (*message).to_owned()),
            // These have no place on a time line; tags are with their span.
            Note::Tags(_) | Note::Elided(..) | Note::ClockGap(_) => {
                return tell(&Change::Noted { at, span, note: *note });
            }
        };
        if self.budget.max_spans.is_some_and(|most| self.noted >= most.div_ceil(SPANS_PER_NOTE)) {
            self.left_out.notes += 1;
            return;
        }
        self.noted += 1;
        self.notes_text += note.text_len();
        self.notes.push_back(Waiting { at, note });
        if self.notes_text > MOST_WAITING {
            self.pass_all(at, tell);
        }
    }
}

impl Owned {
    fn text_len(&self) -> usize {
        match self {
            Owned::MemoryGrow(_) => 0,
            Owned::Metric(text) | Owned::Log(_, text) => text.len(),
        }
    }
}

#[cfg(test)]
mod tests;
