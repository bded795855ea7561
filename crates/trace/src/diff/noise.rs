//! Which differences count. The head of [`super`] states the rule.

use super::run::{Run, Time};
use super::values::{Change, Spread};
use crate::calltree::{HOOKS_TAKE, MOST_IN_HOOKS};

/// A difference between a few recordings must exceed this share of the larger time, so that a time is at least doubled or
/// halved. On a machine that does other work, the time of a run of 30 ms varies by a factor of 5 (`docs/diff.md`) …
const FLOOR_OF_ROW: f64 = 0.5;

/// … and this share of the time of the whole run.
const FLOOR_OF_RUN: f64 = 0.01;

/// The floors with so many recordings that their ranges say how much the machine varies. What is left is drift: all recordings
/// of a side are made at about the same time.
const SETTLED_FLOOR_OF_ROW: f64 = 0.02;
const SETTLED_FLOOR_OF_RUN: f64 = 0.002;

/// If the ranges of two sides of one program are apart by chance more often than this, the floor of single recordings holds.
/// Five recordings on each side are enough: 2 of 252 arrangements.
const MOST_BY_CHANCE: f64 = 0.01;

/// The error of a time that is an estimate from the times of events, as a share of it: a pause of the machine can be all of it.
/// So estimates of single recordings never count.
const ERROR_OF_ESTIMATES: f64 = 1.0;

/// The standard error of a median of many values, relative to that of their mean: √(π/2).
const MEDIAN: f64 = 1.2533;

/// The sampled part of a recording.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampling {
    samples: u64,
    nanos_per_sample: f64,
    /// Twice the standard error of the share of the time that is not in hooks, relative to it. All times have this error.
    of_scale: f64,
}

impl Sampling {
    pub(super) fn of(run: &Run) -> Sampling {
        let samples = run.accuracy.samples;
        let sampled = run.all.total.nanos.saturating_sub(run.accuracy.host);
        let all = (samples + run.accuracy.in_hooks).max(1) as f64;
        let in_hooks = run.accuracy.in_hooks as f64 / all;
        let deviation = HOOKS_TAKE * (in_hooks * (1.0 - in_hooks) / all).sqrt();
        let of_scale = 2.0 * deviation / (1.0 - HOOKS_TAKE * in_hooks).max(1.0 - MOST_IN_HOOKS);
        Sampling { samples, nanos_per_sample: sampled as f64 / samples.max(1) as f64, of_scale }
    }

    /// Twice the standard error of a time, in nanoseconds. A time without samples has that of one sample.
    fn error(&self, time: &Time) -> f64 {
        let estimate = ERROR_OF_ESTIMATES * time.estimated as f64;
        if self.samples == 0 {
            return estimate;
        }
        let (all, own) = (self.samples as f64, time.samples as f64);
        let deviation = (own * (1.0 - own / all).max(0.0) + 1.0).sqrt();
        let own = estimate.max(2.0 * self.nanos_per_sample * deviation);
        own.hypot(self.of_scale * time.nanos as f64)
    }
}

/// A time in each recording of a side, with the error of each in nanoseconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings {
    nanos: Vec<u64>,
    errors: Vec<f64>,
}

impl Readings {
    pub(super) fn of<'t>(times: impl Iterator<Item = (&'t Time, &'t Sampling)>) -> Readings {
        let (nanos, errors) = times.map(|(time, sampling)| (time.nanos, sampling.error(time))).unzip();
        Readings { nanos, errors }
    }

    /// Readings that are exact.
    pub(super) fn exact(nanos: impl Iterator<Item = u64>) -> Readings {
        let (nanos, errors) = nanos.map(|nanos| (nanos, 0.0)).unzip();
        Readings { nanos, errors }
    }

    fn spread(&self) -> Spread {
        Spread::of(self.nanos.iter().copied())
    }

    /// Twice the standard error of the median.
    fn error(&self) -> f64 {
        let count = self.errors.len().max(1) as f64;
        let one = self.errors.iter().sum::<f64>() / count;
        one * (MEDIAN / count.sqrt()).min(1.0)
    }
}

/// The two sides, as far as they decide how much of a difference is noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise {
    /// Whether the recordings say how much the machine varies.
    pub(super) is_settled: bool,
    /// The floors, as shares.
    pub(super) of_row: f64,
    pub(super) of_run: f64,
    /// The time of the whole run in nanoseconds.
    run: f64,
}

impl Noise {
    /// `run`: the time of the whole run in nanoseconds.
    pub(super) fn of(recordings: [usize; 2], run: u64) -> Noise {
        let is_settled = is_settled(recordings);
        let (of_row, of_run) = match is_settled {
            true => (SETTLED_FLOOR_OF_ROW, SETTLED_FLOOR_OF_RUN),
            false => (FLOOR_OF_ROW, FLOOR_OF_RUN),
        };
        Noise { is_settled, of_row, of_run, run: run as f64 }
    }

    /// Compares a time.
    pub(super) fn time(&self, before: &Readings, after: &Readings) -> Change {
        let change = Change { before: before.spread(), after: after.spread(), is_significant: false };
        let difference = change.difference().unsigned_abs() as f64;
        let larger = change.before.median.max(change.after.median) as f64;
        let error = before.error().hypot(after.error());
        let is_significant = change.before.is_apart_from(&change.after)
            && difference > error
            && difference > self.of_row * larger
            && difference > self.of_run * self.run;
        Change { is_significant, ..change }
    }
}

/// Compares a number that has no noise unless the recordings of a side differ.
pub(super) fn count(before: impl Iterator<Item = u64>, after: impl Iterator<Item = u64>) -> Change {
    let (before, after) = (Spread::of(before), Spread::of(after));
    Change { before, after, is_significant: before.is_apart_from(&after) }
}

/// Whether so many recordings say how much the machine varies: how often the ranges of two sides of one program are apart by
/// chance.
fn is_settled([before, after]: [usize; 2]) -> bool {
    // 2 / C(before + after, before)
    let arrangements = (1..=before).fold(1.0, |product, k| product * (after + k) as f64 / k as f64);
    2.0 / arrangements <= MOST_BY_CHANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Compares times of a run of a second, each recording with 1,000 samples of a millisecond.
    fn is_significant(before: &[u64], after: &[u64]) -> bool {
        compared(before, after, |nanos| Time { nanos, samples: nanos / MS, estimated: 0 }, 1_000)
    }

    fn compared(before: &[u64], after: &[u64], time: fn(u64) -> Time, samples: u64) -> bool {
        let sampling =
            Sampling { samples, nanos_per_sample: 1000.0 * MS as f64 / samples.max(1) as f64, of_scale: 0.0 };
        let readings = |nanos: &[u64]| {
            let times: Vec<Time> = nanos.iter().map(|nanos| time(*nanos)).collect();
            Readings::of(times.iter().map(|time| (time, &sampling)))
        };
        let noise = Noise::of([before.len(), after.len()], 1000 * MS);
        noise.time(&readings(before), &readings(after)).is_significant
    }

    const EXACT: fn(u64) -> Time = |nanos| Time { nanos, samples: 0, estimated: 0 };

    #[test]
    fn single_recordings_have_a_floor() {
        // Half of the larger time.
        assert!(!is_significant(&[450 * MS], &[900 * MS]) && !is_significant(&[900 * MS], &[450 * MS]));
        assert!(is_significant(&[440 * MS], &[900 * MS]) && is_significant(&[900 * MS], &[440 * MS]));
        // A hundredth of the run.
        assert!(!compared(&[0], &[10 * MS], EXACT, 0));
        assert!(compared(&[0], &[11 * MS], EXACT, 0));
    }

    #[test]
    fn samples_have_an_error() {
        // 4 samples of 1,000 are exact to 4.5 of them, 12 to 7.2; the difference of both to 8.5.
        assert!(!is_significant(&[4 * MS], &[12 * MS]));
        assert!(compared(&[4 * MS], &[16 * MS], EXACT, 0));
        assert!(is_significant(&[4 * MS], &[20 * MS]));
        // With a tenth of the samples, 2 and 10 of them.
        let time = |nanos| Time { nanos, samples: nanos / (10 * MS), estimated: 0 };
        assert!(!compared(&[20 * MS], &[80 * MS], time, 100));
        assert!(is_significant(&[20 * MS], &[80 * MS]));
        // The median of five has half the error.
        assert!(is_significant(&[4 * MS; 5], &[12 * MS; 5]));
        // A function that is in two samples, and then in none.
        assert!(!is_significant(&[2 * MS], &[0]));
    }

    #[test]
    fn estimates_have_a_large_error() {
        let estimate = |nanos| Time { nanos, samples: 0, estimated: nanos };
        assert!(!compared(&[100 * MS; 5], &[130 * MS; 5], estimate, 1_000_000));
        assert!(!compared(&[0], &[900 * MS], estimate, 1_000_000));
        assert!(compared(&[100 * MS; 5], &[130 * MS; 5], EXACT, 0));
        assert!(compared(&[100 * MS; 5], &[300 * MS; 5], estimate, 1_000_000));
    }

    /// How much time hooks take is found from samples, and all other times are what is left.
    #[test]
    fn samples_in_hooks_are_an_error_of_all_times() {
        let sampling = |of_scale| Sampling { samples: 1_000_000, nanos_per_sample: 1_000.0, of_scale };
        let is_significant = |of_scale: f64| {
            let (before, after) =
                (Time { nanos: 100 * MS, ..Time::default() }, Time { nanos: 300 * MS, ..Time::default() });
            let readings = |time: &Time| Readings::of([(time, &sampling(of_scale))].into_iter());
            Noise::of([1, 1], 1000 * MS).time(&readings(&before), &readings(&after)).is_significant
        };
        assert!(is_significant(0.1) && !is_significant(0.7));
    }

    #[test]
    fn five_recordings_say_how_much_the_machine_varies() {
        assert!(is_settled([5, 5]) && is_settled([4, 6]) && is_settled([1, 199]));
        assert!(!is_settled([1, 1]) && !is_settled([4, 4]) && !is_settled([1, 198]) && !is_settled([2, 9]));
        let (before, after) = ([800 * MS; 5], [870 * MS; 5]);
        assert!(is_significant(&before, &after));
        assert!(!is_significant(&before[..1], &after[..1]));
        let ms = |times: [u64; 5]| times.map(|time| time * MS);
        assert!(is_significant(&ms([800, 790, 810, 805, 795]), &ms([870, 860, 880, 875, 811])));
        assert!(!is_significant(&ms([800, 790, 810, 805, 795]), &ms([870, 860, 880, 875, 810])), "the ranges touch");
        assert!(!is_significant(&ms([800; 5]), &ms([815; 5])), "below the floor");
    }

    #[test]
    fn counts_are_exact_unless_they_vary() {
        let is_significant =
            |before: &[u64], after: &[u64]| count(before.iter().copied(), after.iter().copied()).is_significant;
        assert!(is_significant(&[1], &[2]) && !is_significant(&[1], &[1]));
        assert!(!is_significant(&[1, 3], &[2, 2]) && is_significant(&[1, 3], &[4]));
    }
}
