//! Which spans are sent where not all can be: backends grow slow at thousands of spans and fail at tens of thousands.
//!
//! The longest survive, of equally long ones the shallowest: three quarters of the budget. No span is longer than what it is
//! in, so they are a tree from the root down. What is left of the budget is for the rest, summed up: all calls of one function
//! in the same span are one span, with their number and total time, and so are the calls in those. Beyond that, spans are
//! left out, and counted. Each is in exactly one of the three.
//!
//! Who survives is known when all durations are; so the recording is read twice. Memory is bounded by the budget, not by the
//! run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::sent_spans::SentSpans;
use wasmtrace_trace::context::mix;
use wasmtrace_trace::span_builder::{Change, Span, SpanEnd, What};

/// The order in which spans survive: duration, depth, number.
pub(super) type Rank = (u64, Reverse<usize>, Reverse<u64>);

pub(super) fn rank(duration: u64, depth: usize, number: u64) -> Rank {
    (duration, Reverse(depth), Reverse(number))
}

/// The first look at a recording.
pub(super) struct Count<'a> {
    most: usize,
    /// What was sent while it was written.
    already: &'a SentSpans,
    /// How many spans there are.
    spans: u64,
    /// The first of them in the order, the last on top.
    best: BinaryHeap<Reverse<Rank>>,
}

impl<'a> Count<'a> {
    pub(super) fn new(most: usize, already: &'a SentSpans) -> Self {
        Count { most, already, spans: 0, best: BinaryHeap::new() }
    }

    pub(super) fn change(&mut self, change: &Change<'_>) {
        let Change::Closed { span, depth } = change else { return };
        self.spans += 1;
        if self.already.chosen.contains(&span.number) {
            return;
        }
        let rank = Reverse(rank(span.end - span.start, *depth, span.number));
        if self.best.len() < self.most {
            self.best.push(rank);
        } else if let Some(mut last) = self.best.peek_mut()
            && rank < *last
        {
            *last = rank;
        }
    }

    pub(super) fn budget(self) -> Budget {
        if self.spans <= self.most as u64 {
            return Budget::all();
        }
        let mut best = self.best.into_sorted_vec();
        // Those that were chosen are fewer: half of the budget at most.
        best.truncate((self.most - self.most / 4).saturating_sub(self.already.chosen.len()));
        let best = best.into_iter().map(|Reverse((_, _, Reverse(number)))| number);
        let alone = best.chain(self.already.chosen.iter().copied()).collect();
        Budget { most: self.most, alone: Some(alone) }
    }
}

/// Who survives.
pub(super) struct Budget {
    most: usize,
    /// The numbers of the spans that are sent as they are; nothing: all are.
    alone: Option<HashSet<u64>>,
}

impl Budget {
    pub(super) fn all() -> Self {
        Budget { most: 0, alone: None }
    }
}

/// Where something is, or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// It is a span, with this number; 0 is the run's.
    Alone(u64),
    /// It is in this one of the sums.
    Merged(usize),
    /// It is left out.
    Nowhere,
}

/// Calls of one function in one span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum {
    inside: Place,
    pub(super) what: What,
    /// The number of the first of them.
    first: u64,
    pub(super) count: u64,
    pub(super) total: u64,
    /// From the beginning of the first to the end of the last.
    pub(super) start: u64,
    pub(super) end: u64,
    /// How they ended: those that returned say the least.
    pub(super) how: SpanEnd,
    /// Those that all of them have.
    pub(super) tags: Vec<(String, String)>,
}

impl Sum {
    /// The number that its id follows from. Of one call it is that call's. Of several it is none that a span has, and another
    /// for other calls: what is sent at another time, or with another budget, may sum up more of them or fewer.
    pub(super) fn number(&self) -> u64 {
        match self.count {
            1 => self.first,
            _ => 1 << 63 | mix(mix(mix(self.first) ^ self.count) ^ self.total) >> 2,
        }
    }
}

/// The second look.
pub(super) struct Kept<'a> {
    budget: Budget,
    already: &'a SentSpans,
    /// What is open, with its place.
    open: Vec<(u64, Place)>,
    sums: Vec<Sum>,
    known: HashMap<(Place, What), usize>,
    /// How many spans are in no other.
    left_out: u64,
}

/// What becomes of a span that has ended.
pub(super) enum SpanDisposition {
    /// It is sent, in the span of this number.
    Alone(Option<u64>),
    /// Not as itself.
    Merged,
}

/// So many times the budget of sums are kept, for the longest of them to survive.
const SUMS: usize = 2;

impl<'a> Kept<'a> {
    pub(super) fn new(budget: Budget, already: &'a SentSpans) -> Self {
        Kept { budget, already, open: Vec::new(), sums: Vec::new(), known: HashMap::new(), left_out: 0 }
    }

    pub(super) fn opened(&mut self, number: u64, what: &What) {
        let Some(alone) = &self.budget.alone else { return };
        let inside = self.open.last().map_or(Place::Alone(0), |(_, place)| *place);
        let place = match inside {
            _ if alone.contains(&number) => Place::Alone(number),
            Place::Nowhere => Place::Nowhere,
            inside => match self.known.get(&(inside, what.clone())) {
                Some(at) => Place::Merged(*at),
                None if self.sums.len() >= SUMS * self.budget.most => Place::Nowhere,
                None => {
                    let (start, end, how) = (u64::MAX, 0, SpanEnd::Returned);
                    let (what, first) = (what.clone(), number);
                    self.known.insert((inside, what.clone()), self.sums.len());
                    self.sums.push(Sum { inside, what, first, count: 0, total: 0, start, end, how, tags: Vec::new() });
                    Place::Merged(self.sums.len() - 1)
                }
            },
        };
        self.open.push((number, place));
    }

    pub(super) fn closed(&mut self, span: &Span<'_>, depth: usize) -> SpanDisposition {
        if self.budget.alone.is_none() {
            return SpanDisposition::Alone(span.parent);
        }
        let (_, place) = self.open.remove(depth);
        match place {
            Place::Alone(_) => SpanDisposition::Alone(alone_around(&self.open[..depth])),
            Place::Merged(at) => {
                let sum = &mut self.sums[at];
                if sum.count == 0 {
                    sum.tags = span.tags.to_vec();
                } else if sum.tags != span.tags {
                    sum.tags.clear();
                }
                sum.count += 1;
                sum.total += span.end - span.start;
                sum.start = sum.start.min(span.start);
                sum.end = sum.end.max(span.end);
                if sum.how == SpanEnd::Returned {
                    sum.how = span.how;
                }
                SpanDisposition::Merged
            }
            Place::Nowhere => {
                self.left_out += 1;
                SpanDisposition::Merged
            }
        }
    }

    /// The span that stands for the innermost open one, where something is said in it.
    pub(super) fn innermost(&self, number: Option<u64>) -> Option<u64> {
        if self.budget.alone.is_none() { number } else { alone_around(&self.open) }
    }

    /// The same where something happens in it that is to be told with it: what was sent already cannot be added to, and has
    /// what happened in it; 0 is the run's.
    pub(super) fn innermost_unsent(&self, number: Option<u64>) -> Option<u64> {
        if self.budget.alone.is_none() {
            return Some(number.unwrap_or(0));
        }
        if number.is_some_and(|number| self.already.is_sent_alone(number)) {
            return None;
        }
        let unsent = self.open.iter().rev().find_map(|(_, place)| match place {
            Place::Alone(number) if !self.already.is_sent_alone(*number) => Some(*number),
            _ => None,
        });
        Some(unsent.unwrap_or(0))
    }

    /// The sums that have room, each with the number of the span that it is in; how many spans are in those that are of
    /// several; and how many are left out.
    pub(super) fn finish(self) -> (Vec<(Sum, Option<u64>)>, u64, u64) {
        let Kept { budget, sums, mut left_out, .. } = self;
        let room = budget.most - budget.alone.as_ref().map_or(0, HashSet::len);
        let mut order: Vec<usize> = (0..sums.len()).collect();
        // What is in another comes after it: it is not longer, and was seen later.
        order.sort_by_key(|at| (Reverse(sums[*at].total), *at));
        let mut chosen: HashMap<usize, Option<u64>> = HashMap::new();
        for at in order {
            let inside = match sums[at].inside {
                Place::Alone(number) => Some(number).filter(|number| *number != 0),
                Place::Merged(outer) if chosen.contains_key(&outer) => Some(sums[outer].number()),
                Place::Merged(_) | Place::Nowhere => {
                    left_out += sums[at].count;
                    continue;
                }
            };
            if chosen.len() < room && sums[at].count > 0 {
                chosen.insert(at, inside);
            } else {
                left_out += sums[at].count;
            }
        }
        let (mut kept, mut merged) = (Vec::new(), 0);
        for (at, sum) in sums.into_iter().enumerate() {
            if let Some(inside) = chosen.get(&at) {
                merged += if sum.count > 1 { sum.count } else { 0 };
                kept.push((sum, *inside));
            }
        }
        (kept, merged, left_out)
    }
}

/// The innermost that is sent as it is.
fn alone_around(open: &[(u64, Place)]) -> Option<u64> {
    open.iter().rev().find_map(|(_, place)| match place {
        Place::Alone(number) => Some(*number),
        _ => None,
    })
}
