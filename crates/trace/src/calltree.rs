//! Builds a call tree from batches, with reliable times.
//!
//! Events give the number and the order of calls, samples give the distribution of time, and host calls are measured.
//! Event times are used at the beginning of a run: for a run of a millisecond they are more precise than its ten
//! samples. After [`TIMED_NANOS`] or [`TIMED_EVENTS`], words are counted without times, and all further time comes from
//! samples. If there are no samples (because of the system or the host), all events get times.
//!
//! # Times of a node
//! Self time and total are computed in the same way, since both are sums over the same tree:
//!
//! ```text
//! host + [ λ · spans/Σspans + (1−λ) · samples/Σsamples ] · T₁  +  samples/Σsamples · T₂
//! ```
//!
//! *T₁* is the time for which the guest itself ran while events had times, *T₂* the time after that. The part that
//! samples found in injected code is subtracted from both. *λ* is `PRIOR`/(`PRIOR` + samples): span durations count
//! like that many samples, so they dominate if there are few samples and become irrelevant if there are many (a
//! shrinkage estimate). With 1,000 samples, a row with 25 % of the time has a standard error of 1.4 points; see
//! [`Accuracy::error`].

use super::batch::{Batch, MarkKind, Place, Sample, Stamp, said};
use super::profile::{Profile, Times};
use super::span_builder::{Anomalies, Change, SpanBuilder};
use super::time_model::{Step, TimeModel};
use crate::event::RunOutcome;
use crate::event::{Event, EventKind};

/// Events get times during the first so many nanoseconds of a run.
pub const TIMED_NANOS: u64 = 50_000_000;

/// Events get times for at most so many events. By then, each relevant kind of step has been measured.
pub const TIMED_EVENTS: u64 = 500_000;

/// Minimum number of samples at that point; with fewer, all events keep getting times.
const LEAST_SAMPLES: u64 = 16;

/// Minimum weight of span durations if no sample interrupted the guest: both sources are then equally imprecise.
const LEAST_PRIOR_SEEN: f64 = 0.5;

/// Weight of span durations, as a number of samples. Durations alone attribute about 20 % of the time of call-heavy
/// programs to the wrong functions (`docs/times.md`); this many samples have about the same error.
const PRIOR: f64 = 100.0;

/// Ratio of the time that hooks take to the time that samples find in them. Samples miss the memory latency that shows
/// at later instructions, and the registers that hooks displace. Measured on three programs as the time with hooks
/// minus the time without (`docs/times.md`). The cost by function is not known, and compensating for it made shares
/// worse.
pub(crate) const HOOKS_TAKE: f64 = 2.7;

/// The same ratio if hooks call a hook module: samples find most of their time there. Five components gave 1.1 to 2.2.
const HOOK_MODULES_TAKE: f64 = 1.7;

/// If hooks take more than this share of the samples, the duration without hooks is not reported.
const MOST_TOLD: f64 = 0.6;

/// Maximum share of the time that is deducted for hooks.
pub(crate) const MOST_IN_HOOKS: f64 = 0.9;

/// Builds a call tree from batches.
#[derive(Debug, Default)]
pub struct CallTree {
    fold: SpanBuilder,
    profile: Profile,
    time_model: TimeModel,
    /// Whether events still get times.
    timing: Timing,
    events: u64,
    /// Number of open spans at the bottom of the span builder's stack that the profile agrees with, and the number of
    /// calls that the builder has not seen.
    low: usize,
    unsaid: u64,
    /// Time at which the guest last continued.
    since: Option<u64>,
    parts: [Part; 2],
    /// Nanoseconds in the host; the part of them outside of every open call; nanoseconds for consuming events.
    host: u64,
    pauses: u64,
    accuracy: Accuracy,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Timing {
    #[default]
    Every,
    None,
}

/// Measurements of one part of the run: while events had times, or after that.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Nanoseconds for which the guest itself ran.
    guest: u64,
    /// Number of samples outside of injected code, their weight, and the weight of those inside of it.
    samples: u64,
    weight: u64,
    hooks: u64,
    /// Whether a sample was in a hook module.
    has_hook_module: bool,
    /// Nanoseconds that sampling cost the guest.
    cost: u64,
    /// Weight of the samples since the last stamp. The guest has run for about this time if no stamp follows.
    since_stamp: u64,
}

impl Part {
    /// Adds a sample.
    fn took(&mut self, sample: &Sample) {
        self.cost = self.cost.saturating_add(sample.cost);
        self.since_stamp = self.since_stamp.saturating_add(sample.weight);
    }
}

/// The accuracy of the times of a call tree.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Accuracy {
    /// Number of samples that the times are made of. 0 if the times come from span durations only.
    pub samples: u64,
    /// Number of samples that were observed by another thread instead of taken by an interrupt ([`Place::Seen`]).
    pub seen: u64,
    /// Number of further samples in injected code, which belong to no function.
    pub in_hooks: u64,
    /// Number of samples that were lost because a buffer was full.
    pub lost: u64,
    /// Estimated duration of the run without hooks, in nanoseconds. `None` without samples.
    pub without_hooks: Option<u64>,
    /// Measured nanoseconds in the host.
    pub host: u64,
}

impl Accuracy {
    /// Estimated error of a row that has this share of the time: twice the standard error of a share of so many
    /// samples. 19 of 20 rows are closer than this.
    pub fn error(&self, share: f64) -> f64 {
        2.0 * (share * (1.0 - share) / (self.samples.max(1) as f64)).sqrt()
    }
}

impl CallTree {
    /// Creates an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a tree for batches without event times: all times come from samples.
    pub fn counting() -> Self {
        CallTree { timing: Timing::None, ..Self::default() }
    }

    /// Adds a batch and calls `tell` for each span that it opens or closes. All events get times.
    #[inline]
    pub fn spans(&mut self, batch: &Batch, mut tell: impl FnMut(&Change<'_>)) {
        let CallTree { fold, profile, time_model, parts, since, host, pauses, accuracy, .. } = self;
        time_model.batch(batch, |step| match step {
            Step::Event(event) => fold.event(event, &mut |change| {
                profile.change(change);
                tell(change);
            }),
            Step::Sample(sample) => sampled(profile, &mut parts[0], accuracy, sample, 0),
            Step::Stamp(stamp) => {
                stamped(parts, 0, since, (host, pauses), stamp);
                if stamp.host > 0 {
                    profile.measure(None, false, stamp.host, |m| &mut m.host);
                    profile.measure(None, false, stamp.host, |m| &mut m.host_in_spans);
                }
            }
        });
        self.events += batch.events();
    }

    /// Adds a batch to the tree, without reporting spans.
    pub fn batch(&mut self, batch: &Batch) {
        if self.timing == Timing::Every {
            // Samples go into the tree directly, so they need not correct the time model.
            self.time_model.fits(false);
            self.spans(batch, |_| {});
            let enough = self.events > TIMED_EVENTS || self.since.is_some_and(|at| at > TIMED_NANOS);
            if enough && self.parts[0].samples + self.accuracy.in_hooks >= LEAST_SAMPLES + self.accuracy.seen {
                self.timing = Timing::None;
                // Open spans keep the time that events have given them so far.
                let taken = self.fold.restart(self.since.unwrap_or(0));
                self.profile.credit(&taken);
                self.low = self.profile.depth();
            }
            return;
        }
        let mut from = 0;
        for mark in &batch.marks {
            self.words(&batch.words[from..mark.at]);
            from = mark.at;
            match &mark.kind {
                MarkKind::Stamp(stamp) => {
                    stamped(&mut self.parts, 1, &mut self.since, (&mut self.host, &mut self.pauses), stamp);
                    if stamp.host > 0 {
                        self.profile.measure(None, false, stamp.host, |m| &mut m.host);
                    }
                }
                MarkKind::Sample(sample) => {
                    sampled(&mut self.profile, &mut self.parts[1], &mut self.accuracy, sample, 1);
                }
                MarkKind::Event(event) => self.slowly(event.kind.clone()),
            }
        }
        self.words(&batch.words[from..]);
        self.events += batch.events();
    }

    /// Adds entries and exits without times.
    fn words(&mut self, mut words: &[u32]) {
        while !words.is_empty() {
            let taken = match self.fold.has_anomalies() {
                true => 0,
                false => {
                    let (taken, calls) = self.profile.words(words, &mut self.low);
                    self.unsaid += calls;
                    taken
                }
            };
            words = &words[taken..];
            if let Some((word, rest)) = words.split_first() {
                let (first, second) = said(*word);
                self.slowly(first);
                second.into_iter().for_each(|second| self.slowly(second));
                words = rest;
            }
        }
    }

    /// Adds any other event at the time at which event times ended.
    fn slowly(&mut self, kind: EventKind) {
        self.catch_up();
        let (fold, profile) = (&mut self.fold, &mut self.profile);
        fold.event(&Event { at: 0, kind }, &mut |change| profile.change(change));
        self.low = self.profile.depth();
    }

    fn catch_up(&mut self) {
        if !self.fold.has_anomalies() {
            let low = self.low.min(self.profile.depth());
            self.fold.catch_up(low, self.profile.open_from(low), std::mem::take(&mut self.unsaid));
        }
    }

    /// Ends the run after `duration` nanoseconds, or at its last event if that is later, and computes all times.
    pub fn finish(&mut self, ending: &RunOutcome, duration: u64, mut tell: impl FnMut(&Change<'_>)) {
        let end = match self.timing {
            Timing::Every => duration.max(self.fold.last()),
            Timing::None => {
                self.catch_up();
                self.fold.last()
            }
        };
        let (fold, profile) = (&mut self.fold, &mut self.profile);
        fold.finish(end, ending, &mut |change| {
            profile.change(change);
            tell(change);
        });
        self.settle(duration);
    }

    /// Computes the times of all nodes from the measurements.
    fn settle(&mut self, duration: u64) {
        let parts = self.parts.map(|part| Part { guest: part.guest.saturating_add(part.since_stamp), ..part });
        let [before, since] = parts;
        self.accuracy.samples = before.samples + since.samples;
        self.accuracy.host = self.host;
        if self.accuracy.samples + self.accuracy.in_hooks == 0 {
            // Without samples, span durations are the only source, apart from host calls outside of spans.
            return self.interpolate([1.0, 0.0, 0.0]);
        }
        let all = Part {
            guest: before.guest.saturating_add(since.guest),
            samples: before.samples + since.samples,
            weight: before.weight.saturating_add(since.weight),
            hooks: before.hooks.saturating_add(since.hooks),
            has_hook_module: before.has_hook_module || since.has_hook_module,
            cost: before.cost.saturating_add(since.cost),
            since_stamp: 0,
        };
        let take = if all.has_hook_module { HOOK_MODULES_TAKE } else { HOOKS_TAKE };
        // Each part uses its own samples if there are enough.
        let own = |part: Part| {
            let part = if part.samples >= LEAST_SAMPLES { part } else { all };
            let in_hooks = part.hooks as f64 / (part.weight + part.hooks).max(1) as f64;
            1.0 - (take * in_hooks).min(MOST_IN_HOOKS)
        };
        let ran = |part: Part| part.guest.saturating_sub(part.cost) as f64;
        let guest = [ran(before) * own(before), ran(since) * own(since)];
        let in_hooks = all.guest as f64 - guest[0] - guest[1];
        // If a run is mostly hooks, the rest is too imprecise to report.
        let is_known = self.accuracy.seen == 0 && in_hooks <= MOST_TOLD * all.guest as f64;
        self.accuracy.without_hooks =
            is_known.then_some(duration.saturating_sub(self.pauses).saturating_sub(in_hooks as u64));
        let in_spans: f64 =
            self.profile.with_measured().map(|(n, m)| n.self_time as f64 - m.host_in_spans.self_time as f64).sum();
        let mut prior = PRIOR / (PRIOR + before.samples as f64);
        if self.accuracy.seen > 0 {
            prior = prior.max(LEAST_PRIOR_SEEN);
        }
        if in_spans < 1.0 {
            prior = 0.0;
        }
        let rate = |nanos: f64, by: f64| if by >= 1.0 { nanos / by } else { 0.0 };
        // Time without samples is distributed like the rest.
        let rest = if since.weight == 0 { guest[1] } else { 0.0 };
        self.interpolate([
            rate((guest[0] + rest) * prior, in_spans),
            rate((guest[0] + rest) * (1.0 - prior), before.weight as f64),
            rate(guest[1], since.weight as f64),
        ]);
    }

    /// Computes the times of each node as a weighted sum of its span durations and its samples.
    fn interpolate(&mut self, rates: [f64; 3]) {
        let sampled = self.accuracy.samples > 0;
        self.profile.settle(|node, measured| {
            let time = |spans: u64, of: fn(Times) -> u64| {
                // Event times are in ticks, so this can be slightly negative. It stays so, because otherwise times
                // would not add up.
                let spans = (spans as f64 - of(measured.host_in_spans) as f64) * rates[0];
                let [before, since] = measured.sampled.map(|sampled| of(sampled) as f64);
                let known = of(measured.host) as f64 + before * rates[1] + since * rates[2];
                ((known + spans).round().max(0.0) as u64, sampled && spans > known)
            };
            let (own, _) = time(node.self_time, |times| times.self_time);
            let (total, estimated) = time(node.total, |times| times.total);
            (node.self_time, node.total, node.estimated) = (own, total, estimated);
            node.host = (measured.host.self_time, measured.host.total);
        });
    }

    /// The call tree.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The anomalies found so far.
    pub fn anomalies(&self) -> &Anomalies {
        self.fold.anomalies()
    }

    /// Time of the last event that has one, or of the end of the run, in nanoseconds.
    pub fn last(&self) -> u64 {
        self.fold.last()
    }

    /// Duration of the run so far, in nanoseconds: up to the last stamp, plus the weight of later samples.
    pub fn elapsed(&self) -> u64 {
        let since_stamp = self.parts.iter().map(|part| part.since_stamp).fold(0, u64::saturating_add);
        self.fold.last().max(self.since.unwrap_or(0).saturating_add(since_stamp))
    }

    /// The accuracy of the times. Only complete after [`CallTree::finish`].
    pub fn accuracy(&self) -> Accuracy {
        self.accuracy
    }

    /// Adds a number of lost samples.
    pub fn lost(&mut self, samples: u64) {
        self.accuracy.lost += samples;
    }
}

/// Adds a stamp: how long the guest ran before it, and for how long it was stopped.
fn stamped(
    parts: &mut [Part; 2],
    number: usize,
    since: &mut Option<u64>,
    (host, pauses): (&mut u64, &mut u64),
    stamp: &Stamp,
) {
    parts.iter_mut().for_each(|part| part.since_stamp = 0);
    let part = &mut parts[number];
    let stood_still = stamp.returned.saturating_sub(stamp.called);
    if let Some(since) = since {
        part.guest = part.guest.saturating_add(stamp.called.saturating_sub(*since));
    }
    *since = Some(stamp.returned);
    *host = host.saturating_add(stamp.host);
    match stamp.host {
        0 => *pauses = pauses.saturating_add(stood_still),
        // Several host calls, with guest time between them.
        host => part.guest = part.guest.saturating_add(stood_still.saturating_sub(host)),
    }
}

fn sampled(profile: &mut Profile, part: &mut Part, accuracy: &mut Accuracy, sample: &Sample, number: usize) {
    let (function, offset) = match sample.place {
        place @ (Place::Hook | Place::HookModule) => {
            part.took(sample);
            part.has_hook_module |= place == Place::HookModule;
            accuracy.in_hooks += 1;
            part.hooks = part.hooks.saturating_add(sample.weight);
            return;
        }
        Place::Host => {
            let path = sample.path.iter().flatten().copied();
            profile.measure_path(path, false, sample.weight, |m| &mut m.host);
            return;
        }
        Place::Function { id, offset } => (Some(id), offset),
        Place::Engine => (None, None),
        Place::Seen => {
            accuracy.seen += 1;
            (None, None)
        }
    };
    part.took(sample);
    let placed = match &sample.path {
        Some(path) => profile.measure_path(path.iter().copied(), true, sample.weight, |m| &mut m.sampled[number]),
        None => profile.measure(function, true, sample.weight, |m| &mut m.sampled[number]),
    };
    // Outside of every hooked function: the time counts, but belongs to no node.
    part.weight = part.weight.saturating_add(sample.weight);
    part.samples += u64::from(placed.is_some());
    if let (Some(node), Some(function), Some(offset)) = (placed, function, offset) {
        profile.sampled_at(node, function, offset);
    }
}

#[cfg(test)]
mod tests;
