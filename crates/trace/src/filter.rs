//! Drops and counts calls that are too short or too deeply nested.
//!
//! A call is *short* if it ends within the minimum duration and contains nothing that is kept; its callees are short
//! then too. This is only known at its end. An entry therefore waits until its call is old enough, ends, or contains
//! something that is kept (a manual span, a log line, `memory.grow`, an exception that unwinds it). The output is
//! ordered and nested like the input. Dropped calls are reported as [`EventKind::Elided`], so totals stay exact.
//!
//! A guest with the hook set `threshold` drops most short calls itself, except those during which it handed its buffer
//! over. After this filter both are treated equally.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::event::{Event, EventKind};
use wasmtrace_abi::hook::ProbeId;

/// A filter that drops short and deeply nested calls and counts them.
#[derive(Debug)]
pub struct Filter {
    min_duration: u64,
    max_depth: usize,
    /// Calls that may turn out to be short, outermost first.
    waiting: std::collections::VecDeque<(u64, ProbeId)>,
    /// Open calls that were passed on; only tracked if there is a depth limit.
    open: Vec<ProbeId>,
    /// Open calls beyond the depth limit.
    too_deep: Vec<ProbeId>,
    left_out: HashMap<ProbeId, u32, FxBuildHasher>,
    last: u64,
    last_counted: u64,
}

/// Interval between two reports of dropped calls, in nanoseconds.
const COUNT_EVERY: u64 = 1_000_000_000;

/// Maximum depth at which an unmatched exit is searched.
const SEARCH: usize = 4096;

/// Maximum number of open calls that are tracked.
const MAX_OPEN: usize = 4 << 20;

impl Filter {
    /// Creates a filter that drops calls shorter than `min_duration` nanoseconds and calls nested in `max_depth` others
    /// or more.
    pub fn new(min_duration: u64, max_depth: Option<u32>) -> Self {
        Filter {
            min_duration,
            max_depth: max_depth.map_or(usize::MAX, |depth| depth as usize),
            waiting: Default::default(),
            open: Vec::new(),
            too_deep: Vec::new(),
            left_out: HashMap::default(),
            last: 0,
            last_counted: 0,
        }
    }

    /// Whether the filter passes all events.
    pub fn is_open(&self) -> bool {
        self.min_duration == 0 && self.max_depth == usize::MAX
    }

    /// Handles an event, and calls `pass` for each event that is known to be kept.
    pub fn event(&mut self, event: &Event, pass: &mut impl FnMut(&Event)) {
        if self.is_open() {
            return pass(event);
        }
        self.last = self.last.max(event.at);
        while let Some((at, _)) = self.waiting.front()
            && self.last.saturating_sub(*at) >= self.min_duration
        {
            self.release_one(pass);
        }
        match &event.kind {
            EventKind::Enter(probe) => self.enter(*probe, event, pass),
            EventKind::Exit(probe) => self.exit(Some(*probe), event, pass),
            EventKind::ExitInnermost => self.exit(None, event, pass),
            EventKind::Unwound(probe) => {
                // The call is kept unless it is too deep.
                if self.leave_too_deep(Some(*probe)) {
                    return;
                }
                self.release(pass);
                self.leave(Some(*probe));
                pass(event);
            }
            EventKind::Elided(..) | EventKind::ClockGap(_) => pass(event),
            EventKind::MemoryGrow(_) | EventKind::Manual(_) => {
                self.release(pass);
                pass(event);
            }
        }
        if self.last - self.last_counted > COUNT_EVERY {
            self.count(pass);
        }
    }

    /// Passes on the events that are still held: open calls and counts. No event may follow.
    pub fn finish(&mut self, pass: &mut impl FnMut(&Event)) {
        self.release(pass);
        self.count(pass);
    }

    fn enter(&mut self, probe: ProbeId, event: &Event, pass: &mut impl FnMut(&Event)) {
        if self.open.len() + self.waiting.len() >= self.max_depth {
            self.left_out(probe);
            if self.too_deep.len() < MAX_OPEN {
                self.too_deep.push(probe);
            }
        } else if self.min_duration > 0 {
            self.waiting.push_back((event.at, probe));
            if self.waiting.len() > MAX_OPEN {
                self.release_one(pass);
            }
        } else {
            self.opened(probe);
            pass(event);
        }
    }

    /// Handles the exit of the innermost call, or of the innermost call of `probe`.
    fn exit(&mut self, probe: Option<ProbeId>, event: &Event, pass: &mut impl FnMut(&Event)) {
        if self.leave_too_deep(probe) {
            return;
        }
        match self.waiting.back() {
            Some((_, innermost)) if probe.is_none_or(|probe| probe == *innermost) => {
                let innermost = *innermost;
                self.waiting.pop_back();
                self.left_out(innermost);
            }
            _ => {
                // An exception may have unwound waiting calls.
                self.release(pass);
                self.leave(probe);
                pass(event);
            }
        }
    }

    /// Whether the exit belongs to a call beyond the depth limit.
    fn leave_too_deep(&mut self, probe: Option<ProbeId>) -> bool {
        let among = &mut self.too_deep;
        let found = match probe {
            None => among.len().checked_sub(1),
            Some(probe) => among.iter().rev().take(SEARCH).position(|p| *p == probe).map(|up| among.len() - 1 - up),
        };
        // Otherwise an outer call ends, and with it all of these.
        among.truncate(found.unwrap_or(0));
        found.is_some()
    }

    fn leave(&mut self, probe: Option<ProbeId>) {
        if self.max_depth == usize::MAX {
            return;
        }
        let open = &mut self.open;
        let found = match probe {
            None => open.len().checked_sub(1),
            Some(probe) => open.iter().rev().take(SEARCH).position(|p| *p == probe).map(|up| open.len() - 1 - up),
        };
        if let Some(found) = found {
            open.truncate(found);
        }
    }

    fn opened(&mut self, probe: ProbeId) {
        if self.max_depth != usize::MAX && self.open.len() < MAX_OPEN {
            self.open.push(probe);
        }
    }

    fn release(&mut self, pass: &mut impl FnMut(&Event)) {
        while !self.waiting.is_empty() {
            self.release_one(pass);
        }
    }

    fn release_one(&mut self, pass: &mut impl FnMut(&Event)) {
        if let Some((at, probe)) = self.waiting.pop_front() {
            self.opened(probe);
            pass(&Event { at, kind: EventKind::Enter(probe) });
        }
    }

    fn left_out(&mut self, probe: ProbeId) {
        let count = self.left_out.entry(probe).or_default();
        *count = count.saturating_add(1);
    }

    fn count(&mut self, pass: &mut impl FnMut(&Event)) {
        self.last_counted = self.last;
        let mut counts: Vec<(ProbeId, u32)> = self.left_out.drain().collect();
        counts.sort_unstable();
        for (probe, calls) in counts {
            pass(&Event { at: self.last, kind: EventKind::Elided(probe, calls) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::EventKind::{Elided, Enter, Exit, MemoryGrow};
    use super::*;

    const A: ProbeId = ProbeId(1);
    const B: ProbeId = ProbeId(2);
    const C: ProbeId = ProbeId(3);

    fn sieved(mut filter: Filter, events: &[(u64, EventKind)]) -> Vec<(u64, EventKind)> {
        let mut passed = Vec::new();
        let mut pass = |event: &Event| passed.push((event.at, event.kind.clone()));
        for (at, kind) in events {
            filter.event(&Event { at: *at, kind: kind.clone() }, &mut pass);
        }
        filter.finish(&mut pass);
        passed
    }

    #[test]
    fn short_calls_are_counted_and_long_ones_kept_with_their_times() {
        let events = [(0, Enter(A)), (1, Enter(B)), (5, Exit(B)), (6, Enter(C)), (20, Exit(C)), (21, Exit(A))];
        let kept = [(0, Enter(A)), (6, Enter(C)), (20, Exit(C)), (21, Exit(A)), (21, Elided(B, 1))];
        assert_eq!(sieved(Filter::new(10, None), &events), kept);
    }

    #[test]
    fn what_is_open_at_the_end_is_kept() {
        assert_eq!(sieved(Filter::new(10, None), &[(0, Enter(A)), (1, Enter(B))]), [(0, Enter(A)), (1, Enter(B))]);
    }

    #[test]
    fn a_short_call_in_which_something_happens_is_kept() {
        let events = [(0, Enter(A)), (1, Enter(B)), (1, MemoryGrow(3)), (2, Exit(B)), (2, Exit(A))];
        assert_eq!(sieved(Filter::new(10, None), &events), events);
    }

    #[test]
    fn calls_that_are_too_deep_are_counted_and_those_behind_them_are_kept() {
        let events = [
            (0, Enter(A)),
            (1, Enter(B)),
            (2, Enter(C)),
            (3, Enter(C)),
            (4, Exit(C)),
            (5, Exit(C)),
            (6, Exit(B)),
            (7, Enter(B)),
            (8, Exit(B)),
            (9, Exit(A)),
        ];
        let kept = [(0, Enter(A)), (1, Enter(B)), (6, Exit(B)), (7, Enter(B)), (8, Exit(B)), (9, Exit(A))];
        let mut passed = sieved(Filter::new(0, Some(2)), &events);
        assert_eq!(passed.pop(), Some((9, Elided(C, 2))));
        assert_eq!(passed, kept);
    }

    #[test]
    fn an_exception_out_of_the_depth_does_not_hide_what_comes_after() {
        // C throws, and B is the next that is seen to end.
        let events = [(0, Enter(A)), (1, Enter(B)), (2, Enter(C)), (3, Exit(B)), (4, Enter(B)), (5, Exit(B))];
        let mut passed = sieved(Filter::new(0, Some(2)), &events);
        assert_eq!(passed.pop(), Some((5, Elided(C, 1))));
        assert_eq!(
            passed,
            [events[0].clone(), events[1].clone(), events[3].clone(), events[4].clone(), events[5].clone()]
        );
    }

    #[test]
    fn one_that_is_open_lets_everything_through() {
        let events = [(0, Exit(A)), (0, Enter(A)), (0, Exit(A))];
        assert_eq!(sieved(Filter::new(0, None), &events), events);
    }
}
