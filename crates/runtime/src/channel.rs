//! Creating the ring between the producer (the guest's thread) and the consumer.

use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use crate::clock::Clock;
use crate::consumer::Consumer;
use crate::producer::{Producer, Settings};
use crate::progress::Shared;

/// Number of entries of the ring.
const RING: usize = 64 * 1024;

/// Creates a ring with its producer and its consumer.
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
