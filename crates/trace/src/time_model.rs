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

use super::batch::{Batch, MarkKind, Place, Sample, Stamp, apart, said};
use crate::event::Event;
use wasmtrace_abi::buffer::{Kind as EventWord, TICK, is_leaf};

mod fit;

use fit::Fit;

/// A word that no hook writes: an unknown event, or none.
const UNKNOWN: u32 = u32::MAX;

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
                    let stretch = Interval {
                        before: if self.stamp.before_event { UNKNOWN } else { self.word },
                        words: &words[from..to],
                        next: words.get(to).copied().unwrap_or(UNKNOWN),
                        begin: self.stamp.returned,
                        over: stamp.over,
                        end: stamp.called,
                        exact: stamp.before_event,
                    };
                    self.model.interpolate(&stretch, event);
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

/// The words between two stamps.
#[derive(Debug, Clone, Copy)]
struct Interval<'s> {
    /// The word before the first one, or [`UNKNOWN`] if the first one happened at `begin`.
    before: u32,
    words: &'s [u32],
    /// The word of the event after the interval, or [`UNKNOWN`].
    next: u32,
    /// Time at which the guest continued.
    begin: u64,
    /// Time by which all events had happened.
    over: u64,
    /// Time of the next host call.
    end: u64,
    /// Whether the event after the interval happened at `end`.
    exact: bool,
}

/// Number of kinds of steps that are remembered. Programs have a few hundred relevant ones.
const KINDS: usize = 4096;

/// Number of recent steps that a mean is taken over.
const MEMORY: f32 = 1024.0;

/// Number of measurements after which a mean is trusted.
const CERTAIN: f32 = 16.0;

/// Minimum duration of a step in nanoseconds: the hook's own work.
const LEAST: f32 = 1.5;

/// Precision of scaled steps. Limits the time between two stamps to about an hour.
const FINER: f64 = 65536.0;

/// Units per nanosecond in which steps are stored: integers are faster to add at each event.
const PARTS: u32 = 64;

#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    from: u32,
    to: u32,
    /// Duration of such a step in [`PARTS`]; 0 if it was never measured.
    takes: u32,
}

/// Measurements of a kind of step.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    /// Mean duration in nanoseconds.
    mean: f32,
    /// Number of measured steps.
    seen: f32,
}

/// The learned durations of steps.
#[derive(Debug)]
struct Model {
    /// Separate from the measurements, since these are looked up at each event.
    kinds: Box<[Kind; KINDS]>,
    measured: Box<[Measured; KINDS]>,
    /// Overhead of a measurement itself: the mean of the shortest kind of step.
    overhead: f32,
    /// Number of measured steps.
    count: u32,
    /// For each step of an interval, its known duration and the row of its function.
    steps: Vec<(u32, u32)>,
    fit: Fit,
}

impl Model {
    fn new() -> Self {
        Model {
            kinds: Box::new([Kind::default(); KINDS]),
            measured: Box::new([Measured::default(); KINDS]),
            overhead: f32::INFINITY,
            count: 0,
            steps: Vec::new(),
            fit: Fit::default(),
        }
    }

    /// Handles a sample mark.
    fn sampled(&mut self, mark: &MarkKind) {
        if let MarkKind::Sample(Sample { weight, place, path: None, .. }) = mark {
            match place {
                Place::Function { id, .. } => self.fit.sampled(Some(id.0), *weight),
                Place::Engine => self.fit.sampled(None, *weight),
                Place::Hook | Place::Host | Place::Seen => {}
            }
        }
    }

    /// Calls `tell` with the time of each event, in order and in whole ticks.
    fn interpolate(&mut self, stretch: &Interval<'_>, mut tell: impl FnMut(u32, u64)) {
        let Interval { before, words, next, begin, over, end, exact } = *stretch;
        let Some((&first, rest)) = words.split_first() else { return };
        let first_tick = begin / TICK * TICK;
        if rest.is_empty() && before == UNKNOWN {
            tell(first, first_tick);
            let row = self.fit.step(first);
            self.fit.took(row, over.saturating_sub(begin) as f32);
            if exact && over >= end {
                self.learn(first, next, end.saturating_sub(begin));
            }
            return;
        }
        let (mut sum, mut unknown) = (0u64, 0u64);
        let mut add = |takes: u32| {
            sum += u64::from(takes);
            unknown += u64::from(takes == 0);
            takes
        };
        self.steps.clear();
        let (kinds, fit) = (&*self.kinds, &mut self.fit);
        // The step in which the host was called lies half before and half after the stamp.
        let mut row = fit.current();
        let takes = if before == UNKNOWN { 0 } else { fit.corrected(row, known(kinds, before, first) / 2) };
        self.steps.push((if before == UNKNOWN { 0 } else { add(takes) }, row));
        for (&from, &to) in words.iter().zip(rest) {
            row = fit.step(from);
            self.steps.push((add(fit.corrected(row, known(kinds, from, to))), row));
        }
        // The last step leaves the interval and gets the rest: all of it if the guest was idle.
        row = fit.step(words[words.len() - 1]);
        let last = if over < end { 0 } else { fit.corrected(row, known(kinds, words[words.len() - 1], next)) };
        add(if exact { last } else { last / 2 });
        let span = over.saturating_sub(begin) as f64 * f64::from(PARTS);
        // Known steps fill the interval; if some are unknown, those share what is left.
        let scale = if unknown == 0 || sum as f64 > span { span / (sum as f64).max(1.0) } else { 1.0 };
        let mut unknown_takes = if unknown > 0 { (span - sum as f64 * scale).max(0.0) / unknown as f64 } else { 0.0 };
        if over < end {
            // The last step took long, not the other unknown ones.
            let known = (words.len() as u64).saturating_sub(unknown).max(1);
            unknown_takes = unknown_takes.min((sum / known).max(u64::from(PARTS)) as f64);
        }
        // A finer unit makes scaling a multiplication.
        let (scale, unknown_takes) = ((scale * FINER) as u64, (unknown_takes * FINER) as u64);
        let tick = TICK * u64::from(PARTS) * FINER as u64;
        let (mut at, most) = (first_tick, over.max(begin) / TICK * TICK);
        let (mut passed, mut next_tick) = ((begin - first_tick) * (tick / TICK), tick);
        let mut is_first = before == UNKNOWN;
        const NANOS: f32 = 1.0 / (PARTS as f32 * FINER as f32);
        for (&word, &(takes, row)) in words.iter().zip(&self.steps) {
            let takes = match takes {
                0 if std::mem::take(&mut is_first) => 0,
                0 => unknown_takes,
                takes => u64::from(takes).saturating_mul(scale),
            };
            fit.took(row, takes as f32 * NANOS);
            passed = passed.saturating_add(takes);
            // Most steps are far shorter than a tick, so usually one comparison is enough.
            if passed >= next_tick {
                let ticks = passed / tick;
                at = (first_tick + ticks * TICK).min(most);
                next_tick = (ticks + 1).saturating_mul(tick);
            }
            tell(word, at);
        }
    }

    /// The duration of a step that was measured as `nanos`, without the overhead.
    fn without_overhead(&self, nanos: f32) -> u32 {
        (((nanos - self.overhead).max(0.0) + LEAST) * PARTS as f32) as u32
    }

    fn learn(&mut self, from: u32, to: u32, nanos: u64) {
        let (from, to) = (without_number(from), without_number(to));
        let took = nanos as f32;
        self.count = self.count.wrapping_add(1);
        if self.count < CERTAIN as u32 {
            self.overhead = took.min(self.overhead);
        }
        let slot = slot(from, to);
        let mut of = self.measured[slot];
        // Another kind occupied the slot, or the first measurement contained an interrupt.
        if (self.kinds[slot].from, self.kinds[slot].to) != (from, to) || (of.seen < CERTAIN && took * 8.0 < of.mean) {
            of = Measured { mean: took, seen: 0.0 };
        }
        of.seen = (of.seen + 1.0).min(MEMORY);
        // A measurement with an interrupt must not count much. But the more measurements there are, the rarer long
        // steps may be.
        let most = of.mean * (4.0 + of.seen / 16.0);
        of.mean += (took.min(most) - of.mean) / of.seen;
        self.measured[slot] = of;
        self.kinds[slot] = Kind { from, to, takes: self.without_overhead(of.mean) };
        if self.count.is_multiple_of(512) {
            self.measure_overhead();
        }
    }

    fn measure_overhead(&mut self) {
        let means = self.measured.iter().filter(|of| of.seen >= CERTAIN).map(|of| of.mean);
        let least = means.fold(f32::INFINITY, f32::min);
        if least.is_finite() {
            self.overhead = least;
        }
        for slot in 0..KINDS {
            if self.measured[slot].seen > 0.0 {
                self.kinds[slot].takes = self.without_overhead(self.measured[slot].mean);
            }
        }
    }
}

/// The duration of a kind of step in [`PARTS`]; 0 if unknown.
#[inline(always)]
fn known(kinds: &[Kind; KINDS], from: u32, to: u32) -> u32 {
    let (from, to) = (without_number(from), without_number(to));
    let kind = &kinds[slot(from, to)];
    if (kind.from, kind.to) == (from, to) { kind.takes } else { 0 }
}

/// A word that represents similar events: each caught exception has a word of its own.
#[inline(always)]
fn without_number(word: u32) -> u32 {
    if word & 3 == EventWord::Caught as u32 { EventWord::Caught as u32 } else { word }
}

/// The slot of a kind of step. If two kinds share a slot, the last measured one stays.
#[inline(always)]
fn slot(from: u32, to: u32) -> usize {
    let mixed = from.wrapping_mul(0x9e37_79b1) ^ to.wrapping_mul(0x85eb_ca6b);
    (mixed >> 20) as usize % KINDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(time_model: &mut Model, stretch: Interval<'_>) -> Vec<u64> {
        let mut times = Vec::new();
        time_model.interpolate(&stretch, |_, at| times.push(at));
        times
    }

    /// Words between two events that called, the second of which is `next`.
    fn between(words: &[u32], next: u32, begin: u64, (over, end): (u64, u64)) -> Interval<'_> {
        Interval { before: UNKNOWN, words, next, begin, over, end, exact: true }
    }

    /// To within a tick.
    fn assert_close(times: Vec<u64>, expected: [u64; 4]) {
        assert!(
            times.iter().zip(expected).all(|(at, expected)| at.abs_diff(expected) <= TICK),
            "{times:?} {expected:?}"
        );
        assert_eq!(times.len(), expected.len());
    }

    /// One step, exactly measured.
    fn measured(time_model: &mut Model, from: u32, to: u32, nanos: u64) {
        let words = [from];
        let stretch = between(&words, to, 1000, (1000 + nanos, 1000 + nanos));
        assert_eq!(times(time_model, stretch), [1000]);
    }

    const OVERHEAD: u64 = 40;

    #[test]
    fn time_is_shared_out_by_what_steps_take() {
        let mut time_model = Model::new();
        for _ in 0..100 {
            measured(&mut time_model, 1, 2, OVERHEAD + 9_000);
            measured(&mut time_model, 2, 1, OVERHEAD);
        }
        // Twice the time that the four steps are known for.
        let stretch = between(&[1, 2, 1, 2], 1, 0, (36_000, 36_000));
        assert_close(times(&mut time_model, stretch), [0, 18_000, 18_000, 36_000]);
    }

    #[test]
    fn what_is_not_known_gets_what_is_left() {
        let mut time_model = Model::new();
        measured(&mut time_model, 2, 1, OVERHEAD);
        measured(&mut time_model, 1, 2, OVERHEAD + 1_000);
        let stretch = between(&[1, 2, 5, 1], 2, 0, (12_000, 12_000));
        assert_close(times(&mut time_model, stretch), [0, 1_000, 6_000, 11_000]);
        let nothing_known = between(&[5, 6, 7, 8], 5, 0, (4_000, 4_000));
        assert_close(times(&mut time_model, nothing_known), [0, 1_000, 2_000, 3_000]);
    }

    #[test]
    fn the_step_in_which_a_guest_was_idle_gets_the_time() {
        let mut time_model = Model::new();
        for _ in 0..10 {
            measured(&mut time_model, 1, 2, OVERHEAD + 1_000);
            measured(&mut time_model, 2, 1, OVERHEAD);
        }
        let stretch = between(&[1, 2, 1, 2], 1, 0, (150_000, 9_000_000));
        assert_close(times(&mut time_model, stretch), [0, 1_000, 1_000, 2_000]);
        // Nor does a step that is not known take what the idle one took.
        let stretch = between(&[1, 2, 5, 2], 1, 0, (150_000, 9_000_000));
        assert!(times(&mut time_model, stretch).into_iter().all(|at| at <= 4_000));
        // Known steps never reach into the time in which nothing happened.
        let stretch = between(&[1, 2, 1, 2], 1, 0, (200, 9_000_000));
        assert!(times(&mut time_model, stretch).into_iter().all(|at| at <= 200));
    }

    #[test]
    fn times_never_leave_their_stretch() {
        let mut time_model = Model::new();
        measured(&mut time_model, 1, 1, 5);
        for (begin, over, end) in [(0, 0, 0), (500, 100, 50), (1 << 60, (1 << 60) + 700, 1 << 61)] {
            let at = times(
                &mut time_model,
                Interval { before: UNKNOWN, words: &[1; 1000], next: UNKNOWN, begin, over, end, exact: true },
            );
            assert!(at.is_sorted() || begin > over, "{begin} {over} {end}");
            assert!(at.iter().all(|at| (begin.min(over) / TICK * TICK..=over.max(begin)).contains(at)));
        }
    }
}
