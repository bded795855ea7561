//! Events → spans: which call each exit ends, and what becomes of calls that never exit.
//!
//! Closing rules. An exit ends the innermost open call if that is of the same function. If it is of another one, an
//! exception crossed the calls in between (hooks of this set do not see that): the innermost open call of the same
//! function is looked for, and what is open above it is closed as [`End::Unwound`]. If there is none, the exit is
//! counted as stray and closes nothing. At the end of the run what is still open is closed with the run's ending.

use std::collections::HashMap;

use super::{Ending, Event, EventKind};
use crate::hook::ProbeId;

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its number: calls are counted from 1 in the order in which they were entered.
    pub number: u64,
    /// The number of the call that it was made from, if that is hooked.
    pub parent: Option<u64>,
    /// The function.
    pub probe: ProbeId,
    /// When it was entered, in nanoseconds since the run began.
    pub start: u64,
    /// When it was left.
    pub end: u64,
    /// Of its duration, the part that was not spent in hooked callees.
    pub own: u64,
    /// How many hooked calls were open when it was entered.
    pub depth: usize,
    /// How it ended.
    pub how: End,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Returned,
    /// An exception crossed it.
    Unwound,
    /// The program exited while it was open.
    Exited,
    /// The program trapped while it was open. In the innermost such call, `origin` is set: it is the one that trapped.
    Trapped {
        /// Whether this is the call in which the trap happened.
        origin: bool,
    },
    /// The run was ended from outside while it was open.
    Interrupted,
}

/// What an event did to the calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A call was entered.
    Opened {
        /// The function.
        probe: ProbeId,
        /// When, in nanoseconds since the run began.
        at: u64,
    },
    /// A call ended.
    Closed(Span),
    /// `memory.grow` was called by the innermost open call.
    MemoryGrow {
        /// When.
        at: u64,
        /// The pages that were asked for.
        pages: u32,
        /// The number of that call.
        span: Option<u64>,
    },
}

/// What was not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Irregular {
    /// Exits of functions that were not open.
    pub stray_exits: u64,
    /// Calls that were closed because one below them exited.
    pub unwound: u64,
}

#[derive(Debug)]
struct Open {
    number: u64,
    probe: ProbeId,
    start: u64,
    in_callees: u64,
}

/// The calls that are open, fed with events in order.
#[derive(Debug, Default)]
pub struct Fold {
    stack: Vec<Open>,
    last: u64,
    calls: u64,
    irregular: Irregular,
    /// How often each function is open; counted from the first irregular exit on, so that a stray one costs no search.
    open: Option<HashMap<ProbeId, u32>>,
}

impl Fold {
    /// With nothing open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event, and tells `tell` of what it changes: nothing, one thing, or several closed calls.
    pub fn event(&mut self, event: Event, tell: &mut impl FnMut(&Change)) {
        self.last = self.last.max(event.at);
        match event.kind {
            EventKind::Enter(probe) => {
                self.calls += 1;
                self.stack.push(Open { number: self.calls, probe, start: self.last, in_callees: 0 });
                if let Some(open) = &mut self.open {
                    *open.entry(probe).or_default() += 1;
                }
                tell(&Change::Opened { probe, at: self.last });
            }
            EventKind::Exit(probe) => {
                if self.stack.last().is_none_or(|top| top.probe != probe) && !self.unwind_to(probe, tell) {
                    return;
                }
                self.close(End::Returned, tell);
            }
            EventKind::MemoryGrow(pages) => {
                tell(&Change::MemoryGrow { at: self.last, pages, span: self.stack.last().map(|o| o.number) });
            }
        }
    }

    /// Closes what lies above the innermost open call of `probe`, if there is one.
    fn unwind_to(&mut self, probe: ProbeId, tell: &mut impl FnMut(&Change)) -> bool {
        let stack = &self.stack;
        let open = self.open.get_or_insert_with(|| {
            let mut open = HashMap::new();
            stack.iter().for_each(|o| *open.entry(o.probe).or_default() += 1);
            open
        });
        if open.get(&probe).is_none_or(|n| *n == 0) {
            self.irregular.stray_exits += 1;
            return false;
        }
        while self.stack.last().is_some_and(|top| top.probe != probe) {
            self.irregular.unwound += 1;
            self.close(End::Unwound, tell);
        }
        true
    }

    /// Closes the innermost call.
    fn close(&mut self, how: End, tell: &mut impl FnMut(&Change)) {
        let Some(open) = self.stack.pop() else { return };
        if let Some(count) = self.open.as_mut().and_then(|o| o.get_mut(&open.probe)) {
            *count -= 1;
        }
        let duration = self.last - open.start;
        let parent = self.stack.last_mut().map(|parent| {
            parent.in_callees += duration;
            parent.number
        });
        tell(&Change::Closed(Span {
            number: open.number,
            parent,
            probe: open.probe,
            start: open.start,
            end: self.last,
            own: duration - open.in_callees,
            depth: self.stack.len(),
            how,
        }));
    }

    /// Closes what is open at the end of the run, which is at `at` nanoseconds.
    pub fn finish(&mut self, at: u64, ending: &Ending, tell: &mut impl FnMut(&Change)) {
        self.last = self.last.max(at);
        let mut innermost = true;
        while !self.stack.is_empty() {
            let how = match ending {
                // Nothing is open after a return, unless exits were lost.
                Ending::Returned => {
                    self.irregular.unwound += 1;
                    End::Unwound
                }
                Ending::Exited(_) => End::Exited,
                Ending::Trapped(_) => End::Trapped { origin: innermost },
                Ending::Interrupted(_) => End::Interrupted,
            };
            innermost = false;
            self.close(how, tell);
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
    pub fn irregular(&self) -> Irregular {
        self.irregular
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(events: &[(u64, EventKind)], ending: Ending) -> (Vec<Span>, Irregular) {
        let mut fold = Fold::new();
        let mut spans = Vec::new();
        let mut tell = |change: &Change| {
            if let Change::Closed(span) = change {
                spans.push(span.clone());
            }
        };
        for (at, kind) in events {
            fold.event(Event { at: *at, kind: *kind }, &mut tell);
        }
        fold.finish(100, &ending, &mut tell);
        let irregular = fold.irregular();
        (spans, irregular)
    }
    use EventKind::{Enter, Exit};
    const A: ProbeId = ProbeId(1);
    const B: ProbeId = ProbeId(2);

    #[test]
    fn own_time_is_what_callees_leave() {
        let (spans, irregular) = fold(&[(0, Enter(A)), (2, Enter(B)), (5, Exit(B)), (9, Exit(A))], Ending::Returned);
        assert_eq!(
            spans.iter().map(|s| (s.probe, s.own, s.parent)).collect::<Vec<_>>(),
            [(B, 3, Some(1)), (A, 6, None)]
        );
        assert_eq!(irregular, Irregular::default());
    }

    #[test]
    fn an_exit_closes_what_an_exception_left_open_above_it() {
        let (spans, irregular) = fold(&[(0, Enter(A)), (1, Enter(B)), (2, Enter(B)), (3, Exit(A))], Ending::Returned);
        assert_eq!(spans.iter().map(|s| s.how).collect::<Vec<_>>(), [End::Unwound, End::Unwound, End::Returned]);
        assert_eq!(irregular, Irregular { stray_exits: 0, unwound: 2 });
    }

    #[test]
    fn an_exit_too_many_closes_nothing() {
        let (spans, irregular) =
            fold(&[(0, Exit(B)), (1, Enter(A)), (2, Exit(B)), (3, Exit(A)), (4, Exit(A))], Ending::Returned);
        assert_eq!(spans.len(), 1);
        assert_eq!(irregular, Irregular { stray_exits: 3, unwound: 0 });
    }

    #[test]
    fn a_trap_closes_everything_and_names_the_innermost() {
        let trap = Trap { code: String::new(), message: String::new(), frames: Vec::new() };
        let (spans, _) = fold(&[(0, Enter(A)), (1, Enter(B))], Ending::Trapped(trap));
        assert_eq!(
            spans.iter().map(|s| (s.how, s.end)).collect::<Vec<_>>(),
            [(End::Trapped { origin: true }, 100), (End::Trapped { origin: false }, 100)]
        );
    }
    use super::super::Trap;
}
