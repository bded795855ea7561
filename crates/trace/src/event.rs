//! Events from hooks and from the manual API.

use wasmtrace_abi::hook::ProbeId;

/// One event of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Nanoseconds since the start of the run. Never decreases from event to event.
    pub at: u64,
    /// The kind of the event.
    pub kind: EventKind,
}

/// The kind of an [`Event`].
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// A function is entered.
    Enter(ProbeId),
    /// A function is left.
    Exit(ProbeId),
    /// The innermost open function is left. The first generation of hooks does not name it.
    ExitInnermost,
    /// An exception unwinds the innermost open call of this function: the call ends without returning.
    Unwound(ProbeId),
    /// So many calls of a function were dropped since the last such event: they were too short or too deep. Calls
    /// within them are counted in the same way, so totals stay exact.
    Elided(ProbeId, u32),
    /// The clock was not updated for so many nanoseconds before this event. Events since the previous one may have
    /// happened at any time in between.
    ClockGap(u64),
    /// `memory.grow` is about to be executed with this number of pages. It may still fail.
    MemoryGrow(u32),
    /// An event of the manual API. Boxed, because these are rare.
    Manual(Box<Manual>),
}

impl EventKind {
    /// Length of the text in the event, in bytes.
    pub fn text_len(&self) -> usize {
        match self {
            EventKind::Manual(manual) => match &**manual {
                Manual::SpanEnter(text) | Manual::Tags(text) | Manual::Metric(text) | Manual::Log(_, text) => {
                    text.len()
                }
                Manual::SpanExit | Manual::Misuse(_) => 0,
            },
            _ => 0,
        }
    }
}

/// An event that the guest's own code reports through the manual API.
#[derive(Debug, Clone, PartialEq)]
pub enum Manual {
    /// Opens a span with this name.
    SpanEnter(String),
    /// Closes the innermost manual span.
    SpanExit,
    /// Tags of the innermost open span: `key:value` pairs, joined by commas.
    Tags(String),
    /// One line in the statsd format (`name:1|c`).
    Metric(String),
    /// A log line.
    Log(Level, String),
    /// A violation of the API. The guest continues normally.
    Misuse(Misuse),
}

/// Violations of the manual API by the guest's own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// A metric that is not in the statsd format.
    UnknownFormat = 0,
    /// A log level that does not exist.
    UnknownLevel = 1,
    /// Text in a shared memory.
    SharedMemory = 2,
    /// Text, but no memory is exported as `memory`.
    NoMemory = 3,
    /// Text outside of the memory.
    OutOfBounds = 4,
    /// Text longer than the limit; it was truncated.
    TooLong = 5,
    /// Text that is not UTF-8.
    NotUtf8 = 6,
    /// A word in the recorder's buffer that no hook writes.
    ForeignEvent = 7,
    /// Events of a component found no room while the host could not be called.
    LostEvents = 8,
}

impl Misuse {
    /// Decodes a violation from its number.
    pub fn from_number(number: u8) -> Option<Misuse> {
        use Misuse::*;
        let all = [
            UnknownFormat,
            UnknownLevel,
            SharedMemory,
            NoMemory,
            OutOfBounds,
            TooLong,
            NotUtf8,
            ForeignEvent,
            LostEvents,
        ];
        all.into_iter().find(|m| *m as u8 == number)
    }

    /// A short description.
    pub fn as_str(self) -> &'static str {
        match self {
            Misuse::UnknownFormat => "a metric in an unknown format",
            Misuse::UnknownLevel => "a log level that does not exist",
            Misuse::SharedMemory => "text in a shared memory",
            Misuse::NoMemory => "text without a memory exported as `memory`",
            Misuse::OutOfBounds => "text out of bounds",
            Misuse::TooLong => "text that is too long: names and tags 1 KiB, lines 16 KiB",
            Misuse::NotUtf8 => "text that is not UTF-8",
            Misuse::ForeignEvent => "a word in the buffer that no hook writes",
            Misuse::LostEvents => "too many calls in a `realloc` or `post-return`: some were lost",
        }
    }
}

/// The severity of a log line, with the numbers of the manual API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Error, number 1.
    Error = 1,
    /// Warning, number 2.
    Warn = 2,
    /// Information, number 3.
    Info = 3,
    /// Debugging output, number 4.
    Debug = 4,
    /// Tracing output, number 5.
    Trace = 5,
}

impl Level {
    /// Decodes a level from its number.
    pub fn from_number(number: i32) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace].into_iter().find(|l| *l as i32 == number)
    }

    /// The level as one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// The entry function returned.
    Returned,
    /// The guest exited with this code.
    Exited(i32),
    /// The guest trapped or threw an uncaught exception.
    Trapped(Trap),
    /// The run was ended by the signal with this number.
    Interrupted(i32),
    /// Unknown: the recording ends before the run did.
    Unknown,
}

/// A trap of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// The kind of the trap: `unreachable`, `stack_overflow`, `memory_out_of_bounds`, `uncaught_exception`, …
    pub code: String,
    /// The engine's message.
    pub message: String,
    /// Function indices of the stack frames at the trap, innermost first. The engine may truncate the list.
    pub frames: Vec<u32>,
}

impl RunOutcome {
    /// The exit code of a process with this outcome: the guest's code modulo 256, 134 for a trap (as after `abort`), or
    /// 128 plus the signal's number.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunOutcome::Returned => 0,
            RunOutcome::Exited(code) => *code as u8,
            RunOutcome::Trapped(_) => 134,
            RunOutcome::Interrupted(signal) => 128u8.saturating_add(u8::try_from(*signal).unwrap_or(u8::MAX)),
            RunOutcome::Unknown => 1,
        }
    }

    /// A short description of the outcome.
    pub fn describe(&self) -> String {
        match self {
            RunOutcome::Returned => "exit code 0".to_owned(),
            RunOutcome::Exited(code) => format!("exit code {code}"),
            RunOutcome::Trapped(trap) => format!("trap: {}", trap.message),
            RunOutcome::Interrupted(signal) => format!("ended by signal {signal}"),
            RunOutcome::Unknown => "the recording ends before the run".to_owned(),
        }
    }
}
