//! Recorded events in a form that is cheap to consume: a sequence of words, with marks between them.
//!
//! A word says that a function was entered or left (see [`wasmtrace_abi::buffer::word`]), without a time. Marks carry
//! the times: a [`Stamp`] for each call of the host, and a [`Sample`] for each interrupt of the guest.
//! [`super::time_model`] estimates the time of each event from words and stamps. A call tree does not need these times;
//! it distributes time by samples (see [`super::calltree`]).

use crate::event::{Event, EventKind};
use wasmtrace_abi::buffer::{Kind, is_leaf, meaning, word};
use wasmtrace_abi::hook::ProbeId;

/// A batch of recorded events: function entries and exits as words, with marks between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Event words of the kinds [`Kind::Enter`], [`Kind::Exit`] and [`Kind::Leaf`]; the last is an entry and an exit.
    pub words: Vec<u32>,
    /// Marks by ascending [`Mark::at`]. Marks at the same position are in the order in which they happened.
    pub marks: Vec<Mark>,
}

/// A mark between two words of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Number of words of the batch that precede the mark.
    pub at: usize,
    /// The contents of the mark.
    pub kind: MarkKind,
}

/// The contents of a [`Mark`].
#[derive(Debug, Clone, PartialEq)]
pub enum MarkKind {
    /// The guest called the host.
    Stamp(Stamp),
    /// The guest was interrupted for a sample.
    Sample(Sample),
    /// An event that has no word: it has its own time, or its kind is rare.
    Event(Event),
}

/// A call of the host, of which begin and end are known exactly. All times are nanoseconds since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The time of the last event before the stamp. Earlier than `called` if the guest was idle in between.
    pub over: u64,
    /// The time at which the guest called the host.
    pub called: u64,
    /// The time at which the guest continued. It was stopped in between.
    pub returned: u64,
    /// Nanoseconds of host work for the guest; 0 if the host only consumed events.
    pub host: u64,
    /// Whether the next event happened immediately after the guest continued.
    pub before_event: bool,
}

/// A sample: the guest was interrupted at a random moment outside of the host.
///
/// Without hooks, calls of the host are samples too, with their call paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds that the sample represents: the mean interval between samples at that time. For [`Place::Host`], the
    /// duration of the call.
    pub weight: u64,
    /// Approximate nanoseconds for which the sample stopped the guest.
    pub cost: u64,
    /// The place in the code at which the guest was.
    pub place: Place,
    /// The open calls including the current one, outermost first. Only set for runs without hooks.
    pub path: Option<Box<[ProbeId]>>,
}

/// The place in the code at which a sample was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In injected code. The program does not spend this time without hooks.
    Hook,
    /// In the module of a component that the hooks of its other modules call. It is injected code too.
    HookModule,
    /// In this function.
    Function {
        /// The function.
        id: ProbeId,
        /// Offset of the instruction in the module that ran, or of one nearby, in bytes. `None` if the engine does not
        /// know it.
        offset: Option<u32>,
    },
    /// In code of the engine that works for the innermost call.
    Engine,
    /// Estimated by another thread from the guest's progress, without an interrupt. The guest was in the innermost call
    /// at that time, in a later callee, or in hooks, so these samples favour callers.
    Seen,
    /// In a call of the host by the innermost call. The duration is measured, not sampled.
    Host,
}

impl Batch {
    /// Removes all words and marks, and keeps the memory.
    pub fn clear(&mut self) {
        self.words.clear();
        self.marks.clear();
    }

    /// Whether the batch has no words and no marks.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.marks.is_empty()
    }

    /// Number of events in the batch.
    pub fn events(&self) -> u64 {
        let marks = self.marks.iter().filter(|mark| matches!(mark.kind, MarkKind::Event(_)));
        events_of(&self.words) + marks.count() as u64
    }

    /// The latest known time in the batch, in nanoseconds; 0 if none is known.
    pub fn last(&self) -> u64 {
        let times = self.marks.iter().rev().filter_map(|mark| match &mark.kind {
            MarkKind::Stamp(stamp) => Some(stamp.over),
            MarkKind::Event(event) if event.at > 0 => Some(event.at),
            _ => None,
        });
        times.take(1).max().unwrap_or(0)
    }

    /// Appends a mark after all words.
    pub fn mark(&mut self, kind: MarkKind) {
        self.marks.push(Mark { at: self.words.len(), kind });
    }

    /// Appends an event with its own time.
    pub fn event(&mut self, event: Event) {
        self.mark(MarkKind::Event(event));
    }
}

/// Number of events that the words stand for.
#[inline]
pub(crate) fn events_of(words: &[u32]) -> u64 {
    words.len() as u64 + u64::from(words.iter().map(|word| u32::from(is_leaf(*word))).sum::<u32>())
}

/// Decodes a word into one event, or two for [`Kind::Leaf`]. The word must be of a kind that a hook writes.
pub fn said(word: u32) -> (EventKind, Option<EventKind>) {
    match meaning(word) {
        (id, Kind::Enter | Kind::Catching) => (EventKind::Enter(id), None),
        (id, Kind::Exit | Kind::Caught) => (EventKind::Exit(id), None),
        (id, Kind::Leaf) => (EventKind::Enter(id), Some(EventKind::Exit(id))),
    }
}

/// Splits a word into words of one event each.
pub fn apart(written: u32) -> (u32, Option<u32>) {
    match meaning(written) {
        (id, Kind::Leaf) => (word(id, Kind::Enter), Some(word(id, Kind::Exit))),
        _ => (written, None),
    }
}
