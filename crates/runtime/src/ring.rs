//! Items of the ring from producer to consumer.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::buffer::Buffer;
use wasmtrace_trace::batch::{Sample, Stamp};
use wasmtrace_trace::event::EventKind;

/// An item of the ring, with its time in nanoseconds.
#[derive(Debug)]
pub(super) enum Item {
    Event(EventKind),
    /// A stamp after that many words of the buffer.
    Stamp(u64, Stamp),
    /// A host call with its call path.
    Host(Sample),
    Written(Written),
    /// Words that were copied from the buffer, because the guest will write there again.
    Copied(Box<[u32]>, Written),
}

/// Events in the buffer that were handed over, to be read by the consumer.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) buffer: Buffer,
    /// The number of blocks of this buffer that the consumer has read completely.
    pub(super) blocks_read: Arc<AtomicU64>,
    /// Start offset; `to` is the end.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether these are the last events of their block.
    pub(super) last: bool,
    /// Time by which all of them had happened. Earlier than the handover if the guest was idle.
    pub(super) over: u64,
    /// Whether the guest writes the next event as soon as it continues.
    pub(super) before_event: bool,
    /// Number of words the guest has written before these.
    pub(super) words: u64,
}
