//! Estimates the times of the events in a batch, of which only some are measured.
//!
//! In call-heavy code the guest calls the host once in about a thousand events. The time between two stamps has to be
//! distributed over the *steps* from one event to the next. Equal shares would be wrong: if a loop calls a function of
//! 1,000 instructions and one of three, both would seem to take the same time. The consumer therefore learns the
//! duration of each kind of step, from pairs of stamps with one step between them. The kind of a step is its pair of
//! event words. Pairs are chosen by counting events, with a random part, so each kind is measured in proportion to its
//! frequency and its mean is not biased. Stamps are exact, so the error of an event's time is at most the few
//! microseconds between two of them.
//!
//! A mean has limits: a function that takes longer for one caller than for another has the same mean for both, and a
//! step that rarely takes a thousand times as long has no meaningful mean. These times are therefore used for spans,
//! which need a begin and an end each, and for runs that are too short to be sampled. Call trees use samples
//! ([`super::calltree`]).
//!
//! The alternative is stamps at random *times*, by a thread that writes the clock word. That needs no model. But a
//! sleeping thread wakes up about every 150 µs, which gives seven stamps for a run of a millisecond, and a thread in a
//! busy loop needs a core (this is `--clock spin`).

use super::batch::{Batch, MarkKind, Sample, Stamp, apart, said};
use crate::event::Event;
use wasmtrace_abi::buffer::is_leaf;

mod fit;
mod model;

use model::{Interval, Model, UNKNOWN};

/// Estimates the time of each event in a stream of batches.
#[derive(Debug)]
pub struct TimeModel {
    model: Model,
    /// The time of the last event.
    last: u64,
    /// The last stamp and the last word.
    stamp: Stamp,
    word: u32,
    apart: Apart,
}

/// The words of a batch, each of one event, and the positions of the marks among them.
#[derive(Debug, Default)]
struct Apart {
    words: Vec<u32>,
    places: Vec<usize>,
}

impl Apart {
    fn set(&mut self, batch: &Batch) {
        self.words.clear();
        self.places.clear();
        let mut from = 0;
        let mut append = |words: &[u32]| {
            self.words.extend(
                words.iter().map(|word| apart(*word)).flat_map(|(first, second)| [first].into_iter().chain(second)),
            );
            self.words.len()
        };
        for mark in &batch.marks {
            let at = append(&batch.words[from..mark.at]);
            self.places.push(at);
            from = mark.at;
        }
        append(&batch.words[from..]);
    }
}

/// An item of a batch after its events have got times.
#[derive(Debug, PartialEq)]
pub enum Step<'b> {
    /// An event.
    Event(&'b Event),
    /// A sample: the guest was interrupted.
    Sample(&'b Sample),
    /// A stamp: the guest called the host.
    Stamp(&'b Stamp),
}

impl Default for TimeModel {
    fn default() -> Self {
        TimeModel { model: Model::new(), last: 0, stamp: Stamp::default(), word: UNKNOWN, apart: Apart::default() }
    }
}

impl TimeModel {
    /// Creates a model without measurements.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether samples correct the times. Not needed if single calls are not shown.
    pub fn fits(&mut self, fits: bool) {
        self.model.fit.is_on = fits;
    }

    /// Calls `tell` for each item of a batch, in order. Times never decrease.
    #[inline]
    pub fn batch(&mut self, batch: &Batch, tell: impl FnMut(Step<'_>)) {
        let mut apart = std::mem::take(&mut self.apart);
        let marks = batch.marks.iter().map(|mark| &mark.kind);
        if batch.words.iter().any(|word| is_leaf(*word)) {
            apart.set(batch);
            self.words(&apart.words, apart.places.iter().copied().zip(marks), tell);
        } else {
            self.words(&batch.words, batch.marks.iter().map(|mark| mark.at).zip(marks), tell);
        }
        self.apart = apart;
    }

    /// Processes words of one event each, and marks with their positions.
    #[inline]
    fn words<'b>(
        &mut self,
        words: &[u32],
        marks: impl Iterator<Item = (usize, &'b MarkKind)> + Clone,
        mut tell: impl FnMut(Step<'_>),
    ) {
        let mut ends = marks.clone().filter_map(|(at, mark)| match mark {
            MarkKind::Stamp(stamp) => Some((at, stamp)),
            _ => None,
        });
        let mut marks = marks.peekable();
        let mut from = 0;
        let mut last = self.last;
        loop {
            let end = ends.next();
            let (to, stamp) = end.map_or((words.len(), None), |(at, stamp)| (at, Some(stamp)));
            let mut index = from;
            for (_, mark) in marks.clone().take_while(|(at, _)| *at < to) {
                self.model.sampled(mark);
            }
            let mut event = |word: u32, at: u64| {
                while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= index) {
                    other(mark, &mut last, &mut tell);
                }
                last = last.max(at);
                index += 1;
                tell(Step::Event(&Event { at: last, kind: said(word).0 }));
            };
            match stamp {
                Some(stamp) => {
                    let interval = Interval {
                        before: if self.stamp.before_event { UNKNOWN } else { self.word },
                        words: &words[from..to],
                        next: words.get(to).copied().unwrap_or(UNKNOWN),
                        begin: self.stamp.returned,
                        over: stamp.over,
                        end: stamp.called,
                        exact: stamp.before_event,
                    };
                    self.model.interpolate(&interval, event);
                }
                // Nothing is known about times after the last stamp.
                None => words[from..to].iter().for_each(|word| event(*word, 0)),
            }
            self.word = words[from..to].last().copied().unwrap_or(self.word);
            // Up to the stamp itself; of what comes before, all that is behind the last word.
            while let Some((_, mark)) = marks.next_if(|(at, _)| *at <= to) {
                if let MarkKind::Stamp(stamp) = mark {
                    self.stamp = *stamp;
                    tell(Step::Stamp(stamp));
                    break;
                }
                self.model.sampled(mark);
                other(mark, &mut last, &mut tell);
            }
            from = to;
            if stamp.is_none() {
                break;
            }
        }
        self.last = last;
    }

    /// Appends the events of a batch with their times.
    pub fn events(&mut self, batch: &Batch, events: &mut Vec<Event>) {
        self.batch(batch, |step| {
            if let Step::Event(event) = step {
                events.push(event.clone());
            }
        });
    }
}

/// Handles a mark that is not a stamp.
#[inline]
fn other(mark: &MarkKind, last: &mut u64, tell: &mut impl FnMut(Step<'_>)) {
    match mark {
        MarkKind::Event(event) if event.at >= *last => {
            *last = event.at;
            tell(Step::Event(event));
        }
        MarkKind::Event(event) => tell(Step::Event(&Event { at: *last, kind: event.kind.clone() })),
        MarkKind::Sample(sample) => tell(Step::Sample(sample)),
        MarkKind::Stamp(_) => {}
    }
}
