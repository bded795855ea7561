//! Choosing the spans to send if there are too many: backends become slow with thousands of spans and fail with tens of
//! thousands.
//!
//! Three quarters of the budget are for the longest spans; of equally long ones, the outer ones. No span is longer than
//! its parent, so these form a tree with the root. The rest of the budget is for merged spans: all calls of one
//! function within the same span become one span, with their number and total time; calls within them are merged too.
//! Spans beyond that are dropped and counted. Each span is in exactly one of these groups.
//!
//! The choice needs all durations, so the recording is read twice. Memory is bounded by the budget, not by the run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::sent_spans::SentSpans;
use wasmtrace_trace::context::merged_number;
use wasmtrace_trace::span_builder::{Change, Span, SpanEnd, What};

/// The order in which spans are kept: duration, depth, number.
pub(super) type Rank = (u64, Reverse<usize>, Reverse<u64>);

pub(super) fn rank(duration: u64, depth: usize, number: u64) -> Rank {
    (duration, Reverse(depth), Reverse(number))
}

/// The first pass over a recording.
pub(super) struct Count<'a> {
    most: usize,
    /// The spans sent during the run.
    already: &'a SentSpans,
    /// Number of spans.
    spans: u64,
    /// The best spans so far; the last of them is on top.
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
        // Chosen spans are at most half of the budget.
        best.truncate((self.most - self.most / 4).saturating_sub(self.already.chosen.len()));
        let best = best.into_iter().map(|Reverse((_, _, Reverse(number)))| number);
        let alone = best.chain(self.already.chosen.iter().copied()).collect();
        Budget { most: self.most, alone: Some(alone) }
    }
}

/// The choice of spans.
pub(super) struct Budget {
    most: usize,
    /// The numbers of the spans that are sent individually; `None` sends all.
    alone: Option<HashSet<u64>>,
}

impl Budget {
    pub(super) fn all() -> Self {
        Budget { most: 0, alone: None }
    }
}

/// How an open span is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    /// As a span with this number; 0 is the run's.
    Alone(u64),
    /// As part of the merged span with this index.
    Merged(usize),
    /// Dropped.
    Nowhere,
}

/// A merged span: calls of one function within one span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum {
    inside: Place,
    pub(super) what: What,
    /// The number of the first call.
    first: u64,
    pub(super) count: u64,
    pub(super) total: u64,
    /// Begin of the first call; `end` is the end of the last.
    pub(super) start: u64,
    pub(super) end: u64,
    /// How the calls ended; the most notable way counts.
    pub(super) how: SpanEnd,
    /// The tags that all calls share.
    pub(super) tags: Vec<(String, String)>,
}

impl Sum {
    /// The number from which its id is derived. For a single call, that call's number. For several, a number that no
    /// span has and that depends on the calls: another export may merge more or fewer of them.
    pub(super) fn number(&self) -> u64 {
        match self.count {
            1 => self.first,
            _ => merged_number(self.first, self.count, self.total),
        }
    }
}

/// The second pass over a recording.
pub(super) struct Kept<'a> {
    budget: Budget,
    already: &'a SentSpans,
    /// The open spans, each with how it is sent.
    open: Vec<(u64, Place)>,
    sums: Vec<Sum>,
    known: HashMap<(Place, What), usize>,
    /// Number of dropped spans outside of merged ones.
    left_out: u64,
}

/// How a closed span is handled.
pub(super) enum SpanDisposition {
    /// Sent individually, with the span of this number as its parent.
    Alone(Option<u64>),
    /// Merged or dropped.
    Merged,
}

/// Number of merged spans kept as a multiple of their budget, to choose the longest.
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

    /// The sent span that a note in the innermost open span belongs to.
    pub(super) fn innermost(&self, number: Option<u64>) -> Option<u64> {
        if self.budget.alone.is_none() { number } else { alone_around(&self.open) }
    }

    /// The span for a note that must be sent together with its span: spans that were sent already cannot be extended,
    /// and have their notes. 0 is the run's.
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

    /// The merged spans within the budget, each with its parent's number; the number of calls in those of several
    /// calls; the number of dropped spans.
    pub(super) fn finish(self) -> (Vec<(Sum, Option<u64>)>, u64, u64) {
        let Kept { budget, sums, mut left_out, .. } = self;
        let room = budget.most - budget.alone.as_ref().map_or(0, HashSet::len);
        let mut order: Vec<usize> = (0..sums.len()).collect();
        // A merged span within another comes after it: it is not longer, and was seen later.
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

/// The innermost span that is sent individually.
fn alone_around(open: &[(u64, Place)]) -> Option<u64> {
    open.iter().rev().find_map(|(_, place)| match place {
        Place::Alone(number) => Some(*number),
        _ => None,
    })
}
