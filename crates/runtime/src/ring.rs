//! What goes from the guest to the consumer.

use wasmtrace_trace::batch::{Sample, Stamp};
use wasmtrace_trace::event::EventKind;

/// What goes through the ring, with its time in nanoseconds.
#[derive(Debug)]
pub(super) enum Item {
    Event(EventKind),
    /// A call of the host, behind so many words of the buffer.
    Stamp(u64, Stamp),
    /// A call of the host that is known with its path.
    Host(Sample),
    Written(Written),
}

/// Events of the buffer that are handed over: the consumer is to read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// From one offset to another.
    pub(super) from: u32,
    pub(super) to: u32,
    /// Whether nothing more comes from that block.
    pub(super) last: bool,
    /// When all of them had happened: some time before they were handed over, if nothing did since.
    pub(super) over: u64,
    /// Whether the guest goes on by writing the next one.
    pub(super) before_event: bool,
    /// How many words the guest has written before these.
    pub(super) words: u64,
}
