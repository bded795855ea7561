//! Both ends of the ring between the guest and the consumer.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use crate::clock::Clock;
use crate::consumer::Consumer;
use crate::producer::{Producer, Settings};
use crate::progress::Shared;

/// Entries of the ring.
const RING: usize = 64 * 1024;

/// Both ends of a new ring.
pub(super) fn channel<'m>(
    clock: Arc<Clock>,
    interrupt: Arc<AtomicI32>,
    settings: Settings,
) -> (Producer, Consumer<'m>) {
    let (ring, taken) = rtrb::RingBuffer::new(RING);
    let shared = Arc::new(Shared::default());
    let consumer = Consumer::new(clock.clone(), taken, shared.clone(), settings.min_duration);
    (Producer::new(clock, ring, shared, interrupt, settings), consumer)
}
