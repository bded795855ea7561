//! When the events of a buffer happened, of which only some have a time.
//!
//! Where calls are dense the guest asks for the time once in a thousand events, and the time between two stamps has to be
//! shared out among the *steps* between them: from one event to the next. As many shares as steps would be wrong: in a loop
//! that calls a function of a thousand instructions and one of three, both would seem to take the same. So the consumer
//! learns how long each kind of step takes, from pairs of stamps with one step between them, and shares out by that. A kind is
//! which event comes after which. The pairs are chosen by a count of events and at random, so each kind is measured as often,
//! in proportion, as it occurs, and its mean is not biased. Stamps themselves are exact, so an error never leaves the few
//! microseconds between two of them.
//!
//! The road not taken: stamps at random *times*, by a thread that writes the clock's word. They need no model, but a sleeping
//! thread comes round once in 150 µs only, which leaves a run of a millisecond with seven of them, and one that spins wants
//! a core (that is `--clock spin`).

use crate::hook::buffer::TICK;

/// The time at an event: the guest called for it just before it wrote the event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    /// Where the event stands in the buffer.
    pub(super) at: u32,
    /// When the events before it had happened: some time before the call, if the guest was idle.
    pub(super) over: u64,
    /// When the guest called, and when it went on: between the two it stood still.
    pub(super) called: u64,
    pub(super) returned: u64,
}

/// Stands for an event that is not known yet, or for none: no hook writes it.
pub(super) const UNKNOWN: u32 = u32::MAX;

/// Events between two moments that are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch<'s> {
    /// Their first words.
    pub(super) words: &'s [u32],
    /// The word of the event behind them, or [`UNKNOWN`].
    pub(super) next: u32,
    /// When the first of them happened.
    pub(super) begin: u64,
    /// When all of them had happened.
    pub(super) over: u64,
    /// When the event behind them came.
    pub(super) end: u64,
}

/// Kinds of steps that are remembered: programs have a few hundred that matter.
const KINDS: usize = 4096;

/// A mean is that of about so many steps last seen.
const MEMORY: f32 = 1024.0;

/// How often a step is measured until its mean is believed.
const CERTAIN: f32 = 16.0;

/// A step that takes longer is believed to do so as far as it is not far from what its kind takes, in nanoseconds.
const LONGEST: f32 = 1_000.0;

/// What a step takes at the least, in nanoseconds: the hook's own writing of an event.
const LEAST: f32 = 1.5;

#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    from: u32,
    to: u32,
    /// Mean of what was measured, in nanoseconds.
    mean: f32,
    /// Of how many steps; 0 for none.
    seen: f32,
}

/// What is known of steps.
#[derive(Debug)]
pub(super) struct Timeline {
    kinds: Box<[Kind; KINDS]>,
    /// What a measurement takes by itself: the mean of the kind of step that takes least.
    overhead: f32,
    /// How many steps were measured.
    measured: u32,
    /// What each step of a stretch takes, as far as it is known.
    steps: Vec<f32>,
}

impl Timeline {
    pub(super) fn new() -> Self {
        Timeline { kinds: Box::new([Kind::default(); KINDS]), overhead: f32::INFINITY, measured: 0, steps: Vec::new() }
    }

    /// Tells `tell` the time of each event, in order and in whole ticks.
    pub(super) fn share_out(&mut self, stretch: &Stretch<'_>, mut tell: impl FnMut(u32, u64)) {
        let Stretch { words, next, begin, over, end } = *stretch;
        let Some((&first, rest)) = words.split_first() else { return };
        tell(first, begin / TICK * TICK);
        if rest.is_empty() {
            if over >= end {
                self.learn(first, next, end.saturating_sub(begin));
            }
            return;
        }
        self.steps.clear();
        let (mut sum, mut unknown) = (0.0, 0u32);
        for step in words.windows(2) {
            let takes = self.known(step[0], step[1]);
            sum += takes;
            unknown += u32::from(takes == 0.0);
            self.steps.push(takes);
        }
        // The last step leads out of the stretch, and gets what is left: all of it if the guest was idle.
        let idle = over < end;
        let last = if idle { 0.0 } else { self.known(words[words.len() - 1], next) };
        sum += last;
        unknown += u32::from(last == 0.0);
        let span = over.saturating_sub(begin) as f32;
        // If nothing is unknown, the known make up all of the time; else the unknown ones share what is left of it.
        let scale = if unknown == 0 || sum > span { span / sum.max(LEAST) } else { 1.0 };
        let unknown_takes = if unknown > 0 { (span - sum * scale).max(0.0) / unknown as f32 } else { 0.0 };
        let mut passed = 0.0f64;
        for (&word, &takes) in rest.iter().zip(&self.steps) {
            passed += f64::from(if takes == 0.0 { unknown_takes } else { takes * scale });
            tell(word, (begin + passed as u64).min(over.max(begin)) / TICK * TICK);
        }
    }

    /// What a step of that kind takes, in nanoseconds; 0 if it is not known.
    #[inline]
    fn known(&self, from: u32, to: u32) -> f32 {
        let kind = &self.kinds[slot(from, to)];
        match kind.from == from && kind.to == to && kind.seen > 0.0 {
            true => self.without_overhead(kind.mean),
            false => 0.0,
        }
    }

    fn without_overhead(&self, nanos: f32) -> f32 {
        (nanos - self.overhead).max(0.0) + LEAST
    }

    fn learn(&mut self, from: u32, to: u32, nanos: u64) {
        let took = nanos as f32;
        self.measured = self.measured.wrapping_add(1);
        if self.measured < CERTAIN as u32 {
            self.overhead = took.min(self.overhead);
        }
        let mut kind = self.kinds[slot(from, to)];
        if kind.from != from || kind.to != to {
            kind = Kind { from, to, mean: took, seen: 0.0 };
        } else if kind.seen < CERTAIN && took * 8.0 < kind.mean {
            kind = Kind { mean: took, seen: 0.0, ..kind }; // the guest had been interrupted
        }
        kind.seen = (kind.seen + 1.0).min(MEMORY);
        // One in which the guest was interrupted must not count for much.
        kind.mean += (took.min(LONGEST.max(kind.mean * 16.0)) - kind.mean) / kind.seen;
        self.kinds[slot(from, to)] = kind;
        if self.measured.is_multiple_of(512) {
            let means = self.kinds.iter().filter(|kind| kind.seen >= CERTAIN).map(|kind| kind.mean);
            let least = means.fold(f32::INFINITY, f32::min);
            self.overhead = if least.is_finite() { least } else { self.overhead };
        }
    }
}

/// Where a kind of step is remembered; of two that fall together the last one measured is.
#[inline]
fn slot(from: u32, to: u32) -> usize {
    let mixed = from.wrapping_mul(0x9e37_79b1) ^ to.wrapping_mul(0x85eb_ca6b);
    (mixed >> 20) as usize % KINDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(timeline: &mut Timeline, stretch: Stretch<'_>) -> Vec<u64> {
        let mut times = Vec::new();
        timeline.share_out(&stretch, |_, at| times.push(at));
        times
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
    fn measured(timeline: &mut Timeline, from: u32, to: u32, nanos: u64) {
        let stretch = Stretch { words: &[from], next: to, begin: 1000, over: 1000 + nanos, end: 1000 + nanos };
        assert_eq!(times(timeline, stretch), [1000]);
    }

    const OVERHEAD: u64 = 40;

    #[test]
    fn time_is_shared_out_by_what_steps_take() {
        let mut timeline = Timeline::new();
        for _ in 0..100 {
            measured(&mut timeline, 1, 2, OVERHEAD + 9_000);
            measured(&mut timeline, 2, 1, OVERHEAD);
        }
        // Twice the time that the four steps are known for.
        let stretch = Stretch { words: &[1, 2, 1, 2], next: 1, begin: 0, over: 36_000, end: 36_000 };
        assert_close(times(&mut timeline, stretch), [0, 18_000, 18_000, 36_000]);
    }

    #[test]
    fn what_is_not_known_gets_what_is_left() {
        let mut timeline = Timeline::new();
        measured(&mut timeline, 2, 1, OVERHEAD);
        measured(&mut timeline, 1, 2, OVERHEAD + 1_000);
        let stretch = Stretch { words: &[1, 2, 5, 1], next: 2, begin: 0, over: 12_000, end: 12_000 };
        assert_close(times(&mut timeline, stretch), [0, 1_000, 6_000, 11_000]);
        let nothing_known = Stretch { words: &[5, 6, 7, 8], next: 5, begin: 0, over: 4_000, end: 4_000 };
        assert_close(times(&mut timeline, nothing_known), [0, 1_000, 2_000, 3_000]);
    }

    #[test]
    fn the_step_in_which_a_guest_was_idle_gets_the_time() {
        let mut timeline = Timeline::new();
        for _ in 0..10 {
            measured(&mut timeline, 1, 2, OVERHEAD + 1_000);
            measured(&mut timeline, 2, 1, OVERHEAD);
        }
        let stretch = Stretch { words: &[1, 2, 1, 2], next: 1, begin: 0, over: 150_000, end: 9_000_000 };
        assert_close(times(&mut timeline, stretch), [0, 1_000, 1_000, 2_000]);
        // Known steps never reach into the time in which nothing happened.
        let stretch = Stretch { words: &[1, 2, 1, 2], next: 1, begin: 0, over: 200, end: 9_000_000 };
        assert!(times(&mut timeline, stretch).into_iter().all(|at| at <= 200));
    }

    #[test]
    fn times_never_leave_their_stretch() {
        let mut timeline = Timeline::new();
        measured(&mut timeline, 1, 1, 5);
        for (begin, over, end) in [(0, 0, 0), (500, 100, 50), (1 << 60, (1 << 60) + 700, 1 << 61)] {
            let at = times(&mut timeline, Stretch { words: &[1; 1000], next: UNKNOWN, begin, over, end });
            assert!(at.is_sorted() || begin > over, "{begin} {over} {end}");
            assert!(at.iter().all(|at| (begin.min(over) / TICK * TICK..=over.max(begin)).contains(at)));
        }
    }
}
