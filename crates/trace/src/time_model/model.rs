//! What kinds of steps take, learned from steps that were measured, and the times of the steps between two stamps.

use super::fit::Fit;
use crate::batch::{MarkKind, Place, Sample};
use wasmtrace_abi::buffer::{Kind as EventWord, TICK};

/// A word that no hook writes: an unknown event, or none.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// The words between two stamps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval<'s> {
    /// The word before the first one, or [`UNKNOWN`] if the first one happened at `begin`.
    pub(super) before: u32,
    pub(super) words: &'s [u32],
    /// The word of the event after the interval, or [`UNKNOWN`].
    pub(super) next: u32,
    /// Time at which the guest continued.
    pub(super) begin: u64,
    /// Time by which all events had happened.
    pub(super) over: u64,
    /// Time of the next host call.
    pub(super) end: u64,
    /// Whether the event after the interval happened at `end`.
    pub(super) exact: bool,
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
pub(super) struct Model {
    /// Separate from the measurements, since these are looked up at each event.
    kinds: Box<[Kind; KINDS]>,
    measured: Box<[Measured; KINDS]>,
    /// Overhead of a measurement itself: the mean of the shortest kind of step.
    overhead: f32,
    /// Number of measured steps.
    count: u32,
    /// For each step of an interval, its known duration and the row of its function.
    steps: Vec<(u32, u32)>,
    pub(super) fit: Fit,
}

impl Model {
    pub(super) fn new() -> Self {
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
    pub(super) fn sampled(&mut self, mark: &MarkKind) {
        if let MarkKind::Sample(Sample { weight, place, path: None, .. }) = mark {
            match place {
                Place::Function { id, .. } => self.fit.sampled(Some(id.0), *weight),
                Place::Engine => self.fit.sampled(None, *weight),
                Place::Hook | Place::HookModule | Place::Host | Place::Seen => {}
            }
        }
    }

    /// Calls `tell` with the time of each event, in order and in whole ticks.
    pub(super) fn interpolate(&mut self, interval: &Interval<'_>, mut tell: impl FnMut(u32, u64)) {
        let Interval { before, words, next, begin, over, end, exact } = *interval;
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

    fn times(time_model: &mut Model, interval: Interval<'_>) -> Vec<u64> {
        let mut times = Vec::new();
        time_model.interpolate(&interval, |_, at| times.push(at));
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
        let interval = between(&words, to, 1000, (1000 + nanos, 1000 + nanos));
        assert_eq!(times(time_model, interval), [1000]);
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
        let interval = between(&[1, 2, 1, 2], 1, 0, (36_000, 36_000));
        assert_close(times(&mut time_model, interval), [0, 18_000, 18_000, 36_000]);
    }

    #[test]
    fn what_is_not_known_gets_what_is_left() {
        let mut time_model = Model::new();
        measured(&mut time_model, 2, 1, OVERHEAD);
        measured(&mut time_model, 1, 2, OVERHEAD + 1_000);
        let interval = between(&[1, 2, 5, 1], 2, 0, (12_000, 12_000));
        assert_close(times(&mut time_model, interval), [0, 1_000, 6_000, 11_000]);
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
        let interval = between(&[1, 2, 1, 2], 1, 0, (150_000, 9_000_000));
        assert_close(times(&mut time_model, interval), [0, 1_000, 1_000, 2_000]);
        // Nor does a step that is not known take what the idle one took.
        let interval = between(&[1, 2, 5, 2], 1, 0, (150_000, 9_000_000));
        assert!(times(&mut time_model, interval).into_iter().all(|at| at <= 4_000));
        // Known steps never reach into the time in which nothing happened.
        let interval = between(&[1, 2, 1, 2], 1, 0, (200, 9_000_000));
        assert!(times(&mut time_model, interval).into_iter().all(|at| at <= 200));
    }

    #[test]
    fn times_never_leave_their_interval() {
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
