//! Measuring host calls: duration, and the preceding event.

use std::sync::Arc;

use super::super::clock::HANDOVER;
use super::super::progress::Shared;
use super::super::ring::Item;
use super::super::sampler::Samples;
use super::Producer;
use wasmtrace_trace::batch::{Sample, Stamp};

impl Producer {
    /// The state shared with the consumer.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Enables sampling and the measurement of host calls.
    pub(crate) fn sampled_by(&mut self, samples: Arc<Samples>) {
        self.samples = Some(samples);
    }

    /// The guest calls the host or returns to it. `for_guest` if the host works for a guest's call.
    #[inline]
    pub(crate) fn enters_host(&mut self, for_guest: bool) {
        let Some(samples) = &self.samples else { return };
        samples.enter_host();
        self.host.own = false;
        self.host.began = for_guest.then(|| self.clock.now());
    }

    /// The current host call is one of our own, and not work for the guest.
    pub(crate) fn is_own_call(&mut self) {
        self.host.own = true;
    }

    /// Nanoseconds of the current host call for the guest, if there is one.
    pub(crate) fn in_host(&self) -> Option<u64> {
        let began = self.host.began.filter(|_| !self.host.own)?;
        Some(self.clock.now().saturating_sub(began))
    }

    /// The guest begins or ends: only in between does it have time of its own.
    pub(crate) fn begins_or_ends(&mut self) {
        let now = self.clock.now();
        self.send_stamp();
        let stamp = Stamp { over: now, called: now, returned: now, host: 0, before_event: false };
        let words = self.shared.position().words;
        self.send(now, Item::Stamp(words, stamp));
    }

    /// The host returns to the guest or calls it.
    #[inline]
    pub(crate) fn leaves_host(&mut self) {
        if let Some(began) = self.host.began.take().filter(|_| !self.host.own) {
            self.worked(began);
        }
        if let Some(samples) = &self.samples {
            samples.leave_host();
        }
    }

    fn worked(&mut self, began: u64) {
        let now = self.clock.now();
        let words = self.shared.position().words;
        // Calls between components call functions of the engine that take about as long as reading the clock.
        let host = now.saturating_sub(began).saturating_sub(self.clock.reading()).max(1);
        match &mut self.host.stamp {
            Some((at, stamp)) if *at == words && now.saturating_sub(stamp.called) < HANDOVER => {
                stamp.returned = now;
                stamp.host += host;
            }
            _ => {
                self.send_stamp();
                let stamp = Stamp { over: began, called: began, returned: now, host, before_event: false };
                self.host.stamp = Some((words, stamp));
            }
        }
    }

    /// Pushes a host call with its call path.
    pub(crate) fn host_call(&mut self, sample: Sample) {
        let now = self.clock.now();
        self.send(now, Item::Host(sample));
    }
}
