//! What a trace can be written as: the trait [`Sink`] and the table of formats.

use std::borrow::Cow;
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::calltree::Accuracy;
use crate::context::{Context, Parent};
use crate::event::RunOutcome;
use crate::profile::Profile;
use crate::recording::Header;
use crate::span_builder::{Anomalies, Change, What};
use wasmtrace_abi::hook::{HookSet, ProbeId};
use wasmtrace_abi::label::Label;
use wasmtrace_abi::manifest::{Manifest, Probe, Probes};

// For the crate `wasmtrace-otlp`: files have spans alone; logs, metrics and protobuf are for what goes over the network.
#[doc(hidden)]
pub mod metrics;
#[doc(hidden)]
pub mod otlp;
#[doc(hidden)]
pub mod spans;
#[doc(hidden)]
pub mod url;
#[doc(hidden)]
pub mod zipkin;

mod chrome;
mod flat;
mod folded;
mod formats;
mod json;
mod otlp_json;
mod text;
mod tree;

pub use chrome::Chrome;
pub use flat::Flat;
pub use folded::Folded;
pub use formats::{Destination, FORMATS, Format, Open, SINKS, UnknownSink};
pub use json::{json_line, json_text};
pub use otlp::{Encoding, Signal};
pub use otlp_json::OtlpJson;
pub use spans::Limits;
pub use text::{Look, Sort, duration};
pub use tree::Tree;
pub use wasmtrace_abi::text::hex;

/// What a trace is about: what does not change while it is recorded.
#[derive(Debug, Clone, Default)]
pub struct RunInfo {
    /// The program's name, for a person.
    pub program: String,
    /// SHA-256 of the module before it was hooked, where that is known.
    pub hash: Option<[u8; 32]>,
    /// When the run began, in nanoseconds since the Unix epoch.
    pub began: u64,
    /// What each probe means.
    pub labels: std::collections::BTreeMap<ProbeId, Label>,
    /// How it is recorded.
    pub recording: Recording,
    /// Where the run stands in a trace.
    pub context: Option<Context>,
    /// What ran it, as attributes of OpenTelemetry's resource.
    pub resource: Vec<(String, String)>,
}

/// How a trace is recorded: what its times are worth, and what is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// `hook`: each event reads the time; `coarse`, `spin`: see `runtime::ClockMode`; [`SAMPLES`]: there are no events.
    pub clock: String,
    /// Nanoseconds by which an event's time may lag behind.
    pub resolution: u64,
    /// Calls shorter than so many nanoseconds that made no longer ones are counted only.
    pub min_duration: u64,
    /// Calls in so many others are counted only.
    pub max_depth: Option<u32>,
    /// Whether entries and exits of functions have no times of their own, but stamps between them.
    pub stamped: bool,
    /// Why the guest was not sampled, if it was not.
    pub not_sampled: Option<String>,
}

impl Default for Recording {
    fn default() -> Self {
        Recording {
            clock: "hook".to_owned(),
            resolution: HOOK_RESOLUTION,
            min_duration: 0,
            max_depth: None,
            stamped: false,
            not_sampled: None,
        }
    }
}

/// The clock of a run without hooks: there are samples, and no events.
pub const SAMPLES: &str = "samples";

/// Nanoseconds between an event and its time, where a hook reads the clock itself.
const HOOK_RESOLUTION: u64 = 100;

/// Of a name, so many bytes are shown.
pub const LONGEST_NAME: usize = 1_000;

/// A place in a trace for a run that begins: in a span of the host, or in a trace of its own.
///
/// # Errors
/// If the system has no random numbers.
pub fn new_context(parent: Option<&Parent>, state: String) -> io::Result<Context> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(Context::begin(parent, state, random))
}

impl RunInfo {
    /// A run of a hooked module that begins now: what is known of it by the module alone. Of one that records into a buffer,
    /// the clock is to be told too ([`Recording`]).
    pub fn of(program: &str, probes: Probes) -> RunInfo {
        let Probes { input_sha256, labels } = probes;
        RunInfo { program: program.to_owned(), hash: input_sha256, labels, ..RunInfo::default() }.beginning_now()
    }

    /// The same of a run that begins now: a module may be run many times.
    #[must_use]
    pub fn beginning_now(self) -> RunInfo {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        RunInfo { began, ..self }
    }

    /// The name for a person: of a function, demangled, and `func[N]` if nothing is known of it; of a manual span, its own.
    /// No longer than [`LONGEST_NAME`]: thousands of functions may share one name of megabytes.
    pub fn name(&self, what: &What) -> String {
        match what {
            What::Call(probe) => self
                .labels
                .get(probe)
                .map_or_else(|| format!("func[{}]", probe.0), |label| json::cut(label.demangled(), LONGEST_NAME)),
            What::Manual(name) => json::cut(Cow::Borrowed(name), LONGEST_NAME),
        }
    }

    /// The path of the source file, no longer than that either.
    pub fn file(&self, what: &What) -> Option<String> {
        let file = self.label(what)?.file.as_deref()?;
        Some(json::cut(Cow::Borrowed(file), LONGEST_NAME))
    }

    /// What a recording begins with.
    pub fn header(&self) -> Header {
        let probes = self.labels.iter().map(|(id, label)| Probe { id: *id, label: label.clone() }).collect();
        let input_sha256 = self.hash.unwrap_or_default();
        let Recording { clock, resolution, min_duration, max_depth, stamped, not_sampled } = self.recording.clone();
        Header {
            program: self.program.clone(),
            began: self.began,
            clock,
            resolution,
            min_duration,
            max_depth,
            manifest: Manifest {
                hooks: HookSet::Observe,
                buffer: None,
                input_sha256,
                build_id: Vec::new(),
                probes,
                restore: None,
            },
            context: self.context.clone(),
            resource: self.resource.clone(),
            stamped,
            not_sampled,
        }
    }

    /// The label of a function; a manual span has none.
    pub fn label(&self, what: &What) -> Option<&Label> {
        match what {
            What::Call(probe) => self.labels.get(probe),
            What::Manual(_) => None,
        }
    }
}

impl From<&Header> for RunInfo {
    fn from(header: &Header) -> Self {
        let Header {
            program,
            began,
            clock,
            resolution,
            min_duration,
            max_depth,
            manifest,
            context,
            resource,
            stamped,
            not_sampled,
        } = header;
        RunInfo {
            program: program.clone(),
            hash: Some(manifest.input_sha256).filter(|hash| *hash != [0; 32]),
            began: *began,
            labels: manifest.probes.iter().map(|probe| (probe.id, probe.label.clone())).collect(),
            recording: Recording {
                clock: clock.clone(),
                resolution: *resolution,
                min_duration: *min_duration,
                max_depth: *max_depth,
                stamped: *stamped,
                not_sampled: not_sampled.clone(),
            },
            context: context.clone(),
            resource: resource.clone(),
        }
    }
}

/// What is known when a run has ended.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'s> {
    /// How it ended.
    pub ending: &'s RunOutcome,
    /// Nanoseconds it took.
    pub duration: u64,
    /// The call tree.
    pub profile: &'s Profile,
    /// What was not as it should be.
    pub irregular: &'s Anomalies,
    /// What the times of the call tree are worth.
    pub accuracy: Accuracy,
}

/// Takes a trace as it comes, and writes it as something.
///
/// A sink is told of every change, in order, and once of the end. It writes as it goes where its format allows, so that
/// its memory does not grow with the run. It may fail at any call; it is not called again after that. It must not keep
/// spans until the end to sort them: a run may have billions.
pub trait Sink {
    /// Whether it wants to be told of changes, or of the end alone.
    fn wants_changes(&self) -> bool {
        true
    }

    /// Takes one change.
    fn change(&mut self, subject: &RunInfo, change: &Change<'_>) -> io::Result<()>;

    /// Takes the end: what was buffered is written out.
    fn finish(&mut self, subject: &RunInfo, summary: &Summary<'_>) -> io::Result<()>;
}
