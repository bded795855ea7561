//! Batches → a call tree whose times are worth believing.
//!
//! Events say how often and in which order; samples say where the time went; calls of the host are measured. A run begins
//! with events that have times, by which a tree of a millisecond is better than by the ten samples that it has. After
//! [`TIMED_NANOS`] or [`TIMED_EVENTS`] it goes on without: words are counted without times, and from then on all
//! time is that of samples. If there are no samples (not on this system, not by this host), all events have times.
//!
//! # What a node's time is
//! The same for self time and total, since each is a sum over the same tree:
//!
//! ```text
//! host + [ λ · spans/Σspans + (1−λ) · samples/Σsamples ] · T₁  +  samples/Σsamples · T₂
//! ```
//!
//! *T₁* is the time for which the guest itself ran while events had times, *T₂* what came after; of both, the part that
//! samples found in inserted code is taken off. *λ* is [`PRIOR`]/([`PRIOR`] + samples): what steps take on average counts
//! like so many samples, so it decides where there are few and is forgotten where there are many (an estimate "shrunk"
//! towards a prior). With a thousand samples of a time of a quarter, the standard error is 1.4 % of the whole; that is
//! [`Accuracy::error`].

use super::batch::{Batch, MarkKind, Place, Sample, Stamp, said};
use super::profile::{Profile, Times};
use super::span_builder::{Anomalies, Change, SpanBuilder};
use super::time_model::{Step, TimeModel};
use crate::event::RunOutcome;
use crate::event::{Event, EventKind};

/// For so many nanoseconds all events have times.
pub const TIMED_NANOS: u64 = 50_000_000;

/// The same, in events: by then each kind of step that matters has been measured.
pub const TIMED_EVENTS: u64 = 500_000;

/// Fewer samples than this by then, and there will be none that are worth going on with.
const LEAST_SAMPLES: u64 = 16;

/// What the durations of spans count for at the least where nobody interrupted the guest: one is as far off as the other.
const LEAST_PRIOR_SEEN: f64 = 0.5;

/// What the durations of spans count for, in samples: a choice. They put some 20 % of the time of call-heavy programs on wrong
/// functions (`docs/times.md`), and about as much is wrong with so many samples.
pub const PRIOR: f64 = 100.0;

/// Hooks take so many times the time of the samples in them: the processor waits for what they load and store while it is
/// counted as being at the guest's instructions behind them, and their locals push the guest's out of registers. Measured on
/// three programs as the time with hooks less that without (`docs/times.md`); which function that was is not known, and
/// compensating for it by function made shares worse.
const HOOKS_TAKE: f64 = 2.7;

/// Where more than this is in hooks and in samples, how long the run takes without them is not said.
const MOST_TOLD: f64 = 0.6;

/// No more than this is taken off.
const MOST_IN_HOOKS: f64 = 0.9;

/// Builds a call tree.
#[derive(Debug, Default)]
pub struct CallTree {
    fold: SpanBuilder,
    profile: Profile,
    time_model: TimeModel,
    /// Whether events still have times.
    timing: Timing,
    events: u64,
    /// Of the stack of the fold: up to where it is that of the profile, and how many calls it has not been told of.
    low: usize,
    unsaid: u64,
    /// When the guest last went on.
    since: Option<u64>,
    parts: [Part; 2],
    /// Nanoseconds in the host, and of those that belong to no open call; in which it took what was recorded.
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

/// What was measured while events had times, or since.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    /// Nanoseconds for which the guest itself ran.
    guest: u64,
    /// Samples outside of inserted code; their weight, and that of the ones inside.
    samples: u64,
    weight: u64,
    hooks: u64,
    /// Nanoseconds that sampling took from the guest.
    cost: u64,
    /// Weight of the samples since the last stamp: so long the guest has run since, if no stamp follows.
    since_stamp: u64,
}

impl Part {
    /// The guest was interrupted.
    fn took(&mut self, sample: &Sample) {
        self.cost = self.cost.saturating_add(sample.cost);
        self.since_stamp = self.since_stamp.saturating_add(sample.weight);
    }
}

/// What the times of a tree are worth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Accuracy {
    /// How many samples they are made of; none: the durations of spans alone.
    pub samples: u64,
    /// How many of them were not taken, but seen by another thread ([`Place::Seen`]).
    pub seen: u64,
    /// How many more were taken in inserted code, and are in no function's time.
    pub in_hooks: u64,
    /// Samples that were lost, since there was no room for them.
    pub lost: u64,
    /// Nanoseconds that the run takes without hooks: an estimate, where there are samples.
    pub without_hooks: Option<u64>,
    /// Nanoseconds in the host, which are measured.
    pub host: u64,
}

impl Accuracy {
    /// Of a row with that share of the time, by how much the share may be off: twice the standard error of a share of so many
    /// samples, so that nineteen in twenty are closer.
    pub fn error(&self, share: f64) -> f64 {
        2.0 * (share * (1.0 - share) / (self.samples.max(1) as f64)).sqrt()
    }
}

impl CallTree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// One for which no event has a time: all times are those of samples.
    pub fn counting() -> Self {
        CallTree { timing: Timing::None, ..Self::default() }
    }

    /// Takes a batch, and tells of each span that it opens and closes: every event is given its time.
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

    /// Takes a batch for the tree alone.
    pub fn batch(&mut self, batch: &Batch) {
        if self.timing == Timing::Every {
            // Samples are in the tree by themselves.
            self.time_model.fits(false);
            self.spans(batch, |_| {});
            let enough = self.events > TIMED_EVENTS || self.since.is_some_and(|at| at > TIMED_NANOS);
            if enough && self.parts[0].samples + self.accuracy.in_hooks >= LEAST_SAMPLES + self.accuracy.seen {
                self.timing = Timing::None;
                // What is open has its time until here from the events, too.
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

    /// Enters and exits without times.
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

    /// An event that is not plain, at the time at which times ended.
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

    /// Ends the run after `duration` nanoseconds, or with its last event, and settles all times.
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

    /// Makes times out of what was measured.
    fn settle(&mut self, duration: u64) {
        let parts = self.parts.map(|part| Part { guest: part.guest.saturating_add(part.since_stamp), ..part });
        let [before, since] = parts;
        self.accuracy.samples = before.samples + since.samples;
        self.accuracy.host = self.host;
        if self.accuracy.samples + self.accuracy.in_hooks == 0 {
            // What spans took is all that is known, but for calls of the host where there are no spans.
            return self.interpolate([1.0, 0.0, 0.0]);
        }
        let all = Part {
            guest: before.guest.saturating_add(since.guest),
            samples: before.samples + since.samples,
            weight: before.weight.saturating_add(since.weight),
            hooks: before.hooks.saturating_add(since.hooks),
            cost: before.cost.saturating_add(since.cost),
            since_stamp: 0,
        };
        // Each part by its own samples, if they are enough to say.
        let own = |part: Part| {
            let part = if part.samples >= LEAST_SAMPLES { part } else { all };
            let in_hooks = part.hooks as f64 / (part.weight + part.hooks).max(1) as f64;
            1.0 - (HOOKS_TAKE * in_hooks).min(MOST_IN_HOOKS)
        };
        let ran = |part: Part| part.guest.saturating_sub(part.cost) as f64;
        let guest = [ran(before) * own(before), ran(since) * own(since)];
        let in_hooks = all.guest as f64 - guest[0] - guest[1];
        // Of a run that is mostly hooks, what is left is not known well enough.
        let is_known = self.accuracy.seen == 0 && in_hooks <= MOST_TOLD * all.guest as f64;
        self.accuracy.without_hooks =
            is_known.then_some(duration.saturating_sub(self.pauses).saturating_sub(in_hooks as u64));
        let in_spans: f64 = self.profile.with_measured().map(|(n, m)| n.own as f64 - m.host_in_spans.own as f64).sum();
        let mut prior = PRIOR / (PRIOR + before.samples as f64);
        if self.accuracy.seen > 0 {
            prior = prior.max(LEAST_PRIOR_SEEN);
        }
        if in_spans < 1.0 {
            prior = 0.0;
        }
        let rate = |nanos: f64, by: f64| if by >= 1.0 { nanos / by } else { 0.0 };
        // What no sample speaks of is shared out like the rest.
        let rest = if since.weight == 0 { guest[1] } else { 0.0 };
        self.interpolate([
            rate((guest[0] + rest) * prior, in_spans),
            rate((guest[0] + rest) * (1.0 - prior), before.weight as f64),
            rate(guest[1], since.weight as f64),
        ]);
    }

    /// Gives each node its times: so much of what its spans took, and of what its samples weigh.
    fn interpolate(&mut self, rates: [f64; 3]) {
        let sampled = self.accuracy.samples > 0;
        self.profile.settle(|node, measured| {
            let time = |spans: u64, of: fn(Times) -> u64| {
                // Times of events are in ticks: so this may be less than nothing by a few of them, and is left so, or times would
                // not add up.
                let spans = (spans as f64 - of(measured.host_in_spans) as f64) * rates[0];
                let [before, since] = measured.sampled.map(|sampled| of(sampled) as f64);
                let known = of(measured.host) as f64 + before * rates[1] + since * rates[2];
                ((known + spans).round().max(0.0) as u64, sampled && spans > known)
            };
            let (own, _) = time(node.own, |times| times.own);
            let (total, estimated) = time(node.total, |times| times.total);
            (node.own, node.total, node.estimated) = (own, total, estimated);
        });
    }

    /// The tree.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The same, to be changed.
    pub fn profile_mut(&mut self) -> &mut Profile {
        &mut self.profile
    }

    /// What was not as it should be.
    pub fn irregular(&self) -> &Anomalies {
        self.fold.irregular()
    }

    /// The time of the last event that has one, or of the end.
    pub fn last(&self) -> u64 {
        self.fold.last()
    }

    /// How long the run has taken, as far as that is known: to the last stamp, and by the samples since.
    pub fn elapsed(&self) -> u64 {
        let since_stamp = self.parts.iter().map(|part| part.since_stamp).fold(0, u64::saturating_add);
        self.fold.last().max(self.since.unwrap_or(0).saturating_add(since_stamp))
    }

    /// What its times are worth, once it is finished.
    pub fn accuracy(&self) -> Accuracy {
        self.accuracy
    }

    /// Samples were lost.
    pub fn lost(&mut self, samples: u64) {
        self.accuracy.lost += samples;
    }
}

/// A stamp: how long the guest ran before it, and what it waited for.
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
        // Several calls of the host, with the guest's own time in between.
        host => part.guest = part.guest.saturating_add(stood_still.saturating_sub(host)),
    }
}

fn sampled(profile: &mut Profile, part: &mut Part, accuracy: &mut Accuracy, sample: &Sample, number: usize) {
    let function = match sample.place {
        Place::Hook => {
            part.took(sample);
            accuracy.in_hooks += 1;
            part.hooks = part.hooks.saturating_add(sample.weight);
            return;
        }
        Place::Host => {
            let path = sample.path.iter().flatten().copied();
            profile.measure_path(path, false, sample.weight, |m| &mut m.host);
            return;
        }
        Place::Function { id, .. } => Some(id),
        Place::Engine => None,
        Place::Seen => {
            accuracy.seen += 1;
            None
        }
    };
    part.took(sample);
    let placed = match &sample.path {
        Some(path) => profile.measure_path(path.iter().copied(), true, sample.weight, |m| &mut m.sampled[number]),
        None => profile.measure(function, true, sample.weight, |m| &mut m.sampled[number]),
    };
    // Outside of every hooked function: nobody's time, but time.
    part.weight = part.weight.saturating_add(sample.weight);
    part.samples += u64::from(placed);
}

#[cfg(test)]
mod tests;
