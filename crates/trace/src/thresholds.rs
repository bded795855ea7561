//! The thresholds that keep a file within its budget.
//!
//! A run of a second has some hundred million calls, and no viewer opens as many. So a file has a number of spans, the
//! longest ones, and shorter calls are merged ([`super::merger`]). The thresholds follow from the durations of all spans:
//! a first pass counts them, and only if there are too many, a second one counts the merged spans.

use super::budget::{Budget, Thresholds};
use super::merger::Merger;
use super::span_builder::Change;

/// The share of the spans that are single calls; the others are merged ones.
const ALONE: f64 = 0.75;

/// Thresholds, and the number of spans that reach them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fitted {
    /// The thresholds.
    pub thresholds: Thresholds,
    /// Number of spans of the output.
    pub spans: u64,
}

/// Finds the thresholds for a run. `replay` calls its argument with each change of the run; it is called up to two
/// times.
///
/// # Errors
/// Those of `replay`.
pub fn thresholds<E>(
    budget: &Budget,
    mut replay: impl FnMut(&mut dyn FnMut(&Change<'_>)) -> Result<(), E>,
) -> Result<Fitted, E> {
    let least = budget.min_duration;
    let mut thresholds = Thresholds { alone: least, merged: least, ..Thresholds::default() };
    let mut count = |thresholds: Thresholds| -> Result<[Durations; 2], E> {
        let mut durations = [Durations::default(), Durations::default()];
        let mut merger = Merger::new(budget.clone(), thresholds);
        let mut tell = |change: &Change<'_>| {
            if let Change::Closed { span, .. } = change {
                let nanos = span.end - span.start;
                let is_merged = span.calls > 1 || nanos < thresholds.alone;
                durations[usize::from(is_merged)].add(nanos);
            }
        };
        replay(&mut |change| merger.change(change, &mut tell))?;
        merger.finish(&mut tell);
        // Those that were written although they are shorter are all in one bucket.
        let [alone, merged] = &mut durations;
        let ties = merger.ties();
        alone.count += ties;
        merged.count = merged.count.saturating_sub(ties);
        let bucket = &mut merged.buckets[bucket(thresholds.tie)];
        *bucket = bucket.saturating_sub(ties);
        Ok(durations)
    };
    let [alone, merged] = count(thresholds)?;
    let most = budget.max_spans.unwrap_or(u64::MAX);
    if alone.count + merged.count <= most {
        return Ok(Fitted { thresholds, spans: alone.count + merged.count });
    }
    let most_alone = (most as f64 * ALONE).ceil() as u64;
    thresholds.alone = alone.threshold(most_alone).max(least);
    thresholds.tie = alone.tie(most_alone).max(least);
    thresholds.ties = most_alone.saturating_sub(alone.reaching(thresholds.alone));
    let [alone, merged] = count(thresholds)?;
    thresholds.merged = merged.threshold(most.saturating_sub(alone.count)).max(least);
    Ok(Fitted { thresholds, spans: alone.count + merged.reaching(thresholds.merged) })
}

/// Steps within a power of two.
const STEPS: u32 = 256;

/// A histogram of durations. Each power of two has [`STEPS`] buckets, so a threshold is at most 0.4 % above the best one.
#[derive(Debug)]
struct Durations {
    count: u64,
    buckets: Vec<u64>,
}

impl Default for Durations {
    fn default() -> Self {
        Durations { count: 0, buckets: vec![0; 64 * STEPS as usize] }
    }
}

impl Durations {
    fn add(&mut self, nanos: u64) {
        self.count += 1;
        self.buckets[bucket(nanos)] += 1;
    }

    /// Number of durations in the buckets from this threshold on.
    fn reaching(&self, threshold: u64) -> u64 {
        self.buckets[bucket(threshold)..].iter().sum()
    }

    /// The last bucket, from the longest durations on, that does not fit into `most` as a whole.
    fn full(&self, most: u64) -> Option<usize> {
        let mut reach = 0;
        (0..self.buckets.len()).rev().find(|at| {
            reach += self.buckets[*at];
            reach > most
        })
    }

    /// The least duration in that bucket.
    fn tie(&self, most: u64) -> u64 {
        self.full(most).map_or(0, lower_bound)
    }

    /// The least threshold at which at most `most` durations reach it.
    fn threshold(&self, most: u64) -> u64 {
        self.full(most).map_or(0, |full| {
            (full + 1..).map(lower_bound).find(|bound| *bound > lower_bound(full)).unwrap_or(u64::MAX)
        })
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < u64::from(STEPS) {
        return nanos as usize;
    }
    let power = nanos.ilog2() - STEPS.ilog2();
    ((power * STEPS) as u64 + (nanos >> power)) as usize
}

fn lower_bound(bucket: usize) -> u64 {
    let (bucket, steps) = (bucket as u64, u64::from(STEPS));
    if bucket < 2 * steps {
        return bucket;
    }
    let power = bucket / steps - 1;
    (bucket % steps + steps).checked_shl(power as u32).filter(|bound| bound >> power >= steps).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_begin_at_their_lower_bound() {
        for nanos in (0..5_000).chain([1 << 40, u64::MAX]) {
            let bucket = bucket(nanos);
            assert!(lower_bound(bucket) <= nanos && nanos - lower_bound(bucket) <= nanos / 256, "{nanos}");
            assert_eq!(super::bucket(lower_bound(bucket)), bucket, "{nanos}");
        }
    }

    #[test]
    fn a_threshold_admits_at_most_as_many() {
        let mut durations = Durations::default();
        (1..=1_000).for_each(|nanos| durations.add(nanos));
        for most in [0, 1, 10, 500, 999, 1_000] {
            let threshold = durations.threshold(most);
            let reach = (1..=1_000).filter(|nanos| *nanos >= threshold).count() as u64;
            assert!(reach <= most && reach + most / 128 + 1_000 / 256 >= most, "{most}: {threshold}, {reach}");
        }
        assert_eq!(durations.threshold(1_000), 0);
    }
}
