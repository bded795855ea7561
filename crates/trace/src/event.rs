//! What hooks and the manual API see, as a stream of events.

use wasmtrace_abi::hook::ProbeId;

/// One thing that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Nanoseconds since the run began, never less than in the event before.
    pub at: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// A function is entered.
    Enter(ProbeId),
    /// A function is left.
    Exit(ProbeId),
    /// The function that was entered last and is still open is left. (The first generation of hooks names none.)
    ExitInnermost,
    /// An exception crosses the function, which was entered last of all that are open: it is left without returning.
    Unwound(ProbeId),
    /// That many calls of a function, somewhere since the last such event, were too short or too deep to be kept; what
    /// they called is counted likewise. Totals stay exact.
    Elided(ProbeId, u32),
    /// The clock had stood still for that many nanoseconds when it was set next, at this event: what happened since the
    /// event before may have happened at any time in between.
    ClockGap(u64),
    /// `memory.grow` is about to be executed with this many pages, whatever comes of it.
    MemoryGrow(u32),
    /// The guest's own code speaks. Boxed: these are few, and the others are many.
    Manual(Box<Manual>),
}

impl EventKind {
    /// How many bytes of text it carries.
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

/// What the guest's own code says through the manual API.
#[derive(Debug, Clone, PartialEq)]
pub enum Manual {
    /// Open a span of this name.
    SpanEnter(String),
    /// Close the innermost manual span.
    SpanExit,
    /// `key:value` pairs, joined by commas, for the innermost open span.
    Tags(String),
    /// One line in the statsd format (`name:1|c`).
    Metric(String),
    /// A line for the log.
    Log(Level, String),
    /// Something that the API does not allow; the guest was not disturbed.
    Misuse(Misuse),
}

/// What the guest's own code may do wrong with the manual API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Misuse {
    /// A metric that is not in the statsd format.
    UnknownFormat = 0,
    /// A log level that does not exist.
    UnknownLevel = 1,
    /// Text in a shared memory.
    SharedMemory = 2,
    /// Text, and no memory is exported as `memory`.
    NoMemory = 3,
    /// Text that does not lie in the memory.
    OutOfBounds = 4,
    /// Text that was cut.
    TooLong = 5,
    /// Text that is not UTF-8.
    NotUtf8 = 6,
    /// Something in the recorder's buffer that no hook writes.
    ForeignEvent = 7,
}

impl Misuse {
    /// The misuse of that number.
    pub fn from_number(number: u8) -> Option<Misuse> {
        use Misuse::*;
        let all = [UnknownFormat, UnknownLevel, SharedMemory, NoMemory, OutOfBounds, TooLong, NotUtf8, ForeignEvent];
        all.into_iter().find(|m| *m as u8 == number)
    }

    /// A few words for a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Misuse::UnknownFormat => "a metric in an unknown format",
            Misuse::UnknownLevel => "a log level that does not exist",
            Misuse::SharedMemory => "text in a shared memory",
            Misuse::NoMemory => "text without a memory exported as `memory`",
            Misuse::OutOfBounds => "text out of bounds",
            Misuse::TooLong => "text that is too long: names and tags 1 KiB, lines 16 KiB",
            Misuse::NotUtf8 => "text that is not UTF-8",
            Misuse::ForeignEvent => "something in the recorder's buffer that no hook writes",
        }
    }
}

/// How much a log line matters, by the numbers of the manual API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 1
    Error = 1,
    /// 2
    Warn = 2,
    /// 3
    Info = 3,
    /// 4
    Debug = 4,
    /// 5
    Trace = 5,
}

impl Level {
    /// The level of that number.
    pub fn from_number(number: i32) -> Option<Level> {
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace].into_iter().find(|l| *l as i32 == number)
    }

    /// One word for it.
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

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// The entry function returned.
    Returned,
    /// The guest asked to exit with this code.
    Exited(i32),
    /// The guest trapped, or threw an exception that nobody caught.
    Trapped(Trap),
    /// The run was ended from outside, by the signal of this number.
    Interrupted(i32),
    /// Nobody knows: the recording stops before the run did.
    Unknown,
}

/// A trap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trap {
    /// A word for the kind: `unreachable`, `stack_overflow`, `memory_out_of_bounds`, `uncaught_exception`, …
    pub code: String,
    /// The engine's message.
    pub message: String,
    /// Function indices of the frames at the trap, innermost first; possibly cut short by the engine.
    pub frames: Vec<u32>,
}

impl RunOutcome {
    /// The exit code that a process has which ends like this: the guest's own, modulo 256 as Unix has it; 134 for a trap
    /// (as after `abort`); 128 and the signal's number after a signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunOutcome::Returned => 0,
            RunOutcome::Exited(code) => *code as u8,
            RunOutcome::Trapped(_) => 134,
            RunOutcome::Interrupted(signal) => 128u8.saturating_add(u8::try_from(*signal).unwrap_or(u8::MAX)),
            RunOutcome::Unknown => 1,
        }
    }

    /// A few words for a person.
    pub fn describe(&self) -> String {
        match self {
            RunOutcome::Returned => "exit code 0".to_owned(),
            RunOutcome::Exited(code) => format!("exit code {code}"),
            RunOutcome::Trapped(trap) => format!("trap: {}", trap.message),
            RunOutcome::Interrupted(signal) => format!("ended by signal {signal}"),
            RunOutcome::Unknown => "the recording stops before the run did".to_owned(),
        }
    }
}
