//! Both ends of the ring between the guest and the consumer.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use crate::clock::Clock;
use crate::progress::Shared;
use crate::recorder::{Recorder, Settings};
use crate::taker::Taker;

/// Entries of the ring.
const RING: usize = 64 * 1024;

/// Both ends of a new ring.
pub(super) fn channel<'m>(clock: Arc<Clock>, interrupt: Arc<AtomicI32>, settings: Settings) -> (Recorder, Taker<'m>) {
    let (ring, taken) = rtrb::RingBuffer::new(RING);
    let shared = Arc::new(Shared::default());
    let taker = Taker::new(clock.clone(), taken, shared.clone(), settings.min_duration);
    (Recorder::new(clock, ring, shared, interrupt, settings), taker)
}
