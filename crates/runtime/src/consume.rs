//! The consumer's loop: consumes events while the guest runs, and detects its end.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use super::clock::HANDOVER;
use super::consumer::Consumer;
use wasmtrace_trace::batch::{Batch, MarkKind};
use wasmtrace_trace::event::Event;
use wasmtrace_trace::time_model::TimeModel;

/// Approximate number of events in a batch; a block may exceed it.
const BATCH: usize = 16_384;

/// Interval for polling an empty ring. A guest takes longer to fill it.
const IDLE: Duration = Duration::from_micros(100);

/// Time for a guest to end after it was asked to.
const GRACE: Duration = Duration::from_secs(1);

/// Turns a consumer of events into a consumer of batches by estimating event times.
pub(super) fn with_times(mut consume_some: impl FnMut(&[Event])) -> impl FnMut(&Batch) {
    let (mut time_model, mut events) = (TimeModel::new(), Vec::new());
    move |batch| {
        events.clear();
        time_model.events(batch, &mut events);
        consume_some(&events);
    }
}

/// Consumes events until the guest is done. Returns the time of the last event in nanoseconds.
pub(super) fn consume_all(consumer: Consumer<'_>, consume_some: impl FnMut(&Batch)) -> u64 {
    consume(consumer, &AtomicI32::new(0), consume_some).last
}

/// The result of consuming.
pub(super) struct Consumed {
    /// Whether the guest did not end in time and was abandoned.
    pub(super) abandoned: bool,
    /// Time of the last event in nanoseconds.
    pub(super) last: u64,
    pub(super) samples_lost: u64,
}

/// Consumes events until the guest is done, or has not ended in time after it was asked to.
pub(super) fn consume(mut consumer: Consumer<'_>, interrupt: &AtomicI32, mut consume: impl FnMut(&Batch)) -> Consumed {
    let mut batch = Batch::default();
    let mut asked_to_end: Option<Instant> = None;
    let mut consumed = Instant::now();
    let end = |consumer: &Consumer<'_>, abandoned| Consumed {
        abandoned,
        last: consumer.last(),
        samples_lost: consumer.lost(),
    };
    loop {
        batch.clear();
        consumer.look();
        consumer.take(&mut batch, BATCH);
        // A guest without words is idle, even if it is sampled.
        let idle = batch.words.is_empty() && batch.marks.iter().all(|mark| matches!(mark.kind, MarkKind::Sample(_)));
        if idle {
            consumer.peek(&mut batch, false);
        }
        if !batch.is_empty() || consumed.elapsed().as_nanos() as u64 > HANDOVER {
            consume(&batch);
            consumed = Instant::now();
        }
        if idle {
            if consumer.is_over() {
                return end(&consumer, false);
            }
            std::thread::sleep(IDLE);
        }
        let signal = interrupt.load(Ordering::Relaxed);
        let grace = if signal < 0 { Duration::ZERO } else { GRACE };
        let since = asked_to_end.filter(|_| signal != 0);
        if signal != 0 && (since.is_none() || !idle) {
            // While there are events to consume, the guest may be waiting for the consumer.
            asked_to_end = Some(Instant::now());
        } else if since.is_some_and(|since| since.elapsed() > grace) {
            batch.clear();
            consumer.peek(&mut batch, true);
            consumer.stop(&mut batch);
            consume(&batch);
            return end(&consumer, true);
        }
    }
}
