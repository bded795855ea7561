//! What a guest recorded, in order, in the form in which it is cheapest to take: a run of words with marks among them.
//!
//! A word says that a function was entered or left ([`wasmtrace_abi::buffer::word`]), and nothing of when. What is known of
//! time stands in marks: a [`Stamp`] wherever the guest called the host, a [`Sample`] wherever it was interrupted to see
//! what it does. From words and stamps [`super::time_model`] estimates when each event happened; a call tree needs no such
//! times and takes its shares from samples ([`super::calltree`]).

use crate::event::{Event, EventKind};
use wasmtrace_abi::buffer::{Kind, is_leaf, meaning, word};
use wasmtrace_abi::hook::ProbeId;

/// Enters and exits, with marks among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Events of the kinds [`Kind::Enter`], [`Kind::Exit`] and [`Kind::Leaf`], which is both.
    pub words: Vec<u32>,
    /// Ascending by [`Mark::at`]; marks at the same place are in the order in which they happened.
    pub marks: Vec<Mark>,
}

/// Something between two words.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// How many words of the batch come before it.
    pub at: usize,
    /// What it is.
    pub kind: MarkKind,
}

/// What stands between two words.
#[derive(Debug, Clone, PartialEq)]
pub enum MarkKind {
    /// The guest called the host.
    Stamp(Stamp),
    /// The guest was interrupted.
    Sample(Sample),
    /// An event that is no word: one with a time of its own, or one that few programs have.
    Event(Event),
}

/// A call of the host: two moments that are known exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// When the events before it had happened: some time before `called`, if the guest was idle. In nanoseconds since the
    /// run began, as all of these.
    pub over: u64,
    /// When the guest called.
    pub called: u64,
    /// When it went on. In between it stood still.
    pub returned: u64,
    /// Nanoseconds in which the host worked for the guest: 0 if it only took what was recorded.
    pub host: u64,
    /// Whether the next event happened as soon as the guest went on.
    pub before_event: bool,
}

/// The guest was interrupted at a random moment, outside of the host.
///
/// Where there are no hooks, calls of the host come so too, with their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds that it stands for: the mean time between samples when it was taken; in [`Place::Host`] those that it took.
    pub weight: u64,
    /// Nanoseconds that the guest stood still for it, about.
    pub cost: u64,
    /// Where the guest was.
    pub place: Place,
    /// The calls that were open, outermost first, with the one that it was in: where there are no hooks that tell.
    pub path: Option<Box<[ProbeId]>>,
}

/// Where in the code a guest was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In code that was inserted: time that the program does not take without hooks.
    Hook,
    /// In this function. `offset` is that of the instruction, or of one near by, in the binary that was run, where the engine
    /// knows it.
    Function {
        /// The function.
        id: ProbeId,
        /// Bytes from the beginning of the module.
        offset: Option<u32>,
    },
    /// In code of the engine that works for the innermost call.
    Engine,
    /// Nobody interrupted the guest: another thread looked how far it had come. So it was in the innermost call then, or in what that
    /// has called since, or in its hooks: such samples favour callers.
    Seen,
    /// In a call of the host that the innermost call made: no sample, but what was measured.
    Host,
}

impl Batch {
    /// Empties it; its memory is kept.
    pub fn clear(&mut self) {
        self.words.clear();
        self.marks.clear();
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.marks.is_empty()
    }

    /// How many events there are in it.
    pub fn events(&self) -> u64 {
        let marks = self.marks.iter().filter(|mark| matches!(mark.kind, MarkKind::Event(_)));
        events_of(&self.words) + marks.count() as u64
    }

    /// The latest time that is known in it, in nanoseconds; 0 if none is.
    pub fn last(&self) -> u64 {
        let times = self.marks.iter().rev().filter_map(|mark| match &mark.kind {
            MarkKind::Stamp(stamp) => Some(stamp.over),
            MarkKind::Event(event) if event.at > 0 => Some(event.at),
            _ => None,
        });
        times.take(1).max().unwrap_or(0)
    }

    /// Appends a mark behind all that there is.
    pub fn mark(&mut self, kind: MarkKind) {
        self.marks.push(Mark { at: self.words.len(), kind });
    }

    /// Appends an event with its time.
    pub fn event(&mut self, event: Event) {
        self.mark(MarkKind::Event(event));
    }
}

/// How many events words say.
#[inline]
pub fn events_of(words: &[u32]) -> u64 {
    words.len() as u64 + u64::from(words.iter().map(|word| u32::from(is_leaf(*word))).sum::<u32>())
}

/// What a word says: an event, or of [`Kind::Leaf`] two. No hook writes one that says anything else.
pub fn said(word: u32) -> (EventKind, Option<EventKind>) {
    match meaning(word) {
        (id, Kind::Enter | Kind::Catching) => (EventKind::Enter(id), None),
        (id, Kind::Exit | Kind::Caught) => (EventKind::Exit(id), None),
        (id, Kind::Leaf) => (EventKind::Enter(id), Some(EventKind::Exit(id))),
    }
}

/// The words of one event each that say what this one does.
pub fn apart(written: u32) -> (u32, Option<u32>) {
    match meaning(written) {
        (id, Kind::Leaf) => (word(id, Kind::Enter), Some(word(id, Kind::Exit))),
        _ => (written, None),
    }
}

/// The word for an event, if there is one.
pub fn word_of(kind: &EventKind) -> Option<u32> {
    match kind {
        EventKind::Enter(id) => Some(word(*id, Kind::Enter)),
        EventKind::Exit(id) => Some(word(*id, Kind::Exit)),
        _ => None,
    }
}
