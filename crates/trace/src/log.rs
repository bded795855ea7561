//! Recordings in the output of components that record themselves: lines of text in a log, among other text.
//!
//! `docs/recording-format.md` describes the lines. A log may have lines of several instances of a component, in any
//! order: each instance has a recording of its own.
//!
//! ```text
//!  log ─parts→ Part { instance, number, bytes } ─Instance::push→ records ─Instance::batch→ Batch
//! ```

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::batch::{Batch, MarkKind, Stamp};
use crate::event::{Event, EventKind, Manual, Misuse, RunOutcome, Trap};
use wasmtrace_abi::buffer::{Kind, meaning};
use wasmtrace_abi::component::cause;

/// Nanoseconds of a record that is not damaged are fewer: two years.
const MOST_NANOS: u64 = 1 << 56;

/// The beginning of a line.
pub const MARKER: &str = "wasmtrace:1:";

/// Length of the numbers of an instance and of a line, and of a checksum, in hexadecimal digits.
const INSTANCE: usize = 16;
const NUMBER: usize = 8;

/// Length of the first bytes of an instance: its build, and the time when it began.
const BEGIN: usize = 16 + 8;

/// Length of a record without its words.
const RECORD: usize = 24;

/// Maximum number of words in a record. The buffer of a component has room for fewer.
const MOST_WORDS: usize = 1 << 20;

/// The contents of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The number of the instance.
    pub instance: u64,
    /// The number of the line among those of the instance, from 0.
    pub number: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Why the contents of a log cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The line is not complete, or was changed.
    Line,
    /// At least one line before this one is missing.
    Missing {
        /// The number of the first missing line.
        number: u32,
    },
    /// The contents are not a recording.
    Contents,
    /// The instance belongs to another build of the component.
    OtherBuild,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Line => write!(f, "a line is cut or was changed"),
            Damage::Missing { number } => write!(f, "lines are missing from number {number} on"),
            Damage::Contents => write!(f, "the lines do not contain a recording"),
            Damage::OtherBuild => write!(f, "the recording belongs to another build of the component"),
        }
    }
}

impl std::error::Error for Damage {}

/// The parts of recordings in a line of a log. There is usually one. There may be several if a line was cut and another
/// follows, and text of the guest may look like the beginning of one. A part that is cut or was changed is an error, unless
/// another one follows on the line.
pub fn parts(line: &[u8]) -> Vec<Result<Part, Damage>> {
    let markers = line.windows(MARKER.len()).enumerate().filter(|(_, bytes)| *bytes == MARKER.as_bytes());
    let all = markers.map(|(at, _)| part_of(&line[at + MARKER.len()..]).ok_or(Damage::Line));
    let mut parts: Vec<_> = all.collect();
    if parts.last().is_some_and(Result::is_ok) {
        parts.retain(Result::is_ok);
    } else {
        parts.dedup();
    }
    parts
}

fn part_of(line: &[u8]) -> Option<Part> {
    let mut fields = line.split(|byte| *byte == b':');
    let mut number = |digits: usize| {
        let field = fields.next()?.get(..digits)?;
        u64::from_str_radix(std::str::from_utf8(field).ok()?, 16).ok()
    };
    let (instance, line) = (number(INSTANCE)?, number(NUMBER)?);
    let data = fields.next()?;
    let checksum = fields.next()?.get(..NUMBER)?;
    let checksum = u32::from_str_radix(std::str::from_utf8(checksum).ok()?, 16).ok()?;
    let bytes = BASE64_STANDARD.decode(data).ok()?;
    (sum(&bytes) == checksum).then_some(Part { instance, number: line as u32, bytes })
}

/// FNV-1a of groups of three bytes.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(3).fold(0x811c_9dc5, |sum: u32, three| {
        let group = three.iter().rev().fold(0, |group, byte| group << 8 | u32::from(*byte));
        (sum ^ group).wrapping_mul(0x0100_0193)
    })
}

/// What an instance of a component has recorded, read from the parts in its lines.
#[derive(Debug)]
pub struct Instance {
    /// When the instance began, in nanoseconds since the Unix epoch. Known after the first part.
    pub began: u64,
    /// Number of the next part.
    next: u32,
    /// Bytes that are not read yet.
    bytes: Vec<u8>,
    has_begun: bool,
    /// The time at which the guest last continued, in nanoseconds since the instance began, and the cause of the last call.
    now: u64,
    last_cause: u32,
    depth: i64,
}

impl Default for Instance {
    fn default() -> Self {
        Instance::new()
    }
}

impl Instance {
    /// An instance without parts.
    pub fn new() -> Self {
        Instance {
            began: 0,
            next: 0,
            bytes: Vec::new(),
            has_begun: false,
            now: 0,
            last_cause: cause::FULL as u32,
            depth: 0,
        }
    }

    /// Adds the next part, and appends the events that are complete now to `batch`. `build` is the build of the component.
    ///
    /// # Errors
    /// If a part is missing, or the bytes are not those of a recording of this build. Nothing can be read after that.
    pub fn push(&mut self, part: &Part, build: u64, batch: &mut Batch) -> Result<(), Damage> {
        if part.number != self.next {
            return Err(Damage::Missing { number: self.next });
        }
        self.next += 1;
        self.bytes.extend_from_slice(&part.bytes);
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        if !self.has_begun
            && let Some((begin, behind)) = rest.split_at_checked(BEGIN)
        {
            if begin[..16] != *format!("{build:016x}").as_bytes() {
                return Err(Damage::OtherBuild);
            }
            self.began = u64_at(begin, 16);
            self.has_begun = true;
            rest = behind;
        }
        while self.has_begun
            && let Some((head, behind)) = rest.split_at_checked(RECORD)
        {
            let count = u32_at(head, 0) as usize;
            if count > MOST_WORDS {
                return Err(Damage::Contents);
            }
            let Some((words, behind)) = behind.split_at_checked(4 * count) else { break };
            self.record(head, words, batch)?;
            rest = behind;
        }
        self.bytes = rest.to_vec();
        Ok(())
    }

    /// Appends a record to `batch`.
    fn record(&mut self, head: &[u8], words: &[u8], batch: &mut Batch) -> Result<(), Damage> {
        let cause = u32_at(head, 4);
        let (paused, ran) = (u64_at(head, 8), u64_at(head, 16));
        if paused.max(ran).max(self.now) > MOST_NANOS {
            return Err(Damage::Contents);
        }
        let continued = self.now.saturating_add(paused);
        let now = continued.saturating_add(ran);
        // Nothing happened between a call of another function and its return but that call.
        let is_host = cause == cause::BACK as u32 && self.last_cause == cause::CALL as u32 && words.is_empty();
        for word in words.chunks_exact(4).map(|word| u32_at(word, 0)) {
            match meaning(word) {
                (_, Kind::Enter | Kind::Exit) => {
                    self.depth += if word & 3 == Kind::Enter as u32 { 1 } else { -1 };
                    batch.words.push(word);
                }
                (_, Kind::Caught) => batch.event(misuse(now, Misuse::LostEvents)),
                (_, Kind::Catching | Kind::Leaf) => batch.event(misuse(now, Misuse::ForeignEvent)),
            }
        }
        // Between two calls of the guest, it does not run.
        let is_idle = cause == cause::ENTER as u32 && self.depth <= 0;
        let (over, called, host) = match (is_host, is_idle && words.is_empty()) {
            (true, _) => (continued, continued, ran),
            (_, true) => (continued, now, 0),
            _ => (now, now, 0),
        };
        let before_event = cause == cause::FULL as u32;
        batch.mark(MarkKind::Stamp(Stamp { over, called, returned: now, host, before_event }));
        self.now = now;
        self.last_cause = cause;
        Ok(())
    }

    /// How the instance ended, as far as it is known, and its duration in nanoseconds.
    pub fn end(&self) -> (RunOutcome, u64) {
        let ended = self.last_cause & 7;
        let outcome = if ended == cause::EXIT as u32 {
            RunOutcome::Exited((self.last_cause >> cause::CODE) as i32)
        } else if ended == cause::UNREACHABLE as u32 {
            let message = "wasm `unreachable` instruction executed".to_owned();
            RunOutcome::Trapped(Trap { code: "unreachable_code_reached".to_owned(), message, frames: Vec::new() })
        } else if ended == cause::RETURN as u32 && self.depth <= 0 && self.bytes.is_empty() {
            RunOutcome::Returned
        } else {
            RunOutcome::Unknown
        };
        (outcome, self.now)
    }
}

fn misuse(at: u64, misuse: Misuse) -> Event {
    Event { at, kind: EventKind::Manual(Box::new(Manual::Misuse(misuse))) }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtrace_abi::buffer::word;
    use wasmtrace_abi::hook::ProbeId;

    fn record(cause: i32, paused: u64, ran: u64, words: &[u32]) -> Vec<u8> {
        let mut bytes = (words.len() as u32).to_le_bytes().to_vec();
        bytes.extend((cause as u32).to_le_bytes());
        bytes.extend(paused.to_le_bytes());
        bytes.extend(ran.to_le_bytes());
        words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        bytes
    }

    fn read(records: &[Vec<u8>]) -> (Result<(), Damage>, Instance, Batch) {
        let bytes = [format!("{:016x}", 7).as_bytes(), &1_000u64.to_le_bytes(), &records.concat()].concat();
        let (mut instance, mut batch) = (Instance::new(), Batch::default());
        let pushed = instance.push(&Part { instance: 1, number: 0, bytes }, 7, &mut batch);
        (pushed, instance, batch)
    }

    /// A call of the host counts as time in the host. A pause between two calls of the guest counts for no function.
    #[test]
    fn times_are_those_of_guest_and_host() {
        let [enter, exit] = [Kind::Enter, Kind::Exit].map(|kind| word(ProbeId(3), kind));
        let (pushed, instance, batch) = read(&[
            record(cause::ENTER, 0, 10, &[]),
            record(cause::CALL, 1, 100, &[enter]),
            record(cause::BACK, 1, 5_000, &[]),
            record(cause::RETURN, 1, 50, &[exit]),
            record(cause::ENTER, 1, 1_000_000, &[]),
            record(cause::FULL, 1, 7, &[enter]),
        ]);
        assert_eq!(pushed, Ok(()));
        let stamp = |mark: &crate::batch::Mark| match mark.kind {
            MarkKind::Stamp(Stamp { over, called, returned, host, .. }) => (mark.at, over, called, returned, host),
            ref other => panic!("{other:?}"),
        };
        let stamps: Vec<_> = batch.marks.iter().map(stamp).collect();
        let expected = [
            (0, 0, 10, 10, 0),
            (1, 111, 111, 111, 0),
            (1, 112, 112, 5_112, 5_000),
            (2, 5_163, 5_163, 5_163, 0),
            (2, 5_164, 1_005_164, 1_005_164, 0),
            (3, 1_005_172, 1_005_172, 1_005_172, 0),
        ];
        assert_eq!(stamps, expected);
        assert_eq!(instance.end(), (RunOutcome::Unknown, 1_005_172));
    }

    #[test]
    fn impossible_records_are_damage() {
        assert_eq!(read(&[record(cause::FULL, 0, 1 << 57, &[])]).0, Err(Damage::Contents));
        assert_eq!(read(&[record(cause::FULL, 1 << 57, 0, &[])]).0, Err(Damage::Contents));
        let mut huge = record(cause::FULL, 0, 0, &[]);
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&[huge]).0, Err(Damage::Contents));
    }
}
