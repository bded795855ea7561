//! Short calls, summed up by path.

use crate::budget::LeftOut;
use crate::context::merged_number;
use crate::span_builder::{Change, Span, SpanEnd, What};

/// Maximum number of sums that wait. Calls on further paths are only counted. Limits memory to about 80 MB.
const MANY: usize = 1 << 20;

/// Maximum number of functions that one span sums up. Calls of further ones are only counted.
const WIDEST: usize = 256;

/// The short calls in a span since the last span within it that was passed on: the first of its sums.
pub(super) type Gap = Option<u32>;

/// All sums that wait. The calls in a gap are a list of sums; the calls within each of them are a list again.
#[derive(Debug, Default)]
pub(super) struct Sums {
    all: Vec<Sum>,
    free: Vec<u32>,
}

/// All calls of a function on the same path.
#[derive(Debug)]
struct Sum {
    what: What,
    /// The number of the first call, and when it began.
    number: u64,
    start: u64,
    calls: u64,
    total: u64,
    /// How the calls ended; the first other than a return counts.
    how: SpanEnd,
    /// The calls within.
    inner: Gap,
    next: Gap,
}

impl Sums {
    /// Adds a call, with the calls within it.
    pub(super) fn add(&mut self, gap: &mut Gap, span: &Span<'_>, inner: Gap, left_out: &mut LeftOut) {
        let Span { number, start, end, calls, how, .. } = *span;
        let total = end - start;
        match self.find(gap, span.what) {
            Ok(at) => {
                let sum = &mut self.all[at as usize];
                sum.count(calls, total, how);
                self.join(at, inner, left_out);
            }
            Err(width) if width >= WIDEST || self.all.len() - self.free.len() >= MANY => {
                left_out.short += calls;
                left_out.short_nanos += total;
                self.leave_out(inner, left_out);
            }
            Err(_) => {
                let what = span.what.clone();
                let sum = Sum { what, number, start, calls, total, how, inner, next: *gap };
                *gap = Some(match self.free.pop() {
                    Some(at) => {
                        self.all[at as usize] = sum;
                        at
                    }
                    None => {
                        self.all.push(sum);
                        self.all.len() as u32 - 1
                    }
                });
            }
        }
    }

    /// The sum of a function in a list, moved to its front; or the length of the list.
    fn find(&mut self, gap: &mut Gap, what: &What) -> Result<u32, usize> {
        let (mut before, mut at, mut width) = (None::<u32>, *gap, 0);
        while let Some(here) = at {
            let next = self.all[here as usize].next;
            if self.all[here as usize].what == *what {
                if let Some(before) = before {
                    self.all[before as usize].next = next;
                    self.all[here as usize].next = *gap;
                    *gap = Some(here);
                }
                return Ok(here);
            }
            (before, at, width) = (at, next, width + 1);
        }
        Err(width)
    }

    /// Moves a list of calls into a sum, without recursion: paths may be very long.
    fn join(&mut self, into: u32, list: Gap, left_out: &mut LeftOut) {
        let mut todo = vec![(into, list)];
        while let Some((into, list)) = todo.pop() {
            let mut own = self.all[into as usize].inner;
            if own.is_none() {
                self.all[into as usize].inner = list;
                continue;
            }
            let mut at = list;
            while let Some(here) = at {
                at = self.all[here as usize].next;
                let what = self.all[here as usize].what.clone();
                match self.find(&mut own, &what) {
                    Ok(same) => {
                        let Sum { calls, total, how, start, number, inner, .. } = self.all[here as usize];
                        let sum = &mut self.all[same as usize];
                        sum.count(calls, total, how);
                        if start < sum.start {
                            (sum.start, sum.number) = (start, number);
                        }
                        self.free.push(here);
                        if inner.is_some() {
                            todo.push((same, inner));
                        }
                    }
                    Err(width) if width >= WIDEST => {
                        self.all[here as usize].next = None;
                        left_out.short_nanos += self.all[here as usize].total;
                        self.leave_out(Some(here), left_out);
                    }
                    Err(_) => {
                        self.all[here as usize].next = own;
                        own = Some(here);
                    }
                }
            }
            self.all[into as usize].inner = own;
        }
    }

    /// Counts the calls of a list, and of all lists in it, and gives it up.
    fn leave_out(&mut self, list: Gap, left_out: &mut LeftOut) {
        let mut todo: Vec<u32> = list.into_iter().collect();
        while let Some(at) = todo.pop() {
            let sum = &self.all[at as usize];
            left_out.short += sum.calls;
            todo.extend(sum.next);
            todo.extend(sum.inner);
            self.free.push(at);
        }
    }

    /// Passes on the sums of a list as spans, each with those within it, from the first call on. Sums below `least`
    /// nanoseconds are left out. Returns the nanoseconds of the outermost spans.
    pub(super) fn emit(
        &mut self,
        list: Gap,
        least: u64,
        parent: Option<u64>,
        depth: usize,
        left_out: &mut LeftOut,
        tell: &mut impl FnMut(&Change<'_>),
    ) -> u64 {
        if list.is_none() {
            return 0;
        }
        let first = self.in_order(list);
        let start = first.last().map_or(0, |at| self.all[*at as usize].start);
        let mut levels = vec![Level { left: first, now: start, inside: 0, of: None, parent }];
        loop {
            let around = levels.len();
            let level = levels.last_mut().expect("the outermost level returns");
            if let Some(at) = level.left.pop() {
                let sum = &self.all[at as usize];
                if sum.total < least || sum.total == 0 {
                    left_out.short_nanos += sum.total;
                    self.all[at as usize].next = None;
                    self.leave_out(Some(at), left_out);
                    continue;
                }
                let (begin, number, inner) = (level.now, sum.number(), sum.inner);
                level.now += sum.total;
                level.inside += sum.total;
                tell(&Change::Opened { number, what: &sum.what, at: begin });
                let left = self.in_order(inner);
                levels.push(Level { left, now: begin, inside: 0, of: Some((at, begin)), parent: Some(number) });
                continue;
            }
            let Level { inside, of, .. } = levels.pop().expect("it was just there");
            let Some((at, start)) = of else { return inside };
            let sum = &self.all[at as usize];
            let span = Span {
                number: sum.number(),
                parent: levels.last().and_then(|level| level.parent),
                what: &sum.what,
                start,
                end: start + sum.total,
                self_time: sum.total.saturating_sub(inside),
                how: sum.how,
                tags: &[],
                calls: sum.calls,
            };
            tell(&Change::Closed { span, depth: depth + around - 2 });
            left_out.merged += 1;
            left_out.merged_calls += sum.calls;
            self.free.push(at);
        }
    }

    /// The sums of a list, by their first calls, latest first.
    fn in_order(&self, list: Gap) -> Vec<u32> {
        let mut order: Vec<u32> = std::iter::successors(list, |at| self.all[*at as usize].next).collect();
        order.sort_unstable_by_key(|at| std::cmp::Reverse(self.all[*at as usize].start));
        order
    }
}

/// The spans of one list that are being passed on.
struct Level {
    /// Those that follow, the next one last.
    left: Vec<u32>,
    /// When the next one begins.
    now: u64,
    /// Nanoseconds in those passed on.
    inside: u64,
    /// The sum that they are in, and when it began.
    of: Option<(u32, u64)>,
    /// The number of the span that they are in.
    parent: Option<u64>,
}

impl Sum {
    fn count(&mut self, calls: u64, total: u64, how: SpanEnd) {
        self.calls += calls;
        self.total += total;
        if self.how == SpanEnd::Returned {
            self.how = how;
        }
    }

    /// The number of the merged span.
    fn number(&self) -> u64 {
        if self.calls == 1 { self.number } else { merged_number(self.number, self.calls, self.total) }
    }
}
